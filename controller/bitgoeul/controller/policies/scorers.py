"""Choosers that score each choice: max-pressure as a linear score, and the learned ONNX scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import BitgoeulError
from ..observe import CHOICE, CONTEXT, Observation

MAX_PRESSURE_WEIGHTS: dict[str, float] = {
    "vehicles_served": 2.35,
    "longest_lane": 0.73,
    "lanes_served": 1.91,
    "arrivals_10": -0.62,
    "waiting_served": 0.82,
    "oldest_served": -0.51,
    "is_stay": -0.09,
    "lost": 1.13,
    "is_within": -1.54,
    "since_served": 0.81,
    "commits": -2.24,
    "vehicles_delayed": -1.76,
    "longest_delayed": -0.13,
}
"""Weight per choice feature (scaled), by CMA-ES on training seeds (`python -m bitgoeul.training.tune`)."""


class LinearChooser:
    """Picks the legal choice with the highest weighted sum of its features; ties go to the first.

    Parameters
    ----------
    weights : by feature name; missing features weigh 0.

    Raises
    ------
    ValueError : a name that is no choice feature.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        names = [feature.name for feature in CHOICE]
        unknown = sorted(set(weights) - set(names))
        if unknown:
            raise ValueError(f"no such choice features: {', '.join(unknown)}; known: {', '.join(names)}")
        self._weights = np.array([weights.get(name, 0.0) for name in names], dtype=np.float32)

    def choose(self, observation: Observation) -> int:
        """Return the index of the best legal choice."""
        scores = np.where(observation.mask, observation.choices @ self._weights, -np.inf)
        return int(scores.argmax())


class PolicyFileError(BitgoeulError):
    """A policy file that cannot be used, and why."""


class OnnxChooser:
    """Picks by an ONNX scorer: inputs `context`, `choices`, `mask`; output `choice`, the index to take.

    Parameters
    ----------
    path : the policy file.

    Raises
    ------
    PolicyFileError : the file is missing, is no ONNX, or was made for other features.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise PolicyFileError(f"{path}: no such policy file; make one with `bitgoeul policy export`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise PolicyFileError(f"{path}: not a usable ONNX file ({str(error).splitlines()[0]})") from error
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        found, expected = self.metadata.get("features"), feature_list()
        if found != expected:
            raise PolicyFileError(f"{path}: made for other features than this version's; export it again")

    def choose(self, observation: Observation) -> int:
        """Return the scorer's choice."""
        (choice,) = self._session.run(
            ["choice"],
            {
                "context": observation.context[None],
                "choices": observation.choices[None],
                "mask": observation.mask[None],
            },
        )
        return int(np.asarray(choice).reshape(-1)[0])


def feature_list() -> str:
    """Return names and scales of all features as one line: what a policy file must have been made for."""
    parts = [f"{f.name}/{f.scale:g}" for f in CONTEXT] + [f"{f.name}/{f.scale:g}" for f in CHOICE]
    return " ".join(parts)

"""Choosers that score each choice: max-pressure as a linear score, and the learned ONNX scorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..choices import N_MAX
from ..errors import BitgoeulError
from ..observe import CHOICE, CONTEXT, FIRST_CHOICE_N, Feature, Observation

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
        # A product over more columns rounds otherwise: first features alone keep their ties and their traces.
        is_first = set(weights) <= set(names[:FIRST_CHOICE_N])
        self._columns = slice(FIRST_CHOICE_N if is_first else len(names))
        self._weights = np.array([weights.get(name, 0.0) for name in names[self._columns]], dtype=np.float32)

    def choose(self, observation: Observation) -> int:
        """Return the index of the best legal choice."""
        choices = np.ascontiguousarray(observation.choices[:, self._columns])
        scores = np.where(observation.mask, choices @ self._weights, -np.inf)
        return int(scores.argmax())


class PolicyFileError(BitgoeulError):
    """A policy file that cannot be used, and why."""


class OnnxChooser:
    """Picks by an ONNX scorer: inputs `context`, `choices`, `mask`; output `choice`, the index to take.

    The file names the features it reads, in its own order; it is given those columns and no others, so a
    file made before a feature was added goes on as it was.

    Parameters
    ----------
    path : the policy file.

    Raises
    ------
    PolicyFileError : the file is missing, is no ONNX, or reads features that this version does not have.
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
        widths = {each.name: each.shape[-1] for each in self._session.get_inputs()}
        if sorted(widths) != ["choices", "context", "mask"] or widths["mask"] != N_MAX:
            raise PolicyFileError(f"{path}: not a policy of {N_MAX} choices; export it again")
        named = self.metadata.get("features", "").split()
        context_n, choice_n = widths["context"], widths["choices"]
        if len(named) != context_n + choice_n:
            raise PolicyFileError(f"{path}: does not name each feature it reads; export it again")
        self._context = _places(path, named[:context_n], CONTEXT)
        self._choices = _places(path, named[context_n:], CHOICE)

    def choose(self, observation: Observation) -> int:
        """Return the scorer's choice."""
        (choice,) = self._session.run(
            ["choice"],
            {
                "context": observation.context.take(self._context)[None],
                "choices": observation.choices.take(self._choices, axis=1)[None],
                "mask": observation.mask[None],
            },
        )
        return int(np.asarray(choice).reshape(-1)[0])


def _places(path: Path, named: list[str], known: tuple[Feature, ...]) -> npt.NDArray[np.intp]:
    """Return where the features that a policy file names stand.

    Raises
    ------
    PolicyFileError : a name that is not known, or a feature with another scale.
    """
    places = {feature_word(feature): place for place, feature in enumerate(known)}
    unknown = [word for word in named if word not in places]
    if unknown:
        raise PolicyFileError(
            f"{path}: made for other features than this version's ({', '.join(unknown)}); export it again"
        )
    return np.array([places[word] for word in named], dtype=np.intp)


def feature_word(feature: Feature) -> str:
    """Return a feature's name and scale in one word, as policy files name it."""
    return f"{feature.name}/{feature.scale:g}"


def feature_list(context: tuple[Feature, ...] = CONTEXT, choices: tuple[Feature, ...] = CHOICE) -> str:
    """Return names and scales of the features a policy reads as one line: its context, then its choices."""
    return " ".join(feature_word(feature) for feature in (*context, *choices))

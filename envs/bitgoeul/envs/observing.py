"""What an environment hands out of an observation: the spaces, the dict form and the flat form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation

if TYPE_CHECKING:
    from .options import EnvOptions
    from .world import JunctionDriver

ObsType = dict[str, npt.NDArray[Any]] | npt.NDArray[Any]


def observation_space(options: EnvOptions) -> spaces.Space[Any]:
    """Return the space of the observations that the options ask for."""
    if callable(options.observation):
        space: spaces.Space[Any] = options.observation.space
        return space
    if options.observation == "flat":
        size = len(CONTEXT) + N_MAX * len(CHOICE) + N_MAX
        return spaces.Box(0.0, LIMIT, (size,), np.float32)
    parts: dict[str, spaces.Space[Any]] = {
        "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
        "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
        "mask": spaces.MultiBinary(N_MAX),
    }
    if options.critic:
        parts["critic"] = spaces.Box(0.0, np.inf, (N_CRITIC,), np.float32)
    return spaces.Dict(parts)


def as_observation(observation: Observation, options: EnvOptions) -> ObsType:
    """Return an observation in the form that the options ask for."""
    if options.observation == "flat":
        parts = (observation.context, observation.choices.ravel(), observation.mask)
        return np.concatenate(parts, dtype=np.float32)
    return {
        "context": observation.context,
        "choices": observation.choices,
        "mask": observation.mask.astype(np.int8),
    }


N_CRITIC = 2
"""Numbers of the critic's observation."""


def critic_vector(driver: JunctionDriver) -> npt.NDArray[np.float32]:
    """Return the truth for a critic: persons waiting at the kerbs, persons on the crossings. `(2,)`"""
    people = driver.walkers
    counts = [sum(map(len, people.waiting)), sum(map(len, people.on_crossing))]
    return np.array(counts, dtype=np.float32)


def ablated(detector: str, ablation: str) -> str:
    """Return the detector that an ablation sees with.

    Raises
    ------
    ValueError : an ablation that is no other detector.
    """
    if ablation == "perfect":
        return "perfect"
    if ablation != "none":
        raise ValueError(f"ablation {ablation!r} is unknown; give none or perfect")
    return detector

"""The controller's observation as Gymnasium wants it: spaces, dict and flat forms, a user's own function.

The numbers are those of `bitgoeul.controller.observe`, in training and in the field alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Feature, Observation
from bitgoeul.controller.situation import Situation

from .ablations import ABLATIONS, ablated, check_ablation, observed_needs
from .critic import CRITIC, N_CRITIC, critic_vector

__all__ = [
    "ABLATIONS",
    "CRITIC",
    "FLAT_N",
    "N_CRITIC",
    "ObservationFunction",
    "ablated",
    "as_observation",
    "check_ablation",
    "critic_vector",
    "features_table",
    "flat",
    "observation_space",
    "observed_needs",
]

FLAT_N = len(CONTEXT) + N_MAX * len(CHOICE) + N_MAX
"""Length of a flat observation: context, the choices row by row, and the mask."""

ObsType = Any
"""What an environment gives its agent: a dict of arrays, one array, or what a user's function returns."""


@runtime_checkable
class ObservationFunction(Protocol):
    """A user's own observation: what to make of a situation and of the usual observation.

    It is given what a controller may know, and nothing of the truth.
    """

    space: spaces.Space[Any]

    def __call__(self, situation: Situation, observation: Observation) -> Any:
        """Return an element of `space`."""
        ...


class ObservingOptions(Protocol):
    """The options of an environment that concern its observation."""

    @property
    def observation(self) -> str | ObservationFunction:
        """`dict`, `flat` or a function."""
        ...

    @property
    def critic(self) -> bool:
        """Whether the dict has the key `critic`."""
        ...


def observation_space(options: ObservingOptions) -> spaces.Space[Any]:
    """Return the space of the observations under these options.

    Raises
    ------
    ValueError : an unknown form, or a critic's part with another form than `dict`.
    """
    form = options.observation
    if options.critic and form != "dict":
        raise ValueError("critic=True needs observation='dict': its values stand under a key of their own")
    if form == "flat":
        return spaces.Box(0.0, LIMIT, (FLAT_N,), np.float32)
    if form == "dict":
        parts: dict[str, spaces.Space[Any]] = {
            "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
            "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
            "mask": spaces.MultiBinary(N_MAX),
        }
        if options.critic:
            parts["critic"] = spaces.Box(0.0, LIMIT, (N_CRITIC,), np.float32)
        return spaces.Dict(parts)
    space: spaces.Space[Any] | None = getattr(form, "space", None)
    if space is None or not callable(form):
        raise ValueError(
            f"observation = {form!r}: allowed are 'dict', 'flat', and a function of (situation, observation) "
            "with an attribute `space`"
        )
    return space


def as_observation(
    observation: Observation,
    options: ObservingOptions,
    *,
    situation: Situation | None = None,
    critic: npt.NDArray[np.float32] | None = None,
) -> ObsType:
    """Return an observation in the form that the options ask for.

    Parameters
    ----------
    observation : the controller's.
    options : as for `observation_space`.
    situation : what it was made of; a user's function is given it.
    critic : what only the critic sees (`critic_vector`); None leaves it to the caller to add it.

    Raises
    ------
    ValueError : a user's function without a situation.
    """
    form = options.observation
    if form == "flat":
        return flat(observation)
    if form != "dict":
        if situation is None or isinstance(form, str):
            raise ValueError("a function needs the situation")
        return form(situation, observation)
    parts: dict[str, npt.NDArray[Any]] = {
        "context": observation.context,
        "choices": observation.choices,
        "mask": observation.mask.astype(np.int8),
    }
    if options.critic and critic is not None:
        parts["critic"] = critic
    return parts


def flat(observation: Observation) -> npt.NDArray[np.float32]:
    """Return context, choices and mask in one row. `(FLAT_N,)`"""
    return np.concatenate(
        (observation.context, observation.choices.ravel(), observation.mask),
        dtype=np.float32,
        casting="unsafe",
    )


def features_table(features: Iterable[Feature]) -> str:
    """Return features as a Markdown table: index, name, meaning, unit, range and scale."""
    lines = ["| index | name | meaning | unit | range | is 1 at |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {place} | `{each.name}` | {each.meaning} | {each.unit} | 0-{each.most:g} | {each.scale:g} |"
        for place, each in enumerate(features)
    ]
    return "\n".join(lines)

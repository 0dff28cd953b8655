"""Ablations: what a policy is not told of people, so that a study can show what the knowledge is worth.

Only what the policy sees changes. The guard keeps the real detector and its own estimate of the need, so the
guarantee is never ablated; `perfect` alone is another detector, for policy and guard alike.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from bitgoeul.controller.detection import Frame
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.observe import CHOICE, NEED_QUANTILE, NeedReader
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.situation import Situation

Ablation = Literal["none", "class_blind", "perfect", "no_need", "presence"]
"""What is taken away: nothing; the class; the detector's faults; the need; all but somebody's presence."""
ABLATIONS: Final[tuple[str, ...]] = get_args(Ablation)
PRESENT_S: Final = next(feature.scale for feature in CHOICE if feature.name == "need")
"""What `presence` gives for the need of an occupied crossing: 1 once scaled. [s]"""


def check_ablation(name: str) -> None:
    """Refuse what is no ablation.

    Raises
    ------
    ValueError : not one of `ABLATIONS`.
    """
    if name not in ABLATIONS:
        raise ValueError(f"ablation = {name!r}: known are {', '.join(ABLATIONS)}")


def ablated(detector: str, ablation: str) -> str:
    """Return the detector that policy and guard look through under an ablation: `perfect`, or the same.

    Raises
    ------
    ValueError : not one of `ABLATIONS`.
    """
    check_ablation(ablation)
    return "perfect" if ablation == "perfect" else detector


def observed_needs(plan: SitePlan, ablation: str) -> NeedReader | None:
    """Return what an observer takes for the need under an ablation; None is the controller's own estimate.

    Raises
    ------
    ValueError : not one of `ABLATIONS`.
    """
    check_ablation(ablation)
    if ablation == "class_blind":
        return ClassBlindNeeds(plan)
    if ablation == "no_need":
        return NoNeeds()
    return Presence() if ablation == "presence" else None


class ClassBlindNeeds:
    """The need as it is estimated from the same tracks without their classes.

    Parameters
    ----------
    plan : the site.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._needs = NeedEstimator(plan)
        self._frames: tuple[Frame, ...] = ()
        self._stripped: tuple[Frame, ...] = ()

    def follow(self, situation: Situation) -> None:
        """Take in the newest frames, their classes removed; a frame that is still the same stays the same."""
        snapshot = situation.snapshot
        known = dict(zip(map(id, self._frames), self._stripped, strict=True))
        self._stripped = tuple(known.get(id(frame)) or without_classes(frame) for frame in snapshot.frames)
        self._frames = snapshot.frames
        self._needs.update(self._stripped, snapshot.requests)

    def need_s(self, situation: Situation, index: int) -> float:
        """Return the class-blind need on a crossing. [s]"""
        return self._needs.need(index, situation.snapshot.now_ds, quantile=NEED_QUANTILE)


class NoNeeds:
    """No need at all: nobody is ever known to be on a crossing."""

    def follow(self, situation: Situation) -> None:
        """Take in nothing."""

    def need_s(self, situation: Situation, index: int) -> float:  # noqa: ARG002 - the protocol's arguments
        """Return 0. [s]"""
        return 0.0


class Presence:
    """Whether somebody is on the crossing, as today's products tell; not how long they need."""

    def follow(self, situation: Situation) -> None:
        """Take in nothing: the newest picture is looked at."""

    def need_s(self, situation: Situation, index: int) -> float:
        """Return `PRESENT_S` while somebody is on the crossing, else 0. [s]"""
        return PRESENT_S if situation.snapshot.frames[index].on_crossing else 0.0


def without_classes(frame: Frame) -> Frame:
    """Return a frame whose tracks say nothing of a class."""
    return frame._replace(
        on_crossing=tuple(track._replace(class_probabilities=()) for track in frame.on_crossing),
        waiting=tuple(track._replace(class_probabilities=()) for track in frame.waiting),
    )

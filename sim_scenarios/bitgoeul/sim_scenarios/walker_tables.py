"""The table of walker classes (`walker_classes.toml`) as strict models: figures, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitgoeul.controller.detection import MOBILITY_CLASSES

from .tables import Positive, Share, Strict, TruncatedNormal, check_shares, read_table

WALKER_CLASSES_FILE = Path(__file__).parent / "walker_classes.toml"
HELPER_CLASS = "adult"
"""Class of a companion who helps. [A]"""

NotNegative = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]


class _Sourced(Strict):
    """A figure with where it comes from: `S: ...` seen, `M: ...` recalled, `A` or `A: ...` assumed."""

    source: str = Field(pattern=r"^([SM]: .+|A(: .+)?)$")


class Speed(_Sourced):
    """Mean walking speed over an empty crossing [m/s]; several parts are a mixture in equal parts."""

    parts: Annotated[tuple[TruncatedNormal, ...], Field(min_length=1)]


class StartUp(_Sourced):
    """Delay of who waits at the onset of walk: mean and 85th percentile of a lognormal. [s]"""

    mean_s: Positive
    p85_s: Positive


class Portion(_Sourced):
    """The share of a class that does something."""

    share: Share


class Hurry(Portion):
    """Those who can walk faster at flashing green, by what factor of their own speed."""

    factor: Annotated[float, Field(ge=1, le=3)]


class Slowing(_Sourced):
    """Speed at the far kerb over speed at the near one; 1: steady."""

    to: Annotated[float, Field(ge=0.2, le=1)]


class Rest(_Sourced):
    """A stop on the way: its probability over 10 m of crossing, and its mean length. [s]"""

    per_10m: Annotated[float, Field(ge=0, lt=1)]
    mean_s: NotNegative


class Companions(_Sourced):
    """Who walks along: probability of one and of two others, of the same class or helpers."""

    one: Share
    two: Share
    of: Literal["same", "adult"]

    @property
    def mean(self) -> float:
        """Return the mean number of companions."""
        return self.one + 2 * self.two

    def count(self, draw: float) -> int:
        """Return the number of companions at a draw, 0 the first to have two; inf has none."""
        if draw < self.two:
            return 2
        return 1 if draw < self.one + self.two else 0

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.one + self.two > 1:
            raise ValueError(f"one + two = {self.one + self.two:g}; probabilities sum to at most 1")
        return self


class WalkerClass(Strict):
    """How one mobility class moves."""

    id: Literal[MOBILITY_CLASSES]  # type: ignore[valid-type]
    speed: Speed
    startup: StartUp
    acoustic_startup: StartUp | None = None
    late: Portion
    red: Portion
    hurry: Hurry
    slowing: Slowing
    rest: Rest
    turn_back: Portion
    companions: Companions

    @property
    def mean_speed_mps(self) -> float:
        """Return the mean of the speed distribution before truncation. [m/s]"""
        return sum(part.mean for part in self.speed.parts) / len(self.speed.parts)

    def startup_at(self, *, is_acoustic: bool) -> StartUp:
        """Return the start-up where a sound signal gives the cue, or where none does."""
        return self.acoustic_startup if is_acoustic and self.acoustic_startup else self.startup


class AgeGroup(_Sourced):
    """Shares of the mobility classes among the walkers of an age."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    shares: dict[str, Share]

    @model_validator(mode="after")
    def _shares_are_whole(self) -> Self:
        check_shares(f"age group {self.id}", self.shares, MOBILITY_CLASSES)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Who walks with whom, on average.

    Parameters
    ----------
    per_person : parties (people alone are one) per person, above 0 and at most 1.
    leaders : shares of the classes among those who lead a party, summing to 1.
    helped : factor on the probability of a helper, below 1 where too few adults are there to help.
    """

    per_person: float
    leaders: dict[str, float]
    helped: float


class WalkerClasses(Strict):
    """The table of all mobility classes and ages."""

    schema_version: Literal[2]
    startup_max_s: Positive
    late_window_s: Positive
    red_window_s: Positive
    rest_max_s: Positive
    rest_between: tuple[Share, Share]
    turn_within: Share
    classes: tuple[WalkerClass, ...]
    age_groups: tuple[AgeGroup, ...]

    @model_validator(mode="after")
    def _every_class_stands_once(self) -> Self:
        if sorted(each.id for each in self.classes) != sorted(MOBILITY_CLASSES):
            raise ValueError(f"each class must stand once: {', '.join(MOBILITY_CLASSES)}")
        return self

    def walker_class(self, mobility_class: str) -> WalkerClass:
        """Return one class by its id.

        Raises
        ------
        ValueError : no such class.
        """
        for each in self.classes:
            if each.id == mobility_class:
                return each
        raise ValueError(f"mobility class {mobility_class!r} is unknown")

    def mix_of_ages(self, age_structure: Mapping[str, float]) -> dict[str, float]:
        """Return the shares of the mobility classes among walkers of an age structure.

        Parameters
        ----------
        age_structure : share of each age group among the walkers, summing to 1.

        Raises
        ------
        ValueError : an age group that the table does not have, or shares that do not sum to 1.

        Notes
        -----
        p(class) = sum over ages of p(age) p(class | age).
        """
        check_shares("age_structure", age_structure, [group.id for group in self.age_groups])
        mix = dict.fromkeys(MOBILITY_CLASSES, 0.0)
        for group in self.age_groups:
            for name, share in group.shares.items():
                mix[name] += age_structure.get(group.id, 0.0) * share
        return {name: share for name, share in mix.items() if share > 0}

    def parties(self, mix: Mapping[str, float]) -> Parties:
        """Return who leads how many parties, so that persons, companions included, have a given mix.

        Parameters
        ----------
        mix : shares of the classes among all persons, summing to 1.

        Notes
        -----
        Let l_c be the parties led by class c per person, s_c the mean number of companions of the same
        class, h_c of helpers (class a). Then m_c = l_c (1 + s_c) for all classes but the helpers', whose
        m_a = l_a (1 + s_a) + k sum of l_c h_c. k is 1, or less where the mix has too few adults to help.
        """
        led, helpers = {}, 0.0
        for name, share in mix.items():
            companions = self.walker_class(name).companions
            same = companions.mean if companions.of == "same" or name == HELPER_CLASS else 0.0
            led[name] = share / (1 + same)
            helpers += led[name] * (companions.mean - same)
        adults = mix.get(HELPER_CLASS, 0.0)
        helped = min(1.0, adults / helpers) if helpers else 1.0
        if HELPER_CLASS in led:
            led[HELPER_CLASS] *= 1 - helped * helpers / adults if adults else 0.0
        total = sum(led.values())
        return Parties(
            per_person=total, leaders={name: share / total for name, share in led.items()}, helped=helped
        )


@lru_cache(maxsize=1)
def walker_classes() -> WalkerClasses:
    """Return the shipped table of mobility classes, read once."""
    return read_table(WALKER_CLASSES_FILE, WalkerClasses)

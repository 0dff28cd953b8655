"""What an episode simulates: hour, detector, demand and walkers, drawn by its seed from a small file."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.demand import DEMAND_FACTOR_MAX, Variation
from bitgoeul.sim_scenarios.demand_tables import WhoWalks
from bitgoeul.sim_scenarios.simulation import LARGEST_SEED
from bitgoeul.sim_scenarios.tables import Strict, read_table

from .detector import preset

TRAINING_SEEDS: Final = 10_000
"""Episodes reset without a seed draw theirs below this; evaluation starts here (DESIGN, measures)."""
SITE_MIX: Final = "site"
"""Name of the walker mix that the site's own demand file states."""
GIVEN_MIX: Final = "given"
"""Name of a walker mix given to `reset`."""
EXAMPLE_FILE: Final = Path(__file__).parent / "randomise_example.toml"
"""A shipped example of a randomisation."""
DRAWN: Final = ("hour", "detector", "demand_factor", "walker_mix")
"""What `reset(options=)` may fix."""

Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, le=DEMAND_FACTOR_MAX, allow_inf_nan=False)]
TrainingSeed = Annotated[int, Field(ge=0, lt=TRAINING_SEEDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeDraw:
    """The conditions of one episode.

    Parameters
    ----------
    seed : of demand and detector.
    hour : demand period or hour of the day.
    detector : preset with changes.
    demand_factor : multiplies every flow; 1 is the site's own.
    walker_mix : name of the mix of walkers; `site` is the site's own.
    shares : its shares of the mobility classes; None for the site's own.
    """

    seed: int
    hour: str
    detector: str
    demand_factor: float = 1.0
    walker_mix: str = SITE_MIX
    shares: Mapping[str, float] | None = None

    @property
    def variation(self) -> Variation:
        """Return what differs from the site's own demand."""
        return Variation(demand_factor=self.demand_factor, walker_mix=self.shares)


class WeightedHour(Strict):
    """A demand period or hour of the day, and how often it is drawn."""

    hour: str
    weight: Weight = 1.0


class WeightedDetector(Strict):
    """A detector preset, with changes if any, and how often it is drawn."""

    detector: str
    weight: Weight = 1.0

    @field_validator("detector")
    @classmethod
    def _is_known(cls, detector: str) -> str:
        preset(detector)
        return detector


class WeightedMix(WhoWalks):
    """A named mix of walkers (neither mix nor ages: the site's own), and how often it is drawn."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    weight: Weight = 1.0

    @model_validator(mode="after")
    def _names_tell_the_sites_own(self) -> Self:
        if (self.name == SITE_MIX) != (self.mix is None):
            raise ValueError(
                f"walker mix {self.name!r}: {SITE_MIX!r} names the site's own mix and states no shares;"
                " any other states mobility_mix or age_structure"
            )
        return self


class Randomisation(Strict):
    """What episodes are drawn from. What a file leaves out stays as the environment's options say.

    `seeds` are the first and last seed, below 10,000; `demand_factor` the ends of a uniform draw.
    """

    schema_version: Literal[1]
    seeds: tuple[TrainingSeed, TrainingSeed] = (0, TRAINING_SEEDS - 1)
    demand_factor: tuple[Factor, Factor] = (1.0, 1.0)
    hours: tuple[WeightedHour, ...] = ()
    detectors: tuple[WeightedDetector, ...] = ()
    walker_mixes: tuple[WeightedMix, ...] = ()

    @model_validator(mode="after")
    def _ranges_go_up(self) -> Self:
        for name, (first, last) in (("seeds", self.seeds), ("demand_factor", self.demand_factor)):
            if first > last:
                raise ValueError(f"{name} = [{first}, {last}]: the first must not be above the last")
        names = [mix.name for mix in self.walker_mixes]
        if len(set(names)) < len(names):
            raise ValueError(f"walker_mixes: each name stands once; these are {', '.join(names)}")
        return self

    def draw(self, rng: np.random.Generator, base: EpisodeDraw) -> EpisodeDraw:
        """Draw an episode.

        Parameters
        ----------
        rng : takes five draws, whatever the file states.
        base : what stays as it is where nothing is stated.
        """
        seed = int(rng.integers(self.seeds[0], self.seeds[1] + 1))
        picks = rng.random(4)
        hour, detector = _pick(self.hours, picks[0]), _pick(self.detectors, picks[1])
        mix = _pick(self.walker_mixes, picks[2])
        low, high = self.demand_factor
        return EpisodeDraw(
            seed=seed,
            hour=base.hour if hour is None else hour.hour,
            detector=base.detector if detector is None else detector.detector,
            demand_factor=round(low + (high - low) * float(picks[3]), 3),
            walker_mix=base.walker_mix if mix is None else mix.name,
            shares=base.shares if mix is None else mix.mix,
        )

    def check_hours(self, known: Callable[[str], object], source: str) -> None:
        """Refuse an hour that a site does not have, before one is drawn.

        Parameters
        ----------
        known : raises on an unknown hour, as a site's `demand.period` does.
        source : where this was read, for the message.

        Raises
        ------
        ScenarioError : what `known` raises, with its place in the randomisation.
        """
        for place, row in enumerate(self.hours):
            try:
                known(row.hour)
            except ScenarioError as error:
                raise ScenarioError(f"{source}: hours.{place}.hour: {error}") from error

    def mix_named(self, name: str) -> WeightedMix:
        """Return a walker mix by its name.

        Raises
        ------
        ValueError : the file has no such mix.
        """
        for mix in self.walker_mixes:
            if mix.name == name:
                return mix
        known = ", ".join(mix.name for mix in self.walker_mixes) or "none"
        raise ValueError(f"walker_mix {name!r} is unknown; the randomisation has {known}")


NOTHING_DRAWN: Final = Randomisation(schema_version=1)
"""Only the seed is drawn."""


def load_randomisation(path: str | Path) -> Randomisation:
    """Read a randomisation from a TOML file.

    Raises
    ------
    ScenarioError : it cannot be read or has faults.
    """
    return read_table(Path(path), Randomisation)


def checked_seed(seed: object) -> int | None:
    """Return a seed given to `reset` as an int, or None.

    Raises
    ------
    ValueError : not a whole number of 0 or more.
    """
    if seed is None:
        return None
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0 or isinstance(seed, bool):
        raise ValueError(f"seed = {seed}: a seed is a whole number of 0 or more")
    return number


def played(seed: int | None) -> int | None:
    """Return the demand seed that a given seed plays; None: it only seeds the draw of one.

    Learners draw seeds of 32 bits and more; SUMO takes those of 31.
    """
    return seed if seed is not None and seed <= LARGEST_SEED else None


def fix(draw: EpisodeDraw, given: Mapping[str, Any], known: Randomisation) -> EpisodeDraw:
    """Return a draw with what `reset(options=)` fixes.

    Parameters
    ----------
    draw : what was drawn.
    given : values by the names of `DRAWN`; a walker mix by name or as shares of the mobility classes.
    known : where a mix is looked up by name.

    Raises
    ------
    ValueError : an unknown name or a value out of its range.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"reset options {given!r}: give a mapping of {', '.join(DRAWN)}")  # noqa: TRY004 - as for all options
    unknown = sorted(set(map(str, given)) - set(DRAWN))
    if unknown:
        raise ValueError(f"unknown reset options: {', '.join(unknown)}; known are {', '.join(DRAWN)}")
    changes: dict[str, Any] = {}
    if "hour" in given:
        changes["hour"] = checked_hour(given["hour"])
    if "detector" in given:
        changes["detector"] = checked_text("detector", given["detector"])
        preset(given["detector"])
    if "demand_factor" in given:
        changes["demand_factor"] = checked_number("demand_factor", given["demand_factor"])
    mix = given.get("walker_mix", draw.walker_mix)
    if mix == SITE_MIX:
        changes |= {"walker_mix": SITE_MIX, "shares": None}
    elif isinstance(mix, str) and mix != draw.walker_mix:
        changes |= {"walker_mix": mix, "shares": known.mix_named(mix).mix}
    elif isinstance(mix, Mapping):
        shares = {name: checked_number(f"walker_mix[{name!r}]", share) for name, share in mix.items()}
        changes |= {"walker_mix": GIVEN_MIX, "shares": shares}
    elif not isinstance(mix, str):
        raise ValueError(f"walker_mix = {mix!r}: give a name, or shares of the mobility classes")
    fixed = replace(draw, **changes)
    fixed.variation.check()
    return fixed


def checked_text(name: str, value: object) -> str:
    """Return a text that was given.

    Raises
    ------
    ValueError : something else was.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} = {value!r}: give a text")  # noqa: TRY004 - as for all options
    return value


def checked_hour(hour: object) -> str:
    """Return a demand period or hour of the day as a text; an hour may be a number.

    Raises
    ------
    ValueError : it is neither.
    """
    if not isinstance(hour, str | bool) and isinstance(hour, Integral):
        return str(int(hour))
    return checked_text("hour", hour)


def checked_number(name: str, value: object) -> float:
    """Return a number that was given, numpy's too; its range is for others to check.

    Raises
    ------
    ValueError : something else was.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} = {value!r}: give a number")  # noqa: TRY004 - as for all options
    return float(value)


Row = TypeVar("Row", WeightedHour, WeightedDetector, WeightedMix)


def _pick(rows: Sequence[Row], draw: float) -> Row | None:
    """Return the row that a uniform draw falls on, by weight; None of no rows."""
    if not rows:
        return None
    bounds = np.cumsum([row.weight for row in rows])
    return rows[min(int(np.searchsorted(bounds, draw * bounds[-1], side="right")), len(rows) - 1)]

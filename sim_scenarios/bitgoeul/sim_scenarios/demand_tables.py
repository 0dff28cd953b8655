"""A site's demand file and the table of walker classes, as strict models read from TOML."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan

SHARE_TOLERANCE = 1e-6
"""How far shares that must sum to 1 may be off, for decimals in a file."""
HOURS_A_DAY = 24
WALKER_CLASSES_FILE = Path(__file__).parent / "walker_classes.toml"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PerHour = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Approach(_Strict):
    """Peak vehicle flow of one leg by turn, in vehicles per hour."""

    leg: str
    left_veh_per_h: PerHour
    through_veh_per_h: PerHour
    right_veh_per_h: PerHour

    def veh_per_h(self, turn: str) -> float:
        """Return the peak flow of `left`, `through` or `right` in veh/h; 0 for any other turn."""
        flows = {
            "left": self.left_veh_per_h,
            "through": self.through_veh_per_h,
            "right": self.right_veh_per_h,
        }
        return flows.get(turn, 0.0)


class VehicleType(_Strict):
    """A kind of vehicle: its share of the flow, persons in it, and its SUMO class and length."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    sumo_class: str
    share: Share
    persons: Positive
    length_m: Positive


class TruncatedNormal(_Strict):
    """A normal distribution cut off at both ends of `clip` (conditioned, not clamped)."""

    mean: Positive
    sd: Positive
    clip: tuple[Positive, Positive]

    @model_validator(mode="after")
    def _clip_holds_the_mean(self) -> Self:
        if not self.clip[0] < self.mean < self.clip[1]:
            raise ValueError(f"mean {self.mean} must lie inside clip {list(self.clip)}")
        return self


class CrossingDemand(_Strict):
    """Peak walkers of one crossing, in persons per hour."""

    id: str
    persons_per_h: PerHour
    from_kerb_a_share: Share


class Period(_Strict):
    """Hours of the day that share one level of flow, relative to the peak flows of the file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    hours: tuple[Annotated[int, Field(ge=0, lt=HOURS_A_DAY)], ...]
    vehicle_factor: Annotated[float, Field(ge=0, le=3)]
    walker_factor: Annotated[float, Field(ge=0, le=3)]


class Demand(_Strict):
    """A site's `demand.toml`: flows, mixes and periods.

    `yield_gap_m` is how far a walker must be from a turning car's path for the car to go first. [m]
    """

    schema_version: Literal[1]
    yield_gap_m: Positive
    approaches: tuple[Approach, ...]
    vehicle_types: tuple[VehicleType, ...]
    vehicle_speed_factor: TruncatedNormal
    crossings: tuple[CrossingDemand, ...]
    mobility_mix: dict[str, Share]
    periods: tuple[Period, ...]

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        for name, shares in (
            ("vehicle_types", [each.share for each in self.vehicle_types]),
            ("mobility_mix", list(self.mobility_mix.values())),
        ):
            if abs(sum(shares) - 1.0) > SHARE_TOLERANCE:
                raise ValueError(f"the shares of {name} sum to {sum(shares):g}; they must sum to 1")
        return self

    @model_validator(mode="after")
    def _classes_are_known(self) -> Self:
        unknown = sorted(set(self.mobility_mix) - set(MOBILITY_CLASSES))
        if unknown:
            raise ValueError(f"mobility_mix has {unknown}; known are {', '.join(MOBILITY_CLASSES)}")
        return self

    @model_validator(mode="after")
    def _hours_are_covered_once(self) -> Self:
        hours = sorted(hour for period in self.periods for hour in period.hours)
        if hours != list(range(HOURS_A_DAY)):
            raise ValueError("the periods must cover each hour of the day, 0 to 23, exactly once")
        return self

    def period(self, hour: str | int) -> Period:
        """Return a period by its name or by an hour of the day (0 to 23, as number or text).

        Raises
        ------
        ScenarioError : no such period; the message lists the names.
        """
        for period in self.periods:
            is_number = isinstance(hour, int) or hour.isdecimal()
            if hour == period.name or (is_number and int(hour) in period.hours):
                return period
        names = ", ".join(period.name for period in self.periods)
        raise ScenarioError(f"hour {hour!r} is unknown; give one of {names}, or an hour 0 to 23")

    def persons_in(self, vehicle_type: str) -> float:
        """Return how many persons sit in a vehicle of a type (its id).

        Raises
        ------
        ValueError : the file has no such type.
        """
        for each in self.vehicle_types:
            if each.id == vehicle_type:
                return each.persons
        raise ValueError(f"vehicle type {vehicle_type!r} is not in the demand file")


class WalkerClass(_Strict):
    """How one mobility class moves, with where the figures come from."""

    id: Literal[MOBILITY_CLASSES]  # type: ignore[valid-type]
    speeds: Annotated[tuple[TruncatedNormal, ...], Field(min_length=1)]
    startup_mean_s: Positive
    startup_p85_s: Positive
    late_share: Share
    sources: str = Field(min_length=1)


class WalkerClasses(_Strict):
    """The table of all mobility classes (`walker_classes.toml`)."""

    schema_version: Literal[1]
    startup_max_s: Positive
    late_window_s: Positive
    classes: tuple[WalkerClass, ...]

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


Table = TypeVar("Table", bound=BaseModel)


def read_table(path: Path, model: type[Table]) -> Table:
    """Read a TOML file into a strict model.

    Parameters
    ----------
    path : the file.
    model : what it must look like.

    Raises
    ------
    ScenarioError : the file is missing, is no TOML or has faults; all are named with their place.
    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    try:
        return model.model_validate(document)
    except ValidationError as fault:
        faults = fault.errors(include_url=False)
        lines = "".join(
            f"\n  {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg'].removeprefix('Value error, ')}"
            for each in faults
        )
        raise ScenarioError(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}{lines}") from None


def load_demand(path: Path, plan: SitePlan) -> Demand:
    """Read a site's demand and check it against the site's plan.

    Parameters
    ----------
    path : the `demand.toml`.
    plan : the site's plan; every leg with lanes in and every crossing needs its row.

    Raises
    ------
    ScenarioError : the file cannot be read, has faults, or speaks of another junction.
    """
    demand = read_table(path, Demand)
    legs_in = sorted(leg.id for leg in plan.legs if leg.lanes_in)
    for what, found, wanted in (
        ("approaches", sorted(each.leg for each in demand.approaches), legs_in),
        ("crossings", sorted(each.id for each in demand.crossings), sorted(x.id for x in plan.crossings)),
    ):
        if found != wanted:
            raise ScenarioError(f"{path}: {what} has rows for {found}; the plan has {wanted}")
    movements = {(movement.from_leg, movement.turn) for movement in plan.movements}
    for approach in demand.approaches:
        for turn in ("left", "through", "right"):
            if approach.veh_per_h(turn) and (approach.leg, turn) not in movements:
                raise ScenarioError(f"{path}: leg {approach.leg} has {turn} flow but no such movement")
    return demand


@lru_cache(maxsize=1)
def walker_classes() -> WalkerClasses:
    """Return the shipped table of mobility classes, read once."""
    return read_table(WALKER_CLASSES_FILE, WalkerClasses)

"""A site's demand file and the table of walker classes, as strict models read from TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan

from .tables import PerHour, Positive, Share, Strict, TruncatedNormal, check_shares, read_table
from .walker_tables import walker_classes

HOURS_A_DAY = 24


class Approach(Strict):
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


class VehicleType(Strict):
    """A kind of vehicle: its share of the flow, persons in it, and its SUMO class and length."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    sumo_class: str
    share: Share
    persons: Positive
    length_m: Positive


class CrossingDemand(Strict):
    """Peak walkers of one crossing, in persons per hour."""

    id: str
    persons_per_h: PerHour
    from_kerb_a_share: Share


class WhoWalks(Strict):
    """Who the walkers are: shares of the mobility classes, or of the age groups that they follow from."""

    mobility_mix: dict[str, Share] | None = None
    age_structure: dict[str, Share] | None = None

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        if self.mobility_mix is not None and self.age_structure is not None:
            raise ValueError("give mobility_mix or age_structure, not both")
        if self.mobility_mix is not None:
            check_shares("mobility_mix", self.mobility_mix, MOBILITY_CLASSES)
        if self.age_structure is not None:
            walker_classes().mix_of_ages(self.age_structure)
        return self

    @property
    def mix(self) -> dict[str, float] | None:
        """Return the shares of the mobility classes, or None where nothing is said of them."""
        if self.age_structure is not None:
            return walker_classes().mix_of_ages(self.age_structure)
        return self.mobility_mix


class Period(WhoWalks):
    """Hours of the day that share one level of flow, relative to the peak flows of the file.

    Its own `mobility_mix` or `age_structure`, if any, stands in place of the file's.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    hours: tuple[Annotated[int, Field(ge=0, lt=HOURS_A_DAY)], ...]
    vehicle_factor: Annotated[float, Field(ge=0, le=3)]
    walker_factor: Annotated[float, Field(ge=0, le=3)]


class Demand(WhoWalks):
    """A site's `demand.toml`: flows, mixes and periods.

    `yield_gap_m` is how far a walker must be from a turning car's path for the car to go first. [m]
    """

    schema_version: Literal[1]
    yield_gap_m: Positive
    approaches: tuple[Approach, ...]
    vehicle_types: tuple[VehicleType, ...]
    vehicle_speed_factor: TruncatedNormal
    crossings: tuple[CrossingDemand, ...]
    periods: tuple[Period, ...]

    @model_validator(mode="after")
    def _vehicles_and_walkers_are_whole(self) -> Self:
        shares = {each.id: each.share for each in self.vehicle_types}
        check_shares("vehicle_types", shares, shares)
        if self.mix is None:
            raise ValueError("give mobility_mix or age_structure: who are the walkers?")
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

    def mix_at(self, hour: str | int) -> dict[str, float]:
        """Return the shares of the mobility classes among all persons of a period, summing to 1.

        Raises
        ------
        ScenarioError : no such period.
        """
        return self.period(hour).mix or self.mix or {}

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

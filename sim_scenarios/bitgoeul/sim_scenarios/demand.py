"""The trips of one run, drawn by seed alone, and the SUMO route file they are written to.

Every draw comes from a stream of its own, named by the seed and by what is drawn, and takes one
uniform number per vehicle or party of walkers. So the same seed gives the same trips for every controller
and for every site that shares the demand, and a longer run only adds trips at its end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.plan_checks import REFUGE
from bitgoeul.controller.plan_parts import Crossing, Movement

from .demand_tables import Demand, load_demand
from .files import write_text
from .streams import Stream, picked, truncated_normals
from .tables import check_shares
from .walker_trips import Flow, WalkerTrip, walker_flow

if TYPE_CHECKING:
    from .catalog import Site

__all__ = [
    "Demand",
    "Trips",
    "Variation",
    "VehicleTrip",
    "WalkerTrip",
    "draw_trips",
    "load_demand",
    "write_routes",
]

WALK_IN_M = 15.0
"""Where walkers appear on the sidewalk, before the junction. [m] [A]"""
WALK_OUT_M = 10.0
"""Where walkers leave the sidewalk, after the junction. [m] [A]"""
DEMAND_FACTOR_MAX = 3.0
"""Largest factor on a site's flows. [A]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How a run's demand differs from the site's own; the defaults leave it as it is.

    Parameters
    ----------
    demand_factor : multiplies every flow, of vehicles and walkers; above 0, at most 3.
    walker_mix : shares of the mobility classes among all persons, summing to 1; None: the site's.
    """

    demand_factor: float = 1.0
    walker_mix: Mapping[str, float] | None = None

    def check(self) -> None:
        """Refuse what cannot be drawn.

        Raises
        ------
        ValueError : a factor out of its range, an unknown class, or shares that do not sum to 1.
        """
        if not (math.isfinite(self.demand_factor) and 0 < self.demand_factor <= DEMAND_FACTOR_MAX):
            raise ValueError(
                f"demand_factor = {self.demand_factor}: a factor is above 0 and at most {DEMAND_FACTOR_MAX:g}"
            )
        if self.walker_mix is not None:
            check_shares("walker_mix", self.walker_mix, MOBILITY_CLASSES)
            if min(self.walker_mix.values()) < 0:
                raise ValueError(f"walker_mix = {dict(self.walker_mix)}: a share is 0 or more")


AS_STATED = Variation()
"""The site's own demand."""


class VehicleTrip(NamedTuple):
    """One vehicle. A named tuple: some thousands are made at each reset.

    Parameters
    ----------
    id : `v` and a number in order of departure.
    depart_s : time at which it wants to enter. [s]
    vehicle_type : id of its type in the demand file.
    from_leg : where it comes from.
    movement : movement id of the plan.
    edges : its SUMO route.
    speed_factor : wanted speed over the speed limit.
    """

    id: str
    depart_s: float
    vehicle_type: str
    from_leg: str
    movement: str
    edges: tuple[str, ...]
    speed_factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trips:
    """All trips of one run, each tuple in order of departure.

    Parameters
    ----------
    demand : the file they were drawn from.
    seed : what they were drawn with.
    duration_s : they depart within [0, duration_s). [s]
    vehicles, walkers : the trips.
    """

    demand: Demand
    seed: int
    duration_s: int
    vehicles: tuple[VehicleTrip, ...]
    walkers: tuple[WalkerTrip, ...]


def draw_trips(
    site: Site, *, seed: int, hour: str, duration_s: int, variation: Variation = AS_STATED
) -> Trips:
    """Draw all trips of one run.

    Parameters
    ----------
    site : the site; only its demand and the names in its plan matter, never its timings.
    seed : 0 or more; the same seed gives the same trips.
    hour : name of a demand period, or an hour of the day (`"8"`).
    duration_s : trips depart within [0, duration_s), at a constant rate (Poisson). [s]
    variation : factor on the flows, another mix of walkers.

    Raises
    ------
    ScenarioError : unknown hour.
    ValueError : negative seed, a duration below 1 s, or a variation out of its range.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; seeds are 0 or more")
    if duration_s < 1:
        raise ValueError(f"a run of {duration_s} s is too short; give at least 1 s")
    variation.check()
    period = site.demand.period(hour)
    approaches = {each.leg: each for each in site.demand.approaches}
    vehicles = [
        each
        for movement in sorted(site.plan.movements, key=attrgetter("id"))
        if movement.from_leg in approaches
        for each in _vehicle_flow(
            site,
            movement,
            Stream(seed=seed, name=f"vehicles {movement.id}", duration_s=duration_s),
            approaches[movement.from_leg].veh_per_h(movement.turn)
            * period.vehicle_factor
            * variation.demand_factor,
        )
    ]
    walkers = [
        trip
        for flow in _walker_flows(site, hour, variation)
        for trip in walker_flow(
            flow, Stream(seed=seed, name=f"walkers {flow.crossing.id}", duration_s=duration_s)
        )
    ]
    vehicles.sort(key=itemgetter(0))  # at one moment in the order of the movements
    walkers.sort(key=lambda trip: (trip.depart_s, trip.crossing))
    return Trips(
        demand=site.demand,
        seed=seed,
        duration_s=duration_s,
        vehicles=tuple([VehicleTrip(f"v{number}", *drawn) for number, drawn in enumerate(vehicles)]),
        walkers=tuple([trip._replace(id=f"w{number}") for number, trip in enumerate(walkers)]),
    )


def _vehicle_flow(
    site: Site, movement: Movement, stream: Stream, per_h: float
) -> list[tuple[float, str, str, str, tuple[str, ...], float]]:
    """Draw the vehicles of one movement: all fields of their trips but the id."""
    departures_s = stream.departures_s(per_h)
    count = len(departures_s)
    types = picked(
        {each.id: each.share for each in site.demand.vehicle_types}, stream.uniforms("type", count)
    )
    factors = truncated_normals(site.demand.vehicle_speed_factor, stream.uniforms("speed", count))
    leg, name = movement.from_leg, movement.id
    edges = (f"{leg}_far", f"{leg}_in", f"{movement.to_leg}_out")
    return [
        (depart_s, vehicle_type, leg, name, edges, round(factor, 3))
        for depart_s, vehicle_type, factor in zip(departures_s, types, factors, strict=True)
    ]


def _walker_flows(site: Site, hour: str, variation: Variation) -> Iterator[Flow]:
    period = site.demand.period(hour)
    mix = site.demand.mix_at(hour) if variation.walker_mix is None else variation.walker_mix
    for each in site.demand.crossings:
        crossing = site.plan.crossing(each.id)
        yield Flow(
            crossing=crossing,
            kerb_a_share=each.from_kerb_a_share,
            ends=_ends(site.plan, crossing),
            persons_per_h=each.persons_per_h * period.walker_factor * variation.demand_factor,
            mix=mix,
        )


def _ends(plan: SitePlan, crossing: Crossing) -> dict[str, tuple[str, str]]:
    """Return the SUMO edges of a walk by its kerb; nobody sets out from an island."""
    return {kerb: _walk_edges(plan, crossing, kerb) for kerb in crossing.kerbs if kerb != REFUGE}


def _walk_edges(plan: SitePlan, crossing: Crossing, from_kerb: str) -> tuple[str, str]:
    """Return the SUMO edges of a walk: the approach's sidewalk is on the side of its right turn."""
    inbound_kerb = next(
        (each.to_leg for each in plan.movements if each.from_leg == crossing.leg and each.turn == "right"),
        crossing.kerbs[0],
    )
    inbound, outbound = f"{crossing.leg}_in", f"{crossing.leg}_out"
    return (inbound, outbound) if from_kerb == inbound_kerb else (outbound, inbound)


def write_routes(trips: Trips, path: Path) -> None:
    """Write trips as a SUMO route file, sorted by departure; via a temporary name.

    Each walker is a person with a vehicle type of its own (speed exact, lateness) and parameters
    `bitgoeul.class`, `bitgoeul.startup_s`, `bitgoeul.crossing`, `bitgoeul.speed_mps` and, unless it is a
    steady walk alone, `bitgoeul.gait`, so that any program attached to SUMO can read them.

    Raises
    ------
    ScenarioError : the file cannot be written.
    """
    entries = [(trip.depart_s, _vehicle_xml(trip)) for trip in trips.vehicles]
    entries += [(trip.depart_s, _walker_xml(trip)) for trip in trips.walkers]
    entries.sort(key=itemgetter(0))  # at one moment vehicles first, then walkers, each as they stand
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<routes>"]
    lines += [
        f'    <vType id="{each.id}" vClass="{each.sumo_class}" length="{each.length_m:g}"'
        f' jmCrossingGap="{trips.demand.yield_gap_m:g}">'
        f'<param key="bitgoeul.persons" value="{each.persons:g}"/></vType>'
        for each in trips.demand.vehicle_types
    ]
    lines += [text for _, text in entries]
    write_text(path, "\n".join([*lines, "</routes>", ""]))


def _vehicle_xml(trip: VehicleTrip) -> str:
    return (
        f'    <vehicle id="{trip.id}" type="{trip.vehicle_type}" depart="{trip.depart_s:.2f}"'
        f' departLane="best" departSpeed="max" speedFactor="{trip.speed_factor:.3f}">'
        f'<route edges="{" ".join(trip.edges)}"/></vehicle>'
    )


def _walker_xml(trip: WalkerTrip) -> str:
    # A position below 0 counts from the end of the edge, which is the junction on an approach.
    begins_m, ends_m = (-WALK_IN_M, WALK_OUT_M) if trip.edges[0].endswith("_in") else (WALK_IN_M, -WALK_OUT_M)
    late = f' jmDriveAfterYellowTime="{trip.late_s:g}"' if trip.late_s > 0 else ""
    late += f' jmDriveAfterRedTime="{trip.red_s:g}"' if trip.red_s > 0 else ""
    speed_mps, gait = f"{trip.speed_mps:.3f}", trip.gait.as_text()
    tags = (
        f'<param key="bitgoeul.class" value="{trip.mobility_class}"/>'
        f'<param key="bitgoeul.startup_s" value="{trip.startup_s:.2f}"/>'
        f'<param key="bitgoeul.crossing" value="{trip.crossing}"/>'
        f'<param key="bitgoeul.speed_mps" value="{speed_mps}"/>'
    )
    if gait:
        tags += f'<param key="bitgoeul.gait" value="{gait}"/>'
    return (
        f'    <vType id="type_{trip.id}" vClass="pedestrian" maxSpeed="{speed_mps}"'
        f' desiredMaxSpeed="{speed_mps}" speedFactor="1" speedDev="0"{late}/>\n'
        f'    <person id="{trip.id}" type="type_{trip.id}" depart="{trip.depart_s:.2f}"'
        f' departPos="{begins_m:g}">'
        f'{tags}<walk edges="{" ".join(trip.edges)}" arrivalPos="{ends_m:g}"/></person>'
    )

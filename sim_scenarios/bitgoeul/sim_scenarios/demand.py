"""The trips of one run, drawn by seed alone, and the SUMO route file they are written to.

Every draw comes from a stream of its own, named by the seed and by what is drawn, and takes one
uniform number per trip. So the same seed gives the same trips for every controller and for every site
that shares the demand, and a longer run only adds trips at its end.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.plan_parts import Crossing, Movement

from .demand_tables import (
    CrossingDemand,
    Demand,
    TruncatedNormal,
    WalkerClass,
    load_demand,
    walker_classes,
)
from .files import write_text

if TYPE_CHECKING:
    from .catalog import Site

__all__ = [
    "Demand",
    "Trips",
    "VehicleTrip",
    "WalkerTrip",
    "draw_trips",
    "load_demand",
    "lognormal_parameters",
    "walker_classes",
    "write_routes",
]

WALK_IN_M = 15.0
"""Where walkers appear on the sidewalk, before the junction. [m] [A]"""
WALK_OUT_M = 10.0
"""Where walkers leave the sidewalk, after the junction. [m] [A]"""
STANDARD_NORMAL = NormalDist()
P85_Z = STANDARD_NORMAL.inv_cdf(0.85)


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleTrip:
    """One vehicle.

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
class WalkerTrip:
    """One walker over one crossing.

    Parameters
    ----------
    id : `w` and a number in order of departure.
    depart_s : when the walker appears, `WALK_IN_M` before the junction. [s]
    crossing : crossing id of the plan.
    from_kerb : the leg that names the kerb of departure (one of the crossing's `kerbs`).
    mobility_class : one of `MOBILITY_CLASSES`.
    speed_mps : walking speed, unhindered. [m/s]
    startup_s : delay at walk onset if already waiting. [s]
    late_s : enters until this long after clearance began; 0: never after walk. [s]
    edges : SUMO edges of the walk.
    """

    id: str
    depart_s: float
    crossing: str
    from_kerb: str
    mobility_class: str
    speed_mps: float
    startup_s: float
    late_s: float
    edges: tuple[str, str]


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


@lru_cache(maxsize=64)
def lognormal_parameters(mean: float, p85: float) -> tuple[float, float]:
    """Return mu and sigma of the lognormal with a given mean and 85th percentile.

    Parameters
    ----------
    mean, p85 : of the quantity itself; `p85` above `mean`.

    Returns
    -------
    mu, sigma of the logarithm. Beyond p85 / mean = exp(z^2 / 2) = 1.711 no lognormal exists: then the
    nearest, sigma = z, which keeps the mean and reaches p85 = 1.711 mean.

    Raises
    ------
    ValueError : `p85` is not above `mean`, or `mean` is not above 0.

    Notes
    -----
    mean = exp(mu + sigma^2 / 2) and p85 = exp(mu + z sigma) with z = 1.0364 give
    sigma = z - sqrt(z^2 - 2 ln(p85 / mean)); the smaller root, the less skewed of the two.

    Examples
    --------
    >>> mu, sigma = lognormal_parameters(2.5, 3.8)
    >>> round(math.exp(mu + sigma**2 / 2), 6), round(math.exp(mu + P85_Z * sigma), 6)
    (2.5, 3.8)
    """
    if not 0 < mean < p85:
        raise ValueError(f"p85 {p85} must be above mean {mean}, and both above 0")
    sigma = P85_Z - math.sqrt(max(P85_Z**2 - 2 * math.log(p85 / mean), 0.0))
    return math.log(mean) - sigma**2 / 2, sigma


def draw_trips(site: Site, *, seed: int, hour: str, duration_s: int) -> Trips:
    """Draw all trips of one run.

    Parameters
    ----------
    site : the site; only its demand and the names in its plan matter, never its timings.
    seed : 0 or more; the same seed gives the same trips.
    hour : name of a demand period, or an hour of the day (`"8"`).
    duration_s : trips depart within [0, duration_s), at a constant rate (Poisson). [s]

    Raises
    ------
    ScenarioError : unknown hour.
    ValueError : negative seed or a duration below 1 s.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; seeds are 0 or more")
    if duration_s < 1:
        raise ValueError(f"a run of {duration_s} s is too short; give at least 1 s")
    period = site.demand.period(hour)
    vehicles = [
        trip
        for approach in site.demand.approaches
        for movement in site.plan.movements
        if movement.from_leg == approach.leg
        for trip in _vehicle_flow(
            site,
            movement,
            _Stream(seed=seed, name=f"vehicles {movement.id}", duration_s=duration_s),
            approach.veh_per_h(movement.turn) * period.vehicle_factor,
        )
    ]
    walkers = [
        trip
        for each in site.demand.crossings
        for trip in _walker_flow(
            site,
            each,
            _Stream(seed=seed, name=f"walkers {each.id}", duration_s=duration_s),
            each.persons_per_h * period.walker_factor,
        )
    ]
    vehicles.sort(key=lambda trip: (trip.depart_s, trip.movement))
    walkers.sort(key=lambda trip: (trip.depart_s, trip.crossing))
    return Trips(
        demand=site.demand,
        seed=seed,
        duration_s=duration_s,
        vehicles=tuple(replace(trip, id=f"v{number}") for number, trip in enumerate(vehicles)),
        walkers=tuple(replace(trip, id=f"w{number}") for number, trip in enumerate(walkers)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """Random numbers of one flow: each attribute of its trips has a generator of its own."""

    seed: int
    name: str
    duration_s: int

    def generator(self, attribute: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, crc32(f"{self.name} {attribute}".encode())])

    def departures_s(self, per_h: float) -> list[float]:
        """Return Poisson departure times within the run in seconds, to 0.01 s, in order."""
        if per_h <= 0:
            return []
        expected = per_h * self.duration_s / 3600
        block = math.ceil(expected + 10 * math.sqrt(expected) + 10)
        gaps_s = self.generator("departure").exponential(3600 / per_h, block)
        times_s = np.cumsum(gaps_s).round(2)
        return [float(at_s) for at_s in times_s[times_s < self.duration_s]]

    def uniforms(self, attribute: str, count: int) -> list[float]:
        """Return one number in (0, 1) per trip."""
        drawn = self.generator(attribute).random(count)
        return [float(one) for one in np.clip(drawn, 1e-12, 1 - 1e-12)]


def _vehicle_flow(site: Site, movement: Movement, stream: _Stream, per_h: float) -> Iterator[VehicleTrip]:
    departures_s = stream.departures_s(per_h)
    count = len(departures_s)
    types = _picker({each.id: each.share for each in site.demand.vehicle_types})
    edges = (f"{movement.from_leg}_far", f"{movement.from_leg}_in", f"{movement.to_leg}_out")
    draws = zip(departures_s, stream.uniforms("type", count), stream.uniforms("speed", count), strict=True)
    for depart_s, type_draw, speed_draw in draws:
        yield VehicleTrip(
            id="",
            depart_s=depart_s,
            vehicle_type=types(type_draw),
            from_leg=movement.from_leg,
            movement=movement.id,
            edges=edges,
            speed_factor=round(truncated_normal(site.demand.vehicle_speed_factor, speed_draw), 3),
        )


def _walker_flow(site: Site, flow: CrossingDemand, stream: _Stream, per_h: float) -> Iterator[WalkerTrip]:
    departures_s = stream.departures_s(per_h)
    crossing = site.plan.crossing(flow.id)
    table = walker_classes()
    classes = _picker(site.demand.mobility_mix)
    ends = {kerb: _walk_edges(site.plan, crossing, kerb) for kerb in crossing.kerbs}
    attributes = ("kerb", "class", "component", "speed", "startup", "lateness")
    columns = (stream.uniforms(attribute, len(departures_s)) for attribute in attributes)
    for depart_s, kerb, mobility, component, speed, startup, lateness in zip(
        departures_s, *columns, strict=True
    ):
        from_kerb = crossing.kerbs[0 if kerb < flow.from_kerb_a_share else 1]
        walker_class = table.walker_class(classes(mobility))
        speeds = walker_class.speeds
        yield WalkerTrip(
            id="",
            depart_s=depart_s,
            crossing=flow.id,
            from_kerb=from_kerb,
            mobility_class=walker_class.id,
            speed_mps=round(truncated_normal(speeds[int(component * len(speeds))], speed), 3),
            startup_s=round(_startup_s(walker_class, startup, table.startup_max_s), 2),
            late_s=table.late_window_s if lateness < walker_class.late_share else 0.0,
            edges=ends[from_kerb],
        )


def _picker(shares: Mapping[str, float]) -> Callable[[float], str]:
    """Return what maps a uniform number to a name, by shares in alphabetical order."""
    names = sorted(shares)
    bounds = list(itertools.accumulate(shares[name] for name in names))
    return lambda draw: names[min(bisect_right(bounds, draw * bounds[-1]), len(names) - 1)]


def truncated_normal(shape: TruncatedNormal, draw: float) -> float:
    """Return the value of a truncated normal distribution at a quantile.

    Parameters
    ----------
    shape : mean, sd and clip of the distribution before truncation.
    draw : the quantile, within (0, 1).
    """
    low, high = (STANDARD_NORMAL.cdf((end - shape.mean) / shape.sd) for end in shape.clip)
    return shape.mean + shape.sd * STANDARD_NORMAL.inv_cdf(low + draw * (high - low))


def _startup_s(walker_class: WalkerClass, draw: float, longest_s: float) -> float:
    mu, sigma = lognormal_parameters(walker_class.startup_mean_s, walker_class.startup_p85_s)
    return min(math.exp(mu + sigma * STANDARD_NORMAL.inv_cdf(draw)), longest_s)


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
    `bitgoeul.class`, `bitgoeul.startup_s`, `bitgoeul.crossing`, `bitgoeul.speed_mps`, so that any program
    attached to SUMO can read them.

    Raises
    ------
    ScenarioError : the file cannot be written.
    """
    entries = [(trip.depart_s, 0, _vehicle_xml(trip)) for trip in trips.vehicles]
    entries += [(trip.depart_s, 1, _walker_xml(trip)) for trip in trips.walkers]
    entries.sort(key=lambda entry: entry[:2])
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<routes>"]
    lines += [
        f'    <vType id="{each.id}" vClass="{each.sumo_class}" length="{each.length_m:g}"'
        f' jmCrossingGap="{trips.demand.yield_gap_m:g}">'
        f'<param key="bitgoeul.persons" value="{each.persons:g}"/></vType>'
        for each in trips.demand.vehicle_types
    ]
    lines += [entry[2] for entry in entries]
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
    parameters = {
        "class": trip.mobility_class,
        "startup_s": f"{trip.startup_s:.2f}",
        "crossing": trip.crossing,
        "speed_mps": f"{trip.speed_mps:.3f}",
    }
    tags = "".join(f'<param key="bitgoeul.{key}" value="{value}"/>' for key, value in parameters.items())
    return (
        f'    <vType id="type_{trip.id}" vClass="pedestrian" maxSpeed="{trip.speed_mps:.3f}"'
        f' desiredMaxSpeed="{trip.speed_mps:.3f}" speedFactor="1" speedDev="0"{late}/>\n'
        f'    <person id="{trip.id}" type="type_{trip.id}" depart="{trip.depart_s:.2f}"'
        f' departPos="{begins_m:g}">'
        f'{tags}<walk edges="{" ".join(trip.edges)}" arrivalPos="{ends_m:g}"/></person>'
    )

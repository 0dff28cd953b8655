"""The trips of one run of a corridor, drawn by seed alone.

Vehicles enter on the open legs and draw a turn at each junction they come to, until they leave the corridor.
Walkers are those of each member's own site, from a seed of the member's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from zlib import crc32

from bitgoeul.controller.plan import Movement

from .catalog import Site
from .corridor import Corridor, Entry, Port, prefix
from .demand import AS_STATED, Trips, Variation, VehicleTrip, draw_trips
from .streams import Stream, picker, truncated_normal
from .walker_trips import WalkerTrip

MOST_JUNCTIONS = 50
"""A vehicle that came through so many junctions leaves at the next chance: by then it drives in circles."""


def member_seed(seed: int, member: str) -> int:
    """Return the seed of a member's own draws (walkers, sensors): another one for each member.

    Parameters
    ----------
    seed : of the run, 0 or more.
    member : id of the member.
    """
    return crc32(f"{seed} {member}".encode()) >> 1


def draw_corridor_trips(
    corridor: Corridor, *, seed: int, hour: str, duration_s: int, variation: Variation = AS_STATED
) -> Trips:
    """Draw all trips of one run of a corridor.

    Parameters
    ----------
    corridor : only its demand and its names matter, never its timings.
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
    walkers = [
        trip
        for name, site in corridor.sites.items()
        for trip in _walkers(
            name,
            draw_trips(
                _walked(site, corridor.demand.walker_factor),
                seed=member_seed(seed, name),
                hour=hour,
                duration_s=duration_s,
                variation=variation,
            ),
        )
    ]
    demand = next(iter(corridor.sites.values())).demand
    factor = demand.period(hour).vehicle_factor * variation.demand_factor
    vehicles = [
        trip
        for entry in corridor.demand.entries
        for trip in _vehicles(
            corridor,
            entry,
            Stream(seed=seed, name=f"vehicles {entry.member} {entry.leg}", duration_s=duration_s),
            factor,
        )
    ]
    vehicles.sort(key=lambda trip: (trip.depart_s, trip.movement))
    walkers.sort(key=lambda trip: (trip.depart_s, trip.crossing))
    return Trips(
        demand=demand,
        seed=seed,
        duration_s=duration_s,
        vehicles=tuple([trip._replace(id=f"v{number}") for number, trip in enumerate(vehicles)]),
        walkers=tuple([trip._replace(id=f"w{number}") for number, trip in enumerate(walkers)]),
    )


def _vehicles(corridor: Corridor, entry: Entry, stream: Stream, factor: float) -> Iterator[VehicleTrip]:
    demand = corridor.sites[entry.member].demand
    departures_s = stream.departures_s(entry.veh_per_h * factor)
    count = len(departures_s)
    types = picker({each.id: each.share for each in demand.vehicle_types})
    routes = _Routes(corridor, entry, stream, count)
    draws = zip(departures_s, stream.uniforms("type", count), stream.uniforms("speed", count), strict=True)
    for number, (depart_s, type_draw, speed_draw) in enumerate(draws):
        first, edges = routes.route(number)
        yield VehicleTrip(
            id="",
            depart_s=depart_s,
            vehicle_type=types(type_draw),
            from_leg=prefix(entry.member) + entry.leg,
            movement=prefix(entry.member) + first.id,
            edges=edges,
            speed_factor=round(truncated_normal(demand.vehicle_speed_factor, speed_draw), 3),
        )


class _Routes:
    """Ways through the corridor from one entry; the turns of the k-th junction have a stream of their own."""

    def __init__(self, corridor: Corridor, entry: Entry, stream: Stream, count: int) -> None:
        self._joined, self._entry = corridor.joined, entry
        self._stream, self._count = stream, count
        self._draws: list[list[float]] = []
        self._movements: dict[tuple[Port, str], Movement] = {
            ((name, movement.from_leg), movement.turn): movement
            for name, site in corridor.members.items()
            for movement in site.plan.movements
        }
        self._turns = {(each.member, each.leg): picker(each.shares) for each in corridor.demand.turns}

    def route(self, number: int) -> tuple[Movement, tuple[str, ...]]:
        """Return the first movement of a vehicle and its edges."""
        port: Port | None = (self._entry.member, self._entry.leg)
        edges = [f"{prefix(self._entry.member)}{self._entry.leg}_far"]
        movements: list[Movement] = []
        while port is not None:
            movement = self._movements[port, self._turns[port](self._draw(len(movements), number))]
            movements.append(movement)
            member = port[0]
            edges += [f"{prefix(member)}{port[1]}_in", f"{prefix(member)}{movement.to_leg}_out"]
            port = self._joined.get((member, movement.to_leg))
            if len(movements) >= MOST_JUNCTIONS:
                break
        return movements[0], tuple(edges)

    def _draw(self, junction: int, number: int) -> float:
        while len(self._draws) <= junction:
            self._draws.append(self._stream.uniforms(f"turn {len(self._draws)}", self._count))
        return self._draws[junction][number]


def _walked(site: Site, factor: float) -> Site:
    """Return a site without vehicles, its walkers times a factor."""
    crossings = tuple(
        each.model_copy(update={"persons_per_h": each.persons_per_h * factor})
        for each in site.demand.crossings
    )
    return replace(site, demand=site.demand.model_copy(update={"approaches": (), "crossings": crossings}))


def _walkers(name: str, drawn: Trips) -> Iterator[WalkerTrip]:
    """Yield a site's walkers under its member's names."""
    before = prefix(name)
    for trip in drawn.walkers:
        party = trip.gait.party and before + trip.gait.party
        yield trip._replace(
            crossing=before + trip.crossing,
            edges=(before + trip.edges[0], before + trip.edges[1]),
            gait=replace(trip.gait, party=party),
        )


def persons_per_second(corridor: Corridor, hour: str) -> float:
    """Return persons arriving in the whole corridor, walkers and people in vehicles. [1/s]"""
    demand = next(iter(corridor.sites.values())).demand
    period = demand.period(hour)
    occupancy = sum(kind.share * kind.persons for kind in demand.vehicle_types)
    vehicles_per_h = sum(entry.veh_per_h for entry in corridor.demand.entries) * period.vehicle_factor
    walkers_per_h = sum(
        each.persons_per_h for site in corridor.sites.values() for each in site.demand.crossings
    )
    walkers_per_h *= period.walker_factor * corridor.demand.walker_factor
    return (vehicles_per_h * occupancy + walkers_per_h) / 3600

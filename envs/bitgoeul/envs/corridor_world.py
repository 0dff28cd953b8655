"""A corridor's world: several controlled junctions in one SUMO, stepped together.

In each step every junction acts on what it last observed, SUMO runs once, and every junction observes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.policies import PolicyOptions, make_controller, parse_controller, plan_for
from bitgoeul.controller.policies.base import Policy
from bitgoeul.sim_scenarios.corridor import Corridor, prefix
from bitgoeul.sim_scenarios.corridor_build import build_corridor
from bitgoeul.sim_scenarios.corridor_demand import draw_corridor_trips, member_seed

from .world import STEP_DS, JunctionDriver, Simulation

ControllerMaker = Callable[[str, SitePlan], tuple[Policy, Guard | None]]
"""Gives a member (its id and plan) its policy and guard."""
Persons = dict[str, list[float]]
"""By member: persons in vehicles, and on foot, at its junction."""


class CorridorDriver:
    """All junctions of a corridor in one running SUMO.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection, at time 0.
    corridor : what runs in it.
    controller : makes each member's policy and guard; its plan there is the one that is timed.
    detector : preset of the emulated detectors, with changes if any.
    seed : of the run; each member's detector draws from one of its own.
    extension_max_s : what *within the maximum* means; None is the plans'. [s]
    is_recording : keep lamp and speed changes for a replay.

    Attributes
    ----------
    junctions : the members' drivers by id, in the corridor's order.
    """

    def __init__(  # noqa: PLR0913 - all but the first three by keyword
        self,
        connection: Any,
        corridor: Corridor,
        controller: ControllerMaker,
        *,
        detector: str,
        seed: int,
        extension_max_s: float | None = None,
        is_recording: bool = False,
    ) -> None:
        self.connection, self.corridor = connection, corridor
        self.junctions: dict[str, JunctionDriver] = {
            name: JunctionDriver(
                connection,
                site.plan,
                controller(name, site.plan),
                detector=detector,
                seed=member_seed(seed, name),
                extension_max_s=extension_max_s,
                is_recording=is_recording,
            )
            for name, site in corridor.members.items()
        }
        self._acts = tuple(each.act for each in self.junctions.values())
        self._observes = tuple(each.observe for each in self.junctions.values())
        self._simulation_step = connection.simulationStep
        self.now_ds = 0

    def step(self) -> None:
        """Let every junction act, SUMO run one step, and every junction observe."""
        for act in self._acts:
            act()
        self._simulation_step()
        for observe in self._observes:
            observe()
        self.now_ds += STEP_DS

    @property
    def trace_hashes(self) -> dict[str, str]:
        """Return the hash of all lamps, commands and crossings of each member so far."""
        return {name: each.trace.hexdigest for name, each in self.junctions.items()}


def corridor_controller(text: str, options: PolicyOptions) -> ControllerMaker:
    """Return what gives every member the controller of a name such as `fixed+guard` or `eta`.

    Raises
    ------
    ValueError : an unknown name, or one that retimes the plan: a corridor's plans run as they stand.
    """
    name = parse_controller(text)
    if name.design_speed_mps is not None:
        raise ValueError(f"controller {text!r}: in a corridor the plans run at their own design speed")
    return lambda _member, plan: make_controller(name, plan_for(name, plan), options)


@contextmanager
def corridor_simulation(  # noqa: PLR0913 - all but the first by keyword
    corridor: Corridor, *, seed: int, hour: str, end_s: int, backend: str = "libsumo", has_gui: bool = False
) -> Iterator[Simulation]:
    """Open the simulation of a corridor and leave nothing behind."""
    opened = open_corridor(corridor, seed=seed, hour=hour, end_s=end_s, backend=backend, has_gui=has_gui)
    try:
        yield opened
    finally:
        opened.close()


def open_corridor(  # noqa: PLR0913 - all but the first by keyword
    corridor: Corridor, *, seed: int, hour: str, end_s: int, backend: str = "libsumo", has_gui: bool = False
) -> Simulation:
    """Return the opened simulation of a corridor; the caller closes it.

    Parameters
    ----------
    corridor, seed, hour, end_s : what to simulate.
    backend : `libsumo` or `traci`.
    has_gui : show `sumo-gui` (needs `traci`).
    """
    return Simulation(
        next(iter(corridor.members.values())),
        seed=seed,
        hour=hour,
        end_s=end_s,
        backend=backend,
        has_gui=has_gui,
        trips=draw_corridor_trips(corridor, seed=seed, hour=hour, duration_s=end_s),
        network=build_corridor(corridor),
    )


class CorridorPersons:
    """Counts the people at each member's junction: a walker at its crossings, a vehicle on its way there.

    Parameters
    ----------
    driver : the running corridor.

    Notes
    -----
    Each edge belongs to the member it leads to, those that lead out of the corridor to the one they come
    from (`Corridor.owner`). Vehicles that cannot enter yet count at the first junction of their route; one
    that SUMO moves on (a teleport, on no edge meanwhile) at the junction it was heading for. So the members'
    counts sum to all people in the network and before it. A vehicle counts with the persons of its type.

    A vehicle goes from one member to another only where it comes onto a road between two, so only those
    roads, departures, arrivals and ended teleports are read in a step; after a step that was not counted,
    every vehicle is looked up anew.
    """

    def __init__(self, driver: CorridorDriver) -> None:
        connection, corridor = driver.connection, driver.corridor
        self._driver, self._owner, self._vehicle = driver, corridor.owner, connection.vehicle
        self._departed = compiled(connection, "simulation", "getDepartedIDList")
        self._arrived = compiled(connection, "simulation", "getArrivedIDList")
        self._landed = compiled(connection, "simulation", "getEndingTeleportIDList")
        self._pending = compiled(connection, "simulation", "getPendingVehicles")
        self._on_edge = compiled(connection, "edge", "getLastStepVehicleIDs")
        self._persons = _Occupants(connection, corridor)
        self._roads = [f"{prefix(member)}{leg}_out" for member, leg in corridor.joined]
        self._last: list[object] = [()] * len(self._roads)
        self._walkers = {name: each.walkers for name, each in driver.junctions.items()}
        self._member_of: dict[str, str] = {}
        self._occupants = dict.fromkeys(driver.junctions, 0.0)
        self._seen_ds = -1

    def count(self) -> Persons:
        """Return the persons in vehicles and on foot at each junction now."""
        if self._driver.now_ds - self._seen_ds == STEP_DS:
            self._follow()
        elif self._driver.now_ds != self._seen_ds:
            self._look_up_all()
        self._seen_ds = self._driver.now_ds
        counted: Persons = {}
        for name, people in self._walkers.items():
            on_foot = sum(map(len, people.waiting)) + sum(map(len, people.on_crossing))
            counted[name] = [self._occupants[name], on_foot]
        for vehicle in self._pending():
            counted[self._owner(self._vehicle.getRoute(vehicle)[0])][0] += self._persons[vehicle]
        return counted

    def _follow(self) -> None:
        """Take in what one step changed."""
        for vehicle in self._departed():
            self._put(vehicle, self._owner(self._vehicle.getRoute(vehicle)[0]))
        for place, road in enumerate(self._roads):
            vehicles = self._on_edge(road)
            if vehicles != self._last[place]:
                self._last[place] = vehicles
                member = self._owner(road)
                for vehicle in vehicles:
                    if self._member_of[vehicle] != member:
                        self._put(vehicle, member)
        for vehicle in self._landed():
            self._put(vehicle, self._owner(self._vehicle.getRoadID(vehicle)))
        for vehicle in self._arrived():
            member_left = self._member_of.pop(vehicle, None)
            if member_left is not None:
                self._occupants[member_left] -= self._persons.pop(vehicle)

    def _put(self, vehicle: str, member: str) -> None:
        before = self._member_of.get(vehicle)
        if before is not None:
            self._occupants[before] -= self._persons[vehicle]
        self._member_of[vehicle] = member
        self._occupants[member] += self._persons[vehicle]

    def _look_up_all(self) -> None:
        """Find every vehicle anew: on its edge, or, on none, where its route goes on."""
        self._member_of.clear()
        self._occupants = dict.fromkeys(self._occupants, 0.0)
        for vehicle in self._vehicle.getIDList():
            road = self._vehicle.getRoadID(vehicle)
            if not road:
                road = self._vehicle.getRoute(vehicle)[max(self._vehicle.getRouteIndex(vehicle), 0)]
            self._put(vehicle, self._owner(road))
        self._last = [()] * len(self._roads)


class _Occupants(dict[str, float]):
    """Persons in each vehicle, by its type, looked up at the first question."""

    def __init__(self, connection: Any, corridor: Corridor) -> None:
        super().__init__()
        demand = next(iter(corridor.sites.values())).demand
        self._type_of = connection.vehicle.getTypeID
        self._persons_in = {kind.id: kind.persons for kind in demand.vehicle_types}

    def __missing__(self, vehicle: str) -> float:
        persons = self[vehicle] = self._persons_in[self._type_of(vehicle).partition("@")[0]]
        return persons

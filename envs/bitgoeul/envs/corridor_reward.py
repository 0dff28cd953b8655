"""Whose person-seconds are whose: people by junction of a corridor, and each agent's reward."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.sim_scenarios.corridor import Corridor, prefix
from bitgoeul.sim_scenarios.corridor_demand import persons_per_second
from bitgoeul.sim_scenarios.simulation import STEP_S

from .corridor_world import CorridorDriver
from .reward import JAMMED_PERSON_S, SCALE_S, TELEPORT_PERSON_S
from .world import STEP_DS

Persons = dict[str, list[float]]
"""By member: persons in vehicles, and on foot, at its junction."""
Terms = dict[str, dict[str, float]]
"""By member: the named terms of its reward."""


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

    Attributes
    ----------
    teleports : vehicles that SUMO moved on in counted steps, by the member they were at.
    """

    def __init__(self, driver: CorridorDriver) -> None:
        connection, corridor = driver.connection, driver.corridor
        self._driver, self._owner, self._vehicle = driver, corridor.owner, connection.vehicle
        self._departed = compiled(connection, "simulation", "getDepartedIDList")
        self._arrived = compiled(connection, "simulation", "getArrivedIDList")
        self._taken = compiled(connection, "simulation", "getStartingTeleportIDList")
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
        self.teleports: Counter[str] = Counter()

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
                self._come_onto(road, vehicles)
        for vehicle in self._taken():
            self.teleports[self._member_of[vehicle]] += 1
        for vehicle in self._landed():
            self._put(vehicle, self._owner(self._vehicle.getRoadID(vehicle)))
        for vehicle in self._arrived():
            self._occupants[self._member_of.pop(vehicle)] -= self._persons.pop(vehicle)

    def _come_onto(self, road: str, vehicles: tuple[str, ...]) -> None:
        member = self._owner(road)
        for vehicle in vehicles:
            if self._member_of[vehicle] != member:
                self._put(vehicle, member)

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


class CorridorReward:
    """Adds up the time people spend at each junction, as `reward.PersonSeconds` does for one.

    Parameters
    ----------
    driver : the running corridor.
    hour : demand period or hour, for the scale.
    tau_s : time constant of the discount, from the start of each interval; None: no discount. [s]

    Notes
    -----
    The scale is one for all members: `SCALE_S` times the persons that the whole corridor's demand sends a
    second, so that the members' rewards sum to the corridor's. A teleport costs `TELEPORT_PERSON_S` at the
    junction where the vehicle stood. SUMO does not say where a walker jammed: `JAMMED_PERSON_S` is shared
    equally among the members. Both are charged at the end of the interval.
    """

    def __init__(self, driver: CorridorDriver, hour: str, *, tau_s: float | None) -> None:
        self.persons = CorridorPersons(driver)
        self._members = tuple(driver.junctions)
        self._statistic = driver.connection.simulation.getParameter
        self.scale_person_s = persons_per_second(driver.corridor, hour) * SCALE_S
        self._decay = 1.0 if tau_s is None else math.exp(-STEP_S / tau_s)
        self._first_weight = STEP_S if tau_s is None else tau_s * (1.0 - self._decay)
        self._jammed_n = self._jams()
        self.persons.count()
        self.start()

    def start(self) -> None:
        """Begin a new interval; the discount starts anew."""
        self._discount = 1.0
        self._spent = {member: [0.0, 0.0, 0.0] for member in self._members}
        self.persons.teleports.clear()

    def add(self) -> None:
        """Count everyone for one simulation step."""
        discount = self._discount
        for member, (in_vehicles, on_foot) in self.persons.count().items():
            spent = self._spent[member]
            spent[0] += in_vehicles * discount
            spent[1] += on_foot * discount
            spent[2] += in_vehicles + on_foot
        self._discount = discount * self._decay

    def result(self) -> tuple[Terms, dict[str, float]]:
        """Return each member's terms, all <= 0, and its person-seconds, charges included. [person-s]"""
        jammed_n = self._jams()
        jammed_each = (jammed_n - self._jammed_n) * JAMMED_PERSON_S / len(self._members)
        self._jammed_n = jammed_n
        terms: Terms = {}
        person_s: dict[str, float] = {}
        for member, (vehicles, walkers, spent) in self._spent.items():
            teleports = self.persons.teleports[member] * TELEPORT_PERSON_S
            costs = {
                "vehicles": vehicles * self._first_weight,
                "walkers": walkers * self._first_weight,
                "teleports": teleports * self._discount,
                "jammed": jammed_each * self._discount,
            }
            terms[member] = {name: -cost / self.scale_person_s for name, cost in costs.items()}
            person_s[member] = spent * STEP_S + teleports + jammed_each
        return terms, person_s

    def _jams(self) -> int:
        """Return the walkers who squeezed through others since SUMO's start."""
        return int(self._statistic("", "stats.persons.jammed"))

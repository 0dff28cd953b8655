"""A SUMO of a few lines: four corners, four crossings, persons and vehicles moved by the test."""

from __future__ import annotations

import sys
from math import hypot
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitgoeul.sim_scenarios.catalog import load_site

sys.path.insert(0, str(Path(__file__).parent))  # one test file's helpers serve another's

# Corner between two legs, in right-hand traffic: who comes in on the first leaves on the second.
CORNERS = {":J_wSW": ("W", "S"), ":J_wSE": ("S", "E"), ":J_wNE": ("E", "N"), ":J_wNW": ("N", "W")}
# Crossing: corner where its lane begins, corner where it ends, the two points.
ENDS = {
    "XS": (":J_wSW", ":J_wSE", (-9.0, -18.0), (9.0, -18.0)),
    "XN": (":J_wNE", ":J_wNW", (9.0, 18.0), (-9.0, 18.0)),
    "XW": (":J_wNW", ":J_wSW", (-10.0, 17.5), (-10.0, -17.5)),
    "XE": (":J_wSE", ":J_wNE", (10.0, -17.5), (10.0, 17.5)),
}


class FakeSumo:
    """What the drivers call, answered from plain dictionaries."""

    def __init__(self, plan):
        self.plan = plan
        self.persons = {}  # id -> SimpleNamespace(edge, next_edge, position, speed, xy, parameters)
        self.vehicles = {}  # id -> SimpleNamespace(lane, position, speed)
        self.speeds_set = []
        self.edges_of = {crossing.id: crossing.sumo_edge for crossing in plan.crossings}
        self.edge = SimpleNamespace(getLastStepPersonIDs=self._on_edge)
        self.person = SimpleNamespace(
            getNextEdge=lambda p: self.persons[p].next_edge,
            getLanePosition=lambda p: self.persons[p].position,
            getSpeed=lambda p: self.persons[p].speed,
            getPosition=lambda p: self.persons[p].xy,
            getMaxSpeed=lambda p: 1.5,
            getParameter=lambda p, key: self.persons[p].parameters.get(key, ""),
            setSpeed=self._set_speed,
        )
        self.lane = SimpleNamespace(
            getLinks=self._links,
            getLength=self._length,
            getShape=self._shape,
            getWidth=lambda lane: 3.0,
            getLastStepVehicleIDs=lambda lane: tuple(v for v, it in self.vehicles.items() if it.lane == lane),
            getLastStepVehicleNumber=lambda lane: sum(it.lane == lane for it in self.vehicles.values()),
            getLastStepHaltingNumber=lambda lane: sum(
                it.lane == lane and it.speed < 0.1 for it in self.vehicles.values()
            ),
        )
        self.vehicle = SimpleNamespace(
            getIDList=lambda: tuple(self.vehicles),
            getRoadID=lambda v: self.vehicles[v].lane.rpartition("_")[0],
            getLanePosition=lambda v: self.vehicles[v].position,
            getSpeed=lambda v: self.vehicles[v].speed,
            getLength=lambda v: 5.0,
        )
        self.trafficlight = SimpleNamespace(getControlledLinks=lambda _: self._controlled())
        self.pending = ()
        self.simulation = SimpleNamespace(getDeltaT=lambda: 0.5, getPendingVehicles=lambda: self.pending)

    def arrive(self, person, crossing, *, backwards=False, speed=0.0, metres=1.0, **parameters):
        """Put a person on the walking area before a crossing, some metres from the kerb."""
        start, end, start_xy, end_xy = ENDS[crossing]
        x, y = end_xy if backwards else start_xy
        self.persons[person] = SimpleNamespace(
            edge=end if backwards else start,
            next_edge=self.edges_of[crossing],
            position=0.0,
            speed=speed,
            xy=(x, y + metres),
            parameters={f"bitgoeul.{key}": str(value) for key, value in parameters.items()},
        )

    def enter(self, person, crossing, position, *, backwards=False):
        start, end, _, _ = ENDS[crossing]
        it = self.persons[person]
        it.edge, it.next_edge, it.position = self.edges_of[crossing], start if backwards else end, position

    def leave(self, person):
        it = self.persons[person]
        it.edge, it.next_edge = it.next_edge, "E_out"

    def _set_speed(self, person, speed):
        assert person in self.persons
        self.speeds_set.append((person, speed))

    def _on_edge(self, edge):
        return tuple(person for person, it in self.persons.items() if it.edge == edge)

    def _controlled(self):
        links = {}
        for movement in self.plan.movements:
            for number, lane in zip(movement.sumo_links, movement.lanes, strict=True):
                links[number] = (
                    (f"{movement.from_leg}_in_{lane}", f"{movement.to_leg}_out_{lane}", f":J_{number}_0"),
                )
        for crossing in self.plan.crossings:
            links[crossing.sumo_link] = ((f"{ENDS[crossing.id][0]}_0", f"{crossing.sumo_edge}_0", ""),)
        return [links[number] for number in sorted(links)]

    def _links(self, lane):
        edge = lane.rpartition("_")[0]
        for crossing, crossing_edge in self.edges_of.items():
            if crossing_edge == edge:
                return ((f"{ENDS[crossing][1]}_0", True),)
        if edge in CORNERS:
            return ((f"{CORNERS[edge][1]}_out_0", True),)
        return tuple((f"{area}_0", True) for area, legs in CORNERS.items() if edge == f"{legs[0]}_in")

    def _length(self, lane):
        (x0, y0), (x1, y1) = self._shape(lane)
        return hypot(x1 - x0, y1 - y0)

    def _shape(self, lane):
        for crossing, edge in self.edges_of.items():
            if lane == f"{edge}_0":
                return ENDS[crossing][2:]
        if lane.startswith(":J_"):  # over the junction, straight from stop line to exit
            ((lane_in, lane_out, _),) = self._controlled()[int(lane.split("_")[1])]
            return self._shape(lane_in)[1], self._shape(lane_out)[0]
        leg, way, number = lane.split("_")
        # Lane 1 is nearest the kerb: coming in on the right side of the leg, going out on the left one.
        half, stop, is_arterial = (17.5, 14.0, True) if leg in "WE" else (9.0, 22.0, False)
        beside = half - 3.0 * int(number)
        sign = 1.0 if (way == "out") == (leg in "WN") else -1.0
        near, far = (stop, 100.0) if leg in "EN" else (-stop, -100.0)
        ends = (near, far) if way == "out" else (far, near)
        return tuple((end, sign * beside) if is_arterial else (sign * beside, end) for end in ends)


@pytest.fixture(scope="session")
def plan():
    return load_site("bukmun_5").plan


@pytest.fixture
def sumo(plan):
    return FakeSumo(plan)

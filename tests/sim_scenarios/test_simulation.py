"""What SUMO makes of the site: lengths walked, speeds, who enters when, and traffic that flows."""

from __future__ import annotations

import math
import re
from collections import Counter
from statistics import fmean
from xml.etree import ElementTree as ET

import pytest

from bitgoeul.sim_scenarios.build import build_network
from bitgoeul.sim_scenarios.demand import Trips, WalkerTrip, draw_trips, write_routes
from bitgoeul.sim_scenarios.simulation import STEP_S, as_arguments, output_options, sumo_options

pytestmark = pytest.mark.sumo

FRONT_OF_CAR_M = 1.0
"""Nearest that the front of a yielding car may come to a walker. [m] [A]"""


@pytest.fixture
def run(start_sumo, tmp_path):
    """Return a starter of SUMO on given trips; its outputs go to `tmp_path`."""

    def start(site, trips, end_s):
        network = build_network(site)
        write_routes(trips, tmp_path / "trips.rou.xml")
        options = sumo_options(
            network=network.net_path,
            additional=network.additional_path,
            routes=tmp_path / "trips.rou.xml",
            seed=trips.seed,
            end_s=end_s,
        )
        return start_sumo(as_arguments({**options, **output_options(tmp_path)}))

    return start


def lone_walkers(site, speed_mps, from_out):
    """One walker per crossing, from the kerb of the exit edge or from the other."""
    walkers = [
        WalkerTrip(
            id=f"w{number}",
            depart_s=1.0,
            crossing=crossing.id,
            from_kerb=crossing.kerbs[0],
            mobility_class="adult",
            speed_mps=speed_mps,
            startup_s=0.0,
            late_s=0.0,
            edges=(f"{crossing.leg}_out", f"{crossing.leg}_in")
            if from_out
            else (f"{crossing.leg}_in", f"{crossing.leg}_out"),
        )
        for number, crossing in enumerate(site.plan.crossings)
    ]
    return Trips(demand=site.demand, seed=1, duration_s=10, vehicles=(), walkers=tuple(walkers))


@pytest.mark.parametrize("from_out", [False, True])
@pytest.mark.parametrize("speed_mps", [0.3, 1.29])
def test_an_empty_crossing_is_walked_at_full_length_and_own_speed(bukmun, run, speed_mps, from_out):
    simulation = run(bukmun, lone_walkers(bukmun, speed_mps, from_out), 400)
    paths = {crossing.id: [] for crossing in bukmun.plan.crossings}
    while simulation.simulation.getTime() < 400:
        simulation.simulationStep()
        for crossing in bukmun.plan.crossings:
            for person in simulation.edge.getLastStepPersonIDs(crossing.sumo_edge):
                position_m = simulation.person.getLanePosition(person)
                point = simulation.person.getPosition(person)
                paths[crossing.id].append((simulation.simulation.getTime(), position_m, point))
    for crossing in bukmun.plan.crossings:
        (first_s, first_m, first), (last_s, last_m, last) = paths[crossing.id][0], paths[crossing.id][-1]
        walked_m = abs(last_m - first_m)
        # At both ends up to one step is walked unseen.
        unseen_m = 2 * speed_mps * STEP_S
        assert crossing.length_m - 0.2 - unseen_m <= walked_m <= crossing.length_m + 0.2
        assert math.dist(first, last) == pytest.approx(walked_m, abs=0.1)
        assert walked_m / (last_s - first_s) == pytest.approx(speed_mps, rel=0.02)


def test_ten_minutes_at_peak_flow_without_a_warning(site, run, tmp_path):
    end_s = 600
    trips = draw_trips(site, seed=10_001, hour="peak", duration_s=end_s)
    simulation = run(site, trips, end_s)
    assert simulation.trafficlight.getProgram("J") == site.plan.sumo.program
    while simulation.simulation.getTime() < end_s:
        simulation.simulationStep()
    simulation.close()
    assert (tmp_path / "warnings.txt").read_text() == ""
    statistics = ET.parse(tmp_path / "statistics.xml").getroot()
    assert statistics.find("teleports").get("total") == "0"
    assert statistics.find("safety").get("collisions") == "0"
    assert statistics.find("persons").get("jammed") == "0"
    losses_s = [float(each.get("timeLoss")) for each in ET.parse(tmp_path / "tripinfo.xml").iter("tripinfo")]
    assert len(losses_s) == len(trips.vehicles)
    assert 20 < fmean(losses_s) < 70


def test_only_late_starters_enter_in_clearance_and_nobody_on_red(bukmun, run):
    end_s = 1500
    trips = draw_trips(bukmun, seed=10_000, hour="peak", duration_s=end_s)
    late_s = {walker.id: walker.late_s for walker in trips.walkers}
    crossings = {crossing.sumo_edge: crossing for crossing in bukmun.plan.crossings}
    simulation = run(bukmun, trips, end_s)
    seen = {edge: set() for edge in crossings}
    clear_since_s = dict.fromkeys(crossings, 0.0)
    entered = Counter()
    before = "r" * 20
    while (now_s := simulation.simulation.getTime()) < end_s:
        simulation.simulationStep()
        lamps = simulation.trafficlight.getRedYellowGreenState("J")
        for edge, crossing in crossings.items():
            letter = lamps[crossing.sumo_link]
            if letter == "y" != before[crossing.sumo_link]:
                clear_since_s[edge] = now_s
            present = set(simulation.edge.getLastStepPersonIDs(edge))
            for person in present - seen[edge]:
                entered[letter] += 1
                if letter == "y":
                    assert now_s - clear_since_s[edge] <= late_s[person] == 8.0
            seen[edge] = present
        before = lamps
    assert entered["r"] == 0
    assert entered["G"] > 200
    assert entered["y"] > 0


def test_turning_cars_keep_clear_of_walkers(bukmun, run):
    end_s = 900
    trips = draw_trips(bukmun, seed=10_001, hour="peak", duration_s=end_s)
    turning = {trip.id for trip in trips.vehicles if re.fullmatch(r"..R", trip.movement)}
    simulation = run(bukmun, trips, end_s)
    nearest_m, met = math.inf, 0
    while simulation.simulation.getTime() < end_s:
        simulation.simulationStep()
        walkers = [
            simulation.person.getPosition(person)
            for crossing in bukmun.plan.crossings
            for person in simulation.edge.getLastStepPersonIDs(crossing.sumo_edge)
        ]
        if not walkers:
            continue
        for car in simulation.vehicle.getIDList():
            if (
                car in turning
                and simulation.vehicle.getSpeed(car) > 1.0
                and simulation.vehicle.getRoadID(car)[0] == ":"
            ):
                front = simulation.vehicle.getPosition(car)
                nearest_m = min(nearest_m, *(math.dist(front, walker) for walker in walkers), math.inf)
                met += 1
    assert met > 20
    assert nearest_m > FRONT_OF_CAR_M

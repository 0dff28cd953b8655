"""Driver, detector and measures on the real site under its fixed plan, against a recount from positions."""

from __future__ import annotations

import time

import pytest

from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask
from bitgoeul.envs.detector import PERFECT, EmulatedDetector
from bitgoeul.envs.measures import Measures
from bitgoeul.envs.walkers import WalkerDriver
from bitgoeul.sim_scenarios.build import build_network
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.demand import draw_trips, write_routes
from bitgoeul.sim_scenarios.program import fixed_program

libsumo = pytest.importorskip("libsumo", reason="SUMO is not installed")
MINUTES = 30


def lamps_of(plan, letters):
    """Read the phases' and crossings' lamps out of an indication row."""
    links = {
        phase.number: [link for m in phase.movements for link in plan.movement(m).sumo_links]
        for phase in plan.phases
    }
    crossing = {plan.phase_of(crossing.id): crossing.sumo_link for crossing in plan.crossings}
    return Lamps(
        green=phase_mask(number for number, on in links.items() if any(letters[link] in "Gg" for link in on)),
        yellow=phase_mask(number for number, on in links.items() if any(letters[link] == "y" for link in on)),
        walk=phase_mask(number for number, link in crossing.items() if letters[link] == "G"),
        ped_clear=phase_mask(number for number, link in crossing.items() if letters[link] == "y"),
    )


class Run:
    """One run with the walkers' truth noted a second time, by plain means."""

    def __init__(self, folder):
        site = load_site("bukmun_5")
        self.plan = plan = site.plan
        network = build_network(site)
        trips = draw_trips(site, seed=10_000, hour="peak", duration_s=60 * MINUTES)
        self.trips = {walker.id: walker for walker in trips.walkers}
        write_routes(trips, folder / "routes.rou.xml")
        options = {
            "-n": network.net_path,
            "-r": folder / "routes.rou.xml",
            "--step-length": 0.5,
            "--pedestrian.striping.dawdling": 0,
            "--error-log": folder / "warnings.txt",
        }
        arguments = [str(part) for option in options.items() for part in option]
        libsumo.start(["sumo", *arguments, "--no-step-log", "--no-warnings"])
        try:
            self._drive(plan)
        finally:
            libsumo.close()

    def _drive(self, plan):
        rows = [
            (lamps_of(plan, letters), letters)
            for s, letters in fixed_program(plan)
            for _ in range(round(2 * s))
        ]
        driver = WalkerDriver(libsumo, plan, is_recording=True)
        detector = EmulatedDetector(driver, plan, PERFECT, 1)
        measures = Measures(plan, driver, libsumo, 0)
        self.recount, self.first_step, self.onsets, self.residents = {}, {}, [], []
        lamps, now_ds, self.sumo_s, self.ours_s = ALL_RED, 0, 0.0, 0.0
        for step in range(120 * MINUTES):
            new, letters = rows[step % len(rows)]
            libsumo.trafficlight.setRedYellowGreenState("J", letters)
            self._recount(plan, lamps, new, now_ds)
            began = time.perf_counter()
            if new != lamps:
                measures.lamps_changed(now_ds, lamps, new)
            driver.act(now_ds, new)
            acted = time.perf_counter()
            libsumo.simulationStep()
            stepped = time.perf_counter()
            now_ds += 5
            driver.observe(now_ds)
            frames = detector.frames(now_ds)
            self.sumo_s += stepped - acted
            self.ours_s += acted - began + time.perf_counter() - stepped
            lamps = new
            self._compare(plan, driver, frames, now_ds)
        self.rows = measures.event_rows(now_ds, detector.was_detected)
        self.orders = driver.orders
        self.left_over = len(detector._people)
        self.waiting_n = sum(map(len, driver.waiting)) + sum(map(len, driver.on_crossing))

    def _recount(self, plan, before, after, now_ds):
        started = after.green & ~before.green
        for crossing in plan.crossings:
            here = libsumo.edge.getLastStepPersonIDs(crossing.sumo_edge)
            if started & phase_mask(plan.conflicting_phases(crossing.id)):
                for person in here:
                    self.recount.setdefault((person, crossing.id), now_ds)
            bit = phase_mask([plan.phase_of(crossing.id)])
            if after.walk & ~before.walk & bit:
                self.onsets.append((now_ds, crossing.id))

    def _compare(self, plan, driver, frames, now_ds):
        for index, crossing in enumerate(plan.crossings):
            here = set(libsumo.edge.getLastStepPersonIDs(crossing.sumo_edge))
            for person in here:
                self.first_step.setdefault((person, crossing.id), now_ds)
            self.residents.append(
                here == set(driver.on_crossing[index])
                and len(frames[index].on_crossing) == len(here)
                and len(frames[index].waiting) == len(driver.waiting[index])
            )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("run"))


def test_everybody_on_a_crossing_is_known_and_reported_in_every_step(run):
    assert all(run.residents)
    assert len(run.first_step) > 150


def test_residuals_equal_a_recount_from_the_edges(run):
    counted = {(row["walker"], row["crossing"]) for row in run.rows if row["is_residual"]}
    assert counted == set(run.recount)
    assert len(counted) >= 3


def test_rows_carry_what_was_drawn(run):
    for row in run.rows:
        trip = run.trips[row["walker"]]
        assert row["mobility_class"] == trip.mobility_class
        assert row["speed_mps"] == pytest.approx(trip.speed_mps)
        assert (row["crossing"], row["startup_s"]) == (trip.crossing, pytest.approx(trip.startup_s))
        if row["entered_s"] is not None and not trip.gait.turn_within:  # who turns back enters twice
            assert row["entered_s"] == run.first_step[row["walker"], row["crossing"]] / 10
            assert row["was_detected"]


def test_kerbs_are_the_ones_the_trips_start_from(run):
    for row in run.rows:
        trip = run.trips[row["walker"]]
        assert row["kerb"] == "AB"[run.plan.crossing(trip.crossing).kerbs.index(trip.from_kerb)]


def test_start_up_delays_are_as_drawn(run):
    onsets, started = {}, 0
    for now_ds, person, speed in run.orders:
        if speed == 0 and (now_ds, run.trips[person].crossing) in run.onsets:
            onsets[person] = now_ds
        elif speed == -1 and person in onsets:
            started += 1
            trip = run.trips[person]
            walk_ds = round(10 * run.plan.phase(run.plan.phase_of(trip.crossing)).walk_s)
            drawn_ds = min(10 * trip.startup_s, walk_ds)
            assert now_ds - onsets.pop(person) == pytest.approx(drawn_ds, abs=3.1)
    assert started > 100


def test_only_late_starters_enter_on_clearance_and_nobody_on_red(run):
    flash = [row for row in run.rows if row["entry"] == "clearance"]
    assert flash
    assert all(run.trips[row["walker"]].late_s > 0 for row in flash)
    assert not [row for row in run.rows if row["entry"] == "red"]


def test_walkers_cross_at_their_own_speed(run):
    traits = {walker: trip.gait for walker, trip in run.trips.items()}
    crossed = [row for row in run.rows if row["crossing_s"] is not None]
    crossed = [row for row in crossed if traits[row["walker"]].hurry_factor == 1.0]
    crossed = [row for row in crossed if not traits[row["walker"]].rest_s + traits[row["walker"]].turn_within]
    extra = sorted(row["crossing_s"] - row["length_m"] / row["speed_mps"] for row in crossed)
    assert extra[0] > -1.0
    assert extra[len(extra) // 2] == pytest.approx(0.0, abs=0.5)


def test_nobody_is_kept_in_mind_after_leaving(run):
    assert run.left_over <= run.waiting_n


def test_the_overhead_is_reported(run, record_property):
    steps = 120 * MINUTES
    record_property("sumo_us_per_step", round(1e6 * run.sumo_s / steps, 1))
    record_property("ours_us_per_step", round(1e6 * run.ours_s / steps, 1))
    print(f"SUMO {1e6 * run.sumo_s / steps:.0f} us, ours {1e6 * run.ours_s / steps:.1f} us a step")  # noqa: T201
    assert run.sumo_s > 0

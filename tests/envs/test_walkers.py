"""Arrivals, entries, exits and start-up delays, step by step on a fake SUMO; then on the real site."""

from __future__ import annotations

import math

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_bit
from bitgoeul.envs.walkers import WalkerDriver

WALK = Lamps(green=phase_bit(4), walk=phase_bit(4))
CLEARANCE = Lamps(green=phase_bit(4), ped_clear=phase_bit(4))
XW = 2  # phase 4, 35 m, kerbs N and S; its lane runs from the north


class Listener:
    def __init__(self):
        self.events = []

    def entered(self, walker, now_ds):
        self.events.append((now_ds, "entered", walker.id, walker.entry_lamp))

    def left(self, walker, now_ds):
        self.events.append((now_ds, "left", walker.id, walker.exited_ds))


def settle(driver, now_ds):
    """Observe twice: each walking area is read every other step."""
    driver.observe(now_ds)
    driver.observe(now_ds + 5)
    return now_ds + 5


def test_crossings_are_found_with_their_kerbs(sumo, plan):
    layouts = WalkerDriver(sumo, plan).layouts
    assert [layout.crossing for layout in layouts] == ["XS", "XN", "XW", "XE"]
    assert [layout.start_kerb for layout in layouts] == ["A", "B", "A", "B"]
    assert [layout.length_m for layout in layouts] == [18.0, 18.0, 35.0, 35.0]


def test_a_kerb_that_the_network_has_elsewhere_is_refused(sumo, plan):
    crossings = list(plan.crossings)
    crossings[XW] = crossings[XW].model_copy(update={"kerbs": ("W", "E")})
    with pytest.raises(ScenarioError, match=r"crossing XW.*kerbs"):
        WalkerDriver(sumo, plan.model_copy(update={"crossings": tuple(crossings)}))


def test_a_crossing_no_link_leads_over_is_refused(sumo, plan):
    crossings = list(plan.crossings)
    crossings[XW] = crossings[XW].model_copy(update={"sumo_edge": ":J_c9"})
    with pytest.raises(ScenarioError, match=r"crossing XW.*:J_c9"):
        WalkerDriver(sumo, plan.model_copy(update={"crossings": tuple(crossings)}))


def test_a_walker_waits_enters_and_leaves(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    listener = Listener()
    driver.listeners.append(listener)
    sumo.arrive(
        "w1", "XW", backwards=True, metres=2.0, **{"class": "frail", "speed_mps": 0.5, "startup_s": 3}
    )
    now_ds = settle(driver, 0)
    walker = driver.waiting[XW]["w1"]
    assert (walker.mobility_class, walker.speed_mps, walker.startup_s, walker.kerb) == (
        "frail",
        0.5,
        3.0,
        "B",
    )
    assert walker.waiting_since_ds - walker.arrived_ds == 40  # 2 m at 0.5 m/s
    version = driver.waiting_version[XW]
    driver.act(now_ds, WALK)
    sumo.enter("w1", "XW", 34.8, backwards=True)
    driver.observe(now_ds + 5)
    assert driver.waiting[XW] == {}
    assert driver.waiting_version[XW] > version
    assert driver.remaining_m(XW) == [(walker, 34.8)]
    sumo.persons["w1"].position = 20.0
    driver.observe(now_ds + 10)
    assert driver.remaining_m(XW) == [(walker, 20.0)]
    sumo.leave("w1")
    driver.observe(now_ds + 15)
    assert driver.on_crossing[XW] == {}
    assert listener.events == [
        (now_ds + 5, "entered", "w1", "walk"),
        (now_ds + 15, "left", "w1", now_ds + 15),
    ]


def test_forwards_the_remaining_distance_falls_from_the_length(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    sumo.arrive("w1", "XW")
    sumo.enter("w1", "XW", 5.0)
    driver.observe(5)
    ((walker, remaining_m),) = driver.remaining_m(XW)
    assert (walker.kerb, remaining_m) == ("A", 30.0)


def test_a_foreign_walker_has_no_class_and_no_delay(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    sumo.arrive("p", "XW")
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    walker = driver.waiting[XW]["p"]
    assert (walker.mobility_class, walker.speed_mps, walker.startup_s) == ("unknown", 1.5, 0.0)
    assert sumo.speeds_set == []


def test_start_up_delays_those_who_stand_at_onset_and_nobody_else(sumo, plan):
    driver = WalkerDriver(sumo, plan, is_recording=True)
    sumo.arrive("stands", "XW", startup_s=2.5)
    sumo.arrive("walks", "XW", startup_s=2.5, speed=1.2)
    sumo.arrive("elsewhere", "XE", startup_s=2.5)
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    sumo.arrive("late", "XW", startup_s=2.5)
    for later_ds in range(now_ds + 5, now_ds + 60, 5):
        driver.observe(later_ds)
        driver.act(later_ds, WALK)
    assert driver.orders == [(now_ds, "stands", 0.0), (now_ds + 25, "stands", -1.0)]
    assert sumo.speeds_set == [("stands", 0.0), ("stands", -1.0)]


def test_who_has_not_started_when_walk_ends_is_left_to_the_lamp(sumo, plan):
    driver = WalkerDriver(sumo, plan, is_recording=True)
    sumo.arrive("slow", "XW", startup_s=30)
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    driver.observe(now_ds + 5)
    driver.act(now_ds + 5, CLEARANCE)
    assert driver.orders[-1] == (now_ds + 5, "slow", -1.0)
    driver.act(now_ds + 400, ALL_RED)
    driver.act(now_ds + 1600, WALK)  # the next walk finds them ready
    assert len(driver.orders) == 2


def test_who_vanishes_while_delayed_is_forgotten(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    gone = []
    driver.withdrawals.append(gone.append)
    sumo.arrive("w1", "XW", startup_s=5)
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    del sumo.persons["w1"]
    now_ds = settle(driver, now_ds + 5)
    driver.act(now_ds + 60, WALK)  # would fail on an unknown person
    assert [walker.id for walker in gone] == ["w1"]
    assert driver.waiting[XW] == {}
    assert sumo.speeds_set == [("w1", 0.0)]


def test_release_all_gives_every_delayed_walker_their_speed_back(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    sumo.arrive("w1", "XW", startup_s=5)
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    driver.release_all(now_ds + 5)
    driver.act(now_ds + 100, WALK)
    assert sumo.speeds_set == [("w1", 0.0), ("w1", -1.0)]


def test_entry_lamp_is_that_of_the_step_of_entry(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    lamps = {"w1": WALK, "w2": CLEARANCE, "w3": ALL_RED}
    for person in lamps:
        sumo.arrive(person, "XW")
    now_ds = settle(driver, 0)
    for person, shown in lamps.items():
        driver.act(now_ds, shown)
        now_ds += 5
        sumo.enter(person, "XW", 0.2)
        driver.observe(now_ds)
        driver.act(now_ds, ALL_RED)
    entries = {person: walker.entry_lamp for person, walker in driver.on_crossing[XW].items()}
    assert entries == {"w1": "walk", "w2": "clearance", "w3": "red"}


def test_walk_share_is_known_when_walk_ends(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    sumo.arrive("w1", "XW")
    now_ds = settle(driver, 0)
    driver.act(now_ds, WALK)
    sumo.enter("w1", "XW", 0.2)
    driver.observe(now_ds + 30)
    walker = driver.on_crossing[XW]["w1"]
    assert math.isnan(walker.walk_share)
    driver.act(now_ds + 120, CLEARANCE)
    assert walker.walk_share == 0.25


def test_overtaking_changes_nothing(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    listener = Listener()
    driver.listeners.append(listener)
    for person in ("w1", "w2"):
        sumo.arrive(person, "XW")
        sumo.enter(person, "XW", 1.0)
    driver.observe(5)
    sumo.persons = dict(reversed(sumo.persons.items()))
    driver.observe(10)
    assert [event[1] for event in listener.events] == ["entered", "entered"]


def test_watchers_are_called_after_each_observation(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    times = []
    driver.watchers.append(times.append)
    driver.observe(5)
    driver.watchers.clear()
    driver.observe(10)
    assert times == [5]

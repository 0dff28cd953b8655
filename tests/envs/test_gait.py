"""Courses over a crossing take the time they must, and a pacer makes each change once, when it is due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitgoeul.controller.signals import ALL_RED, Lamps, phase_bit
from bitgoeul.envs.gait import Pacer, stretches, timetable
from bitgoeul.envs.walkers import WalkerDriver
from bitgoeul.sim_scenarios.walker_trips import Gait

WALK = Lamps(green=phase_bit(4), walk=phase_bit(4))
CLEARANCE = Lamps(green=phase_bit(4), ped_clear=phase_bit(4))
XW = 2  # phase 4, 35 m, clearance 27 s


def walked_m(changes, until_s):
    """Integrate speeds over time."""
    metres, speed_mps, since_s = 0.0, 0.0, 0.0
    for at_s, new_mps in changes:
        metres += speed_mps * (at_s - since_s)
        speed_mps, since_s = new_mps, at_s
    return metres + speed_mps * (until_s - since_s)


@given(
    slow_to=st.floats(0.2, 1.0),
    speed_mps=st.floats(0.3, 2.2),
    length_m=st.floats(6.0, 60.0),
    rest=st.one_of(st.just((0.0, 0.0)), st.tuples(st.floats(0.01, 0.99), st.floats(0.1, 20.0))),
)
def test_a_crossing_takes_its_length_over_the_drawn_speed_and_the_rest(slow_to, speed_mps, length_m, rest):
    gait = Gait(slow_to=slow_to, rest_at=rest[0], rest_s=rest[1])
    course = stretches(gait, length_m)
    changes = list(timetable(course, at_m=0.0, length_m=length_m, speed_mps=speed_mps))
    assert walked_m(changes, length_m / speed_mps + rest[1]) == pytest.approx(length_m, rel=1e-9)
    assert [at_s for at_s, _ in changes] == sorted(at_s for at_s, _ in changes)
    moving = [speed for _, speed in changes if speed]
    assert moving == sorted(moving, reverse=True)


@given(slow_to=st.floats(0.2, 0.99), at=st.floats(0.0, 0.999))
def test_from_any_place_on_the_rest_of_the_way_is_walked(slow_to, at):
    length_m, gait = 30.0, Gait(slow_to=slow_to)
    course = stretches(gait, length_m)
    changes = list(timetable(course, at_m=at * length_m, length_m=length_m, speed_mps=1.0))
    left_m = (1 - at) * length_m
    ends_m = [*(each.from_m for each in course[1:]), length_m]
    left_s = sum(
        (end_m - max(each.from_m, at * length_m)) / each.speed_factor
        for each, end_m in zip(course, ends_m, strict=True)
        if end_m > at * length_m
    )
    assert walked_m(changes, left_s) == pytest.approx(left_m)


def test_a_rest_already_passed_is_not_taken():
    course = stretches(Gait(rest_at=0.5, rest_s=5.0), 20.0)
    assert list(timetable(course, at_m=11.0, length_m=20.0, speed_mps=1.0)) == [(0.0, 1.0)]
    assert list(timetable(course, at_m=4.0, length_m=20.0, speed_mps=1.0)) == [
        (0.0, 1.0),
        (6.0, 0.0),
        (11.0, 1.0),
    ]


def test_a_pacer_makes_changes_at_the_nearest_step_and_gives_the_speed_back():
    told = []
    pacer = Pacer(lambda person, speed_mps, now_ds: told.append((now_ds, person, speed_mps)), 2)
    pacer.start("a", iter([(0.0, 1.0), (0.7, 0.0), (1.6, 0.9)]), 100)
    pacer.start("b", iter([(0.5, 0.5)]), 100)
    for now_ds in range(100, 125, 5):
        pacer.act(now_ds)
    assert told == [(100, "a", 1.0), (105, "b", 0.5), (105, "a", 0.0), (115, "a", 0.9)]
    pacer.stop("a", 125)
    pacer.stop("a", 130)
    pacer.stop("nobody", 130)
    pacer.stop_all(130)
    assert told[4:] == [(125, "a", -1.0), (130, "b", -1.0)]


def test_a_new_timetable_ends_the_one_before():
    told = []
    pacer = Pacer(lambda person, speed_mps, now_ds: told.append((now_ds, person, speed_mps)), 2)
    pacer.start("a", iter([(0.0, 1.0), (2.0, 0.5)]), 0)
    pacer.start("a", iter([(0.0, 1.4)]), 10)
    pacer.act(20)
    assert told == [(0, "a", 1.0), (10, "a", 1.4)]


def entered(sumo, plan, gait, *, metres=5.0):
    """Return a driver with one walker of 0.7 m/s some metres onto XW on walk."""
    driver = WalkerDriver(sumo, plan, is_recording=True)
    sumo.arrive("w1", "XW", speed_mps=0.7, gait=gait.as_text())
    driver.observe(0)
    driver.observe(5)
    driver.act(5, WALK)
    sumo.enter("w1", "XW", 0.3)
    driver.observe(10)
    sumo.persons["w1"].position = metres
    driver.observe(15)
    return driver


def test_who_leaves_a_foreign_simulation_s_crossing_has_their_own_speed(sumo, plan):
    driver = entered(sumo, plan, Gait(hurry_factor=1.5))
    driver.act(15, CLEARANCE)
    assert sumo.speeds_set == [("w1", pytest.approx(1.05))]
    driver.release_all(20)
    assert sumo.speeds_set[1:] == [("w1", -1.0)]
    sumo.leave("w1")
    driver.observe(25)
    assert len(sumo.speeds_set) == 2


def test_who_is_off_a_crossing_is_paced_no_more(sumo, plan):
    driver = entered(sumo, plan, Gait(slow_to=0.5))
    sumo.leave("w1")
    driver.observe(20)
    driver.act(2000, ALL_RED)
    assert sumo.speeds_set[-1] == ("w1", -1.0)
    assert driver.orders[-1] == (20, "w1", -1.0)


def test_a_gait_that_nobody_can_read_is_named(sumo, plan):
    driver = WalkerDriver(sumo, plan)
    sumo.arrive("w1", "XW", gait="limp=1")
    with pytest.raises(ValueError, match=r"bitgoeul\.gait: 'limp=1'"):
        driver.act(0, WALK)

"""How long the people on a crossing still need: order, caution, memory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.need import NeedEstimator, Person, slow_speed, time_to_clear
from bitgoeul.controller.plan import load_plan

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XN, XE, XS, XW = range(4)
NAMES = [crossing.id for crossing in PLAN.crossings]


def one_hot(name):
    return tuple(float(each == name) for each in MOBILITY_CLASSES)


def track(remaining_m, speed_mps=1.0, *, kind="adult", at_ds=0, name="p"):
    classes = one_hot(kind) if isinstance(kind, str) and kind else kind or ()
    return Track(name, "XW", Zone.CROSSING, remaining_m, speed_mps, classes, "test", at_ds, 0)


def frames(now_ds, *tracks, is_healthy=True, crossing=XW):
    return tuple(
        Frame(name, now_ds, is_healthy, tracks if index == crossing else ())
        for index, name in enumerate(NAMES)
    )


def walked(speeds_mps, *, kind="adult", length_m=35.0):
    """Return an estimator that watched one person walk at these speeds, one per half second, and the time."""
    needs, remaining_m = NeedEstimator(PLAN), length_m
    now_ds = 0
    for speed_mps in speeds_mps:
        needs.update(frames(now_ds, track(remaining_m, speed_mps, kind=kind, at_ds=now_ds)))
        remaining_m -= speed_mps * 0.5
        now_ds += 5
    return needs, now_ds - 5


def test_an_empty_crossing_needs_nothing():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0))
    assert needs.need(XW, 0) == 0.0
    assert needs.is_clear_within(XW, 0, 0.0)
    assert not needs.people(XW)


def test_people_count_on_their_own_crossing_only():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(10.0), crossing=XE))
    assert needs.need(XE, 0) > 0
    assert needs.need(XW, 0) == 0.0


def test_at_first_sight_the_median_is_the_class_median():
    # An adult walks 1.29 m/s, sd 0.27: median 1.29 / sqrt(1 + (0.27 / 1.29)^2) = 1.263 m/s.
    person = Person(track(10.0), 10.0, 0, 1.0)
    assert slow_speed(person, quantile=0.5) == pytest.approx(1.263, abs=0.002)
    # 1 % walk slower than exp(log(1.263) - 2.326 * sqrt(log(1.0438) + 0.08^2)) = 0.754 m/s.
    assert slow_speed(person, quantile=0.99) == pytest.approx(0.755, abs=0.003)
    assert time_to_clear(person, 0, quantile=0.5) == pytest.approx(10 / 1.263, abs=0.02)


def test_needs_grow_with_the_quantile():
    needs, now_ds = walked([1.0] * 6)
    quantiles = [needs.need(XW, now_ds, quantile=q) for q in (0.5, 0.8, 0.95, 0.99, 0.999)]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] < quantiles[-1]
    assert all(map(math.isfinite, quantiles))


@pytest.mark.parametrize(("slower", "faster"), [("frail", "cane"), ("cane", "elderly"), ("elderly", "adult")])
def test_a_slower_class_needs_longer(slower, faster):
    assert walked([1.0], kind=slower)[0].need(XW, 0) > walked([1.0], kind=faster)[0].need(XW, 0)


UNCERTAIN = tuple(1 / 9 for _ in MOBILITY_CLASSES)


def test_an_unknown_or_uncertain_class_counts_as_slow():
    unknown = walked([1.0], kind="")[0].need(XW, 0)
    assert walked([1.0], kind=UNCERTAIN)[0].need(XW, 0) == unknown
    # At least as long as for somebody surely with a cane.
    assert unknown >= walked([1.0], kind="cane")[0].need(XW, 0)


def test_a_probable_class_mixes_in_the_others():
    likely = tuple(0.9 if name == "adult" else 0.1 if name == "frail" else 0.0 for name in MOBILITY_CLASSES)
    adult, frail = walked([1.0])[0].need(XW, 0), walked([1.0], kind="frail")[0].need(XW, 0)
    assert adult < walked([1.0], kind=likely)[0].need(XW, 0) < frail


def test_what_is_seen_outweighs_the_class():
    needs, now_ds = walked([1.4] * 20, kind="frail")
    at_sight = walked([1.4], kind="frail")[0].need(XW, 0)
    # 19 half seconds at 1.4 m/s leave 21.7 m: 15.5 s at that speed, 34 s at the mean of the class.
    assert needs.need(XW, now_ds, quantile=0.5) == pytest.approx(21.7 / 1.4, rel=0.12)
    assert needs.need(XW, now_ds) < at_sight


def test_who_stalls_is_slow_again():
    needs, now_ds = walked([1.2] * 12)
    stalled, later_ds = walked([1.2] * 12 + [0.0] * 12)
    assert stalled.need(XW, later_ds) > 2 * needs.need(XW, now_ds)


def test_a_speed_no_class_walks_at_counts_as_seen():
    needs, now_ds = walked([4.5] * 10, kind="frail")
    assert needs.need(XW, now_ds, quantile=0.5) == pytest.approx((35 - 9 * 2.25) / 4.5, rel=0.05)


def test_nobody_is_assumed_to_stand_for_ever():
    needs, now_ds = walked([0.0] * 40)
    assert needs.need(XW, now_ds) <= 35 / 0.1
    assert not needs.is_clear_within(XW, now_ds, 100.0)


def test_the_age_of_a_measurement_counts():
    needs, now_ds = walked([1.0] * 10)
    need_s = needs.need(XW, now_ds)
    assert needs.need(XW, now_ds + 20) == pytest.approx(need_s - 2.0)
    assert needs.need(XW, now_ds + 3000) == 0.0
    assert needs.is_clear_within(XW, now_ds + 3000, 0.0)


def test_clear_within_agrees_with_the_99_percent_need():
    needs, now_ds = walked([1.0] * 30)
    need_s = needs.need(XW, now_ds)
    assert not needs.is_clear_within(XW, now_ds, need_s - 0.1)
    # A little stricter: nobody is trusted with more than 0.85 of their recent speed (20.5 m at 1 m/s).
    assert needs.is_clear_within(XW, now_ds, max(need_s, 20.5 / 0.85) + 0.1)


def test_two_people_need_at_least_as_long_as_the_slower_one():
    alone, both = NeedEstimator(PLAN), NeedEstimator(PLAN)
    slow, fast = track(20.0, 0.6, kind="frail", name="a"), track(20.0, 1.3, name="b")
    alone.update(frames(0, slow))
    both.update(frames(0, slow, fast))
    assert both.need(XW, 0) > alone.need(XW, 0)
    assert not both.is_clear_within(XW, 0, alone.need(XW, 0))


def test_the_slowest_few_stand_for_all():
    needs = NeedEstimator(PLAN)
    people = [track(20.0, 0.5 + 0.1 * n, name=str(n)) for n in range(6)]
    needs.update(frames(0, *people))
    assert needs.need(XW, 0, slowest=1) == pytest.approx(needs.need(XW, 0))
    assert needs.need(XW, 0, slowest=10) == needs.need(XW, 0)


def test_a_walker_is_confirmed_by_moving():
    needs, _ = walked([1.0])
    assert [person.is_confirmed for person in needs.people(XW)] == [False]
    needs, _ = walked([1.0] * 2)
    assert [person.is_confirmed for person in needs.people(XW)] == [True]


def test_a_slow_walker_is_confirmed_by_the_way_made():
    needs, _ = walked([0.2] * 10)  # 0.9 m
    assert [person.is_confirmed for person in needs.people(XW)] == [False]
    needs, _ = walked([0.2] * 12)  # 1.1 m
    assert [person.is_confirmed for person in needs.people(XW)] == [True]


def test_a_ghost_is_never_confirmed():
    needs, _ = walked([0.0] * 100)
    assert [person.is_confirmed for person in needs.people(XW)] == [False]


def test_who_vanishes_is_remembered_until_surely_gone():
    needs, now_ds = walked([1.0] * 31)  # seen last with 20 m to go
    # At half their speed they need 40 s from the last sight.
    for later_ds in range(now_ds + 5, now_ds + 400, 5):
        needs.update(frames(later_ds))
        assert len(needs.people(XW)) == 1
    needs.update(frames(now_ds + 400))
    assert not needs.people(XW)
    assert needs.need(XW, now_ds + 400) == 0.0


def test_who_comes_back_into_sight_is_the_same_person():
    needs, now_ds = walked([1.0] * 31)
    needs.update(frames(now_ds + 5))
    needs.update(frames(now_ds + 10, track(19.0, at_ds=now_ds + 10)))
    for later_ds in range(now_ds + 15, now_ds + 385, 5):
        needs.update(frames(later_ds))
        assert len(needs.people(XW)) == 1
    (person,) = needs.people(XW)
    assert person.first_ds == 0


def test_one_stays_in_sight_while_another_vanishes():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(30.0, name="a"), track(1.0, name="b")))
    for now_ds in range(5, 100, 5):
        needs.update(frames(now_ds, track(30.0 - now_ds / 10, name="a", at_ds=now_ds)))
    assert {person.track.id for person in needs.people(XW)} == {"a"}


def test_a_blind_or_repeated_picture_changes_nothing():
    needs, now_ds = walked([1.0] * 11)
    before = [(p.track, p.recent_mps, p.gone_ds) for p in needs.people(XW)]
    needs.update(frames(now_ds + 5, is_healthy=False))
    needs.update(frames(now_ds, track(1.0, 9.0, at_ds=now_ds)))
    assert [(p.track, p.recent_mps, p.gone_ds) for p in needs.people(XW)] == before

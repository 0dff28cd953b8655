"""How long the people on a crossing still need: order, caution, memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES, CrossingRequest, Frame, Track, Zone
from bitgoeul.controller.need import MOST_WAITING, NeedEstimator, Noise, Person
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.walking import lognormal_parameters

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


def test_a_picture_that_cannot_be_followed_fails_once():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(None)))
    needs.update(frames(5, track(10.0, at_ds=5, name="q"), crossing=XE))
    with pytest.raises(TypeError):
        needs.need(XW, 5)
    needs.update(frames(10, track(9.5, at_ds=10, name="q"), crossing=XE))
    assert [person.track.id for person in needs.people(XE)] == ["q"]


def test_when_one_asks_makes_no_difference_to_the_need():
    # Late, doubled, out of order and blind pictures; asked in every tick, and after forty.
    pictures, length_m = [], 35.0
    for at_ds in (0, 5, 5, 15, 10, 20, 20, 30, 25, 35, 45, 40, *range(50, 150, 5)):
        seen = [track(length_m - at_ds / 12, at_ds=at_ds)] if at_ds % 35 else []
        pictures.append(frames(at_ds, *seen, is_healthy=at_ds % 25 > 0))
    often, seldom = NeedEstimator(PLAN), NeedEstimator(PLAN)
    for place, picture in enumerate(pictures):
        often.update(picture)
        often.need(XW, 10 * place)
        seldom.update(picture)
        assert len(seldom._waiting) <= MOST_WAITING
    assert seldom.need(XW, 200) == often.need(XW, 200) > 0


def test_people_count_on_their_own_crossing_only():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(10.0), crossing=XE))
    assert needs.need(XE, 0) > 0
    assert needs.need(XW, 0) == 0.0


def test_at_first_sight_the_need_is_the_classs():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(10.0, 0.0)))  # nothing is known of the speed yet
    person = Person(track(10.0, 0.0), 35.0, Noise())
    person.walked_mps = 0.0
    # An adult walks 1.29 m/s, sd 0.27; 0.3 m of margin; who stands may stand for 10 s more.
    assert needs.need(XW, 0, quantile=0.5) == pytest.approx(10 + 10.3 / 1.29, rel=0.03)
    # One in a hundred walks slower than 1.29 - 2.326 * 0.27 = 0.66 m/s.
    assert needs.need(XW, 0, quantile=0.99) == pytest.approx(10 + 10.3 / 0.66, rel=0.08)


def test_the_filter_is_a_kalman_filter():
    # By hand: P = diag(0.35^2, 0.5^2 + 0.15^2); half a second later 0.9 m nearer than the speed says.
    person = Person(track(20.0, 1.0), 35.0, Noise())
    assert person.follow(track(19.4, 0.0, at_ds=5))
    prior = np.array([[0.35**2 + 0.25 * 0.2725, -0.5 * 0.2725], [-0.5 * 0.2725, 0.2725 + 0.003]])
    gain = prior[:, 0] / (prior[0, 0] + 0.35**2)
    assert person.remaining_m == pytest.approx(19.5 + gain[0] * -0.1)
    assert person.speed_mps == pytest.approx(1.0 + gain[1] * -0.1)
    left = prior - np.outer(gain, prior[0])
    assert (person.remaining_var, person.both_var, person.speed_var) == pytest.approx(
        (left[0, 0], left[0, 1], left[1, 1])
    )
    # With a stated speed, both at once: the same as one after the other.
    both = Person(track(20.0, 1.0), 35.0, Noise())
    assert both.follow(track(19.4, 1.3, at_ds=5))
    gains = prior @ np.linalg.inv(prior + np.diag([0.35**2, 0.15**2]))
    state = np.array([19.5, 1.0]) + gains @ np.array([-0.1, 0.3])
    left = prior - gains @ prior
    assert (both.remaining_m, both.speed_mps) == pytest.approx(tuple(state))
    assert (both.remaining_var, both.both_var, both.speed_var) == pytest.approx(
        (left[0, 0], left[0, 1], left[1, 1])
    )


def test_needs_grow_with_the_quantile():
    needs, now_ds = walked([1.0] * 6)
    quantiles = [needs.need(XW, now_ds, quantile=q) for q in (0.5, 0.8, 0.95, 0.99, 0.999)]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] < quantiles[-1]
    assert all(map(math.isfinite, quantiles))


@pytest.mark.parametrize(("slower", "faster"), [("frail", "cane"), ("cane", "elderly"), ("elderly", "adult")])
def test_a_slower_class_needs_longer(slower, faster):
    slow, fast = (walked([1.0], kind=kind)[0].need(XW, 0, quantile=0.9) for kind in (slower, faster))
    assert slow > fast


UNCERTAIN = tuple(1 / 9 for _ in MOBILITY_CLASSES)


def test_an_unknown_or_uncertain_class_counts_as_slow():
    unknown = walked([1.0], kind="")[0].need(XW, 0)
    assert walked([1.0], kind=UNCERTAIN)[0].need(XW, 0) == unknown
    # At least as long as for somebody surely with a cane.
    assert unknown >= walked([1.0], kind="cane")[0].need(XW, 0)
    # Before anything is seen of the speed, one in four is slower than with a cane.
    unseen = NeedEstimator(PLAN)
    unseen.update(frames(0, track(20.0, 0.0, kind="")))
    assert unseen.need(XW, 0, quantile=0.75) > 10 + 20.3 / 0.86
    # But who is seen to walk fast is believed.
    fast, now_ds = walked([1.5] * 10, kind="")
    assert fast.need(XW, now_ds, quantile=0.95) < 1.25 * (35 - 9 * 0.75) / 1.5


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


def test_a_speed_no_class_walks_at_counts_as_seen():
    needs, now_ds = walked([2.5] * 10, kind="frail")
    assert needs.need(XW, now_ds, quantile=0.5) == pytest.approx((35.3 - 9 * 1.25) / 2.5, rel=0.05)


def test_who_stands_may_stand_a_little_longer_and_then_walks_as_before():
    needs, now_ds = walked([1.2] * 12 + [0.0] * 12)
    left_m = 35 - 12 * 0.6
    assert needs.need(XW, now_ds, quantile=0.5) == pytest.approx(10 + left_m / 1.2, rel=0.1)
    assert not needs.is_clear_within(XW, now_ds, left_m / 1.2)


def test_nobody_is_assumed_to_stand_for_ever():
    needs, now_ds = walked([0.0] * 40)
    assert needs.need(XW, now_ds) <= 10 + 35.3 / 0.1
    assert not needs.is_clear_within(XW, now_ds, 20.0)


def test_who_walks_back_needs_the_way_back():
    needs = NeedEstimator(PLAN)
    for step in range(12):  # 6 m in, then back at 1 m/s: a sensor says 0 of a speed away from the far kerb
        remaining_m = 29.0 - 0.5 * step if step < 4 else 27.5 + 0.5 * (step - 4)
        needs.update(frames(5 * step, track(remaining_m, 1.0 if step < 4 else 0.0, at_ds=5 * step)))
    # 31 m from the far kerb, 4 m from the near one.
    assert 3.0 < needs.need(XW, 55, quantile=0.5) < 7.0
    assert needs.is_clear_within(XW, 55, 10.0)


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
    assert needs.is_clear_within(XW, now_ds, need_s + 0.1)


def test_two_people_need_at_least_as_long_as_the_slower_one():
    alone, both = NeedEstimator(PLAN), NeedEstimator(PLAN)
    slow, fast = track(20.0, 0.6, kind="frail", name="a"), track(20.0, 1.3, name="b")
    alone.update(frames(0, slow))
    both.update(frames(0, slow, fast))
    assert both.need(XW, 0) > alone.need(XW, 0)
    assert not both.is_clear_within(XW, 0, alone.need(XW, 0))


def test_the_last_of_many_by_brute_force():
    needs = NeedEstimator(PLAN)
    people = [track(10.0 + 2 * n, 0.7 + 0.1 * n, name=str(n)) for n in range(8)]
    needs.update(frames(0, *people))
    # P(all clear by t) is the product of each one's: found by bisection on one's own needs.
    wanted_s = needs.need(XW, 0, quantile=0.9)
    quantiles = [k / 2000 for k in range(1, 2000)]
    each = np.array(needs.needs(XW, 0, quantiles))
    chance = np.prod([np.interp(wanted_s, row, quantiles, right=1.0) for row in each])
    assert chance == pytest.approx(0.9, abs=0.01)


def test_each_ones_own_need_comes_in_the_order_of_people():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(30.0, name="far"), track(5.0, name="near")))
    (far, near) = needs.needs(XW, 0, (0.5, 0.95))
    assert far[0] < far[1]
    assert near[1] < far[0]
    assert needs.needs(XE, 0, (0.5,)) == []


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
    sure_s = needs.need(XW, now_ds)
    later_ds = now_ds
    while needs.people(XW):
        later_ds += 5
        needs.update(frames(later_ds))
    assert later_ds == now_ds + 410  # 20.3 m at half their speed: 40.6 s, more than surely needed
    assert sure_s < 30
    assert needs.need(XW, later_ds) == 0.0


def test_who_comes_back_into_sight_is_the_same_person():
    needs, now_ds = walked([1.0] * 31)
    needs.update(frames(now_ds + 5))
    needs.update(frames(now_ds + 10, track(19.0, at_ds=now_ds + 10)))
    for later_ds in range(now_ds + 15, now_ds + 200, 5):
        needs.update(frames(later_ds))
        assert len(needs.people(XW)) == 1
    (person,) = needs.people(XW)
    assert person.first_ds == 0


def test_the_memory_of_a_loss_ends_with_it():
    needs, now_ds = walked([1.0] * 31)  # 20 m to go: forgotten 41 s after a loss
    needs.update(frames(now_ds + 5))
    for at_ds in range(now_ds + 10, now_ds + 420, 5):
        needs.update(frames(at_ds, track(19.0, 0.0, at_ds=at_ds)))  # stands for 41 s
    for at_ds in range(now_ds + 420, now_ds + 800, 5):  # lost again: a pause of 10 s and 19 m
        needs.update(frames(at_ds))
        assert len(needs.people(XW)) == 1


def test_the_last_metre_is_not_known_to_the_centimetre():
    needs, now_ds = walked([1.0] * 69)  # 1 m to go
    sure_s, half_s = (needs.need(XW, now_ds, quantile=q) for q in (0.99, 0.5))
    assert half_s == pytest.approx(1.3, abs=0.2)
    assert sure_s > half_s + 0.5


def test_one_stays_in_sight_while_another_vanishes():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(30.0, name="a"), track(1.0, name="b")))
    for now_ds in range(5, 100, 5):
        needs.update(frames(now_ds, track(30.0 - now_ds / 10, name="a", at_ds=now_ds)))
    assert {person.track.id for person in needs.people(XW)} == {"a"}


def test_a_blind_or_repeated_picture_changes_nothing():
    needs, now_ds = walked([1.0] * 11)
    before = [(p.track, p.speed_mps, p.gone_ds) for p in needs.people(XW)]
    needs.update(frames(now_ds + 5, is_healthy=False))
    needs.update(frames(now_ds, track(1.0, 9.0, at_ds=now_ds)))
    assert [(p.track, p.speed_mps, p.gone_ds) for p in needs.people(XW)] == before


# --- numbers that change ------------------------------------------------------------------------------


def test_a_track_that_breaks_is_the_same_person_under_another_number():
    needs, now_ds = walked([1.0] * 11)  # 30 m to go
    needs.update(frames(now_ds + 5, track(29.6, at_ds=now_ds + 5, name="q")))
    (person,) = needs.people(XW)
    assert (person.track.id, person.first_ds, person.is_confirmed) == ("q", 0, True)


def test_a_track_far_from_anybody_lost_is_somebody_new():
    needs, now_ds = walked([1.0] * 11)
    needs.update(frames(now_ds + 5, track(20.0, at_ds=now_ds + 5, name="q")))
    assert {person.track.id for person in needs.people(XW)} == {"p", "q"}


def test_two_who_swap_numbers_keep_their_pasts():
    needs = NeedEstimator(PLAN)
    for step in range(10):
        slow, fast = 30.0 - 0.25 * step, 20.0 - 0.7 * step
        needs.update(frames(5 * step, track(slow, 0.5, at_ds=5 * step, name="a"),
                            track(fast, 1.4, at_ds=5 * step, name="b")))  # fmt: skip
    needs.update(frames(50, track(27.5, 0.5, at_ds=50, name="b"), track(13.0, 1.4, at_ds=50, name="a")))
    people = {person.track.id: person for person in needs.people(XW)}
    assert {name: round(person.first_m) for name, person in people.items()} == {"b": 30, "a": 20}


def test_who_loses_their_number_to_somebody_far_away_is_remembered():
    needs, now_ds = walked([1.0] * 11)  # p has 30 m to go
    needs.update(frames(now_ds + 5, track(10.0, at_ds=now_ds + 5)))  # "p" is now 10 m from the kerb
    assert sorted(round(person.remaining_m) for person in needs.people(XW)) == [10, 30]
    needs.update(frames(now_ds + 10, track(9.5, at_ds=now_ds + 10), track(29.0, at_ds=now_ds + 10, name="q")))
    assert sorted(person.first_ds for person in needs.people(XW)) == [0, now_ds + 5]


def test_whoever_passes_does_not_take_the_place_of_somebody_lost():
    needs, now_ds = walked([0.5] * 33, kind="frail", length_m=20.0)  # 12 m to go at 0.5 m/s: hidden from now
    for step in range(12):  # somebody new, as far from their own kerb, at 1.4 m/s
        at_ds = now_ds + 5 * (step + 1)
        needs.update(frames(at_ds, track(11.5 - 0.7 * step, 1.4, at_ds=at_ds, name="q")))
    assert {person.track.id for person in needs.people(XW)} == {"p", "q"}
    assert not needs.is_clear_within(XW, at_ds, 7.0)  # 9 m at 0.5 m/s are 18 s


def test_whoever_follows_does_not_take_the_place_of_somebody_seen_once():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(34.5, 0.45, kind="cane")))
    for step in range(1, 40):  # 0.5 m behind, hiding them; off after 25 s
        at_ds = 5 * step
        needs.update(frames(at_ds, track(35.0 - 0.7 * step, 1.4, at_ds=at_ds, name="q")))
    assert {person.track.id for person in needs.people(XW)} == {"p", "q"}
    assert not needs.is_clear_within(XW, at_ds, 7.0)


def test_who_hesitates_after_a_step_is_not_on_the_way_back():
    needs = NeedEstimator(PLAN)
    for at_ds, remaining_m in ((0, 34.0), (5, 34.6), (10, 34.9)):  # stands a step from the kerb, noise 0.4 m
        needs.update(frames(at_ds, track(remaining_m, 0.0, at_ds=at_ds)))
        assert not needs.is_clear_within(XW, at_ds, 10.0)


def test_who_is_first_seen_on_the_way_back_is_confirmed():
    needs = NeedEstimator(PLAN)
    for step in range(8):
        needs.update(frames(5 * step, track(20.0 + 0.5 * step, 0.0, at_ds=5 * step)))
    assert [person.is_confirmed for person in needs.people(XW)] == [True]


# --- several sensors, and odd times -------------------------------------------------------------------


def test_what_a_second_sensor_sees_does_not_wait_for_the_first():
    needs = NeedEstimator(PLAN)
    needs.update(frames(100, track(30.0, at_ds=100)))
    # The first one's picture is still of 10.0 s, so the frame is; the second has a newer one.
    needs.update(frames(100, track(30.0, at_ds=100), track(8.0, at_ds=105, name="q")))
    assert {person.track.id for person in needs.people(XW)} == {"p", "q"}


def test_a_frame_that_is_not_whole_adds_people_and_loses_nobody():
    needs, now_ds = walked([1.0] * 11)
    for at_ds in range(now_ds + 5, now_ds + 65, 5):  # the sensor that saw p is out; another sees q
        needs.update(frames(at_ds, track(30.0 - at_ds / 10, at_ds=at_ds, name="q"), is_healthy=False))
    people = {person.track.id: person for person in needs.people(XW)}
    assert people.keys() == {"p", "q"}
    assert people["q"].is_confirmed
    assert people["p"].gone_ds < 0
    needs.update(frames(now_ds + 62, is_healthy=True))  # whole again, its picture older than the last tick
    assert all(person.gone_ds >= 0 for person in needs.people(XW))


def test_what_is_seen_twice_is_not_twice_as_sure():
    needs = NeedEstimator(PLAN)
    for at_ds in range(20):  # a sensor repeats where it saw somebody last
        needs.update(frames(at_ds, track(20.0, 1.0, at_ds=0)))
    (person,) = needs.people(XW)
    assert person.speed_var == Person(track(20.0), 35.0, Noise()).speed_var


def test_time_that_runs_back_for_one_track_changes_nothing():
    needs, now_ds = walked([1.0] * 21)
    (person,) = needs.people(XW)
    before = (person.remaining_m, person.remaining_var, person.speed_mps, person.speed_var)
    for step in range(1, 6):
        needs.update(frames(now_ds + step, track(30.0, 0.2, at_ds=now_ds - 20 * step)))
        assert (person.remaining_m, person.remaining_var, person.speed_mps, person.speed_var) == before
    assert person.gone_ds < 0


# --- those who wait, and those who ask ----------------------------------------------------------------


def request(needed_s, *, crossing="XW", at_ds=0, until_ds=10_000):
    return CrossingRequest("r", crossing, Zone.KERB_A, needed_s, "phone", at_ds, until_ds)


def test_who_waits_needs_start_up_and_the_whole_way():
    needs = NeedEstimator(PLAN)
    waiting = [track(35.0, 0.0)]
    assert needs.need_from_start(XW, []) == 0.0
    # An adult: 1.9 s mean start-up, 35 / 1.29 = 27.1 s.
    assert needs.need_from_start(XW, waiting, quantile=0.5) == pytest.approx(1.6 + 27.1, abs=1.0)
    alone_s = needs.need_from_start(XW, waiting)
    assert needs.need_from_start(XW, waiting * 5) > alone_s
    assert needs.need_from_start(XW, [track(35.0, 0.0, kind="frail")]) > alone_s + 10
    # By drawing: 95 % of adults.
    draw = np.random.default_rng(1)
    speeds = draw.normal(1.29, 0.27, 100_000)
    mu, sigma = lognormal_parameters(1.9, 3.1)
    taken = draw.lognormal(mu, sigma, 100_000) + 35 / speeds.clip(0.3)
    assert needs.need_from_start(XW, waiting, quantile=0.95) == pytest.approx(
        float(np.quantile(taken, 0.95)), abs=1.5
    )


def test_a_request_states_what_it_needs():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0), (request(60.0),))
    assert needs.need_from_start(XW, []) == 60.0
    assert needs.need_from_start(XE, []) == 0.0
    needs.update(frames(5), (request(None),))
    assert needs.need_from_start(XW, []) > 40.0  # somebody of no known class: half of them slow


def test_a_request_counts_for_the_walk_it_was_made_for():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0), (request(60.0, at_ds=100, until_ds=2000),))
    assert needs.requested_s(XW, 200, 350, 400) == 40.0
    assert needs.requested_s(XW, 200, 350, 900) == 0.0
    assert needs.requested_s(XW, 20, 90, 150) == 0.0  # made after that walk ended
    assert needs.requested_s(XW, 2000, 2100, 2200) == 0.0  # expired before walk began
    assert needs.requested_s(XE, 200, 350, 400) == 0.0
    needs.update(frames(5))
    assert needs.requested_s(XW, 200, 350, 400) == 0.0

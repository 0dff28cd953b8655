"""The guard by hand-timed cases on XW (35 m, phase 4: walk 15 s, clearance 27 s, yellow + red 7 s)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitgoeul.controller.clocks import SignalClocks
from bitgoeul.controller.detection import (
    MOBILITY_CLASSES,
    CrossingRequest,
    Frame,
    Snapshot,
    Track,
    Zone,
)
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import NO_CALLS, Commands, Lamps
from bitgoeul.controller.situation import Proposal

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XW, BIT = 3, 0b1000
ADULT = tuple(float(name == "adult") for name in MOBILITY_CLASSES)
WALK = Lamps(green=BIT, walk=BIT)
CLEAR = Lamps(green=BIT, ped_clear=BIT)
GREEN = Lamps(green=BIT)
YELLOW = Lamps(yellow=BIT)
RED = Lamps()
LEFT = Lamps(green=0b100)


def track(remaining_m, speed_mps, name="p"):
    """Return where somebody is, as a function of nothing: the caller moves them."""
    return Track(name, "XW", Zone.CROSSING, remaining_m, speed_mps, ADULT, "test", 0, 0)


class Bench:
    """Feeds the guard tick by tick with lamps and pictures of XW; other crossings are seen empty."""

    def __init__(self, **options):
        self.clocks, self.needs = SignalClocks(PLAN), NeedEstimator(PLAN)
        self.guard = Guard(PLAN, **options)
        self.guard.attach(self.clocks)
        self.now_ds, self.notes = 0, []
        self.service = self.clocks.services[XW]
        self.requests = ()

    def tick(self, lamps, *tracks, at_ds=None, is_healthy=True, proposal=None, age_ds=0):
        """Review one tick at `at_ds` (default: half a second on); return its verdict."""
        self.now_ds = self.now_ds + 5 if at_ds is None else at_ds
        measured_ds = self.now_ds - age_ds
        seen = tuple(each._replace(measured_ds=measured_ds) for each in tracks)
        frames = tuple(
            Frame(c.id, measured_ds, is_healthy, seen if index == XW and is_healthy else ())
            for index, c in enumerate(PLAN.crossings)
        )
        self.clocks.follow(self.now_ds, lamps)
        self.needs.update(frames, self.requests)
        snapshot = Snapshot(self.now_ds, lamps, NO_CALLS, (), (), frames, self.requests)
        verdict = self.guard.review(snapshot, self.needs, proposal or Proposal())
        self.notes += verdict.interventions
        return verdict

    def serve(self, *tracks, end=GREEN, **given):
        """Pass walk (0-15 s) and clearance (15-42 s); return the verdict as clearance ends."""
        began_ds = self.now_ds + 5
        self.tick(WALK, at_ds=began_ds, **given)
        self.tick(CLEAR, at_ds=began_ds + 150, **given)
        for each in tracks:  # two earlier looks: one second of walking
            self.needs.update(tuple(_looks(began_ds + 400, each)))
        return self.tick(end, *tracks, at_ds=began_ds + 420, **given)


def _looks(at_ds, each):
    earlier = each._replace(remaining_m=each.remaining_m + 2 * each.speed_mps, measured_ds=at_ds)
    for index, crossing in enumerate(PLAN.crossings):
        yield Frame(crossing.id, at_ds, is_healthy=True, on_crossing=(earlier,) if index == XW else ())


def reason(verdict):
    return dict(verdict.reasons).get("XW")


# --- held by default, released on evidence ----------------------------------------------------------


def test_walk_and_clearance_are_held_by_default():
    bench = Bench()
    verdict = bench.tick(WALK)
    assert (reason(verdict), verdict.commands.hold, verdict.extension) == ("walk", BIT, BIT)
    assert reason(bench.tick(CLEAR, at_ds=155)) == "clearance"
    assert reason(bench.tick(CLEAR, at_ds=414)) == "clearance"
    assert reason(bench.tick(CLEAR, at_ds=415)) is None  # the last second: the picture is fresh and empty


def test_before_the_first_walk_nothing_is_held():
    verdict = Bench().tick(GREEN)
    assert (verdict.commands, verdict.extension, verdict.reasons) == (Commands(), 0, ())


def test_a_fresh_empty_picture_releases():
    verdict = Bench().serve()
    assert (reason(verdict), verdict.commands.hold) == (None, 0)


def test_a_picture_of_two_seconds_ago_is_no_evidence():
    assert reason(Bench().serve(age_ds=19)) is None
    assert reason(Bench().serve(age_ds=20)) == "blind"


def test_a_picture_taken_before_walk_ended_is_no_evidence():
    bench = Bench()
    bench.tick(WALK)
    bench.tick(CLEAR)
    bench.service.walk_ended_ds = 440
    assert reason(bench.tick(CLEAR, at_ds=425, age_ds=0)) == "clearance"
    bench.service.is_clearing = False
    bench.now_ds = 430
    bench.service.walk_ended_ds = 431
    bench.clocks._lamps = GREEN
    assert reason(bench.tick(GREEN, at_ds=435, age_ds=5)) == "walk"
    assert reason(bench.tick(GREEN, at_ds=440, age_ds=5)) is None


def test_a_person_holds_until_the_rest_fits_into_yellow_and_red():
    bench = Bench()
    verdict = bench.serve(track(20.0, 1.0))
    assert (reason(verdict), verdict.commands.hold, verdict.extension) == ("person", BIT, BIT)
    remaining_m, released_m = 20.0, None
    while released_m is None:
        remaining_m -= 0.5
        if reason(bench.tick(GREEN, track(remaining_m, 1.0))) is None:
            released_m = remaining_m
    # 7 s of yellow and red less 1 s margin: 6 m at the speed seen; the 99 % need of somebody 4 m away, whose
    # place is known to 0.3 m and whose speed to a tenth, is a third longer.
    assert 3.9 <= released_m <= 4.6


def test_a_released_hold_comes_back_with_new_evidence():
    bench = Bench()
    assert reason(bench.serve()) is None
    assert reason(bench.tick(GREEN, track(34.0, 1.0))) == "unconfirmed"
    assert reason(bench.tick(GREEN, track(33.5, 1.0))) == "person"
    for step in range(1, 7):
        assert reason(bench.tick(GREEN, track(33.5 - 2 * step, 4.0))) == "person"
    reasons = [reason(bench.tick(GREEN, track(21.5 - 2 * step, 4.0))) for step in range(1, 11)]
    assert (reasons[0], reasons[-1]) == ("person", None)


def test_one_picture_that_fits_may_be_an_outlier():
    bench = Bench()
    assert reason(bench.serve(track(20.0, 1.0))) == "person"
    for remaining_m in (4.0, 19.0, 4.0, 18.0):  # noise of the sensor
        assert reason(bench.tick(GREEN, track(remaining_m, 1.0))) == "person"


def test_a_person_lost_from_sight_is_waited_for():
    bench = Bench()
    assert reason(bench.serve(track(20.0, 1.0))) == "person"
    assert reason(bench.tick(GREEN)) == "person"
    assert reason(bench.tick(GREEN, is_healthy=False)) == "person"


def test_with_form_p_the_service_ends_with_the_green():
    bench = Bench()
    bench.serve(track(4.0, 1.0))
    assert reason(bench.tick(YELLOW, track(3.5, 1.0))) is None
    assert not bench.service.is_open


# --- blind ------------------------------------------------------------------------------------------


def test_blind_lasts_as_long_as_a_0_7_design():
    bench = Bench()
    assert reason(bench.serve(is_healthy=False)) == "blind"  # walk started at 0.5 s
    assert reason(bench.tick(GREEN, at_ds=574, is_healthy=False)) == "blind"
    assert reason(bench.tick(GREEN, at_ds=575, is_healthy=False)) is None  # 0.5 + 7 + 35 / 0.7


def test_sight_ends_the_blind_time():
    bench = Bench()
    assert reason(bench.serve(is_healthy=False)) == "blind"
    assert reason(bench.tick(GREEN)) is None


def test_an_unconfirmed_track_of_a_lost_sensor_counts_as_blind():
    bench = Bench()
    bench.tick(WALK)
    bench.tick(CLEAR, at_ds=155)
    bench.tick(CLEAR, track(30.0, 0.0), at_ds=420)
    assert reason(bench.tick(GREEN, at_ds=425, is_healthy=False)) == "blind"


# --- requests ---------------------------------------------------------------------------------------


def asked(needed_s, at_ds=0):
    return (CrossingRequest("r", "XW", Zone.KERB_A, needed_s, "phone", at_ds, 9_000),)


def test_a_request_calls_for_the_walk_until_it_has_had_it():
    bench = Bench()
    bench.requests = asked(None, at_ds=3)
    assert bench.tick(LEFT).commands.ped_call == BIT
    assert bench.tick(WALK).commands.ped_call == 0
    assert bench.tick(GREEN, at_ds=430).commands.ped_call == 0
    assert bench.tick(LEFT, at_ds=600).commands.ped_call == 0  # served, though not yet expired
    bench.requests = asked(None, at_ds=650)
    assert bench.tick(LEFT, at_ds=655).commands.ped_call == BIT


def test_a_new_request_is_heard_in_a_quiet_moment():
    bench, proposal = Bench(), Proposal()
    assert bench.tick(LEFT, proposal=proposal).commands.ped_call == 0
    bench.requests = asked(None, at_ds=7)
    assert bench.tick(LEFT, proposal=proposal).commands.ped_call == BIT


def test_a_stated_need_is_waited_for_but_ten_seconds_at_most():
    bench = Bench()
    bench.requests = asked(50.0)  # walk and clearance are 42 s: 8 s more, of which yellow and red give 6
    assert reason(bench.serve()) == "request"
    assert reason(bench.tick(GREEN, at_ds=5 + 439)) == "request"
    assert reason(bench.tick(GREEN, at_ds=5 + 440)) is None
    bench = Bench()
    bench.requests = asked(300.0)
    assert reason(bench.serve()) == "request"
    assert reason(bench.tick(GREEN, at_ds=425 + 99)) == "request"
    assert reason(bench.tick(GREEN, at_ds=425 + 100)) is None
    assert bench.guard._crossings[XW].stuck_services == 0


def test_requests_do_not_make_a_sensor_faulty():
    bench = Bench()
    for service in range(4):
        began_ds = 1000 * service + 5
        bench.requests = asked(300.0, at_ds=began_ds)
        bench.now_ds = began_ds - 5
        bench.serve()
        bench.tick(GREEN, at_ds=began_ds + 540)
        bench.tick(YELLOW)
    assert not bench.guard._crossings[XW].is_sensor_faulty


def test_a_request_never_shortens_the_time_of_a_blind_sensor():
    bench = Bench()
    bench.requests = asked(120.0)
    assert reason(bench.serve(is_healthy=False)) == "blind"
    # 7 s of entry and 35 m at 0.7 m/s: 57 s after the start of walk, 15 s after clearance.
    assert reason(bench.tick(GREEN, at_ds=5 + 569, is_healthy=False)) == "blind"
    assert reason(bench.tick(GREEN, at_ds=5 + 570, is_healthy=False)) is None  # the 10 s are over


def test_a_request_is_waited_for_in_one_service_only():
    bench = Bench()
    bench.requests = asked(60.0)
    assert reason(bench.serve()) == "request"
    bench.tick(GREEN, at_ds=5 + 530)
    bench.tick(YELLOW)
    bench.tick(LEFT)
    bench.now_ds = 1000
    assert reason(bench.serve()) is None  # not yet expired, but it has had its walk


def test_a_policy_cannot_keep_a_request_waiting_past_the_bound():
    bench, never = Bench(), Proposal(Commands(ped_omit=0xFF))
    bench.requests = (CrossingRequest("r", "XW", Zone.KERB_A, None, "phone", 3, 90_000),)
    for at_ds in range(5, 10 * int(PLAN.limits.service_bound_s), 50):
        orders = bench.tick(Lamps(green=0xFF), at_ds=at_ds, proposal=never).commands
    assert not orders.ped_omit & BIT  # vehicles are served, walk is not
    assert orders.ped_call & BIT


# --- maxima -----------------------------------------------------------------------------------------


def test_at_the_maximum_a_person_is_released_with_an_alarm_and_a_last_red():
    bench = Bench()
    ended_ds = 425
    assert reason(bench.serve(track(30.0, 0.3))) == "person"
    assert reason(bench.tick(GREEN, track(20.0, 0.3), at_ds=ended_ds + 360)) == "person"
    assert reason(bench.tick(GREEN, track(20.0, 0.3), at_ds=ended_ds + 361)) is None  # 36.1 s
    assert bench.guard.released_on_person == 0  # the green has not ended yet
    released_ds = ended_ds + 365
    verdict = bench.tick(YELLOW, track(20.0, 0.3), at_ds=released_ds)
    assert bench.guard.released_on_person == 1
    assert [(note.crossing, note.reason) for note in bench.notes] == [("XW", "maximum")]
    assert "36 s" in bench.notes[0].detail
    assert verdict.commands.red_hold == BIT
    # 7 s of yellow and red, then 3 s more.
    assert bench.tick(RED, track(20.0, 0.3), at_ds=released_ds + 99).commands.red_hold == BIT
    assert bench.tick(RED, track(20.0, 0.3), at_ds=released_ds + 100).commands.red_hold == 0
    assert bench.guard.released_on_person == 1
    assert not bench.service.is_open


def test_a_cabinet_without_red_hold_gives_no_last_red():
    bench = Bench(can_hold_red=False)
    bench.serve(track(30.0, 0.3))
    bench.tick(GREEN, track(20.0, 0.3), at_ds=425 + 361)
    verdict = bench.tick(YELLOW, track(20.0, 0.3))
    assert (verdict.commands.red_hold, bench.guard.released_on_person) == (0, 1)
    assert not bench.service.is_open


def test_a_cabinet_without_red_hold_gets_form_p():
    verdict = Bench(can_hold_red=False, form="R").serve(track(20.0, 1.0))
    assert (verdict.commands.hold, verdict.commands.red_hold) == (BIT, 0)


def test_a_maximum_of_zero_extends_nothing():
    bench = Bench(extension_max_s=0.0)
    assert reason(bench.serve(track(20.0, 1.0))) is None
    verdict = bench.tick(YELLOW, track(19.5, 1.0))
    assert (verdict.commands.red_hold, bench.guard.released_on_person) == (0, 1)


def test_another_maximum_replaces_the_plans():
    bench = Bench(extension_max_s=20.0)
    bench.serve(track(30.0, 0.3))
    assert reason(bench.tick(GREEN, track(28.0, 0.3), at_ds=425 + 199)) == "person"
    assert reason(bench.tick(GREEN, track(28.0, 0.3), at_ds=425 + 200)) is None


def test_who_stepped_on_after_clearance_is_not_counted_as_released():
    bench = Bench()
    bench.serve()
    bench.tick(GREEN, track(34.0, 0.5), at_ds=430)
    for at_ds in range(450, 425 + 361, 50):
        bench.tick(GREEN, track(34.0 - (at_ds - 430) / 20, 0.5), at_ds=at_ds)
    bench.tick(GREEN, track(15.0, 0.5), at_ds=425 + 361)
    bench.tick(YELLOW, track(15.0, 0.5))
    assert bench.guard.released_on_person == 0


def test_an_unconfirmed_track_holds_ten_seconds():
    bench = Bench()
    assert reason(bench.serve(track(20.0, 0.0))) == "unconfirmed"
    assert reason(bench.tick(GREEN, track(20.0, 0.0), at_ds=425 + 99)) == "unconfirmed"
    assert reason(bench.tick(GREEN, track(20.0, 0.0), at_ds=425 + 100)) is None


def test_who_left_at_the_maximum_is_not_counted():
    bench = Bench()
    bench.serve(track(30.0, 0.3))
    bench.tick(GREEN, track(20.0, 0.3), at_ds=425 + 361)
    bench.needs._people[XW].clear()
    bench.tick(GREEN)
    bench.tick(YELLOW)
    assert bench.guard.released_on_person == 0


# --- form R -----------------------------------------------------------------------------------------


def test_form_r_lets_the_green_end_and_holds_the_red():
    bench = Bench(form="R")
    verdict = bench.serve(track(10.0, 1.0))
    assert (verdict.commands.hold, verdict.commands.red_hold, verdict.extension) == (0, BIT, BIT)
    assert reason(bench.tick(YELLOW, track(9.5, 1.0))) == "person"
    # Nothing is credited: the last metres count too.
    assert reason(bench.tick(RED, track(1.0, 1.0), at_ds=510)) == "person"
    bench.needs._people[XW].clear()
    assert reason(bench.tick(RED, at_ds=520)) is None
    assert not bench.service.is_open


def test_form_r_has_yellow_and_red_on_top_of_its_maximum():
    bench = Bench(form="R")
    bench.serve(track(30.0, 0.3))
    assert reason(bench.tick(RED, track(20.0, 0.3), at_ds=425 + 430)) == "person"
    verdict = bench.tick(RED, track(20.0, 0.3), at_ds=425 + 431)  # 36.1 + 7 s
    assert (reason(verdict), verdict.commands.red_hold) == ("maximum", BIT)  # the last red
    assert bench.guard.released_on_person == 1


# --- the sensor's own faults ------------------------------------------------------------------------


def ghost_service(bench):
    """Serve once with a ghost that never moves."""
    ghost = track(20.0, 0.0, "ghost")
    bench.serve(ghost)
    bench.tick(GREEN, ghost, at_ds=bench.now_ds + 100)
    bench.tick(YELLOW, ghost)
    bench.tick(LEFT, ghost, at_ds=bench.now_ds + 100)


def faulty(bench):
    return bench.guard._crossings[XW].is_sensor_faulty


def test_three_services_at_the_maximum_without_movement_make_a_sensor_faulty():
    bench = Bench()
    for service in range(3):
        assert not faulty(bench), service
        ghost_service(bench)
    assert faulty(bench)
    notes = [(note.crossing, note.reason) for note in bench.notes if note.reason != "service"]
    assert notes == [("XW", "sensor_fault")]


def test_a_faulty_sensor_that_sees_a_ghost_still_gets_the_blind_time():
    bench = Bench()
    for _ in range(3):
        ghost_service(bench)
    ghost = track(20.0, 0.0, "ghost")
    bench.serve(ghost)
    ended_ds = bench.now_ds
    assert reason(bench.tick(GREEN, ghost, at_ds=ended_ds + 99)) == "unconfirmed"
    assert reason(bench.tick(GREEN, ghost, at_ds=ended_ds + 100)) == "blind"
    assert reason(bench.tick(GREEN, ghost, at_ds=ended_ds + 149)) == "blind"
    assert reason(bench.tick(GREEN, ghost, at_ds=ended_ds + 150)) is None  # 57 s after walk started


def test_a_faulty_sensor_is_trusted_again_after_ten_normal_services():
    bench = Bench()
    for _ in range(3):
        ghost_service(bench)
    bench.needs._people[XW].clear()
    for service in range(10):
        assert faulty(bench), service
        assert reason(bench.serve()) == "blind"  # its empty pictures are no evidence
        bench.tick(YELLOW, at_ds=bench.now_ds + 200)
        bench.tick(LEFT)
    assert not faulty(bench)
    assert reason(bench.serve()) is None


def test_a_sensor_stuck_in_more_than_half_of_an_hours_services_is_faulty():
    bench = Bench()
    for is_stuck in (True, True, False, True, True, False):
        assert not faulty(bench)
        if is_stuck:
            ghost_service(bench)
        else:
            bench.needs._people[XW].clear()
            bench.serve()
            bench.tick(YELLOW)
            bench.tick(LEFT)
    assert faulty(bench)  # 4 of 6, never three running


def test_services_of_more_than_an_hour_ago_do_not_count():
    bench = Bench()
    for is_stuck in (True, True, False, True, True):
        if is_stuck:
            ghost_service(bench)
        else:
            bench.needs._people[XW].clear()
            bench.serve()
            bench.tick(YELLOW)
            bench.tick(LEFT)
    bench.now_ds += 36_001
    bench.needs._people[XW].clear()
    bench.serve()
    bench.tick(YELLOW)
    assert not faulty(bench)
    assert len(bench.guard._crossings[XW].outcomes) == 1


# --- the policy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "proposal",
    [
        "go",
        Proposal(None),
        Proposal(Commands(hold=1 << 8)),
        Proposal(Commands(red_hold=-1)),
        Proposal(Commands(hold="all")),
        Proposal(Commands(phase_omit=None)),
        Proposal(Commands(pattern=[1])),
        Proposal(Commands(force_off=2.0)),
    ],
    ids=str,
)
def test_what_is_no_order_for_this_plan_is_replaced_by_none(proposal):
    bench = Bench()
    verdict = bench.tick(WALK, proposal=proposal)
    assert verdict.commands == Commands(hold=BIT)  # people are held for all the same
    assert [note.reason for note in bench.notes] == ["policy_fault"]


def test_good_orders_pass_unchanged_and_get_the_holds_of_people():
    bench = Bench()
    orders = Commands(force_off=BIT, hold=0b10, pattern=254)
    proposal = Proposal(orders)
    assert bench.tick(GREEN, proposal=proposal).commands is orders
    verdict = bench.tick(WALK, proposal=proposal)
    assert verdict.commands == Commands(force_off=BIT, hold=0b1010, pattern=254)
    assert bench.tick(WALK, proposal=proposal).commands is verdict.commands
    assert bench.tick(WALK, proposal=Proposal()).commands == Commands(hold=BIT)
    assert not bench.notes

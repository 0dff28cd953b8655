"""The lines that the promises rest on, by hand-timed moments: bound, backup, guard, clocks and need."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bitgoeul.controller.backup import BackupTimer
from bitgoeul.controller.bound import ServiceBound, forcing_age_s, longest_service_s
from bitgoeul.controller.clocks import SignalClocks
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Snapshot, Track, Zone
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.plan import SitePlan, checked_plan, load_plan
from bitgoeul.controller.serving import Position, ServiceTimes, Stretch
from bitgoeul.controller.signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_FLASH,
    PATTERN_FREE,
    Calls,
    Commands,
    Lamps,
    phase_mask,
)
from bitgoeul.controller.situation import Proposal

PLANS = Path(__file__).parent / "plans"
DOCUMENT = tomllib.loads((PLANS / "reference.toml").read_text(encoding="utf-8"))
for PHASE in DOCUMENT["phases"]:
    PHASE["vehicle_recall"] = "none"
PLAN = checked_plan(DOCUMENT, "reference")
"""The reference plan, in which no phase is recalled: nobody waits who was not seen."""
XN, XE, XS, XW = range(4)
SEEN = (0,) * len(PLAN.zone_detectors)
ADULT = tuple(float(name == "adult") for name in MOBILITY_CLASSES)
NEVER = 1 << 61


def mask(*phases):
    return phase_mask(phases)


EVERY = mask(*range(1, 9))
THROUGH = Lamps(green=mask(2, 6))
SIDE = Lamps(green=mask(4, 8))


def track(remaining_m, speed_mps=1.0, at_ds=0, zone=Zone.CROSSING, kind=ADULT):
    return Track("p", "XW", zone, remaining_m, speed_mps, kind, "test", at_ds, 0)


def frames(now_ds, *on_crossing, waiting=(), is_healthy=True):
    """Return what is seen of XW; the other crossings are seen empty."""
    empty = [Frame(crossing.id, now_ds, is_healthy) for crossing in PLAN.crossings]
    empty[XW] = Frame("XW", now_ds, is_healthy, tuple(on_crossing), waiting)
    return tuple(empty)


def snapshot(now_ds, lamps=THROUGH, calls=NO_CALLS, seen=None, zones=SEEN):
    return Snapshot(now_ds, lamps, calls, zones, (), frames(now_ds) if seen is None else seen)


# --- the bound --------------------------------------------------------------------------------------


class Bound:
    """The service bound, and the clocks it looks at; `waits` tells who waits since when."""

    def __init__(self):
        self.clocks = SignalClocks(PLAN)
        self.bound = ServiceBound(PLAN, self.clocks)

    def follow(self, now_ds, lamps=THROUGH, **given):
        self.clocks.follow(now_ds, lamps)
        self.bound.follow(snapshot(now_ds, lamps, **given))
        return {number: since_ds for (_, number), since_ds in self.bound._calls()}

    def left_s(self, number, now_ds, lamps=THROUGH):
        return self.bound._takes_s(number, NO_COMMANDS, lamps, self.bound._position(lamps, now_ds), 0)


WALKER = (track(35.0, 0.0, zone=Zone.KERB_A),)


def test_the_forcing_age_is_one_longest_service_of_every_group_before_the_bound():
    # 4: 42 s walk and clearance, 36.1 s extension, 7 s yellow and red. Groups: 47.2 + 12 and 85.1 + 12.
    assert longest_service_s(PLAN, 4) == pytest.approx(85.1)
    assert forcing_age_s(PLAN) == pytest.approx(143.7)


def test_who_waits_since_when():
    watched = Bound()
    assert watched.follow(0) == {}
    assert watched.bound.next_due_ds > NEVER
    assert watched.follow(100, calls=Calls(vehicle=mask(4))) == {4: 100}
    assert watched.follow(500, calls=Calls(vehicle=mask(3, 4))) == {4: 100, 3: 500}  # 4 stays as old
    assert watched.follow(700, SIDE, calls=Calls(vehicle=mask(3, 4))) == {3: 500}  # 4 is served
    assert watched.follow(800, Lamps(green=mask(3, 7))) == {}


def test_vehicles_that_nobody_looks_at_wait_always():
    assert Bound().follow(100, zones=()) == dict.fromkeys((1, 3, 4, 5, 7, 8), 100)


def test_somebody_at_the_kerb_waits_for_walk_whoever_is_green():
    watched = Bound()
    assert watched.follow(100, seen=frames(100, waiting=WALKER)) == {4: 100}
    assert watched.follow(300, SIDE, seen=frames(300, waiting=WALKER)) == {4: 100}  # green without walk
    walk = Lamps(green=mask(4, 8), walk=mask(4, 8))
    assert watched.follow(400, walk, seen=frames(400, waiting=WALKER)) == {}


def test_a_kerb_that_is_not_seen_is_not_empty():
    watched = Bound()
    watched.follow(100, seen=frames(100, waiting=WALKER))
    assert watched.follow(200, seen=frames(200, is_healthy=False)) == {4: 100}
    assert watched.follow(300, seen=frames(270)) == {4: 100}  # a picture of 3 s ago
    assert watched.follow(400, seen=frames(400)) == {}  # gone


def test_a_pressed_button_waits_for_walk():
    watched = Bound()
    watched.follow(100, calls=Calls(ped=mask(4)))
    assert watched.follow(105) == {4: 100}


def test_a_hold_is_put_aside_while_the_call_can_still_be_served_in_time():
    # 2 and 6 have served their minimum: 6 s to clear them, 12 s of 1 and 5, 2 s in hand.
    watched, hold = Bound(), Commands(hold=mask(2, 6), pattern=PATTERN_FREE)
    watched.follow(0, calls=Calls(vehicle=mask(4)))
    assert watched.bound.reviewed(hold, 1400, THROUGH) is hold
    passed = Commands(hold=mask(2, 6), vehicle_call=mask(4), pattern=PATTERN_FREE)
    assert watched.bound.reviewed(hold, 2800, THROUGH) == passed
    forced = Commands(force_off=EVERY, vehicle_call=mask(4), pattern=PATTERN_FREE)
    assert watched.bound.reviewed(hold, 2801, THROUGH) == forced


def test_orders_that_passed_are_asked_about_again_when_the_time_in_hand_is_over():
    # 280.0 s less 143.7 s are left when it passes at 0; the call is registered at its forcing age before.
    watched, hold = Bound(), Commands(hold=mask(2, 6), pattern=PATTERN_FREE)
    watched.follow(0, calls=Calls(vehicle=mask(4)))
    watched.bound.reviewed(hold, 0, THROUGH)
    assert watched.bound.next_due_ds == 1437
    watched.follow(10, calls=Calls(vehicle=mask(4, 8)))
    assert watched.bound.next_due_ds == 10  # another call


def test_a_passing_vehicle_changes_nothing_for_those_who_wait():
    watched, hold = Bound(), Commands(hold=mask(2, 6), pattern=PATTERN_FREE)
    watched.follow(0, calls=Calls(vehicle=mask(4)))
    watched.bound.reviewed(hold, 0, THROUGH)
    watched.follow(10, calls=Calls(vehicle=mask(2, 4), extend=mask(2)))  # 2 is green
    assert watched.bound.next_due_ds == 1437
    watched.follow(20, calls=Calls(vehicle=mask(2, 4), ped=mask(4)))
    assert watched.bound.next_due_ds == 20


def test_orders_that_passed_with_an_old_call_added_pass_with_it_as_long():
    # A call 150 s old has 280.0 s less 150 s left as long as the orders and lamps stay.
    watched, hold = Bound(), Commands(hold=mask(2, 6), pattern=PATTERN_FREE)
    watched.follow(0, calls=Calls(vehicle=mask(4)))
    passed = watched.bound.reviewed(hold, 1500, THROUGH)
    assert passed.vehicle_call == mask(4)
    assert watched.bound.next_due_ds == 2800
    assert watched.bound.reviewed(hold, 1505, THROUGH) == passed
    assert watched.bound.next_due_ds == 2800


def test_a_walk_omit_is_put_aside_for_an_old_walk():
    # 18 s until green without walk, then a round of all, 63.2 + 101.1 s: 115.7 s of age with 2 s in hand.
    watched, omit = Bound(), Commands(ped_omit=mask(2, 4, 6), pattern=PATTERN_FREE)
    watched.follow(0, seen=frames(0, waiting=WALKER))
    assert watched.bound.reviewed(omit, 1157, THROUGH) is omit
    forced = Commands(force_off=EVERY, vehicle_call=mask(4), ped_call=mask(4), pattern=PATTERN_FREE)
    assert watched.bound.reviewed(omit, 1158, THROUGH) == forced


AGAIN = [
    Commands(vehicle_call=mask(3)),  # the plan's own pattern
    Commands(phase_omit=mask(1, 2, 3, 5, 6, 7), pattern=PATTERN_FREE),  # nobody else is demanded
]


@pytest.mark.parametrize("orders", AGAIN, ids=["pattern", "omits"])
def test_walk_is_not_lit_once_more_where_that_would_take_too_long(orders):
    # 4 may be clear in 7 s; lit once more it takes 15 s of walk, 27 s, 36.1 s, 7 s and 4 s: 89.1 s, then 3's
    # group is over, and 51.2 s of 2 and 6 come before 1.
    watched = Bound()
    watched.follow(0, SIDE, calls=Calls(vehicle=mask(1)))
    assert watched.bound.reviewed(orders, 400, SIDE) is orders
    kept = watched.bound.reviewed(orders, 1500, SIDE)
    assert kept.ped_omit == mask(4, 8)
    assert (kept.phase_omit, kept.force_off, kept.pattern) == (orders.phase_omit, 0, orders.pattern)


@pytest.mark.parametrize(
    "orders",
    [
        Commands(hold=mask(4, 8)),
        Commands(force_off=mask(4, 8), pattern=PATTERN_FREE, vehicle_call=mask(1)),
        Commands(force_off=mask(4, 8), vehicle_call=mask(3)),
    ],
    ids=["held", "leaving", "forced off"],
)
def test_orders_that_light_no_second_walk_stay_as_they_are(orders):
    watched = Bound()
    watched.follow(0, SIDE, calls=Calls(vehicle=mask(1)))
    assert watched.bound.reviewed(orders, 1500, SIDE).ped_omit == 0


def test_a_second_walk_in_a_green_counts_from_its_own_start():
    watched = Bound()
    watched.follow(100, Lamps(green=mask(4, 8)))
    walk = Lamps(green=mask(4, 8), walk=mask(4, 8))
    watched.follow(700, walk)
    assert watched.left_s(3, 700, walk) == pytest.approx(89.1)
    assert watched.left_s(3, 800, walk) == pytest.approx(79.1)
    assert watched.left_s(3, 1000, walk) == pytest.approx(74.1)  # perhaps it rests


def test_times_that_end_between_ticks_are_seen_late_twice_more():
    phases = tuple(
        phase.model_copy(update={"yellow_s": 5.1}) if phase.number == 4 else phase for phase in PLAN.phases
    )
    plan = PLAN.model_copy(update={"phases": phases})
    services_s = ServiceTimes(plan, SignalClocks(plan)).service_s
    assert services_s[4] == pytest.approx(89.1 + 0.1 + 1.0)
    assert services_s[8] == pytest.approx(89.1)


def test_a_conditional_service_makes_its_group_last_longer():
    # 4, which stands before 3 in its ring, may be served again: 89.1 s more.
    phases = tuple(
        phase.model_copy(update={"conditional_service": phase.number == 4}) for phase in PLAN.phases
    )
    plan = PLAN.model_copy(update={"phases": phases})
    plain, longer = (ServiceTimes(each, SignalClocks(PLAN)).groups_s for each in (PLAN, plan))
    assert longer == (pytest.approx(plain[0]), pytest.approx(plain[1] + 89.1))


def test_a_call_that_came_after_its_ring_had_ended_its_green_may_wait_a_round():
    times = ServiceTimes(PLAN, SignalClocks(PLAN))
    clearing = Stretch(2, 0, 3.0, ended_ds=600), Stretch(6, 0, 3.0, ended_ds=600)
    position = Position(0, clearing)
    assert times.in_order_s(1, position, 600) == pytest.approx(3.0)
    assert times.in_order_s(1, position, 601) == pytest.approx(3.0 + 12.0 + 101.1 + 51.2)


def test_a_phase_passed_over_waits_a_round():
    times = ServiceTimes(PLAN, SignalClocks(PLAN))
    clearing = Stretch(2, 0, 3.0, skipped=mask(1), ended_ds=600), Stretch(6, 0, 3.0, ended_ds=600)
    assert times.in_order_s(1, Position(0, clearing), 500) == pytest.approx(3.0 + 12.0 + 101.1 + 51.2)


def test_orders_that_pass_a_call_over_are_put_aside_in_time():
    # 1 is next in its ring; from 4 and 8 on it takes a round.
    watched = Bound()
    watched.follow(0, calls=Calls(vehicle=mask(1)))
    leave = Commands(
        force_off=mask(2, 6), phase_omit=mask(1, 3, 5, 7), vehicle_call=mask(4, 8), pattern=PATTERN_FREE
    )
    assert watched.bound.reviewed(leave, 1000, THROUGH) is leave
    forced = Commands(force_off=EVERY, vehicle_call=mask(1), pattern=PATTERN_FREE)
    assert watched.bound.reviewed(leave, 1500, THROUGH) == forced


def test_a_phase_that_begins_before_the_other_ring_is_settled_may_rest_in_walk():
    # 8 is 42 s, 36.1 s, 7 s and 4 s at its longest; its walk is lit until the other ring gets there.
    times = Bound().bound._times
    began, resting = (
        times.fresh(1, (0, 8), rests=rests).rings[1].after(60.0).left_s for rests in (False, True)
    )
    assert (began, resting) == (pytest.approx(29.1), pytest.approx(74.1))


def test_the_last_all_red_of_a_group_counts():
    # 4 has just started: 42 s, 36.1 s of extension, 7 s, 3 s of last red and 1 s of ticks.
    watched = Bound()
    walk = Lamps(green=mask(4, 8), walk=mask(4, 8))
    watched.follow(100, walk)
    assert watched.left_s(3, 100, walk) == pytest.approx(89.1)


def test_a_red_that_is_held_counts_though_no_green_is_shown():
    clocks = SignalClocks(PLAN)
    bound = ServiceBound(PLAN, clocks, red_held=frozenset({"XW"}))
    for now_ds, lamps in (
        (100, Lamps(green=mask(4, 8), walk=mask(4, 8))),
        (250, Lamps(green=mask(4, 8), ped_clear=mask(4, 8))),
        (520, Lamps(yellow=mask(4, 8))),
        (590, Lamps()),
    ):
        clocks.follow(now_ds, lamps)
        bound.follow(snapshot(now_ds, lamps))
    # Clearance ended at 52 s: 7 s of yellow and red, 36.1 s of held red and 4 s from then on; it is 59 s.
    position = bound._position(Lamps(), 590)
    assert bound._takes_s(3, NO_COMMANDS, Lamps(), position, 0) == pytest.approx(40.1)


# --- backup -----------------------------------------------------------------------------------------


def test_orders_are_in_force_from_the_first_write_until_the_backup_time():
    timer, orders = BackupTimer(600), Commands(hold=mask(2))
    assert timer.is_in_backup(0)
    assert timer.orders(0) == NO_COMMANDS
    timer.write(100, orders)
    assert (timer.orders(699), timer.is_in_backup(699)) == (orders, False)
    assert (timer.orders(700), timer.is_in_backup(700)) == (NO_COMMANDS, True)


def test_without_a_backup_time_orders_stand():
    timer = BackupTimer(0)
    timer.write(0, Commands(hold=mask(2)))
    assert timer.orders(10**6) == Commands(hold=mask(2))


# --- the guard --------------------------------------------------------------------------------------

WALK = Lamps(green=mask(4), walk=mask(4))
CLEAR = Lamps(green=mask(4), ped_clear=mask(4))
GREEN = Lamps(green=mask(4))
SAME = Proposal(Commands(pattern=PATTERN_FREE))


class Guarded:
    """The guard, asked tick by tick; the same proposal unless another is given."""

    def __init__(self, plan=PLAN, **options):
        self.clocks, self.needs = SignalClocks(plan), NeedEstimator(plan)
        self.guard = Guard(plan, **options)
        self.guard.attach(self.clocks)

    def tick(self, at_ds, lamps, *tracks, proposal=SAME, calls=NO_CALLS):
        seen = frames(at_ds, *(each._replace(measured_ds=at_ds) for each in tracks))
        self.clocks.follow(at_ds, lamps)
        self.needs.update(seen)
        return self.guard.review(snapshot(at_ds, lamps, calls, seen), self.needs, proposal)

    def serve(self, began_ds):
        """Pass walk and clearance with somebody far from the kerb; return the moment clearance ended."""
        self.tick(began_ds, WALK)
        self.tick(began_ds + 150, CLEAR)
        for at_ds in range(began_ds + 400, began_ds + 425, 5):
            lamps = CLEAR if at_ds < began_ds + 420 else GREEN
            self.tick(at_ds, lamps, track(30.0 - (at_ds - began_ds - 400) / 30, 0.33))
        return began_ds + 420


def reason(verdict):
    return dict(verdict.reasons).get("XW")


def test_evidence_is_weighed_anew_in_every_tick_though_nothing_else_changes():
    guarded = Guarded()
    ended_ds = guarded.serve(5)
    assert reason(guarded.tick(ended_ds + 5, GREEN, track(29.0, 0.33))) == "person"
    guarded.needs._people[XW].clear()
    assert reason(guarded.tick(ended_ds + 10, GREEN)) is None


def test_the_service_after_one_that_reached_its_maximum_is_held_again():
    guarded = Guarded()
    ended_ds = guarded.serve(5)
    assert reason(guarded.tick(ended_ds + 361, GREEN, track(20.0, 0.33))) is None  # 36.1 s
    guarded.tick(ended_ds + 366, Lamps(yellow=mask(4)), track(20.0, 0.33))
    guarded.needs._people[XW].clear()
    ended_ds = guarded.serve(2_000)
    assert reason(guarded.tick(ended_ds + 5, GREEN, track(29.0, 0.33))) == "person"


def test_form_p_credits_yellow_and_red_form_r_does_not():
    credit_s = {form: Guarded(form=form).guard._crossings[XW].credit_s for form in ("P", "R")}
    assert credit_s == {"P": 7.0, "R": 0.0}


def test_each_crossing_has_the_form_of_its_plan():
    split = load_plan(PLANS / "split.toml")
    forms = [each.form for each in Guarded(split).guard._crossings]
    assert forms == [crossing.extension_form for crossing in split.crossings]
    assert set(forms) == {"P", "R"}


def test_the_flashing_green_is_for_people_seen_not_for_the_blind():
    one = Guarded().guard._crossings[XW]
    one.flash_bit = 0b1000
    shown = {why: one.flashes_for(why) for why in ("person", "unconfirmed", "blind", "walk", "maximum")}
    assert shown == {"person": 0b1000, "unconfirmed": 0b1000, "blind": 0, "walk": 0, "maximum": 0}


@pytest.mark.parametrize(
    "proposal",
    [
        Proposal(Commands(hold=mask(2)), made_ds=79),
        Proposal(Commands(hold=mask(2)), made_ds=101),
        Proposal(Commands(preempt=1)),
        Proposal(Commands(stop_time=1)),
        Proposal(Commands(pattern=PATTERN_FLASH)),
    ],
    ids=["late", "early", "preemption", "stop-time", "flash"],
)
def test_what_is_late_or_no_policys_to_order_is_refused(proposal):
    verdict = Guarded().tick(100, Lamps(), proposal=proposal)
    assert verdict.commands == NO_COMMANDS
    assert [note.reason for note in verdict.interventions] == ["policy_fault"]


def test_a_proposal_of_two_seconds_ago_is_obeyed():
    verdict = Guarded().tick(100, Lamps(), proposal=Proposal(Commands(hold=mask(2)), made_ds=80))
    assert verdict.commands == Commands(hold=mask(2))


def test_an_overdue_call_is_served_though_lamps_and_proposal_stay_the_same():
    guarded, kept = Guarded(), Proposal(Commands(hold=mask(2, 6), pattern=PATTERN_FREE))
    called = Calls(vehicle=mask(4))
    assert guarded.tick(0, THROUGH, proposal=kept, calls=called).commands is kept.commands
    assert guarded.tick(1400, THROUGH, proposal=kept, calls=called).commands is kept.commands
    verdict = guarded.tick(2801, THROUGH, proposal=kept, calls=called)
    forced = Commands(force_off=EVERY, vehicle_call=mask(4), pattern=PATTERN_FREE)
    assert verdict.commands == forced
    assert [note.reason for note in verdict.interventions] == ["service"]


# --- clocks, need, core -----------------------------------------------------------------------------


def test_the_news_of_one_call_leaves_the_others_as_old_as_they_are():
    clocks = SignalClocks(PLAN)
    clocks.note_calls(50, mask(4))
    clocks.note_calls(90, mask(4, 8))
    assert (clocks.phases[4].called_ds, clocks.phases[8].called_ds) == (50, 90)


def test_a_crossing_that_walks_in_two_phases_follows_both():
    document = tomllib.loads((PLANS / "split.toml").read_text(encoding="utf-8"))
    next(phase for phase in document["phases"] if phase["number"] == 2)["crossings"].append("XS")
    clocks = SignalClocks(SitePlan.model_validate(document))
    south = next(service for service in clocks.services if service.crossing == "XS")
    clocks.follow(100, Lamps(green=mask(2), walk=mask(2)))
    assert (south.bit, south.is_walking, south.walk_since_ds) == (mask(1, 2), True, 100)


def test_nobody_is_trusted_to_speed_up():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(4.5, 0.4)))
    # An adult may be expected to walk 0.75 m/s, but was just seen at 0.4: 4.5 m take more than 8 s.
    assert not needs.is_clear_within(XW, 0, 8.0)
    assert needs.is_clear_within(XW, 0, 16.0)


def test_who_was_lost_and_found_and_lost_again_is_remembered_anew():
    needs = NeedEstimator(PLAN)
    needs.update(frames(0, track(2.0, 1.0)))
    needs.update(frames(5))  # lost; surely gone after 4 s at half the speed
    needs.update(frames(10, track(20.0, 1.0, 10)))
    needs.update(frames(60))
    assert len(needs.people(XW)) == 1


def test_news_a_tenth_before_an_interval_ends_does_not_end_it():
    core, seen = SignalCore(PLAN), {}
    for now_ds in range(700):
        calls = Calls(ped=mask(4) if now_ds % 2 else 0)  # news in every tenth of a second
        seen.setdefault(core.advance(1, calls), now_ds)
    starts = {moment: (lamps.green, lamps.yellow, lamps.walk) for lamps, moment in seen.items()}
    through = mask(2, 6)
    assert starts == {
        0: (through, 0, through),
        110: (through, 0, 0),
        250: (through, 0, 0),
        650: (0, through, 0),
        690: (0, 0, 0),
    }


def test_a_restored_core_serves_the_walk_that_was_called():
    called, restored = SignalCore(load_plan(PLANS / "tee.toml")), SignalCore(load_plan(PLANS / "tee.toml"))
    free = Commands(pattern=PATTERN_FREE, ped_omit=EVERY)
    called.advance(10, Calls(ped=called.timing.has_walk), free)
    assert called.state.ped_calls
    restored.restore(called.state)
    assert restored.state == called.state

"""The cabinet's signal logic by hand-calculated seconds: FACTS' reference plan and three small ones."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from bitgoeul.controller.core import Interval, SignalCore
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_FREE,
    Calls,
    Commands,
    Lamps,
    phase_mask,
    phases_in,
)

PLANS = Path(__file__).parent / "plans"
REFERENCE = load_plan(PLANS / "reference.toml")
MIDBLOCK = load_plan(PLANS / "midblock.toml")
TEE = load_plan(PLANS / "tee.toml")
SPLIT = load_plan(PLANS / "split.toml")
FREE = Commands(pattern=PATTERN_FREE)


def changed(name, **phases):
    """Return a plan of the folder with fields of some phases changed: `changed("tee", p6={...})`."""
    document = copy.deepcopy(tomllib.loads((PLANS / f"{name}.toml").read_text(encoding="utf-8")))
    for phase in document["phases"]:
        phase.update(phases.get(f"p{phase['number']}", {}))
    return checked_plan(document, name)


NO_RECALL = {"ped_recall": False, "vehicle_recall": "none"}


def shown(lamps):
    """Return lamps as text: `2+6 walk 2+6`, `yellow 2+6`, `red`."""
    parts = []
    for name, mask in (
        ("", lamps.green),
        ("yellow ", lamps.yellow),
        ("walk ", lamps.walk),
        ("clear ", lamps.ped_clear),
    ):
        if mask:
            parts.append(name + "+".join(str(phase) for phase in phases_in(mask)))
    return " ".join(parts) or "red"


def changes(core, until_s, calls=NO_CALLS, commands=NO_COMMANDS):
    """Run in tenths of a second; return {moment [s]: lamps from then on}.

    Calls and commands are constant, or lists of (from second, value) in ascending order.
    """
    found, before = {}, core.lamps if core.now_ds else None
    while core.now_ds < round(until_s * 10):
        now_ds = core.now_ds
        lamps = core.advance(1, at(calls, now_ds, NO_CALLS), at(commands, now_ds, NO_COMMANDS))
        if lamps != before:
            found[now_ds / 10] = shown(lamps)
            before = lamps
    return found


def at(script, now_ds, default):
    if not isinstance(script, list):
        return script
    return next((value for since_s, value in reversed(script) if now_ds >= since_s * 10), default)


def mask(*phases):
    return phase_mask(phases)


# --- fixed time -------------------------------------------------------------------------------------


CYCLE = {
    0.0: "2+6 walk 2+6",
    11.0: "2+6 clear 2+6",
    25.0: "2+6",
    65.0: "yellow 2+6",
    69.0: "red",
    71.0: "1+5",
    88.0: "yellow 1+5",
    91.0: "red",
    93.0: "4+8 walk 4+8",
    108.0: "4+8 clear 4+8",
    135.0: "yellow 4+8",
    140.0: "red",
    142.0: "3+7",
    155.0: "yellow 3+7",
    158.0: "red",
}


def test_one_fixed_cycle_of_160_s():
    assert changes(SignalCore(REFERENCE), 160.0) == CYCLE


def test_the_second_fixed_cycle_is_the_first_again():
    core = SignalCore(REFERENCE)
    changes(core, 160.0)
    assert changes(core, 320.0) == {160.0 + second: lamps for second, lamps in CYCLE.items()}


def test_vehicle_calls_change_nothing_under_a_pattern():
    calls = [(0, Calls(extend=mask(2, 6))), (30, Calls(vehicle=mask(3, 4))), (70, Calls())]
    assert changes(SignalCore(REFERENCE), 160.0, calls) == CYCLE


def test_a_hold_of_26_s_is_paid_back_within_one_cycle():
    # FACTS: 3/7 gives 6 s (13 s of green to 7), 2/6 starts 20 s late and ends on its fixed force-off.
    core = SignalCore(REFERENCE)
    held = changes(
        core, 320.0, commands=[(0, NO_COMMANDS), (100, Commands(hold=mask(4, 8))), (161, NO_COMMANDS)]
    )
    assert {second: lamps for second, lamps in held.items() if second >= 130} == {
        135.0: "4+8",
        161.0: "yellow 4+8",
        166.0: "red",
        168.0: "3+7",
        175.0: "yellow 3+7",
        178.0: "red",
        180.0: "2+6 walk 2+6",
        191.0: "2+6 clear 2+6",
        205.0: "2+6",
        225.0: "yellow 2+6",
        229.0: "red",
    } | {160.0 + second: lamps for second, lamps in CYCLE.items() if second >= 71}


def test_held_says_which_greens_only_a_hold_keeps():
    core = SignalCore(REFERENCE)
    changes(core, 134.9, commands=Commands(hold=mask(4, 8)))
    assert core.status().held == 0
    changes(core, 135.1, commands=Commands(hold=mask(4, 8)))
    assert core.status().held == mask(4, 8)


def test_the_status_names_phases_calls_and_pattern():
    core = SignalCore(REFERENCE)
    changes(core, 66.0, Calls(ped=mask(4)))
    status = core.status()
    assert (status.phase_on, status.phase_next) == (mask(2, 6), mask(1, 5))
    assert (status.ped_calls, status.pattern) == (mask(4), 1)
    assert status.vehicle_calls == mask(1, 2, 3, 4, 5, 6, 7, 8)


def test_an_unknown_pattern_number_is_the_plans_own():
    assert changes(SignalCore(REFERENCE), 160.0, commands=Commands(pattern=99)) == CYCLE
    core = SignalCore(REFERENCE)
    core.advance(1, commands=Commands(pattern=99))
    assert core.status().pattern == 1


def test_a_plan_without_patterns_runs_free():
    core = SignalCore(REFERENCE.model_copy(update={"patterns": ()}))
    assert changes(core, 32.0)[31.0] == "4+8 walk 4+8"
    assert core.status().pattern == PATTERN_FREE


def test_the_pattern_follows_the_time_of_day():
    # At 21:59:50 pattern 1 runs (offset 30 s, cycle 80 s), from 22:00 on pattern 2 (offset 0, cycle 60 s).
    core = SignalCore(MIDBLOCK, day_offset_ds=(22 * 3600 - 10) * 10)
    core.advance(1)
    assert core.status().pattern == 1
    core.advance(200)
    assert core.status().pattern == 1  # a pattern is left at the end of its cycle
    # 22:00 is a multiple of 60 s: 1 is green from second 0 to 28.5, 2 from 33.5 to 55.5 of each minute.
    found = changes(core, 10 + 360)
    assert core.status().pattern == 2
    last = {second - 10: lamps for second, lamps in found.items() if second >= 10 + 300}
    assert last == {
        300.0: "1",
        300 + 28.5: "yellow 1",
        300 + 31.5: "red",
        300 + 33.5: "2",
        300 + 55.5: "yellow 2",
        300 + 58.5: "red",
    }


def test_an_offset_shifts_the_cycle():
    # Pattern 1 of the mid-block plan at noon: 12:00 is a multiple of 80 s, the offset 30 s.
    # It starts 30 s early, and a cycle is lengthened by 13.6 s (17 %) at most: the third is in step.
    core = SignalCore(MIDBLOCK, day_offset_ds=12 * 36_000)
    found = changes(core, 360.0)
    assert [second for second, lamps in found.items() if lamps == "1"][:4] == [0.0, 93.6, 187.2, 270.0]
    assert found[270.0 + 48.5] == "yellow 1"
    assert found[270.0 + 53.5] == "2"


# --- free operation ---------------------------------------------------------------------------------


def test_free_operation_serves_recalls_and_skips_what_nobody_calls():
    found = changes(SignalCore(REFERENCE), 118.0, commands=FREE)
    assert found == {
        0.0: "2+6 walk 2+6",
        11.0: "2+6 clear 2+6",
        25.0: "yellow 2+6",
        29.0: "red",
        31.0: "4+8 walk 4+8",
        46.0: "4+8 clear 4+8",
        73.0: "yellow 4+8",
        78.0: "red",
        80.0: "2+6 walk 2+6",
        91.0: "2+6 clear 2+6",
        105.0: "yellow 2+6",
        109.0: "red",
        111.0: "4+8 walk 4+8",
    }


def test_a_called_left_turn_is_served_after_its_through_phase():
    found = changes(SignalCore(REFERENCE), 60.0, Calls(vehicle=mask(1)), FREE)
    # Ring 1 goes 2 -> 1 while 6 stays green; both end together at the barrier.
    assert found[25.0] == "6 yellow 2"
    assert found[31.0] == "1+6"
    assert found[38.0] == "yellow 1+6"
    assert found[44.0] == "4+8 walk 4+8"  # phase 6 clears in 6 s


def test_min_green_is_served_without_walk():
    found = changes(SignalCore(REFERENCE), 40.0, commands=replace(FREE, ped_omit=mask(2, 4, 6, 8)))
    assert found == {
        0.0: "2+6",
        15.0: "yellow 2+6",
        19.0: "red",
        21.0: "4+8",
        28.0: "yellow 4+8",
        33.0: "red",
        35.0: "2+6",
    }


def test_a_green_gaps_out_one_passage_time_after_the_last_vehicle():
    calls = [(0, Calls(extend=mask(2, 6))), (30, NO_CALLS)]
    found = changes(SignalCore(REFERENCE), 40.0, calls, FREE)
    assert found[33.0] == "yellow 2+6"  # 30 + 3


def test_at_the_barrier_the_later_gap_ends_both_greens():
    calls = [(0, Calls(extend=mask(6))), (40, NO_CALLS)]
    found = changes(SignalCore(REFERENCE), 50.0, calls, FREE)
    assert found[43.0] == "yellow 2+6"


def test_a_gap_that_closes_again_before_the_barrier_extends_again():
    calls = [(0, Calls(extend=mask(2))), (30, Calls(extend=mask(6))), (36, Calls(extend=mask(2)))]
    calls += [(40, NO_CALLS)]
    found = changes(SignalCore(REFERENCE), 50.0, calls, FREE)
    assert found[43.0] == "yellow 2+6"


def test_a_green_maxes_out_with_vehicles_still_coming():
    found = changes(SignalCore(REFERENCE), 70.0, Calls(extend=mask(2, 6)), FREE)
    assert found[65.0] == "yellow 2+6"


def test_max_green_counts_from_the_first_conflicting_demand():
    calls = [(0, Calls(vehicle=mask(1), extend=mask(1))), (50, Calls(extend=mask(1), ped=mask(2)))]
    found = changes(SignalCore(MIDBLOCK), 100.0, calls, FREE)
    assert found == {0.0: "1", 90.0: "yellow 1", 93.0: "red", 95.0: "2 walk 2"}


def test_a_green_rests_while_nobody_else_calls():
    calls = [(0, Calls(vehicle=mask(1))), (1, NO_CALLS)]
    core = SignalCore(MIDBLOCK)
    assert changes(core, 600.0, calls, FREE) == {0.0: "1"}


def test_the_junction_rests_in_red_before_the_first_call():
    core = SignalCore(MIDBLOCK)
    assert changes(core, 60.0, commands=FREE) == {0.0: "red"}
    assert core.status().phase_on == 0
    assert changes(core, 61.0, Calls(vehicle=mask(1)), FREE) == {60.0: "1"}


def test_walk_and_clearance_end_before_the_green_does():
    calls = [(0, Calls(ped=mask(2))), (1, Calls(vehicle=mask(1)))]
    found = changes(SignalCore(MIDBLOCK), 35.0, calls, FREE)
    # Walk 10 s and clearance 12 s outlast the min green of 5 s; then 3 s yellow and 1.5 s red.
    assert found == {
        0.0: "2 walk 2",
        10.0: "2 clear 2",
        22.0: "yellow 2",
        25.0: "red",
        26.5: "1",
    }


def test_a_walk_call_is_kept_until_its_walk_starts():
    calls = [(0, Calls(vehicle=mask(1))), (3, Calls(ped=mask(2))), (3.1, NO_CALLS)]
    found = changes(SignalCore(MIDBLOCK), 20.0, calls, FREE)
    assert found == {0.0: "1", 10.0: "yellow 1", 13.0: "red", 15.0: "2 walk 2"}


def test_a_walk_call_during_walk_is_not_kept_one_during_clearance_is():
    first = [(0, Calls(ped=mask(2))), (5, Calls(vehicle=mask(1), ped=mask(2))), (9, Calls(vehicle=mask(1)))]
    core = SignalCore(MIDBLOCK)
    changes(core, 9.5, first, FREE)
    assert core.status().ped_calls == 0
    changes(core, 11.0, Calls(vehicle=mask(1), ped=mask(2)), FREE)
    assert core.status().ped_calls == mask(2)
    # 1 is green from 26.5 to 36.5.
    assert changes(core, 60.0, Calls(vehicle=mask(1)), FREE)[41.5] == "2 walk 2"


def test_an_order_calls_like_a_detector():
    found = changes(
        SignalCore(MIDBLOCK), 20.0, commands=replace(FREE, vehicle_call=mask(1), ped_call=mask(2))
    )
    assert found == {0.0: "1", 10.0: "yellow 1", 13.0: "red", 15.0: "2 walk 2"}


def test_the_group_starts_again_for_a_phase_behind_in_the_ring():
    # One barrier group: from 2 the only way to 1 is through the barrier back into the same group.
    calls = [(0, Calls(ped=mask(2))), (1, NO_CALLS), (40, Calls(vehicle=mask(1)))]
    found = changes(SignalCore(MIDBLOCK), 50.0, calls, FREE)
    assert found[22.0] == "2"
    assert found[40.0] == "yellow 2"
    assert found[44.5] == "1"


# --- recall, dual entry, omits ----------------------------------------------------------------------


SIDE_QUIET = changed("reference", p4=NO_RECALL, p8=NO_RECALL)


def test_dual_entry_brings_the_partner_along():
    found = changes(SignalCore(SIDE_QUIET), 40.0, Calls(vehicle=mask(4)), FREE)
    # Nobody called a walk there: 4 and its partner 8 are green alone.
    assert found[31.0] == "4+8"


def test_without_dual_entry_the_other_ring_rests_in_red():
    plan = changed("reference", p4=NO_RECALL, p8={**NO_RECALL, "dual_entry": False})
    found = changes(SignalCore(plan), 40.0, Calls(vehicle=mask(4)), FREE)
    assert found[31.0] == "4"


def test_an_omitted_partner_does_not_come_along():
    found = changes(SignalCore(SIDE_QUIET), 40.0, Calls(vehicle=mask(4)), replace(FREE, phase_omit=mask(8)))
    assert found[31.0] == "4"


def test_an_omitted_phase_is_skipped():
    found = changes(SignalCore(REFERENCE), 130.0, commands=Commands(phase_omit=mask(1, 5)))
    # 2/6 keep their force-off at 65; 4/8 start 22 s early and keep theirs at 135.
    assert found[65.0] == "yellow 2+6"
    assert found[71.0] == "4+8 walk 4+8"
    assert found[86.0] == "4+8 clear 4+8"
    assert found[113.0] == "4+8"
    assert max(found) == 113.0


def test_one_ring_may_leave_out_its_left_turn():
    found = changes(SignalCore(REFERENCE), 95.0, commands=Commands(phase_omit=mask(1)))
    assert found[65.0] == "2 yellow 6"
    assert found[71.0] == "2+5"
    # Ring 1 has no phase ahead and waits for ring 2: both end with 5, at 88.
    assert found[88.0] == "yellow 2+5"
    assert found[94.0] == "4+8 walk 4+8"


def test_an_omitted_walk_leaves_the_green_alone_and_the_call_in_place():
    core = SignalCore(REFERENCE)
    found = changes(core, 100.0, Calls(ped=mask(4)), Commands(ped_omit=mask(4)))
    assert found[93.0] == "4+8 walk 8"
    assert core.status().ped_calls == mask(4)


def test_a_phase_omitted_after_its_turn_was_decided_still_starts():
    commands = [(0, NO_COMMANDS), (66, Commands(phase_omit=mask(1, 5)))]
    assert changes(SignalCore(REFERENCE), 75.0, commands=commands)[71.0] == "1+5"


def test_an_omit_does_not_touch_the_phase_next():
    # The phase next is chosen when the green ends (NEMA TS 2): 8, omitted while 2 and 6 clear, still comes.
    commands = [(0, FREE), (23, replace(FREE, phase_omit=mask(8)))]
    found = changes(SignalCore(TEE), 35.0, commands=commands)
    assert found[22.0] == "yellow 2+6"
    assert found[28.0] == "8 walk 8"


def test_with_everything_omitted_the_junction_stays_red():
    commands = [(0, replace(FREE, phase_omit=mask(1, 2, 6, 8))), (20, FREE)]
    assert changes(SignalCore(changed("tee", p6={"dual_entry": False})), 21.0, commands=commands) == {
        0.0: "red",
        20.0: "2+6 walk 2",
    }


# --- force-off, hold, rest in walk, red hold --------------------------------------------------------


def test_force_off_ends_a_green_once_its_minimums_are_served():
    calls = Calls(extend=mask(2, 6))
    early = changes(SignalCore(REFERENCE), 40.0, calls, [(0, FREE), (5, replace(FREE, force_off=mask(2, 6)))])
    assert early[25.0] == "yellow 2+6"  # 11 s walk and 14 s clearance first
    late = changes(SignalCore(REFERENCE), 60.0, calls, [(0, FREE), (47, replace(FREE, force_off=mask(2, 6)))])
    assert late[47.0] == "yellow 2+6"


def test_force_off_ends_a_green_under_a_pattern_too():
    commands = [(0, NO_COMMANDS), (40, Commands(force_off=mask(2, 6)))]
    found = changes(SignalCore(REFERENCE), 90.0, commands=commands)
    assert found[40.0] == "yellow 2+6"
    assert found[46.0] == "1+5"
    assert found[88.0] == "yellow 1+5"  # started early, forced off where the pattern says


def test_force_off_without_conflicting_demand_changes_nothing():
    commands = replace(FREE, force_off=mask(1))
    assert changes(SignalCore(MIDBLOCK), 100.0, Calls(vehicle=mask(1)), commands) == {0.0: "1"}


def test_hold_outranks_force_off_gap_and_maximum():
    commands = [(0, replace(FREE, hold=mask(2), force_off=mask(2, 6))), (200, FREE)]
    core = SignalCore(REFERENCE)
    found = changes(core, 199.0, commands=commands)
    assert max(found) == 25.0
    assert found[25.0] == "2+6"
    assert core.status().held == mask(2)  # 6 is not held: it waits for its neighbour at the barrier
    assert changes(core, 201.0, commands=commands) == {200.0: "yellow 2+6"}


def test_rest_in_walk_lasts_as_long_as_it_is_ordered():
    commands = [(0, Commands(walk_rest=mask(2))), (20, NO_COMMANDS)]
    found = changes(SignalCore(REFERENCE), 66.0, commands=commands)
    assert found == {
        0.0: "2+6 walk 2+6",
        11.0: "2+6 walk 2 clear 6",
        20.0: "2+6 clear 2+6",
        25.0: "2+6 clear 2",
        34.0: "2+6",
        65.0: "yellow 2+6",
    }


def test_red_hold_keeps_the_red_clearance():
    commands = [(0, Commands(red_hold=mask(4))), (150, NO_COMMANDS)]
    core = SignalCore(REFERENCE)
    changes(core, 141.0, commands=commands)
    assert core.status().red_held == 0
    found = changes(core, 149.0, commands=commands)
    assert found == {142.0: "7"}  # ring 2 is not held
    assert core.status().red_held == mask(4)
    assert changes(core, 160.0, commands=commands)[150.0] == "3+7"


def test_red_hold_keeps_the_barrier_closed():
    commands = [(0, Commands(red_hold=mask(1))), (100, NO_COMMANDS)]
    found = changes(SignalCore(REFERENCE), 101.0, commands=commands)
    assert found[91.0] == "red"
    assert found[100.0] == "4+8 walk 4+8"


# --- other rings ------------------------------------------------------------------------------------


def test_a_t_junction_with_an_empty_barrier_in_one_ring():
    found = changes(SignalCore(TEE), 100.0)
    assert found == {
        0.0: "2+6 walk 2",
        10.0: "2+6 clear 2",
        22.0: "2+6",
        42.0: "6 yellow 2",
        46.0: "6",
        47.0: "1+6",
        59.0: "yellow 1+6",  # 1 alone could have gone on to 60, 6 to 59: they end together
        62.0: "yellow 6",
        63.0: "red",
        65.0: "8 walk 8",
        76.0: "8 clear 8",
        90.0: "8",
        95.0: "yellow 8",
        98.0: "red",
    }


def test_a_ring_at_rest_joins_while_the_other_is_green():
    commands = [(0, replace(FREE, phase_omit=mask(1, 2, 8))), (30, replace(FREE, phase_omit=mask(8)))]
    found = changes(SignalCore(TEE), 55.0, commands=commands)
    assert found == {0.0: "6", 30.0: "2+6 walk 2", 40.0: "2+6 clear 2", 52.0: "2+6"}


def test_split_phases_in_one_ring_follow_one_another():
    found = changes(SignalCore(SPLIT), 121.0)
    greens = {second: lamps for second, lamps in found.items() if "walk" in lamps}
    assert greens == {0.0: "1 walk 1", 32.0: "2 walk 2", 64.0: "3 walk 3", 92.5: "4 walk 4"}


# --- state ------------------------------------------------------------------------------------------


def test_a_core_starts_in_red():
    core = SignalCore(REFERENCE)
    assert core.lamps == Lamps()
    assert [ring.interval for ring in core.state.rings] == [Interval.RED_CLEAR] * 2


@pytest.mark.parametrize("moment_s", [0.0, 7.3, 25.0, 66.0, 70.9, 135.0, 141.9])
def test_a_restored_core_goes_on_as_the_first_would(moment_s):
    first, second = SignalCore(REFERENCE), SignalCore(REFERENCE)
    first.advance(max(round(moment_s * 10), 1))
    changes(second, 50.0, commands=Commands(hold=mask(2)))
    state = first.state
    second.restore(state)
    assert second.state == state
    assert second.lamps == first.lamps
    assert changes(second, 400.0) == changes(first, 400.0)
    assert second.state == first.state


def test_equal_lamps_are_the_same_object():
    core = SignalCore(REFERENCE)
    assert core.advance(10) is core.advance(10)

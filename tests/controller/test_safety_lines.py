"""The lines that safety rests on, each by hand-timed seconds: what a deliberate fault in it would change."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.heads import pedestrian_heads
from bitgoeul.controller.plan import checked_plan
from bitgoeul.controller.signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_FLASH,
    PATTERN_FREE,
    Calls,
    Commands,
    phase_mask,
    phases_in,
)
from bitgoeul.controller.timing import compile_plan

PLANS = Path(__file__).parent / "plans"
NOT_RECALLED = {n: {"ped_recall": False, "vehicle_recall": "none"} for n in range(1, 9)}
FIRE = {"number": 1, "name": "fire", "phases": [4, 8], "exit_phases": [1, 5], "delay_s": 2.5}
FIRE |= {"min_dwell_s": 10.0, "walker_max_s": 4.0}
BUS = {"number": 2, "name": "bus", "phases": [1, 5], "exit_phases": [], "walker_max_s": 0.0}
LONG_SPLITS = {"1": 22.0, "2": 71.0, "3": 18.0, "4": 69.0, "5": 22.0, "6": 71.0, "7": 18.0, "8": 69.0}
SLOW = [{"number": 1, "name": "slow", "hours": [[0, 24]], "cycle_s": 180.0, "splits": LONG_SPLITS}]


def mask(*phases):
    return phase_mask(phases)


def plan_of(phases=(), crossings=(), **sections):
    """Return the reference plan with fields of phases, crossings and whole sections changed."""
    document = copy.deepcopy(tomllib.loads((PLANS / "reference.toml").read_text(encoding="utf-8")))
    for phase in document["phases"]:
        phase.update(dict(phases).get(phase["number"], {}))
    for crossing in document["crossings"]:
        crossing.update(dict(crossings).get(crossing["id"], {}))
    document.update(sections)
    return checked_plan(document, "reference")


PLAIN = plan_of()
CALLED = plan_of(NOT_RECALLED)
EMERGENCY = plan_of(preempts=[FIRE, BUS])
FLASHING = plan_of(crossings={name: {"display": "flash"} for name in ("XN", "XE", "XS", "XW")})


def text(lamps):
    """Return lamps as text: `2+6 walk 2+6`, `yellow 2+6`, `A green`, `extend 1010`, `red`, `flash`."""
    if lamps.is_flashing:
        return "flash"
    named = (("", lamps.green), ("yellow ", lamps.yellow), ("walk ", lamps.walk), ("clear ", lamps.ped_clear))
    parts = [name + "+".join(map(str, phases_in(lit))) for name, lit in named if lit]
    parts += ["A green"] * bool(lamps.overlap_green) + ["A yellow"] * bool(lamps.overlap_yellow)
    parts += [f"extend {lamps.ped_extend:b}"] * bool(lamps.ped_extend)
    return " ".join(parts) or "red"


def at(script, now_ds, default):
    if not isinstance(script, list):
        return script
    return next((value for since_s, value in reversed(script) if now_ds >= since_s * 10), default)


def changes(plan, until_s, commands=NO_COMMANDS, calls=NO_CALLS):
    """Run in tenths of a second; return {moment [s]: lamps from then on}. Scripts: [(from second, value)]."""
    core, found, before = SignalCore(plan), {}, None
    while core.now_ds < round(until_s * 10):
        now_ds = core.now_ds
        lamps = core.advance(1, at(calls, now_ds, NO_CALLS), at(commands, now_ds, NO_COMMANDS))
        if lamps != before:
            found[now_ds / 10], before = text(lamps), lamps
    return found


def free(**orders):
    return Commands(pattern=PATTERN_FREE, **orders)


def since(found, moment_s):
    return {at_s: lamps for at_s, lamps in found.items() if at_s >= moment_s}


# --- stop-time --------------------------------------------------------------------------------------


def test_stopped_rings_stand_still_and_go_on_where_they_were():
    found = changes(PLAIN, 72, [(0, NO_COMMANDS), (20, Commands(stop_time=0b11)), (40, NO_COMMANDS)])
    # 14 s of clearance from 11 s: 5 s are left after the 20 s of stopped time.
    assert since(found, 11) == {
        11.0: "2+6 clear 2+6", 45.0: "2+6", 65.0: "yellow 2+6", 69.0: "red", 71.0: "1+5",
    }  # fmt: skip


def test_a_stopped_ring_keeps_its_green_whatever_is_ordered():
    calls = Calls(vehicle=mask(1, 2, 6), extend=mask(2, 6))
    orders = [(0, free()), (16, free(stop_time=0b01, force_off=mask(2))), (30, free(force_off=mask(2)))]
    assert changes(CALLED, 40, orders, calls) == {0.0: "2+6", 30.0: "6 yellow 2", 34.0: "6", 36.0: "1+6"}


def test_stop_time_of_one_ring_leaves_the_other_ring_running():
    calls = Calls(vehicle=mask(1, 2, 5, 6), extend=mask(2, 6))
    orders = [(0, free()), (16, free(stop_time=0b01, force_off=mask(2, 6))), (30, free(force_off=mask(2, 6)))]
    found = changes(CALLED, 31, orders, calls)
    assert found == {
        0.0: "2+6", 16.0: "2 yellow 6", 20.0: "2", 22.0: "2+5", 30.0: "5 yellow 2",
    }  # fmt: skip


def test_no_barrier_is_crossed_while_one_ring_is_stopped():
    calls = Calls(vehicle=mask(4, 8), extend=mask(2, 6))
    orders = [(0, free()), (16, free(stop_time=0b01, force_off=mask(2, 6))), (30, free(force_off=mask(2, 6)))]
    assert changes(CALLED, 31, orders, calls) == {0.0: "2+6", 30.0: "yellow 2+6"}


# --- minimums, walks and reds -----------------------------------------------------------------------


def test_a_force_off_a_tenth_before_the_minimum_waits_for_it():
    calls = Calls(vehicle=mask(4, 8), extend=mask(2, 6))
    orders = [(0, free()), (14.9, free(force_off=mask(2, 6)))]
    assert changes(CALLED, 16, orders, calls) == {0.0: "2+6", 15.0: "yellow 2+6"}


def test_minimum_green_counts_from_the_green_that_a_walk_led():
    led = {"leading_walk_s": 3.0, "min_green_s": 45.0, "max_green_s": 50.0}
    plan = plan_of({**NOT_RECALLED, **{n: NOT_RECALLED[n] | led for n in (4, 8)}}, patterns=SLOW)
    calls = [(0, Calls(ped=mask(4, 8), vehicle=mask(4, 8))), (5, Calls(vehicle=mask(2, 6)))]
    assert since(changes(plan, 80, free(force_off=mask(4, 8)), calls), 21) == {
        21.0: "walk 4+8",
        24.0: "4+8 walk 4+8",
        36.0: "4+8 clear 4+8",
        63.0: "4+8",
        69.0: "yellow 4+8",  # 24 + 45, not 21 + 45
        74.0: "red",
        76.0: "2+6",
    }


def test_a_delayed_walk_starts_after_its_delay_and_lasts_its_time():
    plan = plan_of({4: {"walk_delay_s": 3.0}}, patterns=SLOW)
    assert since(changes(plan, 139), 93) == {
        93.0: "4+8 walk 8",
        96.0: "4+8 walk 4+8",
        108.0: "4+8 walk 4 clear 8",
        111.0: "4+8 clear 4+8",
        135.0: "4+8 clear 4",
        138.0: "4+8",
    }


def test_the_same_phase_again_waits_for_red_revert():
    reverting = {"red_clear_s": 2.0, "red_revert_s": 5.0}
    plan = plan_of({**NOT_RECALLED, **{n: NOT_RECALLED[n] | reverting for n in (2, 6)}})
    calls = [(0, Calls(vehicle=mask(2, 6))), (5, Calls(vehicle=mask(1))), (23, Calls(vehicle=mask(2)))]
    found = changes(plan, 50, free(), calls)
    assert found == {
        0.0: "2+6", 15.0: "6 yellow 2", 19.0: "6", 21.0: "1+6",  # 2 lies behind 1: the group starts again
        28.0: "yellow 1+6", 31.0: "yellow 6", 32.0: "red",
        37.0: "2+6",  # 6 follows 6: 32 + 5, not 32 + 2
    }  # fmt: skip


def test_don_t_walk_lasts_three_seconds_before_walk_comes_again():
    calls = [(0, Calls(vehicle=mask(2, 6), ped=mask(2, 6))), (12, Calls(ped=mask(2, 6))), (16, NO_CALLS)]
    assert changes(CALLED, 60, free(), calls) == {
        0.0: "2+6 walk 2+6",
        11.0: "2+6 clear 2+6",
        25.0: "2+6",
        28.0: "2+6 walk 2+6",
        39.0: "2+6 clear 2+6",
        53.0: "2+6",
    }


def test_no_walk_starts_in_a_green_held_for_somebody_still_crossing():
    calls = [(0, Calls(vehicle=mask(2, 6), ped=mask(2, 6))), (12, Calls(ped=mask(2, 6)))]
    found = changes(CALLED, 65, [(0, free()), (20, free(hold=mask(2, 6))), (60, free())], calls)
    assert since(found, 25) == {25.0: "2+6", 60.0: "2+6 walk 2+6"}


def test_an_omitted_walk_is_not_served_again():
    calls = [(0, Calls(vehicle=mask(2, 6), ped=mask(2, 6))), (12, Calls(ped=mask(2, 6)))]
    found = changes(CALLED, 60, [(0, free()), (20, free(ped_omit=mask(2, 6)))], calls)
    assert since(found, 25) == {25.0: "2+6"}


def test_a_short_press_of_the_button_is_kept_under_a_pattern():
    calls = [(0, NO_CALLS), (30, Calls(ped=mask(4))), (30.1, NO_CALLS)]
    found = changes(plan_of(NOT_RECALLED), 94, calls=calls)
    assert found[93.0] == "4+8 walk 4"


# --- start-up and flash -----------------------------------------------------------------------------


def test_start_up_flashes_then_is_red_then_gives_the_main_road_green():
    plan = plan_of(unit={"startup_flash_s": 4.0, "startup_red_s": 6.0, "main_phases": [4, 8]})
    assert changes(plan, 11) == {0.0: "flash", 4.0: "red", 10.0: "4+8 walk 4+8"}


def test_flash_comes_after_clearance_and_leaves_through_red_into_the_main_road():
    plan = plan_of(unit={"main_phases": [2, 6]})
    found = changes(plan, 64, [(0, NO_COMMANDS), (30, Commands(pattern=PATTERN_FLASH)), (60, NO_COMMANDS)])
    assert since(found, 25) == {
        25.0: "2+6",
        30.0: "yellow 2+6",
        34.0: "red",  # 1 and 5 wait, but nothing starts any more
        36.0: "flash",
        60.0: "red",
        63.0: "2+6 walk 2+6",  # 3 s of red, however short the plan's red after power-up
    }


def test_flash_waits_for_walk_and_clearance():
    found = changes(PLAIN, 40, [(0, NO_COMMANDS), (5, Commands(pattern=PATTERN_FLASH))])
    assert found == {
        0.0: "2+6 walk 2+6", 11.0: "2+6 clear 2+6", 25.0: "yellow 2+6", 29.0: "red", 31.0: "flash",
    }  # fmt: skip


def test_flash_in_service_ends_with_its_order_however_long_start_up_flashes():
    plan = plan_of(unit={"startup_flash_s": 20.0, "main_phases": [2, 6]})
    found = changes(plan, 110, [(0, NO_COMMANDS), (60, Commands(pattern=PATTERN_FLASH)), (75, NO_COMMANDS)])
    assert since(found, 60) == {
        60.0: "yellow 2+6",
        64.0: "red",
        66.0: "flash",
        75.0: "red",
        78.0: "2+6 walk 2+6",
        89.0: "2+6 clear 2+6",
        103.0: "2+6",
    }


def test_flash_is_left_into_the_main_road_whoever_calls():
    alone = {number: {**fields, "dual_entry": False} for number, fields in NOT_RECALLED.items()}
    plan = plan_of(alone, unit={"main_phases": [2, 6]})
    flash = [(0, free()), (1, Commands(pattern=PATTERN_FLASH)), (40, free())]
    found = changes(plan, 80, flash, Calls(vehicle=mask(4, 8)))
    expected = {40.0: "red", 43.0: "2+6", 58.0: "yellow 2+6", 62.0: "red", 64.0: "4+8"}
    assert since(found, 40) == expected


# --- preemption -------------------------------------------------------------------------------------


def fire(*script, plan=EMERGENCY, calls=NO_CALLS, until_s=62):
    return changes(plan, until_s, [(0, NO_COMMANDS), *script], calls)


def test_a_preemption_waits_for_clearance_skips_the_rest_and_exits_by_name():
    found = fire((20, Commands(preempt=1)), (50, NO_COMMANDS))
    assert found == {
        0.0: "2+6 walk 2+6",
        11.0: "2+6 clear 2+6",
        25.0: "yellow 2+6",
        29.0: "red",
        31.0: "4+8",  # not 1+5, and without walk
        50.0: "yellow 4+8",
        55.0: "red",
        57.0: "1+5",
    }


def test_a_preemption_dwells_though_its_input_is_short():
    found = fire((20, Commands(preempt=1)), (25, NO_COMMANDS))
    assert since(found, 31) == {31.0: "4+8", 41.0: "yellow 4+8", 46.0: "red", 48.0: "1+5"}


def test_the_exit_waits_for_all_its_phases_though_one_is_green_already():
    plan = plan_of(preempts=[FIRE | {"exit_phases": [4, 7], "min_dwell_s": 0.0}])
    found = fire((20, Commands(preempt=1)), (33, NO_COMMANDS), plan=plan)
    # 8 has its minimum of 7 s to serve before it makes way for 7.
    assert since(found, 31) == {31.0: "4+8", 38.0: "4 yellow 8", 43.0: "4", 45.0: "4+7"}


def test_a_preemption_lasts_while_its_input_is_on():
    found = fire((20, Commands(preempt=1)), until_s=150)
    assert since(found, 31) == {31.0: "4+8"}


def test_an_input_shorter_than_its_delay_does_nothing():
    found = fire((30, Commands(preempt=1)), (32, NO_COMMANDS), until_s=70)
    assert since(found, 25) == {25.0: "2+6", 65.0: "yellow 2+6", 69.0: "red"}


def test_the_lower_number_takes_over_and_the_higher_one_waits():
    found = fire((1, Commands(preempt=2)), (40, Commands(preempt=1)), until_s=48)
    assert since(found, 31) == {31.0: "1+5", 42.5: "yellow 1+5", 45.5: "red", 47.5: "4+8"}
    dwelling = plan_of(preempts=[FIRE, BUS | {"min_dwell_s": 30.0}])
    found = fire((1, Commands(preempt=2)), (40, Commands(preempt=1)), until_s=48, plan=dwelling)
    assert since(found, 31) == {31.0: "1+5", 42.5: "yellow 1+5", 45.5: "red", 47.5: "4+8"}
    found = fire((1, Commands(preempt=1)), (35, Commands(preempt=2)), until_s=48)
    assert since(found, 31) == {31.0: "4+8", 41.0: "yellow 4+8", 46.0: "red"}  # its dwell first


def test_a_hold_lasts_in_a_preemption_as_long_as_the_plan_gives_walkers():
    hold = mask(2, 6)
    found = fire((15, Commands(hold=hold)), (20, Commands(preempt=1, hold=hold)))
    assert since(found, 25) == {25.0: "2+6", 29.0: "yellow 2+6", 33.0: "red", 35.0: "4+8"}


def test_a_red_hold_too_counted_from_the_end_of_red_clearance():
    hold = mask(2, 6)
    found = fire((15, Commands(red_hold=hold)), (20, Commands(preempt=1, red_hold=hold)))
    assert since(found, 25) == {25.0: "yellow 2+6", 29.0: "red", 35.0: "4+8"}  # 29 + 2 + 4


def test_no_rest_in_walk_stops_a_preemption_or_flash():
    rest = mask(2, 6)
    found = fire((1, Commands(walk_rest=rest)), (5, Commands(preempt=1, walk_rest=rest)), until_s=32)
    assert since(found, 11) == {11.0: "2+6 clear 2+6", 25.0: "yellow 2+6", 29.0: "red", 31.0: "4+8"}
    found = fire((1, Commands(walk_rest=rest, pattern=PATTERN_FLASH)), until_s=32)
    assert since(found, 11)[31.0] == "flash"


def test_no_walk_is_served_in_a_preemption():
    wanted = mask(4, 8)
    found = fire((1, Commands(preempt=1, ped_call=wanted)), until_s=90)
    assert since(found, 31) == {31.0: "4+8"}


def test_only_the_named_phases_enter_a_preemption():
    plan = plan_of(preempts=[FIRE | {"phases": [4], "exit_phases": []}])
    found = fire((20, Commands(preempt=1)), plan=plan, until_s=60)
    assert since(found, 31) == {31.0: "4"}  # its dual-entry partner 8 stays red


def test_the_dwell_counts_from_the_last_of_the_named_greens():
    calls = Calls(vehicle=mask(4, 7, 8), extend=mask(4))
    plan = plan_of(NOT_RECALLED, preempts=[FIRE | {"phases": [4, 7]}])
    orders = [(0, free()), (22, free(force_off=mask(8), preempt=1)), (36, free())]
    assert since(changes(plan, 54, orders, calls), 28) == {
        28.0: "4 yellow 8",
        33.0: "4",
        35.0: "4+7",  # dwell from now on, not from when the preemption found 4 green
        45.0: "yellow 4+7",
        48.0: "yellow 4",
        50.0: "red",
        52.0: "1+5",
    }


def test_a_preemption_is_reached_from_beside_one_of_its_phases():
    calls = Calls(vehicle=mask(4, 7, 8), extend=mask(4))
    plan = plan_of(NOT_RECALLED, preempts=[FIRE])
    orders = [(0, free(force_off=mask(8))), (40, free(preempt=1))]
    found = changes(plan, 80, orders, calls)
    assert found[35.0] == "4+7"
    assert "4+8" in since(found, 40).values()


# --- the flashing green of an extension -------------------------------------------------------------


HELD = Commands(hold=mask(4, 8), ped_extend=0b1111)


def test_the_flashing_green_of_an_extension_ends_after_ten_seconds():
    found = changes(FLASHING, 150, [(0, NO_COMMANDS), (100, HELD)])
    assert since(found, 108) == {108.0: "4+8 clear 4+8", 135.0: "4+8 extend 1010", 145.0: "4+8"}


def test_it_ends_with_its_order_or_with_the_hold():
    found = changes(FLASHING, 140, [(0, NO_COMMANDS), (100, HELD), (138, Commands(hold=mask(4, 8)))])
    assert since(found, 135) == {135.0: "4+8 extend 1010", 138.0: "4+8"}
    orders = Commands(ped_extend=0b1111)
    assert since(changes(FLASHING, 60, orders), 25) == {25.0: "2+6"}  # nobody holds: no extension


def test_heads_show_count_and_speak_as_their_crossing_does():
    core = SignalCore(FLASHING)
    shown = {}
    for second in (5, 20, 24.9, 30, 136, 146):
        while core.now_ds < second * 10:
            core.advance(1, NO_CALLS, HELD if second > 100 else NO_COMMANDS)
        heads = {each.crossing: each for each in pedestrian_heads(FLASHING, core)}
        shown[second] = [
            (heads[n].indication, heads[n].countdown_s, heads[n].is_sounding) for n in ("XS", "XW")
        ]
    red = ("dont_walk", None, False)
    assert shown == {
        5: [("walk", None, True), red],
        20: [("clear", 5, True), red],
        24.9: [("clear", 1, True), red],
        30: [red, red],
        136: [red, ("extend", None, False)],
        146: [red, red],
    }


def test_heads_are_dark_while_the_unit_flashes():
    core = SignalCore(PLAIN)
    core.advance(400, NO_CALLS, Commands(pattern=PATTERN_FLASH))
    assert core.lamps.is_flashing
    assert {head.indication for head in pedestrian_heads(PLAIN, core)} == {"dark"}


# --- overlaps ---------------------------------------------------------------------------------------


def overlapping(*phases, movement="EBR"):
    document = tomllib.loads((PLANS / "reference.toml").read_text(encoding="utf-8"))
    for phase in document["phases"]:
        phase["movements"] = [name for name in phase["movements"] if name != movement]
    document["overlaps"] = [{"id": "A", "phases": list(phases), "movements": [movement]}]
    return checked_plan(document, "reference")


def test_an_overlap_goes_on_over_the_barrier_and_ends_with_its_last_phase():
    found = changes(overlapping(2, 3), 240)
    assert since(found, 130) == {
        135.0: "yellow 4+8",
        140.0: "red",
        142.0: "3+7 A green",
        155.0: "yellow 3+7 A green",
        158.0: "A green",
        160.0: "2+6 walk 2+6 A green",
        171.0: "2+6 clear 2+6 A green",
        185.0: "2+6 A green",
        225.0: "yellow 2+6 A yellow",  # 1 follows, which is not its own
        229.0: "red",
        231.0: "1+5",
    }


# --- timings ----------------------------------------------------------------------------------------


def test_what_is_compiled_is_what_the_plan_says():
    unit = {"startup_flash_s": 4.0, "startup_red_s": 6.0, "main_phases": [2, 6]}
    timing = compile_plan(plan_of({4: {"red_revert_s": 3.5}}, preempts=[FIRE], unit=unit))
    four = timing.phases[4]
    assert four.duration_ds == {
        "leading_walk": 0, "walk_delay": 0, "walk": 150, "ped_clear": 270, "yellow": 50, "red_clear": 20,
    }  # fmt: skip
    assert (four.min_green_ds, four.red_revert_ds) == (70, 35)
    assert timing.has_walk == mask(2, 4, 6, 8)
    assert (timing.startup_flash_ds, timing.startup_red_ds) == (40, 60)
    preempt = timing.preempts[1]
    assert (preempt.phases, preempt.exit_phases) == (mask(4, 8), mask(1, 5))
    assert (preempt.delay_ds, preempt.min_dwell_ds, preempt.walker_max_ds) == (25, 100, 40)

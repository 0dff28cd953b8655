"""The malfunction monitor by hand-made lamps: each fault provoked, each near-miss silent."""

from __future__ import annotations

import ast
import copy
import sys
import tomllib
from pathlib import Path

import pytest

from bitgoeul.controller import monitor as monitor_module
from bitgoeul.controller.monitor import (
    RELEASE_AND_ALARM,
    REPORTED,
    Fault,
    FieldLamps,
    Kind,
    LinkMonitor,
    Monitor,
    flash_lamps,
)
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask

PLANS = Path(__file__).parent / "plans"
PACKAGE = Path(monitor_module.__file__).parent
REFERENCE = load_plan(PLANS / "reference.toml")
MIDBLOCK = load_plan(PLANS / "midblock.toml")
TWO_SIX, FOUR_EIGHT = phase_mask((2, 6)), phase_mask((4, 8))
"""In the reference plan 2 and 6 have yellow 4.0, red 2.0, walk 11, clearance 14; 4 and 8 yellow 5.0."""

GREEN = Lamps(green=TWO_SIX)
WALK = Lamps(green=TWO_SIX, walk=TWO_SIX)
CLEAR = Lamps(green=TWO_SIX, ped_clear=TWO_SIX)
YELLOW = Lamps(yellow=TWO_SIX)
CROSS_GREEN = Lamps(green=FOUR_EIGHT)
SERVICE = ((0, ALL_RED), (1, WALK), (12, CLEAR), (26, GREEN), (40, YELLOW), (44, ALL_RED), (46, CROSS_GREEN))


def changed(name, *, overlaps=(), phases=None, **tables):
    """Return a plan of the folder with other overlaps and other fields of some phases."""
    document = copy.deepcopy(tomllib.loads((PLANS / f"{name}.toml").read_text(encoding="utf-8")))
    moved = {movement for overlap in overlaps for movement in overlap["movements"]}
    for phase in document["phases"]:
        phase["movements"] = [each for each in phase["movements"] if each not in moved]
        phase.update((phases or {}).get(phase["number"], {}))
    document.update(tables, overlaps=list(overlaps))
    return checked_plan(document, name)


OVERLAPPING = changed(
    "reference",
    overlaps=({"id": "A", "phases": [2, 3], "movements": ["EBR"]},),
    rings=[[[2, 1], [3, 4]], [[6, 5], [8, 7]]],
)


def seen(sequence, plan=REFERENCE, **options):
    """Return a monitor that has watched (moment [s], lamps) pairs."""
    monitor = Monitor(plan, **options)
    for moment_s, lamps in sequence:
        monitor.watch(round(moment_s * 10), lamps)
    return monitor


def found(sequence, plan=REFERENCE, **options):
    """Return the kinds and channels of all faults and reports."""
    monitor = seen(sequence, plan, **options)
    return [(each.kind, each.first, each.second) for each in (*monitor.faults, *monitor.reports)]


# --- silent ---------------------------------------------------------------------------------------

SILENT = {
    "a whole service": SERVICE,
    "the same in ticks": [(t / 2, [x for at, x in SERVICE if at <= t / 2][-1]) for t in range(120)],
    "red held longer": (*SERVICE[:6], (70, CROSS_GREEN)),
    "walk and green held longer": ((0, ALL_RED), (1, WALK), (40, CLEAR), (54, GREEN), (400, YELLOW)),
    "leading walk": (
        (0, ALL_RED),
        (1, Lamps(walk=TWO_SIX)),
        (4, WALK),
        (12, CLEAR),
        (26, GREEN),
    ),
    "delayed walk": ((0, ALL_RED), (1, GREEN), (4, WALK), (15, CLEAR), (29, GREEN)),
    "walk twice in a green": ((0, WALK), (11, CLEAR), (25, GREEN), (28, WALK), (39, CLEAR), (53, GREEN)),
    "flashing green in an extension": (
        *SERVICE[:3],
        (26, Lamps(green=TWO_SIX, ped_extend=0b0101)),
        (34, GREEN),
        (40, YELLOW),
        (44, ALL_RED),
    ),
    "yellow a tenth short": ((0, GREEN), (20, YELLOW), (23.9, ALL_RED), (26, CROSS_GREEN)),
    "red a tenth short": ((0, GREEN), (20, YELLOW), (24, ALL_RED), (25.9, CROSS_GREEN)),
    "one ring after the other": (
        (0, GREEN),
        (20, Lamps(green=phase_mask((2,)), yellow=phase_mask((6,)))),
        (24, Lamps(green=phase_mask((2,)))),
        (26, Lamps(green=phase_mask((2, 5)))),
    ),
    "looked at first in mid-yellow": ((0, YELLOW), (0.5, ALL_RED), (2.5, CROSS_GREEN)),
    "flash cuts a walk and a green": ((0, ALL_RED), (1, WALK), (3, flash_lamps())),
    "green out of flash": (*SERVICE[:5], (41, flash_lamps()), (41.5, CROSS_GREEN)),
    "a short red before the same phase": ((0, GREEN), (20, YELLOW), (24, ALL_RED), (24.5, GREEN)),
}


@pytest.mark.parametrize("sequence", SILENT.values(), ids=SILENT)
def test_what_the_plan_allows_is_silent(sequence):
    assert found(sequence) == []


def test_lamps_that_stay_are_not_judged_again_whatever_the_time():
    monitor = Monitor(REFERENCE)
    assert [monitor.watch(now_ds, WALK) for now_ds in (0, 5, 3, 9_999)] == [None] * 4
    assert monitor.watch(10_000, Lamps(green=TWO_SIX, walk=TWO_SIX)) is None


def test_an_overlap_goes_on_while_its_phase_is_yellow():
    before = Lamps(green=phase_mask((2, 6)), overlap_green=1)
    between = Lamps(yellow=phase_mask((2, 6)), overlap_green=1)
    after = Lamps(green=phase_mask((3, 8)), overlap_green=1)
    ends = Lamps(yellow=phase_mask((3, 8)), overlap_yellow=1)
    sequence = (
        (0, before),
        (20, between),
        (24, Lamps(overlap_green=1)),
        (26, after),
        (40, ends),
        (43, Lamps(yellow=phase_mask((8,)))),
        (45, ALL_RED),
    )
    assert found(sequence, OVERLAPPING) == []


# --- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "conflicting greens": (
        ((0, Lamps(green=phase_mask((2, 8)))),),
        [(Kind.CONFLICT, "phase 2 (EBT, crossing XS)", "phase 8 (NBT, NBR, crossing XE)")],
    ),
    "yellow against yellow": (
        ((0, Lamps(yellow=phase_mask((3, 4)))),),
        [(Kind.CONFLICT, "phase 3 (NBL)", "phase 4 (SBT, crossing XW)")],
    ),
    "a green starts against yellow": (
        (
            (0, Lamps(green=phase_mask((1,)))),
            (9, Lamps(yellow=1)),
            (10, Lamps(yellow=1, green=phase_mask((2,)))),
        ),
        [(Kind.CONFLICT, "phase 1 (WBL)", "phase 2 (EBT, crossing XS)")],
    ),
    "walk of a crossing that a movement runs over": (
        (
            (0, ALL_RED),
            (1, Lamps(green=phase_mask((3,)))),
            (20, Lamps(green=phase_mask((3,)), walk=phase_mask((2,)))),
        ),
        [(Kind.CONFLICT, "phase 3 (NBL)", "crossing XS")],
    ),
    "clearance against a green": (
        ((0, Lamps(green=phase_mask((7,)), ped_clear=phase_mask((8,)))),),
        [(Kind.CONFLICT, "phase 7 (SBL)", "crossing XE")],
    ),
    "flashing green of an extension against a green": (
        (
            (0, ALL_RED),
            (1, Lamps(green=phase_mask((7,)), ped_extend=0b0010)),
        ),
        [(Kind.CONFLICT, "phase 7 (SBL)", "crossing XE")],
    ),
    "short yellow": (
        ((0, GREEN), (20, YELLOW), (23.8, ALL_RED)),
        [(Kind.SHORT_YELLOW, "phase 2 (EBT, EBR)", ""), (Kind.SHORT_YELLOW, "phase 6 (WBT, WBR)", "")],
    ),
    "short yellow of one phase in another's time": (
        ((0, Lamps(green=phase_mask((1, 6)))), (20, Lamps(yellow=phase_mask((1, 6)))), (23, ALL_RED)),
        [(Kind.SHORT_YELLOW, "phase 6 (WBT, WBR)", "")],
    ),
    "missing yellow": (
        ((0, Lamps(green=phase_mask((2,)))), (20, ALL_RED)),
        [(Kind.MISSING_YELLOW, "phase 2 (EBT, EBR)", "")],
    ),
    "red clearance not served": (
        ((0, GREEN), (20, YELLOW), (24, ALL_RED), (25.8, Lamps(green=phase_mask((8,))))),
        [
            (Kind.SHORT_RED, "phase 8 (NBT, NBR, crossing XE)", "phase 2 (EBT, crossing XS)"),
            (Kind.SHORT_RED, "phase 8 (NBT, crossing XE)", "phase 6 (WBT, WBR, crossing XN)"),
        ],
    ),
    "no red clearance at all": (
        ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (23, Lamps(green=phase_mask((2,))))),
        [(Kind.SHORT_RED, "phase 2 (EBT, crossing XS)", "phase 1 (WBL)")],
    ),
    "a leading walk before red clearance is over": (
        ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (23, ALL_RED), (24, Lamps(walk=phase_mask((2,))))),
        [(Kind.SHORT_RED, "crossing XS", "phase 1 (WBL)")],
    ),
    "missing red": (
        ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (23, Lamps(green=1))),
        [(Kind.MISSING_RED, "phase 1 (WBL)", "")],
    ),
    "green and yellow": (
        ((0, Lamps(green=1, yellow=1)),),
        [(Kind.DUAL, "phase 1 (WBL)", "")],
    ),
    "green comes on in yellow": (
        ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (21, Lamps(green=1, yellow=1))),
        [(Kind.DUAL, "phase 1 (WBL)", "")],
    ),
    "walk and clearance": (
        ((0, Lamps(green=phase_mask((2,)), walk=phase_mask((2,)), ped_clear=phase_mask((2,)))),),
        [(Kind.DUAL, "crossing XS", "")],
    ),
    "walk and the flashing green of an extension": (
        ((0, Lamps(green=phase_mask((2,)), walk=phase_mask((2,)), ped_extend=0b0100)),),
        [(Kind.DUAL, "crossing XS", "")],
    ),
    "flash and green": (
        ((0, Lamps(green=1, is_flashing=True)),),
        [(Kind.DUAL, "phase 1 (WBL)", "")],
    ),
    "flash and walk": (
        ((0, GREEN), (1, Lamps(walk=phase_mask((2,)), is_flashing=True))),
        [(Kind.DUAL, "crossing XS", "")],
    ),
    "a phase that is not there": (((0, Lamps(green=1 << 8)),), [(Kind.UNKNOWN, "phase 9", "")]),
    "a walk that is not there": (((0, Lamps(walk=1)),), [(Kind.UNKNOWN, "walk of phase 1", "")]),
    "a crossing that is not there": (
        ((0, Lamps(ped_extend=1 << 4)),),
        [(Kind.UNKNOWN, "crossing number 5", "")],
    ),
    "an overlap that is not there": (
        ((0, Lamps(overlap_yellow=1)),),
        [(Kind.UNKNOWN, "overlap number 1", "")],
    ),
}


@pytest.mark.parametrize(("sequence", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_trips(sequence, expected):
    assert found(sequence) == expected
    assert seen(sequence).is_tripped


def test_every_kind_of_fault_is_provoked_here():
    provoked = {kind for _, expected in FAULTS.values() for kind, _, _ in expected}
    assert provoked | REPORTED | {Kind.DARK} == set(Kind)


REPORTS = {
    "short walk": (
        ((0, ALL_RED), (1, WALK), (11.8, CLEAR)),
        [(Kind.SHORT_WALK, "crossing XS", ""), (Kind.SHORT_WALK, "crossing XN", "")],
    ),
    "short clearance": (
        ((0, ALL_RED), (1, WALK), (12, CLEAR), (25.8, GREEN)),
        [(Kind.SHORT_CLEARANCE, "crossing XS", ""), (Kind.SHORT_CLEARANCE, "crossing XN", "")],
    ),
    "no clearance": (
        ((0, ALL_RED), (1, WALK), (12, GREEN)),
        [(Kind.SHORT_CLEARANCE, "crossing XS", ""), (Kind.SHORT_CLEARANCE, "crossing XN", "")],
    ),
    "short green": (
        ((0, ALL_RED), (1, Lamps(green=1)), (7.8, Lamps(yellow=1))),
        [(Kind.SHORT_GREEN, "phase 1 (WBL)", "")],
    ),
}


@pytest.mark.parametrize(("sequence", "expected"), REPORTS.values(), ids=REPORTS)
def test_what_cuts_a_minimum_of_people_is_reported_and_does_not_trip(sequence, expected):
    monitor = seen(sequence)
    assert [(each.kind, each.first, each.second) for each in monitor.reports] == expected
    assert not monitor.is_tripped
    assert monitor.faults == ()


@pytest.mark.parametrize(("cut_s", "is_reported"), [(11.9, False), (11.8, True)])
def test_a_walk_may_be_a_tenth_short(cut_s, is_reported):
    assert bool(seen(((0, ALL_RED), (1, WALK), (cut_s, CLEAR))).reports) == is_reported


def test_a_report_gives_crossing_and_figures():
    report = seen(REPORTS["short clearance"][0]).reports[1]
    assert (report.lasted_ds, report.needed_ds, report.at_ds) == (138, 140, 258)
    assert report.sentence == "crossing XN: pedestrian clearance lasted 13.8 s; the plan's least is 14.0 s"


def test_a_fault_says_what_it_is_in_words():
    fault = seen(FAULTS["a leading walk before red clearance is over"][0]).faults[0]
    assert str(fault) == (
        "24.0 s: short red: crossing XS started before the red clearance of phase 1 (WBL) was over: "
        "it lasted 1.0 s; the plan's least is 2.0 s"
    )
    missing = seen(FAULTS["missing yellow"][0]).faults[0]
    assert missing == Fault(
        kind=Kind.MISSING_YELLOW,
        first="phase 2 (EBT, EBR)",
        at_ds=200,
        sentence="phase 2 (EBT, EBR) went from green to red without yellow",
    )


def test_an_extension_of_an_exclusive_phase_keeps_its_crossing_closed_to_vehicles():
    people, cars = phase_mask((2,)), phase_mask((1,))
    monitor = seen(((0, Lamps(green=people)), (5, Lamps(green=people | cars))), MIDBLOCK)
    assert monitor.faults[0].first == "phase 1 (EBT, WBT)"
    assert monitor.faults[0].second == "phase 2 (crossing XE)"


def test_overlaps_are_judged_as_channels_of_their_own():
    short = ((0, Lamps(overlap_green=1)), (9, Lamps(overlap_yellow=1)), (11, ALL_RED))
    assert found(short, OVERLAPPING) == [(Kind.SHORT_YELLOW, "overlap A (EBR)", "")]
    crossed = ((0, Lamps(overlap_green=1, walk=phase_mask((4,)))),)
    assert found(crossed, OVERLAPPING) == [(Kind.CONFLICT, "overlap A (EBR)", "crossing XW")]
    early = (*short[:2], (12, ALL_RED), (13, Lamps(walk=phase_mask((4,)))))
    assert found(early, OVERLAPPING) == [(Kind.SHORT_RED, "crossing XW", "overlap A (EBR)")]
    assert found(((0, Lamps(overlap_yellow=2)),), OVERLAPPING) == [(Kind.UNKNOWN, "overlap number 2", "")]


def test_a_phase_without_red_clearance_and_red_revert_may_start_again_at_once():
    plan = changed("reference", phases={1: {"red_clear_s": 0.0, "red_revert_s": 0.0}})
    sequence = ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (23, Lamps(green=1)))
    assert found(sequence, plan) == []


@pytest.mark.parametrize(
    ("step_ds", "yellow_s", "is_silent"),
    [(5, 3.0, True), (5, 2.5, False), (1, 3.0, False), (2, 3.2, True), (2, 3.0, False), (10, 3.0, True)],
)
def test_a_time_that_is_no_multiple_of_the_step_may_show_as_the_multiple_below(step_ds, yellow_s, is_silent):
    plan = changed("reference", phases={1: {"yellow_s": 3.3}})
    sequence = ((0, Lamps(green=1)), (20, Lamps(yellow=1)), (20 + yellow_s, ALL_RED))
    assert (found(sequence, plan, step_ds=step_ds) == []) == is_silent


# --- latch ----------------------------------------------------------------------------------------


def test_a_trip_stays_until_it_is_reset_and_history_then_starts_anew():
    monitor = Monitor(REFERENCE)
    wrong = Lamps(green=phase_mask((2, 8)))
    fault = monitor.watch(0, wrong)
    assert fault is not None
    assert [monitor.watch(now_ds, lamps) for now_ds, lamps in ((1, wrong), (5, GREEN), (9, YELLOW))] == [
        fault
    ] * 3
    assert monitor.faults == (fault,)
    monitor.reset()
    assert not monitor.is_tripped
    assert monitor.watch(10, YELLOW) is None
    assert monitor.watch(11, ALL_RED) is None
    assert monitor.faults == (fault,)
    assert monitor.watch(12, wrong) is not None
    assert [each.kind for each in monitor.faults] == [Kind.CONFLICT, Kind.CONFLICT, Kind.SHORT_RED]


def test_flash_is_all_there_is_in_flash():
    assert flash_lamps() == Lamps(is_flashing=True)


# --- the street's read-back -----------------------------------------------------------------------

ALL = 0xFF


def read_back(states, plan=REFERENCE, lamps=None):
    monitor = Monitor(plan)
    if lamps is not None:
        monitor.watch(0, lamps)
    fault = monitor.watch_field(10, states)
    return None if fault is None else (fault.kind, fault.first)


def test_the_street_is_judged_by_what_is_lit():
    assert read_back(FieldLamps(red=ALL & ~TWO_SIX, green=TWO_SIX), lamps=GREEN) is None
    assert read_back(FieldLamps(red=ALL & ~TWO_SIX & ~8, green=TWO_SIX)) == (Kind.DARK, "phase 4 (SBT, SBR)")
    for pair in (FieldLamps(red=ALL, green=1), FieldLamps(red=ALL, yellow=1)):
        assert read_back(pair) == (Kind.DUAL, "phase 1 (WBL)")
    assert read_back(FieldLamps(red=ALL & ~1, yellow=1, green=1)) == (Kind.DUAL, "phase 1 (WBL)")
    wrong = FieldLamps(red=ALL & ~0b1000_0010, green=0b1000_0010)
    assert read_back(wrong) == (Kind.CONFLICT, "phase 2 (EBT, crossing XS)")


def test_dark_while_the_cabinet_flashes_is_how_it_flashes():
    assert read_back(FieldLamps(), lamps=flash_lamps()) is None


def test_a_phase_without_vehicle_heads_has_none_to_be_dark():
    assert read_back(FieldLamps(red=0b01), MIDBLOCK) is None


def test_a_fault_in_the_street_trips_for_good():
    monitor = Monitor(REFERENCE)
    fault = monitor.watch_field(0, FieldLamps())
    assert len(monitor.faults) == 8
    assert monitor.watch(1, ALL_RED) is fault
    assert monitor.watch_field(2, FieldLamps(red=ALL)) is fault


# --- over a link ----------------------------------------------------------------------------------

WRONG = Lamps(green=phase_mask((2, 8)))


def answers(reads):
    monitor = LinkMonitor(REFERENCE)
    return monitor, [monitor.watch(round(moment_s * 10), lamps) for moment_s, lamps in reads]


def every(step_s, sequence, until_s):
    """Return reads of a sequence of (moment, lamps), one every so many seconds."""
    count = round(until_s / step_s)
    return [(n * step_s, [lamps for at_s, lamps in sequence if at_s <= n * step_s][-1]) for n in range(count)]


def test_two_consistent_reads_of_a_fault_ask_to_release_and_never_flash():
    monitor, said = answers(((0, GREEN), (0.5, GREEN), (1, WRONG), (1.5, WRONG), (2, GREEN)))
    assert said == [None, None, None, RELEASE_AND_ALARM, RELEASE_AND_ALARM]
    assert monitor.faults[0].kind is Kind.CONFLICT
    monitor.reset()
    assert monitor.faults == ()
    assert [monitor.watch(now_ds, GREEN) for now_ds in (25, 30, 35)] == [None] * 3


def test_the_first_reads_count_too():
    assert answers(((0, WRONG), (0.5, WRONG)))[1] == [None, RELEASE_AND_ALARM]


@pytest.mark.parametrize("odd", [WRONG, ALL_RED, YELLOW, CROSS_GREEN, Lamps(green=1 << 12)])
def test_a_single_odd_read_is_ignored(odd):
    reads = every(0.5, ((0, GREEN), (20, YELLOW), (24, ALL_RED), (26, CROSS_GREEN)), 30)
    for index in range(1, len(reads)):
        disturbed = [*reads[:index], (reads[index][0], odd), *reads[index + 1 :]]
        assert answers(disturbed)[1] == [None] * len(reads)


def test_a_stale_read_makes_no_yellow_short():
    """Yellow from 19.6 to 23.6 s; the green read at 22.0 s is stale."""
    reads = ((19, GREEN), (19.5, GREEN), (22, GREEN), (23, YELLOW), (23.5, YELLOW), (23.7, ALL_RED))
    assert set(answers((*reads, (23.8, ALL_RED)))[1]) == {None}


def test_a_whole_service_is_silent_at_any_rate_of_reads():
    for step_s in (0.1, 0.3, 0.5, 1, 3, 7):
        monitor, said = answers(every(step_s, SERVICE, 60))
        assert set(said) == {None}
        assert monitor.reports == ()


@pytest.mark.parametrize(
    ("sequence", "kind"),
    [
        (((0, GREEN), (20, ALL_RED)), Kind.MISSING_YELLOW),
        (((0, GREEN), (20, YELLOW), (23, ALL_RED)), Kind.SHORT_YELLOW),
        (((0, GREEN), (20, YELLOW), (24, ALL_RED), (25, CROSS_GREEN)), Kind.SHORT_RED),
        (((0, GREEN), (20, YELLOW), (24, GREEN)), Kind.MISSING_RED),
    ],
)
def test_what_is_short_however_the_reads_fell_is_a_fault(sequence, kind):
    monitor, said = answers(every(0.1, sequence, 30))
    assert said[-1] == RELEASE_AND_ALARM
    assert kind in {each.kind for each in monitor.faults}


def test_what_a_gap_in_the_reads_may_have_hidden_is_no_fault():
    monitor, said = answers(
        ((0, WALK), (1, WALK), (20, ALL_RED), (21, ALL_RED), (30, CROSS_GREEN), (31, CROSS_GREEN))
    )
    assert set(said) == {None}
    assert monitor.reports == ()


def test_a_short_walk_over_a_link_is_reported():
    monitor, said = answers(every(0.1, ((0, ALL_RED), (1, WALK), (8, CLEAR)), 15))
    assert set(said) == {None}
    assert {each.kind for each in monitor.reports} == {Kind.SHORT_WALK}


# --- independence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["monitor", "monitor_card"])
def test_the_monitor_shares_no_code_with_the_core(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    own = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
    others = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    others |= {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    assert own <= {"plan", "signals", "monitor_card"}
    assert {each.split(".")[0] for each in others} <= sys.stdlib_module_names

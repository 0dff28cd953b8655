"""Laws of the malfunction monitor: silent on every real core, heard whenever its lamps are corrupted."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lamp_laws import conflicts_of
from random_plans import random_plans
from test_core_laws import SITE_PLANS, wild_scripts

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.errors import PlanError
from bitgoeul.controller.monitor import Kind, LinkMonitor, Monitor
from bitgoeul.controller.plan import SitePlan, checked_plan
from bitgoeul.controller.signals import ALL_RED, PATTERN_FREE, Commands, Lamps, phase_bit

EXAMPLES = 5_000 if os.environ.get("BITGOEUL_HYPOTHESIS") == "long" else 300
plans = st.one_of(st.sampled_from(list(SITE_PLANS.values())), random_plans())
masks = st.integers(0, 0xFF)
free = Commands(pattern=PATTERN_FREE)


def ticks(plan, script, *, day_offset_ds=0, by=1):
    """Yield (moment, lamps from then on) of a real core, every `by` tenths of a second."""
    core = SignalCore(plan, day_offset_ds=day_offset_ds)
    for ds, calls, commands in script:
        for _ in range(-(-ds // by)):
            before_ds = core.now_ds
            yield before_ds, core.advance(by, calls, commands)


def said(plan, shown, **options):
    """Return the kinds of everything a monitor says of (moment, lamps) pairs."""
    monitor = Monitor(plan, **options)
    for now_ds, lamps in shown:
        monitor.watch(now_ds, lamps)
    return {each.kind for each in (*monitor.faults, *monitor.reports)}


# --- silent on the real core ----------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(plan=plans, script=wild_scripts, day_offset_ds=st.integers(0, 863_999))
def test_the_real_core_never_trips_it_and_cuts_no_walk_or_clearance(plan, script, day_offset_ds):
    monitor = Monitor(plan)
    for now_ds, lamps in ticks(plan, script, day_offset_ds=day_offset_ds):
        assert monitor.watch(now_ds, lamps) is None, monitor.faults
    assert monitor.reports == ()


@st.composite
def uneven_plans(draw):
    """Return a plan whose yellows and red clearances have tenths that no step of a simulation divides."""
    plan = draw(random_plans())
    document = plan.model_dump()
    for phase in document["phases"]:
        phase["yellow_s"] = draw(st.sampled_from((3.1, 3.4, phase["yellow_s"])))
        phase["red_clear_s"] = draw(st.sampled_from((0.3, 1.7, phase["red_clear_s"])))
        phase["min_green_s"] += draw(st.sampled_from((0.0, 0.3)))
    try:
        return checked_plan(document, plan.site.id)
    except PlanError:
        assume(False)
        raise


@settings(max_examples=EXAMPLES)
@given(
    plan=st.one_of(plans, uneven_plans()),
    script=wild_scripts,
    day_offset_ds=st.integers(0, 863_999),
    by=st.sampled_from((2, 5, 10)),
)
def test_the_real_core_is_silent_in_the_steps_of_a_simulation(plan, script, day_offset_ds, by):
    monitor = Monitor(plan, step_ds=by)
    for now_ds, lamps in ticks(plan, script, day_offset_ds=day_offset_ds, by=by):
        assert monitor.watch(now_ds, lamps) is None, monitor.faults
    assert monitor.reports == ()


lamps_given = st.builds(
    Lamps, green=masks, yellow=masks, walk=masks, ped_clear=masks, overlap_green=st.integers(0, 3)
)


@settings(max_examples=EXAMPLES)
@given(
    plan=plans,
    script=wild_scripts,
    gaps_ds=st.lists(st.integers(1, 15), min_size=5, max_size=20),
    odd=st.lists(st.one_of(st.none(), lamps_given, st.just(Lamps(is_flashing=True))), min_size=1),
    odd_every=st.integers(2, 9),
)
def test_late_reads_and_single_odd_ones_never_alarm_over_a_link(plan, script, gaps_ds, odd, odd_every):
    """An odd read is anything at all, or (None) what was shown at the read before: a stale answer."""
    monitor, due_ds, read, before = LinkMonitor(plan), 0, 0, ALL_RED
    for now_ds, lamps in ticks(plan, script):
        if now_ds >= due_ds:
            read += 1
            due_ds = now_ds + gaps_ds[read % len(gaps_ds)]
            wrong = odd[read % len(odd)] or before
            given = wrong if read % odd_every == 0 else lamps
            assert monitor.watch(now_ds, given) is None, monitor.faults
            before = lamps
    assert monitor.reports == ()


# --- heard when lamps are corrupted ---------------------------------------------------------------


def changes_of(shown):
    """Return (from, to, lamps) of each stretch of unchanging lamps."""
    stretches = []
    for now_ds, lamps in shown:
        if not stretches or stretches[-1][2] != lamps:
            stretches.append((now_ds, now_ds + 1, lamps))
        else:
            stretches[-1] = (stretches[-1][0], now_ds + 1, lamps)
    return stretches


def told(plan, stretches):
    return said(plan, [(from_ds, lamps) for from_ds, _, lamps in stretches])


@st.composite
def flips(draw):
    """Return a plan, a script, a place in it, and a bit of one mask of the lamps."""
    plan = draw(plans)
    walks = [phase.number for phase in plan.phases if phase.crossings]
    every = [phase.number for phase in plan.phases]
    name = draw(st.sampled_from(("green", "yellow", "walk", "ped_clear")))
    number = draw(st.sampled_from(walks if name in ("walk", "ped_clear") else every))
    return plan, name, phase_bit(number)


@settings(max_examples=EXAMPLES // 3)
@given(flip=flips(), script=wild_scripts, share=st.floats(0, 1), lasts_ds=st.integers(1, 9))
def test_a_bit_that_is_wrong_for_a_moment_is_heard(flip, script, share, lasts_ds):
    plan, name, bit = flip
    stretches = changes_of(ticks(plan, script))
    long_enough = [i for i, (from_ds, to_ds, _) in enumerate(stretches) if to_ds - from_ds >= lasts_ds + 4]
    assume(long_enough)
    index = long_enough[int(share * (len(long_enough) - 1))]
    from_ds, to_ds, lamps = stretches[index]
    at_ds = from_ds + 2 + int(share * (to_ds - from_ds - lasts_ds - 4))
    wrong = replace(lamps, **{name: getattr(lamps, name) ^ bit})
    stretches[index : index + 1] = [
        (from_ds, at_ds, lamps),
        (at_ds, at_ds + lasts_ds, wrong),
        (at_ds + lasts_ds, to_ds, lamps),
    ]
    assert told(plan, stretches)


def stretches_with(stretches, name, number):
    """Return the runs of indices of stretches in which a phase's bit is lit, complete ones only."""
    runs, run = [], []
    for index, (_, _, lamps) in enumerate(stretches):
        if getattr(lamps, name) & phase_bit(number):
            run.append(index)
        elif run:
            runs.append(run)
            run = []
    return [run for run in runs if run[0] > 0]


CUTS = {
    "yellow": Kind.SHORT_YELLOW,
    "walk": Kind.SHORT_WALK,
    "ped_clear": Kind.SHORT_CLEARANCE,
}


@st.composite
def runs_of_lamps(draw, names):
    """Return a plan, its stretches, and the last stretch of a phase's yellow, walk or clearance."""
    plan, name = draw(plans), draw(st.sampled_from(names))
    numbers = [phase.number for phase in plan.phases if name == "yellow" or phase.crossings]
    number = draw(st.sampled_from(numbers))
    stretches = changes_of(ticks(plan, draw(wild_scripts)))
    runs = [
        run
        for run in stretches_with(stretches, name, number)
        if not stretches[run[-1] + 1][2].is_flashing and not stretches[run[0] - 1][2].is_flashing
    ]
    assume(runs)
    return plan, stretches, name, number, draw(st.sampled_from(runs))


def needed_ds(plan: SitePlan, name: str, number: int) -> int:
    phase = plan.phase(number)
    return round(10 * {"yellow": phase.yellow_s, "walk": phase.walk_s, "ped_clear": phase.ped_clear_s}[name])


@settings(max_examples=EXAMPLES // 3)
@given(chosen=runs_of_lamps(("yellow",)))
def test_a_dropped_yellow_is_heard(chosen):
    plan, stretches, _, number, run = chosen
    for index in run:
        from_ds, to_ds, lamps = stretches[index]
        stretches[index] = (from_ds, to_ds, replace(lamps, yellow=lamps.yellow & ~phase_bit(number)))
    assert Kind.MISSING_YELLOW in told(plan, stretches)


@settings(max_examples=EXAMPLES // 3)
@given(chosen=runs_of_lamps(tuple(CUTS)), by_ds=st.integers(2, 25))
def test_what_is_cut_by_two_tenths_or_more_is_heard(chosen, by_ds):
    """The bit goes out so long before its least time that `by_ds` are missing."""
    plan, stretches, name, number, run = chosen
    out_ds = stretches[run[0]][0] + needed_ds(plan, name, number) - by_ds
    cut = []
    for index, (from_ds, to_ds, lamps) in enumerate(stretches):
        dark = replace(lamps, **{name: getattr(lamps, name) & ~phase_bit(number)})
        if index not in run or to_ds <= out_ds:
            cut.append((from_ds, to_ds, lamps))
        elif from_ds >= out_ds:
            cut.append((from_ds, to_ds, dark))
        else:
            cut += [(from_ds, out_ds, lamps), (out_ds, to_ds, dark)]
    assert CUTS[name] in told(plan, cut)


@pytest.mark.parametrize("name", SITE_PLANS)
@settings(max_examples=EXAMPLES // 6)
@given(script=wild_scripts, pick=st.randoms(use_true_random=False), by_ds=st.integers(2, 20))
def test_a_green_that_starts_two_tenths_or_more_before_red_clearance_is_over_is_heard(
    name, script, pick, by_ds
):
    plan = SITE_PLANS[name]
    stretches = changes_of(ticks(plan, script))
    starts = early_starts(plan, stretches, by_ds)
    assume(starts)
    number, early_ds, start_ds = pick.choice(starts)
    moved = []
    for from_ds, to_ds, lamps in stretches:
        lit = replace(lamps, green=lamps.green | phase_bit(number))
        if to_ds <= early_ds or from_ds >= start_ds:
            moved.append((from_ds, to_ds, lamps))
        elif from_ds >= early_ds:
            moved.append((from_ds, to_ds, lit))
        else:
            moved += [(from_ds, early_ds, lamps), (early_ds, to_ds, lit)]
    assert told(plan, moved) & {Kind.SHORT_RED, Kind.CONFLICT}


def early_starts(plan, stretches, by_ds):
    """Return (phase, too early start, start) of greens before which a conflicting yellow ended.

    The start is too early by `by_ds` for the red clearance of the conflicting phase that ended last.
    """
    conflicts, ended_ds, before, starts = conflicts_of(plan), {}, ALL_RED, []
    for from_ds, _, lamps in stretches:
        if lamps.is_flashing:
            ended_ds.clear()
        for phase in plan.phases:
            bit = phase_bit(phase.number)
            if before.yellow & bit and not lamps.yellow & bit:
                ended_ds[phase.number] = from_ds
        for phase in plan.phases:
            if lamps.green & ~before.green & phase_bit(phase.number):
                allowed = [
                    at_ds + round(10 * plan.phase(n).red_clear_s)
                    for n, at_ds in ended_ds.items()
                    if (phase.number, n) in conflicts
                ]
                if allowed and max(allowed) <= from_ds and by_ds < from_ds:
                    starts.append((phase.number, max(allowed) - by_ds, from_ds))
        before = lamps
    return starts

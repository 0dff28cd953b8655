"""Laws of the cabinet's signal logic: whatever is called or ordered, in whatever steps."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lamp_laws import LampLaws
from random_plans import random_plans

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.monitor import Monitor
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import PATTERN_FLASH, PATTERN_FREE, Calls, Commands, phases_in

PLANS = Path(__file__).parents[1] / "controller" / "plans"
NAMES = ("reference", "midblock", "tee", "split")
SITE_PLANS = {name: load_plan(PLANS / f"{name}.toml") for name in NAMES}
every_plan = pytest.mark.parametrize("plan", SITE_PLANS.values(), ids=NAMES)

EXAMPLES = 10_000 if os.environ.get("BITGOEUL_HYPOTHESIS") == "long" else 500
masks = st.integers(0, 0xFF)
rare_masks = st.one_of(st.just(0), masks)
calls_given = st.builds(Calls, vehicle=masks, extend=masks, ped=masks)
patterns = st.sampled_from((0, 0, PATTERN_FREE, PATTERN_FREE, 1, 2, 99))
rings = st.sampled_from((0, 0, 0, 1, 2, 3))
commands_given = st.builds(
    Commands,
    hold=rare_masks,
    force_off=masks,
    phase_omit=rare_masks,
    ped_omit=rare_masks,
    vehicle_call=masks,
    ped_call=masks,
    walk_rest=rare_masks,
    red_hold=rare_masks,
    pattern=patterns,
)
everything_given = st.builds(
    replace,
    commands_given,
    ped_extend=rare_masks,
    stop_time=rings,
    ped_recycle=rings,
    max_2=rings,
    preempt=st.sampled_from((0, 0, 0, 1, 2)),
    pattern=st.sampled_from((0, 0, 0, PATTERN_FREE, PATTERN_FREE, PATTERN_FLASH, 1, 2, 99)),
)
scripts = st.lists(st.tuples(st.integers(1, 400), calls_given, commands_given), min_size=8, max_size=30)
wild_scripts = st.lists(
    st.tuples(st.integers(1, 600), calls_given, everything_given), min_size=6, max_size=20
)


def played(core, script, *, by=None):
    """Play a script in steps of its own length, or of `by` tenths of a second."""
    for ds, calls, commands in script:
        left_ds = ds
        while left_ds:
            step_ds = min(by or left_ds, left_ds)
            before_ds = core.now_ds
            yield before_ds, core.advance(step_ds, calls, commands), commands
            left_ds -= step_ds


@every_plan
@given(script=scripts, day_offset_ds=st.integers(0, 863_999))
def test_no_conflicting_greens_and_no_interval_cut_short(plan, script, day_offset_ds):
    core, laws = SignalCore(plan, day_offset_ds=day_offset_ds), LampLaws(plan)
    for now_ds, lamps, _ in played(core, script, by=1):
        laws.follow(now_ds, lamps)


def check_steps_add_up(plan, script, day_offset_ds):
    long, short = (SignalCore(plan, day_offset_ds=day_offset_ds) for _ in range(2))
    for ds, calls, commands in script:
        long.advance(ds, calls, commands)
        for _ in range(ds):
            short.advance(1, calls, commands)
        assert long.state == short.state
        assert long.lamps == short.lamps
        assert long.status() == short.status()


@every_plan
@given(script=scripts, day_offset_ds=st.integers(0, 863_999))
def test_a_long_step_is_many_short_ones(plan, script, day_offset_ds):
    check_steps_add_up(plan, script, day_offset_ds)


steady_orders = st.builds(
    Commands, hold=st.sampled_from((0, 0, 0, 0x0F, 0xFF)), vehicle_call=rare_masks, pattern=patterns
)
some_changes = st.lists(st.tuples(st.integers(1, 80), masks, st.booleans()), min_size=4, max_size=12)
steady_scripts = st.lists(st.tuples(steady_orders, masks, some_changes), min_size=1, max_size=3)


@every_plan
@given(script=steady_scripts, day_offset_ds=st.integers(0, 863_999))
def test_what_the_core_does_not_look_at_would_change_nothing(plan, script, day_offset_ds):
    quick, restless = (SignalCore(plan, day_offset_ds=day_offset_ds) for _ in range(2))
    for commands, waiting, changes in script:
        for ds, passing, is_waiting in changes:
            calls = Calls(vehicle=waiting, extend=passing, ped=0 if is_waiting else waiting)
            for _ in range(ds):
                restless.restore(restless.state)  # it has to look at everything again
                quick.advance(1, calls, commands)
                assert restless.advance(1, calls, commands) == quick.lamps
                assert restless.state == quick.state
            assert restless.status() == quick.status()


@every_plan
@given(script=scripts, after=scripts)
def test_the_state_is_all_there_is(plan, script, after):
    first, second = SignalCore(plan), SignalCore(plan)
    for _ in played(first, script):
        pass
    for _ in played(second, after):
        pass
    second.restore(first.state)
    assert second.state == first.state
    assert second.lamps == first.lamps
    for (_, expected, _), (_, found, _) in zip(played(first, after), played(second, after), strict=True):
        assert found == expected
        assert second.state == first.state
        assert second.status() == first.status()


@every_plan
@given(script=scripts)
def test_a_held_green_stays_green(plan, script):
    core = SignalCore(plan)
    core.advance(1)
    green = core.lamps.green
    for _, lamps, commands in played(core, script, by=1):
        assert lamps.green & green & commands.hold == green & commands.hold
        green = lamps.green


@settings(max_examples=EXAMPLES)
@given(plan=random_plans(), script=wild_scripts, day_offset_ds=st.integers(0, 863_999))
def test_no_plan_and_no_order_breaks_a_law_of_the_lamps(plan, script, day_offset_ds):
    core = SignalCore(plan, day_offset_ds=day_offset_ds)
    laws, monitor = LampLaws(plan), Monitor(plan)
    for now_ds, lamps, _ in played(core, script, by=1):
        laws.follow(now_ds, lamps)
        assert monitor.watch(now_ds, lamps) is None
    assert not monitor.reports


@settings(max_examples=EXAMPLES // 5)
@given(plan=random_plans(), script=wild_scripts, day_offset_ds=st.integers(0, 863_999))
def test_a_long_step_is_many_short_ones_on_any_plan(plan, script, day_offset_ds):
    check_steps_add_up(plan, script, day_offset_ds)


@every_plan
@settings(max_examples=20)
@given(
    script=st.lists(st.tuples(st.integers(1, 50), calls_given, masks, masks), min_size=1, max_size=8),
    pattern=st.sampled_from((0, PATTERN_FREE)),
)
def test_no_demanded_phase_starves(plan, script, pattern):
    """With nothing held or omitted every called phase is served, whatever is forced off.

    In free operation within the plan's own bound; under a pattern, where an early force-off may move a
    phase into the cycle before, within two cycles.
    """
    core = SignalCore(plan)
    every_phase = (1 << max(plan.phase_numbers)) - 1
    longest_s = max(each.cycle_s for each in plan.patterns) * 2
    bound_ds = 10 * (plan.worst_service_s if pattern == PATTERN_FREE else longest_s)
    green_ds = dict.fromkeys(plan.phase_numbers, 0)
    round_trip = itertools.cycle(script)
    while core.now_ds < 6_000:
        ds, calls, force_off, ped_call = next(round_trip)
        commands = Commands(force_off=force_off, vehicle_call=every_phase, ped_call=ped_call, pattern=pattern)
        core.advance(ds, calls, commands)
        green_ds.update(dict.fromkeys(phases_in(core.lamps.green), core.now_ds))
        assert all(core.now_ds - since_ds <= bound_ds for since_ds in green_ds.values()), green_ds

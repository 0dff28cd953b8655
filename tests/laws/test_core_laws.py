"""Laws of the cabinet's signal logic: whatever is called or ordered, in whatever steps."""

from __future__ import annotations

import itertools
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import PATTERN_FREE, Calls, Commands, phases_in

PLANS = Path(__file__).parents[1] / "controller" / "plans"
NAMES = ("reference", "midblock", "tee", "split")
SITE_PLANS = {name: load_plan(PLANS / f"{name}.toml") for name in NAMES}
every_plan = pytest.mark.parametrize("plan", SITE_PLANS.values(), ids=NAMES)

masks = st.integers(0, 0xFF)
rare_masks = st.one_of(st.just(0), masks)
calls_given = st.builds(Calls, vehicle=masks, extend=masks, ped=masks)
patterns = st.sampled_from((0, 0, PATTERN_FREE, PATTERN_FREE, 1, 2, 99))
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
scripts = st.lists(st.tuples(st.integers(1, 400), calls_given, commands_given), min_size=8, max_size=30)


def conflicts_of(plan):
    """Return the pairs of phases that must never be lit together, from the plan's movements alone."""
    pairs = set()
    for first, second in combinations(plan.phases, 2):
        meets = any(
            plan.movement_relation(a, b) == "conflict" for a in first.movements for b in second.movements
        )
        for walked, driven in ((first, second), (second, first)):
            meets |= any(
                plan.relation(m, c) == "conflict" for m in driven.movements for c in walked.crossings
            )
        if meets:
            pairs |= {(first.number, second.number), (second.number, first.number)}
    return pairs


class Watch:
    """Follows one phase's lamps and knows how long each has been lit."""

    def __init__(self, phase):
        self.phase = phase
        self.lamp, self.since_ds = "red", -(10**9)
        self.walk, self.walk_since_ds, self.green_since_ds = "", 0, 0

    def follow(self, now_ds, lamps):
        bit = 1 << (self.phase.number - 1)
        assert not (lamps.green & lamps.yellow & bit)
        lamp = "green" if lamps.green & bit else "yellow" if lamps.yellow & bit else "red"
        walk = "walk" if lamps.walk & bit else "clear" if lamps.ped_clear & bit else ""
        assert not (lamps.walk & lamps.ped_clear & bit)
        self._walk_follows(now_ds, walk)
        if lamp != self.lamp:
            self._lamp_follows(now_ds, lamp)
        assert not walk or lamp == "green"

    def _walk_follows(self, now_ds, walk):
        if walk == self.walk:
            return
        lasted_ds = now_ds - self.walk_since_ds
        if self.walk == "walk":
            assert walk == "clear", "walk is followed by clearance"
            assert lasted_ds >= round(self.phase.walk_s * 10)
        elif self.walk == "clear":
            assert not walk
            assert lasted_ds == round(self.phase.ped_clear_s * 10)
        else:
            assert walk == "walk", "clearance only after walk"
        self.walk, self.walk_since_ds = walk, now_ds

    def _lamp_follows(self, now_ds, lamp):
        lasted_ds = now_ds - self.since_ds
        after = {"red": "green", "green": "yellow", "yellow": "red"}
        assert lamp == after[self.lamp]
        if lamp == "yellow":
            assert lasted_ds >= round(self.phase.min_green_s * 10)
        elif lamp == "red":
            assert lasted_ds == round(self.phase.yellow_s * 10)
        self.lamp, self.since_ds = lamp, now_ds

    def blocks(self, now_ds):
        """Tell whether no conflicting green may start now."""
        if self.lamp != "red":
            return True
        return now_ds - self.since_ds < round(self.phase.red_clear_s * 10)


class Monitor:
    """Judges lamps by the plan alone; knows nothing of how the core decides."""

    def __init__(self, plan):
        self.watches = {phase.number: Watch(phase) for phase in plan.phases}
        self.conflicts = conflicts_of(plan)
        in_one_ring = {
            pair
            for ring in plan.rings
            for pair in combinations([number for barrier in ring for number in barrier], 2)
        }
        self.conflicts |= in_one_ring | {(b, a) for a, b in in_one_ring}
        self.lamps = None

    def follow(self, now_ds, lamps):
        if lamps is self.lamps:
            return
        started = [
            n for n, watch in self.watches.items() if watch.lamp != "green" and lamps.green >> (n - 1) & 1
        ]
        self.lamps = lamps
        for watch in self.watches.values():
            watch.follow(now_ds, lamps)
        for number in started:
            blocking = [
                n
                for n, watch in self.watches.items()
                if (number, n) in self.conflicts and watch.blocks(now_ds)
            ]
            assert not blocking, f"{number} starts at {now_ds} against {blocking}"
        stray = lamps.green | lamps.yellow | lamps.walk | lamps.ped_clear
        assert set(phases_in(stray)) <= self.watches.keys()


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
    core, monitor = SignalCore(plan, day_offset_ds=day_offset_ds), Monitor(plan)
    for now_ds, lamps, _ in played(core, script, by=1):
        monitor.follow(now_ds, lamps)


@every_plan
@given(script=scripts, day_offset_ds=st.integers(0, 863_999))
def test_a_long_step_is_many_short_ones(plan, script, day_offset_ds):
    long, short = (SignalCore(plan, day_offset_ds=day_offset_ds) for _ in range(2))
    for ds, calls, commands in script:
        long.advance(ds, calls, commands)
        for _ in range(ds):
            short.advance(1, calls, commands)
        assert long.state == short.state
        assert long.lamps == short.lamps
        assert long.status() == short.status()


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

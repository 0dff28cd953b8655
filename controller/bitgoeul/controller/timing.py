"""A site plan compiled for the core: integer deciseconds, phase masks, fixed force-offs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .plan import Pattern, Phase, Preempt, SitePlan
from .plan_parts import OFFSET_CORRECTION_SHARE
from .ring import Interval
from .signals import phase_bit, phase_mask

DAY_DS = 864_000
"""A day. [0.1 s]"""
HOUR_DS = 36_000
"""An hour. [0.1 s]"""

RECALLS = ("none", "min", "max", "soft")
"""Kinds of vehicle recall."""


def to_ds(seconds: float) -> int:
    """Return seconds of the plan (one decimal) as whole deciseconds. [0.1 s]"""
    return round(seconds * 10)


FOREVER_DS = 1 << 62
"""Longer than any run. [0.1 s]"""
DONT_WALK_DS = 30
"""Least don't walk between clearance and another walk in the same green (MUTCD 2009, 4E.06). [0.1 s]"""
PED_EXTEND_MAX_DS = 100
"""Longest flashing green after clearance (DESIGN: `flash` display). [0.1 s]"""


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """Timings of one phase. [0.1 s]

    `duration_ds` maps the name of a timed interval to its length. `max_green_ds` holds max 1 and max 2;
    a `dynamic_max_ds` of 0 means no dynamic max. `displays_extension` is a mask of crossings.
    """

    min_green_ds: int
    max_green_ds: tuple[int, int]
    dynamic_max_ds: int
    dynamic_step_ds: int
    passage_ds: int
    red_revert_ds: int
    walks_ds: int  # walk and clearance
    clear_ds: int  # yellow and red clearance
    duration_ds: dict[str, int]
    first_walk: Interval
    displays_extension: int


@dataclass(frozen=True, slots=True)
class PatternTiming:
    """A pattern's fixed points in its cycle. [0.1 s]

    `start_ds` and `green_end_ds` give, per phase, where in the cycle its split starts and where its
    green is forced off; both count from the offset. `coordinated` is a mask, 0 in a pretimed pattern;
    `latest_ds` says for each other phase how long after the yield point it may still be chosen.
    """

    cycle_ds: int
    offset_ds: int
    start_ds: dict[int, int]
    green_end_ds: dict[int, int]
    coordinated: int = 0
    yield_ds: int = 0
    is_floating: bool = False
    is_dwelling: bool = False
    latest_ds: dict[int, int] = field(default_factory=dict)
    split_ds: dict[int, int] = field(default_factory=dict)

    def force_off_ds(self, phase: int, started_ds: int, shift_ds: int = 0) -> int:
        """Return the force-off of the service that started at `started_ds`. [0.1 s]

        A late start keeps the force-off of its own cycle, even one already past: the phase then gets
        its minimum, and the signal is back in step. A pretimed start belongs to the nearest cycle; a
        coordinated one, which may come early by all that was skipped, counts as late only within its
        own split. Floating force-offs count from the start of the green, and never pass the fixed ones.

        Parameters
        ----------
        phase : the phase that starts.
        started_ds : start of its green. [0.1 s]
        shift_ds : how far the cycle lags behind its reference. [0.1 s]
        """
        origin_ds = self.offset_ds + shift_ds
        late_ds = started_ds - origin_ds - self.start_ds[phase]
        latest_ds = self._latest_start_ds(phase)
        cycles = math.floor((late_ds + self.cycle_ds - latest_ds) / self.cycle_ds)
        fixed_ds = origin_ds + self.green_end_ds[phase] + cycles * self.cycle_ds
        if self.is_floating and not self.coordinated >> (phase - 1) & 1:
            return min(started_ds + self.green_end_ds[phase] - self.start_ds[phase], fixed_ds)
        return fixed_ds

    @property
    def _most_ds(self) -> int:
        """What one cycle may pay back. [0.1 s]"""
        return int(self.cycle_ds * OFFSET_CORRECTION_SHARE)

    def _latest_start_ds(self, phase: int) -> float:
        """Return how late a phase may start and still belong to the cycle it missed. [0.1 s]"""
        latest_ds = self.split_ds[phase] if self.coordinated else self.cycle_ds / 2
        is_waiting = not self.start_ds[phase] or self.coordinated >> (phase - 1) & 1
        return min(latest_ds, self._most_ds + 1) if self.is_dwelling and is_waiting else latest_ds

    def place_ds(self, time_of_day_ds: int, shift_ds: int) -> int:
        """Return the place in the cycle, 0 to below its length. [0.1 s]"""
        return (time_of_day_ds - self.offset_ds - shift_ds) % self.cycle_ds

    def since_yield_ds(self, time_of_day_ds: int, shift_ds: int) -> int:
        """Return how long ago the coordinated phases' yield point was, below a cycle. [0.1 s]"""
        return self.place_ds(time_of_day_ds - self.yield_ds, shift_ds)

    def corrected_shift_ds(self, phase: int, started_ds: int) -> int:
        """Return by how much this cycle runs late after offset correction. [0.1 s]

        Parameters
        ----------
        phase : the phase that opens the cycle.
        started_ds : start of its green. [0.1 s]

        Notes
        -----
        What is out of step by up to 17 % of the cycle is paid back within it, by the fixed force-offs.
        `shortway` leaves the rest, late or early, for the cycles that follow; `dwell` waits for the next
        reference, in the phases that open the cycle or are coordinated. A coordinated cycle may start
        early by all that was skipped: it is out of step only when late within its first phase's split.
        """
        if self.is_dwelling:
            return 0
        late_ds, most_ds = self.place_ds(started_ds - self.start_ds[phase], 0), self._most_ds
        if late_ds > self._latest_start_ds(phase):
            late_ds -= self.cycle_ds
        if self.coordinated:
            return max(late_ds - most_ds, 0)
        return late_ds - max(-most_ds, min(late_ds, most_ds))


@dataclass(frozen=True, slots=True)
class PreemptTiming:
    """A preemption in the core's terms: masks and [0.1 s]."""

    phases: int
    exit_phases: int
    delay_ds: int
    min_dwell_ds: int
    walker_max_ds: int


@dataclass(frozen=True, slots=True)
class CorePlan:
    """What the core needs of a plan.

    Parameters
    ----------
    phases : timings by phase number.
    rings : `rings[ring][barrier]` = phases in order.
    later : per phase, the mask of phases after it in its ring and barrier.
    ring_masks : `ring_masks[ring][barrier]` = phases as a mask.
    barrier_masks : phases of each barrier group.
    all_phases, has_walk, ped_recall, vehicle_recall, max_recall, soft_recall, dual_entry, rest_in_walk,
    conditional, ends_alone : masks of phases; the last one gaps out whatever the other ring does.
    overlaps : per overlap, its phases as a mask.
    patterns, preempts : by number.
    hours : pattern number for each hour of the day; empty without patterns.
    startup_flash_ds, startup_red_ds : flash, then all red, before the first green. [0.1 s]
    main_phases, main_barrier : where the cabinet starts and leaves flash.
    """

    phases: dict[int, PhaseTiming]
    rings: tuple[tuple[tuple[int, ...], ...], ...]
    later: dict[int, int]
    ring_masks: tuple[tuple[int, ...], ...]
    barrier_masks: tuple[int, ...]
    all_phases: int
    has_walk: int
    ped_recall: int
    vehicle_recall: int
    max_recall: int
    soft_recall: int
    dual_entry: int
    rest_in_walk: int
    conditional: int
    ends_alone: int
    overlaps: tuple[int, ...]
    patterns: dict[int, PatternTiming]
    preempts: dict[int, PreemptTiming]
    hours: tuple[int, ...]
    startup_flash_ds: int
    startup_red_ds: int
    main_phases: int
    main_barrier: int

    def pattern_at(self, time_of_day_ds: int) -> int:
        """Return the pattern number at a time of day. [0.1 s]"""
        return self.hours[time_of_day_ds % DAY_DS // HOUR_DS]

    def next_pattern_change_ds(self, time_of_day_ds: int) -> int:
        """Return when the hour, and with it perhaps the pattern, changes next. [0.1 s]"""
        return (time_of_day_ds // HOUR_DS + 1) * HOUR_DS

    def may_enter_uncalled(self, phase: int, omits: int) -> bool:
        """Tell whether a phase is a dual-entry partner that nothing omits."""
        return bool(self.dual_entry & ~omits & phase_bit(phase))


def _compile_phase(plan: SitePlan, phase: Phase) -> PhaseTiming:
    max_1_ds = to_ds(phase.max_green_s)
    max_2_ds = max_1_ds if phase.max_green_2_s is None else to_ds(phase.max_green_2_s)
    walk_ds, ped_clear_ds = to_ds(phase.walk_s), to_ds(phase.ped_clear_s)
    first_walk = Interval.LEADING_WALK if phase.leading_walk_s else Interval.WALK
    if phase.walk_delay_s:
        first_walk = Interval.WALK_DELAY
    flashing = (i for i, each in enumerate(plan.crossings) if each.display == "flash")
    return PhaseTiming(
        min_green_ds=to_ds(phase.min_green_s),
        max_green_ds=(max_1_ds, max_2_ds),
        dynamic_max_ds=to_ds(phase.dynamic_max_s or 0.0),
        dynamic_step_ds=to_ds(phase.dynamic_step_s),
        passage_ds=to_ds(phase.passage_s),
        red_revert_ds=to_ds(phase.red_revert_s),
        walks_ds=walk_ds + ped_clear_ds,
        clear_ds=to_ds(phase.yellow_s) + to_ds(phase.red_clear_s),
        duration_ds={
            "leading_walk": to_ds(phase.leading_walk_s),
            "walk_delay": to_ds(phase.walk_delay_s),
            "walk": walk_ds,
            "ped_clear": ped_clear_ds,
            "yellow": to_ds(phase.yellow_s),
            "red_clear": to_ds(phase.red_clear_s),
        },
        first_walk=first_walk,
        displays_extension=sum(1 << i for i in flashing if plan.crossings[i].id in phase.crossings),
    )


def _compile_pattern(plan: SitePlan, pattern: Pattern) -> PatternTiming:
    """Return a pattern's fixed points; rings that end a barrier together do so at the earlier green end."""
    clear_ds = {each.number: to_ds(each.yellow_s) + to_ds(each.red_clear_s) for each in plan.phases}
    splits = {number: to_ds(pattern.splits[str(number)]) for number in plan.phase_numbers}
    lasts = [[ring[barrier][-1] for ring in plan.rings if ring[barrier]] for barrier in _barriers(plan)]
    starts: dict[int, int] = {}
    green_ends: dict[int, int] = {}
    for ring in plan.rings:
        begin_ds = 0
        for barrier, numbers in enumerate(ring):
            at_ds = begin_ds
            for number in numbers:
                starts[number] = at_ds
                at_ds += splits[number]
                green_ends[number] = at_ds - clear_ds[number]
            if numbers:
                green_ends[numbers[-1]] = at_ds - max(clear_ds[number] for number in lasts[barrier])
            begin_ds += _length_ds(plan, barrier, splits)
    coordinated = phase_mask(pattern.coordinated)
    yield_ds = min((green_ends[number] for number in pattern.coordinated), default=0)
    cycle_ds = to_ds(pattern.cycle_s)
    timing = PatternTiming(
        cycle_ds=cycle_ds,
        offset_ds=to_ds(pattern.offset_s),
        start_ds=starts,
        green_end_ds=green_ends,
        coordinated=coordinated,
        yield_ds=yield_ds,
        is_floating=pattern.force_off == "floating",
        is_dwelling=pattern.offset_correction == "dwell",
        split_ds=splits,
    )
    if coordinated:
        timing.latest_ds.update(_latest_choices(plan, pattern, timing, clear_ds))
    return timing


def _latest_choices(
    plan: SitePlan, pattern: Pattern, timing: PatternTiming, clear_ds: dict[int, int]
) -> dict[int, int]:
    """Return per uncoordinated phase how long after the yield point it may still be chosen. [0.1 s]

    Its minimum must fit before its force-off, and no coordinated phase may have begun its split.
    """
    most_ds = FOREVER_DS if pattern.permissive_s is None else to_ds(pattern.permissive_s)
    leave_ds = max(clear_ds[number] for number in pattern.coordinated)
    cycle_ds = timing.cycle_ds
    starts_ds = min((timing.start_ds[n] - timing.yield_ds) % cycle_ds for n in pattern.coordinated)
    latest: dict[int, int] = {}
    for number in plan.phase_numbers:
        if number not in pattern.coordinated:
            room_ds = (timing.green_end_ds[number] - timing.yield_ds) % cycle_ds
            least_ds = to_ds(plan.minimum_split_s(number)) - clear_ds[number]
            fits_ds = min(room_ds - least_ds - leave_ds, most_ds, starts_ds - leave_ds)
            latest[number] = max(fits_ds, 0)
    return latest


def _barriers(plan: SitePlan) -> range:
    return range(len(plan.rings[0]))


def _length_ds(plan: SitePlan, barrier: int, splits: dict[int, int]) -> int:
    """Return the length of a barrier group in the cycle. [0.1 s]"""
    return max(sum(splits[number] for number in ring[barrier]) for ring in plan.rings)


def _compile_preempt(preempt: Preempt) -> PreemptTiming:
    return PreemptTiming(
        phases=phase_mask(preempt.phases),
        exit_phases=phase_mask(preempt.exit_phases),
        delay_ds=to_ds(preempt.delay_s),
        min_dwell_ds=to_ds(preempt.min_dwell_s),
        walker_max_ds=to_ds(preempt.walker_max_s),
    )


def compile_plan(plan: SitePlan) -> CorePlan:
    """Return a checked plan in the core's own terms."""
    phases = plan.phases
    recalled = {kind: phase_mask(p.number for p in phases if p.vehicle_recall == kind) for kind in RECALLS}
    later = {
        number: phase_mask(numbers[place + 1 :])
        for ring in plan.rings
        for numbers in ring
        for place, number in enumerate(numbers)
    }
    hours = [0] * 24
    for pattern in plan.patterns:
        for first, last in pattern.hours:
            hours[first:last] = [pattern.number] * (last - first)
    barrier_masks = tuple(phase_mask(n for ring in plan.rings for n in ring[b]) for b in _barriers(plan))
    main = phase_mask(plan.unit.main_phases)
    return CorePlan(
        phases={phase.number: _compile_phase(plan, phase) for phase in phases},
        rings=plan.rings,
        later=later,
        ring_masks=tuple(tuple(phase_mask(numbers) for numbers in ring) for ring in plan.rings),
        barrier_masks=barrier_masks,
        all_phases=phase_mask(plan.phase_numbers),
        has_walk=phase_mask(phase.number for phase in phases if phase.walk_s > 0),
        ped_recall=phase_mask(phase.number for phase in phases if phase.ped_recall),
        vehicle_recall=recalled["min"] | recalled["max"],
        max_recall=recalled["max"],
        soft_recall=recalled["soft"],
        dual_entry=phase_mask(phase.number for phase in phases if phase.dual_entry),
        rest_in_walk=phase_mask(phase.number for phase in phases if phase.rest_in_walk),
        conditional=phase_mask(phase.number for phase in phases if phase.conditional_service),
        ends_alone=phase_mask(phase.number for phase in phases if not phase.simultaneous_gap),
        overlaps=tuple(phase_mask(overlap.phases) for overlap in plan.overlaps),
        patterns={pattern.number: _compile_pattern(plan, pattern) for pattern in plan.patterns},
        preempts={preempt.number: _compile_preempt(preempt) for preempt in plan.preempts},
        hours=tuple(hours) if plan.patterns else (),
        startup_flash_ds=to_ds(plan.unit.startup_flash_s),
        startup_red_ds=to_ds(plan.unit.startup_red_s),
        main_phases=main,
        main_barrier=next((i for i, mask in enumerate(barrier_masks) if mask & main), 0),
    )

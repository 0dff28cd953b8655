"""A site plan compiled for the core: integer deciseconds, phase masks, fixed force-offs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .plan import Pattern, Phase, SitePlan
from .signals import phase_bit, phase_mask

DAY_DS = 864_000
"""A day. [0.1 s]"""
HOUR_DS = 36_000
"""An hour. [0.1 s]"""


def to_ds(seconds: float) -> int:
    """Return seconds of the plan (one decimal) as whole deciseconds. [0.1 s]"""
    return round(seconds * 10)


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """Timings of one phase. [0.1 s]

    `duration_ds` maps the interval's name to its length: walk, ped_clear, yellow, red_clear.
    """

    min_green_ds: int
    max_green_ds: int
    passage_ds: int
    duration_ds: dict[str, int]


@dataclass(frozen=True, slots=True)
class PatternTiming:
    """A pattern's fixed points in its cycle. [0.1 s]

    `start_ds` and `green_end_ds` give, per phase, where in the cycle its split starts and where its
    green is forced off; both count from the offset.
    """

    cycle_ds: int
    offset_ds: int
    start_ds: dict[int, int]
    green_end_ds: dict[int, int]

    def force_off_ds(self, phase: int, started_ds: int) -> int:
        """Return the force-off of the service that started at `started_ds`. [0.1 s]

        A late start keeps the force-off of its own cycle, even one already past: the phase then gets
        its minimum, and the signal is back in step.
        """
        late_ds = started_ds - self.offset_ds - self.start_ds[phase]
        cycles = math.floor(late_ds / self.cycle_ds + 0.5)
        return self.offset_ds + self.green_end_ds[phase] + cycles * self.cycle_ds


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
    all_phases, has_walk, ped_recall, vehicle_recall, dual_entry : masks.
    patterns : by number.
    hours : pattern number for each hour of the day; empty without patterns.
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
    dual_entry: int
    patterns: dict[int, PatternTiming]
    hours: tuple[int, ...]

    def pattern_at(self, time_of_day_ds: int) -> int:
        """Return the pattern number at a time of day. [0.1 s]"""
        return self.hours[time_of_day_ds % DAY_DS // HOUR_DS]

    def next_pattern_change_ds(self, time_of_day_ds: int) -> int:
        """Return when the hour, and with it perhaps the pattern, changes next. [0.1 s]"""
        return (time_of_day_ds // HOUR_DS + 1) * HOUR_DS

    def may_enter_uncalled(self, phase: int, omits: int) -> bool:
        """Tell whether a phase is a dual-entry partner that nothing omits."""
        return bool(self.dual_entry & ~omits & phase_bit(phase))


def _compile_phase(phase: Phase) -> PhaseTiming:
    durations = {
        "walk": to_ds(phase.walk_s),
        "ped_clear": to_ds(phase.ped_clear_s),
        "yellow": to_ds(phase.yellow_s),
        "red_clear": to_ds(phase.red_clear_s),
    }
    return PhaseTiming(
        min_green_ds=to_ds(phase.min_green_s),
        max_green_ds=to_ds(phase.max_green_s),
        passage_ds=to_ds(phase.passage_s),
        duration_ds=durations,
    )


def _compile_pattern(plan: SitePlan, pattern: Pattern) -> PatternTiming:
    by_number = {phase.number: phase for phase in plan.phases}
    starts: dict[int, int] = {}
    green_ends: dict[int, int] = {}
    for ring in plan.rings:
        at_ds = 0
        for number in (number for barrier in ring for number in barrier):
            phase = by_number[number]
            starts[number] = at_ds
            at_ds += to_ds(pattern.splits[str(number)])
            green_ends[number] = at_ds - to_ds(phase.yellow_s) - to_ds(phase.red_clear_s)
    return PatternTiming(to_ds(pattern.cycle_s), to_ds(pattern.offset_s), starts, green_ends)


def compile_plan(plan: SitePlan) -> CorePlan:
    """Return a checked plan in the core's own terms."""
    barriers = len(plan.rings[0])
    barrier_masks = tuple(
        phase_mask(number for ring in plan.rings for number in ring[barrier]) for barrier in range(barriers)
    )
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
    return CorePlan(
        phases={phase.number: _compile_phase(phase) for phase in plan.phases},
        rings=plan.rings,
        later=later,
        ring_masks=tuple(tuple(phase_mask(numbers) for numbers in ring) for ring in plan.rings),
        barrier_masks=barrier_masks,
        all_phases=phase_mask(phase.number for phase in plan.phases),
        has_walk=phase_mask(phase.number for phase in plan.phases if phase.walk_s > 0),
        ped_recall=phase_mask(phase.number for phase in plan.phases if phase.ped_recall),
        vehicle_recall=phase_mask(phase.number for phase in plan.phases if phase.vehicle_recall != "none"),
        dual_entry=phase_mask(phase.number for phase in plan.phases if phase.dual_entry),
        patterns={pattern.number: _compile_pattern(plan, pattern) for pattern in plan.patterns},
        hours=tuple(hours) if plan.patterns else (),
    )

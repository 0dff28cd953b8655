"""When each phase of a pattern is green, yellow, red and walked in one cycle: what is drawn and listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .plan import SitePlan
from .timing import CorePlan, PatternTiming, PhaseTiming, compile_plan

Lamp = Literal["green", "yellow", "red_clear", "walk", "ped_clear"]
"""What a span shows: the vehicles' lamps, then the walkers'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One indication from its start to its end in the cycle. [0.1 s]"""

    lamp: Lamp
    from_ds: int
    to_ds: int

    @property
    def seconds(self) -> float:
        """How long it lasts. [s]"""
        return (self.to_ds - self.from_ds) / 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTimes:
    """One phase in the cycle.

    Parameters
    ----------
    phase : its number.
    ring, barrier : its place, both counted from 0.
    from_ds, to_ds : its split. [0.1 s]
    vehicles : green, yellow and red clearance; a rest of the split is red (the other ring still clears).
    walkers : walk and pedestrian clearance; empty without a crossing.
    """

    phase: int
    ring: int
    barrier: int
    from_ds: int
    to_ds: int
    vehicles: tuple[Span, ...]
    walkers: tuple[Span, ...]

    def seconds(self, lamp: Lamp) -> float:
        """Return how long a lamp is lit; 0 if never. [s]"""
        return sum(each.seconds for each in (*self.vehicles, *self.walkers) if each.lamp == lamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternTimes:
    """One cycle of a pattern, from its first barrier on.

    Parameters
    ----------
    number : of the pattern.
    cycle_ds : its length. [0.1 s]
    barriers_ds : end of each barrier group, ascending; the last is the cycle. [0.1 s]
    phases : ascending by number.
    """

    number: int
    cycle_ds: int
    barriers_ds: tuple[int, ...]
    phases: tuple[PhaseTimes, ...]


def pattern_times(plan: SitePlan, number: int | None = None) -> PatternTimes:
    """Return one cycle of a pattern with every split used in full and every walk served.

    Parameters
    ----------
    plan : a checked plan.
    number : of the pattern; None: the plan's first.

    Raises
    ------
    ValueError : the plan has no such pattern.
    """
    numbers = [each.number for each in plan.patterns]
    chosen = numbers[0] if number is None and numbers else number
    if chosen not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise ValueError(f"{plan.site.id} has no pattern {number}; its patterns are: {known}")
    core = compile_plan(plan)
    pattern = core.patterns[chosen]
    ends_ds = [0] * len(plan.rings[0])
    for phase in plan.phase_numbers:
        barrier = plan.place_of(phase)[1]
        ends_ds[barrier] = max(ends_ds[barrier], pattern.start_ds[phase] + pattern.split_ds[phase])
    return PatternTimes(
        number=chosen,
        cycle_ds=pattern.cycle_ds,
        barriers_ds=tuple(ends_ds),
        phases=tuple(_phase_times(plan, core, pattern, phase) for phase in plan.phase_numbers),
    )


def _phase_times(plan: SitePlan, core: CorePlan, pattern: PatternTiming, number: int) -> PhaseTimes:
    timing = core.phases[number]
    ring, barrier = plan.place_of(number)
    start_ds, green_end_ds = pattern.start_ds[number], pattern.green_end_ds[number]
    yellow_end_ds = green_end_ds + timing.duration_ds["yellow"]
    return PhaseTimes(
        phase=number,
        ring=ring,
        barrier=barrier,
        from_ds=start_ds,
        to_ds=start_ds + pattern.split_ds[number],
        vehicles=(
            Span(lamp="green", from_ds=start_ds + timing.duration_ds["leading_walk"], to_ds=green_end_ds),
            Span(lamp="yellow", from_ds=green_end_ds, to_ds=yellow_end_ds),
            Span(lamp="red_clear", from_ds=yellow_end_ds, to_ds=green_end_ds + timing.clear_ds),
        ),
        walkers=_walkers(plan, timing, number, start_ds, green_end_ds),
    )


def _walkers(
    plan: SitePlan, timing: PhaseTiming, number: int, start_ds: int, green_end_ds: int
) -> tuple[Span, ...]:
    if not timing.walks_ds:
        return ()
    walk_ds, clear_ds = timing.duration_ds["walk"], timing.duration_ds["ped_clear"]
    walk_start_ds = start_ds + timing.duration_ds["walk_delay"]
    rests = plan.phase(number).rest_in_walk
    walk_end_ds = max(green_end_ds - clear_ds, walk_start_ds + walk_ds) if rests else walk_start_ds + walk_ds
    return (
        Span(lamp="walk", from_ds=walk_start_ds, to_ds=walk_end_ds),
        Span(lamp="ped_clear", from_ds=walk_end_ds, to_ds=walk_end_ds + clear_ds),
    )

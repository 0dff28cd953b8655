"""The rules of a site plan on times: greens, walks, clearances, splits, cycles and hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from .errors import PlanFault, plan_fault

if TYPE_CHECKING:
    from .plan import Crossing, Limits, Pattern, Phase, SitePlan

WIDE_LANES = 3
"""From so many lanes on, a crossing needs the longer minimum walk (DESIGN, refused at load). [lanes]"""
HOURS_A_DAY = 24
TOLERANCE_S = 1e-6
"""Sums of times with one decimal are compared with this much slack. [s]"""


def needed_service_s(crossing: Crossing, limits: Limits) -> float:
    """Return the least walk + clearance of a crossing, in s: entry time + length / design speed."""
    return limits.entry_time_s + crossing.length_m / limits.design_speed_mps


def least_service_s(phase: Phase) -> float:
    """Return the shortest green of a phase with its walk: leading or delayed walk included. [s]"""
    walked_s = phase.walk_s + phase.ped_clear_s + phase.walk_delay_s if phase.walk_s else 0.0
    return max(phase.min_green_s + phase.leading_walk_s, walked_s)


def timing_faults(plan: SitePlan) -> Iterator[PlanFault]:
    """Yield the faults in the phases' own times."""
    crossings = {crossing.id: crossing for crossing in plan.crossings}
    for phase in plan.phases:
        yield from _vehicle_faults(phase, plan.limits)
        walked = [crossings[name] for name in phase.crossings if name in crossings]
        if not phase.crossings:
            yield from _no_walk_faults(phase)
        for crossing in walked:
            yield from _walk_faults(phase, crossing, plan.limits)


def _vehicle_faults(phase: Phase, limits: Limits) -> Iterator[PlanFault]:
    path = f"phases.{phase.number}"
    if phase.min_green_s <= 0:
        yield plan_fault(f"{path}.min_green_s", phase.min_green_s, "must be above 0 s; raise it")
    if phase.max_green_s < phase.min_green_s:
        rule = f"below min_green_s = {phase.min_green_s}; raise it or lower min_green_s"
        yield plan_fault(f"{path}.max_green_s", phase.max_green_s, rule)
    if phase.yellow_s < limits.min_yellow_s:
        rule = f"below {limits.min_yellow_s} s (limits.min_yellow_s, the manual's yellow rule); raise it"
        yield plan_fault(f"{path}.yellow_s", phase.yellow_s, rule)


def _no_walk_faults(phase: Phase) -> Iterator[PlanFault]:
    for name in ("walk_s", "ped_clear_s", "ped_recall"):
        value = getattr(phase, name)
        if value:
            rule = "the phase has no crossing to walk on; remove it or name the crossing"
            yield plan_fault(f"phases.{phase.number}.{name}", value, rule)


def _walk_faults(phase: Phase, crossing: Crossing, limits: Limits) -> Iterator[PlanFault]:
    path = f"phases.{phase.number}"
    is_wide = crossing.lanes >= WIDE_LANES
    name = "min_walk_wide_s" if is_wide else "min_walk_s"
    least_walk_s = getattr(limits, name)
    if phase.walk_s < least_walk_s:
        rule = f"below {least_walk_s} s (limits.{name}, crossing {crossing.id}); raise it"
        yield plan_fault(f"{path}.walk_s", phase.walk_s, rule)
    clearance_s = crossing.length_m / limits.clearance_speed_mps
    if phase.ped_clear_s < clearance_s - TOLERANCE_S:
        rule = (
            f"below {clearance_s:.1f} s = {crossing.length_m} m of crossing {crossing.id} at "
            f"{limits.clearance_speed_mps} m/s (limits.clearance_speed_mps); raise it"
        )
        yield plan_fault(f"{path}.ped_clear_s", phase.ped_clear_s, rule)
    needed_s = needed_service_s(crossing, limits)
    if phase.walk_s + phase.ped_clear_s < needed_s - TOLERANCE_S:
        rule = (
            f"with ped_clear_s = {phase.ped_clear_s} below {needed_s:.1f} s = "
            f"entry time {limits.entry_time_s} s + "
            f"{crossing.length_m} m of crossing {crossing.id} at {limits.design_speed_mps} m/s "
            "(limits.design_speed_mps); raise it"
        )
        yield plan_fault(f"{path}.walk_s", phase.walk_s, rule)


def pattern_faults(plan: SitePlan) -> Iterator[PlanFault]:
    """Yield the faults in the patterns' splits, cycles, offsets and hours."""
    for pattern in plan.patterns:
        yield from _split_faults(plan, pattern)
        if pattern.offset_s >= pattern.cycle_s:
            rule = f"must be below the cycle of {pattern.cycle_s} s; take cycles off it"
            yield plan_fault(f"patterns.{pattern.number}.offset_s", pattern.offset_s, rule)
    yield from _hour_faults(plan)


def _split_faults(plan: SitePlan, pattern: Pattern) -> Iterator[PlanFault]:
    path = f"patterns.{pattern.number}.splits"
    numbers = {str(phase.number): phase.number for phase in plan.phases}
    for name in sorted(numbers.keys() - pattern.splits.keys()):
        yield plan_fault(f"{path}.{name}", "missing", "splits name every phase; add it")
    for name, split_s in pattern.splits.items():
        if name not in numbers:
            yield plan_fault(f"{path}.{name}", split_s, "no such phase in the plan; remove it")
        elif split_s < plan.minimum_split_s(numbers[name]) - TOLERANCE_S:
            least_s = plan.minimum_split_s(numbers[name])
            rule = f"below {least_s} s = longer of min green and walk + clearance, + yellow + red; raise it"
            yield plan_fault(f"{path}.{name}", split_s, rule)
    placed = {number for ring in plan.rings for barrier in ring for number in barrier}
    is_whole = numbers.keys() == pattern.splits.keys() and placed == set(numbers.values())
    if is_whole and len({len(ring) for ring in plan.rings}) == 1:
        yield from _sum_faults(plan, pattern)


def _sum_faults(plan: SitePlan, pattern: Pattern) -> Iterator[PlanFault]:
    path = f"patterns.{pattern.number}"
    cycle_s = 0.0
    for barrier in range(len(plan.rings[0])):
        groups = [ring[barrier] for ring in plan.rings if ring[barrier]]
        sums_s = [round(sum(pattern.splits[str(number)] for number in group), 1) for group in groups]
        if len(set(sums_s)) > 1:
            value = " and ".join(
                f"{sum_s} s in phases {' + '.join(str(number) for number in group)}"
                for group, sum_s in zip(groups, sums_s, strict=True)
            )
            rule = f"splits of barrier {barrier + 1} must sum to the same in every ring; even them out"
            yield plan_fault(f"{path}.splits", value, rule)
        cycle_s += max(sums_s, default=0.0)
    if abs(cycle_s - pattern.cycle_s) > TOLERANCE_S:
        rule = f"the splits' barriers sum to {cycle_s:.1f} s; make the cycle that or correct the splits"
        yield plan_fault(f"{path}.cycle_s", pattern.cycle_s, rule)


def _hour_faults(plan: SitePlan) -> Iterator[PlanFault]:
    runs: Counter[int] = Counter()
    for pattern in plan.patterns:
        for start, end in pattern.hours:
            if not 0 <= start < end <= HOURS_A_DAY:
                rule = "hours run from 0 to 24, the first below the second; split a night at midnight"
                yield plan_fault(f"patterns.{pattern.number}.hours", [start, end], rule)
            else:
                runs.update(range(start, end))
    wrong = [hour for hour in range(HOURS_A_DAY) if runs[hour] != 1]
    for start, end in _stretches(wrong):
        found = "no pattern" if runs[start] == 0 else f"{runs[start]} patterns"
        rule = "each hour of the day has one pattern; correct the patterns' hours"
        yield plan_fault("patterns.hours", f"{found} from {start} to {end} h", rule)


def _stretches(hours: list[int]) -> list[tuple[int, int]]:
    """Return ascending hours as [from, to) stretches."""
    if not hours:
        return []
    breaks = [later for earlier, later in pairwise(hours) if later != earlier + 1]
    starts = [hours[0], *breaks]
    ends = [hours[hours.index(start) - 1] + 1 for start in breaks] + [hours[-1] + 1]
    return list(zip(starts, ends, strict=True))

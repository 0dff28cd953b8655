"""The rules of a site plan on what a cabinet does beyond one phase: overlaps, preemption, coordination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from .errors import PlanFault, plan_fault

if TYPE_CHECKING:
    from .plan import Pattern, SitePlan

BACKUP_MARGIN_S = 5.0
"""By so much the backup time must exceed the longest extension (FIELD, backup). [s] [M]"""

LEAST_PHASES = 2
"""An overlap of fewer phases is a phase. [phases]"""


def cabinet_faults(plan: SitePlan) -> Iterator[PlanFault]:
    """Yield the faults in overlaps, shared crossings, preemptions, walks out of line, unit and patterns."""
    for rule in (
        _overlap_faults,
        _shared_crossing_faults,
        _preempt_faults,
        _walk_order_faults,
        _maximum_faults,
        _unit_faults,
        _coordination_faults,
    ):
        yield from rule(plan)


def _are_concurrent(plan: SitePlan, first: int, second: int) -> bool:
    places = plan.places
    if first not in places or second not in places:
        return False
    return places[first][0] != places[second][0] and places[first][1] == places[second][1]


def _overlap_faults(plan: SitePlan) -> Iterator[PlanFault]:
    own = {name for phase in plan.phases for name in phase.movements}
    served = Counter(name for overlap in plan.overlaps for name in overlap.movements)
    for name in (name for name, count in served.items() if count > 1):
        yield plan_fault(
            "overlaps", f"{name} in {served[name]} overlaps", "a movement has one overlap; keep one"
        )
    for overlap in plan.overlaps:
        path = f"overlaps.{overlap.id}"
        if not overlap.movements:
            yield plan_fault(f"{path}.movements", "[]", "it serves nothing; name its movements")
        for name in own.intersection(overlap.movements):
            yield plan_fault(f"{path}.movements", name, "it is in a phase too; name it once")
        yield from _overlap_phase_faults(plan, f"{path}.phases", overlap.phases)


def _overlap_phase_faults(plan: SitePlan, path: str, numbers: tuple[int, ...]) -> Iterator[PlanFault]:
    if len(set(numbers)) < max(len(numbers), LEAST_PHASES):
        rule = "an overlap goes on from one phase to another: name two or more, each once"
        yield plan_fault(path, list(numbers), rule)
    for first, second in combinations(numbers, 2):
        if _are_concurrent(plan, first, second):
            rule = "one may start while the other ends: it would go from yellow to green; keep one"
            yield plan_fault(path, f"{first} and {second} run together", rule)
    for phase in plan.phases:
        if phase.number in numbers and phase.leading_walk_s:
            rule = "it starts with walk alone, in which the overlap could not stay green"
            yield plan_fault(path, phase.number, f"{rule}; remove it or its leading_walk_s")


def _shared_crossing_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for crossing in plan.crossings:
        numbers = [phase.number for phase in plan.phases if crossing.id in phase.crossings]
        for first, second in combinations(numbers, 2):
            if _are_concurrent(plan, first, second):
                rule = "a crossing walks in phases that never run together; keep one of them"
                yield plan_fault(f"crossings.{crossing.id}", f"in phases {first} and {second}", rule)


def _preempt_faults(plan: SitePlan) -> Iterator[PlanFault]:
    counts = Counter(preempt.number for preempt in plan.preempts)
    for number in (number for number, count in counts.items() if count > 1):
        yield plan_fault(f"preempts.{number}", "given more than once", "each is given once; remove one")
    for preempt in plan.preempts:
        path = f"preempts.{preempt.number}"
        if not preempt.phases:
            yield plan_fault(f"{path}.phases", "[]", "it holds nothing; name the phases to be held green")
        yield from _together_faults(plan, f"{path}.phases", preempt.phases)
        yield from _together_faults(plan, f"{path}.exit_phases", preempt.exit_phases)


def _together_faults(plan: SitePlan, path: str, numbers: tuple[int, ...]) -> Iterator[PlanFault]:
    """Yield a fault for phases that are to be green at once and cannot be."""
    places = plan.places
    for first, second in combinations(numbers, 2):
        if {first, second} <= places.keys() and not _are_concurrent(plan, first, second):
            rule = "they never run together; name one phase per ring, of one barrier"
            yield plan_fault(path, f"{first} and {second}", rule)


def _walk_order_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for phase in plan.phases:
        path = f"phases.{phase.number}"
        for name in ("walk_delay_s", "leading_walk_s"):
            value_s = getattr(phase, name)
            if value_s and not phase.crossings:
                yield plan_fault(f"{path}.{name}", value_s, "the phase has no crossing to walk on; remove it")
        if phase.leading_walk_s > phase.walk_s and phase.crossings:
            rule = f"walk itself lasts {phase.walk_s} s; lower it or raise walk_s"
            yield plan_fault(f"{path}.leading_walk_s", phase.leading_walk_s, rule)
        if phase.leading_walk_s and phase.walk_delay_s:
            yield plan_fault(
                f"{path}.walk_delay_s", phase.walk_delay_s, "walk leads already; remove one of them"
            )


def _maximum_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for phase in plan.phases:
        path = f"phases.{phase.number}"
        for name in ("max_green_2_s", "dynamic_max_s"):
            value_s = getattr(phase, name)
            if value_s is not None and value_s < phase.min_green_s:
                rule = f"below min_green_s = {phase.min_green_s}; raise it"
                yield plan_fault(f"{path}.{name}", value_s, rule)
        if (phase.dynamic_max_s is None) == (phase.dynamic_step_s > 0):
            rule = "a dynamic max has a limit (dynamic_max_s) and a step above 0; give both or neither"
            yield plan_fault(f"{path}.dynamic_step_s", phase.dynamic_step_s, rule)
        if phase.conditional_service and phase.crossings:
            rule = "what is served conditionally may have no walk; move the crossing or set it to false"
            yield plan_fault(f"{path}.conditional_service", "true", rule)


def _unit_faults(plan: SitePlan) -> Iterator[PlanFault]:
    yield from _together_faults(plan, "unit.main_phases", plan.unit.main_phases)
    walked = {name for phase in plan.phases for name in phase.crossings}
    longest_s = max((plan.extension_max_s(c.id) for c in plan.crossings if c.id in walked), default=0.0)
    if plan.unit.backup_s and plan.unit.backup_s <= longest_s + BACKUP_MARGIN_S:
        rule = (
            "a lost link would drop a hold on a walker: raise it above the longest extension, "
            f"{longest_s} s, + {BACKUP_MARGIN_S} s, or set 0"
        )
        yield plan_fault("unit.backup_s", plan.unit.backup_s, rule)


def _coordination_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for pattern in plan.patterns:
        path = f"patterns.{pattern.number}"
        is_coordinated = pattern.mode == "coordinated"
        if is_coordinated != bool(pattern.coordinated):
            rule = "a coordinated pattern names its coordinated phases, a pretimed one names none"
            yield plan_fault(
                f"{path}.coordinated", list(pattern.coordinated), f"{rule}; correct mode or phases"
            )
        yield from _together_faults(plan, f"{path}.coordinated", pattern.coordinated)
        if not is_coordinated:
            yield from _pretimed_faults(path, pattern)


def _pretimed_faults(path: str, pattern: Pattern) -> Iterator[PlanFault]:
    rule = "only a coordinated pattern has it; remove it or set mode"
    if pattern.force_off == "floating":
        yield plan_fault(f"{path}.force_off", pattern.force_off, rule)
    if pattern.permissive_s is not None:
        yield plan_fault(f"{path}.permissive_s", pattern.permissive_s, rule)


def references(plan: SitePlan) -> Iterator[tuple[str, str, object]]:
    """Yield (path, kind, name) of every phase and movement that these parts name."""
    named: list[tuple[str, tuple[int, ...]]] = [("unit.main_phases", plan.unit.main_phases)]
    for preempt in plan.preempts:
        named.append((f"preempts.{preempt.number}.phases", preempt.phases))
        named.append((f"preempts.{preempt.number}.exit_phases", preempt.exit_phases))
    named += [(f"patterns.{p.number}.coordinated", p.coordinated) for p in plan.patterns]
    for overlap in plan.overlaps:
        named.append((f"overlaps.{overlap.id}.phases", overlap.phases))
        yield from ((f"overlaps.{overlap.id}.movements", "movement", name) for name in overlap.movements)
    for path, numbers in named:
        yield from ((path, "phase", number) for number in numbers)

"""The rules of a site plan that reach across fields; a plan that breaks one is refused.

Each rule is a function from the plan to its faults, and bears faults of the other rules: a name that
exists nowhere is reported once, by `_reference_faults`, and passed over by the rest.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import BaseModel

from .cabinet_checks import cabinet_faults, references
from .errors import PlanFault, plan_fault
from .geometry import fits_turn, neighbours, turn_angle_deg
from .plan_parts import EXTENSION_MAX_RANGE_S
from .timing_checks import TOLERANCE_S, pattern_faults, timing_faults

if TYPE_CHECKING:
    from .plan import Movement, Phase, SitePlan

SERVICE_BOUND_MAX_S = 300.0
"""Longest bound on the time to any call's service that a plan may promise (DESIGN). [s] [A]"""
FLOORS_S = {"min_yellow_s": 3.0, "min_walk_s": 4.0, "min_walk_wide_s": 7.0}
"""What a plan's own limits may not go under (DESIGN: refused at load). [s] [S] [M]"""
LEGS_WITH_NEIGHBOURS = 3
"""From so many legs on, a leg's two neighbours are different legs. [legs]"""
REFUGE = "island"
"""Name of the kerb of a two-stage crossing that is no leg."""


def plan_faults(plan: SitePlan) -> tuple[PlanFault, ...]:
    """Return everything wrong in a plan whose fields are all well formed, in the file's order of rules."""
    rules = (
        _decimal_faults,
        _limit_faults,
        _identity_faults,
        _reference_faults,
        _leg_faults,
        _movement_faults,
        _crossing_faults,
        _detector_faults,
        _membership_faults,
        _ring_faults,
        _movement_conflict_faults,
        _crossing_conflict_faults,
        _yield_faults,
        timing_faults,
        pattern_faults,
        cabinet_faults,
        _service_faults,
        _ntcip_faults,
    )
    faults = [fault for rule in rules for fault in rule(plan)]
    return tuple(dict.fromkeys(faults))


def _decimal_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for path, value in _seconds_in(plan, ""):
        if abs(value * 10 - round(value * 10)) > TOLERANCE_S:
            yield plan_fault(path, value, "times have one decimal at most; round it towards safety")


def _seconds_in(part: BaseModel, prefix: str) -> Iterator[tuple[str, float]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        path = f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _seconds_in(value, f"{path}.")
        elif name == "splits":
            yield from ((f"{path}.{phase}", split_s) for phase, split_s in value.items())
        elif isinstance(value, tuple):
            for element in value:
                if isinstance(element, BaseModel):
                    yield from _seconds_in(element, f"{path}.{_identity(element)}.")
        elif name.endswith("_s") and value is not None:
            yield path, value


def _identity(part: BaseModel) -> str:
    return str(getattr(part, "number", getattr(part, "id", "")))


def _limit_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for name, floor_s in FLOORS_S.items():
        value_s = getattr(plan.limits, name)
        if value_s < floor_s:
            yield plan_fault(
                f"limits.{name}", value_s, f"below {floor_s} s, which no plan may go under; raise it"
            )
    if plan.limits.service_bound_s > SERVICE_BOUND_MAX_S:
        rule = f"above {SERVICE_BOUND_MAX_S} s, the longest any call may wait; lower it"
        yield plan_fault("limits.service_bound_s", plan.limits.service_bound_s, rule)


def _identity_faults(plan: SitePlan) -> Iterator[PlanFault]:
    named: dict[str, Iterable[object]] = {
        "legs": [leg.id for leg in plan.legs],
        "movements": [movement.id for movement in plan.movements],
        "crossings": [crossing.id for crossing in plan.crossings],
        "phases": [phase.number for phase in plan.phases],
        "patterns": [pattern.number for pattern in plan.patterns],
        "detectors": [detector.id for detector in plan.detectors],
        "overlaps": [overlap.id for overlap in plan.overlaps],
        "yields": [f"{pair.movement} across {pair.crossing}" for pair in plan.yields],
    }
    for table, names in named.items():
        for name in _repeated(names):
            yield plan_fault(
                f"{table}.{name}", "given more than once", "each is given once; rename or remove one"
            )
    links = [link for movement in plan.movements for link in movement.sumo_links]
    links += [crossing.sumo_link for crossing in plan.crossings]
    for link in _repeated(links):
        users = [m.id for m in plan.movements if link in m.sumo_links]
        users += [c.id for c in plan.crossings if c.sumo_link == link]
        rule = "one signal link belongs to one movement or crossing; correct sumo_links / sumo_link"
        yield plan_fault("sumo links", f"{link} of {' and '.join(users)}", rule)
    gaps = sorted(set(range(len(links))) - set(links))
    if gaps and len(set(links)) == len(links):
        rule = "signal links are numbered from 0 without gaps; correct sumo_links / sumo_link"
        yield plan_fault("sumo links", f"{sorted(links)} without {gaps}", rule)
    for sumo_id in _repeated(detector.sumo_id for detector in plan.detectors):
        yield plan_fault(
            "detectors.sumo_id", sumo_id, "one SUMO lane or loop per detector; correct one of them"
        )


def _repeated(names: Iterable[object]) -> list[object]:
    return [name for name, count in Counter(names).items() if count > 1]


def _reference_faults(plan: SitePlan) -> Iterator[PlanFault]:
    known: dict[str, set[object]] = {
        "leg": {leg.id for leg in plan.legs},
        "movement": {movement.id for movement in plan.movements},
        "crossing": {crossing.id for crossing in plan.crossings},
        "phase": {phase.number for phase in plan.phases},
    }
    for path, kind, name in (*_references(plan), *references(plan)):
        if name not in known[kind] and not (path.endswith(".kerbs") and name == REFUGE):
            have = ", ".join(str(each) for each in sorted(known[kind], key=str)) or "none"
            yield plan_fault(path, name, f"no such {kind} in the plan; use one of: {have}")


def _references(plan: SitePlan) -> Iterator[tuple[str, str, object]]:
    for movement in plan.movements:
        yield f"movements.{movement.id}.from_leg", "leg", movement.from_leg
        yield f"movements.{movement.id}.to_leg", "leg", movement.to_leg
    for crossing in plan.crossings:
        yield f"crossings.{crossing.id}.leg", "leg", crossing.leg
        yield from ((f"crossings.{crossing.id}.kerbs", "leg", leg) for leg in crossing.kerbs)
    for phase in plan.phases:
        yield from ((f"phases.{phase.number}.movements", "movement", name) for name in phase.movements)
        yield from ((f"phases.{phase.number}.crossings", "crossing", name) for name in phase.crossings)
    for index, ring in enumerate(plan.rings, start=1):
        yield from ((f"rings.{index}", "phase", number) for barrier in ring for number in barrier)
    for detector in plan.detectors:
        yield f"detectors.{detector.id}.leg", "leg", detector.leg
        yield from ((f"detectors.{detector.id}.phases", "phase", number) for number in detector.phases)
    for pair in plan.yields:
        path = f"yields.{pair.movement} across {pair.crossing}"
        yield path, "movement", pair.movement
        yield path, "crossing", pair.crossing


def _leg_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for first, second in combinations(plan.legs, 2):
        if first.bearing_deg == second.bearing_deg:
            rule = f"leg {first.id} has the same bearing, so their order is unknown; measure both"
            yield plan_fault(f"legs.{second.id}.bearing_deg", second.bearing_deg, rule)


def _movement_faults(plan: SitePlan) -> Iterator[PlanFault]:
    legs = {leg.id: leg for leg in plan.legs}
    for movement in plan.movements:
        path = f"movements.{movement.id}"
        if not movement.sumo_links or min(movement.sumo_links) < 0:
            rule = "a movement needs its SUMO signal links, counted from 0; list them"
            yield plan_fault(f"{path}.sumo_links", list(movement.sumo_links), rule)
        if movement.right_turn_on_red and movement.turn != "right":
            rule = f"only a right turn may go on red and this one is {movement.turn}; set it to false"
            yield plan_fault(f"{path}.right_turn_on_red", "true", rule)
        if movement.from_leg in legs:
            lanes_in = legs[movement.from_leg].lanes_in
            if not movement.lanes or any(not 1 <= lane <= lanes_in for lane in movement.lanes):
                rule = (
                    f"lanes of leg {movement.from_leg} are 1 to {lanes_in} from the kerb; name at least one"
                )
                yield plan_fault(f"{path}.lanes", list(movement.lanes), rule)
        if movement.to_leg in legs and legs[movement.to_leg].lanes_out == 0:
            yield plan_fault(
                f"{path}.to_leg", movement.to_leg, "this leg has no lane out; correct one of the two"
            )
        if {movement.from_leg, movement.to_leg} <= legs.keys():
            yield from _turn_faults(plan, movement)


def _turn_faults(plan: SitePlan, movement: Movement) -> Iterator[PlanFault]:
    path = f"movements.{movement.id}.turn"
    if movement.from_leg == movement.to_leg:
        if movement.turn != "u_turn":
            yield plan_fault(path, movement.turn, "it ends on its own leg; call it u_turn or correct to_leg")
        return
    legs = {leg.id: leg for leg in plan.legs}
    angle_deg = turn_angle_deg(legs[movement.from_leg].bearing_deg, legs[movement.to_leg].bearing_deg)
    if not fits_turn(movement.turn, angle_deg):
        side = "right" if angle_deg > 0 else "left"
        rule = f"by the legs' bearings it turns {abs(angle_deg):.0f} deg to the {side}; correct turn or legs"
        yield plan_fault(path, movement.turn, rule)


def _crossing_faults(plan: SitePlan) -> Iterator[PlanFault]:
    shortest_s, longest_s = EXTENSION_MAX_RANGE_S
    legs = {leg.id for leg in plan.legs}
    for crossing in plan.crossings:
        path = f"crossings.{crossing.id}"
        if crossing.sumo_link < 0:
            yield plan_fault(
                f"{path}.sumo_link", crossing.sumo_link, "SUMO signal links count from 0; correct it"
            )
        given_s = crossing.extension_max_s
        if given_s is not None and not shortest_s <= given_s <= longest_s:
            rule = f"a maximum is {shortest_s} to {longest_s} s; correct it, or leave it out for the default"
            yield plan_fault(f"{path}.extension_max_s", given_s, rule)
        if crossing.leg not in legs or len(legs) < LEGS_WITH_NEIGHBOURS or not set(crossing.kerbs) <= legs:
            continue
        expected = neighbours(crossing.leg, plan.legs)
        if set(crossing.kerbs) != set(expected):
            rule = f"the kerbs of a crossing over leg {crossing.leg} are its neighbours; name {expected}"
            yield plan_fault(f"{path}.kerbs", list(crossing.kerbs), rule)


def _detector_faults(plan: SitePlan) -> Iterator[PlanFault]:
    lanes_in = {leg.id: leg.lanes_in for leg in plan.legs}
    for detector in plan.detectors:
        if detector.lane > lanes_in.get(detector.leg, detector.lane):
            rule = f"leg {detector.leg} has lanes 1 to {lanes_in[detector.leg]} in; correct leg or lane"
            yield plan_fault(f"detectors.{detector.id}.lane", detector.lane, rule)
        if not detector.phases:
            yield plan_fault(
                f"detectors.{detector.id}.phases", "[]", "it calls no phase; name those it serves"
            )


def _membership_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for crossing in plan.crossings:
        phases = [phase.number for phase in plan.phases for name in phase.crossings if name == crossing.id]
        if not phases:
            rule = "it never gets walk; name it in the crossings of its adjacent through phase"
            yield plan_fault(f"crossings.{crossing.id}", "in no phase", rule)
        elif len(set(phases)) < len(phases):
            value = f"in phases {_joined(phases)}"
            yield plan_fault(f"crossings.{crossing.id}", value, "named twice in a phase; remove one")
    served = {name for phase in plan.phases for name in phase.movements}
    served |= {name for overlap in plan.overlaps for name in overlap.movements}
    for movement in plan.movements:
        if movement.id not in served:
            rule = "it never gets green; name it in the movements of a phase"
            yield plan_fault(f"movements.{movement.id}", "in no phase", rule)
    for phase in plan.phases:
        if not phase.movements and not phase.crossings:
            yield plan_fault(
                f"phases.{phase.number}", "empty", "it serves nothing; give it a movement or a crossing"
            )
        for name in _repeated(phase.movements):
            yield plan_fault(f"phases.{phase.number}.movements", name, "named twice; remove one")


def _ring_faults(plan: SitePlan) -> Iterator[PlanFault]:
    places = Counter(number for ring in plan.rings for barrier in ring for number in barrier)
    for phase in plan.phases:
        count = places[phase.number]
        if count != 1:
            value = "in no ring" if count == 0 else f"{count} times in the rings"
            why = "it is unreachable; put it" if count == 0 else "a phase has one place; keep it"
            yield plan_fault(f"phases.{phase.number}", value, f"{why} in one barrier of one ring")
    counts = [len(ring) for ring in plan.rings]
    if not counts or 0 in counts or len(set(counts)) > 1:
        value = f"{_joined(counts) or 'no'} barriers"
        yield plan_fault(
            "rings", value, "every ring has the same number of barriers, one at least; even them out"
        )
        return
    for barrier in range(counts[0]):
        if not any(ring[barrier] for ring in plan.rings):
            yield plan_fault("rings", f"barrier {barrier + 1} empty", "a barrier needs a phase; remove it")


def _joined(items: Iterable[object]) -> str:
    return " and ".join(str(item) for item in items)


def _phases_together(plan: SitePlan) -> Iterator[tuple[Phase, Phase]]:
    """Yield each phase with itself, and each pair that may run together."""
    for phase in plan.phases:
        yield phase, phase
    places: dict[int, set[tuple[int, int]]] = {phase.number: set() for phase in plan.phases}
    for ring_index, ring in enumerate(plan.rings):
        for barrier, numbers in enumerate(ring):
            for number in numbers:
                places.get(number, set()).add((ring_index, barrier))
    for first, second in combinations(plan.phases, 2):
        if any(
            ring != other_ring and barrier == other_barrier
            for ring, barrier in places[first.number]
            for other_ring, other_barrier in places[second.number]
        ):
            yield first, second


def _movement_conflict_faults(plan: SitePlan) -> Iterator[PlanFault]:
    known = _resolved_movements(plan)
    for first, second in _phases_together(plan):
        is_same = first is second
        pairs = (
            combinations(plan.movements_of(first.number), 2)
            if is_same
            else itertools.product(plan.movements_of(first.number), plan.movements_of(second.number))
        )
        for a, b in pairs:
            if {a, b} <= known and plan.movement_relation(a, b) == "conflict":
                where = "in one phase" if is_same else f"in phase {second.number}, which may run with it"
                rule = "conflict, their ways cross or merge; put them in phases that never run together"
                yield plan_fault(f"phases.{first.number}.movements", f"{a} and {b} {where}", rule)


def _resolved_movements(plan: SitePlan) -> set[str]:
    legs = {leg.id for leg in plan.legs}
    return {m.id for m in plan.movements if {m.from_leg, m.to_leg} <= legs}


def _crossing_conflict_faults(plan: SitePlan) -> Iterator[PlanFault]:
    for movement, movement_phase, crossing, crossing_phase in _meetings(plan):
        if plan.relation(movement, crossing) != "conflict":
            continue
        if movement_phase == crossing_phase:
            where, rule = "", "never in one phase"
        else:
            where = f" in phase {crossing_phase}, which may run with it"
            rule = "a hold could not keep that green from starting"
        rule = f"conflict, {rule}; move the crossing or the movement to phases that never run together"
        yield plan_fault(
            f"phases.{movement_phase}.movements", f"{movement} with crossing {crossing}{where}", rule
        )


def _meetings(plan: SitePlan) -> Iterator[tuple[str, int, str, int]]:
    """Yield (movement, its phase, crossing, its phase) for all that may run together."""
    movements = {movement.id for movement in plan.movements}
    crossings = {crossing.id for crossing in plan.crossings}
    for first, second in _phases_together(plan):
        both = ((first, second),) if first is second else ((first, second), (second, first))
        for served, walked in both:
            for movement in plan.movements_of(served.number):
                for crossing in walked.crossings:
                    if movement in movements and crossing in crossings:
                        yield movement, served.number, crossing, walked.number


def _yield_faults(plan: SitePlan) -> Iterator[PlanFault]:
    relations = {
        (movement, crossing): plan.relation(movement, crossing)
        for movement, _, crossing, _ in _meetings(plan)
    }
    listed = {(pair.movement, pair.crossing) for pair in plan.yields}
    for movement, crossing in (pair for pair, relation in relations.items() if relation == "yield"):
        if (movement, crossing) not in listed:
            rule = "this turn runs across that walk and must yield; list it in yields, or part their phases"
            yield plan_fault("yields", f"{movement} across {crossing} is not listed", rule)
    movements = {movement.id for movement in plan.movements}
    crossings = {crossing.id for crossing in plan.crossings}
    for movement, crossing in sorted(listed):
        if movement not in movements or crossing not in crossings:
            continue
        if relations.get((movement, crossing)) != "yield":
            found = (
                "they never run together" if (movement, crossing) not in relations else "they do not yield"
            )
            relation = plan.relation(movement, crossing)
            rule = f"listed, but {found} (by geometry: {relation}); remove it"
            yield plan_fault(f"yields.{movement} across {crossing}", "superfluous", rule)


def _service_faults(plan: SitePlan) -> Iterator[PlanFault]:
    bound_s = plan.limits.service_bound_s
    if len({len(ring) for ring in plan.rings}) == 1 and plan.worst_service_s > bound_s:
        rule = (
            f"a call may wait {plan.worst_service_s} s (slowest cycle and the extensions' maxima); "
            "lower max_green_s, cycle_s or extension_max_s, or raise the bound (300 s at most)"
        )
        yield plan_fault("limits.service_bound_s", bound_s, rule)


def _ntcip_faults(plan: SitePlan) -> Iterator[PlanFault]:
    if not plan.ntcip:
        return
    numbers = {str(phase.number) for phase in plan.phases}
    for name in sorted(numbers - plan.ntcip.keys()):
        yield plan_fault(f"ntcip.{name}", "missing", "a mapping names every phase, or none; add it")
    for name in sorted(plan.ntcip.keys() - numbers):
        yield plan_fault(f"ntcip.{name}", plan.ntcip[name], "no such phase in the plan; remove it")
    for number in _repeated(plan.ntcip.values()):
        yield plan_fault("ntcip", f"cabinet phase {number} twice", "one cabinet phase per phase; correct one")
    for phase in plan.phases:
        for name in ("walk_s", "ped_clear_s", "min_green_s"):
            value_s = getattr(phase, name)
            if value_s != int(value_s):
                rule = "an NTCIP cabinet stores whole seconds here; round it up"
                yield plan_fault(f"phases.{phase.number}.{name}", value_s, rule)

"""The site plan: the only description of a junction that code reads. Load, validate, explain."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from .errors import PlanError, PlanFault
from .geometry import Relation, circle_points, crossing_relation, movements_relation
from .plan_checks import plan_faults
from .plan_parts import (
    EXTENSION_CLEARANCE_MPS,
    EXTENSION_MAX_RANGE_S,
    EXTENSION_SLOW_MPS,
    OFFSET_CORRECTION_SHARE,
    Crossing,
    Detector,
    Leg,
    Limits,
    Movement,
    Overlap,
    Pattern,
    PermittedYield,
    Phase,
    PhaseNumber,
    PlanPart,
    Preempt,
    Seconds,
    SiteInfo,
    SumoMapping,
    Unit,
)
from .timing_checks import least_service_s

__all__ = [
    "Crossing",
    "Detector",
    "Leg",
    "Limits",
    "Movement",
    "Overlap",
    "Pattern",
    "PermittedYield",
    "Phase",
    "PhaseNumber",
    "Preempt",
    "Seconds",
    "SiteInfo",
    "SitePlan",
    "SumoMapping",
    "Unit",
    "checked_plan",
    "load_plan",
    "parse_plan",
    "plan_json_schema",
]

SHOWN_LENGTH = 60
"""A value in a message is cut to this. [characters]"""

Key = TypeVar("Key")
Value = TypeVar("Value")


class SitePlan(PlanPart):
    """One junction, whole; made by `load_plan`. Derived values are computed once and kept."""

    schema_version: Literal[1]
    site: SiteInfo
    limits: Limits
    legs: tuple[Leg, ...]
    movements: tuple[Movement, ...]
    crossings: tuple[Crossing, ...]
    phases: tuple[Phase, ...]
    rings: tuple[tuple[tuple[PhaseNumber, ...], ...], ...]  # rings[ring][barrier] = phases in order
    patterns: tuple[Pattern, ...]
    detectors: tuple[Detector, ...]
    yields: tuple[PermittedYield, ...]
    sumo: SumoMapping
    ntcip: dict[str, PhaseNumber] = Field(
        default_factory=dict
    )  # plan phase as text -> cabinet phase; empty: the same
    overlaps: tuple[Overlap, ...] = ()
    preempts: tuple[Preempt, ...] = ()
    unit: Unit = Unit()

    def phase(self, number: int) -> Phase:
        """Return a phase by its number; ValueError when the plan has none such."""
        return _found(self._phase_by_number, number, "phase")

    def crossing(self, crossing_id: str) -> Crossing:
        """Return a crossing by its id; ValueError when the plan has none such."""
        return _found(self._crossing_by_id, crossing_id, "crossing")

    def movement(self, movement_id: str) -> Movement:
        """Return a movement by its id; ValueError when the plan has none such."""
        return _found(self._movement_by_id, movement_id, "movement")

    def leg(self, leg_id: str) -> Leg:
        """Return a leg by its id; ValueError when the plan has none such."""
        return _found(self._leg_by_id, leg_id, "leg")

    def phase_of(self, crossing_id: str) -> int:
        """Return the number of the phase a crossing's walk belongs to: the first of `walk_phases`."""
        return self.walk_phases(crossing_id)[0]

    def walk_phases(self, crossing_id: str) -> tuple[int, ...]:
        """Return the phases in which a crossing has walk, ascending; several in a pedestrian overlap."""
        return _found(self._phases_by_crossing, crossing_id, "crossing with a phase")

    def phases_of(self, movement_id: str) -> tuple[int, ...]:
        """Return the numbers of the phases in which a movement is green, ascending; overlaps apart."""
        return tuple(n for n in self.phase_numbers if movement_id in self._phase_by_number[n].movements)

    def movements_of(self, number: int) -> tuple[str, ...]:
        """Return the movements that are green in a phase, those of its overlaps included."""
        overlapping = (m for overlap in self.overlaps if number in overlap.phases for m in overlap.movements)
        return tuple(dict.fromkeys((*self.phase(number).movements, *overlapping)))

    def place_of(self, number: int) -> tuple[int, int]:
        """Return (ring, barrier) of a phase, both counted from 0."""
        return _found(self.places, number, "phase in a ring")

    def concurrent_phases(self, number: int) -> tuple[int, ...]:
        """Return the phases that may run beside a phase: other rings, same barrier; ascending."""
        return _found(self._concurrent, number, "phase in a ring")

    def relation(self, movement_id: str, crossing_id: str) -> Relation:
        """Return how a movement and a crossing meet: `conflict`, `yield` or `free`."""
        return _found(self._crossing_relations, (movement_id, crossing_id), "movement and crossing")

    def movement_relation(self, first: str, second: str) -> Relation:
        """Return how two movements meet: `conflict`, `yield` or `free` (also with itself)."""
        return _found(self._movement_relations, (first, second), "pair of movements")

    def conflicting_phases(self, crossing_id: str) -> tuple[int, ...]:
        """Return the phases with a movement in conflict with a crossing, ascending."""
        return _found(self._conflicting_phases, crossing_id, "crossing")

    def hold_phases(self, crossing_id: str) -> tuple[int, ...]:
        """Return the phases whose hold keeps every green that conflicts with a crossing from starting.

        By the matrix, overlaps included: a held green keeps its own ring and the other barrier groups
        waiting, so it serves if nothing that may run beside it conflicts.
        """
        conflicts = set(self.conflicting_phases(crossing_id))
        return tuple(n for n in self.walk_phases(crossing_id) if not conflicts & {*self.concurrent_phases(n)})

    def clears_after_s(self, crossing_id: str) -> float:
        """Return the least yellow and red clearance that follow a crossing's parent green. [s]"""
        phases = (self.phase(number) for number in self.walk_phases(crossing_id))
        return min(phase.yellow_s + phase.red_clear_s for phase in phases)

    def extension_max_s(self, crossing_id: str) -> float:
        """Return the longest extension of a crossing, in seconds.

        Notes
        -----
        The plan's own figure, else L / 0.5 - L / 1.3 - (yellow + red clearance) rounded up to 0.1 s,
        within 8-45 s: who starts in the last second of walk finishes, down to 0.5 m/s.
        """
        return _found(self._extension_max_s, crossing_id, "crossing with a phase")

    def minimum_split_s(self, number: int) -> float:
        """Return the least split of a phase, in seconds.

        The least service (`timing_checks.least_service_s`), then yellow and red clearance.
        """
        return _found(self._minimum_splits_s, number, "phase")

    def pattern_at(self, hour: float) -> Pattern:
        """Return the pattern that runs at an hour of the day, 0 to below 24."""
        for pattern in self.patterns:
            if any(start <= hour < end for start, end in pattern.hours):
                return pattern
        raise ValueError(f"hour {hour} is not within 0-24")

    def spare_s(self, number: int, pattern: int | None = None) -> float:
        """Return what a phase can give: its split less its minimum split, in seconds.

        Parameters
        ----------
        number : the phase.
        pattern : number of the pattern; None: the pattern in which the phase can give least.
        """
        least_s = self.minimum_split_s(number)
        spares = [
            round(each.splits[str(number)] - least_s, 1)
            for each in self.patterns
            if pattern in (None, each.number)
        ]
        if not spares:
            raise ValueError(f"the plan has no pattern {pattern}")
        return min(spares)

    def retimed(self, design_speed_mps: float) -> SitePlan:
        """Return this plan with walks long enough for another design speed (see `plan_retiming`)."""
        from .plan_retiming import retimed_plan

        return retimed_plan(self, design_speed_mps)

    @cached_property
    def phase_numbers(self) -> tuple[int, ...]:
        """All phase numbers, ascending."""
        return tuple(sorted(self._phase_by_number))

    @cached_property
    def zone_detectors(self) -> tuple[Detector, ...]:
        """Detectors that count those waiting, in the plan's order."""
        return tuple(detector for detector in self.detectors if detector.kind == "zone")

    @cached_property
    def passage_detectors(self) -> tuple[Detector, ...]:
        """Detectors that count those going by, in the plan's order."""
        return tuple(detector for detector in self.detectors if detector.kind == "passage")

    @cached_property
    def worst_service_s(self) -> float:
        """Longest time until any call is served, in seconds: the slowest cycle and the extensions.

        Notes
        -----
        The longer of the longest pattern's cycle, lengthened by offset correction, and free operation
        at its slowest (per barrier the slowest ring of max(minimum split, largest max green + yellow +
        red)), plus per barrier the ring with the most extension. In a coordinated pattern a call may
        just miss its permissive period: then yellow and red of the coordinated phases come on top.
        """
        free_s = extension_s = 0.0
        for barrier in range(max((len(ring) for ring in self.rings), default=0)):
            groups = [
                [n for n in ring[barrier] if n in self._phase_by_number]
                for ring in self.rings
                if barrier < len(ring)
            ]
            free_s += max(sum(self._slowest_s(n) for n in group) for group in groups)
            extension_s += max(sum(self._longest_extension_s(n) for n in group) for group in groups)
        cycle_s = max((self._longest_cycle_s(pattern) for pattern in self.patterns), default=0.0)
        return round(max(free_s, cycle_s) + extension_s, 1)

    def _slowest_s(self, number: int) -> float:
        phase = self._phase_by_number[number]
        maxima_s = (phase.max_green_s, phase.max_green_2_s or 0.0, phase.dynamic_max_s or 0.0)
        return max(self._minimum_splits_s[number], max(maxima_s) + phase.yellow_s + phase.red_clear_s)

    def _longest_cycle_s(self, pattern: Pattern) -> float:
        phases = (self._phase_by_number[n] for n in pattern.coordinated if n in self._phase_by_number)
        leave_s = max((phase.yellow_s + phase.red_clear_s for phase in phases), default=0.0)
        return pattern.cycle_s * (1 + OFFSET_CORRECTION_SHARE) + leave_s

    def _longest_extension_s(self, number: int) -> float:
        ids = self._phase_by_number[number].crossings
        return max((self._extension_max_s.get(crossing_id, 0.0) for crossing_id in ids), default=0.0)

    @cached_property
    def _phase_by_number(self) -> dict[int, Phase]:
        return {phase.number: phase for phase in self.phases}

    @cached_property
    def _crossing_by_id(self) -> dict[str, Crossing]:
        return {crossing.id: crossing for crossing in self.crossings}

    @cached_property
    def _movement_by_id(self) -> dict[str, Movement]:
        return {movement.id: movement for movement in self.movements}

    @cached_property
    def _leg_by_id(self) -> dict[str, Leg]:
        return {leg.id: leg for leg in self.legs}

    @cached_property
    def _phases_by_crossing(self) -> dict[str, tuple[int, ...]]:
        walked = {name for phase in self.phases for name in phase.crossings}
        return {
            name: tuple(n for n in self.phase_numbers if name in self._phase_by_number[n].crossings)
            for name in walked
        }

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """(ring, barrier) of each phase that has a place, both counted from 0."""
        return {
            number: (ring_index, barrier)
            for ring_index, ring in enumerate(self.rings)
            for barrier, numbers in enumerate(ring)
            for number in numbers
        }

    @cached_property
    def _concurrent(self) -> dict[int, tuple[int, ...]]:
        places = self.places
        return {
            number: tuple(sorted(n for n, (r, b) in places.items() if b == barrier and r != ring_index))
            for number, (ring_index, barrier) in places.items()
        }

    @cached_property
    def _crossing_relations(self) -> dict[tuple[str, str], Relation]:
        listed = {(pair.movement, pair.crossing) for pair in self.yields}
        return {
            (m.id, c.id): crossing_relation(m, c.leg, is_listed=(m.id, c.id) in listed)
            for m in self.movements
            for c in self.crossings
        }

    @cached_property
    def _movement_relations(self) -> dict[tuple[str, str], Relation]:
        points = circle_points(self.legs)
        known = [m for m in self.movements if {m.from_leg, m.to_leg} <= self._leg_by_id.keys()]
        relations: dict[tuple[str, str], Relation] = {(m.id, m.id): "free" for m in known}
        for first, second in combinations(known, 2):
            relation = movements_relation(first, second, points)
            relations[first.id, second.id] = relations[second.id, first.id] = relation
        return relations

    @cached_property
    def _conflicting_phases(self) -> dict[str, tuple[int, ...]]:
        relations = self._crossing_relations
        return {
            crossing.id: tuple(
                number
                for number in self.phase_numbers
                if any(
                    relations.get((movement, crossing.id)) == "conflict"
                    for movement in self.movements_of(number)
                )
            )
            for crossing in self.crossings
        }

    @cached_property
    def _extension_max_s(self) -> dict[str, float]:
        return {
            crossing.id: _extension_max_s(crossing, self.clears_after_s(crossing.id))
            for crossing in self.crossings
            if crossing.id in self._phases_by_crossing
        }

    @cached_property
    def _minimum_splits_s(self) -> dict[int, float]:
        return {
            phase.number: round(least_service_s(phase) + phase.yellow_s + phase.red_clear_s, 1)
            for phase in self.phases
        }


def _found(table: Mapping[Key, Value], key: Key, what: str) -> Value:
    try:
        return table[key]
    except KeyError:
        raise ValueError(f"the plan has no {what} {key}") from None


def _extension_max_s(crossing: Crossing, clears_after_s: float) -> float:
    if crossing.extension_max_s is not None:
        return crossing.extension_max_s
    slow_s = crossing.length_m / EXTENSION_SLOW_MPS - crossing.length_m / EXTENSION_CLEARANCE_MPS
    shortest_s, longest_s = EXTENSION_MAX_RANGE_S
    needed_s = math.ceil((slow_s - clears_after_s) * 10 - 1e-6) / 10
    return min(max(needed_s, shortest_s), longest_s)


def load_plan(path: str | Path) -> SitePlan:
    """Read and check a site plan.

    Parameters
    ----------
    path : a `plan.toml`.

    Raises
    ------
    PlanError : the file cannot be read, is no TOML, or breaks any rule; all faults at once.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise _file_error(
            str(path), "file", "missing", "no such plan; give the path of a plan.toml"
        ) from None
    except OSError as error:
        rule = f"cannot be read ({error.strerror}); check its path and rights"
        raise _file_error(str(path), "file", "unreadable", rule) from None
    except ValueError:
        raise _file_error(str(path), "file", "not text", "must be UTF-8 text; save it as UTF-8") from None
    return parse_plan(text, str(path))


def parse_plan(text: str, source: str) -> SitePlan:
    """Check a site plan given as TOML text.

    Parameters
    ----------
    text : the plan.
    source : where it came from, for messages.

    Raises
    ------
    PlanError : the text is no TOML or breaks any rule; all faults at once.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib gives a line except for the last one, which it calls the end of the document.
        where = str(error).replace("at end of document", f"at line {text.count(chr(10)) + 1}, the last")
        raise _file_error(source, "file", "not TOML", f"{where}; correct the text there") from None
    return checked_plan(document, source)


def checked_plan(document: Mapping[str, Any], source: str) -> SitePlan:
    """Check a site plan given as nested tables, as `tomllib` reads them.

    Raises
    ------
    PlanError : any rule is broken; all faults at once.
    """
    try:
        # Through JSON, where strict mode takes arrays as tuples but no text as a number.
        plan = SitePlan.model_validate_json(json.dumps(document, default=_dated), strict=True)
    except ValidationError as error:
        faults = tuple(_schema_fault(each, document) for each in error.errors(include_url=False))
        raise PlanError(source, faults) from None
    faults = plan_faults(plan)
    if faults:
        raise PlanError(source, faults)
    return plan


def plan_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `plan.toml`; rules across fields are `plan_checks`' alone."""
    schema = SitePlan.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bitgoeul site plan",
        **{key: part for key, part in schema.items() if key != "title"},
    }


def _file_error(source: str, path: str, value: str, rule: str) -> PlanError:
    return PlanError(source, (PlanFault(path=path, value=value, rule=rule),))


def _dated(value: object) -> dict[str, str]:
    """Return a TOML date as something no field of a plan takes, so that it is a fault of its own."""
    return {"date": str(value)}


def _schema_fault(error: Mapping[str, Any], document: Mapping[str, Any]) -> PlanFault:
    is_missing = error["type"] == "missing"
    rules = {
        "missing": "required; add it",
        "extra_forbidden": "no such field in a plan; remove it or correct its name (bitgoeul plan schema)",
    }
    message = str(error["msg"])
    rule = rules.get(error["type"], message[:1].lower() + message[1:])
    value = "missing" if is_missing else _shown(error["input"])
    return PlanFault(path=_named_path(error["loc"], document), value=value, rule=rule)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 3] + "..."


def _named_path(places: Sequence[int | str], document: Mapping[str, Any]) -> str:
    """Return a path in which list elements stand by their number or id where they have one."""
    names: list[str] = []
    here: Any = document
    for place in places:
        if isinstance(here, Mapping):
            here = here.get(str(place))
        elif isinstance(here, list) and isinstance(place, int) and place < len(here):
            here = here[place]
        else:
            here = None
        identity = here.get("number", here.get("id")) if isinstance(here, Mapping) else None
        has_identity = isinstance(place, int) and isinstance(identity, int | str)
        names.append(str(identity if has_identity else place))
    return ".".join(names) or "plan"

"""Scripts of calls and orders by the second, for looking at the core alone (`bitgoeul core trace`).

One `[[at]]` table per happening. Without `until_s`, walkers push their button once, a vehicle waits until
its phase is green, and everything else lasts to the end.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from .errors import PlanFault, ScenarioError, faults_text
from .plan import SitePlan
from .plan_parts import PhaseNumber, PlanPart
from .signals import PATTERN_FLASH, PATTERN_FREE, PHASE_ORDERS, RING_ORDERS

MOST_SECONDS = 86_400.0
"""A script and its trace are at most a day long. [s]"""
CALL_FIELDS = ("vehicle", "extend", "ped")
"""Fields of `signals.Calls`: the cabinet's own detectors."""
PHASE_FIELDS = (*CALL_FIELDS, *PHASE_ORDERS)
"""Fields that name phases; those of `RING_ORDERS` name rings, counted from 1."""

Moment = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
Phases = tuple[PhaseNumber, ...]
Rings = tuple[Annotated[int, Field(ge=1)], ...]


class Happening(PlanPart):
    """What begins at a moment: detectors that see somebody, buttons pushed, orders given.

    `s` and `until_s` are seconds from the core's start. Every other field has the name and the meaning it
    has in `signals.Calls` and `signals.Commands`, with phases, rings and crossings by number or id.
    """

    s: Moment
    until_s: Moment | None = None
    note: str = ""
    vehicle: Phases = ()
    extend: Phases = ()
    ped: Phases = ()
    hold: Phases = ()
    force_off: Phases = ()
    phase_omit: Phases = ()
    ped_omit: Phases = ()
    vehicle_call: Phases = ()
    ped_call: Phases = ()
    walk_rest: Phases = ()
    red_hold: Phases = ()
    ped_extend: tuple[str, ...] = ()
    stop_time: Rings = ()
    ped_recycle: Rings = ()
    max_2: Rings = ()
    preempt: Annotated[int, Field(ge=1)] | None = None
    pattern: Annotated[int, Field(ge=1)] | Literal["free", "flash"] | None = None

    @property
    def pattern_number(self) -> int:
        """The pattern as `Commands.pattern` has it; 0 where none is asked for."""
        named = {"free": PATTERN_FREE, "flash": PATTERN_FLASH, None: 0}
        return self.pattern if isinstance(self.pattern, int) else named[self.pattern]

    @property
    def told(self) -> str:
        """What the writer would say of it, such as `vehicle 3, hold 2 until 30 s`."""
        parts = []
        for name in (*PHASE_FIELDS, "ped_extend", *RING_ORDERS):
            items: Sequence[int | str] = getattr(self, name)
            if items:
                parts.append(f"{name} {' '.join(map(str, items))}")
        parts += [
            f"{name} {value}" for name in ("preempt", "pattern") if (value := getattr(self, name)) is not None
        ]
        words = ", ".join(parts)
        if self.until_s is not None:
            words = f"{words} until {self.until_s:g} s"
        return f"{words} ({self.note})" if self.note else words


class CallScript(PlanPart):
    """A script: what happens, and the hour of day at which the core starts (patterns go by it)."""

    start_hour: float = Field(0.0, ge=0, lt=24)
    at: tuple[Happening, ...]

    @property
    def last_s(self) -> float:
        """The last moment that the script speaks of; 0 when empty. [s]"""
        return max((max(each.s, each.until_s or 0.0) for each in self.at), default=0.0)


def load_script(path: str | Path, plan: SitePlan) -> CallScript:
    """Read and check a script.

    Parameters
    ----------
    path : a TOML file.
    plan : the plan whose phases, rings and crossings the script names.

    Raises
    ------
    ScenarioError : the file cannot be read, is no TOML, or breaks any rule; all faults at once.
    """
    try:
        document = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be read: {fault.strerror}; give a script of calls") from None
    except (ValueError, RecursionError) as fault:
        raise ScenarioError(f"{path}: is no TOML text: {fault}; correct it there") from None
    return checked_script(document, plan, str(path))


def checked_script(document: Mapping[str, Any], plan: SitePlan, source: str) -> CallScript:
    """Check a script given as nested tables, as `tomllib` reads them.

    Raises
    ------
    ScenarioError : any rule is broken; all faults at once.
    """
    try:
        script = CallScript.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        faults = [_schema_fault(each) for each in error.errors(include_url=False)]
        raise _refused(source, list(dict.fromkeys(faults))) from None
    misfits = list(_faults(script, plan))
    if misfits:
        raise _refused(source, misfits)
    return script


def _refused(source: str, faults: Sequence[PlanFault]) -> ScenarioError:
    return ScenarioError(faults_text(source, faults))


def _schema_fault(error: Mapping[str, Any]) -> PlanFault:
    places = [str(place + 1) if isinstance(place, int) else place for place in error["loc"]]
    # pydantic names the branch of a union that it tried last; that is no place in the file.
    path = ".".join(place for place in places if not place.startswith(("constrained", "literal")))
    rules = {
        "missing": "required; add it",
        "extra_forbidden": f"no such field; use one of: {', '.join(Happening.model_fields)}",
    }
    if error["type"] == "extra_forbidden" and len(places) == 1:
        rules["extra_forbidden"] = f"no such field; use one of: {', '.join(CallScript.model_fields)}"
    message = str(error["msg"])
    rule = rules.get(error["type"], message[:1].lower() + message[1:])
    if path.endswith(".pattern"):  # a union: pydantic tells of each branch
        rule = 'must be the number of a pattern of the plan, "free" or "flash"'
    is_missing = error["type"] == "missing"
    value = "missing" if is_missing else json.dumps(error["input"], ensure_ascii=False, default=str)
    return PlanFault(path=path or "script", value=value, rule=rule)


def _faults(script: CallScript, plan: SitePlan) -> Iterator[PlanFault]:
    known: Mapping[str, Sequence[int | str]] = {
        **dict.fromkeys(PHASE_FIELDS, plan.phase_numbers),
        **dict.fromkeys(RING_ORDERS, range(1, len(plan.rings) + 1)),
        "ped_extend": [each.id for each in plan.crossings],
    }
    for index, each in enumerate(script.at, 1):
        yield from _time_faults(each, f"at.{index}")
        for name, allowed in known.items():
            for item in getattr(each, name):
                if item not in allowed:
                    yield _unknown(f"at.{index}.{name}", item, allowed)
        preempts = [preempt.number for preempt in plan.preempts]
        if each.preempt is not None and each.preempt not in preempts:
            yield _unknown(f"at.{index}.preempt", each.preempt, preempts)
        patterns = [pattern.number for pattern in plan.patterns]
        if isinstance(each.pattern, int) and each.pattern not in patterns:
            yield _unknown(f"at.{index}.pattern", each.pattern, [*patterns, "free", "flash"])


def _unknown(path: str, item: object, allowed: Sequence[int | str]) -> PlanFault:
    rule = f"not in the plan; use one of: {', '.join(map(str, allowed)) or 'none, the plan has none'}"
    return PlanFault(path=path, value=str(item), rule=rule)


def _time_faults(each: Happening, path: str) -> Iterator[PlanFault]:
    for name, value_s in (("s", each.s), ("until_s", each.until_s)):
        if value_s is not None and round(value_s, 1) != value_s:
            rule = "times have one decimal at most; round it"
            yield PlanFault(path=f"{path}.{name}", value=str(value_s), rule=rule)
    if each.until_s is not None and each.until_s <= each.s:
        rule = f"must be after s = {each.s:g}; correct one of them"
        yield PlanFault(path=f"{path}.until_s", value=str(each.until_s), rule=rule)
    if not each.told.lstrip() or each.told.startswith(" "):
        yield PlanFault(path=path, value="nothing", rule="says nothing but a time; name calls or orders")

"""What outranks the rings of a cabinet: start-up, automatic flash, preemption.

Each is a rule on what may be served: `restriction` names the only phases that may start, and what is in
service otherwise ends as soon as its minimum and its clearance are over. Nothing here cuts an interval.
"""

from __future__ import annotations

from dataclasses import replace

from .ring import GREENS, NONE, Interval, Ring, UnitState
from .signals import PATTERN_FLASH, Commands
from .timing import CorePlan, PreemptTiming

FLASH_EXIT_RED_DS = 30
"""All red between flash and the first green, so that drivers see red first. [0.1 s] [A]"""


def start_up(timing: CorePlan, now_ds: int) -> UnitState:
    """Return the unit at power-up: flashing where the plan starts so, else in red."""
    return UnitState(is_flashing=timing.startup_flash_ds > 0, since_ds=now_ds)


def first_green_ds(unit: UnitState, timing: CorePlan) -> int:
    """Return the moment before which no phase may start. [0.1 s]"""
    red_ds = timing.startup_red_ds
    return unit.since_ds + (max(red_ds, FLASH_EXIT_RED_DS) if unit.has_flashed else red_ds)


def restriction(unit: UnitState, timing: CorePlan) -> int:
    """Return the only phases that may be served now, as a mask; 0 while any may."""
    if unit.preempt:
        return timing.preempts[unit.preempt].phases
    return unit.exit_phases


def wants_flash(commands: Commands) -> bool:
    """Tell whether automatic flash is asked for."""
    return commands.pattern == PATTERN_FLASH


def ends_flash(unit: UnitState, timing: CorePlan, commands: Commands, now_ds: int) -> bool:
    """Tell whether a flashing unit goes to red now."""
    is_start_up_over = unit.has_flashed or now_ds >= unit.since_ds + timing.startup_flash_ds
    return unit.is_flashing and is_start_up_over and not wants_flash(commands)


def into_flash(unit: UnitState, now_ds: int) -> UnitState:
    """Return the unit as it begins to flash; whatever it owed is forgotten."""
    return replace(
        UnitState(),
        is_flashing=True,
        has_flashed=True,
        since_ds=now_ds,
        asked=unit.asked,
        asked_since_ds=unit.asked_since_ds,
    )


def out_of_flash(unit: UnitState, timing: CorePlan, now_ds: int) -> UnitState:
    """Return the unit in red after flash: it is left into the main road's green."""
    exit_phases = timing.main_phases
    return replace(unit, is_flashing=False, has_flashed=True, since_ds=now_ds, exit_phases=exit_phases)


def follow(
    unit: UnitState, timing: CorePlan, commands: Commands, rings: list[Ring], now_ds: int
) -> UnitState:
    """Return the unit after the preemption inputs and the greens of this moment.

    A preemption takes effect when its input has been on for its delay, lower numbers first; it ends when
    the input is off and its phases have dwelt in green long enough. Then, and after flash, `exit_phases`
    are served before anything else.
    """
    if not (commands.preempt or unit.asked or unit.preempt or unit.exit_phases):
        return unit
    asked = commands.preempt if commands.preempt in timing.preempts else 0
    if asked != unit.asked:
        unit = replace(unit, asked=asked, asked_since_ds=now_ds if asked else NONE)
    greens = sum(ring.bit for ring in rings if ring.interval in GREENS)
    if unit.preempt:
        unit = _in_preemption(unit, timing.preempts[unit.preempt], greens, now_ds)
    elif unit.exit_phases and not unit.exit_phases & ~greens:
        unit = replace(unit, exit_phases=0)
    is_due = asked and now_ds >= unit.asked_since_ds + timing.preempts[asked].delay_ds
    if is_due and (not unit.preempt or asked < unit.preempt):
        return replace(unit, preempt=asked, preempt_since_ds=now_ds, dwell_since_ds=NONE, exit_phases=0)
    return unit


def _in_preemption(unit: UnitState, preempt: PreemptTiming, greens: int, now_ds: int) -> UnitState:
    if preempt.phases & ~greens:
        return unit
    if unit.dwell_since_ds == NONE:
        unit = replace(unit, dwell_since_ds=now_ds)
    if unit.asked == unit.preempt or now_ds < unit.dwell_since_ds + preempt.min_dwell_ds:
        return unit
    return replace(
        unit, preempt=0, preempt_since_ds=NONE, dwell_since_ds=NONE, exit_phases=preempt.exit_phases
    )


def keeps_hold(unit: UnitState, timing: CorePlan, ring: Ring, now_ds: int) -> bool:
    """Tell whether a hold on this ring counts: during preemption only so long past its clearance."""
    return not unit.preempt or now_ds < _hold_until_ds(unit, timing, ring)


def _hold_until_ds(unit: UnitState, timing: CorePlan, ring: Ring) -> int:
    """Return the end of a hold under preemption: so long past clearance, or past the start of it. [0.1 s]"""
    since_ds = ring.since_ds
    if ring.phase and ring.interval is Interval.RED_CLEAR:
        since_ds += timing.phases[ring.phase].duration_ds["red_clear"]
    return max(since_ds, unit.preempt_since_ds) + timing.preempts[unit.preempt].walker_max_ds


def events_ds(unit: UnitState, timing: CorePlan, rings: list[Ring]) -> list[int]:
    """Return the moments at which something here changes by itself. [0.1 s]"""
    events = [unit.since_ds + timing.startup_flash_ds, first_green_ds(unit, timing)]
    if unit.asked:
        events.append(unit.asked_since_ds + timing.preempts[unit.asked].delay_ds)
    if unit.preempt:
        if unit.dwell_since_ds != NONE:
            events.append(unit.dwell_since_ds + timing.preempts[unit.preempt].min_dwell_ds)
        events += [_hold_until_ds(unit, timing, ring) for ring in rings]
    return events

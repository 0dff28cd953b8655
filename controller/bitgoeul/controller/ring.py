"""What a ring of the cabinet is at a moment, and what the whole core is: values, no behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

NONE = -1
"""No barrier group, no moment."""
TO_FLASH = -2
"""`CoreState.next_barrier`: what follows the running clearance is flash."""


class Interval(StrEnum):
    """What a ring shows. All but the first and the last two are green for vehicles."""

    LEADING_WALK = "leading_walk"
    WALK_DELAY = "walk_delay"
    WALK = "walk"
    PED_CLEAR = "ped_clear"
    GREEN = "green"
    YELLOW = "yellow"
    RED_CLEAR = "red_clear"


GREENS = frozenset((Interval.WALK_DELAY, Interval.WALK, Interval.PED_CLEAR, Interval.GREEN))
"""Intervals in which the phase's vehicles have green."""


@dataclass(frozen=True, slots=True)
class Ring:
    """The state of one ring: a phase, its interval, and since when.

    Parameters
    ----------
    phase : phase being served or just ended; 0 while the ring rests in red beside the other ring.
    interval, since_ds : current interval and its start. [0.1 s]
    green_since_ds : start of the phase's green. [0.1 s]
    max_since_ds : since when somebody waits for a conflicting phase (with max recall: green start); -1 while
        nobody does. [0.1 s]
    due_ds : force-off (coordinated phases: yield point) of this service; -1 in free operation. [0.1 s]
    next_phase : phase that follows the running yellow and red clearance; 0 while green.
    has_gapped_out : passage ran out, and the phase does not wait for the other ring to gap out too.
    is_conditional : this green is a conditional service: nothing follows it before the barrier.
    has_walked : the green had its walk, so that what follows clearance may be an extension.
    """

    phase: int
    interval: Interval
    since_ds: int
    green_since_ds: int = 0
    max_since_ds: int = NONE
    due_ds: int = NONE
    next_phase: int = 0
    has_gapped_out: bool = False
    is_conditional: bool = False
    has_walked: bool = False

    @property
    def bit(self) -> int:
        """The phase as a mask; 0 at rest."""
        return 1 << (self.phase - 1) if self.phase else 0

    def postponed(self, passed_ds: int) -> Ring:
        """Return the ring after so much stopped time: all its timers stand where they stood. [0.1 s]"""
        return replace(
            self,
            since_ds=self.since_ds + passed_ds,
            green_since_ds=self.green_since_ds + passed_ds,
            max_since_ds=self.max_since_ds + passed_ds if self.max_since_ds >= 0 else NONE,
        )


def at_rest(since_ds: int) -> Ring:
    """Return a ring that rests in red, without a phase, since a moment. [0.1 s]"""
    return Ring(phase=0, interval=Interval.RED_CLEAR, since_ds=since_ds)


def phases_on(rings: Iterable[Ring]) -> int:
    """Return the phases that rings are at, as a mask."""
    return sum(ring.bit for ring in rings)


def phases_next(rings: Iterable[Ring]) -> int:
    """Return the phases that follow the running clearances, as a mask."""
    return sum(1 << (ring.next_phase - 1) for ring in rings if ring.next_phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """What outranks the rings: start-up, flash, preemption. [0.1 s]

    Parameters
    ----------
    is_flashing, since_ds : the unit flashes, and since when flash or the red after it lasts.
    has_flashed : start-up is over: the unit has been through flash, or flashes for another reason.
    preempt : number of the preemption in effect; 0 none.
    preempt_since_ds : since when it is in effect; -1 none.
    asked, asked_since_ds : preemption input that is on, and since when.
    dwell_since_ds : since when all its phases are green; -1 before.
    exit_phases : phases that must be green next: after a preemption, after flash; 0 none.
    """

    is_flashing: bool = False
    has_flashed: bool = False
    since_ds: int = 0
    preempt: int = 0
    preempt_since_ds: int = NONE
    asked: int = 0
    asked_since_ds: int = NONE
    dwell_since_ds: int = NONE
    exit_phases: int = 0


@dataclass(frozen=True, slots=True)
class CoreState:
    """All that a core is, as a value: store it, compare it, give it back to `SignalCore.restore`.

    Parameters
    ----------
    now_ds : the core's time. [0.1 s]
    barrier : index of the barrier group in service.
    next_barrier : group that follows while all rings clear; -1 otherwise, -2 where flash follows.
    rings : one `Ring` per ring of the plan.
    extended_ds : per ring, the last moment a passage detector of its phase was occupied, or green start.
    ped_calls : latched walk demand, as a phase mask.
    pattern : pattern that times the phases, or `PATTERN_FREE`.
    shift_ds : how far the cycle lags behind its pattern; negative ahead. [0.1 s]
    ped_extend : crossings whose flashing green goes on after clearance.
    running_max : per phase with a dynamic max: (phase, running max [0.1 s], max-outs in a row; gap-outs
        in a row are negative).
    unit : what outranks the rings.
    """

    now_ds: int
    barrier: int
    next_barrier: int
    rings: tuple[Ring, ...]
    extended_ds: tuple[int, ...]
    ped_calls: int = 0
    pattern: int = 0
    shift_ds: int = 0
    ped_extend: int = 0
    running_max: tuple[tuple[int, int, int], ...] = ()
    unit: UnitState = UnitState()

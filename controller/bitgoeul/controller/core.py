"""SignalCore: the cabinet's signal logic, as one table of intervals.

A ring is always in one interval; `TRANSITIONS` lists, top to bottom, what ends it and what follows.
No clock and no I/O: time comes in as deciseconds, demand as `Calls`, orders as `Commands`, and what comes
out is `Lamps`. The core is complete and safe alone: with no commands it runs the plan's pattern.

Order of precedence when a green could end: minimums and pedestrian clearance, hold, force-off, max-out,
gap-out (NEMA TS 2; NTCIP 1202 phase control). Pedestrian clearance is never shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .plan import SitePlan
from .signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_BY_PLAN,
    PATTERN_FREE,
    CabinetStatus,
    Calls,
    Commands,
    Lamps,
)
from .timing import CorePlan, compile_plan

NEVER_DS = 1 << 62
"""A time no run reaches. [0.1 s]"""


class Interval(StrEnum):
    """What a ring shows; the first three are green for vehicles."""

    WALK = "walk"
    PED_CLEAR = "ped_clear"
    GREEN = "green"
    YELLOW = "yellow"
    RED_CLEAR = "red_clear"


@dataclass(frozen=True, slots=True)
class Ring:
    """The state of one ring: a phase, its interval, and since when.

    Parameters
    ----------
    phase : phase being served or just ended; 0 while the ring rests in red beside the other ring.
    interval, since_ds : current interval and its start. [0.1 s]
    green_since_ds : start of the phase's green. [0.1 s]
    extended_ds : last moment a passage detector of the phase was occupied, or green start. [0.1 s]
    max_since_ds : when conflicting demand was first seen in this green; -1 before. [0.1 s]
    due_ds : fixed force-off of this service under a pattern; -1 in free operation. [0.1 s]
    next_phase : phase that follows the running yellow and red clearance; 0 while green.
    """

    phase: int
    interval: Interval
    since_ds: int
    green_since_ds: int = 0
    extended_ds: int = 0
    max_since_ds: int = -1
    due_ds: int = -1
    next_phase: int = 0


@dataclass(frozen=True, slots=True)
class CoreState:
    """All that a core is, as a value: store it, compare it, give it back to `SignalCore.restore`.

    Parameters
    ----------
    now_ds : the core's time. [0.1 s]
    barrier : index of the barrier group in service.
    next_barrier : group that follows while all rings clear; -1 otherwise.
    rings : one `Ring` per ring of the plan.
    ped_calls : latched walk demand, as a phase mask.
    """

    now_ds: int
    barrier: int
    next_barrier: int
    rings: tuple[Ring, ...]
    ped_calls: int = 0


class SignalCore:
    """The automaton of one cabinet.

    Parameters
    ----------
    plan : a checked site plan.
    day_offset_ds : time of day at core time 0, for patterns that change with the hour. [0.1 s]
    """

    def __init__(self, plan: SitePlan, *, day_offset_ds: int = 0) -> None:
        self.timing: CorePlan = compile_plan(plan)
        self._day_offset_ds = day_offset_ds
        self._calls = NO_CALLS
        self._commands = NO_COMMANDS
        self._pattern = PATTERN_BY_PLAN
        self._demand = 0
        self.held = 0
        self.red_held = 0
        self.restore(self._start_state())

    def _start_state(self) -> CoreState:
        """Return all red, with the first barrier group about to start (NEMA start-up in red)."""
        rings = tuple(Ring(phase=0, interval=Interval.RED_CLEAR, since_ds=0) for _ in self.timing.rings)
        return CoreState(now_ds=0, barrier=len(self.timing.rings[0]) - 1, next_barrier=0, rings=rings)

    @property
    def state(self) -> CoreState:
        """The whole state, as a value."""
        return CoreState(self.now_ds, self._barrier, self._next_barrier, tuple(self._rings), self._ped_calls)

    def restore(self, state: CoreState) -> None:
        """Become exactly the core that had this state."""
        self.now_ds = state.now_ds
        self._barrier = state.barrier
        self._next_barrier = state.next_barrier
        self._rings = list(state.rings)
        self._ped_calls = state.ped_calls
        self._next_event_ds = -1
        self.lamps = self._indicate()

    def advance(self, ds: int, calls: Calls = NO_CALLS, commands: Commands = NO_COMMANDS) -> Lamps:
        """Let `ds` tenths of a second pass under constant calls and commands.

        Parameters
        ----------
        ds : time to pass, >= 1. [0.1 s]
        calls : the cabinet's detectors.
        commands : the controller's orders.

        Returns
        -------
        The indications shown at the end of that time.

        Notes
        -----
        `advance(n)` leaves the same state as n times `advance(1)`: it jumps from event to event.
        """
        until_ds = self.now_ds + ds
        if commands is self._commands and calls is self._calls and until_ds < self._next_event_ds:
            self._pass_time(until_ds)
            return self.lamps
        is_news = (commands is not self._commands and commands != self._commands) or self._matters(calls)
        self._calls, self._commands = calls, commands
        if is_news or self._next_event_ds < self.now_ds:
            self._settle()
        while self._next_event_ds < until_ds:
            self._pass_time(self._next_event_ds)
            self._settle()
        self._pass_time(until_ds)
        if self._next_event_ds == until_ds:
            self._next_event_ds = -1
        return self.lamps

    def _matters(self, calls: Calls) -> bool:
        """Tell whether these calls can change anything: under a pattern, vehicle calls cannot."""
        if calls is self._calls:
            return False
        if self._pattern != PATTERN_FREE:
            return calls.ped != self._calls.ped
        return calls != self._calls

    def status(self) -> CabinetStatus:
        """Return what the cabinet reports besides its lamps."""
        phase_on = phase_next = 0
        for ring in self._rings:
            if ring.phase:
                phase_on |= 1 << (ring.phase - 1)
            if ring.next_phase:
                phase_next |= 1 << (ring.next_phase - 1)
        return CabinetStatus(
            phase_on=phase_on,
            phase_next=phase_next,
            vehicle_calls=self._demand,
            ped_calls=self._ped_calls,
            held=self.held,
            red_held=self.red_held,
            pattern=self._pattern,
        )

    # --- time -------------------------------------------------------------------------------------

    def _pass_time(self, to_ds: int) -> None:
        """Move the clock; occupied passage detectors keep their greens extended."""
        self.now_ds = to_ds
        extend = self._calls.extend
        if extend and self._pattern == PATTERN_FREE:
            for index, ring in enumerate(self._rings):
                if ring.phase and extend >> (ring.phase - 1) & 1 and ring.interval in _GREEN:
                    self._rings[index] = replace(ring, extended_ds=to_ds)

    def _settle(self) -> None:
        """Apply every transition that is due now, then work out when the next one can be."""
        changed = True
        while changed:
            self._register_demand()
            changed = False
            for index in range(len(self._rings)):
                changed |= self._step_ring(index)
            changed |= self._cross_barrier()
        self._note_conflicting_demand()
        self.held = self._held_mask()
        self.red_held = self._red_held_mask()
        lamps = self._indicate()
        if lamps != self.lamps:  # the same object while nothing changes: cheap to compare
            self.lamps = lamps
        self._next_event_ds = self._find_next_event()

    def _step_ring(self, index: int) -> bool:
        """Apply the first transition of the table that is due for this ring."""
        ring = self._rings[index]
        for transition in TRANSITIONS[ring.interval]:
            if transition.is_due(self, ring, index):
                self._rings[index] = transition.apply(self, ring, index)
                return self._rings[index] != ring
        return False

    # --- demand -----------------------------------------------------------------------------------

    def _register_demand(self) -> None:
        """Latch walk calls; gather what may be served: calls, recalls, orders, less the omits."""
        timing, commands = self.timing, self._commands
        walking = 0
        for ring in self._rings:
            if ring.interval is Interval.WALK:
                walking |= 1 << (ring.phase - 1)
        asked = (self._calls.ped | commands.ped_call) & timing.has_walk & ~walking
        self._ped_calls |= asked
        self._pattern = self._pattern_in_effect()
        demand = self._calls.vehicle | commands.vehicle_call | self._ped_calls & ~commands.ped_omit
        demand |= timing.vehicle_recall | timing.ped_recall & ~commands.ped_omit
        if self._pattern != PATTERN_FREE:
            demand |= timing.all_phases
        self._demand = demand & timing.all_phases & ~commands.phase_omit

    def _pattern_in_effect(self) -> int:
        """Return the pattern number that times the phases now, or `PATTERN_FREE`."""
        asked = self._commands.pattern
        if asked in self.timing.patterns:
            return asked
        if asked == PATTERN_FREE or not self.timing.patterns:
            return PATTERN_FREE
        return self.timing.pattern_at(self.now_ds + self._day_offset_ds)

    def _phases_ahead(self, index: int) -> tuple[int, ...]:
        """Return the demanded phases this ring can still serve before the barrier, in order."""
        sequence = self.timing.rings[index][self._barrier]
        phase = self._rings[index].phase
        if phase in sequence:
            sequence = sequence[sequence.index(phase) + 1 :]
        return tuple(p for p in sequence if self._demand >> (p - 1) & 1)

    def _has_conflicting_demand(self, index: int) -> bool:
        """Tell whether somebody waits for a phase that cannot be reached while this green lasts."""
        reachable = 0
        for other_index, other in enumerate(self._rings):
            if not other.phase:
                reachable |= self.timing.ring_masks[other_index][self._barrier]
                continue
            reachable |= 1 << (other.phase - 1)
            if other_index != index:
                reachable |= self.timing.later[other.phase]
        return bool(self._demand & ~reachable)

    def _note_conflicting_demand(self) -> None:
        """Start the maximum timers of greens that somebody now waits for."""
        for index, ring in enumerate(self._rings):
            is_untimed = ring.phase and ring.interval in _GREEN and ring.max_since_ds < 0
            if is_untimed and self._has_conflicting_demand(index):
                self._rings[index] = replace(ring, max_since_ds=self.now_ds)

    def _wants_to_end(self, ring: Ring, index: int) -> bool:
        """Tell whether a green has served its minimum and has a reason to end (hold apart)."""
        timing = self.timing.phases[ring.phase]
        if ring.interval is not Interval.GREEN or self.now_ds < ring.green_since_ds + timing.min_green_ds:
            return False
        if self._commands.force_off >> (ring.phase - 1) & 1:
            return self._has_conflicting_demand(index)
        if self._pattern != PATTERN_FREE:
            return self.now_ds >= self._due_ds(ring)
        if not self._has_conflicting_demand(index):
            return False
        has_maxed_out = 0 <= ring.max_since_ds <= self.now_ds - timing.max_green_ds
        is_extended = self._calls.extend >> (ring.phase - 1) & 1
        has_gapped_out = not is_extended and self.now_ds >= ring.extended_ds + timing.passage_ds
        return has_maxed_out or has_gapped_out

    def _may_end(self, ring: Ring, index: int) -> bool:
        """Tell whether a green ends now: it wants to, and nobody holds it."""
        return not self._commands.hold >> (ring.phase - 1) & 1 and self._wants_to_end(ring, index)

    def _due_ds(self, ring: Ring) -> int:
        """Return the fixed force-off of this service: the one of the cycle it started nearest to."""
        if ring.due_ds >= 0:
            return ring.due_ds
        return (
            self.timing.patterns[self._pattern].force_off_ds(
                ring.phase, ring.green_since_ds + self._day_offset_ds
            )
            - self._day_offset_ds
        )

    def _held_mask(self) -> int:
        """Return the phases whose green would end now but for a hold."""
        mask = 0
        for index, ring in enumerate(self._rings):
            if ring.phase and self._commands.hold >> (ring.phase - 1) & 1 and self._wants_to_end(ring, index):
                mask |= 1 << (ring.phase - 1)
        return mask

    def _red_held_mask(self) -> int:
        """Return the phases whose red clearance has run out but is held."""
        over = (ring for ring in self._rings if ring.phase and self._has_run_out(ring))
        return sum(1 << (ring.phase - 1) for ring in over) & self._commands.red_hold

    def _has_run_out(self, ring: Ring) -> bool:
        """Tell whether a ring's red clearance has lasted its time; a ring at rest has none."""
        is_red = ring.interval is Interval.RED_CLEAR
        return is_red and (not ring.phase or _is_timed_out(self, ring, 0))

    # --- what follows -----------------------------------------------------------------------------

    def _ends_within_barrier(self, ring: Ring, index: int) -> bool:
        """Tell whether this green gives way to a later phase of its own ring and barrier."""
        return self._next_barrier < 0 and bool(self._phases_ahead(index)) and self._may_end(ring, index)

    def _is_clear(self, ring: Ring) -> bool:
        """Tell whether a ring's red clearance has run out and is not held."""
        is_held = ring.phase and self._commands.red_hold >> (ring.phase - 1) & 1
        return self._has_run_out(ring) and not is_held

    def _may_start(self, ring: Ring, index: int) -> bool:
        """Tell whether the next phase of this ring starts now, inside its barrier group."""
        if self._next_barrier >= 0 or not self._is_clear(ring):
            return False
        return bool(ring.next_phase) or (not ring.phase and bool(self._phases_ahead(index)))

    def _cross_barrier(self) -> bool:
        """End all greens together when no ring has more to serve here; start the next group together."""
        if self._next_barrier >= 0:
            return self._start_next_barrier()
        for index, ring in enumerate(self._rings):
            is_resting = not ring.phase or (ring.interval is Interval.RED_CLEAR and not ring.next_phase)
            if self._phases_ahead(index) or not (is_resting or self._may_end(ring, index)):
                return False
        following = self._following_barrier()
        if following < 0:
            return False
        self._next_barrier = following
        for index, ring in enumerate(self._rings):
            if ring.interval in _GREEN:
                self._rings[index] = replace(ring, interval=Interval.YELLOW, since_ds=self.now_ds)
        return True

    def _following_barrier(self) -> int:
        """Return the next barrier group with demand (the present one last), or -1."""
        count = len(self.timing.rings[0])
        serving = 0
        for ring in self._rings:
            if ring.phase:
                serving |= 1 << (ring.phase - 1)
        for step in range(1, count + 1):
            barrier = (self._barrier + step) % count
            wanted = self._demand & self.timing.barrier_masks[barrier]
            if step == count:
                wanted &= ~serving
            if wanted:
                return barrier
        return -1

    def _start_next_barrier(self) -> bool:
        """Start every ring of the next group once all rings are clear."""
        if not all(self._is_clear(ring) for ring in self._rings):
            return False
        self._barrier, self._next_barrier = self._next_barrier, -1
        for index in range(len(self._rings)):
            sequence = self.timing.rings[index][self._barrier]
            called = [p for p in sequence if self._demand >> (p - 1) & 1]
            partners = [p for p in sequence if self.timing.may_enter_uncalled(p, self._commands.phase_omit)]
            phase = (called or partners or [0])[0]
            self._rings[index] = self._start_phase(phase)
        return True

    def _start_phase(self, phase: int) -> Ring:
        """Return a ring at the first instant of a phase: walk where it is called, else green alone."""
        if not phase:
            return Ring(phase=0, interval=Interval.RED_CLEAR, since_ds=self.now_ds)
        bit = 1 << (phase - 1)
        wanted = (self.timing.ped_recall | self._ped_calls) & ~self._commands.ped_omit
        walks = bool(bit & self.timing.has_walk & wanted)
        if walks:
            self._ped_calls &= ~bit
        ring = Ring(
            phase=phase,
            interval=Interval.WALK if walks else Interval.GREEN,
            since_ds=self.now_ds,
            green_since_ds=self.now_ds,
            extended_ds=self.now_ds,
        )
        if self._pattern != PATTERN_FREE:
            ring = replace(ring, due_ds=self._due_ds(ring))
        return ring

    # --- outputs ----------------------------------------------------------------------------------

    def _indicate(self) -> Lamps:
        """Return the lamps of the present intervals."""
        masks: Any = dict.fromkeys(("green", "yellow", "walk", "ped_clear"), 0)
        for ring in self._rings:
            if ring.phase:
                for lamp in INDICATIONS[ring.interval]:
                    masks[lamp] |= 1 << (ring.phase - 1)
        return Lamps(**masks)

    def _find_next_event(self) -> int:
        """Return the first moment after now at which something can change by itself. [0.1 s]"""
        now_ds, events = self.now_ds, [NEVER_DS]
        for ring in self._rings:
            if not ring.phase:
                continue
            timing = self.timing.phases[ring.phase]
            if ring.interval in _GREEN:
                events += [
                    ring.green_since_ds + timing.min_green_ds,
                    ring.extended_ds + timing.passage_ds,
                    ring.since_ds + timing.duration_ds.get(ring.interval, 0),
                ]
                if ring.max_since_ds >= 0:
                    events.append(ring.max_since_ds + timing.max_green_ds)
                if self._pattern != PATTERN_FREE:
                    events.append(self._due_ds(ring))
            else:
                events.append(ring.since_ds + timing.duration_ds[ring.interval])
        if self._commands.pattern == PATTERN_BY_PLAN and self.timing.patterns:
            time_of_day = now_ds + self._day_offset_ds
            events.append(self.timing.next_pattern_change_ds(time_of_day) - self._day_offset_ds)
        return min(event for event in events if event > now_ds)


# --- the table ------------------------------------------------------------------------------------

_GREEN = frozenset((Interval.WALK, Interval.PED_CLEAR, Interval.GREEN))

INDICATIONS: dict[Interval, tuple[str, ...]] = {
    Interval.WALK: ("green", "walk"),
    Interval.PED_CLEAR: ("green", "ped_clear"),
    Interval.GREEN: ("green",),
    Interval.YELLOW: ("yellow",),
    Interval.RED_CLEAR: (),
}
"""Lamps lit in each interval; whatever is not lit is red, or don't walk."""


def _is_timed_out(core: SignalCore, ring: Ring, _index: int) -> bool:
    """Tell whether the interval has lasted its time in the plan."""
    return core.now_ds >= ring.since_ds + core.timing.phases[ring.phase].duration_ds[ring.interval]


def _walk_is_over(core: SignalCore, ring: Ring, index: int) -> bool:
    """Walk has lasted its time, and nobody asks to rest in walk."""
    return not core._commands.walk_rest >> (ring.phase - 1) & 1 and _is_timed_out(core, ring, index)


def _to(interval: Interval) -> Callable[[SignalCore, Ring, int], Ring]:
    return lambda core, ring, _index: replace(ring, interval=interval, since_ds=core.now_ds)


def _to_yellow_within_barrier(core: SignalCore, ring: Ring, index: int) -> Ring:
    following = core._phases_ahead(index)[0]
    return replace(ring, interval=Interval.YELLOW, since_ds=core.now_ds, next_phase=following)


def _to_next_phase(core: SignalCore, ring: Ring, index: int) -> Ring:
    return core._start_phase(ring.next_phase or core._phases_ahead(index)[0])


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the table: when it is due, and what the ring becomes."""

    is_due: Callable[[SignalCore, Ring, int], bool]
    apply: Callable[[SignalCore, Ring, int], Ring]


TRANSITIONS: dict[Interval, tuple[Transition, ...]] = {
    Interval.WALK: (Transition(_walk_is_over, _to(Interval.PED_CLEAR)),),
    Interval.PED_CLEAR: (Transition(_is_timed_out, _to(Interval.GREEN)),),
    Interval.GREEN: (Transition(SignalCore._ends_within_barrier, _to_yellow_within_barrier),),
    Interval.YELLOW: (Transition(_is_timed_out, _to(Interval.RED_CLEAR)),),
    Interval.RED_CLEAR: (Transition(SignalCore._may_start, _to_next_phase),),
}
"""Interval by interval: what ends it and what follows. Greens also end together at a barrier
(`_cross_barrier`), the only transition that concerns all rings at once."""

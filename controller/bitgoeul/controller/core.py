"""SignalCore: the cabinet's signal logic, as one table of intervals.

A ring is always in one interval; `TRANSITIONS` lists, top to bottom, what ends it and what follows.
No clock and no I/O: time comes in as deciseconds, demand as `Calls`, orders as `Commands`, and what comes
out is `Lamps`. The core is complete and safe alone: with no commands it runs the plan's pattern.

Order of precedence when a green could end: stop-time; minimums and pedestrian clearance; preemption and
flash; hold; force-off; max-out; gap-out (NEMA TS 2; NTCIP 1202 phase control). Pedestrian clearance is
never shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from . import unit as units
from .events import next_event_ds
from .greens import (
    due_ds,
    first_phase,
    following,
    following_barrier,
    gives_way_to_named,
    has_run_out,
    is_clear,
    is_held,
    is_red_held,
    is_stopped,
    may_end,
    next_running_max,
    permitted,
    phases_ahead,
    rests_in_walk,
    rests_past_yield,
    walks_again,
    wanted_pattern,
    wants_to_end,
    with_timers,
)
from .heads import INDICATIONS, shown
from .plan import SitePlan
from .ring import (
    GREENS,
    NONE,
    TO_FLASH,
    CoreState,
    Interval,
    Ring,
    at_rest,
    phases_next,
    phases_on,
)
from .signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_FLASH,
    PATTERN_FREE,
    CabinetStatus,
    Calls,
    Commands,
    Lamps,
)
from .timing import DAY_DS, PED_EXTEND_MAX_DS, CorePlan, compile_plan

__all__ = ["INDICATIONS", "TRANSITIONS", "CoreState", "Interval", "Ring", "SignalCore", "Transition"]


class SignalCore:
    """The automaton of one cabinet.

    Parameters
    ----------
    plan : a checked site plan.
    day_offset_ds : time of day at core time 0, for patterns that change with the hour. [0.1 s]
    start_ds : core time at power-up. [0.1 s]
    """

    def __init__(self, plan: SitePlan, *, day_offset_ds: int = 0, start_ds: int = 0) -> None:
        self.timing: CorePlan = compile_plan(plan)
        self.day_offset_ds = day_offset_ds
        self.calls = NO_CALLS
        self.commands = NO_COMMANDS
        self.demand = 0
        self.held = 0
        self.red_held = 0
        rings = tuple(at_rest(start_ds) for _ in plan.rings)
        self.restore(
            CoreState(  # all red, with the main group about to start
                now_ds=start_ds,
                barrier=self.timing.main_barrier - 1,
                next_barrier=self.timing.main_barrier,
                rings=rings,
                extended_ds=(start_ds,) * len(rings),
                pattern=PATTERN_FREE,
                unit=units.start_up(self.timing, start_ds),
            )
        )

    @property
    def state(self) -> CoreState:
        """The whole state, as a value."""
        return CoreState(
            now_ds=self.now_ds,
            barrier=self.barrier,
            next_barrier=self.next_barrier,
            rings=tuple(self.rings),
            extended_ds=tuple(self.extended_ds),
            ped_calls=self.ped_calls,
            pattern=self.pattern,
            shift_ds=self.shift_ds,
            ped_extend=self.ped_extend,
            running_max=tuple((phase, *run) for phase, run in sorted(self.running_max.items())),
            unit=self.unit,
        )

    def restore(self, state: CoreState) -> None:
        """Become exactly the core that had this state."""
        self.now_ds = state.now_ds
        self.barrier = state.barrier
        self.next_barrier = state.next_barrier
        self.rings = list(state.rings)
        self.extended_ds = list(state.extended_ds)
        self.ped_calls = state.ped_calls
        self.pattern = state.pattern
        self.cycle = self.timing.patterns.get(state.pattern)
        self.shift_ds = state.shift_ds
        self.ped_extend = state.ped_extend
        self.running_max = {phase: (run_ds, streak) for phase, run_ds, streak in state.running_max}
        self.unit = state.unit
        self.only = units.restriction(self.unit, self.timing)
        self._next_event_ds = NONE
        self.lamps = shown(self)

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
        if commands is self.commands and calls is self.calls and until_ds < self._next_event_ds:
            self._pass_time(until_ds)
            return self.lamps
        is_news = (commands is not self.commands and commands != self.commands) or self._matters(calls)
        self.calls, self.commands = calls, commands
        if is_news or self._next_event_ds < self.now_ds:
            self._settle()
        while self._next_event_ds < until_ds:
            self._pass_time(self._next_event_ds)
            self._settle()
        self._pass_time(until_ds)
        if self._next_event_ds == until_ds:
            self._next_event_ds = NONE
        return self.lamps

    def _matters(self, calls: Calls) -> bool:
        """Tell whether these calls can change anything.

        In a pretimed pattern vehicle calls cannot; else not those for a phase that is demanded anyway, nor
        a passage detector of a phase that has no green.
        """
        if calls is self.calls:
            return False
        if self.cycle is not None and not self.cycle.coordinated:
            return calls.ped != self.calls.ped
        demanded_anyway = self.timing.vehicle_recall | self.commands.vehicle_call
        called = (calls.vehicle ^ self.calls.vehicle) & ~demanded_anyway | calls.ped ^ self.calls.ped
        return bool(called or (calls.extend ^ self.calls.extend) & self.lamps.green)

    def status(self) -> CabinetStatus:
        """Return what the cabinet reports besides its lamps."""
        return CabinetStatus(
            phase_on=phases_on(self.rings),
            phase_next=phases_next(self.rings),
            vehicle_calls=self.demand,
            ped_calls=self.ped_calls,
            held=self.held,
            red_held=self.red_held,
            pattern=PATTERN_FLASH if self.unit.is_flashing else self.pattern,
            preempt=self.unit.preempt,
            out_of_step_ds=self.shift_ds,
        )

    # --- time -------------------------------------------------------------------------------------

    def _pass_time(self, to_ds: int) -> None:
        """Move the clock; occupied passage detectors extend their greens, stopped rings stand still."""
        passed_ds, self.now_ds = to_ds - self.now_ds, to_ds
        if self.commands.stop_time:
            for index, ring in enumerate(self.rings):
                if is_stopped(self, index):
                    self.rings[index] = ring.postponed(passed_ds)
                    self.extended_ds[index] += passed_ds
        extended = self.calls.extend & self.lamps.green
        if extended and (self.cycle is None or self.cycle.coordinated):
            for index, ring in enumerate(self.rings):
                if extended & ring.bit:
                    self.extended_ds[index] = to_ds

    def _settle(self) -> None:
        """Apply every transition that is due now, then work out when the next one can be."""
        changed, has_moved, extended = True, False, self.ped_extend
        while changed:
            self._register_demand()
            changed = self._step_unit()
            if self.unit.is_flashing:
                has_moved = True
                break
            for index in range(len(self.rings)):
                changed |= self._step_ring(index)
            changed |= self._cross_barrier()
            has_moved |= changed
        self._note_timers()
        self.held = self.red_held = 0
        if self.commands.hold:
            kept = (r for i, r in enumerate(self.rings) if is_held(self, r) and wants_to_end(self, r, i))
            self.held = sum(ring.bit for ring in kept)
        if self.commands.red_hold:
            self.red_held = sum(r.bit for r in self.rings if has_run_out(self, r) and is_red_held(self, r))
        if has_moved or extended != self.ped_extend:
            lamps = shown(self)  # the same object while nothing changes: cheap to compare
            self.lamps = self.lamps if lamps == self.lamps else lamps
        self._next_event_ds = next_event_ds(self)

    def _step_unit(self) -> bool:
        """Leave flash when its time is over, into red and then the main road's green."""
        if not units.ends_flash(self.unit, self.timing, self.commands, self.now_ds):
            return False
        self.unit = units.out_of_flash(self.unit, self.timing, self.now_ds)
        self.next_barrier = self.timing.main_barrier
        return True

    def _step_ring(self, index: int) -> bool:
        """Apply the first transition of the table that is due for this ring."""
        ring = self.rings[index]
        if is_stopped(self, index):
            return False
        for transition in TRANSITIONS[ring.interval]:
            if transition.is_due(self, ring, index):
                self.rings[index] = transition.apply(self, ring, index)
                return self.rings[index] != ring
        return False

    # --- demand -----------------------------------------------------------------------------------

    def _register_demand(self) -> None:
        """Latch walk calls; gather what may be served: calls, recalls, orders, less the omits."""
        timing, commands = self.timing, self.commands
        self.unit = units.follow(self.unit, timing, commands, self.rings, self.now_ds)
        self.only = units.restriction(self.unit, timing)
        walking = sum(ring.bit for ring in self.rings if ring.interval in _WALKS)
        self.ped_calls |= (self.calls.ped | commands.ped_call) & timing.has_walk & ~walking
        self._choose_pattern()
        demand = self.calls.vehicle | commands.vehicle_call | self.ped_calls & ~commands.ped_omit
        demand |= timing.vehicle_recall | timing.ped_recall & ~commands.ped_omit
        if self.cycle is None:
            if timing.soft_recall and not demand & ~phases_on(self.rings):
                demand |= timing.soft_recall
        elif self.cycle.coordinated:
            demand = demand & permitted(self, self.cycle) | self.cycle.coordinated
        else:
            demand = timing.all_phases
        self.demand = demand & timing.all_phases & ~commands.phase_omit
        if self.only:
            self.demand = self.only
        if units.wants_flash(commands):
            self.demand = 0

    @property
    def time_of_day_ds(self) -> int:
        """Time since midnight. [0.1 s]"""
        return (self.now_ds + self.day_offset_ds) % DAY_DS

    def _choose_pattern(self) -> None:
        """Take up the pattern that is asked for; from one pattern to another only between cycles."""
        wanted = wanted_pattern(self)
        if wanted == self.pattern:
            return
        if PATTERN_FREE in (wanted, self.pattern) or all(rests_past_yield(self, r) for r in self.rings):
            self._take_up(wanted)
            self.rings = [replace(ring, due_ds=NONE) for ring in self.rings]

    def _take_up(self, pattern: int) -> None:
        self.pattern, self.cycle, self.shift_ds = pattern, self.timing.patterns.get(pattern), 0

    # --- what ends a green ------------------------------------------------------------------------

    def _note_timers(self) -> None:
        """Start maximum timers and latch gap-outs; end the flashing green of extensions at its cap."""
        extending = 0
        for index, ring in enumerate(self.rings):
            if ring.interval not in GREENS:
                continue
            self.rings[index] = with_timers(self, ring, index)
            is_extension = ring.interval is Interval.GREEN and ring.has_walked and is_held(self, ring)
            if is_extension and self.now_ds < ring.since_ds + PED_EXTEND_MAX_DS:
                extending |= self.timing.phases[ring.phase].displays_extension
        self.ped_extend &= extending & self.commands.ped_extend

    # --- what follows -----------------------------------------------------------------------------

    def _cross_barrier(self) -> bool:
        """End all greens together when no ring has more to serve here; start the next group together."""
        if any(is_stopped(self, index) for index in range(len(self.rings))):
            return False
        if self.next_barrier != NONE:
            return self._start_next_barrier()
        for index, ring in enumerate(self.rings):
            is_resting = not ring.phase or (ring.interval is Interval.RED_CLEAR and not ring.next_phase)
            if not (is_resting or may_end(self, ring, index)) or following(self, index):
                return False
        target = TO_FLASH if units.wants_flash(self.commands) else following_barrier(self)
        if target == NONE:
            return False
        self.next_barrier = target
        for index, ring in enumerate(self.rings):
            next_phase = 0 if target == TO_FLASH else first_phase(self, index, target)
            self.rings[index] = replace(ring, next_phase=next_phase)
            if ring.interval in GREENS:
                self.rings[index] = self.end_green(ring, index, next_phase)
        return True

    def end_green(self, ring: Ring, index: int, next_phase: int) -> Ring:
        """Return a ring whose green ends now; note for its dynamic max whether it maxed or gapped out."""
        if self.timing.phases[ring.phase].dynamic_max_ds and self.cycle is None and not self.only:
            self.running_max[ring.phase] = next_running_max(self, ring, index)
        return replace(ring, interval=Interval.YELLOW, since_ds=self.now_ds, next_phase=next_phase)

    def _start_next_barrier(self) -> bool:
        """Start every ring of the next group, or flash, once all rings are clear."""
        if not all(is_clear(self, ring) for ring in self.rings):
            return False
        target, self.next_barrier = self.next_barrier, NONE
        if gives_way_to_named(self, self.rings):
            target = following_barrier(self)
            self.rings = [replace(ring, next_phase=0) for ring in self.rings]
        if target == TO_FLASH:
            self.unit = units.into_flash(self.unit, self.now_ds)
            self.rings = [at_rest(self.now_ds) for _ in self.rings]
            return True
        self.barrier = target
        firsts = [ring.next_phase or first_phase(self, i, target) for i, ring in enumerate(self.rings)]
        if not target:
            self._start_cycle(firsts[0] or max(firsts))
        self.rings = [self.start_phase(phase, index) for index, phase in enumerate(firsts)]
        return True

    def _start_cycle(self, phase: int) -> None:
        """Take up another pattern, and work out how far this cycle runs late (offset correction)."""
        wanted = wanted_pattern(self)
        if wanted != self.pattern:
            self._take_up(wanted)
        if self.cycle is not None and phase:
            self.shift_ds = self.cycle.corrected_shift_ds(phase, self.time_of_day_ds)

    def start_phase(self, phase: int, index: int, *, is_conditional: bool = False) -> Ring:
        """Return a ring at the first instant of a phase: walk where it is called, else green alone."""
        if not phase:
            return at_rest(self.now_ds)
        self.extended_ds[index] = self.now_ds
        bit, timing = 1 << (phase - 1), self.timing
        wanted = (timing.ped_recall | self.ped_calls) & timing.has_walk & ~self.commands.ped_omit
        interval = Interval.GREEN
        if wanted & bit and not self.unit.preempt:
            self.ped_calls &= ~bit
            interval = timing.phases[phase].first_walk
        ring = Ring(
            phase=phase,
            interval=interval,
            since_ds=self.now_ds,
            green_since_ds=self.now_ds,
            is_conditional=is_conditional,
            has_walked=interval is not Interval.GREEN,
        )
        return replace(ring, due_ds=due_ds(self, ring))


# --- the table ------------------------------------------------------------------------------------

_WALKS = frozenset((Interval.LEADING_WALK, Interval.WALK_DELAY, Interval.WALK))


def _is_timed_out(core: SignalCore, ring: Ring, _index: int) -> bool:
    """Tell whether the interval has lasted its time in the plan."""
    return core.now_ds >= ring.since_ds + core.timing.phases[ring.phase].duration_ds[ring.interval]


def _walk_is_over(core: SignalCore, ring: Ring, index: int) -> bool:
    """Walk has lasted its time, and the phase does not rest in walk."""
    return _is_timed_out(core, ring, index) and not rests_in_walk(core, ring, index)


def _gives_way(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether the green may end and a phase of its own ring follows inside the barrier group."""
    return core.next_barrier == NONE and may_end(core, ring, index) and bool(following(core, index))


def _may_start(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether the ring is clear and a phase follows inside the barrier group."""
    if core.next_barrier != NONE or not is_clear(core, ring):
        return False
    return bool(ring.next_phase) or (not ring.phase and bool(phases_ahead(core, index)))


def _to(interval: Interval) -> Callable[[SignalCore, Ring, int], Ring]:
    return lambda core, ring, _index: replace(ring, interval=interval, since_ds=core.now_ds)


def _to_green_with_walk(core: SignalCore, ring: Ring, index: int) -> Ring:
    """Vehicles get green too; the walk that led goes on."""
    core.extended_ds[index] = core.now_ds
    return replace(ring, interval=Interval.WALK, green_since_ds=core.now_ds)


def _to_extension(core: SignalCore, ring: Ring, _index: int) -> Ring:
    """Clearance is over: green alone, or held for whoever is still crossing."""
    core.ped_extend |= core.timing.phases[ring.phase].displays_extension
    return replace(ring, interval=Interval.GREEN, since_ds=core.now_ds)


def _to_walk_again(core: SignalCore, ring: Ring, _index: int) -> Ring:
    core.ped_calls &= ~ring.bit
    return replace(ring, interval=Interval.WALK, since_ds=core.now_ds, has_walked=True)


def _to_yellow(core: SignalCore, ring: Ring, index: int) -> Ring:
    next_phase = following(core, index)
    is_conditional = not phases_ahead(core, index)
    return replace(core.end_green(ring, index, next_phase), is_conditional=is_conditional)


def _to_next_phase(core: SignalCore, ring: Ring, index: int) -> Ring:
    if gives_way_to_named(core, [ring]):
        return at_rest(core.now_ds)
    phase = ring.next_phase or phases_ahead(core, index)[0]
    return core.start_phase(phase, index, is_conditional=ring.is_conditional)


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of the table.

    Parameters
    ----------
    when : what a traffic engineer calls it.
    is_due, apply : the test, and what the ring becomes.
    into : intervals it may lead to.
    """

    when: str
    is_due: Callable[[SignalCore, Ring, int], bool]
    apply: Callable[[SignalCore, Ring, int], Ring]
    into: tuple[Interval, ...]


_I = Interval
_STARTS = (_I.WALK, _I.LEADING_WALK, _I.WALK_DELAY, _I.GREEN)

TRANSITIONS: dict[Interval, tuple[Transition, ...]] = {
    _I.LEADING_WALK: (Transition("leading walk timed", _is_timed_out, _to_green_with_walk, (_I.WALK,)),),
    _I.WALK_DELAY: (Transition("walk delay timed", _is_timed_out, _to(_I.WALK), (_I.WALK,)),),
    _I.WALK: (Transition("walk timed, no rest in walk", _walk_is_over, _to(_I.PED_CLEAR), (_I.PED_CLEAR,)),),
    _I.PED_CLEAR: (Transition("clearance timed", _is_timed_out, _to_extension, (_I.GREEN,)),),
    _I.GREEN: (
        Transition(
            "min green timed; forced off, maxed or gapped out; not held; a phase follows in its ring",
            _gives_way,
            _to_yellow,
            (_I.YELLOW,),
        ),
        Transition("walk called or recycled, and nobody else waits", walks_again, _to_walk_again, (_I.WALK,)),
    ),
    _I.YELLOW: (Transition("yellow timed", _is_timed_out, _to(_I.RED_CLEAR), (_I.RED_CLEAR,)),),
    _I.RED_CLEAR: (
        Transition("red clearance timed, not held; phase next", _may_start, _to_next_phase, _STARTS),
    ),
}
"""Interval by interval: what ends it and what follows."""

AT_A_BARRIER: dict[Interval, tuple[str, tuple[Interval, ...]]] = {
    _I.GREEN: ("every ring may end and has nothing left before the barrier", (_I.YELLOW,)),
    _I.RED_CLEAR: ("every ring is clear: the next group, or flash", (*_STARTS, _I.RED_CLEAR)),
}
"""What concerns all rings at once (`SignalCore._cross_barrier`), in the same terms."""

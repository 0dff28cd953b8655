"""The core alone under a script of calls: what it shows, second by second, and what changed in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .call_script import CALL_FIELDS, CallScript, Happening
from .core import SignalCore
from .plan import SitePlan
from .ring import Interval
from .signals import (
    NO_CALLS,
    NO_COMMANDS,
    PATTERN_FLASH,
    PATTERN_FREE,
    PHASE_ORDERS,
    RING_ORDERS,
    CabinetStatus,
    Calls,
    Commands,
    Lamps,
    phase_mask,
    phases_in,
)
from .timing import DAY_DS, to_ds

SECOND_DS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RingPlace:
    """Where a ring is: its phase (0 at rest), its interval, and for how long so far. [0.1 s]"""

    phase: int
    interval: Interval
    lasted_ds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that changed or was scripted, in words. [0.1 s]"""

    at_ds: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """The core at a moment.

    Parameters
    ----------
    at_ds : the moment. [0.1 s]
    cycle_ds : place in the pattern's cycle; None while no pattern of the plan runs. [0.1 s]
    rings : one per ring of the plan.
    lamps, status : as the core gives them.
    extending : phases in whose service somebody walked and that are held past clearance.
    events : what happened from this row's moment until the next row.
    """

    at_ds: int
    cycle_ds: int | None
    rings: tuple[RingPlace, ...]
    lamps: Lamps
    status: CabinetStatus
    extending: int
    events: tuple[Event, ...]


def trace_rows(
    plan: SitePlan, script: CallScript, seconds: int, *, by_change: bool = False
) -> Iterator[TraceRow]:
    """Run a core and yield what it shows.

    Parameters
    ----------
    plan : a checked plan.
    script : what happens, and the hour of day of the start.
    seconds : how long, >= 1. [s]
    by_change : one row whenever something changes or happens, instead of one per second.

    Notes
    -----
    A row shows the tenth of a second that begins at its moment.
    """
    tracer = _Tracer(plan, script)
    pending: TraceRow | None = None
    events: list[Event] = []
    for at_ds in range(seconds * SECOND_DS):
        news = tracer.step()
        is_due = bool(news) or not at_ds if by_change else at_ds % SECOND_DS == 0
        if is_due:
            if pending is not None:
                yield replace(pending, events=tuple(events))
            pending, events = tracer.row(), []
        events += news
    if pending is not None:
        yield replace(pending, events=tuple(events))


class _Tracer:
    """A core, the script it is under, and what it showed a tenth of a second ago."""

    def __init__(self, plan: SitePlan, script: CallScript) -> None:
        self.plan = plan
        self.core = SignalCore(plan, day_offset_ds=to_ds(script.start_hour * 3600))
        self.now_ds = 0
        self.walked = 0
        self.status = self.core.status()
        self.lamps = self.core.lamps
        self._waiting = _Waiting(plan, script)

    def step(self) -> list[Event]:
        """Let a tenth of a second pass; return what was scripted for it and what changed."""
        self.now_ds = self.core.now_ds
        scripted = self._waiting.begin(self.now_ds)
        calls, commands = self._waiting.now(self.core.lamps, has_news=bool(scripted))
        before, lamps_before = self.status, self.lamps
        self.lamps = self.core.advance(1, calls, commands)
        self.status = self.core.status()
        self.walked = (self.walked | self.lamps.walk) & self.status.phase_on
        words = [*scripted, *_lamp_changes(self.plan, lamps_before, self.lamps)]
        words += _status_changes(before, self.status)
        return [Event(at_ds=self.now_ds, words=each) for each in words]

    def row(self) -> TraceRow:
        """Return what the core shows now, without events."""
        lamps = self.lamps
        over = ~(lamps.walk | lamps.ped_clear | lamps.yellow)
        rings = tuple(
            RingPlace(phase=ring.phase, interval=ring.interval, lasted_ds=self.now_ds - ring.since_ds)
            for ring in self.core.state.rings
        )
        return TraceRow(
            at_ds=self.now_ds,
            cycle_ds=self._cycle_ds(),
            rings=rings,
            lamps=lamps,
            status=self.status,
            extending=self.walked & over & (self.status.held | self.status.red_held),
            events=(),
        )

    def _cycle_ds(self) -> int | None:
        cycle = self.core.cycle
        if cycle is None or self.lamps.is_flashing:
            return None
        return cycle.place_ds((self.now_ds + self.core.day_offset_ds) % DAY_DS, self.core.shift_ds)


class _Waiting:
    """What of a script holds at a moment, as calls and commands; the same objects while nothing changes."""

    def __init__(self, plan: SitePlan, script: CallScript) -> None:
        self._crossings = [each.id for each in plan.crossings]
        self._ahead = sorted(script.at, key=lambda each: each.s)
        self._active: list[Happening] = []
        self._served: set[tuple[int, int]] = set()  # (id of a happening, phase) of vehicles gone
        self._now_ds = 0
        self._green = 0
        self._is_pushed = False
        self._calls, self._commands = NO_CALLS, NO_COMMANDS

    def begin(self, now_ds: int) -> list[str]:
        """Take up what begins now, let go what is over, and return both in words."""
        self._now_ds = now_ds
        over = [each for each in self._active if each.until_s is not None and now_ds >= to_ds(each.until_s)]
        words = [f"over: {each.told}" for each in over]
        self._active = [each for each in self._active if each not in over]
        while self._ahead and to_ds(self._ahead[0].s) <= now_ds:
            self._active.append(self._ahead.pop(0))
            words.append(f"script: {self._active[-1].told}")
        return words

    def now(self, lamps: Lamps, *, has_news: bool) -> tuple[Calls, Commands]:
        """Return the calls and commands of this moment, given the lamps up to it.

        Parameters
        ----------
        lamps : vehicles leave in their green.
        has_news : something began or ended at this moment.
        """
        if not has_news and not self._is_pushed and lamps.green == self._green:
            return self._calls, self._commands
        self._green, self._is_pushed = lamps.green, has_news  # a button is let go a tenth later
        calls = Calls(**{name: self._called(name, lamps.green) for name in CALL_FIELDS})
        masks = {name: self._union(name) for name in (*PHASE_ORDERS, *RING_ORDERS)}
        extended = {name for each in self._active for name in each.ped_extend}
        preempts = [each.preempt for each in self._active if each.preempt is not None]
        patterns = [each.pattern_number for each in self._active if each.pattern is not None]
        commands = Commands(
            **masks,
            ped_extend=sum(1 << i for i, name in enumerate(self._crossings) if name in extended),
            preempt=min(preempts, default=0),
            pattern=patterns[-1] if patterns else NO_COMMANDS.pattern,
        )
        self._calls = calls if calls != self._calls else self._calls
        self._commands = commands if commands != self._commands else self._commands
        return self._calls, self._commands

    def _union(self, name: str) -> int:
        return phase_mask(number for each in self._active for number in getattr(each, name))

    def _called(self, name: str, green: int) -> int:
        """Return a detector's mask: buttons are pushed once, vehicles leave in their green."""
        called: list[int] = []
        for each in self._active:
            phases: tuple[int, ...] = getattr(each, name)
            if each.until_s is None and name == "ped" and self._now_ds > to_ds(each.s):
                continue
            if each.until_s is None and name == "vehicle":
                self._served |= {(id(each), phase) for phase in phases_in(green & phase_mask(phases))}
                phases = tuple(phase for phase in phases if (id(each), phase) not in self._served)
            called += phases
        return phase_mask(called)


def pattern_name(number: int) -> str:
    """Return a pattern as a person names it: its number, `free` or `flash`."""
    return {PATTERN_FREE: "free", PATTERN_FLASH: "flash"}.get(number, str(number))


def _lamp_changes(plan: SitePlan, before: Lamps, after: Lamps) -> Iterator[str]:
    if before == after:
        return
    if before.is_flashing != after.is_flashing:
        yield "flash begins" if after.is_flashing else "flash ends"
    for phase in plan.phase_numbers:
        bit = phase_mask((phase,))
        shown = [_vehicle_lamp(lamps, bit) for lamps in (before, after)]
        if shown[0] != shown[1] and not before.is_flashing | after.is_flashing:
            yield f"phase {phase} {shown[1]}"
        crossings = " ".join(plan.phase(phase).crossings)
        for name, words in (("walk", "walk"), ("ped_clear", "clearance")):
            if getattr(after, name) & ~getattr(before, name) & bit:
                yield f"{words} {crossings}"
        is_over = (before.walk | before.ped_clear) & ~(after.walk | after.ped_clear) & bit
        if is_over:
            yield f"don't walk {crossings}"


def _vehicle_lamp(lamps: Lamps, bit: int) -> str:
    return "green" if lamps.green & bit else "yellow" if lamps.yellow & bit else "red"


def _status_changes(before: CabinetStatus, after: CabinetStatus) -> Iterator[str]:
    for name, words in (("held", "hold"), ("red_held", "red hold")):
        was, now = getattr(before, name), getattr(after, name)
        for phase in phases_in(now & ~was):
            yield f"{words} keeps phase {phase}"
        for phase in phases_in(was & ~now):
            yield f"{words} keeps phase {phase} no longer"
    for name, words in (("vehicle_calls", "called"), ("ped_calls", "walk called")):
        new = getattr(after, name) & ~getattr(before, name)
        if new:
            yield f"{words} {' '.join(map(str, phases_in(new)))}"
    if before.pattern != after.pattern:
        yield f"pattern {pattern_name(after.pattern)}"
    if before.preempt != after.preempt:
        yield f"preemption {after.preempt} in effect" if after.preempt else "preemption over"
    if before.out_of_step_ds != after.out_of_step_ds:
        late_s = after.out_of_step_ds / 10
        yield f"{late_s:+.1f} s out of step" if late_s else "in step"

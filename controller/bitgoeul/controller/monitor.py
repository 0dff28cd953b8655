"""The malfunction monitor: a second opinion on the lamps, by the plan's conflicts and minimums alone.

After the malfunction management unit of NEMA TS 2. It shares no code with the core and knows nothing of
how a cabinet decides: it sees indications and the time, and says what must never have been seen.

| it sees | in process (`Monitor`) | over a link (`LinkMonitor`) |
|---|---|---|
| conflict, yellow or red short or missing, dual, dark, unknown | trips: flash | release and alarm |
| short green, walk or pedestrian clearance | report | report |
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from .monitor_card import ProgramCard, Walk, bits_of
from .plan import SitePlan
from .signals import ALL_RED, Lamps

TOLERANCE_DS = 1
"""A time may fall short of the plan's by so much: moments are rounded to tenths. [0.1 s] [A]"""
LONG_AGO_DS = -(1 << 62)
"""Since when a lamp is lit that was lit before anybody looked. [0.1 s]"""
REPORTS_KEPT = 1000
"""So many of the newest reports are kept. [reports] [A]"""
RELEASE_AND_ALARM = "release_and_alarm"
"""What to do on a fault seen over a link: let go of the cabinet, which has a monitor of its own; alarm."""


class Kind(StrEnum):
    """What can be wrong with the lamps; the last three are reported, the others trip."""

    CONFLICT = "conflict"
    SHORT_YELLOW = "short yellow"
    MISSING_YELLOW = "missing yellow"
    SHORT_RED = "short red"
    MISSING_RED = "missing red"
    DUAL = "dual indication"
    DARK = "dark"
    UNKNOWN = "unknown channel"
    SHORT_GREEN = "short green"
    SHORT_WALK = "short walk"
    SHORT_CLEARANCE = "short pedestrian clearance"


REPORTED = frozenset((Kind.SHORT_GREEN, Kind.SHORT_WALK, Kind.SHORT_CLEARANCE))
"""What is reported without tripping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that must not have been seen.

    Parameters
    ----------
    kind : what it is.
    first, second : the channels concerned, such as `phase 2 (EBT, EBR)`, `overlap A (EBR)` or
        `crossing XS`; `second` is empty where one channel is at fault alone.
    at_ds : the moment it was seen. [0.1 s]
    sentence : the same in words.
    lasted_ds, needed_ds : how long it lasted, and the plan's least; None where time is not the matter.
        [0.1 s]
    """

    kind: Kind
    first: str
    second: str = ""
    at_ds: int
    sentence: str
    lasted_ds: int | None = None
    needed_ds: int | None = None

    def __str__(self) -> str:
        return f"{self.at_ds / 10:.1f} s: {self.kind}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLamps:
    """What is lit in the street by the read-back of the lamps' supply: masks of phases (bit 0: phase 1)."""

    red: int = 0
    yellow: int = 0
    green: int = 0


def flash_lamps() -> Lamps:
    """Return what a tripped cabinet shows: all vehicle heads flash, walkers' heads are dark."""
    return Lamps(is_flashing=True)


@dataclass(frozen=True, slots=True)
class History:
    """What is known of the lamps so far.

    Parameters
    ----------
    lamps : as last seen.
    since_ds : per bit of a vehicle channel, since when it shows its colour. [0.1 s]
    walk_since_ds : per walk of the card, since when it shows walk, clearance or neither. [0.1 s]
    """

    lamps: Lamps
    since_ds: tuple[int, ...]
    walk_since_ds: tuple[int, ...]


@dataclass(slots=True)
class Look:
    """One look at the lamps: what is wrong at this moment, and with what led to it.

    Parameters
    ----------
    card : the plan's program card.
    step_ds : moments are sampled so far apart, in step with the cabinet. [0.1 s]
    now_ds, lamps : the moment, and what is shown from then on.
    unseen_ds : for how long before now nobody looked: a change may be as old as that. [0.1 s]
    """

    card: ProgramCard
    step_ds: int
    now_ds: int
    lamps: Lamps
    unseen_ds: int = 0
    faults: list[Fault] = field(default_factory=list)

    def after(self, history: History | None) -> History:
        """Judge the lamps after this history (None: none is known); return what is known from now on."""
        card = self.card
        self._judge_moment()
        if history is None or self.lamps.is_flashing:
            long_ago = (LONG_AGO_DS,)
            return History(self.lamps, long_ago * card.crossings_at, long_ago * len(card.walks))
        since_ds, walk_since_ds = list(history.since_ds), list(history.walk_since_ds)
        self._judge_vehicles(history.lamps, since_ds)
        self._judge_walks(history.lamps, walk_since_ds)
        self._judge_starts(history.lamps, since_ds)
        return History(self.lamps, tuple(since_ds), tuple(walk_since_ds))

    @property
    def reports(self) -> tuple[Fault, ...]:
        """What is wrong and trips nothing."""
        return tuple(each for each in self.faults if each.kind in REPORTED)

    @property
    def trips(self) -> tuple[Fault, ...]:
        """What is wrong and trips."""
        return tuple(each for each in self.faults if each.kind not in REPORTED)

    def note(self, kind: Kind, first: str, sentence: str, second: str = "") -> None:
        """Add a fault that is not of time."""
        self.faults.append(Fault(kind=kind, first=first, second=second, at_ds=self.now_ds, sentence=sentence))

    def _least_ds(self, needed_ds: int) -> int:
        """Return what a time must reach to be the plan's, as a cabinet sampled in steps shows it. [0.1 s]"""
        return needed_ds // self.step_ds * self.step_ds - TOLERANCE_DS

    def _time(self, kind: Kind, channels: tuple[str, str], times_ds: tuple[int, int], sentence: str) -> None:
        """Note a fault if what lasted so long is shorter than what is needed, `times_ds`. [0.1 s]"""
        lasted_ds, needed_ds = times_ds
        if lasted_ds >= self._least_ds(needed_ds):
            return
        first, second = channels
        self.faults.append(
            Fault(
                kind=kind,
                first=first,
                second=second,
                at_ds=self.now_ds,
                sentence=f"{sentence} {lasted_ds / 10:.1f} s; the plan's least is {needed_ds / 10:.1f} s",
                lasted_ds=lasted_ds,
                needed_ds=needed_ds,
            )
        )

    def _judge_moment(self) -> None:
        """Judge what is lit at once: unknown channels, dual indications, conflicts."""
        card, lamps = self.card, self.lamps
        for channel in card.strays(lamps):
            self.note(Kind.UNKNOWN, channel, f"{channel} is lit, and the plan has none such")
        greens, yellows, walking = card.greens(lamps), card.yellows(lamps), card.walking(lamps)
        lit = greens | yellows | walking
        for index in bits_of(greens & yellows):
            self._dual(index, "green and yellow")
        for index, phases in enumerate(card.walk_phases):
            is_clearing = lamps.ped_clear & phases or lamps.ped_extend >> index & 1
            if lamps.walk & phases and is_clearing:
                self._dual(card.crossings_at + index, "walk and clearance")
        if lamps.is_flashing:
            for index in bits_of(lit):
                self._dual(index, "flash and an indication")
        self.judge_conflicts(lit)

    def _dual(self, index: int, both: str) -> None:
        label = self.card.names[index]
        self.note(Kind.DUAL, label, f"{label} shows {both} at once")

    def judge_conflicts(self, lit: int) -> None:
        """Judge the channels that are lit at once."""
        for index in bits_of(lit):
            for other in bits_of(self.card.conflicts[index] & lit & -2 << index):
                first, second = self.card.meeting(index, other)
                self.note(Kind.CONFLICT, first, f"{first} and {second} are lit together", second)

    def _judge_vehicles(self, before: Lamps, since_ds: list[int]) -> None:
        """Judge what each phase and overlap that changes has shown until now."""
        card = self.card
        greens, yellows = card.greens(self.lamps), card.yellows(self.lamps)
        were_green, were_yellow = card.greens(before), card.yellows(before)
        for index in bits_of((greens ^ were_green) | (yellows ^ were_yellow)):
            channel = card.channels[index]
            bit, lasted_ds = 1 << index, self.now_ds - since_ds[index]
            label = card.names[index]
            if were_green & bit and not greens & bit:
                times_ds = (lasted_ds, channel.green_ds)
                self._time(Kind.SHORT_GREEN, (label, ""), times_ds, f"{label}: green lasted")
                if not yellows & bit and self.unseen_ds < self._least_ds(channel.yellow_ds):
                    self.note(Kind.MISSING_YELLOW, label, f"{label} went from green to red without yellow")
            if were_yellow & bit and not yellows & bit:
                times_ds = (lasted_ds, channel.yellow_ds)
                self._time(Kind.SHORT_YELLOW, (label, ""), times_ds, f"{label}: yellow lasted")
                if greens & bit and self.unseen_ds < self._least_ds(channel.revert_ds):
                    self.note(Kind.MISSING_RED, label, f"{label} went from yellow to green without red")
            since_ds[index] = self.now_ds - self.unseen_ds

    def _judge_walks(self, before: Lamps, walk_since_ds: list[int]) -> None:
        """Judge what each walk that changes has shown until now."""
        lamps = self.lamps
        for index, walk in enumerate(self.card.walks):
            bit = walk.bit
            if not ((lamps.walk ^ before.walk) | (lamps.ped_clear ^ before.ped_clear)) & bit:
                continue
            lasted_ds = self.now_ds - walk_since_ds[index]
            if before.walk & ~lamps.walk & bit:
                self._walk_times(Kind.SHORT_WALK, walk, (lasted_ds, walk.walk_ds), "walk")
                if not lamps.ped_clear & bit:
                    times_ds = (self.unseen_ds, walk.clear_ds)
                    self._walk_times(Kind.SHORT_CLEARANCE, walk, times_ds, "pedestrian clearance")
            elif before.ped_clear & ~lamps.ped_clear & bit:
                times_ds = (lasted_ds, walk.clear_ds)
                self._walk_times(Kind.SHORT_CLEARANCE, walk, times_ds, "pedestrian clearance")
            walk_since_ds[index] = self.now_ds - self.unseen_ds

    def _walk_times(self, kind: Kind, walk: Walk, times_ds: tuple[int, int], what: str) -> None:
        for label in walk.labels:
            self._time(kind, (label, ""), times_ds, f"{label}: {what} lasted")

    def _judge_starts(self, before: Lamps, since_ds: list[int]) -> None:
        """Judge the red clearance of whatever conflicts with what starts now."""
        card = self.card
        lit, were_lit = (
            card.greens(each) | card.yellows(each) | card.walking(each) for each in (self.lamps, before)
        )
        vehicles = (1 << card.crossings_at) - 1
        for index in bits_of(lit & ~were_lit):
            for other in bits_of(card.conflicts[index] & ~lit & vehicles):
                times_ds = (self.now_ds - since_ds[other], card.channels[other].red_ds)
                if times_ds[0] < self._least_ds(times_ds[1]):
                    first, second = card.meeting(index, other)
                    sentence = f"{first} started before the red clearance of {second} was over: it lasted"
                    self._time(Kind.SHORT_RED, (first, second), times_ds, sentence)


class Monitor:
    """Watches the lamps of a cabinet in process, and trips.

    Parameters
    ----------
    plan : a checked site plan.
    step_ds : moments are sampled so far apart, in step with the cabinet; a time of the plan that is no
        multiple of it may show as the multiple below. [0.1 s]

    Notes
    -----
    Lamps are taken to last from one call to the next. What was lit before the first call, or before flash
    ended, is never judged for its time.
    """

    def __init__(self, plan: SitePlan, *, step_ds: int = 1) -> None:
        self._card, self._step_ds = ProgramCard(plan), step_ds
        self._history: History | None = None
        self._lamps: Lamps | None = None
        self._trip: Fault | None = None
        self._faults: list[Fault] = []
        self._reports: deque[Fault] = deque(maxlen=REPORTS_KEPT)

    @property
    def is_tripped(self) -> bool:
        """Tell whether a fault was seen since the last reset."""
        return self._trip is not None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Every fault that tripped, oldest first; a reset does not forget them."""
        return tuple(self._faults)

    @property
    def reports(self) -> tuple[Fault, ...]:
        """What was wrong and did not trip, oldest first; the newest `REPORTS_KEPT`."""
        return tuple(self._reports)

    def watch(self, now_ds: int, lamps: Lamps) -> Fault | None:
        """Judge the lamps shown from now on.

        Parameters
        ----------
        now_ds : the moment, not before the last one. [0.1 s]
        lamps : what is shown; the same object while nothing changes costs nothing.

        Returns
        -------
        The fault that tripped the monitor, at every call until it is reset; None while there is none.
        """
        if lamps is self._lamps or self._trip is not None:
            return self._trip
        look = Look(self._card, self._step_ds, now_ds, lamps)
        self._history, self._lamps = look.after(self._history), lamps
        return self._take(look) if look.faults else None

    def watch_field(self, now_ds: int, states: FieldLamps) -> Fault | None:
        """Judge what is lit in the street: dark phases, dual indications, conflicts.

        Parameters
        ----------
        now_ds : the moment. [0.1 s]
        states : the read-back, free of the moments in which relays change over: one read decides. While
            the cabinet flashes it is not judged.

        Returns
        -------
        As `watch`.
        """
        is_flashing = self._lamps is not None and self._lamps.is_flashing
        if self._trip is not None or is_flashing:
            return self._trip
        card = self._card
        look = Look(card, self._step_ds, now_ds, ALL_RED)
        red, yellow, green = states.red, states.yellow, states.green
        for index in bits_of(card.headed & ~(red | yellow | green)):
            label = card.names[index]
            look.note(Kind.DARK, label, f"{label} is dark: none of its lamps is lit")
        for index in bits_of(card.headed & (red & yellow | red & green | yellow & green)):
            label = card.names[index]
            look.note(Kind.DUAL, label, f"{label} has two colours lit at once")
        look.judge_conflicts((yellow | green) & card.headed)
        return self._take(look)

    def reset(self) -> None:
        """Take the trip back, as a person at the cabinet does; history starts anew."""
        self._trip = self._history = self._lamps = None

    def _take(self, look: Look) -> Fault | None:
        """Sort what a look found into reports and faults; trip on the first fault."""
        self._reports.extend(look.reports)
        self._faults += look.trips
        self._trip = next(iter(look.trips), None)
        return self._trip


class LinkMonitor:
    """Watches lamps that are read over a link, late and now and then wrong, and never trips.

    Parameters
    ----------
    plan : a checked site plan.

    Notes
    -----
    A read counts when the next one is the same, so a single odd or stale read is ignored. What changed
    between two such pairs may have changed right after the first read of the one or right before the second
    read of the other: only what is short, or missing, either way is a fault. Read every 0.1 s that is short
    by more than about 0.3 s.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._card = ProgramCard(plan)
        self._history: History | None = None
        self._lamps: Lamps | None = None
        self._read_ds = self._known_ds = 0
        self._faults: tuple[Fault, ...] = ()
        self._reports: deque[Fault] = deque(maxlen=REPORTS_KEPT)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that were read twice; empty while there are none."""
        return self._faults

    @property
    def reports(self) -> tuple[Fault, ...]:
        """What was wrong and asks for nothing, oldest first; the newest `REPORTS_KEPT`."""
        return tuple(self._reports)

    def watch(self, now_ds: int, lamps: Lamps) -> str | None:
        """Judge a read.

        Parameters
        ----------
        now_ds : when it was read, after the last one. [0.1 s]
        lamps : what was read.

        Returns
        -------
        `RELEASE_AND_ALARM` from the second consistent read of a fault until `reset`; else None.
        """
        if not self._faults and lamps == self._lamps:
            if self._history is None or lamps != self._history.lamps:
                self._judge(now_ds, lamps)
            self._known_ds = self._read_ds
        self._lamps, self._read_ds = lamps, now_ds
        return RELEASE_AND_ALARM if self._faults else None

    def reset(self) -> None:
        """Forget the faults; history starts anew."""
        self._faults, self._history, self._lamps = (), None, None

    def _judge(self, now_ds: int, lamps: Lamps) -> None:
        look = Look(self._card, 1, now_ds, lamps, unseen_ds=now_ds - self._known_ds)
        self._history = look.after(self._history)
        self._reports.extend(look.reports)
        self._faults = look.trips

"""What is set against the guard: a hostile policy, failing detectors, a failing link; and who judges it."""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

from bitgoeul.controller.backends.base import CabinetReading
from bitgoeul.controller.detection import Frame
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import (
    NO_COMMANDS,
    PATTERN_FLASH,
    PATTERN_FREE,
    Commands,
    Lamps,
    phase_mask,
    phases_in,
)
from bitgoeul.controller.situation import Proposal, Situation

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "laws"))
from lamp_laws import LampLaws

STEP_DS = 5
"""A tick. [0.1 s]"""
CONFIRMED = 2
"""Pictures that somebody must be in to be confirmed."""
ABSURD: tuple[Any, ...] = (
    None,
    "go",
    object(),
    Proposal(None),  # type: ignore[arg-type]
    Proposal(Commands(hold=math.nan)),  # type: ignore[arg-type]
    Proposal(Commands(force_off=math.inf)),  # type: ignore[arg-type]
    Proposal(Commands(hold="all")),  # type: ignore[arg-type]
    Proposal(Commands(pattern=[1])),  # type: ignore[arg-type]
    Proposal(Commands(hold=8), extension="8"),  # type: ignore[arg-type]
    Proposal(Commands(hold=1 << 20)),
    Proposal(Commands(phase_omit=-1)),
    Proposal(Commands(red_hold=1 << 12, vehicle_call=1 << 9)),
    Proposal(Commands(pattern=77)),
    Proposal(Commands(pattern=PATTERN_FLASH)),
    Proposal(Commands(stop_time=0b11)),
    Proposal(Commands(preempt=1)),
)
"""What is no order, or none that a policy may give."""


class HostilePolicy:
    """Proposes one kind of harm for a while, then another.

    Parameters
    ----------
    plan : the site, for its phases.
    random : decides on everything.
    """

    name = "adversary"
    reads_vehicles = True

    def __init__(self, plan: SitePlan, random: Random) -> None:
        self._random = random
        self._phases = phase_mask(plan.phase_numbers)
        self._until_ds = 0
        self._proposal: Any = None
        self._renew: Callable[[int], Any] = lambda _now_ds: None
        self._renew_every_ds = 0
        self._renew_at_ds = 0

    def propose(self, situation: Situation) -> Any:
        """Return anything at all."""
        now_ds, random = situation.snapshot.now_ds, self._random
        if now_ds >= self._until_ds:
            self._until_ds = now_ds + random.choice((50, 300, 3_000, 12_000))
            kinds = (self._absurd, self._legal, self._held, self._omitted, self._stale, self._forced)
            self._renew, self._renew_at_ds = random.choice(kinds), now_ds
            self._renew_every_ds = random.choice((STEP_DS, STEP_DS, 50, 1 << 40))
        if now_ds >= self._renew_at_ds:
            self._proposal = self._renew(now_ds)
            self._renew_at_ds = now_ds + self._renew_every_ds
        return self._proposal

    def _some(self) -> int:
        return self._random.choice((0, self._phases, self._random.getrandbits(8) & self._phases))

    def _absurd(self, _now_ds: int) -> Any:
        return self._random.choice(ABSURD)

    def _legal(self, _now_ds: int) -> Proposal:
        some, pattern = self._some, self._random.choice((0, 1, PATTERN_FREE))
        orders = Commands(
            hold=some(),
            force_off=some(),
            phase_omit=some(),
            ped_omit=some(),
            vehicle_call=some(),
            ped_call=some(),
            walk_rest=some(),
            red_hold=some(),
            pattern=pattern,
        )
        return Proposal(orders, extension=some())

    def _held(self, _now_ds: int) -> Proposal:
        kept = self._random.choice((self._phases, self._some()))
        orders = (
            Commands(hold=kept, pattern=PATTERN_FREE),
            Commands(hold=kept, walk_rest=kept),
            Commands(red_hold=kept, pattern=PATTERN_FREE),
        )
        return Proposal(self._random.choice(orders))

    def _omitted(self, _now_ds: int) -> Proposal:
        left_out = self._random.choice((self._phases, self._some()))
        orders = (
            Commands(phase_omit=left_out, pattern=PATTERN_FREE),
            Commands(ped_omit=left_out, pattern=PATTERN_FREE),
            Commands(phase_omit=left_out, ped_omit=self._phases),
        )
        return Proposal(self._random.choice(orders))

    def _stale(self, now_ds: int) -> Proposal:
        made_ds: Any = self._random.choice((now_ds - 600, now_ds + 600, now_ds, "now"))
        return Proposal(Commands(force_off=self._phases, phase_omit=self._some()), made_ds=made_ds)

    def _forced(self, _now_ds: int) -> Proposal:
        wanted = self._some()
        return Proposal(
            Commands(force_off=self._phases & ~wanted, hold=wanted, vehicle_call=wanted, pattern=PATTERN_FREE)
        )


@dataclass
class Lens:
    """What is wrong with one crossing's detector, and until when."""

    fault: str = "well"
    until_ds: int = 0
    seen_ticks: int = 1
    blind_ticks: int = 1
    late_ticks: int = 0
    frozen: Frame | None = None
    past: deque[Frame] = field(default_factory=lambda: deque(maxlen=10))


class FaultySource:
    """A detection source whose crossings go blind, flap, stick or lag, each by itself.

    Parameters
    ----------
    source : the detection source behind it.
    plan : the site.
    random : draws the faults.
    """

    def __init__(self, source: Any, plan: SitePlan, random: Random) -> None:
        self._source, self._random = source, random
        self._lenses = tuple(Lens() for _ in plan.crossings)
        self._bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self.pictures: dict[str, set[int]] = {}
        self.confirmed_ds: dict[str, int] = {}
        self.waiting = 0

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return what gets through; note who was in two pictures, and where somebody is seen waiting."""
        delivered = tuple(
            self._through(lens, frame, now_ds)
            for lens, frame in zip(self._lenses, self._source.frames(now_ds), strict=True)
        )
        self.waiting = 0
        for frame, bits in zip(delivered, self._bits, strict=True):
            self.waiting |= bits if frame.waiting else 0
            for track in frame.on_crossing:
                pictures = self.pictures.setdefault(track.id, set())
                if len(pictures) < CONFIRMED:
                    pictures.add(frame.measured_ds)
                    if len(pictures) == CONFIRMED:
                        self.confirmed_ds[track.id] = now_ds
        return delivered

    def _through(self, lens: Lens, frame: Frame, now_ds: int) -> Frame:
        random = self._random
        if now_ds >= lens.until_ds:
            lens.until_ds = now_ds + random.choice((50, 300, 1_000, 6_000))
            faults = ("well", "well", "well", "blind", "flapping", "frozen", "restamped", "late")
            lens.fault = random.choice(faults)
            lens.seen_ticks, lens.blind_ticks = random.randint(1, 8), random.randint(1, 8)
            lens.late_ticks, lens.frozen = random.randint(1, 8), frame
        lens.past.append(frame)
        if lens.fault == "frozen" and lens.frozen is not None:
            return lens.frozen
        if lens.fault == "restamped" and lens.frozen is not None:
            return _restamped(lens.frozen, now_ds)
        if lens.fault == "late":
            return lens.past[max(-1 - lens.late_ticks, -len(lens.past))]
        period = lens.seen_ticks + lens.blind_ticks
        is_blind = lens.fault == "flapping" and now_ds // STEP_DS % period >= lens.seen_ticks
        if lens.fault == "blind" or is_blind:
            return Frame(frame.crossing, now_ds, is_healthy=False)
        return frame


def _restamped(frame: Frame, now_ds: int) -> Frame:
    """Return an old picture that claims to be of this moment."""
    tracks = tuple(track._replace(measured_ds=now_ds) for track in frame.on_crossing)
    return frame._replace(measured_ds=now_ds, on_crossing=tracks)


class FailingLink:
    """A backend whose orders do not arrive for a time: then the cabinet runs its own plan.

    Parameters
    ----------
    backend : the backend behind it.
    random : draws the failures.
    """

    def __init__(self, backend: Any, random: Random) -> None:
        self._backend, self._random = backend, random
        self.capabilities = backend.capabilities
        self._changes_ds = 18_000
        self.is_down = False
        self.downs: list[list[int]] = []

    def read(self, *, with_vehicles: bool) -> CabinetReading:
        """Return what the backend reads: only orders are lost."""
        reading: CabinetReading = self._backend.read(with_vehicles=with_vehicles)
        return reading

    def write(self, commands: Commands) -> Lamps:
        """Write the orders, or none."""
        now_ds = self._backend.core.now_ds
        if now_ds >= self._changes_ds:
            self.is_down = not self.is_down
            self._changes_ds = now_ds + self._random.choice((20, 600, 6_000) if self.is_down else (18_000,))
            if self.is_down:
                self.downs.append([now_ds, self._changes_ds])
        lamps: Lamps = self._backend.write(NO_COMMANDS if self.is_down else commands)
        return lamps

    def release(self) -> None:
        """Release the backend."""
        self._backend.release()

    def was_down(self, from_ds: int, to_ds: int) -> bool:
        """Tell whether orders were lost at any time between two moments."""
        return any(down <= to_ds and up >= from_ds for down, up in self.downs)


class Umpire:
    """Judges lamps by the plan's geometry alone, and how long calls wait.

    Parameters
    ----------
    plan : the site.
    """

    def __init__(self, plan: SitePlan) -> None:
        self.plan = plan
        self._pairs = [
            (1 << (a.number - 1), 1 << (b.number - 1))
            for a, b in combinations(plan.phases, 2)
            if _meet(plan, a.number, b.number)
        ]
        self._laws, self._watch = LampLaws(plan), _monitor(plan)
        self.conflicts: list[str] = []
        self._since_ds: dict[tuple[str, int], int] = {}
        self.late: list[dict[str, Any]] = []
        self.longest_s: Counter[str] = Counter()

    def judge(self, now_ds: int, lamps: Lamps) -> None:
        """Take note of the lamps shown from now on."""
        moving = lamps.green | lamps.yellow | lamps.walk | lamps.ped_clear
        self.conflicts += [
            f"{now_ds / 10} s: {phases_in(a | b)} lit together"
            for a, b in self._pairs
            if moving & a and moving & b
        ]
        try:
            self._laws.follow(now_ds, lamps)
        except AssertionError as error:
            self.conflicts.append(f"{now_ds / 10} s: {error}")
        if self._watch is not None and self._watch(now_ds, lamps) is not None:
            self.conflicts.append(f"{now_ds / 10} s: the monitor reports a fault")

    def wait(self, now_ds: int, kind: str, waiting: int, served: int) -> None:
        """Follow the calls of a kind: who waits, and who is served now, as phase masks."""
        for phase in phases_in(phase_mask(self.plan.phase_numbers)):
            bit, key = 1 << (phase - 1), (kind, phase)
            since_ds = self._since_ds.get(key)
            if waiting & bit and not served & bit:
                self._since_ds.setdefault(key, now_ds)
            elif since_ds is not None:
                self._ended(key, since_ds, now_ds)

    def waits(self, kind: str) -> int:
        """Return the phases somebody waits for, as a mask."""
        return phase_mask(phase for each, phase in self._since_ds if each == kind)

    def close(self, now_ds: int, link: FailingLink) -> None:
        """Count the calls that nobody has served yet, and mark those that waited while orders were lost."""
        for key, since_ds in list(self._since_ds.items()):
            self._ended(key, since_ds, now_ds)
        for each in self.late:
            since_ds, waited_ds = round(10 * each["since_s"]), round(10 * each["waited_s"])
            each["was_link_down"] = link.was_down(since_ds, since_ds + waited_ds)

    def _ended(self, key: tuple[str, int], since_ds: int, now_ds: int) -> None:
        kind, phase = key
        waited_s = (now_ds - since_ds) / 10
        del self._since_ds[key]
        self.longest_s[kind] = max(self.longest_s[kind], waited_s)
        if waited_s > self.plan.worst_service_s:
            self.late.append({"kind": kind, "phase": phase, "since_s": since_ds / 10, "waited_s": waited_s})


def _monitor(plan: SitePlan) -> Callable[[int, Lamps], object] | None:
    """Return the independent monitor's watch, where there is one."""
    try:
        from bitgoeul.controller.monitor import Monitor
    except ModuleNotFoundError:
        return None
    watch: Callable[[int, Lamps], object] = Monitor(plan).watch
    return watch


def _meet(plan: SitePlan, a: int, b: int) -> bool:
    """Tell whether two phases may never be lit together."""
    movements, others = plan.movements_of(a), plan.movements_of(b)
    walks, other_walks = plan.phase(a).crossings, plan.phase(b).crossings
    return (
        any(plan.movement_relation(one, other) == "conflict" for one in movements for other in others)
        or any(plan.relation(one, crossing) == "conflict" for one in movements for crossing in other_walks)
        or any(plan.relation(one, crossing) == "conflict" for one in others for crossing in walks)
    )

"""A junction without SUMO: the cabinet's core, people walking at their true speed, and a detector of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bitgoeul.controller.backends.base import CabinetReading, Capabilities
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.loop import ControlLoop
from bitgoeul.controller.signals import Calls

TICK_DS = 5


class FakeBackend:
    """The core in process, with calls given by the test."""

    capabilities = Capabilities(red_hold=True, walk_rest_by_phase=True)

    def __init__(self, plan, calls=Calls()):  # noqa: B008 - frozen
        self.core = SignalCore(plan)
        self._calls = calls
        self._zones = (0,) * len(plan.zone_detectors)
        self._loops = (0,) * len(plan.passage_detectors)
        self.is_released = False

    def read(self, *, with_vehicles):
        core = self.core
        zones, loops = (self._zones, self._loops) if with_vehicles else ((), ())
        return CabinetReading(core.now_ds, core.lamps, self._calls, zones, loops, core.held, core.red_held)

    def write(self, commands):
        return self.core.advance(TICK_DS, self._calls, commands)

    def release(self):
        self.is_released = True


@dataclass
class Walker:
    """Somebody who steps on a crossing in one of its services.

    Parameters
    ----------
    crossing : index in the plan.
    service : in which walk of the crossing, from 0.
    start : `walk`, `clear` or `red`, the interval they step on in.
    share : how far into that interval, 0 to 1 (into 20 s of red).
    speed_mps, mobility_class : how they walk, and what the sensor says of them ("" unknown).
    turn : what they do at `turn_m` before the far kerb: "" walk on, `stop` for ever, `stall` for
        `stall_s`, `back` to the kerb they came from, `aside` off the crossing.
    """

    crossing: int
    service: int
    start: str
    share: float
    speed_mps: float
    mobility_class: str = ""
    turn: str = ""
    turn_m: float = 0.0
    stall_s: float = 20.0
    id: str = ""
    turned_ds: int = -1
    remaining_m: float = -1.0
    entered_ds: int = -1
    needed_at_clearance_s: float = 0.0
    clear_ended_ds: int = -1
    detected_by_ds: int = 1 << 60


@dataclass
class Service:
    """One crossing's lamps as people see them."""

    number: int = -1
    interval: str = "red"
    since_ds: int = 0
    walk_since_ds: int = -1


@dataclass(frozen=True)
class Sensor:
    """How the detector errs: latency, noise, and when it is blind or stuck.

    Parameters
    ----------
    seen_ticks, blind_ticks : it sees for so many ticks, then is blind for so many, and so on.
    stuck_from_ds : from then on the same picture is delivered again and again.
    ghosts : standing tracks that nobody is behind, by crossing index.
    """

    latency_ds: int = 5
    noise_m: float = 0.0
    noise_mps: float = 0.0
    seen_ticks: int = 1
    blind_ticks: int = 0
    stuck_from_ds: int = 1 << 60
    ghosts: tuple[int, ...] = ()


@dataclass
class Residual:
    """Somebody still on a crossing when a conflicting green started."""

    walker: Walker
    green: int
    at_ds: int
    turned_ds: int
    clear_ended_ds: int


class FakeStreet:
    """Moves the people and reports them; a `DetectionSource`."""

    def __init__(self, plan, walkers, sensor, *, seed=0):
        self.plan, self.walkers, self.sensor = plan, walkers, sensor
        self._random = np.random.default_rng(seed)
        self.services = [Service() for _ in plan.crossings]
        self._pictures = [[] for _ in plan.crossings]
        self.residuals, self.starts = [], []
        self._green = 0
        for index, walker in enumerate(walkers):
            walker.id = f"p{index}"

    def frames(self, now_ds):
        sensor, frames = self.sensor, []
        is_blind = now_ds // TICK_DS % (sensor.seen_ticks + sensor.blind_ticks) >= sensor.seen_ticks
        for index, crossing in enumerate(self.plan.crossings):
            pictures = self._pictures[index]
            if now_ds < sensor.stuck_from_ds:
                pictures.append((now_ds, self._tracks(index, crossing, now_ds)))
            usable = [p for p in pictures if p[0] <= now_ds - sensor.latency_ds]
            self._pictures[index] = pictures[-20:]
            if is_blind or not usable:
                frames.append(Frame(crossing.id, now_ds, is_healthy=False))
                continue
            measured_ds, tracks = usable[-1]
            for walker in self.walkers:
                if any(track.id == walker.id for track in tracks):
                    walker.detected_by_ds = min(walker.detected_by_ds, now_ds)
            frames.append(Frame(crossing.id, measured_ds, is_healthy=True, on_crossing=tracks))
        return tuple(frames)

    def _tracks(self, index, crossing, now_ds):
        tracks = [
            Track(
                walker.id,
                crossing.id,
                Zone.CROSSING,
                max(walker.remaining_m + self._noise(self.sensor.noise_m), 0.0),
                max(self._speed_of(walker, now_ds) + self._noise(self.sensor.noise_mps), 0.0),
                tuple(float(name == walker.mobility_class) for name in MOBILITY_CLASSES)
                if walker.mobility_class
                else (),
                "fake",
                now_ds,
                walker.entered_ds,
            )
            for walker in self.walkers
            if walker.crossing == index and walker.remaining_m > 0
        ]
        if index in self.sensor.ghosts:
            half_m = crossing.length_m / 2
            tracks.append(Track("ghost", crossing.id, Zone.CROSSING, half_m, 0.0, (), "fake", now_ds, 0))
        return tuple(tracks)

    @staticmethod
    def _speed_of(walker, now_ds):
        if walker.turned_ds >= 0 and (
            walker.turn == "stop"
            or (walker.turn == "stall" and now_ds - walker.turned_ds < walker.stall_s * 10)
        ):
            return 0.0
        return walker.speed_mps

    def _noise(self, spread):
        return float(np.clip(self._random.normal(), -3, 3)) * spread

    def act(self, now_ds, lamps):
        """Judge the greens that start now, then let half a second pass under these lamps."""
        self._judge(now_ds, lamps)
        for index, service in enumerate(self.services):
            self._follow(index, service, now_ds, lamps)
        for walker in self.walkers:
            service = self.services[walker.crossing]
            if walker.entered_ds < 0 and self._enters(walker, service, now_ds):
                walker.entered_ds = now_ds
                walker.remaining_m = self.plan.crossings[walker.crossing].length_m
            if walker.remaining_m > 0:
                self._walk(walker, now_ds)

    def _walk(self, walker, now_ds):
        step_m = walker.speed_mps * TICK_DS / 10 * (1 + self._noise(0.02))
        if walker.turn and walker.turned_ds < 0 and walker.remaining_m - step_m < walker.turn_m:
            walker.turned_ds = now_ds
            length_m = self.plan.crossings[walker.crossing].length_m
            if walker.turn == "aside":
                walker.remaining_m = 0.0
            elif walker.turn == "back":
                walker.remaining_m = length_m - walker.remaining_m
        if self._speed_of(walker, now_ds):
            walker.remaining_m -= step_m

    def _judge(self, now_ds, lamps):
        for phase in self.plan.phases:
            bit = 1 << (phase.number - 1)
            if not (lamps.green & ~self._green & bit):
                continue
            self.starts.append((now_ds, phase.number))
            for walker in self.walkers:
                crossing = self.plan.crossings[walker.crossing].id
                if walker.remaining_m > 0 and phase.number in self.plan.conflicting_phases(crossing):
                    self.residuals.append(
                        Residual(walker, phase.number, now_ds, walker.turned_ds, walker.clear_ended_ds)
                    )
        self._green = lamps.green

    def _follow(self, index, service, now_ds, lamps):
        bit = 1 << (self.plan.phase_of(self.plan.crossings[index].id) - 1)
        interval = "walk" if lamps.walk & bit else "clear" if lamps.ped_clear & bit else "red"
        if interval == service.interval:
            return
        if interval == "walk":
            service.number += 1
            service.walk_since_ds = now_ds
        if service.interval == "clear":
            for walker in self.walkers:
                if walker.crossing == index and walker.remaining_m > 0:
                    walker.needed_at_clearance_s = walker.remaining_m / walker.speed_mps
                    walker.clear_ended_ds = now_ds
        service.interval, service.since_ds = interval, now_ds

    def _enters(self, walker, service, now_ds):
        if service.number != walker.service or service.interval != walker.start:
            return False
        phase = self.plan.phase(self.plan.phase_of(self.plan.crossings[walker.crossing].id))
        length_s = {"walk": phase.walk_s, "clear": phase.ped_clear_s, "red": 20.0}[walker.start]
        return now_ds - service.since_ds >= walker.share * (length_s - 0.5) * 10


@dataclass
class SpyGuard:
    """The guard, with every verdict written down."""

    guard: Guard
    verdicts: list = field(default_factory=list)

    def attach(self, clocks):
        self.guard.attach(clocks)

    @property
    def bound(self):
        return self.guard.bound

    def review(self, snapshot, needs, proposal):
        verdict = self.guard.review(snapshot, needs, proposal)
        self.verdicts.append((snapshot.now_ds, verdict))
        return verdict


class Junction:
    """Everything together; `run` lets it go on."""

    def __init__(self, plan, policy, street, *, guard, calls=Calls()):  # noqa: B008 - frozen
        self.street = street
        self.backend = FakeBackend(plan, calls)
        self.guard = guard if guard is None else SpyGuard(guard)
        self.loop = ControlLoop(plan, self.backend, street, policy, self.guard)

    def run(self, seconds, *, each_tick=None):
        while self.backend.core.now_ds < seconds * 10:
            now_ds = self.backend.core.now_ds
            lamps = self.loop.tick()
            self.street.act(now_ds, lamps)
            if each_tick is not None:
                each_tick(now_ds)
        return self

"""An emulated pedestrian sensor: what cameras would report of the walkers, with their faults, seeded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import inf
from random import Random
from struct import unpack
from zlib import crc32

from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.plan import SitePlan

from .walkers import UNKNOWN_CLASS, Walker, WalkerDriver

SOURCE = "emulated"
"""`Track.source` of every track from here."""
TABLE_SIZE = 1021
"""Draws in each of the two tables shared by all tracks of a run; every person starts elsewhere."""
HOUR_DS = 36_000
UNIT = 2.0**-32
ON_CROSSING = Zone.CROSSING


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorPreset:
    """How good a sensor is. Two kinds of miss are never mixed: a person, and a frame.

    Every default is the preset `camera_day`: [A] FACTS, detection noise defaults.

    Parameters
    ----------
    name : name of the preset.
    person_recall : share of persons who are ever seen.
    frame_seen_share : share of the time in which a seen person on a crossing is in the picture.
    mean_gap_s : mean length of the gaps in between; both periods are exponential. [s]
    latency_s : from taking a picture to delivering it. [s]
    position_noise_m : standard deviation of the distance to the far kerb. [m]
    speed_noise_mps : standard deviation of the speed. [m/s]
    class_precision : share of reported classes that are right; also the probability stated.
    unknown_class_share : share of persons whose class is not reported.
    false_tracks_per_h : false tracks an hour and crossing. [1/h]
    false_track_mean_s : mean life of a false track. [s] [A]
    outage_share : share of the time in which a crossing's sensor is blind; 1 is always.
    outage_mean_s : mean length of an outage. [s]
    """

    name: str = "camera_day"
    person_recall: float = 0.97
    frame_seen_share: float = 0.95
    mean_gap_s: float = 0.5
    latency_s: float = 0.5
    position_noise_m: float = 0.3
    speed_noise_mps: float = 0.1
    class_precision: float = 0.9
    unknown_class_share: float = 0.0
    false_tracks_per_h: float = 1.0
    false_track_mean_s: float = 5.0
    outage_share: float = 0.01
    outage_mean_s: float = 5.0


CAMERA_DAY = DetectorPreset()
"""The default: [A] FACTS, detection noise defaults."""
PERFECT = DetectorPreset(
    name="perfect",
    person_recall=1.0,
    frame_seen_share=1.0,
    mean_gap_s=0.0,
    latency_s=0.0,
    position_noise_m=0.0,
    speed_noise_mps=0.0,
    class_precision=1.0,
    false_tracks_per_h=0.0,
    outage_share=0.0,
)
"""Every walker in every picture at once, with the true class: the upper bound."""
CAMERA_NIGHT = DetectorPreset(
    name="camera_night",
    person_recall=0.90,  # [A] second of FACTS' three steps
    frame_seen_share=0.90,  # [A]
    mean_gap_s=1.0,  # [A]
    latency_s=1.0,  # [A] a valid detection is under 1 s late
    position_noise_m=0.5,  # [A]
    speed_noise_mps=0.2,  # [A]
    class_precision=0.7,  # [A] FACTS
    unknown_class_share=0.2,  # [A]
    false_tracks_per_h=3.0,  # [A] inside FACTS' 0.1-6
    outage_share=0.02,  # [A]
    outage_mean_s=10.0,  # [A]
)
"""A camera in the dark: [A]."""
CLASS_BLIND = replace(CAMERA_DAY, name="class_blind", unknown_class_share=1.0)
"""`camera_day` that never reports a class: [A]."""
OFF = replace(PERFECT, name="off", person_recall=0.0, outage_share=1.0)
"""No sensor at all: every frame is blind."""

PRESETS: dict[str, DetectorPreset] = {
    known.name: known for known in (PERFECT, CAMERA_DAY, CAMERA_NIGHT, CLASS_BLIND, OFF)
}


def preset(name: str) -> DetectorPreset:
    """Return a preset by name.

    Raises
    ------
    ValueError : no preset has this name; the message lists those there are.
    """
    try:
        return PRESETS[name]
    except KeyError:
        known = ", ".join(PRESETS)
        raise ValueError(f"detector preset {name!r} is unknown; choose one of {known}") from None


def stream(seed: int, *names: str) -> Random:
    """Return the random stream of a seed and names, the same on every machine and in every run."""
    return Random((seed << 32) | crc32("/".join(names).encode()))  # noqa: S311 - a simulation, no secret


def person_draws(seed: int, person: str) -> tuple[float, ...]:
    """Return eight uniform draws in [0, 1) of a seed and a person, far cheaper than a stream."""
    digest = blake2b(f"{seed}/{person}".encode(), digest_size=32).digest()
    return tuple([word * UNIT for word in unpack("<8I", digest)])


@dataclass(slots=True)
class _Person:
    """What a sensor makes of one walker, for as long as it can see them."""

    number: str
    is_seen: bool
    probabilities: tuple[float, ...]
    noise_at: int
    gap_at: int
    gap_from_ds: float
    gap_until_ds: float
    since_ds: int = -1
    last_m: float = -1.0
    last_ds: int = -1


@dataclass(slots=True)
class _Sensor:
    """One crossing's sensor: its outages, its false track, and the tracks waiting at its kerbs."""

    crossing: str
    length_m: float
    outages: Random
    ghosts: Random
    next_event_ds: float = 0.0
    out_from_ds: float = inf
    out_until_ds: float = -1.0
    is_out: bool = False
    ghost_from_ds: float = inf
    ghost_until_ds: float = -1.0
    has_ghost: bool = False
    ghost_number: str = ""
    ghost_m: float = 0.0
    ghost_since_ds: int = 0
    waiting_version: int = -1
    waiting: dict[str, Track] = field(default_factory=dict)
    waiting_tracks: tuple[Track, ...] = ()


new_tuple = tuple.__new__
"""Makes a named tuple in half the time of its constructor: frames and tracks are made in every step."""


class EmulatedDetector:
    """Reports the walkers of a `WalkerDriver` as a sensor with faults would.

    Whatever is drawn about a person depends on the seed and their id only, and outages and false
    tracks on the seed, the crossing and the time only: two controllers with one seed look through the
    same sensor. Gaps in the picture are drawn for tracks on a crossing; at the kerbs a person is
    either seen or not. The number of a track says nothing of who it is.

    Parameters
    ----------
    driver : follows the walkers; the detector registers itself as its listener.
    plan : the junction's plan.
    preset : how good the sensor is.
    seed : >= 0, of all its random streams.
    """

    def __init__(self, driver: WalkerDriver, plan: SitePlan, preset: DetectorPreset, seed: int) -> None:
        """Set up one sensor a crossing."""
        self.preset = preset
        self._driver = driver
        self._seed = seed
        self._sensors = tuple(
            _Sensor(
                crossing=crossing.id,
                length_m=crossing.length_m,
                outages=stream(seed, "outage", crossing.id),
                ghosts=stream(seed, "false track", crossing.id),
            )
            for crossing in plan.crossings
        )
        self._numbered = tuple(enumerate(self._sensors))
        table = stream(seed, "noise")
        self._noise = tuple(table.gauss(0.0, 1.0) for _ in range(TABLE_SIZE))
        self._periods = tuple(table.expovariate(1.0) for _ in range(TABLE_SIZE))
        self._others = {name: [x for x in MOBILITY_CLASSES if x != name] for name in MOBILITY_CLASSES}
        rest = (1.0 - preset.class_precision) / (len(MOBILITY_CLASSES) - 1)
        self._stated = {
            name: tuple(preset.class_precision if other == name else rest for other in MOBILITY_CLASSES)
            for name in MOBILITY_CLASSES
        }
        share = preset.frame_seen_share
        self._gap_ds = 10 * preset.mean_gap_s
        self._seen_ds = inf if share >= 1.0 or not self._gap_ds else self._gap_ds * share / (1.0 - share)
        self._latency_ds = round(10 * preset.latency_s)
        self._pictures: deque[tuple[int, tuple[Frame, ...]]] = deque()
        self._people: dict[str, _Person] = {}
        self._detected: set[str] = set()
        self._next_number = 1
        for sensor in self._sensors:
            self._draw_outage(sensor, 0.0)
            self._draw_ghost(sensor, 0.0)
        driver.listeners.append(self)
        driver.withdrawals.append(self._forget)

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Take a picture of every crossing and return those that arrive now, in the plan's order.

        Parameters
        ----------
        now_ds : time of the tick, rising from call to call; after `WalkerDriver.observe`. [0.1 s]

        Returns
        -------
        The frames measured `latency_s` ago; blind ones while there is none that old.
        """
        driver, frames = self._driver, []
        for index, sensor in self._numbered:
            if now_ds >= sensor.next_event_ds:
                self._advance(sensor, now_ds)
            if sensor.is_out:
                frames.append(Frame(sensor.crossing, now_ds, is_healthy=False))
                continue
            if driver.waiting_version[index] != sensor.waiting_version:
                self._look_at_kerbs(index, sensor, now_ds)
            tracks: tuple[Track, ...] = ()
            if driver.on_crossing[index]:
                tracks = self._look_at_crossing(index, sensor, now_ds)
            if sensor.has_ghost:
                tracks = (*tracks, self._ghost_track(sensor, now_ds))
            frames.append(new_tuple(Frame, (sensor.crossing, now_ds, True, tracks, sensor.waiting_tracks)))
        picture = tuple(frames)
        if not self._latency_ds:
            return picture
        pictures = self._pictures
        pictures.append((now_ds, picture))
        newest_ds = now_ds - self._latency_ds
        while len(pictures) > 1 and pictures[1][0] <= newest_ds:
            pictures.popleft()
        if pictures[0][0] > newest_ds:
            taken_ds = max(0, newest_ds)
            return tuple([Frame(sensor.crossing, taken_ds, is_healthy=False) for sensor in self._sensors])
        return pictures[0][1]

    def was_detected(self, walker_id: str) -> bool:
        """Tell whether a walker was ever in a picture while on a crossing; for the measures only."""
        return walker_id in self._detected

    def entered(self, walker: Walker, now_ds: int) -> None:
        """Learn that a walker is now on a crossing: nothing to do until the next picture."""

    def left(self, walker: Walker, now_ds: int) -> None:  # noqa: ARG002 - the listener's signature
        """Forget a walker who is off the crossing."""
        self._people.pop(walker.id, None)

    def _forget(self, walker: Walker) -> None:
        self._people.pop(walker.id, None)

    def _look_at_crossing(self, index: int, sensor: _Sensor, now_ds: int) -> tuple[Track, ...]:
        people, noise, crossing = self._people, self._noise, sensor.crossing
        position_noise_m, speed_noise_mps = self.preset.position_noise_m, self.preset.speed_noise_mps
        is_noisy = bool(position_noise_m or speed_noise_mps)
        tracks = []
        for walker, true_m in self._driver.remaining_m(index):
            person = people.get(walker.id)
            if person is None:
                person = self._meet(walker, now_ds)
            if not person.is_seen:
                continue
            if person.last_ds < 0:
                speed_mps = self._driver.speed_of(walker.id)
            else:
                speed_mps = 10 * (person.last_m - true_m) / (now_ds - person.last_ds)
            person.last_m, person.last_ds = true_m, now_ds
            if now_ds >= person.gap_from_ds and self._is_in_gap(person, now_ds):
                continue
            if person.since_ds < 0:
                person.since_ds = now_ds
                self._detected.add(walker.id)
            remaining_m = true_m
            if is_noisy:
                person.noise_at = at = (person.noise_at + 2) % TABLE_SIZE
                remaining_m += position_noise_m * noise[at]
                speed_mps += speed_noise_mps * noise[at - 1]
                remaining_m = max(remaining_m, 0.0)
            speed_mps = max(speed_mps, 0.0)
            tracks.append(
                new_tuple(
                    Track,
                    (person.number, crossing, ON_CROSSING, remaining_m, speed_mps, person.probabilities,
                     SOURCE, now_ds, person.since_ds, 1.0),
                )
            )  # fmt: skip
        return tuple(tracks)

    def _look_at_kerbs(self, index: int, sensor: _Sensor, now_ds: int) -> None:
        """Bring the waiting tracks up to date; only when someone came or went."""
        driver = self._driver
        sensor.waiting_version = driver.waiting_version[index]
        waiting, before = driver.waiting[index], sensor.waiting
        after: dict[str, Track] = {}
        for walker in waiting.values():
            track = before.get(walker.id)
            if track is None:
                person = self._people.get(walker.id) or self._meet(walker, now_ds)
                if not person.is_seen:
                    continue
                track = Track(
                    id=person.number,
                    crossing=sensor.crossing,
                    zone=Zone.KERB_A if walker.kerb == "A" else Zone.KERB_B,
                    remaining_m=sensor.length_m,
                    speed_mps=0.0,
                    class_probabilities=person.probabilities,
                    source=SOURCE,
                    measured_ds=now_ds,
                    since_ds=now_ds,
                )
            after[walker.id] = track
        sensor.waiting = after
        sensor.waiting_tracks = tuple(after.values())

    def _meet(self, walker: Walker, now_ds: int) -> _Person:
        """Draw, once and in this order, all that the sensor makes of a person."""
        draws = person_draws(self._seed, walker.id)
        probabilities: tuple[float, ...] = ()
        reported = walker.mobility_class
        if reported != UNKNOWN_CLASS and draws[1] >= self.preset.unknown_class_share:
            if draws[2] >= self.preset.class_precision:
                others = self._others[reported]
                reported = others[int(draws[3] * len(others))]
            probabilities = self._stated[reported]
        person = _Person(
            number=str(self._next_number),
            is_seen=draws[0] < self.preset.person_recall,
            probabilities=probabilities,
            noise_at=int(draws[4] * TABLE_SIZE),
            gap_at=int(draws[5] * TABLE_SIZE),
            gap_from_ds=inf,
            gap_until_ds=now_ds,
        )
        self._next_number += 1
        if self._seen_ds != inf:
            self._draw_gap(person)
        self._people[walker.id] = person
        return person

    def _draw_gap(self, person: _Person) -> None:
        person.gap_at = at = (person.gap_at + 2) % TABLE_SIZE
        person.gap_from_ds = person.gap_until_ds + self._seen_ds * self._periods[at]
        person.gap_until_ds = person.gap_from_ds + self._gap_ds * self._periods[at - 1]

    def _is_in_gap(self, person: _Person, now_ds: int) -> bool:
        while now_ds >= person.gap_until_ds:
            self._draw_gap(person)
        return now_ds >= person.gap_from_ds

    def _advance(self, sensor: _Sensor, now_ds: int) -> None:
        """Bring outages and false tracks up to date, and note when to look again."""
        while now_ds >= sensor.out_until_ds:
            self._draw_outage(sensor, sensor.out_until_ds)
        sensor.is_out = now_ds >= sensor.out_from_ds
        while now_ds >= sensor.ghost_until_ds:
            self._draw_ghost(sensor, sensor.ghost_until_ds)
        had_ghost, sensor.has_ghost = sensor.has_ghost, now_ds >= sensor.ghost_from_ds
        if sensor.has_ghost and not had_ghost:
            sensor.ghost_number, sensor.ghost_since_ds = str(self._next_number), now_ds
            self._next_number += 1
        sensor.next_event_ds = min(
            sensor.out_until_ds if sensor.is_out else sensor.out_from_ds,
            sensor.ghost_until_ds if sensor.has_ghost else sensor.ghost_from_ds,
        )

    def _draw_outage(self, sensor: _Sensor, after_ds: float) -> None:
        share = self.preset.outage_share
        if share >= 1.0:
            sensor.out_from_ds, sensor.out_until_ds = 0.0, inf
        elif share <= 0.0:
            sensor.out_from_ds = sensor.out_until_ds = inf
        else:
            mean_ds = 10 * self.preset.outage_mean_s
            healthy_ds = mean_ds * (1.0 - share) / share
            sensor.out_from_ds = after_ds + sensor.outages.expovariate(1.0 / healthy_ds)
            sensor.out_until_ds = sensor.out_from_ds + sensor.outages.expovariate(1.0 / mean_ds)

    def _draw_ghost(self, sensor: _Sensor, after_ds: float) -> None:
        if not self.preset.false_tracks_per_h:
            sensor.ghost_from_ds = sensor.ghost_until_ds = inf
            return
        sensor.ghost_from_ds = after_ds + sensor.ghosts.expovariate(self.preset.false_tracks_per_h / HOUR_DS)
        life_ds = sensor.ghosts.expovariate(1.0 / (10 * self.preset.false_track_mean_s))
        sensor.ghost_until_ds = sensor.ghost_from_ds + life_ds
        sensor.ghost_m = sensor.ghosts.random() * sensor.length_m

    def _ghost_track(self, sensor: _Sensor, now_ds: int) -> Track:
        """Return a crossing's false track: it stands still, of no known class."""
        return Track(
            sensor.ghost_number,
            sensor.crossing,
            ON_CROSSING,
            sensor.ghost_m,
            0.0,
            (),
            SOURCE,
            now_ds,
            sensor.ghost_since_ds,
        )

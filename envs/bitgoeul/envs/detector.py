"""An emulated pedestrian sensor: what cameras would report of the walkers, with their faults, seeded.

Each effect, its formula and its figures: docs/detectors.md.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf
from random import Random

from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.plan import Crossing, SitePlan
from bitgoeul.controller.plan_checks import REFUGE

from .detector_crowd import Crowd, Remaining
from .detector_delivery import Delivery
from .detector_draws import TABLE_SIZE, person_draws, stream
from .detector_presets import CAMERA_DAY, PERFECT, PRESETS, DetectorPreset, class_table, preset
from .walkers import UNKNOWN_CLASS, Walker, WalkerDriver

__all__ = ["CAMERA_DAY", "PERFECT", "PRESETS", "DetectorPreset", "EmulatedDetector", "preset"]

SOURCE = "emulated"
"""`Track.source` of every track from here."""
HOUR_DS = 36_000
MINUTE_DS = 600
ON_CROSSING = Zone.CROSSING
NOBODY: AbstractSet[str] = frozenset()
_NO_CLASS: tuple[float, ...] = ()


@dataclass(slots=True)
class _Person:
    """What a sensor makes of one walker, for as long as it can see them."""

    number: str
    is_seen: bool
    probabilities: tuple[float, ...]
    noise_at: int
    gap_at: int
    break_at: int
    gap_from_ds: float
    gap_until_ds: float
    break_ds: float = inf
    event_ds: float = inf
    spread: float = 1.0
    spread_per_m: float = 0.0
    since_ds: int = -1
    last_m: float = -1.0
    last_ds: int = -1


@dataclass(slots=True)
class _Sensor:
    """One crossing's sensor: its outages, its false track, and the tracks waiting at its kerbs."""

    crossing: str
    length_m: float
    zones: dict[str, Zone]
    outages: Random
    ghosts: Random
    out_from_ds: float = inf
    out_until_ds: float = -1.0
    is_out: bool = False
    ghost_from_ds: float = inf
    ghost_until_ds: float = -1.0
    has_ghost: bool = False
    ghost_number: str = ""
    ghost_m: float = 0.0
    ghost_mps: float = 0.0
    ghost_since_ds: int = 0
    crowd_ds: int = -HOUR_DS
    hidden: AbstractSet[str] = NOBODY
    waiting_version: int = -1
    waiting: dict[str, Track] = field(default_factory=dict)
    waiting_tracks: tuple[Track, ...] = ()


new_tuple = tuple.__new__
"""Makes a named tuple in half the time of its constructor: frames and tracks are made in every step."""


class EmulatedDetector:
    """Reports the walkers of a `WalkerDriver` as a sensor with faults would.

    Whatever is drawn about a person depends on the seed and their id only, and outages, false tracks
    and latencies on the seed, the crossing and the time only: two controllers with one seed look through
    the same sensor. Gaps in the picture are drawn for tracks on a crossing; at the kerbs a person is
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
        self._driver, self._seed = driver, seed
        self._sensors = tuple(
            _Sensor(
                crossing=crossing.id,
                length_m=crossing.length_m,
                zones=_zones(crossing, preset),
                outages=stream(seed, "outage", crossing.id),
                ghosts=stream(seed, "false track", crossing.id),
            )
            for crossing in plan.crossings
        )
        self._numbered = tuple(enumerate(self._sensors))
        self._draw_tables(stream(seed, "noise"))
        classes = class_table()
        self._recalls = classes.recalls(preset.person_recall, is_button=preset.is_button)
        self._confusion = classes.confusion(preset.class_precision)
        self._stated = classes.stated(self._confusion)
        share = preset.frame_seen_share
        self._gap_ds = 10 * preset.mean_gap_s
        self._seen_ds = inf if share >= 1.0 else self._gap_ds * share / (1.0 - share)
        self._break_ds = MINUTE_DS / preset.breaks_per_min if preset.breaks_per_min else inf
        self._is_partial = preset.view_from_share > 0.0 or preset.view_to_share < 1.0
        is_crowd_seen = preset.occlusion_depth or preset.switches_per_min
        self._crowd = Crowd(driver, preset, seed) if is_crowd_seen else None
        self._is_obstructed = self._is_partial or self._crowd is not None
        self._delivery = Delivery(preset.latency_s, preset.latency_cv, seed) if preset.latency_s else None
        self._people: dict[str, _Person] = {}
        self._detected: set[str] = set()
        self._next_number = 1
        self._next_event_ds = 0.0
        for sensor in self._sensors:
            self._draw_outage(sensor, 0.0)
            self._draw_ghost(sensor, 0.0)
        driver.listeners.append(self)
        driver.withdrawals.append(self._forget)

    def _draw_tables(self, draws: Random) -> None:
        """Draw the tables of noise and of periods that all tracks share; no noise is an empty table."""
        places, preset = range(TABLE_SIZE), self.preset
        self._noise_m = tuple([preset.position_noise_m * draws.gauss(0.0, 1.0) for _ in places])
        self._noise_mps = tuple([preset.speed_noise_mps * draws.gauss(0.0, 1.0) for _ in places])
        if not (preset.position_noise_m or preset.speed_noise_mps):
            self._noise_m = ()
        self._periods = tuple([draws.expovariate(1.0) for _ in places])

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Take a picture of every crossing and return the newest that has arrived, in the plan's order.

        Parameters
        ----------
        now_ds : time of the tick, rising from call to call; after `WalkerDriver.observe`. [0.1 s]

        Returns
        -------
        The frames of the newest picture delivered, each with the time at which it was taken; before the
        first, blind ones of time 0.
        """
        driver, frames, is_camera = self._driver, [], not self.preset.is_button
        if now_ds >= self._next_event_ds:
            self._next_event_ds = min(
                [self._advance(sensor, now_ds) for sensor in self._sensors], default=inf
            )
        for index, sensor in self._numbered:
            if sensor.is_out:
                frames.append(Frame(sensor.crossing, now_ds, is_healthy=False))
                continue
            if driver.waiting_version[index] != sensor.waiting_version:
                self._look_at_kerbs(index, sensor, now_ds)
            tracks: tuple[Track, ...] = ()
            if driver.on_crossing[index] and is_camera:
                tracks = self._look_at_crossing(index, sensor, now_ds)
            if sensor.has_ghost and is_camera:
                tracks = (*tracks, self._ghost_track(sensor, now_ds))
            frames.append(
                new_tuple(Frame, (sensor.crossing, now_ds, is_camera, tracks, sensor.waiting_tracks))
            )
        picture = tuple(frames)
        if self._delivery is None:
            return picture
        delivered = self._delivery.send(picture, now_ds)
        if delivered is not None:
            return delivered
        return tuple([Frame(sensor.crossing, 0, is_healthy=False) for sensor in self._sensors])

    def was_detected(self, walker_id: str) -> bool:
        """Tell whether a walker was ever in a picture while on a crossing; for the measures only."""
        return walker_id in self._detected

    def walkers_by_track(self) -> dict[str, Walker]:
        """Return who on a crossing has which track's number in the last picture; for evaluations only."""
        return {
            person.number: walker
            for walkers in self._driver.on_crossing
            for walker in walkers.values()
            if (person := self._people.get(walker.id)) is not None
        }

    def entered(self, walker: Walker, now_ds: int) -> None:
        """Learn that a walker is now on a crossing: nothing to do until the next picture."""

    def left(self, walker: Walker, now_ds: int) -> None:  # noqa: ARG002 - the listener's signature
        """Forget a walker who is off the crossing."""
        self._people.pop(walker.id, None)
        if self._crowd is not None:
            self._crowd.forget(walker.id)

    def _forget(self, walker: Walker) -> None:
        self._people.pop(walker.id, None)

    def _look_at_crossing(self, index: int, sensor: _Sensor, now_ds: int) -> tuple[Track, ...]:
        people, noise_m, noise_mps = self._people, self._noise_m, self._noise_mps
        remaining = self._driver.remaining_m(index)
        unseen = self._unseen(sensor, remaining, now_ds) if self._is_obstructed else NOBODY
        tracks = []
        for walker, true_m in remaining:
            person = people.get(walker.id) or self._meet(walker, now_ds)
            if not person.is_seen:
                continue
            turned_ds = walker.turned_back_ds
            if person.last_ds < 0 or (turned_ds is not None and turned_ds >= person.last_ds):
                speed_mps = self._begin(person, walker, sensor, now_ds)
            else:
                speed_mps = 10 * (person.last_m - true_m) / (now_ds - person.last_ds)
            person.last_m, person.last_ds = true_m, now_ds
            remaining_m = true_m
            if now_ds >= person.event_ds and self._is_missing(person, now_ds):
                continue
            if unseen and walker.id in unseen:
                continue
            if noise_m:
                spread = person.spread + person.spread_per_m * true_m
                person.noise_at = at = (person.noise_at + 1) % TABLE_SIZE
                remaining_m += spread * noise_m[at]
                speed_mps += spread * noise_mps[at]
            if person.since_ds < 0:
                person.since_ds = now_ds
                self._detected.add(walker.id)
            tracks.append(
                new_tuple(
                    Track,
                    (person.number, sensor.crossing, ON_CROSSING,
                     remaining_m if remaining_m > 0.0 else 0.0,  # noqa: FURB136 - max costs as much as the rest
                     speed_mps if speed_mps > 0.0 else 0.0,  # noqa: FURB136 - the same
                     person.probabilities, SOURCE, now_ds, person.since_ds, 1.0),
                )
            )  # fmt: skip
        return tuple(tracks)

    def _begin(self, person: _Person, walker: Walker, sensor: _Sensor, now_ds: int) -> float:
        """Start what runs for a track on a crossing, or for one who turned back; return the speed. [m/s]

        The noise is 1 - growth times its figure at kerb A, where the sensor is, and 1 + growth at kerb B.
        """
        growth = self.preset.noise_growth
        way = -1.0 if (walker.kerb == "A") is (walker.turned_back_ds is None) else 1.0
        person.spread, person.spread_per_m = 1.0 - way * growth, 2.0 * way * growth / sensor.length_m
        person.break_ds = now_ds + self._break_period(person)
        person.event_ds = min(person.gap_from_ds, person.break_ds)
        return self._driver.speed_of(walker.id)

    def _unseen(self, sensor: _Sensor, remaining: Remaining, now_ds: int) -> AbstractSet[str]:
        """Return who is hidden or out of view."""
        hidden, crowd = NOBODY, self._crowd
        if crowd is not None and len(remaining) > 1:
            if now_ds - sensor.crowd_ds >= crowd.every_ds:
                self._look_at_crowd(crowd, sensor, remaining, now_ds)
            hidden = sensor.hidden
        return hidden | self._out_of_view(sensor, remaining) if self._is_partial else hidden

    def _out_of_view(self, sensor: _Sensor, remaining: Remaining) -> AbstractSet[str]:
        """Return who is in the part of the crossing that the sensor does not see."""
        from_share, to_share = self.preset.view_from_share, self.preset.view_to_share
        from_m = from_share * sensor.length_m if from_share > 0.0 else -inf
        to_m = to_share * sensor.length_m if to_share < 1.0 else inf
        return {
            walker.id
            for walker, metres in remaining
            if not from_m <= (sensor.length_m - metres if walker.kerb == "A" else metres) <= to_m
        }

    def _look_at_crowd(self, crowd: Crowd, sensor: _Sensor, remaining: Remaining, now_ds: int) -> None:
        """See who hides whom from now on, and let near tracks swap their numbers."""
        sensor.crowd_ds = now_ds
        sensor.hidden, swaps = crowd.look(remaining, sensor.length_m)
        for one_id, other_id in swaps:
            one, other = self._people.get(one_id), self._people.get(other_id)
            if one is not None and other is not None and one.since_ds >= 0 and other.since_ds >= 0:
                one.number, other.number = other.number, one.number
                one.since_ds, other.since_ds = other.since_ds, one.since_ds

    def _look_at_kerbs(self, index: int, sensor: _Sensor, now_ds: int) -> None:
        """Bring the waiting tracks up to date; only when someone came or went."""
        driver = self._driver
        sensor.waiting_version = driver.waiting_version[index]
        is_button, before = self.preset.is_button, sensor.waiting
        after: dict[str, Track] = {}
        for walker in driver.waiting[index].values():
            zone = sensor.zones.get(walker.kerb)
            key = walker.kerb if is_button else walker.id
            if zone is None or key in after:
                continue
            person = self._people.get(walker.id) or self._meet(walker, now_ds)
            if person.is_seen:
                after[key] = before.get(key) or Track(
                    id=person.number,
                    crossing=sensor.crossing,
                    zone=zone,
                    remaining_m=sensor.length_m,
                    speed_mps=0.0,
                    class_probabilities=() if is_button else person.probabilities,
                    source=SOURCE,
                    measured_ds=now_ds,
                    since_ds=now_ds,
                )
        sensor.waiting = after
        sensor.waiting_tracks = tuple(after.values())

    def _meet(self, walker: Walker, now_ds: int) -> _Person:
        """Draw, once and in this order, all that the sensor makes of a person."""
        draws = person_draws(self._seed, walker.id)
        recall, probabilities = self.preset.person_recall, _NO_CLASS
        if walker.mobility_class != UNKNOWN_CLASS:
            true = MOBILITY_CLASSES.index(walker.mobility_class)
            recall = self._recalls[true]
            if draws[1] >= self.preset.unknown_class_share:
                probabilities = self._stated[self._reported(true, draws[2], draws[3])]
        person = _Person(
            number="",
            is_seen=draws[0] < recall,
            probabilities=probabilities,
            noise_at=int(draws[4] * TABLE_SIZE),
            gap_at=int(draws[5] * TABLE_SIZE),
            break_at=int(draws[6] * TABLE_SIZE),
            gap_from_ds=inf,
            gap_until_ds=now_ds,
        )
        if person.is_seen:
            person.number = self._number()
            if self._seen_ds != inf:
                self._draw_gap(person)
        self._people[walker.id] = person
        return person

    def _reported(self, true: int, right: float, wrong: float) -> int:
        """Return the class reported for a true one, by two uniform draws: right or not, and what else."""
        row = self._confusion[true]
        if right < row[true]:
            return true
        others = [place for place in range(len(row)) if place != true]
        rest = wrong * (1.0 - row[true])
        for place in others:
            rest -= row[place]
            if rest < 0.0:
                return place
        return others[-1]

    def _number(self) -> str:
        number = str(self._next_number)
        self._next_number += 1
        return number

    def _draw_gap(self, person: _Person) -> None:
        person.gap_at = at = (person.gap_at + 2) % TABLE_SIZE
        person.gap_from_ds = person.gap_until_ds + self._seen_ds * self._periods[at]
        person.gap_until_ds = person.gap_from_ds + self._gap_ds * self._periods[at - 1]

    def _break_period(self, person: _Person) -> float:
        """Return how long a person's track lasts until it breaks: exponential. [0.1 s]"""
        person.break_at = at = (person.break_at + 1) % TABLE_SIZE
        return self._break_ds * self._periods[at]

    def _is_missing(self, person: _Person, now_ds: int) -> bool:
        """Let a track break and gaps pass when their time has come; tell whether this is a gap."""
        if now_ds >= person.break_ds:
            person.number, person.since_ds = self._number(), -1
            person.break_ds = now_ds + self._break_period(person)
        while now_ds >= person.gap_until_ds and self._seen_ds != inf:
            self._draw_gap(person)
        person.event_ds = min(person.gap_from_ds, person.break_ds)
        return now_ds >= person.gap_from_ds

    def _advance(self, sensor: _Sensor, now_ds: int) -> float:
        """Bring outages and false tracks up to date; return when to look again. [0.1 s]"""
        while now_ds >= sensor.out_until_ds:
            self._draw_outage(sensor, sensor.out_until_ds)
        sensor.is_out = now_ds >= sensor.out_from_ds
        while now_ds >= sensor.ghost_until_ds:
            self._draw_ghost(sensor, sensor.ghost_until_ds)
        had_ghost, sensor.has_ghost = sensor.has_ghost, now_ds >= sensor.ghost_from_ds
        if sensor.has_ghost and not had_ghost:
            sensor.ghost_number, sensor.ghost_since_ds = self._number(), now_ds
        return min(
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
            sensor.out_from_ds = after_ds + healthy_ds * sensor.outages.expovariate(1.0)
            sensor.out_until_ds = sensor.out_from_ds + mean_ds * sensor.outages.expovariate(1.0)

    def _draw_ghost(self, sensor: _Sensor, after_ds: float) -> None:
        """Draw when the next false track comes, where, whether it moves, and when it ends."""
        preset, draws = self.preset, sensor.ghosts
        if not preset.false_tracks_per_h:
            sensor.ghost_from_ds = sensor.ghost_until_ds = inf
            return
        sensor.ghost_from_ds = after_ds + HOUR_DS / preset.false_tracks_per_h * draws.expovariate(1.0)
        life_ds = 10 * preset.false_track_mean_s * draws.expovariate(1.0)
        sensor.ghost_m = draws.random() * sensor.length_m
        sensor.ghost_mps = preset.false_speed_mps if draws.random() < preset.false_moving_share else 0.0
        if sensor.ghost_mps:
            life_ds = min(life_ds, 10 * sensor.ghost_m / sensor.ghost_mps)
        sensor.ghost_until_ds = sensor.ghost_from_ds + life_ds

    def _ghost_track(self, sensor: _Sensor, now_ds: int) -> Track:
        """Return a crossing's false track, of no known class."""
        gone_m = sensor.ghost_mps * (now_ds - sensor.ghost_from_ds) / 10
        return Track(
            sensor.ghost_number,
            sensor.crossing,
            ON_CROSSING,
            max(sensor.ghost_m - gone_m, 0.0),
            sensor.ghost_mps,
            (),
            SOURCE,
            now_ds,
            sensor.ghost_since_ds,
        )


def _zones(crossing: Crossing, preset: DetectorPreset) -> dict[str, Zone]:
    """Return the zone of each kerb of a crossing at which the sensor sees people."""
    seen = {
        Zone.KERB_A: preset.sees_kerb_a,
        Zone.KERB_B: preset.sees_kerb_b,
        Zone.ISLAND: preset.sees_island,
    }
    zones = {
        kerb: Zone.ISLAND if leg == REFUGE else zone
        for kerb, leg, zone in zip("AB", crossing.kerbs, (Zone.KERB_A, Zone.KERB_B), strict=True)
    }
    return {kerb: zone for kerb, zone in zones.items() if seen[zone]}

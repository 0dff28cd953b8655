"""How long the people on a crossing still need: from tracks to seconds, as a distribution.

Each person's speed is a belief: what people of the reported class walk at, combined with what this person
was seen to do. Speeds are lognormal within a class, so the belief is a mixture of normals in the
logarithm of the speed, and a quantile of the time to clear is `remaining / speed quantile`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from heapq import nlargest
from math import ceil, erf, exp, hypot, log, log1p, sqrt

from .detection import MOBILITY_CLASSES, Frame, Track
from .plan import SitePlan

CLASS_SPEED_MPS: dict[str, tuple[float, float]] = {
    "adult": (1.29, 0.27),  # [S] Han et al. 2020 (Korea); FHWA
    "elderly": (1.13, 0.27),  # [S] the same
    "cane": (0.86, 0.13),  # [S] p15 0.73; mean [A]
    "frail": (0.64, 0.14),  # [S] Bath, SPPB 4-7; Pyeongchang
    "manual_wheelchair": (1.08, 0.25),  # [M] Perry
    "powered_wheelchair": (1.40, 0.30),  # [S] AAA, n = 6; [A]
    "visually_impaired": (1.00, 0.25),  # [S] AAA, n = 15; [A]
    "crutches": (0.80, 0.20),  # [M] Perry
    "stroller_child": (1.175, 0.25),  # [A]
}
"""Mean and standard deviation of walking speed by class: priors. [m/s]"""

SLOW_PRIOR: tuple[tuple[str, float], ...] = (("cane", 0.5), ("frail", 0.25), ("crutches", 0.25))
"""Whoever's class is unknown or uncertain counts as slow [A]."""
CERTAIN_CLASS = 0.5
"""Least probability of the likeliest class for the class to be used [A]."""
POSITION_SD_M = 0.3
"""Position noise assumed of a sensor [A: preset camera_day]. [m]"""
WITHIN_WALK_SD = 0.08
"""Relative spread of one person's speed along a crossing: crowding, weaving [A; SUMO p5 0.90]."""
MOVING_MPS = 0.3
"""A track at least once this fast is a confirmed person [A]. [m/s]"""
MOVED_M = 1.0
"""A track that has come this far is a confirmed person [A]. [m]"""
STANDING_MPS = 0.1
"""Slowest speed a prediction uses: nobody is assumed to stand for ever. [m/s]"""
RECENT_WEIGHT = 0.3
"""Weight of the newest reading in the running speed [A]."""
NEGLIGIBLE = 1e-4
"""Classes less likely than this are left out of a quantile."""
BISECTIONS = 14
"""Halvings of a bracket of about one in the logarithm: the speed is exact to 0.01 %."""
TRUSTED_SHARE = 0.85
"""Nobody is trusted to keep more than this share of their recent speed: about what the 99 % quantile
leaves of a speed well observed (exp(-2.33 * WITHIN_WALK_SD) = 0.83), and a hundred times cheaper."""
LOST_SPEED_SHARE = 0.5
"""Somebody lost from sight is remembered as if they went on at this share of their speed [A]."""
SURE = 0.99
"""Quantile the guard relies on (DESIGN, promise 3)."""


@dataclass(slots=True)
class Person:
    """What is known of one detected person on a crossing.

    Parameters
    ----------
    track : the newest track.
    first_m, first_ds : distance to the far kerb and time at first sight. [m], [0.1 s]
    recent_mps : running mean of the measured speed. [m/s]
    is_confirmed : seen moving, so not a ghost of the sensor.
    gone_ds : when the sensor first missed them; -1 while seen. [0.1 s]
    forget_ds : when a person no longer seen has surely left. [0.1 s]
    """

    track: Track
    first_m: float
    first_ds: int
    recent_mps: float
    is_confirmed: bool = False
    gone_ds: int = -1
    forget_ds: int = -1

    def observed_speed(self) -> tuple[float, float] | None:
        """Return (speed [m/s], its relative standard error), or None before a second of watching.

        The lower of the mean since first sight and the recent speed counts: who slows down is slow.
        """
        watched_s = (self.track.measured_ds - self.first_ds) / 10
        if watched_s < 1.0:
            return None
        mean_mps = (self.first_m - self.track.remaining_m) / watched_s
        speed_mps = max(min(mean_mps, self.recent_mps), STANDING_MPS)
        error = hypot(1.4 * POSITION_SD_M / watched_s / speed_mps, WITHIN_WALK_SD)
        return speed_mps, error


def _log_prior(mobility_class: str) -> tuple[float, float]:
    """Return mean and variance of the logarithm of a class's speed."""
    mean, sd = CLASS_SPEED_MPS[mobility_class]
    variance = log1p((sd / mean) ** 2)
    return log(mean) - variance / 2, variance


_SQRT2 = sqrt(2)
_LOG_PRIOR = {name: _log_prior(name) for name in CLASS_SPEED_MPS}


def _weights(track: Track) -> list[tuple[str, float]]:
    """Return the classes a track may belong to, with their weights."""
    probabilities = track.class_probabilities
    if not probabilities or max(probabilities) < CERTAIN_CLASS:
        return list(SLOW_PRIOR)
    return [(name, p) for name, p in zip(MOBILITY_CLASSES, probabilities, strict=True) if p > 0]


def _belief(person: Person) -> list[tuple[float, float, float]]:
    """Return the mixture (weight, mean, sd) of the logarithm of the person's speed."""
    seen = person.observed_speed()
    mixture = []
    for name, weight in _weights(person.track):
        mean, variance = _LOG_PRIOR[name]
        likelihood = 1.0
        if seen is not None:
            log_speed, noise = log(seen[0]), seen[1] ** 2
            spread = variance + noise
            likelihood = exp(-((log_speed - mean) ** 2) / (2 * spread)) / sqrt(spread)
            mean = (mean * noise + log_speed * variance) / spread
            variance = variance * noise / spread
        mixture.append((weight * likelihood, mean, sqrt(variance + WITHIN_WALK_SD**2)))
    total = sum(weight for weight, _, _ in mixture)
    if total < NEGLIGIBLE**3:  # a speed no class walks at: what was seen counts alone
        return [(1.0, log(seen[0]), seen[1])] if seen else mixture
    return [(weight / total, mean, sd) for weight, mean, sd in mixture]


def slow_speed(person: Person, *, quantile: float) -> float:
    """Return the speed that the person undercuts with probability 1 - `quantile`. [m/s]

    Parameters
    ----------
    person : a detected person.
    quantile : of the time to clear, at least 0.5; 0.99 gives a slow, safe speed.
    """
    mixture = [(w, m, 1 / (sd * _SQRT2), sd) for w, m, sd in _belief(person) if w > NEGLIGIBLE]
    low = min(mean - 5 * sd for _, mean, _, sd in mixture)
    high = max(mean for _, mean, _, _ in mixture)
    aim = 2 * (1 - quantile) * sum(weight for weight, _, _, _ in mixture)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = 0.0
        for weight, mean, scale, _ in mixture:
            below += weight * (1 + erf((middle - mean) * scale))
        if below < aim:
            low = middle
        else:
            high = middle
    return max(exp(low), STANDING_MPS)


def time_to_clear(person: Person, now_ds: int, *, quantile: float = SURE) -> float:
    """Return how long the person still needs to leave the crossing, from now. [s]

    Returns
    -------
    A quantile of the time to the far kerb, less the age of the measurement; >= 0.
    """
    age_s = (now_ds - person.track.measured_ds) / 10
    return max(person.track.remaining_m / slow_speed(person, quantile=quantile) - age_s, 0.0)


def _apparent_need_s(person: Person) -> float:
    """Return distance over recent speed. [s]"""
    return person.track.remaining_m / max(person.recent_mps, STANDING_MPS)


class NeedEstimator:
    """People on each crossing, remembered until they have surely left.

    Parameters
    ----------
    plan : the site; crossings are addressed by their index in it.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._people: tuple[dict[str, Person], ...] = tuple({} for _ in plan.crossings)
        self._frames: list[Frame | None] = [None for _ in plan.crossings]

    def update(self, frames: tuple[Frame, ...]) -> None:
        """Take in the newest frame of each crossing; a blind one changes nothing."""
        for index, frame in enumerate(frames):
            people = self._people[index]
            if not frame.is_healthy or not (frame.on_crossing or people):
                continue
            previous = self._frames[index]
            if previous is not None and previous.measured_ds == frame.measured_ds:
                continue
            self._frames[index] = frame
            self._merge(people, frame)

    def _merge(self, people: dict[str, Person], frame: Frame) -> None:
        for track in frame.on_crossing:
            person = people.get(track.id)
            if person is None:
                people[track.id] = Person(track, track.remaining_m, track.measured_ds, track.speed_mps)
                continue
            recent_mps = person.recent_mps
            person.recent_mps = recent_mps = recent_mps + RECENT_WEIGHT * (track.speed_mps - recent_mps)
            person.track = track
            if person.gone_ds >= 0:
                person.gone_ds = person.forget_ds = -1
            if not person.is_confirmed:
                person.is_confirmed = (
                    recent_mps >= MOVING_MPS or person.first_m - track.remaining_m >= MOVED_M
                )
        if len(people) == len(frame.on_crossing):
            return
        seen = {track.id for track in frame.on_crossing}
        for name in [name for name in people if name not in seen]:
            person = people[name]
            if person.gone_ds < 0:
                person.gone_ds = frame.measured_ds
                lost_mps = max(LOST_SPEED_SHARE * person.recent_mps, STANDING_MPS)
                person.forget_ds = person.track.measured_ds + ceil(10 * person.track.remaining_m / lost_mps)
            if frame.measured_ds >= person.forget_ds:
                del people[name]

    def people(self, index: int) -> Collection[Person]:
        """Return everyone who may be on the crossing: seen, or lost but not yet surely gone."""
        return self._people[index].values()

    def need(self, index: int, now_ds: int, *, quantile: float = SURE, slowest: int | None = None) -> float:
        """Return the seconds until the last detected person is clear, at a quantile; 0 if nobody. [s]

        Parameters
        ----------
        index : of the crossing in the plan.
        now_ds : time. [0.1 s]
        quantile : at least 0.5.
        slowest : look only at this many people, those whose distance over recent speed is longest; None
            looks at all.

        Notes
        -----
        For n independent people the quantile q of the last one is each one's quantile q^(1/n).
        """
        people = self._people[index]
        if not people:
            return 0.0
        each = quantile ** (1 / len(people))
        looked_at: Collection[Person] = people.values()
        if slowest is not None and len(people) > slowest:
            looked_at = nlargest(slowest, people.values(), key=_apparent_need_s)
        return max(time_to_clear(person, now_ds, quantile=each) for person in looked_at)

    def is_clear_within(self, index: int, now_ds: int, within_s: float) -> bool:
        """Tell whether everyone detected will surely (99 %) be off the crossing in `within_s` seconds."""
        people = self._people[index]
        if not people:
            return True
        for person in people.values():
            age_s = (now_ds - person.track.measured_ds) / 10
            trusted_mps = max(TRUSTED_SHARE * person.recent_mps, STANDING_MPS)
            if person.track.remaining_m > (within_s + age_s) * trusted_mps:
                return False
        each = SURE ** (1 / len(people))
        return all(time_to_clear(person, now_ds, quantile=each) <= within_s for person in people.values())

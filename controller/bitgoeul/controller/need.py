"""How long the people on a crossing still need: from tracks to seconds, as a distribution.

Each person on a crossing is followed by a Kalman filter on distance and speed. What the filter saw of the
speed is combined with what people of the stated class walk at (`walking`), so a fresh track counts as its
class and an old one as itself. docs/need.md has the equations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import ceil, log, sqrt

import numpy as np

from .detection import CrossingRequest, Frame, Track
from .plan import SitePlan
from .walking import (
    GRID_SIZE,
    LOG_NEGLIGIBLE,
    SLOWEST_MPS,
    SPEED_MPS,
    STARTUP_STEP_S,
    UNKNOWN,
    Array,
    class_weights,
    clear_by,
    clear_from_start,
    slowest_of,
    speed_prior,
    spread_matrix,
)

# --- the filter: what a sensor is good for, and how people change their speed ---------------------
POSITION_VAR_M2 = 0.35**2
"""Variance of a measured distance before the sensor is known [A]. [m2]"""
SPEED_VAR = 0.15**2
"""Variance of a measured speed before the sensor is known [A]. [m2/s2]"""
LEAST_POSITION_VAR_M2, MOST_POSITION_VAR_M2 = 0.25 * POSITION_VAR_M2, 16 * POSITION_VAR_M2
LEAST_SPEED_VAR, MOST_SPEED_VAR = 0.25 * SPEED_VAR, 16 * SPEED_VAR
"""How far a sensor's variances may come to differ from those [A]."""
NOISE_WEIGHT = 0.02
"""How much one track tells of its sensor's noise [A]."""
SPEED_DRIFT = 0.006
"""By how much the variance of a person's speed grows in a second unseen [A]. [m2/s3]"""
FIRST_SPEED_VAR = 0.5**2
"""Variance of the speed at first sight, besides what the sensor says of it [A]. [m2/s2]"""
JUMP_M = 2.0
"""Nobody is measured further than this, and four deviations, from where they must be. [m] [A]"""
JUMP = 4.0**2
SURPRISE = 3.0**2
"""Squared deviations beyond which a person must have changed their speed: what was known of it is let go."""
WALKED_WEIGHT = 0.15
"""Weight of the newest speed in the speed walked before a stop [A]."""
REJOIN_M = 1.5
"""A new track so close to where somebody lost must be is the same person. [m] [A]"""
LOST_SPEED_SHARE = 0.5
"""Somebody lost from sight is remembered as if they went on at this share of their speed [A]."""

# --- the prediction ---------------------------------------------------------------------------------
FUTURE_SPREAD = 0.05
"""Spread of the speed still to come about the speed now: crowding, weaving, tiring [A]. [m/s]"""
TIRING = 0.12
"""Who walks at 0.6 m/s takes this share longer than at the speed seen: they tire and rest [A]."""
TIRELESS_MPS, TIRED_MPS = 1.1, 0.6
"""Speeds at which nobody tires, and from which on all do; in between in proportion [A]. [m/s]"""
KERB_MARGIN_M = 0.3
"""Added to every distance: who is off is seen to be off half a step later [A]. [m]"""
KERB_VAR_M2 = 0.4**2
"""Variance of where a person is off the crossing, besides that of the filter [A]. [m2]"""
STANDING_MPS = 0.2
"""Who is slower stands, and counts at the speed walked before, after a pause. [m/s] [A]"""
PAUSE_S = 10.0
"""For so long somebody who stands may still stand. [s] [A]"""
RETURNING_MPS = 0.25
"""Who walks back at least this fast needs the way back to the kerb they came from. [m/s] [A]"""
SURE = 0.99
"""Quantile the guard relies on (DESIGN, promise 3)."""
SURE_SHARE = 0.9
"""No sure need is shorter than the way at this share of the speed seen: exp(-2.33 * 0.05)."""
MOVING_MPS = 0.3
"""A track at least once this fast is a confirmed person [A]. [m/s]"""
MOVED_M = 1.0
"""A track that has come this far is a confirmed person [A]. [m]"""
MOST_WAITING = 20
"""So many ticks' frames wait at most: taken in together they cost less, and come to the same."""
BRACKET_POINTS = 6
"""Points in time at which the chance that everybody is clear is worked out."""

_BRACKET = np.linspace(0.0, 1.0, BRACKET_POINTS)
_NARROWEST, _WIDER, _WIDTHS = 0.05, 1.5, 8
_SPREADS = tuple(spread_matrix(_NARROWEST * _WIDER**step) for step in range(_WIDTHS))


class Noise:
    """How noisy the sensor of one crossing is, learnt from how far its tracks are off what was expected.

    Attributes
    ----------
    position_var, speed_var : of a measured distance [m2] and speed [m2/s2].
    """

    __slots__ = ("position_var", "speed_var")

    def __init__(self) -> None:
        self.position_var, self.speed_var = POSITION_VAR_M2, SPEED_VAR


class Person:
    """What is known of one detected person on a crossing: a Kalman filter and a memory.

    Parameters
    ----------
    track : the track at first sight.
    length_m : of the crossing. [m]
    noise : of the crossing's sensor.

    Attributes
    ----------
    track : the newest track.
    remaining_m, speed_mps : estimated distance to the far kerb [m] and speed towards it [m/s].
    remaining_var, both_var, speed_var : their covariance. [m2], [m2/s], [m2/s2]
    walked_mps, walked_var : running mean of the speed while walking, and its variance; 0 before. [m/s]
    first_m, first_ds : distance to the far kerb and time at first sight. [m], [0.1 s]
    nearest_m : least distance to the far kerb they were seen at. [m]
    is_returning : on the way back, and by more than the sensor's noise: a start or a stop can look like it.
    is_confirmed : seen moving, so not a ghost of the sensor.
    in_frame_ds : the newest frame they are in: with several sensors its time is not their track's. [0.1 s]
    gone_ds : when the sensor first missed them; -1 while seen. [0.1 s]
    forget_ds : when a person no longer seen has surely left. [0.1 s]
    """

    __slots__ = (
        "both_var", "first_ds", "first_m", "forget_ds", "gone_ds", "in_frame_ds", "is_confirmed",
        "is_returning", "length_m", "nearest_m", "noise", "prior", "remaining_m", "remaining_var",
        "speed_mps", "speed_var", "track", "walked_mps", "walked_var",
    )  # fmt: skip

    def __init__(self, track: Track, length_m: float, noise: Noise) -> None:
        self.track = track
        self.length_m, self.noise = length_m, noise
        self.prior = speed_prior(track.class_probabilities)
        self.remaining_m = self.first_m = self.nearest_m = track.remaining_m
        self.speed_mps = track.speed_mps
        self.first_ds = track.measured_ds
        self.remaining_var, self.both_var = noise.position_var, 0.0
        self.speed_var = FIRST_SPEED_VAR + noise.speed_var
        self.walked_mps, self.walked_var = 0.0, FIRST_SPEED_VAR
        self.is_confirmed = self.is_returning = False
        self.in_frame_ds = self.gone_ds = self.forget_ds = -1

    def expected_m(self, at_ds: int) -> float:
        """Return where the person must be at a time, from what was last seen. [m]"""
        return self.remaining_m - self.speed_mps * (at_ds - self.track.measured_ds) / 10

    def may_walk_at(self, track: Track) -> bool:
        """Tell whether a new track's speed could be theirs, as last seen; 0 is what any sensor may say."""
        age_s = max(track.measured_ds - self.track.measured_ds, 0) / 10
        noise_var = self.noise.speed_var
        variance = min(self.speed_var, noise_var) + SPEED_DRIFT * age_s + noise_var
        off_mps = track.speed_mps - self.speed_mps
        return track.speed_mps == 0.0 or off_mps * off_mps <= SURPRISE * variance

    def follow(self, track: Track, *, anyway: bool = False) -> bool:
        """Take in a newer track of the person; False, and nothing changed, when it cannot be theirs.

        Notes
        -----
        Predict: x -= u dt, P = F P F' + Q. Update with the distance, then, if the sensor states one, with the
        speed; a stated speed of 0 is what sensors say of standing *and* of walking away, so it is left out.
        A track no newer than the last one tells nothing: what is seen twice is not twice as sure.
        """
        if track.measured_ds <= self.track.measured_ds:
            return True
        dt_s = (track.measured_ds - self.track.measured_ds) / 10
        p_xu = self.both_var - self.speed_var * dt_s
        p_xx = self.remaining_var - (self.both_var + p_xu) * dt_s
        p_uu = self.speed_var + SPEED_DRIFT * dt_s
        x_m = self.remaining_m - self.speed_mps * dt_s
        off_m, noise = track.remaining_m - x_m, self.noise
        s = p_xx + noise.position_var
        surprise = off_m * off_m / s
        if surprise > JUMP and abs(off_m) > JUMP_M and not anyway:
            return False
        if surprise > SURPRISE:
            surprise, p_uu = SURPRISE, p_uu + FIRST_SPEED_VAR
            p_xu -= FIRST_SPEED_VAR * dt_s
            p_xx += FIRST_SPEED_VAR * dt_s * dt_s
            s = p_xx + noise.position_var
        learnt = noise.position_var * (1.0 + NOISE_WEIGHT * (surprise - 1.0))
        if LEAST_POSITION_VAR_M2 < learnt < MOST_POSITION_VAR_M2:
            noise.position_var = learnt
        k_x, k_u = p_xx / s, p_xu / s
        x_m, u_mps = x_m + k_x * off_m, self.speed_mps + k_u * off_m
        p_uu -= k_u * p_xu
        p_xx, p_xu = (1.0 - k_x) * p_xx, (1.0 - k_x) * p_xu
        if track.speed_mps > 0.0:
            off_mps = track.speed_mps - u_mps
            s = p_uu + noise.speed_var
            surprise = off_mps * off_mps / s
            if surprise > SURPRISE:
                surprise, p_uu = SURPRISE, p_uu + FIRST_SPEED_VAR
                s = p_uu + noise.speed_var
            learnt = noise.speed_var * (1.0 + NOISE_WEIGHT * (surprise - 1.0))
            if LEAST_SPEED_VAR < learnt < MOST_SPEED_VAR:
                noise.speed_var = learnt
            k_x, k_u = p_xu / s, p_uu / s
            x_m, u_mps = x_m + k_x * off_mps, u_mps + k_u * off_mps
            p_xx -= k_x * p_xu
            p_xu, p_uu = (1.0 - k_u) * p_xu, (1.0 - k_u) * p_uu
        self.remaining_m, self.speed_mps = max(0.0, x_m), u_mps
        self.remaining_var, self.both_var, self.speed_var = p_xx, p_xu, p_uu
        self._note(track)
        return True

    def _note(self, track: Track) -> None:
        """Remember what the filter itself does not."""
        if track.class_probabilities is not self.track.class_probabilities:
            self.prior = speed_prior(track.class_probabilities)
        self.track = track
        speed_mps = self.speed_mps
        if speed_mps >= MOVING_MPS:
            known_mps = self.walked_mps or speed_mps
            self.walked_mps = known_mps + WALKED_WEIGHT * (speed_mps - known_mps)
            self.walked_var = self.speed_var
        if self.gone_ds >= 0:
            self.gone_ds = self.forget_ds = -1
        self.nearest_m = min(self.nearest_m, track.remaining_m)
        self.is_returning = speed_mps < 0.0 and self.remaining_m - self.nearest_m >= MOVED_M
        if not self.is_confirmed:
            has_come = self.first_m - track.remaining_m >= MOVED_M
            self.is_confirmed = speed_mps >= MOVING_MPS or has_come or self.is_returning

    def outlook(self) -> tuple[float, float, float, float, float]:
        """Return distance to go [m], its variance, speed [m/s], its variance, and a pause before it [s]."""
        speed_mps = self.speed_mps
        if speed_mps <= -RETURNING_MPS and self.is_returning:
            back_m = max(self.length_m - self.remaining_m, 0.0)
            return back_m, self.remaining_var, -speed_mps, self.speed_var, 0.0
        if speed_mps < STANDING_MPS:
            return self.remaining_m, self.remaining_var, self.walked_mps, self.walked_var, PAUSE_S
        return self.remaining_m, self.remaining_var, speed_mps, self.speed_var, 0.0

    def belief(self) -> tuple[float, float, float, float, float]:
        """Return speed [m/s], -1 / (2 its variance), distance with margin [m], spread r, and pause [s]."""
        metres, metres_var, speed_mps, variance, pause_s = self.outlook()
        sharpness, future = 0.0, FUTURE_SPREAD
        if speed_mps > 0.0:
            tired = min(max((TIRELESS_MPS - speed_mps) / (TIRELESS_MPS - TIRED_MPS), 0.0), 1.0)
            metres *= 1.0 + TIRING * tired
            sharpness, future = 1.0 / (-2.0 * variance), FUTURE_SPREAD / max(speed_mps, STANDING_MPS)
        metres += KERB_MARGIN_M
        spread = sqrt(future * future + (metres_var + KERB_VAR_M2) / (metres * metres))
        return speed_mps, sharpness, metres, spread, pause_s

    def surely_gone_ds(self) -> int:
        """Return when somebody lost now has left, if they go on at half their speed. [0.1 s]"""
        distance_m, _, speed_mps, _, pause_s = self.outlook()
        needed_s = (distance_m + KERB_MARGIN_M) / max(LOST_SPEED_SHARE * speed_mps, SLOWEST_MPS)
        return self.track.measured_ds + ceil(10 * (pause_s + needed_s))


def beliefs(people: Sequence[Person]) -> tuple[Array, Array, Array]:
    """Return what is believed of people's time to clear.

    Parameters
    ----------
    people : n of them, at least one.

    Returns
    -------
    cumulative : P(speed <= grid), `(n, GRID_SIZE)`.
    distance_m : to go, margin included, `(n,)`. [m]
    pause_s : less age of the measurement once it is known: `clear_by` takes both, `(n,)`. [s]

    Notes
    -----
    p(v) ~ prior(v) N(u; v, var u), spread by r, r^2 = (FUTURE_SPREAD / u)^2 + var(distance) / distance^2.
    """
    table = np.array([person.belief() for person in people])
    speed_mps, sharpness, distance_m, spread, pause_s = table.T
    off = (SPEED_MPS - speed_mps[:, None]) ** 2 * sharpness[:, None]
    prior = np.concatenate([person.prior for person in people]).reshape(len(people), GRID_SIZE)
    weights = prior * np.exp(np.maximum(off, LOG_NEGLIGIBLE))
    wide = np.log(spread / _NARROWEST) / log(_WIDER) + 0.5
    steps = np.minimum(np.maximum(wide, 0.0), _WIDTHS - 1).astype(np.intp)
    widths = set(steps.tolist())
    for step in widths:
        alike = steps == step if len(widths) > 1 else slice(None)
        weights[alike] = weights[alike] @ _SPREADS[step]
    cumulative = np.cumsum(weights, axis=1)
    weights *= 0.5  # each weight is centred on its speed, so half of it lies below
    return (cumulative - weights) / cumulative[:, -1:], distance_m, pause_s


class NeedEstimator:
    """People on each crossing, remembered until they have surely left, and requests to cross.

    Parameters
    ----------
    plan : the site; crossings are addressed by their index in it.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._lengths_m = tuple(crossing.length_m for crossing in plan.crossings)
        self._noises = tuple(Noise() for _ in plan.crossings)
        self._index = {crossing.id: index for index, crossing in enumerate(plan.crossings)}
        self._known: tuple[dict[str, Person], ...] = tuple({} for _ in plan.crossings)
        self._frames: list[Frame | None] = [None for _ in plan.crossings]
        self._waiting: list[tuple[Frame, ...]] = []
        self._requests: tuple[CrossingRequest, ...] = ()

    def update(self, frames: tuple[Frame, ...], requests: tuple[CrossingRequest, ...] = ()) -> None:
        """Take note of the newest frames and the open requests; frames wait until someone asks."""
        self._requests = requests
        self._waiting.append(frames)
        if len(self._waiting) >= MOST_WAITING:
            self._take_in()

    @property
    def _people(self) -> tuple[dict[str, Person], ...]:
        """Everyone on each crossing, by the number of their track; frames that wait are taken in first."""
        if self._waiting:
            self._take_in()
        return self._known

    def _take_in(self) -> None:
        """Follow everyone in the frames that wait, in their order; a blind frame loses nobody."""
        waiting, self._waiting = self._waiting, []  # what cannot be followed fails once, not for ever
        for index, frame in [each for frames in waiting for each in enumerate(frames)]:
            people = self._known[index]
            if not (frame.on_crossing or people):
                continue
            previous = self._frames[index]
            if previous is not None and (previous is frame or previous.measured_ds > frame.measured_ds):
                continue
            if frame.is_healthy:
                self._frames[index] = frame
            self._merge(index, people, frame)

    def _merge(self, index: int, people: dict[str, Person], frame: Frame) -> None:
        strangers, at_ds = None, frame.measured_ds
        for track in frame.on_crossing:
            person = people.get(track.id)
            # The same picture again, beside another sensor's newer one: seen, but nothing new.
            if person is not None and (track is person.track or person.follow(track)):
                person.in_frame_ds = at_ds
            else:
                strangers = [track] if strangers is None else [*strangers, track]
        if strangers is not None:
            self._meet(index, people, frame, strangers)
        if len(people) == len(frame.on_crossing) or not frame.is_healthy:
            return
        for name, person in [each for each in people.items() if each[1].in_frame_ds != at_ds]:
            if person.gone_ds < 0:
                person.gone_ds = at_ds
                person.forget_ds = person.surely_gone_ds()
            if at_ds >= person.forget_ds:
                del people[name]

    def _meet(self, index: int, people: dict[str, Person], frame: Frame, strangers: Iterable[Track]) -> None:
        """Take in tracks of nobody known: somebody lost under a new number, or somebody new."""
        at_ds = frame.measured_ds
        lost = {name: person for name, person in people.items() if person.in_frame_ds != at_ds}
        for track in strangers:
            near = {
                name: abs(person.expected_m(at_ds) - track.remaining_m)
                for name, person in lost.items()
                if person.may_walk_at(track)
            }
            name = min(near, key=near.__getitem__, default=None)
            if name is not None and near[name] <= REJOIN_M:
                person = lost.pop(name)
                if people.get(name) is person:
                    del people[name]
                person.follow(track, anyway=True)
            else:
                person = Person(track, self._lengths_m[index], self._noises[index])
            displaced = people.get(track.id)
            if displaced is not None:  # their number went to somebody else: kept as lost, under another
                renamed = f"{track.id} until {at_ds}"
                while renamed in people:
                    renamed += "'"
                people[renamed] = displaced
                lost = {renamed if each is displaced else key: each for key, each in lost.items()}
            people[track.id] = person
            person.in_frame_ds = at_ds

    def people(self, index: int) -> Collection[Person]:
        """Return everyone who may be on the crossing: seen, or lost but not yet surely gone."""
        return self._people[index].values()

    def need(self, index: int, now_ds: int, *, quantile: float = SURE) -> float:
        """Return the seconds until the last detected person is clear, at a quantile; 0 if nobody. [s]

        Parameters
        ----------
        now_ds : time. [0.1 s]
        quantile : within (0, 1).
        """
        people = tuple(self._people[index].values())
        if not people:
            return 0.0
        cumulative, distance_m, pause_s = beliefs(people)
        waits_s = pause_s - _ages_s(people, now_ds)
        # Longer than each one's own need at that quantile, shorter than at the quantile's n-th root.
        between = (quantile, quantile ** (1 / len(people)))
        shortest_s, longest_s = (distance_m / slowest_of(cumulative, between) + waits_s).max(axis=1).tolist()
        if len(people) == 1:
            return float(max(shortest_s, 0.0))
        times_s = shortest_s + (longest_s - shortest_s) * _BRACKET
        chance = clear_by(cumulative, distance_m, times_s - waits_s[:, None]).prod(axis=0)
        return max(float(np.interp(quantile, chance, times_s)), 0.0)

    def needs(self, index: int, now_ds: int, quantiles: Sequence[float]) -> list[list[float]]:
        """Return each person's own need at each quantile, in the order of `people`. [s]"""
        people = tuple(self._people[index].values())
        if not people:
            return []
        cumulative, distance_m, pause_s = beliefs(people)
        needs_s = distance_m / slowest_of(cumulative, quantiles) + (pause_s - _ages_s(people, now_ds))
        table: list[list[float]] = np.maximum(needs_s.T, 0.0).tolist()
        return table

    def is_clear_within(self, index: int, now_ds: int, within_s: float) -> bool:
        """Tell whether everyone detected will surely (99 %) be off the crossing in `within_s` seconds."""
        people = tuple(self._people[index].values())
        if not people:
            return True
        for person in people:  # most cannot be at the speed they have: no need to ask for a quantile
            age_s = (now_ds - person.track.measured_ds) / 10
            trusted_mps = SURE_SHARE * max(person.speed_mps, SLOWEST_MPS)
            if person.speed_mps >= 0 and person.remaining_m > (within_s + age_s) * trusted_mps:
                return False
        cumulative, distance_m, pause_s = beliefs(people)
        times_s = within_s + _ages_s(people, now_ds) - pause_s
        return float(clear_by(cumulative, distance_m, times_s[:, None]).prod()) >= SURE

    def need_from_start(self, index: int, waiting: Collection[Track], *, quantile: float = SURE) -> float:
        """Return the seconds from the onset of walk until the last of those waiting is clear. [s]

        Parameters
        ----------
        waiting : tracks at its kerbs; open requests are added.
        quantile : within (0, 1).

        Returns
        -------
        A quantile, start-up included; at least what a request states; 0 if nobody waits or asks.
        """
        stated_s = max((each.needed_s or 0.0 for each in self._open_requests(index)), default=0.0)
        silent = sum(each.needed_s is None for each in self._open_requests(index))
        weights = [class_weights(track.class_probabilities) for track in waiting] + [UNKNOWN] * silent
        if not weights:
            return stated_s
        chance = (np.array(weights) @ clear_from_start(self._lengths_m[index])).prod(axis=0)
        return max(stated_s, STARTUP_STEP_S * int((chance < quantile).sum()))

    def requested_s(
        self, index: int, walk_since_ds: int, walk_ended_ds: int, now_ds: int, *, asked_after_ds: int = -1
    ) -> float:
        """Return for how long people who asked to cross, and started with this walk, still need it. [s]

        Parameters
        ----------
        walk_since_ds, walk_ended_ds : begin and end of the walk. [0.1 s]
        now_ds : time. [0.1 s]
        asked_after_ds : end of the walk before; who asked earlier has had it. [0.1 s]

        Returns
        -------
        What is left of the longest time asked for; 0 if nobody asked, or only for another walk.
        """
        if not self._requests:
            return 0.0
        served = [
            each
            for each in self._open_requests(index)
            if asked_after_ds < each.measured_ds <= walk_ended_ds and each.until_ds > walk_since_ds
        ]
        if not served:
            return 0.0
        needed_s = max(
            self.need_from_start(index, ()) if each.needed_s is None else each.needed_s for each in served
        )
        return max(needed_s - (now_ds - walk_since_ds) / 10, 0.0)

    def _open_requests(self, index: int) -> Iterable[CrossingRequest]:
        return (each for each in self._requests if self._index.get(each.crossing) == index)


def _ages_s(people: Sequence[Person], now_ds: int) -> Array:
    return np.array([(now_ds - person.track.measured_ds) / 10 for person in people])

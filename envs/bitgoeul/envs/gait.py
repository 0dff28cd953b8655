"""How a walker's speed changes on a crossing: slowing, resting, hurrying; and turning back.

All of it is `person.setSpeed` at times worked out when the walker enters or clearance begins, so a step in
which nothing is due costs one comparison. Turning back takes a new route as well (`TurnBack`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from math import inf
from typing import Any, NamedTuple

from bitgoeul.sim_scenarios.walker_trips import Gait

SLOWING_STRETCHES = 4
"""Who slows does so in so many steps along a crossing. [A]"""
OWN_SPEED = -1.0
"""SUMO's `person.setSpeed` value that gives a person their own speed back."""

SetSpeed = Callable[[str, float, int], None]
"""Sets a person's speed: id, speed [m/s] or `OWN_SPEED`, time [0.1 s]."""


class Stretch(NamedTuple):
    """A part of a crossing walked at one speed.

    Parameters
    ----------
    from_m : where it begins, from the kerb of departure. [m]
    speed_factor : speed over the walker's own, > 0.
    pause_s : how long they stand before it. [s]
    """

    from_m: float
    speed_factor: float
    pause_s: float = 0.0


@lru_cache(maxsize=256)
def stretches(gait: Gait, length_m: float) -> tuple[Stretch, ...]:
    """Return how a walker crosses when nothing hinders or hurries them.

    Parameters
    ----------
    gait : theirs.
    length_m : of the crossing, > 0. [m]

    Notes
    -----
    Slowing: with n stretches of equal length, the k-th at c f_k, f_k = 1 - (1 - s)(k + 1/2) / n and
    c = (1/n) sum 1/f_k, the crossing takes L / v whatever s is: the mean speed stays v. A rest comes on
    top of that time.

    Examples
    --------
    >>> [round(each.speed_factor, 3) for each in stretches(Gait(slow_to=0.8), 20.0)]
    [1.095, 1.039, 0.983, 0.926]
    """
    n = SLOWING_STRETCHES if gait.slow_to < 1.0 else 1
    factors = [1 - (1 - gait.slow_to) * (k + 0.5) / n for k in range(n)]
    scale = sum(1 / factor for factor in factors) / n
    walk = [Stretch(k * length_m / n, scale * factor) for k, factor in enumerate(factors)]
    if gait.rest_s > 0.0:
        rest_m = gait.rest_at * length_m
        at = max(k for k, each in enumerate(walk) if each.from_m <= rest_m)
        walk.insert(at + 1, Stretch(rest_m, walk[at].speed_factor, gait.rest_s))
    return tuple(walk)


def timetable(
    course: tuple[Stretch, ...], *, at_m: float, length_m: float, speed_mps: float
) -> Iterator[tuple[float, float]]:
    """Yield (seconds from now, speed [m/s]) for each change of speed from a place on the crossing on.

    Parameters
    ----------
    course : of `stretches`.
    at_m : where the walker is, from the kerb of departure. [m]
    length_m : of the crossing. [m]
    speed_mps : their own speed, > 0. [m/s]
    """
    due_s = 0.0
    ends_m = [*(each.from_m for each in course[1:]), length_m]
    for each, end_m in zip(course, ends_m, strict=True):
        if end_m <= at_m:
            continue
        speed = speed_mps * each.speed_factor
        if each.pause_s > 0.0 and each.from_m >= at_m:
            yield due_s, 0.0
            due_s += each.pause_s
        yield due_s, speed
        due_s += (end_m - max(each.from_m, at_m)) / speed


class TurnBack(NamedTuple):
    """One walker's way back to the approach they came from, and then over the whole walk again.

    Parameters
    ----------
    stages : walks, each as its edges and SUMO's arrival position [m].

    Notes
    -----
    SUMO 1.28 lets a walk that begins on a crossing leave it at the end of the lane only; so whoever has to
    walk against the lane first walks to its beginning, and sets out from the walking area in a second walk.
    The walker stands for one step and may be moved sideways within the crossing (docs/walkers.md).
    """

    stages: tuple[tuple[tuple[str, ...], float], ...]

    def apply(self, domain: Any, person: str) -> None:
        """Give a person (SUMO's id) the new way through SUMO's `person` domain."""
        domain.removeStages(person)
        for edges, arrival_m in self.stages:
            domain.appendWalkingStage(person, list(edges), arrival_m)


@dataclass(slots=True)
class _Pace:
    """Speed changes still to come of one walker on a crossing."""

    person: str
    changes: Iterator[tuple[float, float]]
    since_ds: int
    speed_mps: float = 0.0
    is_over: bool = False


class Pacer:
    """Changes the speed of walkers on crossings when it is due.

    Parameters
    ----------
    set_speed : tells SUMO.
    half_step_ds : half a simulation step: a change is made at the nearest step. [0.1 s]

    Attributes
    ----------
    due_ds : when the next change is due; infinite without one. [0.1 s]
    """

    def __init__(self, set_speed: SetSpeed, half_step_ds: int) -> None:
        self._set_speed = set_speed
        self._half_step_ds = half_step_ds
        self._paces: dict[str, _Pace] = {}
        self._due: list[tuple[int, int, _Pace]] = []
        self._number = 0
        self.due_ds: float = inf

    def start(self, person: str, changes: Iterator[tuple[float, float]], now_ds: int) -> None:
        """Begin a timetable in place of any earlier one; what is due now is done now."""
        if person in self._paces:
            self._paces[person].is_over = True
        self._paces[person] = pace = _Pace(person, changes, now_ds)
        self._go_on(pace, now_ds)

    def stop(self, person: str, now_ds: int, *, is_there: bool = True) -> None:
        """Drop a walker's timetable, if any, and give them their own speed back if they are still there."""
        pace = self._paces.pop(person, None)
        if pace is not None:
            pace.is_over = True
            if is_there:
                self._set_speed(person, OWN_SPEED, now_ds)

    def stop_all(self, now_ds: int) -> None:
        """Give everyone their own speed back."""
        for person in list(self._paces):
            self.stop(person, now_ds)

    def act(self, now_ds: int) -> None:
        """Make the changes that are due in the step that begins now."""
        until_ds = now_ds + self._half_step_ds
        while self._due and self._due[0][0] <= until_ds:
            pace = heappop(self._due)[2]
            if not pace.is_over:
                self._set_speed(pace.person, pace.speed_mps, now_ds)
                self._go_on(pace, now_ds)
        self.due_ds = self._due[0][0] if self._due else inf

    def _go_on(self, pace: _Pace, now_ds: int) -> None:
        """Make the changes due by now and put the next one on the list."""
        for after_s, speed_mps in pace.changes:
            due_ds = pace.since_ds + round(10 * after_s)
            if due_ds > now_ds + self._half_step_ds:
                pace.speed_mps = speed_mps
                self._number += 1
                heappush(self._due, (due_ds, self._number, pace))
                self.due_ds = self._due[0][0]
                return
            self._set_speed(pace.person, speed_mps, now_ds)

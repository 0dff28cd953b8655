"""People near each other on a crossing, as a sensor sees them: who hides whom, whose numbers are swapped."""

from __future__ import annotations

from itertools import islice
from math import log1p
from operator import itemgetter

from .detector_draws import person_draws
from .detector_presets import DetectorPreset
from .walkers import Walker, WalkerDriver

SETBACK_M = 2.0
"""The sensor stands on the crossing's axis, this far behind kerb A [A]. [m]"""

Remaining = list[tuple[Walker, float]]
"""Walkers on a crossing, each with the distance to the far kerb. [m]"""


class Crowd:
    """Watches pairs of walkers; asks for places across the crossing only where two are near along it.

    Whether a pair swaps depends on the seed, the two and the time they have been near each other.

    Parameters
    ----------
    driver : knows where each walker is.
    preset : how deep the shadows are, and how often numbers are swapped.
    seed : >= 0.

    Attributes
    ----------
    every_ds : how often to look: each second if people hide each other; else each 4 s, and a pair that is
        near then counts as near for 4 s. [0.1 s]
    """

    def __init__(self, driver: WalkerDriver, preset: DetectorPreset, seed: int) -> None:
        self._across_m = driver.across_m
        self._depth = preset.occlusion_depth
        self._half_m = preset.body_width_m / 2
        self._within_m = preset.switch_within_m if preset.switches_per_min else 0.0
        self._mean_s = 60 / preset.switches_per_min if preset.switches_per_min else 0.0
        self.every_ds = 10 if preset.occlusion_depth else 40
        self._seed = seed
        self._near: dict[tuple[str, str], tuple[float, float, int]] = {}

    def look(self, remaining: Remaining, length_m: float) -> tuple[set[str], list[tuple[str, str]]]:
        """Return who is hidden and which pairs swap their numbers now; call it every `every_ds`.

        Parameters
        ----------
        remaining : who is on the crossing, and how far from their far kerb. [m]
        length_m : of the crossing. [m]

        Notes
        -----
        With r the distance from the sensor along the crossing and y the one from its axis, j is hidden by
        i if r_i < r_j <= (1 + depth) r_i and |y_i - y_j r_i / r_j| <= half a body.
        """
        places = [
            (SETBACK_M + (length_m - metres if walker.kerb == "A" else metres), walker)
            for walker, metres in remaining
        ]
        places.sort(key=itemgetter(0))
        hidden: set[str] = set()
        swaps: list[tuple[str, str]] = []
        across: dict[str, float] = {}
        depth, within_m = self._depth, self._within_m
        for at, (near_m, near) in enumerate(places, start=1):
            shadow_m = near_m * (1.0 + depth)
            reach_m = max(shadow_m, near_m + within_m)
            for far_m, far in islice(places, at, None):
                if far_m > reach_m:
                    break
                near_y, far_y = self._place(near, across), self._place(far, across)
                if near_m < far_m <= shadow_m and abs(near_y - far_y * near_m / far_m) <= self._half_m:
                    hidden.add(far.id)
                if within_m and far_m - near_m <= within_m and abs(near_y - far_y) <= within_m:
                    pair = (near.id, far.id) if near.id < far.id else (far.id, near.id)
                    if self._is_swapped(pair):
                        swaps.append(pair)
        return hidden, swaps

    def _place(self, walker: Walker, across: dict[str, float]) -> float:
        known_m = across.get(walker.id)
        if known_m is None:
            across[walker.id] = known_m = self._across_m(walker)
        return known_m

    def _is_swapped(self, pair: tuple[str, str]) -> bool:
        """Let a pair be near each other a little longer; tell whether it swaps now."""
        near_s, due_s, count = self._near.get(pair) or (0.0, self._wait_s(pair, 0), 1)
        near_s += self.every_ds / 10
        if near_s < due_s:
            self._near[pair] = (near_s, due_s, count)
            return False
        self._near[pair] = (near_s, due_s + self._wait_s(pair, count), count + 1)
        return True

    def _wait_s(self, pair: tuple[str, str], count: int) -> float:
        """Return how long a pair is near each other until its next swap: exponential. [s]"""
        return -self._mean_s * log1p(-person_draws(self._seed, f"{pair[0]}/{pair[1]}/{count}")[0])

    def forget(self, person: str) -> None:
        """Forget the pairs of somebody who left."""
        if self._near:
            self._near = {pair: state for pair, state in self._near.items() if person not in pair}

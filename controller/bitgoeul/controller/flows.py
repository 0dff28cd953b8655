"""Vehicles arriving and departing: averages over time, from what the detectors said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from .clocks import NOT_YET_DS
from .detection import Snapshot
from .plan import SitePlan
from .signals import phase_mask

FLOW_MEMORY_S: tuple[int, ...] = (10, 60, 300)
"""Time constants of the averages of arrivals and departures [A]. [s]"""
OCCUPANCY_MEMORY_S = 60.0
"""Time constant of the average of the passage detectors' counts [A]. [s]"""
LONGEST_TICK_S = 5.0
"""A longer pause between two ticks counts as so long in that average. [s]"""
FIRST_TICK_S = 0.5
"""The first tick counts as so long. [s]"""
MOST_TICKS = 600
"""Ticks kept before they are added up without being asked."""

Rates = npt.NDArray[np.float64]


class VehicleFlows:
    """Exponential averages of arrivals and departures.

    Parameters
    ----------
    plan : the site.
    memory_s : time constants of arrivals and departures, each > 0. [s]

    Notes
    -----
    A vehicle *arrives* when the count of a passage detector rises from one tick to the next: one that
    stands on the detector arrives once. A vehicle *departs* when the count of a zone, which ends at the
    stop line, falls while one of the zone's phases shows green or yellow. That is all the controller may
    know: one that enters the zone in the tick in which another leaves hides it, and one that changes lanes
    during green seems to leave.

    The average of a count with time constant T is sum_i exp(-(now - t_i) / T) / T over all counted vehicles.
    `counts` is another average, of a passage detector's count in each tick: there a vehicle that stands on
    the detector counts in every tick.

    `follow` runs in every tick and only keeps what it said; the averages are made when they are asked for.
    """

    def __init__(self, plan: SitePlan, memory_s: Sequence[float] = FLOW_MEMORY_S) -> None:
        self._zone_masks = np.array([phase_mask(zone.phases) for zone in plan.zone_detectors], dtype=np.int64)
        self._loops_n = len(plan.passage_detectors)
        self._pending: list[tuple[int, int, tuple[int, ...]]] = []  # time, phases that go, loops and zones
        self._last: tuple[int, ...] | None = None
        self._memory_s = np.array(memory_s, dtype=np.float64)[:, None]
        self._added_ds = 0
        self._flows = np.zeros((len(memory_s), self._loops_n + len(self._zone_masks)))
        self._counts = [0.0] * self._loops_n
        self._counted_ds = NOT_YET_DS

    def follow(self, snapshot: Snapshot) -> None:
        """Keep what this tick's detectors said."""
        lamps = snapshot.lamps
        pending = self._pending
        detected = snapshot.arrivals + snapshot.zone_vehicles
        pending.append((snapshot.now_ds, lamps.green | lamps.yellow, detected))
        if len(pending) >= MOST_TICKS:
            self._add_up(snapshot.now_ds)

    def counts(self, now_ds: int) -> list[float]:
        """Return the average count of each passage detector over the last minute or so. [1/s]"""
        self._add_up(now_ds)
        return self._counts

    def rates(self, now_ds: int) -> Rates:
        """Return the averages now: arrivals per passage detector, then departures per zone. [1/s]

        Returns
        -------
        `(len(memory_s), n_loops + n_zones)`, each kind in the plan's order.
        """
        self._add_up(now_ds)
        return self._flows

    def _add_up(self, now_ds: int) -> None:
        """Take the ticks kept into the averages, as of `now_ds`."""
        if now_ds != self._added_ds:
            self._flows *= np.exp((self._added_ds - now_ds) / (10 * self._memory_s))
            self._added_ds = now_ds
        if not self._pending:
            return
        at_ds, shown, detected = zip(*self._pending, strict=True)
        self._count(at_ds, detected)
        detected = (self._last or detected[0], *detected)
        self._last = detected[-1]
        self._pending.clear()
        size = (len(detected), len(detected[0]))
        table = np.fromiter(chain.from_iterable(detected), np.float64, size[0] * size[1]).reshape(size)
        rises = table[1:] - table[:-1]
        goes = (np.array(shown)[:, None] & self._zone_masks) != 0
        rises[:, self._loops_n :] *= np.where(goes, -1.0, 0.0)  # what leaves a zone counts, while it may
        weights = np.exp((np.array(at_ds) - now_ds) / (10 * self._memory_s)) / self._memory_s
        self._flows += weights @ np.maximum(rises, 0.0)

    def _count(self, at_ds: tuple[int, ...], detected: tuple[tuple[int, ...], ...]) -> None:
        """Take the counts of some ticks into their average, tick by tick: the same bits whenever asked."""
        rates, before_ds, weight = self._counts, self._counted_ds, 1 / OCCUPANCY_MEMORY_S
        for now_ds, counts in zip(at_ds, detected, strict=True):
            elapsed_s = FIRST_TICK_S if before_ds < 0 else min((now_ds - before_ds) / 10, LONGEST_TICK_S)
            keep = 1 - elapsed_s / OCCUPANCY_MEMORY_S
            loops = counts[: len(rates)]
            rates = [rate * keep + count * weight for rate, count in zip(rates, loops, strict=True)]
            before_ds = now_ds
        self._counts, self._counted_ds = rates, before_ds

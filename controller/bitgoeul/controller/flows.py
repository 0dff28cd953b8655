"""Vehicles arriving and departing: averages over time, from what the detectors said."""

from __future__ import annotations

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

    def __init__(self, plan: SitePlan) -> None:
        self._zone_masks = np.array([phase_mask(zone.phases) for zone in plan.zone_detectors], dtype=np.int64)
        loops_n = len(plan.passage_detectors)
        self._pending: list[tuple[int, int, tuple[int, ...], tuple[int, ...]]] = []
        self._last: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._added_ds = 0
        self._memory_s = np.array(FLOW_MEMORY_S, dtype=np.float64)
        self._counts = np.zeros(loops_n)
        self._counted_ds = NOT_YET_DS
        self._arrived = np.zeros((len(FLOW_MEMORY_S), loops_n))
        self._departed = np.zeros((len(FLOW_MEMORY_S), len(self._zone_masks)))

    def follow(self, snapshot: Snapshot) -> None:
        """Keep what this tick's detectors said."""
        lamps = snapshot.lamps
        pending = self._pending
        pending.append(
            (snapshot.now_ds, lamps.green | lamps.yellow, snapshot.arrivals, snapshot.zone_vehicles)
        )
        if len(pending) >= MOST_TICKS:
            self._add_up(snapshot.now_ds)

    def counts(self, now_ds: int) -> list[float]:
        """Return the average count of each passage detector over the last minute or so. [1/s]"""
        self._add_up(now_ds)
        averages: list[float] = self._counts.tolist()
        return averages

    def rates(self, now_ds: int) -> tuple[Rates, Rates]:
        """Return the averages now: arrivals per passage detector, departures per zone. [1/s]

        Returns
        -------
        Two arrays, `(len(FLOW_MEMORY_S), n_detectors)`, in the plan's order.
        """
        self._add_up(now_ds)
        return self._arrived, self._departed

    def _add_up(self, now_ds: int) -> None:
        """Take the ticks kept into the averages, as of `now_ds`."""
        if now_ds != self._added_ds:
            keep = np.exp((self._added_ds - now_ds) / 10 / self._memory_s)[:, None]
            self._arrived *= keep
            self._departed *= keep
            self._added_ds = now_ds
        if not self._pending:
            return
        at_ds, shown, loops, zones = zip(*self._pending, strict=True)
        first_loops, first_zones = self._last or (loops[0], zones[0])
        self._last = (loops[-1], zones[-1])
        self._pending.clear()
        passed = np.array((first_loops, *loops), dtype=np.float64)
        self._count(at_ds, passed[1:])
        age_s = (now_ds - np.array(at_ds, dtype=np.float64)) / 10
        weights = np.exp(-age_s / self._memory_s[:, None]) / self._memory_s[:, None]
        falls = -np.diff(np.array((first_zones, *zones), dtype=np.int64), axis=0)
        is_served = (np.array(shown, dtype=np.int64)[:, None] & self._zone_masks) != 0
        self._arrived += weights @ np.maximum(np.diff(passed, axis=0), 0.0)
        self._departed += weights @ (np.maximum(falls, 0) * is_served)

    def _count(self, at_ds: tuple[int, ...], passed: Rates) -> None:
        """Take the counts of some ticks into their average, tick by tick: the same bits whenever asked."""
        counts, before_ds = self._counts, self._counted_ds
        for now_ds, weighted in zip(at_ds, passed * (1 / OCCUPANCY_MEMORY_S), strict=True):
            elapsed_s = FIRST_TICK_S if before_ds < 0 else min((now_ds - before_ds) / 10, LONGEST_TICK_S)
            counts *= 1 - elapsed_s / OCCUPANCY_MEMORY_S
            counts += weighted
            before_ds = now_ds
        self._counted_ds = before_ds

"""Queues before the junction and their spilling back, sampled from the true vehicles."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.plan import SitePlan

from .layout import Connection
from .walkers import WalkerDriver

SAMPLE_DS = 100
"""Queues are looked at so often. [0.1 s] [A]"""
QUEUED_VEHICLE_M = 7.5
"""Length of a queue per vehicle: 5 m and a gap of 2.5 m, SUMO's car. [m] [A]"""
P95 = 95


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMeasures:
    """Standing vehicles (under 0.1 m/s) on the approach lanes.

    Parameters
    ----------
    mean_n : all lanes together, mean over the samples; NaN without a sample.
    p95_n, max_n : the longest queue in one lane, 95th percentile and maximum over the samples.
    spillback_share : share of the samples in which a queue filled an approach lane, or a vehicle could
        not enter the network.
    """

    mean_n: float
    p95_n: float
    max_n: float
    spillback_share: float


NO_QUEUES = QueueMeasures(mean_n=nan, p95_n=nan, max_n=nan, spillback_share=nan)


class QueueWatch:
    """Counts the standing vehicles now and then.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection.
    plan : the junction's plan.
    driver : called at the end of each of its `observe`.
    from_ds : nothing is counted before. [0.1 s]
    """

    def __init__(self, connection: Connection, plan: SitePlan, driver: WalkerDriver, from_ds: int) -> None:
        """Prepare, without reading anything yet."""
        self._connection, self._plan = connection, plan
        self._due_ds = from_ds + SAMPLE_DS
        self._room: dict[str, float] = {}
        self._standing = compiled(connection, "lane", "getLastStepHaltingNumber")
        self._samples: list[tuple[int, int, bool]] = []  # standing in all, in the longest queue, is spilt
        driver.watchers.append(self._after_step)

    def _after_step(self, now_ds: int) -> None:
        if now_ds < self._due_ds:
            return
        self._due_ds = now_ds + SAMPLE_DS
        room = self._room or self._lanes()
        queues = [self._standing(lane) for lane in room]
        is_spilt = bool(self._connection.simulation.getPendingVehicles()) or any(
            queue >= vehicles_n for queue, vehicles_n in zip(queues, room.values(), strict=True)
        )
        self._samples.append((sum(queues), max(queues, default=0), is_spilt))

    def _lanes(self) -> dict[str, float]:
        """Find the approach lanes and how many standing vehicles each holds."""
        links = self._connection.trafficlight.getControlledLinks(self._plan.sumo.traffic_light)
        for movement in self._plan.movements:
            for number in movement.sumo_links:
                for lane, _, _ in links[number]:
                    self._room[lane] = self._connection.lane.getLength(lane) // QUEUED_VEHICLE_M
        return self._room

    def result(self) -> QueueMeasures:
        """Return what was seen so far."""
        if not self._samples:
            return NO_QUEUES
        standing, longest, spilt = (
            np.asarray(column, dtype=float) for column in zip(*self._samples, strict=True)
        )
        return QueueMeasures(
            mean_n=float(standing.mean()),
            p95_n=float(np.percentile(longest, P95)),
            max_n=float(longest.max()),
            spillback_share=float(spilt.mean()),
        )

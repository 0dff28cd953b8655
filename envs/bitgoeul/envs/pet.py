"""Post-encroachment time between residual walkers and the vehicles behind them, from positions.

Thin version: only walkers who were on a crossing when a conflicting green started are watched, from that
moment until 5 s after they left, and only vehicles that pass *behind* a walker count. So it costs
nothing while there is no residual walker, and says nothing of vehicles in permitted turns that let a
walker pass.
"""

from __future__ import annotations

from typing import Protocol

from bitgoeul.controller.plan import SitePlan

from .layout import Connection, LaneStrip, lane_strips
from .walkers import Walker, WalkerDriver

WATCHED_AFTER_DS = 50
"""A walker is watched this long after leaving the crossing; PET above it is of no interest. [0.1 s] [A]"""
SLOWEST_PASS_MPS = 1.0
"""A vehicle's passing time is traced back at no less than this speed. [m/s] [A]"""


class PetRecord(Protocol):
    """Where the watch writes what it found."""

    walker: Walker
    pet_s: float | None


class PetWatch:
    """Measures, for each residual walker, the shortest time until a vehicle follows over their lane.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection.
    plan : the junction's plan.
    driver : follows the walkers; the watch hooks into it only while there is someone to watch.
    """

    def __init__(self, connection: Connection, plan: SitePlan, driver: WalkerDriver) -> None:
        """Prepare, without reading anything yet."""
        self._connection = connection
        self._plan = plan
        self._driver = driver
        self._strips: dict[int, tuple[LaneStrip, ...]] = {}
        self._on_lane: dict[str, tuple[str, ...]] = {}
        self._watched: dict[int, list[PetRecord]] = {}

    def watch(self, record: PetRecord) -> None:
        """Watch a residual walker from now on."""
        index = record.walker.crossing
        if not self._watched:
            self._driver.watchers.append(self._after_step)
        if index not in self._watched:
            if index not in self._strips:
                crossing, layout = self._plan.crossings[index], self._driver.layouts[index]
                self._strips[index] = lane_strips(self._connection, self._plan, crossing, layout)
            for strip in self._strips[index]:
                self._on_lane[strip.lane] = self._connection.lane.getLastStepVehicleIDs(strip.lane)
        self._watched.setdefault(index, []).append(record)

    def _after_step(self, now_ds: int) -> None:
        for index, records in list(self._watched.items()):
            for strip in self._strips[index]:
                before = self._on_lane[strip.lane]
                now = self._connection.lane.getLastStepVehicleIDs(strip.lane)
                if now != before:
                    self._on_lane[strip.lane] = now
                    self._lane_changed(strip, before, now, records, now_ds)
            still = [record for record in records if not _is_over(record.walker, now_ds)]
            if still:
                self._watched[index] = still
            else:
                del self._watched[index]
        if not self._watched:
            self._driver.watchers.remove(self._after_step)

    def _lane_changed(
        self,
        strip: LaneStrip,
        before: tuple[str, ...],
        now: tuple[str, ...],
        records: list[PetRecord],
        now_ds: int,
    ) -> None:
        """Find the vehicles that passed the crossing on this lane, and when."""
        vehicles = self._connection.vehicle
        if strip.is_exit:
            passed = [vehicle for vehicle in now if vehicle not in before]
        else:
            present = set(vehicles.getIDList())
            passed = [
                vehicle
                for vehicle in before
                if vehicle not in now and vehicle in present and vehicles.getRoadID(vehicle).startswith(":")
            ]
        for vehicle in passed:
            driven_m = vehicles.getLanePosition(vehicle)
            to_edge_m = driven_m + strip.gap_m if strip.is_exit else driven_m - strip.gap_m
            passed_ds = now_ds - 10 * to_edge_m / max(SLOWEST_PASS_MPS, vehicles.getSpeed(vehicle))
            for record in records:
                self._note(record, strip, passed_ds, now_ds)

    def _note(self, record: PetRecord, strip: LaneStrip, passed_ds: float, now_ds: int) -> None:
        """Keep the time from the walker's leaving the strip to the vehicle, if it is the shortest."""
        walker = record.walker
        layout = self._driver.layouts[walker.crossing]
        if walker.exited_ds is not None:
            at_ds, remaining_m = walker.exited_ds, 0.0
        else:
            at_ds = now_ds
            remaining_m = next(
                metres for other, metres in self._driver.remaining_m(walker.crossing) if other is walker
            )
        behind_strip_m = layout.length_m - strip.to_m if walker.is_forward else strip.from_m
        if remaining_m > behind_strip_m:
            return
        left_ds = at_ds - 10 * (behind_strip_m - remaining_m) / walker.speed_mps
        pet_s = (passed_ds - left_ds) / 10
        if pet_s >= 0 and (record.pet_s is None or pet_s < record.pet_s):
            record.pet_s = pet_s


def _is_over(walker: Walker, now_ds: int) -> bool:
    return walker.exited_ds is not None and now_ds - walker.exited_ds > WATCHED_AFTER_DS

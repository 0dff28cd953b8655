"""What happened to the walkers of a run, from the truth: residuals, waits, exposure, one row a crossing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Literal

import numpy as np

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import Lamps, phase_mask

from .layout import Connection
from .pet import PetWatch
from .tripinfo import OCCUPANCY, RunHealth, VehicleMeasures, run_health, vehicle_measures
from .walkers import UNKNOWN_CLASS, Walker, WalkerDriver

__all__ = [
    "ENTRIES",
    "OCCUPANCY",
    "Measures",
    "RunHealth",
    "VehicleMeasures",
    "run_health",
    "summarise",
    "vehicle_measures",
]

Row = dict[str, Any]
Entry = Literal["walk_first", "walk_second", "clearance", "red"]
ENTRIES: tuple[Entry, ...] = ("walk_first", "walk_second", "clearance", "red")
"""By the lamp at entry: first and second half of walk (legal), clearance (flash), red."""
LEGAL = frozenset({"walk_first", "walk_second"})
HALF = 0.5
PET_CRITICAL_S = 1.0
"""[M] FACTS, surrogate safety."""
PET_SERIOUS_S = 3.0
"""[M] FACTS, surrogate safety."""


@dataclass(slots=True, eq=False)
class CrossingRecord:
    """What is noted about one walker between entry and exit.

    Parameters
    ----------
    walker : who, with the times of entry and exit.
    yield_green_ds : green of yielding turns while on the crossing; minus the clock at entry before exit.
    residual_m : distance to the far kerb when the first conflicting green started; None if none did. [m]
    conflict_ds : when it started. [0.1 s]
    clearance_end_ds : end of clearance of the service they entered in; None if they were gone by
        then, or entered on red. [0.1 s]
    pet_s : shortest time until a vehicle followed, residual walkers only. [s]
    """

    walker: Walker
    yield_green_ds: int
    residual_m: float | None = None
    conflict_ds: int = 0
    clearance_end_ds: int | None = None
    pet_s: float | None = None


class Measures:
    """Notes every crossing of a run; all work is done on entries, exits and lamp changes.

    Parameters
    ----------
    plan : the junction's plan.
    driver : follows the walkers; the measures register themselves as its listener.
    connection : `libsumo` or a `traci` connection, for PET.
    warmup_ds : walkers who entered a crossing before this make no row. [0.1 s]
    extension_max_s : maximum by crossing id that *within the maximum* means; None is the plan's. [s]
    """

    def __init__(
        self,
        plan: SitePlan,
        driver: WalkerDriver,
        connection: Connection,
        warmup_ds: int,
        extension_max_s: Mapping[str, float] | None = None,
    ) -> None:
        """Work out each crossing's conflicts and yields from the plan."""
        self._plan = plan
        self._driver = driver
        self._warmup_ds = warmup_ds
        self._pet = PetWatch(connection, plan, driver)
        self._records: list[CrossingRecord] = []
        self._active: list[dict[str, CrossingRecord]] = [{} for _ in plan.crossings]
        self._bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self._conflicts = tuple(phase_mask(plan.conflicting_phases(c.id)) for c in plan.crossings)
        self._yields = tuple(_yielding_phases(plan, crossing.id) for crossing in plan.crossings)
        self._within_s = tuple(
            plan.clears_after_s(c.id)
            + (plan.extension_max_s(c.id) if extension_max_s is None else extension_max_s[c.id])
            for c in plan.crossings
        )
        self._walk_s = tuple(plan.phase(plan.phase_of(crossing.id)).walk_s for crossing in plan.crossings)
        self._yield_on = [False] * len(plan.crossings)
        self._yield_sum_ds = [0] * len(plan.crossings)  # green so far, less the start of a running one
        driver.listeners.append(self)

    def entered(self, walker: Walker, now_ds: int) -> None:
        """Note that a walker is now on a crossing."""
        record = CrossingRecord(walker, -self._yield_clock_ds(walker.crossing, now_ds))
        self._active[walker.crossing][walker.id] = record
        if now_ds >= self._warmup_ds:
            self._records.append(record)

    def left(self, walker: Walker, now_ds: int) -> None:
        """Note that a walker is off the crossing."""
        record = self._active[walker.crossing].pop(walker.id, None)
        if record is not None:
            record.yield_green_ds += self._yield_clock_ds(walker.crossing, now_ds)

    def lamps_changed(self, now_ds: int, before: Lamps, after: Lamps) -> None:
        """Take in a change of the cabinet's lamps, before the first simulation step that shows it.

        Parameters
        ----------
        now_ds : time at the start of that step. [0.1 s]
        before, after : the indications until now and from now on.
        """
        started = after.green & ~before.green
        ended = (before.walk | before.ped_clear) & ~(after.walk | after.ped_clear)
        for index, active in enumerate(self._active):
            has_yield = bool(after.green & self._yields[index])
            if has_yield is not self._yield_on[index]:
                self._yield_on[index] = has_yield
                self._yield_sum_ds[index] += -now_ds if has_yield else now_ds
            if not active:
                continue
            if ended & self._bits[index]:
                for record in active.values():
                    if record.walker.entry_lamp != "red" and record.clearance_end_ds is None:
                        record.clearance_end_ds = now_ds
            if started & self._conflicts[index]:
                self._conflict_began(index, now_ds)

    def event_rows(self, now_ds: int, was_detected: Callable[[str], bool] | None = None) -> list[Row]:
        """Return one row for each walker who entered after warm-up or still waits.

        Call it while SUMO still runs: who is on a crossing has to be read.

        Parameters
        ----------
        now_ds : end of the run. [0.1 s]
        was_detected : tells whether a sensor ever saw a walker on the crossing; None makes it False.

        Returns
        -------
        Rows in order of entry, then those unserved. `wait_s` runs from the moment the walker is at the
        kerb when unhindered (straight from first sight on the walking area, at own speed) to entry or
        `now_ds`; it holds the start-up and is up to 1 s too long for who walks straight on.
        `crossing_s`, `needed_after_clearance_s` and `is_within_max` are None where unknown; a walker
        still on the crossing needs what their own speed says.
        """
        rows = [self._row(record, now_ds) for record in self._records]
        for waiting in self._driver.waiting:
            rows.extend(self._walker_columns(walker, now_ds) for walker in waiting.values())
        if was_detected is not None:
            for row in rows:
                row["was_detected"] = was_detected(row["walker"])
        return rows

    def _conflict_began(self, index: int, now_ds: int) -> None:
        active = self._active[index]
        if all(record.residual_m is not None for record in active.values()):
            return
        for walker, remaining_m in self._driver.remaining_m(index):
            record = active.get(walker.id)
            if record is not None and record.residual_m is None:
                record.residual_m = remaining_m
                record.conflict_ds = now_ds
                self._pet.watch(record)

    def _yield_clock_ds(self, index: int, now_ds: int) -> int:
        return self._yield_sum_ds[index] + (now_ds if self._yield_on[index] else 0)

    def _walker_columns(self, walker: Walker, now_ds: int) -> Row:
        crossing = self._plan.crossings[walker.crossing]
        until_ds = now_ds if walker.entered_ds is None else walker.entered_ds
        return {
            "walker": walker.id,
            "crossing": crossing.id,
            "length_m": crossing.length_m,
            "mobility_class": walker.mobility_class,
            "speed_mps": walker.speed_mps,
            "startup_s": walker.startup_s,
            "kerb": walker.kerb,
            "entered_s": None,
            "entry": None,
            "wait_s": max(0, until_ds - walker.waiting_since_ds) / 10,
            "crossing_s": None,
            "is_residual": False,
            "residual_m": None,
            "needed_after_clearance_s": None,
            "is_within_max": None,
            "exposure_s": 0.0,
            "exposure_yield_s": 0.0,
            "pet_s": None,
            "was_detected": False,
        }

    def _row(self, record: CrossingRecord, now_ds: int) -> Row:
        walker = record.walker
        entered_ds, exited_ds = walker.entered_ds or 0, walker.exited_ds
        row = self._walker_columns(walker, now_ds)
        row["entered_s"] = entered_ds / 10
        row["entry"] = self._entry(walker)
        row["is_residual"] = record.residual_m is not None
        row["residual_m"] = record.residual_m
        row["pet_s"] = record.pet_s
        off_ds: float = now_ds
        yield_ds = record.yield_green_ds
        if exited_ds is None:
            yield_ds += self._yield_clock_ds(walker.crossing, now_ds)
            remaining = {other.id: metres for other, metres in self._driver.remaining_m(walker.crossing)}
            needed_off_ds = now_ds + 10 * remaining.get(walker.id, 0.0) / walker.speed_mps
        else:
            off_ds = needed_off_ds = exited_ds
            row["crossing_s"] = (exited_ds - entered_ds) / 10
        row["exposure_yield_s"] = yield_ds / 10
        if record.residual_m is not None:
            row["exposure_s"] = (off_ds - record.conflict_ds) / 10
        if walker.entry_lamp == "red":
            row["is_within_max"] = False
        elif record.clearance_end_ds is not None:
            needed_s = max(0.0, (needed_off_ds - record.clearance_end_ds) / 10)
            row["needed_after_clearance_s"] = needed_s
            row["is_within_max"] = needed_s <= self._within_s[walker.crossing]
        elif exited_ds is not None:
            row["needed_after_clearance_s"] = 0.0
            row["is_within_max"] = True
        return row

    def _entry(self, walker: Walker) -> Entry:
        if walker.entry_lamp != "walk":
            return walker.entry_lamp
        share = walker.walk_share
        if isnan(share):  # that walk still runs: judge by the plan's
            share = self._driver.walk_so_far_s(walker) / max(0.1, self._walk_s[walker.crossing])
        return "walk_first" if share < HALF else "walk_second"


def _yielding_phases(plan: SitePlan, crossing_id: str) -> int:
    """Return the bitmap of phases whose green lets a turn run that must yield on a crossing."""
    yielding = {m.id for m in plan.movements if plan.relation(m.id, crossing_id) == "yield"}
    return phase_mask(
        phase.number for phase in plan.phases if yielding.intersection(plan.movements_of(phase.number))
    )


def summarise(
    *, rows: Iterable[Row], vehicles: VehicleMeasures, health: RunHealth, duration_s: float
) -> dict[str, float]:
    """Return the result row of one run from its crossing rows, its vehicles and its health.

    Parameters
    ----------
    rows : of `Measures.event_rows`.
    vehicles : of `vehicle_measures` over the same time.
    health : of `run_health`.
    duration_s : length of the measured time, > 0. [s]

    Returns
    -------
    Plain numbers. Rates are per 10,000 crossings *of their own group*: all, legal starters (entered on
    walk), legal starters within the maximum; `beyond_max_share` is the share of legal starters not
    within. A rate or mean over nobody is NaN. Waits count those still waiting with their wait so far.
    A walker's delay is the wait and what the crossing took beyond own speed; `pet_serious_n` contains
    `pet_critical_n`.
    """
    rows = list(rows)
    crossed = [row for row in rows if row["entered_s"] is not None]
    legal = [row for row in crossed if row["entry"] in LEGAL]
    within = [row for row in legal if row["is_within_max"]]
    known = [row for row in legal if row["is_within_max"] is not None]
    residual_m = [row["residual_m"] for row in crossed if row["is_residual"]]
    pets = [row["pet_s"] for row in crossed if row["pet_s"] is not None]
    waits = [row["wait_s"] for row in rows]
    walker_delay_s = sum(waits) + sum(_delay_on_crossing_s(row) for row in crossed)
    person_delay_s = walker_delay_s + vehicles.person_delay_s
    persons_n = len(rows) + vehicles.occupants_n
    return {
        "crossings_n": len(crossed),
        "unserved_walkers_n": len(rows) - len(crossed),
        "residual_n": len(residual_m),
        "residual_per_10k": _per_10k(crossed),
        "residual_legal_per_10k": _per_10k(legal),
        "residual_within_max_per_10k": _per_10k(within),
        "beyond_max_share": 1 - len(within) / len(known) if known else nan,
        **_grouped(crossed),
        "residual_m_mean": _mean(residual_m),
        "exposure_s": sum(row["exposure_s"] for row in crossed),
        "exposure_yield_s": sum(row["exposure_yield_s"] for row in crossed),
        "pet_critical_n": sum(pet <= PET_CRITICAL_S for pet in pets),
        "pet_serious_n": sum(pet <= PET_SERIOUS_S for pet in pets),
        "ped_wait_s": _mean(waits),
        "ped_wait_p95_s": float(np.percentile(waits, 95)) if waits else nan,
        "ped_wait_max_s": max(waits, default=nan),
        "vehicle_delay_s": vehicles.delay_s,
        "person_delay_s": person_delay_s / persons_n if persons_n else nan,
        "person_hours_per_h": person_delay_s / duration_s,
        "vehicles_n": vehicles.vehicles_n,
        "vehicles_unserved_n": vehicles.unserved_n,
        "vehicles_unfinished_n": vehicles.unfinished_n,
        "stops_per_vehicle": vehicles.stops_per_vehicle,
        "jammed_n": health.jammed_n,
        "teleports_n": health.teleports_n,
        "warnings_n": health.warnings_n,
    }


def _grouped(crossed: list[Row]) -> dict[str, float]:
    """Return crossings and residuals by class, length and entry, as flat columns."""
    counts: dict[str, float] = {}
    groups = (*MOBILITY_CLASSES, UNKNOWN_CLASS, *ENTRIES)
    for group in groups:
        counts[f"crossings_n_{group}"] = counts[f"residual_n_{group}"] = 0
    for row in crossed:
        for group in (row["mobility_class"], row["entry"], f"{row['length_m']:g}m"):
            for column, is_in in (
                (f"crossings_n_{group}", True),
                (f"residual_n_{group}", row["is_residual"]),
            ):
                counts[column] = counts.get(column, 0) + is_in
    return counts


def _delay_on_crossing_s(row: Row) -> float:
    if row["crossing_s"] is None:
        return 0.0
    return max(0.0, float(row["crossing_s"] - row["length_m"] / row["speed_mps"]))


def _per_10k(crossed: list[Row]) -> float:
    return 1e4 * sum(row["is_residual"] for row in crossed) / len(crossed) if crossed else nan


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else nan

"""What happened to the walkers of a run, from the truth: one row for each who crossed or wanted to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from operator import itemgetter
from typing import Any, Literal

from bitgoeul.controller.audit import Extension
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask

from .extension_use import NO_EXTENSIONS, ExtensionUse, Stay, extended_s, extension_use
from .layout import Connection
from .pet import PetWatch
from .queues import QueueWatch
from .result import (
    ENTRIES,
    OCCUPANCY,
    RunHealth,
    VehicleMeasures,
    delay_on_crossing_s,
    run_health,
    summarise,
    vehicle_measures,
)
from .walkers import Walker, WalkerDriver

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
HALF = 0.5


@dataclass(slots=True, eq=False)
class CrossingRecord:
    """What is noted about one walker between entry and exit.

    Parameters
    ----------
    walker : who, with the times of entry and exit.
    yield_green_ds : green of yielding turns while on the crossing; minus the clock at entry before exit.
    entered_ds : when they were first seen on the crossing. [0.1 s]
    trail : position along the crossing after each step from then on; empty once PET is known. [m]
    residual_m : distance to the far kerb when the first conflicting green started; None if none did. [m]
    conflict_ds : when it started. [0.1 s]
    exposure_lane_ds : lanes with a conflicting green still to be crossed, summed over time. [0.1 s]
    clearance_end_ds : end of clearance of the service they entered in; None if they were gone by
        then, or entered on red. [0.1 s]
    pet_s, pet_ahead_s, pet_turn_s, pet_turn_ahead_s : see `pet.Trail`. [s]
    """

    walker: Walker
    yield_green_ds: int
    entered_ds: int
    trail: list[float] = field(default_factory=list)
    residual_m: float | None = None
    conflict_ds: int = 0
    exposure_lane_ds: float = 0.0
    clearance_end_ds: int | None = None
    pet_s: float | None = None
    pet_ahead_s: float | None = None
    pet_turn_s: float | None = None
    pet_turn_ahead_s: float | None = None


class Measures:
    """Notes every crossing of a run; little is done in a step in which nobody comes or goes.

    Parameters
    ----------
    plan : the junction's plan.
    driver : follows the walkers; the measures register themselves as its listener and watcher.
    connection : `libsumo` or a `traci` connection, for PET and queues.
    warmup_ds : walkers who entered a crossing before this make no row. [0.1 s]
    extension_max_s : maximum by crossing id that *within the maximum* means; None is the plan's. [s]

    Attributes
    ----------
    queues : of the vehicles.
    parts : the objects whose methods are called for the measures in every step.
    extension_use : what the extensions given to `event_rows` were worth.
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
        self.queues = QueueWatch(connection, plan, driver, warmup_ds)
        self.parts = (self._pet, self.queues)
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
        self._greens: list[tuple[int, int]] = [(0, ALL_RED.green)]  # since when, which phases
        self.extension_use = NO_EXTENSIONS
        driver.listeners.append(self)

    @property
    def crossed_n(self) -> int:
        """Walkers who have left a crossing so far, of those who entered it after the warm-up."""
        return sum(record.walker.exited_ds is not None for record in self._counted())

    @property
    def residual_n(self) -> int:
        """Residuals so far, among those who entered after the warm-up."""
        return sum(record.residual_m is not None for record in self._counted())

    def _counted(self) -> list[CrossingRecord]:
        return [record for record in self._records if record.entered_ds >= self._warmup_ds]

    def entered(self, walker: Walker, now_ds: int) -> None:
        """Note that a walker is now on a crossing."""
        record = CrossingRecord(walker, -self._yield_clock_ds(walker.crossing, now_ds), now_ds)
        self._active[walker.crossing][walker.id] = record
        self._records.append(record)
        self._pet.entered(record)

    def left(self, walker: Walker, now_ds: int) -> None:
        """Note that a walker is off the crossing."""
        record = self._active[walker.crossing].pop(walker.id, None)
        if record is not None:
            record.yield_green_ds += self._yield_clock_ds(walker.crossing, now_ds)
            if record.residual_m is not None:
                record.exposure_lane_ds = self._pet.exposure_lane_ds(record, record.conflict_ds, self._greens)
            self._pet.left(record, now_ds)

    def lamps_changed(self, now_ds: int, before: Lamps, after: Lamps) -> None:
        """Take in a change of the cabinet's lamps, before the first simulation step that shows it.

        Parameters
        ----------
        now_ds : time at the start of that step. [0.1 s]
        before, after : the indications until now and from now on.
        """
        started = after.green & ~before.green
        ended = (before.walk | before.ped_clear) & ~(after.walk | after.ped_clear)
        if after.green != before.green:
            self._greens.append((now_ds, after.green))
        self._pet.lamps_changed(now_ds, after)
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

    def event_rows(
        self,
        now_ds: int,
        was_detected: Callable[[str], bool] | None = None,
        extensions: Sequence[Extension] = (),
    ) -> list[Row]:
        """Return one row for each walker who entered after warm-up or still waits.

        Call it while SUMO still runs: who is on a crossing has to be read.

        Parameters
        ----------
        now_ds : end of the run. [0.1 s]
        was_detected : tells whether a sensor ever saw a walker on the crossing; None makes it False.
        extensions : those that bound in the run, for `extension_s`.

        Returns
        -------
        Rows in order of entry, then those unserved; docs/measures.md defines every column. `wait_s`
        runs from the moment the walker is at the kerb when unhindered (straight from first sight on
        the walking area, at own speed) to entry or `now_ds`; it holds the start-up and is up to 1 s
        too long for who walks straight on. `crossing_s`, `needed_after_clearance_s` and
        `is_within_max` are None where unknown; a walker still on the crossing needs what their own
        speed says.
        """
        self._pet.judge_rest()
        self.extension_use = self._extension_use(now_ds, extensions)
        spans = {
            crossing.id: [(e.started_ds, e.ended_ds) for e in extensions if e.crossing == crossing.id]
            for crossing in self._plan.crossings
        }
        rows = [self._row(record, now_ds, spans) for record in self._counted()]
        for waiting in self._driver.waiting:
            rows.extend(self._walker_columns(walker, now_ds) for walker in waiting.values())
        if was_detected is not None:
            for row in rows:
                row["was_detected"] = was_detected(row["walker"])
        return rows

    def _extension_use(self, now_ds: int, extensions: Sequence[Extension]) -> ExtensionUse:
        """Return what extensions were worth; who is still on a crossing leaves at their own speed."""
        crossings = self._plan.crossings
        stays = [
            Stay(
                crossing=crossings[record.walker.crossing].id,
                entered_ds=record.entered_ds,
                left_ds=self._needed_off_ds(record, now_ds),
                conflict_ds=None if record.residual_m is None else record.conflict_ds,
            )
            for record in self._records
        ]
        return extension_use([(each, self._clears_ds(each)) for each in extensions], stays)

    def _clears_ds(self, extension: Extension) -> int:
        """Return the yellow and red clearance that follow an extension: none if its parent was red."""
        parents = phase_mask(self._plan.walk_phases(extension.crossing))
        place = bisect_right(self._greens, extension.started_ds, key=itemgetter(0)) - 1
        is_green = self._greens[max(place, 0)][1] & parents
        return round(10 * self._plan.clears_after_s(extension.crossing)) if is_green else 0

    def _conflict_began(self, index: int, now_ds: int) -> None:
        active = self._active[index]
        if all(record.residual_m is not None for record in active.values()):
            return
        for walker, remaining_m in self._driver.remaining_m(index):
            record = active.get(walker.id)
            if record is not None and record.residual_m is None:
                record.residual_m = remaining_m
                record.conflict_ds = now_ds

    def _yield_clock_ds(self, index: int, now_ds: int) -> int:
        return self._yield_sum_ds[index] + (now_ds if self._yield_on[index] else 0)

    def _needed_off_ds(self, record: CrossingRecord, now_ds: int) -> float:
        """Return when a walker was off the crossing, or will be at their own speed. [0.1 s]"""
        walker = record.walker
        if walker.exited_ds is not None:
            return walker.exited_ds
        remaining = {other.id: metres for other, metres in self._driver.remaining_m(walker.crossing)}
        return now_ds + 10 * remaining.get(walker.id, 0.0) / walker.speed_mps

    def _walker_columns(self, walker: Walker, now_ds: int) -> Row:
        crossing = self._plan.crossings[walker.crossing]
        until_ds = now_ds if walker.entered_ds is None else walker.entered_ds
        wait_s = max(0, until_ds - walker.waiting_since_ds) / 10
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
            "wait_s": wait_s,
            "crossing_s": None,
            "delay_s": wait_s,
            "is_residual": False,
            "residual_m": None,
            "needed_after_clearance_s": None,
            "is_within_max": None,
            "unserved_need_s": 0.0,
            "extension_s": 0.0,
            "exposure_s": 0.0,
            "exposure_lane_s": 0.0,
            "exposure_yield_s": 0.0,
            "pet_s": None,
            "pet_ahead_s": None,
            "pet_turn_s": None,
            "pet_turn_ahead_s": None,
            "was_detected": False,
            "is_jammed": False,
        }

    def _row(
        self, record: CrossingRecord, now_ds: int, spans: Mapping[str, Sequence[tuple[int, int]]]
    ) -> Row:
        walker = record.walker
        entered_ds, exited_ds = walker.entered_ds or 0, walker.exited_ds
        row = self._walker_columns(walker, now_ds)
        row["entered_s"] = entered_ds / 10
        row["entry"] = self._entry(walker)
        for name in ("residual_m", "pet_s", "pet_ahead_s", "pet_turn_s", "pet_turn_ahead_s"):
            row[name] = getattr(record, name)
        off_ds = now_ds if exited_ds is None else exited_ds
        needed_off_ds = self._needed_off_ds(record, now_ds)
        yield_ds, lane_ds = record.yield_green_ds, record.exposure_lane_ds
        if exited_ds is None:
            yield_ds += self._yield_clock_ds(walker.crossing, now_ds)
            if record.residual_m is not None:
                lane_ds = self._pet.exposure_lane_ds(record, record.conflict_ds, self._greens)
        else:
            row["crossing_s"] = (exited_ds - entered_ds) / 10
            row["delay_s"] += delay_on_crossing_s(row)
        row["exposure_yield_s"] = yield_ds / 10
        row["extension_s"] = extended_s(spans[row["crossing"]], entered_ds, off_ds)
        if record.residual_m is not None:
            row["is_residual"] = True
            row["exposure_s"] = (off_ds - record.conflict_ds) / 10
            row["exposure_lane_s"] = lane_ds / 10
            row["unserved_need_s"] = (needed_off_ds - record.conflict_ds) / 10
        row["needed_after_clearance_s"], row["is_within_max"] = self._within(record, needed_off_ds)
        return row

    def _within(self, record: CrossingRecord, needed_off_ds: float) -> tuple[float | None, bool | None]:
        """Return the time needed after clearance [s] and whether the maximum covers it."""
        walker = record.walker
        if walker.entry_lamp == "red":
            return None, False
        if record.clearance_end_ds is not None:
            needed_s = max(0.0, (needed_off_ds - record.clearance_end_ds) / 10)
            return needed_s, needed_s <= self._within_s[walker.crossing]
        return (None, None) if walker.exited_ds is None else (0.0, True)

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

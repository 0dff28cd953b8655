"""Trials of walkers in SUMO without vehicles, under a site's fixed plan: what each did, from the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitgoeul.controller.backends.sumo import SumoRows
from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import Lamps, phase_mask
from bitgoeul.envs.walkers import STANDING_MPS, Walker, WalkerDriver
from bitgoeul.envs.world import STEP_DS, Simulation
from bitgoeul.sim_scenarios.catalog import Site
from bitgoeul.sim_scenarios.demand import Trips, draw_trips
from bitgoeul.sim_scenarios.walker_tables import HELPER_CLASS, walker_classes
from bitgoeul.sim_scenarios.walker_trips import STEADY, Gait, WalkerTrip

HOUR_S = 3600
PROBE_S = 120
"""A walker at 1 m/s is on the crossing well before. [s]"""
GOLDEN = 0.6180339887
"""Multiples of the golden ratio fill a range evenly."""

Row = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """What was seen of one walker on one crossing.

    Parameters
    ----------
    walker : the driver's truth.
    kerb_after_clearance_s : how long after the last start of clearance they were at the kerb. [s]
    onset_ds : start of the walk that found them standing; None: none did. [0.1 s]
    moved_ds : start of the step in which they first moved after that. [0.1 s]
    first, last : first and last time and place on the crossing. [0.1 s, m from the kerb]
    was_alone : nobody else was on the crossing meanwhile.
    """

    walker: Walker
    kerb_after_clearance_s: float
    onset_ds: int | None = None
    moved_ds: int | None = None
    first: tuple[int, float] | None = None
    last: tuple[int, float] | None = None
    was_alone: bool = True


def walkers_only(site: Site, walkers: Sequence[WalkerTrip], *, seed: int, duration_s: int) -> Trips:
    """Return trips of walkers and no vehicles, in order of departure and numbered anew."""
    ordered = sorted(walkers, key=lambda trip: (trip.depart_s, trip.crossing))
    return Trips(
        demand=site.demand,
        seed=seed,
        duration_s=duration_s,
        vehicles=(),
        walkers=tuple(trip._replace(id=f"w{number}") for number, trip in enumerate(ordered)),
    )


def run_trial(site: Site, trips: Trips, lamps: Sequence[Lamps], *, end_s: int) -> list[Seen]:
    """Run walkers under lamps that repeat, and return what was seen of each.

    Parameters
    ----------
    lamps : one for each step, again from the start at the end.
    end_s : end of the run. [s]
    """
    opened = Simulation(site, seed=trips.seed, hour=site.demand.periods[0].name, end_s=end_s, trips=trips)
    try:
        watch = _Watch(site.plan, opened.connection)
        rows = SumoRows(site.plan)
        letters = {each: rows.row(each) for each in set(lamps)}
        show = opened.connection.trafficlight.setRedYellowGreenState
        for step in range(end_s * 10 // STEP_DS):
            shown = lamps[step % len(lamps)]
            show(site.plan.sumo.traffic_light, letters[shown])
            watch.observe(step * STEP_DS, shown)
            opened.connection.simulationStep()
        watch.observe(end_s * 10, shown)
        return watch.seen
    finally:
        opened.close()


class _Watch:
    """Follows the driver's walkers and notes when and where they moved."""

    def __init__(self, plan: SitePlan, connection: Any) -> None:
        self.driver = WalkerDriver(connection, plan)
        self.driver.listeners.append(self)
        self.seen: list[Seen] = []
        self._by_walker: dict[int, Seen] = {}
        self._bits = [phase_mask(plan.walk_phases(each.id)) for each in plan.crossings]
        self._clearance_ds = [-HOUR_S * 10] * len(self._bits)
        self._standing: list[Seen] = []
        self._last = Lamps()

    def observe(self, now_ds: int, lamps: Lamps) -> None:
        """Take in the last step, then let the walkers react to the next one's lamps."""
        driver = self.driver
        driver.observe(now_ds)
        for index, here in enumerate(driver.on_crossing):
            for walker, remaining_m in driver.remaining_m(index) if here else ():
                place = now_ds, driver.layouts[index].length_m - remaining_m
                seen = self._of(walker)
                seen.first, seen.last = seen.first or place, place
                seen.was_alone &= len(here) == 1
        for seen in list(self._standing):
            if seen.walker.entered_ds is not None or driver.speed_of(seen.walker.id) > STANDING_MPS:
                seen.moved_ds = now_ds - STEP_DS
                self._standing.remove(seen)
        self._lamps_changed(now_ds, lamps)
        driver.act(now_ds, lamps)

    def _lamps_changed(self, now_ds: int, lamps: Lamps) -> None:
        for index, bit in enumerate(self._bits):
            if lamps.ped_clear & ~self._last.ped_clear & bit:
                self._clearance_ds[index] = now_ds
            if lamps.walk & ~self._last.walk & bit:
                for walker in self.driver.waiting[index].values():
                    seen = self._of(walker)
                    if seen.onset_ds is None and self.driver.speed_of(walker.id) < STANDING_MPS:
                        seen.onset_ds = now_ds
                        self._standing.append(seen)
        self._last = lamps

    def entered(self, walker: Walker, now_ds: int) -> None:  # noqa: ARG002 - the listener's signature
        """Know everyone who enters, waited or not."""
        self._of(walker)

    def left(self, walker: Walker, now_ds: int) -> None:
        """Nothing to do: the last place was noted in the step before."""

    def _of(self, walker: Walker) -> Seen:
        seen = self._by_walker.get(id(walker))
        if seen is None:
            after_s = (walker.waiting_since_ds - self._clearance_ds[walker.crossing]) / 10
            seen = self._by_walker[id(walker)] = Seen(walker, after_s)
            self.seen.append(seen)
        return seen


def to_the_kerb_m(site: Site) -> dict[tuple[str, str], float]:
    """Return how far walkers have to go to each kerb, by crossing and kerb: one probe each. [m]"""
    probes = []
    for (crossing, _), drawn in _one_of_each(site).items():
        probes.append(
            drawn._replace(
                depart_s=0.0, speed_mps=1.0, startup_s=0.0, late_s=0.0, gait=STEADY, crossing=crossing
            )
        )
    every = phase_mask(phase for each in site.plan.crossings for phase in site.plan.walk_phases(each.id))
    trips = walkers_only(site, probes, seed=0, duration_s=1)
    by_id = {trip.id: (trip.crossing, trip.from_kerb) for trip in trips.walkers}
    seen = run_trial(site, trips, [Lamps(walk=every)], end_s=PROBE_S)
    return {by_id[each.walker.id]: (each.walker.entered_ds or 0) / 10 for each in seen}


def _one_of_each(site: Site) -> dict[tuple[str, str], WalkerTrip]:
    drawn = draw_trips(site, seed=0, hour=site.demand.periods[0].name, duration_s=HOUR_S).walkers
    return {(trip.crossing, trip.from_kerb): trip for trip in drawn}


def late_arrivals(site: Site, *, seed: int, hours: int, lamps: Sequence[Lamps]) -> Trips:
    """Return one walker a cycle and crossing, due at the kerb while late starters still enter.

    Those who comply wait for the next walk, and show their start-up there. All classes come equally
    often, alone, without rests, hurry and turning back.
    """
    table, demand = walker_classes(), site.demand
    # Some two thirds of the adults help others: with three times their number all lead equally often.
    equal = {
        name: (3 if name == HELPER_CLASS else 1) / (len(MOBILITY_CLASSES) + 2) for name in MOBILITY_CLASSES
    }
    period = demand.periods[0].model_copy(
        update={"mobility_mix": equal, "age_structure": None, "walker_factor": 1.0, "hours": (0,)}
    )
    cycle_s = len(lamps) * STEP_DS / 10
    cycles = int(hours * HOUR_S / cycle_s)
    plenty = [each.model_copy(update={"persons_per_h": 3 * HOUR_S / cycle_s}) for each in demand.crossings]
    drawn_from = replace(
        site, demand=demand.model_copy(update={"crossings": tuple(plenty), "periods": (period,)})
    )
    drawn = draw_trips(drawn_from, seed=seed, hour=period.name, duration_s=hours * HOUR_S).walkers
    to_kerb_m = to_the_kerb_m(site)
    chosen = []
    for crossing in site.plan.crossings:
        leaders = [each for each in drawn if each.crossing == crossing.id and not each.is_companion]
        clearance_s = _clearance_begins_s(site.plan, crossing.id, lamps)
        for number, trip in enumerate(leaders[:cycles], start=2):
            into_s = (number * GOLDEN % 1.0) * (table.late_window_s - 1.0)
            walk_s = to_kerb_m[crossing.id, trip.from_kerb] / trip.speed_mps
            depart_s = round(number * cycle_s + clearance_s + into_s - walk_s, 2)
            gait = Gait(slow_to=trip.gait.slow_to)
            chosen.append(trip._replace(depart_s=depart_s, gait=gait))
    return walkers_only(site, chosen, seed=seed, duration_s=hours * HOUR_S)


def _clearance_begins_s(plan: SitePlan, crossing_id: str, lamps: Sequence[Lamps]) -> float:
    bit = phase_mask(plan.walk_phases(crossing_id))
    at = next(k for k in range(len(lamps)) if lamps[k].ped_clear & bit and not lamps[k - 1].ped_clear & bit)
    return at * STEP_DS / 10


def rows_of(seen: Sequence[Seen], trips: Trips) -> Iterator[Row]:
    """Yield one row per walker and crossing: what was drawn and what was seen."""
    drawn = {trip.id: trip for trip in trips.walkers}
    for each in seen:
        walker, trip = each.walker, drawn[each.walker.id]
        has_path = each.first is not None and each.last is not None and each.last[0] > each.first[0]
        yield {
            "seed": trips.seed,
            "walker": walker.id,
            "crossing": trip.crossing,
            "mobility_class": walker.mobility_class,
            "speed_drawn_mps": trip.speed_mps,
            "speed_mps": _speed_mps(each) if has_path and walker.exited_ds is not None else None,
            "was_alone": each.was_alone,
            "startup_drawn_s": trip.startup_s,
            "startup_s": None
            if each.moved_ds is None or each.onset_ds is None or walker.has_missed_walk
            else (each.moved_ds - each.onset_ds) / 10,
            "is_late_drawn": trip.late_s > 0,
            "kerb_after_clearance_s": each.kerb_after_clearance_s,
            "entry": walker.entry_lamp if walker.entered_ds is not None else None,
            "wait_s": None
            if walker.entered_ds is None
            else max(0, walker.entered_ds - walker.waiting_since_ds) / 10,
        }


def _speed_mps(seen: Seen) -> float:
    (first_ds, first_m), (last_ds, last_m) = seen.first or (0, 0.0), seen.last or (1, 0.0)
    return 10 * (last_m - first_m) / (last_ds - first_ds)

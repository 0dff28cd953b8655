"""Optional terms of the reward: counts from the truth, each with a weight and each logged apart.

None stands for a guarantee: those are the guard's, whatever is rewarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.signals import Lamps, phase_mask
from bitgoeul.sim_scenarios.simulation import STEP_S

if TYPE_CHECKING:
    from .world import JunctionDriver

LONG_WAIT_S: Final = 60.0
"""A walker who has waited longer counts for the term `long_wait` [A]. [s]"""
TERMS: Final[Mapping[str, str]] = {
    "residual": "a walker on a crossing when a conflicting green starts, once a crossing [persons]",
    "extension": "time in which an extension bound [s]",
    "switch": "a phase that turns green [starts]",
    "stops": "a vehicle that comes to a halt in a detection zone: rises of the zones' standing vehicles",
    "long_wait": f"time a walker waits beyond {LONG_WAIT_S:g} s [person-s]",
    "unfinished": "a person still at the junction, or not yet in it, when the episode ends [persons]",
}
"""What each optional term counts; a weight says how many person-seconds one unit costs."""
AT_END: Final = "unfinished"
"""The term that is counted once, at the end of an episode."""


class TermCounters:
    """Counts the optional terms that have a weight; without any it costs nothing.

    Parameters
    ----------
    driver : the running junction.
    weights : by name. [person-s per unit]
    """

    def __init__(self, driver: JunctionDriver, weights: Mapping[str, float]) -> None:
        makers: dict[str, Callable[[JunctionDriver], Callable[[], float]]] = {
            "residual": lambda driver: _Residuals(driver).total,
            "extension": lambda driver: lambda: driver.loop.audit.extension_ds / 10,
            "switch": lambda driver: _Starts(driver).total,
            "stops": lambda driver: _Stops(driver).total,
            "long_wait": lambda driver: _LongWaits(driver).total,
        }
        self._weights = dict(weights)
        self._totals = {name: makers[name](driver) for name in weights if name != AT_END}
        self._last = {name: total() for name, total in self._totals.items()}
        self.start()

    def start(self) -> None:
        """Begin a new interval."""
        self._counted = dict.fromkeys(self._totals, 0.0)

    def add(self, discount: float) -> None:
        """Take in one simulation step, discounted."""
        for name, total in self._totals.items():
            now = total()
            self._counted[name] += discount * (now - self._last[name])
            self._last[name] = now

    def costs(self, discount: float, present: Callable[[], float] | None) -> dict[str, float]:
        """Return what the interval costs by term. [person-s]

        Parameters
        ----------
        discount : at the end of the interval.
        present : counts the persons still there, at the end of an episode; None before.
        """
        costs = {name: self._weights[name] * counted for name, counted in self._counted.items()}
        if AT_END in self._weights:
            left = 0.0 if present is None else present()
            costs[AT_END] = self._weights[AT_END] * left * discount
        return costs


class _Residuals:
    """Counts walkers on a crossing when a conflicting green starts."""

    def __init__(self, driver: JunctionDriver) -> None:
        plan = driver.plan
        self._walkers = driver.walkers
        self._conflicts = tuple(phase_mask(plan.conflicting_phases(each.id)) for each in plan.crossings)
        self._caught: list[set[str]] = [set() for _ in plan.crossings]
        self._count = 0
        driver.lamp_listeners.append(self._changed)

    def _changed(self, _now_ds: int, before: Lamps, after: Lamps) -> None:
        started = after.green & ~before.green
        crossings = zip(self._caught, self._conflicts, self._walkers.on_crossing, strict=True)
        for caught, conflicts, here in crossings:
            caught.intersection_update(here)
            if started & conflicts:
                self._count += len(here) - len(caught)
                caught.update(here)

    def total(self) -> float:
        """Return the count so far."""
        return self._count


class _Starts:
    """Counts phases that turn green."""

    def __init__(self, driver: JunctionDriver) -> None:
        self._count = 0
        driver.lamp_listeners.append(self._changed)

    def _changed(self, _now_ds: int, before: Lamps, after: Lamps) -> None:
        self._count += (after.green & ~before.green).bit_count()

    def total(self) -> float:
        """Return the count so far."""
        return self._count


class _Stops:
    """Counts vehicles that come to a halt, as rises of each zone's standing vehicles."""

    def __init__(self, driver: JunctionDriver) -> None:
        self._standing = compiled(driver.connection, "lane", "getLastStepHaltingNumber")
        self._zones = tuple(detector.sumo_id for detector in driver.plan.zone_detectors)
        self._last: Iterable[int] = [self._standing(zone) for zone in self._zones]
        self._count = 0

    def total(self) -> float:
        """Read the zones and return the count so far; call it once a step."""
        now = [self._standing(zone) for zone in self._zones]
        self._count += sum(max(0, new - old) for new, old in zip(now, self._last, strict=True))
        self._last = now
        return self._count


class _LongWaits:
    """Adds up the time that walkers wait beyond a limit."""

    def __init__(self, driver: JunctionDriver) -> None:
        self._driver = driver
        self._steps = 0

    def total(self) -> float:
        """Look at who waits and return the person-seconds so far; call it once a step."""
        since_ds = self._driver.now_ds - 10 * LONG_WAIT_S
        for waiting in self._driver.walkers.waiting:
            for walker in waiting.values():
                self._steps += walker.waiting_since_ds < since_ds
        return self._steps * STEP_S

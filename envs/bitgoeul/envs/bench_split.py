"""Where the time of a step goes: each part's share of a run, by timing the calls between the parts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitgoeul.sim_scenarios.catalog import load_site

from .world import STEP_DS, WARMUP_DS, JunctionDriver, RunSpec, Simulation, build_driver, simulation

SUMO = "SUMO step"
LAMPS = "lamps, written"
LOOP = "policy, guard, core"
NEED = "need"
DETECTOR = "detector"
MEASURES = "measures"
WALKERS = "walkers"
REST = "rest of the step"
PARTS = (SUMO, WALKERS, DETECTOR, NEED, LOOP, LAMPS, MEASURES, REST)
"""Parts of a step, in the order in which they are printed."""
WATCHED = (DETECTOR, MEASURES)
"""Parts that together must stay under `TARGET` of the SUMO step."""
TARGET = 0.05
"""[S] the project's own target for detector and measures."""
BATCHES = 50
BATCH_CALLS = 1_000
"""What timing a call costs is the least of so many batches of so many calls."""
Timed = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a step.

    Parameters
    ----------
    name : which.
    us_per_step : own time, what it calls in other parts left out. [us]
    share_of_sumo : of the time of SUMO's own step.
    """

    name: str
    us_per_step: float
    share_of_sumo: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Where the time of a step goes.

    Parameters
    ----------
    parts : all parts, in the order of `PARTS`.
    watched_share : detector and measures together, of the time of SUMO's own step.
    steps : measured steps, after the warm-up.
    """

    parts: tuple[Part, ...]
    watched_share: float
    steps: int


class Stopwatch:
    """Adds up the time spent in each part, without the parts called from it.

    Attributes
    ----------
    spent_ns : by part. [ns]
    """

    def __init__(self) -> None:
        """Find out what timing a call itself costs."""
        self.spent_ns: defaultdict[str, float] = defaultdict(float)
        self._inner_ns = [0.0]  # time of the parts called, for each call now running
        self._outer_ns = self._own_ns = 0.0
        self._own_ns, self._outer_ns = self._calibrate()

    def wrap(self, part: str, function: Timed) -> Timed:
        """Return a function that does the same and adds its own time to a part."""
        inner, spent, clock = self._inner_ns, self.spent_ns, time.perf_counter_ns
        outer_ns, own_ns = self._outer_ns, self._own_ns

        def timed(*arguments: Any, **named: Any) -> Any:
            inner.append(0.0)
            began = clock()
            try:
                return function(*arguments, **named)
            finally:
                took = clock() - began - own_ns
                spent[part] += took - inner.pop()
                inner[-1] += took + outer_ns

        return timed

    def replace(self, part: str, owner: object, name: str) -> None:
        """Time a method of one object from now on; nothing happens if it has none of that name."""
        function = getattr(owner, name, None)
        if function is not None:
            setattr(owner, name, self.wrap(part, function))

    def replace_in(self, hooks: list[Any], owners: tuple[object, ...], part: str) -> None:
        """Time those functions of a list that are methods of the given objects."""
        for place, function in enumerate(hooks):
            if any(getattr(function, "__self__", None) is owner for owner in owners):
                hooks[place] = self.wrap(part, function)

    def _calibrate(self) -> tuple[float, float]:
        """Return what timing a call adds inside and outside of what is measured, undisturbed. [ns]"""

        def nothing() -> None:
            return None

        timed, clock, insides, wholes, bares = self.wrap("", nothing), time.perf_counter_ns, [], [], []
        for _ in range(BATCHES):
            began = clock()
            for _ in range(BATCH_CALLS):
                nothing()
            between = clock()
            for _ in range(BATCH_CALLS):
                timed()
            wholes.append(clock() - between)
            bares.append(between - began)
            insides.append(self.spent_ns.pop(""))
        bare_ns, whole_ns, inside_ns = (min(each) / BATCH_CALLS for each in (bares, wholes, insides))
        self._inner_ns[0] = 0.0
        own_ns = max(0.0, inside_ns - bare_ns)
        return own_ns, max(0.0, whole_ns - own_ns - bare_ns)


def bench_split(spec: RunSpec, *, repeat: int) -> Split:
    """Run with the calls between the parts timed.

    Parameters
    ----------
    spec : what to run, on libsumo.
    repeat : number of runs, >= 1; the fastest counts, as the one that was disturbed least.

    Notes
    -----
    What the timing itself costs is measured before and taken off. A reading that several parts share
    counts for the first that asks.
    """
    steps = (spec.end_s * 10 - WARMUP_DS) // STEP_DS
    with simulation(spec, load_site(spec.site)) as opened:
        runs = []
        for _ in range(repeat):
            runs.append(_spent_ns(spec, opened, steps))
            opened.restart()
    spent_ns = min(runs, key=lambda run: sum(run.values()))
    parts = tuple(
        Part(
            name=part,
            us_per_step=spent_ns[part] / 1000 / steps,
            share_of_sumo=spent_ns[part] / spent_ns[SUMO],
        )
        for part in PARTS
    )
    watched = sum(spent_ns[part] for part in WATCHED) / spent_ns[SUMO]
    return Split(parts=parts, watched_share=watched, steps=steps)


def _spent_ns(spec: RunSpec, opened: Simulation, steps: int) -> dict[str, float]:
    """Return the time spent in each part in so many steps after the warm-up. [ns]"""
    driver = build_driver(spec, load_site(spec.site), opened.connection)
    while driver.now_ds < WARMUP_DS:
        driver.step()
    watch = Stopwatch()
    _time_parts(watch, driver)
    step = watch.wrap(REST, driver.step)
    for _ in range(steps):
        step()
    return {part: watch.spent_ns[part] for part in PARTS}


def _time_parts(watch: Stopwatch, driver: JunctionDriver) -> None:
    """Put the stopwatch between the parts, by the names under which they call each other."""
    walkers, detector, measures = driver.walkers, driver.detector, driver.measures
    hooks = (measures, *measures.parts)
    watch.replace(SUMO, driver, "_simulation_step")
    watch.replace(WALKERS, driver, "_street_act")
    watch.replace(WALKERS, driver, "_street_observe")
    watch.replace(LOOP, driver.loop, "act")
    watch.replace(LOOP, driver.loop, "observe")
    watch.replace(DETECTOR, driver.street, "frames")
    watch.replace(NEED, driver.loop.needs, "update")
    watch.replace(LAMPS, driver.backend, "_show")
    for listener in walkers.listeners:
        part = MEASURES if listener is measures else DETECTOR if listener is detector else None
        if part is not None:
            watch.replace(part, listener, "entered")
            watch.replace(part, listener, "left")
    watch.replace_in(driver.lamp_listeners, hooks, MEASURES)
    watch.replace_in(walkers.watchers, hooks, MEASURES)
    watch.replace_in(walkers.watchers, (detector,), DETECTOR)
    watch.replace_in(walkers.withdrawals, (detector,), DETECTOR)


def split_rows(split: Split) -> list[tuple[str, str, str]]:
    """Return the split as cells of a table: part, microseconds a step, share of the SUMO step."""
    return [
        (part.name, f"{part.us_per_step:.1f}", f"{100 * part.share_of_sumo:.1f} %") for part in split.parts
    ]

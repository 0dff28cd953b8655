"""Where the time of a step goes: each part's share of a run, by timing the calls between the parts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bitgoeul.sim_scenarios.catalog import load_site

from .bench import leave_out
from .world import STEP_DS, WARMUP_DS, JunctionDriver, RunSpec, build_driver, simulation

SUMO = "SUMO step"
LAMPS = "lamps, written"
LOOP = "policy, guard, core"
NEED = "need"
OBSERVATION = "observation"
REWARD = "reward"
DETECTOR = "detector"
MEASURES = "measures"
WALKERS = "walkers"
REST = "rest of the step"
PARTS = (SUMO, WALKERS, DETECTOR, NEED, LOOP, LAMPS, MEASURES, OBSERVATION, REWARD, REST)
"""Parts of a step, in the order in which they are printed; those that take no time are left out."""
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

    @contextmanager
    def in_class(self, part: str, owner: type[object] | None, name: str) -> Iterator[None]:
        """Time a method of all objects of a class for a while; nothing happens without a class."""
        if owner is None:
            yield
            return
        function = getattr(owner, name)
        setattr(owner, name, self.wrap(part, function))
        try:
            yield
        finally:
            setattr(owner, name, function)

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


Run = Callable[[], object]
Prepared = Callable[[], tuple[JunctionDriver, Run]]
"""Makes a run ready to be measured: its driver, warmed up, and what runs it to its end."""


def bench_split(spec: RunSpec, *, repeat: int, without: frozenset[str] = frozenset()) -> Split:
    """Run with the calls between the parts timed.

    Parameters
    ----------
    spec : what to run, on libsumo.
    repeat : number of runs, >= 1; the fastest counts, as the one that was disturbed least.
    without : parts to leave out, see `bench.leave_out`.
    """
    steps = (spec.end_s * 10 - WARMUP_DS) // STEP_DS
    site = load_site(spec.site)
    with simulation(spec, site) as opened:

        def prepared() -> tuple[JunctionDriver, Run]:
            opened.restart()
            driver = build_driver(spec, site, opened.connection)
            leave_out(driver, without)
            while driver.now_ds < WARMUP_DS:
                driver.step()

            def play() -> None:
                for _ in range(steps):
                    driver.step()

            return driver, play

        return split_of(prepared, repeat=repeat)


def split_of(prepared: Prepared, *, repeat: int, reward: type[object] | None = None) -> Split:
    """Return where the time of a run goes.

    Parameters
    ----------
    prepared : makes the run ready, once for each repetition.
    repeat : number of runs, >= 1; the fastest counts.
    reward : class whose `add` is called for the reward in every step; None where there is no reward.

    Notes
    -----
    What the timing itself costs is measured before and taken off. A reading that several parts share
    counts for the first that asks, and what is put off counts for whoever makes it necessary.
    """
    runs, steps = [], 0
    for _ in range(repeat):
        driver, play = prepared()
        watch, began_ds = Stopwatch(), driver.now_ds
        time_parts(watch, driver)
        watch.replace(REST, driver, "step")
        with watch.in_class(REWARD, reward, "add"):
            watch.wrap(REST, play)()
        runs.append({part: watch.spent_ns[part] for part in PARTS if watch.spent_ns[part]})
        steps = (driver.now_ds - began_ds) // STEP_DS  # the same each time
    return fastest(runs, steps)


def fastest(runs: list[dict[str, float]], steps: int) -> Split:
    """Return the split of the run that was disturbed least: the fastest of several of so many steps. [ns]"""
    spent_ns = min(runs, key=lambda run: sum(run.values()))
    parts = tuple(
        Part(name=part, us_per_step=ns / 1000 / steps, share_of_sumo=ns / spent_ns[SUMO])
        for part, ns in spent_ns.items()
    )
    watched = sum(spent_ns.get(part, 0.0) for part in WATCHED) / spent_ns[SUMO]
    return Split(parts=parts, watched_share=watched, steps=steps)


def time_parts(watch: Stopwatch, driver: JunctionDriver) -> None:
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
    watch.replace(NEED, driver.loop.needs, "_take_in")
    observer = getattr(driver.policy, "observer", None)
    watch.replace(OBSERVATION, observer, "follow")
    watch.replace(OBSERVATION, observer, "observe")
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

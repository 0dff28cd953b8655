"""How much of bare SUMO's speed a corridor leaves with everything on, and where the rest goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bitgoeul.controller.policies import PolicyOptions
from bitgoeul.sim_scenarios.corridor import Corridor, load_corridor
from bitgoeul.sim_scenarios.simulation import LONGEST_MIN, WARMUP_S

from .bench import BenchFigures, Recording, checked_recording, timed_pairs
from .bench_split import PARTS, REST, SUMO, Split, Stopwatch, fastest, time_parts
from .corridor_world import CorridorDriver, corridor_controller, corridor_simulation
from .world import STEP_DS, WARMUP_DS, JunctionDriver, Simulation

Prepare = Callable[[JunctionDriver], None]
"""Done to each junction before its first step, such as taking parts out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorridorRun:
    """What a corridor's benchmark runs.

    Parameters
    ----------
    corridor : what runs.
    controller : of every junction, such as `fixed+guard`.
    minutes : after the warm-up, 1 to 44,640. [min]
    hour : demand period or hour of the day.
    seed : of demand and detectors.
    prepare : done to each junction before its first step; None: nothing.

    Raises
    ------
    ValueError : minutes out of range.
    """

    corridor: Corridor
    controller: str
    minutes: int
    hour: str = "peak"
    seed: int = 10_000
    prepare: Prepare | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 1 <= self.minutes <= LONGEST_MIN:
            raise ValueError(f"minutes = {self.minutes}: a run lasts 1 to {LONGEST_MIN} minutes")

    @property
    def end_s(self) -> int:
        """End of the simulation, warm-up included. [s]"""
        return WARMUP_S + 60 * self.minutes


def bench_corridor(run: CorridorRun, *, repeat: int) -> BenchFigures:
    """Time a corridor's run and its bare replay in turn, in this process.

    Parameters
    ----------
    run : what to run, on libsumo.
    repeat : number of pairs, >= 1.

    Raises
    ------
    ScenarioError : a replay's trip output differs from the run's, so the two are not the same run.
    """
    with corridor_simulation(run.corridor, seed=run.seed, hour=run.hour, end_s=run.end_s) as opened:
        return timed_pairs(
            opened,
            recording=_record(run, opened),
            end_s=run.end_s,
            timed_run=lambda: _timed_run(run, opened),
            repeat=repeat,
        )


def split_corridor(run: CorridorRun, *, repeat: int) -> Split:
    """Run a corridor with the calls between its parts timed; all junctions together.

    Parameters
    ----------
    run : what to run, on libsumo.
    repeat : number of runs, >= 1; the fastest counts, as the one that was disturbed least.
    """
    steps = (run.end_s * 10 - WARMUP_DS) // STEP_DS
    with corridor_simulation(run.corridor, seed=run.seed, hour=run.hour, end_s=run.end_s) as opened:
        runs = []
        for _ in range(repeat):
            runs.append(_spent_ns(run, opened, steps))
            opened.restart()
    return fastest(runs, steps)


def corridor_run(name: str, controller: str = "fixed+guard", *, minutes: int) -> CorridorRun:
    """Return what to run for a corridor by its name.

    Raises
    ------
    ScenarioError, PlanError, ValueError : the corridor cannot be loaded, or the minutes are out of range.
    """
    return CorridorRun(corridor=load_corridor(name), controller=controller, minutes=minutes)


def _driver(run: CorridorRun, opened: Simulation, *, is_recording: bool = False) -> CorridorDriver:
    driver = CorridorDriver(
        opened.connection,
        run.corridor,
        corridor_controller(run.controller, PolicyOptions()),
        detector="camera_day",
        seed=run.seed,
        is_recording=is_recording,
    )
    if run.prepare is not None:
        for junction in driver.junctions.values():
            run.prepare(junction)
    return driver


def _record(run: CorridorRun, opened: Simulation) -> Recording:
    """Run once, keeping what was done to SUMO; check that its replay gives the same trips."""
    driver = _driver(run, opened, is_recording=True)
    while driver.now_ds < run.end_s * 10:
        driver.step()
    return checked_recording(driver.junctions.values(), opened, run.end_s)


def _timed_run(run: CorridorRun, opened: Simulation) -> float:
    """Return simulated seconds per second with everything on."""
    driver = _driver(run, opened)
    end_ds = run.end_s * 10
    started_s = time.process_time()
    while driver.now_ds < end_ds:
        driver.step()
    return run.end_s / (time.process_time() - started_s)


def _spent_ns(run: CorridorRun, opened: Simulation, steps: int) -> dict[str, float]:
    """Return the time spent in each part in so many steps after the warm-up. [ns]"""
    driver = _driver(run, opened)
    while driver.now_ds < WARMUP_DS:
        driver.step()
    watch = Stopwatch()
    for junction in driver.junctions.values():
        time_parts(watch, junction)
    watch.replace(SUMO, driver, "_simulation_step")
    step = watch.wrap(REST, driver.step)
    for _ in range(steps):
        step()
    return {part: watch.spent_ns[part] for part in PARTS if watch.spent_ns[part]}

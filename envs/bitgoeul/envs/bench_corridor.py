"""How much of bare SUMO's speed a corridor leaves with everything on, and where the rest goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.policies import PolicyOptions
from bitgoeul.sim_scenarios.corridor import Corridor, load_corridor
from bitgoeul.sim_scenarios.simulation import LONGEST_MIN, WARMUP_S

from .bench import BenchFigures, _by_time, _trips
from .bench_split import PARTS, REST, SUMO, WATCHED, Part, Split, Stopwatch, _time_parts
from .corridor_world import CorridorDriver, corridor_controller, corridor_simulation
from .gait import TurnBack
from .walkers import Order
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    """What a run did to SUMO, by time [0.1 s]: rows by signal, and what it told people."""

    rows: dict[int, list[tuple[str, str]]]
    orders: list[Order]


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
        recording = _record(run, opened)
        run_sps, replay_sps = [], []
        for _ in range(repeat):
            opened.restart()
            run_sps.append(_timed_run(run, opened))
            opened.restart()
            replay_sps.append(_timed_replay(run, opened, recording))
    ratios = tuple(one / replay for one, replay in zip(run_sps, replay_sps, strict=True))
    return BenchFigures(
        ratio=statistics.median(ratios),
        env_sps=statistics.median(run_sps),
        replay_sps=statistics.median(replay_sps),
        ratios=ratios,
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
    spent_ns = min(runs, key=lambda each: sum(each.values()))
    parts = tuple(
        Part(name=part, us_per_step=ns / 1000 / steps, share_of_sumo=ns / spent_ns[SUMO])
        for part, ns in spent_ns.items()
    )
    watched = sum(spent_ns.get(part, 0.0) for part in WATCHED) / spent_ns[SUMO]
    return Split(parts=parts, watched_share=watched, steps=steps)


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


def _record(run: CorridorRun, opened: Simulation) -> _Recording:
    """Run once, keeping what was done to SUMO; check that its replay gives the same trips."""
    driver = _driver(run, opened, is_recording=True)
    while driver.now_ds < run.end_s * 10:
        driver.step()
    rows: dict[int, list[tuple[str, str]]] = {}
    for junction in driver.junctions.values():
        for now_ds, row in junction.backend.row_changes or ():
            rows.setdefault(now_ds, []).append((junction.plan.sumo.traffic_light, row))
    orders = [order for each in driver.junctions.values() for order in each.walkers.orders or ()]
    recording = _Recording(rows=rows, orders=orders)
    recorded = opened.outputs
    opened.restart()
    _timed_replay(run, opened, recording)
    replayed = opened.outputs
    opened.restart()
    if _trips(recorded) != _trips(replayed):
        raise ScenarioError("the replay's trips differ from the run's: the benchmark would compare two runs")
    return recording


def _timed_run(run: CorridorRun, opened: Simulation) -> float:
    """Return simulated seconds per second with everything on."""
    driver = _driver(run, opened)
    end_ds = run.end_s * 10
    started_s = time.process_time()
    while driver.now_ds < end_ds:
        driver.step()
    return run.end_s / (time.process_time() - started_s)


def _timed_replay(run: CorridorRun, opened: Simulation, recording: _Recording) -> float:
    """Return simulated seconds per second with a recording pushed, nothing else."""
    connection = opened.connection
    step, show = connection.simulationStep, connection.trafficlight.setRedYellowGreenState
    people, set_speed = connection.person, connection.person.setSpeed
    rows_at, orders_at = recording.rows, _by_time(recording.orders)

    def tell(now_ds: int) -> None:
        for person, order in orders_at.get(now_ds, ()):
            if isinstance(order, TurnBack):
                order.apply(people, person)
            else:
                set_speed(person, order)

    started_s = time.process_time()
    for now_ds in range(0, run.end_s * 10, STEP_DS):
        for signal, row in rows_at.get(now_ds, ()):
            show(signal, row)
        tell(now_ds)
        step()
    tell(run.end_s * 10)
    return run.end_s / (time.process_time() - started_s)


def _spent_ns(run: CorridorRun, opened: Simulation, steps: int) -> dict[str, float]:
    """Return the time spent in each part in so many steps after the warm-up. [ns]"""
    driver = _driver(run, opened)
    while driver.now_ds < WARMUP_DS:
        driver.step()
    watch = Stopwatch()
    for junction in driver.junctions.values():
        _time_parts(watch, junction)
    watch.replace(SUMO, driver, "_simulation_step")
    step = watch.wrap(REST, driver.step)
    for _ in range(steps):
        step()
    return {part: watch.spent_ns[part] for part in PARTS if watch.spent_ns[part]}

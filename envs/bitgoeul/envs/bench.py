"""How much of bare SUMO's speed is left with everything on: a run against the replay of its own lamps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.catalog import load_site

from .gait import TurnBack
from .walkers import Order
from .world import STEP_DS, RunSpec, Simulation, build_driver, simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFigures:
    """Result of `bench env`.

    Parameters
    ----------
    ratio : median over the pairs of `env_sps / replay_sps`.
    env_sps, replay_sps : median simulated seconds per second.
    ratios : each pair's ratio.
    """

    ratio: float
    env_sps: float
    replay_sps: float
    ratios: tuple[float, ...]


Changes = list[tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    """What a run did to SUMO: lamp rows, and what it told people, each with its time. [0.1 s]"""

    rows: Changes
    orders: list[Order]


def bench_environment(spec: RunSpec, *, repeat: int) -> BenchFigures:
    """Time a run and its bare replay in turn, in this process.

    Parameters
    ----------
    spec : what to run, on libsumo.
    repeat : number of pairs.

    Raises
    ------
    ScenarioError : a replay's trip output differs from the run's, so the two are not the same run.
    """
    site = load_site(spec.site)
    with simulation(spec, site) as opened:
        recording = _record(spec, opened)
        env_sps, replay_sps = [], []
        for _ in range(repeat):
            opened.restart()
            env_sps.append(_timed_run(spec, opened))
            opened.restart()
            replay_sps.append(_timed_replay(spec, opened, recording))
    ratios = tuple(env / replay for env, replay in zip(env_sps, replay_sps, strict=True))
    return BenchFigures(
        ratio=statistics.median(ratios),
        env_sps=statistics.median(env_sps),
        replay_sps=statistics.median(replay_sps),
        ratios=ratios,
    )


def _record(spec: RunSpec, opened: Simulation) -> _Recording:
    """Run once, keeping what was done to SUMO; check that its replay gives the same trips."""
    driver = build_driver(spec, load_site(spec.site), opened.connection, is_recording=True)
    for _ in _steps(spec):
        driver.step()
    recording = _Recording(
        rows=driver.backend.row_changes or [],
        orders=driver.walkers.orders or [],
    )
    recorded = opened.outputs
    opened.restart()
    _timed_replay(spec, opened, recording)
    replayed = opened.outputs
    opened.restart()
    if _trips(recorded) != _trips(replayed):
        raise ScenarioError("the replay's trips differ from the run's: the benchmark would compare two runs")
    return recording


def _trips(outputs: Path) -> list[str]:
    """Return the lines of a trip output but its header, which holds the time of writing."""
    lines = (outputs / "tripinfo.xml").read_text(encoding="utf-8").splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("<tripinfos")) :]


def _steps(spec: RunSpec) -> Iterator[int]:
    yield from range(0, spec.end_s * 10, STEP_DS)


def _timed_run(spec: RunSpec, opened: Simulation) -> float:
    """Return simulated seconds per second with everything on."""
    driver = build_driver(spec, load_site(spec.site), opened.connection)
    started_s = time.perf_counter()
    for _ in _steps(spec):
        driver.step()
    return spec.end_s / (time.perf_counter() - started_s)


def _timed_replay(spec: RunSpec, opened: Simulation, recording: _Recording) -> float:
    """Return simulated seconds per second with a recording pushed, nothing else."""
    connection = opened.connection
    signal = load_site(spec.site).plan.sumo.traffic_light
    step, show = connection.simulationStep, connection.trafficlight.setRedYellowGreenState
    people, set_speed = connection.person, connection.person.setSpeed

    def tell(person: str, order: float | TurnBack) -> None:
        if isinstance(order, TurnBack):
            order.apply(people, person)
        else:
            set_speed(person, order)

    row_at, orders_at = dict(recording.rows), _by_time(recording.orders)
    started_s = time.perf_counter()
    for now_ds in _steps(spec):
        row = row_at.get(now_ds)
        if row is not None:
            show(signal, row)
        for person, order in orders_at.get(now_ds, ()):
            tell(person, order)
        step()
    for person, order in orders_at.get(spec.end_s * 10, ()):
        tell(person, order)
    return spec.end_s / (time.perf_counter() - started_s)


def _by_time(orders: list[Order]) -> dict[int, list[tuple[str, float | TurnBack]]]:
    grouped: dict[int, list[tuple[str, float | TurnBack]]] = {}
    for now_ds, person, order in orders:
        grouped.setdefault(now_ds, []).append((person, order))
    return grouped

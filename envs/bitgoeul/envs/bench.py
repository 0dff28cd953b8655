"""How much of bare SUMO's speed is left with everything on: a run against the replay of its own lamps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bitgoeul.controller.detection import Frame
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan
from bitgoeul.sim_scenarios.catalog import load_site

from .gait import TurnBack
from .world import STEP_DS, JunctionDriver, RunSpec, Simulation, build_driver, simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFigures:
    """Result of `bench env`.

    Parameters
    ----------
    ratio : median over the pairs of `env_sps / replay_sps`.
    env_sps, replay_sps : median simulated seconds per second of processor time: SUMO and all else run in
        one thread, and what others do on the machine is not counted.
    ratios : each pair's ratio.
    """

    ratio: float
    env_sps: float
    replay_sps: float
    ratios: tuple[float, ...]


PARTS_LEFT_OUT = ("detector", "need")
"""What a run can be measured without."""


class BlindSource:
    """A detection source that sees nothing and says so, at no cost.

    Parameters
    ----------
    plan : the site.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._frames = tuple(Frame(crossing.id, 0, is_healthy=False) for crossing in plan.crossings)

    def frames(self, now_ds: int) -> tuple[Frame, ...]:  # noqa: ARG002 - the protocol's argument
        """Return the same blind frames each time."""
        return self._frames


def leave_out(driver: JunctionDriver, without: frozenset[str]) -> None:
    """Take parts out of a driver before its first step.

    Parameters
    ----------
    driver : just built.
    without : of `PARTS_LEFT_OUT`; a run with detector but without need still takes pictures.

    Raises
    ------
    ValueError : a part that cannot be left out; no detector but a need.
    """
    unknown = sorted(without.difference(PARTS_LEFT_OUT))
    if unknown:
        raise ValueError(f"cannot leave out {', '.join(unknown)}; can: {', '.join(PARTS_LEFT_OUT)}")
    if "detector" in without:
        detector, walkers = driver.detector, driver.walkers
        walkers.listeners.remove(detector)
        walkers.withdrawals.clear()
        driver.loop.listen_to(BlindSource(driver.plan))
    if "need" in without:
        driver.loop.needs.update = _nothing  # type: ignore[method-assign, assignment]


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a run did to SUMO, by time [0.1 s]: rows by signal, and what it told people."""

    rows: dict[int, list[tuple[str, str]]]
    orders: dict[int, list[tuple[str, float | TurnBack]]]


def bench_environment(spec: RunSpec, *, repeat: int, without: frozenset[str] = frozenset()) -> BenchFigures:
    """Time a run and its bare replay in turn, in this process.

    Parameters
    ----------
    spec : what to run, on libsumo.
    repeat : number of pairs.
    without : parts to leave out, see `leave_out`.

    Raises
    ------
    ScenarioError : a replay's trip output differs from the run's, so the two are not the same run.
    """
    site = load_site(spec.site)
    with simulation(spec, site) as opened:
        return timed_pairs(
            opened,
            recording=_record(spec, opened, without),
            end_s=spec.end_s,
            timed_run=lambda: _timed_run(spec, opened, without),
            repeat=repeat,
        )


def timed_pairs(
    opened: Simulation, *, recording: Recording, end_s: int, timed_run: Callable[[], float], repeat: int
) -> BenchFigures:
    """Time a run and its bare replay in turn.

    Parameters
    ----------
    opened : the simulation, at the beginning.
    recording : what the run does to SUMO.
    end_s : end of the simulation. [s]
    timed_run : plays the run and returns simulated seconds per second.
    repeat : number of pairs.
    """
    env_sps, replay_sps = [], []
    for _ in range(repeat):
        opened.restart()
        env_sps.append(timed_run())
        opened.restart()
        replay_sps.append(_timed_replay(opened, recording, end_s))
    ratios = tuple(env / replay for env, replay in zip(env_sps, replay_sps, strict=True))
    return BenchFigures(
        ratio=statistics.median(ratios),
        env_sps=statistics.median(env_sps),
        replay_sps=statistics.median(replay_sps),
        ratios=ratios,
    )


def _record(spec: RunSpec, opened: Simulation, without: frozenset[str] = frozenset()) -> Recording:
    """Run once, keeping what was done to SUMO; check that its replay gives the same trips."""
    driver = build_driver(spec, load_site(spec.site), opened.connection, is_recording=True)
    leave_out(driver, without)
    for _ in _steps(spec.end_s):
        driver.step()
    return checked_recording((driver,), opened, spec.end_s)


def checked_recording(drivers: Iterable[JunctionDriver], opened: Simulation, end_s: int) -> Recording:
    """Return what junctions that have just been run did to SUMO, once its replay gave the same trips.

    Raises
    ------
    ScenarioError : a replay's trip output differs from the run's, so the two are not the same run.
    """
    rows: dict[int, list[tuple[str, str]]] = {}
    orders: dict[int, list[tuple[str, float | TurnBack]]] = {}
    for driver in drivers:
        for now_ds, row in driver.backend.row_changes or ():
            rows.setdefault(now_ds, []).append((driver.plan.sumo.traffic_light, row))
        for now_ds, person, order in driver.walkers.orders or ():
            orders.setdefault(now_ds, []).append((person, order))
    recording = Recording(rows=rows, orders=orders)
    recorded = opened.outputs
    opened.restart()
    _timed_replay(opened, recording, end_s)
    replayed = opened.outputs
    opened.restart()
    if _trips(recorded) != _trips(replayed):
        raise ScenarioError("the replay's trips differ from the run's: the benchmark would compare two runs")
    return recording


def _trips(outputs: Path) -> list[str]:
    """Return the lines of a trip output but its header, which holds the time of writing."""
    lines = (outputs / "tripinfo.xml").read_text(encoding="utf-8").splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("<tripinfos")) :]


def _steps(end_s: int) -> range:
    return range(0, end_s * 10, STEP_DS)


def _timed_run(spec: RunSpec, opened: Simulation, without: frozenset[str]) -> float:
    """Return simulated seconds per second with everything on but what is left out."""
    driver = build_driver(spec, load_site(spec.site), opened.connection)
    leave_out(driver, without)
    started_s = time.process_time()
    for _ in _steps(spec.end_s):
        driver.step()
    return spec.end_s / (time.process_time() - started_s)


def _timed_replay(opened: Simulation, recording: Recording, end_s: int) -> float:
    """Return simulated seconds per second with a recording pushed, nothing else."""
    connection = opened.connection
    step, show = connection.simulationStep, connection.trafficlight.setRedYellowGreenState
    people, set_speed = connection.person, connection.person.setSpeed
    rows_at, orders_at = recording.rows, recording.orders

    def tell(now_ds: int) -> None:
        for person, order in orders_at.get(now_ds, ()):
            if isinstance(order, TurnBack):
                order.apply(people, person)
            else:
                set_speed(person, order)

    started_s = time.process_time()
    for now_ds in _steps(end_s):
        for signal, row in rows_at.get(now_ds, ()):
            show(signal, row)
        tell(now_ds)
        step()
    tell(end_s * 10)
    return end_s / (time.process_time() - started_s)

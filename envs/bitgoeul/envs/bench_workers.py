"""Several worker processes beside one: how much faster a machine simulates with more of them."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from bitgoeul.sim_scenarios.catalog import load_site

from .world import WARMUP_DS, RunSpec, build_driver, silence_native_warnings, simulation

PATIENCE_S = 600.0
"""A worker that waits longer for the others gives up. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFigures:
    """Result of `bench workers`.

    Parameters
    ----------
    workers, cores : processes measured; cores this process may use.
    one_sps, many_sps : simulated seconds per second of one process, and of all of them together.
    times : `many_sps / one_sps`.
    """

    workers: int
    cores: int
    one_sps: float
    many_sps: float
    times: float


def bench_workers(spec: RunSpec, *, workers: int) -> WorkerFigures:
    """Run one process, then several at once, one after the other's warm-up.

    Parameters
    ----------
    spec : what each runs, on libsumo; each worker has its own seed, counted up from the spec's.
    workers : processes, >= 2.

    Notes
    -----
    Each process starts, warms up and waits for the others; then the time runs until the last has simulated
    its `minutes`. Starting processes is not in it: a training run does that once.
    """
    one_sps = _together_sps(spec, 1)
    many_sps = _together_sps(spec, workers)
    return WorkerFigures(
        workers=workers,
        cores=len(os.sched_getaffinity(0)),
        one_sps=one_sps,
        many_sps=many_sps,
        times=many_sps / one_sps,
    )


def _together_sps(spec: RunSpec, count: int) -> float:
    """Return the simulated seconds per second of so many processes together."""
    context = multiprocessing.get_context("spawn")
    barrier, ends_s = context.Barrier(count + 1), context.Array("d", count, lock=False)
    processes = [
        context.Process(target=_work, args=(spec, number, barrier, ends_s), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    try:
        barrier.wait(PATIENCE_S)
        began_s = time.monotonic()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a worker failed; its error stands above")
    return count * spec.minutes * 60 / (max(float(end_s) for end_s in ends_s) - began_s)


def _work(spec: RunSpec, number: int, barrier: Barrier, ends_s: Any) -> None:
    """Warm up, wait for the others, simulate."""
    silence_native_warnings()
    site = load_site(spec.site)
    own = RunSpec(
        site=spec.site,
        controller=spec.controller,
        seed=spec.seed + number,
        hour=spec.hour,
        minutes=spec.minutes,
    )
    with simulation(own, site) as opened:
        driver = build_driver(own, site, opened.connection)
        while driver.now_ds < WARMUP_DS:
            driver.step()
        barrier.wait(PATIENCE_S)
        while driver.now_ds < own.end_s * 10:
            driver.step()
        ends_s[number] = time.monotonic()  # one clock for all processes of a machine

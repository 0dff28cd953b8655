"""What a reset costs without its warm-up, beside a bare load of the same run; whether memory stays flat."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .bench_gym import ScriptedAgent
from .bench_replay import Recorder
from .bench_split import Stopwatch
from .crossing import CrossingEnv
from .world import JunctionDriver

SETTLING = 20
"""First resets left out of the slope: the allocators' pools still fill. [A]"""
_STATM = Path("/proc/self/statm")
_STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetFigures:
    """Result of `bench reset`.

    Parameters
    ----------
    resets : made and measured.
    reset_ms : median time of a reset without the steps of its warm-up. [ms]
    load_ms : median time of a bare load of the same runs, each right after its reset. [ms]
    warmup_ms : median time of the warm-up's steps. [ms]
    times : `reset_ms / load_ms`.
    share : processor time of a reset and its warm-up, of that of a whole episode under max-pressure. [1]
    rss_mib : resident memory at the end. [MiB]
    slope_kib : growth of resident memory a reset, by a straight line through all but the first
        `SETTLING`; NaN for fewer than two points. [KiB]
    """

    resets: int
    reset_ms: float
    load_ms: float
    warmup_ms: float
    times: float
    share: float
    rss_mib: float
    slope_kib: float


def bench_reset(
    site: str, *, hour: str, minutes: int, resets: int, progress: Callable[[float], None] | None = None
) -> ResetFigures:
    """Reset an environment to one seed after another; after each, load the same run bare.

    Parameters
    ----------
    site, hour, minutes : of the environment.
    resets : how many, >= 1.
    progress : called with the share done, 0 to 1.
    """
    resets_ms, loads_ms, warmups_ms, rss_kib = [], [], [], []
    env, watch = CrossingEnv(site, hour=hour, minutes=minutes), Stopwatch()
    try:
        env.reset(seed=0)  # builds the network, starts SUMO
        connection = env.driver.connection
        for seed in range(resets):
            watch.spent_ns.clear()
            with (
                Recorder(connection, is_light=True) as recorder,
                watch.in_class(_STEP, JunctionDriver, "step"),
            ):
                began_s = time.perf_counter()
                env.reset(seed=seed)
                took_ms = 1e3 * (time.perf_counter() - began_s)
            run = recorder.run
            if run is None:
                raise RuntimeError("the reset loaded no simulation")
            warmups_ms.append(watch.spent_ns[_STEP] / 1e6)
            resets_ms.append(took_ms - warmups_ms[-1])
            rss_kib.append(_rss_kib())
            began_s = time.perf_counter()
            connection.load(run.arguments)
            loads_ms.append(1e3 * (time.perf_counter() - began_s))
            if progress is not None:
                progress((seed + 1) / resets)
        share = reset_share(env, resets)
    finally:
        env.close()
    reset_ms, load_ms = statistics.median(resets_ms), statistics.median(loads_ms)
    return ResetFigures(
        resets=resets,
        reset_ms=reset_ms,
        load_ms=load_ms,
        warmup_ms=statistics.median(warmups_ms),
        times=reset_ms / load_ms,
        share=share,
        rss_mib=rss_kib[-1] / 1024,
        slope_kib=slope(rss_kib[SETTLING:]),
    )


def reset_share(env: CrossingEnv, seed: int) -> float:
    """Return what a reset and its warm-up take of an episode's processor time. [1]

    Parameters
    ----------
    env : on libsumo.
    seed : of the episode.
    """
    agent, began_s = ScriptedAgent(env, seed), time.process_time()
    agent.reset()
    played_from_s = time.process_time()
    agent.play()
    return (played_from_s - began_s) / (time.process_time() - began_s)


def slope(values: list[float]) -> float:
    """Return how much values grow from one to the next, by least squares; NaN for fewer than two.

    Examples
    --------
    >>> round(slope([3.0, 5.0, 7.0]), 6)
    2.0
    """
    if len(values) < 2:  # noqa: PLR2004 - a line needs two points
        return float("nan")
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def _rss_kib() -> float:
    """Return this process's resident memory. [KiB]"""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1024

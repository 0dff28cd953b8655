"""Run controllers on the same seeds in parallel processes, and keep what is done."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final, Literal

from bitgoeul.controller.errors import BitgoeulError, ScenarioError
from bitgoeul.training.intervals import MEASURES, Summary
from bitgoeul.training.processes import (
    GOODBYE_S,
    POLL_S,
    begin_worker,
    end_pool,
    ending_on_sigterm,
    scratch_folder,
    sigint_held,
)
from bitgoeul.training.store import RunStore

if TYPE_CHECKING:
    from bitgoeul.envs.world import RunResult, RunSpec

    RunFunction = Callable[..., RunResult]

Form = Literal["P", "R"]

RUN: Final = "bitgoeul.envs.world:run_world"
"""The function that runs one `RunSpec`, as `module:function` so that a fresh process can import it."""
TRAINING_SEEDS: Final = range(10_000)
"""Seeds that policies are trained on; a comparison on them says nothing about unseen days."""
TEST_SEEDS_FROM: Final = 20_000
"""From here up the seeds are kept for the final test."""
NEVER_EXTENDING: Final = frozenset({"fixed", "actuated", "max_pressure"})
"""Policies that never extend unless the guard is before them; any other is run for every maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared: every combination of these is one run.

    Parameters
    ----------
    sites : site names or plan paths.
    controllers : controller names; the first is the baseline of the differences.
    seeds : the seeds, the same for every controller.
    detectors : detector presets, each with its changes if any.
    hour : demand period.
    minutes : measured time of a run, > 0. [min]
    extension_maxima_s : greatest extension of every crossing; None is each crossing's own in the plan. [s]
    forms : forms of extension, `P` or `R`.
    """

    sites: tuple[str, ...]
    controllers: tuple[str, ...]
    seeds: tuple[int, ...]
    detectors: tuple[str, ...]
    hour: str
    minutes: int
    extension_maxima_s: tuple[float | None, ...] = (None,)
    forms: tuple[Form, ...] = ("P",)

    @property
    def main_maximum_s(self) -> float | None:
        """The maximum that headlines are given for, in seconds: the plan's own if run, else the greatest."""
        given = [maximum for maximum in self.extension_maxima_s if maximum is not None]
        return max(given) if len(given) == len(self.extension_maxima_s) else None

    def specs(self, *, never_extends: Callable[[str], bool] = lambda _: False) -> list[RunSpec]:
        """Return the runs, those of one condition together.

        Parameters
        ----------
        never_extends : says of a controller that form and maximum make no difference to it; it is run for
            form P (else the only one) and the main maximum only.
        """
        from bitgoeul.envs.world import RunSpec

        main_form = "P" if "P" in self.forms else self.forms[0]
        variants = list(product(self.forms, self.extension_maxima_s))
        specs = []
        for site, detector, controller, variant, seed in product(
            self.sites, self.detectors, self.controllers, variants, self.seeds
        ):
            if never_extends(controller) and variant != (main_form, self.main_maximum_s):
                continue
            form, extension_max_s = variant
            specs.append(
                RunSpec(
                    site=site,
                    controller=controller,
                    seed=seed,
                    hour=self.hour,
                    minutes=self.minutes,
                    detector=detector,
                    extension_max_s=extension_max_s,
                    form=form,
                )
            )
        return specs


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, with all that a worker process needs for it.

    Parameters
    ----------
    spec : the run's settings.
    store : where its part goes.
    run : `module:function` of the run function.
    with_strip : True to record the time-space strip of one cycle.
    """

    spec: RunSpec
    store: RunStore
    run: str
    with_strip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended in its worker process.

    Parameters
    ----------
    mistake : message of an error that the user can put right; None if there was none.
    defect : traceback of any other error; None if there was none.
    """

    mistake: str | None = None
    defect: str | None = None


def seed_notice(seeds: Sequence[int]) -> str | None:
    """Return what must be said about the choice of seeds; None for the everyday range."""
    if min(seeds) in TRAINING_SEEDS:
        return f"seeds {min(seeds)} to {max(seeds)} overlap the training seeds (0 to 9,999)"
    if max(seeds) >= TEST_SEEDS_FROM:
        return f"seeds {min(seeds)} to {max(seeds)} open the test seeds (20,000 and up)"
    return None


def describe(spec: RunSpec) -> str:
    """Return one run's settings in a line, for an error message."""
    maximum = "" if spec.extension_max_s is None else f", maximum {spec.extension_max_s:g} s"
    return (
        f"{spec.site}, {spec.controller}, seed {spec.seed}, {spec.hour}, {spec.minutes} min, "
        f"detector {spec.detector}, form {spec.form}{maximum}"
    )


def import_run(run: str) -> RunFunction:
    """Return the function named `module:function`."""
    module, _, function = run.partition(":")
    found: RunFunction = getattr(importlib.import_module(module), function)
    return found


def run_here(
    specs: Sequence[RunSpec], store: RunStore, *, run: RunFunction, on_done: Callable[[RunSpec], None]
) -> None:
    """Run what is not stored yet in this process, one after another.

    Parameters
    ----------
    specs : the runs.
    store : where their parts go.
    run : function of a spec and `record_strip`.
    on_done : called after each run, also for those that were stored before.
    """
    try:
        for spec, with_strip in _in_order(specs):
            if not store.is_done(spec):
                _run_and_store(spec, store, run, with_strip=with_strip)
            on_done(spec)
    finally:
        store.sweep()


def run_parallel(
    specs: Sequence[RunSpec],
    store: RunStore,
    *,
    workers: int,
    on_done: Callable[[RunSpec], None],
    run: str = RUN,
) -> None:
    """Run what is not stored yet in worker processes; the runs of one seed come before the next seed's.

    Parameters
    ----------
    specs : the runs.
    store : where their parts go.
    workers : processes at once, >= 1.
    on_done : called in this process after each run, also for those that were stored before.
    run : `module:function` of a spec and `record_strip`.

    Raises
    ------
    ScenarioError : a run cannot be done, a worker process died, or a stored part is damaged. The other
        complete parts are kept.
    KeyboardInterrupt : Ctrl-C; no worker process is left and only complete parts stay.
    """
    pending = []
    for spec, with_strip in _in_order(specs):
        if store.is_done(spec):
            on_done(spec)
        else:
            pending.append(Job(spec=spec, store=store, run=run, with_strip=with_strip))
    if pending:
        _run_pool(pending, store, workers, on_done)


def _run_pool(
    pending: Sequence[Job], store: RunStore, workers: int, on_done: Callable[[RunSpec], None]
) -> None:
    """Do the jobs in worker processes, and end those whatever happens."""
    context = multiprocessing.get_context("spawn")
    older = set(multiprocessing.active_children())
    with ending_on_sigterm(), scratch_folder():
        pool = ProcessPoolExecutor(
            max_workers=min(workers, len(pending)), mp_context=context, initializer=begin_worker
        )
        started: list[BaseProcess] = []
        try:
            with sigint_held():
                futures = {pool.submit(_work, job): job for job in pending}
                started = [child for child in multiprocessing.active_children() if child not in older]
            _collect(futures, on_done)
            pool.shutdown()
        except BrokenProcessPool as fault:
            raise _worker_death(started, store, pending) from fault
        finally:
            end_pool(pool, {*started, *multiprocessing.active_children()} - older)
            store.sweep()


def never_extends(controller: str) -> bool:
    """Return True if a controller never extends, so that form and maximum make no difference to it."""
    from bitgoeul.controller.policies import parse_controller

    name = parse_controller(controller)
    return name.base in NEVER_EXTENDING and not name.is_guarded


def comparison_json(summaries: Sequence[Summary], report: str) -> dict[str, Any]:
    """Return the result as `compare --json` prints it.

    Parameters
    ----------
    summaries : one per condition.
    report : path of the HTML report.
    """
    return {"rows": [_row_json(summary) for summary in summaries], "report": report}


def _row_json(summary: Summary) -> dict[str, Any]:
    row: dict[str, Any] = {**summary.condition, "seeds": len(summary.seeds), "seed_base": min(summary.seeds)}
    row |= {measure.name: summary.measures[measure.name].as_json() for measure in MEASURES}
    row["residual_per_10k_by_class"] = _intervals_json(summary.by_class)
    row["baseline"] = summary.baseline
    row["difference"] = _intervals_json(summary.differences)
    row["change"] = _intervals_json(summary.changes)
    return row


def _intervals_json(intervals: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    return {name: interval.as_json() for name, interval in intervals.items()}


def _in_order(specs: Sequence[RunSpec]) -> list[tuple[RunSpec, bool]]:
    """Return the runs by seed, so that what is done early is paired; the first seed records a strip."""
    first = min((spec.seed for spec in specs), default=0)
    return [(spec, spec.seed == first) for spec in sorted(specs, key=lambda spec: spec.seed)]


def _run_and_store(spec: RunSpec, store: RunStore, run: RunFunction, *, with_strip: bool) -> None:
    store.reserve(spec)
    began_s = time.perf_counter()
    result = run(spec, record_strip=with_strip)
    store.write(spec, result, wall_s=time.perf_counter() - began_s)


def _work(job: Job) -> Outcome:
    """Do one job in a worker process; errors travel back as text, since not all of them pickle."""
    try:
        _run_and_store(job.spec, job.store, import_run(job.run), with_strip=job.with_strip)
    except (BitgoeulError, OSError, ValueError) as fault:
        return Outcome(mistake=str(fault), defect=None)
    except Exception:  # noqa: BLE001 - passed on whole, and raised again by the parent
        return Outcome(defect=traceback.format_exc())
    return Outcome()


def _collect(futures: Mapping[Future[Outcome], Job], on_done: Callable[[RunSpec], None]) -> None:
    """Wait for all jobs; stop at the first that failed."""
    waiting = set(futures)
    while waiting:
        # Polars installs its own SIGINT handler, with which a wait without timeout sleeps through Ctrl-C.
        ended, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
        for future in ended:
            outcome, spec = future.result(), futures[future].spec
            if outcome.mistake is not None:
                raise ScenarioError(f"{describe(spec)}: {outcome.mistake}")
            if outcome.defect is not None:
                raise RuntimeError(f"{describe(spec)}: the run failed\n{outcome.defect}")
            on_done(spec)


def _worker_death(started: Sequence[BaseProcess], store: RunStore, pending: Sequence[Job]) -> ScenarioError:
    """Say which run's process ended and how."""
    for child in started:
        child.join(GOODBYE_S)
    specs = {store.key(job.spec): job.spec for job in pending}
    reserved = store.reserved()
    # When one process dies, the pool sends SIGTERM to the others: the odd one out is the cause.
    died = [child for child in started if child.exitcode not in {None, 0, -signal.SIGTERM}]
    for child in died or started:
        if (key := reserved.get(child.pid or 0)) in specs:
            code = child.exitcode or 0
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
            return ScenarioError(
                f"{describe(specs[key])}: its worker process {how}; finished runs are kept, repeat the "
                "command to go on (fewer --jobs if memory ran out)"
            )
    codes = ", ".join(str(child.exitcode) for child in started)
    return ScenarioError(f"a worker process could not start (exit status {codes}); finished runs are kept")


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""How dear the signal core is: beside a bare dictionary, beside a SUMO step, and ten thousand at once."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import NO_CALLS, NO_COMMANDS, PATTERN_FREE, Calls, Commands, Lamps
from bitgoeul.controller.timing import HOUR_DS
from bitgoeul.sim_scenarios.catalog import load_site

from .world import STEP_DS, WARMUP_DS, RunSpec, build_driver, simulation

TURN_STEPS = 40
"""Steps that a case takes before it is the next one's turn."""
CLOCK_READS = 2_000
"""Empty timings, whose median is what reading the clock costs."""
TRACED_CABINETS = 500
"""Cabinets whose memory is traced, apart from the timing: tracing slows the interpreter."""
CONTROLLERS = ("eta", "actuated+guard")
"""Whose cores are timed beside SUMO: one on the plan's pattern, one in free operation."""

Progress = Callable[[float], None]
Step = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """One case of a 0.5 s core step, beside the dictionary updated in turn with it.

    Parameters
    ----------
    case : `pretimed` or `free`, and whether the calls are the same object from step to step.
    p50_us, p99_us : median and 99 % of the single steps, clock reading subtracted. [us]
    ratio_p50, ratio_p99 : against median and 99 % of the dictionary update. [-]
    """

    case: str
    p50_us: float
    p99_us: float
    ratio_p50: float
    ratio_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareFigures:
    """The core inside a whole run of the site.

    Parameters
    ----------
    controller : whose run.
    steps : steps measured after the warm-up.
    core_us, sumo_us : mean core step and mean SUMO step, clock reading subtracted. [us]
    share : `core_us / sumo_us`. [-]
    share_p50 : the same with medians. [-]
    """

    controller: str
    steps: int
    core_us: float
    sumo_us: float
    share: float
    share_p50: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CabinetFigures:
    """Many cabinets, each advanced one hour from event to event.

    Parameters
    ----------
    cabinets : how many; every second one in free operation with every phase called.
    build_s, hour_s : time to make them, and to advance all by an hour. [s]
    hours_per_s : cabinet hours simulated per second.
    kib_per_cabinet : Python memory of one after its hour. [KiB]
    total_mib : the same for all of them. [MiB]
    """

    cabinets: int
    build_s: float
    hour_s: float
    hours_per_s: float
    kib_per_cabinet: float
    total_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreFigures:
    """Result of `bench core`.

    Parameters
    ----------
    dict_p50_us, dict_p99_us : a dictionary of the plan's phases updated, all entries. [us]
    steps, shares, cabinets : the three measurements.
    """

    dict_p50_us: float
    dict_p99_us: float
    steps: tuple[StepFigures, ...]
    shares: tuple[ShareFigures, ...]
    cabinets: CabinetFigures


def bench_core(
    spec: RunSpec, *, steps: int, cabinets: int, progress: Progress = lambda _share: None
) -> CoreFigures:
    """Time the core in this process.

    Parameters
    ----------
    spec : site, seed, hour and measured minutes of the runs in SUMO; its controller is not looked at.
    steps : steps of each case beside the dictionary, >= 1.
    cabinets : number of cabinets advanced by an hour, >= 1.
    progress : called now and then with the share done, 0 to 1.
    """
    plan = load_site(spec.site).plan
    clock_ns = _clock_cost_ns()
    dictionary, cases = _time_steps(plan, steps, clock_ns)
    progress(0.1)
    shares = []
    for done, controller in enumerate(CONTROLLERS, start=1):
        shares.append(_time_in_run(spec, controller, clock_ns))
        progress((1 + done) / 10)
    many = _time_cabinets(plan, cabinets, lambda share: progress((3 + 7 * share) / 10))
    return CoreFigures(
        dict_p50_us=_median_us(dictionary),
        dict_p99_us=_p99_us(dictionary),
        steps=cases,
        shares=tuple(shares),
        cabinets=many,
    )


def lines(figures: CoreFigures) -> Iterator[str]:
    """Yield the figures as text, a line each."""
    yield f"dictionary of the phases: p50 {figures.dict_p50_us:.2f} us, p99 {figures.dict_p99_us:.2f} us"
    for step in figures.steps:
        yield (
            f"core step, {step.case}: p50 {step.p50_us:.2f} us ({step.ratio_p50:.1f} dictionaries), "
            f"p99 {step.p99_us:.1f} us ({step.ratio_p99:.1f})"
        )
    for each in figures.shares:
        yield (
            f"core in a run, {each.controller}: {each.core_us:.1f} us beside a SUMO step of "
            f"{each.sumo_us:.0f} us, {each.share:.2%} (medians {each.share_p50:.2%})"
        )
    many = figures.cabinets
    yield (
        f"{many.cabinets:,} cabinets, one hour each in event jumps: {many.hour_s:.0f} s "
        f"({many.hours_per_s:,.0f} hours/s), built in {many.build_s:.1f} s, "
        f"{many.kib_per_cabinet:.1f} KiB each, {many.total_mib:,.0f} MiB in all"
    )


# --- beside a dictionary ------------------------------------------------------------------------------


def _time_steps(plan: SitePlan, steps: int, clock_ns: int) -> tuple[list[int], tuple[StepFigures, ...]]:
    """Time every case and the dictionary in turns, so that all meet the same machine. [ns]"""
    cases = {"dictionary": _dictionary_step(plan)} | dict(_core_steps(plan))
    timed: dict[str, list[int]] = {name: [] for name in cases}
    clock = time.perf_counter_ns
    for begun in range(0, steps, TURN_STEPS):
        for name, step in cases.items():
            took = timed[name]
            for _ in range(min(TURN_STEPS, steps - begun)):
                started_ns = clock()
                step()
                took.append(max(clock() - started_ns - clock_ns, 1))
    dictionary = timed.pop("dictionary")
    figures = [
        StepFigures(
            case=name,
            p50_us=_median_us(took),
            p99_us=_p99_us(took),
            ratio_p50=_median_us(took) / _median_us(dictionary),
            ratio_p99=_p99_us(took) / _p99_us(dictionary),
        )
        for name, took in timed.items()
    ]
    return dictionary, tuple(figures)


def _dictionary_step(plan: SitePlan) -> Step:
    """Return the reference: every phase's state written anew, and nothing decided."""
    phases = plan.phase_numbers
    states = dict.fromkeys(phases, "red")

    def step() -> None:
        for phase in phases:
            states[phase] = "green"

    return step


def _core_steps(plan: SitePlan) -> Iterator[tuple[str, Step]]:
    """Yield a step of a fresh core for each case: its pattern or free, calls that stay or change."""
    free = Commands(pattern=PATTERN_FREE)
    for mode, commands in (("pretimed", NO_COMMANDS), ("free", free)):
        busy = Calls(vehicle=sum(1 << (phase - 1) for phase in plan.phase_numbers))
        yield f"{mode}, constant calls", _stepped(plan, commands, [NO_CALLS if mode == "pretimed" else busy])
        yield f"{mode}, changing calls", _stepped(plan, commands, _random_calls(plan))


def _random_calls(plan: SitePlan) -> list[Calls]:
    """Return a minute's worth of calls that change in nearly every step, each time another object."""
    random, bits = Random(1), max(plan.phase_numbers)  # noqa: S311 - repeatable, no secret
    return [
        Calls(vehicle=random.getrandbits(bits), extend=random.getrandbits(bits), ped=random.getrandbits(bits))
        for _ in range(600 // STEP_DS)
    ]


def _stepped(plan: SitePlan, commands: Commands, calls: list[Calls]) -> Step:
    core, turn, n_calls = SignalCore(plan), 0, len(calls)
    advance = core.advance

    def step() -> Lamps:
        nonlocal turn
        turn = (turn + 1) % n_calls
        return advance(STEP_DS, calls[turn], commands)

    return step


# --- beside SUMO --------------------------------------------------------------------------------------


def _time_in_run(spec: RunSpec, controller: str, clock_ns: int) -> ShareFigures:
    """Time the core's step and SUMO's step, one after the other, in a run of the site."""
    spec = RunSpec(
        site=spec.site, controller=controller, seed=spec.seed, hour=spec.hour, minutes=spec.minutes
    )
    site = load_site(spec.site)
    core_ns: list[int] = []
    sumo_ns: list[int] = []
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        while driver.now_ds < WARMUP_DS:
            driver.step()
        core = driver.backend.core
        core.advance = _timed(core.advance, core_ns, clock_ns)  # type: ignore[method-assign]
        driver._simulation_step = _timed(driver._simulation_step, sumo_ns, clock_ns)  # noqa: SLF001
        while driver.now_ds < spec.end_s * 10:
            driver.step()
    return ShareFigures(
        controller=controller,
        steps=len(sumo_ns),
        core_us=statistics.fmean(core_ns) / 1000,
        sumo_us=statistics.fmean(sumo_ns) / 1000,
        share=statistics.fmean(core_ns) / statistics.fmean(sumo_ns),
        share_p50=statistics.median(core_ns) / statistics.median(sumo_ns),
    )


def _timed(function: Callable[..., Any], took_ns: list[int], clock_ns: int) -> Callable[..., Any]:
    """Return the function with its times written down, clock reading subtracted. [ns]"""
    clock = time.perf_counter_ns

    def timed(*arguments: Any) -> Any:
        started_ns = clock()
        result = function(*arguments)
        took_ns.append(max(clock() - started_ns - clock_ns, 1))
        return result

    return timed


# --- ten thousand of them -----------------------------------------------------------------------------


def _time_cabinets(plan: SitePlan, count: int, progress: Progress) -> CabinetFigures:
    """Advance many cabinets by an hour each, then trace the memory of some."""
    started_s = time.perf_counter()
    cores = _cabinets(plan, count)
    built_s = time.perf_counter()
    busy = Calls(vehicle=sum(1 << (phase - 1) for phase in plan.phase_numbers))
    for done, (core, commands) in enumerate(cores):
        core.advance(HOUR_DS, busy, commands)
        if done % 100 == 0:
            progress(done / count)
    hour_s = time.perf_counter() - built_s
    kib = _traced_kib(plan, min(count, TRACED_CABINETS))
    return CabinetFigures(
        cabinets=count,
        build_s=built_s - started_s,
        hour_s=hour_s,
        hours_per_s=count / hour_s,
        kib_per_cabinet=kib,
        total_mib=kib * count / 1024,
    )


def _cabinets(plan: SitePlan, count: int) -> list[tuple[SignalCore, Commands]]:
    """Return cores whose offsets are spread over the pattern's cycle, every second one in free operation."""
    free = Commands(pattern=PATTERN_FREE)
    cycle_ds = round(10 * plan.patterns[0].cycle_s) if plan.patterns else HOUR_DS
    return [
        (SignalCore(plan, day_offset_ds=place * cycle_ds // count), free if place % 2 else NO_COMMANDS)
        for place in range(count)
    ]


def _traced_kib(plan: SitePlan, count: int) -> float:
    """Return the memory of one cabinet after some minutes of service. [KiB]"""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cores = _cabinets(plan, count)
        for core, commands in cores:
            core.advance(HOUR_DS // 10, NO_CALLS, commands)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / count / 1024


def _clock_cost_ns() -> int:
    """Return what one timing of nothing takes. [ns]"""
    clock = time.perf_counter_ns
    empty = []
    for _ in range(CLOCK_READS):
        started_ns = clock()
        empty.append(clock() - started_ns)
    return round(statistics.median(empty))


def _median_us(took_ns: list[int]) -> float:
    return statistics.median(took_ns) / 1000


def _p99_us(took_ns: list[int]) -> float:
    return sorted(took_ns)[min(len(took_ns) * 99 // 100, len(took_ns) - 1)] / 1000

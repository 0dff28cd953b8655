"""The commands `run` and `bench`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.files import write_text

_SHOWN = (
    ("crossings_n", "crossings"),
    ("residual_n", "residual walkers"),
    ("residual_per_10k", "residual walkers per 10,000 crossings"),
    ("residual_within_max_per_10k", "of legal starters within the maximum, per 10,000"),
    ("released_on_person", "released at the maximum with a person there"),
    ("ped_wait_s", "mean wait of walkers [s]"),
    ("ped_wait_p95_s", "95 % of walkers waited less than [s]"),
    ("vehicle_delay_s", "mean delay of vehicles [s]"),
    ("person_delay_s", "mean delay of persons [s]"),
    ("person_hours_per_h", "person-hours of delay per hour"),
    ("extension_s_per_h", "extension [s/h]"),
)


@click.command(epilog="Example: bitgoeul run bukmun_5 --controller eta --seed 10000 --hour peak --minutes 30")
@click.argument("site")
@click.option("--controller", default="eta", show_default=True, help="fixed, eta, NAME+guard ...")
@click.option(
    "--seed", default=10_000, show_default=True, type=click.IntRange(min=0), help="Of demand and sensor."
)
@click.option("--hour", default="peak", show_default=True, help="peak, offpeak, night, or an hour 0-23.")
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(min=1), help="Measured time.")
@click.option("--detector", default="camera_day", show_default=True, metavar="PRESET[:FIELD=VALUE]...",
              help="Emulated detector, as `camera_day:person_recall=0.8:latency_s=2`.")  # fmt: skip
@click.option("--backend", default="libsumo", show_default=True, type=click.Choice(["libsumo", "traci"]))
@click.option("--gui", is_flag=True, help="Watch in sumo-gui (uses traci).")
@click.option("--extension-max", type=float, help="Of every crossing [s]; default: the plan's.")
@click.option("--form", default="P", show_default=True, type=click.Choice(["P", "R"]), help="Extension form.")
@click.option("--policy", "policy_file", type=click.Path(dir_okay=False), help="ONNX file for `learned`.")
@click.option("--json", "as_json", is_flag=True, help="Print the result row as JSON.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
def run(
    *,
    site: str,
    controller: str,
    seed: int,
    hour: str,
    minutes: int,
    detector: str,
    backend: str,
    gui: bool,
    extension_max: float | None,
    form: str,
    policy_file: str | None,
    as_json: bool,
    out: Path | None,
) -> None:
    """Run one controller on one site for some simulated time and print what happened."""
    from .world import RunSpec, run_world, silence_native_warnings

    spec = RunSpec(
        site=site,
        controller=controller,
        seed=seed,
        hour=hour,
        minutes=minutes,
        detector=detector,
        backend="traci" if gui else backend,  # type: ignore[arg-type]
        extension_max_s=extension_max,
        form=form,  # type: ignore[arg-type]
        policy_file=policy_file,
    )
    if out is not None:
        _check_writable(out)
    silence_native_warnings()
    with _progress(f"{site} {controller}") as progress:
        task = progress.add_task("", total=1.0)
        result = run_world(spec, has_gui=gui, progress=lambda share: progress.update(task, completed=share))
    row = _plain(result.row)
    if out is not None:
        write_text(out / "row.json", json.dumps(row, indent=1))
        write_text(out / "events.json", json.dumps([_plain(event) for event in result.events]))
        write_text(out / "extensions.json", json.dumps(result.extensions, indent=1))
    if as_json:
        click.echo(json.dumps(row))
        return
    table = Table(title=f"{site}, {controller}, {hour}, seed {seed}, {minutes} min", show_header=False)
    for key, label in _SHOWN:
        value = result.row[key]
        table.add_row(escape(label), f"{value:,.1f}" if isinstance(value, float) else str(value))
    table.add_row("trace hash", result.trace_hash[:16])
    Console().print(table)


@click.group()
def bench() -> None:
    """Measure speed against a reference in the same run."""


@bench.command(
    name="env",
    short_help="A run with everything on, beside a bare replay of it.",
    epilog="Examples: bitgoeul bench env --minutes 30 --json; bitgoeul bench env --without detector,need; "
    "bitgoeul bench env --through environment; bitgoeul bench env --corridor bukmun_row",
)
@click.option("--site", default="bukmun_5", show_default=True)
@click.option("--corridor", help="Several junctions in one SUMO instead of a site, as `bukmun_row`.")
@click.option("--controller", default="eta", show_default=True)
@click.option("--hour", default="peak", show_default=True)
@click.option("--minutes", default=30, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=10_000, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--repeat", default=5, show_default=True, type=click.IntRange(min=1), help="Pairs; medians count."
)
@click.option("--without", default="", metavar="PART[,PART]",
              help="Leave out `detector` and `need`: the controller is blind.")  # fmt: skip
@click.option("--through", default="driver", show_default=True, type=click.Choice(["driver", "environment"]),
              help="environment: CrossingEnv, max-pressure's choices, observation and reward.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_env(
    *,
    site: str,
    corridor: str | None,
    controller: str,
    hour: str,
    minutes: int,
    seed: int,
    repeat: int,
    without: str,
    through: str,
    as_json: bool,
) -> None:
    """Compare a run with everything on against a bare replay of its lamps and walker speeds.

    Below it the time of each part of a step, from the fastest of as many runs with a stopwatch in them.
    """
    from .bench_report import EnvBench, measure

    measure(
        EnvBench(
            site=site,
            corridor=corridor,
            controller=controller,
            hour=hour,
            minutes=minutes,
            seed=seed,
            repeat=repeat,
            without=frozenset(filter(None, without.split(","))),
            is_through_environment=through == "environment",
        ),
        as_json=as_json,
    )


@bench.command(
    name="workers",
    short_help="Several worker processes at once, beside one alone.",
    epilog="Example: bitgoeul bench workers --workers 8 --minutes 10 --json",
)
@click.option("--site", default="bukmun_5", show_default=True)
@click.option("--controller", default="eta", show_default=True)
@click.option("--hour", default="peak", show_default=True)
@click.option("--minutes", default=10, show_default=True, type=click.IntRange(min=1), help="Of each worker.")
@click.option("--workers", default=8, show_default=True, type=click.IntRange(min=2), help="Processes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_workers(
    *, site: str, controller: str, hour: str, minutes: int, workers: int, as_json: bool
) -> None:
    """Compare several worker processes at once with one alone, in simulated seconds per second."""
    from .bench_workers import bench_workers as measured
    from .world import RunSpec

    spec = RunSpec(site=site, controller=controller, seed=0, hour=hour, minutes=minutes)
    figures = measured(spec, workers=workers)
    if as_json:
        click.echo(json.dumps(asdict(figures)))
        return
    Console().print(
        f"one process: {figures.one_sps:,.0f} simulated s/s; {workers} on {figures.cores} cores: "
        f"{figures.many_sps:,.0f}, {figures.times:.2f} times as many (target 1.7 on two cores)"
    )


@bench.command(
    name="reset",
    short_help="A reset, beside a bare load of the same run; memory.",
    epilog="Example: bitgoeul bench reset --resets 500 --json",
)
@click.option("--site", default="bukmun_5", show_default=True)
@click.option("--hour", default="peak", show_default=True)
@click.option("--minutes", default=60, show_default=True, type=click.IntRange(min=1), help="Of an episode.")
@click.option("--resets", default=100, show_default=True, type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_reset(*, site: str, hour: str, minutes: int, resets: int, as_json: bool) -> None:
    """Compare a reset without its warm-up with a bare load of the same run; print what memory does."""
    from .bench_reset import bench_reset as measured
    from .world import silence_native_warnings

    silence_native_warnings()
    with _progress(f"{site} resets") as progress:
        task = progress.add_task("", total=1.0)
        figures = measured(
            site,
            hour=hour,
            minutes=minutes,
            resets=resets,
            progress=lambda share: progress.update(task, completed=share),
        )
    if as_json:
        click.echo(json.dumps(_plain(asdict(figures))))
        return
    console = Console()
    console.print(
        f"reset without warm-up: {figures.reset_ms:.1f} ms, bare load: {figures.load_ms:.1f} ms, "
        f"{figures.times:.2f} times (target 1.5); warm-up: {figures.warmup_ms:.0f} ms"
    )
    console.print(f"reset and warm-up: {figures.share:.1%} of an episode of {minutes} min under max-pressure")
    is_known = math.isfinite(figures.slope_kib)
    grows = f"{figures.slope_kib:+.1f} KiB a reset" if is_known else "too few for a slope"
    console.print(f"memory: {figures.rss_mib:.0f} MiB, {resets} resets, {grows}")


@bench.command(
    name="core",
    short_help="The signal core, beside a dictionary and a SUMO step.",
    epilog="Example: bitgoeul bench core --minutes 5 --cabinets 10000 --json",
)
@click.option("--site", default="bukmun_5", show_default=True)
@click.option("--hour", default="peak", show_default=True)
@click.option(
    "--minutes", default=5, show_default=True, type=click.IntRange(min=1), help="Of SUMO, after its warm-up."
)
@click.option("--seed", default=10_000, show_default=True, type=click.IntRange(min=0))
@click.option(
    "--steps", default=20_000, show_default=True, type=click.IntRange(min=1), help="Of each case, 0.5 s each."
)
@click.option(
    "--cabinets",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Advanced one hour each, from event to event.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_core(
    *, site: str, hour: str, minutes: int, seed: int, steps: int, cabinets: int, as_json: bool
) -> None:
    """Time the signal core beside a bare dictionary and a SUMO step; run many for an hour."""
    from . import bench_core as core_bench
    from .world import RunSpec, silence_native_warnings

    spec = RunSpec(site=site, controller="fixed", seed=seed, hour=hour, minutes=minutes)
    silence_native_warnings()
    with _progress(f"{site} core") as progress:
        task = progress.add_task("", total=1.0)
        figures = core_bench.bench_core(
            spec,
            steps=steps,
            cabinets=cabinets,
            progress=lambda share: progress.update(task, completed=share),
        )
    if as_json:
        click.echo(json.dumps(asdict(figures)))
        return
    for line in core_bench.lines(figures):
        Console().print(line, highlight=False)


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ScenarioError(f"--out {folder}: cannot be written ({error.strerror})") from error


def _progress(title: str) -> Progress:
    """Return a progress bar on standard error that leaves no trace when done."""
    return Progress(
        TextColumn(title), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with not-a-number as None, as JSON needs it."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}

"""The command `bitgoeul compare`: paired runs, a table, Parquet and one HTML report."""

from __future__ import annotations

import json
import math
import secrets
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import polars as pl
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.files import write_text
from bitgoeul.training import compare as comparing
from bitgoeul.training.intervals import MEASURE, Interval, Summary, format_ends, format_mean, summarise
from bitgoeul.training.store import RunStore, code_version

if TYPE_CHECKING:
    from bitgoeul.envs.world import RunSpec

RUN: str = comparing.RUN
"""Run function handed to the worker processes; tests put another one here."""
SEED_BASE: Final = 10_000
"""First seed of everyday comparisons."""
PLAN_MAXIMUM: Final = "plan"
"""Word of `--extension-max` for each crossing's own maximum."""
PIPE_COLUMNS: Final = 120
"""Width of the table where no terminal tells one. [characters]"""
TABLE_MEASURES: Final = (
    "residual_per_10k",
    "residual_within_max_per_10k",
    "released_on_person",
    "ped_wait_s",
    "ped_wait_p95_s",
    "vehicle_delay_s",
    "person_hours_per_h",
    "extension_s_per_h",
)
"""Measures of the printed table; Parquet, JSON and the report have all."""

EXAMPLES: Final = """\b
Examples:
  bitgoeul compare bukmun_5 --controllers fixed,gwangju5,eta --seeds 8
  bitgoeul compare bukmun_5 --controllers fixed,eta --seeds 10 --extension-max 0,5,10,20,30,plan,45
  bitgoeul compare bukmun_5 bukmun_5_zone --controllers fixed,eta --form P,R --out out/forms
  bitgoeul compare bukmun_5 --controllers fixed,eta --seeds 10 --detector perfect,camera_day
  bitgoeul compare bukmun_5 --controllers eta --detector camera_day,camera_day:person_recall=0.5:latency_s=3
  bitgoeul compare bukmun_5 --controllers fixed,eta --seeds 4 --json > result.json

Interrupted? The same command goes on where it stopped.
"""


class NameList(click.ParamType[Any]):
    """Names separated by commas, none twice."""

    name = "A,B,..."

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Return the names in their order."""
        if not isinstance(value, str):
            return tuple(value)
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name; separate names by single commas", param, ctx)
        if len(set(names)) < len(names):
            self.fail(f"{value!r} names something twice", param, ctx)
        return names


class MaximumList(NameList):
    """Extension maxima in seconds, or `plan` for each crossing's own."""

    name = "S,S,..."

    def convert(  # type: ignore[override]
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[float | None, ...]:
        """Return the maxima in their order, in seconds; None for the plan's own."""
        if not isinstance(value, str):
            return tuple(value)
        return tuple(self._seconds(word, param, ctx) for word in super().convert(value, param, ctx))

    def _seconds(self, word: str, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if word == PLAN_MAXIMUM:
            return None
        try:
            seconds = float(word)
        except ValueError:
            self.fail(f"{word!r} is neither seconds nor {PLAN_MAXIMUM!r}", param, ctx)
        if not math.isfinite(seconds) or seconds < 0:
            self.fail(f"{word} s is not a time of 0 s or more", param, ctx)
        return seconds


@click.command(epilog=EXAMPLES)
@click.argument("sites", metavar="SITE...", nargs=-1, required=True)
@click.option("--controllers", type=NameList(), required=True, help="The first is the baseline.")
@click.option(
    "--seeds", type=click.IntRange(min=1, max=10_000), default=8, show_default=True, help="Paired seeds."
)
@click.option(
    "--seed-base",
    type=click.IntRange(min=0),
    default=SEED_BASE,
    show_default=True,
    help="First seed. Below 10,000 policies were trained; 20,000 and up is the final test.",
)
@click.option("--hour", default="peak", show_default=True, help="peak, offpeak, night or an hour 0 to 23.")
@click.option(
    "--minutes", type=click.IntRange(min=1), default=60, show_default=True, help="Measured time of a run."
)
@click.option(
    "--detector",
    "detectors",
    type=NameList(),
    default="camera_day",
    show_default=True,
    metavar="PRESET[:FIELD=VALUE]...",
    help="How well walkers are seen, as `camera_day:person_recall=0.8`; several separated by commas.",
)
@click.option(
    "--extension-max",
    "maxima_s",
    type=MaximumList(),
    default=PLAN_MAXIMUM,
    show_default=True,
    help="Greatest extension in seconds, or `plan` for each crossing's own.",
)
@click.option(
    "--form",
    "forms",
    type=NameList(),
    default="P",
    show_default=True,
    metavar="P|R",
    help="Extension as parent hold (P), red hold (R) or both (P,R).",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at once.  [default: all processors]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/compare"),
    show_default=True,
    help="Folder of results; runs that are there already are not done again.",
)
@click.option("--fresh", is_flag=True, help="Discard the runs stored in the folder.")
def compare(
    sites: tuple[str, ...],
    controllers: tuple[str, ...],
    seeds: int,
    seed_base: int,
    hour: str,
    minutes: int,
    detectors: tuple[str, ...],
    maxima_s: tuple[float | None, ...],
    forms: tuple[comparing.Form, ...],
    jobs: int | None,
    as_json: bool,
    out: Path,
    fresh: bool,
) -> None:
    """Run CONTROLLERS on each SITE with the same seeds, and show what each costs and saves.

    Prints a table with 95 % intervals and writes rows, events and extensions as Parquet and one
    self-contained HTML report. A residual walker is still on the crossing when a conflicting green starts.
    """
    comparison = comparing.Comparison(
        sites=sites,
        controllers=controllers,
        seeds=tuple(range(seed_base, seed_base + seeds)),
        detectors=detectors,
        hour=hour,
        minutes=minutes,
        extension_maxima_s=maxima_s,
        forms=forms,
    )
    comparison = check_comparison(comparison)
    specs = comparison.specs(never_extends=comparing.never_extends)
    keeping = Keeping(folder=out, files=tuple(named_files(comparison)), is_fresh=fresh, run=RUN)
    carry_out(specs, keeping, jobs=jobs, as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where runs are kept, and what besides the code makes them what they are.

    Parameters
    ----------
    folder : of the store and the report.
    files : plans and policies outside the packages.
    is_fresh : discard what is stored there.
    run : `module:function` of the run function.
    """

    folder: Path
    files: tuple[Path, ...]
    is_fresh: bool
    run: str


def carry_out(specs: Sequence[RunSpec], keeping: Keeping, *, jobs: int | None, as_json: bool) -> None:
    """Run what is not stored yet, write the report and print the table, or JSON.

    Raises
    ------
    ScenarioError : the folder cannot be written, or a run cannot be made.
    """
    make_writable(keeping.folder)
    if notice := comparing.seed_notice([spec.seed for spec in specs]):
        click.echo(f"note: {notice}", err=True)
    store = RunStore(folder=keeping.folder, version=code_version(keeping.files))
    if keeping.is_fresh:
        store.discard()
    run_with_progress(specs, store, workers=jobs or comparing.default_workers(), run=keeping.run)
    summaries = summarise_and_report(specs, store)
    report = str(store.folder / "report.html")
    result = comparing.comparison_json(summaries, report)
    write_text(store.folder / "compare.json", json.dumps(result, indent=1))
    if as_json:
        click.echo(json.dumps(result))
    else:
        print_tables(summaries)
        click.echo(f"report: {report}")


def check_comparison(comparison: comparing.Comparison) -> comparing.Comparison:
    """Return the comparison with the hour as its demand period's name, or say what cannot be run.

    Raises
    ------
    ScenarioError : an unknown site, hour or form, or a site named twice.
    PlanError : a site's plan must not be run.
    ValueError : an unknown controller or detector, or a detector's figure out of its range.
    """
    from bitgoeul.controller.policies import parse_controller
    from bitgoeul.envs.detector import preset
    from bitgoeul.sim_scenarios.catalog import load_site

    if len(set(comparison.sites)) < len(comparison.sites):
        raise ScenarioError(f"a site is named twice: {', '.join(comparison.sites)}")
    hours = {load_site(site).demand.period(comparison.hour).name for site in comparison.sites}
    for controller in comparison.controllers:
        parse_controller(controller)
    for detector in comparison.detectors:
        preset(detector)
    _check_names("form", comparison.forms, ("P", "R"))
    if len(hours) > 1:
        raise ScenarioError(f"hour {comparison.hour} means {' and '.join(sorted(hours))} at these sites")
    return replace(comparison, hour=hours.pop())


def _check_names(what: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ScenarioError(f"unknown {what} {name!r}; known: {', '.join(known)}")


def make_writable(folder: Path) -> None:
    """Make the folder and try to write in it.

    Raises
    ------
    ScenarioError : it cannot be made or written.
    """
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as fault:
        raise ScenarioError(
            f"cannot write to {folder} ({fault.strerror}); choose another folder with --out"
        ) from fault


def named_files(comparison: comparing.Comparison) -> list[Path]:
    """Return the files outside the packages that the comparison names: plans, policies."""
    words = [*comparison.sites, *(name.partition(":")[2] for name in comparison.controllers)]
    named = [Path(word) for word in words if word and Path(word).exists()]
    folders = [path if path.is_dir() else path.parent for path in named if path.suffix in {"", ".toml"}]
    beside = [file for folder in folders for file in folder.iterdir()]
    return sorted({file for file in (*named, *beside) if file.is_file()})


def run_with_progress(specs: Sequence[RunSpec], store: RunStore, *, workers: int, run: str) -> None:
    """Run what is not stored yet, with a progress bar on standard error.

    Raises
    ------
    KeyboardInterrupt : Ctrl-C; what is done is kept, and standard error says so.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("runs", total=len(specs))
            comparing.run_parallel(
                specs, store, workers=workers, run=run, on_done=lambda _: progress.advance(task)
            )
    except KeyboardInterrupt:
        done = sum(store.part(spec).exists() for spec in specs)
        click.echo(f"stopped: {done} of {len(specs)} runs are kept; repeat the command to go on", err=True)
        raise


def summarise_and_report(specs: Sequence[RunSpec], store: RunStore) -> list[Summary]:
    """Merge the parts, write the report beside them and return the summaries."""
    from bitgoeul.training.report import ReportInput, write_report

    paths = store.merge(specs)
    rows, events = pl.read_parquet(paths["rows"]), pl.read_parquet(paths["events"])
    summaries = summarise(rows)
    strips = {
        (spec.site, spec.controller): strip
        for spec in sorted(specs, key=lambda spec: (spec.extension_max_s is None, spec.form == "P"))
        if (strip := store.strip(spec)) is not None
    }
    write_report(
        ReportInput(
            summaries=tuple(summaries),
            rows=rows,
            events=events,
            strips=strips,
            command=shlex.join(["bitgoeul", *sys.argv[1:]]),
            code_version=store.version,
        ),
        store.folder / "report.html",
    )
    return summaries


def print_tables(summaries: Sequence[Summary]) -> None:
    """Print one table per site, detector, hour, form and maximum."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    titles = dict.fromkeys(_title(summary) for summary in summaries)
    for title in titles:
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("controller", no_wrap=True)
        for measure in (MEASURE[name] for name in TABLE_MEASURES):
            unit = measure.unit.removesuffix(" crossings")
            table.add_column(
                f"{measure.short or measure.label}\n[dim]{unit}[/dim]", justify="right", overflow="fold"
            )
        for summary in summaries:
            if _title(summary) == title:
                cells = [_cell(summary.measures[name], MEASURE[name].digits) for name in TABLE_MEASURES]
                table.add_row(summary.controller, *cells)
        console.print(table)
    console.print(
        "Mean over seeds, below it the 95 % interval. Residual: still on the crossing when a conflicting "
        "green starts, per 10,000 crossings of the group; legal: started on walk."
    )


def _title(summary: Summary) -> str:
    condition, seeds = summary.condition, summary.seeds
    maximum = condition["extension_max_s"]
    limit = "plan's maximum" if maximum is None else f"maximum {maximum:g} s"
    return (
        f"{condition['site']}, {condition['hour']}, {len(seeds)} seeds from {min(seeds)}, "
        f"detector {condition['detector']}, form {condition['form']}, {limit}"
    )


def _cell(interval: Interval, digits: int) -> str:
    """Return the mean and, in a second line, the interval."""
    ends = format_ends(interval, digits).replace(" to ", "\N{EN DASH}")  # no measure here is below zero
    return f"{format_mean(interval, digits)}\n[dim]{ends}[/dim]"

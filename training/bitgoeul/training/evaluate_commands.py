"""The commands `bitgoeul evaluate need` and `bitgoeul evaluate walkers`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.files import write_text

from .evaluate_walkers import walkers


@click.group()
def evaluate() -> None:
    """Hold the parts of the model against what they should be: the need estimate, the walkers."""


@evaluate.command(epilog="Example: bitgoeul evaluate need --minutes 60 --out out/need")
@click.option(
    "--minutes",
    default=60,
    show_default=True,
    type=click.IntRange(min=2, max=1_440),
    help="Measured time of each run.",
)
@click.option(
    "--seed", default=10_800, show_default=True, type=click.IntRange(min=0), help="Of the first run."
)
@click.option(
    "--calibration",
    "on_calibration",
    is_flag=True,
    help="On the runs that the figures were chosen on, instead.",
)
@click.option(
    "--out", default=Path("out/need"), show_default=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder for need.html, need.json and the rows as Parquet.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: all processors]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def need(
    *, minutes: int, seed: int, on_calibration: bool, out: Path, jobs: int | None, as_json: bool
) -> None:
    """Ask of walkers whose truth is known: was the stated need met?

    Walkers cross proving grounds of several lengths, in several class mixes, seen through several emulated
    detectors. None of these, and no seed, was used to choose the estimate's figures.
    """
    from bitgoeul.sim_scenarios.simulation import LARGEST_SEED

    from . import evaluate_need as evaluating
    from .compare import default_workers
    from .compare_commands import make_writable
    from .need_report import page, summary, tables
    from .store import write_parquet

    choose = evaluating.calibration if on_calibration else evaluating.held_out
    trials = choose(minutes=minutes, seed=seed)
    if trials[-1].seed > LARGEST_SEED:
        raise ValueError(f"--seed {seed}: {len(trials)} seeds from there must lie below {LARGEST_SEED + 1}")
    make_writable(out)
    with _progress("runs") as progress:
        task = progress.add_task("", total=len(trials))
        people, crossings = evaluating.run_trials(
            trials, workers=jobs or default_workers(), on_done=lambda: progress.advance(task)
        )
    if people.is_empty():
        raise ScenarioError(f"--minutes {minutes}: nobody crossed in the runs; give more")
    figures = summary(people, crossings)
    command = shlex.join(["bitgoeul", *sys.argv[1:]])
    write_parquet(out / "people.parquet", people)
    write_parquet(out / "crossings.parquet", crossings)
    write_text(out / "need.json", json.dumps(figures, indent=1))
    write_text(out / "need.html", page(figures, command=command, trials=len(trials)))
    if as_json:
        click.echo(json.dumps(figures))
        return
    console = Console()
    for each in tables(figures):
        table = Table(title=each.caption, title_justify="left", box=box.SIMPLE_HEAD)
        for place, head in enumerate(each.heads):
            table.add_column(head, justify="right" if place else "left")
        for row in each.rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"report: {out / 'need.html'}")


evaluate.add_command(walkers)


def _progress(title: str) -> Progress:
    return Progress(
        TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip

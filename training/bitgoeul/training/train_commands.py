"""The command `bitgoeul train`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bitgoeul.controller.errors import ScenarioError

from .recipe import SHIPPED, check_recipe, parse_recipe, read_recipe

if TYPE_CHECKING:
    from .train import Outcome, Progress, Training

EXAMPLES: Final = """\b
Examples:
  bitgoeul train --out out/train
  bitgoeul train --recipe my_recipe.toml --out out/mine --timesteps 5000
  bitgoeul train --out out/mine --resume
  bitgoeul compare bukmun_5 --controllers actuated+guard,learned --seeds 8

Interrupted? --resume goes on from the last complete update.
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--recipe", "recipe_name", metavar="FILE", help=f"Recipe file or shipped name.  [default: {SHIPPED}]"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/train"),
    show_default=True,
    help="Folder of checkpoints, log and policy.",
)
@click.option(
    "--timesteps", type=click.IntRange(min=1), help="Decisions to learn from.  [default: the recipe's]"
)
@click.option("--resume", is_flag=True, help="Go on from the folder's last checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def train(recipe_name: str | None, out: Path, timesteps: int | None, resume: bool, as_json: bool) -> None:
    """Learn a policy from a recipe, starting from max-pressure.

    Keeps a checkpoint after every update, validates some of them and the start on days of their own, and
    exports the one with the least delay of all persons as policy.onnx.
    """
    training = prepare(recipe_name, out, timesteps, is_resumed=resume)
    from .train import train as learn

    with shown_progress(training) as progress:
        try:
            outcome = learn(training, is_resumed=resume, progress=progress)
        except KeyboardInterrupt:
            click.echo(stopped_message(out), err=True)
            raise
    if as_json:
        click.echo(json.dumps(outcome_json(outcome)))
    else:
        print_outcome(outcome)


def prepare(recipe_name: str | None, out: Path, timesteps: int | None, *, is_resumed: bool) -> Training:
    """Return the training that the options ask for, everything checked that can be before it starts.

    Raises
    ------
    ScenarioError : an unusable recipe or folder, a training that is there already, or none to resume.
    """
    from .compare_commands import make_writable
    from .train import LATEST, Training

    latest = out / LATEST
    if is_resumed:
        text, planned = _resumed(recipe_name, latest)
        recipe = parse_recipe(text, str(latest))
    elif latest.exists():
        raise ScenarioError(f"{out} holds a training already; go on with --resume, or choose another --out")
    else:
        recipe, text = read_recipe(recipe_name or SHIPPED)
        planned = recipe.total_timesteps
    check_recipe(recipe)
    make_writable(out)
    return Training(recipe=recipe, recipe_text=text, folder=out, total_timesteps=timesteps or planned)


def _resumed(recipe_name: str | None, latest: Path) -> tuple[str, int]:
    """Return the recipe text and planned decisions of a checkpoint.

    Raises
    ------
    ScenarioError : no checkpoint, or another recipe was asked for.
    """
    from .checkpoint import load_checkpoint

    checkpoint = load_checkpoint(latest)
    if recipe_name is not None and read_recipe(recipe_name)[1] != checkpoint.recipe_text:
        raise ScenarioError(f"{latest} was made by another recipe than {recipe_name}; leave --recipe out")
    return checkpoint.recipe_text, checkpoint.total_timesteps


def stopped_message(out: Path) -> str:
    """Return what an interrupted training leaves."""
    from .checkpoint import load_checkpoint
    from .train import LATEST

    if not (out / LATEST).exists():
        return "stopped before the first checkpoint: nothing is kept"
    kept = load_checkpoint(out / LATEST)
    return (
        f"stopped: {kept.timesteps} of {kept.total_timesteps} decisions are kept in {out / LATEST}; "
        "the same command with --resume goes on"
    )


class _BarProgress:
    """Moves a progress bar."""

    def __init__(self, bar: Bar, total: int) -> None:
        self._bar, self._task = bar, bar.add_task("starting", total=total)

    def advance(self, timesteps: int, doing: str) -> None:
        """Show the decisions so far and what is being done."""
        self._bar.update(self._task, completed=timesteps, description=doing)


@contextmanager
def shown_progress(training: Training) -> Iterator[Progress]:
    """Show a progress bar with the time left on standard error."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("decisions"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        yield _BarProgress(bar, training.total_timesteps)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return the result as `train --json` prints it."""
    return {
        "policy": str(outcome.policy),
        "timesteps": outcome.timesteps,
        "wall_s": round(outcome.wall_s, 1),
        "start": outcome.start,
        "chosen": outcome.chosen,
        "beside": outcome.beside,
    }


def print_outcome(outcome: Outcome) -> None:
    """Print the chosen checkpoint beside the start and other controllers."""
    from .train import CRITERION

    lines = {"start (max_pressure+guard)": outcome.start[CRITERION], **outcome.beside}
    lines[f"chosen, after {outcome.chosen['timesteps']} decisions"] = outcome.chosen[CRITERION]
    click.echo("delay of all persons on the validation days [person-h/h]")
    for name, value in lines.items():
        click.echo(f"  {name:<36}{value:8.2f}")
    click.echo(f"{outcome.timesteps} decisions in {outcome.wall_s / 60:.1f} min; policy: {outcome.policy}")

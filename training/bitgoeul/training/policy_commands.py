"""The commands `bitgoeul policy export`, `show` and `evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from bitgoeul.controller.errors import ScenarioError

from . import compare as comparing
from .compare_commands import RUN, SEED_BASE, Keeping, NameList, carry_out, check_comparison, named_files

PARSED: Final = ("validations", "beside", "start_weights", "versions")
"""Metadata that is JSON in itself."""
CRITERION: Final = "person_hours_per_h"
"""Measure in the validation records. [person-h/h]"""


@click.group()
def policy() -> None:
    """Export a trained policy, show where one came from, or run it on days of one's choice."""


@policy.command(
    name="export",
    short_help="Write the scorer in CHECKPOINT as an ONNX file.",
    epilog="Example: bitgoeul policy export out/train/best.pt --out mine.onnx",
)
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="ONNX file.  [default: beside the checkpoint, .onnx]",
)
def export(checkpoint: Path, out: Path | None) -> None:
    """Write the scorer in CHECKPOINT as an ONNX file that `learned` runs."""
    from .checkpoint import load_checkpoint
    from .export import export_policy

    loaded = load_checkpoint(checkpoint)
    target = out or checkpoint.with_suffix(".onnx")
    if not target.parent.is_dir():
        raise ScenarioError(f"{target.parent}: no such folder; make it, or choose another --out")
    about = export_policy(loaded, target)
    click.echo(f"{target}: {target.stat().st_size / 1000:.1f} kB, weights {about['weights_sha256'][:16]}")


@policy.command(
    name="show",
    short_help="Show what a policy FILE was made for and by.",
    epilog="Example: bitgoeul policy show out/train/policy.onnx --json",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what a policy FILE was made for and by: features, recipe, seeds, versions, weights."""
    about = read_about(file)
    if as_json:
        click.echo(json.dumps(about))
        return
    for name in ("recipe_name", "seed", "training_seeds", "validation_seeds", "timesteps", "weights_sha256"):
        click.echo(f"{name.replace('_', ' '):<18}{about.get(name, '-')}")
    click.echo(f"{'size':<18}{about['bytes'] / 1000:.1f} kB")
    click.echo(f"{'code version':<18}{about.get('code_version', '-')}")
    for library, version in about.get("versions", {}).items():
        click.echo(f"{library:<18}{version}")
    _echo_validations(about)
    click.echo("\nfeatures (name/scale)\n  " + about.get("features", "-"))
    click.echo("\nstarted from the weights\n  " + _pairs(about.get("start_weights", {})))
    click.echo("\nrecipe\n" + "\n".join(f"  {line}" for line in about.get("recipe", "-").splitlines()))


@policy.command(
    name="evaluate",
    short_help="Run a policy FILE behind the guard at each SITE.",
    epilog="Example: bitgoeul policy evaluate out/train/policy.onnx bukmun_5 --beside fixed,eta --seeds 8",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("sites", metavar="SITE...", nargs=-1, required=True)
@click.option("--beside", type=NameList(), default=(), help="Controllers run on the same days (ONNX only).")
@click.option(
    "--seeds", type=click.IntRange(min=1, max=10_000), default=8, show_default=True, help="Number of days."
)
@click.option(
    "--seed-base", type=click.IntRange(min=0), default=SEED_BASE, show_default=True, help="First seed."
)
@click.option("--hour", default="peak", show_default=True, help="peak, offpeak, night or an hour 0 to 23.")
@click.option(
    "--minutes", type=click.IntRange(min=1), default=60, show_default=True, help="Measured time of a run."
)
@click.option("--detector", default="camera_day", show_default=True, help="How well walkers are seen.")
@click.option(
    "--delta-time", "delta_time_s", type=float, help="Of a .zip: seconds a step.  [default: decision events]"
)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at once.  [default: all processors]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/evaluate"),
    show_default=True,
    help="Folder of results; runs that are there already are not done again.",
)
def evaluate(
    file: Path,
    sites: tuple[str, ...],
    beside: tuple[str, ...],
    seeds: int,
    seed_base: int,
    hour: str,
    minutes: int,
    detector: str,
    delta_time_s: float | None,
    jobs: int | None,
    as_json: bool,
    out: Path,
) -> None:
    """Run a policy FILE behind the guard at each SITE, and show what it costs and saves.

    FILE is an ONNX file of `train` or `policy export`, or a .zip that stable-baselines3 saved (only your
    own: loading runs what it says). The runs, their store and the report are those of `compare`.
    """
    comparison = comparing.Comparison(
        sites=sites,
        controllers=(*beside, "learned"),
        seeds=tuple(range(seed_base, seed_base + seeds)),
        detectors=(detector,),
        hour=hour,
        minutes=minutes,
    )
    named, run = check_policy(file, beside, delta_time_s)
    comparison = check_comparison(comparison)
    specs = [
        replace(spec, policy_file=named) if spec.controller == "learned" else spec
        for spec in comparison.specs(never_extends=comparing.never_extends)
    ]
    files = (*named_files(comparison), file)
    keeping = Keeping(folder=out, files=files, is_fresh=False, run=run)
    carry_out(specs, keeping, jobs=jobs, as_json=as_json)


def check_policy(file: Path, beside: tuple[str, ...], delta_time_s: float | None) -> tuple[str, str]:
    """Return how runs name a policy file, and the function that runs it.

    Raises
    ------
    PolicyFileError, ScenarioError : the file cannot be run.
    ValueError : an option that does not go with this kind of file.
    """
    if file.suffix != ".zip":
        if delta_time_s is not None:
            raise ValueError(
                "--delta-time goes with a .zip of stable-baselines3; ONNX policies decide on events"
            )
        read_about(file)
        return str(file), RUN
    if beside:
        raise ValueError("--beside does not go with a .zip; run `bitgoeul compare` on the same seeds")
    from . import saved

    saved.load_saved(file)
    return saved.with_step(file, delta_time_s), saved.RUN


def read_about(file: Path) -> dict[str, Any]:
    """Return a policy file's metadata, and its size in bytes.

    Raises
    ------
    PolicyFileError : not a policy file that this version can run.
    """
    from bitgoeul.controller.policies.scorers import OnnxChooser

    about: dict[str, Any] = dict(OnnxChooser(file).metadata)
    for name in PARSED:
        if name in about:
            about[name] = json.loads(about[name])
    about["bytes"] = file.stat().st_size
    return about


def _echo_validations(about: dict[str, Any]) -> None:
    """Print the delay of each validated checkpoint and of the controllers beside them."""
    click.echo("\ndelay of all persons on the validation days [person-h/h]")
    for record in about.get("validations", []):
        mark = "  chosen" if str(record["timesteps"]) == about.get("timesteps") else ""
        click.echo(f"  after {record['timesteps']:>7} decisions {record[CRITERION]:8.2f}{mark}")
    for controller, delay in about.get("beside", {}).items():
        click.echo(f"  {controller:<24}{delay:8.2f}")


def _pairs(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in weights.items())

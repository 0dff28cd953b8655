"""The commands `bitgoeul policy export` and `bitgoeul policy show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from bitgoeul.controller.errors import ScenarioError

PARSED: Final = ("validations", "beside", "start_weights", "versions")
"""Metadata that is JSON in itself."""
CRITERION: Final = "person_hours_per_h"
"""Measure in the validation records. [person-h/h]"""


@click.group()
def policy() -> None:
    """Export a trained policy, or show where one came from."""


@policy.command(name="export", epilog="Example: bitgoeul policy export out/train/best.pt --out mine.onnx")
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


@policy.command(name="show", epilog="Example: bitgoeul policy show out/train/policy.onnx --json")
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

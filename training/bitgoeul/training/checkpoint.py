"""Checkpoints: one file with everything that a training needs to go on, or an export to start from."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.files import whole_file

FORMAT = 1
"""Version of the file's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training at the end of an update.

    Parameters
    ----------
    recipe_text : the recipe, as read.
    timesteps : decisions learned from.
    total_timesteps : decisions planned.
    updates : updates made.
    wall_s : time spent so far. [s]
    policy, optimizer : weights and the optimiser's state.
    updates_log : one record per update.
    validations : one record per validated checkpoint, the start first.
    beside : mean delay of the controllers run on the same days, by name. [person-h/h]
    start_weights : weight by choice feature that the scorer started from.
    code_version : hash of the code that simulated.
    versions : of the libraries, by name.
    context_features, choice_features : what the scorer reads, by name; None is all that this version has.
    """

    recipe_text: str
    timesteps: int
    total_timesteps: int
    updates: int
    wall_s: float
    policy: dict[str, Any]
    optimizer: dict[str, Any]
    updates_log: list[dict[str, Any]]
    validations: list[dict[str, Any]]
    beside: dict[str, float]
    start_weights: dict[str, float]
    code_version: str
    versions: dict[str, str]
    context_features: list[str] | None = None
    choice_features: list[str] | None = None


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint under a temporary name and rename it into place.

    Raises
    ------
    ScenarioError : the folder cannot be written to.
    """
    import torch

    content = io.BytesIO()
    kept = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    torch.save({"format": FORMAT, **kept}, content)
    write_bytes(path, content.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint; code in the file is never run.

    Raises
    ------
    ScenarioError : the file is missing or is no checkpoint of this version.
    """
    import torch

    if not path.is_file():
        raise ScenarioError(f"{path}: no such checkpoint; `bitgoeul train` writes checkpoint.pt and best.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content.pop("format")
        checkpoint = Checkpoint(**content) if found == FORMAT else None
    except Exception as fault:  # torch raises many kinds for a file that is not its own
        raise ScenarioError(f"{path}: not a checkpoint of `bitgoeul train`") from fault
    if checkpoint is None:
        raise ScenarioError(f"{path}: checkpoint format {found}; this version reads {FORMAT}")
    return checkpoint


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it into place.

    Raises
    ------
    ScenarioError : the folder cannot be written to.
    """
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be written ({fault.strerror})") from fault

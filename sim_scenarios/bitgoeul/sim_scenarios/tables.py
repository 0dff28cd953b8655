"""What the tables of a site share: strict models, kinds of numbers, and reading them from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitgoeul.controller.errors import ScenarioError

SHARE_TOLERANCE = 1e-6
"""How far shares that must sum to 1 may be off, for decimals in a file."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PerHour = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]


class Strict(BaseModel):
    """A row or file that must have its fields and no others, and that nobody changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TruncatedNormal(Strict):
    """A normal distribution cut off at both ends of `clip` (conditioned, not clamped)."""

    mean: Positive
    sd: Positive
    clip: tuple[Positive, Positive]

    @model_validator(mode="after")
    def _clip_holds_the_mean(self) -> Self:
        if not self.clip[0] < self.mean < self.clip[1]:
            raise ValueError(f"mean {self.mean} must lie inside clip {list(self.clip)}")
        return self


def check_shares(what: str, shares: Mapping[str, float], known: Collection[str]) -> None:
    """Check that shares have known names and sum to 1.

    Raises
    ------
    ValueError : they do not; `what` stands in the message.
    """
    unknown = sorted(set(shares) - set(known))
    if unknown:
        raise ValueError(f"{what} has {unknown}; known are {', '.join(known)}")
    if abs(sum(shares.values()) - 1.0) > SHARE_TOLERANCE:
        raise ValueError(f"the shares of {what} sum to {sum(shares.values()):g}; they must sum to 1")


Table = TypeVar("Table", bound=BaseModel)


def read_table(path: Path, model: type[Table]) -> Table:
    """Read a TOML file into a strict model.

    Parameters
    ----------
    path : the file.
    model : what it must look like.

    Raises
    ------
    ScenarioError : the file is missing, is no TOML or has faults; all are named with their place.
    """
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    try:
        return model.model_validate(document)
    except ValidationError as fault:
        faults = fault.errors(include_url=False)
        lines = "".join(
            f"\n  {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg'].removeprefix('Value error, ')}"
            for each in faults
        )
        raise ScenarioError(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}{lines}") from None

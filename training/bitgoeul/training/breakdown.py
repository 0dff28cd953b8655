"""Who is left, exposed and kept waiting: the walkers of all runs by class, entry, length and crossing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from bitgoeul.envs.result import PET_CRITICAL_S, PET_SERIOUS_S
from bitgoeul.training.intervals import NO_VALUE

GROUPINGS: Final[Mapping[str, str]] = {
    "mobility_class": "mobility class",
    "entry": "entry",
    "length_m": "length of the crossing",
    "crossing": "crossing",
}
"""Column of the events and words."""
PER: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One column of a breakdown.

    Parameters
    ----------
    name : of the column.
    label, unit : words for a table head.
    digits : decimals worth printing.
    value : how it comes from the walkers of a group.
    """

    name: str
    label: str
    unit: str
    digits: int
    value: pl.Expr


def _is_within(kind: str, limit_s: float) -> pl.Expr:
    """Return for how many walkers the shortest PET of a kind, in either order, was at most a limit."""
    shortest = pl.min_horizontal(f"{kind}_s", f"{kind}_ahead_s")
    return (shortest <= limit_s).fill_null(value=False).sum()


_HAS_CROSSED: Final = pl.col("entered_s").is_not_null()
_IS_RESIDUAL: Final = pl.col("is_residual")
FIGURES: Final = (
    Figure(name="crossings_n", label="crossings", unit="", digits=0, value=_HAS_CROSSED.sum()),
    Figure(
        name="residual_per_10k",
        label="residual",
        unit="per 10,000",
        digits=0,
        value=PER * _IS_RESIDUAL.sum() / _HAS_CROSSED.sum(),
    ),
    Figure(
        name="residual_m_mean",
        label="still to walk",
        unit="m",
        digits=1,
        value=pl.col("residual_m").mean(),
    ),
    Figure(
        name="unserved_need_mean_s",
        label="unserved need",
        unit="s, of a residual",
        digits=1,
        value=pl.col("unserved_need_s").filter(_IS_RESIDUAL).mean(),
    ),
    Figure(
        name="exposure_yield_s",
        label="exposure to turns",
        unit="s a crossing",
        digits=1,
        value=pl.col("exposure_yield_s").filter(_HAS_CROSSED).mean(),
    ),
    Figure(
        name="pet_serious_n",
        label="PET at most 3 s",
        unit="walkers",
        digits=0,
        value=_is_within("pet", PET_SERIOUS_S),
    ),
    Figure(
        name="pet_turn_critical_n",
        label="turns, PET at most 1 s",
        unit="walkers",
        digits=0,
        value=_is_within("pet_turn", PET_CRITICAL_S),
    ),
    Figure(name="wait_s", label="wait, mean", unit="s", digits=1, value=pl.col("wait_s").mean()),
    Figure(
        name="wait_p95_s",
        label="wait, p95",
        unit="s",
        digits=1,
        value=pl.col("wait_s").quantile(0.95, "linear"),
    ),
    Figure(name="wait_max_s", label="wait, longest", unit="s", digits=1, value=pl.col("wait_s").max()),
)


def breakdown(events: pl.DataFrame, grouping: str) -> pl.DataFrame:
    """Return one row per group of walkers, all runs together.

    Parameters
    ----------
    events : one row per walker and run.
    grouping : a name of `GROUPINGS`; walkers without a value of it (no entry yet) are left out.

    Returns
    -------
    The group first, then the columns of `FIGURES`, None where nobody gives a value; sorted by group.
    """
    known = events.filter(pl.col(grouping).is_not_null())
    figures = [figure.value.alias(figure.name) for figure in FIGURES]
    groups = known.group_by(grouping).agg(figures).sort(grouping)
    return groups.with_columns(pl.col(pl.Float64).fill_nan(None))


def breakdown_table(events: Mapping[str, pl.DataFrame], grouping: str) -> dict[str, Any]:
    """Return a breakdown as the report's table, groups together and controllers below each other.

    Parameters
    ----------
    events : by controller.
    grouping : a name of `GROUPINGS`.
    """
    parts = {name: breakdown(frame, grouping).rows() for name, frame in events.items()}
    groups = sorted({row[0] for rows in parts.values() for row in rows})
    rows = [
        {"name": f"{_word(group)}, {name}", "cells": _cells(row[1:])}
        for group in groups
        for name, own in parts.items()
        for row in own
        if row[0] == group
    ]
    caption = f"By {GROUPINGS[grouping]}, all seeds together"
    return {
        "caption": caption,
        "heads": [{"label": figure.label, "unit": figure.unit} for figure in FIGURES],
        "rows": rows,
    }


def _cells(values: Sequence[float | None]) -> list[dict[str, str]]:
    return [
        {"mean": NO_VALUE if value is None else f"{value:,.{figure.digits}f}", "range": ""}
        for figure, value in zip(FIGURES, values, strict=True)
    ]


def _word(group: object) -> str:
    return f"{group:g} m" if isinstance(group, float) else str(group).replace("_", " ")

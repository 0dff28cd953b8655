"""The result row of one run: sums, means and rates over its walkers, vehicles and extensions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from bitgoeul.controller.detection import MOBILITY_CLASSES

from .extension_use import NO_EXTENSIONS, ExtensionUse
from .queues import NO_QUEUES, QueueMeasures
from .tripinfo import OCCUPANCY, WARNINGS, RunHealth, VehicleMeasures, run_health, vehicle_measures
from .walkers import UNKNOWN_CLASS

__all__ = [
    "ENTRIES",
    "OCCUPANCY",
    "RunHealth",
    "VehicleMeasures",
    "delay_on_crossing_s",
    "jain_index",
    "mark_jammed",
    "run_health",
    "summarise",
    "vehicle_measures",
]

Row = dict[str, Any]
ENTRIES: tuple[str, ...] = ("walk_first", "walk_second", "clearance", "red")
"""By the lamp at entry: first and second half of walk (legal), clearance (flash), red."""
LEGAL = frozenset({"walk_first", "walk_second"})
PET_CRITICAL_S = 1.0
"""[M] FACTS, surrogate safety."""
PET_SERIOUS_S = 3.0
"""[M] FACTS, surrogate safety."""
EQUITY_MIN_N = 20
"""A class with fewer crossings in a run says too little to be compared with others. [A]"""
PER = 1e4
"""Crossings that a rate is given for."""
P95 = 95


def summarise(  # noqa: PLR0913 - the parts of a run's result, by keyword
    *,
    rows: Iterable[Row],
    vehicles: VehicleMeasures,
    health: RunHealth,
    duration_s: float,
    extensions: ExtensionUse = NO_EXTENSIONS,
    queues: QueueMeasures = NO_QUEUES,
) -> dict[str, float]:
    """Return the result row of one run from its crossing rows, its vehicles and its health.

    Parameters
    ----------
    rows : of `Measures.event_rows`.
    vehicles : of `vehicle_measures` over the same time.
    health : of `run_health`.
    duration_s : length of the measured time, > 0. [s]
    extensions : `Measures.extension_use`.
    queues : of `Measures.queues.result()`.

    Returns
    -------
    Plain numbers; docs/measures.md defines every column. Rates are per 10,000 crossings *of their own
    group*: all, legal starters (entered on walk), legal starters within the maximum. A rate or mean over
    nobody is NaN. Waits count those still waiting with their wait so far.
    """
    rows = list(rows)
    crossed = [row for row in rows if row["entered_s"] is not None and _is_crossing(row)]
    person_delay_s = sum(row["delay_s"] for row in rows) + vehicles.person_delay_s
    persons_n = len(rows) + vehicles.occupants_n
    return {
        "crossings_n": len(crossed),
        "unserved_walkers_n": len(rows) - len(crossed),
        **_residuals(crossed),
        **_grouped(crossed),
        **_need(crossed, duration_s),
        **_surrogates(crossed),
        **_equity(crossed),
        **_waits(rows),
        "person_delay_s": person_delay_s / persons_n if persons_n else nan,
        "person_hours_per_h": person_delay_s / duration_s,
        "persons_n": persons_n,
        "vehicle_delay_s": vehicles.delay_s,
        "vehicles_n": vehicles.vehicles_n,
        "vehicles_unserved_n": vehicles.unserved_n,
        "vehicles_unfinished_n": vehicles.unfinished_n,
        "stops_per_vehicle": vehicles.stops_per_vehicle,
        "queue_mean_n": queues.mean_n,
        "queue_p95_n": queues.p95_n,
        "queue_max_n": queues.max_n,
        "spillback_share": queues.spillback_share,
        "extension_used_s_per_h": 3600 * extensions.used_s / duration_s,
        "extension_wasted_s_per_h": 3600 * extensions.wasted_s / duration_s,
        "extension_refused_s_per_h": 3600 * extensions.refused_s / duration_s,
        "jammed_crossings_n": sum(row["is_jammed"] for row in rows),
        "jammed_n": health.jammed_n,
        "teleports_n": health.teleports_n,
        "warnings_n": health.warnings_n,
        **{f"warnings_{kind}_n": health.warnings_of.get(kind, 0) for kind in (*WARNINGS, "other")},
    }


def mark_jammed(rows: Iterable[Row], jams: Collection[tuple[str, str]], edges: Mapping[str, str]) -> None:
    """Mark the rows of those whom SUMO let squeeze through on their crossing.

    Parameters
    ----------
    rows : of `Measures.event_rows`; their `is_jammed` is set.
    jams : `RunHealth.jams`.
    edges : SUMO's edge by crossing id.
    """
    for row in rows:
        row["is_jammed"] = (row["walker"], edges[row["crossing"]]) in jams


def _is_crossing(row: Row) -> bool:
    """Tell whether a row counts as a crossing: a jammed one shows nobody served; a residual one counts."""
    return not row["is_jammed"] or bool(row["is_residual"])


def _residuals(crossed: list[Row]) -> dict[str, float]:
    """Return residual walkers: all, legal, legal within the maximum."""
    legal = [row for row in crossed if row["entry"] in LEGAL]
    within = [row for row in legal if row["is_within_max"]]
    known = [row for row in legal if row["is_within_max"] is not None]
    return {
        "residual_n": sum(row["is_residual"] for row in crossed),
        "residual_per_10k": _per_10k(crossed),
        "residual_legal_per_10k": _per_10k(legal),
        "residual_within_max_per_10k": _per_10k(within),
        "beyond_max_share": 1 - len(within) / len(known) if known else nan,
    }


def _grouped(crossed: list[Row]) -> dict[str, float]:
    """Return crossings and residuals by class, length and entry, as flat columns."""
    counts: dict[str, float] = {}
    groups = (*MOBILITY_CLASSES, UNKNOWN_CLASS, *ENTRIES)
    for group in groups:
        counts[f"crossings_n_{group}"] = counts[f"residual_n_{group}"] = 0
    for row in crossed:
        for group in (row["mobility_class"], row["entry"], f"{row['length_m']:g}m"):
            for column, is_in in (
                (f"crossings_n_{group}", True),
                (f"residual_n_{group}", row["is_residual"]),
            ):
                counts[column] = counts.get(column, 0) + is_in
    return counts


def _need(crossed: list[Row], duration_s: float) -> dict[str, float]:
    """Return how far residual walkers had to go, how long, and what passed over their way."""
    residual = [row for row in crossed if row["is_residual"]]
    needs_s = [row["unserved_need_s"] for row in residual]
    return {
        "residual_m_mean": _mean([row["residual_m"] for row in residual]),
        "unserved_need_s_per_h": 3600 * sum(needs_s) / duration_s,
        "unserved_need_mean_s": _mean(needs_s),
        "exposure_s": sum(row["exposure_s"] for row in crossed),
        "exposure_lane_s": sum(row["exposure_lane_s"] for row in crossed),
        "exposure_yield_s": sum(row["exposure_yield_s"] for row in crossed),
    }


def _surrogates(crossed: list[Row]) -> dict[str, float]:
    """Return how many walkers a vehicle came close to in time; each walker once a kind."""
    counts: dict[str, float] = {}
    for kind in ("pet", "pet_turn"):
        shortest = [_least(row[f"{kind}_s"], row[f"{kind}_ahead_s"]) for row in crossed]
        counts[f"{kind}_critical_n"] = sum(pet_s <= PET_CRITICAL_S for pet_s in shortest)
        counts[f"{kind}_serious_n"] = sum(pet_s <= PET_SERIOUS_S for pet_s in shortest)
    return counts


def _least(first_s: float | None, second_s: float | None) -> float:
    return min(inf if first_s is None else first_s, inf if second_s is None else second_s)


def _equity(crossed: list[Row]) -> dict[str, float]:
    """Return how evenly the classes are served: the worst class and Jain's index of the served shares."""
    groups = [[row for row in crossed if row["mobility_class"] == name] for name in MOBILITY_CLASSES]
    rates = [_per_10k(group) for group in groups if len(group) >= EQUITY_MIN_N]
    return {
        "worst_class_residual_per_10k": max(rates, default=nan),
        "jain_served": jain_index([1 - rate / PER for rate in rates]),
    }


def jain_index(shares: Sequence[float]) -> float:
    """Return Jain's fairness index of what each group got: 1 if all got the same, 1/n if one got all.

    Parameters
    ----------
    shares : one per group, >= 0.

    Returns
    -------
    (sum x)^2 / (n sum x^2); NaN without groups or if nobody got anything.

    References
    ----------
    Jain, Chiu, Hawe 1984, DEC Research Report TR-301.

    Examples
    --------
    >>> jain_index([1.0, 1.0, 0.0, 0.0])
    0.5
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else nan


def _waits(rows: list[Row]) -> dict[str, float]:
    """Return mean, 95th percentile and longest wait of all walkers and of each crossing's."""
    groups = {"": [row["wait_s"] for row in rows]}
    for row in rows:
        groups.setdefault(f"_{row['crossing']}", []).append(row["wait_s"])
    figures: dict[str, float] = {}
    for suffix in sorted(groups):
        waits_s = groups[suffix]
        figures[f"ped_wait_s{suffix}"] = _mean(waits_s)
        figures[f"ped_wait_p95_s{suffix}"] = float(np.percentile(waits_s, P95)) if waits_s else nan
        figures[f"ped_wait_max_s{suffix}"] = max(waits_s, default=nan)
    return figures


def delay_on_crossing_s(row: Row) -> float:
    """Return what a finished crossing took beyond its length at the walker's own speed, >= 0. [s]"""
    return max(0.0, float(row["crossing_s"] - row["length_m"] / row["speed_mps"]))


def _per_10k(crossed: list[Row]) -> float:
    return PER * sum(row["is_residual"] for row in crossed) / len(crossed) if crossed else nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan

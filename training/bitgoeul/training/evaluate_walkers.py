"""`bitgoeul evaluate walkers`: what SUMO makes of the drawn walkers, against the table and two formulas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import click
import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.signals import Lamps, phase_mask
from bitgoeul.envs.world import STEP_DS
from bitgoeul.sim_scenarios.catalog import Site, load_site
from bitgoeul.sim_scenarios.demand import draw_trips
from bitgoeul.sim_scenarios.files import write_text
from bitgoeul.sim_scenarios.program import cycle_of_lamps
from bitgoeul.sim_scenarios.streams import truncated_normal
from bitgoeul.sim_scenarios.walker_tables import StartUp, WalkerClass, walker_classes
from bitgoeul.sim_scenarios.walker_trips import STEADY, WalkerTrip

from .store import write_parquet
from .walker_trials import (
    HOUR_S,
    Row,
    late_arrivals,
    rows_of,
    run_trial,
    walkers_only,
)

SEED_BASE: Final = 10_000
"""First seed: everyday use (DESIGN)."""
HOURS: Final = 4
"""Simulated time of one trial of a seed. [h]"""
LOW_VOLUME: Final = 0.5
"""Share of the peak's walkers with whom the formulas are compared. [A]"""
HCM_ENTRY_S: Final = 4.0
"""HCM: walkers still enter in the first 4 s of clearance. [s] [S] (FACTS: g = walk + 4 s)"""
SPEED_TOLERANCE: Final = 0.02
WAIT_TOLERANCE: Final = 0.05
LEAST_LEFT_S: Final = 1.0
"""Who is at the kerb with less of the window left may miss it by the length of a step. [s]"""
P15: Final = 0.15
Values = np.ndarray[Any, np.dtype[np.float64]]
INTERVAL_Z: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class: the table's figures and what SUMO realised.

    Parameters
    ----------
    walkers_n : walkers with a realised speed, alone on their crossing.
    speed_*_mps : mean, standard deviation and 15th percentile; `table` is of the truncated normal.
    speed_half_width_mps : half of the 95 % interval of the realised mean. [m/s]
    speed_worst : greatest relative deviation of a walker's realised from their drawn speed.
    startup_n : walkers with a realised start-up.
    startup_* : mean and 85th percentile; `drawn` those of the same walkers before SUMO. [s]
    late_n : walkers at the kerb in the first seconds of clearance.
    late_table, late_drawn, late_share : shares who enter then.
    late_wrong_n : who entered though they comply, or waited though they do not.
    """

    mobility_class: str
    walkers_n: int
    speed_table_mps: float
    speed_mps: float
    speed_half_width_mps: float
    speed_sd_table_mps: float
    speed_sd_mps: float
    speed_p15_table_mps: float
    speed_p15_mps: float
    speed_bias: float
    speed_worst: float
    startup_n: int
    startup_table_s: float
    startup_drawn_s: float
    startup_s: float
    startup_p85_table_s: float
    startup_p85_drawn_s: float
    startup_p85_s: float
    late_n: int
    late_table: float
    late_drawn: float
    late_share: float
    late_wrong_n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayCheck:
    """One formula on crossings of one timing.

    Parameters
    ----------
    formula : `KHCM` or `HCM`; `KHCM, start-up on` shows what the formula leaves out.
    crossings : ids.
    cycle_s, green_s : C and g of the formula. [s]
    formula_s, simulated_s : mean wait. [s]
    half_width_s : half of the simulated mean's 95 % interval. [s]
    walkers_n : walkers in it.
    deviation : simulated over formula, less 1.
    """

    formula: str
    crossings: str
    cycle_s: float
    green_s: float
    formula_s: float
    simulated_s: float
    half_width_s: float
    walkers_n: int
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkerEvaluation:
    """All figures of one site.

    Parameters
    ----------
    classes : one per mobility class.
    delays : one per formula and timing.
    persons : one row per walker and crossing of the trials by class.
    """

    site: str
    seeds: tuple[int, ...]
    classes: tuple[ClassFigures, ...]
    delays: tuple[DelayCheck, ...]
    persons: pl.DataFrame

    @property
    def faults(self) -> tuple[str, ...]:
        """Say where speeds miss 2 %, somebody breaks what they drew, or a formula misses 5 %."""
        speeds = [
            f"{each.mobility_class}: own speed {each.speed_bias:+.1%}, allowed {SPEED_TOLERANCE:.0%}"
            for each in self.classes
            if abs(each.speed_bias) > SPEED_TOLERANCE
        ]
        late = [
            f"{each.mobility_class}: {each.late_wrong_n} of {each.late_n} entered late against what they drew"
            for each in self.classes
            if each.late_wrong_n
        ]
        waits = [
            f"{each.formula} at {each.crossings}: wait {each.deviation:+.1%}, allowed {WAIT_TOLERANCE:.0%}"
            f" (95 % interval of the mean: ±{each.half_width_s / each.formula_s:.1%}; more seeds narrow it)"
            for each in self.delays
            if each.formula in FORMULAS and abs(each.deviation) > WAIT_TOLERANCE
        ]
        return (*speeds, *late, *waits)

    @property
    def passes(self) -> bool:
        """Tell whether there are no faults."""
        return not self.faults


def khcm_wait_s(cycle_s: float, green_s: float) -> float:
    """Return the mean wait by KHCM 2013 eq. 14-5, d = (C - g)^2 / 2C. [s]

    Examples
    --------
    >>> khcm_wait_s(160.0, 15.0)
    65.703125
    """
    return (cycle_s - green_s) ** 2 / (2 * cycle_s)


FORMULAS: Final = ("KHCM", "HCM")
"""Formulas whose premises are met; both are (C - g)^2 / 2C, HCM with g = walk + 4 s."""


def evaluate_walkers(
    site_name: str, *, seeds: tuple[int, ...], progress: Callable[[], None] | None = None
) -> WalkerEvaluation:
    """Run the trials of every seed on a site, without vehicles, under its fixed plan.

    Parameters
    ----------
    site_name : registered name or path.
    seeds : at least one.
    progress : called after each of the `4 * len(seeds)` trials.

    Raises
    ------
    ScenarioError, PlanError : the site cannot be run.
    """
    site = load_site(site_name)
    lamps = list(cycle_of_lamps(site.plan, step_ds=STEP_DS))
    persons: list[Row] = []
    waits: dict[str, list[Row]] = {}
    for seed in seeds:
        trips = late_arrivals(site, seed=seed, hours=HOURS, lamps=lamps)
        persons += rows_of(run_trial(site, trips, lamps, end_s=_end_s(lamps)), trips)
        if progress is not None:
            progress()
        for formula, changes in PREMISES.items():
            waits.setdefault(formula, []).extend(_low_volume(site, seed, lamps, changes))
            if progress is not None:
                progress()
    return WalkerEvaluation(
        site=site.name,
        seeds=seeds,
        classes=tuple(_class_figures(name, persons, site) for name in MOBILITY_CLASSES),
        delays=tuple(
            check for formula, rows in waits.items() for check in _checks(formula, rows, site, lamps)
        ),
        persons=pl.DataFrame(persons, infer_schema_length=None),
    )


PREMISES: Final[dict[str, dict[str, Any]]] = {
    "KHCM": {"startup_s": 0.0, "late_s": 0.0},
    "HCM": {"startup_s": 0.0, "late_s": HCM_ENTRY_S},
    "KHCM, start-up on": {"late_s": 0.0},
}
"""What is changed in the drawn walkers so that they do as the formula supposes; all walk steadily."""


def _end_s(lamps: list[Lamps]) -> int:
    """Return the end of a trial: its hours and three cycles more, for those who come last. [s]"""
    return HOURS * HOUR_S + 3 * len(lamps) * STEP_DS // 10


def _low_volume(site: Site, seed: int, lamps: list[Lamps], changes: dict[str, Any]) -> list[Row]:
    thinned = [
        each.model_copy(update={"persons_per_h": LOW_VOLUME * each.persons_per_h})
        for each in site.demand.crossings
    ]
    thin = replace(site, demand=site.demand.model_copy(update={"crossings": tuple(thinned)}))
    hour = site.demand.periods[0].name
    drawn = draw_trips(thin, seed=seed, hour=hour, duration_s=HOURS * HOUR_S).walkers
    walkers: list[WalkerTrip] = [trip._replace(gait=STEADY, **changes) for trip in drawn]
    trips = walkers_only(site, walkers, seed=seed, duration_s=HOURS * HOUR_S)
    return list(rows_of(run_trial(site, trips, lamps, end_s=_end_s(lamps)), trips))


def _class_figures(name: str, persons: list[Row], site: Site) -> ClassFigures:
    figures = walker_classes().walker_class(name)
    mine = [row for row in persons if row["mobility_class"] == name]
    is_acoustic = all(crossing.acoustic for crossing in site.plan.crossings)
    return ClassFigures(
        mobility_class=name,
        **_speed_figures(_table_speeds(figures), mine),
        **_startup_figures(figures.startup_at(is_acoustic=is_acoustic), mine),
        **_late_figures(figures.late.share, mine),
    )


def _speed_figures(table: Values, mine: list[Row]) -> dict[str, Any]:
    """Return the fields of `ClassFigures` on speed, from those alone on their crossing."""
    rows = [row for row in mine if row["speed_mps"] is not None and row["was_alone"]]
    realised = np.array([row["speed_mps"] for row in rows])
    ratios = realised / np.array([row["speed_drawn_mps"] for row in rows]) - 1
    sd_mps = float(realised.std(ddof=1))
    return {
        "walkers_n": len(rows),
        "speed_table_mps": float(table.mean()),
        "speed_mps": float(realised.mean()),
        "speed_half_width_mps": INTERVAL_Z * sd_mps / math.sqrt(len(rows)),
        "speed_sd_table_mps": float(table.std()),
        "speed_sd_mps": sd_mps,
        "speed_p15_table_mps": float(np.quantile(table, P15)),
        "speed_p15_mps": float(np.quantile(realised, P15)),
        "speed_bias": float(ratios.mean()),
        "speed_worst": float(np.abs(ratios).max()),
    }


def _startup_figures(table: StartUp, mine: list[Row]) -> dict[str, Any]:
    """Return the fields of `ClassFigures` on start-up, from those who stood at the onset of walk."""
    rows = [row for row in mine if row["startup_s"] is not None]
    drawn_s, seen_s = ([row[column] for row in rows] for column in ("startup_drawn_s", "startup_s"))
    return {
        "startup_n": len(rows),
        "startup_table_s": table.mean_s,
        "startup_drawn_s": fmean(drawn_s),
        "startup_s": fmean(seen_s),
        "startup_p85_table_s": table.p85_s,
        "startup_p85_drawn_s": float(np.quantile(drawn_s, 1 - P15)),
        "startup_p85_s": float(np.quantile(seen_s, 1 - P15)),
    }


def _late_figures(share: float, mine: list[Row]) -> dict[str, Any]:
    """Return the fields of `ClassFigures` on compliance, from those at the kerb within the late window."""
    window_s = walker_classes().late_window_s - LEAST_LEFT_S
    rows = [row for row in mine if 0 <= row["kerb_after_clearance_s"] <= window_s and row["entry"]]
    has_entered = [row["entry"] == "clearance" for row in rows]
    return {
        "late_n": len(rows),
        "late_table": share,
        "late_drawn": fmean(row["is_late_drawn"] for row in rows),
        "late_share": fmean(has_entered),
        "late_wrong_n": sum(
            row["is_late_drawn"] != entered for row, entered in zip(rows, has_entered, strict=True)
        ),
    }


def _table_speeds(figures: WalkerClass) -> Values:
    """Return the class's speed distribution as 1,000 equally likely values a part. [m/s]"""
    draws = (np.arange(1000) + 0.5) / 1000
    return np.array([truncated_normal(part, draw) for part in figures.speed.parts for draw in draws])


def _checks(formula: str, rows: list[Row], site: Site, lamps: list[Lamps]) -> list[DelayCheck]:
    """Return one check per walk time, over the crossings that share it."""
    green_s = {
        crossing.id: sum(bool(each.walk & phase_mask(site.plan.walk_phases(crossing.id))) for each in lamps)
        * STEP_DS
        / 10
        for crossing in site.plan.crossings
    }
    cycle_s = len(lamps) * STEP_DS / 10
    checks = []
    for walk_s in sorted(set(green_s.values())):
        ids = [crossing for crossing, seconds in green_s.items() if seconds == walk_s]
        waits = [row["wait_s"] for row in rows if row["crossing"] in ids and row["wait_s"] is not None]
        g_s = walk_s + (HCM_ENTRY_S if formula == "HCM" else 0.0)
        formula_s, simulated_s = khcm_wait_s(cycle_s, g_s), fmean(waits)
        checks.append(
            DelayCheck(
                formula=formula,
                crossings=" ".join(ids),
                cycle_s=cycle_s,
                green_s=g_s,
                formula_s=formula_s,
                simulated_s=simulated_s,
                half_width_s=INTERVAL_Z * stdev(waits) / math.sqrt(len(waits)),
                walkers_n=len(waits),
                deviation=simulated_s / formula_s - 1,
            )
        )
    return checks


def document(evaluation: WalkerEvaluation) -> dict[str, Any]:
    """Return an evaluation as plain JSON values, without the rows of persons."""
    return {
        "site": evaluation.site,
        "seeds": list(evaluation.seeds),
        "passes": evaluation.passes,
        "faults": list(evaluation.faults),
        "classes": [asdict(each) for each in evaluation.classes],
        "delays": [asdict(each) for each in evaluation.delays],
    }


def write_evaluation(evaluation: WalkerEvaluation, folder: Path) -> None:
    """Write `walkers.json`, `walkers.parquet` (one row a walker) and `walkers.svg`, each whole or not.

    Raises
    ------
    ScenarioError : the folder cannot be written to.
    """
    from .walker_figures import realised_walkers

    write_text(folder / "walkers.json", json.dumps(document(evaluation), indent=1))
    write_text(folder / "walkers.svg", realised_walkers(evaluation).svg)
    write_parquet(folder / "walkers.parquet", evaluation.persons)


EPILOG: Final = """\b
Examples:
  bitgoeul evaluate walkers bukmun_5 --seeds 2
  bitgoeul evaluate walkers bukmun_5 --out out/walkers --json
"""


@click.command(epilog=EPILOG)
@click.argument("site", metavar="SITE")
@click.option(
    "--seeds", type=click.IntRange(min=1, max=1_000), default=8, show_default=True, help="Number of seeds."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/walkers"),
    show_default=True,
    help="Folder for walkers.json, walkers.parquet and walkers.svg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
def walkers(site: str, seeds: int, out: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Check on SITE that SUMO's walkers do what was drawn for them.

    Tabulates realised speed, start-up and compliance by class against the table of classes, and the mean
    wait at the fixed plan against the KHCM 2013 and HCM formulas. Some 10 s a seed; no vehicles.
    """
    from .compare_commands import make_writable

    load_site(site)
    make_writable(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("trials", total=seeds * (1 + len(PREMISES)))
        evaluation = evaluate_walkers(
            site,
            seeds=tuple(range(SEED_BASE, SEED_BASE + seeds)),
            progress=lambda: progress.advance(task),
        )
    write_evaluation(evaluation, out)
    if as_json:
        click.echo(json.dumps(document(evaluation)))
        return
    _print_tables(evaluation)
    for fault in evaluation.faults:
        click.echo(f"FAILS: {fault}")
    click.echo(f"{'passes' if evaluation.passes else 'FAILS'}; plot: {out / 'walkers.svg'}")


def _change(table: float, realised: float, digits: int) -> str:
    """Return `table -> realised (deviation)`."""
    return f"{table:.{digits}f} -> {realised:.{digits}f} ({100 * (realised / table - 1):+.0f} %)"


def _print_tables(evaluation: WalkerEvaluation) -> None:
    console = Console(width=None if Console().is_terminal else 170)
    table = Table(title=f"{evaluation.site}: table -> realised")
    heads = (
        "class",
        "n",
        "speed mean [m/s]",
        "sd",
        "p15",
        "own speed kept",
        "start-up mean [s]",
        "p85",
        "late",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "class" else "right")
    for each in evaluation.classes:
        table.add_row(
            each.mobility_class.replace("_", " "),
            str(each.walkers_n),
            f"{_change(each.speed_table_mps, each.speed_mps, 2)} ± {each.speed_half_width_mps:.2f}",
            f"{each.speed_sd_table_mps:.2f} -> {each.speed_sd_mps:.2f}",
            f"{each.speed_p15_table_mps:.2f} -> {each.speed_p15_mps:.2f}",
            f"{100 * each.speed_bias:+.2f} %",
            _change(each.startup_table_s, each.startup_s, 1),
            _change(each.startup_p85_table_s, each.startup_p85_s, 1),
            f"{100 * each.late_table:.0f} % -> {100 * each.late_share:.1f} % of {each.late_n}",
        )
    console.print(table)
    table = Table(title="Mean wait at the fixed plan, low volume [s]")
    for head in ("formula", "crossings", "C", "g", "formula", "simulated", "deviation"):
        table.add_column(head, justify="left" if head == "crossings" else "right")
    for check in evaluation.delays:
        table.add_row(
            check.formula,
            check.crossings,
            f"{check.cycle_s:g}",
            f"{check.green_s:g}",
            f"{check.formula_s:.1f}",
            f"{check.simulated_s:.1f} ± {check.half_width_s:.1f}",
            f"{100 * check.deviation:+.1f} %",
        )
    console.print(table)

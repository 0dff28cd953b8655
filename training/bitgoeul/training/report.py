"""Write the comparison as one HTML page that needs nothing else: no network, no scripts, no fonts."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bitgoeul.sim_scenarios.files import write_text
from bitgoeul.training.breakdown import GROUPINGS, breakdown_table
from bitgoeul.training.figures import (
    FONTS,
    Drawing,
    looks,
    maximum_curve,
    residual_by_class,
    trade_off,
    waits,
)
from bitgoeul.training.intervals import (
    MEASURE,
    MEASURES,
    NO_VALUE,
    RESAMPLES,
    Interval,
    Measure,
    Summary,
    format_ends,
    format_mean,
)
from bitgoeul.training.store import LEGAL_ENTRIES
from bitgoeul.training.time_space import time_space
from bitgoeul.training.verdicts import verdicts

if TYPE_CHECKING:
    from jinja2 import Template

TABLE_MEASURES: Final = (
    "residual_per_10k",
    "residual_legal_per_10k",
    "residual_within_max_per_10k",
    "released_on_person",
    "ped_wait_s",
    "ped_wait_p95_s",
    "vehicle_delay_s",
    "person_delay_s",
    "person_hours_per_h",
    "extension_s_per_h",
)
"""Measures of the main table; the details have all."""
LEFTOVER_LIMIT: Final = 20
"""Residual walkers that the guarantee should have covered are listed one by one up to so many."""
LEFTOVER_COLUMNS: Final[Mapping[str, str]] = {
    "controller": "controller",
    "seed": "seed",
    "crossing": "crossing",
    "mobility_class": "mobility class",
    "entry": "entry",
    "entered_s": "entered (s)",
    "residual_m": "still to walk (m)",
    "needed_after_clearance_s": "needed after clearance (s)",
    "was_detected": "seen by the detector",
}
VERSIONS: Final = ("bitgoeul", "libsumo", "numpy", "scipy", "polars")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """What a report is made from.

    Parameters
    ----------
    summaries : one per condition; the first one's controller is the baseline.
    rows : one row per run.
    events : one row per walker and run.
    strips : time-space strip by (site, controller), of one run each.
    command : the command line to show.
    code_version : hash of the code and sites that the runs depend on.
    """

    summaries: tuple[Summary, ...]
    rows: pl.DataFrame
    events: pl.DataFrame
    strips: Mapping[tuple[str, str], Mapping[str, Any]]
    command: str
    code_version: str


def write_report(source: ReportInput, path: Path) -> None:
    """Write the report; the file is replaced only when the new one is complete."""
    write_text(path, render(source))


def template(name: str) -> Template:
    """Return one of our page templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bitgoeul.training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(source: ReportInput) -> str:
    """Return the report as HTML. The same input gives the same text."""
    sites = list(dict.fromkeys(str(summary.condition["site"]) for summary in source.summaries))
    seeds = source.summaries[0].seeds
    controllers = list(dict.fromkeys(summary.controller for summary in source.summaries))
    minutes = source.rows["minutes"][0]
    return template("report.html.jinja").render(
        title=f"{_listed(controllers)} compared",
        subtitle=f"Simulation, {len(seeds)} paired seeds of {minutes} min, hour: "
        f"{source.summaries[0].condition['hour']}.",
        fonts=FONTS,
        sites=[_site(source, site) for site in sites],
        leftover_heads=list(LEFTOVER_COLUMNS.values()),
        leftover_limit=LEFTOVER_LIMIT,
        intervals_note=f"95 %, bootstrap over seeds ({RESAMPLES:,} resamples, bias-corrected), the same "
        "seeds for every controller. Rates pool all seeds: events over crossings. Where nothing was "
        "counted in N, the bound is 3/N (rule of three). With one seed there is no interval.",
        command=source.command,
        versions=_versions(source),
        seeds_note=f"Seeds {min(seeds)} to {max(seeds)}.",
    )


def headline(summaries: Iterable[Summary]) -> list[Summary]:
    """Return one summary per controller: the first detector, form P, the plan's own maximum if run."""

    def fit(summary: Summary) -> tuple[bool, bool, bool, float]:
        condition = summary.condition
        maximum = condition["extension_max_s"]
        is_first = condition["detector"] == detector
        return is_first, condition["form"] == "P", maximum is None, -1.0 if maximum is None else maximum

    summaries = list(summaries)
    detector = summaries[0].condition["detector"]
    best: dict[str, Summary] = {}
    for summary in summaries:
        held = best.get(summary.controller)
        if held is None or fit(summary) > fit(held):
            best[summary.controller] = summary
    return list(best.values())


def _site(source: ReportInput, site: str) -> dict[str, Any]:
    """Return what the template shows of one site."""
    summaries = [summary for summary in source.summaries if summary.condition["site"] == site]
    shown = headline(summaries)
    name_ko, note = _names(site)
    return {
        "name": site,
        "name_ko": name_ko,
        "note": note,
        "verdicts": verdicts(summaries, shown),
        "table": _table(_caption(shown[-1]), shown),
        "others": _tables([summary for summary in summaries if summary not in shown]),
        "drawings": _drawings(source, site, summaries, shown),
        "leftovers": _leftovers(source.events, shown),
        "baseline": shown[0].controller,
        "details": _details(shown),
        "groups": [
            breakdown_table({s.controller: _events(source.events, s) for s in shown}, grouping)
            for grouping in GROUPINGS
        ],
    }


def _names(site: str) -> tuple[str, str]:
    """Return the site's Korean name and the plan's note."""
    from bitgoeul.sim_scenarios.catalog import load_site

    about = load_site(site).plan.site
    return about.name_ko, about.note


def _drawings(
    source: ReportInput, site: str, summaries: Sequence[Summary], shown: Sequence[Summary]
) -> list[Drawing]:
    """Return the site's figures in reading order."""
    controllers = [summary.controller for summary in shown]
    look = looks(controllers)
    name = "".join(letter if letter.isalnum() else "-" for letter in site)
    drawings = [residual_by_class(name, shown, look), trade_off(name, shown, look)]
    if curves := _curves(site, summaries, shown[0]):
        drawings.append(maximum_curve(name, curves, look))
    drawings.append(waits(name, {s.controller: _events(source.events, s)["wait_s"] for s in shown}, look))
    if (best := _best_strip(source, site, controllers)) is not None:
        drawings.append(time_space(name, best, source.strips[site, best]))
    return drawings


def _events(events: pl.DataFrame, summary: Summary) -> pl.DataFrame:
    """Return the walkers of one condition, all seeds."""
    conditions = [pl.col(name).eq_missing(pl.lit(value)) for name, value in summary.condition.items()]
    return events.filter(*conditions)


def _curves(site: str, summaries: Sequence[Summary], like: Summary) -> dict[str, list[tuple[float, Summary]]]:
    """Return each controller's summaries over the maximum, where at least two were run."""
    points: dict[str, list[tuple[float, Summary]]] = {}
    for summary in summaries:
        if all(summary.condition[name] == like.condition[name] for name in ("detector", "form")):
            maximum = summary.condition["extension_max_s"]
            at_s = _plan_maximum_s(site) if maximum is None else float(maximum)
            points.setdefault(summary.controller, []).append((at_s, summary))
    return {
        name: sorted(curve, key=lambda point: point[0]) for name, curve in points.items() if len(curve) > 1
    }


def _plan_maximum_s(site: str) -> float:
    """Return the longest of the plan's own extension maxima, in seconds."""
    from bitgoeul.sim_scenarios.catalog import load_site

    plan = load_site(site).plan
    return max(plan.extension_max_s(crossing.id) for crossing in plan.crossings)


def _best_strip(source: ReportInput, site: str, controllers: Sequence[str]) -> str | None:
    """Return the controller whose strip shows the longest extension; None if no strip was recorded."""

    def extended_s(name: str) -> float:
        spans = source.strips[site, name]["extensions"]
        return float(sum(to_s - from_s for from_s, to_s, _ in spans))

    return max((name for name in controllers if (site, name) in source.strips), key=extended_s, default=None)


def _leftovers(events: pl.DataFrame, shown: Sequence[Summary]) -> list[list[str]]:
    """Return the legal starters within the maximum who stayed, for controllers with few of them."""
    listed = []
    for summary in shown:
        stayed = _events(events, summary).filter(
            pl.col("is_residual") & pl.col("is_within_max") & pl.col("entry").is_in(LEGAL_ENTRIES)
        )
        if stayed.height <= LEFTOVER_LIMIT:
            rows = stayed.select(*LEFTOVER_COLUMNS).iter_rows()
            listed += [[_word(value) for value in row] for row in rows]
    return listed


def _word(value: Any) -> str:
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.1f}" if isinstance(value, float) else str(value).replace("_", " ")


def _tables(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return one table per detector, form and maximum."""
    groups: dict[str, list[Summary]] = {}
    for summary in summaries:
        groups.setdefault(_caption(summary), []).append(summary)
    return [_table(caption, group) for caption, group in groups.items()]


def _table(caption: str, group: Sequence[Summary]) -> dict[str, Any]:
    heads = [MEASURE[name] for name in TABLE_MEASURES]
    rows = [{"name": s.controller, "cells": [_cell(s.measures[m.name], m) for m in heads]} for s in group]
    return {"caption": caption, "heads": heads, "rows": rows}


def _caption(summary: Summary) -> str:
    condition = summary.condition
    maximum = condition["extension_max_s"]
    limit = "each crossing's own maximum" if maximum is None else f"extension maximum {maximum:g} s"
    return f"Detector {condition['detector']}, extension form {condition['form']}, {limit}"


def _details(shown: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return all measures, and the differences to the baseline, with measures as rows."""
    values = {
        "caption": "Mean over seeds (rates pooled) and 95 % interval",
        "heads": [{"label": summary.controller, "unit": ""} for summary in shown],
        "rows": [
            {"name": _name(m), "cells": [_cell(s.measures[m.name], m) for s in shown]} for m in MEASURES
        ],
    }
    others = [summary for summary in shown if summary.differences]
    differences = {
        "caption": f"Difference to {shown[0].controller} over paired seeds and 95 % interval",
        "heads": [{"label": summary.controller, "unit": ""} for summary in others],
        "rows": [
            {"name": _name(m), "cells": [_cell(s.differences[m.name], m) for s in others]} for m in MEASURES
        ],
    }
    return [values, differences] if others else [values]


def _name(measure: Measure) -> str:
    return f"{measure.label} ({measure.unit})" if measure.unit else measure.label


def _cell(interval: Interval, measure: Measure) -> dict[str, str]:
    """Return a table cell: the mean, and the interval in a second line."""
    digits = measure.digits
    return {"mean": format_mean(interval, digits), "range": format_ends(interval, digits)}


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _versions(source: ReportInput) -> list[tuple[str, str]]:
    """Return what the results depend on, by name."""
    versions = [("Python", platform.python_version())]
    if "sumo_version" in source.rows.columns:
        versions += [("SUMO", str(version)) for version in source.rows["sumo_version"].unique().sort()]
    for name in VERSIONS:
        try:
            versions.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            versions.append((name, "not installed as a package"))
    return [*versions, ("code and sites (hash)", source.code_version)]

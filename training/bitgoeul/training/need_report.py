"""The page of `bitgoeul evaluate need`: tables, a reliability plot, and how far each rule is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from bitgoeul.training.evaluate_need import (
    METHODS,
    NEED,
    STATED,
    coverage_interval,
    reliability,
    scores,
)
from bitgoeul.training.figures import CLASS_NAMES, FONTS, Drawing, looks, new_figure, styled, svg_text
from bitgoeul.training.report import template

METHOD_NAMES: Final = {
    "need": "the estimate",
    "fixed_1.0": "everybody at 1.0 m/s",
    "fixed_0.8": "everybody at 0.8 m/s",
    "fixed_0.7": "everybody at 0.7 m/s",
    "last_speed": "last speed seen",
    "class_mean": "mean of the likeliest class",
    "class_slow": "slowest twentieth of the likeliest class",
}
THIRDS: Final = {1: "first third", 2: "second third", 3: "last third"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page: its caption, heads, and rows of text."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def summary(people: pl.DataFrame, crossings: pl.DataFrame) -> dict[str, Any]:
    """Return everything the page and `--json` state, as plain numbers."""
    overall = {row.pop("method"): row for row in scores(people).to_dicts()}
    past_first = {
        row["method"]: row["over_s"] for row in scores(people.filter(pl.col("third") > 1)).to_dicts()
    }
    need, class_mean = overall["need"], overall["class_mean"]
    last = crossings.filter(pl.col("people") > 1)
    return {
        "stated": STATED,
        "methods": overall,
        "coverage": need["coverage"],
        "coverage_interval": coverage_interval(people),
        "over_past_first_third_s": past_first,
        "pinball_against_class_mean": need["pinball_s"] / class_mean["pinball_s"] - 1,
        "by_third": _need_rows(people, "third"),
        "by_sight": _need_rows(people, "sight"),
        "by_class": _need_rows(people, "mobility_class"),
        "by_detector": _need_rows(people, "detector"),
        "by_place": _need_rows(people, "place"),
        "by_mix": _need_rows(people, "mix"),
        "reliability": reliability(people).to_dicts(),
        "last_of_several": {
            "seconds_n": last.height,
            "coverage": last.select((pl.col("true_s") <= pl.col(NEED)).mean()).item(),
            "reliability": reliability(last).to_dicts(),
        },
    }


def _need_rows(people: pl.DataFrame, by: str) -> list[dict[str, Any]]:
    return scores(people, [by], methods=("need",)).drop("method").to_dicts()


def page(figures: dict[str, Any], *, command: str, trials: int) -> str:
    """Return the page of a `summary` as HTML that needs nothing else."""
    return template("evaluation.html.jinja").render(
        title="Is the stated need met?",
        fonts=FONTS,
        paragraphs=[_sentence(figures, trials)],
        tables=tables(figures),
        drawings=[_reliability_plot(figures), _class_plot(figures)],
        command=command,
    )


def _sentence(figures: dict[str, Any], trials: int) -> str:
    low, high = figures["coverage_interval"]
    walkers_n = figures["methods"]["need"]["walkers_n"]
    return (
        f"In {trials} runs {walkers_n:,} walkers were asked after once a second: how long do you still need? "
        f"The {STATED:.0%} quantile was long enough {figures['coverage']:.1%} of the time (95 % interval "
        f"over walkers {low:.1%} to {high:.1%}). Without --calibration, no length, class mix, "
        "sensor or seed of these runs was used to choose the figures of the estimate. How fast people of a "
        "class walk it takes from the table that these walkers were drawn from."
    )


def tables(figures: dict[str, Any]) -> list[Table]:
    """Return the tables of the page and the terminal."""
    methods = [
        (
            METHOD_NAMES[name], f"{row['coverage']:.1%}", f"{row['pinball_s']:.2f}", f"{row['over_s']:.1f}",
            f"{figures['over_past_first_third_s'][name]:.1f}",
        )
        for name in METHODS
        for row in (figures["methods"][name],)
    ]  # fmt: skip
    heads = ("met", "pinball loss [s]", "median over-estimate [s]")
    result = [
        Table(
            caption=f"Each rule's seconds, taken as a {STATED:.0%} quantile.",
            heads=("rule", *heads, "past the first third [s]"),
            rows=methods,
        )
    ]
    for title, by in (
        ("part of the crossing", "third"), ("sight", "sight"), ("class", "mobility_class"),
        ("detector", "detector"),
        ("length [m] or site", "place"), ("mix", "mix"),
    ):  # fmt: skip
        rows = figures[{"mobility_class": "by_class"}.get(by, f"by_{by}")]
        result.append(
            Table(
                caption=f"The estimate, by {title}.",
                heads=(title, "walkers", *heads),
                rows=[
                    (
                        _name(row[by]), f"{row['walkers_n']:,}", f"{row['coverage']:.1%}",
                        f"{row['pinball_s']:.2f}", f"{row['over_s']:.1f}",
                    )
                    for row in rows
                ],
            )
        )  # fmt: skip
    last = figures["last_of_several"]
    result.append(
        Table(
            caption="The last of several on a crossing, while all of them are in sight.",
            heads=("", "seconds", "met"),
            rows=[("until the last one is clear", f"{last['seconds_n']:,}", f"{last['coverage']:.1%}")],
        )
    )
    return result


def _name(value: Any) -> str:
    return THIRDS[value] if isinstance(value, int) else CLASS_NAMES.get(value, str(value))


@styled
def _reliability_plot(figures: dict[str, Any]) -> Drawing:
    series = {
        "each person": figures["reliability"],
        "the last of several": figures["last_of_several"]["reliability"],
    }
    figure, axes = new_figure((8.6, 4.4))
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    for name, look in looks(list(series)).items():
        axes.plot(
            [row["stated"] for row in series[name]],
            [row["met"] for row in series[name]],
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            label=name,
        )
    axes.set_xlabel("stated quantile")
    axes.set_ylabel("share of the time it was met")
    axes.legend(loc="upper left")
    return Drawing(
        name="reliability",
        title="Reliability",
        caption="On the grey line, what is stated is what happens; above it, the estimate is cautious.",
        svg=svg_text(figure, "reliability"),
    )


@styled
def _class_plot(figures: dict[str, Any]) -> Drawing:
    rows = sorted(figures["by_class"], key=lambda row: row["coverage"])
    figure, axes = new_figure((8.6, 3.6))
    names = [
        f"{CLASS_NAMES.get(row['mobility_class'], row['mobility_class'])} ({row['walkers_n']:,})"
        for row in rows
    ]
    axes.barh(names, [row["coverage"] for row in rows], color="#0072B2", height=0.6)
    axes.axvline(STATED, color="0.5", linewidth=1)
    axes.set_xlim(0.85, 1.0)
    axes.set_xlabel(f"share of the time the {STATED:.0%} quantile was met")
    return Drawing(
        name="by-class",
        title="By class of walker",
        caption="In brackets the walkers; the grey line is what is stated. The axis begins at 85 %.",
        svg=svg_text(figure, "by-class"),
    )

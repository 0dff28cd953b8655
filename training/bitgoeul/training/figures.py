"""Figures of the report as SVG text: safe for colour-blind readers, right on light and dark pages."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import numpy as np
import polars as pl

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.training.intervals import Interval, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

FONTS: Final = (
    "'Noto Sans CJK KR', 'Noto Sans KR', 'Malgun Gothic', 'Apple SD Gothic Neo', "
    "'Helvetica Neue', Arial, sans-serif"
)
"""Fonts of the page and of all text in figures; the first four have Korean."""
INK: Final = "#0a0b0c"
"""Colour of text and axes while drawing; becomes the page's own text colour."""
# Okabe and Ito 2008, "Color Universal Design", without black (the page's ink) and yellow (too pale).
PALETTE: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X", "*")
DASHES: Final = ((), (6, 2), (2, 2), (6, 2, 2, 2), (10, 3), (1, 3))
CLASS_NAMES: Final[Mapping[str, str]] = {name: name.replace("_", " ") for name in MOBILITY_CLASSES}
_RATE_TICKS: Final = (0, 10, 100, 1_000, 10_000)
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same layout everywhere
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one controller is drawn in every figure.

    Parameters
    ----------
    colour : of lines and markers.
    marker : matplotlib's letter.
    dash : on and off lengths; empty is a solid line. [pt]
    """

    colour: str
    marker: str
    dash: tuple[float, ...]

    @property
    def line(self) -> Any:
        """Line style for matplotlib."""
        return (0, self.dash) if self.dash else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure with its words.

    Parameters
    ----------
    name : short name, unique on the page.
    title : what it shows.
    caption : how to read it.
    svg : the figure itself.
    """

    name: str
    title: str
    caption: str
    svg: str


def styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Return the drawing function with the report's style around it, global state untouched."""

    @functools.wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        import matplotlib as mpl

        with mpl.rc_context({**_STYLE, "svg.hashsalt": "bitgoeul"}):
            return draw(*args, **kwargs)

    return draw_in_style


def looks(controllers: Sequence[str]) -> dict[str, Look]:
    """Return one look per controller, distinct in colour, marker and dash."""
    return {
        name: Look(
            colour=PALETTE[rank % len(PALETTE)],
            marker=MARKERS[rank % len(MARKERS)],
            dash=DASHES[rank % len(DASHES)],
        )
        for rank, name in enumerate(controllers)
    }


@styled
def residual_by_class(name: str, summaries: Sequence[Summary], look: Mapping[str, Look]) -> Drawing:
    """Draw residual walkers per 10,000 crossings by mobility class and controller."""
    figure, axes = new_figure((9.2, 1.7 + len(MOBILITY_CLASSES) * (0.12 + 0.09 * len(summaries))))
    spread = 0.72
    step = spread / max(len(summaries), 1)
    for rank, summary in enumerate(summaries):
        places = np.arange(len(MOBILITY_CLASSES)) - spread / 2 + step * (rank + 0.5)
        for place, mobility_class in zip(places, MOBILITY_CLASSES, strict=True):
            _dot(axes, summary.by_class[mobility_class], float(place), look[summary.controller])
        axes.plot([], [], label=summary.controller, **_marks(look[summary.controller]))
    axes.set_yticks(range(len(MOBILITY_CLASSES)), [CLASS_NAMES[name] for name in MOBILITY_CLASSES])
    axes.set_ylim(len(MOBILITY_CLASSES) - 0.5, -0.5)
    axes.set_ylabel("Mobility class")
    axes.grid(visible=False, axis="y")
    for border in np.arange(len(MOBILITY_CLASSES) - 1) + 0.5:
        axes.axhline(border, color=INK, alpha=0.12, linewidth=0.6)
    axes.set_xscale("symlog", linthresh=10, linscale=0.5)
    axes.set_xlim(-0.8, 10_000)
    axes.set_xticks(_RATE_TICKS, [f"{tick:,}" for tick in _RATE_TICKS])
    axes.set_xlabel("Residual walkers per 10,000 crossings of the class (logarithmic above 10)")
    legend_above(figure, axes, len(summaries))
    return Drawing(
        name=f"class-{name}",
        title="Residual walkers by mobility class",
        caption="Marker: all seeds pooled. Bar: 95 % interval over seeds. Hollow marker: none seen; its bar "
        "ends at 3/N, the 95 % upper bound.",
        svg=svg_text(figure, f"class-{name}"),
    )


@styled
def trade_off(name: str, summaries: Sequence[Summary], look: Mapping[str, Look]) -> Drawing:
    """Draw residual walkers over vehicle delay and over the delay of all persons."""
    figure, panels = new_figure((9.2, 4.3), columns=2, sharey=True)
    for axes, cost, words in (
        (panels[0], "vehicle_delay_s", "Vehicle delay, mean (s per vehicle)"),
        (panels[1], "person_hours_per_h", "Delay of walkers and occupants (person-hours per hour)"),
    ):
        for summary in summaries:
            _cross(axes, summary, cost, look[summary.controller])
        axes.set_xlabel(words)
        axes.margins(x=0.12, y=0.1)
    panels[0].set_ylabel("Residual walkers per 10,000 crossings")
    panels[0].set_ylim(bottom=min(0.0, -0.04 * panels[0].get_ylim()[1]))
    legend_above(figure, panels[0], len(summaries))
    return Drawing(
        name=f"trade-{name}",
        title="What walkers gain, what vehicles and everybody pay",
        caption="Down and to the left is better. Bars: 95 % intervals over seeds.",
        svg=svg_text(figure, f"trade-{name}"),
    )


@styled
def waits(name: str, events: Mapping[str, pl.Series], look: Mapping[str, Look]) -> Drawing:
    """Draw the share of walkers who waited no longer than a time.

    Parameters
    ----------
    name : of the site.
    events : waits of all walkers of all seeds by controller. [s]
    look : by controller.
    """
    figure, axes = new_figure((9.2, 4.0))
    share = np.linspace(0.0, 1.0, 201)
    for controller, values in events.items():
        times = np.quantile(values.drop_nulls().to_numpy(), share)
        axes.plot(
            times,
            100 * share,
            color=look[controller].colour,
            linestyle=look[controller].line,
            linewidth=1.9,
            marker=look[controller].marker,
            markevery=(10, 40),
            markersize=6,
            label=controller,
        )
    axes.set_xlim(left=0)
    axes.set_ylim(0, 101)
    axes.set_xlabel("Wait before entering the crossing (s)")
    axes.set_ylabel("Walkers who waited at most this long (%)")
    legend_above(figure, axes, len(events))
    return Drawing(
        name=f"waits-{name}",
        title="How long walkers wait",
        caption="All walkers of all seeds; 95 % is where the curve crosses 95.",
        svg=svg_text(figure, f"waits-{name}"),
    )


@styled
def maximum_curve(
    name: str, curves: Mapping[str, Sequence[tuple[float, Summary]]], look: Mapping[str, Look]
) -> Drawing:
    """Draw residual walkers and vehicle delay over the extension maximum.

    Parameters
    ----------
    name : of the site.
    curves : per controller, ascending maxima with their summaries; a summary whose condition has no
        maximum stands at the plan's longest. [s]
    look : by controller.
    """
    figure, panels = new_figure((9.2, 4.1), columns=2)
    for axes, measure, words in (
        (panels[0], "residual_per_10k", "Residual walkers per 10,000 crossings"),
        (panels[1], "vehicle_delay_s", "Vehicle delay, mean (s per vehicle)"),
    ):
        for controller, points in curves.items():
            _curve(axes, points, measure, look[controller])
        axes.set_xlabel("Extension maximum (s)")
        axes.set_ylabel(words)
    panels[0].set_ylim(bottom=0)
    legend_above(figure, panels[0], len(curves))
    return Drawing(
        name=f"maximum-{name}",
        title="The curve over the extension maximum",
        caption="Ringed: each crossing's own maximum from the plan, placed at the longest of them. "
        "Bars: 95 % intervals over seeds.",
        svg=svg_text(figure, f"maximum-{name}"),
    )


def new_figure(
    size_in: tuple[float, float],
    *,
    rows: int = 1,
    columns: int = 1,
    sharey: bool = False,
    ratios: tuple[float, ...] | None = None,
) -> tuple[Figure, Any]:
    """Return a figure with its axes; axes above each other share their time or length.

    Parameters
    ----------
    size_in : width and height. [inch]
    rows, columns : grid of axes.
    sharey : True for one scale over a row.
    ratios : heights of the rows relative to each other; None for equal ones.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=rows > 1, sharey=sharey, height_ratios=ratios)


def svg_text(figure: Figure, name: str) -> str:
    """Return the figure as inline SVG: no prolog, own ids, the page's ink and fonts, no size in points."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*pt"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = svg.replace("'DejaVu Sans', sans-serif", FONTS).replace("'DejaVu Sans'", FONTS)
    return svg.replace(INK, "currentColor").strip()


def legend_above(figure: Figure, axes: Axes, entries: int) -> None:
    """Put the legend of `axes` over the figure in as few lines as fit."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(max(entries, 1), 6))


def _marks(look: Look) -> dict[str, Any]:
    return {"color": look.colour, "marker": look.marker, "markersize": 6.5, "linestyle": "none"}


def _dot(axes: Axes, interval: Interval, place: float, look: Look) -> None:
    """Draw one estimate with its interval in a row of the class figure."""
    if interval.mean is None:
        return
    if interval.low is not None and interval.high is not None:
        axes.plot([interval.low, interval.high], [place, place], color=look.colour, linewidth=1.6)
    face = "none" if interval.is_rule_of_three else look.colour
    axes.plot([interval.mean], [place], markerfacecolor=face, **_marks(look))


def _cross(axes: Axes, summary: Summary, cost: str, look: Look) -> None:
    """Draw one controller as a point with both its intervals."""
    across, up = summary.measures[cost], summary.measures["residual_per_10k"]
    if across.mean is None or up.mean is None:
        return
    axes.errorbar(
        [across.mean],
        [up.mean],
        xerr=_reach(across),
        yerr=_reach(up),
        elinewidth=1.4,
        label=summary.controller,
        **_marks(look),
    )
    axes.annotate(
        summary.controller, (across.mean, up.mean), xytext=(7, 6), textcoords="offset points", fontsize=9.5
    )


def _reach(interval: Interval) -> list[list[float]] | None:
    """Return how far the interval reaches down and up from its mean, as matplotlib wants it."""
    if interval.mean is None or interval.low is None or interval.high is None:
        return None
    return [[max(interval.mean - interval.low, 0.0)], [max(interval.high - interval.mean, 0.0)]]


def _curve(axes: Axes, points: Sequence[tuple[float, Summary]], measure: str, look: Look) -> None:
    """Draw one controller's measure over the maximum, the plan's own maximum ringed."""
    known = [
        (at_s, s.measures[measure].mean or 0.0, s)
        for at_s, s in points
        if s.measures[measure].mean is not None
    ]
    axes.plot(
        [at_s for at_s, _, _ in known],
        [mean for _, mean, _ in known],
        color=look.colour,
        linestyle=look.line,
        linewidth=1.6,
        marker=look.marker,
        markersize=5.5,
        label=known[0][2].controller if known else None,
    )
    for at_s, mean, summary in known:
        reach = _reach(summary.measures[measure])
        axes.errorbar([at_s], [mean], yerr=reach, color=look.colour, elinewidth=1.2)
        if summary.condition["extension_max_s"] is None:
            axes.plot([at_s], [mean], "o", markersize=13, markerfacecolor="none", color=INK)

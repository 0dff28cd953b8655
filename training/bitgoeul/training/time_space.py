"""The time-space strip of the report: walkers' paths over one crossing and all lamps below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bitgoeul.training.figures import CLASS_NAMES, INK, Drawing, new_figure, styled, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAMPS: Final[Mapping[str, tuple[str, str, float, str]]] = {
    "walk": ("#009E73", "", 0.8, "walk"),
    "clearance": ("#56B4E9", "////", 0.8, "pedestrian clearance (flashing green)"),
    "dont_walk": ("#D55E00", "", 0.14, "red"),
    "green": ("#009E73", "", 0.8, "vehicle green"),
    "yellow": ("#E69F00", "xxxx", 0.8, "yellow"),
    "red": ("#D55E00", "", 0.14, "red"),
}
"""Colour, hatch, height of the bar and words of each indication; height and hatch tell them apart
without colour."""
ENTRIES: Final[Mapping[str, tuple[Any, str]]] = {
    "walk": ("-", "entered on walk"),
    "clearance": ((0, (5, 2)), "entered on clearance"),
    "red": ((0, (1, 1.5)), "entered on red"),
}
LABEL_S: Final = 14.0
"""Room that a class's name takes along the time axis. [s]"""
LEVELS: Final = 4
"""Names stacked over each other at most."""
_WALKER: Final = "#0072B2"
_SLOW: Final = "#CC79A7"
"""Path of a walker of any class but adult."""


@styled
def time_space(name: str, controller: str, strip: Mapping[str, Any]) -> Drawing:
    """Draw one cycle: walkers' paths over a crossing, an extension, and all lamps below."""
    rows = len(strip["phases"])
    figure, (space, lamps) = new_figure((9.2, 4.2 + 0.3 * rows), rows=2, ratios=(3.3, 0.3 * rows))
    begin_s, end_s, length_m = strip["begin_s"], strip["end_s"], strip["length_m"]
    for ends in (0.0, length_m):
        space.axhline(ends, color=INK, linewidth=1.2)
    for from_s, to_s, reason in strip["extensions"]:
        _extension(space, lamps, (from_s - begin_s, to_s - begin_s), str(reason))
    _walkers(space, strip)
    space.set_ylim(-0.3 * length_m, 1.42 * length_m)
    space.set_yticks(range(0, round(length_m) + 1, 5))
    space.set_ylabel("Place on the crossing\n(m from kerb A)")
    _lamps(lamps, strip)
    lamps.set_xlim(0, end_s - begin_s)
    lamps.set_xlabel(f"Time (s after {begin_s:,.0f} s of the run)")
    figure.align_ylabels()
    _strip_legend(figure, strip)
    return Drawing(
        name=f"strip-{name}",
        title=f"One cycle at crossing {strip['crossing']} under {controller}",
        caption="Each line is one walker from kerb to kerb; words at its end name a class other than adult. "
        "Thick bars are green, thin ones red.",
        svg=svg_text(figure, f"strip-{name}"),
    )


def _extension(space: Axes, lamps: Axes, span_s: tuple[float, float], reason: str) -> None:
    """Shade an extension over both parts and name it once."""
    for axes in (space, lamps):
        axes.axvspan(*span_s, facecolor="#E69F00", alpha=0.22, edgecolor="none", zorder=0)
    space.annotate(
        f"extension {span_s[1] - span_s[0]:.1f} s: {reason}",
        (sum(span_s) / 2, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -3),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9.5,
    )


def _walkers(axes: Axes, strip: Mapping[str, Any]) -> None:
    """Draw each walker's path, dashed by the lamp on which they entered."""
    ends: list[tuple[float, float, bool, str]] = []
    for walker in strip["walkers"]:
        points = [(at_s - strip["begin_s"], place_m) for at_s, place_m in walker["points"]]
        if not points:
            continue
        is_adult = walker["mobility_class"] == "adult"
        axes.plot(
            [at_s for at_s, _ in points],
            [place_m for _, place_m in points],
            color=_WALKER if is_adult else _SLOW,
            linestyle=ENTRIES[walker["entry"]][0],
            linewidth=1.3 if is_adult else 2.0,
        )
        if not is_adult:
            ends.append((*points[-1], points[-1][1] >= points[0][1], walker["mobility_class"]))
    _name_ends(axes, ends)


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, bool, str]]) -> None:
    """Write the class where a path ends: time [s], place [m], goes up, class. Close ones are stacked."""
    for side in (True, False):
        taken_until_s, level = float("-inf"), 0
        for at_s, place_m, _, name in sorted(end for end in ends if end[2] is side):
            level = (level + 1) % LEVELS if at_s < taken_until_s else 0
            taken_until_s = at_s + LABEL_S
            axes.annotate(
                CLASS_NAMES.get(name, name),
                (at_s, place_m),
                xytext=(3, (3 + 11 * level) * (1 if side else -1)),
                textcoords="offset points",
                va="bottom" if side else "top",
                fontsize=8.5,
            )


def _lamps(axes: Axes, strip: Mapping[str, Any]) -> None:
    """Draw one row of bars per phase or crossing, first on top."""
    phases = strip["phases"]
    for row, phase in enumerate(phases):
        for from_s, to_s, lamp in phase["spans"]:
            colour, hatch, height, _ = LAMPS[lamp]
            axes.barh(
                row,
                to_s - from_s,
                left=from_s - strip["begin_s"],
                height=height,
                color=colour,
                hatch=hatch or None,
                edgecolor="white" if hatch else colour,
                linewidth=0,
            )
    axes.set_yticks(range(len(phases)), [phase["label"] for phase in phases])
    axes.set_ylim(len(phases) - 0.4, -0.6)
    axes.set_ylabel("Lamps (no unit)")
    axes.grid(visible=False, axis="y")


def _strip_legend(figure: Figure, strip: Mapping[str, Any]) -> None:
    """Put the words for lamps and paths over the figure, only those that occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lamps = {lamp for phase in strip["phases"] for _, _, lamp in phase["spans"]}
    entries = {walker["entry"] for walker in strip["walkers"]}
    handles: dict[str, Any] = {}
    for entry in (entry for entry in ENTRIES if entry in entries):
        style, words = ENTRIES[entry]
        handles[words] = Line2D([], [], color=INK, linestyle=style, linewidth=1.6)
    classes = {walker["mobility_class"] for walker in strip["walkers"]}
    if "adult" in classes:
        handles["adult"] = Line2D([], [], color=_WALKER, linewidth=2)
    if classes - {"adult"}:
        handles["any other class"] = Line2D([], [], color=_SLOW, linewidth=2.5)
    for lamp in (lamp for lamp in LAMPS if lamp in lamps):
        colour, hatch, height, words = LAMPS[lamp]
        is_thin = height < 0.5  # noqa: PLR2004 - half a row
        handles[words] = (
            Line2D([], [], color=colour, linewidth=2)
            if is_thin
            else Patch(facecolor=colour, hatch=hatch or None, edgecolor="white", linewidth=0)
        )
    figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=4)

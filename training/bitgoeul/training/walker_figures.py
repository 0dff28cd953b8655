"""The figure of `evaluate walkers`: speeds, start-ups, compliance and waits, table against realised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitgoeul.controller.detection import MOBILITY_CLASSES

from .figures import CLASS_NAMES, INK, PALETTE, Drawing, new_figure, styled, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .evaluate_walkers import WalkerEvaluation

PLACES = np.arange(len(MOBILITY_CLASSES))
APART = 0.16
"""Between what the table says and what was realised, in rows of the figure."""


@styled
def realised_walkers(evaluation: WalkerEvaluation) -> Drawing:
    """Draw speeds, start-ups, late shares and waits: what the table or formula says, and SUMO's."""
    figure, panels = new_figure((13.0, 4.6), columns=4)
    classes = evaluation.classes
    speed, startup, late, wait = panels
    _pairs(speed, [each.speed_table_mps for each in classes], [each.speed_mps for each in classes], "o")
    _pairs(
        speed, [each.speed_p15_table_mps for each in classes], [each.speed_p15_mps for each in classes], "|"
    )
    speed.set_xlabel("Speed, mean (o) and p15 (|) [m/s]")
    _pairs(startup, [each.startup_table_s for each in classes], [each.startup_s for each in classes], "o")
    _pairs(
        startup, [each.startup_p85_table_s for each in classes], [each.startup_p85_s for each in classes], "|"
    )
    startup.set_xlabel("Start-up, mean (o) and p85 (|) [s]")
    _pairs(
        late, [100 * each.late_table for each in classes], [100 * each.late_share for each in classes], "o"
    )
    late.set_xlabel("Late starters [%]")
    for panel in (speed, startup, late):
        panel.set_yticks(PLACES, [CLASS_NAMES[name] for name in MOBILITY_CLASSES] if panel is speed else [])
        panel.set_ylim(len(PLACES) - 0.5, -0.5)
    for check in evaluation.delays:
        colour = (
            PALETTE[2] if check.formula == "HCM" else PALETTE[0] if check.formula == "KHCM" else PALETTE[3]
        )
        wait.errorbar(check.formula_s, check.simulated_s, yerr=check.half_width_s, fmt="o", color=colour)
    ends = [
        min(each.formula_s for each in evaluation.delays) - 3,
        max(each.formula_s for each in evaluation.delays) + 3,
    ]
    wait.plot(ends, ends, color=INK, linewidth=0.8)
    for name, colour in (("KHCM", PALETTE[0]), ("HCM", PALETTE[2]), ("start-up on", PALETTE[3])):
        wait.plot([], [], "o", color=colour, label=name)
    wait.legend(loc="upper left")
    wait.set_xlabel("Mean wait by formula [s]")
    wait.set_ylabel("simulated [s]")
    for name, colour in (("table", PALETTE[1]), ("SUMO", PALETTE[0])):
        speed.plot([], [], "o", color=colour, label=name)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return Drawing(
        name="walkers",
        title="Walkers as drawn and as SUMO realised them",
        caption="Blue: table of classes. Orange: realised. Right: mean wait against KHCM 2013 and HCM.",
        svg=svg_text(figure, "walkers"),
    )


def _pairs(axes: Axes, table: list[float], realised: list[float], marker: str) -> None:
    axes.plot(table, PLACES - APART, marker, color=PALETTE[1], markersize=7)
    axes.plot(realised, PLACES + APART, marker, color=PALETTE[0], markersize=7)

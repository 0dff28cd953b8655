"""The plan's fixed timing as a SUMO signal program: what the cabinet's own core shows in one cycle."""

from __future__ import annotations

from bitgoeul.controller.backends.sumo import SumoRows
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.plan_parts import Pattern
from bitgoeul.controller.signals import NO_CALLS, Commands
from bitgoeul.controller.timing import to_ds


def fixed_program(plan: SitePlan, pattern: Pattern | None = None) -> list[tuple[float, str]]:
    """Expand a pattern into the rows of a fixed-time SUMO program.

    Parameters
    ----------
    plan : the site plan.
    pattern : which pattern; None: the plan's first.

    Returns
    -------
    Rows of duration [s] and state string from the start of the cycle; durations sum to the cycle.

    Notes
    -----
    The rows are read off a `SignalCore` that runs the pattern, in its third cycle: by then it is in step
    whatever the offset, so the network falls back to just what the cabinet would show.
    """
    pattern = pattern or plan.patterns[0]
    core, rows = SignalCore(plan), SumoRows(plan)
    commands, cycle_ds = Commands(pattern=pattern.number), to_ds(pattern.cycle_s)
    core.advance(to_ds(pattern.offset_s) + 2 * cycle_ds, NO_CALLS, commands)
    program: list[tuple[int, str]] = []
    for _ in range(cycle_ds):
        row = rows.row(core.advance(1, NO_CALLS, commands))
        if program and program[-1][1] == row:
            program[-1] = (program[-1][0] + 1, row)
        else:
            program.append((1, row))
    return [(duration_ds / 10, row) for duration_ds, row in program]

"""The plan's fixed timing as a SUMO signal program: what the cabinet's own core shows in one cycle."""

from __future__ import annotations

from collections.abc import Iterator

from bitgoeul.controller.backends.sumo import SumoRows
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.plan_parts import Pattern
from bitgoeul.controller.signals import NO_CALLS, Commands, Lamps
from bitgoeul.controller.timing import to_ds


def cycle_of_lamps(plan: SitePlan, pattern: Pattern | None = None, *, step_ds: int = 1) -> Iterator[Lamps]:
    """Yield what the cabinet shows after each step of a pattern's third cycle.

    Parameters
    ----------
    plan : the site plan.
    pattern : which pattern; None: the plan's first.
    step_ds : length of a step. [0.1 s]
    """
    pattern = pattern or plan.patterns[0]
    core, commands, cycle_ds = SignalCore(plan), Commands(pattern=pattern.number), to_ds(pattern.cycle_s)
    core.advance(to_ds(pattern.offset_s) + 2 * cycle_ds, NO_CALLS, commands)
    for _ in range(cycle_ds // step_ds):
        yield core.advance(step_ds, NO_CALLS, commands)


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
    rows = SumoRows(plan)
    program: list[tuple[int, str]] = []
    for lamps in cycle_of_lamps(plan, pattern):
        row = rows.row(lamps)
        if program and program[-1][1] == row:
            program[-1] = (program[-1][0] + 1, row)
        else:
            program.append((1, row))
    return [(duration_ds / 10, row) for duration_ds, row in program]

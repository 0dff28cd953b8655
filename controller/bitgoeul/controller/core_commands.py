"""`bitgoeul core`: look at the cabinet's signal core alone, without SUMO and without a controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .call_script import MOST_SECONDS, CallScript, load_script
from .catalogs import find_plan
from .core_trace import TraceRow, pattern_name, trace_rows
from .plan import SitePlan
from .signals import Lamps, phases_in

INTERVAL_WIDTH = 18
"""Of a ring's column: phase, interval, seconds in it. [characters]"""
CALLS_WIDTH = 13
LEGEND = (
    "lamps: G green, Y yellow, R red; second letter W walk, F flashing clearance, x extension, . don't walk;"
    " * flash"
)


@click.group()
def core() -> None:
    """Look at the signal core alone."""


@core.command(
    epilog="Examples: `bitgoeul core trace bukmun_5 --calls docs/examples/calls/extension.toml` or "
    "`bitgoeul core trace bukmun_5 --calls docs/examples/calls/free.toml --changes`. The scripts in "
    "docs/examples/calls show every field."
)
@click.argument("site", metavar="SITE_OR_PLAN")
@click.option("--calls", "script_file", required=True, type=click.Path(path_type=Path),
              help="Script of calls and orders by the second (TOML).")  # fmt: skip
@click.option("--seconds", type=click.IntRange(1, int(MOST_SECONDS)),
              help="How long; default: the script's end and the longest cycle.")  # fmt: skip
@click.option("--changes", is_flag=True, help="One line per change instead of one per second.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def trace(site: str, script_file: Path, seconds: int | None, changes: bool, as_json: bool) -> None:
    """Run the core of a registered site's plan, or of a plan file, under a script of calls.

    One line shows the time, the place in the cycle, each ring's phase and interval with the seconds in it,
    the lamps of each phase, the calls registered, what is held, the pattern, and what happened.
    """
    plan = find_plan(site)
    script = load_script(script_file, plan)
    rows = trace_rows(plan, script, seconds or _default_seconds(plan, script), by_change=changes)
    if as_json:
        document = {"site": plan.site.id, "start_hour": script.start_hour}
        click.echo(json.dumps({**document, "rows": [_as_json(each) for each in rows]}, ensure_ascii=False))
        return
    click.echo(LEGEND)
    click.echo(_header(plan))
    for row in rows:
        click.echo(_line(plan, row))


def _default_seconds(plan: SitePlan, script: CallScript) -> int:
    longest_s = max((each.cycle_s for each in plan.patterns), default=plan.worst_service_s)
    return min(int(script.last_s + longest_s) + 1, int(MOST_SECONDS))


def _header(plan: SitePlan) -> str:
    rings = [f"ring {index + 1}".ljust(INTERVAL_WIDTH) for index in range(len(plan.rings))]
    lamps = [f"{number:<2}" for number in plan.phase_numbers]
    lamps += [each.id.ljust(max(2, len(each.id))) for each in plan.overlaps]
    calls = [words.ljust(CALLS_WIDTH) for words in ("vehicles", "walkers")]
    return _joined(
        ["    time", " cycle", *rings, " ".join(lamps), *calls, "held".ljust(6), "pattern", "events"]
    )


def _line(plan: SitePlan, row: TraceRow) -> str:
    status = row.status
    cycle = "     -" if row.cycle_ds is None else f"{row.cycle_ds / 10:6.1f}"
    rings = [
        (f"{each.phase} {each.interval} {each.lasted_ds / 10:.1f}" if each.phase else "rests in red").ljust(
            INTERVAL_WIDTH
        )
        for each in row.rings
    ]
    calls = [_named(plan, mask).ljust(CALLS_WIDTH) for mask in (status.vehicle_calls, status.ped_calls)]
    held = _named(plan, status.held | status.red_held).ljust(6)
    pattern = pattern_name(status.pattern) + (f" P{status.preempt}" if status.preempt else "")
    lamps = lamp_strip(plan, row.lamps, row.extending)
    events = "; ".join(_told(row, index) for index in range(len(row.events)))
    columns = [f"{row.at_ds / 10:8.1f}", cycle, *rings, lamps, *calls, held, pattern.ljust(7), events]
    return _joined(columns).rstrip()


def _told(row: TraceRow, index: int) -> str:
    event = row.events[index]
    later_ds = event.at_ds - row.at_ds
    return f"+{later_ds / 10:.1f} {event.words}" if later_ds else event.words


def _joined(columns: list[str]) -> str:
    return "  ".join(columns)


def _named(plan: SitePlan, mask: int) -> str:
    """Return the phases of a mask in few letters."""
    phases = phases_in(mask)
    if len(phases) > 1 and phases == plan.phase_numbers:
        return "all"
    return ",".join(map(str, phases)) or "-"


def lamp_strip(plan: SitePlan, lamps: Lamps, extending: int) -> str:
    """Return two letters per phase, vehicles then walkers, and one per overlap (see `LEGEND`).

    Parameters
    ----------
    plan : the plan.
    lamps : what is lit.
    extending : phases in extension, as a mask.
    """
    extended = {each.id for index, each in enumerate(plan.crossings) if lamps.ped_extend >> index & 1}
    cells = []
    for number in plan.phase_numbers:
        bit, crossings = 1 << (number - 1), plan.phase(number).crossings
        walker = "." if crossings else " "
        if extending & bit or extended & set(crossings):
            walker = "x"
        walker = "W" if lamps.walk & bit else "F" if lamps.ped_clear & bit else walker
        cells.append("* " if lamps.is_flashing else _vehicles(lamps.green, lamps.yellow, bit) + walker)
    for index, overlap in enumerate(plan.overlaps):
        letter = _vehicles(lamps.overlap_green, lamps.overlap_yellow, 1 << index)
        cells.append(("*" if lamps.is_flashing else letter).ljust(max(2, len(overlap.id))))
    return " ".join(cells)


def _vehicles(green: int, yellow: int, bit: int) -> str:
    return "G" if green & bit else "Y" if yellow & bit else "R"


def _as_json(row: TraceRow) -> dict[str, Any]:
    lamps, status = row.lamps, row.status
    masks = ("green", "yellow", "walk", "ped_clear")
    return {
        "time_s": row.at_ds / 10,
        "cycle_s": None if row.cycle_ds is None else row.cycle_ds / 10,
        "rings": [
            {"phase": each.phase, "interval": each.interval.value, "lasted_s": each.lasted_ds / 10}
            for each in row.rings
        ],
        "lamps": {name: phases_in(getattr(lamps, name)) for name in masks},
        "overlap_green": lamps.overlap_green,
        "overlap_yellow": lamps.overlap_yellow,
        "is_flashing": lamps.is_flashing,
        "extending": phases_in(row.extending),
        "vehicle_calls": phases_in(status.vehicle_calls),
        "ped_calls": phases_in(status.ped_calls),
        "held": phases_in(status.held),
        "red_held": phases_in(status.red_held),
        "pattern": pattern_name(status.pattern),
        "preempt": status.preempt,
        "out_of_step_s": status.out_of_step_ds / 10,
        "events": [{"time_s": each.at_ds / 10, "event": each.words} for each in row.events],
    }

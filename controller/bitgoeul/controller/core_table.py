"""The core's tables as text: what the documents show is drawn from what the core runs."""

from __future__ import annotations

from .core import AT_A_BARRIER, TRANSITIONS
from .heads import INDICATIONS
from .ring import Interval

LAMPS = {
    "green": "vehicles green",
    "yellow": "vehicles yellow",
    "walk": "walk",
    "ped_clear": "flashing green",
}


def table() -> str:
    """Return the table of intervals as Markdown: what is lit, what ends it, what follows."""
    lines = ["| interval | lit (else red, don't walk) | ends when | into |", "|---|---|---|---|"]
    for interval in Interval:
        lit = ", ".join(LAMPS[lamp] for lamp in INDICATIONS[interval]) or "nothing"
        for when, into in _ends(interval):
            lines.append(f"| {interval} | {lit} | {when} | {', '.join(into)} |")
    return "\n".join(lines)


def diagram() -> str:
    """Return the state diagram of a ring in Mermaid's language."""
    lines = ["stateDiagram-v2", "    [*] --> red_clear"]
    for interval in Interval:
        arrows = {target: None for _, into in _ends(interval) for target in into}
        lines += [f"    {interval} --> {target}" for target in arrows]
    return "\n".join(lines)


def _ends(interval: Interval) -> list[tuple[str, tuple[Interval, ...]]]:
    own = [(each.when, each.into) for each in TRANSITIONS[interval]]
    at_barrier = AT_A_BARRIER.get(interval)
    return [*own, (f"at a barrier: {at_barrier[0]}", at_barrier[1])] if at_barrier else own

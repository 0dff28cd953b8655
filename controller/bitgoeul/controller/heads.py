"""What the heads show: lamps, countdowns and sounds that follow from a core's intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .plan import SitePlan
from .ring import NONE, Interval
from .signals import Lamps, phase_mask

if TYPE_CHECKING:
    from .core import SignalCore

INDICATIONS: dict[Interval, tuple[str, ...]] = {
    Interval.LEADING_WALK: ("walk",),
    Interval.WALK_DELAY: ("green",),
    Interval.WALK: ("green", "walk"),
    Interval.PED_CLEAR: ("green", "ped_clear"),
    Interval.GREEN: ("green",),
    Interval.YELLOW: ("yellow",),
    Interval.RED_CLEAR: (),
}
"""Lamps lit in each interval; whatever is not lit is red, or don't walk."""


def shown(core: SignalCore) -> Lamps:
    """Return the lamps of the present intervals."""
    if core.unit.is_flashing:
        return Lamps(is_flashing=True)
    masks = dict.fromkeys(("green", "yellow", "walk", "ped_clear"), 0)
    for ring in core.rings:
        for lamp in INDICATIONS[ring.interval]:
            masks[lamp] |= ring.bit
    overlap_green = overlap_yellow = 0
    for index, phases in enumerate(core.timing.overlaps):
        is_green = bool(masks["green"] & phases) or _goes_on(core, phases)
        overlap_green |= is_green << index
        overlap_yellow |= (not is_green and bool(masks["yellow"] & phases)) << index
    return Lamps(
        green=masks["green"],
        yellow=masks["yellow"],
        walk=masks["walk"],
        ped_clear=masks["ped_clear"],
        overlap_green=overlap_green,
        overlap_yellow=overlap_yellow,
        ped_extend=core.ped_extend,
    )


def _goes_on(core: SignalCore, phases: int) -> bool:
    """Tell whether an overlap stays green from one of its phases to the next.

    Inside a barrier group the same ring must go on to another of them; at a barrier any ring may,
    because all start together.
    """
    ending = [ring for ring in core.rings if ring.bit & phases and ring.next_phase]
    if core.next_barrier != NONE and any(ring.bit & phases for ring in core.rings):
        ending = core.rings
    return any(ring.next_phase and phases >> (ring.next_phase - 1) & 1 for ring in ending)


@dataclass(frozen=True, slots=True, kw_only=True)
class PedestrianHead:
    """What a walker sees and hears at one crossing.

    Parameters
    ----------
    crossing : crossing id.
    indication : `walk`, `clear` (flashing green), `extend` (flashing green in an extension),
        `dont_walk`, `dark` (the unit flashes).
    countdown_s : whole seconds of clearance left; None while the countdown is dark. [s]
    is_sounding : the acoustic signal speaks.
    """

    crossing: str
    indication: str
    countdown_s: int | None
    is_sounding: bool


def pedestrian_heads(plan: SitePlan, core: SignalCore) -> tuple[PedestrianHead, ...]:
    """Return every crossing's head, in the plan's order.

    Notes
    -----
    The countdown runs in clearance only, which nothing lengthens, so it never goes up; it is dark in walk,
    which may last, and in an extension. Sound goes with walk and clearance, never with an extension.
    """
    return tuple(
        _head(core, crossing.id, index, phase_mask(plan.walk_phases(crossing.id)), crossing.acoustic)
        for index, crossing in enumerate(plan.crossings)
    )


def _head(core: SignalCore, crossing: str, index: int, phases: int, has_sound: object) -> PedestrianHead:
    lamps, countdown_s, indication = core.lamps, None, "dont_walk"
    if lamps.is_flashing:
        indication = "dark"
    elif lamps.walk & phases:
        indication = "walk"
    elif lamps.ped_clear & phases:
        indication = "clear"
        ring = next(r for r in core.rings if r.bit & phases and r.interval is Interval.PED_CLEAR)
        until_ds = ring.since_ds + core.timing.phases[ring.phase].duration_ds["ped_clear"]
        countdown_s = math.ceil((until_ds - core.now_ds) / 10)
    elif lamps.ped_extend >> index & 1:
        indication = "extend"
    is_sounding = bool(has_sound) and indication in ("walk", "clear")
    return PedestrianHead(
        crossing=crossing, indication=indication, countdown_s=countdown_s, is_sounding=is_sounding
    )

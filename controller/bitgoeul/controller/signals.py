"""What passes between controller and cabinet: phase bitmaps, calls, commands, lamps.

All masks are NTCIP 1202 phase groups: bit 0 is phase 1 (FIELD: INTEGER 0..255 a group; ours holds up
to 16 phases in one integer).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

PATTERN_BY_PLAN = 0
"""`Commands.pattern`: the cabinet picks the pattern by its own time of day."""
PATTERN_FLASH = 255
"""`Commands.pattern`: automatic flash (NTCIP 1202 systemPatternControl 255)."""
PATTERN_FREE = 254
"""`Commands.pattern`: uncoordinated operation (NTCIP 1202 systemPatternControl 254)."""


def phase_bit(phase: int) -> int:
    """Return the bitmap of one phase (1 to 16)."""
    return 1 << (phase - 1)


def phase_mask(phases: object) -> int:
    """Return the bitmap of several phases."""
    mask = 0
    for phase in phases:  # type: ignore[attr-defined]
        mask |= 1 << (phase - 1)
    return mask


@lru_cache(maxsize=4096)
def phases_in(mask: int) -> tuple[int, ...]:
    """Return the phase numbers in a bitmap, ascending."""
    return tuple(phase for phase in range(1, 17) if mask >> (phase - 1) & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What the cabinet's own detectors say in a tick.

    Parameters
    ----------
    vehicle : phases with a vehicle waiting in a detection zone (a call while red).
    extend : phases whose passage detector is occupied (restarts the passage time while green).
    ped : phases whose walk is called (latched by the core until walk starts).
    """

    vehicle: int = 0
    extend: int = 0
    ped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What may be asked of a cabinet: NTCIP 1202 control objects, and what only our own core knows.

    Parameters
    ----------
    hold : keep these phases green; outranks force-off, max-out and gap-out.
    force_off : end these greens as soon as their minimums and clearances are served.
    phase_omit, ped_omit : do not start these phases; do not start their walk.
    vehicle_call, ped_call : register demand.
    walk_rest : rest in walk on these phases once walk is served (unit control bit 5 in NTCIP).
    red_hold : keep the red clearance of these phases (own core only; form R).
    ped_extend : crossings (bit 0: the plan's first) whose flashing green goes on in an extension, if
        the plan displays it so (own core only).
    stop_time, ped_recycle, max_2 : rings (bit 0: ring 1) whose time stands still; whose walk is served
        again in a held or unwanted green; whose greens run to max 2 (NTCIP ring control groups).
    preempt : number of the preemption input that is on; 0 none. The lowest number is the cabinet's to see.
    pattern : `PATTERN_BY_PLAN`, `PATTERN_FREE`, `PATTERN_FLASH`, or a pattern number of the plan.
    """

    hold: int = 0
    force_off: int = 0
    phase_omit: int = 0
    ped_omit: int = 0
    vehicle_call: int = 0
    ped_call: int = 0
    walk_rest: int = 0
    red_hold: int = 0
    ped_extend: int = 0
    stop_time: int = 0
    ped_recycle: int = 0
    max_2: int = 0
    preempt: int = 0
    pattern: int = PATTERN_BY_PLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamps:
    """Indications read back from the cabinet; what is in no mask is red, or don't walk.

    Parameters
    ----------
    green, yellow, walk, ped_clear : phases.
    overlap_green, overlap_yellow : overlaps (bit 0: the plan's first).
    ped_extend : crossings (bit 0: the plan's first) whose flashing green goes on in an extension.
    is_flashing : the unit flashes; every other mask is 0 and walkers' heads are dark.
    """

    green: int = 0
    yellow: int = 0
    walk: int = 0
    ped_clear: int = 0
    overlap_green: int = 0
    overlap_yellow: int = 0
    ped_extend: int = 0
    is_flashing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CabinetStatus:
    """What a cabinet reports besides its lamps (NTCIP phaseStatusGroup, plus our own).

    Parameters
    ----------
    phase_on, phase_next : masks of the phases in service and those that follow.
    vehicle_calls, ped_calls : registered demand.
    held : phases whose green would end now but for a hold.
    red_held : phases whose red clearance has run out but is held.
    pattern : pattern in effect, `PATTERN_FREE` or `PATTERN_FLASH`.
    preempt : number of the preemption in effect; 0 none.
    out_of_step_ds : how far the cycle lags behind its pattern, negative ahead; 0 in step. [0.1 s]
    """

    phase_on: int
    phase_next: int
    vehicle_calls: int
    ped_calls: int
    held: int
    red_held: int
    pattern: int
    preempt: int = 0
    out_of_step_ds: int = 0


PHASE_ORDERS = (
    "hold",
    "force_off",
    "phase_omit",
    "ped_omit",
    "vehicle_call",
    "ped_call",
    "walk_rest",
    "red_hold",
)
"""Fields of `Commands` that name phases."""
RING_ORDERS = ("stop_time", "ped_recycle", "max_2")
"""Fields of `Commands` that name rings."""
NO_CALLS = Calls()
NO_COMMANDS = Commands()
ALL_RED = Lamps()

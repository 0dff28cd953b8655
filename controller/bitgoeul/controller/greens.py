"""What ends an interval of a ring, and what may follow: the questions that the core's table asks.

Nothing here changes anything. Each function reads a `SignalCore` as it is at this moment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import unit as units
from .ring import GREENS, NONE, Interval, Ring, phases_next, phases_on
from .signals import PATTERN_FREE
from .timing import DAY_DS, DONT_WALK_DS, PatternTiming

if TYPE_CHECKING:
    from .core import SignalCore


def has_conflicting_demand(core: SignalCore, index: int) -> bool:
    """Tell whether somebody waits for a phase that cannot be reached while this green lasts."""
    reachable = 0
    for other_index, other in enumerate(core.rings):
        if not other.phase:
            reachable |= core.timing.ring_masks[other_index][core.barrier]
            continue
        reachable |= other.bit
        if other_index != index:
            reachable |= core.timing.later[other.phase]
    return bool(core.demand & ~reachable)


def wants_to_end(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether a green has served its minimum and has a reason to end (hold apart).

    The reasons stand in their order of precedence: flash, preemption, force-off, the pattern, max-out and
    gap-out.
    """
    if ring.interval is not Interval.GREEN or not _has_served_minimum(core, ring):
        return False
    is_wanted = has_conflicting_demand(core, index)
    if units.wants_flash(core.commands):
        return True
    if core.only:  # a named phase stays, unless another named one cannot be reached beside it
        return is_wanted or not core.only & ring.bit
    if core.cycle is not None and not core.cycle.coordinated and not core.commands.force_off & ring.bit:
        return core.now_ds >= due_ds(core, ring)
    return is_wanted and _has_reason(core, ring, index)


def _has_served_minimum(core: SignalCore, ring: Ring) -> bool:
    return core.now_ds >= ring.green_since_ds + core.timing.phases[ring.phase].min_green_ds


def _has_reason(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell why a green that others wait for ends: force-off, yield point, max-out or gap-out."""
    if core.commands.force_off & ring.bit:
        return True
    is_over = maxes_out(core, ring, index) if core.cycle is None else core.now_ds >= due_ds(core, ring)
    is_coordinated = core.cycle is not None and core.cycle.coordinated & ring.bit
    return is_over or (not is_coordinated and (ring.has_gapped_out or gaps_out(core, ring, index)))


def gaps_out(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether passage has run out and somebody waits."""
    if core.calls.extend & ring.bit or core.timing.max_recall & ring.bit:
        return False
    timing = core.timing.phases[ring.phase]
    is_out = core.now_ds >= max(
        core.extended_ds[index] + timing.passage_ds, ring.green_since_ds + timing.min_green_ds
    )
    return is_out and has_conflicting_demand(core, index)


def with_timers(core: SignalCore, ring: Ring, index: int) -> Ring:
    """Return a green with its timers: maximum, and the gap-out that stays where it may.

    Both are held reset while nobody waits, but for a recalled maximum (NTCIP 1202 phaseMaximum1).
    """
    is_wanted = has_conflicting_demand(core, index)
    max_since_ds = ring.max_since_ds
    if core.timing.max_recall & ring.bit:
        max_since_ds = ring.green_since_ds
    elif not is_wanted:
        max_since_ds = NONE
    elif max_since_ds == NONE:
        max_since_ds = core.now_ds
    is_latched = ring.has_gapped_out or gaps_out(core, ring, index)
    has_gapped_out = bool(core.timing.ends_alone & ring.bit) and is_wanted and is_latched
    if (max_since_ds, has_gapped_out) == (ring.max_since_ds, ring.has_gapped_out):
        return ring
    return replace(ring, max_since_ds=max_since_ds, has_gapped_out=has_gapped_out)


def maxes_out(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether somebody has waited through this green's maximum."""
    return 0 <= ring.max_since_ds <= core.now_ds - max_ds(core, ring, index)


def max_ds(core: SignalCore, ring: Ring, index: int) -> int:
    """Return the maximum green in effect: the running dynamic one, max 2 or max 1. [0.1 s]"""
    if ring.phase in core.running_max:
        return core.running_max[ring.phase][0]
    return core.timing.phases[ring.phase].max_green_ds[core.commands.max_2 >> index & 1]


def is_held(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a hold on this ring's phase counts."""
    is_ordered = bool(core.commands.hold & ring.bit)
    return is_ordered and units.keeps_hold(core.unit, core.timing, ring, core.now_ds)


def is_red_held(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a hold on this ring's red clearance counts."""
    is_ordered = bool(core.commands.red_hold & ring.bit)
    return is_ordered and units.keeps_hold(core.unit, core.timing, ring, core.now_ds)


def may_end(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether a green ends now: it wants to, and nobody holds it."""
    return not is_held(core, ring) and wants_to_end(core, ring, index)


def due_ds(core: SignalCore, ring: Ring) -> int:
    """Return the force-off of this service, for coordinated phases the yield point. [0.1 s]"""
    if ring.due_ds >= 0 or core.cycle is None:
        return ring.due_ds
    started_ds = ring.green_since_ds + core.day_offset_ds
    midnight_ds = started_ds // DAY_DS * DAY_DS  # the reference of a cycle is midnight, every day
    forced_ds = core.cycle.force_off_ds(ring.phase, started_ds - midnight_ds, core.shift_ds)
    return forced_ds + midnight_ds - core.day_offset_ds


def next_due_ds(core: SignalCore, ring: Ring) -> int:
    """Return the force-off to come; for a coordinated phase that rests on, the next yield point."""
    first_ds, cycle = due_ds(core, ring), core.cycle
    if cycle is None or not cycle.coordinated & ring.bit or first_ds > core.now_ds:
        return first_ds
    return core.now_ds + cycle.cycle_ds - cycle.since_yield_ds(core.time_of_day_ds, core.shift_ds)


def rests_in_walk(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether walk goes on past its time: ordered, or by plan while there is time and no demand."""
    if core.only or units.wants_flash(core.commands):
        return False
    if core.commands.walk_rest & ring.bit or not core.timing.rest_in_walk & ring.bit:
        return bool(core.commands.walk_rest & ring.bit)
    if core.cycle is None:
        return not has_conflicting_demand(core, index)
    return core.now_ds < next_due_ds(core, ring) - core.timing.phases[ring.phase].duration_ds["ped_clear"]


def walks_again(core: SignalCore, ring: Ring, index: int) -> bool:
    """Tell whether walk is served once more in this green: called, nobody else wants it, time enough."""
    is_recycled = bool(core.commands.ped_recycle >> index & 1)
    is_ordered = bool(core.commands.hold & ring.bit)
    wanted = core.ped_calls
    if is_recycled or is_idle_yield(core, ring):
        wanted |= core.timing.ped_recall
    wanted &= core.timing.has_walk & ~core.commands.ped_omit
    if not wanted & ring.bit or core.only or units.wants_flash(core.commands):
        return False
    is_too_early = ring.has_walked and core.now_ds < ring.since_ds + DONT_WALK_DS
    if is_too_early or (is_ordered and not is_recycled):
        return False
    if core.cycle is not None:
        ends_ds = core.now_ds + core.timing.phases[ring.phase].walks_ds
        return not core.commands.force_off & ring.bit and ends_ds <= next_due_ds(core, ring)
    return is_ordered or not has_conflicting_demand(core, index)


def rests_past_yield(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a coordinated phase rests in green past its yield point."""
    is_coordinated = core.cycle is not None and bool(core.cycle.coordinated & ring.bit)
    return is_coordinated and ring.interval in GREENS and core.now_ds > due_ds(core, ring)


def is_idle_yield(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a coordinated phase rests on past its yield point, with nobody left to yield to."""
    return rests_past_yield(core, ring) and core.cycle is not None and not permitted(core, core.cycle)


def conditional_phase(core: SignalCore, index: int) -> int:
    """Return an earlier phase that is served again because the other rings still need that long."""
    ring, timing = core.rings[index], core.timing
    is_possible = timing.conditional and core.cycle is None and not core.only and not ring.is_conditional
    if not is_possible or ring.interval is not Interval.GREEN:
        return 0
    left_ds = others_need_ds(core, index)
    clear_ds = timing.phases[ring.phase].clear_ds
    sequence = timing.rings[index][core.barrier]
    for phase in sequence[: sequence.index(ring.phase)]:
        is_wanted = timing.conditional & core.demand & 1 << (phase - 1)
        if is_wanted and clear_ds + timing.phases[phase].min_green_ds <= left_ds:
            return phase
    return 0


def others_need_ds(core: SignalCore, index: int) -> int:
    """Return how long the other rings' greens last at most; 0 when they could end now. [0.1 s]"""
    left = [
        other.max_since_ds + max_ds(core, other, i) - core.now_ds
        for i, other in enumerate(core.rings)
        if i != index
        and other.max_since_ds >= 0
        and other.interval in GREENS
        and not wants_to_end(core, other, i)
    ]
    return max(left, default=0)


def has_run_out(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a ring's red clearance has lasted its time; a ring at rest has none."""
    return ring.interval is Interval.RED_CLEAR and (not ring.phase or core.now_ds >= red_until_ds(core, ring))


def red_until_ds(core: SignalCore, ring: Ring) -> int:
    """Return the end of red clearance, or of red revert where the same phase follows. [0.1 s]"""
    timing = core.timing.phases[ring.phase]
    may_return = ring.next_phase == ring.phase or core.only
    revert_ds = timing.red_revert_ds if may_return else 0
    return ring.since_ds + max(timing.duration_ds["red_clear"], revert_ds)


def is_clear(core: SignalCore, ring: Ring) -> bool:
    """Tell whether a ring's red clearance has run out and is not held."""
    is_time = core.now_ds >= units.first_green_ds(core.unit, core.timing)
    return is_time and has_run_out(core, ring) and not is_red_held(core, ring)


def permitted(core: SignalCore, cycle: PatternTiming) -> int:
    """Return the uncoordinated phases whose permissive period is open."""
    since_ds = cycle.since_yield_ds(core.time_of_day_ds, core.shift_ds)
    return sum(1 << (phase - 1) for phase, latest_ds in cycle.latest_ds.items() if since_ds <= latest_ds)


def phases_ahead(core: SignalCore, index: int) -> tuple[int, ...]:
    """Return the demanded phases this ring can still serve before the barrier, in order."""
    ring, sequence = core.rings[index], core.timing.rings[index][core.barrier]
    if ring.is_conditional:
        return ()
    if ring.phase in sequence:
        sequence = sequence[sequence.index(ring.phase) + 1 :]
    return tuple(p for p in sequence if core.demand >> (p - 1) & 1)


def following(core: SignalCore, index: int) -> int:
    """Return the phase that this ring serves next inside its barrier group; 0 for none."""
    ahead = phases_ahead(core, index)
    return ahead[0] if ahead else conditional_phase(core, index)


def is_stopped(core: SignalCore, index: int) -> bool:
    """Tell whether this ring's time stands still (NTCIP ringControlGroupStopTime)."""
    return bool(core.commands.stop_time >> index & 1)


def next_running_max(core: SignalCore, ring: Ring, index: int) -> tuple[int, int]:
    """Return a phase's running maximum after this green, and its streak.

    It moves a step after two max-outs, or two gap-outs, in a row and on each one that follows, between
    max green and the dynamic limit (NTCIP 1202 phaseDynamicMaxStep).

    Returns
    -------
    Running maximum [0.1 s], and max-outs in a row (gap-outs are negative).
    """
    timing = core.timing.phases[ring.phase]
    normal_ds, limit_ds = timing.max_green_ds[0], timing.dynamic_max_ds
    running_ds, streak = core.running_max.get(ring.phase, (normal_ds, 0))
    way = 1 if maxes_out(core, ring, index) else 0
    if ring.has_gapped_out or gaps_out(core, ring, index):
        way = -1
    if not way or core.commands.force_off & ring.bit:  # forced off: neither
        return running_ds, streak
    streak = streak + way if streak * way > 0 else way
    stepped_ds = running_ds + way * timing.dynamic_step_ds
    if abs(streak) > 1 and min(normal_ds, limit_ds) <= stepped_ds <= max(normal_ds, limit_ds):
        running_ds = stepped_ds
    return running_ds, streak


def following_barrier(core: SignalCore) -> int:
    """Return the next barrier group with demand (the present one last), or `NONE`."""
    masks = core.timing.barrier_masks
    serving = phases_on(core.rings)
    for step in range(1, len(masks) + 1):
        barrier = (core.barrier + step) % len(masks)
        wanted = core.demand & masks[barrier]
        if wanted & ~serving if step == len(masks) else wanted:
            return barrier
    return NONE


def first_phase(core: SignalCore, index: int, barrier: int) -> int:
    """Return the phase a ring enters a group with: the first demanded, else a dual-entry partner."""
    sequence = core.timing.rings[index][barrier]
    called = [p for p in sequence if core.demand >> (p - 1) & 1]
    omits = core.commands.phase_omit
    partners = [] if core.only else [p for p in sequence if core.timing.may_enter_uncalled(p, omits)]
    return (called or partners or [0])[0]


def gives_way_to_named(core: SignalCore, rings: list[Ring]) -> bool:
    """Tell whether the phases next of these rings give way to those that preemption or flash exit name.

    Not while an overlap is green: it may be going on to one of them.
    """
    return bool(core.only and phases_next(rings) & ~core.only) and not core.lamps.overlap_green


def wanted_pattern(core: SignalCore) -> int:
    """Return the pattern number that should time the phases now, or `PATTERN_FREE`."""
    asked = core.commands.pattern
    if asked in core.timing.patterns:
        return asked
    if asked == PATTERN_FREE or not core.timing.patterns:
        return PATTERN_FREE
    return core.timing.pattern_at(core.time_of_day_ds)

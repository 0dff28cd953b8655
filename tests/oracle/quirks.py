"""Why SUMO's controller may differ from ours: narrow rules, each with its reason.

Read from `NEMAController.cpp` of eclipse-sumo 1.28. A difference that no rule explains fails the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockstep import NONE, WITHIN_ONE_STEP
from timing_tables import STEP_DS

from bitgoeul.controller.signals import phase_mask, phases_in

UNEXPLAINED = "UNEXPLAINED"


@dataclass(frozen=True, slots=True)
class Quirk:
    """A known way in which SUMO differs."""

    name: str
    reason: str
    explains: Callable


def _ring_of(parting, bit):
    return next(index for index, ring in enumerate(parting.rings) if ring.bit == bit)


def _groups(parting, index):
    """Return (phases before, phases after it in the barrier, phases beyond) of a ring's phase, as masks."""
    ring, places = parting.rings[index], parting.follower.table.rings[index]
    barrier = parting.follower.table.barrier_of(ring.phase)
    group = places[barrier]
    place = group.index(ring.phase)
    beyond = (n for other, each in enumerate(places) if other != barrier for n in each)
    return phase_mask(group[:place]), phase_mask(group[place + 1 :]), phase_mask(beyond)


def _is_due(parting, index):
    """Tell whether a green has nothing left by our rules: minimum served, maxed or gapped out."""
    follower, ring = parting.follower, parting.rings[index]
    if not ring.is_green or follower.is_short(ring, parting.now_ds):
        return False
    is_maxed = NONE != follower.maxed_ds(ring) <= parting.now_ds
    is_recalled = bool(follower.max_recall & ring.bit)
    is_out = ring.has_gapped_out or follower.is_over(ring, parting.calls, parting.now_ds)
    return is_maxed or (is_out and not is_recalled)


def _we_may_stay(parting):
    """Tell whether our rules keep what SUMO ends: no ring can move on, nor all cross together."""
    dues = [_is_due(parting, index) for index in range(len(parting.rings))]
    laters = [bool(_groups(parting, index)[1] & parting.demand) for index in range(len(parting.rings))]
    moves_on = any(due and later for due, later in zip(dues, laters, strict=True))
    return not moves_on and not (all(dues) and not any(laters))


def _we_may_end(parting):
    """Tell whether our rules end what we ended: every such green is due."""
    ended = parting.before[0] & ~parting.ours[0]
    return all(_is_due(parting, index) for index, ring in enumerate(parting.rings) if ring.bit & ended)


def _we_chose_rightly(parting, index, own):
    """Tell whether what we start is what was called first as the green ended, else the dual-entry phase."""
    follower, ring = parting.follower, parting.rings[index]
    table, memory = follower.table, parting.memories[index]
    barrier = table.barrier_of(own)
    group = table.rings[index][barrier]
    if ring.phase in group[: group.index(own)]:
        group = group[group.index(ring.phase) + 1 :]
    ended_s = ring.since_ds // 10 - (0 if ring.bit & parting.before[1] else table.timing(ring.phase).yellow)
    called = [n for n in group if memory.demand_at_end >> (n - 1) & 1]
    if table.cycle:
        is_open = follower.permissives.is_open_to_us
        called = [n for n in called if n in table.coordinated or is_open(n, ended_s)]
    return own == (called or [n for n in group if n in table.defaults[barrier]] or [0])[0]


def _reselects(parting):
    """Both start a green now, and the calls of some ring changed in its clearance as SUMO's choice did."""
    sumo_starts, we_start = (lamps[0] & ~parting.before[0] for lamps in (parting.sumo, parting.ours))
    if not sumo_starts or not we_start:
        return False
    table, number = parting.follower.table, parting.follower.number
    sides = {table.barrier_of(number[starts & -starts]) for starts in (sumo_starts, we_start)}
    explained = []
    for index, (mask, memory) in enumerate(zip(parting.follower.masks, parting.memories, strict=True)):
        theirs, own = parting.sumo[0] & mask, parting.ours[0] & mask
        came = theirs & (memory.seen | parting.demand) & ~memory.demand_at_end
        went = own & memory.demand_at_end & ~(memory.kept & parting.demand)
        explained.append(theirs == own or came or went)
        if own & we_start and not _we_chose_rightly(parting, index, number[own]):
            return False
    return any(explained) if len(sides) > 1 else all(explained)


def _cuts_minimum(parting):
    """SUMO ends a green before its minimum."""
    ended = (ring for ring in parting.rings if ring.bit & parting.sumo_ends)
    return any(parting.follower.is_short(ring, parting.now_ds) for ring in ended)


def _drags_along(parting):
    """SUMO ends a green we keep for its traffic, as the other reaches its maximum (a step early at most)."""
    for ring in parting.rings:
        maxed_ds = parting.follower.maxed_ds(ring)
        if maxed_ds != NONE and maxed_ds <= parting.now_ds + STEP_DS and not ring.bit & parting.sumo[0]:
            return bool(parting.sumo_ends & ~ring.bit) and _we_may_stay(parting)
    return False


def _backs_up(parting):
    """SUMO ends one green alone, and only an earlier phase of its own barrier is called in its ring."""
    ended = parting.before[0] & ~parting.sumo[0]
    if ended.bit_count() != 1:
        return False
    index = _ring_of(parting, ended)
    earlier, later, beyond = _groups(parting, index)
    demand = _eligible(parting, index)
    if not demand & earlier or demand & (later | beyond):
        return False
    if parting.follower.table.cycle:
        return True
    return _we_may_stay(parting) if parting.ours == parting.before else _we_may_end(parting)


def _eligible(parting, index):
    """Return the demand that SUMO would serve after a green: after a coordinated one, what is permitted."""
    ring, table = parting.rings[index], parting.follower.table
    if ring.phase not in table.coordinated:
        return parting.demand
    is_open = parting.follower.permissives.is_open
    called = phases_in(parting.demand & parting.follower.masks[index] & ~phase_mask(table.coordinated))
    return phase_mask(number for number in called if is_open(number, ring.phase, parting.now_ds // 10))


def _latches(parting):
    """SUMO ends a green we keep for its traffic, having latched its gap-out while the other ring went on."""
    is_latched = any(memory.is_transfer for memory in parting.memories)
    return bool(parting.sumo_ends) and is_latched and _we_may_stay(parting)


def _forgets(parting):
    """SUMO ends a green we keep for its traffic, having lost an extension as a call went away."""
    has_forgotten = any(memory.has_forgotten for memory in parting.memories)
    return bool(parting.sumo_ends) and has_forgotten and _we_may_stay(parting)


def _skips(parting):
    """SUMO crosses the barrier though a phase of this group is called, or promised, in a ring."""
    if not parting.sumo_ends and not parting.sumo[0] & ~parting.ours[0]:
        return False
    for index, ring in enumerate(parting.rings):
        later = _groups(parting, index)[1]
        is_ending = not ring.is_green or ring.bit & ~parting.sumo[0]
        if is_ending and later & (parting.demand | parting.memories[index].demand_at_end):
            return not later & parting.sumo[0]
    return False


def _rests_anew(parting):
    """We end a green, maxed or gapped out by the latch, beside which SUMO started another in the meantime."""
    for ring in parting.rings:
        others = [other.green_since_ds for other in parting.rings if other is not ring and other.is_green]
        if not ring.bit & parting.we_end or not others or others[0] <= ring.green_since_ds:
            continue
        is_maxed = 0 <= parting.follower.maxed_ds(ring) <= parting.now_ds and others[0] > ring.max_since_ds
        if is_maxed or not parting.follower.is_over(ring, parting.calls, parting.now_ds):
            return _we_may_end(parting)
    return False


def _counts_any_call(parting):
    """SUMO ends a green at its maximum (a step early at most), counted from before anybody waited."""
    for ring in parting.rings:
        if ring.bit & parting.sumo_ends and ring.is_green:
            lasted_ds = parting.now_ds - ring.green_since_ds
            is_at_maximum = lasted_ds >= 10 * parting.follower.timing[ring.phase].maximum - STEP_DS
            if is_at_maximum and parting.follower.maxed_ds(ring) > parting.now_ds:
                return _we_may_stay(parting)
    return False


def _in_coordinated_green(parting):
    coordinated = phase_mask(parting.follower.table.coordinated)
    return [i for i, ring in enumerate(parting.rings) if ring.is_green and ring.bit & coordinated]


def _has_yielded(parting, index):
    """Tell whether SUMO's coordinated green has reached its force-off, the yield point."""
    ring, started_s = parting.rings[index], parting.rings[index].green_since_ds // 10
    return parting.now_ds // 10 >= started_s + parting.follower.permissives.till(ring.phase, started_s)


def _runs_a_cycle_late(parting):
    """SUMO starts, or is in, a green that began after its own force-off."""
    table, permissives = parting.follower.table, parting.follower.permissives
    begun = dict.fromkeys(phases_in(parting.sumo[0] & ~parting.before[0]), parting.now_ds)
    changing = parting.before[0] & ~(parting.sumo[0] & parting.ours[0])
    begun |= {
        ring.phase: ring.green_since_ds for ring in parting.rings if ring.is_green and ring.bit & changing
    }
    return any(
        permissives.till(number, begun_ds // 10) > table.timing(number).split
        for number, begun_ds in begun.items()
        if number not in table.coordinated
    )


def _misses_its_yield(parting):
    """We end a coordinated green that started after its yield point, in its own clearance, at its minimum."""
    permissives = parting.follower.permissives
    if any(parting.follower.is_short(ring, parting.now_ds) for ring in parting.rings):
        return False
    return any(
        permissives.cycle - permissives.till(ring.phase, ring.green_since_ds // 10)
        <= permissives.clear(ring.phase)
        for index in _in_coordinated_green(parting)
        if (ring := parting.rings[index]).bit & parting.we_end
    )


def _opens_in_sequence(parting):
    """One of us leaves the coordinated green; by SUMO's own formula it may do so only where it does."""
    rings = _in_coordinated_green(parting)
    leaves = phase_mask(parting.rings[index].phase for index in rings)
    if not all(_has_yielded(parting, index) for index in rings):
        return False
    is_open = any(_eligible(parting, index) & parting.calls for index in rings)
    is_open_to_us = any(
        parting.follower.permissives.is_open_to_us(number, parting.now_ds // 10)
        for number in phases_in(parting.calls)
        if number not in parting.follower.table.coordinated
    )
    if leaves & parting.we_end:
        return is_open_to_us and not is_open
    return bool(leaves & parting.sumo_ends) and is_open and not is_open_to_us


FREE_QUIRKS = (
    Quirk(
        "cuts the minimum green",
        "a phase whose maximum is over makes the other ring ready too, whatever its minimum; "
        "a coordinated one ends at its yield point, whatever its minimum",
        _cuts_minimum,
    ),
    Quirk(
        "backs up inside the barrier",
        "a ring goes back to an earlier phase of its group while the other stays green; "
        "ours clears both rings first (no yellow trap)",
        _backs_up,
    ),
    Quirk(
        "skips a called phase at the barrier",
        "while the other ring rests in green, crossing counts as shorter than the called phase of this group",
        _skips,
    ),
    Quirk(
        "chooses again in clearance",
        "the next phase follows calls that come and go in yellow and red; "
        "ours is chosen as green ends (NTCIP 1202 phase next)",
        _reselects,
    ),
    Quirk(
        "drags the other ring along",
        "a phase whose maximum is over makes the other ring ready too, though its own maximum has time left",
        _drags_along,
    ),
    Quirk(
        "latches gap-outs",
        "a gapped-out green beside a running one no longer hears its own detector, "
        "though nobody waits for its end",
        _latches,
    ),
    Quirk(
        "forgets an extension",
        "when the last call of another phase goes away, a resting green may take its "
        "running extension as over",
        _forgets,
    ),
    Quirk(
        "rests anew",
        "a phase that starts in green rest makes the other ring rest too: its gap and its maximum begin anew",
        _rests_anew,
    ),
    Quirk(
        "counts any call",
        "the maximum also counts while only phases are called that the other ring can serve beside it",
        _counts_any_call,
    ),
)


COORDINATED_QUIRKS = (
    *FREE_QUIRKS[:2],  # cuts the minimum green, backs up inside the barrier
    Quirk(
        "opens permissives in sequence",
        "a coordinated phase gives way to a phase only when the one before it fits no more, or was due "
        "less than a minimum green ago; ours to any phase that fits",
        _opens_in_sequence,
    ),
    Quirk(
        "runs a cycle late",
        "a phase chosen in clearance, or inside the barrier, fits the next cycle too: "
        "started after its force-off, it may last a whole cycle",
        _runs_a_cycle_late,
    ),
    Quirk(
        "misses its yield point",
        "a coordinated phase that starts just after its yield point stays for a cycle; "
        "ours has its minimum and is back in step",
        _misses_its_yield,
    ),
    next(quirk for quirk in FREE_QUIRKS if quirk.name == "chooses again in clearance"),
)


def judge(parting, *, is_one_step):
    """Return the name of what explains a parting.

    The first rules are asked before a difference of one step is let pass: they change what follows.
    """
    if parting.follower.table.cycle:
        quirks, sure = COORDINATED_QUIRKS, 2
    else:
        quirks, sure = FREE_QUIRKS, 3
    for quirk in quirks[:sure]:
        if quirk.explains(parting):
            return quirk.name
    if is_one_step:
        return WITHIN_ONE_STEP
    for quirk in quirks[sure:]:
        if quirk.explains(parting):
            return quirk.name
    return UNEXPLAINED


def shown(lamps):
    """Return lamps as text: green phases / yellow phases."""
    if lamps is None:
        return "not compared"
    return "/".join("".join(str(n) for n in phases_in(mask)) or "-" for mask in lamps)


def side_by_side(parting, name, seed, *, steps=40):
    """Return both traces up to a parting, as text."""
    rings = [
        f"  phase {r.phase} {r.interval} since {r.since_ds / 10:.0f}, "
        f"green since {r.green_since_ds / 10:.0f}, extended to {r.extended_ds / 10:.0f}, "
        f"maximum since {r.max_since_ds / 10:.0f}"
        f"{', transfer' if m.is_transfer else ''}"
        for r, m in zip(parting.rings, parting.memories, strict=True)
    ]
    lines = [
        f"{step:5d} calls {shown((calls, 0)):12} sumo {shown(sumo):8} ours {shown(ours)}"
        for step, calls, sumo, ours in parting.trace[max(0, parting.step - steps) : parting.step + 2]
    ]
    return "\n".join([f"{name}, script {seed}, step {parting.step}:", *rings, *lines])

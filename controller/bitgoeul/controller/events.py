"""When something can change by itself: the moments between which a core need not look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import unit as units
from .greens import is_stopped, max_ds, next_due_ds, red_until_ds
from .ring import GREENS, Interval, Ring
from .timing import DONT_WALK_DS, FOREVER_DS, PED_EXTEND_MAX_DS

if TYPE_CHECKING:
    from .core import SignalCore


def next_event_ds(core: SignalCore) -> int:
    """Return the first moment after now at which something can change by itself. [0.1 s]"""
    now_ds, timing, cycle = core.now_ds, core.timing, core.cycle
    events = [FOREVER_DS, *units.events_ds(core.unit, timing, core.rings)]
    for index, ring in enumerate(core.rings):
        if ring.phase and not is_stopped(core, index):
            events += _ring_events(core, ring, index)
    if timing.patterns:
        time_ds = now_ds + core.day_offset_ds
        events.append(timing.next_pattern_change_ds(time_ds) - core.day_offset_ds)
    if cycle is not None and cycle.coordinated:
        yielded_ds = now_ds - cycle.since_yield_ds(core.time_of_day_ds, core.shift_ds)
        events.append(yielded_ds + cycle.cycle_ds)
        events += [yielded_ds + latest_ds + 1 for latest_ds in cycle.latest_ds.values()]
    return min(event for event in events if event > now_ds)


def _ring_events(core: SignalCore, ring: Ring, index: int) -> list[int]:
    """Return the moments at which this ring's interval may end. [0.1 s]"""
    timing = core.timing.phases[ring.phase]
    events = [ring.since_ds + timing.duration_ds.get(ring.interval, 0)]
    if ring.interval is Interval.RED_CLEAR:
        events.append(red_until_ds(core, ring))
    is_past_clearance = ring.interval is Interval.GREEN
    if is_past_clearance or (ring.interval in GREENS and core.timing.ends_alone & ring.bit):
        events += [ring.green_since_ds + timing.min_green_ds, core.extended_ds[index] + timing.passage_ds]
    if is_past_clearance and ring.has_walked:  # only then is there walk to be served again
        events.append(ring.since_ds + DONT_WALK_DS)
    if is_past_clearance and core.ped_extend:
        events.append(ring.since_ds + PED_EXTEND_MAX_DS)
    if ring.interval in GREENS:
        if ring.max_since_ds >= 0:
            events.append(ring.max_since_ds + max_ds(core, ring, index))
        if core.cycle is not None:
            due_ds = next_due_ds(core, ring)
            events += [due_ds, due_ds - timing.duration_ds["ped_clear"]]
    return events

"""The malfunction monitor's program card: a plan's channels, who conflicts with whom, and least times.

Like `monitor.py` it shares no code with the core: it reads the plan, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .plan import SitePlan
from .signals import Lamps, phase_bit, phase_mask

OVERLAPS_AT = 16
"""Bit of the first overlap; those below are the phases, bit 0 is phase 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A group of heads that show the same: a phase, an overlap, or a crossing.

    Parameters
    ----------
    label : in the traffic engineer's words.
    movements, crossings : what has right of way here; those of a phase without its overlaps.
    green_ds, yellow_ds, red_ds : the plan's least; 0 for crossings. [0.1 s]
    revert_ds : least red before its own next green. [0.1 s]
    """

    label: str
    movements: tuple[str, ...] = ()
    crossings: tuple[str, ...] = ()
    green_ds: int = 0
    yellow_ds: int = 0
    red_ds: int = 0
    revert_ds: int = 0
    is_crossing: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """The walk of a phase: its crossings' labels, and the plan's times. [0.1 s]"""

    bit: int
    labels: tuple[str, ...]
    walk_ds: int
    clear_ds: int


class ProgramCard:
    """A plan as a monitor's program card: channels, who conflicts with whom, and least times.

    Parameters
    ----------
    plan : a checked site plan.

    Notes
    -----
    Channels are bits: phases by their number, then overlaps, then crossings. A phase serves its movements
    and its crossings, so that nothing conflicting may start while its green lasts past clearance for
    somebody still on a crossing.
    """

    def __init__(self, plan: SitePlan) -> None:
        phases = {phase.number: phase for phase in plan.phases}
        self.crossings_at = OVERLAPS_AT + len(plan.overlaps)
        channels = {number - 1: _phase_channel(plan, number) for number in sorted(phases)}
        channels |= {OVERLAPS_AT + i: _overlap_channel(plan, i) for i in range(len(plan.overlaps))}
        for index, crossing in enumerate(plan.crossings, start=self.crossings_at):
            label = f"crossing {crossing.id}"
            channels[index] = Channel(label=label, crossings=(crossing.id,), is_crossing=True)
        self.channels = channels
        self.names = {index: _named(channel) for index, channel in channels.items()}
        self.conflicts = {
            index: sum(1 << at for at, other in channels.items() if any(_served(plan, channel, other)))
            for index, channel in channels.items()
        }
        self.phases = phase_mask(phases)
        self.headed = phase_mask(number for number, phase in phases.items() if phase.movements)
        self.walked = phase_mask(number for number, phase in phases.items() if phase.crossings)
        self.walk_phases = tuple(phase_mask(plan.walk_phases(each.id)) for each in plan.crossings)
        self.walks = tuple(_walk_of(plan, number) for number in sorted(phases) if phases[number].crossings)
        self._overlaps = (1 << len(plan.overlaps)) - 1
        self._crossings = (1 << len(plan.crossings)) - 1
        self._plan = plan

    def greens(self, lamps: Lamps) -> int:
        """Return the plan's vehicle channels that are green, as bits."""
        return lamps.green & self.phases | (lamps.overlap_green & self._overlaps) << OVERLAPS_AT

    def yellows(self, lamps: Lamps) -> int:
        """Return the plan's vehicle channels that are yellow, as bits."""
        return lamps.yellow & self.phases | (lamps.overlap_yellow & self._overlaps) << OVERLAPS_AT

    def walking(self, lamps: Lamps) -> int:
        """Return the crossings that show walk or clearance, or whose flashing green goes on, as bits."""
        walked, crossings = lamps.walk | lamps.ped_clear, lamps.ped_extend & self._crossings
        for index, phases in enumerate(self.walk_phases):
            crossings |= bool(walked & phases) << index
        return crossings << self.crossings_at

    def strays(self, lamps: Lamps) -> list[str]:
        """Return the channels that are lit and that the plan does not have."""
        lit = {
            "phase": (lamps.green | lamps.yellow) & ~self.phases,
            "walk of phase": (lamps.walk | lamps.ped_clear) & ~self.walked,
            "crossing number": lamps.ped_extend & ~self._crossings,
            "overlap number": (lamps.overlap_green | lamps.overlap_yellow) & ~self._overlaps,
        }
        return [f"{name} {index + 1}" for name, mask in lit.items() for index in bits_of(mask)]

    def meeting(self, first: int, second: int) -> tuple[str, str]:
        """Return two conflicting channels' names, each with what of it is in conflict."""
        one, other = self.channels[first], self.channels[second]
        pairs = _served(self._plan, one, other), _served(self._plan, other, one)
        return _named(one, pairs[0]), _named(other, pairs[1])


def _phase_channel(plan: SitePlan, number: int) -> Channel:
    phase = plan.phase(number)
    return Channel(
        label=f"phase {number}",
        movements=phase.movements,
        crossings=phase.crossings,
        green_ds=_ds(phase.min_green_s),
        yellow_ds=_ds(phase.yellow_s),
        red_ds=_ds(phase.red_clear_s),
        revert_ds=_ds(max(phase.red_clear_s, phase.red_revert_s)),
    )


def _overlap_channel(plan: SitePlan, index: int) -> Channel:
    """Return an overlap; it ends with any of its phases, so the least of their times is its own."""
    overlap = plan.overlaps[index]
    phases = [plan.phase(number) for number in overlap.phases]
    red_ds = min(_ds(phase.red_clear_s) for phase in phases)
    return Channel(
        label=f"overlap {overlap.id}",
        movements=overlap.movements,
        green_ds=min(_ds(phase.min_green_s) for phase in phases),
        yellow_ds=min(_ds(phase.yellow_s) for phase in phases),
        red_ds=red_ds,
        revert_ds=red_ds,
    )


def _walk_of(plan: SitePlan, number: int) -> Walk:
    phase = plan.phase(number)
    labels = tuple(f"crossing {crossing}" for crossing in phase.crossings)
    return Walk(phase_bit(number), labels, _ds(phase.walk_s), _ds(phase.ped_clear_s))


def _served(plan: SitePlan, one: Channel, other: Channel) -> tuple[list[str], list[str]]:
    """Return the movements and the crossings of `one` that conflict with something of `other`."""
    movements = [
        name
        for name in one.movements
        if any(plan.movement_relation(name, each) == "conflict" for each in other.movements)
        or any(plan.relation(name, each) == "conflict" for each in other.crossings)
    ]
    crossings = [
        name
        for name in one.crossings
        if any(plan.relation(each, name) == "conflict" for each in other.movements)
    ]
    return movements, crossings


def _ds(seconds: float) -> int:
    return round(seconds * 10)


def bits_of(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, from 0."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _named(channel: Channel, served: tuple[list[str], list[str]] | None = None) -> str:
    """Return a channel's label with what it serves, or with the movements and crossings in `served`."""
    if channel.is_crossing:
        return channel.label
    movements, crossings = served or (channel.movements, () if channel.movements else channel.crossings)
    names = [*movements, *(f"crossing {name}" for name in crossings)]
    return f"{channel.label} ({', '.join(names)})"

"""How long a call waits at most if the rings are served in their order: worst-case times, no orders."""

from __future__ import annotations

from typing import NamedTuple

from .clocks import NOT_YET_DS, SignalClocks
from .plan import SitePlan
from .signals import Lamps, phase_bit, phases_in
from .timing_checks import least_service_s

LAST_RED_S = 3.0
"""More all-red at the maximum with a person still there. [s]"""
TICKS_S = 1.0
"""An extension and its last all-red each end on a tick: so much later at most. [s]"""


def longest_service_s(plan: SitePlan, number: int) -> float:
    """Return a phase's longest unavoidable service: minimum, extension at its maximum, yellow, red. [s]"""
    phase = plan.phase(number)
    extension_s = max((plan.extension_max_s(crossing) for crossing in phase.crossings), default=0.0)
    return least_service_s(phase) + extension_s + phase.yellow_s + phase.red_clear_s


def group_lengths_s(plan: SitePlan) -> tuple[float, ...]:
    """Return per barrier group the longest time it takes when each of its phases is served once. [s]"""
    return tuple(
        max(sum(longest_service_s(plan, number) for number in ring[barrier]) for ring in plan.rings)
        for barrier in range(len(plan.rings[0]))
    )


class Stretch(NamedTuple):
    """Where one ring is in its group.

    Parameters
    ----------
    place : of the phase in service, or clearing, in the ring's sequence; -1: the ring rests.
    left_s : until it is clear, at its longest. [s]
    floor_s : what `left_s` does not fall below while it stays green. [s]
    skipped : phases after it that it no longer serves in this round, as a mask.
    ended_ds : when its green ended; a later call may not have been counted. [0.1 s]
    """

    place: int
    left_s: float
    floor_s: float = 0.0
    skipped: int = 0
    ended_ds: int = NOT_YET_DS

    def after(self, seconds: float, clear_s: float | None = None) -> Stretch:
        """Return the stretch so much later, the phase still green. [s]"""
        floor_s = self.floor_s if clear_s is None else clear_s
        return self._replace(left_s=max(self.left_s - seconds, floor_s))


class Position(NamedTuple):
    """Where the rings are: the group in service, and each ring's stretch."""

    barrier: int
    rings: tuple[Stretch, ...]

    @property
    def clear_s(self) -> float:
        """Time until every ring is clear. [s]"""
        return max(ring.left_s for ring in self.rings)


class ServiceTimes:
    """The longest times of one site's phases, groups and ways.

    Parameters
    ----------
    plan : the site.
    clocks : the phases' clocks.
    extension_max_s : replaces the plan's extension maxima; None keeps them. [s]
    red_held : crossings whose extension has form R.
    """

    def __init__(
        self,
        plan: SitePlan,
        clocks: SignalClocks,
        extension_max_s: float | None = None,
        red_held: frozenset[str] = frozenset(),
    ) -> None:
        self.rings, self.places = plan.rings, plan.places
        self._clocks = clocks
        self._red_held = red_held
        self._clear_s: dict[int, float] = {}
        self._late_s: dict[int, float] = {}
        self._after_walk_s: dict[int, float] = {}
        self.service_s: dict[int, float] = {}
        for phase in plan.phases:
            given_s = (plan.extension_max_s(c) if extension_max_s is None else extension_max_s
                       for c in phase.crossings)  # fmt: skip
            extension_s = max(given_s, default=0.0)
            late_s = LAST_RED_S + TICKS_S if phase.crossings else 0.0
            clear_s = phase.yellow_s + max(phase.red_clear_s, phase.red_revert_s)
            self._clear_s[phase.number], self._late_s[phase.number] = clear_s, late_s
            self._after_walk_s[phase.number] = phase.ped_clear_s + extension_s + clear_s + late_s
            self.service_s[phase.number] = least_service_s(phase) + extension_s + clear_s + late_s
        self._ring_s = tuple(
            tuple(self._sequence_s(plan, numbers) for numbers in ring) for ring in plan.rings
        )
        count = len(plan.rings[0])
        self.groups_s = tuple(max(ring[barrier] for ring in self._ring_s) for barrier in range(count))

    def _sequence_s(self, plan: SitePlan, numbers: tuple[int, ...]) -> float:
        """Return how long a ring takes in a group: each phase once, and a conditional one once more. [s]"""
        again_s = (self.service_s[n] for n in numbers[:-1] if plan.phase(n).conditional_service)
        return sum(self.service_s[n] for n in numbers) + max(again_s, default=0.0)

    # --- where the rings are ----------------------------------------------------------------------

    def position(self, lamps: Lamps, now_ds: int, rests: int = 0, skipped: tuple[int, ...] = ()) -> Position:
        """Return where the rings are.

        Parameters
        ----------
        lamps : lamps shown.
        now_ds : the moment. [0.1 s]
        rests : phases that would rest in walk, as a mask.
        skipped : per ring, phases it was not to serve next when its last green ended.
        """
        newest = [self._newest(ring) for ring in range(len(self.rings))]
        lit = [self.places[number][1] for number in newest if number and lamps.green & phase_bit(number)]
        ended_ds = self._clocks.phases
        here = lit[0] if lit else self._last_barrier(newest)
        stretches = []
        for ring, number in enumerate(newest):
            if not number or self.places[number][1] != here:
                stretches.append(Stretch(-1, 0.0))
            elif lamps.green & phase_bit(number):
                stretches.append(self._green(number, lamps, now_ds, rests))
            else:
                place = self.rings[ring][here].index(number)
                since_ds = ended_ds[number].green_ended_ds
                left_s = self._clearing_s(number, since_ds, now_ds)
                left_out = skipped[ring] if skipped else 0
                stretches.append(Stretch(place, left_s, 0.0, left_out, since_ds))
        return Position(here, tuple(stretches))

    def _newest(self, ring: int) -> int:
        """Return the phase of a ring that is green, or was last."""
        clocks = self._clocks.phases
        numbers = [number for barrier in self.rings[ring] for number in barrier]
        green = [number for number in numbers if clocks[number].is_green]
        if green:
            return green[0]
        latest = max(numbers, key=lambda number: clocks[number].green_ended_ds, default=0)
        return latest if latest and clocks[latest].green_ended_ds else 0

    def _last_barrier(self, newest: list[int]) -> int:
        clocks = self._clocks.phases
        served = [number for number in newest if number]
        if not served:
            return len(self.groups_s) - 1
        return self.places[max(served, key=lambda number: clocks[number].green_ended_ds)][1]

    def _green(self, number: int, lamps: Lamps, now_ds: int, rests: int) -> Stretch:
        """Return the stretch of a green phase."""
        ring, barrier = self.places[number]
        place = self.rings[ring][barrier].index(number)
        bit = phase_bit(number)
        clear_s = self._clear_s[number]
        left_s = max(self.service_s[number] - (now_ds - self._clocks.phases[number].green_since_ds) / 10, clear_s)
        after_walk_s = self._after_walk_s[number]
        if lamps.walk & bit:
            floor_s = after_walk_s if rests & bit else clear_s + self._late_s[number]
            return Stretch(place, max(left_s, after_walk_s), floor_s)
        for service in self._clocks.services:
            if service.is_open and service.bit & bit and service.walk_ended_ds != NOT_YET_DS:
                clear_s = max(clear_s, self._clear_s[number] + self._late_s[number])
                left_s = max(left_s, after_walk_s - (now_ds - service.walk_ended_ds) / 10, clear_s)
        return Stretch(place, left_s, clear_s)

    def _clearing_s(self, number: int, ended_ds: int, now_ds: int) -> float:
        """Return how long a phase takes to be clear whose green has ended: red may be held for people. [s]"""
        clear_s = left_s = self._clear_s[number] - (now_ds - ended_ds) / 10
        for service in self._clocks.services:
            if service.is_open and service.bit & phase_bit(number) and service.walk_ended_ds != NOT_YET_DS:
                left_s = max(left_s, clear_s + self._late_s[number])
                if service.crossing in self._red_held:
                    after_walk_s = self._after_walk_s[number] - (now_ds - service.walk_ended_ds) / 10
                    left_s = max(left_s, after_walk_s)
        return max(left_s, 0.0)

    def fresh(self, barrier: int, phases: tuple[int, ...]) -> Position:
        """Return the position in which these phases begin: one per ring, 0 where it rests."""
        return Position(
            barrier,
            tuple(
                Stretch(self.rings[ring][barrier].index(n), self.service_s[n], self._clear_s[n] + self._late_s[n])
                if n
                else Stretch(-1, 0.0)
                for ring, n in enumerate(phases)
            ),
        )

    def clear_s(self, number: int) -> float:
        """Return a phase's yellow and red clearance. [s]"""
        return self._clear_s[number]

    # --- how long a call waits --------------------------------------------------------------------

    def in_order_s(self, number: int, position: Position, since_ds: int = NOT_YET_DS) -> float:
        """Return the time until a phase is served in ring order. [s]

        Parameters
        ----------
        number : the phase.
        position : where the rings are.
        since_ds : when the call came: one that came after its ring's green ended may be passed over.
        """
        ring, barrier = self.places[number]
        if barrier == position.barrier:
            own, sequence = position.rings[ring], self.rings[ring][barrier]
            place = sequence.index(number)
            is_late = own.ended_ds != NOT_YET_DS and since_ds > own.ended_ds
            if place > own.place and not own.skipped & phase_bit(number) and not is_late:
                return own.left_s + self._sum_s(sequence[own.place + 1 : place])
        return self.rest_s(position) + self.after_group_s(number, position.barrier)

    def rest_s(self, position: Position) -> float:
        """Return how long the group in service still takes. [s]"""
        return max(
            own.left_s + self._ring_s[ring][position.barrier]
            - self._sum_s(self.rings[ring][position.barrier][: own.place + 1])
            for ring, own in enumerate(position.rings)
        )  # fmt: skip

    def after_group_s(self, number: int, here: int) -> float:
        """Return the time from the end of a group until a phase is served. [s]"""
        ring, barrier = self.places[number]
        count = len(self.groups_s)
        steps = range(1, (barrier - here) % count or count)
        sequence = self.rings[ring][barrier]
        before_s = self._sum_s(sequence[: sequence.index(number)])
        return before_s + sum(self.groups_s[(here + step) % count] for step in steps)

    def started_s(self, number: int, barrier: int, allowed: int) -> float:
        """Return the time from the start of a group, with only these phases to begin with. [s]"""
        ring, own_barrier = self.places[number]
        firsts = [
            next((n for n in sequences[barrier] if allowed & phase_bit(n)), 0) for sequences in self.rings
        ]
        rest_s = max(
            self._ring_s[index][barrier]
            - (self._sum_s(self.rings[index][barrier][: self.rings[index][barrier].index(n)]) if n else 0.0)
            for index, n in enumerate(firsts)
        )
        sequence = self.rings[ring][barrier]
        if own_barrier == barrier and firsts[ring]:
            later = sequence[sequence.index(number) + 1 :]
            is_passed = not allowed & phase_bit(number) and any(allowed & phase_bit(n) for n in later)
            if not is_passed:
                return self._sum_s(sequence[sequence.index(firsts[ring]) : sequence.index(number)])
        return rest_s + self.after_group_s(number, barrier)

    def _sum_s(self, numbers: tuple[int, ...]) -> float:
        return sum(self.service_s[number] for number in numbers)

    def skipped_by(self, ring: int, barrier: int, place: int, omitted: int) -> int:
        """Return the phases a ring passes over as it goes on under these omits, as a mask."""
        mask, has_later = 0, False
        for number in reversed(self.rings[ring][barrier][place + 1 :]):
            bit = phase_bit(number)
            if not omitted & bit:
                has_later = True
            elif has_later:
                mask |= bit
        return mask

    def shown(self, lamps: Lamps) -> tuple[int, ...]:
        """Return the phases with green or yellow."""
        return phases_in(lamps.green | lamps.yellow)

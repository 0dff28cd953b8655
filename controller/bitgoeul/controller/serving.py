"""How long a call waits at most if the rings are served in their order: worst-case times, no orders."""

from __future__ import annotations

from typing import NamedTuple

from .clocks import NOT_YET_DS, CrossingService, SignalClocks
from .plan import Phase, SitePlan
from .signals import Lamps, phase_bit
from .timing import to_ds
from .timing_checks import least_service_s

LAST_RED_S = 3.0
"""More all-red at the maximum with a person still there. [s]"""
TICKS_S = 1.0
"""An extension and its last all-red each end on a tick: so much later at most. [s]"""
TICK_DS = 5
"""Where clearance, yellow and red do not end on a tick, two more moments are seen late. [0.1 s]"""


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


def _ticks_s(phase: Phase) -> float:
    """Return by how much a phase's extension and last all-red may end late for ticks. [s]"""
    green_s = least_service_s(phase)
    is_on_tick = all(to_ds(s) % TICK_DS == 0 for s in (green_s, phase.yellow_s, phase.red_clear_s))
    return TICKS_S if is_on_tick else 2 * TICKS_S


class Stretch(NamedTuple):
    """Where one ring is in its group.

    Parameters
    ----------
    number : the phase in service, or clearing; 0: the ring rests.
    place : its place in the ring's sequence, past the end in a conditional service; -1: the ring rests.
    left_s : until it is clear, at its longest. [s]
    floor_s : what `left_s` does not fall below while it stays green. [s]
    skipped : phases after it that it no longer serves in this round, as a mask.
    ended_ds : when its green ended; a later call may not have been counted. [0.1 s]
    """

    number: int
    place: int
    left_s: float
    floor_s: float = 0.0
    skipped: int = 0
    ended_ds: int = NOT_YET_DS

    def after(self, seconds: float) -> Stretch:
        """Return the stretch so much later, the phase still green. [s]"""
        number, place, left_s, floor_s, skipped, ended_ds = self
        return Stretch(number, place, max(left_s - seconds, floor_s), floor_s, skipped, ended_ds)


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
        self.walk_delay_s = {phase.number: phase.walk_delay_s for phase in plan.phases}
        self._red_held = red_held
        self._clear_s: dict[int, float] = {}
        self._late_s: dict[int, float] = {}
        self._after_walk_s: dict[int, float] = {}
        self.service_s: dict[int, float] = {}
        for phase in plan.phases:
            given_s = (plan.extension_max_s(c) if extension_max_s is None else extension_max_s
                       for c in phase.crossings)  # fmt: skip
            extension_s = max(given_s, default=0.0)
            late_s = LAST_RED_S + _ticks_s(phase) if phase.crossings else 0.0
            clear_s = phase.yellow_s + max(phase.red_clear_s, phase.red_revert_s)
            self._clear_s[phase.number], self._late_s[phase.number] = clear_s, late_s
            self._after_walk_s[phase.number] = phase.ped_clear_s + extension_s + clear_s + late_s
            self.service_s[phase.number] = least_service_s(phase) + extension_s + clear_s + late_s
        self._lead_s = {phase.number: phase.leading_walk_s for phase in plan.phases}
        self._walk_s = {phase.number: phase.walk_s for phase in plan.phases}
        self._conditional = {phase.number for phase in plan.phases if phase.conditional_service}
        self._again_s = tuple(
            tuple(max((self.service_s[n] for n in numbers[:-1] if n in self._conditional), default=0.0)
                  for numbers in ring)
            for ring in plan.rings
        )  # fmt: skip
        self.groups_s = tuple(
            max(self._sum_s(ring[barrier]) for ring in plan.rings)
            + sum(again_s[barrier] for again_s in self._again_s)
            for barrier in range(len(plan.rings[0]))
        )  # fmt: skip
        groups = range(len(self.groups_s))
        self._ahead_s = {
            (ring, barrier, place): self._sum_s(plan.rings[ring][barrier][place + 1 :])
            for ring in range(len(plan.rings))
            for barrier in groups
            for place in range(-1, len(plan.rings[ring][barrier]) + 1)
        }
        self._after_s = {(number, here): self._served_after_s(number, here)
                         for number in self.places for here in groups}  # fmt: skip
        self._rested: tuple[Position | None, float] = (None, 0.0)

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
        leading = lamps.walk & ~lamps.green
        newest = [self._newest(ring, leading) for ring in range(len(self.rings))]
        lit = [self.places[n][1] for n in newest if n and (lamps.green | leading) & phase_bit(n)]
        ended_ds = self._clocks.phases
        here = lit[0] if lit else self._last_barrier(newest)
        stretches = []
        for ring, number in enumerate(newest):
            if not number or self.places[number][1] != here:
                stretches.append(Stretch(0, -1, 0.0))
            elif leading & phase_bit(number):  # its green is about to start
                stretches.append(Stretch(0, self._place(number) - 1, 0.0))
            elif lamps.green & phase_bit(number):
                stretches.append(self._green(number, lamps, now_ds, rests))
            else:
                place = self._place(number)
                since_ds = ended_ds[number].green_ended_ds
                left_s = self._clearing_s(number, since_ds, now_ds)
                left_out = skipped[ring] if skipped else 0
                stretches.append(Stretch(number, place, left_s, 0.0, left_out, since_ds))
        return Position(here, tuple(stretches))

    def _newest(self, ring: int, leading: int) -> int:
        """Return the phase of a ring that is green, or about to be, or was last."""
        clocks = self._clocks.phases
        numbers = [number for barrier in self.rings[ring] for number in barrier]
        green = [number for number in numbers if clocks[number].is_green or leading & clocks[number].bit]
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
        place = self._place(number)
        bit = phase_bit(number)
        clear_s = self._clear_s[number]
        passed_s = (now_ds - self._clocks.phases[number].green_since_ds) / 10
        left_s = max(self.service_s[number] - self._lead_s[number] - passed_s, clear_s)
        after_walk_s = self._after_walk_s[number]
        if lamps.walk & bit:
            floor_s = after_walk_s if rests & bit else clear_s + self._late_s[number]
            walk_s = max(
                (self._walk_left_s(number, each, now_ds) for each in self._clocks.services), default=0.0
            )
            return Stretch(number, place, max(left_s, after_walk_s + walk_s), floor_s)
        for service in self._clocks.services:
            if service.is_open and service.bit & bit and service.walk_ended_ds != NOT_YET_DS:
                clear_s = max(clear_s, self._clear_s[number] + self._late_s[number])
                left_s = max(left_s, after_walk_s - (now_ds - service.walk_ended_ds) / 10, clear_s)
        return Stretch(number, place, left_s, clear_s)

    def _walk_left_s(self, number: int, service: CrossingService, now_ds: int) -> float:
        """Return how long a phase's walk, perhaps lit once more in its green, has to last yet. [s]"""
        if not (service.is_walking and service.bit & phase_bit(number)):
            return 0.0
        return max(self._walk_s[number] - (now_ds - service.walk_since_ds) / 10, 0.0)

    def walking_again(self, position: Position, phases: int) -> Position:
        """Return the position should walk be lit once more in the greens of these phases."""
        rings = (
            own._replace(left_s=max(own.left_s, self._walk_s[own.number] + self._after_walk_s[own.number]))
            if own.number and phases & phase_bit(own.number)
            else own
            for own in position.rings
        )
        return Position(position.barrier, tuple(rings))

    def _place(self, number: int) -> int:
        """Return a phase's place in its ring's sequence; past its end for a conditional service."""
        ring, barrier = self.places[number]
        sequence = self.rings[ring][barrier]
        is_once_more = number in self._conditional and self.is_once_more(number)
        return len(sequence) if is_once_more else sequence.index(number)

    def is_once_more(self, number: int) -> bool:
        """Tell whether a green is a conditional service: another ring's green went on beside its start."""
        ring, barrier = self.places[number]
        clocks = self._clocks.phases
        since_ds = clocks[number].green_since_ds
        own, others = self.rings[ring][barrier], [r[barrier] for i, r in enumerate(self.rings) if i != ring]
        left_ds = max(
            (clock.green_ended_ds for n, clock in clocks.items() if self.places[n][1] != barrier), default=0
        )
        has_later = any(left_ds < clocks[n].green_ended_ds <= since_ds for n in own[own.index(number) + 1 :])
        went_on = any(
            clocks[n].green_since_ds < since_ds
            and (clocks[n].is_green or clocks[n].green_ended_ds >= since_ds)
            for numbers in others
            for n in numbers
        )
        return has_later and went_on

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

    def fresh(self, barrier: int, phases: tuple[int, ...], *, rests: bool = False) -> Position:
        """Return the position in which these phases begin: one per ring, 0 where it rests.

        Parameters
        ----------
        barrier, phases : where the rings begin.
        rests : walk is lit until every ring is settled.
        """
        return Position(
            barrier,
            tuple(
                Stretch(
                    n,
                    self.rings[ring][barrier].index(n),
                    self.service_s[n],
                    self._after_walk_s[n] if rests else self._clear_s[n] + self._late_s[n],
                )
                if n
                else Stretch(0, -1, 0.0)
                for ring, n in enumerate(phases)
            ),
        )

    def clear_s(self, number: int) -> float:
        """Return a phase's yellow and red clearance. [s]"""
        return self._clear_s[number]

    def delay_left_s(self, number: int, now_ds: int) -> float | None:
        """Return the time until walk joins a green that began without it; None: it will not. [s]"""
        clock = self._clocks.phases[number]
        passed_s = (now_ds - clock.green_since_ds) / 10
        delay_s = self.walk_delay_s[number]
        return (
            max(delay_s - passed_s, 0.0)
            if clock.is_green and passed_s <= delay_s + TICKS_S and delay_s
            else None
        )

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
        if position is not self._rested[0]:
            barrier, ahead_s = position.barrier, self._ahead_s
            takes_s = [own.left_s + ahead_s[ring, barrier, own.place]
                       for ring, own in enumerate(position.rings)]  # fmt: skip
            once_more_s = self._once_more_s(barrier, [own.place for own in position.rings])
            self._rested = (position, max(takes_s) + once_more_s)
        return self._rested[1]

    def _once_more_s(self, barrier: int, places: list[int]) -> float:
        """Return how much longer conditional services take: each may begin as another ring ends. [s]"""
        return sum(
            self._again_s[ring][barrier]
            for ring, place in enumerate(places)
            if place < len(self.rings[ring][barrier])
        )

    def after_group_s(self, number: int, here: int) -> float:
        """Return the time from the end of a group until a phase is served. [s]"""
        return self._after_s[number, here]

    def _served_after_s(self, number: int, here: int) -> float:
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
        places = [self.rings[i][barrier].index(n) if n else 0 for i, n in enumerate(firsts)]
        rest_s = max(self._ahead_s[index, barrier, place - 1] for index, place in enumerate(places))
        rest_s += self._once_more_s(barrier, places)
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

"""Promise 5: every call is served within the plan's bound, whatever the policy orders.

A call's age counts from the moment somebody is seen waiting. Orders after which serving the rings in their
order, each green at its minimum and each extension at its maximum, could come too late for a call are put
aside; the rings are then served so until the call is. So that way out is open at every moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from .clocks import SignalClocks
from .detection import FRESH_DS, Snapshot
from .plan import Phase, SitePlan
from .serving import Position, ServiceTimes, Stretch, group_lengths_s, longest_service_s
from .signals import (
    NO_COMMANDS,
    PATTERN_FREE,
    Commands,
    Lamps,
    phase_bit,
    phase_mask,
    phases_in,
)
from .timing import FOREVER_DS, to_ds
from .timing_checks import least_service_s

__all__ = [
    "MARGIN_S",
    "ServiceBound",
    "forcing_age_s",
    "group_lengths_s",
    "in_ring_order",
    "longest_service_s",
]

MARGIN_S = 2.0
"""Orders are put aside so long before it would be too late: ticks. [s]"""
FORESIGHT_S = 1.0
"""A choice is legal if it passes with so much more in hand: lamps are read on ticks. [s]"""
LEAD_TICKS_S = 1.0
"""More than that where walk and green do not begin together. [s]"""
LEAST_SLACK_DS = 1
"""Orders that passed are asked about again after this long at the earliest. [0.1 s]"""


def forcing_age_s(plan: SitePlan) -> float:
    """Return the plan's service bound less one service of every barrier group at its longest. [s]

    Calls of this age are registered with the cabinet, whoever else did.
    """
    return max(plan.limits.service_bound_s - sum(group_lengths_s(plan)), 0.0)


class ServiceBound:
    """Follows who waits since when, and puts aside the orders that would keep them past the bound.

    Parameters
    ----------
    plan : the site.
    clocks : the phases' clocks, kept up to date by the loop.
    extension_max_s : replaces the plan's extension maxima; None keeps them. [s]
    red_held : crossings whose extension has form R.

    Notes
    -----
    Vehicles are served by green, walkers by walk. Where nothing is known of vehicles (a policy that does
    not read them) every phase counts as called.

    Orders pass if, after a tick of them, serving the rings in their order still serves every call within
    the bound: from the greens shown, and, where the orders may end them, from wherever their omits lead.
    A call's age plus the time it still takes never falls while orders and lamps stay (`serving.py`); so
    orders that pass with `slack` in hand pass for that long, and a policy that asks before it chooses
    (`foresees_stay`, `foresees_go`) is not overruled afterwards.
    """

    def __init__(
        self,
        plan: SitePlan,
        clocks: SignalClocks,
        *,
        extension_max_s: float | None = None,
        red_held: frozenset[str] = frozenset(),
    ) -> None:
        self._all = phase_mask(plan.phase_numbers)
        self._recalled = phase_mask(p.number for p in plan.phases if p.vehicle_recall in ("min", "max"))
        self._walk_recalled = phase_mask(p.number for p in plan.phases if p.ped_recall)
        self._has_walk = phase_mask(phase.number for phase in plan.phases if phase.walk_s)
        self._walks = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self._knows_vehicles = bool(plan.zone_detectors)
        self._limit_s = plan.limits.service_bound_s - MARGIN_S
        lead_s = max((phase.leading_walk_s + phase.walk_delay_s for phase in plan.phases), default=0.0)
        self._foresight_s = self._limit_s - FORESIGHT_S - lead_s - (LEAD_TICKS_S if lead_s else 0.0)
        self._force_after_ds = to_ds(forcing_age_s(plan))
        self._times = ServiceTimes(plan, clocks, extension_max_s, red_held)
        self._clocks = clocks.phases
        self._settle_s = {p.number: _settles_s(p) for p in plan.phases}
        self._since_ds: dict[int, int] = {}
        self._walk_since_ds: dict[int, int] = {}
        self._seen: tuple[int, int, int, int, Lamps | None] = (0, 0, 0, 0, None)
        self._waiting = self._pressed = self._called = 0
        self._next_due_ds = FOREVER_DS
        self._forced_ds: dict[tuple[bool, int], int] = {}
        self._given: Commands = NO_COMMANDS
        self._passed: tuple[Commands, Lamps] | None = None
        self._added: tuple[int, int] | tuple[()] = ()  # calls given with the orders that passed
        self._lamps = Lamps()
        self._ends = [NO_COMMANDS] * len(plan.rings)
        self._followed: tuple[Snapshot | None, int] = (None, 0)
        self._placed: Snapshot | None = None
        self._positions: dict[int, Position] = {}

    def follow(self, snapshot: Snapshot, asked: int = 0) -> None:
        """Take note of who waits; cheap when nothing changed.

        Parameters
        ----------
        snapshot : what is known now.
        asked : phases whose walk devices ask for, as a mask: as if their buttons were pressed.
        """
        if snapshot is self._followed[0] and not asked & ~self._followed[1]:
            return
        self._followed = (snapshot, asked)
        waiting, now_ds = self._waiting, snapshot.now_ds
        for frame, bits in zip(snapshot.frames, self._walks, strict=True):
            if frame.waiting:
                waiting |= bits
            elif frame.is_healthy and now_ds - frame.measured_ds < FRESH_DS:
                waiting &= ~bits  # blind or late is not empty
        self._pressed = (self._pressed | snapshot.calls.ped | asked) & ~snapshot.lamps.walk
        self._waiting = waiting
        waiting |= self._pressed
        is_blind = self._knows_vehicles and not snapshot.zone_vehicles
        self._called = (snapshot.calls.vehicle | self._recalled) & self._all
        called = self._all if is_blind else self._called
        lamps = snapshot.lamps
        at_red, no_walk = self._all & ~lamps.green, self._all & ~lamps.walk
        seen = (called & at_red, self._called & at_red, waiting & no_walk, self._pressed, lamps)
        if seen == self._seen:
            return
        if lamps is not self._lamps:
            self._note_ends(lamps)
        self._seen = seen
        _age(self._since_ds, called & at_red, now_ds)
        _age(self._walk_since_ds, waiting & no_walk, now_ds)
        self._next_due_ds = now_ds if self._since_ds or self._walk_since_ds else FOREVER_DS

    def _note_ends(self, lamps: Lamps) -> None:
        """Remember which phases were omitted as greens ended: what follows was chosen then."""
        ended = self._lamps.green & ~lamps.green
        self._lamps = lamps
        for ring, barriers in enumerate(self._times.rings):
            bits = phase_mask(number for numbers in barriers for number in numbers)
            if ended and (ended & bits or not lamps.green):
                self._ends[ring] = self._given

    @property
    def next_due_ds(self) -> int:
        """The moment from which the orders have to be reviewed again, if nothing changes. [0.1 s]"""
        return self._next_due_ds

    @property
    def is_forcing(self) -> bool:
        """Tell whether the last orders reviewed were put aside."""
        return bool(self._forced_ds)

    def reviewed(self, commands: Commands, now_ds: int, lamps: Lamps) -> Commands:
        """Return the orders, or, where a call could wait past the bound, orders that serve it.

        Orders that pass are returned as they are, with calls of the forcing age added, and those of
        walkers that no button told of.
        """
        if now_ds < self._next_due_ds and self._passed == (commands, lamps):
            self._given = _with_calls(commands, *self._added) if self._added else commands
            return self._given
        self._passed = None
        waits = dict(self._calls())
        self._forced_ds = {call: since for call, since in self._forced_ds.items() if waits.get(call) == since}
        commands, slack_s = self._without_walk_again(waits, commands, lamps, now_ds)
        due_ds = now_ds - self._force_after_ds
        old = {call for call, since_ds in waits.items() if since_ds <= due_ds} | set(self._forced_ds)
        walks = phase_mask(number for is_walk, number in old if is_walk)
        called = phase_mask({number for _, number in old})
        unheard = phase_mask(self._walk_since_ds) & ~self._walk_recalled & ~self._pressed
        if self._forced_ds:
            self._given = in_ring_order(called, walks | unheard, self._all)
            return self._given
        self._added = (called, walks | unheard) if called | unheard else ()
        self._given = _with_calls(commands, *self._added) if self._added else commands
        ages_ds = [since_ds + self._force_after_ds for since_ds in waits.values() if since_ds > due_ds]
        self._next_due_ds = min(now_ds + max(to_ds(min(slack_s, 1e6)), LEAST_SLACK_DS), *ages_ds, FOREVER_DS)
        self._passed = (commands, lamps)
        return self._given

    def _calls(self) -> Iterator[tuple[tuple[bool, int], int]]:
        """Yield who waits: (for a walk?, phase) and since when. [0.1 s]"""
        for number, since_ds in self._since_ds.items():
            yield (False, number), since_ds
        for number, since_ds in self._walk_since_ds.items():
            yield (True, number), since_ds

    def _without_walk_again(
        self, waits: dict[tuple[bool, int], int], commands: Commands, lamps: Lamps, now_ds: int
    ) -> tuple[Commands, float]:
        """Return the orders, less a second walk in a green where that would take too long, and the slack. [s]

        Calls that have no slack are noted.
        """
        position = self._position(lamps, now_ds)
        slack_s, late = self._slack_s(waits, commands, lamps, position, now_ds)
        self._forced_ds |= late
        again = self._may_walk_again(commands, lamps, position)
        if not again or late:
            return commands, slack_s
        walking = self._times.walking_again(position, again)
        again_s, late = self._slack_s(waits, commands, lamps, walking, now_ds)
        if late:
            return _without_walk(commands, again), 0.0
        return commands, min(slack_s, again_s)

    def _may_walk_again(self, commands: Commands, lamps: Lamps, position: Position) -> int:
        """Return the greens in which the cabinet may light walk once more under these orders, as a mask.

        Not where it is held, nor in free operation while somebody waits whom it cannot reach beside it.
        """
        quiet = lamps.green & ~(lamps.walk | lamps.ped_clear) & self._has_walk
        quiet &= ~(commands.ped_omit | commands.hold)
        if not quiet:
            return 0
        alone, demand = 0, (self._called | commands.vehicle_call) & ~commands.phase_omit
        for index, own in enumerate(position.rings):
            beside = [r[position.barrier] for other, r in enumerate(self._times.rings) if other != index]
            reachable = lamps.green | phase_mask(number for numbers in beside for number in numbers)
            if own.number and not demand & ~reachable:
                alone |= phase_bit(own.number)
        return quiet & alone if commands.pattern == PATTERN_FREE else quiet & (alone | ~commands.force_off)

    def _slack_s(
        self,
        waits: dict[tuple[bool, int], int],
        commands: Commands,
        lamps: Lamps,
        position: Position,
        now_ds: int,
    ) -> tuple[float, dict[tuple[bool, int], int]]:
        """Return the time in hand for the call with least [s], and the calls that have none."""
        slack_s, late = 1e6, {}
        for (is_walk, number), since_ds in waits.items():
            takes_s = self._takes_s(number, commands, lamps, position, since_ds)
            if is_walk:
                takes_s = self._walk_takes_s(number, commands, now_ds, takes_s)
            left_s = self._limit_s - (now_ds - since_ds) / 10 - takes_s
            slack_s = min(slack_s, left_s)
            if left_s < 0:
                late[is_walk, number] = since_ds
        return slack_s, late

    def _position(self, lamps: Lamps, now_ds: int, rests: int | None = None) -> Position:
        """Return where the rings are, with what they pass over where a green has ended."""
        times = self._times
        position = times.position(lamps, now_ds, lamps.walk if rests is None else rests)
        if all(ring.ended_ds < 0 for ring in position.rings):
            return position
        rings = tuple(
            own._replace(
                skipped=times.skipped_by(ring, position.barrier, own.place, self._ends[ring].phase_omit)
            )
            if own.ended_ds >= 0
            else own
            for ring, own in enumerate(position.rings)
        )
        return Position(position.barrier, rings)

    def _walk_takes_s(self, number: int, commands: Commands, now_ds: int, green_s: float) -> float:
        """Return how long a walk waits at most whose phase is green again after `green_s`. [s]"""
        times = self._times
        delay_s = times.delay_left_s(number, now_ds)
        if delay_s is not None:
            return delay_s
        if commands.ped_omit & phase_bit(number):  # green without walk, then all others
            green_s += sum(times.groups_s)
        return green_s + times.walk_delay_s[number]

    def _takes_s(
        self, number: int, commands: Commands, lamps: Lamps, position: Position, since_ds: int
    ) -> float:
        """Return how long a phase waits at most after a tick of these orders. [s]"""
        times = self._times
        if not (lamps.green or lamps.walk):
            return self._led_s(number, position, since_ds)
        takes_s = times.in_order_s(number, position, since_ds)
        ending = lamps.green & ~commands.hold
        if not commands.phase_omit or not ending:
            return takes_s
        ring, barrier = times.places[number]
        omitted, goes_on = commands.phase_omit, False
        for index, own in enumerate(position.rings):
            sequence = times.rings[index][position.barrier]
            if not own.number or not ending & phase_bit(own.number):
                continue
            later = phase_mask(sequence[own.place + 1 :]) & ~omitted
            goes_on |= bool(later & commands.vehicle_call)
            is_own = index == ring and barrier == position.barrier
            if is_own and times.skipped_by(index, barrier, own.place, omitted) & phase_bit(number):
                passed_s = times.rest_s(position) + times.after_group_s(number, barrier)
                takes_s = max(takes_s, passed_s)
        if goes_on or commands.hold & lamps.green:
            return takes_s
        allowed = self._all & ~omitted & ~(lamps.green | lamps.yellow)
        return max(takes_s, position.clear_s + self._started_s(number, allowed, takes_s))

    def _started_s(self, number: int, allowed: int, otherwise_s: float) -> float:
        """Return the time from the start of whichever group these phases are in. [s]"""
        barriers = {self._times.places[n][1] for n in phases_in(allowed)}
        return max(
            (self._times.started_s(number, barrier, allowed) for barrier in barriers), default=otherwise_s
        )

    def _led_s(self, number: int, position: Position, since_ds: int) -> float:
        """Return how long a phase waits at most while no green is shown: what follows is chosen. [s]"""
        times, (barrier, rings) = self._times, position
        in_order_s = times.in_order_s(number, position, since_ds)
        omitted = self._ends[0].phase_omit
        for orders in self._ends:
            omitted &= orders.phase_omit
        ahead = [
            phase_mask(times.rings[ring][barrier][own.place + 1 :]) & ~self._ends[ring].phase_omit
            for ring, own in enumerate(rings)
            if own.ended_ds >= 0
        ]
        if any(mask & orders.vehicle_call for mask, orders in zip(ahead, self._ends, strict=False)):
            return in_order_s
        if not omitted:
            is_late = since_ds > max(own.ended_ds for own in rings)
            passed_s = times.after_group_s(number, times.places[number][1]) if is_late else 0.0
            return max(in_order_s, position.clear_s + passed_s)
        allowed = self._all & ~omitted
        for own in rings:
            if own.number:
                allowed &= ~phase_bit(own.number)
        led_s = position.clear_s + self._started_s(number, allowed, in_order_s)
        return max(led_s, in_order_s) if any(ahead) else led_s

    def is_once_more(self, number: int) -> bool:
        """Tell whether a green is a conditional service, after which its ring waits for the barrier."""
        return self._times.is_once_more(number)

    # --- what a choice leads to -------------------------------------------------------------------

    def foresees_stay(self, snapshot: Snapshot, stay_ds: int, rests: int) -> bool:
        """Tell whether every call can still be served in time after a stay; resting in walk on `rests`."""
        self.follow(snapshot)
        position = self._found(snapshot, rests)
        return self._all_in_time(snapshot.now_ds, _later(position, stay_ds / 10), stay_ds / 10)

    def foresees_go(
        self, snapshot: Snapshot, to: tuple[int, tuple[int, ...]], rests: int, *, is_late: bool = False
    ) -> bool:
        """Tell whether every call can still be served in time when these phases are settled.

        Parameters
        ----------
        snapshot : what is known now; every green has served its minimum.
        to : where the choice leads: the group, and one phase per ring, 0 where the ring rests.
        rests : phases that stay and rest in walk, as a mask.
        is_late : the next choice may be made some ticks after it is due.
        """
        self.follow(snapshot)
        barrier, phases = to
        times, now_ds = self._times, snapshot.now_ds
        position = self._found(snapshot, rests)
        target = phase_mask(number for number in phases if number)
        if barrier == position.barrier and target & snapshot.lamps.green:
            moving = target & ~snapshot.lamps.green
            return self._foresees_moves(position, phases, moving, now_ds, is_late=is_late)
        in_group = position.barrier == barrier and all(
            not number or times.rings[ring][barrier].index(number) > own.place
            for ring, (number, own) in enumerate(zip(phases, position.rings, strict=True))
        )
        if in_group:
            return self._foresees_moves(position, phases, target, now_ds, is_late=True)
        green = [own for own in position.rings if own.number]
        green_s = max((own.left_s - times.clear_s(own.number) for own in green), default=0.0)
        clear_s = max((times.clear_s(own.number) for own in green), default=0.0)
        if not self._all_in_time(now_ds, _later(position, green_s), green_s):
            return False
        settles_s = self._settles_s(tuple(filter(None, phases)), is_late=is_late)
        begun = _later(times.fresh(barrier, phases), settles_s)
        return self._all_in_time(now_ds, begun, green_s + clear_s + settles_s, served=target)

    def _found(self, snapshot: Snapshot, rests: int) -> Position:
        """Return where the rings are: once for all choices of a moment with the same rest."""
        if snapshot is not self._placed:
            self._placed = snapshot
            self._positions.clear()
        position = self._positions.get(rests)
        if position is None:
            position = self._positions[rests] = self._position(snapshot.lamps, snapshot.now_ds, rests)
        return position

    def _foresees_moves(
        self, position: Position, phases: tuple[int, ...], moving: int, now_ds: int, *, is_late: bool
    ) -> bool:
        """Tell the same of a go inside the barrier group: some rings go on, each when it can; others stay."""
        times, barrier = self._times, position.barrier
        fresh = times.fresh(barrier, phases, rests=True)
        moves = [bool(number and moving & phase_bit(number)) for number in phases]
        pairs = list(zip(position.rings, moves, strict=True))
        last_s = max((own.left_s for own, moved in pairs if moved), default=0.0)
        for number in phases_in(moving):  # served, perhaps after those passed over, should the orders change
            before_s = times.in_order_s(number, position)
            for waits in (self._since_ds, self._walk_since_ds):
                since_ds = waits.get(number)
                if since_ds is not None and (now_ds - since_ds) / 10 + before_s > self._foresight_s:
                    return False
        is_late = is_late or sum(moves) > 1
        ends_s = last_s + self._settles_s(phases_in(moving), is_late=is_late)
        rings: list[Stretch] = []
        for own, new, moved in zip(position.rings, fresh.rings, moves, strict=True):
            rings.append(new.after(ends_s - own.left_s) if moved else own.after(ends_s))
        return self._all_in_time(now_ds, Position(barrier, tuple(rings)), ends_s, served=moving)

    def _settles_s(self, phases: tuple[int, ...], *, is_late: bool) -> float:
        """Return how long phases that begin take at most until a choice is due: together, or late. [s]"""
        pairs = [self._settle_s[number] for number in phases]
        least_s = max((first_s for first_s, _ in pairs), default=0.0)
        if not is_late and all(first_s in (least_s, last_s) for first_s, last_s in pairs):
            return least_s
        return max((last_s for _, last_s in pairs), default=0.0)

    def _all_in_time(self, now_ds: int, position: Position, passed_s: float, served: int = 0) -> bool:
        """Tell whether all who wait now, and are not served before, are in time from a position to come."""
        in_order_s, limit_s = self._times.in_order_s, self._foresight_s
        for number, since_ds in self._since_ds.items():
            if served & phase_bit(number):
                continue
            if (now_ds - since_ds) / 10 + passed_s + in_order_s(number, position) > limit_s:
                return False
        for number, since_ds in self._walk_since_ds.items():
            if served & phase_bit(number):
                continue
            waits_s = (now_ds - since_ds) / 10 + passed_s + in_order_s(number, position)
            if waits_s + self._times.walk_delay_s[number] > limit_s:
                return False
        return True


def _later(position: Position, seconds: float) -> Position:
    return Position(position.barrier, tuple(own.after(seconds) for own in position.rings))


def _settles_s(phase: Phase) -> tuple[float, float]:
    """Return after how long a phase is settled at best, resting in walk, and at worst. [s]"""
    walked_s = least_service_s(phase)
    is_direct = phase.walk_s > 0 and not phase.leading_walk_s and not phase.walk_delay_s
    is_on_tick = round(phase.walk_s * 10) % 5 == 0
    return (phase.walk_s if is_direct and is_on_tick else walked_s), walked_s


def _age(since_ds: dict[int, int], called: int, now_ds: int) -> None:
    for number in [number for number in since_ds if not called >> (number - 1) & 1]:
        del since_ds[number]
    for number in phases_in(called):
        since_ds.setdefault(number, now_ds)


@lru_cache(maxsize=256)
def in_ring_order(overdue: int, walks: int, every_phase: int) -> Commands:
    """Return orders under which every green ends after its minimum and the rings go on in their order."""
    return Commands(force_off=every_phase, vehicle_call=overdue, ped_call=walks, pattern=PATTERN_FREE)


@lru_cache(maxsize=256)
def _with_calls(commands: Commands, overdue: int, walks: int) -> Commands:
    calls = {"vehicle_call": commands.vehicle_call | overdue, "ped_call": commands.ped_call | walks}
    return replace(commands, **calls)


@lru_cache(maxsize=256)
def _without_walk(commands: Commands, phases: int) -> Commands:
    return replace(commands, ped_omit=commands.ped_omit | phases)

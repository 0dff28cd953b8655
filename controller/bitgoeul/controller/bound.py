"""Promise 5: every call is served within the plan's bound, whatever the policy orders.

A call's age counts from the moment somebody is seen waiting. Orders under which it would be served too late
are put aside; the cabinet then serves its rings in their order, each green at its minimum, until it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from .clocks import SignalClocks
from .detection import FRESH_DS, Snapshot
from .plan import SitePlan
from .signals import PATTERN_FREE, Calls, Commands, Lamps, phase_mask, phases_in
from .timing import FOREVER_DS, to_ds
from .timing_checks import least_service_s

MARGIN_S = 10.0
"""Orders are put aside so long before it would be too late: ticks, and the last all-red of a group. [s]"""


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


def forcing_age_s(plan: SitePlan) -> float:
    """Return the age of a call at which it must be served next. [s]

    The plan's service bound less one service of every barrier group at its longest: minimum, full
    extension, yellow and red. What has to be forced then still comes within the bound.
    """
    return max(plan.limits.service_bound_s - sum(group_lengths_s(plan)), 0.0)


class ServiceBound:
    """Follows who waits since when, and puts aside the orders that would keep them past the bound.

    Parameters
    ----------
    plan : the site.
    clocks : the phases' clocks, kept up to date by the loop.

    Notes
    -----
    Vehicles are served by green, walkers by walk. Where nothing is known of vehicles (a policy that does
    not read them) every phase counts as called. A call younger than `forcing_age_s` is safe whatever
    happens. For an older one the guard asks how long it takes to serve it in ring order from where the
    orders lead, every phase before it at its longest (`_time_to_serve_s`).
    """

    def __init__(self, plan: SitePlan, clocks: SignalClocks) -> None:
        self._all = phase_mask(plan.phase_numbers)
        self._recalled = phase_mask(p.number for p in plan.phases if p.vehicle_recall in ("min", "max"))
        self._walks = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self._knows_vehicles = bool(plan.zone_detectors)
        self._bound_s = plan.limits.service_bound_s
        self._force_after_ds = to_ds(forcing_age_s(plan))
        self._clocks, self._services = clocks.phases, clocks.services
        self._rings = plan.rings
        self._places = plan.places
        self._groups_s = group_lengths_s(plan)
        self._service_s = {number: longest_service_s(plan, number) for number in plan.phase_numbers}
        self._after_walk_s = {p.number: self._service_s[p.number] - p.walk_s for p in plan.phases}
        self._clear_s = {p.number: p.yellow_s + p.red_clear_s for p in plan.phases}
        self._since_ds: dict[int, int] = {}
        self._walk_since_ds: dict[int, int] = {}
        self._seen: tuple[Calls | None, Lamps | None, int] = (None, None, 0)
        self._waiting = self._pressed = 0
        self._next_due_ds = FOREVER_DS
        self._forced = 0
        self._led_s: dict[int, float] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Take note of who waits; cheap when nothing changed."""
        waiting, now_ds = self._waiting, snapshot.now_ds
        for frame, bits in zip(snapshot.frames, self._walks, strict=True):
            if frame.waiting:
                waiting |= bits
            elif frame.is_healthy and now_ds - frame.measured_ds < FRESH_DS:
                waiting &= ~bits  # blind or late is not empty
        self._pressed = (self._pressed | snapshot.calls.ped) & ~snapshot.lamps.walk
        self._waiting = waiting
        waiting |= self._pressed
        if self._seen == (snapshot.calls, snapshot.lamps, waiting):
            return
        self._seen = (snapshot.calls, snapshot.lamps, waiting)
        is_blind = self._knows_vehicles and not snapshot.zone_vehicles
        called = self._all if is_blind else (snapshot.calls.vehicle | self._recalled) & self._all
        _age(self._since_ds, called & ~snapshot.lamps.green, now_ds)
        _age(self._walk_since_ds, waiting & ~snapshot.lamps.walk & self._all, now_ds)
        ages = (*self._since_ds.values(), *self._walk_since_ds.values())
        self._next_due_ds = min(ages, default=FOREVER_DS) + self._force_after_ds

    @property
    def next_due_ds(self) -> int:
        """The moment from which a call has to be watched, if nobody is served before. [0.1 s]"""
        return self._next_due_ds

    @property
    def is_forcing(self) -> bool:
        """Tell whether the last orders reviewed were put aside."""
        return bool(self._forced)

    def reviewed(self, commands: Commands, now_ds: int, lamps: Lamps) -> Commands:
        """Return the orders, or, where a call would wait past the bound, orders that serve it.

        Orders that lead to it in time are returned as they are, with the old calls added.
        """
        if now_ds < self._next_due_ds:
            self._forced = 0
            return commands
        due_ds = now_ds - self._force_after_ds
        old = {n: since_ds for n, since_ds in self._since_ds.items() if since_ds <= due_ds}
        walks = {n: since_ds for n, since_ds in self._walk_since_ds.items() if since_ds <= due_ds}
        called, walk_called = phase_mask(old) | phase_mask(walks), phase_mask(walks)
        self._forced = self._forced & called | walk_called & commands.ped_omit
        self._led_s = {n: led_s for n, led_s in self._led_s.items() if called >> (n - 1) & 1}
        for number, since_ds in (*old.items(), *walks.items()):
            left_s = self._bound_s - (now_ds - since_ds) / 10 - MARGIN_S
            if lamps.green or number not in self._led_s:
                self._led_s[number] = self._time_to_serve_s(number, commands, lamps, now_ds)
            if self._led_s[number] > left_s:
                self._forced |= 1 << (number - 1)
        if self._forced:
            return _in_order(called, walk_called, self._all)
        return _with_calls(commands, called, walk_called)

    def _time_to_serve_s(self, number: int, commands: Commands, lamps: Lamps, now_ds: int) -> float:
        """Return how long a phase waits at most, served in ring order from where the orders lead. [s]"""
        shown = lamps.green | lamps.yellow
        is_jump = bool(commands.phase_omit) and (not lamps.green or bool(lamps.green & ~commands.hold))
        left_s = {n: self._left_s(n, lamps, now_ds) for n in phases_in(shown)}
        if not is_jump:
            return self._in_ring_order_s(number, left_s)
        targets = self._all & ~commands.phase_omit & ~shown
        clear_s = max(left_s.values(), default=max(self._clear_s.values()))
        barriers = {self._places[n][1] for n in phases_in(targets)}
        times_s = [self._after_jump_s(number, targets, barrier) for barrier in barriers]
        return clear_s + max(times_s, default=self._in_ring_order_s(number, {}))

    def _left_s(self, number: int, lamps: Lamps, now_ds: int) -> float:
        """Return how long a phase in service takes to be clear, at its longest. [s]"""
        clear_s = self._clear_s[number]
        if not lamps.green >> (number - 1) & 1:
            return clear_s
        passed_s = (now_ds - self._clocks[number].green_since_ds) / 10
        after_walk_s = self._after_walk_s[number]
        if lamps.walk >> (number - 1) & 1:  # perhaps at rest: all of clearance is still to come
            return max(self._service_s[number] - passed_s, after_walk_s)
        is_open = any(each.is_open for each in self._services if each.bit >> (number - 1) & 1)
        return max(self._service_s[number] - passed_s, after_walk_s if is_open else clear_s)

    def _after_jump_s(self, number: int, targets: int, barrier: int) -> float:
        """Return the time from the start of a group, with these phases, until a phase is served. [s]

        Where the phase is not the first of its ring, all of the group may come before it: the orders may
        change, and another ring join, until the group starts.
        """
        ring = self._rings[self._places[number][0]][barrier]
        if next((n for n in ring if targets >> (n - 1) & 1), 0) == number:
            return 0.0
        return self._groups_s[barrier] + self._after_group_s(number, barrier)

    def _in_ring_order_s(self, number: int, left_s: dict[int, float]) -> float:
        """Return the time until a phase is served in ring order.

        Parameters
        ----------
        number : the phase.
        left_s : phases in service and how long each still takes; {} when unknown: the worst case. [s]
        """
        if not left_s:
            return sum(self._groups_s)
        ring, barrier = self._places[number]
        sequence = self._rings[ring][barrier]
        here = self._places[next(iter(left_s))][1]
        if here == barrier:
            own = next((n for n in left_s if self._places[n][0] == ring), 0)
            if not own or sequence.index(own) < sequence.index(number):
                between = sequence[sequence.index(own) + 1 if own else 0 : sequence.index(number)]
                return left_s.get(own, 0.0) + sum(self._service_s[n] for n in between)
        rest_s = max(self._rest_s(r, here, left_s) for r in range(len(self._rings)))
        return rest_s + self._after_group_s(number, here)

    def _after_group_s(self, number: int, here: int) -> float:
        """Return the time from the end of a group until a phase is served. [s]"""
        ring, barrier = self._places[number]
        count = len(self._rings[ring])
        steps = range(1, (barrier - here) % count or count)
        sequence = self._rings[ring][barrier]
        before_s = sum(self._service_s[n] for n in sequence[: sequence.index(number)])
        return before_s + sum(self._groups_s[(here + step) % count] for step in steps)

    def _rest_s(self, ring: int, barrier: int, left_s: dict[int, float]) -> float:
        """Return how long a ring still needs in the present group. [s]"""
        sequence = self._rings[ring][barrier]
        own = next((n for n in left_s if n in sequence), 0)
        later = sequence[sequence.index(own) + 1 :] if own else sequence
        return left_s.get(own, 0.0) + sum(self._service_s[n] for n in later)


def _age(since_ds: dict[int, int], called: int, now_ds: int) -> None:
    for number in [number for number in since_ds if not called >> (number - 1) & 1]:
        del since_ds[number]
    for number in phases_in(called):
        since_ds.setdefault(number, now_ds)


@lru_cache(maxsize=256)
def _in_order(overdue: int, walks: int, every_phase: int) -> Commands:
    """Return orders under which every green ends after its minimum and the rings go on in their order."""
    return Commands(force_off=every_phase, vehicle_call=overdue, ped_call=walks, pattern=PATTERN_FREE)


@lru_cache(maxsize=256)
def _with_calls(commands: Commands, overdue: int, walks: int) -> Commands:
    calls = {"vehicle_call": commands.vehicle_call | overdue, "ped_call": commands.ped_call | walks}
    return replace(commands, **calls)

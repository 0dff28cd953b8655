"""Promise 5: every call is served within the plan's bound, whatever the policy orders.

A call's age counts from the moment somebody is seen waiting. Past the forcing age, orders that keep the
caller waiting are put aside, and the cabinet serves its rings in their order until nobody is overdue.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from .detection import Snapshot
from .plan import SitePlan
from .signals import PATTERN_FREE, Calls, Commands, Lamps, phase_mask, phases_in
from .timing import to_ds
from .timing_checks import least_service_s

NEVER_DS = 1 << 62
"""Later than any run. [0.1 s]"""


def longest_service_s(plan: SitePlan, number: int) -> float:
    """Return a phase's longest unavoidable service: minimum, extension at its maximum, yellow, red. [s]"""
    phase = plan.phase(number)
    extension_s = max((plan.extension_max_s(crossing) for crossing in phase.crossings), default=0.0)
    return least_service_s(phase) + extension_s + phase.yellow_s + phase.red_clear_s


def forcing_age_s(plan: SitePlan) -> float:
    """Return the age of a call at which it must be served next. [s]

    The plan's service bound less one service of every barrier group at its longest: minimum, full
    extension, yellow and red. What has to be forced then still comes within the bound.
    """
    transition_s = sum(
        max(sum(longest_service_s(plan, number) for number in ring[barrier]) for ring in plan.rings)
        for barrier in range(len(plan.rings[0]))
    )
    return max(plan.limits.service_bound_s - transition_s, 0.0)


class ServiceBound:
    """Follows who waits since when, and puts aside the orders that would keep them past the bound.

    Parameters
    ----------
    plan : the site.

    Notes
    -----
    Vehicles are served by green, walkers by walk. Where nothing is known of vehicles (a policy that does
    not read them) every phase counts as called.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._all = phase_mask(plan.phase_numbers)
        self._recalled = phase_mask(p.number for p in plan.phases if p.vehicle_recall in ("min", "max"))
        self._walks = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self._beside = {n: phase_mask((n, *plan.concurrent_phases(n))) for n in plan.phase_numbers}
        self._knows_vehicles = bool(plan.zone_detectors)
        self._force_after_ds = to_ds(forcing_age_s(plan))
        self._since_ds: dict[int, int] = {}
        self._walk_since_ds: dict[int, int] = {}
        self._seen: tuple[Calls | None, Lamps | None, int] = (None, None, 0)
        self._next_due_ds = NEVER_DS

    def follow(self, snapshot: Snapshot) -> None:
        """Take note of who waits; cheap when nothing changed."""
        waiting = 0
        for frame, bits in zip(snapshot.frames, self._walks, strict=True):
            if frame.waiting:
                waiting |= bits
        if self._seen == (snapshot.calls, snapshot.lamps, waiting):
            return
        self._seen = (snapshot.calls, snapshot.lamps, waiting)
        is_blind = self._knows_vehicles and not snapshot.zone_vehicles
        called = self._all if is_blind else (snapshot.calls.vehicle | self._recalled) & self._all
        _age(self._since_ds, called & ~snapshot.lamps.green, snapshot.now_ds)
        walks = (waiting | snapshot.calls.ped) & ~snapshot.lamps.walk
        _age(self._walk_since_ds, walks & self._all, snapshot.now_ds)
        ages = (*self._since_ds.values(), *self._walk_since_ds.values())
        self._next_due_ds = min(ages, default=NEVER_DS) + self._force_after_ds

    @property
    def next_due_ds(self) -> int:
        """The moment from which a call is overdue, if nobody is served before. [0.1 s]"""
        return self._next_due_ds

    def reviewed(self, commands: Commands, now_ds: int, lamps: Lamps) -> Commands:
        """Return the orders, or, where they keep an overdue call waiting, orders that serve it.

        Orders that do not hinder are returned as they are, with the overdue calls added.
        """
        if now_ds < self._next_due_ds:
            return commands
        due_ds = now_ds - self._force_after_ds
        overdue = sum(1 << (n - 1) for n, since_ds in self._since_ds.items() if since_ds <= due_ds)
        walks = sum(1 << (n - 1) for n, since_ds in self._walk_since_ds.items() if since_ds <= due_ds)
        if self._hinders(commands, overdue | walks, walks, lamps):
            return _in_order(overdue | walks, walks, self._all)
        return _with_calls(commands, overdue | walks, walks)

    def _hinders(self, commands: Commands, overdue: int, walks: int, lamps: Lamps) -> bool:
        """Tell whether orders keep an overdue phase, or its walk, from being served."""
        stopped = commands.phase_omit | commands.red_hold
        if overdue & stopped or walks & commands.ped_omit:
            return True
        held = commands.hold | commands.walk_rest
        is_kept_out = any(held & ~self._beside[number] for number in phases_in(overdue))
        return is_kept_out or bool(walks & held & lamps.green & ~lamps.walk)


def _age(since_ds: dict[int, int], called: int, now_ds: int) -> None:
    for number in [number for number in since_ds if not called >> (number - 1) & 1]:
        del since_ds[number]
    for number in phases_in(called):
        since_ds.setdefault(number, now_ds)


@lru_cache(maxsize=256)
def _in_order(overdue: int, walks: int, every_phase: int) -> Commands:
    return Commands(force_off=every_phase, vehicle_call=overdue, ped_call=walks, pattern=PATTERN_FREE)


@lru_cache(maxsize=256)
def _with_calls(commands: Commands, overdue: int, walks: int) -> Commands:
    calls = {"vehicle_call": commands.vehicle_call | overdue, "ped_call": commands.ped_call | walks}
    return replace(commands, **calls)

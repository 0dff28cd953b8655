"""Clocks that follow the lamps read back: how long each phase and each crossing has been as it is."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import SitePlan
from .signals import ALL_RED, Lamps, phase_bit, phase_mask

NOT_YET_DS = -1
"""A moment that has not come in this service. [0.1 s]"""


@dataclass(slots=True)
class PhaseClock:
    """When a phase last changed, from the lamps. [0.1 s]

    `is_green` covers walk and clearance too; `green_ended_ds` is the end of the last green. `called_ds`
    is when somebody began to wait for it, `NOT_YET_DS` while nobody does or it is green.
    """

    phase: int
    bit: int
    is_green: bool = False
    green_since_ds: int = 0
    green_ended_ds: int = 0
    called_ds: int = NOT_YET_DS


@dataclass(slots=True)
class CrossingService:
    """One crossing's present or last service: walk, clearance, and what comes after. [0.1 s]

    A service is open from the start of walk until `close` is called by whoever ends the extension, or
    the next walk starts. `bit` is the mask of the phases that walk and are held for it: one, but for a
    pedestrian overlap.
    """

    crossing: str
    index: int
    bit: int
    clears_after_s: float
    walk_since_ds: int = NOT_YET_DS
    walk_ended_ds: int = NOT_YET_DS
    clear_ended_ds: int = NOT_YET_DS
    is_walking: bool = False
    is_clearing: bool = False
    is_green: bool = False
    is_open: bool = False

    def follow(self, now_ds: int, lamps: Lamps) -> None:
        """Take note of the lamps shown from `now_ds` on."""
        walking = bool(lamps.walk & self.bit)
        clearing = bool(lamps.ped_clear & self.bit)
        if walking and not self.is_walking:
            self.walk_since_ds, self.is_open = now_ds, True
            self.walk_ended_ds = self.clear_ended_ds = NOT_YET_DS
        if self.is_walking and not walking:
            self.walk_ended_ds = now_ds
        if self.is_open and not walking and not clearing and self.clear_ended_ds == NOT_YET_DS:
            self.clear_ended_ds = now_ds
        self.is_walking, self.is_clearing = walking, clearing
        self.is_green = bool(lamps.green & self.bit)


class SignalClocks:
    """All phase and crossing clocks of a site, fed with the lamps of each tick.

    Parameters
    ----------
    plan : a checked site plan.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._lamps, self._calls = ALL_RED, 0
        self.phases = {number: PhaseClock(number, phase_bit(number)) for number in plan.phase_numbers}
        self.services = tuple(
            CrossingService(
                crossing=crossing.id,
                index=index,
                bit=phase_mask(plan.hold_phases(crossing.id)),
                clears_after_s=plan.clears_after_s(crossing.id),
            )
            for index, crossing in enumerate(plan.crossings)
        )

    def follow(self, now_ds: int, lamps: Lamps) -> None:
        """Take note of the lamps read back at `now_ds`; cheap when nothing changed."""
        if lamps is self._lamps or lamps == self._lamps:
            return
        self._lamps = lamps
        for clock in self.phases.values():
            is_green = bool(lamps.green & clock.bit)
            if is_green and not clock.is_green:
                clock.green_since_ds, clock.called_ds = now_ds, NOT_YET_DS
            elif clock.is_green and not is_green:
                clock.green_ended_ds = now_ds
                if self._calls & clock.bit:
                    clock.called_ds = now_ds
            clock.is_green = is_green
        for service in self.services:
            service.follow(now_ds, lamps)

    def note_calls(self, now_ds: int, calls: int) -> None:
        """Take note of the phases somebody waits for, as a mask; cheap when nothing changed."""
        changed = calls ^ self._calls
        if not changed:
            return
        self._calls = calls
        for clock in self.phases.values():
            if changed & clock.bit:
                is_waiting = bool(calls & clock.bit) and not clock.is_green
                clock.called_ds = now_ds if is_waiting else NOT_YET_DS

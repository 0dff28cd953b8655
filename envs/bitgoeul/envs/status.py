"""The state of a junction for people to read: one value that every picture and panel is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bitgoeul.controller.heads import pedestrian_heads
from bitgoeul.controller.need import SURE
from bitgoeul.controller.plan import Crossing, Phase

if TYPE_CHECKING:
    from .world import JunctionDriver

PhaseLamp = Literal["green", "yellow", "red", "flash"]
NeedLevel = Literal["none", "within_clearance", "within_maximum", "beyond"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatus:
    """One phase: its lamp and for how long it has been so.

    Parameters
    ----------
    number : of the phase.
    ring, barrier : its place, both from 0.
    movements : those that are green with it.
    lamp : what its vehicles see.
    elapsed_s : time in green, or since the last green ended. [s]
    """

    number: int
    ring: int
    barrier: int
    movements: tuple[str, ...]
    lamp: PhaseLamp
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossingStatus:
    """One crossing, as the controller knows it.

    Parameters
    ----------
    crossing : crossing id.
    indication : of its head: `walk`, `clear`, `extend`, `dont_walk`, `dark`.
    countdown_s : of the head; None while it is dark. [s]
    waiting_n : persons in the newest picture of its kerbs.
    crossing_n : persons believed on it: those whose need is told.
    need_s : until the last person detected is surely clear; 0 if nobody. [s]
    level : where the need ends: within clearance, yellow and red, within the extension's maximum, or beyond.
    extension_s : how long an extension has run; 0 while none runs. [s]
    extension_max_s : its maximum; 0 without a guard. [s]
    reason : why conflicting greens are held back; "" while they are not.
    """

    crossing: str
    indication: str
    countdown_s: int | None
    waiting_n: int
    crossing_n: int
    need_s: float
    level: NeedLevel
    extension_s: float
    extension_max_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JunctionStatus:
    """A junction in one moment.

    Parameters
    ----------
    site : the plan's id of the junction.
    name : the junction's name.
    now_s : simulation time, the warm-up included. [s]
    is_warm : the controller proper is in charge.
    phases : in order of their number.
    crossings : in the plan's order.
    queues : standing vehicles on each leg's approach lanes, in the plan's order of legs.
    """

    site: str
    name: str
    now_s: float
    is_warm: bool
    phases: tuple[PhaseStatus, ...]
    crossings: tuple[CrossingStatus, ...]
    queues: tuple[tuple[str, int], ...]


class StatusReader:
    """Reads the status of a running junction; it changes nothing in it.

    Parameters
    ----------
    driver : the junction.
    """

    def __init__(self, driver: JunctionDriver) -> None:
        self._driver = driver
        self._lanes = _approach_lanes(driver)
        self._standing = driver.connection.lane.getLastStepHaltingNumber

    def read(self) -> JunctionStatus:
        """Return the present state.

        Raises
        ------
        RuntimeError : the junction has not observed anything yet.
        """
        driver, plan = self._driver, self._driver.plan
        return JunctionStatus(
            site=plan.site.id,
            name=plan.site.name,
            now_s=driver.now_ds / 10,
            is_warm=driver.now_ds >= driver.warmup_ds,
            phases=tuple(self._phase(phase) for phase in plan.phases),
            crossings=tuple(self._crossing(index, each) for index, each in enumerate(plan.crossings)),
            queues=tuple(
                (leg, sum(self._standing(lane) for lane in lanes)) for leg, lanes in self._lanes.items()
            ),
        )

    def _phase(self, phase: Phase) -> PhaseStatus:
        driver = self._driver
        lamps, clock = driver.loop.observed.snapshot.lamps, driver.loop.clocks.phases[phase.number]
        lamp: PhaseLamp = "red"
        if lamps.is_flashing:
            lamp = "flash"
        elif lamps.green & clock.bit:
            lamp = "green"
        elif lamps.yellow & clock.bit:
            lamp = "yellow"
        since_ds = clock.green_since_ds if clock.is_green else clock.green_ended_ds
        ring, barrier = driver.plan.place_of(phase.number)
        return PhaseStatus(
            number=phase.number,
            ring=ring,
            barrier=barrier,
            movements=phase.movements,
            lamp=lamp,
            elapsed_s=(driver.now_ds - since_ds) / 10,
        )

    def _crossing(self, index: int, crossing: Crossing) -> CrossingStatus:
        driver = self._driver
        loop, now_ds = driver.loop, driver.now_ds
        head = pedestrian_heads(driver.plan, driver.backend.core)[index]
        frame = loop.observed.snapshot.frames[index]
        guard = driver.guard
        maximum_s = 0.0 if guard is None else guard.extension_max_s(crossing.id)
        need_s = loop.needs.need(index, now_ds, quantile=SURE)
        extension_s = loop.audit.running_s(crossing.id, now_ds)
        clear_in_s = self.clear_in_s(index)
        return CrossingStatus(
            crossing=crossing.id,
            indication=head.indication,
            countdown_s=head.countdown_s,
            waiting_n=len(frame.waiting),
            crossing_n=len(loop.needs.people(index)),
            need_s=need_s,
            level=need_level(need_s, clear_in_s, maximum_s - extension_s),
            extension_s=extension_s,
            extension_max_s=maximum_s,
            reason=dict(loop.audit.reasons).get(crossing.id, ""),
        )

    def clear_in_s(self, index: int) -> float:
        """Return the least time before a conflicting green if walk ended now and nothing held it. [s]

        Clearance (what is left of it), yellow and red clearance; the last two alone while the crossing has
        neither walk nor clearance.
        """
        driver, crossing = self._driver, self._driver.plan.crossings[index]
        service, clears_s = driver.loop.clocks.services[index], driver.plan.clears_after_s(crossing.id)
        clearance_s = min(driver.plan.phase(n).ped_clear_s for n in driver.plan.walk_phases(crossing.id))
        if service.is_walking:
            return clearance_s + clears_s
        if service.is_clearing:
            return max(clearance_s - (driver.now_ds - service.walk_ended_ds) / 10, 0.0) + clears_s
        return clears_s


def need_level(need_s: float, clear_in_s: float, left_s: float) -> NeedLevel:
    """Return how far a need reaches.

    Parameters
    ----------
    need_s : seconds until clear. [s]
    clear_in_s : before a conflicting green may start without an extension. [s]
    left_s : what an extension may still add. [s]

    Examples
    --------
    >>> [need_level(need_s, 5.0, 20.0) for need_s in (0.0, 4.0, 20.0, 30.0)]
    ['none', 'within_clearance', 'within_maximum', 'beyond']
    """
    if need_s <= 0:
        return "none"
    if need_s <= clear_in_s:
        return "within_clearance"
    return "within_maximum" if need_s <= clear_in_s + left_s else "beyond"


def _approach_lanes(driver: JunctionDriver) -> dict[str, tuple[str, ...]]:
    """Return the vehicle lanes that lead to the junction, by leg."""
    links = driver.connection.trafficlight.getControlledLinks(driver.plan.sumo.traffic_light)
    lanes: dict[str, dict[str, None]] = {leg.id: {} for leg in driver.plan.legs}
    for movement in driver.plan.movements:
        for number in movement.sumo_links:
            for lane_in, _, _ in links[number]:
                lanes[movement.from_leg][lane_in] = None
    return {leg: tuple(found) for leg, found in lanes.items()}

"""The walkers of a running SUMO: who waits, who is on a crossing, when each starts to walk, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import hypot, nan
from typing import Literal, Protocol

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask
from bitgoeul.sim_scenarios.walker_trips import STEADY, Gait, gait_of

from .gait import OWN_SPEED, Pacer, TurnBack, stretches, timetable
from .layout import Connection, CrossingLayout, Kerb, crossing_layouts

UNKNOWN_CLASS = "unknown"
"""Mobility class of a walker whose simulation states none."""
STANDING_MPS = 0.1
"""Below this speed a person counts as standing. [m/s] [S] SUMO's own halting threshold."""
TURNS_M = 1.0
"""Who turns back goes so far up the approach before they come to the crossing again. [m] [A]"""

EntryLamp = Literal["walk", "clearance", "red"]


@dataclass(slots=True, eq=False)
class Walker:
    """The truth about one person and one crossing; no controller sees it.

    Parameters
    ----------
    id : SUMO's person id.
    crossing : index in `SitePlan.crossings`.
    mobility_class : one of `MOBILITY_CLASSES`, or `unknown`.
    speed_mps : own free walking speed, the mean over an empty crossing. [m/s]
    startup_s : start-up time if the person waits at the onset of walk. [s]
    kerb : the kerb (A or B) they start from.
    arrived_ds : first seen on the walking area before the crossing. [0.1 s]
    waiting_since_ds : when they are at the kerb if nobody is in their way. [0.1 s]
    is_forward : True for the direction in which SUMO's position on the crossing grows.
    entered_ds : first seen on the crossing; None before. [0.1 s]
    entry_lamp : the crossing's lamp during the step in which they entered.
    walk_share : position of the entry within walk, 0 to 1, known once that walk has ended; NaN before
        and for who did not enter on walk.
    exited_ds : first seen off the crossing; None before. [0.1 s]
    has_missed_walk : True for who did not start within a whole walk: at the next they are ready at once,
        or a start-up longer than walk would keep them waiting for ever. [A]
    gait : how they cross beyond speed and start-up.
    is_on_island : the kerb they start from is the refuge of a two-stage crossing, and there they wait.
    is_hurrying : walks faster since flashing green.
    turned_back_ds : when they turned back on the crossing; from then on the far kerb is the one they
        started from. None if they did not. [0.1 s]
    """

    id: str
    crossing: int
    mobility_class: str
    speed_mps: float
    startup_s: float
    kerb: Kerb
    arrived_ds: int
    waiting_since_ds: int
    is_forward: bool = True
    entered_ds: int | None = None
    entry_lamp: EntryLamp = "red"
    walk_share: float = nan
    exited_ds: int | None = None
    has_missed_walk: bool = False
    gait: Gait = STEADY
    is_on_island: bool = False
    is_hurrying: bool = False
    turned_back_ds: int | None = None


Order = tuple[int, str, float | TurnBack]
"""What a driver told SUMO of a person: when [0.1 s], who, their speed [m/s] or way back."""


class WalkerListener(Protocol):
    """Whoever wants to know of each entry onto a crossing and each exit from it."""

    def entered(self, walker: Walker, now_ds: int) -> None:
        """Learn that a walker is now on a crossing."""

    def left(self, walker: Walker, now_ds: int) -> None:
        """Learn that a walker is no longer on a crossing."""


class WalkerDriver:
    """Follows the walkers of one junction, delays those who wait when walk begins, and changes their pace.

    Call `observe` right after each simulation step and `act` right before the next one.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection with the network loaded.
    plan : the junction's plan.
    is_recording : keep each order in `orders`, so that a run can be replayed.

    Attributes
    ----------
    on_crossing : walkers on each crossing by id, in the order of `SitePlan.crossings`.
    waiting : walkers on the walking areas who want each crossing.
    waiting_version : a counter for each crossing, raised whenever `waiting` changes.
    listeners : told of entries and exits, in this order.
    withdrawals : told of walkers who left a walking area without entering the crossing.
    watchers : called with the time at the end of each `observe`; empty costs nothing.
    orders : (time [0.1 s], person, speed [m/s], -1 for their own; or a way back), None if unasked.
    """

    def __init__(self, connection: Connection, plan: SitePlan, *, is_recording: bool = False) -> None:
        """Find the crossings and walking areas in the network.

        Raises
        ------
        ScenarioError : a crossing of the plan is not in the network as the plan says.
        """
        self.layouts: tuple[CrossingLayout, ...] = crossing_layouts(connection, plan)
        count = len(self.layouts)
        self.on_crossing: list[dict[str, Walker]] = [{} for _ in range(count)]
        self.waiting: list[dict[str, Walker]] = [{} for _ in range(count)]
        self.waiting_version = [0] * count
        self.listeners: list[WalkerListener] = []
        self.withdrawals: list[Callable[[Walker], None]] = []
        self.watchers: list[Callable[[int], None]] = []
        self.orders: list[Order] | None = [] if is_recording else None
        self._half_step_ds = round(connection.simulation.getDeltaT() * 5)
        self._pacer = Pacer(self._set_speed, self._half_step_ds)
        self._clearance_s = tuple(plan.phase(plan.phase_of(each.id)).ped_clear_s for each in plan.crossings)
        self._have_turned: set[str] = set()
        self._junction = plan.sumo.junction
        self._bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        areas = tuple(sorted({area for each in self.layouts for area in (each.start_area, each.end_area)}))
        self._areas = areas
        self._index_of_edge = {layout.edge: index for index, layout in enumerate(self.layouts)}
        slots = tuple(enumerate([*(layout.edge for layout in self.layouts), *areas]))
        self._turns = (slots[:count] + slots[count::2], slots[:count] + slots[count + 1 :: 2])
        self._turn = 0
        self._last: list[object] = [()] * (count + len(areas))
        self._here: list[dict[str, Walker | None]] = [{} for _ in areas]
        self._shown, self._now_ds = ALL_RED, 0
        self._walk_began_ds, self._clearance_began_ds = [0] * count, [0] * count
        self._walk_entrants: list[list[Walker]] = [[] for _ in range(count)]
        self._held: dict[str, tuple[int, int]] = {}  # person -> (crossing index, release [0.1 s])
        self._remaining: list[list[tuple[Walker, float]]] = [[] for _ in range(count)]
        self._remaining_ds = [-1] * count
        person = connection.person
        self._person = person
        self._edge = connection.edge
        self._ids_on = compiled(connection, "edge", "getLastStepPersonIDs")
        self._lane_position = compiled(connection, "person", "getLanePosition")
        self._next_edge = compiled(connection, "person", "getNextEdge")
        self._speed = compiled(connection, "person", "getSpeed")
        self._position = person.getPosition

    def observe(self, now_ds: int) -> None:
        """Take in what the last simulation step changed; cheap when nobody moved on or off.

        Every crossing is read each time, every walking area every other time (and when walk begins).

        Parameters
        ----------
        now_ds : time at the end of that step. [0.1 s]
        """
        self._now_ds = now_ds
        ids_on, last = self._ids_on, self._last
        self._turn ^= 1
        for slot, edge in self._turns[self._turn]:
            ids = ids_on(edge)
            if ids != last[slot]:
                last[slot] = ids
                if slot < len(last) - len(self._areas):
                    self._crossing_changed(slot, ids, now_ds)
                else:
                    self._area_changed(slot, ids, now_ds)
        if self.watchers:
            for watcher in tuple(self.watchers):
                watcher(now_ds)

    def act(self, now_ds: int, lamps: Lamps) -> None:
        """Apply start-up delays for the lamps that the next simulation step will show.

        Parameters
        ----------
        now_ds : time at the start of that step. [0.1 s]
        lamps : the indications shown from now on.
        """
        before = self._shown
        if lamps is not before:
            self._shown = lamps
            changed = lamps.walk ^ before.walk
            if changed:
                for index, bit in enumerate(self._bits):
                    if changed & bit:
                        if lamps.walk & bit:
                            self._walk_began(index, now_ds)
                        else:
                            self._walk_ended(index, now_ds)
        if self._held:
            until_ds = now_ds + self._half_step_ds
            for person in [person for person, hold in self._held.items() if hold[1] <= until_ds]:
                self._release(person, now_ds)
        if now_ds + self._half_step_ds >= self._pacer.due_ds:
            self._pacer.act(now_ds)

    def remaining_m(self, crossing_index: int) -> list[tuple[Walker, float]]:
        """Return the walkers on a crossing, each with the true distance to the far kerb in metres.

        Read from SUMO at the first question of a step, kept for the others.
        """
        if self._remaining_ds[crossing_index] == self._now_ds:
            return self._remaining[crossing_index]
        self._remaining_ds[crossing_index] = self._now_ds
        length_m, position = self.layouts[crossing_index].length_m, self._lane_position
        remaining = []
        for person, walker in self.on_crossing[crossing_index].items():
            metres = position(person)
            if walker.is_forward:
                metres = length_m - metres if metres < length_m else 0.0
            remaining.append((walker, metres))
        self._remaining[crossing_index] = remaining
        return remaining

    def across_m(self, walker: Walker) -> float:
        """Return how far a walker on a crossing is from its axis, left of its lane positive. [m]"""
        layout = self.layouts[walker.crossing]
        (from_x, from_y), (to_x, to_y) = layout.start_xy, layout.end_xy
        x, y = self._position(walker.id)
        span_m = hypot(to_x - from_x, to_y - from_y)
        return float((to_x - from_x) * (y - from_y) - (to_y - from_y) * (x - from_x)) / span_m

    def lamp(self, crossing_index: int) -> EntryLamp:
        """Return what a crossing shows since the last `act`."""
        bit = self._bits[crossing_index]
        if self._shown.walk & bit:
            return "walk"
        return "clearance" if self._shown.ped_clear & bit else "red"

    def walk_so_far_s(self, walker: Walker) -> float:
        """Return how long the last walk of a crossing had lasted when a walker entered, in seconds."""
        return ((walker.entered_ds or 0) - self._walk_began_ds[walker.crossing]) / 10

    def speed_of(self, person: str) -> float:
        """Return a person's true speed in the last step, in metres per second."""
        return float(self._speed(person))

    def release_all(self, now_ds: int) -> None:
        """Give every delayed walker their own speed back, as on leaving a foreign simulation."""
        for person in list(self._held):
            self._release(person, now_ds)
        self._pacer.stop_all(now_ds)

    def _crossing_changed(self, index: int, ids: tuple[str, ...], now_ds: int) -> None:
        here = self.on_crossing[index]
        for person in ids:
            if person not in here:
                self._enter(index, person, now_ds)
        if len(here) != len(ids):
            still = set(ids)
            for person in [person for person in here if person not in still]:
                walker = here.pop(person)
                walker.exited_ds = now_ds
                self._pacer.stop(person, now_ds)
                for listener in self.listeners:
                    listener.left(walker, now_ds)
        self._remaining_ds[index] = -1

    def _enter(self, index: int, person: str, now_ds: int) -> None:
        layout = self.layouts[index]
        is_forward = self._next_edge(person) == layout.end_area
        walker = self.waiting[index].pop(person, None)
        if walker is None:
            walker = self._meet(index, person, layout.start_area if is_forward else layout.end_area, now_ds)
        else:
            self.waiting_version[index] += 1
            if person in self._held:
                self._release(person, now_ds)
        walker.is_forward = is_forward
        walker.entered_ds = now_ds
        walker.entry_lamp = self.lamp(index)
        if walker.entry_lamp == "walk":
            self._walk_entrants[index].append(walker)
        self.on_crossing[index][person] = walker
        if walker.gait is not STEADY:
            self._set_out(index, walker, now_ds)
        for listener in self.listeners:
            listener.entered(walker, now_ds)

    def _set_out(self, index: int, walker: Walker, now_ds: int) -> None:
        """Give a walker the pace of their gait; late starters who would not make it hurry at once."""
        gait, layout = walker.gait, self.layouts[index]
        metres = self._lane_position(walker.id)
        at_m = metres if walker.is_forward else layout.length_m - metres
        if walker.entry_lamp == "clearance" and gait.hurry_factor > 1.0:
            left_s = self._clearance_s[index] - (now_ds - self._clearance_began_ds[index]) / 10
            if layout.length_m - at_m > left_s * walker.speed_mps:
                self._hurry(walker, at_m, now_ds)
                return
        if walker.is_on_island and gait.rest_s:
            gait = replace(gait, rest_s=0.0)  # one rest on the whole way
        if gait.slow_to < 1.0 or gait.rest_s > 0.0:
            course = stretches(gait, layout.length_m)
            changes = timetable(course, at_m=at_m, length_m=layout.length_m, speed_mps=walker.speed_mps)
            self._pacer.start(walker.id, changes, now_ds)

    def _hurry(self, walker: Walker, at_m: float, now_ds: int) -> None:
        """Let a walker go faster from here on, without a rest."""
        gait, length_m = walker.gait, self.layouts[walker.crossing].length_m
        course = tuple(
            each._replace(speed_factor=each.speed_factor * gait.hurry_factor, pause_s=0.0)
            for each in stretches(gait, length_m)
        )
        walker.is_hurrying = True
        changes = timetable(course, at_m=at_m, length_m=length_m, speed_mps=walker.speed_mps)
        self._pacer.start(walker.id, changes, now_ds)

    def _clearance_began(self, index: int, now_ds: int) -> None:
        """Let those on the crossing who would not make it turn back or hurry, if they do such things."""
        self._clearance_began_ds[index] = now_ds
        length_m = self.layouts[index].length_m
        for walker, remaining_m in self.remaining_m(index):
            gait = walker.gait
            if gait is STEADY or remaining_m <= self._clearance_s[index] * walker.speed_mps:
                continue
            at_m = length_m - remaining_m
            if at_m < gait.turn_within * length_m and self._can_turn(walker):
                self._turn_back(walker, now_ds)
            elif gait.hurry_factor > 1.0:
                self._hurry(walker, at_m, now_ds)

    def _can_turn(self, walker: Walker) -> bool:
        """Tell whether there is a kerb to go back to, and they have not been there and back before."""
        return not walker.is_on_island and walker.id not in self._have_turned

    def _turn_back(self, walker: Walker, now_ds: int) -> None:
        layout, stage = self.layouts[walker.crossing], self._person.getStage(walker.id)
        approach = stage.edges[0]
        back_m = -TURNS_M if self._edge.getToJunction(approach) == self._junction else TURNS_M
        back: tuple[tuple[tuple[str, ...], float], ...]
        if walker.is_forward:
            back = (((layout.edge,), 0.0), ((layout.start_area, approach), back_m))
        else:
            back = (((layout.edge, approach), back_m),)
        turn = TurnBack((*back, (tuple(stage.edges), stage.arrivalPos)))
        turn.apply(self._person, walker.id)
        if self.orders is not None:
            self.orders.append((now_ds, walker.id, turn))
        self._have_turned.add(walker.id)
        self._pacer.stop(walker.id, now_ds)
        walker.turned_back_ds = now_ds
        walker.is_forward = not walker.is_forward
        self._remaining_ds[walker.crossing] = -1

    def _area_changed(self, slot: int, ids: tuple[str, ...], now_ds: int) -> None:
        area_index = slot - len(self.layouts)
        here = self._here[area_index]
        for person in ids:
            if person not in here:
                index = self._index_of_edge.get(self._next_edge(person))
                walker = None
                if index is not None:
                    walker = self._meet(index, person, self._areas[area_index], now_ds)
                    self.waiting[index][person] = walker
                    self.waiting_version[index] += 1
                here[person] = walker
        if len(here) != len(ids):
            still = set(ids)
            for person in [person for person in here if person not in still]:
                self._gone(person, here.pop(person))

    def _gone(self, person: str, walker: Walker | None) -> None:
        """Forget someone who left a walking area; who entered a crossing was taken over there."""
        if walker is not None and self.waiting[walker.crossing].get(person) is walker:
            del self.waiting[walker.crossing][person]
            self.waiting_version[walker.crossing] += 1
            self._held.pop(person, None)
            for forget in self.withdrawals:
                forget(walker)

    def _meet(self, index: int, person: str, area: str, now_ds: int) -> Walker:
        """Read once what a person's own parameters say and how far their kerb is."""
        parameter = self._person.getParameter
        mobility_class = parameter(person, "bitgoeul.class")
        stated_speed = parameter(person, "bitgoeul.speed_mps")
        speed_mps = float(stated_speed) if stated_speed else self._person.getMaxSpeed(person)
        layout = self.layouts[index]
        kerb_xy = layout.start_xy if area == layout.start_area else layout.end_xy
        kerb = layout.kerb_at(area)
        x, y = self._position(person)
        walk_ds = 10 * hypot(kerb_xy[0] - x, kerb_xy[1] - y) / max(speed_mps, STANDING_MPS)
        return Walker(
            id=person,
            crossing=index,
            mobility_class=mobility_class if mobility_class in MOBILITY_CLASSES else UNKNOWN_CLASS,
            speed_mps=speed_mps,
            startup_s=float(parameter(person, "bitgoeul.startup_s") or 0.0),
            kerb=kerb,
            arrived_ds=now_ds,
            waiting_since_ds=now_ds + round(walk_ds),
            gait=gait_of(parameter(person, "bitgoeul.gait")),
            is_on_island=kerb == layout.island,
        )

    def _walk_began(self, index: int, now_ds: int) -> None:
        self._walk_began_ds[index] = now_ds
        self._walk_entrants[index].clear()
        layout = self.layouts[index]
        for slot, area in enumerate(self._areas, start=len(self.layouts)):
            if area in (layout.start_area, layout.end_area):
                self._area_changed(slot, self._ids_on(area), now_ds)
        waiting = self.waiting[index].values()
        standing = [walker for walker in waiting if self._speed(walker.id) < STANDING_MPS]
        parties = {walker.gait.party for walker in standing if walker.gait.party}
        if parties:  # they wait for each other
            standing = [each for each in waiting if each in standing or each.gait.party in parties]
        for walker in standing:
            delay_ds = 0 if walker.has_missed_walk else round(walker.startup_s * 10)
            if delay_ds > self._half_step_ds:
                self._held[walker.id] = (index, now_ds + delay_ds)
                self._set_speed(walker.id, 0.0, now_ds)

    def _walk_ended(self, index: int, now_ds: int) -> None:
        began_ds = self._walk_began_ds[index]
        duration_ds = max(1, now_ds - began_ds)
        for walker in self._walk_entrants[index]:
            if walker.entered_ds is not None:
                walker.walk_share = min(1.0, max(0.0, (walker.entered_ds - began_ds) / duration_ds))
        self._walk_entrants[index].clear()
        for person in [person for person, hold in self._held.items() if hold[0] == index]:
            self.waiting[index][person].has_missed_walk = True
            self._release(person, now_ds)
        if self.lamp(index) == "clearance":
            self._clearance_began(index, now_ds)

    def _release(self, person: str, now_ds: int) -> None:
        del self._held[person]
        self._set_speed(person, OWN_SPEED, now_ds)

    def _set_speed(self, person: str, speed_mps: float, now_ds: int) -> None:
        self._person.setSpeed(person, speed_mps)
        if self.orders is not None:
            self.orders.append((now_ds, person, speed_mps))

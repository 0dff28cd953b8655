"""Post-encroachment time of every pair of walker and vehicle on a crossing, from both positions.

While somebody is on a crossing, and until 5 s later, the vehicles on it are followed: turns that yield
always, the other movements from their green to some seconds after it, so that a step costs next to nothing
while traffic stands. A walker is compared with the vehicles once, 5 s after leaving.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Protocol

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import Lamps, phase_mask

from .layout import Connection, LaneStrip
from .paths import VehiclePath, conflicting_strips, vehicle_paths
from .walkers import Walker, WalkerDriver

HORIZON_DS = 50
"""A longer PET is of no interest: vehicles are followed so long after a walker has left. [0.1 s] [A]"""
CLEARING_DS = 60
"""So long after the end of its green a movement may still have vehicles on a crossing. [0.1 s] [A]"""
KEPT_PASSES = 20
"""Passages are forgotten when more are kept and nobody needs them."""
STEP_IN_M = 0.01
"""A walker first seen on a crossing was before it one step earlier, so far at least. [m]"""
SLOWEST_MPS = 1.0
"""A time of passing is worked out with no less than this speed. [m/s] [A]"""


@dataclass(slots=True)
class Pass:
    """One vehicle's passage over one crossing.

    Parameters
    ----------
    path : where it drives.
    length_m : of the vehicle. [m]
    in_ds : when its front gets into the conflict area. [0.1 s]
    out_ds : when its rear leaves it; infinite while it is inside. [0.1 s]
    at_m, at_ds, speed_mps : where it was last seen, when, and its speed then.
    """

    path: VehiclePath
    length_m: float
    in_ds: float
    out_ds: float = inf
    at_m: float = 0.0
    at_ds: int = 0
    speed_mps: float = 0.0

    def leave(self) -> None:
        """Work out when the rear leaves, if that is still ahead, from where it was last seen."""
        if self.out_ds == inf:
            to_go_m = self.path.out_m + self.length_m - self.at_m
            self.out_ds = self.at_ds + 10 * to_go_m / max(SLOWEST_MPS, self.speed_mps)


class Trail(Protocol):
    """Who is compared with the vehicles, and where the result goes.

    Parameters
    ----------
    walker : who.
    entered_ds : when they were first seen on the crossing. [0.1 s]
    trail : position along the crossing after each step from then on; emptied once compared. [m]
    pet_s, pet_ahead_s : shortest PET with a movement that must not have green together with the
        walker's, vehicle behind and vehicle ahead; None if over the horizon. [s]
    pet_turn_s, pet_turn_ahead_s : the same with turns that yield or go on red. [s]
    """

    walker: Walker
    entered_ds: int
    trail: list[float]
    pet_s: float | None
    pet_ahead_s: float | None
    pet_turn_s: float | None
    pet_turn_ahead_s: float | None


@dataclass(slots=True)
class _Lane:
    """A path with the vehicles now on its lane."""

    name: str
    path: VehiclePath
    passes: dict[str, Pass] = field(default_factory=dict)


@dataclass(slots=True)
class _Ground:
    """One crossing: its lanes, its walkers, the vehicles that passed."""

    length_m: float
    turns: tuple[_Lane, ...]
    lanes: tuple[_Lane, ...]
    strips: tuple[tuple[LaneStrip, int], ...]
    followed: tuple[_Lane, ...] = ()
    here: dict[str, Trail] = field(default_factory=dict)
    gone: deque[tuple[int, Trail]] = field(default_factory=deque)
    passes: deque[Pass] = field(default_factory=deque)

    def lanes_ahead(self, along_m: float, green: int, *, is_forward: bool) -> int:
        """Return the lanes not left behind from a position on that have a conflicting green."""
        return sum(
            1
            for strip, phases in self.strips
            if phases & green and (strip.to_m > along_m if is_forward else strip.from_m < along_m)
        )


class PetWatch:
    """Follows walkers and vehicles on the crossings and compares them.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection.
    plan : the junction's plan.
    driver : follows the walkers; the watch is called at the end of each of its `observe`.
    """

    def __init__(self, connection: Connection, plan: SitePlan, driver: WalkerDriver) -> None:
        """Prepare, without reading anything yet."""
        self._connection, self._plan, self._driver = connection, plan, driver
        count = len(plan.crossings)
        self._grounds: list[_Ground | None] = [None] * count
        self._walks = tuple(phase_mask(plan.walk_phases(c.id)) for c in plan.crossings)
        self._conflicts = tuple(phase_mask(plan.conflicting_phases(c.id)) for c in plan.crossings)
        self._is_walk = [False] * count
        self._drives_until_ds: list[float] = [0.0] * count
        self._step_ds = round(connection.simulation.getDeltaT() * 10)
        self._count_on = compiled(connection, "lane", "getLastStepVehicleNumber")  # far cheaper than ids
        self._vehicles_on = compiled(connection, "lane", "getLastStepVehicleIDs")
        self._position = compiled(connection, "vehicle", "getLanePosition")
        self._speed = compiled(connection, "vehicle", "getSpeed")
        self._length = connection.vehicle.getLength
        self._vehicles = connection.vehicle.getIDList
        driver.watchers.append(self._after_step)

    def entered(self, record: Trail) -> None:
        """Follow a walker who is now on a crossing."""
        index = record.walker.crossing
        ground = self._grounds[index] or self._ground(index)
        ground.here[record.walker.id] = record

    def left(self, record: Trail, now_ds: int) -> None:
        """Compare a walker who is now off a crossing, once the next vehicles have passed. [0.1 s]"""
        ground = self._grounds[record.walker.crossing]
        if ground is not None and ground.here.pop(record.walker.id, None) is not None:
            ground.gone.append((now_ds + HORIZON_DS, record))

    def lamps_changed(self, now_ds: int, after: Lamps) -> None:
        """Learn which movements may drive from now on. [0.1 s]"""
        driving = after.green | after.yellow
        for index, conflicts in enumerate(self._conflicts):
            self._is_walk[index] = bool(after.walk & self._walks[index])
            if driving & conflicts:
                self._drives_until_ds[index] = inf
            elif self._drives_until_ds[index] == inf:
                self._drives_until_ds[index] = now_ds + CLEARING_DS

    def exposure_lane_ds(self, record: Trail, from_ds: int, greens: Sequence[tuple[int, int]]) -> float:
        """Return the lanes still to be crossed that had a conflicting green, summed over time. [0.1 s]

        Parameters
        ----------
        record : a walker whose trail is still there.
        from_ds : nothing is counted before. [0.1 s]
        greens : since when which phases had green, from the start of the run. [0.1 s]
        """
        ground = self._grounds[record.walker.crossing]
        if ground is None:
            return 0.0
        lane_ds, place = 0.0, 0
        before_m = record.trail[0]
        is_forward = before_m < ground.length_m / 2
        for step, along_m in enumerate(record.trail):
            is_forward = along_m > before_m if along_m != before_m else is_forward
            before_m, at_ds = along_m, record.entered_ds + step * self._step_ds
            while place + 1 < len(greens) and greens[place + 1][0] < at_ds:
                place += 1
            if at_ds > from_ds:
                lane_ds += self._step_ds * ground.lanes_ahead(
                    along_m, greens[place][1], is_forward=is_forward
                )
        return lane_ds

    def judge_rest(self) -> None:
        """Compare those not yet compared with what has passed so far."""
        for ground in self._grounds:
            if ground is not None:
                for record in (*ground.here.values(), *(record for _, record in ground.gone)):
                    _judge(record, ground, self._step_ds)

    def _ground(self, index: int) -> _Ground:
        crossing, layout = self._plan.crossings[index], self._driver.layouts[index]
        paths = vehicle_paths(self._connection, self._plan, crossing, layout)
        lanes = tuple(_Lane(path.lane, path) for path in paths)
        turns = tuple(lane for lane in lanes if lane.path.is_turn)
        strips = conflicting_strips(self._connection, self._plan, crossing, layout)
        ground = _Ground(layout.length_m, turns, lanes, strips)
        self._grounds[index] = ground
        return ground

    def _after_step(self, now_ds: int) -> None:
        for index, ground in enumerate(self._grounds):
            if ground is None:
                continue
            here = ground.here
            if here:
                length_m = ground.length_m
                for walker, remaining_m in self._driver.remaining_m(index):
                    along_m = length_m - remaining_m if walker.is_forward else remaining_m
                    here[walker.id].trail.append(along_m)
            if here or ground.gone or self._is_walk[index]:
                self._look(index, ground, now_ds)
            elif ground.followed:
                _stop(ground, ())

    def _look(self, index: int, ground: _Ground, now_ds: int) -> None:
        """Follow the vehicles on a crossing; compare the walkers whose time has come."""
        lanes = ground.lanes if now_ds <= self._drives_until_ds[index] else ground.turns
        if lanes is not ground.followed:
            _stop(ground, lanes)
        count = self._count_on
        for lane in lanes:
            if count(lane.name) or lane.passes:
                self._follow(ground, lane, now_ds)
        if ground.gone and ground.gone[0][0] <= now_ds:
            self._close(ground, now_ds)

    def _follow(self, ground: _Ground, lane: _Lane, now_ds: int) -> None:
        """Bring the passes on a lane up to date."""
        passes, path, vehicles = lane.passes, lane.path, self._vehicles_on(lane.name)
        for vehicle in vehicles:
            at_m, known = self._position(vehicle), passes.get(vehicle)
            if known is None:
                if at_m < path.in_m:
                    continue
                speed_mps, length_m = max(SLOWEST_MPS, self._speed(vehicle)), self._length(vehicle)
                in_ds = now_ds - 10 * (at_m - path.in_m) / speed_mps
                known = passes[vehicle] = Pass(path, length_m, in_ds)
                if at_m - path.out_m - length_m > speed_mps * self._step_ds / 10:
                    known.out_ds = -inf  # it was past before it was looked for: who knows when
                else:
                    ground.passes.append(known)
            elif known.out_ds < inf:
                continue
            known.at_m, known.at_ds, known.speed_mps = at_m, now_ds, self._speed(vehicle)
            beyond_m = at_m - path.out_m - known.length_m
            if beyond_m >= 0:
                known.out_ds = now_ds - 10 * beyond_m / max(SLOWEST_MPS, known.speed_mps)
        if len(passes) > len(vehicles) or any(vehicle not in vehicles for vehicle in passes):
            self._gone(passes, vehicles)

    def _gone(self, passes: dict[str, Pass], vehicles: tuple[str, ...]) -> None:
        """Note the vehicles that drove off a lane; in the step in which they did they had their new speed."""
        gone = [vehicle for vehicle in passes if vehicle not in vehicles]
        still = self._vehicles() if any(passes[vehicle].out_ds == inf for vehicle in gone) else ()
        for vehicle in gone:
            one = passes.pop(vehicle)
            if vehicle in still:
                one.speed_mps = self._speed(vehicle)
            one.leave()

    def _close(self, ground: _Ground, now_ds: int) -> None:
        """Compare those whose time has come for good; forget the vehicles that nobody waits for."""
        while ground.gone and ground.gone[0][0] <= now_ds:
            record = ground.gone.popleft()[1]
            _judge(record, ground, self._step_ds)
            record.trail = []
        if len(ground.passes) > KEPT_PASSES:
            others = (*ground.here.values(), *(other for _, other in ground.gone))
            oldest_ds = min((other.entered_ds for other in others), default=now_ds) - HORIZON_DS
            while ground.passes and ground.passes[0].out_ds < oldest_ds:
                ground.passes.popleft()


def _stop(ground: _Ground, lanes: tuple[_Lane, ...]) -> None:
    """Follow other lanes from now on; vehicles on the others are taken to drive on."""
    for lane in ground.followed:
        if lane not in lanes:
            for vehicle in lane.passes.values():
                vehicle.leave()
            lane.passes.clear()
    ground.followed = lanes


def _judge(record: Trail, ground: _Ground, step_ds: int) -> None:
    """Keep the shortest PET of one walker with the vehicles that passed."""
    exited_ds = record.walker.exited_ds
    from_ds = record.entered_ds - HORIZON_DS
    until_ds = inf if exited_ds is None else exited_ds + HORIZON_DS
    near = [one for one in ground.passes if one.in_ds <= until_ds and one.out_ds >= from_ds]
    if not near:
        return
    course = _whole_course(record, ground.length_m)
    known: dict[VehiclePath, tuple[float, float] | None] = {}
    for one in near:
        path = one.path
        if path not in known:
            known[path] = times_inside(course, path.from_m, path.to_m)
        inside = known[path]
        if inside is None:
            continue
        came_ds, went_ds = (record.entered_ds + step_ds * steps for steps in inside)
        if came_ds >= one.out_ds:
            name = "pet_turn_ahead_s" if path.is_turn else "pet_ahead_s"
            _keep(record, name, (came_ds - one.out_ds) / 10)
        else:
            name = "pet_turn_s" if path.is_turn else "pet_s"
            _keep(record, name, max(0.0, (one.in_ds - went_ds) / 10))


def _whole_course(record: Trail, length_m: float) -> list[float]:
    """Return the trail with a step before and, for who has left, one after, at unchanged speed."""
    trail, middle_m = record.trail, length_m / 2
    pace_m = trail[1] - trail[0] if len(trail) > 1 else 0.0
    before_m = min(trail[0] - pace_m, trail[0] - STEP_IN_M)
    if trail[0] > middle_m:
        before_m = max(trail[0] - pace_m, trail[0] + STEP_IN_M)
    course = [before_m, *trail]
    if record.walker.exited_ds is not None:
        after_m = trail[-1] + (trail[-1] - trail[-2] if len(trail) > 1 else 0.0)
        course.append(max(after_m, length_m) if trail[-1] > middle_m else min(after_m, 0.0))
    return course


def times_inside(course: Sequence[float], low_m: float, high_m: float) -> tuple[float, float] | None:
    """Return when a course is first inside a stretch, and when it leaves it for good.

    Parameters
    ----------
    course : position along the crossing after each step; the second one is step 0. [m]
    low_m, high_m : the stretch. [m]

    Returns
    -------
    Both in steps, infinite for who is still inside at the end; None for who is never inside.
    """
    came, went = inf, inf
    is_inside = False
    before_m = course[0]
    for step, now_m in enumerate(islice(course, 1, None), start=-1):
        if (now_m < high_m or before_m < high_m) and (now_m > low_m or before_m > low_m):
            is_down = now_m < before_m
            if came == inf:
                is_from_outside = before_m >= high_m if is_down else before_m <= low_m
                edge_m = high_m if is_down else low_m
                came = step + (_share(before_m, now_m, edge_m) if is_from_outside else 0.0)
            is_inside = low_m < now_m < high_m
            if not is_inside:
                went = step + _share(before_m, now_m, low_m if is_down else high_m)
        before_m = now_m
    if came == inf:
        return None
    return came, inf if is_inside else went


def _share(before_m: float, now_m: float, edge_m: float) -> float:
    return (edge_m - before_m) / (now_m - before_m)


def _keep(record: Trail, name: str, pet_s: float) -> None:
    shortest_s = getattr(record, name)
    if pet_s <= HORIZON_DS / 10 and (shortest_s is None or pet_s < shortest_s):
        setattr(record, name, pet_s)

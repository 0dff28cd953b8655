"""Where vehicles drive over a crossing: the stretch of each path inside it, from the network's geometry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import hypot

import numpy as np
from numpy.typing import NDArray

from bitgoeul.controller.plan import Crossing, Movement, SitePlan
from bitgoeul.controller.signals import phase_mask

from .layout import Connection, CrossingLayout, LaneStrip, lane_strips

GRID_M = 0.1
"""Paths are looked at every so many metres. [m]"""
STOP_TOLERANCE_M = 0.5
"""A vehicle stopped at the end of a lane that reaches so far into a crossing is before it. [m] [A]"""
INTERNAL_LANE = 4
"""Place of the internal lane in a link of `lane.getLinks`."""
FloatArray = NDArray[np.float64]
"""Values along a path, shape (n_grid,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VehiclePath:
    """A vehicle path over one crossing: its conflict area is the lane's width times the crossing's.

    Parameters
    ----------
    lane : SUMO's internal lane on which a front gets into the conflict area.
    in_m : position of the front on that lane at the near edge. [m]
    out_m : position of the rear, counted along the same lane and on from there, at the far edge. [m]
    from_m, to_m : the conflict area along the crossing, from the beginning of its lane. [m]
    phases : mask of the phases that give green to the movement.
    is_turn : True for a turn that yields to the walkers or goes on red after a stop; False where
        walkers and vehicles must never have the right of way together.
    """

    lane: str
    in_m: float
    out_m: float
    from_m: float
    to_m: float
    phases: int
    is_turn: bool


def vehicle_paths(
    connection: Connection, plan: SitePlan, crossing: Crossing, layout: CrossingLayout
) -> tuple[VehiclePath, ...]:
    """Return every vehicle path over a crossing.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection with the network loaded.
    plan : the junction's plan.
    crossing, layout : the crossing in the plan and in the network.
    """
    links = connection.trafficlight.getControlledLinks(plan.sumo.traffic_light)
    paths = {}
    for movement in plan.movements:
        if crossing.leg in (movement.from_leg, movement.to_leg):
            for number in movement.sumo_links:
                for _, _, internal in links[number]:
                    path = _path(connection, plan, (movement, crossing), layout, internal)
                    if path is not None:
                        paths[internal] = path
    return tuple(paths.values())


def conflicting_strips(
    connection: Connection, plan: SitePlan, crossing: Crossing, layout: CrossingLayout
) -> tuple[tuple[LaneStrip, int], ...]:
    """Return each vehicle lane over a crossing with the mask of the phases that conflict there."""
    links = connection.trafficlight.getControlledLinks(plan.sumo.traffic_light)
    conflicts: dict[str, int] = {}
    for movement in plan.movements:
        if plan.relation(movement.id, crossing.id) == "conflict":
            for number in movement.sumo_links:
                for lane_in, lane_out, _ in links[number]:
                    lane = lane_in if movement.from_leg == crossing.leg else lane_out
                    conflicts[lane] = conflicts.get(lane, 0) | phase_mask(plan.phases_of(movement.id))
    strips = lane_strips(connection, plan, crossing, layout)
    return tuple((strip, conflicts[strip.lane]) for strip in strips if strip.lane in conflicts)


def _path(
    connection: Connection,
    plan: SitePlan,
    pair: tuple[Movement, Crossing],
    layout: CrossingLayout,
    internal: str,
) -> VehiclePath | None:
    """Return the path that begins on an internal lane; None if it leads past the crossing."""
    movement, crossing = pair
    lanes = _chain(connection, internal)
    driven_m, xs, ys = _course(connection, lanes)
    along, across = _on_crossing(layout, xs, ys)
    half_lane_m = connection.lane.getWidth(internal) / 2
    is_inside = (
        (np.abs(across) <= crossing.width_m / 2)
        & (along >= -half_lane_m)
        & (along <= layout.length_m + half_lane_m)
    )
    if not is_inside.any():
        return None
    inside = np.flatnonzero(is_inside)
    in_m, out_m = float(driven_m[inside[0]]), float(driven_m[inside[-1]])
    lane, begin_m = _lane_at(connection, lanes, in_m)
    relation = plan.relation(movement.id, crossing.id)
    return VehiclePath(
        lane=lane,
        in_m=max(0.0, in_m - begin_m),
        out_m=out_m - begin_m,
        from_m=max(0.0, float(along[inside].min()) - half_lane_m),
        to_m=min(layout.length_m, float(along[inside].max()) + half_lane_m),
        phases=phase_mask(plan.phases_of(movement.id)),
        is_turn=relation != "conflict" or movement.right_turn_on_red,
    )


def _chain(connection: Connection, internal: str) -> list[str]:
    """Return the internal lanes that follow each other across the junction."""
    lanes = [internal]
    while True:
        links = connection.lane.getLinks(lanes[-1])
        if not links or not links[0][INTERNAL_LANE]:
            return lanes
        lanes.append(links[0][INTERNAL_LANE])


def _course(connection: Connection, lanes: list[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return distance driven and coordinates along lanes, every `GRID_M`."""
    driven = [0.0]
    xs: list[float] = []
    ys: list[float] = []
    for lane in lanes:
        shape = connection.lane.getShape(lane)
        steps = [hypot(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in pairwise(shape)]
        scale = connection.lane.getLength(lane) / max(sum(steps), GRID_M)
        if not xs:
            xs, ys = [shape[0][0]], [shape[0][1]]
        for step, (x, y) in zip(steps, shape[1:], strict=True):
            driven.append(driven[-1] + step * scale)
            xs.append(x)
            ys.append(y)
    grid = np.arange(0.0, driven[-1] + GRID_M, GRID_M)
    return grid, np.interp(grid, driven, xs), np.interp(grid, driven, ys)


def _on_crossing(layout: CrossingLayout, xs: FloatArray, ys: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return positions along a crossing and distances from its axis. [m]"""
    (start_x, start_y), (end_x, end_y) = layout.start_xy, layout.end_xy
    span_m = hypot(end_x - start_x, end_y - start_y)
    unit_x, unit_y = (end_x - start_x) / span_m, (end_y - start_y) / span_m
    along = ((xs - start_x) * unit_x + (ys - start_y) * unit_y) * layout.length_m / span_m
    return along, (xs - start_x) * unit_y - (ys - start_y) * unit_x


def _lane_at(connection: Connection, lanes: list[str], at_m: float) -> tuple[str, float]:
    """Return the lane of a chain at a distance driven, and where it begins. [m]"""
    begin_m = 0.0
    for lane in lanes[:-1]:
        length_m = connection.lane.getLength(lane)
        if at_m < begin_m + length_m - STOP_TOLERANCE_M:
            return lane, begin_m
        begin_m += length_m
    return lanes[-1], begin_m

"""The map under a frame: roads, markings, sidewalks and crossings of a network, drawn once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, cos, hypot, sin
from typing import Any

from PIL import Image, ImageDraw

from .layout import Point

Colour = tuple[int, int, int]
Shape = Sequence[Point]

GROUND: Colour = (226, 231, 222)
SIDEWALK: Colour = (201, 203, 200)
KERB: Colour = (168, 171, 168)
ASPHALT: Colour = (66, 71, 80)
PAINT: Colour = (236, 238, 240)
LANE_PAINT: Colour = (164, 169, 177)
CENTRE_LINE: Colour = (226, 178, 62)

SMOOTHING = 2
"""The map and what moves on it are drawn so many times larger, then averaged down."""
KERB_M = 0.25
"""Width of the kerb around a sidewalk. [m] [A]"""
PAINT_M = 0.15
"""Width of a lane marking. [m] [A]"""
DASH_M = (3.0, 5.0)
"""A dash of the lane marking, and the gap after it. [m] [A]"""
STRIPE_M = (0.5, 0.5)
"""A stripe of a crossing, and the gap after it. [m] [A]"""
ARROW_M = (4.5, 3.2)
"""From the stop line to the tip of the lane's arrow, and its length. [m] [A]"""
APPROACH_M = 26.0
"""Of each approach so much is in the picture, from the crossings outwards. [m] [A]"""

_CROSSING_LANE = re.compile(r"^:.*_c\d+_0$")
_WALKING_AREA = re.compile(r"^:.*_w\d+_0$")
_TURN_ANGLE = {"left": 1.15, "through": 0.0, "right": -1.15, "u_turn": 2.4}
"""How far an arrow's branch turns to the left. [rad]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """From metres of the network to pixels of the map.

    Parameters
    ----------
    centre : of the picture, in the network's coordinates. [m]
    px_per_m : scale of the finished picture. [1/m]
    width_px, height_px : of the finished picture.
    """

    centre: Point
    px_per_m: float
    width_px: int
    height_px: int

    @property
    def scale(self) -> float:
        """Pixels of the large drawing a metre. [1/m]"""
        return self.px_per_m * SMOOTHING

    def px(self, point: Sequence[float]) -> Point:
        """Return a place in the large drawing."""
        return (
            (self.width_px * SMOOTHING) / 2 + (point[0] - self.centre[0]) * self.scale,
            (self.height_px * SMOOTHING) / 2 - (point[1] - self.centre[1]) * self.scale,
        )

    def line(self, shape: Iterable[Sequence[float]]) -> list[Point]:
        """Return places in the large drawing."""
        return [self.px(point) for point in shape]

    def shows(self, point: Sequence[float], margin_m: float = 8.0) -> bool:
        """Tell whether a place is in the picture, or nearly so."""
        half_x = self.width_px / 2 / self.px_per_m + margin_m
        half_y = self.height_px / 2 / self.px_per_m + margin_m
        return abs(point[0] - self.centre[0]) <= half_x and abs(point[1] - self.centre[1]) <= half_y


def fit_view(points: Sequence[Point], width_px: int, height_px: int) -> View:
    """Return the view that shows these points and `APPROACH_M` around them."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    centre = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    span_x, span_y = max(xs) - min(xs) + APPROACH_M, max(ys) - min(ys) + APPROACH_M
    scale = min(width_px / span_x, height_px / span_y)
    return View(centre=centre, px_per_m=scale, width_px=width_px, height_px=height_px)


def along(shape: Shape, from_start_m: float) -> tuple[Point, float]:
    """Return the place so far along a line, and the line's direction there. [rad]"""
    left_m = from_start_m
    for (x0, y0), (x1, y1) in pairwise(shape):
        span_m = hypot(x1 - x0, y1 - y0)
        if span_m > 0 and (left_m <= span_m or (x1, y1) == tuple(shape[-1])):
            share = left_m / span_m
            return (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share), atan2(y1 - y0, x1 - x0)
        left_m -= span_m
    return (shape[0][0], shape[0][1]), 0.0


def length_of(shape: Shape) -> float:
    """Return the length of a line. [m]"""
    return sum(hypot(x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in pairwise(shape))


def box(centre: Point, angle: float, length_m: float, width_m: float) -> list[Point]:
    """Return the corners of a rectangle that lies along a direction."""
    along_x, along_y = cos(angle) * length_m / 2, sin(angle) * length_m / 2
    side_x, side_y = -sin(angle) * width_m / 2, cos(angle) * width_m / 2
    x, y = centre
    return [
        (x + along_x + side_x, y + along_y + side_y),
        (x + along_x - side_x, y + along_y - side_y),
        (x - along_x - side_x, y - along_y - side_y),
        (x - along_x + side_x, y - along_y + side_y),
    ]


def beside(shape: Shape, offset_m: float) -> list[Point]:
    """Return a line beside another, to its left by so much (right: negative). [m]"""
    moved = []
    for place, (x, y) in enumerate(shape):
        (x0, y0), (x1, y1) = shape[max(place - 1, 0)], shape[min(place + 1, len(shape) - 1)]
        angle = atan2(y1 - y0, x1 - x0)
        moved.append((x - sin(angle) * offset_m, y + cos(angle) * offset_m))
    return moved


class MapPainter:
    """Draws the network around a junction.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection.
    view : what is in the picture.
    turns : turns from each approach lane with a signal: `left`, `through`, `right`, `u_turn`.
    """

    def __init__(self, connection: Any, view: View, turns: dict[str, set[str]]) -> None:
        self._lane, self._junction = connection.lane, connection.junction
        self._view, self._turns = view, turns
        size = view.width_px * SMOOTHING, view.height_px * SMOOTHING
        self._image = Image.new("RGB", size, GROUND)
        self._draw = ImageDraw.Draw(self._image)

    def paint(self) -> Image.Image:
        """Return the map, `SMOOTHING` times as large as the picture."""
        lanes = [lane for lane in self._lane.getIDList() if not lane.startswith(":")]
        shapes = {lane: self._lane.getShape(lane) for lane in lanes}
        seen = {lane: shape for lane, shape in shapes.items() if self._is_seen(shape)}
        walks = {lane for lane in seen if tuple(self._lane.getAllowed(lane)) == ("pedestrian",)}
        inside = self._lane.getIDList()
        areas = [self._lane.getShape(lane) for lane in inside if _WALKING_AREA.match(lane)]
        for wide_m, colour in ((2 * KERB_M, KERB), (0.0, SIDEWALK)):
            for lane in walks:
                self._ribbon(seen[lane], self._lane.getWidth(lane) + wide_m, colour)
        self._paint_junctions()
        for lane, shape in seen.items():
            if lane not in walks:
                self._ribbon(shape, self._lane.getWidth(lane) + 2 * PAINT_M, ASPHALT)
        for area in areas:
            outline = self._view.line(area)
            self._draw.polygon(outline, fill=SIDEWALK)
            self._draw.line([*outline, outline[0]], fill=KERB, width=self._px(KERB_M))
        self._paint_lanes({lane: shape for lane, shape in seen.items() if lane not in walks})
        for lane in inside:
            if _CROSSING_LANE.match(lane):
                self._zebra(self._lane.getShape(lane), self._lane.getWidth(lane))
        return self._image

    def _paint_junctions(self) -> None:
        for junction in self._junction.getIDList():
            if junction.startswith(":"):
                continue  # a waiting place inside another junction: no area, and TraCI fails to read none
            shape = self._junction.getShape(junction)
            if len(shape) > 2:  # noqa: PLR2004 - a polygon's least corners
                self._draw.polygon(self._view.line(shape), fill=ASPHALT)

    def _is_seen(self, shape: Shape) -> bool:
        length_m = length_of(shape)
        steps = max(int(length_m / 5.0), 1)
        return any(self._view.shows(along(shape, length_m * step / steps)[0]) for step in range(steps + 1))

    def _px(self, metres: float) -> int:
        return max(round(metres * self._view.scale), 1)

    def _ribbon(self, shape: Shape, width_m: float, colour: Colour) -> None:
        self._draw.line(self._view.line(shape), fill=colour, width=self._px(width_m), joint="curve")

    def _paint_lanes(self, lanes: dict[str, Shape]) -> None:
        """Draw dashes between lanes of one direction, the centre line, and the arrows before stop lines."""
        for lane, shape in lanes.items():
            edge, _, number = lane.rpartition("_")
            left = beside(shape, self._lane.getWidth(lane) / 2)
            if f"{edge}_{int(number) + 1}" in lanes:
                self._dashes(left)
            else:
                self._ribbon(beside(shape, self._lane.getWidth(lane) / 2 - 0.1), PAINT_M, CENTRE_LINE)
            if lane in self._turns:
                self._arrow(shape, self._turns[lane])

    def _dashes(self, shape: Shape) -> None:
        length_m, dash_m, every_m = length_of(shape), DASH_M[0], sum(DASH_M)
        from_m = 0.0
        while from_m < length_m:
            ends = along(shape, from_m)[0], along(shape, min(from_m + dash_m, length_m))[0]
            if self._view.shows(ends[0]) or self._view.shows(ends[1]):
                self._ribbon(ends, PAINT_M, LANE_PAINT)
            from_m += every_m

    def _arrow(self, shape: Shape, turns: set[str]) -> None:
        tip_m, long_m = ARROW_M
        end_m = length_of(shape)
        if end_m < tip_m + long_m:
            return
        (x, y), angle = along(shape, end_m - tip_m - long_m)
        fork = (x + cos(angle) * long_m * 0.55, y + sin(angle) * long_m * 0.55)
        self._ribbon([(x, y), fork], 0.22, PAINT)
        for turn in sorted(turns):
            way = angle + _TURN_ANGLE[turn]
            reach_m = long_m * (0.45 if turn == "through" else 0.3)
            end = (fork[0] + cos(way) * reach_m, fork[1] + sin(way) * reach_m)
            self._ribbon([fork, end], 0.22, PAINT)
            tip = (end[0] + cos(way) * 0.9, end[1] + sin(way) * 0.9)
            side = (-sin(way) * 0.42, cos(way) * 0.42)
            head = [tip, (end[0] + side[0], end[1] + side[1]), (end[0] - side[0], end[1] - side[1])]
            self._draw.polygon(self._view.line(head), fill=PAINT)

    def _zebra(self, shape: Shape, width_m: float) -> None:
        length_m, every_m = length_of(shape), sum(STRIPE_M)
        stripes = max(int((length_m - STRIPE_M[1]) / every_m), 1)
        first_m = (length_m - stripes * every_m + STRIPE_M[1]) / 2 + STRIPE_M[0] / 2
        for stripe in range(stripes):
            centre, angle = along(shape, first_m + stripe * every_m)
            corners = box(centre, angle, STRIPE_M[0], width_m * 0.78)
            self._draw.polygon(self._view.line(corners), fill=PAINT)


def junction_points(connection: Any, junction: str, crossings: Iterable[str]) -> list[Point]:
    """Return the corners of a junction and the ends of its crossings, for `fit_view`."""
    points: list[Point] = [(x, y) for x, y in connection.junction.getShape(junction)]
    for edge in crossings:
        points += [(x, y) for x, y in connection.lane.getShape(f"{edge}_0")]
    return points

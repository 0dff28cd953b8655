"""A junction in small: legs at their bearings, one phase's movements as arrows, its walks as bands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from xml.etree import ElementTree as ET

from . import svg
from .geometry import neighbours, turn_angle_deg
from .plan import Crossing, Leg, Movement, SitePlan
from .plan_checks import REFUGE
from .svg import Point

LANE = 7.0
"""Width of one lane when the leg is 100 px long. [px]"""
LEAST_SIDE, MOST_SIDE = 16.0, 28.0
"""Narrowest and widest half of a leg that has lanes, when the leg is 100 px long. [px]"""
MOST_CORE = 0.5
"""Legs have parted at this share of their length at the latest; they are drawn narrower for that. [-]"""
ROAD = "#dedede"
STRAIGHT_DEG = 180.0
U_TURN_DEG = -180.0
"""A U-turn starts from the innermost place of its leg. [deg]"""


class Sketch:
    """Where the parts of one junction lie in a small drawing.

    Parameters
    ----------
    plan : the plan.
    middle : middle of the drawing: what the legs reach to lies evenly around it. [px]
    reach : length of its legs. [px]
    """

    def __init__(self, plan: SitePlan, middle: Point, reach: float) -> None:
        self.plan, self.reach = plan, reach
        self._scale = reach / 100
        self._core = 0.0
        self._part_legs()
        self.centre = self._centred(middle)

    def _centred(self, middle: Point) -> Point:
        """Return where the junction's centre must be for the drawing to lie evenly around `middle`."""
        self.centre = (0.0, 0.0)
        ends = [self._at(leg, self.reach, 0.0) for leg in self.plan.legs] or [self.centre]
        across, down = [x for x, _ in ends], [y for _, y in ends]
        room = 0.3 * self.reach  # what a leg's width takes where no leg points
        left, right = min(*across, -room), max(*across, room)
        top, bottom = min(*down, -room), max(*down, room)
        return (middle[0] - (left + right) / 2, middle[1] - (top + bottom) / 2)

    def draw(self, parent: ET.Element, phase: int) -> None:
        """Draw the roads, then the phase's walks and movements over them."""
        served = self.plan.phase(phase)
        roads = svg.group(parent, class_="roads")
        for leg in self.plan.legs:
            self._draw_leg(roads, leg)
        for crossing in self.plan.crossings:
            self._draw_crossing(parent, crossing, walks=crossing.id in served.crossings)
        yielding = {pair.movement for pair in self.plan.yields}
        for name in self.plan.movements_of(phase):
            self._draw_movement(parent, self.plan.movement(name), yields=name in yielding)

    def label(self, parent: ET.Element, size: float) -> None:
        """Write each leg's id beyond its end."""
        for leg in self.plan.legs:
            x, y = self._at(leg, self.reach + 0.75 * size, 0.0)
            style = {"text_anchor": "middle", "fill": svg.GREY}
            svg.text(parent, (x, y + 0.36 * size), leg.id, size, **style)

    def _at(self, leg: Leg, along: float, across: float) -> Point:
        """Return a point on a leg: so far from the centre, so far to the right seen from the centre."""
        bearing = math.radians(leg.bearing_deg)
        (x, y), (sine, cosine) = self.centre, (math.sin(bearing), math.cos(bearing))
        return (x + along * sine + across * cosine, y - along * cosine + across * sine)

    def _side(self, lanes: int) -> float:
        if lanes == 0:
            return 0.0
        return self._scale * min(max(LANE * lanes, LEAST_SIDE), MOST_SIDE)

    def _part_legs(self) -> None:
        """Work out how far from the centre the legs have parted; crowded legs are drawn narrower."""
        legs = sorted(self.plan.legs, key=lambda leg: leg.bearing_deg)
        widest = max((self._side(max(leg.lanes_in, leg.lanes_out)) for leg in legs), default=0.0)
        gaps = [(b.bearing_deg - a.bearing_deg) % 360.0 for a, b in pairwise([*legs, *legs[:1]])]
        tightest = min((gap for gap in gaps if 0.0 < gap < STRAIGHT_DEG), default=STRAIGHT_DEG)
        slope = math.tan(math.radians(tightest / 2))
        most = MOST_CORE * self.reach
        if widest > most * slope:
            self._scale *= most * slope / widest
            widest = most * slope
        self._core = min(max(0.24 * self.reach, widest / slope), most)

    def _draw_leg(self, parent: ET.Element, leg: Leg) -> None:
        left, right = -self._side(leg.lanes_in), self._side(leg.lanes_out)
        corners = [(0.0, left), (self.reach, left), (self.reach, right), (0.0, right)]
        svg.polygon(parent, [self._at(leg, *corner) for corner in corners], fill=ROAD)
        start, end = self._at(leg, self._core + 0.24 * self.reach, 0.0), self._at(leg, self.reach, 0.0)
        svg.line(parent, start, end, stroke=svg.PAPER, stroke_width=svg.number(0.018 * self.reach))

    def _draw_crossing(self, parent: ET.Element, crossing: Crossing, *, walks: bool) -> None:
        leg = self.plan.leg(crossing.leg)
        left, right = self._extent(crossing, leg)
        along = self._core + 0.11 * self.reach
        start, end = self._at(leg, along, left), self._at(leg, along, right)
        dash = svg.number(max(0.032 * self.reach, 1.4))
        style = {
            "stroke": svg.COLOURS["walk"] if walks else svg.PAPER,
            "stroke_width": svg.number(0.15 * self.reach),
            "stroke_dasharray": f"{dash} {dash}",
        }
        state = {"data_crossing": crossing.id} if walks else {"class_": "no-walk"}
        svg.line(svg.group(parent, **state), start, end, **style)

    def _extent(self, crossing: Crossing, leg: Leg) -> tuple[float, float]:
        """Return how far a crossing goes left and right of the middle: half a leg if it ends on an island."""
        left, right = -self._side(leg.lanes_in), self._side(leg.lanes_out)
        if REFUGE not in crossing.kerbs or len(self.plan.legs) < 2:  # noqa: PLR2004 - a leg and another
            return left, right
        clockwise = neighbours(leg.id, self.plan.legs)[1]
        is_right = clockwise in crossing.kerbs
        return (0.1 * right, right) if is_right else (left, 0.1 * left)

    def _draw_movement(self, parent: ET.Element, movement: Movement, *, yields: bool) -> None:
        start, end = self.plan.leg(movement.from_leg), self.plan.leg(movement.to_leg)
        into, out = self._place(movement, start, "in"), self._place(movement, end, "out")
        head = 0.11 * self.reach
        is_right = movement.turn == "right"  # bends late and around its corner, not towards the centre
        edge = self._core + (0.12 if is_right else 0.02) * self.reach
        bend = (0.62 if is_right else 0.45) * edge
        steps = [
            f"M{self._text(start, 0.92 * self.reach, into)}",
            f"L{self._text(start, edge, into)}",
            f"C{self._text(start, bend, into)} {self._text(end, bend, out)}",
            f"{self._text(end, edge, out)}",
            f"L{self._text(end, self.reach - head, out)}",
        ]
        drawn = svg.group(parent, data_movement=movement.id)
        width = max(0.028 * self.reach, 1.5)
        style = {"stroke_width": svg.number(width), "stroke_linejoin": "round"}
        if yields:
            style["stroke_dasharray"] = f"{svg.number(2.4 * width)} {svg.number(1.3 * width)}"
        svg.path(drawn, " ".join(steps), **style)
        half = 0.55 * head
        corners = [(self.reach, out), (self.reach - head, out - half), (self.reach - head, out + half)]
        svg.polygon(drawn, [self._at(end, *corner) for corner in corners])

    def _text(self, leg: Leg, along: float, across: float) -> str:
        return svg.points_text([self._at(leg, along, across)])

    def _place(self, movement: Movement, leg: Leg, way: str) -> float:
        """Return where on a leg a movement runs, right of the middle; left turns nearest to it."""
        is_in = way == "in"
        beside = [m for m in self.plan.movements if (m.from_leg if is_in else m.to_leg) == leg.id]
        angles = {m.id: self._angle_deg(m) for m in beside}
        # Arriving, right turns keep to the kerb; leaving, those who turned right do.
        order = [m.id for m in sorted(beside, key=lambda m: (angles[m.id], m.id))]
        share = (order.index(movement.id) + 0.75) / (len(order) + 0.5)
        side = self._side(leg.lanes_in if is_in else leg.lanes_out)
        return -share * side if is_in else share * side

    def _angle_deg(self, movement: Movement) -> float:
        if movement.from_leg == movement.to_leg:
            return U_TURN_DEG
        start, end = self.plan.leg(movement.from_leg), self.plan.leg(movement.to_leg)
        return turn_angle_deg(start.bearing_deg, end.bearing_deg)


def draw_walker(parent: ET.Element, at: Point, height: float, colour: str) -> None:
    """Draw a walking person whose feet stand at a point.

    Parameters
    ----------
    parent : what it is drawn on.
    at : the middle between the feet. [px]
    height : of the person. [px]
    colour : of the person.
    """
    x, y = at
    unit = height / 10

    def limb(*points: Point) -> None:
        _limb(parent, [(x + unit * right, y - unit * up) for right, up in points], unit, colour)

    svg.circle(parent, (x, y - 9.0 * unit), 1.05 * unit, fill=colour)
    limb((0.0, 7.4), (0.0, 4.2))
    limb((-2.3, 0.3), (-1.2, 2.4), (0.0, 4.2), (1.3, 2.4), (2.2, 0.3))
    limb((-2.2, 5.0), (0.0, 7.2), (2.2, 5.2))


def _limb(parent: ET.Element, points: Iterable[Point], unit: float, colour: str) -> None:
    steps = "M" + " L".join(svg.points_text([point]) for point in points)
    style = {"stroke": colour, "stroke_width": svg.number(1.25 * unit)}
    svg.path(parent, steps, stroke_linecap="round", stroke_linejoin="round", **style)

"""Where a plan's crossings lie in a SUMO network: walking areas, kerbs, ends and lane strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, hypot, radians, sin
from typing import Any, Literal

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.geometry import neighbours
from bitgoeul.controller.plan import Crossing, SitePlan
from bitgoeul.controller.plan_checks import REFUGE

Connection = Any
"""The `libsumo` module or a `traci` connection: both offer the same calls."""
Links = Sequence[Sequence[tuple[str, str, str]]]
"""`trafficlight.getControlledLinks`: by signal link, the lanes it leads from, to, and over."""
Kerb = Literal["A", "B"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossingLayout:
    """One crossing of the plan as the network has it.

    Parameters
    ----------
    crossing : crossing id of the plan.
    edge : SUMO's edge of the crossing.
    length_m : length of its lane, the way a walker's position runs. [m]
    start_area, end_area : walking areas where that lane begins and ends.
    start_kerb : kerb of the plan (A or B) at the lane's beginning.
    island : kerb of the plan that is a refuge between two stages; None if both are kerbs.
    start_xy, end_xy : the lane's ends in the network's coordinates. [m]
    """

    crossing: str
    edge: str
    length_m: float
    start_area: str
    end_area: str
    start_kerb: Kerb
    island: Kerb | None
    start_xy: Point
    end_xy: Point

    def kerb_at(self, area: str) -> Kerb:
        """Return the kerb on the side of one of the crossing's two walking areas."""
        if area == self.start_area:
            return self.start_kerb
        return "B" if self.start_kerb == "A" else "A"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStrip:
    """The part of a crossing that one vehicle lane runs over.

    Parameters
    ----------
    lane : SUMO's lane, an approach lane before the crossing or an exit lane behind it.
    is_exit : True for a lane that vehicles enter after they passed the crossing.
    from_m, to_m : the strip along the crossing, from the beginning of its lane. [m]
    gap_m : from the lane's end (approach) or beginning (exit) to the crossing's near edge, as a
        vehicle drives: positive after an approach lane, at least the crossing's width before an exit
        lane. [m]
    """

    lane: str
    is_exit: bool
    from_m: float
    to_m: float
    gap_m: float


def edge_of(lane: str) -> str:
    """Return the edge of a SUMO lane id."""
    return lane.rpartition("_")[0]


def crossing_layouts(connection: Connection, plan: SitePlan) -> tuple[CrossingLayout, ...]:
    """Return the plan's crossings as the running network has them, in the plan's order.

    Raises
    ------
    ScenarioError : a crossing's edge or one of its kerbs is not to be found in the network.
    """
    links = connection.trafficlight.getControlledLinks(plan.sumo.traffic_light)
    area_legs = _legs_of_areas(connection, plan, links)
    return tuple(_layout(connection, (plan, crossing), links, area_legs) for crossing in plan.crossings)


def _legs_of_areas(connection: Connection, plan: SitePlan, links: Links) -> dict[str, set[str]]:
    """Return for each walking area the legs whose sidewalks meet there."""
    leg_in, leg_out = leg_edges(plan, links)
    legs: dict[str, set[str]] = {}
    for edge, leg in leg_in.items():
        for link in connection.lane.getLinks(f"{edge}_0"):
            legs.setdefault(edge_of(link[0]), set()).add(leg)
    for area, here in legs.items():
        for link in connection.lane.getLinks(f"{area}_0"):
            leg_behind = leg_out.get(edge_of(link[0]))
            if leg_behind is not None:
                here.add(leg_behind)
    return legs


def leg_edges(plan: SitePlan, links: Links) -> tuple[dict[str, str], dict[str, str]]:
    """Return the leg of each approach edge and of each exit edge, by the movements' links."""
    leg_in: dict[str, str] = {}
    leg_out: dict[str, str] = {}
    for movement in plan.movements:
        for number in movement.sumo_links:
            for lane_in, lane_out, _ in links[number]:
                leg_in[edge_of(lane_in)] = movement.from_leg
                leg_out[edge_of(lane_out)] = movement.to_leg
    return leg_in, leg_out


def _layout(
    connection: Connection, place: tuple[SitePlan, Crossing], links: Links, area_legs: dict[str, set[str]]
) -> CrossingLayout:
    plan, crossing = place
    lane = f"{crossing.sumo_edge}_0"
    before = [edge_of(link[0]) for choice in links for link in choice if link[1] == lane]
    after = [edge_of(link[0]) for link in connection.lane.getLinks(lane)]
    start_area = next((area for area in before if area not in after), None)
    if start_area is None or not after:
        raise ScenarioError(
            f"crossing {crossing.id}: no signal link of the network leads over {crossing.sumo_edge}; "
            "check sumo_edge and the traffic light in the plan"
        )
    kerb_a, kerb_b = crossing.kerbs
    ends = area_legs.get(start_area, set()), area_legs.get(after[0], set())
    shape = connection.lane.getShape(lane)
    if _is_at(kerb_a, ends[0]) and _is_at(kerb_b, ends[1]):
        start_kerb: Kerb = "A"
    elif _is_at(kerb_b, ends[0]) and _is_at(kerb_a, ends[1]):
        start_kerb = "B"
    elif not all(legs - {crossing.leg} for legs in ends):
        start_kerb = _kerb_by_side(plan, crossing, shape[0], shape[-1])
    else:
        raise ScenarioError(
            f"crossing {crossing.id}: its ends meet the legs {sorted(ends[0])} and {sorted(ends[1])}, "
            f"not the kerbs {kerb_a} and {kerb_b}; correct kerbs in the plan"
        )
    return CrossingLayout(
        crossing=crossing.id,
        edge=crossing.sumo_edge,
        length_m=connection.lane.getLength(lane),
        start_area=start_area,
        end_area=after[0],
        start_kerb=start_kerb,
        island="A" if kerb_a == REFUGE else "B" if kerb_b == REFUGE else None,
        start_xy=(shape[0][0], shape[0][1]),
        end_xy=(shape[-1][0], shape[-1][1]),
    )


def _kerb_by_side(plan: SitePlan, crossing: Crossing, start: Point, end: Point) -> Kerb:
    """Return the kerb at a crossing's beginning by its side of the leg, where no sidewalk tells.

    Seen from the junction, the leg next to it anticlockwise lies to the left.
    """
    bearing = radians(plan.leg(crossing.leg).bearing_deg)
    begins_on_left = sin(bearing) * (end[1] - start[1]) - cos(bearing) * (end[0] - start[0]) < 0.0
    left = neighbours(crossing.leg, plan.legs)[0]
    kerb_a, kerb_b = crossing.kerbs
    is_a_on_left = kerb_b != left if kerb_a == REFUGE else kerb_a == left
    return "A" if begins_on_left == is_a_on_left else "B"


def _is_at(kerb: str, legs: set[str]) -> bool:
    """Tell whether a kerb of the plan is where these legs meet; at a refuge none does."""
    return not legs if kerb == REFUGE else kerb in legs


def lane_strips(
    connection: Connection, plan: SitePlan, crossing: Crossing, layout: CrossingLayout
) -> tuple[LaneStrip, ...]:
    """Return the strips of all vehicle lanes with a signal link that run over a crossing."""
    links = connection.trafficlight.getControlledLinks(plan.sumo.traffic_light)
    strips: dict[str, LaneStrip] = {}
    for movement in plan.movements:
        for number in movement.sumo_links:
            for lane_in, lane_out, _ in links[number]:
                if movement.from_leg == crossing.leg:
                    strips[lane_in] = _strip(connection, lane_in, crossing, layout, is_exit=False)
                if movement.to_leg == crossing.leg:
                    strips[lane_out] = _strip(connection, lane_out, crossing, layout, is_exit=True)
    return tuple(strips.values())


def _strip(
    connection: Connection, lane: str, crossing: Crossing, layout: CrossingLayout, *, is_exit: bool
) -> LaneStrip:
    shape = connection.lane.getShape(lane)
    x, y = shape[0] if is_exit else shape[-1]
    (start_x, start_y), (end_x, end_y) = layout.start_xy, layout.end_xy
    span = hypot(end_x - start_x, end_y - start_y)
    unit_x, unit_y = (end_x - start_x) / span, (end_y - start_y) / span
    along = (x - start_x) * unit_x + (y - start_y) * unit_y
    across = abs((x - start_x) * unit_y - (y - start_y) * unit_x)
    scale = layout.length_m / span
    half_lane = connection.lane.getWidth(lane) / 2
    half_walk = crossing.width_m / 2
    return LaneStrip(
        lane=lane,
        is_exit=is_exit,
        from_m=(along - half_lane) * scale,
        to_m=(along + half_lane) * scale,
        gap_m=across + half_walk if is_exit else max(0.0, across - half_walk),
    )

"""The conflict matrix of a built network: whose ways over the junction meet, and whether the plan agrees.

The plan derives its relations from the bearings of the legs. Here the same question is put to the lanes
that SUMO will drive on: every signal link of a movement is followed over the junction, via lanes and all,
and the way is as wide as the widest vehicle. A crossing is its own band of ground. Plan and network agree
where `conflict` and `yield` stand for ways that meet and `free` for ways that do not.

What counts as meeting:

- Two movements from different legs into the same leg meet, whatever their lanes: lanes change behind the
  crossing, and no plan should bet on who stays in which.
- Two movements from the same leg run side by side. They part or follow each other, so that is no meeting;
  they meet only where one lane's way cuts across another lane's.
- Any others meet where their ways overlap, so opposing lefts that brush each other meet.
- Crossings over the same leg (the halves of a two-stage crossing) are judged together, because the plan's
  relation is one with the leg: a movement meets both halves if it runs over either.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.geometry import Relation
from bitgoeul.controller.plan import Crossing, Movement, SitePlan

from .files import write_text

AGREED_FILE = "relations.txt"
"""Stands beside a built network once a plan agreed with it: the digest of what was compared."""
MATRIX_RECIPE = 1
"""Counts changes of this module that change its verdict: part of the digest."""
WIDEST_VEHICLE_M = 2.5
"""Widest vehicle without a permit (Korean vehicle safety rules, article 4). [m] [M]"""
DEFAULT_LANE_WIDTH_M = 3.2
"""Width of a lane that states none in a SUMO network (SUMO's default). [m]"""
LETTERS: Mapping[Relation, str] = {"conflict": "C", "yield": "Y", "free": "."}
"""How a relation stands in the table of `bitgoeul site show`."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The ground that one lane's vehicles use on their way over the junction.

    Parameters
    ----------
    from_lane : lane it starts on, such as `W_in_4`.
    from_edge, to_edge : edges it leads from and to.
    points : centre line, at least two points. [m]
    width_m : width of the ground, > 0. [m]
    """

    from_lane: str
    from_edge: str
    to_edge: str
    points: tuple[Point, ...]
    width_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The ground of a crossing: its centre line, as wide as it is marked, with square ends. [m]"""

    points: tuple[Point, ...]
    width_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JunctionShapes:
    """Where a plan's movements and crossings lie in a network.

    Parameters
    ----------
    ways : movement id -> its ways, one per signal link.
    bands : crossing id -> its ground.
    """

    ways: Mapping[str, tuple[Way, ...]]
    bands: Mapping[str, Band]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One pair on which plan and network differ.

    Parameters
    ----------
    movement : first of the pair.
    other : the other movement, or the crossing.
    is_crossing : whether `other` is a crossing.
    relation : what the plan says.
    apart_m : how far the ways are from each other; 0 where they meet. [m]
    """

    movement: str
    other: str
    is_crossing: bool
    relation: Relation
    apart_m: float


# --- shapes ---------------------------------------------------------------------------------------


def point_distance_m(point: Point, start: Point, end: Point) -> float:
    """Return how far a point is from a straight piece of line; 0 on it. [m]"""
    along = (end[0] - start[0], end[1] - start[1])
    length_squared = along[0] ** 2 + along[1] ** 2
    share = 0.0
    if length_squared > 0.0:
        share = ((point[0] - start[0]) * along[0] + (point[1] - start[1]) * along[1]) / length_squared
        share = min(max(share, 0.0), 1.0)
    return math.dist(point, (start[0] + share * along[0], start[1] + share * along[1]))


def lines_cross(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Tell whether two straight pieces cut through each other; a mere touch is none."""

    def side(line: tuple[Point, Point], point: Point) -> float:
        (x1, y1), (x2, y2) = line
        return (x2 - x1) * (point[1] - y1) - (y2 - y1) * (point[0] - x1)

    is_parted = side(first, second[0]) * side(first, second[1]) < 0.0
    return is_parted and side(second, first[0]) * side(second, first[1]) < 0.0


def line_distance_m(first: Sequence[Point], second: Sequence[Point]) -> float:
    """Return the least distance of two lines of at least two points each; 0 where they cross. [m]

    Examples
    --------
    >>> line_distance_m([(0.0, 0.0), (10.0, 0.0)], [(5.0, -1.0), (5.0, 1.0)])
    0.0
    >>> line_distance_m([(0.0, 0.0), (10.0, 0.0)], [(0.0, 3.0), (5.0, 3.0), (5.0, 2.0)])
    2.0
    """
    least_m = math.inf
    for one in pairwise(first):
        for other in pairwise(second):
            if lines_cross(one, other):
                return 0.0
            ends = ((one[0], other), (one[1], other), (other[0], one), (other[1], one))
            least_m = min(least_m, *(point_distance_m(point, *line) for point, line in ends))
    return least_m


def ways_apart_m(first: Way, second: Way) -> float:
    """Return the gap between two ways; 0 where they meet (see the module). [m]"""
    if first.from_lane == second.from_lane:
        return math.inf
    if first.from_edge != second.from_edge and first.to_edge == second.to_edge:
        return 0.0
    between_m = line_distance_m(first.points, second.points)
    return max(between_m - (first.width_m + second.width_m) / 2, 0.0)


def crossing_apart_m(way: Way, band: Band) -> float:
    """Return the gap between a way and a crossing; 0 where the way runs over the crossing. [m]"""
    outline = band_outline(band)
    if any(_is_inside(point, outline) for point in way.points):
        return 0.0
    between_m = line_distance_m(way.points, [*outline, outline[0]])
    return max(between_m - way.width_m / 2, 0.0)


def band_outline(band: Band) -> list[Point]:
    """Return the corners of a crossing's ground: along its left edge, back along its right. [m]"""
    left: list[Point] = []
    right: list[Point] = []
    points = [point for point, _ in groupby(band.points)]
    for index, (x, y) in enumerate(points):
        before, after = points[max(index - 1, 0)], points[min(index + 1, len(points) - 1)]
        length_m = math.dist(before, after)
        across = (-(after[1] - before[1]) / length_m, (after[0] - before[0]) / length_m)
        half_m = band.width_m / 2
        left.append((x + half_m * across[0], y + half_m * across[1]))
        right.append((x - half_m * across[0], y - half_m * across[1]))
    return [*left, *reversed(right)]


def _is_inside(point: Point, outline: Sequence[Point]) -> bool:
    x, y = point
    is_inside = False
    for (x1, y1), (x2, y2) in pairwise([*outline, outline[0]]):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            is_inside = not is_inside
    return is_inside


# --- plan against network -------------------------------------------------------------------------


def disagreements(plan: SitePlan, shapes: JunctionShapes) -> tuple[Disagreement, ...]:
    """Return every pair on which plan and network differ, movements first, in the plan's order.

    Parameters
    ----------
    plan : a checked plan.
    shapes : where its movements and crossings lie (`junction_shapes`).
    """
    pairs = (*_movement_pairs(plan, shapes), *_crossing_pairs(plan, shapes))
    return tuple(pair for pair in pairs if (pair.relation != "free") != (pair.apart_m == 0.0))


def _movement_pairs(plan: SitePlan, shapes: JunctionShapes) -> Iterator[Disagreement]:
    for first, second in combinations(plan.movements, 2):
        apart_m = min(ways_apart_m(a, b) for a in shapes.ways[first.id] for b in shapes.ways[second.id])
        relation = plan.movement_relation(first.id, second.id)
        yield Disagreement(
            movement=first.id, other=second.id, is_crossing=False, relation=relation, apart_m=apart_m
        )


def _crossing_pairs(plan: SitePlan, shapes: JunctionShapes) -> Iterator[Disagreement]:
    for movement in plan.movements:
        for crossing in plan.crossings:
            halves = [shapes.bands[each.id] for each in plan.crossings if each.leg == crossing.leg]
            apart_m = min(crossing_apart_m(way, band) for way in shapes.ways[movement.id] for band in halves)
            relation = plan.relation(movement.id, crossing.id)
            yield Disagreement(
                movement=movement.id, other=crossing.id, is_crossing=True, relation=relation, apart_m=apart_m
            )


def check_relations(plan: SitePlan, net_path: Path, source: str) -> None:
    """Check that a plan's relations are those of the network it is to run on.

    Parameters
    ----------
    plan : a checked plan.
    net_path : the network, as netconvert wrote it.
    source : what the message calls the site or plan.

    Raises
    ------
    ScenarioError : plan and network differ, or the plan speaks of links that are not there; all at once.
    """
    shapes = junction_shapes(plan, net_path, source)
    found = disagreements(plan, shapes)
    if found:
        pairs = f"{len(found)} pair{'s' if len(found) != 1 else ''}"
        lines = "".join(f"\n  {_told(plan, each)}" for each in found)
        raise ScenarioError(
            f"{source}: plan and network disagree on {pairs} (one mistake may show in many pairs:"
            f" look for what they have in common){lines}"
        )


def _told(plan: SitePlan, pair: Disagreement) -> str:
    named = f"{pair.movement} and {'crossing ' if pair.is_crossing else ''}{pair.other}"
    if pair.apart_m == 0.0:
        geometry = "their ways meet in the network"
    elif math.isinf(pair.apart_m):
        geometry = "in the network they share a lane before the junction and then part"
    else:
        geometry = f"in the network their ways pass {pair.apart_m:.1f} m apart"
    other = (
        _crossing_place(plan.crossing(pair.other))
        if pair.is_crossing
        else _movement_place(plan.movement(pair.other))
    )
    return (
        f"{named}: the plan says {pair.relation}, {geometry}; correct"
        f" {_movement_place(plan.movement(pair.movement))}, {other}, or the lanes in *.con.xml"
    )


def _movement_place(movement: Movement) -> str:
    links = " ".join(map(str, movement.sumo_links))
    return f"movements.{movement.id} ({movement.from_leg} to {movement.to_leg}, sumo_links {links})"


def _crossing_place(crossing: Crossing) -> str:
    return f"crossings.{crossing.id} (leg {crossing.leg}, sumo_edge {crossing.sumo_edge})"


def check_relations_once(plan: SitePlan, net_path: Path, source: str) -> None:
    """Do as `check_relations`, but only if this plan was not found in agreement before.

    A note of the agreement stands in the network's folder; where it cannot be written, every call checks.

    Raises
    ------
    ScenarioError : as `check_relations`.
    """
    agreed = net_path.parent / AGREED_FILE
    digest = relations_digest(plan)
    with suppress(OSError, UnicodeDecodeError):
        if agreed.read_text(encoding="utf-8").strip() == digest:
            return
    check_relations(plan, net_path, source)
    with suppress(ScenarioError):
        write_text(agreed, f"{digest}\n")


def relations_digest(plan: SitePlan) -> str:
    """Return the hash of all that the verdict on a given network depends on."""
    digest = hashlib.sha256(f"{MATRIX_RECIPE} {plan.sumo.traffic_light}".encode())
    for part in (*plan.legs, *plan.movements, *plan.crossings, *plan.yields):
        digest.update(part.model_dump_json().encode())
    return digest.hexdigest()


# --- reading the network --------------------------------------------------------------------------


def junction_shapes(plan: SitePlan, net_path: Path, source: str) -> JunctionShapes:
    """Read where a plan's movements and crossings lie.

    Raises
    ------
    ScenarioError : the plan names links or crossings that the network lacks, or a crossing's signal link
        belongs to another crossing; all at once.
    """
    root = ET.parse(net_path).getroot()  # noqa: S314 - netconvert's own output
    lanes = {lane.get("id", ""): lane for lane in root.iter("lane")}
    links = _links(root, plan.sumo.traffic_light)
    faults = [*_movement_faults(plan, links), *_crossing_faults(plan, links, lanes)]
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise ScenarioError(f"{source}: the plan speaks of links that the network has not{lines}")
    onward = {
        (each.get("from", ""), each.get("fromLane", "")): each
        for each in root.iter("connection")
        if each.get("from", "").startswith(":")
    }
    ways = {
        movement.id: tuple(_way(links[number], onward, lanes) for number in movement.sumo_links)
        for movement in plan.movements
    }
    bands = {
        crossing.id: Band(points=_points(lane), width_m=_width_m(lane))
        for crossing in plan.crossings
        for lane in (lanes[f"{crossing.sumo_edge}_0"],)
    }
    return JunctionShapes(ways=ways, bands=bands)


def _links(root: ET.Element, traffic_light: str) -> dict[int, ET.Element]:
    return {
        int(each.get("linkIndex", "-1")): each
        for each in root.iter("connection")
        if each.get("tl") == traffic_light
    }


def _movement_faults(plan: SitePlan, links: Mapping[int, ET.Element]) -> Iterator[str]:
    for movement in plan.movements:
        for number in movement.sumo_links:
            if number not in links or links[number].get("from", "").startswith(":"):
                rule = f"no vehicle link of traffic light {plan.sumo.traffic_light}; correct its number"
                yield f"movements.{movement.id}.sumo_links = {number}: {rule}"


def _crossing_faults(
    plan: SitePlan, links: Mapping[int, ET.Element], lanes: Mapping[str, ET.Element]
) -> Iterator[str]:
    for crossing in plan.crossings:
        path = f"crossings.{crossing.id}"
        link = links.get(crossing.sumo_link)
        signalled = "" if link is None else link.get("to", "")
        if f"{crossing.sumo_edge}_0" not in lanes:
            yield f"{path}.sumo_edge = {crossing.sumo_edge}: no such crossing; correct its name"
        elif signalled != crossing.sumo_edge:
            found = f"leads to {signalled}" if signalled else "is none"
            yield (
                f"{path}.sumo_link = {crossing.sumo_link}: that link {found}, not the signal of"
                f" {crossing.sumo_edge}; correct sumo_link or sumo_edge"
            )


def _way(
    link: ET.Element, onward: Mapping[tuple[str, str], ET.Element], lanes: Mapping[str, ET.Element]
) -> Way:
    """Follow a link over the junction, from via lane to via lane."""
    points: list[Point] = []
    width_m = WIDEST_VEHICLE_M
    via = link.get("via")
    while via is not None:
        lane = lanes[via]
        points += _points(lane)
        width_m = min(width_m, _width_m(lane))
        edge, _, index = via.rpartition("_")
        via = onward[edge, index].get("via")
    from_edge = link.get("from", "")
    return Way(
        from_lane=f"{from_edge}_{link.get('fromLane')}",
        from_edge=from_edge,
        to_edge=link.get("to", ""),
        points=tuple(points),
        width_m=width_m,
    )


def _points(lane: ET.Element) -> tuple[Point, ...]:
    pairs = (point.split(",") for point in lane.get("shape", "").split())
    return tuple((float(pair[0]), float(pair[1])) for pair in pairs)


def _width_m(lane: ET.Element) -> float:
    return float(lane.get("width", DEFAULT_LANE_WIDTH_M))


# --- the table ------------------------------------------------------------------------------------


def relations_table(plan: SitePlan) -> list[str]:
    """Return the plan's relations as lines of text: a row per movement, columns of both kinds."""
    movements = [each.id for each in plan.movements]
    crossings = [each.id for each in plan.crossings]
    width = max(map(len, (*movements, *crossings)))
    lines = [_row("", movements, crossings, width)]
    for each in movements:
        beside = [
            "-" if each == other else LETTERS[plan.movement_relation(each, other)] for other in movements
        ]
        across = [LETTERS[plan.relation(each, crossing)] for crossing in crossings]
        lines.append(_row(each, beside, across, width))
    return lines


def _row(name: str, movements: Sequence[str], crossings: Sequence[str], width: int) -> str:
    cells = " ".join(f"{cell:>{width}}" for cell in movements)
    return f"{name:>{width}}  {cells} | {' '.join(f'{cell:>{width}}' for cell in crossings)}".rstrip()


def relations_document(plan: SitePlan) -> dict[str, dict[str, dict[str, Relation]]]:
    """Return the plan's relations for JSON: `movements` and `crossings`, by movement, by other id."""
    names = [each.id for each in plan.movements]
    return {
        "movements": {a: {b: plan.movement_relation(a, b) for b in names if b != a} for a in names},
        "crossings": {a: {each.id: plan.relation(a, each.id) for each in plan.crossings} for a in names},
    }

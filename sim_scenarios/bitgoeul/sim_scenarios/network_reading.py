"""One signalised junction of any SUMO network, read by sumolib: its legs, movements and crossings.

Names follow the compass: leg `W`, the movement `EBT` that comes from it eastbound and goes through, the
crossing `XW` over it. Every bearing, lane, link and length is the network's own.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET
from xml.sax import SAXException

import sumolib

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.geometry import THROUGH_ANGLE_MAX_DEG, fits_turn, turn_angle_deg
from bitgoeul.controller.plan_checks import REFUGE

Turn = Literal["left", "through", "right", "u_turn"]

LOOK_M = 50.0
"""A leg's bearing is taken over so many metres from the junction. [m] [A]"""
SAME_LEG_DEG = 40.0
"""An edge in and an edge out whose bearings differ by no more than this can be one leg. [deg] [A]"""
COMPASS_4 = ("N", "E", "S", "W")
COMPASS_8 = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
OPPOSITE = dict(zip(COMPASS_8, COMPASS_8[4:] + COMPASS_8[:4], strict=True))
TURNS: Mapping[str, Turn] = {
    "s": "through",
    "l": "left",
    "L": "left",
    "r": "right",
    "R": "right",
    "t": "u_turn",
}
"""SUMO's letter of a link's direction -> the plan's word."""
TURN_LETTERS: Mapping[Turn, str] = {"through": "T", "left": "L", "right": "R", "u_turn": "U"}
FIRST_BEARING_DEG = 225.0
"""Legs are listed clockwise from here: west, north, east, south. [deg]"""
TWO_LEGS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JunctionLeg:
    """One arm of the junction as the network has it.

    Parameters
    ----------
    id : compass letter, numbered where two arms share one.
    bearing_deg : from the junction outwards, clockwise from north, to 0.1. [deg]
    edge_in, edge_out : SUMO edges towards and away from the junction; None on a one-way arm.
    lanes_in : vehicle lanes towards the junction, the kerb's first.
    lane_lengths_m : theirs. [m]
    lanes_out : vehicle lanes away from it. [lanes]
    speed_mps : speed limit, the higher of both ways. [m/s]
    """

    id: str
    bearing_deg: float
    edge_in: str | None
    edge_out: str | None
    lanes_in: tuple[str, ...]
    lane_lengths_m: tuple[float, ...]
    lanes_out: int
    speed_mps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JunctionMovement:
    """A stream of vehicles from one leg to another.

    Parameters
    ----------
    id : such as `EBT`.
    from_leg, to_leg : ids of legs.
    turn : by SUMO's direction where it fits the legs' bearings, by the bearings otherwise.
    lanes : lanes it uses, counted from the kerb, 1 = nearest.
    links : SUMO signal links.
    way_m : longest way from stop line to the end of the junction. [m]
    """

    id: str
    from_leg: str
    to_leg: str
    turn: Turn
    lanes: tuple[int, ...]
    links: tuple[int, ...]
    way_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JunctionCrossing:
    """A signalled pedestrian crossing over one leg, or over one side of it up to an island.

    Parameters
    ----------
    id : `X` and the leg; `A` and `B` behind it for the halves of a two-stage crossing.
    leg : id of the leg.
    edge, link : SUMO's crossing and its signal link.
    length_m, width_m : of its lane. [m]
    lanes : vehicle lanes it goes over. [lanes]
    kerbs : its ends, named by the neighbouring legs, or `island`.
    """

    id: str
    leg: str
    edge: str
    link: int
    length_m: float
    width_m: float
    lanes: int
    kerbs: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalisedJunction:
    """A junction as read; `warnings` say what of it no plan can hold."""

    junction: str
    traffic_light: str
    legs: tuple[JunctionLeg, ...]
    movements: tuple[JunctionMovement, ...]
    crossings: tuple[JunctionCrossing, ...]
    warnings: tuple[str, ...]


def read_junction(net_file: Path, traffic_light: str | None) -> SignalisedJunction:
    """Read one signalised junction.

    Parameters
    ----------
    net_file : a SUMO network, not compressed.
    traffic_light : its id; None takes the only one.

    Raises
    ------
    ScenarioError : no such file, no network, no or several traffic lights, or a junction that no plan can
        serve; one line.
    """
    net = _read(net_file)
    light = _chosen_light(net, net_file, traffic_light)
    reader = _Reader(net, light, f"{net_file}: traffic light {light}")
    return reader.read()


def _read(net_file: Path) -> Any:
    if not net_file.is_file():
        raise ScenarioError(f"{net_file}: no such network; give the path of a .net.xml")
    try:
        _, root = next(ET.iterparse(net_file, events=("start",)))  # noqa: S314 - the user's own file
        net = sumolib.net.readNet(
            str(net_file), withInternal=True, withPedestrianConnections=True, withPrograms=True, lxml=False
        )
    except (ET.ParseError, SAXException, KeyError, ValueError, AttributeError, OSError) as fault:
        told = " ".join(str(fault).split())
        raise ScenarioError(
            f"{net_file}: no SUMO network: {type(fault).__name__} {told}; give netconvert's output"
        ) from None
    if root.tag != "net":
        raise ScenarioError(f"{net_file}: no SUMO network: it is a <{root.tag}>; give netconvert's output")
    if root.get("lefthand") == "true":
        raise ScenarioError(f"{net_file}: left-hand traffic, which a plan cannot describe")
    return net


def _chosen_light(net: Any, net_file: Path, wanted: str | None) -> str:
    lights = sorted(light.getID() for light in net.getTrafficLights())
    listed = ", ".join(lights)
    if not lights:
        raise ScenarioError(
            f"{net_file}: has no traffic light; give one to the junction (netconvert --tls.set ID)"
        )
    if wanted is not None and wanted not in lights:
        raise ScenarioError(f"{net_file}: has no traffic light {wanted!r}; it has {listed}")
    if wanted is None and len(lights) > 1:
        raise ScenarioError(
            f"{net_file}: has {len(lights)} traffic lights; name one by traffic_light: {listed}"
        )
    return wanted or lights[0]


def is_vehicle_lane(lane: Any) -> bool:
    """Tell whether anything but pedestrians may use a lane."""
    return bool(set(lane.getPermissions()) - {"pedestrian"})


class _Reader:
    """Reads the junction of one traffic light."""

    def __init__(self, net: Any, light: str, where: str) -> None:
        self._net, self._light, self._where = net, light, where
        self._links: dict[int, list[Any]] = defaultdict(list)
        for edge in net.getEdges():
            for lane in edge.getLanes():
                for link in lane.getOutgoing():
                    if link.getTLSID() == light and link.getTLLinkIndex() >= 0:
                        self._links[link.getTLLinkIndex()].append(link)

    def _fault(self, text: str) -> ScenarioError:
        return ScenarioError(f"{self._where} {text}")

    def read(self) -> SignalisedJunction:
        vehicles = {n: links for n, links in self._links.items() if _is_for_vehicles(links)}
        walks = {n: links for n, links in self._links.items() if n not in vehicles}
        if not vehicles:
            raise self._fault("has no link for vehicles; name a junction that has")
        self._check_numbers(vehicles)
        nodes = sorted({link.getFrom().getToNode().getID() for each in vehicles.values() for link in each})
        if len(nodes) > 1:
            raise self._fault(f"has links at {len(nodes)} junctions ({', '.join(nodes)}); one can be served")
        node = self._net.getNode(nodes[0])
        legs = self._legs(node)
        return SignalisedJunction(
            junction=nodes[0],
            traffic_light=self._light,
            legs=legs,
            movements=self._movements(vehicles, legs),
            crossings=self._crossings(walks, legs),
            warnings=tuple(self._without_signal(nodes[0], legs)),
        )

    def _without_signal(self, node: str, legs: Sequence[JunctionLeg]) -> Iterator[str]:
        """Yield what the junction has without a signal, and the plan therefore not."""
        links = [link for found in self._links.values() for link in found]
        signalled = {end.getID() for link in links for end in (link.getFrom(), link.getTo())}
        for edge in self._net.getEdges():
            name = edge.getID()
            if _is_crossing(edge) and name.startswith(f":{node}_c") and name not in signalled:
                yield f"crossing {name} has no signal and is left to SUMO's right of way"
        for leg in (leg for leg in legs if leg.edge_in):
            lanes = [lane for lane in self._net.getEdge(leg.edge_in).getLanes() if is_vehicle_lane(lane)]
            free = [
                k for lane in lanes for k in lane.getOutgoing() if _is_for_vehicles([k]) and not k.getTLSID()
            ]
            if free:
                yield f"leg {leg.id} has {len(free)} ways without a signal, left to SUMO's right of way"

    def _check_numbers(self, vehicles: Mapping[int, Sequence[Any]]) -> None:
        """Refuse links that no head of a plan could drive."""
        for number in sorted(vehicles):
            if len(_ends(vehicles[number])) > 1:
                raise self._fault(f"drives several streams by link {number}; give each a link of its own")
        numbers = sorted(self._links)
        programs = self._net.getTLS(self._light).getPrograms().values()
        lit = {len(phase.state) for program in programs for phase in program.getPhases()}
        count = max(lit, default=len(numbers))
        idle = sorted(set(range(max(count, numbers[-1] + 1))) - set(numbers))
        if idle:
            told = ", ".join(map(str, idle))
            raise self._fault(f"has links that lead nowhere ({told}), which no plan can serve; remove them")

    def _legs(self, node: Any) -> tuple[JunctionLeg, ...]:
        edges_in = [edge for edge in node.getIncoming() if _has_vehicles(edge)]
        edges_out = [edge for edge in node.getOutgoing() if _has_vehicles(edge)]
        pairs = _paired(edges_in, edges_out)
        bearings = [_mean_bearing([_bearing(e, is_in=k == 0) for k, e in enumerate(p) if e]) for p in pairs]
        rounded = [round(bearing, 1) % 360.0 for bearing in bearings]
        if len(set(rounded)) < len(rounded):
            raise self._fault(f"has two legs of the same bearing ({rounded}), whose order is unknown")
        order = sorted(range(len(pairs)), key=lambda i: (rounded[i] - FIRST_BEARING_DEG) % 360.0)
        names = leg_names([rounded[i] for i in order])
        return tuple(_leg(name, rounded[i], *pairs[i]) for name, i in zip(names, order, strict=True))

    def _movements(
        self, links: Mapping[int, Sequence[Any]], legs: Sequence[JunctionLeg]
    ) -> tuple[JunctionMovement, ...]:
        leg_in = {leg.edge_in: leg for leg in legs if leg.edge_in}
        leg_out = {leg.edge_out: leg for leg in legs if leg.edge_out}
        streams: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
        for number in sorted(links):
            if not all(link.getViaLaneID() for link in links[number]):
                raise self._fault("has no lanes inside its junction; build it with internal links")
            ((from_edge, to_edge),) = _ends(links[number])
            streams[leg_in[from_edge].id, leg_out[to_edge].id][number] = links[number][0]
        by_id = {leg.id: leg for leg in legs}
        turns = {pair: _turn(by_id[pair[0]], by_id[pair[1]], found) for pair, found in streams.items()}
        shared = Counter((pair[0], turn) for pair, turn in turns.items())
        movements = []
        for pair in sorted(streams, key=lambda pair: _movement_order(legs, pair, turns[pair])):
            found, turn, leg = streams[pair], turns[pair], by_id[pair[0]]
            name = f"{bound(leg.id)}{TURN_LETTERS[turn]}"
            lanes = {leg.lanes_in.index(link.getFromLane().getID()) + 1 for link in found.values()}
            movements.append(
                JunctionMovement(
                    id=name if shared[leg.id, turn] == 1 else f"{name}_{pair[1]}",
                    from_leg=pair[0],
                    to_leg=pair[1],
                    turn=turn,
                    lanes=tuple(sorted(lanes)),
                    links=tuple(found),
                    way_m=max(self._way_m(link) for link in found.values()),
                )
            )
        return tuple(movements)

    def _way_m(self, link: Any) -> float:
        """Return how long a link's way over the junction is. [m]"""
        length_m, via = 0.0, link.getViaLaneID()
        while via:
            lane = self._net.getLane(via)
            length_m += lane.getLength()
            onward = lane.getOutgoing()
            via = onward[0].getViaLaneID() if onward else ""
        return length_m

    def _crossings(
        self, walks: Mapping[int, Sequence[Any]], legs: Sequence[JunctionLeg]
    ) -> tuple[JunctionCrossing, ...]:
        found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        numbers: dict[str, int] = {}
        for number, links in sorted(walks.items()):
            edges = [end for link in links for end in (link.getFrom(), link.getTo()) if _is_crossing(end)]
            ids = {edge.getID() for edge in edges}
            if len(ids) != 1:
                raise self._fault(
                    f"drives {len(ids)} crossings by link {number}; give each a link of its own"
                )
            edge = edges[0]
            if numbers.setdefault(edge.getID(), number) != number:
                told = f"has a signal for each direction of crossing {edge.getID()}"
                raise self._fault(f"{told}; give it one link for both")
            crossed = {each.getID() for each in edge.getCrossingEdges()}
            over = [leg.id for leg in legs if crossed & {leg.edge_in, leg.edge_out}]
            if len(over) != 1:
                told = " ".join(sorted(crossed))
                raise self._fault(f"has a crossing {edge.getID()} not over one leg ({told}); split it")
            found[over[0]].append((number, edge))
        return tuple(crossing for leg in legs for crossing in self._over(leg, found.get(leg.id, []), legs))

    def _over(
        self, leg: JunctionLeg, found: Sequence[tuple[int, Any]], legs: Sequence[JunctionLeg]
    ) -> Iterable[JunctionCrossing]:
        if len(found) > TWO_LEGS:
            raise self._fault(f"has {len(found)} crossings over leg {leg.id}; two halves at most are served")
        kerb_in, kerb_out = _kerbs(leg.id, legs)
        is_two_way = leg.edge_in is not None and leg.edge_out is not None
        for place, (number, edge) in enumerate(found):
            crossed = {each.getID() for each in edge.getCrossingEdges()}
            is_half = is_two_way and not {leg.edge_in, leg.edge_out} <= crossed
            kerbs = (kerb_in, kerb_out)
            if is_half:
                kerbs = (kerb_in, REFUGE) if leg.edge_in in crossed else (REFUGE, kerb_out)
            elif [each.id for each in legs].index(kerbs[0]) > [each.id for each in legs].index(kerbs[1]):
                kerbs = (kerb_out, kerb_in)
            lane = edge.getLanes()[0]
            over = [each for e in edge.getCrossingEdges() for each in e.getLanes() if is_vehicle_lane(each)]
            yield JunctionCrossing(
                id=f"X{leg.id}{'AB'[place] if len(found) > 1 else ''}",
                leg=leg.id,
                edge=edge.getID(),
                link=number,
                length_m=round(lane.getLength(), 2),
                width_m=round(lane.getWidth(), 2),
                lanes=max(1, len(over)),
                kerbs=kerbs,
            )


# --- names and geometry ---------------------------------------------------------------------------


def leg_names(bearings_deg: Sequence[float]) -> list[str]:
    """Return a name for each leg by its bearing, all different.

    Examples
    --------
    >>> leg_names([292.0, 22.0, 116.0, 202.0])
    ['W', 'N', 'E', 'S']
    >>> leg_names([0.0, 50.0, 80.0])
    ['N', 'NE', 'E']
    >>> leg_names([85.0, 95.0])
    ['E1', 'E2']
    """
    for compass in (COMPASS_4, COMPASS_8):
        share_deg = 360.0 / len(compass)
        names = [compass[round(bearing / share_deg) % len(compass)] for bearing in bearings_deg]
        if len(set(names)) == len(names):
            return names
    seen: Counter[str] = Counter()
    count = Counter(names)
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name}{seen[name]}" if count[name] > 1 else name)
    return numbered


def bound(leg: str) -> str:
    """Return the direction of those who come from a leg, such as `EB` from `W` and `WB2` from `E2`."""
    compass = leg.rstrip("0123456789")
    return f"{OPPOSITE[compass]}B{leg[len(compass) :]}"


def _is_for_vehicles(links: Sequence[Any]) -> bool:
    return all(link.getFrom().getFunction() == link.getTo().getFunction() == "" for link in links)


def _ends(links: Sequence[Any]) -> set[tuple[str, str]]:
    return {(link.getFrom().getID(), link.getTo().getID()) for link in links}


def _is_crossing(edge: Any) -> bool:
    return str(edge.getFunction()) == "crossing"


def _has_vehicles(edge: Any) -> bool:
    return edge.getFunction() == "" and any(is_vehicle_lane(lane) for lane in edge.getLanes())


def _paired(edges_in: Sequence[Any], edges_out: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return the legs' edges (in, out), None where a leg has only one of them."""
    candidates = []
    for i, edge_in in enumerate(edges_in):
        for j, edge_out in enumerate(edges_out):
            apart_deg = abs(_difference(_bearing(edge_in, is_in=True), _bearing(edge_out, is_in=False)))
            is_same_road = edge_in.getFromNode() is edge_out.getToNode()
            if is_same_road or apart_deg <= SAME_LEG_DEG:
                candidates.append((not is_same_road, apart_deg, i, j))
    partner: dict[int, int] = {}
    for _, _, i, j in sorted(candidates):
        if i not in partner and j not in partner.values():
            partner[i] = j
    pairs = [(e, edges_out[partner[i]] if i in partner else None) for i, e in enumerate(edges_in)]
    return [*pairs, *((None, e) for j, e in enumerate(edges_out) if j not in partner.values())]


def _bearing(edge: Any, *, is_in: bool) -> float:
    """Return the bearing of an edge's part near the junction, from the junction outwards. [deg]"""
    shape = [point[:2] for point in edge.getShape()]
    points = list(reversed(shape)) if is_in else shape
    left_m = LOOK_M
    x, y = points[-1]
    for start, end in pairwise(points):
        length_m = math.dist(start, end)
        if length_m >= left_m:
            share = left_m / length_m
            x, y = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
            break
        left_m -= length_m
    return math.degrees(math.atan2(x - points[0][0], y - points[0][1])) % 360.0


def _difference(first_deg: float, second_deg: float) -> float:
    return (first_deg - second_deg + 180.0) % 360.0 - 180.0


def _mean_bearing(bearings_deg: Sequence[float]) -> float:
    first = bearings_deg[0]
    return (first + sum(_difference(each, first) for each in bearings_deg) / len(bearings_deg)) % 360.0


def _leg(name: str, bearing_deg: float, edge_in: Any, edge_out: Any) -> JunctionLeg:
    lanes_in = [lane for lane in edge_in.getLanes() if is_vehicle_lane(lane)] if edge_in else []
    lanes_out = [lane for lane in edge_out.getLanes() if is_vehicle_lane(lane)] if edge_out else []
    return JunctionLeg(
        id=name,
        bearing_deg=bearing_deg,
        edge_in=edge_in.getID() if edge_in else None,
        edge_out=edge_out.getID() if edge_out else None,
        lanes_in=tuple(lane.getID() for lane in lanes_in),
        lane_lengths_m=tuple(round(lane.getLength(), 1) for lane in lanes_in),
        lanes_out=len(lanes_out),
        speed_mps=max(lane.getSpeed() for lane in (*lanes_in, *lanes_out)),
    )


def _turn(from_leg: JunctionLeg, to_leg: JunctionLeg, links: Mapping[int, Any]) -> Turn:
    if from_leg.id == to_leg.id:
        return "u_turn"
    angle_deg = turn_angle_deg(from_leg.bearing_deg, to_leg.bearing_deg)
    stated = TURNS.get(next(iter(links.values())).getDirection())
    if stated is not None and fits_turn(stated, angle_deg):
        return stated
    if abs(angle_deg) <= THROUGH_ANGLE_MAX_DEG:
        return "through"
    return "right" if angle_deg > 0.0 else "left"


def _movement_order(legs: Sequence[JunctionLeg], ends: tuple[str, str], turn: Turn) -> tuple[int, int, str]:
    place = [leg.id for leg in legs].index(ends[0])
    return place, ("right", "through", "left", "u_turn").index(turn), ends[1]


def _kerbs(leg: str, legs: Sequence[JunctionLeg]) -> tuple[str, str]:
    """Return the legs next to a leg: on the side where vehicles come in, then where they leave."""
    ring = [each.id for each in sorted(legs, key=lambda each: each.bearing_deg)]
    at = ring.index(leg)
    return (leg, ring[at - 1]) if len(ring) <= TWO_LEGS else (ring[at - 1], ring[(at + 1) % len(ring)])

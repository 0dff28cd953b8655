"""The SUMO network of a corridor: its members' plain-XML sources in one, each under its own names.

A linked pair of legs becomes one road: what leaves one member runs straight on for as long as its own
approach, then bends to the approach of the other, which it leads into.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import platformdirs

from bitgoeul.controller.errors import ScenarioError

from .build import (
    ADDITIONAL_FILE,
    BUILD_RECIPE,
    CHECKSUM_FILE,
    NETCONVERT_OPTIONS,
    NETWORK_FILE,
    SOURCE_SUFFIXES,
    BuiltNetwork,
    checksum,
    detectors_xml,
    is_whole,
    netconvert_version,
    network_sources,
    programs_digest,
    run_netconvert,
    with_programs,
)
from .corridor import Corridor, Port, prefix
from .files import new_folder, write_text
from .matrix import check_relations, relations_digest

CORRIDOR_RECIPE = 1
"""Counts changes of this module that change its output: part of the cache's key."""
LEAST_BEND_M = 20.0
"""Shortest stretch between two approaches in which a road may bend. [m] [A]"""
NAMES = ("id", "from", "to", "node", "edges", "prohibitor", "prohibited")
"""Attributes that name nodes and edges; `edges` and the last two name several."""
KNOWN = frozenset({"node", "edge", "connection", "crossing", "prohibition"})
"""Elements whose attributes are understood; any other is refused."""

Point = tuple[float, float]


def build_corridor(corridor: Corridor) -> BuiltNetwork:
    """Build a corridor's network, or find it in the user's cache.

    Raises
    ------
    ScenarioError : as `build_network`, or the sources cannot be joined.
    """
    sources = corridor_sources(corridor)
    plans = corridor.plans
    additional = detectors_xml(tuple(plans.values()))
    digest = hashlib.sha256(
        f"{BUILD_RECIPE} {CORRIDOR_RECIPE} {NETCONVERT_OPTIONS} {netconvert_version()}".encode()
    )
    relations = [relations_digest(plan) for plan in plans.values()]
    for part in (*sources.values(), programs_digest(tuple(plans.values())), additional, *relations):
        digest.update(part.encode())
    key = digest.hexdigest()[:16]
    folder = platformdirs.user_cache_path("bitgoeul") / "networks" / f"{corridor.table.id}-{key}"
    if not is_whole(folder):
        with new_folder(folder, replace=folder.is_dir()) as temporary:
            _write_network(corridor, sources, temporary / NETWORK_FILE)
            write_text(temporary / ADDITIONAL_FILE, additional)
            write_text(temporary / CHECKSUM_FILE, checksum(temporary))
    return BuiltNetwork(
        net_path=folder / NETWORK_FILE, additional_path=folder / ADDITIONAL_FILE, content_hash=key
    )


def _write_network(corridor: Corridor, sources: Mapping[str, str], path: Path) -> None:
    files = {}
    for suffix, option in SOURCE_SUFFIXES.items():
        files[option] = path.parent / f"corridor{suffix}"
        write_text(files[option], sources[option])
    run_netconvert(files, path, corridor.name)
    text = path.read_text(encoding="utf-8")
    write_text(path, with_programs(text, tuple(corridor.plans.values()), corridor.name))
    for name, site in corridor.members.items():
        check_relations(site.plan, path, f"{corridor.name}, {name}")


def corridor_sources(corridor: Corridor) -> dict[str, str]:
    """Return the plain XML of the whole corridor by netconvert option.

    Raises
    ------
    ScenarioError : a source that cannot be read or has elements of an unknown kind, or a link too short
        for both approaches.
    """
    members = {name: _prefixed_sources(corridor, name) for name in corridor.members}
    for port, other in corridor.joined.items():
        _join(corridor, members, port, other)
    edges = [edge for sources in members.values() for edge in sources[SOURCE_SUFFIXES[".edg.xml"]]]
    used = {edge.get(end) for edge in edges for end in ("from", "to")}
    combined = {}
    for option in SOURCE_SUFFIXES.values():
        root = ET.Element(next(iter(members.values()))[option].tag)
        for sources in members.values():
            root.extend(sources[option])
        ET.indent(root)
        if option == SOURCE_SUFFIXES[".nod.xml"]:
            _keep(root, lambda node: node.get("id") in used)
        combined[option] = ET.tostring(root, encoding="unicode") + "\n"
    return combined


def _prefixed_sources(corridor: Corridor, member: str) -> dict[str, ET.Element]:
    """Return a member's sources, moved to its place, with its names prefixed."""
    site, before, place = corridor.sites[member], prefix(member), corridor.places[member]
    roots = {}
    for option, path in network_sources(site).items():
        try:
            root = ET.parse(path).getroot()  # noqa: S314 - the site's own files, as its plan
        except (OSError, ET.ParseError) as fault:
            raise ScenarioError(f"{path}: cannot be read: {fault}") from None
        for element in root.iter():
            if element is not root and element.tag not in KNOWN:
                raise ScenarioError(f"{path}: a corridor cannot take <{element.tag}>; known: {sorted(KNOWN)}")
            _rename(element, before)
            _move(element, place)
        roots[option] = root
    return roots


def _rename(element: ET.Element, before: str) -> None:
    for name in NAMES:
        value = element.get(name)
        if value is not None:
            parts = value.split("->")
            named = [" ".join(before + word for word in part.split()) for part in parts]
            element.set(name, "->".join(named))


def _move(element: ET.Element, place: Point) -> None:
    if "x" in element.attrib:
        x, y = float(element.attrib["x"]) + place[0], float(element.attrib["y"]) + place[1]
        element.set("x", f"{x:.2f}")
        element.set("y", f"{y:.2f}")
    if "shape" in element.attrib:
        element.set("shape", _shape_text((x + place[0], y + place[1]) for x, y in _points(element)))


def _points(element: ET.Element) -> list[Point]:
    pairs = (pair.split(",") for pair in element.attrib["shape"].split())
    return [(float(x), float(y)) for x, y in pairs]


def _shape_text(points: Iterator[Point] | list[Point]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _join(
    corridor: Corridor, members: Mapping[str, Mapping[str, ET.Element]], port: Port, other: Port
) -> None:
    """Let what leaves at one leg lead into the approach of another, in place of that one's far edge."""
    (member, leg), (next_member, next_leg) = port, other
    edge_option, connection_option = SOURCE_SUFFIXES[".edg.xml"], SOURCE_SUFFIXES[".con.xml"]
    edges = {each.get("id", ""): each for sources in members.values() for each in sources[edge_option]}
    leaving, entering = edges[f"{prefix(member)}{leg}_out"], edges[f"{prefix(next_member)}{next_leg}_in"]
    far = f"{prefix(next_member)}{next_leg}_far"
    approach_m = math.dist(*_ends(edges[f"{prefix(member)}{leg}_in"]))
    start, end = _ends(leaving)
    goal = _points(entering)[0]
    if math.dist(start, goal) < approach_m + LEAST_BEND_M:
        raise ScenarioError(f"{corridor.name}: the road from {member} to {next_member} is too short")
    share = approach_m / math.dist(start, end)
    bend = (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
    leaving.set("shape", _shape_text([start, bend, goal]))
    leaving.set("to", entering.get("from", ""))
    sources = members[next_member]
    _keep(sources[edge_option], lambda edge: edge.get("id") != far)
    for connection in sources[connection_option]:
        if connection.get("from") == far:
            connection.set("from", leaving.get("id", ""))


def _ends(edge: ET.Element) -> tuple[Point, Point]:
    points = _points(edge)
    return points[0], points[-1]


def _keep(root: ET.Element, is_wanted: Callable[[ET.Element], bool]) -> None:
    for element in [each for each in root if not is_wanted(each)]:
        root.remove(element)

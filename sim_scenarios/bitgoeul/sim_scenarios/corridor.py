"""Corridors: several sites in one network, as data (`corridors/<name>/corridor.toml`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan, checked_plan

from .catalog import Site, load_site
from .tables import PerHour, Positive, Share, Strict, check_shares, read_table

CORRIDORS_FOLDER = Path(__file__).parent / "corridors"
CORRIDOR_FILE = "corridor.toml"
CORRIDOR_DEMAND_FILE = "demand.toml"
TURNS = ("left", "through", "right")
SEPARATOR = "."
"""Stands between a member's id and its site's own name of an edge, node or detector."""

Port = tuple[str, str]
"""A leg of the corridor: member id, leg id."""


class Member(Strict):
    """One junction of a corridor: an id of its own, whose site it is, and where its cycle stands."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    site: str
    name: str
    name_ko: str
    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    offset_s: Annotated[float, Field(ge=0, le=1_000)]
    note: str = ""


class Link(Strict):
    """A road between two members: which legs it joins, and the distance of their centres. [m]"""

    from_member: str
    from_leg: str
    to_member: str
    to_leg: str
    spacing_m: Annotated[float, Field(gt=0, le=5_000)]

    @property
    def ports(self) -> tuple[Port, Port]:
        """Return both ends."""
        return (self.from_member, self.from_leg), (self.to_member, self.to_leg)


class CorridorTable(Strict):
    """A corridor's `corridor.toml`."""

    schema_version: Literal[1]
    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    name_ko: str
    note: str = ""
    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    links: tuple[Link, ...] = ()


class Entry(Strict):
    """Peak flow that enters the corridor on one open leg."""

    member: str
    leg: str
    veh_per_h: PerHour


class Turns(Strict):
    """Shares of the turns of all who come in on one leg of one member."""

    member: str
    leg: str
    left: Share
    through: Share
    right: Share

    @property
    def shares(self) -> dict[str, float]:
        """Return the shares by turn."""
        return {"left": self.left, "through": self.through, "right": self.right}


class CorridorDemand(Strict):
    """A corridor's `demand.toml`: who drives in, and how they turn at each junction they come to."""

    schema_version: Literal[1]
    walker_factor: Positive
    entries: tuple[Entry, ...]
    turns: tuple[Turns, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corridor:
    """A corridor, loaded and checked.

    Parameters
    ----------
    name : registered name, or the corridor's own id where it was given by path.
    folder : where its files stand.
    table, demand : its two files.
    members : by id, in the file's order: the member's site with its plan's names prefixed.
    sites : by id: the site as it stands alone.
    places : by id: where the member's centre lies. [m]
    """

    name: str
    folder: Path
    table: CorridorTable
    demand: CorridorDemand
    members: Mapping[str, Site]
    sites: Mapping[str, Site]
    places: Mapping[str, tuple[float, float]]

    @property
    def plans(self) -> dict[str, SitePlan]:
        """Return the members' plans by what their names in the network begin with."""
        return {prefix(name): site.plan for name, site in self.members.items()}

    @property
    def joined(self) -> dict[Port, Port]:
        """Return for each linked leg the leg at the other end."""
        ends = [link.ports for link in self.table.links]
        return {one: other for pair in ends for one, other in (pair, pair[::-1])}

    def owner(self, edge: str) -> str:
        """Return the member an edge leads to; one that leads out belongs to the member it comes from.

        Raises
        ------
        ScenarioError : no edge of this corridor.
        """
        member, _, name = edge.removeprefix(":").partition(SEPARATOR)
        if member not in self.members:
            raise ScenarioError(f"{self.name}: edge {edge} belongs to none of its members")
        leg, _, way = name.rpartition("_")
        if way == "out" and (member, leg) in self.joined:
            return self.joined[member, leg][0]
        return member


def prefix(member: str) -> str:
    """Return what a member's names in the network begin with."""
    return f"{member}{SEPARATOR}"


def corridor_names() -> tuple[str, ...]:
    """Return the names of all shipped corridors."""
    return tuple(path.parent.name for path in sorted(CORRIDORS_FOLDER.glob(f"*/{CORRIDOR_FILE}")))


def load_corridor(name_or_path: str | Path) -> Corridor:
    """Load a corridor.

    Parameters
    ----------
    name_or_path : a shipped corridor's name, or the path of a folder with a `corridor.toml`.

    Raises
    ------
    ScenarioError : unknown, or its files have faults.
    PlanError : a member's plan has faults.
    """
    is_shipped = str(name_or_path) in corridor_names()
    folder = CORRIDORS_FOLDER / str(name_or_path) if is_shipped else Path(name_or_path)
    if not (folder / CORRIDOR_FILE).is_file():
        known = ", ".join(corridor_names())
        raise ScenarioError(
            f"corridor {str(name_or_path)!r} is unknown; give one of {known},"
            f" or a folder with a {CORRIDOR_FILE}"
        )
    table = read_table(folder / CORRIDOR_FILE, CorridorTable)
    sites = {member.id: load_site(_site_path(folder, member.site)) for member in table.members}
    corridor = Corridor(
        name=str(name_or_path) if is_shipped else table.id,
        folder=folder,
        table=table,
        demand=read_table(folder / CORRIDOR_DEMAND_FILE, CorridorDemand),
        members={member.id: _member_site(member, sites[member.id]) for member in table.members},
        sites=sites,
        places=_places(table, sites, folder / CORRIDOR_FILE),
    )
    _check_demand(corridor, folder / CORRIDOR_DEMAND_FILE)
    return corridor


def _site_path(folder: Path, site: str) -> str | Path:
    """Return a site beside the corridor's file where there is one, else its registered name."""
    return folder / site if (folder / site).is_dir() else site


def _member_site(member: Member, site: Site) -> Site:
    return replace(site, name=member.id, plan=member_plan(site.plan, member))


def member_plan(plan: SitePlan, member: Member) -> SitePlan:
    """Return a site's plan under a member's name: its names in SUMO prefixed, its cycle shifted.

    Raises
    ------
    PlanError : the shifted plan breaks a rule.
    """
    before = prefix(member.id)
    document: dict[str, Any] = plan.model_dump(mode="json", exclude_none=True)
    stated = member.model_dump(include={"id", "name", "name_ko", "lat", "lon", "note"})
    document["site"].update(stated)
    for crossing in document["crossings"]:
        crossing["sumo_edge"] = f":{before}{crossing['sumo_edge'].removeprefix(':')}"
    for detector in document["detectors"]:
        detector["sumo_id"] = before + detector["sumo_id"]
    for pattern in document["patterns"]:
        pattern["offset_s"] = (pattern["offset_s"] + member.offset_s) % pattern["cycle_s"]
    for name in ("junction", "traffic_light"):
        document["sumo"][name] = before + document["sumo"][name]
    return checked_plan(document, f"{member.id} ({plan.site.id})")


def _places(table: CorridorTable, sites: Mapping[str, Site], path: Path) -> dict[str, tuple[float, float]]:
    """Return where the members lie, the first at the origin; each link runs at the mean bearing of its legs.

    Raises
    ------
    ScenarioError : a member that stands twice, a link to a leg that is not there, is taken or has other
        lanes, or a member that no link leads to.
    """
    if len(sites) != len(table.members):
        raise ScenarioError(f"{path}: a member's id stands twice")
    taken: set[Port] = set()
    for link in table.links:
        _check_link(link, sites, taken, path)
        taken.update(link.ports)
    places = {table.members[0].id: (0.0, 0.0)}
    for _ in table.members:
        for link in table.links:
            (one, _), (other, _) = link.ports
            if (one in places) == (other in places):
                continue
            bearing = _bearing(link, sites)
            east_m, north_m = link.spacing_m * math.sin(bearing), link.spacing_m * math.cos(bearing)
            sign, known, new = (1, one, other) if one in places else (-1, other, one)
            x, y = places[known]
            places[new] = (round(x + sign * east_m, 2), round(y + sign * north_m, 2))
    apart = [member.id for member in table.members if member.id not in places]
    if apart:
        raise ScenarioError(f"{path}: no link leads to {', '.join(apart)}")
    return places


def _bearing(link: Link, sites: Mapping[str, Site]) -> float:
    """Return the direction of a link from its first member, in radians east of north."""
    away = math.radians(sites[link.from_member].plan.leg(link.from_leg).bearing_deg)
    back = math.radians(sites[link.to_member].plan.leg(link.to_leg).bearing_deg + 180)
    return math.atan2(math.sin(away) + math.sin(back), math.cos(away) + math.cos(back))


def _check_link(link: Link, sites: Mapping[str, Site], taken: set[Port], path: Path) -> None:
    for member, leg in link.ports:
        if member not in sites or leg not in {each.id for each in sites[member].plan.legs}:
            raise ScenarioError(f"{path}: a link names leg {leg} of {member}, which is not there")
        if (member, leg) in taken:
            raise ScenarioError(f"{path}: two links join leg {leg} of {member}")
    ends = [sites[member].plan.leg(leg) for member, leg in link.ports]
    if (ends[0].lanes_in, ends[0].lanes_out) != (ends[1].lanes_out, ends[1].lanes_in):
        raise ScenarioError(
            f"{path}: {link.from_member} {link.from_leg} and {link.to_member} {link.to_leg} differ in lanes"
        )


def _check_demand(corridor: Corridor, path: Path) -> None:
    """Refuse a demand that is not that of the corridor, or sites that cannot share one.

    Raises
    ------
    ScenarioError : a leg without its row or with two, shares that do not sum to 1, a turn that the plan
        lacks, or members whose demands differ in what vehicles and periods there are.
    """
    legs_in = sorted(
        (name, leg.id) for name, site in corridor.members.items() for leg in site.plan.legs if leg.lanes_in
    )
    open_legs = [port for port in legs_in if port not in corridor.joined]
    for what, rows, wanted in (
        ("entries", corridor.demand.entries, open_legs),
        ("turns", corridor.demand.turns, legs_in),
    ):
        found = sorted((row.member, row.leg) for row in rows)
        if found != wanted:
            raise ScenarioError(f"{path}: {what} has rows for {_told(found)}; it needs {_told(wanted)}")
    for turns in corridor.demand.turns:
        try:
            check_shares(f"turns of {turns.member} {turns.leg}", turns.shares, TURNS)
        except ValueError as fault:
            raise ScenarioError(f"{path}: {fault}") from None
        plan = corridor.members[turns.member].plan
        known = {movement.turn for movement in plan.movements if movement.from_leg == turns.leg}
        missing = [turn for turn, share in turns.shares.items() if share and turn not in known]
        if missing:
            raise ScenarioError(f"{path}: {turns.member} {turns.leg} has no movement for {missing}")
    shared = {_shared(site) for site in corridor.sites.values()}
    if len(shared) != 1:
        raise ScenarioError(
            f"{path}: the members' own demand files differ in vehicles, periods or yielding;"
            " in one network they must agree"
        )


def _told(ports: list[Port]) -> str:
    return ", ".join(f"{member} {leg}" for member, leg in ports)


def _shared(site: Site) -> str:
    shared = {"yield_gap_m", "vehicle_types", "vehicle_speed_factor", "periods"}
    return site.demand.model_dump_json(include=shared)


def open_legs(corridor: Corridor) -> Iterator[Port]:
    """Yield the legs through which vehicles come in, in the order of the demand file."""
    for entry in corridor.demand.entries:
        yield entry.member, entry.leg

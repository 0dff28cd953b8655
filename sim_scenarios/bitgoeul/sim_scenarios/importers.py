"""Any SUMO network as a site: a plan with legal timing is derived from the geometry, each step explained.

The network file stays as it is. Our signal program and the passage detectors go into an additional file in
the cache (`build`); the user's route file says who travels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from bitgoeul.controller.errors import PlanError, ScenarioError
from bitgoeul.controller.plan import SitePlan, checked_plan
from bitgoeul.controller.plan_parts import DESIGN_SPEED_RANGE_MPS

from .catalog import ImportedNetwork, Site
from .demand_tables import Demand
from .matrix import JunctionShapes, crossing_apart_m, junction_shapes, line_distance_m, ways_apart_m
from .network_phasing import (
    CLEARANCE_MPS,
    ENTRY_S,
    Meetings,
    Phasing,
    Times,
    phase_tables,
    phasing,
    ring_tables,
    timed,
)
from .network_reading import JunctionLeg, SignalisedJunction, read_junction
from .route_files import RouteDemand, moved_to_begin, read_route_demand
from .simulation import WARMUP_S

PERIOD = "all_day"
"""The only demand period of an imported site: its route file says who departs when."""
OCCUPANCY = 1.0
"""Persons a vehicle: a route file does not say [A]; 1.0 weighs a vehicle like a walker. [1]"""
PROGRAM = "bitgoeul"
"""Name of our signal program, beside the network's own."""
PASSAGE_M = 40.0
"""Stop line to a passage detector; on a lane under twice as long, half the lane. [m] [A]"""
ATTEMPTS = (
    (False, True, 1.25),
    (False, True, 1.0),
    (False, False, 1.0),
    (True, True, 1.25),
    (True, True, 1.0),
    (True, False, 1.0),
)
"""Exclusive walk for all, spare green, maximum over green: tried in turn until calls are served in time."""


def site_from_network(
    net_file: str | Path,
    route_file: str | Path,
    *,
    traffic_light: str | None = None,
    design_speed_mps: float = 1.0,
) -> Site:
    """Return a site on one signalised junction of a SUMO network.

    Parameters
    ----------
    net_file : the network (`.net.xml`), right-hand traffic, with lanes inside junctions.
    route_file : vehicles and persons of the whole network, as SUMO reads them; used as it is, or, if it
        begins after the warm-up, as a copy whose times are moved back by whole minutes.
    traffic_light : its id; None takes the only one.
    design_speed_mps : slowest walker that walk and clearance serve, 0.3 to 1.5. [m/s]

    Returns
    -------
    The site; `site.explain()` says how each part was derived and what was left out.

    Raises
    ------
    ScenarioError : the files cannot be read, no such traffic light, several and none named, or no legal
        plan serves the junction; one line.
    ValueError : a design speed out of its range.
    """
    low, high = DESIGN_SPEED_RANGE_MPS
    if not low <= design_speed_mps <= high:
        raise ValueError(f"design_speed_mps = {design_speed_mps}: allowed are {low} to {high} m/s")
    net_path, route_path = Path(net_file).resolve(), Path(route_file).resolve()
    junction = read_junction(net_path, traffic_light)
    demand = read_route_demand(route_path)
    if demand.begin_s >= WARMUP_S:
        demand = moved_to_begin(demand, platformdirs.user_cache_path("bitgoeul") / "routes")
    derived = _derived_plan(junction, net_path, design_speed_mps)
    lines = tuple(_explained(junction, derived, demand))
    return Site(
        name=derived.plan.site.id,
        folder=net_path.parent,
        plan_file=net_path,
        network_folder=net_path.parent,
        plan=derived.plan,
        demand=_nobody_drawn(),
        imported=ImportedNetwork(net_file=net_path, routes=demand, occupancy=OCCUPANCY, lines=lines),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Derived:
    plan: SitePlan
    phasing: Phasing
    differences: tuple[str, ...]


def _derived_plan(junction: SignalisedJunction, net_path: Path, design_speed_mps: float) -> _Derived:
    """Return the first legal plan of `ATTEMPTS`.

    Raises
    ------
    ScenarioError : none is legal; the message has the last one's first fault.
    """
    where = f"{net_path}: traffic light {junction.traffic_light}"
    base = _base_document(junction, net_path, design_speed_mps)
    bare = _bare_plan(base, where)
    shapes = junction_shapes(bare, net_path, str(net_path))
    brushing = tuple(_strangers(bare, shapes, where))
    meetings = Meetings(
        movements=lambda a, b: _must_part(bare, shapes, a, b),
        walk=lambda movement, crossing: bare.relation(movement, crossing) == "conflict",
    )
    last: PlanError | None = None
    for is_scramble, has_spare, max_share in ATTEMPTS:
        found = phasing(junction, meetings, is_scramble=is_scramble)
        times = Times(design_speed_mps=design_speed_mps, has_spare_green=has_spare, max_share=max_share)
        try:
            plan = checked_plan(_document(base, junction, found, times), where)
        except PlanError as error:
            last = error
            continue
        return _Derived(plan=plan, phasing=found, differences=(*_differences(plan, shapes), *brushing))
    fault = last.faults[0] if last is not None else None
    told = "" if fault is None else f"{fault.path} = {fault.value}: {fault.rule}"
    raise ScenarioError(f"{where} cannot be served by a legal plan ({told})")


def _bare_plan(base: dict[str, Any], where: str) -> SitePlan:
    """Return legs, movements and crossings as an unchecked plan, to ask for their relations.

    Raises
    ------
    ScenarioError : a figure that no plan can hold, such as a crossing over 80 m.
    """
    empty: dict[str, Any] = {"phases": [], "rings": [], "patterns": [], "detectors": [], "yields": []}
    try:
        return SitePlan.model_validate_json(json.dumps({**base, **empty}), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(place) for place in first["loc"])
        raise ScenarioError(f"{where} cannot be a plan: {path} = {first['input']}: {first['msg']}") from None


def _must_part(plan: SitePlan, shapes: JunctionShapes, first: str, second: str) -> bool:
    """Tell whether two movements may never be green together: by the legs' order, or by their lanes."""
    relation = plan.movement_relation(first, second)
    if relation != "free" or plan.movement(first).from_leg == plan.movement(second).from_leg:
        return relation == "conflict"
    return _movements_meet(shapes, first, second)


def _movements_meet(shapes: JunctionShapes, first: str, second: str) -> bool:
    return any(ways_apart_m(a, b) == 0.0 for a in shapes.ways[first] for b in shapes.ways[second])


def _strangers(plan: SitePlan, shapes: JunctionShapes, where: str) -> Iterator[str]:
    """Yield a warning for each movement that brushes a crossing of a leg it has nothing to do with.

    Raises
    ------
    ScenarioError : one drives right over it: no plan could say that they conflict.
    """
    for movement in plan.movements:
        for crossing in plan.crossings:
            if crossing.leg in (movement.from_leg, movement.to_leg):
                continue
            band, ways = shapes.bands[crossing.id], shapes.ways[movement.id]
            if any(line_distance_m(way.points, band.points) == 0.0 for way in ways):
                raise ScenarioError(
                    f"{where}: movement {movement.id} drives over crossing {crossing.id}, which lies on"
                    " neither of its legs; correct the network"
                )
            if any(crossing_apart_m(way, band) == 0.0 for way in ways):
                yield (
                    f"warning: {movement.id} brushes the edge of crossing {crossing.id} as the network draws"
                    " them; they may be green together"
                )


def _differences(plan: SitePlan, shapes: JunctionShapes) -> Iterator[str]:
    """Yield where plan and lanes differ: kept apart though they pass each other, or the other way round."""
    for first, second in combinations(plan.movements, 2):
        relation = plan.movement_relation(first.id, second.id)
        meet = _movements_meet(shapes, first.id, second.id)
        if relation == "conflict" and not meet:
            yield f"{first.id} and {second.id} are kept apart, although their lanes pass each other"
        elif relation == "free" and meet and first.from_leg == second.from_leg:
            yield f"warning: the lanes of {first.id} and {second.id} cut across each other; SUMO decides"
        elif relation == "free" and meet:
            yield f"{first.id} and {second.id} are kept apart, because their lanes brush each other"


# --- the plan as nested tables --------------------------------------------------------------------


def _base_document(junction: SignalisedJunction, net_path: Path, design_speed_mps: float) -> dict[str, Any]:
    """Return what the geometry alone gives: legs, movements, crossings, and where they are in SUMO."""
    name = net_path.name.removesuffix(".xml").removesuffix(".net")
    identity = re.sub(r"[^a-z0-9]+", "_", f"{name}_{junction.traffic_light}".lower()).strip("_")
    return {
        "schema_version": 1,
        "site": {
            "id": identity if identity[:1].isalpha() else f"net_{identity}",
            "name": f"{name}, traffic light {junction.traffic_light}",
            "name_ko": name,
            "lat": 0.0,
            "lon": 0.0,
            "note": "Derived from the network's geometry; its place on the globe is not read.",
        },
        "limits": {
            "manual": f"entry {ENTRY_S:g} s + L / {design_speed_mps:g} m/s, then L / {CLEARANCE_MPS:g} m/s",
            "design_speed_mps": design_speed_mps,
            "clearance_speed_mps": CLEARANCE_MPS,
        },
        "legs": [
            {
                "id": leg.id,
                "name": f"{leg.edge_in or '-'} / {leg.edge_out or '-'}",
                "bearing_deg": leg.bearing_deg,
                "lanes_in": len(leg.lanes_in),
                "lanes_out": leg.lanes_out,
                "speed_limit_mps": leg.speed_mps,
            }
            for leg in junction.legs
        ],
        "movements": [
            {
                "id": each.id,
                "from_leg": each.from_leg,
                "to_leg": each.to_leg,
                "turn": each.turn,
                "lanes": list(each.lanes),
                "sumo_links": list(each.links),
            }
            for each in junction.movements
        ],
        "crossings": [
            {
                "id": each.id,
                "leg": each.leg,
                "length_m": each.length_m,
                "width_m": each.width_m,
                "lanes": each.lanes,
                "kerbs": list(each.kerbs),
                "sumo_edge": each.edge,
                "sumo_link": each.link,
            }
            for each in junction.crossings
        ],
        "sumo": {
            "junction": junction.junction,
            "traffic_light": junction.traffic_light,
            "program": PROGRAM,
        },
    }


def _document(
    base: dict[str, Any], junction: SignalisedJunction, found: Phasing, times: Times
) -> dict[str, Any]:
    phases = phase_tables(junction, found, times)
    pattern = timed(phases, found, times)
    return {
        **base,
        "phases": phases,
        "rings": ring_tables(found),
        "patterns": [pattern],
        "detectors": [table for leg in junction.legs for table in _detectors(junction, leg, phases)],
        "yields": [
            {"movement": movement.id, "crossing": crossing.id}
            for draft in found.drafts()
            for crossing in draft.crossings
            for beside in found.beside(draft.number)
            for movement in beside.movements
            if movement.turn == "right" and movement.to_leg == crossing.leg
        ],
    }


def _detectors(
    junction: SignalisedJunction, leg: JunctionLeg, phases: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield a zone and a passage detector for each lane of a leg that has a signal."""
    for lane, sumo_lane in enumerate(leg.lanes_in, start=1):
        movements = {m.id for m in junction.movements if m.from_leg == leg.id and lane in m.lanes}
        called = [phase["number"] for phase in phases if movements & set(phase["movements"])]
        if called:
            length_m = leg.lane_lengths_m[lane - 1]
            detector = {"leg": leg.id, "lane": lane, "phases": called}
            yield {
                **detector,
                "id": f"zone_{leg.id}_{lane}",
                "kind": "zone",
                "distance_m": 0.0,
                "length_m": length_m,
                "sumo_id": sumo_lane,
            }
            yield {
                **detector,
                "id": f"pass_{leg.id}_{lane}",
                "kind": "passage",
                "distance_m": round(min(PASSAGE_M, length_m / 2), 1),
                "length_m": 0.0,
                "sumo_id": f"bitgoeul_pass_{leg.id}_{lane}",
            }


def _nobody_drawn() -> Demand:
    """Return a demand without flows: an imported site's trips are its route file's."""
    steady = {"mean": 1.0, "sd": 0.1, "clip": [0.8, 1.2]}
    car = {"id": "car", "sumo_class": "passenger", "share": 1.0, "persons": OCCUPANCY, "length_m": 5.0}
    period = {"name": PERIOD, "hours": list(range(24)), "vehicle_factor": 1.0, "walker_factor": 1.0}
    document = {
        "schema_version": 1,
        "yield_gap_m": 6.0,
        "approaches": [],
        "vehicle_types": [car],
        "vehicle_speed_factor": steady,
        "crossings": [],
        "mobility_mix": {"adult": 1.0},
        "periods": [period],
    }
    return Demand.model_validate_json(json.dumps(document))


# --- what was done, in words ----------------------------------------------------------------------


def _explained(junction: SignalisedJunction, derived: _Derived, demand: RouteDemand) -> Iterator[str]:
    plan, found = derived.plan, derived.phasing
    yield f"traffic light {junction.traffic_light} at junction {junction.junction}: {len(plan.legs)} legs"
    for leg in junction.legs:
        own = [m for m in junction.movements if m.from_leg == leg.id]
        lanes = ", ".join(f"{m.id} from {_counted(m.lanes)}" for m in own)
        yield (
            f"leg {leg.id}: bearing {leg.bearing_deg:g} deg, lanes in {len(leg.lanes_in)}, out"
            f" {leg.lanes_out}, {leg.speed_mps:g} m/s, edges {leg.edge_in or 'none'} and"
            f" {leg.edge_out or 'none'}" + (f"; {lanes}" if lanes else "; no signal link starts here")
        )
    yield from found.reasons
    for phase in plan.phases:
        yield (
            f"phase {phase.number} ({phase.name}): {_listed((*phase.movements, *phase.crossings))};"
            f" yellow {phase.yellow_s:g} s, red clearance {phase.red_clear_s:g} s,"
            f" split {plan.patterns[0].splits[str(phase.number)]:g} s"
        )
    for crossing in plan.crossings:
        phase = plan.phase(plan.phase_of(crossing.id))
        yield (
            f"crossing {crossing.id} ({crossing.sumo_edge}): {crossing.length_m:g} m, phase {phase.number}:"
            f" walk {phase.walk_s:g} s, clearance {phase.ped_clear_s:g} s,"
            f" extension up to {plan.extension_max_s(crossing.id):g} s"
        )
    yield f"cycle {plan.patterns[0].cycle_s:g} s, every call served within {plan.worst_service_s:g} s"
    yield from derived.differences
    yield (
        f"route file {demand.path.name}: {demand.vehicles_n:g} vehicles and {demand.persons_n:g} persons"
        f" from {demand.begin_s:g} to {demand.end_s:g} s; {OCCUPANCY:g} person a vehicle (assumed)"
    )
    if demand.moved_s:
        yield f"its times are moved back by {demand.moved_s:g} s, to begin with the run (a copy of the file)"
    yield from (f"warning: {text}" for text in _warnings(junction, demand))


def _warnings(junction: SignalisedJunction, demand: RouteDemand) -> Iterator[str]:
    yield from junction.warnings
    if not junction.crossings:
        yield "the traffic light has no pedestrian crossing: vehicles only"
    elif not demand.persons_n:
        yield "nobody walks in the route file: its crossings stay empty"


def _counted(lanes: Sequence[int]) -> str:
    return f"lane{'s' if len(lanes) > 1 else ''} {_listed(lanes)}"


def _listed(items: Sequence[object]) -> str:
    return " ".join(map(str, items))

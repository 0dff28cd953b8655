"""A mid-block crossing of any length, written as an ordinary site: where walkers and sensors are tried out.

No place in Gwangju: a straight road of 2 + 2 lanes whose lanes are made as wide as the length asks for, one
crossing, and a plan of two phases. A queue on it means nothing; a walker's seconds do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from .files import write_text

LENGTH_RANGE_M = (6.0, 45.0)
"""Shortest and longest crossing that can be tried. [m]"""
LANES_EACH_WAY = 2
ENTRY_S, DESIGN_MPS, CLEARANCE_MPS = 7.0, 1.0, 1.3
"""Entry time [s], design speed and clearance speed [m/s] of the timing (FACTS, Korean pedestrian signals)."""
DONT_WALK_S = 24.0
"""Vehicle green of the cycle. [s] [A]"""
ROAD_M = 100.0
"""Length of each arm. [m]"""


def write_proving_ground(
    folder: Path, *, length_m: float, mobility_mix: Mapping[str, float], persons_per_h: float = 600.0
) -> Path:
    """Write the site of a mid-block crossing and return its folder, ready for `load_site`.

    Parameters
    ----------
    folder : where; made if it is not there.
    length_m : of the crossing, kerb to kerb, 6 to 45, to one decimal. [m]
    mobility_mix : share of each class; sums to 1.
    persons_per_h : walkers, both ways together. [1/h]

    Raises
    ------
    ValueError : a length outside the range.
    ScenarioError : the folder cannot be written to.
    """
    shortest_m, longest_m = LENGTH_RANGE_M
    if not shortest_m <= length_m <= longest_m:
        raise ValueError(f"length_m = {length_m}: allowed are {shortest_m:g} to {longest_m:g} m")
    width_m = length_m / (2 * LANES_EACH_WAY)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("ground.nod.xml", _nodes_xml()),
        ("ground.edg.xml", _edges_xml(width_m)),
        ("ground.con.xml", _connections_xml()),
        ("plan.toml", _plan_toml(length_m)),
        ("demand.toml", _demand_toml(mobility_mix, persons_per_h)),
    ):
        write_text(folder / name, text)
    return folder


def _nodes_xml() -> str:
    return f"""<nodes>
    <node id="J" x="0" y="0" type="traffic_light"/>
    <node id="W_mid" x="{-ROAD_M}" y="0" type="priority"/>
    <node id="W_end" x="{-2 * ROAD_M}" y="0" type="priority"/>
    <node id="E_mid" x="{ROAD_M}" y="0" type="priority"/>
    <node id="E_end" x="{2 * ROAD_M}" y="0" type="priority"/>
</nodes>
"""


def _edges_xml(width_m: float) -> str:
    edges = (("far", "{0}_end", "{0}_mid"), ("in", "{0}_mid", "J"), ("out", "J", "{0}_end"))
    lines = [
        f'    <edge id="{leg}_{name}" from="{start.format(leg)}" to="{end.format(leg)}"'
        f' numLanes="{LANES_EACH_WAY}" width="{width_m:.4f}" speed="13.89" sidewalkWidth="3" priority="10"/>'
        for leg in ("W", "E")
        for name, start, end in edges
    ]
    return "\n".join(["<edges>", *lines, "</edges>", ""])


def _connections_xml() -> str:
    pairs = (("W_far", "W_in"), ("W_in", "E_out"), ("E_far", "E_in"), ("E_in", "W_out"))
    lines = [
        f'    <connection from="{start}" to="{end}" fromLane="{lane}" toLane="{lane}"/>'
        for start, end in pairs
        for lane in range(1, LANES_EACH_WAY + 1)
    ]
    lines.append('    <crossing node="J" edges="W_in W_out" width="6" priority="true"/>')
    return "\n".join(["<connections>", *lines, "</connections>", ""])


def _plan_toml(length_m: float) -> str:
    clearance_s = math.ceil(length_m / CLEARANCE_MPS)
    walk_s = max(7, math.ceil(ENTRY_S + length_m / DESIGN_MPS - clearance_s))
    vehicle_split_s, walk_split_s = DONT_WALK_S + 6.0, walk_s + clearance_s + 5.0
    lanes = [1, 2]
    return f"""schema_version = 1
rings = [[[2], [4]]]
detectors = []
yields = []

[site]
id = "proving_ground"
name = "proving ground, {length_m:g} m"
name_ko = "시험장"
lat = 35.16
lon = 126.85
note = "No real place; every figure is assumed."

[limits]
manual = "entry {ENTRY_S:g} s + L / {DESIGN_MPS:g} m/s"

[[legs]]
id = "W"
name = "west"
bearing_deg = 270
lanes_in = 2
lanes_out = 2
speed_limit_mps = 13.89

[[legs]]
id = "E"
name = "east"
bearing_deg = 90
lanes_in = 2
lanes_out = 2
speed_limit_mps = 13.89

[[movements]]
id = "EBT"
from_leg = "W"
to_leg = "E"
turn = "through"
lanes = {lanes}
sumo_links = [0, 1]

[[movements]]
id = "WBT"
from_leg = "E"
to_leg = "W"
turn = "through"
lanes = {lanes}
sumo_links = [2, 3]

[[crossings]]
id = "X"
leg = "W"
length_m = {length_m:g}
width_m = 6.0
lanes = {2 * LANES_EACH_WAY}
kerbs = ["W", "E"]
sumo_edge = ":J_c0"
sumo_link = 4

[[phases]]
number = 2
name = "road"
movements = ["EBT", "WBT"]
min_green_s = 10.0
max_green_s = 60.0
passage_s = 3.0
yellow_s = 4.0
red_clear_s = 2.0
vehicle_recall = "max"

[[phases]]
number = 4
name = "crossing"
movements = []
crossings = ["X"]
min_green_s = 5.0
max_green_s = 90.0
passage_s = 3.0
yellow_s = 3.0
red_clear_s = 2.0
walk_s = {walk_s:g}
ped_clear_s = {clearance_s:g}
ped_recall = true

[[patterns]]
number = 1
name = "all day"
hours = [[0, 24]]
cycle_s = {vehicle_split_s + walk_split_s:g}
offset_s = 0.0
splits = {{ 2 = {vehicle_split_s:g}, 4 = {walk_split_s:g} }}

[sumo]
junction = "J"
traffic_light = "J"
program = "plan"
"""


def _demand_toml(mobility_mix: Mapping[str, float], persons_per_h: float) -> str:
    mix = "\n".join(f"{name} = {share}" for name, share in mobility_mix.items())
    approach = "\n".join(
        f'[[approaches]]\nleg = "{leg}"\n'
        "left_veh_per_h = 0.0\nthrough_veh_per_h = 0.0\nright_veh_per_h = 0.0\n"
        for leg in ("W", "E")
    )
    return f"""schema_version = 1
yield_gap_m = 6.0

{approach}
[[vehicle_types]]
id = "car"
sumo_class = "passenger"
share = 1.0
persons = 1.4
length_m = 5.0

[vehicle_speed_factor]
mean = 1.0
sd = 0.1
clip = [0.8, 1.2]

[[crossings]]
id = "X"
persons_per_h = {persons_per_h:g}
from_kerb_a_share = 0.5

[mobility_mix]
{mix}

[[periods]]
name = "all_day"
hours = {json.dumps(list(range(24)))}
vehicle_factor = 1.0
walker_factor = 1.0
"""

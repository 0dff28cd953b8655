"""Sites from other people's networks: what is derived, that it is legal, and what is refused."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan_checks import plan_faults
from bitgoeul.sim_scenarios.build import build_network, netconvert_path
from bitgoeul.sim_scenarios.importers import site_from_network
from bitgoeul.sim_scenarios.matrix import disagreements, junction_shapes

pytestmark = pytest.mark.sumo

ROUTES = '<routes><trip id="a" from="w_J" to="J_e" depart="0"/></routes>'
FOUR = {"w": (-200, 0), "n": (0, 200), "e": (200, 0), "s": (0, -200)}
THREE = {"w": (-200, 0), "e": (200, 10), "s": (20, -200)}
FIVE = {"w": (-200, 0), "n": (-60, 200), "ne": (150, 150), "e": (200, -40), "s": (0, -200)}
WALKING = ("--sidewalks.guess", "--crossings.guess", "--walkingareas")


def built(folder: Path, legs, *, lanes=2, options=WALKING, connections="") -> Path:
    """Let netconvert build one junction J with an edge in and out for each leg."""
    nodes = "".join(f'<node id="{leg}" x="{x}" y="{y}"/>' for leg, (x, y) in legs.items())
    edges = "".join(
        f'<edge id="{a}_{b}" from="{a}" to="{b}" numLanes="{lanes}" speed="13.8"/>'
        for leg in legs
        for a, b in ((leg, "J"), ("J", leg))
    )
    for kind, text in (
        ("nod", f'<nodes><node id="J" x="0" y="0" type="traffic_light"/>{nodes}</nodes>'),
        ("edg", f"<edges>{edges}</edges>"),
        ("con", f"<connections>{connections}</connections>"),
    ):
        (folder / f"x.{kind}.xml").write_text(text, encoding="utf-8")
    command = [str(netconvert_path()), "--no-turnarounds", *options, "-o", str(folder / "x.net.xml")]
    for kind, option in (("nod", "-n"), ("edg", "-e"), ("con", "-x")):
        command += [option, str(folder / f"x.{kind}.xml")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "x.net.xml"


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "x.rou.xml"
    path.write_text(ROUTES, encoding="utf-8")
    return path


def left_lanes(legs) -> str:
    """Return connections that give each left turn of a four-leg junction a third lane of its own."""
    ring = list(legs)
    lines = []
    for place, leg in enumerate(ring):
        left, through, right = (ring[(place + turn) % 4] for turn in (1, 2, 3))
        for to, lane in ((right, 0), (through, 0), (through, 1), (left, 2)):
            lines.append(f'<connection from="{leg}_J" to="J_{to}" fromLane="{lane}" toLane="{lane}"/>')
    return "".join(lines)


def test_the_own_network_of_a_site_gives_its_legs_movements_crossings_and_relations(bukmun, routes):
    network, plan = build_network(bukmun).net_path, bukmun.plan
    derived = site_from_network(network, routes).plan
    legs = ("id", "bearing_deg", "lanes_in", "lanes_out", "speed_limit_mps")
    movements = ("id", "from_leg", "to_leg", "turn", "lanes", "sumo_links")
    crossings = ("id", "leg", "lanes", "kerbs", "sumo_edge", "sumo_link", "width_m")
    for table, names in (("legs", legs), ("movements", movements), ("crossings", crossings)):
        ours = {tuple(getattr(each, name) for name in names) for each in getattr(plan, table)}
        theirs = {tuple(getattr(each, name) for name in names) for each in getattr(derived, table)}
        assert theirs == ours
    for crossing in plan.crossings:
        assert derived.crossing(crossing.id).length_m == pytest.approx(crossing.length_m, abs=0.2)
    for one in plan.movements:
        for other in plan.movements:
            assert derived.movement_relation(one.id, other.id) == plan.movement_relation(one.id, other.id)
        for crossing in plan.crossings:
            assert derived.relation(one.id, crossing.id) == plan.relation(one.id, crossing.id)
    assert derived.rings == plan.rings
    assert {(each.movement, each.crossing) for each in derived.yields} == {
        (each.movement, each.crossing) for each in plan.yields
    }
    for phase in plan.phases:
        assert set(derived.phase(phase.number).movements) == set(phase.movements)
        assert derived.phase(phase.number).crossings == phase.crossings
    assert disagreements(derived, junction_shapes(derived, network, "own")) == ()


def test_four_legs_with_left_lanes_get_a_dual_ring(tmp_path, routes):
    site = site_from_network(built(tmp_path, FOUR, lanes=3, connections=left_lanes(FOUR)), routes)
    assert site.plan.rings == (((2, 1), (4, 3)), ((6, 5), (8, 7)))
    assert [leg.id for leg in site.plan.legs] == ["W", "N", "E", "S"]
    assert {each.id: site.plan.phase_of(each.id) for each in site.plan.crossings} == {
        "XW": 4, "XN": 6, "XE": 8, "XS": 2,
    }  # fmt: skip
    assert any("dual ring" in line for line in site.explain())
    assert plan_faults(site.plan) == ()


def test_a_lane_for_left_and_through_alike_gives_split_phasing_and_says_so(tmp_path, routes):
    site = site_from_network(built(tmp_path, FOUR), routes)
    assert site.plan.rings == (((2, 6), (4, 8)),)
    assert {"EBL", "EBT", "EBR"} == set(site.plan.phase(2).movements)
    assert any("split phasing" in line and "leg W has a lane" in line for line in site.explain())


def test_lefts_whose_ways_meet_come_one_after_another(routes):
    package = importlib.util.find_spec("sumo_rl")
    assert package is not None
    nets = Path(package.submodule_search_locations[0]) / "nets"
    site = site_from_network(nets / "2way-single-intersection" / "single-intersection.net.xml", routes)
    assert site.plan.rings == (((2, 1, 5), (4, 3, 7)),)
    assert any("the ways of WBL and EBL meet" in line for line in site.explain())
    assert set(site.plan.phase(2).movements) == {"EBT", "EBR", "WBT", "WBR"}


def test_a_crossing_that_every_phase_drives_over_gets_an_exclusive_phase(tmp_path, routes):
    site = site_from_network(built(tmp_path, THREE), routes)
    walks = [phase for phase in site.plan.phases if not phase.movements]
    assert len(walks) == 1
    assert walks[0].crossings == ("XW",)
    assert any("exclusive pedestrian phase" in line for line in site.explain())
    assert plan_faults(site.plan) == ()


@pytest.mark.parametrize("legs", [THREE, FOUR, FIVE], ids=["three", "four", "five"])
@pytest.mark.parametrize("design_speed_mps", [1.0, 0.7])
def test_walk_and_clearance_serve_the_design_speed(tmp_path, routes, legs, design_speed_mps):
    plan = site_from_network(built(tmp_path, legs), routes, design_speed_mps=design_speed_mps).plan
    assert plan.crossings
    for crossing in plan.crossings:
        phase = plan.phase(plan.phase_of(crossing.id))
        assert phase.walk_s + phase.ped_clear_s >= 7 + crossing.length_m / design_speed_mps
        assert phase.ped_clear_s >= crossing.length_m / 1.3


def test_yellow_and_red_follow_the_formula(tmp_path, routes):
    plan = site_from_network(built(tmp_path, FOUR), routes).plan
    for phase in plan.phases:
        assert 3.0 <= phase.yellow_s <= 5.0
        # 1 + v / 2a + (w + l) / v with a way of at least the junction's 13 m.
        assert phase.yellow_s + phase.red_clear_s >= 1 + 13.8 / 10 + (13 + 6) / 13.8


def test_halves_of_a_crossing_meet_at_an_island(tmp_path, routes):
    halves = '<crossing node="J" edges="w_J" width="4"/><crossing node="J" edges="J_w" width="4"/>'
    site = site_from_network(built(tmp_path, FOUR, connections=halves), routes)
    found = {each.id: each.kerbs for each in site.plan.crossings if each.leg == "W"}
    assert sorted(found.values()) == [("S", "island"), ("island", "N")]


def test_a_network_without_crossings_serves_vehicles_and_warns(tmp_path, routes):
    site = site_from_network(built(tmp_path, FOUR, options=()), routes)
    assert site.plan.crossings == ()
    assert any(line.startswith("warning: ") and "vehicles only" in line for line in site.explain())


def test_the_network_stays_as_it_is_and_the_program_stands_beside_it(tmp_path, routes):
    network = built(tmp_path, FOUR)
    before = network.read_bytes()
    site = site_from_network(network, routes)
    files = build_network(site)
    assert files.net_path == network
    assert network.read_bytes() == before
    beside = files.additional_path.read_text(encoding="utf-8")
    assert 'programID="bitgoeul"' in beside
    loops = re.findall(r'inductionLoop id="(\S+)" lane="(\S+)"', beside)
    assert {lane for _, lane in loops} == {each.sumo_id for each in site.plan.zone_detectors}


def test_what_has_no_signal_is_said_and_left_out(tmp_path, routes):
    network = built(tmp_path, FOUR)
    whole = site_from_network(network, routes).plan
    last = max(whole.crossings, key=lambda each: each.sumo_link)
    network = changed(network, rf' tl="J" linkIndex="{last.sumo_link}"', "")
    network = changed(network, r'(state="\w*)\w"/>', r'\1"/>')
    site = site_from_network(network, routes)
    assert [each.id for each in site.plan.crossings] == [e.id for e in whole.crossings if e.id != last.id]
    assert any(f"crossing {last.sumo_edge} has no signal" in line for line in site.explain())


# --- refusals -------------------------------------------------------------------------------------


def refusal(network, routes, **options) -> str:
    with pytest.raises(ScenarioError) as refused:
        site_from_network(network, routes, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def changed(network: Path, pattern: str, new: str) -> Path:
    text = network.read_text(encoding="utf-8")
    assert re.search(pattern, text)
    network.write_text(re.sub(pattern, new, text), encoding="utf-8")
    return network


def test_a_network_without_a_traffic_light_is_refused(tmp_path, routes):
    network = built(tmp_path, FOUR, options=("--tls.discard-loaded", "--tls.discard-simple"))
    network = changed(network, r'(?s)<tlLogic.*?</tlLogic>| tl="J" linkIndex="\d+"', "")
    assert "has no traffic light" in refusal(network, routes)


def test_of_several_traffic_lights_one_must_be_named(tmp_path, routes):
    command = [str(netconvert_path()).replace("netconvert", "netgenerate"), "--grid", "--grid.number=2"]
    command += ["--grid.attach-length=100", "--tls.guess", "-j", "traffic_light"]
    subprocess.run([*command, "-o", str(tmp_path / "g.net.xml")], check=True, capture_output=True)
    told = refusal(tmp_path / "g.net.xml", routes)
    assert all(name in told for name in ("A0", "A1", "B0", "B1"))
    assert "it has A0, A1, B0, B1" in refusal(tmp_path / "g.net.xml", routes, traffic_light="C9")
    assert site_from_network(tmp_path / "g.net.xml", routes, traffic_light="B1").plan.sumo.junction == "B1"


@pytest.mark.parametrize(
    ("text", "told"),
    [("<net><edge", "no SUMO network"), ("<routes/>", "<routes>"), ("", "no SUMO network")],
)
def test_what_is_no_network_is_refused(tmp_path, routes, text, told):
    (tmp_path / "x.net.xml").write_text(text, encoding="utf-8")
    assert told in refusal(tmp_path / "x.net.xml", routes)
    assert "no such network" in refusal(tmp_path / "none.net.xml", routes)


def test_left_hand_traffic_is_refused(tmp_path, routes):
    assert "left-hand" in refusal(built(tmp_path, FOUR, options=("--lefthand",)), routes)


def test_links_that_lead_nowhere_are_refused(tmp_path, routes):
    network = changed(built(tmp_path, FOUR), r' tl="J" linkIndex="3"', "")
    assert "links that lead nowhere (3)" in refusal(network, routes)


def test_streams_that_share_a_signal_are_refused(tmp_path, routes):
    network = changed(built(tmp_path, FOUR), r'linkIndex="1"', 'linkIndex="0"')
    assert "several streams by link 0" in refusal(network, routes)


def test_a_junction_without_inner_lanes_is_refused(tmp_path, routes):
    network = built(tmp_path, FOUR, options=("--no-internal-links",))
    assert "no lanes inside" in refusal(network, routes)


def test_a_design_speed_nobody_walks_at_is_refused(tmp_path, routes):
    with pytest.raises(ValueError, match="design_speed_mps"):
        site_from_network(tmp_path / "x.net.xml", routes, design_speed_mps=0.1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<routes/>", "nobody departs"),
        ("<routes><trip", "cannot be read"),
        ('<routes><trip id="a" depart="soon"/></routes>', "cannot be read"),
    ],
)
def test_a_route_file_that_says_nothing_is_refused(tmp_path, routes, text, told):
    routes.write_text(text, encoding="utf-8")
    assert told in refusal(built(tmp_path, FOUR), routes)
    assert "no such route file" in refusal(tmp_path / "x.net.xml", tmp_path / "none.rou.xml")

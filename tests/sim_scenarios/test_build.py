"""The built network is the plan's junction: lengths, bearings, links, signal program, detectors."""

from __future__ import annotations

import math
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios import build
from bitgoeul.sim_scenarios.build import build_network
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.program import fixed_program

pytestmark = pytest.mark.sumo


@pytest.fixture
def network(site):
    return ET.parse(build_network(site).net_path).getroot()


def points(lane):
    return [tuple(map(float, point.split(","))) for point in lane.get("shape").split()]


def test_crossings_have_the_plans_length_and_width(site, network):
    for crossing in site.plan.crossings:
        edge = network.find(f"edge[@id='{crossing.sumo_edge}']")
        lane = edge.find("lane")
        assert set(edge.get("crossingEdges").split()) == {f"{crossing.leg}_in", f"{crossing.leg}_out"}
        assert float(lane.get("length")) == pytest.approx(crossing.length_m, abs=0.2)
        assert math.dist(points(lane)[0], points(lane)[-1]) == pytest.approx(crossing.length_m, abs=0.2)
        assert float(lane.get("width")) == crossing.width_m


def test_legs_lie_at_the_plans_bearings_with_its_lanes_and_speeds(site, network):
    for leg in site.plan.legs:
        for name, lanes, sign in ((f"{leg.id}_in", leg.lanes_in, -1), (f"{leg.id}_out", leg.lanes_out, 1)):
            found = network.findall(f"edge[@id='{name}']/lane")
            assert len(found) == lanes + 1
            assert found[0].get("allow") == "pedestrian"
            assert {float(lane.get("speed")) for lane in found[1:]} == {leg.speed_limit_mps}
            (x0, y0), (x1, y1) = points(found[1])[0], points(found[1])[-1]
            bearing = math.degrees(math.atan2(sign * (x1 - x0), sign * (y1 - y0))) % 360
            assert bearing == pytest.approx(leg.bearing_deg, abs=0.1)


def test_approaches_are_340_m_with_a_zone_of_100_m(site, network):
    def length(edge, lane):
        return float(network.find(f"edge[@id='{edge}']/lane[@index='{lane}']").get("length"))

    for detector in site.plan.zone_detectors:
        assert detector.sumo_id == f"{detector.leg}_in_{detector.lane}"
        assert length(f"{detector.leg}_in", detector.lane) == pytest.approx(detector.length_m, abs=0.3)
    for leg in site.plan.legs:
        assert length(f"{leg.id}_far", 1) == pytest.approx(240, abs=0.3)
        assert length(f"{leg.id}_out", 1) == pytest.approx(340, abs=0.3)


def test_the_plans_links_are_the_networks(site, network):
    light = site.plan.sumo.traffic_light
    links = {int(each.get("linkIndex")): each for each in network.findall(f"connection[@tl='{light}']")}
    for movement in site.plan.movements:
        found = [links.pop(index) for index in movement.sumo_links]
        assert {each.get("from") for each in found} == {f"{movement.from_leg}_in"}
        assert {each.get("to") for each in found} == {f"{movement.to_leg}_out"}
        assert tuple(int(each.get("fromLane")) for each in found) == movement.lanes
    for crossing in site.plan.crossings:
        assert links.pop(crossing.sumo_link).get("to") == crossing.sumo_edge
    assert links == {}


def test_no_connection_joins_vehicles_to_a_sidewalk(network):
    walks = {lane.get("id") for lane in network.iter("lane") if lane.get("allow") == "pedestrian"}
    for each in network.findall("connection"):
        start, end = f"{each.get('from')}_{each.get('fromLane')}", f"{each.get('to')}_{each.get('toLane')}"
        assert (start in walks) == (end in walks), (start, end)


def test_through_traffic_keeps_clear_of_the_crossings_beside_it(site, network):
    """A junction built too tight puts through cars on the crossing of the other road."""
    crossings = {
        crossing.leg: points(network.find(f"edge[@id='{crossing.sumo_edge}']/lane"))
        for crossing in site.plan.crossings
    }
    checked = 0
    for each in network.findall("connection[@dir='s'][@via]"):
        if each.get("tl") is None or each.get("linkIndex") is None or each.get("from").startswith(":"):
            continue
        (x0, y0), *_, (x1, y1) = points(network.find(f".//lane[@id='{each.get('via')}']"))
        for leg, ((ax, ay), *_, (bx, by)) in crossings.items():
            if leg in (each.get("from")[0], each.get("to")[0]):
                continue
            ends_beside = []
            for px, py in ((x0, y0), (x1, y1)):
                along = ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / math.dist((ax, ay), (bx, by)) ** 2
                inside = min(1.0, max(0.0, along))
                ends_beside.append(math.dist((px, py), (ax + inside * (bx - ax), ay + inside * (by - ay))))
            # Half a crossing, half a lane and 1 m between them.
            assert min(ends_beside) > 3.0 + 1.625 + 1.0, (each.get("via"), leg)
            checked += 1
    assert checked == 16


def test_opposing_lefts_do_not_meet_and_right_turns_give_way(site, network):
    junction = network.find("junction[@id='J']")
    foes = {int(each.get("index")): each.get("foes")[::-1] for each in junction.findall("request")}
    yields_to = {int(each.get("index")): each.get("response")[::-1] for each in junction.findall("request")}
    link = {each.id: each.sumo_links[0] for each in site.plan.movements}
    for first, second in (("EBL", "WBL"), ("NBL", "SBL")):
        assert foes[link[first]][link[second]] == "0"
    for right, joined in (("EBR", "SBT"), ("WBR", "NBT"), ("NBR", "EBT"), ("SBR", "WBT")):
        assert yields_to[link[right]][link[joined]] == "1"
    for pair in site.plan.yields:
        assert yields_to[link[pair.movement]][site.plan.crossing(pair.crossing).sumo_link] == "1"


def test_the_network_ships_the_plans_timing_as_its_only_program(site, network):
    programs = network.findall("tlLogic")
    assert [(each.get("id"), each.get("programID"), each.get("type")) for each in programs] == [
        (site.plan.sumo.traffic_light, site.plan.sumo.program, "static")
    ]
    rows = [(float(row.get("duration")), row.get("state")) for row in programs[0].findall("phase")]
    assert rows == fixed_program(site.plan)


def test_passage_detectors_are_loops_40_m_before_the_stop_line(site):
    loops = {each.get("id"): each for each in ET.parse(build_network(site).additional_path).getroot()}
    assert set(loops) == {each.sumo_id for each in site.plan.passage_detectors}
    for detector in site.plan.passage_detectors:
        loop = loops[detector.sumo_id]
        assert loop.get("lane") == f"{detector.leg}_in_{detector.lane}"
        assert float(loop.get("pos")) == -detector.distance_m == -40


def test_a_second_build_comes_from_the_cache(site, monkeypatch):
    first = build_network(site)
    monkeypatch.setattr(build, "_write_network", lambda *_: pytest.fail("built twice"))
    assert build_network(site) == first


def test_timing_and_sources_name_the_cached_network(bukmun, site_copy):
    edited = load_site(site_copy("bukmun.edg.xml", 'speed="13.89"', 'speed="16.67"'))
    hashes = [build.content_hash(each) for each in (bukmun, load_site("bukmun_5_zone"), edited)]
    assert len(set(hashes)) == 3


def test_two_processes_may_build_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = (
        "from bitgoeul.sim_scenarios.catalog import load_site\n"
        "from bitgoeul.sim_scenarios.build import build_network\n"
        "print(build_network(load_site('bukmun_5')).net_path.stat().st_size)\n"
    )
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    command = [sys.executable, "-c", program]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sizes = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(sizes) == 1
    assert len(list((tmp_path / "bitgoeul" / "networks").iterdir())) == 1


def test_a_missing_source_is_named(site_copy):
    folder = site_copy()
    (folder / "bukmun.con.xml").unlink()
    with pytest.raises(ScenarioError, match=r"0 files \*\.con\.xml"):
        build_network(load_site(folder))


def test_a_network_that_netconvert_refuses_leaves_nothing(site_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site = load_site(site_copy("bukmun.edg.xml", 'to="J"', 'to="K"'))
    with pytest.raises(ScenarioError, match="netconvert"):
        build_network(site)
    assert list((tmp_path / "cache" / "bitgoeul" / "networks").iterdir()) == []


def test_a_plan_of_another_junction_is_refused(site_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = '<crossing node="J" edges="W_in W_out" width="6.00" priority="true"/>'
    with pytest.raises(ScenarioError, match="19 links, the plan speaks of 20"):
        build_network(load_site(site_copy("bukmun.con.xml", text, "")))


def test_without_netconvert_the_install_line_is_given(monkeypatch):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(build.shutil, "which", lambda _: None)
    with pytest.raises(ScenarioError, match=r"pip install 'bitgoeul\[sim\]'"):
        build.netconvert_path()


@pytest.mark.parametrize("damage", ["", "<net>"])
def test_a_damaged_network_in_the_cache_is_built_again(bukmun, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = build_network(bukmun).net_path
    whole = built.read_text().rpartition("-->")[2]  # before it stands when it was built
    built.write_text(damage)
    assert build_network(bukmun).net_path == built
    assert built.read_text().rpartition("-->")[2] == whole

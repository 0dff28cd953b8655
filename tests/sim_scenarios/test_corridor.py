"""Corridors as data: places, names, the joined network, and trips that go through several junctions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.build import network_sources
from bitgoeul.sim_scenarios.corridor import (
    CORRIDOR_DEMAND_FILE,
    CORRIDOR_FILE,
    CORRIDORS_FOLDER,
    corridor_names,
    load_corridor,
)
from bitgoeul.sim_scenarios.corridor_build import build_corridor, corridor_sources
from bitgoeul.sim_scenarios.corridor_demand import (
    draw_corridor_trips,
    member_seed,
    persons_per_second,
)
from bitgoeul.sim_scenarios.program import fixed_program

ROW = ("bukmun_6", "bukmun_5", "bukmun_4")


@pytest.fixture(scope="module")
def row():
    return load_corridor("bukmun_row")


@pytest.fixture
def changed(tmp_path):
    """Return a loader of bukmun_row with one text of one file replaced."""

    def load(file, old, new):
        for name in (CORRIDOR_FILE, CORRIDOR_DEMAND_FILE):
            text = (CORRIDORS_FOLDER / "bukmun_row" / name).read_text(encoding="utf-8")
            if name == file:
                assert old in text
                text = text.replace(old, new, 1)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return load_corridor(tmp_path)

    return load


@pytest.fixture(scope="module")
def trips(row):
    return draw_corridor_trips(row, seed=10_000, hour="peak", duration_s=1800)


# --- the files ------------------------------------------------------------------------------------


def test_the_row_lies_at_its_spacings_along_the_bearings_of_its_legs(row):
    assert tuple(row.members) == ROW
    assert "bukmun_row" in corridor_names()
    for before, after, spacing_m in (("bukmun_6", "bukmun_5", 384.0), ("bukmun_5", "bukmun_4", 342.0)):
        (x0, y0), (x1, y1) = row.places[before], row.places[after]
        assert math.dist((x0, y0), (x1, y1)) == pytest.approx(spacing_m, abs=0.02)
        assert math.degrees(math.atan2(x1 - x0, y1 - y0)) == pytest.approx(114.0, abs=0.01)


def test_a_members_plan_has_its_own_names_and_offset_and_the_sites_timing(row):
    for name, offset_s in zip(ROW, (0.0, 28.0, 53.0), strict=True):
        plan, alone = row.members[name].plan, row.sites[name].plan
        assert plan.site.id == name
        assert plan.sumo.traffic_light == f"{name}.J"
        assert [each.sumo_edge for each in plan.crossings] == [
            f":{name}.{each.sumo_edge.removeprefix(':')}" for each in alone.crossings
        ]
        assert {each.sumo_id for each in plan.detectors} == {f"{name}.{x.sumo_id}" for x in alone.detectors}
        assert plan.patterns[0].offset_s == offset_s
        assert plan.phases == alone.phases
        assert plan.limits == alone.limits


@pytest.mark.parametrize(
    ("edge", "owner"),
    [
        ("bukmun_5.W_in", "bukmun_5"),
        ("bukmun_6.E_out", "bukmun_5"),  # leads on to the next junction
        ("bukmun_5.W_out", "bukmun_6"),
        ("bukmun_6.W_out", "bukmun_6"),  # leads out of the corridor
        ("bukmun_5.N_out", "bukmun_5"),
        (":bukmun_4.J_3", "bukmun_4"),
        (":bukmun_4.W_mid_0", "bukmun_4"),
    ],
)
def test_an_edge_belongs_to_the_junction_it_leads_to(row, edge, owner):
    assert row.owner(edge) == owner


def test_an_edge_of_no_member_is_refused(row):
    with pytest.raises(ScenarioError, match="belongs to none"):
        row.owner("elsewhere.W_in")


def test_an_unknown_corridor_is_refused_with_those_there_are():
    with pytest.raises(ScenarioError, match=r"'nowhere' is unknown; give one of bukmun_row"):
        load_corridor("nowhere")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (CORRIDOR_FILE, 'to_leg = "W"', 'to_leg = "N"', "differ in lanes"),
        (CORRIDOR_FILE, 'to_leg = "W"', 'to_leg = "X"', "leg X of bukmun_5, which is not there"),
        (
            CORRIDOR_FILE,
            'to_member = "bukmun_4"',
            'to_member = "bukmun_5"',
            "two links join leg W of bukmun_5",
        ),
        (CORRIDOR_FILE, 'id = "bukmun_4"', 'id = "bukmun_5"', "stands twice"),
        (CORRIDOR_FILE, "spacing_m = 342.0", "spacing_m = -1.0", "greater than 0"),
        (CORRIDOR_FILE, 'site = "bukmun_5"', 'site = "nowhere"', "'nowhere' is unknown"),
        (CORRIDOR_DEMAND_FILE, 'leg = "W"', 'leg = "E"', "entries has rows for .*; it needs"),
        (CORRIDOR_DEMAND_FILE, "left = 0.08", "left = 0.5", "turns of bukmun_6 W sum to 1.42"),
        (CORRIDOR_DEMAND_FILE, "walker_factor = 1.0", "walker_factor = 0.0", "walker_factor"),
    ],
)
def test_a_corridor_with_a_fault_is_refused_with_its_place(changed, file, old, new, message):
    with pytest.raises(ScenarioError, match=message):
        changed(file, old, new)


def test_a_member_that_no_link_leads_to_is_refused(changed):
    text = (CORRIDORS_FOLDER / "bukmun_row" / CORRIDOR_FILE).read_text(encoding="utf-8")
    last = text[text.rindex("[[links]]") :]
    with pytest.raises(ScenarioError, match="no link leads to bukmun_4"):
        changed(CORRIDOR_FILE, last, "")


def test_a_road_shorter_than_both_approaches_is_refused(changed):
    with pytest.raises(ScenarioError, match="the road from bukmun_5 to bukmun_4 is too short"):
        corridor_sources(changed(CORRIDOR_FILE, "spacing_m = 342.0", "spacing_m = 200.0"))


def test_a_source_with_an_element_we_do_not_understand_is_refused(row, tmp_path):
    site = row.sites["bukmun_5"]
    for path in network_sources(site).values():
        text = path.read_text(encoding="utf-8").replace("</nodes>", '<roundabout nodes="J"/></nodes>')
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    odd = replace(row, sites={**row.sites, "bukmun_5": replace(site, network_folder=tmp_path)})
    with pytest.raises(ScenarioError, match="cannot take <roundabout>"):
        corridor_sources(odd)


# --- the network ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(row):
    return ET.parse(build_corridor(row).net_path).getroot()


@pytest.mark.sumo
def test_linked_legs_share_one_road_and_open_ones_keep_theirs(row, network):
    edges = {edge.get("id"): edge for edge in network.findall("edge")}
    for before, after, spacing_m in (("bukmun_6", "bukmun_5", 384.0), ("bukmun_5", "bukmun_4", 342.0)):
        assert f"{after}.W_far" not in edges
        assert f"{before}.E_far" not in edges
        assert edges[f"{before}.E_out"].get("to") == f"{after}.W_mid"
        assert edges[f"{after}.W_out"].get("to") == f"{before}.E_mid"
        road_m = sum(
            float(edges[name].find("lane[@index='4']").get("length"))
            for name in (f"{before}.E_out", f"{after}.W_in")
        )
        # From the mouth of one junction to the stop line of the next; 22 to 29 m before each centre.
        assert spacing_m - 60 < road_m < spacing_m - 15
    assert {"bukmun_6.W_far", "bukmun_4.E_far", "bukmun_5.N_far"} <= set(edges)
    assert not {"bukmun_6.E_end", "bukmun_5.W_end"} & {node.get("id") for node in network.findall("junction")}


@pytest.mark.sumo
def test_each_member_has_its_crossings_and_its_own_program_with_its_offset(row, network):
    lights = {light.get("id"): light for light in network.findall("tlLogic")}
    assert sorted(lights) == sorted(f"{name}.J" for name in ROW)
    for site in row.members.values():
        plan = site.plan
        for crossing in plan.crossings:
            lane = network.find(f"edge[@id='{crossing.sumo_edge}']/lane")
            assert float(lane.get("length")) == pytest.approx(crossing.length_m, abs=0.2)
        light = lights[plan.sumo.traffic_light]
        assert float(light.get("offset")) == plan.patterns[0].offset_s
        rows = [(float(each.get("duration")), each.get("state")) for each in light.findall("phase")]
        assert rows == fixed_program(plan)


@pytest.mark.sumo
def test_the_network_is_built_once_and_damage_is_noticed(row, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = build_corridor(row)
    whole, written_ns = built.net_path.read_text(), built.net_path.stat().st_mtime_ns
    assert tmp_path in built.net_path.parents
    assert build_corridor(row) == built
    assert built.net_path.stat().st_mtime_ns == written_ns
    built.net_path.write_text("damaged")
    build_corridor(row)
    assert built.net_path.read_text().rpartition("-->")[2] == whole.rpartition("-->")[2]


# --- the trips ------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_trips_and_a_longer_run_only_adds(row, trips):
    assert draw_corridor_trips(row, seed=10_000, hour="peak", duration_s=1800) == trips
    other = draw_corridor_trips(row, seed=10_001, hour="peak", duration_s=1800)
    assert other.vehicles != trips.vehicles
    longer = draw_corridor_trips(row, seed=10_000, hour="peak", duration_s=3600)
    assert longer.vehicles[: len(trips.vehicles)] == trips.vehicles
    assert longer.walkers[: len(trips.walkers)] == trips.walkers


def test_routes_are_unbroken_from_an_open_leg_to_an_open_leg(row, trips):
    assert len({trip.id for trip in trips.vehicles}) == len(trips.vehicles)
    for trip in trips.vehicles:
        assert trip.edges[0].endswith("_far")
        assert trip.edges[1] == trip.edges[0].replace("_far", "_in")
        for leaving, entering in zip(trip.edges[2:-1:2], trip.edges[3::2], strict=True):
            member, leg = leaving.removesuffix("_out").split(".")
            assert entering == "{}.{}_in".format(*row.joined[member, leg])
        member, leg = trip.edges[-1].removesuffix("_out").split(".")
        assert (member, leg) not in row.joined


def test_flows_and_turns_are_those_of_the_demand_file(row, trips):
    ends = [trip for trip in trips.vehicles if trip.edges[0] == "bukmun_6.W_far"]
    assert len(ends) == pytest.approx(840, abs=4 * math.sqrt(840))
    through = sum(trip.edges[2] == "bukmun_6.E_out" for trip in ends)
    assert through / len(ends) == pytest.approx(0.83, abs=0.05)
    all_through = sum(trip.edges[-1] == "bukmun_4.E_out" for trip in ends)
    assert all_through / len(ends) == pytest.approx(0.83**3, abs=0.06)


def test_each_member_has_walkers_of_its_own(row, trips):
    at = Counter(trip.crossing.split(".")[0] for trip in trips.walkers)
    assert set(at) == set(ROW)
    for count in at.values():
        assert count == pytest.approx(793 / 2, abs=5 * math.sqrt(793 / 2))
    assert len({member_seed(10_000, name) for name in ROW}) == len(ROW)
    for trip in trips.walkers:
        before = trip.crossing.split(".")[0]
        assert all(edge.startswith(f"{before}.") for edge in trip.edges)
        assert trip.gait.party == "" or trip.gait.party.startswith(f"{before}.")


def test_the_persons_who_come_are_counted_by_hand(row):
    vehicles_per_h = 2 * 1680 + 6 * 280
    persons_a_vehicle = 0.94 * 1.4 + 0.03 * 1.4 + 0.03 * 25
    by_hand = (vehicles_per_h * persons_a_vehicle + 3 * 793) / 3600
    assert persons_per_second(row, "peak") == pytest.approx(by_hand)
    assert persons_per_second(row, "offpeak") == pytest.approx(0.6 * by_hand)


def test_a_seed_or_duration_out_of_range_is_refused(row):
    with pytest.raises(ValueError, match="negative"):
        draw_corridor_trips(row, seed=-1, hour="peak", duration_s=60)
    with pytest.raises(ScenarioError, match="'noon' is unknown"):
        draw_corridor_trips(row, seed=1, hour="noon", duration_s=60)

"""The ways in the network meet where the plan says so; any difference is refused with both names."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from bitgoeul.controller.errors import PlanError, ScenarioError
from bitgoeul.controller.plan import checked_plan, parse_plan
from bitgoeul.sim_scenarios import commands, matrix
from bitgoeul.sim_scenarios.build import build_network
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.matrix import (
    AGREED_FILE,
    Band,
    JunctionShapes,
    Way,
    band_outline,
    check_relations,
    check_relations_once,
    crossing_apart_m,
    disagreements,
    junction_shapes,
    line_distance_m,
    lines_cross,
    relations_digest,
    relations_document,
    relations_table,
    ways_apart_m,
)

YIELD = 'movement = "EBR"\ncrossing = "'


def way(*points, lane="W_in_1", to="E_out", width_m=2.5):
    return Way(from_lane=lane, from_edge=lane.rpartition("_")[0], to_edge=to, points=points, width_m=width_m)


@pytest.fixture
def edited(site_copy, tmp_path, monkeypatch):
    """Return a loader of a copy of bukmun_5 whose plan has these texts replaced, all at one stroke."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(changes):
        folder = site_copy()
        text = (folder / "plan.toml").read_text(encoding="utf-8")
        assert all(text.count(old) == 1 for old in changes)
        pattern = "|".join(map(re.escape, changes))
        text = re.sub(pattern, lambda found: changes[found[0]], text)
        (folder / "plan.toml").write_text(text, encoding="utf-8")
        return load_site(folder)

    return load


# --- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (((0.0, -1.0), (0.0, 1.0)), True),
        (((0.0, 0.0), (0.0, 1.0)), False),  # touches
        (((-1.0, 1.0), (1.0, 1.0)), False),  # beside it
        (((3.0, -1.0), (3.0, 1.0)), False),  # past its end
    ],
)
def test_lines_cross_only_where_each_parts_the_other(second, expected):
    line = ((-2.0, 0.0), (2.0, 0.0))
    assert lines_cross(line, second) is expected
    assert lines_cross(second, line) is expected


def test_distance_of_lines_by_hand():
    angle = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)]
    assert line_distance_m(angle, [(13.0, 4.0), (20.0, 4.0)]) == 3.0
    assert line_distance_m(angle, [(0.0, 3.0), (4.0, 3.0)]) == 3.0
    assert line_distance_m(angle, [(13.0, 14.0), (20.0, 14.0)]) == 5.0  # 3-4-5 from the corner
    assert line_distance_m(angle, [(5.0, -5.0), (5.0, 5.0)]) == 0.0
    assert line_distance_m(angle, [(4.0, 2.0), (4.0, 2.0)]) == 2.0  # a line of no length


def test_a_band_has_square_ends():
    band = Band(points=((0.0, 0.0), (0.0, 20.0)), width_m=6.0)
    assert band_outline(band) == [(-3.0, 0.0), (-3.0, 20.0), (3.0, 20.0), (3.0, 0.0)]
    doubled = Band(points=((0.0, 0.0), (0.0, 0.0), (0.0, 20.0)), width_m=6.0)
    assert band_outline(doubled) == band_outline(band)


@pytest.mark.parametrize(
    ("points", "apart_m"),
    [
        (((-10.0, 5.0), (10.0, 5.0)), 0.0),  # straight across
        (((-10.0, 5.0), (0.0, 5.0)), 0.0),  # ends on it
        (((-1.0, 8.0), (1.0, 8.0)), 0.0),  # wholly on it
        (((-4.0, -10.0), (-4.0, 30.0)), 0.0),  # beside it, but half a vehicle (1.25 m) is on it
        (((-5.0, -10.0), (-5.0, 30.0)), 0.75),  # 2 m from its edge, less 1.25 m
        (((-10.0, 22.0), (10.0, 22.0)), 0.75),  # past its end: no round cap
    ],
)
def test_a_way_meets_a_crossing_where_a_vehicle_would_touch_it(points, apart_m):
    band = Band(points=((0.0, 0.0), (0.0, 20.0)), width_m=6.0)
    assert crossing_apart_m(way(*points), band) == pytest.approx(apart_m)


def test_ways_into_one_leg_meet_whatever_their_lanes():
    through = way((-20.0, 0.0), (20.0, 0.0), lane="W_in_3", to="E_out")
    right = way((-4.0, -20.0), (20.0, -9.0), lane="S_in_1", to="E_out")
    assert ways_apart_m(through, right) == 0.0


def test_ways_from_one_leg_meet_only_where_one_cuts_across_the_other():
    kerb = way((-20.0, -4.0), (20.0, -4.0), lane="W_in_1")
    inner = way((-20.0, 0.0), (-5.0, 0.0), (0.0, 20.0), lane="W_in_2", to="N_out")
    cutting = way((-20.0, 0.0), (-5.0, 0.0), (0.0, -20.0), lane="W_in_2", to="S_out")
    assert ways_apart_m(kerb, inner) == 1.5
    assert ways_apart_m(kerb, cutting) == 0.0
    same_lane = way((-20.0, -4.0), (-10.0, -20.0), lane="W_in_1", to="S_out")
    assert ways_apart_m(kerb, same_lane) == math.inf
    assert ways_apart_m(kerb, way((-20.0, 0.0), (20.0, 0.0), lane="W_in_2")) == 1.5  # same legs, beside


@pytest.mark.parametrize(("gap_m", "meets"), [(2.4, True), (2.6, False)])
def test_opposing_lefts_meet_where_two_wide_vehicles_would_brush(gap_m, meets):
    east = way((-20.0, 2.0), (0.0, 4.0), (4.0, 20.0), lane="W_in_2", to="N_out")
    west = way((20.0, -2.0), (0.0, 4.0 - gap_m), (-4.0, -20.0), lane="E_in_2", to="S_out")
    assert (ways_apart_m(east, west) == 0.0) is meets


# --- plan against network -------------------------------------------------------------------------


@pytest.mark.sumo
def test_shipped_plans_agree_with_their_network(site):
    net_path = build_network(site).net_path
    assert disagreements(site.plan, junction_shapes(site.plan, net_path, site.name)) == ()
    check_relations(site.plan, net_path, site.name)
    digest = relations_digest(site.plan)
    assert (net_path.parent / AGREED_FILE).read_text(encoding="utf-8").strip() == digest


@pytest.mark.sumo
def test_netconvert_finds_the_same_foes(bukmun):
    net_path = build_network(bukmun).net_path
    shapes = junction_shapes(bukmun.plan, net_path, bukmun.name)
    requests = ET.parse(net_path).getroot().findall("junction[@id='J']/request")
    foes = {int(each.get("index")): each.get("foes")[::-1] for each in requests}

    def are_foes(links, others):
        return any(foes[link][other] == "1" for link in links for other in others)

    for first, second in combinations(bukmun.plan.movements, 2):
        if first.to_leg == second.to_leg:
            continue  # netconvert goes by the lane, we by the leg
        pairs = ((a, b) for a in shapes.ways[first.id] for b in shapes.ways[second.id])
        meets = min(ways_apart_m(a, b) for a, b in pairs) == 0.0
        assert meets is are_foes(first.sumo_links, second.sumo_links), (first.id, second.id)
    for movement in bukmun.plan.movements:
        for crossing in bukmun.plan.crossings:
            ways, band = shapes.ways[movement.id], shapes.bands[crossing.id]
            meets = min(crossing_apart_m(each, band) for each in ways) == 0.0
            assert meets is are_foes(movement.sumo_links, [crossing.sumo_link]), (movement.id, crossing.id)


@pytest.mark.sumo
def test_swapped_links_of_two_movements_are_refused(edited):
    site = edited({"sumo_links = [15]": "sumo_links = [7]", "sumo_links = [7]": "sumo_links = [15]"})
    with pytest.raises(ScenarioError) as caught:
        build_network(site)
    text = str(caught.value)
    assert "bukmun_5: plan and network disagree on" in text
    assert "EBL and crossing XN: the plan says conflict, in the network their ways pass" in text
    assert "correct movements.EBL (W to N, sumo_links 7), crossings.XN (leg N, sumo_edge :J_c0)" in text
    assert "WBL and crossing XN: the plan says free, their ways meet in the network" in text


@pytest.mark.sumo
def test_crossings_on_each_others_ground_are_refused(edited):
    changes = {
        'sumo_edge = ":J_c2"\nsumo_link = 18': 'sumo_edge = ":J_c0"\nsumo_link = 16',
        'sumo_edge = ":J_c0"\nsumo_link = 16': 'sumo_edge = ":J_c2"\nsumo_link = 18',
    }
    with pytest.raises(ScenarioError, match="EBR and crossing XS: the plan says yield"):
        build_network(edited(changes))


@pytest.mark.sumo
def test_a_crossing_with_anothers_signal_is_refused(edited):
    with pytest.raises(ScenarioError) as caught:
        build_network(edited({"sumo_link = 18": "sumo_link = 16", "sumo_link = 16": "sumo_link = 18"}))
    assert "crossings.XS.sumo_link = 16: that link leads to :J_c0, not the signal of :J_c2" in str(
        caught.value
    )
    assert "crossings.XN.sumo_link = 18" in str(caught.value)


@pytest.mark.sumo
def test_links_and_crossings_that_are_not_there_are_refused_at_once(edited):
    changes = {"sumo_links = [15]": "sumo_links = [18]", "sumo_link = 18": "sumo_link = 15"}
    with pytest.raises(ScenarioError) as caught:
        build_network(edited({**changes, 'sumo_edge = ":J_c0"': 'sumo_edge = ":J_c9"'}))
    text = str(caught.value)
    assert "movements.EBL.sumo_links = 18: no vehicle link of traffic light J" in text
    assert "crossings.XS.sumo_link = 15: that link leads to N_out" in text
    assert "crossings.XN.sumo_edge = :J_c9: no such crossing" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # The crossings stand over each other's leg: walks would meet the lefts of the other ring.
        (
            {'id = "XS"\nleg = "S"': 'id = "XS"\nleg = "N"', 'id = "XN"\nleg = "N"': 'id = "XN"\nleg = "S"'},
            r"EBL with crossing XS .*conflict",
        ),
        ({f"{YIELD}XS": f"{YIELD}XN"}, r"yields\.EBR across XN"),
        ({f"{YIELD}XS": f"{YIELD}XW"}, r"yields\.EBR across XW"),
    ],
)
def test_what_the_plan_itself_shows_is_refused_with_both_names(edited, changes, message):
    with pytest.raises(PlanError, match=message):
        edited(changes)


@pytest.mark.sumo
def test_a_crossing_over_the_wrong_leg_is_found_in_the_network(bukmun):
    plan = bukmun.plan
    legs = {"XS": "N", "XN": "S"}
    crossings = tuple(each.model_copy(update={"leg": legs.get(each.id, each.leg)}) for each in plan.crossings)
    swapped = plan.model_copy(update={"crossings": crossings})
    swapped.__dict__.pop("_crossing_relations", None)
    shapes = junction_shapes(swapped, build_network(bukmun).net_path, "here")
    found = {(each.movement, each.other) for each in disagreements(swapped, shapes)}
    assert ("SBR", "XS") in found
    assert {other for _, other in found} == {"XS", "XN"}


def test_the_halves_of_a_two_stage_crossing_are_judged_together(bukmun):
    document = bukmun.plan.model_dump(mode="json", exclude_none=True)
    whole = next(each for each in document["crossings"] if each["id"] == "XW")
    second = {**whole, "id": "XW2", "kerbs": ["island", "N"], "sumo_edge": ":J_c4", "sumo_link": 20}
    whole["kerbs"] = ["S", "island"]
    document["crossings"].append(second)
    next(each for each in document["phases"] if each["number"] == 4)["crossings"].append("XW2")
    document["yields"].append({"movement": "SBR", "crossing": "XW2"})
    plan = checked_plan(document, "here")
    far = {each.id: (way((900.0, 900.0), (901.0, 901.0), lane="far", to="x"),) for each in plan.movements}
    bands = {
        each.id: Band(points=((500.0 + index, 0.0), (500.0 + index, 1.0)), width_m=1.0)
        for index, each in enumerate(plan.crossings)
    }
    entry = way((-30.0, -2.0), (0.0, -2.0), lane="W_in_1")
    bands["XW"] = Band(points=((-20.0, -10.0), (-20.0, 0.0)), width_m=4.0)
    bands["XW2"] = Band(points=((-20.0, 0.0), (-20.0, 10.0)), width_m=4.0)
    found = disagreements(plan, JunctionShapes(ways={**far, "EBT": (entry,)}, bands=bands))
    pairs = {(each.movement, each.other) for each in found}
    assert not pairs & {("EBT", "XW"), ("EBT", "XW2")}
    assert {("WBT", "XW"), ("WBT", "XW2")} <= pairs  # runs over neither


HALVES = """
[[crossings]]
id = "XW2"
leg = "W"
length_m = 17.0
width_m = 6.0
lanes = 4
kerbs = ["island", "N"]
sumo_edge = ":J_c4"
sumo_link = 20

[[yields]]
movement = "SBR"
crossing = "XW2"
"""


@pytest.mark.sumo
def test_a_two_stage_crossing_as_netconvert_builds_it_agrees(site_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = '<crossing node="J" edges="W_in W_out" width="6.00" priority="true"/>'
    halves = "".join(whole.replace("W_in W_out", edge) for edge in ("W_in", "W_out"))
    site = load_site(site_copy("bukmun.con.xml", whole, halves))
    text = site.plan_file.read_text(encoding="utf-8").replace("[sumo]", f"{HALVES}\n[sumo]")
    text = text.replace('crossings = ["XW"]', 'crossings = ["XW", "XW2"]')
    text = text.replace('kerbs = ["N", "S"]', 'kerbs = ["S", "island"]', 1)
    site = replace(site, plan=parse_plan(text, "here"))
    net_path = build_network(site).net_path
    shapes = junction_shapes(site.plan, net_path, "here")
    (left,) = shapes.ways["EBL"]
    apart = [crossing_apart_m(left, shapes.bands[name]) for name in ("XW", "XW2")]
    assert apart[0] == 0.0
    assert apart[1] > 0.0  # alone, the far half would be free


@pytest.mark.sumo
def test_lefts_that_brush_in_the_network_are_refused(site_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shape = (
        ' shape="-20.84,1.81 -15.86,2.22 -11.04,3.33 -6.38,5.16 -1.88,7.69 2.46,10.92 6.63,14.87'
        ' 10.65,19.52 14.50,24.88"'
    )
    wide = ' shape="-20.84,1.81 0.00,-8.00 14.50,24.88"'
    site = load_site(site_copy("bukmun.con.xml", shape, wide))
    with pytest.raises(ScenarioError, match="EBL and WBL: the plan says free, their ways meet"):
        build_network(site)


# --- the note of an agreement ---------------------------------------------------------------------


@pytest.fixture
def checked(monkeypatch):
    """Return a list that grows with every check really done."""
    done = []
    monkeypatch.setattr(matrix, "check_relations", lambda plan, *_: done.append(plan.site.id))
    return done


def test_an_agreement_is_noted_and_not_checked_again(bukmun, tmp_path, checked):
    for _ in range(3):
        check_relations_once(bukmun.plan, tmp_path / "network.net.xml", "here")
    assert checked == ["bukmun_5"]
    zone = load_site("bukmun_5_zone").plan
    limits = bukmun.plan.model_copy(update={"limits": zone.limits})  # not a matter of relations
    check_relations_once(limits, tmp_path / "network.net.xml", "here")
    assert len(checked) == 1
    other = bukmun.plan.model_copy(update={"yields": bukmun.plan.yields[1:]})
    check_relations_once(other, tmp_path / "network.net.xml", "here")
    assert len(checked) == 2


def test_where_no_note_can_be_written_every_call_checks(bukmun, tmp_path, checked):
    (tmp_path / AGREED_FILE).mkdir()
    for _ in range(2):
        check_relations_once(bukmun.plan, tmp_path / "network.net.xml", "here")
    assert len(checked) == 2


def test_a_refused_plan_is_never_noted(bukmun, tmp_path, monkeypatch):
    def refuse(*_):
        raise ScenarioError("no")

    monkeypatch.setattr(matrix, "check_relations", refuse)
    with pytest.raises(ScenarioError):
        check_relations_once(bukmun.plan, tmp_path / "network.net.xml", "here")
    assert list(tmp_path.iterdir()) == []


# --- the table ------------------------------------------------------------------------------------


def test_the_table_has_a_row_per_movement_and_its_own_cell_is_a_dash(bukmun):
    head, *rows = relations_table(bukmun.plan)
    ids = [each.id for each in bukmun.plan.movements]
    assert head.split() == [*ids, "|", "XS", "XN", "XW", "XE"]
    assert [row.split()[0] for row in rows] == ids
    assert rows[0].split() == ["EBR", *"-....Y.Y....", "|", *"Y.C."]
    assert len({len(row) for row in (head, *rows)}) == 1


def test_relations_for_json_are_symmetric(bukmun):
    document = relations_document(bukmun.plan)
    for first, row in document["movements"].items():
        assert all(document["movements"][second][first] == relation for second, relation in row.items())
    assert document["crossings"]["EBR"] == {"XS": "yield", "XN": "free", "XW": "conflict", "XE": "free"}


def show(*words):
    return CliRunner().invoke(commands.site, ["show", *map(str, words)])


@pytest.mark.sumo
def test_show_prints_the_matrix_and_has_it_as_json(bukmun):
    text = show("bukmun_5").output
    assert "Conflicts (C never together, Y one gives way, . apart; as the network's lanes have it)" in text
    assert all(f"  {line}\n" in text for line in relations_table(bukmun.plan))
    document = json.loads(show("bukmun_5", "--json").output)
    assert document["relations"] == relations_document(bukmun.plan)
    assert document["is_checked_against_network"] is True
    assert document["periods"][0]["phases"][1]["degree_of_saturation"] == pytest.approx(0.669, abs=0.001)


def test_show_without_netconvert_says_that_nothing_was_checked(monkeypatch):
    monkeypatch.setattr(commands, "find_netconvert", lambda: None)
    monkeypatch.setattr(commands, "build_network", lambda _: pytest.fail("built"))
    assert "not checked: install SUMO with: pip install 'bitgoeul[sim]'" in show("bukmun_5").output
    assert json.loads(show("bukmun_5", "--json").output)["is_checked_against_network"] is False


@pytest.mark.sumo
def test_show_refuses_a_site_whose_network_is_another(edited):
    site = edited({"sumo_links = [15]": "sumo_links = [7]", "sumo_links = [7]": "sumo_links = [15]"})
    result = show(site.folder)
    assert isinstance(result.exception, ScenarioError)
    assert "EBL and crossing XN" in str(result.exception)

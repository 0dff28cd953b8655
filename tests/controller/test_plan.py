"""The site plan: what is refused, what is derived, and how a plan is retimed."""

from __future__ import annotations

import copy
import json
import pickle
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitgoeul.controller.errors import PlanError
from bitgoeul.controller.plan import SitePlan, checked_plan, load_plan, parse_plan, plan_json_schema

REFERENCE = Path(__file__).parent / "plans" / "reference.toml"
DOCUMENT = tomllib.loads(REFERENCE.read_text(encoding="utf-8"))


def found(table, identity):
    """Return the element of a list of tables that has this number or id."""
    return next(each for each in table if identity in (each.get("number"), each.get("id")))


def phase(document, number):
    return found(document["phases"], number)


@pytest.fixture
def document():
    return copy.deepcopy(DOCUMENT)


@pytest.fixture(scope="module")
def plan():
    return load_plan(REFERENCE)


def faults_of(document):
    with pytest.raises(PlanError) as caught:
        checked_plan(document, "plan.toml")
    return caught.value.faults


def paths_of(document):
    return {fault.path for fault in faults_of(document)}


# Each mutation of the valid plan, and a fault it must lead to: (path, words in the value or the rule).
def change(path, value):
    """Return a mutation that sets `phases.4.yellow_s`-like paths."""

    def mutate(document):
        *parents, last = path.split(".")
        here = document
        for name in parents:
            key = int(name) if name.isdigit() else name
            here = found(here, key) if isinstance(here, list) else here[name]
        here[last] = value

    return mutate


def drop(path):
    def mutate(document):
        *parents, last = path.split(".")
        here = document
        for name in parents:
            key = int(name) if name.isdigit() else name
            here = found(here, key) if isinstance(here, list) else here[name]
        if isinstance(here, list):
            here.remove(found(here, int(last) if last.isdigit() else last))
        else:
            del here[last]

    return mutate


def yields_without_ebr(document):
    document["yields"] = [pair for pair in document["yields"] if pair["movement"] != "EBR"]


def yields_with(movement, crossing):
    def mutate(document):
        document["yields"].append({"movement": movement, "crossing": crossing})

    return mutate


def crossing_twice(document):
    phase(document, 6)["crossings"].append("XS")


def second_leg_w(document):
    document["legs"].append({**found(document["legs"], "W"), "bearing_deg": 300.0})


def half_day(document):
    document["patterns"][0]["hours"] = [[0, 12], [13, 24]]


def hours_twice(document):
    document["patterns"].append({**document["patterns"][0], "number": 2, "hours": [[7, 9]]})


ASYMMETRIC = [[[2, 1], [4, 3]], [[6, 5, 8, 7]]]
ACROSS = [[[2, 4], [1, 3]], [[6, 5], [8, 7]]]

MUTATIONS = [
    # form
    (drop("phases.4.yellow_s"), "phases.4.yellow_s", "required"),
    (change("phases.4.yelow_s", 5.0), "phases.4.yelow_s", "no such field"),
    (change("phases.4.yellow_s", "5.0"), "phases.4.yellow_s", "valid number"),
    (change("phases.4.yellow_s", -5.0), "phases.4.yellow_s", "greater than or equal to 0"),
    (change("phases.4.yellow_s", float("nan")), "phases.4.yellow_s", "finite"),
    (change("schema_version", 2), "schema_version", "1"),
    (change("site.id", "Bukmun 5"), "site.id", "match pattern"),
    (change("crossings.XS.length_m", 0.0), "crossings.XS.length_m", "greater than 0"),
    (change("movements.EBT.turn", "straight"), "movements.EBT.turn", "'through'"),
    (change("phases.4.ped_clear_s", 27.05), "phases.4.ped_clear_s", "one decimal"),
    (change("patterns.1.splits.4", 49.01), "patterns.1.splits.4", "one decimal"),
    # names
    (second_leg_w, "legs.W", "more than once"),
    (change("detectors.zone_W_1.id", "zone_W_2"), "detectors.zone_W_2", "more than once"),
    (change("detectors.zone_W_1.sumo_id", "W_in_2"), "detectors.sumo_id", "W_in_2"),
    (change("crossings.XS.sumo_link", 0), "sumo links", "0 of SBR and XS"),
    (change("movements.EBT.to_leg", "X"), "movements.EBT.to_leg", "no such leg"),
    (change("crossings.XS.leg", "X"), "crossings.XS.leg", "no such leg"),
    (change("crossings.XS.kerbs", ["W", "N"]), "crossings.XS.kerbs", "neighbours"),
    (change("phases.2.movements", ["EBT", "EBR", "EBX"]), "phases.2.movements", "no such movement"),
    (change("phases.2.crossings", ["XS", "XX"]), "phases.2.crossings", "no such crossing"),
    (change("rings", [[[2, 1], [4, 3]], [[6, 5], [8, 7, 9]]]), "rings.2", "no such phase"),
    (change("detectors.zone_W_1.phases", [12]), "detectors.zone_W_1.phases", "no such phase"),
    (change("detectors.zone_W_1.leg", "Q"), "detectors.zone_W_1.leg", "no such leg"),
    (change("detectors.zone_W_1.lane", 5), "detectors.zone_W_1.lane", "lanes 1 to 4"),
    (change("movements.EBT.lanes", [1, 5]), "movements.EBT.lanes", "1 to 4"),
    (change("movements.EBT.right_turn_on_red", True), "movements.EBT.right_turn_on_red", "right turn"),
    (change("movements.EBR.turn", "left"), "movements.EBR.turn", "to the right"),
    (yields_with("EBR", "XX"), "yields.EBR across XX", "no such crossing"),
    (change("legs.N.bearing_deg", 116.0), "legs.E.bearing_deg", "same bearing"),
    (change("movements.EBT.sumo_links", []), "movements.EBT.sumo_links", "list them"),
    (change("crossings.XS.sumo_link", -1), "crossings.XS.sumo_link", "count from 0"),
    (change("legs.E.lanes_out", 0), "movements.EBT.to_leg", "no lane out"),
    (change("movements.EBL.to_leg", "W"), "movements.EBL.turn", "u_turn"),
    (change("detectors.zone_W_1.phases", []), "detectors.zone_W_1.phases", "no phase"),
    # phasing
    (change("phases.3.movements", []), "phases.3", "serves nothing"),
    (change("phases.3.movements", ["NBL", "NBL"]), "phases.3.movements", "named twice"),
    (change("rings", [[[2, 1, 4, 3], []], [[6, 5, 8, 7], []]]), "rings", "barrier 2 empty"),
    (drop("phases.3"), "movements.NBL", "in no phase"),
    (change("phases.2.crossings", []), "crossings.XS", "in no phase"),
    (crossing_twice, "crossings.XS", "in phases 2 and 6"),
    (change("rings", [[[2], [4, 3]], [[6, 5], [8, 7]]]), "phases.1", "unreachable"),
    (change("rings", [[[2, 1], [4, 3, 2]], [[6, 5], [8, 7]]]), "phases.2", "2 times"),
    (change("rings", ASYMMETRIC), "rings", "2 and 1 barriers"),
    (change("rings", []), "rings", "no barriers"),
    (change("rings", ACROSS), "phases.1.movements", "WBL and NBT in phase 8"),
    (change("phases.2.movements", ["EBT", "EBR", "NBT"]), "phases.2.movements", "EBT and NBT in one phase"),
    (change("phases.2.movements", ["EBT", "EBR", "WBL"]), "phases.2.movements", "WBL with crossing XS"),
    (yields_without_ebr, "yields", "EBR across XS is not listed"),
    (yields_with("EBR", "XN"), "yields.EBR across XN", "by geometry: free"),
    (yields_with("EBT", "XE"), "yields.EBT across XE", "never run together"),
    # times
    (change("phases.2.walk_s", 10.0), "phases.2.walk_s", "below 25.0 s"),
    (change("phases.2.ped_clear_s", 13.8), "phases.2.ped_clear_s", "below 13.8 s"),
    (change("phases.4.walk_s", 6.0), "phases.4.walk_s", "below 7.0 s"),
    (change("phases.4.yellow_s", 2.0), "phases.4.yellow_s", "below 3.0 s"),
    (change("phases.1.walk_s", 5.0), "phases.1.walk_s", "no crossing"),
    (change("phases.1.ped_recall", True), "phases.1.ped_recall", "no crossing"),
    (change("phases.2.max_green_s", 10.0), "phases.2.max_green_s", "below min_green_s"),
    (change("phases.2.min_green_s", 0.0), "phases.2.min_green_s", "above 0"),
    (change("limits.service_bound_s", 301.0), "limits.service_bound_s", "above 300"),
    (change("limits.service_bound_s", 200.0), "limits.service_bound_s", "239.5 s"),
    (change("limits.min_yellow_s", 2.0), "limits.min_yellow_s", "no plan may go under"),
    (change("limits.design_speed_mps", 0.7), "phases.4.walk_s", "at 0.7 m/s"),
    (change("crossings.XS.extension_max_s", 5.0), "crossings.XS.extension_max_s", "8.0 to 45.0"),
    # patterns
    (drop("patterns.1.splits.3"), "patterns.1.splits.3", "every phase"),
    (change("patterns.1.splits.9", 10.0), "patterns.1.splits.9", "no such phase"),
    (change("patterns.1.splits.4", 48.0), "patterns.1.splits.4", "below 49.0 s"),
    (change("patterns.1.splits.2", 72.0), "patterns.1.splits", "94.0 s in phases 2 + 1"),
    (change("patterns.1.cycle_s", 150.0), "patterns.1.cycle_s", "160.0 s"),
    (change("patterns.1.offset_s", 160.0), "patterns.1.offset_s", "below the cycle"),
    (half_day, "patterns.hours", "no pattern from 12 to 13 h"),
    (hours_twice, "patterns.hours", "2 patterns from 7 to 9 h"),
    (change("patterns.1.hours", [[22, 6]]), "patterns.1.hours", "midnight"),
    # cabinet
    (change("ntcip", {"2": 2}), "ntcip.4", "every phase"),
    (change("ntcip", {str(n): n for n in range(1, 10)}), "ntcip.9", "no such phase"),
    (change("ntcip", {str(n): 2 for n in range(1, 9)}), "ntcip", "cabinet phase 2 twice"),
]


@pytest.mark.parametrize(("mutate", "path", "words"), MUTATIONS, ids=[m[1] + " " + m[2] for m in MUTATIONS])
def test_a_mutated_plan_is_refused_with_the_place_and_the_rule(document, mutate, path, words):
    mutate(document)
    faults = faults_of(document)
    assert any(f.path == path and words in f"{f.value} {f.rule}" for f in faults), [str(f) for f in faults]


def test_walk_and_clearance_are_whole_seconds_for_an_ntcip_cabinet(document):
    phase(document, 4).update(ped_clear_s=27.5)
    for split, value in (("4", 50.0), ("8", 50.0)):
        document["patterns"][0]["splits"][split] = value
    document["patterns"][0]["cycle_s"] = 161.0
    checked_plan(document, "plan.toml")
    document["ntcip"] = {str(number): number for number in range(1, 9)}
    assert [(f.path, f.value) for f in faults_of(document)] == [("phases.4.ped_clear_s", "27.5")]


def test_all_faults_are_told_at_once(document):
    phase(document, 4)["yellow_s"] = 2.0
    phase(document, 2)["walk_s"] = 3.0
    document["patterns"][0]["hours"] = [[0, 23]]
    found(document["detectors"], "zone_N_1")["lane"] = 9
    expected = {"phases.4.yellow_s", "phases.2.walk_s", "patterns.hours", "detectors.zone_N_1.lane"}
    assert expected <= paths_of(document)


def test_the_message_says_what_where_and_what_is_allowed(document):
    phase(document, 4)["yellow_s"] = 2.0
    with pytest.raises(PlanError) as caught:
        checked_plan(document, "plan.toml")
    message = str(caught.value)
    assert message.startswith("plan.toml: 1 fault")
    assert "phases.4.yellow_s = 2.0: below 3.0 s (limits.min_yellow_s, the manual's yellow rule)" in message


def test_form_faults_name_elements_by_number_and_id(document):
    phase(document, 4)["yellow_s"] = "five"
    found(document["legs"], "S")["lanes_in"] = 9
    del document["site"]["lat"]
    assert paths_of(document) == {"phases.4.yellow_s", "legs.S.lanes_in", "site.lat"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rings = [", "line 1"),
        ("a = 1\na = 2", "line 2"),
        ("a = 1\nb = 2\nc == 3\n", "line 3"),
        ("[" * 5000, ""),
        ("x = " + "1" * 5000, ""),
    ],
)
def test_text_that_is_no_toml_is_one_fault_with_its_line(text, words):
    with pytest.raises(PlanError) as caught:
        parse_plan(text, "plan.toml")
    assert len(caught.value.faults) == 1
    assert words in caught.value.faults[0].rule


@pytest.mark.parametrize(
    "text", ["", "schema_version = 2020-01-01", "legs = 1", "phases = [1, {number = []}]"]
)
def test_toml_that_is_no_plan_is_refused(text):
    with pytest.raises(PlanError):
        parse_plan(text, "plan.toml")


@given(st.text(max_size=60))
def test_arbitrary_text_raises_plan_errors_only(text):
    with pytest.raises(PlanError):
        parse_plan(text, "plan.toml")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({})
)


@given(st.sampled_from(sorted(DOCUMENT)), st.data())
def test_arbitrary_values_in_a_valid_plan_raise_plan_errors_only(table, drawn):
    document = copy.deepcopy(DOCUMENT)
    here = document[table]
    while isinstance(here, list) and here and isinstance(here[0], dict | list):
        here = drawn.draw(st.sampled_from(here))
    if isinstance(here, dict):
        here[drawn.draw(st.sampled_from(sorted(here)))] = drawn.draw(VALUES)
    else:
        document[table] = drawn.draw(VALUES)
    try:
        checked_plan(document, "plan.toml")
    except PlanError as error:
        assert error.faults  # noqa: PT017 - a valid plan is as good as a PlanError here


def test_files_that_cannot_be_read_are_plan_errors(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"name = '\xff'")
    for path in (tmp_path / "absent.toml", tmp_path, tmp_path / "latin.toml", tmp_path / "a\0b"):
        with pytest.raises(PlanError) as caught:
            load_plan(path)
        assert len(caught.value.faults) == 1


# Derived values: literals from the reference plan's table.


def test_crossings_belong_to_the_adjacent_through_phase(plan):
    assert {c.id: plan.phase_of(c.id) for c in plan.crossings} == {"XS": 2, "XN": 6, "XW": 4, "XE": 8}


def test_the_next_conflict_of_each_crossing_is_the_left_that_follows(plan):
    expected = {"XS": 1, "XN": 5, "XW": 3, "XE": 7}
    for crossing, phase_number in expected.items():
        ring, barrier = plan.place_of(plan.phase_of(crossing))
        first, following = plan.rings[ring][barrier]
        assert (first, following) == (plan.phase_of(crossing), phase_number)
        assert following in plan.conflicting_phases(crossing)


def test_conflicting_phases_by_crossing(plan):
    assert plan.conflicting_phases("XS") == (1, 3, 4, 8)
    assert plan.conflicting_phases("XN") == (4, 5, 7, 8)
    assert plan.conflicting_phases("XW") == (2, 3, 5, 6)
    assert plan.conflicting_phases("XE") == (1, 2, 6, 7)


def test_own_right_turn_yields_and_all_else_is_conflict_or_free(plan):
    assert plan.relation("EBR", "XS") == "yield"
    assert plan.relation("EBR", "XW") == "conflict"  # over the leg it comes from
    assert plan.relation("EBT", "XS") == "free"
    assert plan.relation("EBT", "XE") == "conflict"
    assert plan.relation("WBL", "XS") == "conflict"
    assert plan.relation("SBL", "XS") == "free"


def test_movements_cross_merge_or_pass(plan):
    assert plan.movement_relation("EBT", "WBT") == "free"
    assert plan.movement_relation("EBL", "WBL") == "free"
    assert plan.movement_relation("EBL", "WBT") == "conflict"
    assert plan.movement_relation("WBT", "EBL") == "conflict"
    assert plan.movement_relation("EBT", "NBT") == "conflict"
    assert plan.movement_relation("EBT", "NBL") == "conflict"
    assert plan.movement_relation("EBT", "EBL") == "free"
    assert plan.movement_relation("EBT", "NBR") == "yield"  # merge into leg E
    assert plan.movement_relation("EBT", "SBL") == "conflict"  # merge of a left
    assert plan.movement_relation("EBR", "NBT") == "free"
    assert plan.movement_relation("EBT", "EBT") == "free"


def test_concurrent_phases_are_the_other_ring_within_the_barrier(plan):
    expected = {1: (5, 6), 2: (5, 6), 3: (7, 8), 4: (7, 8), 5: (1, 2), 6: (1, 2), 7: (3, 4), 8: (3, 4)}
    assert {n: plan.concurrent_phases(n) for n in plan.phase_numbers} == expected


def test_minimum_splits_and_spare_match_the_table(plan):
    minimums = {1: 12, 2: 31, 3: 12, 4: 49, 5: 12, 6: 31, 7: 12, 8: 49}
    assert {n: plan.minimum_split_s(n) for n in plan.phase_numbers} == minimums
    assert {n: plan.spare_s(n) for n in (1, 2, 3, 4)} == {1: 10.0, 2: 40.0, 3: 6.0, 4: 0.0}
    assert plan.spare_s(2, pattern=1) == 40.0


@pytest.mark.parametrize(
    ("length_m", "expected_s"),
    [(15.0, 12.5), (25.0, 24.8), (30.0, 31.0), (35.0, 37.1), (40.0, 43.3), (10.0, 8.0), (60.0, 45.0)],
)
def test_default_extension_maximum(document, length_m, expected_s):
    # L / 0.5 - L / 1.3 - 6 s of yellow and red, up to a tenth, within 8-45 s
    found(document["crossings"], "XS")["length_m"] = length_m
    plan = SitePlan.model_validate(document)
    assert plan.extension_max_s("XS") == expected_s


def test_a_given_extension_maximum_is_kept(document):
    found(document["crossings"], "XS")["extension_max_s"] = 20.0
    assert checked_plan(document, "plan.toml").extension_max_s("XS") == 20.0


def test_worst_service_is_the_slowest_cycle_and_one_extension_per_barrier(plan):
    # barriers in free operation: 65 + 6 + 17 + 5 = 93 and 42 + 7 + 17 + 5 = 71, less than the cycle of 160
    # lengthened by 17 %; extensions 16.2 (18 m) and 36.1 (35 m)
    assert plan.worst_service_s == pytest.approx(160 * 1.17 + 16.2 + 36.1)


def test_the_hold_of_a_crossing_follows_from_the_matrix(plan):
    assert {c.id: plan.hold_phases(c.id) for c in plan.crossings} == {
        "XS": (2,),
        "XN": (6,),
        "XW": (4,),
        "XE": (8,),
    }
    for crossing in plan.crossings:
        for held in plan.hold_phases(crossing.id):
            assert not set(plan.conflicting_phases(crossing.id)) & set(plan.concurrent_phases(held))


def test_parts_are_found_by_name(plan):
    assert plan.leg("W").lanes_in == 4
    assert plan.movement("EBT").to_leg == "E"
    assert plan.phase(4).walk_s == 15.0
    assert plan.crossing("XW").length_m == 35.0
    assert plan.phases_of("EBR") == (2,)


def test_detectors_are_parted_by_kind_in_the_plans_order(plan):
    assert [d.id for d in plan.zone_detectors][:3] == ["zone_N_1", "zone_N_2", "zone_E_1"]
    assert all(d.kind == "passage" for d in plan.passage_detectors)
    assert len(plan.zone_detectors) + len(plan.passage_detectors) == len(plan.detectors)


def test_the_pattern_of_an_hour(plan):
    assert plan.pattern_at(0).number == plan.pattern_at(23.9).number == 1
    with pytest.raises(ValueError, match="hour 24"):
        plan.pattern_at(24)


def test_unknown_names_are_the_callers_mistake(plan):
    for call in (
        lambda: plan.phase(12),
        lambda: plan.crossing("XX"),
        lambda: plan.phase_of("XX"),
        lambda: plan.relation("EBT", "XX"),
        lambda: plan.spare_s(2, pattern=9),
        lambda: plan.spare_s(12),
        lambda: plan.retimed(float("nan")),
        lambda: plan.retimed(2.0),
    ):
        with pytest.raises(ValueError, match=r"plan has no|design speed"):
            call()


def test_a_listed_left_yields_to_the_walk_it_turns_across(document):
    # Left 1 shares its phase with the walk over leg S: refused unless the left is listed as permitted.
    phase(document, 2)["crossings"] = []
    phase(document, 2).update(walk_s=0.0, ped_clear_s=0.0, ped_recall=False)
    phase(document, 1).update(crossings=["XS"], walk_s=11.0, ped_clear_s=14.0)
    document["yields"] = [pair for pair in document["yields"] if pair["crossing"] != "XS"]
    document["patterns"][0]["splits"].update({"1": 30.0, "2": 63.0})
    assert "phases.1.movements" in paths_of(document)
    document["yields"].append({"movement": "WBL", "crossing": "XS"})
    assert checked_plan(document, "plan.toml").relation("WBL", "XS") == "yield"


def test_a_hold_needs_conflicting_greens_that_wait_for_it(document):
    # The walk over leg S beside phase 5 would be fine; the walk over leg N is not.
    phase(document, 2)["crossings"] = ["XN"]
    phase(document, 6)["crossings"] = ["XS"]
    faults = faults_of(document)
    assert any(f.path == "phases.5.movements" and "a hold could not keep" in f.rule for f in faults)


def test_signal_links_are_numbered_without_gaps(document):
    found(document["crossings"], "XE")["sumo_link"] = 99
    with pytest.raises(PlanError, match=r"without gaps"):
        checked_plan(document, "plan.toml")


def test_a_three_leg_junction_is_a_plan(document):
    for table in ("movements", "detectors"):
        document[table] = [
            each
            for each in document[table]
            if "N" not in (each.get("leg"), each.get("from_leg"), each.get("to_leg"))
        ]
    document["legs"] = [leg for leg in document["legs"] if leg["id"] != "N"]
    document["crossings"] = [c for c in document["crossings"] if c["id"] in {"XS", "XW"}]
    found(document["crossings"], "XW")["kerbs"] = ["S", "E"]
    document["phases"] = [p for p in document["phases"] if p["number"] in {1, 2, 6, 8}]
    phase(document, 2).update(movements=["EBT", "EBR"])
    phase(document, 6).update(movements=["WBT"], crossings=[], walk_s=0.0, ped_clear_s=0.0, ped_recall=False)
    phase(document, 8).update(movements=["NBR"], crossings=["XW"])
    document["movements"] = [m for m in document["movements"] if m["id"] != "NBL"]
    document["detectors"] = [d for d in document["detectors"] if set(d["phases"]) <= {1, 2, 6, 8}]
    document["rings"] = [[[2, 1], [8]], [[6], []]]
    document["yields"] = [{"movement": "EBR", "crossing": "XS"}]
    document["patterns"][0].update(cycle_s=142.0, splits={"2": 71.0, "1": 22.0, "6": 93.0, "8": 49.0})
    for link, movement in enumerate(document["movements"]):
        movement["sumo_links"] = [link]
    for link, crossing in enumerate(document["crossings"], start=len(document["movements"])):
        crossing["sumo_link"] = link
    plan = checked_plan(document, "plan.toml")
    assert plan.conflicting_phases("XW") == (2, 6)
    assert plan.concurrent_phases(8) == ()


def test_plans_are_values(plan):
    assert plan == load_plan(REFERENCE)
    assert pickle.loads(pickle.dumps(plan)) == plan
    with pytest.raises(ValueError, match="frozen"):
        plan.site.lat = 0.0


# Retiming


def splits(plan):
    return {int(name): value for name, value in plan.patterns[0].splits.items()}


def test_retiming_to_its_own_speed_changes_nothing(plan):
    assert plan.retimed(1.0) == plan


def test_retiming_takes_from_the_other_barrier_while_it_can(plan):
    # 35 m at 0.7 m/s: 7 + 50 = 57 s, clearance 27: walk 30; 18 m: 7 + 25.7 = 32.7 s, clearance 14: 19
    zone = plan.retimed(0.7)
    assert zone.site.id == plan.site.id
    assert zone.limits.design_speed_mps == 0.7
    assert [zone.phase(n).walk_s for n in (2, 4, 6, 8)] == [19.0, 30.0, 19.0, 30.0]
    assert [zone.phase(n).ped_clear_s for n in (2, 4)] == [14.0, 27.0]
    assert [zone.minimum_split_s(n) for n in (2, 4)] == [39.0, 64.0]
    assert zone.phase(4).max_green_s == 57.0
    assert zone.patterns[0].cycle_s == 160.0
    assert splits(zone) == {1: 22, 2: 56, 3: 18, 4: 64, 5: 22, 6: 56, 7: 18, 8: 64}


def test_retiming_lengthens_the_cycle_when_nothing_can_be_spared(document):
    document["patterns"][0]["splits"].update({"2": 45.0, "1": 15.0, "6": 45.0, "5": 15.0})
    document["patterns"][0]["cycle_s"] = 127.0
    zone = checked_plan(document, "plan.toml").retimed(0.7)  # 15 s missing, 6 + 3 to spare
    assert zone.patterns[0].cycle_s == 142.0
    assert splits(zone) == {1: 15, 2: 45, 3: 18, 4: 64, 5: 15, 6: 45, 7: 18, 8: 64}


def test_retiming_both_barriers_lengthens_the_cycle_by_both(document):
    document["patterns"][0]["splits"] = {
        "1": 12,
        "2": 31,
        "3": 12,
        "4": 49,
        "5": 12,
        "6": 31,
        "7": 12,
        "8": 49,
    }
    document["patterns"][0]["cycle_s"] = 104.0
    plan = checked_plan(document, "plan.toml")
    assert plan.retimed(0.8).patterns[0].cycle_s == 118.0  # the sums of minimums in the reference table
    assert plan.retimed(0.7).patterns[0].cycle_s == 127.0


def test_retiming_evens_out_the_other_ring(document):
    phase(document, 8)["ped_clear_s"] = 32.0
    document["patterns"][0]["splits"].update({"4": 54.0, "8": 54.0})
    document["patterns"][0]["cycle_s"] = 165.0
    zone = checked_plan(document, "plan.toml").retimed(0.7)
    assert zone.phase(8).walk_s == 25.0
    assert splits(zone)[4] == splits(zone)[8] == 64.0


@given(st.integers(min_value=50, max_value=150))
def test_retimed_plans_are_valid_and_never_shorter(speed_cmps):
    plan = load_plan(REFERENCE)
    retimed = plan.retimed(speed_cmps / 100)
    for before, after in zip(plan.phases, retimed.phases, strict=True):
        assert after.walk_s >= before.walk_s
        assert (after.ped_clear_s, after.yellow_s) == (before.ped_clear_s, before.yellow_s)
    assert retimed.patterns[0].cycle_s >= plan.patterns[0].cycle_s


def test_a_speed_that_breaks_the_service_bound_is_refused(plan):
    with pytest.raises(PlanError, match="service_bound_s"):
        plan.retimed(0.3)


# Schema


def test_the_schema_names_every_field_of_the_plan():
    schema = plan_json_schema()
    json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) >= {"schema_version", "site", "phases", "rings", "patterns"}
    assert set(DOCUMENT) <= set(schema["properties"])
    fields = schema["$defs"]["Phase"]["properties"]
    assert fields["yellow_s"]["minimum"] == 0
    assert all(set(each) <= set(fields) for each in DOCUMENT["phases"])

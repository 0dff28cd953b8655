"""The drawing of a plan: whole, true to the core, the same every time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from bitgoeul.controller import cli, svg
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.pattern_times import pattern_times
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.plan_commands import plan as plan_command
from bitgoeul.controller.plan_drawing import draw_plan
from bitgoeul.controller.signals import NO_CALLS, Commands, phases_in

PLANS = Path(__file__).parent / "plans"
NAMES = ("reference", "midblock", "tee", "split")
PAGE = "{http://www.w3.org/2000/svg}"

FIVE_LEGS = {"N": 0.0, "NE": 52.0, "E": 95.0, "S": 180.0, "W": 265.0}


def five_leg_document():
    """Return a plan with split phasing over five legs, twenty movements, no crossing."""
    names = list(FIVE_LEGS)
    movements, phases = [], []
    for number, start in enumerate(names, 1):
        ids = []
        for end in names:
            angle = 180.0 - (FIVE_LEGS[start] - FIVE_LEGS[end]) % 360.0
            turn = "through" if abs(angle) <= 35.0 else ("right" if angle > 0.0 else "left")
            if end != start:
                ids.append(f"{start}_{end}")
                movement = {"id": ids[-1], "from_leg": start, "to_leg": end, "turn": turn, "lanes": [1]}
                movements.append({**movement, "sumo_links": [len(movements)]})
        times = {
            "min_green_s": 7.0,
            "max_green_s": 25.0,
            "passage_s": 3.0,
            "yellow_s": 3.0,
            "red_clear_s": 2.0,
        }
        phases.append({"number": number, "name": f"from {start}", "movements": ids, **times})
    leg = {"lanes_in": 2, "lanes_out": 2, "speed_limit_mps": 11.1}
    return {
        "schema_version": 1,
        "site": {"id": "five", "name": "Five legs", "name_ko": "오거리", "lat": 35.0, "lon": 126.0},
        "limits": {"manual": "none"},
        "legs": [{"id": name, "name": name, "bearing_deg": at, **leg} for name, at in FIVE_LEGS.items()],
        "movements": movements,
        "crossings": [],
        "phases": phases,
        "rings": [[[1, 2, 3, 4, 5]]],
        "patterns": [
            {
                "number": 1,
                "name": "day",
                "hours": [[0, 24]],
                "cycle_s": 150.0,
                "splits": {str(number): 30.0 for number in range(1, 6)},
            }
        ],
        "detectors": [],
        "yields": [],
        "sumo": {"junction": "J", "traffic_light": "J"},
    }


@pytest.fixture(params=[*NAMES, "five"])
def plan(request):
    if request.param == "five":
        return checked_plan(five_leg_document(), "here")
    return load_plan(PLANS / f"{request.param}.toml")


def parsed(text):
    return ET.fromstring(text)


def part(root, name):
    return root.find(f"{PAGE}g[@id='{name}']")


def groups(root, **attributes):
    wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
    return [
        each
        for each in root.iter(f"{PAGE}g")
        if all(each.get(name) == value for name, value in wanted.items())
    ]


def test_every_phase_movement_and_walk_stands_in_rings_and_legend(plan):
    root = parsed(draw_plan(plan))
    for name in ("rings", "phases"):
        for number in plan.phase_numbers:
            (box,) = groups(part(root, name), data_phase=str(number))
            drawn = [each.get("data-movement") for each in box.iter(f"{PAGE}g")]
            assert [each for each in drawn if each] == list(plan.movements_of(number))
            walks = [each.get("data-crossing") for each in box.iter(f"{PAGE}g")]
            crossings = plan.phase(number).crossings
            assert {each for each in walks if each} == set(crossings)
            written = " ".join(each.text for each in box.iter(f"{PAGE}text"))
            assert all(each in written for each in (*plan.movements_of(number), *crossings))
    title = root.find(f"{PAGE}title").text
    assert plan.site.name_ko in title
    assert plan.site.name in title


def test_bars_tell_the_splits_and_the_rings_fill_the_cycle(plan):
    root, pattern = parsed(draw_plan(plan)), plan.patterns[0]
    for number in plan.phase_numbers:
        (row,) = groups(part(root, "times"), data_phase=str(number))
        spans = {
            each.get("data-lamp"): float(each.get("data-seconds"))
            for each in row.iter(f"{PAGE}g")
            if each.get("data-lamp")
        }
        phase = plan.phase(number)
        assert (spans["yellow"], spans["red_clear"]) == (phase.yellow_s, phase.red_clear_s)
        assert (spans.get("walk", 0.0), spans.get("ped_clear", 0.0)) == (phase.walk_s, phase.ped_clear_s)
        shown_s = spans["green"] + spans["yellow"] + spans["red_clear"]
        rest_s = pattern.splits[str(number)] - shown_s
        assert 0.0 <= rest_s <= 1.0  # tee, phase 1: the other ring clears a second longer
    times = pattern_times(plan)
    assert times.cycle_ds == times.barriers_ds[-1] == pattern.cycle_s * 10
    for ring in range(len(plan.rings)):
        splits_ds = sum(each.to_ds - each.from_ds for each in times.phases if each.ring == ring)
        rests = len(groups(part(root, "rings"), **{"class": "rest"}))
        assert splits_ds == times.cycle_ds or rests


@pytest.mark.parametrize("name", ["reference", "tee", "split"])
def test_times_are_what_the_core_shows(name):
    plan = load_plan(PLANS / f"{name}.toml")
    times, core = pattern_times(plan), SignalCore(plan)
    commands = Commands(pattern=times.number)
    core.advance(2 * times.cycle_ds, NO_CALLS, commands)
    for at_ds in range(times.cycle_ds):
        lamps = core.advance(1, NO_CALLS, commands)
        for lamp in ("green", "yellow", "walk", "ped_clear"):
            drawn = {
                each.phase
                for each in times.phases
                for span in (*each.vehicles, *each.walkers)
                if span.lamp == lamp and span.from_ds <= at_ds < span.to_ds
            }
            assert drawn == set(phases_in(getattr(lamps, lamp))), (at_ds, lamp)


def changed(document, number, **fields):
    next(each for each in document["phases"] if each["number"] == number).update(fields)
    return checked_plan(document, "here")


def reference_document():
    return load_plan(PLANS / "reference.toml").model_dump(mode="json", exclude_none=True)


def test_leading_and_delayed_walk_and_rest_in_walk():
    times = {
        each.phase: each
        for each in pattern_times(changed(reference_document(), 2, leading_walk_s=5.0)).phases
    }
    assert [(s.from_ds, s.to_ds) for s in (*times[2].vehicles[:1], *times[2].walkers)] == [
        (50, 650),
        (0, 110),
        (110, 250),
    ]
    delayed = pattern_times(changed(reference_document(), 2, walk_delay_s=5.0)).phases[1]
    assert [(s.from_ds, s.to_ds) for s in delayed.walkers] == [(50, 160), (160, 300)]
    resting = pattern_times(changed(reference_document(), 2, rest_in_walk=True)).phases[1]
    assert [(s.from_ds, s.to_ds) for s in resting.walkers] == [(0, 510), (510, 650)]
    assert resting.seconds("walk") == 51.0


def test_a_ring_without_a_phase_rests_in_red():
    root = parsed(draw_plan(load_plan(PLANS / "tee.toml")))
    (rest,) = groups(part(root, "rings"), **{"class": "rest"})
    assert rest.find(f"{PAGE}text").text == "rests in red"
    assert len(groups(root, **{"class": "barrier"})) == 3


def test_a_turn_that_gives_way_is_dashed():
    root = parsed(draw_plan(load_plan(PLANS / "reference.toml")))
    for each in root.iter(f"{PAGE}g"):
        if each.get("data-movement"):
            is_dashed = each.find(f"{PAGE}path").get("stroke-dasharray") is not None
            assert is_dashed is each.get("data-movement").endswith("R")


def test_the_halves_of_a_two_stage_crossing_lie_beside_each_other():
    document = reference_document()
    whole = next(each for each in document["crossings"] if each["id"] == "XW")
    document["crossings"].append({**whole, "id": "XW2", "kerbs": ["island", "N"], "sumo_link": 20})
    document["crossings"][-1]["sumo_edge"] = ":J_c4"
    whole["kerbs"] = ["S", "island"]
    number = next(each["number"] for each in document["phases"] if "XW" in each["crossings"])
    next(each for each in document["phases"] if each["number"] == number)["crossings"].append("XW2")
    document["yields"].append({"movement": "SBR", "crossing": "XW2"})
    root = parsed(draw_plan(checked_plan(document, "here")))
    bands = {}
    for name in ("XW", "XW2"):
        band = groups(part(root, "phases"), data_crossing=name)[0].find(f"{PAGE}line")
        bands[name] = sorted((float(band.get("y1")), float(band.get("y2"))))
    assert bands["XW2"][1] < bands["XW"][0]  # looking west, the northern half is on the right


def boxes(root):
    """Yield (text, left, right, top, bottom) of every line of text, roughly."""
    for each in root.iter(f"{PAGE}text"):
        size = float(each.get("font-size"))
        width = svg.text_width(each.text or "", size)
        x, y = float(each.get("x")), float(each.get("y"))
        left = x - {"middle": width / 2, "end": width}.get(each.get("text-anchor"), 0.0)
        yield each.text, left, left + width, y - 0.75 * size, y


def test_no_two_texts_overlap(plan):
    root = parsed(draw_plan(plan))
    drawn = [each for each in boxes(root) if each[0]]
    for index, (text, left, right, top, bottom) in enumerate(drawn):
        assert left >= 0.0, text
        assert right <= float(root.get("width")), text
        for other, *box in drawn[index + 1 :]:
            apart = left >= box[1] or box[0] >= right or top >= box[3] or box[2] >= bottom
            assert apart, (text, other)


def crowded_document():
    """Return the reference plan with short lefts, long names, coordination and legs close together."""
    document = reference_document()
    splits = {"1": 12.0, "2": 89.0, "3": 12.0, "4": 49.0, "5": 12.0, "6": 89.0, "7": 12.0, "8": 49.0}
    pattern = {"cycle_s": 162.0, "splits": splits, "mode": "coordinated", "coordinated": [2, 6]}
    document["patterns"][0].update(pattern)
    for phase in document["phases"]:
        phase["name"] = f"{phase['name']} 북문대로 동쪽방면 with more words than fit"
        phase["vehicle_recall"] = "min"
    for leg in document["legs"]:
        leg["bearing_deg"] = {"N": 22.0, "E": 60.0}.get(leg["id"], leg["bearing_deg"])
    return document


def test_a_crowded_plan_stays_readable():
    text = draw_plan(checked_plan(crowded_document(), "here"))
    assert "coordinated phases 2 6" in text
    test_no_two_texts_overlap(checked_plan(crowded_document(), "here"))


def test_one_way_legs_and_u_turns_are_drawn():
    document = load_plan(PLANS / "midblock.toml").model_dump(mode="json", exclude_none=True)
    next(each for each in document["legs"] if each["id"] == "E")["lanes_in"] = 0
    turned = next(each for each in document["movements"] if each["id"] == "WBT")
    turned.update(id="EBU", from_leg="W", to_leg="W", turn="u_turn", lanes=[2])
    document["phases"][0]["movements"] = ["EBT", "EBU"]
    root = parsed(draw_plan(checked_plan(document, "here")))
    assert len(groups(part(root, "phases"), data_movement="EBU")) == 1
    assert len(groups(part(root, "phases"), data_movement="EBT")) == 1


def test_a_drawing_is_the_same_every_time(plan):
    digests = {hashlib.sha256(draw_plan(plan).encode()).hexdigest() for _ in range(2)}
    assert len(digests) == 1


def test_another_pattern_has_its_own_splits():
    plan = load_plan(PLANS / "midblock.toml")
    night = parsed(draw_plan(plan, 2))
    (row,) = groups(part(night, "times"), data_phase="1")
    assert groups(row, data_lamp="green")[0].get("data-seconds") == "28.5"
    with pytest.raises(ValueError, match="midblock has no pattern 9; its patterns are: 1, 2"):
        draw_plan(plan, 9)


def test_names_that_xml_cannot_hold_are_drawn_all_the_same():
    plan = load_plan(PLANS / "tee.toml")
    info = plan.site.model_copy(update={"name": "a <b> & \x01 c"})
    root = parsed(draw_plan(plan.model_copy(update={"site": info})))
    assert root.find(f"{PAGE}title").text == "삼거리 (a <b> & � c)"


@pytest.mark.parametrize(
    ("words", "width", "lines", "expected"),
    [
        ("one two three", 200, 2, ["one two three"]),
        ("one two three", 50, 2, ["one two", "three"]),
        ("one two three", 35, 2, ["one", "two t…"]),
        ("가나다라마바사", 50, 1, ["가나다라…"]),
        ("", 50, 1, []),
    ],
)
def test_text_is_broken_and_shortened_to_its_width(words, width, lines, expected):
    assert svg.wrapped(words, 10, width, lines) == expected


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (1.256, "1.26"), (-0.001, "0"), (0.5, "0.5")])
def test_coordinates_are_short(value, text):
    assert svg.number(value) == text


# --- the command ----------------------------------------------------------------------------------


def draw(*words):
    return CliRunner().invoke(plan_command, ["draw", *map(str, words)])


def test_draw_writes_a_file_or_to_standard_output(tmp_path):
    out = tmp_path / "it.svg"
    result = draw(PLANS / "reference.toml", "--out", out)
    assert (result.exit_code, result.output) == (0, f"{out}\n")
    text = out.read_text(encoding="utf-8")
    assert text == draw_plan(load_plan(PLANS / "reference.toml")) == draw(PLANS / "reference.toml").output
    assert [each.name for each in tmp_path.iterdir()] == ["it.svg"]


def test_draw_takes_a_registered_site():
    assert "장애인복지회관" in draw("bukmun_5").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gwangju",), "unknown site 'gwangju'; known: bukmun_5"),
        (("absent.toml",), "no such plan"),
        ((str(PLANS / "tee.toml"), "--pattern", "7"), "tee has no pattern 7; its patterns are: 1"),
        ((str(PLANS / "tee.toml"), "--out", "/nowhere/it.svg"), "/nowhere/it.svg: No such file or directory"),
        ((str(PLANS / "tee.toml"), "--pattern", "x"), "not a valid integer"),
    ],
)
def test_mistakes_are_told_and_exit_2(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["plan", "draw", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_has_an_example():
    assert "bitgoeul plan draw" in draw("--help").output

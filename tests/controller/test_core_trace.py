"""A script of calls is checked whole; the trace shows just what the core does under it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitgoeul.controller import cli
from bitgoeul.controller.call_script import checked_script, load_script
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.core_commands import core as core_command
from bitgoeul.controller.core_commands import lamp_strip
from bitgoeul.controller.core_trace import trace_rows
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.signals import NO_CALLS, Calls, Commands, Lamps, phase_mask, phases_in

PLANS = Path(__file__).parent / "plans"
SCRIPTS = Path(__file__).parents[2] / "docs" / "examples" / "calls"


@pytest.fixture(scope="module")
def reference():
    return load_plan(PLANS / "reference.toml")


@pytest.fixture(scope="module")
def equipped():
    """Return the reference plan with an overlap, a preemption and a crossing that flashes in extension."""
    document = load_plan(PLANS / "reference.toml").model_dump(mode="json", exclude_none=True)
    document["overlaps"] = [{"id": "OL", "phases": [1, 7], "movements": ["NBR"]}]
    document["preempts"] = [{"number": 1, "name": "fire", "phases": [2, 5], "exit_phases": [4, 8]}]
    for phase in document["phases"]:
        phase["movements"] = [name for name in phase["movements"] if name != "NBR"]
    document["yields"] = [each for each in document["yields"] if each["movement"] != "NBR"]
    next(each for each in document["crossings"] if each["id"] == "XW")["display"] = "flash"
    return checked_plan(document, "here")


def script(plan, *happenings, **fields):
    return checked_script({"at": list(happenings), **fields}, plan, "here")


def rows(plan, *happenings, seconds=200, by_change=False, **fields):
    return list(trace_rows(plan, script(plan, *happenings, **fields), seconds, by_change=by_change))


def events(found):
    return [(each.at_ds / 10, each.words) for row in found for each in row.events]


# --- the script -----------------------------------------------------------------------------------


def test_a_script_names_every_fault_at_once(reference):
    text = """
    start_hour = 24.0
    what = 1
    [[at]]
    vehicle = [3]
    [[at]]
    s = -1.0
    hold = ["two"]
    holds = [2]
    pattern = "fast"
    """
    with pytest.raises(ScenarioError) as caught:
        checked_script(tomllib.loads(text), reference, "calls.toml")
    told = str(caught.value)
    assert told.startswith("calls.toml: 7 faults")
    assert "start_hour = 24.0: input should be less than 24" in told
    assert "what = 1: no such field; use one of: start_hour, at" in told
    assert "at.1.s = missing: required; add it" in told
    assert "at.2.s = -1.0: input should be greater than or equal to 0" in told
    assert 'at.2.hold.1 = "two": input should be a valid integer' in told
    assert "at.2.holds = [2]: no such field; use one of: s, until_s" in told
    assert 'at.2.pattern = "fast": must be the number of a pattern of the plan, "free" or "flash"' in told


def test_a_script_must_speak_of_its_plan(reference):
    faulty = [
        {"s": 1.25, "vehicle": [9]},
        {"s": 3.0, "until_s": 3.0, "stop_time": [3], "ped_extend": ["XX"]},
        {"s": 4.0, "preempt": 1, "pattern": 7},
        {"s": 5.0, "until_s": 6.0, "note": "nothing"},
    ]
    with pytest.raises(ScenarioError) as caught:
        script(reference, *faulty)
    assert str(caught.value).splitlines() == [
        "here: 8 faults",
        "  at.1.s = 1.25: times have one decimal at most; round it",
        "  at.1.vehicle = 9: not in the plan; use one of: 1, 2, 3, 4, 5, 6, 7, 8",
        "  at.2.until_s = 3.0: must be after s = 3; correct one of them",
        "  at.2.stop_time = 3: not in the plan; use one of: 1, 2",
        "  at.2.ped_extend = XX: not in the plan; use one of: XN, XE, XS, XW",
        "  at.3.preempt = 1: not in the plan; use one of: none, the plan has none",
        "  at.3.pattern = 7: not in the plan; use one of: 1, free, flash",
        "  at.4 = nothing: says nothing but a time; name calls or orders",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"at = [", "is no TOML text"), (b"\xff", "is no TOML text"), (None, "cannot be read: No such file")],
)
def test_a_script_that_cannot_be_read_is_refused(reference, tmp_path, text, message):
    path = tmp_path / "calls.toml"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ScenarioError, match=message):
        load_script(path, reference)


def test_a_script_is_told_in_its_own_words(reference):
    (first, second, third) = script(
        reference,
        {"s": 1.0, "vehicle": [3, 7], "note": "two cars"},
        {"s": 2.0, "until_s": 30.5, "hold": [2], "max_2": [1], "ped_extend": ["XS"]},
        {"s": 3.0, "pattern": "free"},
    ).at
    assert first.told == "vehicle 3 7 (two cars)"
    assert second.told == "hold 2, ped_extend XS, max_2 1 until 30.5 s"
    assert (third.told, third.pattern_number) == ("pattern free", 254)


# --- the trace ------------------------------------------------------------------------------------


def test_rows_are_what_a_core_shows_second_by_second(reference):
    found = rows(reference, seconds=330)
    assert [row.at_ds for row in found] == list(range(0, 3300, 10))
    core = SignalCore(reference)
    for row in found:
        lamps = core.advance(1, NO_CALLS, Commands())
        assert (row.lamps, row.status) == (lamps, core.status())
        assert [(each.phase, each.interval) for each in row.rings] == [
            (ring.phase, ring.interval) for ring in core.state.rings
        ]
        assert row.cycle_ds == row.at_ds % 1600
        core.advance(9, NO_CALLS, Commands())
    assert [each.lasted_ds for each in found[30].rings] == [50, 50]  # clearance ended at 25 s


def test_changes_are_the_rows_where_something_happens(reference):
    found = rows(reference, {"s": 12.3, "ped": [4], "note": "a button"}, by_change=True, seconds=70)
    assert [row.at_ds for row in found] == [0, 110, 123, 250, 650, 690]
    assert [each.words for each in found[2].events] == ["script: ped 4 (a button)", "walk called 4"]
    assert [each.words for each in found[3].events] == ["don't walk XS", "don't walk XN"]


def test_by_the_second_events_keep_their_tenth(reference):
    found = rows(reference, {"s": 12.3, "ped": [4]}, seconds=20)
    assert found[12].at_ds == 120
    assert [(each.at_ds, each.words) for each in found[12].events] == [
        (123, "script: ped 4"),
        (123, "walk called 4"),
    ]
    assert events(found) == events(rows(reference, {"s": 12.3, "ped": [4]}, seconds=20, by_change=True))


def test_a_hold_past_clearance_is_an_extension(reference):
    found = rows(reference, {"s": 93.0, "until_s": 150.0, "hold": [4]}, seconds=170)
    assert [row.at_ds / 10 for row in found if row.extending][:1] == [135.0]  # 93 + 15 + 27
    assert [row.at_ds / 10 for row in found if row.extending][-1:] == [149.0]
    assert (135.0, "hold keeps phase 4") in events(found)
    assert (150.0, "hold keeps phase 4 no longer") in events(found)
    assert lamp_strip(reference, found[140].lamps, found[140].extending) == "R  R. R  Gx R  R. R  R."
    assert lamp_strip(reference, found[100].lamps, found[100].extending) == "R  R. R  GW R  R. R  GW"
    assert lamp_strip(reference, found[110].lamps, found[110].extending) == "R  R. R  GF R  R. R  GF"
    assert lamp_strip(reference, found[151].lamps, found[151].extending) == "R  R. R  Y. R  R. G  R."


def test_a_red_hold_is_an_extension_too(reference):
    found = rows(reference, {"s": 93.0, "until_s": 160.0, "red_hold": [4]}, seconds=160)
    extended = [row.at_ds / 10 for row in found if row.extending]
    assert extended[0] == 142.0  # 160 s cycle: green ends at 135, then 5 s yellow and 2 s red
    assert lamp_strip(reference, found[145].lamps, found[145].extending)[9:11] == "Rx"


def test_a_hold_without_a_walk_is_none(reference):
    found = rows(reference, {"s": 71.0, "until_s": 100.0, "hold": [1]}, seconds=100)
    assert any(row.status.held for row in found)
    assert not any(row.extending for row in found)


def test_a_vehicle_waits_until_green_and_a_button_is_pushed_once(reference):
    free = {"s": 0.0, "pattern": "free"}
    calls = ({"s": 12.0, "vehicle": [3]}, {"s": 12.0, "ped": [4]})
    found = rows(reference, free, *calls, seconds=200)
    green_s = next(row.at_ds / 10 for row in found if row.lamps.green & phase_mask((3,)))
    called = [row.at_ds / 10 for row in found if row.status.vehicle_calls & phase_mask((3,))]
    assert (called[0], called[-1]) == (12.0, green_s)
    walks = [row.at_ds / 10 for row in found if row.lamps.walk & phase_mask((4,))]
    pushed = [row.at_ds / 10 for row in found if row.status.ped_calls & phase_mask((4,))]
    assert (pushed[0], pushed[-1]) == (12.0, walks[0] - 1.0)
    lasting = rows(reference, free, {"s": 12.0, "until_s": 20.0, "vehicle": [3]}, seconds=30)
    assert [row.at_ds / 10 for row in lasting if row.status.vehicle_calls & phase_mask((3,))] == [
        float(second) for second in range(12, 20)
    ]


def test_every_call_and_order_reaches_the_core(equipped, monkeypatch):
    seen = []
    plain = SignalCore.advance

    def advance(self, ds, calls=NO_CALLS, commands=Commands()):  # noqa: B008 - as in the core
        seen.append((calls, commands))
        return plain(self, ds, calls, commands)

    monkeypatch.setattr(SignalCore, "advance", advance)
    fields = ("vehicle", "extend", "ped", "hold", "force_off", "phase_omit", "ped_omit", "vehicle_call",
              "ped_call", "walk_rest", "red_hold")  # fmt: skip
    each = {name: [number % 8 + 1] for number, name in enumerate(fields)}
    more = {"ped_extend": ["XW"], "stop_time": [2], "ped_recycle": [1, 2], "max_2": [1]}
    rows(equipped, {"s": 1.0, "until_s": 2.0, **each, **more, "preempt": 1, "pattern": 1}, seconds=3)
    assert {moment for moment, pair in enumerate(seen) if pair != (NO_CALLS, Commands())} == set(
        range(10, 20)
    )
    calls, commands = seen[10]
    masks = {name: phase_mask(numbers) for name, numbers in each.items()}
    assert calls == Calls(**{name: masks[name] for name in fields[:3]})
    index = [crossing.id for crossing in equipped.crossings].index("XW")
    assert commands == Commands(
        **{name: masks[name] for name in fields[3:]},
        ped_extend=1 << index,
        stop_time=0b10,
        ped_recycle=0b11,
        max_2=0b01,
        preempt=1,
        pattern=1,
    )


def test_preemption_and_flash_are_told(equipped):
    found = rows(
        equipped,
        {"s": 100.0, "until_s": 180.0, "preempt": 1},
        {"s": 300.0, "until_s": 360.0, "pattern": "flash"},
        seconds=380,
    )
    told = {words: at_s for at_s, words in events(found)}
    assert told["preemption 1 in effect"] == 100.0
    assert told["preemption over"] >= 180.0
    assert told["pattern flash"] == told["flash begins"] < told["flash ends"] == 360.0
    flashing = next(row for row in found if row.lamps.is_flashing)
    assert flashing.cycle_ds is None
    assert set(lamp_strip(equipped, flashing.lamps, 0)) == {"*", " "}


def test_overlaps_and_flashing_extensions_stand_in_the_strip(equipped):
    green, yellow = Lamps(green=0b1, overlap_green=1), Lamps(yellow=0b1, overlap_yellow=1)
    assert lamp_strip(equipped, green, 0).endswith("R. G ")
    assert lamp_strip(equipped, yellow, 0).endswith("R. Y ")
    index = [crossing.id for crossing in equipped.crossings].index("XW")
    phase = equipped.phase_of("XW")
    strip = lamp_strip(equipped, Lamps(green=phase_mask((phase,)), ped_extend=1 << index), 0)
    assert strip[3 * (phase - 1) : 3 * phase] == "Gx "


def test_the_hour_of_the_start_chooses_the_pattern():
    plan = load_plan(PLANS / "midblock.toml")
    for hour, number in ((7.0, 1), (23.0, 2)):
        (row,) = rows(plan, seconds=1, start_hour=hour)
        assert row.status.pattern == number
        pattern = plan.patterns[number - 1]
        since_ds = hour * 36_000 - pattern.offset_s * 10 - row.status.out_of_step_ds
        assert row.cycle_ds == since_ds % (pattern.cycle_s * 10)


# --- the command ----------------------------------------------------------------------------------


def trace(*words):
    return CliRunner().invoke(core_command, ["trace", *map(str, words)], catch_exceptions=False)


def test_the_trace_is_readable():
    result = trace("bukmun_5", "--calls", SCRIPTS / "extension.toml", "--seconds", "152")
    legend, head, *lines = result.output.splitlines()
    assert legend.startswith("lamps: G green")
    assert head.split()[:6] == ["time", "cycle", "ring", "1", "ring", "2"]
    assert len(lines) == 152
    assert lines[140].split()[:8] == ["140.0", "140.0", "4", "green", "5.0", "8", "red_clear", "0.0"]
    assert "R  R. R  Gx R  R. R  R." in lines[140]
    assert lines[150].endswith("over: hold 4 until 150 s (a slow walker on XW); phase 4 yellow;"
                               " hold keeps phase 4 no longer")  # fmt: skip
    starts = {line.index(word) for line, word in ((head, "events"), (lines[150], "over:"))}
    assert len(starts) == 1


def test_without_seconds_the_trace_outlasts_the_script_by_a_cycle():
    lines = trace("bukmun_5", "--calls", SCRIPTS / "extension.toml").output.splitlines()
    assert lines[-1].split()[0] == "310.0"  # 150 + 160


def test_json_has_what_the_lines_have(reference):
    result = trace(PLANS / "reference.toml", "--calls", SCRIPTS / "free.toml", "--seconds", "60", "--json")
    document = json.loads(result.output)
    assert (document["site"], document["start_hour"], len(document["rows"])) == ("reference", 0.0, 60)
    row = document["rows"][20]
    assert row["time_s"] == 20.0
    assert row["cycle_s"] is None
    assert row["pattern"] == "free"
    assert row["lamps"] == {"green": [2, 6], "yellow": [], "walk": [], "ped_clear": [2, 6]}
    assert row["rings"][0] == {"phase": 2, "interval": "ped_clear", "lasted_s": 9.0}
    assert {"time_s": 20.0, "event": "script: ped 4 (a walker at XW)"} in row["events"]
    assert row["ped_calls"] == [4]


@pytest.mark.parametrize("file", sorted(SCRIPTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_runs(file, equipped):
    example = load_script(file, equipped)
    found = list(trace_rows(equipped, example, 250, by_change=True))
    assert found[0].at_ds == 0
    assert phases_in(found[0].lamps.green)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gwangju", "--calls", str(SCRIPTS / "free.toml")), "unknown site 'gwangju'"),
        (("bukmun_5", "--calls", "absent.toml"), "absent.toml: cannot be read: No such file"),
        (("bukmun_5", "--calls", str(SCRIPTS / "preemption.toml")), "at.1.preempt = 1: not in the plan"),
        (("bukmun_5",), "Missing option '--calls'"),
        (("bukmun_5", "--calls", str(SCRIPTS / "free.toml"), "--seconds", "0"), "0 is not in the range"),
    ],
)
def test_mistakes_are_told_and_exit_2(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["core", "trace", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_an_example_script():
    assert "docs/examples/calls/extension.toml" in trace("--help").output.replace("\n", "").replace("  ", "")

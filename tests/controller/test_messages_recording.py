"""Recordings: what is written is what is played, again and again; and the commands around them."""

from __future__ import annotations

import json

import pytest
from made_messages import NOON_MS, payload, person, picture, request, view

from bitgoeul.controller import cli
from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.inbox import Arrival, Inbox
from bitgoeul.controller.messages import Drop, parse
from bitgoeul.controller.recording import PlayedSource, Recorder, moved, read_recording, sources_in

SITE = "bukmun_5"
RECORD = ["record", "--broker", "localhost:1", "--site", SITE, "--out"]
CAM, GATE = f"bitgoeul/v1/{SITE}/cam/detections", f"bitgoeul/v1/{SITE}/gate/requests"


def arrivals(count=40):
    """Someone walks over XN; a request; two broken messages; a picture that is overtaken."""
    for index in range(count):
        at_ms = 100 * index
        walker = person(x_m=1.0 + 0.1 * index)
        message = picture([view("XN", [walker])], sequence=index, measured_ms=NOON_MS + at_ms)
        yield Arrival(CAM, payload(message), NOON_MS + at_ms + 30.5, 7_000.0 + index + 0.305)
        if index == 10:
            asked = request(measured_ms=NOON_MS + at_ms)
            yield Arrival(GATE, payload(asked), NOON_MS + at_ms + 31.0, 7_000.0 + index + 0.31)
        if index in {11, 12}:
            yield Arrival(CAM, b"\xff\x00{", NOON_MS + at_ms + 32.0, 7_000.0 + index + 0.32)


def record(path, items=None, **options):
    with Recorder(path, SITE, started_ms=NOON_MS, started_ds=7_000.0, **options) as recorder:
        for arrival in arrivals() if items is None else items:
            recorder.write(arrival)
    return recorder


@pytest.fixture(params=["monday.jsonl", "monday.jsonl.gz"])
def recorded(request, tmp_path):
    path = tmp_path / request.param
    record(path)
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["detections", *map(str, arguments)])
    return stop.value.code


def test_the_very_messages_come_back_with_their_times(recorded):
    recording = read_recording(recorded)
    assert not recording.is_cut
    assert (recording.header.site, recording.header.started_ms) == (SITE, NOON_MS)
    for written, read in zip(arrivals(), recording.arrivals, strict=True):
        assert (read.topic, read.payload, read.received_ms) == (
            written.topic,
            written.payload,
            written.received_ms,
        )
        assert read.received_ds == pytest.approx(written.received_ds - 7_000 + 100, abs=1e-9)
    assert [path.name for path in recorded.parent.iterdir()] == [recorded.name]


def test_playing_gives_the_frames_of_the_street_again(recorded):
    recording = read_recording(recorded)
    plan = find_plan(SITE)
    played, live = PlayedSource(recording, plan), Inbox(plan, sources_in(recording.arrivals))
    left = list(recording.arrivals)
    for now_ds in range(played.starts_ds, played.ends_ds + 30):
        while left and left[0].received_ds <= now_ds:
            live.deliver(left.pop(0))
        assert played.frames(now_ds) == live.frames(now_ds)
        assert played.requests(now_ds) == live.requests(now_ds)
    assert played.inbox.taken == {"detections": 40, "requests": 1}
    assert played.inbox.dropped == {Drop.MALFORMED: 2}


def test_classes_and_reasons_can_be_left_out(tmp_path):
    recorder = record(tmp_path / "it.jsonl", has_class=False)
    text = (tmp_path / "it.jsonl").read_text(encoding="utf-8")
    assert (recorder.count, recorder.left_out) == (41, 2)
    assert "adult" not in text
    assert "movement" not in text
    recording = read_recording(tmp_path / "it.jsonl")
    assert not recording.header.has_class
    assert all(not isinstance(parse(a.topic.split("/")[-1], a.payload), Drop) for a in recording.arrivals)


def test_a_recording_that_was_cut_off_is_good_up_to_there(recorded):
    whole = recorded.read_bytes()
    recorded.write_bytes(whole[:-40])
    recording = read_recording(recorded)
    assert recording.is_cut
    assert 30 <= len(recording.arrivals) <= 42
    assert run("play", recorded) == 0


def test_times_can_be_moved_to_the_present(recorded):
    first = read_recording(recorded).arrivals[0]
    before, after = json.loads(first.payload), json.loads(moved(first, 5_000))
    assert after["measured_ms"] == before["measured_ms"] + 5_000
    assert after["session_ms"] == before["session_ms"] + 5_000
    seen = after["crossings"][0]["objects"][0]
    assert seen["first_seen_ms"] == before["crossings"][0]["objects"][0]["first_seen_ms"] + 5_000
    broken = first._replace(payload=b"{")
    assert moved(broken, 5_000) == b"{"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: is no recording of version 1"),
        ('{"recording_version":2,"site":"x","started_ms":1.0}\n', "line 1: is no recording of version 1"),
        (
            '{"recording_version":1,"site":"x","started_ms":1.0}\n{"at_ds":1}\n{}\n',
            "line 2: is no message of a recording: received_ms: Field required",
        ),
    ],
)
def test_a_broken_recording_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "it.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=message):
        read_recording(tmp_path / "it.jsonl")


def test_what_is_no_gzip_is_one_error(tmp_path, capsys):
    (tmp_path / "it.jsonl.gz").write_text("plain", encoding="utf-8")
    assert run("check", tmp_path / "it.jsonl.gz") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/it.jsonl.gz: cannot be read: ")


class TestCommands:
    def test_play_says_what_was_seen_and_the_same_every_time(self, recorded, capsys):
        shown = []
        for _ in range(2):
            assert run("play", recorded, "--json") == 0
            shown.append(json.loads(capsys.readouterr().out))
        assert shown[0] == shown[1]
        assert shown[0]["taken"] == {"detections": 40, "requests": 1}
        assert shown[0]["dropped"] == {"malformed": 2}
        assert shown[0]["crossings"]["XN"]["most_people"] == 1
        assert 12 < shown[0]["crossings"]["XN"]["longest_need_s"] < 40  # 17 m
        assert shown[0]["crossings"]["XW"]["healthy_share"] == 0

    def test_play_as_a_table(self, recorded, capsys):
        assert run("play", recorded) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{recorded}: 4.0 s, 41 messages; dropped: 2 malformed"
        assert [line.split()[0] for line in lines[2:6]] == ["XS", "XN", "XW", "XE"]

    def test_play_says_that_a_recording_was_cut_off(self, tmp_path, capsys):
        record(tmp_path / "it.jsonl")
        whole = (tmp_path / "it.jsonl").read_text(encoding="utf-8")
        (tmp_path / "it.jsonl").write_text(whole[:-20], encoding="utf-8")
        assert run("play", tmp_path / "it.jsonl") == 0
        assert "it ends in the middle of a message" in capsys.readouterr().out
        assert run("play", tmp_path / "it.jsonl", "--json") == 0
        assert json.loads(capsys.readouterr().out)["is_cut"]

    def test_play_in_real_time_takes_the_time_and_gives_the_same(self, tmp_path, capsys):
        path = tmp_path / "it.jsonl"
        record(path, list(arrivals(8)))
        assert run("play", path, "--json") == 0
        assert run("play", path, "--json", "--real-time") == 0
        fast, slow = map(json.loads, capsys.readouterr().out.splitlines())
        assert fast == slow

    def test_check_counts_by_reason_and_refuses(self, recorded, capsys):
        assert run("check", recorded) == 2
        shown = capsys.readouterr().out
        assert "40 detections, 1 requests; dropped: 2 malformed" in shown
        assert f"first: message 14, {CAM!r}: message: Invalid JSON" in shown

    def test_check_against_a_site_also_sees_order_and_who_may_speak(self, recorded, tmp_path, capsys):
        sources = tmp_path / "sources.toml"
        sources.write_text(
            '[[sources]]\nuser = "cam"\ncrossings = ["XN"]\nzones = ["crossing"]\n', encoding="utf-8"
        )
        assert run("check", recorded, "--site", SITE, "--sources", sources, "--json") == 2
        counts = json.loads(capsys.readouterr().out)
        assert counts["dropped"] == {"unknown_source": 1, "malformed": 2}
        assert counts["missed"] == 0

    def test_check_one_message(self, tmp_path, capsys):
        path = tmp_path / "it.json"
        path.write_bytes(payload(picture()))
        assert run("check", path) == 0
        path.write_bytes(payload(picture(message_version=9)))
        assert run("check", path) == 2
        assert "dropped: 1 unknown_version" in capsys.readouterr().out
        path.write_bytes(b"[" * 10_000)
        assert run("check", path) == 2
        assert "first: type: use detections, request, status" in capsys.readouterr().out

    def test_a_site_cannot_be_held_against_one_message(self, tmp_path, capsys):
        (tmp_path / "it.json").write_bytes(payload(picture([view("NOWHERE")])))
        assert run("check", tmp_path / "it.json", "--site", SITE) == 2
        assert "--site checks a recording" in capsys.readouterr().err

    def test_schema_is_json(self, capsys):
        assert run("schema", "--json") == 0
        assert json.loads(capsys.readouterr().out)["discriminator"]["propertyName"] == "type"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["play", "FILE", "--broker", "localhost:1", "--site", SITE], "leave out --site"),
            (
                ["play", "FILE", "--broker", "localhost:1"],
                "broker localhost:1: no connection: Connection refused",
            ),
            (["play", "FILE", "--broker", ":99"], "give HOST or HOST:PORT"),
            (["play", "FILE", "--site", "bukmun_5_zone"], "the recording is of site 'bukmun_5'"),
            (["check", "FILE", "--sources", "FILE"], "--sources needs --site"),
            (
                ["record", "--broker", "localhost:1", "--site", SITE, "--out", "x.jsonl"],
                "broker localhost:1: no connection",
            ),
            ([*RECORD, "x.json"], "give a name that ends in .jsonl or .jsonl.gz"),
            ([*RECORD, "FILE"], "is there already; choose another name"),
            ([*RECORD, "nowhere/x.jsonl"], "nowhere is no folder that can be written to"),
            ([*RECORD, "x.jsonl", "--minutes", "nan"], "nan is no number of minutes"),
            ([*RECORD, "x.jsonl", "--user", "a/b"], "use letters, digits, `_`, `.` or `-`, 32 at most"),
            ([*RECORD, "x.jsonl", "--cert", "FILE", "--key", "FILE"], "--cert and --key need --ca"),
            ([*RECORD, "x.jsonl", "--ca", "FILE", "--key", "FILE"], "--key needs --cert"),
            (["play", "FILE", "--ca", "FILE"], "--ca, --cert and --key need --broker"),
            (["play", "FILE", "--broker", "localhost:http"], "give HOST or HOST:PORT"),
            (["play", "nowhere.jsonl"], "does not exist"),
        ],
    )
    def test_mistakes_are_one_line_and_exit_2(self, recorded, capsys, arguments, message):
        assert run(*[recorded if each == "FILE" else each for each in arguments]) == 2
        shown = capsys.readouterr().err
        assert message in shown
        assert "Traceback" not in shown

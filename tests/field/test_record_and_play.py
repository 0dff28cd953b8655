"""`bitgoeul detections record` and `play` at a real broker; Ctrl-C leaves a whole file."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from threading import Timer

import pytest
from made_messages import NOON_MS, payload, person, picture, view
from mosquitto import MISSING, Mosquitto

from bitgoeul.controller import cli, detection_commands
from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.field_sources import whole_view_sources
from bitgoeul.controller.inbox import Arrival
from bitgoeul.controller.mqtt import Line, MqttSource, monotonic_ds, utc_ms
from bitgoeul.controller.recording import Recorder, read_recording

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {MISSING} (Debian: apt-get install mosquitto openssl)"
)
SITE = "bukmun_5"


def reach(mosquitto, user):
    broker = mosquitto.broker(user)
    return ["--broker", f"localhost:{broker.port}", "--ca", str(broker.ca), "--cert", str(broker.certificate),
            "--key", str(broker.key), "--user", user]  # fmt: skip


@pytest.mark.parametrize(("asked", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_recorder_that_is_stopped_leaves_a_whole_file_that_plays_at_the_broker(
    mosquitto, tmp_path, asked, status
):
    path = tmp_path / "it.jsonl.gz"
    line = Line(mosquitto.broker("cam"), SITE, "cam")
    line.open(wait_s=10)
    arguments = ["record", *reach(mosquitto, "controller"), "--site", SITE, "--out", str(path)]
    with subprocess.Popen(
        [sys.executable, "-m", "bitgoeul.controller.cli", "detections", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        assert "recording bukmun_5" in recorder.stderr.readline()
        for sequence in range(20):
            now_ms = utc_ms()
            seen = [person(1, first_seen_ms=now_ms)]
            message = picture(
                [view("XN", seen)], session_ms=line.session_ms, sequence=sequence, measured_ms=now_ms
            )
            line.publish("detections", payload(message))
            time.sleep(0.02)
        time.sleep(0.5)
        recorder.send_signal(asked)
        _, shown = recorder.communicate(timeout=20)
    line.close()
    assert recorder.returncode == status
    assert "Traceback" not in shown
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        assert json.loads(next(stream))["site"] == SITE
    recording = read_recording(path)
    assert sum(each.topic.endswith("/detections") for each in recording.arrivals) == 20
    assert not recording.is_cut
    assert list(tmp_path.iterdir()) == [path]
    plays_at_the_broker(mosquitto, path)


def plays_at_the_broker(mosquitto, path):
    source = MqttSource(find_plan(SITE), whole_view_sources({"cam": ("XN",)}), mosquitto.broker("controller"))
    source.open(wait_s=10)
    with pytest.raises(SystemExit) as stop:  # as the camera itself: nobody else may write its topic
        cli.main(["detections", "play", str(path), *reach(mosquitto, "cam")])
    assert stop.value.code == 0
    for _ in range(100):
        source.take_in(int(monotonic_ds()))
        if source.inbox.taken["detections"] == 20:
            break
        time.sleep(0.05)
    assert source.inbox.taken["detections"] == 20
    assert source.inbox.dropped.total() == 0
    source.close()


def test_a_recorder_hears_nothing_of_the_time_before_it_came(mosquitto, tmp_path):
    def record(name):
        with pytest.raises(SystemExit) as stop:
            cli.main(["detections", "record", *reach(mosquitto, "controller"), "--site", SITE,
                      "--minutes", "0.02", "--out", str(tmp_path / name)])  # fmt: skip
        assert stop.value.code == 0
        return read_recording(tmp_path / name).arrivals

    record("first.jsonl")
    line = Line(mosquitto.broker("cam"), SITE, "cam")
    line.open(wait_s=10)
    line.publish("detections", payload(picture(session_ms=line.session_ms, measured_ms=utc_ms())))
    assert line.undelivered(wait_s=10) == 0
    line.close()
    heard = record("second.jsonl")
    assert not [each for each in heard if each.topic.endswith("/detections")]


def test_a_recorder_that_may_not_read_is_told_what_may_be_wrong(mosquitto, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["detections", "record", *reach(mosquitto, "nobody"), "--site", SITE,
                  "--minutes", "0.01", "--out", str(tmp_path / "it.jsonl")])  # fmt: skip
    assert stop.value.code == 0
    assert "0 messages; was nobody there, or may nobody not read them" in capsys.readouterr().err


def made_recording(path, count):
    with Recorder(path, SITE, started_ms=NOON_MS, started_ds=0.0) as recorder:
        for index in range(count):
            content = payload(picture(sequence=index, measured_ms=NOON_MS + 100 * index))
            where = f"bitgoeul/v1/{SITE}/cam/detections"
            recorder.write(Arrival(where, content, NOON_MS + 100.0 * index, float(index)))


def test_what_is_played_at_a_broker_is_counted_as_json(mosquitto, tmp_path, capsys):
    made_recording(tmp_path / "it.jsonl", 3)
    with pytest.raises(SystemExit) as stop:
        cli.main(["detections", "play", str(tmp_path / "it.jsonl"), *reach(mosquitto, "cam"), "--json"])
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"sent": 3}


def test_a_broker_that_goes_while_it_is_played_at_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detection_commands, "WAIT_S", 2.0)
    made_recording(tmp_path / "it.jsonl", 20)
    broker = Mosquitto(tmp_path, SITE)
    broker.start()
    arguments = ["play", str(tmp_path / "it.jsonl"), *reach(broker, "cam")]
    Timer(1.0, broker.stop).start()
    with pytest.raises(SystemExit) as stop:
        cli.main(["detections", *arguments])
    assert stop.value.code == 2
    assert "of 20 messages" in capsys.readouterr().err

"""`bitgoeul detections record` and `play` at a real broker; Ctrl-C leaves a whole file."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time

import pytest
from made_messages import payload, person, picture, view
from mosquitto import MISSING, Mosquitto

from bitgoeul.controller import cli
from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.field_sources import whole_view_sources
from bitgoeul.controller.mqtt import Line, MqttSource, monotonic_ds, utc_ms
from bitgoeul.controller.recording import read_recording

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {MISSING} (Debian: apt-get install mosquitto openssl)"
)
SITE = "bukmun_5"


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    broker = Mosquitto(tmp_path_factory.mktemp("broker"), SITE)
    broker.start()
    yield broker
    broker.stop()


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

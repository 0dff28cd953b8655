"""A real broker: TLS, QoS 1 over a restart, last will, nobody speaks for another, broken messages."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from random import Random

import pytest
from made_messages import broken, person, picture, request, view
from made_messages import payload as to_bytes
from mosquitto import MISSING, Mosquitto

from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.errors import FieldFault
from bitgoeul.controller.field_sources import FieldSource, whole_view_sources
from bitgoeul.controller.inbox import Arrival
from bitgoeul.controller.messages import Drop
from bitgoeul.controller.mqtt import Line, MqttSource, monotonic_ds, utc_ms

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {MISSING} (Debian: apt-get install mosquitto openssl)"
)
SITE = "bukmun_5"


@pytest.fixture
def source(mosquitto):
    sources = (
        *whole_view_sources({"cam_a": ("XN",), "cam_b": ("XE",)}),
        FieldSource(user="gate", crossings=("XN",), may_request=True),
    )
    source = MqttSource(find_plan(SITE), sources, mosquitto.broker("controller"))
    source.open(wait_s=10)
    yield source
    source.close()


class Camera:
    """Sends pictures of one crossing, each with its number."""

    def __init__(self, mosquitto, user, crossing):
        self.line = Line(mosquitto.broker(user), SITE, user)
        self.user, self.crossing, self.sequence = user, crossing, 0
        self.line.open(wait_s=10)

    def send(self, *people, **changes):
        now_ms = utc_ms()
        seen = [person(number, first_seen_ms=now_ms - 500) for number in people]
        message = picture(
            [view(self.crossing, seen)],
            sender=self.user,
            session_ms=self.line.session_ms,
            sequence=self.sequence,
            measured_ms=now_ms,
        )
        self.sequence += 1
        self.line.publish("detections", to_bytes(message | changes))


@pytest.fixture
def camera(mosquitto):
    camera = Camera(mosquitto, "cam_a", "XN")
    yield camera
    camera.line.close()


def eventually(source, is_so, within_s=15.0):
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        frames = {frame.crossing: frame for frame in source.frames(int(monotonic_ds()))}
        if is_so(frames):
            return frames
        source.arrived.wait(0.05)
    inbox = source.inbox
    raise AssertionError(f"not within {within_s} s; taken {inbox.taken}, dropped {inbox.dropped}")


def test_a_picture_arrives_as_a_frame_and_the_rest_is_blind(source, camera):
    camera.send(1, 2)
    frames = eventually(source, lambda frames: frames["XN"].is_healthy)
    assert [track.id for track in frames["XN"].on_crossing] == ["cam_a:1", "cam_a:2"]
    assert [track.remaining_m for track in frames["XN"].on_crossing] == [8.0, 8.0]
    assert not frames["XE"].is_healthy
    assert int(monotonic_ds()) - frames["XN"].measured_ds <= 20


def test_a_request_arrives_with_its_seconds(source, mosquitto):
    gate = Line(mosquitto.broker("gate"), SITE, "gate")
    gate.open(wait_s=10)
    now_ms = utc_ms()
    gate.publish("requests", to_bytes(request(session_ms=now_ms, measured_ms=now_ms)))
    eventually(source, lambda _: source.inbox.taken["requests"] == 1)
    (asked,) = source.requests(int(monotonic_ds()))
    assert (asked.id, asked.crossing, asked.needed_s) == ("gate:r1", "XN", 32.5)
    gate.close()


def test_nothing_is_lost_while_the_broker_restarts(source, camera, mosquitto):
    for index in range(60):
        if index == 20:
            mosquitto.stop()
        if index == 40:
            mosquitto.start()
        camera.send(1)
        time.sleep(0.02)
    numbers = source.inbox.sources["cam_a"].numbers["detections"]
    eventually(source, lambda _: numbers.newest == 59 and numbers.missed == 0, 40)  # overtaken ones came too
    assert source.line.connections == 2
    camera.send(7)
    eventually(source, lambda frames: [track.id for track in frames["XN"].on_crossing] == ["cam_a:7"])


def test_messages_wait_for_a_controller_that_was_away(mosquitto, camera):
    plan, sources = find_plan(SITE), whole_view_sources({"cam_a": ("XN",)})
    first = MqttSource(plan, sources, mosquitto.broker("controller"))
    first.open(wait_s=10)
    first.close()
    for _ in range(5):
        camera.send(1)
    second = MqttSource(plan, sources, mosquitto.broker("controller"))
    second.open(wait_s=10)
    eventually(second, lambda _: second.inbox.taken["detections"] == 5)
    second.close()


def is_blinded(source, frame, within_s=10.0):
    """Whether a crossing goes blind while its picture, by the clock stopped at it, is still fresh."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        source.arrived.wait(0.05)
        source.take_in(int(monotonic_ds()))
        now = {each.crossing: each for each in source.inbox.frames(frame.measured_ds + 1)}
        if not now[frame.crossing].is_healthy:
            return True
    return False


def test_the_last_will_of_a_camera_blinds_its_crossing_at_once(source, camera):
    camera.send(1)
    frames = eventually(source, lambda frames: frames["XN"].is_healthy)
    camera.line._client.loop_stop()
    camera.line._client._sock.shutdown(socket.SHUT_RDWR)  # as if its power failed: no goodbye
    camera.line._client._sock.close()
    assert is_blinded(source, frames["XN"])


def test_a_clean_goodbye_blinds_its_crossing_too(source, mosquitto):
    camera = Camera(mosquitto, "cam_b", "XE")
    camera.send(1)
    frames = eventually(source, lambda frames: frames["XE"].is_healthy)
    assert not is_blinded(source, frames["XE"], within_s=0.3)
    camera.line.close()
    assert is_blinded(source, frames["XE"])


def test_a_camera_that_speaks_for_another_is_dropped_by_the_broker(source, camera):
    now_ms = utc_ms()
    forged = picture([view("XE")], sender="cam_b", session_ms=now_ms, measured_ms=now_ms)
    camera.line.publish("detections", to_bytes(forged), user="cam_b")
    camera.send(1)  # later on the same line: when it is here, the forged one would be
    frames = eventually(source, lambda frames: frames["XN"].is_healthy)
    assert not frames["XE"].is_healthy
    assert source.inbox.taken["detections"] == 1


def test_a_camera_that_calls_itself_the_controller_neither_replaces_it_nor_hears_others(
    source, camera, mosquitto
):
    heard = []
    forged = mosquitto.broker("cam_b")
    impostor = Line(forged, SITE, "controller", on_message=heard.append, kinds=("detections",))
    impostor.open(wait_s=10)
    camera.send(1)
    eventually(source, lambda frames: frames["XN"].is_healthy)
    impostor.close()
    assert source.line.connections == 1
    assert heard == []  # nor may it listen


def test_a_camera_that_names_another_on_its_own_topic_is_dropped_by_us(source, camera):
    camera.send(1, sender="cam_b")
    eventually(source, lambda _: source.inbox.dropped[Drop.WRONG_SENDER] == 1)


def test_a_thousand_broken_messages_are_counted_and_the_next_good_one_counts(source, camera):
    random = Random(5)
    message = picture([view("XN", [person(1)])], sender="cam_a")
    for _ in range(1_000):
        camera.line.publish("detections", broken(message, random))
    eventually(source, lambda _: source.inbox.dropped.total() + source.inbox.taken["detections"] >= 1_000, 30)
    assert source.inbox.dropped.total() == 1_000
    assert source.inbox.dropped[Drop.MALFORMED] > 300
    assert source.inbox.dropped[Drop.TOO_LARGE] > 50
    camera.send(9)
    frames = eventually(source, lambda frames: frames["XN"].is_healthy)
    assert [track.id for track in frames["XN"].on_crossing] == ["cam_a:9"]


def test_a_stranger_without_a_certificate_of_the_site_is_refused(mosquitto):
    broker = mosquitto.broker("controller")
    stranger = replace(broker, certificate=None, key=None)
    with pytest.raises(FieldFault, match=f"broker localhost:{broker.port}: "):
        Line(stranger, SITE, "stranger").open(wait_s=2)


def test_a_broker_of_another_authority_is_not_trusted(mosquitto, tmp_path):
    ours = mosquitto.broker("controller")
    other = Mosquitto(tmp_path, SITE).broker("controller")
    with pytest.raises(FieldFault, match="certificate verify failed"):
        Line(replace(ours, ca=other.ca), SITE, "controller").open(wait_s=2)


def test_a_certificate_of_another_authority_is_refused(mosquitto, tmp_path):
    ours = mosquitto.broker("controller")
    other = Mosquitto(tmp_path, SITE).broker("controller")
    forged = replace(ours, certificate=other.certificate, key=other.key)
    with pytest.raises(FieldFault, match="check its certificate"):
        Line(forged, SITE, "controller").open(wait_s=2)


def test_no_broker_is_one_clear_error(mosquitto):
    broker = mosquitto.broker("controller")
    nowhere = replace(broker, port=1)
    with pytest.raises(FieldFault, match="broker localhost:1: no connection: Connection refused"):
        Line(nowhere, SITE, "controller").open(wait_s=2)


def test_more_than_fit_between_two_ticks_drop_the_oldest(mosquitto, monkeypatch):
    monkeypatch.setattr("bitgoeul.controller.mqtt.QUEUE_MAX", 3)
    source = MqttSource(
        find_plan(SITE), whole_view_sources({"cam_a": ("XN",)}), mosquitto.broker("controller")
    )
    for number in range(5):
        source._put(Arrival("elsewhere", b"", 0.0, float(number)))
    assert source.take_in(3) == 2
    assert source.inbox.dropped == {Drop.OVERFLOW: 2, Drop.UNKNOWN_TOPIC: 2}
    assert source.arrived.is_set()  # the last came after that tick
    assert source.take_in(4) == 1
    assert not source.arrived.is_set()

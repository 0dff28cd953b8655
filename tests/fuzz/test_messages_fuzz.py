"""Whatever bytes arrive: a counted reason, never an exception, and no frame without a valid message."""

from __future__ import annotations

import json
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from made_messages import NOON_MS, broken, payload, person, picture, request, status, view

from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.detection import Zone
from bitgoeul.controller.field_sources import FieldSource, whole_view_sources
from bitgoeul.controller.inbox import Arrival, Inbox
from bitgoeul.controller.messages import KINDS, Drop, explain, parse
from bitgoeul.controller.need import NeedEstimator

PLAN = find_plan("bukmun_5")
KIND = st.sampled_from(sorted(KINDS))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=30,
)
VALID = {
    "detections": picture([view("XN", [person(1), person(2, zone="kerb_a", x_m=-1.0)]), view("XS")]),
    "requests": request(sender="cam"),
    "status": status(),
}


def check(kind: str, content: bytes) -> None:
    source = FieldSource(user="cam", crossings=("XN", "XS"), zones=(Zone.CROSSING,), may_request=True)
    inbox, needs = Inbox(PLAN, [source]), NeedEstimator(PLAN)
    arrived = Arrival(f"bitgoeul/v1/bukmun_5/cam/{kind}", content, NOON_MS + 50, 7_000.5)
    dropped = inbox.deliver(arrived)
    assert inbox.dropped.total() + inbox.taken.total() == 1
    assert (dropped is None) == (inbox.taken.total() == 1)
    frames, requests = inbox.frames(7_001), inbox.requests(7_001)
    needs.update(frames)
    if dropped is not None:
        assert not any(frame.is_healthy for frame in frames)
        assert requests == ()
    for frame in frames:
        assert 6_980 <= frame.measured_ds <= 7_001
        for track in (*frame.on_crossing, *frame.waiting):
            assert 0 <= track.remaining_m <= 35
            assert 0 <= track.speed_mps <= 5
            assert track.since_ds <= track.measured_ds <= 7_001
            assert not track.class_probabilities or abs(sum(track.class_probabilities) - 1) < 1e-9
    for asked in requests:
        assert asked.needed_s is None or 1 <= asked.needed_s <= 120
        assert asked.until_ds <= 10_001


@given(kind=KIND, content=st.binary(max_size=2_000))
def test_any_bytes(kind, content):
    check(kind, content)


@given(kind=KIND, document=JSON)
def test_any_json(kind, document):
    check(kind, json.dumps(document).encode())


@given(kind=KIND, extra=st.dictionaries(st.text(max_size=12), JSON, min_size=1, max_size=3))
def test_any_json_in_the_place_of_the_right_fields(kind, extra):
    names = list(VALID[kind])
    changes = {names[len(key) % len(names)]: value for key, value in extra.items()}
    check(kind, payload(VALID[kind] | changes))


@given(kind=KIND, seed=st.integers(min_value=0, max_value=2**32))
def test_broken_messages(kind, seed):
    check(kind, broken(VALID[kind], Random(seed)))


@given(topic=st.text(max_size=80), content=st.binary(max_size=50))
def test_any_topic(topic, content):
    inbox = Inbox(PLAN, whole_view_sources({"cam": ("XN",)}))
    assert inbox.deliver(Arrival(topic, content, NOON_MS, 1.0)) in {Drop.UNKNOWN_TOPIC, Drop.UNKNOWN_SOURCE}


@given(kind=KIND, content=st.binary(max_size=300))
def test_the_explanation_agrees_with_the_parser(kind, content):
    assert bool(explain(kind, content)) == isinstance(parse(kind, content), Drop)


@given(
    order=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(-3_000, 3_000), st.booleans()),
        max_size=40,
    )
)
def test_any_order_of_messages_keeps_the_newest_and_never_runs_back(order):
    inbox, newest_ds = Inbox(PLAN, whole_view_sources({"cam": ("XN",)})), -1
    for index, (sequence, session, ahead_ms, is_offline) in enumerate(order):
        received_ms, now_ds = NOON_MS + 50 * index, 7_000.0 + index / 2
        begun_ms = NOON_MS - 10_000 + session
        if is_offline:
            message, kind = status(session_ms=begun_ms), "status"
        else:
            message, kind = (
                picture(
                    [view("XN")], sequence=sequence, session_ms=begun_ms, measured_ms=received_ms + ahead_ms
                ),
                "detections",
            )
        inbox.deliver(Arrival(f"bitgoeul/v1/bukmun_5/cam/{kind}", payload(message), received_ms, now_ds))
        frame = inbox.frames(int(now_ds))[1]
        if frame.is_healthy:
            assert newest_ds <= frame.measured_ds <= now_ds
            newest_ds = frame.measured_ds

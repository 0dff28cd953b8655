"""Messages: what is let in, what it becomes, and why the rest is dropped."""

from __future__ import annotations

import json

import pytest
from made_messages import NOON_MS, SESSION_MS, payload, person, picture, request, status, view

from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Zone
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.field_sources import FieldSource, load_sources, whole_view_sources
from bitgoeul.controller.inbox import Arrival, Inbox
from bitgoeul.controller.messages import Drop, explain, messages_json_schema, parse, parse_topic, to_json
from bitgoeul.controller.need import NeedEstimator

SITE = "bukmun_5"
NOW_DS = 5_000.0
SOURCES = (
    *whole_view_sources({"cam": ("XS", "XN"), "cam_2": ("XW",)}),
    FieldSource(user="gate", crossings=("XN",), may_request=True),
)


@pytest.fixture
def inbox():
    return Inbox(find_plan(SITE), SOURCES)


def arrival(message, *, after_ms=100, kind=None, user=None, **changes):
    kinds = {"detections": "detections", "request": "requests", "status": "status"}
    where = f"bitgoeul/v1/{SITE}/{user or message['sender']}/{kind or kinds[message['type']]}"
    return Arrival(where, payload(message), NOON_MS + after_ms, NOW_DS + after_ms / 100)._replace(**changes)


def frame_of(inbox, crossing, now_ds=5_001):
    return next(frame for frame in inbox.frames(now_ds) if frame.crossing == crossing)


def test_a_picture_becomes_a_frame(inbox):
    waiting = person(2, zone="kerb_b", x_m=19.0, towards="a", vx_mps=0.1, class_confidence={})
    passing = person(3, zone="kerb_a", x_m=-1.0, wants_to_cross=False)
    assert inbox.deliver(arrival(picture([view("XN", [person(1, age_ms=200), waiting, passing])]))) is None
    frame = frame_of(inbox, "XN")
    assert (frame.crossing, frame.measured_ds, frame.is_healthy) == ("XN", 5_000, True)
    (walker,), (stander,) = frame.on_crossing, frame.waiting
    assert walker.id == "cam:1"
    assert walker.zone is Zone.CROSSING
    assert (walker.remaining_m, walker.speed_mps) == (8.0, 1.0)  # XN is 18 m long
    assert walker.class_probabilities == (0.9, 0.1, *[0.0] * (len(MOBILITY_CLASSES) - 2))
    assert (walker.measured_ds, walker.since_ds, walker.quality, walker.source) == (4_998, 4_960, 0.95, "cam")
    assert (stander.zone, stander.remaining_m, stander.speed_mps) == (Zone.KERB_B, 18.0, 0.0)
    assert stander.class_probabilities == ()


@pytest.mark.parametrize(
    ("seen", "remaining_m", "speed_mps"),
    [
        ((4.0, "b", 1.2), 14.0, 1.2),
        ((4.0, "a", -1.2), 4.0, 1.2),
        ((4.0, "b", -0.3), 14.0, 0.0),  # turned round: no speed towards B
        ((4.0, "unknown", 1.2), 14.0, 1.2),  # the farther kerb
        ((15.0, "unknown", -0.5), 15.0, 0.5),
        ((-0.4, "b", 1.0), 18.0, 1.0),  # noise: before the kerb
        ((18.6, "b", 1.0), 0.0, 1.0),
    ],
)
def test_position_and_direction_give_the_distance_to_the_far_kerb(inbox, seen, remaining_m, speed_mps):
    x_m, towards, vx_mps = seen
    inbox.deliver(arrival(picture([view("XN", [person(x_m=x_m, towards=towards, vx_mps=vx_mps)])])))
    (walker,) = frame_of(inbox, "XN").on_crossing
    assert (walker.remaining_m, walker.speed_mps) == pytest.approx((remaining_m, speed_mps))


def test_rounded_class_confidences_are_made_to_sum_to_one(inbox):
    rounded = person(class_confidence={"adult": 0.33, "elderly": 0.33, "cane": 0.33})
    assert inbox.deliver(arrival(picture([view("XN", [rounded])]))) is None
    (walker,) = frame_of(inbox, "XN").on_crossing
    assert walker.class_probabilities[:3] == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=1e-9)


def test_a_frame_feeds_the_need_estimate(inbox):
    needs = NeedEstimator(find_plan(SITE))
    for index in range(20):
        walker = person(x_m=2.0 + 0.1 * index)
        message = picture([view("XN", [walker])], sequence=index, measured_ms=NOON_MS + 100 * index)
        assert inbox.deliver(arrival(message, after_ms=100 * index + 20)) is None
        needs.update(inbox.frames(5_000 + index))
    assert 10.0 < needs.need(1, 5_020, quantile=0.5) < 16.0  # 14 m at 1 m/s as seen, 1.2 as expected
    assert needs.need(0, 5_020) == 0.0


def test_empty_is_not_blind_and_blind_is_not_empty(inbox):
    assert frame_of(inbox, "XN") == Frame("XN", 5_001, is_healthy=False)
    inbox.deliver(arrival(picture([view("XN")])))
    assert frame_of(inbox, "XN") == Frame("XN", 5_000, is_healthy=True)
    blind = view("XN", health="blind", zones=[])
    inbox.deliver(arrival(picture([blind], sequence=1, measured_ms=NOON_MS + 100), after_ms=200))
    assert frame_of(inbox, "XN", 5_002) == Frame("XN", 5_002, is_healthy=False)


def test_a_picture_is_no_evidence_after_two_seconds_and_is_forgotten(inbox):
    inbox.deliver(arrival(picture([view("XN", [person()])])))
    assert frame_of(inbox, "XN", 5_019).is_healthy
    assert not frame_of(inbox, "XN", 5_020).is_healthy
    assert inbox.sources["cam"].sights == {}


@pytest.mark.parametrize(
    ("message", "changes", "reason"),
    [
        (picture(message_version=2), {}, Drop.UNKNOWN_VERSION),
        (picture(sender="cam_2"), {"user": "cam"}, Drop.WRONG_SENDER),
        (picture(sender="stranger"), {}, Drop.UNKNOWN_SOURCE),
        (picture([view("X9")]), {}, Drop.UNKNOWN_CROSSING),
        (picture([view("XW")]), {}, Drop.FOREIGN_CROSSING),
        (picture([view("XN")], sender="gate"), {}, Drop.FOREIGN_CROSSING),
        (request(sender="cam"), {}, Drop.NO_REQUESTER),
        (request(crossing="XW"), {}, Drop.FOREIGN_CROSSING),
        (picture(), {"after_ms": -201}, Drop.FROM_FUTURE),
        (picture(), {"after_ms": 2_001}, Drop.TOO_OLD),
        (request(), {"after_ms": 10_001}, Drop.TOO_OLD),
        (picture(), {"is_retained": True}, Drop.RETAINED),
        (picture([view("XN", [person(x_m=28.1)])]), {}, Drop.OFF_CROSSING),
        (picture(), {"payload": b" " * 65_537}, Drop.TOO_LARGE),
        (picture(), {"topic": "bitgoeul/v1/elsewhere/cam/detections"}, Drop.UNKNOWN_TOPIC),
        (picture(), {"topic": f"bitgoeul/v1/{SITE}/cam/lamps"}, Drop.UNKNOWN_TOPIC),
        (picture(), {"topic": f"bitgoeul/v2/{SITE}/cam/detections"}, Drop.UNKNOWN_TOPIC),
        (picture(), {"kind": "requests"}, Drop.MALFORMED),
    ],
)
def test_what_may_not_be_trusted_is_dropped_and_counted_by_reason(inbox, message, changes, reason):
    assert inbox.deliver(arrival(message, **changes)) is reason
    assert dict(inbox.dropped) == {reason: 1}
    assert not any(frame.is_healthy for frame in inbox.frames(5_001))
    assert inbox.requests(5_001) == ()


@pytest.mark.parametrize("after_ms", [-200, 2_000])
def test_the_limits_of_time_themselves_are_kept(inbox, after_ms):
    assert inbox.deliver(arrival(picture(), after_ms=after_ms)) is None


def test_a_picture_from_a_clock_that_is_ahead_counts_as_of_its_arrival(inbox):
    inbox.deliver(arrival(picture([view("XN")]), after_ms=-150))
    assert frame_of(inbox, "XN", 4_999).measured_ds == 4_998


@pytest.mark.parametrize(
    "wrong",
    [
        picture(sequence=-1),
        picture(sequence="1"),
        picture(sequence=True),
        picture(measured_ms=1.5),
        picture(session_ms=NOON_MS + 1),
        picture(colour="red"),
        picture([]),
        picture([view("XN"), view("XN")]),
        picture([view("XN", zones=["roof"])]),
        picture([view("XN", [person(1), person(1)])]),
        picture([view("XN", [person(1)], health="blind", zones=[])]),
        picture([view("XN", [person(number) for number in range(65)])]),
        picture([view("XN", [person(1, object_id="x" * 33)])]),
        picture([view("XN", [person(1, object_id="a/b")])]),
        picture([view("XN", [person(1, vx_mps=5.1)])]),
        picture([view("XN", [person(1, x_m=float("nan"))])]),
        picture([view("XN", [person(1, x_m=float("inf"))])]),
        picture([view("XN", [person(1, class_confidence={"adult": 0.9})])]),
        picture([view("XN", [person(1, class_confidence={"dog": 1.0})])]),
        request(needed_s=0.9),
        request(needed_s=121.0),
        request(valid_s=301.0),
        request(zone="crossing"),
        request(assistType=["wealth"]),
        request(crossRequest=1),
        status("asleep"),
    ],
)
def test_what_breaks_one_limit_is_malformed_and_explained_without_quoting_it(inbox, wrong):
    kind = {"detections": "detections", "request": "requests", "status": "status"}[wrong["type"]]
    assert inbox.deliver(arrival(wrong)) is Drop.MALFORMED
    assert explain(kind, payload(wrong))
    assert "colour" not in wrong or "red" not in explain(kind, payload(wrong))


def test_replays_are_dropped_and_gaps_are_counted(inbox):
    came = [
        (5, None),
        (5, Drop.REPLAYED),
        (8, None),
        (7, Drop.OUT_OF_ORDER),  # overtaken: not lost, but an older picture than we have
        (7, Drop.REPLAYED),
        (4, Drop.REPLAYED),  # before the first that we heard
        (2_000, None),
        (8, Drop.REPLAYED),  # too far behind to tell
        (1_999, Drop.OUT_OF_ORDER),
    ]
    for sequence, reason in came:
        measured_ms = NOON_MS - 2_000 + sequence
        assert (
            inbox.deliver(arrival(picture(sequence=sequence, measured_ms=measured_ms), after_ms=0)) is reason
        )
    assert inbox.missed == 1 + 1_990


def test_a_restarted_sensor_counts_anew_and_its_old_messages_stay_out(inbox):
    assert inbox.deliver(arrival(picture(sequence=90))) is None
    restarted = picture(session_ms=NOON_MS - 10, measured_ms=NOON_MS + 50)
    assert inbox.deliver(arrival(restarted)) is None
    assert inbox.deliver(arrival(picture(sequence=91, measured_ms=NOON_MS + 60))) is Drop.REPLAYED
    assert inbox.missed == 0


def test_a_message_that_was_dropped_as_late_is_not_missed(inbox):
    assert inbox.deliver(arrival(picture())) is None
    assert inbox.deliver(arrival(picture(sequence=1), after_ms=3_000)) is Drop.TOO_OLD
    assert inbox.deliver(arrival(picture(sequence=2, measured_ms=NOON_MS + 3_000), after_ms=3_010)) is None
    assert inbox.missed == 0


def test_time_does_not_run_back_within_a_sensor(inbox):
    inbox.deliver(arrival(picture(measured_ms=NOON_MS + 90)))
    assert inbox.deliver(arrival(picture(sequence=1, measured_ms=NOON_MS + 80))) is Drop.OUT_OF_ORDER


def test_a_flood_is_cut_to_the_rate(inbox):
    reasons = [inbox.deliver(arrival(picture(sequence=sequence))) for sequence in range(200)]
    assert reasons.count(None) == 80
    assert reasons.count(Drop.TOO_FAST) == 120
    later = picture(sequence=200, measured_ms=NOON_MS + 1_000)
    assert inbox.deliver(arrival(later, after_ms=1_100)) is None


def test_a_last_will_blinds_at_once_and_the_next_picture_ends_it(inbox):
    inbox.deliver(arrival(picture([view("XN")])))
    assert inbox.deliver(arrival(status("offline"), after_ms=200)) is None
    assert not frame_of(inbox, "XN", 5_002).is_healthy
    inbox.deliver(arrival(picture([view("XN")], sequence=1, measured_ms=NOON_MS + 300), after_ms=350))
    assert frame_of(inbox, "XN", 5_004).is_healthy


def test_a_last_will_of_an_earlier_session_or_kept_by_the_broker_changes_nothing(inbox):
    inbox.deliver(arrival(picture([view("XN")])))
    assert inbox.deliver(arrival(status(session_ms=SESSION_MS - 1))) is Drop.REPLAYED
    assert inbox.deliver(arrival(status(), is_retained=True)) is None
    assert frame_of(inbox, "XN", 5_002).is_healthy


class TestSeveralSensors:
    def inbox(self, **zones):
        sources = [
            FieldSource(user=user, crossings=("XN",), zones=tuple(Zone(zone) for zone in of_user.split()))
            for user, of_user in zones.items()
        ]
        return Inbox(find_plan(SITE), sources)

    def send(self, inbox, user, after_ms=0, **changes):
        shown = view("XN", **({"zones": ["crossing"]} | changes))
        message = picture([shown], sender=user, measured_ms=NOON_MS + after_ms, sequence=after_ms)
        assert inbox.deliver(arrival(message, after_ms=after_ms)) is None

    def test_people_are_the_union_under_their_sensors_names(self):
        inbox = self.inbox(a="crossing", b="crossing")
        self.send(inbox, "a", objects=[person(1)])
        self.send(inbox, "b", objects=[person(1), person(2)])
        assert [track.id for track in frame_of(inbox, "XN").on_crossing] == ["a:1", "b:1", "b:2"]

    def test_two_cameras_in_turn_make_nobody_lost_and_mistake_nobody_for_another(self):
        inbox, needs = self.inbox(a="crossing", b="crossing"), NeedEstimator(find_plan(SITE))
        for at_ms in range(0, 3_000, 50):  # 10 pictures a second each, one between two of the other
            near = [
                person(number, x_m=3.0 + speed_mps * at_ms / 1_000, vx_mps=speed_mps)
                for number, speed_mps in enumerate((1.2, 1.0, 0.9))
            ]
            seen_by_b = near if at_ms > 1_000 else near[:2]  # the third comes into its view later
            self.send(
                inbox, "b" if at_ms % 100 else "a", at_ms, objects=near if at_ms % 100 == 0 else seen_by_b
            )
            needs.update(inbox.frames(5_000 + at_ms // 100))
            if at_ms >= 100:
                assert not any(person.gone_ds >= 0 for person in needs.people(1))
        assert {each.track.id for each in needs.people(1)} == {"a:0", "a:1", "a:2", "b:0", "b:1", "b:2"}

    def test_half_a_view_is_blind_and_two_halves_are_whole(self):
        inbox = self.inbox(a="crossing", b="crossing")
        self.send(inbox, "a", to_m=10.0)
        assert not frame_of(inbox, "XN").is_healthy
        self.send(inbox, "b", after_ms=300, from_m=10.4)
        assert frame_of(inbox, "XN", 5_004).measured_ds == 5_000  # as old as the older half
        self.send(inbox, "b", after_ms=400, from_m=10.6)
        assert not frame_of(inbox, "XN", 5_005).is_healthy

    def test_whom_one_sensor_sees_is_not_forgotten_when_the_other_fails(self):
        inbox, needs = self.inbox(a="crossing", b="crossing"), NeedEstimator(find_plan(SITE))
        for at_ms in range(0, 3_000, 500):
            self.send(inbox, "b", at_ms, from_m=9.0, objects=[person(1, x_m=10.0 + at_ms / 1_000)])
            frame = frame_of(inbox, "XN", 5_000 + at_ms // 100 + 1)
            assert not frame.is_healthy
            needs.update(inbox.frames(5_000 + at_ms // 100 + 1))
        assert [(each.track.id, each.is_confirmed) for each in needs.people(1)] == [("b:1", True)]

    def test_one_whole_view_is_enough_and_its_time_counts(self):
        inbox = self.inbox(a="crossing", b="crossing")
        self.send(inbox, "a")
        self.send(inbox, "b", after_ms=500)
        assert frame_of(inbox, "XN", 5_006).measured_ds == 5_005

    def test_a_zone_that_is_promised_and_not_in_view_is_blind(self):
        inbox = self.inbox(a="crossing kerb_a", b="kerb_b")
        self.send(inbox, "a", zones=["crossing", "kerb_a"])
        assert not frame_of(inbox, "XN").is_healthy
        self.send(inbox, "b", zones=["kerb_b"])
        assert frame_of(inbox, "XN").is_healthy

    def test_kerbs_alone_never_make_a_healthy_crossing(self):
        inbox = self.inbox(a="kerb_a")
        self.send(inbox, "a", zones=["kerb_a"])
        assert not frame_of(inbox, "XN").is_healthy


class TestRequests:
    def test_a_request_keeps_its_seconds_and_no_reason(self, inbox):
        assert inbox.deliver(arrival(request())) is None
        (asked,) = inbox.requests(5_001)
        assert asked._asdict() == {
            "id": "gate:r1",
            "crossing": "XN",
            "zone": Zone.KERB_A,
            "needed_s": 32.5,
            "source": "gate",
            "measured_ds": 5_000,
            "until_ds": 5_600,
        }

    def test_it_runs_out(self, inbox):
        inbox.deliver(arrival(request()))
        assert len(inbox.requests(5_599)) == 1
        assert inbox.requests(5_599) is inbox.requests(5_599)
        assert inbox.requests(5_600) == ()

    @pytest.mark.parametrize("ending", [{"crossRequest": False}, {"crossState": True}])
    def test_it_is_withdrawn(self, inbox, ending):
        inbox.deliver(arrival(request()))
        inbox.deliver(arrival(request(sequence=1, **ending)))
        assert inbox.requests(5_001) == ()

    def test_a_source_has_ten_open_at_most_and_may_renew_each(self, inbox):
        ids = [*range(11), 3]
        reasons = [
            inbox.deliver(arrival(request(sequence=sequence, request_id=f"r{number}")))
            for sequence, number in enumerate(ids)
        ]
        assert reasons == [None] * 10 + [Drop.TOO_MANY_OPEN, None]
        assert len(inbox.requests(5_001)) == 10

    def test_whoever_fills_one_crossing_keeps_nobody_from_another(self):
        gate = FieldSource(user="gate", crossings=("XN", "XE"), may_request=True)
        inbox = Inbox(find_plan(SITE), [gate])
        for number in range(10):
            inbox.deliver(arrival(request(sequence=number, request_id=f"r{number}")))
        assert inbox.deliver(arrival(request(sequence=10, request_id="r10", crossing="XE"))) is None
        assert inbox.deliver(arrival(request(sequence=11, request_id="r11"))) is Drop.TOO_MANY_OPEN

    def test_a_source_has_twenty_at_once_at_most(self, inbox):
        reasons = [inbox.deliver(arrival(request(sequence=sequence))) for sequence in range(25)]
        assert reasons == [None] * 20 + [Drop.TOO_FAST] * 5


def test_a_message_survives_its_own_round_trip():
    for kind, made in [("detections", picture([view("XN", [person()])])), ("requests", request())]:
        message = parse(kind, payload(made))
        assert not isinstance(message, Drop)
        assert parse(kind, to_json(message)) == message


def test_the_schema_names_every_limit_that_a_sender_must_keep():
    schema = messages_json_schema()
    assert set(schema["discriminator"]["mapping"]) == {"detections", "request", "status"}
    seen = schema["$defs"]["SeenObject"]["properties"]
    assert seen["class_confidence"]["propertyNames"]["enum"] == list(MOBILITY_CLASSES)
    assert (seen["vx_mps"]["minimum"], seen["vx_mps"]["maximum"]) == (-5, 5)
    assert all("description" in part for part in seen.values())
    assert json.dumps(schema)


@pytest.mark.parametrize("text", ["", "/", "bitgoeul/v1", f"bitgoeul/v1/{SITE}/cam/detections/more", "#"])
def test_other_topics_are_none_of_ours(text):
    assert parse_topic(text) is None


class TestSourcesFile:
    def write(self, tmp_path, text):
        (tmp_path / "sources.toml").write_text(text, encoding="utf-8")
        return load_sources(tmp_path / "sources.toml", find_plan(SITE))

    def test_it_lists_who_may_say_what(self, tmp_path):
        text = '[[sources]]\nuser = "cam"\ncrossings = ["XN"]\nzones = ["kerb_a", "crossing"]\n'
        (source,) = self.write(tmp_path, text)
        assert source == FieldSource(user="cam", crossings=("XN",), zones=(Zone.KERB_A, Zone.CROSSING))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[[sources]", "is no TOML file"),
            (
                '[[sources]]\nuser = "cam"\ncrossings = ["X9"]\n',
                "names crossing 'X9'; the plan has XS, XN, XW, XE",
            ),
            ('[[sources]]\nuser = "a/b"\ncrossings = ["XN"]\n', "sources.0.user = 'a/b'"),
            ('[[sources]]\nuser = "c"\ncrossings = ["XN"]\n' * 2, "a user is there twice"),
        ],
    )
    def test_its_faults_are_one_clear_line(self, tmp_path, text, message):
        with pytest.raises(ScenarioError, match=message) as fault:
            self.write(tmp_path, text)
        assert "sources.toml" in str(fault.value)


def test_a_flood_of_status_messages_is_cut_too(inbox):
    reasons = [inbox.deliver(arrival(status("online"))) for _ in range(25)]
    assert reasons == [None] * 20 + [Drop.TOO_FAST] * 5


def test_what_is_too_large_is_explained_by_its_size():
    assert explain("detections", b" " * 65_537) == "65537 bytes; at most 65536 are read"
    assert explain("detections", payload(picture())) == ""

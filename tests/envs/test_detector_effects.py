"""Each fault of the emulated detector alone: what it changes, and that its stated figure is met."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise
from statistics import fmean, pstdev
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from bitgoeul.controller.detection import MOBILITY_CLASSES, Zone
from bitgoeul.envs.detector import CAMERA_DAY, PERFECT, PRESETS, EmulatedDetector, preset
from bitgoeul.envs.detector_presets import class_table
from bitgoeul.envs.walkers import Walker

XW = 2
LENGTH_M = 35.0
CLASS = {name: place for place, name in enumerate(MOBILITY_CLASSES)}


class People:
    """A walkers' driver whose people are where the test puts them."""

    def __init__(self, plan):
        self.on_crossing = [{} for _ in plan.crossings]
        self.waiting = [{} for _ in plan.crossings]
        self.waiting_version = [0] * len(plan.crossings)
        self.listeners, self.withdrawals = [], []
        self.places = {}  # id -> metres left, metres across, speed

    def walker(self, name, kerb="A", mobility_class="adult", crossing=XW):
        return Walker(
            id=name, crossing=crossing, mobility_class=mobility_class, speed_mps=1.0, startup_s=0.0,
            kerb=kerb, arrived_ds=0, waiting_since_ds=0,
        )  # fmt: skip

    def put(self, name, *, from_a_m=17.5, across_m=0.0, speed_mps=0.0, **of_walker):
        walker = self.walker(name, **of_walker)
        left_m = LENGTH_M - from_a_m if walker.kerb == "A" else from_a_m
        self.places[name] = [left_m, across_m, speed_mps]
        self.on_crossing[XW][name] = walker

    def wait(self, name, crossing=XW, **of_walker):
        self.waiting[crossing][name] = self.walker(name, crossing=crossing, **of_walker)
        self.waiting_version[crossing] += 1

    def step(self, seconds=0.5):
        for place in self.places.values():
            place[0] = max(0.0, place[0] - seconds * place[2])

    def remaining_m(self, index):
        return [(walker, self.places[name][0]) for name, walker in self.on_crossing[index].items()]

    def across_m(self, walker):
        return self.places[walker.id][1]

    def speed_of(self, name):
        return self.places[name][2]


@pytest.fixture
def people(plan):
    return People(plan)


@pytest.fixture
def sensor(people, plan):
    def make(text, seed=1):
        return EmulatedDetector(people, plan, preset(text) if isinstance(text, str) else text, seed)

    return make


def watch(detector, people, *, seconds, index=XW):
    """Return a crossing's frames, two a second."""
    frames = []
    for step in range(round(2 * seconds)):
        frames.append(detector.frames(5 * (step + 1))[index])
        people.step()
    return frames


def numbers(frame):
    return {track.id for track in frame.on_crossing}


def crowd_of_each_class(people, count):
    for name in MOBILITY_CLASSES:
        for number in range(count):
            people.put(f"{name}{number}", mobility_class=name)


# --- who is seen, and as what -----------------------------------------------------------------------


def test_recall_differs_by_class_as_stated(people, sensor):
    crowd_of_each_class(people, 2000)
    detector = sensor("perfect:person_recall=0.8")
    detector.frames(5)
    recalls = class_table().recalls(0.8)
    for name, recall in zip(MOBILITY_CLASSES, recalls, strict=True):
        seen = sum(detector.was_detected(f"{name}{number}") for number in range(2000)) / 2000
        assert seen == pytest.approx(recall, abs=0.035)  # four standard errors
    assert recalls[CLASS["adult"]] - recalls[CLASS["stroller_child"]] > 0.15


def test_the_default_mix_meets_the_default_recall_and_precision(people, sensor):
    table, total = class_table(), 20_000
    true = {}
    for name, share in zip(MOBILITY_CLASSES, table.mix, strict=True):
        for number in range(round(share * total)):
            true[f"{name}{number}"] = CLASS[name]
            people.put(f"{name}{number}", mobility_class=name)
    detector = sensor(replace(CAMERA_DAY, frame_seen_share=1.0, latency_s=0.0, switches_per_min=0.0))
    detector.frames(5)
    assert sum(map(detector.was_detected, true)) / total == pytest.approx(0.97, abs=0.005)
    stated = table.stated(table.confusion(0.9))
    met = [(place, stated.index(person.probabilities)) for name, place in true.items()
           if (person := detector._people[name]).is_seen]  # fmt: skip
    assert fmean(place == reported for place, reported in met) == pytest.approx(0.9, abs=0.01)
    for reported in range(len(MOBILITY_CLASSES)):
        truths = Counter(place for place, said in met if said == reported)
        for place, share in enumerate(stated[reported]):
            error = 4.5 * (share * (1 - share) / truths.total()) ** 0.5
            assert truths[place] / truths.total() == pytest.approx(share, abs=error + 0.002)


@pytest.mark.parametrize("name", ["cane", "manual_wheelchair", "adult"])
def test_confusion_follows_its_row(people, sensor, name):
    for number in range(5000):
        people.put(f"w{number}", mobility_class=name)
    tracks = sensor("perfect:class_precision=0.7").frames(5)[XW].on_crossing
    table = class_table()
    confusion = table.confusion(0.7)
    reported = Counter(table.stated(confusion).index(track.class_probabilities) for track in tracks)
    row = np.array(confusion[CLASS[name]])
    assert chisquare([reported[place] for place in range(9)], 5000 * row / row.sum()).pvalue > 0.001
    if name == "cane":
        assert reported[CLASS["elderly"]] > 20 * reported[CLASS["manual_wheelchair"]]


def test_the_number_says_nothing_of_the_class(people, sensor):
    order = np.random.default_rng(5).permutation(["cane", "adult"] * 500)
    for number, name in enumerate(order):
        people.put(f"w{number}", mobility_class=str(name))
    tracks = sensor("perfect:person_recall=0.8").frames(5)[XW].on_crossing
    assert [int(track.id) for track in tracks] == list(range(1, len(tracks) + 1))
    is_cane = [track.class_probabilities[CLASS["cane"]] for track in tracks]
    assert abs(np.corrcoef(is_cane, [int(track.id) for track in tracks])[0, 1]) < 0.1


# --- where people are seen --------------------------------------------------------------------------


def test_a_part_of_the_crossing_may_be_out_of_view(people, sensor):
    for from_a_m in (3.0, 4.0, 20.0, 28.0, 29.0):
        people.put(f"at {from_a_m}", from_a_m=from_a_m)
        people.put(f"back at {from_a_m}", from_a_m=from_a_m, kerb="B")
    detector = sensor("perfect:view_from_share=0.1:view_to_share=0.8")  # 3.5 to 28 m
    frame = detector.frames(5)[XW]
    assert frame.is_healthy
    assert sorted(track.remaining_m for track in frame.on_crossing) == [4.0, 7.0, 15.0, 20.0, 28.0, 31.0]
    assert not detector.was_detected("at 29.0")


def test_a_whole_view_has_no_edge_at_the_kerbs(people, sensor):
    people.put("past the kerb line", from_a_m=35.1)
    assert (
        len(sensor("camera_day:person_recall=1:latency_s=0:frame_seen_share=1").frames(5)[XW].on_crossing)
        == 1
    )


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("", {Zone.KERB_A, Zone.KERB_B}),
        (":sees_kerb_a=false", {Zone.KERB_B}),
        (":sees_kerb_b=false", {Zone.KERB_A}),
    ],
)
def test_a_kerb_may_be_out_of_view(people, sensor, change, seen):
    people.wait("from A", kerb="A")
    people.wait("from B", kerb="B")
    assert {track.zone for track in sensor(f"perfect{change}").frames(5)[XW].waiting} == seen


def test_who_waits_on_an_island_is_in_its_zone(people, plan):
    staged = SimpleNamespace(
        crossings=[
            SimpleNamespace(id=x.id, length_m=x.length_m, kerbs=("S", "island")) for x in plan.crossings
        ]
    )
    people.wait("from the island", kerb="B")
    people.wait("from the kerb", kerb="A")
    frame = EmulatedDetector(people, staged, PERFECT, 1).frames(5)[XW]
    assert [track.zone for track in frame.waiting] == [Zone.ISLAND, Zone.KERB_A]
    blind = EmulatedDetector(people, staged, preset("perfect:sees_island=false"), 1).frames(5)[XW]
    assert [track.zone for track in blind.waiting] == [Zone.KERB_A]


@pytest.mark.parametrize(
    ("front", "behind", "is_hidden"),
    [
        ((10.0, 0.0), (12.0, 0.0), True),  # straight behind; the shadow of (2 + 10) m is 2.4 m deep
        ((10.0, 0.0), (12.5, 0.0), False),  # beyond the shadow
        ((10.0, 0.0), (12.0, 0.6), False),  # beside the line of sight: 0.6 x 12 / 14 = 0.51 m
        ((10.0, 0.0), (12.0, 0.28), True),  # 0.24 m is within half a body of 0.25 m
        ((10.0, 1.5), (12.0, 1.75), True),  # the line from the sensor slants: 1.75 x 12 / 14 = 1.5 m
        ((10.0, 1.5), (12.0, 1.5), True),  # 1.29 m, so 0.21 m off
        ((30.0, 0.0), (35.0, 0.0), True),  # the shadow grows with distance: 6.4 m
        ((2.0, 0.0), (3.0, 0.0), False),  # and is short near the sensor: 0.8 m
        ((2.0, 0.0), (2.7, 0.0), True),
    ],
)
def test_who_walks_close_behind_another_is_hidden(people, sensor, front, behind, is_hidden):
    people.put("behind", from_a_m=behind[0], across_m=behind[1])
    people.put("front", from_a_m=front[0], across_m=front[1], kerb="B")
    detector = sensor("perfect:occlusion_depth=0.2:body_width_m=0.5")
    assert len(detector.frames(5)[XW].on_crossing) == 2 - is_hidden
    assert detector.was_detected("behind") is not is_hidden
    assert detector.was_detected("front")


def who_is_seen(frame):
    """Return who is in a picture: the one who stands, or the one who moves."""
    return {"walker" if track.speed_mps else "front" for track in frame.on_crossing}


def test_somebody_is_hidden_for_as_long_as_they_are_behind(people, sensor):
    people.put("front", from_a_m=20.0)
    people.put("meets them", from_a_m=30.0, kerb="B", speed_mps=1.0)
    frames = watch(sensor("perfect:occlusion_depth=0.2"), people, seconds=15)
    walker, front = ([place for place, frame in enumerate(frames) if who_is_seen(frame) == {wanted}]
                     for wanted in ("front", "walker"))  # fmt: skip
    # The front one's shadow is 22 x 0.2 = 4.4 m deep: from 24.4 to 20 m, which is from 5.6 to 10 s. Then the
    # walker hides the front one while 22 <= 1.2 r, to 16.3 m, at 13.7 s. Looked at once a second.
    assert walker == list(range(12, 20))
    assert front == list(range(22, 28))
    assert len({track.id for frame in frames for track in frame.on_crossing}) == 2


def test_one_alone_is_never_hidden_nor_asked_for(people, sensor):
    people.across_m = None  # would fail if it were called
    people.put("alone", from_a_m=20.0)
    assert len(watch(sensor("adversarial:person_recall=1"), people, seconds=5)) == 10


# --- how well --------------------------------------------------------------------------------------


def test_noise_grows_with_the_distance_from_the_sensor(people, sensor):
    for number in range(2000):
        people.put(f"near{number}", from_a_m=0.0, kerb="B")
        people.put(f"mid{number}", from_a_m=17.5)
        people.put(f"far{number}", from_a_m=35.0 - 10.0)
    tracks = (
        sensor("perfect:position_noise_m=0.3:speed_noise_mps=0.1:noise_growth=0.5").frames(5)[XW].on_crossing
    )
    near, middle, far = tracks[0::3], tracks[1::3], tracks[2::3]
    assert pstdev(track.remaining_m for track in middle) == pytest.approx(0.30, rel=0.08)
    assert pstdev(track.remaining_m for track in far) == pytest.approx(0.30 * (1 + 0.5 * 15 / 35), rel=0.08)
    # Half of 0.3 m at the sensor's kerb; a distance below 0 is reported as 0, so the mean is sd / sqrt(2 pi).
    assert fmean(track.remaining_m for track in near) == pytest.approx(0.15 * 0.399, rel=0.15)
    assert fmean(track.speed_mps for track in middle) == pytest.approx(0.1 * 0.399, rel=0.1)
    assert fmean(track.speed_mps for track in far) == pytest.approx(
        0.1 * 0.399 * (1 + 0.5 * 15 / 35), rel=0.1
    )


def delays_s(detector, people, *, seconds):
    """Return for each picture how long after it was taken it, or a newer one, was there."""
    delays, waiting = [], []
    measured = []
    for frame, now_ds in zip(watch(detector, people, seconds=seconds), range(5, 10**9, 5), strict=False):
        waiting.append(now_ds)
        if frame.is_healthy:
            measured.append(frame.measured_ds)
            delays += [(now_ds - taken) / 10 for taken in waiting if taken <= frame.measured_ds]
            waiting = [taken for taken in waiting if taken > frame.measured_ds]
    assert all(before <= after for before, after in pairwise(measured))
    return delays


@pytest.mark.parametrize(("latency_s", "variation"), [(0.5, 0.3), (0.7, 0.0), (2.0, 0.3), (3.0, 0.5)])
def test_latency_has_its_mean_and_spread_and_nothing_overtakes(people, sensor, latency_s, variation):
    delays = delays_s(sensor(f"perfect:latency_s={latency_s}:latency_cv={variation}"), people, seconds=20_000)
    # Pictures behind a late one wait for it: up to 5 % more where the latency varies most.
    assert fmean(delays) == pytest.approx(latency_s, rel=0.06)
    # Delivery at whole half seconds adds 0.5^2 x p (1 - p), at most 0.0625 s^2, to the variance.
    assert (
        (latency_s * variation) ** 2 * 0.85
        < pstdev(delays) ** 2
        < (latency_s * variation) ** 2 * 1.15 + 0.063
    )


def test_another_seed_has_other_latencies(people, sensor):
    text = "perfect:latency_s=2:latency_cv=0.3"
    assert delays_s(sensor(text), people, seconds=100) == delays_s(sensor(text), people, seconds=100)
    assert delays_s(sensor(text), people, seconds=100) != delays_s(sensor(text, 2), people, seconds=100)


def test_a_late_picture_shows_where_people_were(people, sensor):
    people.put("walks", from_a_m=5.0, speed_mps=1.0)
    for frame in watch(sensor("perfect:latency_s=2:latency_cv=0.3"), people, seconds=12):
        for track in frame.on_crossing:
            assert track.measured_ds == frame.measured_ds
            assert track.remaining_m == pytest.approx(30.0 - (frame.measured_ds - 5) / 10)


def test_gaps_and_what_is_between_them_are_exponential(people, sensor):
    for number in range(300):
        people.put(f"w{number}")
    detector = sensor("perfect:frame_seen_share=0.9:mean_gap_s=2")
    frames = watch(detector, people, seconds=120)[100:]
    assert fmean(len(frame.on_crossing) for frame in frames) / 300 == pytest.approx(0.9, abs=0.01)
    assert len({number for frame in frames for number in numbers(frame)}) == 300


def test_tracks_break_at_their_rate(people, sensor):
    for number in range(200):
        people.put(f"w{number}", from_a_m=2.0 + 0.15 * number)
    frames = watch(sensor("perfect:breaks_per_min=3"), people, seconds=120)
    assert {len(frame.on_crossing) for frame in frames} == {200}
    broken = sum(len(numbers(after) - numbers(before)) for before, after in pairwise(frames))
    assert broken / (200 * 2) == pytest.approx(3.0, rel=0.1)
    assert all(track.since_ds <= frame.measured_ds for frame in frames for track in frame.on_crossing)
    first, last = frames[0].on_crossing, frames[-1].on_crossing
    assert sum(one.since_ds == other.since_ds for one, other in zip(first, last, strict=True)) < 5


def swaps(frames):
    """Return how often the track at each place in the sensor's order changed its number."""
    order = [[track.id for track in frame.on_crossing] for frame in frames]
    return sum(one != other for one, other in pairwise(order))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_near_tracks_swap_numbers_at_their_rate(people, sensor, seed):
    people.put("one")
    people.put("other", across_m=0.7)
    frames = watch(sensor("perfect:switches_per_min=6", seed), people, seconds=3600)
    assert swaps(frames) == pytest.approx(6 * 60, rel=0.2)
    assert {frozenset(numbers(frame)) for frame in frames} == {frozenset({"1", "2"})}


def test_a_swapped_number_keeps_its_age(people, sensor):
    people.put("one")
    detector = sensor("perfect:switches_per_min=6")
    assert detector.frames(5)[XW].on_crossing[0].since_ds == 5
    people.put("other", across_m=0.7)
    for now_ds in range(100, 3600, 5):
        frame = detector.frames(now_ds)[XW]
        assert {(track.id, track.since_ds) for track in frame.on_crossing} == {("1", 5), ("2", 100)}


@pytest.mark.parametrize(("along_m", "across_m"), [(1.2, 0.0), (0.0, 1.2), (0.9, 1.2)])
def test_tracks_apart_never_swap(people, sensor, along_m, across_m):
    people.put("one", from_a_m=17.5)
    people.put("other", from_a_m=17.5 + along_m, across_m=across_m)
    assert swaps(watch(sensor("perfect:switches_per_min=60"), people, seconds=600)) == 0


# --- the sensor as a whole --------------------------------------------------------------------------


def test_outages_have_their_share_and_length(people, sensor):
    frames = watch(sensor("perfect:outage_share=0.1:outage_mean_s=5"), people, seconds=80_000)
    blind = [not frame.is_healthy for frame in frames]
    assert fmean(blind) == pytest.approx(0.1, abs=0.01)
    starts = sum(now and not before for before, now in pairwise(blind))
    # An outage that falls between two pictures is not seen: 1 in 10 of those with a mean of 5 s.
    assert 0.5 * sum(blind) / starts == pytest.approx(5.0 + 0.25, rel=0.1)


def test_each_crossing_has_its_own_outages(people, sensor):
    detector = sensor("perfect:outage_share=0.3")
    pictures = [[frame.is_healthy for frame in detector.frames(now_ds)] for now_ds in range(0, 36_000, 5)]
    assert len(set(zip(*pictures, strict=True))) == 4


def test_an_outage_leaves_nothing_of_what_was_there(people, sensor):
    people.put("walks")
    people.wait("waits")
    frames = watch(sensor("perfect:outage_share=0.5"), people, seconds=600)
    for frame in frames:
        assert (len(frame.on_crossing), len(frame.waiting)) == ((1, 1) if frame.is_healthy else (0, 0))


def false_tracks(sensor, people, text, hours=40):
    frames = watch(sensor(text), people, seconds=3600 * hours)
    tracks = {}
    for frame in frames:
        for track in frame.on_crossing:
            tracks.setdefault(track.id, []).append(track)
    return tracks


def test_false_tracks_come_at_their_rate_and_stand_or_move(people, sensor):
    tracks = false_tracks(sensor, people, "perfect:false_tracks_per_h=6:false_moving_share=0.25")
    assert len(tracks) == pytest.approx(6 * 40 * 0.97, rel=0.2)
    moving = [seen for seen in tracks.values() if seen[0].speed_mps]
    assert len(moving) / len(tracks) == pytest.approx(0.25, abs=0.08)
    for seen in tracks.values():
        assert all(0 <= track.remaining_m <= LENGTH_M and not track.class_probabilities for track in seen)
        speed_mps = seen[0].speed_mps
        assert speed_mps in {0.0, 1.0}
        for before, after in pairwise(seen):
            assert before.remaining_m - after.remaining_m == pytest.approx(0.5 * speed_mps)
    standing = [0.5 * len(seen) for seen in tracks.values() if not seen[0].speed_mps]
    assert fmean(standing) == pytest.approx(5.0, rel=0.2)
    assert kstest([seen[0].remaining_m for seen in tracks.values()], "uniform", (0, LENGTH_M)).pvalue > 0.001


def test_buttons_call_from_the_kerbs_and_see_nobody_cross(people, sensor):
    people.put("walks")
    for number in range(50):
        people.wait(f"a{number}", kerb="A", mobility_class="cane")
    people.wait("b", kerb="B")
    detector = sensor("push_button:person_recall=1:latency_s=0")
    frame = detector.frames(5)[XW]
    assert (frame.is_healthy, frame.on_crossing) == (False, ())
    assert [(track.zone, track.class_probabilities) for track in frame.waiting] == [
        (Zone.KERB_A, ()),
        (Zone.KERB_B, ()),
    ]
    assert not detector.was_detected("walks")
    # The call stays while anybody who pushed waits, and ends with the last of them.
    first = frame.waiting[0]
    del people.waiting[XW]["a0"]
    people.wait("late", kerb="A")
    assert detector.frames(10)[XW].waiting[0] is first
    people.waiting[XW].clear()
    people.waiting_version[XW] += 1
    assert detector.frames(15)[XW].waiting == ()


def test_who_pushes_the_button_differs_by_class(people, sensor):
    for name in ("manual_wheelchair", "visually_impaired"):
        for number in range(2000):
            people.wait(f"{name}{number}", mobility_class=name)
    detector = sensor("push_button")
    for index, name in enumerate(people.waiting[XW]):
        detector._meet(people.waiting[XW][name], index)
    pushed = [
        fmean(detector._people[f"{name}{number}"].is_seen for number in range(2000))
        for name in ("manual_wheelchair", "visually_impaired")
    ]
    recalls = class_table().recalls(0.6, is_button=True)
    assert pushed == pytest.approx([0.50, 0.75], abs=0.045)
    assert pushed == pytest.approx(
        [recalls[CLASS["manual_wheelchair"]], recalls[CLASS["visually_impaired"]]], abs=0.045
    )


# --- together ---------------------------------------------------------------------------------------


SHARES = ("person_recall", "frame_seen_share", "class_precision", "view_to_share")
RATES = ("breaks_per_min", "switches_per_min", "false_tracks_per_h")


def scene(plan, chosen, seed=1, steps=400):
    """Return all frames of a small crowd that crosses, waits and meets."""
    people = People(plan)
    for number in range(8):
        people.put(f"w{number}", from_a_m=4.0 * number, across_m=0.4 * (number % 3), speed_mps=0.5,
                   mobility_class=MOBILITY_CLASSES[number], kerb="AB"[number % 2])  # fmt: skip
        people.wait(f"k{number}", kerb="AB"[number % 2], crossing=0)
    detector = EmulatedDetector(people, plan, chosen, seed)
    frames = []
    for step in range(steps):
        frames.append(detector.frames(5 * (step + 1)))
        people.step()
    return frames


@given(
    name=st.sampled_from(sorted(PRESETS)),
    shares=st.fixed_dictionaries({field: st.floats(0.3, 1.0) for field in SHARES}),
    rates=st.fixed_dictionaries({field: st.floats(0.0, 30.0) for field in RATES}),
    latency=st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1.0)),
)
@settings(max_examples=25, deadline=None)
def test_whatever_the_figures_a_frame_is_well_formed(plan, name, shares, rates, latency):
    latency_s, latency_cv = latency
    chosen = replace(PRESETS[name], **shares, **rates, latency_s=latency_s, latency_cv=latency_cv)
    before_ds = -1
    for frame in (picture[XW] for picture in scene(plan, chosen, steps=60)):
        assert frame.measured_ds >= before_ds
        before_ds = frame.measured_ds
        assert frame.is_healthy or not frame.on_crossing
        seen = [*frame.on_crossing, *frame.waiting]
        assert len({track.id for track in seen}) == len(seen)
        for track in seen:
            assert track.remaining_m >= 0
            assert track.speed_mps >= 0
            assert track.since_ds <= track.measured_ds
            assert not track.class_probabilities or sum(track.class_probabilities) == pytest.approx(1)


SWITCHED_ON = {
    "person_recall": 0.5,
    "frame_seen_share": 0.8,
    "view_from_share": 0.3,
    "view_to_share": 0.7,
    "sees_kerb_a": False,
    "sees_kerb_b": False,
    "occlusion_depth": 0.3,
    "latency_s": 1.0,
    "position_noise_m": 0.3,
    "speed_noise_mps": 0.1,
    "class_precision": 0.5,
    "unknown_class_share": 0.5,
    "breaks_per_min": 3.0,
    "switches_per_min": 30.0,
    "false_tracks_per_h": 60.0,
    "outage_share": 0.1,
    "is_button": True,
}
WITHOUT_EFFECT_ALONE = {
    "mean_gap_s": 2.0,
    "body_width_m": 1.0,
    "latency_cv": 0.5,
    "noise_growth": 1.0,
    "switch_within_m": 3.0,
    "false_track_mean_s": 60.0,
    "false_moving_share": 1.0,
    "false_speed_mps": 3.0,
    "outage_mean_s": 60.0,
    "sees_island": False,  # no crossing here ends on one
}


def test_every_field_is_in_one_of_the_two_tables():
    known = {field.name for field in fields(PERFECT)} - {"name"}
    assert known == set(SWITCHED_ON) | set(WITHOUT_EFFECT_ALONE)
    assert not set(SWITCHED_ON) & set(WITHOUT_EFFECT_ALONE)


@pytest.mark.parametrize("name", SWITCHED_ON)
def test_each_effect_alone_changes_what_is_seen(plan, name):
    assert scene(plan, replace(PERFECT, **{name: SWITCHED_ON[name]})) != scene(plan, PERFECT)


def test_all_off_equals_perfect_whatever_the_second_figures_say(plan):
    assert scene(plan, replace(PERFECT, **WITHOUT_EFFECT_ALONE)) == scene(plan, PERFECT)
    off = {name: getattr(PERFECT, name) for name in SWITCHED_ON}
    assert scene(plan, replace(PRESETS["adversarial"], **off, sees_island=True)) == scene(plan, PERFECT)


@pytest.mark.parametrize("name", PRESETS)
def test_one_seed_gives_one_run_and_another_seed_another(plan, name):
    assert scene(plan, PRESETS[name]) == scene(plan, PRESETS[name])
    if name not in {"perfect", "push_button", "off"}:
        assert scene(plan, PRESETS[name], seed=2) != scene(plan, PRESETS[name])


def test_all_crossings_and_times_share_the_weather_not_the_people(plan):
    """Outages, false tracks and latencies do not depend on who is there."""
    chosen = preset("perfect:outage_share=0.2:false_tracks_per_h=60:latency_s=1:latency_cv=0.5")
    detector = EmulatedDetector(People(plan), plan, chosen, 1)
    empty = [detector.frames(5 * (step + 1)) for step in range(400)]

    def weather(frames):
        return [
            (frame.measured_ds, frame.is_healthy, [(t.remaining_m, t.speed_mps) for t in false])
            for picture in frames
            for frame in picture
            for false in [[track for track in frame.on_crossing if not track.class_probabilities]]
        ]

    assert weather(empty) == weather(scene(plan, chosen))
    assert any(false for _, _, false in weather(empty))

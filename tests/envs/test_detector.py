"""What the emulated detector reports of walkers it is shown, and what each of its faults does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES, Zone
from bitgoeul.controller.signals import Lamps, phase_bit
from bitgoeul.envs.detector import CAMERA_DAY, PERFECT, EmulatedDetector, preset
from bitgoeul.envs.walkers import WalkerDriver

XW = 2
WALK = Lamps(green=phase_bit(4), walk=phase_bit(4))


def make(sumo, plan, chosen, seed=1):
    driver = WalkerDriver(sumo, plan)
    return driver, EmulatedDetector(driver, plan, chosen, seed)


def walk_across(sumo, plan, chosen, *, people, seed=1, steps=40):  # noqa: PLR0913
    """Let people walk over XW side by side; return every frame of XW with its time."""
    driver, detector = make(sumo, plan, chosen, seed)
    for person in people:
        sumo.arrive(person, "XW", **{"class": "cane", "speed_mps": 1.0})
    frames = []
    for step in range(steps):
        now_ds = 5 * (step + 1)
        for person in people:
            if step == 2:
                sumo.enter(person, "XW", 0.5)
            elif step > 2:
                sumo.persons[person].position += 0.5
            sumo.persons[person].speed = 1.0
        driver.observe(now_ds)
        frames.append((now_ds, detector.frames(now_ds)[XW]))
    return frames, detector


def test_perfect_reports_the_truth(sumo, plan):
    frames, detector = walk_across(sumo, plan, PERFECT, people=["w1"])
    assert detector.was_detected("w1")
    assert not detector.was_detected("w2")
    _, waiting = frames[1]
    (track,) = waiting.waiting
    assert (track.zone, track.remaining_m, track.speed_mps) == (Zone.KERB_A, 35.0, 0.0)
    now_ds, crossing = frames[12]
    (track,) = crossing.on_crossing
    assert (crossing.measured_ds, track.measured_ds, track.since_ds) == (now_ds, now_ds, 15)
    assert track.zone is Zone.CROSSING
    assert track.remaining_m == pytest.approx(34.5 - 0.5 * 10)
    assert track.speed_mps == pytest.approx(1.0)
    assert track.class_probabilities[MOBILITY_CLASSES.index("cane")] == 1.0
    assert sum(track.class_probabilities) == pytest.approx(1.0)
    assert track.id != "w1"


def test_the_number_of_a_track_stays_from_kerb_to_kerb(sumo, plan):
    frames, _ = walk_across(sumo, plan, PERFECT, people=["w1"])
    numbers = {track.id for _, frame in frames for track in (*frame.waiting, *frame.on_crossing)}
    assert len(numbers) == 1


def test_an_empty_crossing_is_healthy_and_reuses_its_tuples(sumo, plan):
    _, detector = make(sumo, plan, PERFECT)
    first, second = detector.frames(5), detector.frames(10)
    assert [frame.measured_ds for frame in second] == [10] * 4
    assert all(frame.is_healthy and frame.on_crossing == () == frame.waiting for frame in second)
    assert first[0].waiting is second[0].waiting


def test_off_is_blind_not_empty(sumo, plan):
    frames, detector = walk_across(sumo, plan, preset("off"), people=["w1"])
    assert not any(frame.is_healthy or frame.waiting or frame.on_crossing for _, frame in frames)
    assert not detector.was_detected("w1")


@pytest.mark.parametrize("latency_s", [0.5, 1.0, 1.5])
def test_latency_delivers_an_old_picture_with_its_honest_time(sumo, plan, latency_s):
    late = replace(PERFECT, latency_s=latency_s)
    frames, _ = walk_across(sumo, plan, late, people=["w1"])
    late_ds = round(10 * latency_s)
    for now_ds, frame in frames:
        if now_ds - late_ds >= 5:
            assert frame.is_healthy
            assert frame.measured_ds == now_ds - late_ds
        else:
            assert not frame.is_healthy


def test_a_person_is_seen_always_or_never(sumo, plan):
    people = [f"w{number}" for number in range(400)]
    frames, detector = walk_across(sumo, plan, replace(PERFECT, person_recall=0.9), people=people)
    counts = {len(frame.on_crossing) for _, frame in frames[2:]}
    assert len(counts) == 1
    # Somebody with a cane is missed a little more often than the mean: 0.882.
    assert counts.pop() / 400 == pytest.approx(0.882, abs=0.04)
    assert sum(detector.was_detected(person) for person in people) == len(frames[5][1].on_crossing)


def test_frames_miss_seen_persons_in_gaps(sumo, plan):
    gappy = replace(PERFECT, frame_seen_share=0.8, mean_gap_s=2.0)
    people = [f"w{number}" for number in range(200)]
    frames, _ = walk_across(sumo, plan, gappy, people=people, steps=60)
    picture = [{track.id for track in frame.on_crossing} for _, frame in frames[30:]]
    assert sum(map(len, picture)) / (200 * len(picture)) == pytest.approx(0.8, abs=0.04)
    gone = sum(len(before - after) for before, after in pairwise(picture))
    missing_s = 0.5 * sum(200 - len(seen) for seen in picture)
    # Sampled every 0.5 s a gap goes on with 0.2 + 0.8 exp(-0.5 (1/2 + 1/8)) = 0.785: mean 0.5 s / 0.215.
    assert missing_s / gone == pytest.approx(2.33, abs=0.3)


def test_some_classes_are_not_reported(sumo, plan):
    people = [f"w{number}" for number in range(500)]
    shy = replace(PERFECT, unknown_class_share=0.2)
    frames, _ = walk_across(sumo, plan, shy, people=people, steps=6)
    tracks = frames[-1][1].on_crossing
    named = [track for track in tracks if track.class_probabilities]
    assert 1 - len(named) / len(tracks) == pytest.approx(0.2, abs=0.05)


def test_class_blind_reports_no_class(sumo, plan):
    frames, _ = walk_across(sumo, plan, preset("class_blind"), people=["w1", "w2", "w3"])
    assert all(track.class_probabilities == () for _, frame in frames for track in frame.on_crossing)


def test_a_walker_of_unknown_class_is_reported_without_one(sumo, plan):
    driver, detector = make(sumo, plan, PERFECT)
    sumo.arrive("p", "XW")
    sumo.enter("p", "XW", 1.0)
    driver.observe(5)
    assert detector.frames(5)[XW].on_crossing[0].class_probabilities == ()


def test_noise_has_the_stated_spread(sumo, plan):
    noisy = replace(PERFECT, position_noise_m=0.3, speed_noise_mps=0.1, noise_growth=0.0)
    people = [f"w{number}" for number in range(50)]
    frames, _ = walk_across(sumo, plan, noisy, people=people)
    errors = [
        track.remaining_m - (34.5 - 0.5 * (now_ds / 5 - 3))
        for now_ds, frame in frames[10:]
        for track in frame.on_crossing
    ]
    assert sum(errors) / len(errors) == pytest.approx(0.0, abs=0.05)
    assert (sum(error**2 for error in errors) / len(errors)) ** 0.5 == pytest.approx(0.3, abs=0.03)


def test_one_seed_sees_one_way_whoever_else_is_there(plan, sumo):
    fake = type(sumo)
    alone, _ = walk_across(fake(plan), plan, CAMERA_DAY, people=["w7"])
    crowd, _ = walk_across(fake(plan), plan, CAMERA_DAY, people=["w1", "w7", "w3"])
    other, _ = walk_across(fake(plan), plan, CAMERA_DAY, people=["w7"], seed=2)

    def distances(frames):
        return [{round(track.remaining_m, 6) for track in frame.on_crossing} for _, frame in frames]

    assert all(one <= many for one, many in zip(distances(alone), distances(crowd), strict=True))
    assert distances(alone) != distances(other)


def test_persons_who_went_are_forgotten(sumo, plan):
    driver, detector = make(sumo, plan, CAMERA_DAY)
    for person in ("crosses", "vanishes"):
        sumo.arrive(person, "XW")
    for now_ds in (5, 10):
        driver.observe(now_ds)
        detector.frames(now_ds)
    assert len(detector._people) == 2
    sumo.enter("crosses", "XW", 1.0)
    del sumo.persons["vanishes"]
    for now_ds in (15, 20):
        driver.observe(now_ds)
        detector.frames(now_ds)
    sumo.leave("crosses")
    for now_ds in (25, 30):
        driver.observe(now_ds)
        detector.frames(now_ds)
    assert detector._people == {}

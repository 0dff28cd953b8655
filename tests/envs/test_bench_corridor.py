"""The corridor's benchmark compares a run with its own bare replay, and splits a step into its parts."""

from __future__ import annotations

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs import bench as pairs
from bitgoeul.envs import bench_corridor as bench
from bitgoeul.envs.bench_split import DETECTOR, LOOP, MEASURES, NEED, PARTS, SUMO

pytestmark = pytest.mark.sumo


@pytest.fixture(scope="module")
def run():
    return bench.corridor_run("bukmun_row", minutes=1)


def test_a_corridors_run_and_its_replay_leave_the_same_trips_and_a_ratio(run):
    figures = bench.bench_corridor(run, repeat=1)
    assert figures.ratios == (figures.env_sps / figures.replay_sps,)
    assert 0.1 < figures.ratio < 2.0


def test_a_replay_that_is_another_run_is_refused(run, monkeypatch):
    replay = pairs._timed_replay

    def without_people(opened, recording, end_s):
        return replay(opened, pairs.Recording(rows=recording.rows, orders={}), end_s)

    monkeypatch.setattr(pairs, "_timed_replay", without_people)
    with pytest.raises(ScenarioError, match="would compare two runs"):
        bench.bench_corridor(run, repeat=1)


def test_the_parts_of_a_step_are_all_timed_and_every_junction_is_prepared():
    prepared = []
    run = bench.CorridorRun(
        corridor=bench.load_corridor("bukmun_row"),
        controller="eta",
        minutes=1,
        prepare=lambda junction: prepared.append(junction.plan.site.id),
    )
    split = bench.split_corridor(run, repeat=1)
    assert prepared == ["bukmun_6", "bukmun_5", "bukmun_4"]
    timed = [part.name for part in split.parts]
    assert timed == [name for name in PARTS if name in timed]
    assert {SUMO, DETECTOR, NEED, MEASURES, LOOP} <= set(timed)
    assert all(part.us_per_step > 0 for part in split.parts)
    assert split.steps == 120


def test_a_run_of_no_minutes_is_refused():
    with pytest.raises(ValueError, match="minutes = 0"):
        bench.corridor_run("bukmun_row", minutes=0)

"""The split of a step's time: exact sums on a clock of the test's own, and the whole on a short run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bitgoeul.envs import bench_split
from bitgoeul.envs.bench_split import OBSERVATION, PARTS, REWARD, Stopwatch
from bitgoeul.envs.commands import bench


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self):
        self.now_ns = 0

    def perf_counter_ns(self):
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(bench_split, "time", clock)
    return clock


def test_own_time_leaves_out_what_is_called(clock):
    watch = Stopwatch()

    def spend(ns):
        clock.now_ns += ns

    inner = watch.wrap("inner", lambda: spend(30))

    def outer():
        spend(5)
        inner()
        spend(7)
        inner()

    watch.wrap("outer", outer)()
    assert dict(watch.spent_ns) == {"outer": 12, "inner": 60}


def test_time_counts_also_when_the_call_fails(clock):
    watch = Stopwatch()

    def fail():
        clock.now_ns += 9
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        watch.wrap("part", fail)()
    watch.wrap("other", lambda: None)()
    assert dict(watch.spent_ns) == {"part": 9, "other": 0}


def test_only_methods_of_the_given_objects_are_timed(clock):
    watch, mine = Stopwatch(), SimpleNamespace()

    class Owner:
        def hook(self):
            clock.now_ns += 4

    first, second = Owner(), Owner()
    hooks = [first.hook, second.hook, lambda: None]
    watch.replace_in(hooks, (first,), "part")
    for hook in hooks:
        hook()
    watch.replace("part", mine, "nothing of that name")
    assert dict(watch.spent_ns) == {"part": 4}
    assert vars(mine) == {}


@pytest.mark.sumo
def test_the_command_prints_every_part_and_the_sum_of_detector_and_measures():
    done = CliRunner().invoke(bench, ["env", "--minutes", "2", "--repeat", "1", "--json"])
    assert done.exit_code == 0, done.output
    split = json.loads(done.output)["split"]
    parts = {part["name"]: part for part in split["parts"]}
    assert tuple(parts) == tuple(part for part in PARTS if part not in (OBSERVATION, REWARD))
    assert split["steps"] == 240
    sumo_us = parts["SUMO step"]["us_per_step"]
    for part in parts.values():
        assert part["us_per_step"] > 0
        assert part["share_of_sumo"] == pytest.approx(part["us_per_step"] / sumo_us)
    watched = parts["detector"]["share_of_sumo"] + parts["measures"]["share_of_sumo"]
    assert split["watched_share"] == pytest.approx(watched)


@pytest.mark.sumo
def test_the_table_names_the_target():
    done = CliRunner().invoke(bench, ["env", "--minutes", "1", "--repeat", "1"])
    assert done.exit_code == 0, done.output
    assert "lamps, written" in done.output
    assert "(target under 5 %)" in done.output

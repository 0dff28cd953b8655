"""`bench core` with tiny numbers: that it measures what it says; no time is asserted."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bitgoeul.envs.bench_core import bench_core, lines
from bitgoeul.envs.commands import bench
from bitgoeul.envs.world import RunSpec

pytestmark = pytest.mark.sumo

CASES = [
    "pretimed, constant calls",
    "pretimed, changing calls",
    "free, constant calls",
    "free, changing calls",
]


@pytest.fixture(scope="module")
def figures():
    spec = RunSpec(site="bukmun_5", controller="fixed", seed=10_000, hour="night", minutes=1)
    seen = []
    measured = bench_core(spec, steps=100, cabinets=3, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= 1
    return measured


def test_every_case_is_a_ratio_against_the_dictionary_of_the_same_run(figures):
    assert [step.case for step in figures.steps] == CASES
    for step in figures.steps:
        assert step.ratio_p50 == pytest.approx(step.p50_us / figures.dict_p50_us)
        assert step.ratio_p99 == pytest.approx(step.p99_us / figures.dict_p99_us)
        assert 0 < step.p50_us <= step.p99_us


def test_the_share_is_of_steps_after_the_warm_up(figures):
    assert [each.controller for each in figures.shares] == ["eta", "actuated+guard"]
    for each in figures.shares:
        assert each.steps == 120
        assert each.share == pytest.approx(each.core_us / each.sumo_us)


def test_cabinets_count_their_hours_and_memory(figures):
    many = figures.cabinets
    assert many.cabinets == 3
    assert many.hours_per_s == pytest.approx(3 / many.hour_s)
    assert many.total_mib == pytest.approx(3 * many.kib_per_cabinet / 1024)
    assert many.kib_per_cabinet > 1


def test_one_line_each(figures):
    text = list(lines(figures))
    assert len(text) == 1 + len(CASES) + 2 + 1
    assert text[-1].startswith("3 cabinets, one hour each in event jumps")


def test_the_command_prints_json_and_nothing_else():
    arguments = ["core", "--hour", "night", "--minutes", "1", "--steps", "2", "--cabinets", "1", "--json"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["steps"]) == len(CASES)

"""Programs beside the replay of what they told SUMO; workers; resets. No time is asserted."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.bench import leave_out
from bitgoeul.envs.bench_gym import ScriptedAgent
from bitgoeul.envs.bench_replay import Program, Recorder, bench_program, replay
from bitgoeul.envs.bench_reset import slope
from bitgoeul.envs.commands import bench
from bitgoeul.envs.crossing import CrossingEnv


class FakeSumo(SimpleNamespace):
    """SUMO as far as the recorder knows it: one person who goes as fast as told."""

    def __init__(self):
        self.speed_mps, self.at_m, self.is_loaded = 0.0, 0.0, False
        super().__init__(
            simulationStep=self._step,
            load=lambda _: self._begin(),
            start=lambda _: self._begin(),
            close=lambda: None,
            isLoaded=lambda: self.is_loaded,
            trafficlight=SimpleNamespace(
                setRedYellowGreenState=print, setProgram=print, setPhase=print, setProgramLogic=print
            ),
            person=SimpleNamespace(
                setSpeed=self._tell,
                removeStages=print,
                appendWalkingStage=print,
                getIDList=lambda: ("one",),
                getPosition=lambda _: (self.at_m, 0.0),
                getSpeed=lambda _: self.speed_mps,
            ),
            vehicle=SimpleNamespace(getIDList=lambda: ()),
        )

    def _begin(self):
        self.speed_mps, self.at_m, self.is_loaded = 0.0, 0.0, True

    def _step(self):
        self.at_m += self.speed_mps

    def _tell(self, _person, speed_mps):
        self.speed_mps = speed_mps


def _walk(sumo, speeds_mps):
    for speed_mps in speeds_mps:
        sumo.person.setSpeed("one", speed_mps)
        sumo.simulationStep()


def test_the_calls_that_change_something_are_noted_before_their_step():
    sumo = FakeSumo()
    with Recorder(sumo) as recorder:
        sumo.load(["--end", "9"])
        _walk(sumo, [1.0, 3.0])
    assert recorder.run.arguments == ["--end", "9"]
    assert recorder.run.steps == 2
    assert [[arguments for _, arguments in calls] for calls in recorder.run.calls] == [
        [("one", 1.0)],
        [("one", 3.0)],
        [],
    ]
    _walk(sumo, [5.0])
    assert recorder.run.steps == 2


def test_a_replay_that_ends_elsewhere_is_refused():
    sumo = FakeSumo()
    with Recorder(sumo) as recorder:
        sumo.load([])
        _walk(sumo, [1.0, 3.0])
    assert replay(sumo, recorder.run) >= 0.0
    assert sumo.at_m == 4.0
    recorder.run.calls[1] = []
    with pytest.raises(ScenarioError, match="compare two runs"):
        replay(sumo, recorder.run)


def test_a_program_is_timed_after_its_reset_only():
    sumo = FakeSumo()

    def reset():
        sumo.load([])
        _walk(sumo, [2.0])

    figures = bench_program(sumo, Program(reset=reset, play=lambda: _walk(sumo, [1.0] * 400)), repeat=2)
    assert figures.steps == 400
    assert len(figures.ratios) == 2


def test_a_straight_line_through_the_memory():
    assert slope([10.0, 12.0, 14.0]) == pytest.approx(2.0)
    assert math.isnan(slope([1.0]))


def test_only_what_can_be_left_out_is():
    with pytest.raises(ValueError, match="cannot leave out guard; can: detector, need"):
        leave_out(SimpleNamespace(), frozenset({"guard"}))


def _run(*arguments):
    done = CliRunner().invoke(bench, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.sumo
def test_the_environment_is_measured_with_its_observation_and_reward():
    figures = _run("env", "--through", "environment", "--minutes", "1", "--repeat", "1")
    assert 60 < figures["steps"] <= 120  # the reset goes on to the first decision
    assert figures["ratio"] == pytest.approx(figures["replay_us"] / figures["program_us"])
    names = [part["name"] for part in figures["split"]["parts"]]
    assert "observation" in names
    assert "reward" in names


@pytest.mark.sumo
def test_a_run_without_detector_and_need_has_neither_part():
    figures = _run("env", "--without", "detector,need", "--minutes", "1", "--repeat", "1")
    names = [part["name"] for part in figures["split"]["parts"]]
    assert "detector" not in names
    assert "walkers" in names


@pytest.mark.sumo
def test_the_same_seed_makes_the_scripted_agent_play_the_same_episode():
    env = CrossingEnv("bukmun_5", minutes=1)
    agent, hashes = ScriptedAgent(env, 3), []
    try:
        for _ in range(2):
            agent.reset()
            agent.play()
            hashes.append(env.trace_hash)
    finally:
        env.close()
    assert hashes[0] == hashes[1]


@pytest.mark.sumo
def test_resets_are_timed_without_their_warm_up():
    figures = _run("reset", "--minutes", "1", "--resets", "2")
    assert figures["resets"] == 2
    assert figures["slope_kib"] is None
    assert figures["times"] == pytest.approx(figures["reset_ms"] / figures["load_ms"])
    assert figures["rss_mib"] > 10
    assert 0.3 < figures["share"] < 1, "five minutes of warm-up and one of the episode"
    done = CliRunner().invoke(bench, ["reset", "--minutes", "1", "--resets", "1"], catch_exceptions=False)
    assert "too few for a slope" in done.output
    assert "% of an episode of 1 min" in done.output


@pytest.mark.sumo
def test_workers_are_measured_beside_one():
    figures = _run("workers", "--minutes", "1", "--workers", "2", "--hour", "night")
    assert figures["workers"] == 2
    assert figures["times"] == pytest.approx(figures["many_sps"] / figures["one_sps"])


def test_an_environment_is_measured_whole():
    done = CliRunner().invoke(bench, ["env", "--through", "environment", "--without", "need"])
    assert isinstance(done.exception, ValueError)
    assert "no --without" in str(done.exception)

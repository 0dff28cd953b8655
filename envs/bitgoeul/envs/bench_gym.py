"""The speed of `Bitgoeul/Crossing-v0`: decisions, observation and reward included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitgoeul.controller.observe import Observation
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser

from .bench_replay import Program, ReplayFigures, bench_program
from .bench_split import Split, split_of
from .crossing import CrossingEnv
from .reward import PersonSeconds
from .world import JunctionDriver


class ScriptedAgent:
    """An agent that takes max-pressure's choice at each decision of an environment.

    Parameters
    ----------
    env : on libsumo.
    seed : of every episode.
    """

    def __init__(self, env: CrossingEnv, seed: int) -> None:
        self._env, self._seed = env, seed
        self._chooser = LinearChooser(MAX_PRESSURE_WEIGHTS)
        self._seen: dict[str, Any] = {}

    def reset(self) -> None:
        """Begin the episode."""
        self._seen, _ = self._env.reset(seed=self._seed)

    def play(self) -> None:
        """Choose until the episode is over."""
        env, is_over, seen = self._env, False, self._seen
        while not is_over:
            observation = Observation(seen["context"], seen["choices"], seen["mask"].astype(bool))
            seen, _, _, is_over, _ = env.step(self._chooser.choose(observation))


def bench_gym(site: str, *, hour: str, minutes: int, seed: int, repeat: int) -> ReplayFigures:
    """Time an environment's steps and the bare replay of the same run, in turn.

    Parameters
    ----------
    site, hour, minutes, seed : of the environment.
    repeat : number of pairs, >= 1.
    """
    env = CrossingEnv(site, hour=hour, minutes=minutes)
    agent = ScriptedAgent(env, seed)
    try:
        agent.reset()  # starts SUMO, so that there is a connection to listen at
        return bench_program(
            env.driver.connection, Program(reset=agent.reset, play=agent.play), repeat=repeat
        )
    finally:
        env.close()


def split_gym(site: str, *, hour: str, minutes: int, seed: int, repeat: int) -> Split:
    """Return where the time of an environment's step goes, observation and reward among the parts.

    Parameters
    ----------
    site, hour, minutes, seed : of the environment.
    repeat : number of runs, >= 1; the fastest counts.
    """
    env = CrossingEnv(site, hour=hour, minutes=minutes)
    agent = ScriptedAgent(env, seed)

    def prepared() -> tuple[JunctionDriver, Callable[[], None]]:
        agent.reset()
        return env.driver, agent.play

    try:
        return split_of(prepared, repeat=repeat, reward=PersonSeconds)
    finally:
        env.close()

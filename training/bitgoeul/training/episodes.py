"""What a learner's worker processes simulate: episodes of a recipe, one SUMO per process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from bitgoeul.envs.crossing import CrossingEnv, ObsType
from bitgoeul.envs.reward import persons_per_second

from .recipe import Condition, Recipe
from .smdp import discounted_time
from .vector import SubprocCrossingVecEnv


class RecipeEnv(gymnasium.Env[ObsType, int]):
    """Episodes of a recipe's mix, with the learner's reward.

    Parameters
    ----------
    recipe : what is simulated.
    worker : number of this process; each draws its own episodes.
    started_at : decisions learned from before; a resumed training draws new episodes.

    Notes
    -----
    `info["elapsed_s"]` is how long a decision took; at the end of an episode `info["episode_cost"]` has
    its site, hour, seed, person-seconds per hour and mean time a person spent at the junction (person-
    seconds per second over persons arriving per second: Little's law).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(self, recipe: Recipe, *, worker: int, started_at: int = 0) -> None:
        self._recipe = recipe
        self._draws = np.random.default_rng([recipe.seed, worker, started_at])
        conditions = recipe.episodes.mix
        self._envs = [make_crossing(recipe, condition) for condition in conditions]
        weights = np.array([condition.weight for condition in conditions])
        self._weights = weights / weights.sum()
        self._env = self._envs[0]
        self._left = 0
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self,
        *,
        seed: int | None = None,  # noqa: ARG002 - Gymnasium's signature; the recipe's seed decides
        options: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[ObsType, dict[str, Any]]:
        """Start the next episode of the mix, in the running simulation while it goes on."""
        self._cost_person_s = self._elapsed_s = 0.0
        self._left -= 1
        if self._left > 0:
            return self._env.reset()
        index = int(self._draws.choice(len(self._envs), p=self._weights))
        episodes = self._recipe.episodes
        if self._env is not self._envs[index]:
            self._env.close()  # a process has one SUMO
        self._condition, self._env = episodes.mix[index], self._envs[index]
        self._seed = int(self._draws.integers(episodes.first_seed, episodes.last_seed + 1))
        self._left = (episodes.continuing_minutes or episodes.minutes) // episodes.minutes
        return self._env.reset(seed=self._seed)

    def step(self, action: int) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Carry out a choice; see `CrossingEnv.step`."""
        observation, reward, terminated, truncated, info = self._env.step(int(action))
        self._cost_person_s += info["person_s"]
        self._elapsed_s += info["elapsed_s"]
        if truncated:
            info["episode_cost"] = self._episode_cost()
        return observation, self._learned(reward, info), terminated, truncated, info

    def _learned(self, reward: float, info: Mapping[str, Any]) -> float:
        """Return the learner's reward: offset as the reward is discounted, then scaled."""
        shape = self._recipe.reward
        seconds = float(discounted_time(info["elapsed_s"], self._recipe.ppo.horizon_s))
        return shape.scale * (reward + shape.offset_per_s * seconds)

    def _episode_cost(self) -> dict[str, str | int | float]:
        """Return what the episode cost; it has just ended."""
        persons_per_s = persons_per_second(self._env.site, self._condition.hour)
        person_seconds_per_s = self._cost_person_s / max(self._elapsed_s, 1e-9)
        return {
            "site": self._condition.site,
            "hour": self._condition.hour,
            "seed": self._seed,
            "mean_time_s": person_seconds_per_s / persons_per_s,
            "person_seconds_per_h": person_seconds_per_s * 3600,
        }

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal now."""
        return self._env.action_masks()

    def close(self) -> None:
        """End the simulation and remove its files."""
        for env in self._envs:
            env.close()


def make_crossing(recipe: Recipe, condition: Condition) -> CrossingEnv:
    """Return the environment of one condition of the mix."""
    return CrossingEnv(
        condition.site,
        hour=condition.hour,
        minutes=recipe.episodes.minutes,
        detector=recipe.episodes.detector,
        continuing_minutes=recipe.episodes.continuing_minutes,
        tau_s=recipe.ppo.horizon_s,
    )


def open_episodes(recipe: Recipe, worker: int, started_at: int) -> RecipeEnv:
    """Return the environment of one worker process, which it keeps to one thread."""
    import torch

    torch.set_num_threads(1)
    return RecipeEnv(recipe, worker=worker, started_at=started_at)


@contextmanager
def worker_processes(recipe: Recipe, *, started_at: int) -> Iterator[SubprocCrossingVecEnv]:
    """Run a recipe's simulations in processes of their own; none is left afterwards, whatever happens.

    Raises
    ------
    Exception : what an episode raised, in its own type; ScenarioError where a process ended without a word.
    """
    starts = [partial(open_episodes, recipe, worker, started_at) for worker in range(recipe.ppo.n_envs)]
    venv = SubprocCrossingVecEnv(starts)
    try:
        yield venv
    finally:
        venv.close()

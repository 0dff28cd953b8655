"""What a learner's worker processes simulate: episodes of a recipe, one SUMO per process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.crossing import CrossingEnv, ObsType
from bitgoeul.envs.reward import SCALE_S, persons_per_second
from bitgoeul.envs.world import silence_native_warnings

from .processes import await_end, sigint_held
from .recipe import Recipe

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import SubprocVecEnv


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
        self._envs = [
            CrossingEnv(
                condition.site,
                hour=condition.hour,
                minutes=recipe.episodes.minutes,
                detector=recipe.episodes.detector,
            )
            for condition in conditions
        ]
        weights = np.array([condition.weight for condition in conditions])
        self._weights = weights / weights.sum()
        self._env = self._envs[0]
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self,
        *,
        seed: int | None = None,  # noqa: ARG002 - Gymnasium's signature; the recipe's seed decides
        options: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[ObsType, dict[str, Any]]:
        """Start the next episode of the mix."""
        self._env.close()
        index = int(self._draws.choice(len(self._envs), p=self._weights))
        episodes = self._recipe.episodes
        self._condition, self._env = episodes.mix[index], self._envs[index]
        self._seed = int(self._draws.integers(episodes.first_seed, episodes.last_seed + 1))
        self._cost = self._elapsed_s = 0.0
        return self._env.reset(seed=self._seed)

    def step(self, action: int) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Carry out a choice; see `CrossingEnv.step`."""
        observation, reward, terminated, truncated, info = self._env.step(int(action))
        elapsed_s = info["elapsed_s"]
        self._cost -= reward
        self._elapsed_s += elapsed_s
        if truncated:
            info["episode_cost"] = self._episode_cost()
        shape = self._recipe.reward
        learned = shape.scale * (reward + shape.offset_per_s * elapsed_s)
        return observation, learned, terminated, truncated, info

    def _episode_cost(self) -> dict[str, str | int | float]:
        """Return what the episode cost; it has just ended."""
        persons_per_s = persons_per_second(self._env.site, self._condition.hour)
        mean_time_s = self._cost / max(self._elapsed_s, 1e-9) * SCALE_S
        return {
            "site": self._condition.site,
            "hour": self._condition.hour,
            "seed": self._seed,
            "mean_time_s": mean_time_s,
            "person_seconds_per_h": mean_time_s * persons_per_s * 3600,
        }

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal now."""
        return self._env.action_masks()

    def close(self) -> None:
        """End the simulation and remove its files."""
        for env in self._envs:
            env.close()


def open_episodes(recipe: Recipe, worker: int, started_at: int) -> RecipeEnv:
    """Return the environment of one worker process, which it keeps to one thread."""
    import torch

    torch.set_num_threads(1)
    silence_native_warnings()
    return RecipeEnv(recipe, worker=worker, started_at=started_at)


@contextmanager
def worker_processes(recipe: Recipe, *, started_at: int) -> Iterator[SubprocVecEnv]:
    """Run a recipe's simulations in processes of their own; none is left afterwards, whatever happens.

    Raises
    ------
    ScenarioError : a worker process ended before its time.
    """
    from stable_baselines3.common.vec_env import SubprocVecEnv

    older = set(multiprocessing.active_children())
    starts = [partial(open_episodes, recipe, worker, started_at) for worker in range(recipe.ppo.n_envs)]
    remotes: tuple[Any, ...] = ()
    try:
        with sigint_held():
            venv = SubprocVecEnv(starts, start_method="spawn")  # type: ignore[arg-type] # partials
        remotes = venv.remotes
        yield venv
    except (EOFError, ConnectionError) as fault:
        raise ScenarioError("a worker process of the training ended before its time") from fault
    finally:
        for remote in remotes:
            with suppress(OSError):
                remote.send(("close", None))
        await_end(set(multiprocessing.active_children()) - older)

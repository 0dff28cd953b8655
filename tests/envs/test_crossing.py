"""The Gymnasium environment: the public checker, masks, illegal actions, seeds, reward."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bitgoeul.controller.choices import N_MAX
from bitgoeul.envs import ENV_ID
from bitgoeul.envs.crossing import TRAINING_SEEDS, CrossingEnv

pytestmark = pytest.mark.sumo


@pytest.fixture
def env():
    made = CrossingEnv(minutes=2, hour="offpeak")
    yield made
    made.close()


def first_legal(env: CrossingEnv) -> int:
    return int(np.flatnonzero(env.action_masks())[0])


def test_gymnasium_makes_it_and_its_checker_passes():
    made = gymnasium.make(ENV_ID, minutes=2)
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_an_episode_lasts_its_minutes_and_is_truncated_not_terminated(env):
    env.reset(seed=3)
    elapsed_s, is_over = 0.0, False
    while not is_over:
        _, reward, is_terminated, is_over, info = env.step(first_legal(env))
        elapsed_s += info["elapsed_s"]
        assert not is_terminated
        assert reward == pytest.approx(sum(info["reward_terms"].values()))
        assert all(term <= 0 for term in info["reward_terms"].values())
    assert 60 <= elapsed_s <= 120


def test_observations_are_bounded_and_masked_rows_beyond_the_choices_are_zero(env):
    observation, _ = env.reset(seed=3)
    for _ in range(10):
        assert env.observation_space.contains(observation)
        assert not observation["mask"][10:].any()
        assert not observation["choices"][10:].any()
        observation, *_ = env.step(first_legal(env))


def test_an_illegal_action_is_replaced_by_the_first_legal_one_and_reported(env):
    env.reset(seed=3)
    illegal = N_MAX - 1
    seen, reward, _, _, info = env.step(illegal)
    assert info["illegal_action"]
    env.reset(seed=3)
    same, same_reward, _, _, same_info = env.step(first_legal(env))
    assert not same_info["illegal_action"]
    assert reward == same_reward
    assert all(np.array_equal(seen[key], same[key]) for key in seen)


def test_strict_raises_on_an_illegal_action():
    env = CrossingEnv(minutes=2, strict=True)
    env.reset(seed=3)
    with pytest.raises(ValueError, match="illegal now; legal: "):
        env.step(N_MAX - 1)
    env.close()


def test_the_same_seed_and_actions_give_the_same_episode(env):
    def play() -> list[float]:
        env.reset(seed=11)
        return [float(env.step(first_legal(env))[1]) for _ in range(8)]

    assert play() == play()


def test_without_a_seed_only_training_seeds_are_drawn(env):
    seeds = [env.reset()[1]["seed"] for _ in range(4)]
    assert all(0 <= seed < TRAINING_SEEDS for seed in seeds)
    assert len(set(seeds)) > 1


def test_unknown_reset_options_are_refused(env):
    with pytest.raises(ValueError, match="unknown reset options: nonsense"):
        env.reset(options={"nonsense": 1})


def test_step_before_reset_is_refused():
    with pytest.raises(RuntimeError, match="call reset"):
        CrossingEnv().step(0)


def test_a_second_environment_in_one_process_is_refused(env):
    env.reset(seed=1)
    other = CrossingEnv(minutes=2)
    with pytest.raises(Exception, match="one libsumo simulation a process"):
        other.reset(seed=1)

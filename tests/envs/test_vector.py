import multiprocessing
import signal

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.vector import CrossingVectorEnv, decided

pytestmark = pytest.mark.sumo
SHORT = {"minutes": 1, "hour": "offpeak"}


def first_legal(observations):
    return observations["mask"].argmax(axis=1)


def play(mode, steps=None, seed=3):
    """Return the steps of two environments, to the one after the first episode's end unless told."""
    envs = CrossingVectorEnv(2, autoreset_mode=mode, **SHORT)
    try:
        assert envs.metadata["autoreset_mode"] == AutoresetMode(mode)
        observations, infos = envs.reset(seed=seed)
        taken = [(observations, None, np.zeros(2, bool), infos)]
        while True:
            if mode == "Disabled" and taken[-1][2].any():
                observations, infos = envs.reset(options={"reset_mask": taken[-1][2].copy()})
                return [*taken, (observations, None, np.zeros(2, bool), infos)]
            is_last = taken[-1][2].any()
            observations, rewards, terminated, truncated, infos = envs.step(first_legal(observations))
            assert not terminated.any()
            taken.append((observations, rewards, truncated, infos))
            if is_last:
                return taken
    finally:
        envs.close()
        assert not multiprocessing.active_children()


def alone(seed):
    """Return the observations of one environment in this process, the first of its second episode last."""
    env = CrossingEnv(**SHORT)
    try:
        observation, _ = env.reset(seed=seed)
        seen, is_over = [observation], False
        while not is_over:
            observation, *_, is_over, _ = env.step(int(observation["mask"].argmax()))
            seen.append(observation)
        observation, _ = env.reset()
        return [*seen, observation]
    finally:
        env.close()


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ("context", "choices", "mask"))


def of(observations, place):
    return {name: values[place] for name, values in observations.items()}


@pytest.fixture(scope="module")
def single():
    return [alone(3), alone(4)]


def over(taken):
    """Return the step in which an episode ended first, and where."""
    index = next(index for index, step in enumerate(taken) if step[2].any())
    return index, int(taken[index][2].argmax())


def test_next_step_resets_in_the_step_after_the_last(single):
    taken = play("NextStep")
    last, place = over(taken)
    for index, step in enumerate(taken[: last + 1]):
        assert same(of(step[0], place), single[place][index])
    after = taken[last + 1]
    assert same(of(after[0], place), single[place][-1])
    assert after[1][place] == 0
    elapsed_s, is_decision = decided(after[3], "elapsed_s", 2)
    assert not is_decision[place]
    assert elapsed_s[place] == 0
    elapsed_s, is_decision = decided(taken[last][3], "elapsed_s", 2)
    assert is_decision.all()
    assert (elapsed_s > 0).all()


def test_same_step_returns_the_next_episode_at_once_and_the_last_observation_beside_it(single):
    taken = play("SameStep")
    last, place = over(taken)
    observations, _, _, infos = taken[last]
    assert same(of(observations, place), single[place][-1])
    assert same(infos["final_obs"][place], single[place][-2])
    elapsed_s, is_decision = decided(infos, "elapsed_s", 2)
    assert is_decision.all()
    assert (elapsed_s > 0).all()


def test_disabled_resets_those_that_are_told_and_leaves_the_others_alone(single):
    taken = play("Disabled")
    last, place = over(taken)
    assert same(of(taken[last][0], place), single[place][-2])
    assert same(of(taken[-1][0], place), single[place][-1])
    other = 1 - place
    if not taken[last][2][other]:
        assert same(of(taken[-1][0], other), of(taken[last][0], other))


@pytest.mark.filterwarnings("ignore:.*ERROR")  # Gymnasium tells the traceback as a warning
def test_an_error_comes_through_in_its_own_type():
    envs = CrossingVectorEnv(2, strict=True, **SHORT)
    try:
        observations, _ = envs.reset(seed=3)
        wrong = first_legal(observations)
        wrong[1] = int((observations["mask"][1] == 0).argmax())
        with pytest.raises(ValueError, match="illegal now"):
            envs.step(wrong)
    finally:
        envs.close(terminate=True)
    assert not multiprocessing.active_children()


def test_no_environment_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        CrossingVectorEnv(0)


def test_a_script_that_is_stopped_without_closing_leaves_no_files(files_left_by_stopped_script):
    assert not files_left_by_stopped_script("bitgoeul.envs.vector", "CrossingVectorEnv", signal.SIGINT)

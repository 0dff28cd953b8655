"""The Gymnasium environment: the public checker, masks, illegal actions, seeds, reward."""

from __future__ import annotations

import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs import ENV_ID
from bitgoeul.envs.crossing import TRAINING_SEEDS, CrossingEnv
from bitgoeul.envs.episode import EXAMPLE_FILE

pytestmark = pytest.mark.sumo


@pytest.fixture
def env():
    made = CrossingEnv(minutes=2, hour="offpeak")
    yield made
    made.close()


@pytest.fixture
def make_env():
    """Make environments that are closed whatever happens."""
    made = []

    def make(*args, **options) -> CrossingEnv:
        made.append(CrossingEnv(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


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


def test_strict_raises_on_an_illegal_action(make_env):
    env = make_env(minutes=2, strict=True)
    env.reset(seed=3)
    with pytest.raises(ValueError, match="illegal now; legal: "):
        env.step(N_MAX - 1)


def test_the_same_seed_and_actions_give_the_same_episode(env):
    def play() -> list[float]:
        env.reset(seed=11)
        return [float(env.step(first_legal(env))[1]) for _ in range(8)]

    assert play() == play()


def test_without_a_seed_only_training_seeds_are_drawn(env):
    seeds = [env.reset()[1]["seed"] for _ in range(4)]
    assert all(0 <= seed < TRAINING_SEEDS for seed in seeds)
    assert len(set(seeds)) > 1


def test_each_decision_has_more_than_one_legal_choice_and_its_time_is_told(env):
    env.reset(seed=3)
    for _ in range(12):
        assert env.action_masks().sum() > 1
        before_ds = env.driver.now_ds
        *_, is_over, info = env.step(np.int64(np.flatnonzero(env.action_masks())[-1]))
        assert info["elapsed_s"] == (env.driver.now_ds - before_ds) / 10
        assert info["discount"] == pytest.approx(np.exp(-info["elapsed_s"] / 240))
        if is_over:
            break
    assert is_over


def test_an_action_that_is_no_row_number_is_refused(env):
    env.reset(seed=3)
    with pytest.raises(TypeError):
        env.step(0.5)


def test_the_last_step_brings_the_runs_result(env):
    env.reset(seed=3)
    is_over = False
    while not is_over:
        *_, is_over, info = env.step(first_legal(env))
        assert ("result" in info) is is_over
    result = info["result"]
    assert result["seed"] == 3
    assert result["hour"] == "offpeak"
    assert result["trace_hash"] == env.trace_hash
    assert result["unserved_walkers_n"] > 0  # two minutes of staying
    counts = ("teleports_n", "jammed_n", "warnings_n", "vehicles_unserved_n", "vehicles_unfinished_n")
    assert all(result[name] >= 0 for name in counts)
    assert result["vehicles_unfinished_n"] > 0
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    env.reset(seed=3)


def test_reset_options_change_the_episode_and_are_told(env):
    _, info = env.reset(seed=3, options={"hour": "8", "detector": "perfect", "demand_factor": 0.5})
    assert info == {
        "seed": 3, "hour": "8", "detector": "perfect", "demand_factor": 0.5, "walker_mix": "site",
    }  # fmt: skip
    _, plain = env.reset(seed=3)
    assert (plain["hour"], plain["detector"], plain["demand_factor"]) == ("offpeak", "camera_day", 1.0)


def test_a_randomised_environment_follows_its_seed(make_env):
    env = make_env(minutes=1, randomise=EXAMPLE_FILE)
    told = [env.reset(seed=5)[1], *(env.reset()[1] for _ in range(3))]
    assert [env.reset(seed=5)[1], *(env.reset()[1] for _ in range(3))] == told
    assert len({info["demand_factor"] for info in told}) == 4
    assert told[0]["seed"] == 5


def test_fixed_steps_last_exactly_their_time_and_take_any_action(make_env):
    env = make_env(minutes=2, hour="offpeak", delta_time_s=5, strict=False)
    env.reset(seed=3)
    rng = np.random.default_rng(1)
    for number in range(24):
        is_due = env.driver.is_decision_due
        mask = env.action_masks()
        assert mask.any()
        assert is_due or mask.tolist() == [True] + [False] * (N_MAX - 1)
        action = int(rng.integers(N_MAX))
        *_, is_over, info = env.step(action)
        assert info["elapsed_s"] == 5
        assert is_over is (number == 23)
        if is_due:
            assert info["illegal_action"] is not bool(mask[action])


def test_a_fixed_step_uses_its_action_when_a_choice_becomes_due(make_env):
    env = make_env(minutes=4, hour="offpeak", delta_time_s=5)
    env.reset(seed=3)
    while not env.driver.is_decision_due:
        env.step(0)
    went = []
    env.driver.lamp_listeners.append(lambda now_ds, before, after: went.append(after.green & ~before.green))
    go = int(np.flatnonzero(env.action_masks())[-1])
    for _ in range(12):
        env.step(go if env.action_masks()[go] else 0)
    assert next(mask for mask in went if mask) & ~env.driver.policy.rules.choices[go].mask == 0


def test_strict_fixed_steps_raise_only_where_a_choice_is_due(make_env):
    env = make_env(minutes=2, delta_time_s=5, strict=True)
    env.reset(seed=3)
    for _ in range(20):
        if env.driver.is_decision_due:
            with pytest.raises(ValueError, match="illegal now; legal: 0, 1"):
                env.step(N_MAX - 1)
            env.step(int(np.flatnonzero(env.action_masks())[-1]))
        else:
            env.step(1)


@pytest.mark.parametrize("learner", ["PPO", "DQN"])
def test_stock_learners_without_masks_learn_at_fixed_steps(learner, make_env):
    algorithms = pytest.importorskip("stable_baselines3")
    pytest.importorskip("torch").set_num_threads(1)
    env = make_env(minutes=10, hour="night", delta_time_s=5, observation="flat")
    sizes = {"PPO": {"n_steps": 100, "batch_size": 50}, "DQN": {"learning_starts": 50, "buffer_size": 200}}
    model = getattr(algorithms, learner)("MlpPolicy", env, seed=1, device="cpu", **sizes[learner])
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(200)
    assert model.num_timesteps == 200
    assert any((old != new).any() for old, new in zip(before, model.policy.parameters(), strict=True))
    assert 0 <= int(model.predict(env.reset(seed=1)[0])[0]) < N_MAX


def test_the_public_checkers_pass_at_fixed_steps_with_flat_observations(make_env):
    checkers = pytest.importorskip("stable_baselines3.common.env_checker")
    env = make_env("bukmun_5_zone", minutes=1, delta_time_s=5, observation="flat")
    checkers.check_env(env)
    check_env(env, skip_render_check=True)


def test_one_simulation_goes_on_over_several_episodes_without_losing_time(make_env):
    env = make_env(minutes=2, hour="offpeak", continuing_minutes=5)
    told, spans, results = [], [], []
    for _ in range(4):
        _, info = env.reset()
        begun_ds, is_over = env.driver.now_ds, False
        assert env.action_masks().sum() > 1
        while not is_over:
            *_, is_over, step_info = env.step(first_legal(env))
        told.append(info["seed"])
        spans.append((begun_ds, env.driver.now_ds))
        results.append(step_info["result"])
    assert told[0] == told[1] == told[2] != told[3]
    assert spans[0][1] == spans[1][0]
    assert spans[1][1] == spans[2][0]
    assert spans[2][1] == 6000
    assert ["crossings_n" in result for result in results] == [False, False, True, False]
    assert all(result["warnings_n"] >= 0 for result in results)
    env.reset(seed=9)
    assert env.driver.now_ds < 3600


def test_a_folder_is_left_by_neither_resets_nor_close(tmp_path, monkeypatch, make_env):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    env = make_env(minutes=1, hour="night")
    for seed in range(3):
        env.reset(seed=seed)
        if seed == 1:
            is_over = False
            while not is_over:
                *_, is_over, _ = env.step(first_legal(env))
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.iterdir())) == 2
    env.close()
    assert not list(tmp_path.iterdir())


def test_a_critics_truth_is_a_key_of_its_own(make_env):
    env = make_env(minutes=1, critic=True)
    observation, _ = env.reset(seed=3)
    assert set(observation) == {"context", "choices", "mask", "critic"}
    assert env.observation_space.contains(observation)


def test_an_observation_function_of_ones_own_is_used(make_env):
    class Waiting:
        space = gymnasium.spaces.Box(0, 1e3, (1,), np.float32)

        def __call__(self, situation, observation):
            return np.array([sum(len(frame.waiting) for frame in situation.snapshot.frames)], np.float32)

    env = make_env(minutes=1, observation=Waiting())
    seen, _ = env.reset(seed=3)
    assert env.observation_space is Waiting.space
    assert Waiting.space.contains(seen)
    assert Waiting.space.contains(env.step(0)[0])


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_each_step_can_be_drawn_the_last_one_too(make_env, mode):
    env = make_env(minutes=1, hour="night", render_mode=mode)
    env.reset(seed=3)
    frames, is_over = [env.render()], False
    while not is_over:
        *_, is_over, _ = env.step(first_legal(env))
        frames.append(env.render())
    if mode == "ansi":
        assert all(isinstance(frame, str) and frame for frame in frames)
    else:
        assert {(frame.dtype, frame.ndim, frame.shape[2]) for frame in frames} == {(np.dtype(np.uint8), 3, 3)}
        assert not np.array_equal(frames[0], frames[-1])


def test_a_window_without_a_display_is_refused_in_one_line(make_env, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    env = make_env(minutes=1, render_mode="human")
    with pytest.raises(ScenarioError, match="SUMO ended at start with code 1; sumo-gui needs a display"):
        env.reset(seed=3)


def test_without_a_render_mode_nothing_is_drawn(env):
    env.reset(seed=3)
    assert env.render() is None


def test_a_sumo_rl_table_is_written_at_the_end_of_an_episode(make_env, tmp_path):
    env = make_env(minutes=1, hour="night", csv_path=tmp_path / "run.csv")
    env.reset(seed=3)
    is_over = False
    while not is_over:
        assert not (tmp_path / "run.csv").exists()
        *_, is_over, _ = env.step(first_legal(env))
    header, *rows = (tmp_path / "run.csv").read_text().splitlines()
    assert header.startswith("step,system_total_")
    assert len(rows) >= 10


def test_unknown_reset_options_are_refused(env):
    with pytest.raises(ValueError, match="unknown reset options: nonsense"):
        env.reset(options={"nonsense": 1})


@pytest.mark.parametrize("seed", [-1, 1.5, "3", True])
def test_a_seed_that_is_none_is_refused(env, seed):
    with pytest.raises(ValueError, match=f"seed = {seed}: a seed is a whole number of 0 or more"):
        env.reset(seed=seed)


def test_numpy_seeds_and_those_too_large_for_sumo_are_played(env):
    assert env.reset(seed=np.uint32(7))[1]["seed"] == 7
    played = [env.reset(seed=2**32 - 1)[1]["seed"] for _ in range(2)]
    assert played[0] == played[1] < TRAINING_SEEDS
    assert env.reset(seed=2**32 - 2)[1]["seed"] != played[0]


def test_an_action_that_is_no_row_is_refused_by_name(env):
    env.reset(seed=3)
    with pytest.raises(TypeError, match=r"action = 1\.0: an action is one row's index, 0 to 23"):
        env.step(1.0)


@pytest.mark.parametrize("returned", [-1.0, None, {"time": "x"}])
def test_a_reward_function_that_returns_no_named_numbers_is_refused(make_env, returned):
    env = make_env(minutes=1, hour="night", reward=lambda _interval: returned)
    env.reset(seed=3)
    with pytest.raises(ValueError, match=r"give a mapping of named terms|'time' = 'x': give a number"):
        env.step(0)


def test_a_running_environment_is_not_copied(env):
    copy.deepcopy(env).close()
    env.reset(seed=3)
    with pytest.raises(TypeError, match="running SUMO cannot be copied"):
        copy.deepcopy(env)


def test_a_forgotten_environment_is_cleared_away_when_the_next_one_starts(make_env):
    lost = CrossingEnv(minutes=1, hour="night")
    lost.reset(seed=3)
    folder = lost.simulation.folder
    assert folder.exists()
    del lost
    make_env(minutes=1, hour="night").reset(seed=3)
    assert not folder.exists()


def test_an_hour_of_a_randomisation_that_the_site_lacks_is_refused_at_once(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('schema_version = 1\n[[hours]]\nhour = "8"\n[[hours]]\nhour = "rush"\n')
    with pytest.raises(ScenarioError, match=r"mine.toml: hours.1.hour: hour 'rush' is unknown"):
        CrossingEnv(randomise=path)


def test_no_step_follows_the_end_of_an_episode_in_a_simulation_that_goes_on(make_env):
    env = make_env(minutes=1, hour="night", continuing_minutes=3)
    env.reset(seed=3)
    is_over = False
    while not is_over:
        *_, is_over, _ = env.step(first_legal(env))
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    env.reset()
    env.step(0)


def test_after_a_refused_reset_the_environment_is_reset_as_before(env):
    first, _ = env.reset(seed=3)
    with pytest.raises(ScenarioError, match="hour 'rush' is unknown"):
        env.reset(seed=3, options={"hour": "rush"})
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    again, _ = env.reset(seed=3)
    assert all(np.array_equal(first[key], again[key]) for key in first)


def test_step_before_reset_is_refused():
    with pytest.raises(RuntimeError, match="call reset"):
        CrossingEnv().step(0)


def test_a_second_environment_in_one_process_is_refused(env):
    env.reset(seed=1)
    other = CrossingEnv(minutes=2)
    with pytest.raises(Exception, match="one libsumo simulation a process"):
        other.reset(seed=1)

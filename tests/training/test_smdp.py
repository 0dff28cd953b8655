import math

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from bitgoeul.training.smdp import (
    Decisions,
    RewardRate,
    SmdpCallback,
    SmdpDictRolloutBuffer,
    SmdpMaskableDictRolloutBuffer,
    SmdpMaskableRolloutBuffer,
    SmdpRolloutBuffer,
    advantages,
    discount,
    discounted_time,
)

# --- a two-state problem whose best policy depends on the seconds -----------------------------------

QUICK, SLOW = 0, 1
HOME, AWAY = 0, 1
REWARD = {(HOME, QUICK): 2.0, (HOME, SLOW): 5.0, (AWAY, QUICK): 1.0, (AWAY, SLOW): 1.0}
"""Reward of a decision. The slow way pays more a decision, and much less a second."""
TIME_S = {(HOME, QUICK): 1.0, (HOME, SLOW): 10.0, (AWAY, QUICK): 1.0, (AWAY, SLOW): 4.0}
"""How long a decision takes. Either way leads from one state to the other."""
TAU_S = 30.0
POLICIES = {"quick": (QUICK, QUICK), "slow": (SLOW, QUICK)}


class TwoStates(gymnasium.Env):
    """Home and away in turn; cut by time after 40 decisions."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.made = HOME, 0
        return self.seen(), {}

    def step(self, action):
        key = (self.state, int(action))
        self.state, self.made = 1 - self.state, self.made + 1
        return self.seen(), REWARD[key], False, self.made >= 40, {"elapsed_s": TIME_S[key]}

    def seen(self):
        return np.eye(2, dtype=np.float32)[self.state]

    def action_masks(self):
        return np.ones(2, dtype=bool)


def best_by_value_iteration(discount_of):
    """Return the best action in each state, with a discount for each decision's time."""
    values = np.zeros(2)
    for _ in range(20_000):
        worth = {key: REWARD[key] + discount_of(TIME_S[key]) * values[1 - key[0]] for key in REWARD}
        values = np.array([max(worth[state, action] for action in (QUICK, SLOW)) for state in (HOME, AWAY)])
    return tuple(
        max((QUICK, SLOW), key=lambda action, state=state: worth[state, action]) for state in (HOME, AWAY)
    )


def best_by_average():
    """Return the policy with the greatest reward per second, of all four."""
    rates = {
        (home, away): (REWARD[HOME, home] + REWARD[AWAY, away]) / (TIME_S[HOME, home] + TIME_S[AWAY, away])
        for home in (QUICK, SLOW)
        for away in (QUICK, SLOW)
    }
    return max(rates, key=rates.__getitem__), max(rates.values())


def learned(algorithm=PPO, *, with_seconds, **buffer):
    """Return the learner and its policy in both states."""
    torch.set_num_threads(1)
    given = {}
    if with_seconds:
        kind = SmdpMaskableRolloutBuffer if algorithm is MaskablePPO else SmdpRolloutBuffer
        given = {"rollout_buffer_class": kind, "rollout_buffer_kwargs": buffer}
    model = algorithm(
        "MlpPolicy",
        TwoStates(),
        n_steps=256,
        batch_size=64,
        n_epochs=5,
        learning_rate=0.01,
        gamma=math.exp(-1.0 / TAU_S),
        policy_kwargs={"net_arch": [8]},
        seed=1,
        device="cpu",
        **given,
    )
    model.learn(5_120, callback=SmdpCallback() if with_seconds else None)
    actions, _ = model.predict(np.eye(2, dtype=np.float32), deterministic=True)
    return model, tuple(actions.tolist())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, math.exp(-1.0 / TAU_S), 0.99, 0.999])
def test_no_constant_discount_per_decision_finds_the_best_policy(gamma):
    assert best_by_value_iteration(lambda _: gamma)[HOME] == SLOW


def test_by_the_second_the_quick_way_is_best():
    assert best_by_value_iteration(lambda time_s: float(discount(time_s, TAU_S))) == POLICIES["quick"]
    policy, rate = best_by_average()
    assert policy == POLICIES["quick"]
    assert rate == pytest.approx(1.5)


def test_stock_ppo_learns_the_slow_way():
    _, policy = learned(with_seconds=False)
    assert policy[HOME] == SLOW


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO])
def test_the_discounted_form_learns_the_quick_way(algorithm):
    _, policy = learned(algorithm, with_seconds=True, tau_s=TAU_S)
    assert policy == POLICIES["quick"]


def test_the_average_cost_form_learns_the_quick_way_and_its_rate():
    model, policy = learned(with_seconds=True, tau_s=math.inf, rate_step=0.3)
    assert policy == POLICIES["quick"]
    assert model.rollout_buffer.rate.value == pytest.approx(1.5, abs=0.1)


# --- the formulas -----------------------------------------------------------------------------------


def test_discount_and_discounted_time_have_their_limits():
    assert discount([0.0, 240.0], 240.0) == pytest.approx([1.0, math.exp(-1)])
    assert discount(1e9, math.inf) == 1
    assert discounted_time(7.0, math.inf) == 7
    assert discounted_time([0.0, 240.0, 1e9], 240.0) == pytest.approx([0.0, 240 * (1 - math.exp(-1)), 240.0])


def some_decisions(*, truncated):
    rng = np.random.default_rng(3)
    rewards, elapsed_s, values = rng.normal(size=(3, 6, 1))
    is_last = np.zeros((6, 1), dtype=bool)
    is_last[3] = True
    next_values = np.vstack([values[1:], [[0.7]]])
    next_values[3] = 5.0 if truncated else 0.0
    return Decisions(
        rewards=rewards,
        elapsed_s=np.abs(elapsed_s),
        values=values,
        next_values=next_values,
        is_last=is_last,
    )


@pytest.mark.parametrize("truncated", [True, False])
@pytest.mark.parametrize(("tau_s", "rate"), [(2.0, 0.0), (2.0, 0.4), (math.inf, 0.4)])
def test_with_lambda_1_an_advantage_is_the_discounted_sum_to_the_end_of_the_episode(truncated, tau_s, rate):
    made = some_decisions(truncated=truncated)
    found = advantages(made, tau_s=tau_s, gae_lambda=1.0, reward_rate=rate)
    for first in range(6):
        end = 3 if first <= 3 else 5
        sum_, weight = 0.0, 1.0
        for step in range(first, end + 1):
            time_s = made.elapsed_s[step, 0]
            lost = time_s if math.isinf(tau_s) else tau_s * (1 - math.exp(-time_s / tau_s))
            sum_ += weight * (made.rewards[step, 0] - rate * lost)
            weight *= math.exp(-time_s / tau_s)
        sum_ += weight * made.next_values[end, 0] - made.values[first, 0]
        assert found[first, 0] == pytest.approx(sum_)


def test_with_equal_times_the_buffer_is_sb3s_own():
    from stable_baselines3.common.buffers import RolloutBuffer

    rng = np.random.default_rng(5)
    env = TwoStates()
    shape = (16, env.observation_space, env.action_space)
    ours = SmdpRolloutBuffer(*shape, device="cpu", gae_lambda=0.9, n_envs=2, tau_s=20.0)
    stock = RolloutBuffer(*shape, device="cpu", gae_lambda=0.9, gamma=math.exp(-4 / 20), n_envs=2)
    for _ in range(16):
        row = (
            rng.random((2, 2)),
            rng.integers(2, size=(2, 1)),
            rng.normal(size=2),
            rng.random(2) < 0.2,
            torch.tensor(rng.normal(size=2)),
            torch.zeros(2),
        )
        ours.elapsed_s[ours.pos] = 4.0
        ours.add(*row)
        stock.add(*row)
    last, dones = torch.tensor([0.3, -0.2]), np.array([False, True])
    ours.compute_returns_and_advantage(last, dones)
    stock.compute_returns_and_advantage(last, dones)
    assert ours.advantages == pytest.approx(stock.advantages, abs=1e-6)
    assert ours.returns == pytest.approx(stock.returns, abs=1e-6)


def test_a_reward_rate_is_total_over_total_and_forgets_as_told():
    forever, newest, half = RewardRate(step=0.0), RewardRate(step=1.0), RewardRate(step=0.5)
    assert forever.value == 0
    for rate in (forever, newest, half):
        rate.update([1.0, 5.0], [1.0, 9.0])
        assert rate.value == pytest.approx(0.6)  # not (1 + 5/9) / 2
        rate.update([10.0], [5.0])
    assert forever.value == pytest.approx(16 / 15)
    assert newest.value == pytest.approx(2.0)
    assert half.value == pytest.approx(13 / 10)
    with pytest.raises(ValueError, match="between 0 and 1"):
        RewardRate(step=1.5)


# --- in the learner's loop --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "kind"), [(PPO, SmdpRolloutBuffer), (MaskablePPO, SmdpMaskableRolloutBuffer)]
)
def test_a_truncated_episode_goes_on_at_the_value_of_its_last_state(algorithm, kind):
    seen = {}

    class Keep(SmdpCallback):
        def _on_rollout_end(self):
            buffer = self.model.rollout_buffer
            seen.update(
                rewards=buffer.rewards.copy(), values=buffer.values.copy(), returns=buffer.returns.copy()
            )
            seen["home"] = self._value(np.array([1.0, 0.0], np.float32))
            seen["flags"] = [info["TimeLimit.truncated"] for info in self.locals["infos"]]

    model = algorithm(
        "MlpPolicy",
        TwoStates(),
        n_steps=40,
        batch_size=40,
        n_epochs=1,
        gae_lambda=0.0,
        seed=1,
        device="cpu",
        rollout_buffer_class=kind,
        rollout_buffer_kwargs={"tau_s": TAU_S},
    )
    model.learn(40, callback=Keep())
    # The 40th decision leaves AWAY for HOME, takes 1 or 4 s, and is cut there.
    assert seen["rewards"][39, 0] == 1.0
    assert seen["flags"] == [True]
    allowed = [1.0 + math.exp(-time_s / TAU_S) * seen["home"] for time_s in (1.0, 4.0)]
    assert min(abs(seen["returns"][39, 0] - value) for value in allowed) < 1e-5


def test_dict_observations_have_buffers_too():
    space = spaces.Dict({"context": spaces.Box(0, 1, (3,)), "mask": spaces.MultiBinary(2)})
    for kind in (SmdpDictRolloutBuffer, SmdpMaskableDictRolloutBuffer):
        buffer = kind(4, space, spaces.Discrete(2), device="cpu", n_envs=2, tau_s=9.0)
        assert buffer.elapsed_s.shape == (4, 2)
        assert buffer.observations["context"].shape == (4, 2, 3)


def test_mistakes_are_said_plainly():
    space = (4, TwoStates.observation_space, TwoStates.action_space)
    for tau_s in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0 s"):
            SmdpRolloutBuffer(*space, device="cpu", tau_s=tau_s)
    with pytest.raises(ValueError, match="rate_step"):
        SmdpRolloutBuffer(*space, device="cpu", tau_s=math.inf)
    sizes = {"n_steps": 8, "batch_size": 8, "device": "cpu"}
    with pytest.raises(TypeError, match="semi-Markov buffer"):
        PPO("MlpPolicy", TwoStates(), **sizes).learn(8, callback=SmdpCallback())
    ours = {"rollout_buffer_class": SmdpRolloutBuffer, "rollout_buffer_kwargs": {"tau_s": 9.0}}
    with pytest.raises(ValueError, match="SmdpCallback"):
        PPO("MlpPolicy", TwoStates(), **sizes, **ours).learn(8)
    with pytest.raises(ValueError, match="no elapsed_s"):
        PPO("MlpPolicy", "CartPole-v1", **sizes, **ours).learn(8, callback=SmdpCallback())

"""Learning where decisions take unequal time: returns by seconds, for PPO and MaskablePPO.

A semi-Markov decision process is a Markov decision process whose decisions last `elapsed_s` seconds. Its
discount belongs to the seconds, not to the decision; else a policy gains by cutting the same time into
more, or into fewer, decisions. Use it with any environment whose `info` has `elapsed_s`::

    model = MaskablePPO("MultiInputPolicy", venv, rollout_buffer_class=SmdpMaskableDictRolloutBuffer,
                        rollout_buffer_kwargs={"tau_s": 240.0})
    model.learn(100_000, callback=SmdpCallback())

The functions at the top need numpy only and serve a training loop of one's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback

Array = npt.NDArray[np.float64]

NO_CALLBACK: Final = "no elapsed_s for these decisions: pass SmdpCallback() to learn(callback=...)"


# --- the formulas ---------------------------------------------------------------------------------


def discount(elapsed_s: npt.ArrayLike, tau_s: float) -> Array:
    """Return what a reward after some time counts now.

    Parameters
    ----------
    elapsed_s : time until then, >= 0. [s]
    tau_s : time constant, > 0; infinite discounts nothing. [s]

    Returns
    -------
    `exp(-elapsed_s / tau_s)`; 1 at once, and everywhere if `tau_s` is infinite.

    References
    ----------
    Bradtke and Duff (1994), Reinforcement learning methods for continuous-time Markov decision problems,
    NIPS 7; Sutton, Precup and Singh (1999), doi:10.1016/S0004-3702(99)00052-1.
    """
    return np.asarray(np.exp(-np.asarray(elapsed_s, dtype=np.float64) / tau_s))


def discounted_time(elapsed_s: npt.ArrayLike, tau_s: float) -> Array:
    """Return what a reward of 1 a second over some time counts at its beginning. [s]

    Parameters
    ----------
    elapsed_s : length of the interval, >= 0. [s]
    tau_s : time constant, > 0; infinite discounts nothing. [s]

    Returns
    -------
    `tau_s * (1 - exp(-elapsed_s / tau_s))`, the integral of the discount; `elapsed_s` if `tau_s` is
    infinite.
    """
    elapsed = np.asarray(elapsed_s, dtype=np.float64)
    return elapsed.copy() if math.isinf(tau_s) else np.asarray(-tau_s * np.expm1(-elapsed / tau_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Decisions in the order they were made, each array `(n_steps, n_envs)`.

    Parameters
    ----------
    rewards : of each decision's interval, discounted to its beginning.
    elapsed_s : how long each took, >= 0. [s]
    values : value of the state it was made in.
    next_values : value of the state it led to, before any reset: 0 where that ended the task
        (terminated), the state's own value where only the time was over (truncated).
    is_last : whether its episode ended with it, for either reason.
    """

    rewards: Array
    elapsed_s: Array
    values: Array
    next_values: Array
    is_last: npt.NDArray[np.bool_]


def advantages(made: Decisions, *, tau_s: float, gae_lambda: float, reward_rate: float = 0.0) -> Array:
    """Return the generalised advantage of each decision. `(n_steps, n_envs)`

    Parameters
    ----------
    made : the decisions.
    tau_s : time constant of the discount, > 0; infinite with a reward rate. [s]
    gae_lambda : weight of longer looks ahead, 0 to 1, **per decision**: it trades bias for variance, and
        both come with the decisions, not with the seconds.
    reward_rate : subtracted for every second; 0 for the plain discounted form. [1/s]

    Notes
    -----
    With g = exp(-t / tau), T = tau (1 - g), and c = 0 after the last decision of an episode, else 1::

        surprise = r - rate T + g V' - V
        A        = surprise + c g lambda A'

    With infinite tau this is the differential form: g = 1, T = t. With a finite one the rate shifts every
    value by the same `rate tau` and leaves the advantages' order alone.

    References
    ----------
    Schulman et al. (2016), High-dimensional continuous control using generalized advantage estimation,
    arXiv:1506.02438; Sutton, Precup and Singh (1999), doi:10.1016/S0004-3702(99)00052-1; Das, Gosavi,
    Mahadevan and Marchalleck (1999), Solving semi-Markov decision problems using average reward
    reinforcement learning, doi:10.1287/mnsc.45.4.560.
    """
    kept = discount(made.elapsed_s, tau_s)
    baseline = reward_rate * discounted_time(made.elapsed_s, tau_s)
    surprise = made.rewards - baseline + kept * made.next_values - made.values
    carried = np.where(made.is_last, 0.0, gae_lambda * kept)
    result = np.zeros_like(surprise)
    ahead = np.zeros(surprise.shape[1])
    for step in reversed(range(len(surprise))):
        ahead = surprise[step] + carried[step] * ahead
        result[step] = ahead
    return result


@dataclass(slots=True, kw_only=True)
class RewardRate:
    """Running reward per second: total reward over total time, older ones fading.

    Parameters
    ----------
    step : weight of the newest batch against all earlier, 0 to 1; 0 never forgets, 1 takes the newest.

    Notes
    -----
    The ratio of the totals, not the mean of the ratios: short decisions must not count like long ones.

    References
    ----------
    Das et al. (1999), doi:10.1287/mnsc.45.4.560.
    """

    step: float
    _reward: float = field(default=0.0, init=False)
    _time_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Refuse a step outside 0 to 1."""
        if not 0 <= self.step <= 1:
            raise ValueError(f"rate step = {self.step}: it lies between 0 and 1")

    def update(self, rewards: npt.ArrayLike, elapsed_s: npt.ArrayLike) -> float:
        """Take a batch and return the rate. [1/s]

        Parameters
        ----------
        rewards, elapsed_s : of each decision; times in seconds.
        """
        self._reward = (1 - self.step) * self._reward + float(np.sum(rewards))
        self._time_s = (1 - self.step) * self._time_s + float(np.sum(elapsed_s))
        return self.value

    @property
    def value(self) -> float:
        """The rate; 0 before any time has passed. [1/s]"""
        return self._reward / self._time_s if self._time_s > 0 else 0.0


# --- rollout buffers ------------------------------------------------------------------------------


class _Smdp(RolloutBuffer):
    """What makes a rollout buffer semi-Markov; see `SmdpRolloutBuffer`."""

    def __init__(self, *args: Any, tau_s: float, rate_step: float | None = None, **kwargs: Any) -> None:
        if not tau_s > 0:
            raise ValueError(f"tau_s = {tau_s}: a time constant is above 0 s, or infinite with rate_step")
        if math.isinf(tau_s) and rate_step is None:
            raise ValueError("tau_s is infinite: nothing bounds the sum; give rate_step for average cost")
        self.tau_s = tau_s
        self.rate = None if rate_step is None else RewardRate(step=rate_step)
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty the buffer; the running reward rate stays."""
        shape = (self.buffer_size, self.n_envs)
        self.elapsed_s = np.full(shape, np.nan)
        self.final_values = np.zeros(shape)
        super().reset()

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[np.bool_]) -> None:
        """Compute advantages and returns of a full buffer.

        Parameters
        ----------
        last_values : value of each environment's present state. `(n_envs,)`
        dones : whether each one's last decision ended its episode. `(n_envs,)`

        Raises
        ------
        ValueError : nobody noted how long the decisions took.
        """
        if np.isnan(self.elapsed_s).any():
            raise ValueError(NO_CALLBACK)
        is_last = np.vstack([self.episode_starts[1:], dones]).astype(np.bool_)
        ahead = np.vstack([self.values[1:], last_values.detach().cpu().numpy().reshape(1, -1)])
        made = Decisions(
            rewards=self.rewards.astype(np.float64),
            elapsed_s=self.elapsed_s,
            values=self.values.astype(np.float64),
            next_values=np.where(is_last, self.final_values, ahead),
            is_last=is_last,
        )
        rate = 0.0
        if self.rate is not None:
            rate = self.rate.update(made.rewards, discounted_time(made.elapsed_s, self.tau_s))
        found = advantages(made, tau_s=self.tau_s, gae_lambda=self.gae_lambda, reward_rate=rate)
        self.advantages = found.astype(np.float32)
        self.returns = self.advantages + self.values


class SmdpRolloutBuffer(_Smdp, RolloutBuffer):
    """Rollout buffer of PPO whose time is seconds; `learn` needs an `SmdpCallback` with it.

    Parameters
    ----------
    tau_s : time constant of the discount, > 0; infinite for average cost. [s]
    rate_step : None for the discounted form; else the average-cost form, and how fast the running reward
        rate follows (see `RewardRate`).
    *args, **kwargs : of SB3's buffer, which the algorithm fills in. Its `gamma` is not used.

    Raises
    ------
    ValueError : `tau_s` not above 0, or infinite without `rate_step`.

    Notes
    -----
    `elapsed_s` `(n_steps, n_envs)` is how long each decision took, `final_values` what the last state of
    an episode that was cut by time is worth; both are noted by the callback. The average-cost form is for
    tasks without an end, cut by time only, with rewards that are not discounted inside the interval.
    """


class SmdpDictRolloutBuffer(_Smdp, DictRolloutBuffer):
    """The same for dict observations; see `SmdpRolloutBuffer`."""


class SmdpMaskableRolloutBuffer(_Smdp, MaskableRolloutBuffer):
    """The same for MaskablePPO; see `SmdpRolloutBuffer`."""


class SmdpMaskableDictRolloutBuffer(_Smdp, MaskableDictRolloutBuffer):
    """The same for MaskablePPO and dict observations; see `SmdpRolloutBuffer`."""


class SmdpCallback(BaseCallback):
    """Notes in a semi-Markov buffer how long decisions took and what truncated episodes were worth.

    Notes
    -----
    SB3's own loop adds `gamma V(terminal observation)` to the reward where an episode is cut by time, with
    its gamma per decision. This callback sets that gamma to 0, so that SB3 adds nothing, and hands the
    value to the buffer, which discounts it by the seconds. Rewards and infos stay as they came.
    """

    def _init_callback(self) -> None:
        """Refuse another kind of buffer."""
        if not isinstance(getattr(self.model, "rollout_buffer", None), _Smdp):
            raise TypeError("SmdpCallback needs a semi-Markov buffer: give rollout_buffer_class")
        self.model.gamma = 0.0  # type: ignore[attr-defined] # an on-policy learner has one

    def _on_step(self) -> bool:
        """Note the decisions just made.

        Raises
        ------
        ValueError : the environment does not say how long they took.
        """
        buffer: _Smdp = self.model.rollout_buffer  # type: ignore[attr-defined] # checked at the start
        for place, info in enumerate(self.locals["infos"]):
            if "elapsed_s" not in info:
                raise ValueError("the environment's info has no elapsed_s: decisions without a time")
            buffer.elapsed_s[buffer.pos, place] = info["elapsed_s"]
            if info.get("TimeLimit.truncated", False):
                buffer.final_values[buffer.pos, place] = self._value(info["terminal_observation"])
        return True

    def _value(self, observation: Any) -> float:
        """Return what the learner thinks a state is worth."""
        policy: Any = self.model.policy
        with torch.no_grad():
            return float(policy.predict_values(policy.obs_to_tensor(observation)[0]))

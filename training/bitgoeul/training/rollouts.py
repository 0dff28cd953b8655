"""Returns over decisions of unequal length: discounted by seconds, not by decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer


class TimedRolloutBuffer(MaskableDictRolloutBuffer):
    """Advantages of a semi-Markov process.

    Parameters
    ----------
    horizon_s : time constant of the discount, > 0. [s]

    Notes
    -----
    A decision of `t` seconds discounts what follows by `exp(-t / horizon_s)`. With one discount per
    decision, a policy would gain by cutting the same time into more decisions. Whoever fills the buffer
    sets `elapsed_s[pos]` before `add`.

    References
    ----------
    Schulman et al. (2016), generalised advantage estimation, arXiv:1506.02438; Sutton, Precup and Singh
    (1999), semi-Markov options, doi:10.1016/S0004-3702(99)00052-1.
    """

    def __init__(self, *args: Any, horizon_s: float, **kwargs: Any) -> None:
        self.horizon_s = horizon_s
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty the buffer."""
        self.elapsed_s = np.zeros((self.buffer_size, self.n_envs), dtype=np.float64)
        super().reset()

    def discount(self, elapsed_s: float | npt.NDArray[np.float64]) -> Any:
        """Return what a cost after `elapsed_s` counts now."""
        return np.exp(-np.asarray(elapsed_s) / self.horizon_s)

    def compute_returns_and_advantage(self, last_values: torch.Tensor, dones: npt.NDArray[np.bool_]) -> None:
        """Compute advantages and returns of a full buffer.

        Parameters
        ----------
        last_values : value of each simulation's present state. `(n_envs,)`
        dones : whether each one's last decision ended its episode. `(n_envs,)`
        """
        discounts = self.discount(self.elapsed_s)
        next_values = last_values.clone().cpu().numpy().flatten()
        goes_on = 1.0 - np.asarray(dones, dtype=np.float64)
        advantage = np.zeros(self.n_envs)
        for step in reversed(range(self.buffer_size)):
            kept = discounts[step] * goes_on
            surprise = self.rewards[step] + kept * next_values - self.values[step]
            advantage = surprise + kept * self.gae_lambda * advantage
            self.advantages[step] = advantage
            next_values, goes_on = self.values[step], 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values

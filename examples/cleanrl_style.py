"""PPO in one file, read from top to bottom: masks in the logits, discount by the second.

Usage: python examples/cleanrl_style.py [DECISIONS [MINUTES [PROCESSES]]]
The shape of the script is CleanRL's (github.com/vwxyzjn/cleanrl, ppo.py).
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from bitgoeul.envs.vector import CrossingVectorEnv, decided
from bitgoeul.training.smdp import Decisions, advantages

TAU_S, GAE_LAMBDA, CLIP, EPOCHS, ROLLOUT, MINIBATCH, RATE = 240.0, 0.95, 0.2, 4, 128, 64, 3e-4


class Agent(nn.Module):
    """Two small networks on the flat observation, whose last numbers are the mask."""

    def __init__(self, n_in, n_actions):
        super().__init__()
        self.n_actions = n_actions
        self.actor = nn.Sequential(nn.Linear(n_in, 64), nn.Tanh(), nn.Linear(64, n_actions))
        self.critic = nn.Sequential(nn.Linear(n_in, 64), nn.Tanh(), nn.Linear(64, 1))

    def choose(self, seen):
        """Return the distribution over legal actions."""
        is_legal = seen[:, -self.n_actions :] > 0
        return Categorical(logits=self.actor(seen).masked_fill(~is_legal, -1e8))

    def value(self, seen):
        """Return what the states are worth."""
        return self.critic(seen).squeeze(-1)


def collect(agent, envs, seen):
    """Return one rollout to learn from, the observation that follows, and the cost per second."""
    kept, rows = [], []
    for _ in range(ROLLOUT):
        with torch.no_grad():
            choice = agent.choose(seen)
            actions = choice.sample()
            kept.append((seen, actions, choice.log_prob(actions)))
            values = agent.value(seen).numpy()
        after, rewards, _, truncated, infos = envs.step(actions.numpy())
        elapsed_s, _ = decided(infos, "elapsed_s", envs.num_envs)
        # In SameStep mode `after` is the next episode already: a cut episode goes on at its own last state.
        reached = after.copy()
        for place in np.flatnonzero(truncated):
            reached[place] = infos["final_obs"][place]
        with torch.no_grad():
            next_values = agent.value(torch.as_tensor(reached)).numpy()
        rows.append((rewards, elapsed_s, values, next_values, truncated))
        seen = torch.as_tensor(after)
    names = ("rewards", "elapsed_s", "values", "next_values", "is_last")
    made = Decisions(
        **{name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )
    gained = torch.as_tensor(advantages(made, tau_s=TAU_S, gae_lambda=GAE_LAMBDA), dtype=torch.float32)
    returns = gained + torch.as_tensor(made.values)
    observations, actions, chances = (torch.cat(column) for column in zip(*kept, strict=True))
    cost = -made.rewards.sum() / made.elapsed_s.sum()
    return (observations, actions, chances, gained.flatten(), returns.flatten().float()), seen, cost


def improve(agent, optimizer, rollout):
    """Take the PPO steps of one rollout."""
    observations, actions, chances, gained, returns = rollout
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(actions)).split(MINIBATCH):
            choice = agent.choose(observations[batch])
            ratio = (choice.log_prob(actions[batch]) - chances[batch]).exp()
            gain = (gained[batch] - gained[batch].mean()) / (gained[batch].std() + 1e-8)
            surrogate = torch.min(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain).mean()
            value_loss = (agent.value(observations[batch]) - returns[batch]).square().mean()
            optimizer.zero_grad()
            (-surrogate + 0.5 * value_loss - 0.01 * choice.entropy().mean()).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def main(decisions=10_000, minutes=30, processes=2):
    """Learn, and print the cost of each rollout."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    envs = CrossingVectorEnv(
        processes, "bukmun_5", autoreset_mode="SameStep", minutes=minutes, observation="flat", tau_s=TAU_S
    )
    try:
        agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
        optimizer = torch.optim.Adam(agent.parameters(), lr=RATE)
        seen = torch.as_tensor(envs.reset(seed=1)[0])
        for update in range(max(1, decisions // (ROLLOUT * processes))):
            rollout, seen, cost = collect(agent, envs, seen)
            improve(agent, optimizer, rollout)
            print(f"{(update + 1) * ROLLOUT * processes} decisions, cost {cost:.3f} a second")
    finally:
        envs.close()


if __name__ == "__main__":  # worker processes import this file
    main(*map(int, sys.argv[1:]))

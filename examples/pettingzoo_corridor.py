"""Three junctions in a row, one policy for all: agents of a PettingZoo environment on a grid of 1 s.

Usage: python examples/pettingzoo_corridor.py [EPISODES [MINUTES]]
Most seconds an agent has nothing to decide; `drop_idle` makes one row a decision of them.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

from bitgoeul.envs.corridor import corridor_env, drop_idle
from bitgoeul.training.smdp import Decisions, advantages

TAU_S = 240.0


def play(env, choose, seed):
    """Return each agent's steps of one episode, as columns, and the people present on average."""
    seen, infos = env.reset(seed=seed)
    columns = {agent: {"seen": [], "action": [], "has_choice": [], "reward": []} for agent in env.agents}
    person_s, elapsed_s = 0.0, 0
    while env.agents:
        actions = {agent: choose(seen[agent]) if infos[agent]["has_choice"] else 0 for agent in env.agents}
        for agent, column in columns.items():
            column["seen"].append(seen[agent])
            column["action"].append(actions[agent])
            column["has_choice"].append(infos[agent]["has_choice"])
        seen, rewards, _, _, infos = env.step(actions)
        for agent, column in columns.items():
            column["reward"].append(rewards[agent])
        person_s, elapsed_s = person_s + sum(info["person_s"] for info in infos.values()), elapsed_s + 1
    return {agent: drop_idle(column, tau_s=TAU_S) for agent, column in columns.items()}, person_s / elapsed_s


def main(episodes=20, minutes=30):
    """Learn by policy gradient, one step an episode, and print each episode's cost."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    env = corridor_env("bukmun_row", minutes=minutes, observation="flat", tau_s=TAU_S)
    n_in, n = (
        env.observation_space(env.possible_agents[0]).shape[0],
        env.action_space(env.possible_agents[0]).n,
    )
    actor = nn.Sequential(nn.Linear(n_in, 64), nn.Tanh(), nn.Linear(64, int(n)))
    critic = nn.Sequential(nn.Linear(n_in, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)

    def legal(seen):
        return Categorical(
            logits=actor(seen).masked_fill(seen[..., -int(n) :] <= 0, -1e8)
        )  # the mask is last

    for episode in range(episodes):
        with torch.no_grad():
            batches, cost = play(env, lambda seen: int(legal(torch.as_tensor(seen)).sample()), episode)
        loss = torch.zeros(())
        for rows in batches.values():
            seen, values = torch.as_tensor(rows["seen"]), critic(torch.as_tensor(rows["seen"])).squeeze(-1)
            known = values.detach().double().numpy()[:, None]
            # The last decision was cut by time; it is left out, and its state's value is where the rest ends.
            made = Decisions(
                rewards=rows["reward"][:-1, None],
                elapsed_s=rows["elapsed_s"][:-1, None],
                values=known[:-1],
                next_values=known[1:],
                is_last=np.zeros((len(known) - 1, 1), dtype=bool),
            )
            gained = torch.as_tensor(advantages(made, tau_s=TAU_S, gae_lambda=0.95)[:, 0]).float()
            chances = legal(seen[:-1]).log_prob(torch.as_tensor(rows["action"][:-1]))
            loss = loss - (chances * gained / (gained.std() + 1e-8)).mean()
            loss = loss + 0.5 * (values[:-1] - (gained + values[:-1].detach())).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decisions = sum(len(rows["reward"]) for rows in batches.values())
        print(f"episode {episode + 1}: {decisions} decisions, {cost:.1f} people in the corridor on average")
    env.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""MaskablePPO on decision events: action masks, discount by the second, simulations side by side.

Usage: python examples/masked_ppo.py [DECISIONS [MINUTES [PROCESSES]]]
"""

import sys

from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks

from bitgoeul.training.smdp import SmdpCallback, SmdpMaskableDictRolloutBuffer
from bitgoeul.training.vector import crossings

TAU_S = 240.0


def mean_cost(model, venv, minutes, seed=10_000):
    """Return how many people are at the junction on average, over one episode of each process."""
    venv.seed(seed)
    observations, person_s, running = venv.reset(), 0.0, [True] * venv.num_envs
    while any(running):
        masks = get_action_masks(venv)
        actions, _ = model.predict(observations, deterministic=True, action_masks=masks)
        observations, _, dones, infos = venv.step(actions)
        person_s += sum(
            info["person_s"] for info, is_running in zip(infos, running, strict=True) if is_running
        )
        running = [is_running and not is_done for is_running, is_done in zip(running, dones, strict=True)]
    return person_s / (60 * minutes * venv.num_envs)


def main(decisions=10_000, minutes=30, processes=2):
    """Learn, and print the cost before and after."""
    venv = crossings(processes, "bukmun_5", minutes=minutes, tau_s=TAU_S)
    try:
        model = MaskablePPO(
            "MultiInputPolicy",
            venv,
            n_steps=min(256, decisions // processes),
            batch_size=min(256, decisions),
            rollout_buffer_class=SmdpMaskableDictRolloutBuffer,
            rollout_buffer_kwargs={"tau_s": TAU_S},
            seed=1,
            device="cpu",
        )
        print(f"before: {mean_cost(model, venv, minutes):.1f} people at the junction on average")
        venv.seed(1)
        model.learn(decisions, callback=SmdpCallback())
        print(f"after {decisions} decisions: {mean_cost(model, venv, minutes):.1f}")
    finally:
        venv.close()


if __name__ == "__main__":  # worker processes import this file
    main(*map(int, sys.argv[1:]))

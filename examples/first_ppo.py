"""A first script: stock PPO learns a signal policy on one processor, an action each 5 s."""

import sys

import gymnasium
from stable_baselines3 import PPO

steps, minutes = map(int, sys.argv[1:] or (20_000, 30))
options = {"site": "bukmun_5", "minutes": minutes, "delta_time_s": 5, "observation": "flat"}
env = gymnasium.make("bitgoeul.envs:Bitgoeul/Crossing-v0", **options)
model = PPO("MlpPolicy", env, n_steps=24 * minutes, batch_size=2 * minutes, seed=1, device="cpu")


def mean_cost(seeds=(10_000, 10_001)):
    """Return how many people are at the junction on average, walking, waiting or in vehicles."""
    person_s = 0.0
    for seed in seeds:
        (observation, _), is_over = env.reset(seed=seed), False
        while not is_over:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, _, is_over, info = env.step(int(action))
            person_s += info["person_s"]
    return person_s / (60 * minutes * len(seeds))


print(f"before: {mean_cost():.1f} people at the junction on average")
model.learn(steps)
print(f"after {steps} steps: {mean_cost():.1f}")
env.close()

"""Stock RLlib PPO, an action each 5 s. Optional: needs `pip install "ray[rllib]"`, which is no extra of ours.

Usage: python examples/rllib_ppo.py [STEPS [MINUTES]]
Tried with ray 2.60 on Python 3.11; ray pins its own gymnasium, so give it an environment of its own.
"""

import sys

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

OPTIONS = {"site": "bukmun_5", "delta_time_s": 5, "observation": "flat"}


def make(config):
    """Return the environment of one runner process, which has one SUMO."""
    from bitgoeul.envs.crossing import CrossingEnv

    return CrossingEnv(**config)


def main(steps=20_000, minutes=30):
    """Learn, and print the mean return of the last episodes."""
    register_env("crossing", make)
    config = (
        PPOConfig()
        .environment("crossing", env_config={**OPTIONS, "minutes": minutes})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=1, rollout_fragment_length=12 * minutes)
        .training(train_batch_size=24 * minutes, minibatch_size=12 * minutes, num_epochs=5, gamma=0.98)
        .debugging(seed=1)
    )
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    algorithm = config.build_algo()
    try:
        done = 0
        while done < steps:
            result = algorithm.train()
            done = int(result["num_env_steps_sampled_lifetime"])
            returns = result["env_runners"].get("episode_return_mean", float("nan"))
            print(f"{done} steps, mean return {returns:.2f}")
    finally:
        algorithm.stop()
        ray.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

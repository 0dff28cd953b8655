"""The same seed and actions give the same episode in every process, after every reset, on every backend."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from bitgoeul.envs.crossing import CrossingEnv

pytestmark = pytest.mark.sumo

OPTIONS = {
    "minutes": 2,
    "hour": "offpeak",
    "reward_terms": {"residual": 100.0, "stops": 1.0, "long_wait": 1.0, "switch": 2.0, "unfinished": 60.0},
}


def episode_hash(env: CrossingEnv) -> str:
    """Return the hash of everything an episode of random legal actions hands out."""
    rng, digest, is_over = np.random.default_rng(4), hashlib.sha256(), False
    seen, told = env.reset(seed=77)
    digest.update(json.dumps(told).encode())
    while not is_over:
        for key in sorted(seen):
            digest.update(seen[key].tobytes())
        seen, reward, _, is_over, info = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
        digest.update(json.dumps([reward, info]).encode())
    return digest.hexdigest()


def hash_here(**changes: object) -> str:
    env = CrossingEnv(**{**OPTIONS, **changes})
    try:
        return episode_hash(env)
    finally:
        env.close()


@pytest.mark.parametrize("changes", [{}, {"delta_time_s": 5}], ids=["events", "fixed steps"])
def test_observations_rewards_and_infos_repeat_across_processes_resets_and_backends(changes):
    env = CrossingEnv(**OPTIONS, **changes)
    first = episode_hash(env)
    env.reset(seed=5)
    env.step(0)
    again = episode_hash(env)
    env.close()
    program = (
        "import importlib.util, json, sys;"
        f"spec = importlib.util.spec_from_file_location('same_episode', {__file__!r});"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "print(module.hash_here(**json.loads(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, json.dumps(changes)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first == again == other.stdout.split()[-1]


def test_a_traci_environment_repeats_libsumo_and_itself_in_one_sumo():
    expected = hash_here()
    env = CrossingEnv(**OPTIONS, backend="traci")
    assert episode_hash(env) == expected
    process = env.simulation._process
    assert episode_hash(env) == expected
    assert env.simulation._process is process
    env.close()

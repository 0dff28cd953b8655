"""Every example runs to its end on a tiny budget."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")
pytestmark = pytest.mark.sumo
FOLDER = Path(__file__).parents[2] / "examples"
TINY = {
    "first_ppo.py": ("48", "2"),
    "masked_ppo.py": ("32", "1", "2"),
    "cleanrl_style.py": ("128", "2", "1"),
    "rllib_ppo.py": ("24", "1"),
    "pettingzoo_corridor.py": ("1", "2"),
}


def run(name, cwd):
    done = subprocess.run(
        [sys.executable, FOLDER / name, *TINY[name]],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_paths())},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _paths():
    """Return the import paths of this process as they are seen from another folder."""
    return [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def test_every_example_has_a_tiny_budget_here():
    assert {path.name for path in FOLDER.glob("*.py")} <= set(TINY)


@pytest.mark.parametrize("name", ["first_ppo.py", "masked_ppo.py"])
def test_the_stable_baselines_examples_tell_the_cost_before_and_after(name, tmp_path):
    numbers = [float(number) for number in re.findall(r": ([0-9.]+)", run(name, tmp_path))]
    assert len(numbers) == 2
    assert all(1 < number < 2_000 for number in numbers)


def test_the_single_file_example_tells_the_cost_of_each_rollout(tmp_path):
    cost = re.fullmatch(r"128 decisions, cost ([0-9.]+) a second\n", run("cleanrl_style.py", tmp_path))
    assert 0 < float(cost[1]) < 10


def test_the_corridor_example_tells_the_cost_of_each_episode(tmp_path):
    told = r"episode 1: ([0-9]+) decisions, ([0-9.]+) people in the corridor on average\n"
    decisions, present = re.fullmatch(told, run("pettingzoo_corridor.py", tmp_path)).groups()
    assert int(decisions) > 3
    assert 1 < float(present) < 5_000


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or importlib.util.find_spec("ray.rllib") is None,
    reason='ray is not installed: pip install "ray[rllib]" in an environment of its own',
)
def test_the_rllib_example_tells_a_mean_return(tmp_path):
    assert re.search(r"24 steps, mean return -[0-9.]+", run("rllib_ppo.py", tmp_path))

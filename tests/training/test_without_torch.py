"""The demo needs no learning library: `compare`, with the learned policy, where they are blocked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BLOCKED = ("torch", "stable_baselines3", "sb3_contrib", "onnx", "cma")


@pytest.mark.sumo
def test_compare_runs_all_the_demos_controllers_with_torch_and_sb3_blocked(tmp_path):
    wall = tmp_path / "wall"
    wall.mkdir()
    for name in BLOCKED:
        (wall / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    program = "from bitgoeul.controller.cli import main; main()"
    command = ["compare", "bukmun_5", "--controllers", "fixed,gwangju5,eta,learned", "--hour", "peak"]
    sizes = ["--minutes", "2", "--seeds", "2", "--json", "--out", str(tmp_path / "out")]
    path = os.pathsep.join([str(wall), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program, *command, *sizes],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["controller"] for row in rows] == ["fixed", "gwangju5", "eta", "learned"]
    assert all(set(row["vehicle_delay_s"]) == {"mean", "low", "high"} for row in rows)
    assert (tmp_path / "out" / "report.html").is_file()

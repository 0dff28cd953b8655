"""Hypothesis profiles, `ci` is quick and repeats itself, `long` searches widely; shared fixtures."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, settings

# Two cores under load make wall-clock deadlines of single examples meaningless.
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.register_profile(
    "long", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("BITGOEUL_HYPOTHESIS", "ci"))


LEFT_OPEN = """
import numpy as np
from {module} import {maker}

if __name__ == "__main__":
    envs = {maker}(2, hour="night", minutes=30)
    envs.reset()
    print("running", flush=True)
    while True:
        envs.step(np.zeros(2, int))
"""


@pytest.fixture
def files_left_by_stopped_script(tmp_path):
    """Return what finds the scratch folders left by a script with a vector form that a signal stops."""

    def files_left(module, maker, stop):
        script, scratch = tmp_path / "script.py", tmp_path / "scratch"
        scratch.mkdir()
        script.write_text(LEFT_OPEN.format(module=module, maker=maker))
        where = {**os.environ, "TMPDIR": str(scratch)}
        with subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=where
        ) as process:
            assert process.stdout.readline() == b"running\n"
            assert list(scratch.glob("bitgoeul-*"))
            process.send_signal(stop)
            process.wait(timeout=20)
        until = time.monotonic() + 10
        while list(scratch.glob("bitgoeul-*")) and time.monotonic() < until:
            time.sleep(0.1)
        return list(scratch.glob("bitgoeul-*"))

    return files_left

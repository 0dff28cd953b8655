"""The benchmarks of messages and need refuse what they cannot run, and say how they are called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, BENCHMARKS / name, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("messages.py", ("--minutes", "0"), "0 is not within 0.2 and 60"),
        ("messages.py", ("--minutes", "nan"), "nan is not within 0.2 and 60"),
        ("messages.py", ("--minutes", "x"), "invalid time_to_run value: 'x'"),
        ("need.py", ("--repeat", "0"), "--repeat 0: give 1 or more"),
    ],
)
def test_mistakes_are_refused(name, arguments, message):
    result = run(name, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_help_shows_how_it_is_called():
    assert "benchmarks/messages.py --minutes 10" in run("messages.py", "--help").stdout
    assert "benchmarks/need.py" in run("need.py", "--help").stdout

"""The README's first script is `examples/first_ppo.py`, and it runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    block = re.search(
        r"<!-- first-script:begin -->.*?```python\n(.*?)```.*?<!-- first-script:end -->", README, re.DOTALL
    )
    assert block, "README.md has no python block between first-script:begin and first-script:end"
    return block[1]


def test_the_readme_has_the_example_word_for_word(script):
    assert script == (ROOT / "examples" / "first_ppo.py").read_text(encoding="utf-8")


def test_it_is_twenty_lines_of_code(script):
    lines = [line.strip() for line in script.splitlines()]
    assert len([line for line in lines if line and not line.startswith(('"""', "#"))]) <= 20


@pytest.mark.sumo
def test_the_script_in_the_readme_learns_and_tells_the_cost(script, tmp_path):
    (tmp_path / "mine.py").write_text(script)
    paths = [Path(path).resolve() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    done = subprocess.run(
        [sys.executable, tmp_path / "mine.py", "48", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
    )
    assert done.returncode == 0, done.stderr
    numbers = [float(number) for number in re.findall(r": ([0-9.]+)", done.stdout)]
    assert len(numbers) == 2
    assert all(1 < number < 2_000 for number in numbers)

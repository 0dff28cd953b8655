"""The page on learning: what it names is there."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "learning.md").read_text(encoding="utf-8")


def test_every_script_is_in_the_table():
    named = re.findall(r"^\| \[(\w+\.py)\]", PAGE, flags=re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def test_what_it_names_of_ours_is_where_it_says():
    named = re.findall(r"`(bitgoeul\.[a-z_.]+)\.([A-Za-z]+)\(", PAGE)
    assert {name for _, name in named} >= {"crossings", "CrossingVectorEnv"}
    for module, name in named:
        assert callable(getattr(import_module(module), name)), f"{module}.{name}"
    smdp = import_module("bitgoeul.training.smdp")
    loop = re.search(r"In a loop of one's own: (.*?)\. They", PAGE, flags=re.DOTALL)
    alone = " ".join(re.findall(r"`(.*?)`", loop[1]))
    names = {*re.findall(r"`(Smdp\w+)`", PAGE), *re.findall(r"\w+", alone)}
    assert names >= {"SmdpRolloutBuffer", "SmdpMaskableDictRolloutBuffer", "discount", "Decisions"}
    assert all(hasattr(smdp, name) for name in names), names


def test_the_block_gives_arguments_that_there_are():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    found: dict = {}
    tree = ast.parse(block)
    imports = ast.Module([node for node in tree.body if isinstance(node, ast.ImportFrom)], [])
    exec(compile(imports, "learning.md", "exec"), found)
    buffer = inspect.signature(found["SmdpMaskableDictRolloutBuffer"])
    assert {"tau_s", "rate_step"} <= set(buffer.parameters)
    assert callable(found["SmdpCallback"])
    assert set(re.findall(r'"(tau_s|rate_step)"', block)) == {"tau_s", "rate_step"}

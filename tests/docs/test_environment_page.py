"""The page of the environment: its code runs, its tables are those of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bitgoeul.envs.options import EnvOptions
from bitgoeul.envs.reward import JAMMED_PERSON_S, SCALE_S, TELEPORT_PERSON_S, TERMS

PAGE = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def part(name: str) -> str:
    return PAGE.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]


@pytest.mark.sumo
@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_a_code_block_runs(block):
    if "stable_baselines3" in block:
        pytest.importorskip("torch").set_num_threads(1)
    names: dict = {}
    try:
        exec(compile(block, "environment.md", "exec"), names)
    finally:
        if "env" in names:
            names["env"].close()


def test_the_table_of_options_is_that_of_the_code():
    stated = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", part("options"), flags=re.MULTILINE))
    known = {field.name: repr(field.default) for field in fields(EnvOptions) if field.name != "site"}
    assert {name: value.replace('"', "'") for name, value in stated.items()} == known


def test_the_table_of_terms_is_that_of_the_code():
    assert part("terms") == "\n".join(
        ["| term | counts |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in TERMS.items())]
    )


def test_the_figures_are_those_of_the_code():
    for text in (
        f"send in {SCALE_S:g} s",
        f"{TELEPORT_PERSON_S:g} person-seconds for each vehicle",
        f"{JAMMED_PERSON_S:g} person-seconds for each walker",
    ):
        assert text in PAGE

"""The page on corridors: its example runs as it stands, and says what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "corridors.md").read_text(encoding="utf-8")


@pytest.mark.sumo
def test_the_example_runs_and_leaves_fewer_decisions_than_steps(capsys):
    example = PAGE.split("```python\n")[1].split("```")[0]
    shown: dict[str, object] = {}
    exec(compile(example, "docs/corridors.md", "exec"), shown)
    decisions = shown["decisions"]
    assert 0 < len(decisions["action"]) < 60
    assert capsys.readouterr().out.startswith("120 steps, ")
    assert len(decisions["elapsed_s"]) == len(decisions["reward"])


def test_the_figures_it_states_are_those_of_the_corridor():
    from bitgoeul.sim_scenarios.corridor import load_corridor

    table = load_corridor("bukmun_row").table
    assert [link.spacing_m for link in table.links] == [384.0, 342.0]
    assert "384 m and 342 m apart" in PAGE
    assert sum("stand-in" in member.name for member in table.members) == 2

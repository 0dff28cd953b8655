"""The page on the emulated detectors shows the figures that run, and names every one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitgoeul.envs.detector_presets import (
    FIELDS,
    PRESETS,
    classes_table,
    preset,
    presets_table,
    sources_table,
)

PAGE = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("classes", classes_table()), ("presets", presets_table()), ("sources", sources_table())],
)
def test_the_page_is_made_from_the_data(name, expected):
    shown = PAGE.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]
    assert shown == expected, f"docs/detectors.md is out of date: paste this between its marks\n{expected}"


def test_every_figure_and_preset_is_in_the_tables():
    table = presets_table()
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(FIELDS)
    assert all(f" {name} |" in table.splitlines()[0] for name in PRESETS)


def test_the_detectors_on_the_page_can_be_used():
    command = PAGE.split("```bash\n")[1].split("```")[0]
    texts = command.split("--detector ")[1].strip().split(",")
    assert len(texts) == 5
    assert [preset(text).name for text in texts] == texts

"""The page on the signal core shows the tables that run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitgoeul.controller.core_table import diagram, table

PAGE = (Path(__file__).parents[2] / "docs" / "core.md").read_text(encoding="utf-8")


def part(name):
    return PAGE.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]


@pytest.mark.parametrize(
    ("name", "expected"), [("table", table()), ("diagram", f"```mermaid\n{diagram()}\n```")]
)
def test_the_page_is_drawn_from_the_core(name, expected):
    assert part(name) == expected, f"docs/core.md is out of date: paste this between its marks\n{expected}"

"""The list of deliberate faults fits the sources: each old text is there once, each fault is Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from check import Outcome, StaleError, _chosen, mutations, stale, table


def test_every_old_text_is_in_its_module_exactly_once():
    assert not list(stale(mutations()))


def test_there_are_enough_and_none_twice():
    listed = mutations()
    assert len(listed) >= 70
    assert len({(each.module, each.new, each.old) for each in listed}) == len(listed)


def test_a_list_that_no_longer_fits_is_told(tmp_path):
    first = mutations()[0]
    path = tmp_path / first.path
    path.parent.mkdir(parents=True)
    path.write_text(first.old * 2, encoding="utf-8")
    assert "there 2 times" in next(stale([first], tmp_path))
    path.unlink()
    assert "there 0 times" in next(stale([first], tmp_path))


def test_only_chooses_by_name_or_module():
    assert [each.name for each in _chosen("core-01")] == ["core-01"]
    assert {each.module for each in _chosen("unit,core-02")} == {"unit", "core"}
    with pytest.raises(StaleError, match="no mutation nothing"):
        _chosen("nothing")


def test_the_table_counts_and_names():
    text = table(
        [
            Outcome("unit-01", "no red", "killed", "tests/laws/test_a.py::test_b[x]"),
            Outcome("unit-02", "no green", "survived", ""),
        ]
    )
    assert "1 of 2 killed." in text
    assert "| unit-01 | no red | killed | test_a.py::test_b |" in text

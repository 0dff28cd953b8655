"""The benchmark that sets everything against the guard at once, run short: what must not happen does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from adversary import against_fake, against_sumo


def broken(counts):
    names = ("conflicting_greens", "promised_left", "later_than_service_bound")
    return {name: counts[name] for name in names if counts[name]}


@pytest.mark.long
@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize("seed", [1, 2])
def test_five_hours_against_everything_break_no_promise(seed, form):
    counts = against_fake(5, seed, form=form)
    assert broken(counts) == {}, counts["examples"]
    assert counts["walkers"] > 500
    assert counts["released_on_person"] > 0


@pytest.mark.long
@pytest.mark.sumo
def test_an_hour_of_sumo_against_everything_breaks_no_promise():
    counts = against_sumo(1, 1)
    assert broken(counts) == {}, counts["examples"]
    assert counts["walkers"] > 500

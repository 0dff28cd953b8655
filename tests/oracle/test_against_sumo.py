"""SUMO's NEMA controller and our core make the same decisions, but for SUMO's named quirks."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

pytest.importorskip("libsumo")

from call_scripts import LENGTH, call_script
from lockstep import WITHIN_ONE_STEP, Lockstep
from quirks import UNEXPLAINED, judge
from run_oracle import TABLES, Tally, compare, compare_all, table_text
from sumo_cabinet import SumoCabinet

from bitgoeul.controller.core import SignalCore

pytestmark = pytest.mark.sumo

SCRIPTS = 500
SCRIPTS_LONG = 100_000
FIRST_LONG = 10_000
"""The long run has seeds of its own."""
LEAST_SHARE = 0.85
"""Below this, quirks hide too much for the comparison to mean anything."""

MOST_ONE_STEP = 0.02
"""SUMO counts the step in which a call comes as waited: a maximum may end a step early, nothing else."""


def _assert_explained(tallies):
    shown = [trace for tally in tallies.values() for trace in tally.unexplained]
    assert not any(tally.causes[UNEXPLAINED] for tally in tallies.values()), "\n\n".join(
        [table_text(tallies), *shown]
    )


@pytest.mark.parametrize("name", TABLES)
def test_every_difference_from_sumo_has_its_reason(name):
    tally = compare(name, range(-(-SCRIPTS // len(TABLES))))
    _assert_explained({name: tally})
    assert tally.decisions > 10 * tally.scripts
    assert tally.share > LEAST_SHARE
    assert tally.causes[WITHIN_ONE_STEP] < MOST_ONE_STEP * tally.decisions


def test_with_every_phase_recalled_nothing_differs_at_all():
    tally = compare("free all on min recall", range(1_000, 1_020))
    assert tally.decisions == tally.agreed > 1_000


@pytest.mark.parametrize(
    "wrong",
    [{"minimum": 7}, {"maximum": 28}, {"passage": 5}, {"yellow": 5}, {"red": 4}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_core_that_times_wrongly_is_found_out(wrong):
    table, tally = TABLES["free lead"], Tally()
    lockstep = Lockstep(table, SumoCabinet(table), tally)
    lockstep.core = SignalCore(replace(table, usual=replace(table.usual, **wrong)).plan())
    for seed in range(10):
        tally.place = (table.name, seed)
        lockstep.run(call_script(seed, table.phases), LENGTH, judge)
    assert tally.causes[UNEXPLAINED] > 5


@pytest.mark.long
def test_every_difference_from_sumo_has_its_reason_in_many_scripts():
    tallies = compare_all(list(TABLES), SCRIPTS_LONG, first=FIRST_LONG, workers=os.cpu_count() or 1)
    _assert_explained(tallies)

"""Walkers by group, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from bitgoeul.training.breakdown import FIGURES, breakdown, breakdown_table


def walker(**changed):
    return {
        "mobility_class": "adult",
        "entry": "walk_first",
        "length_m": 35.0,
        "crossing": "XW",
        "entered_s": 400.0,
        "wait_s": 10.0,
        "is_residual": False,
        "residual_m": None,
        "unserved_need_s": 0.0,
        "exposure_yield_s": 2.0,
        "pet_s": None,
        "pet_ahead_s": None,
        "pet_turn_s": None,
        "pet_turn_ahead_s": None,
    } | changed


WALKERS = [
    walker(),
    walker(exposure_yield_s=4.0, pet_turn_s=4.0, pet_turn_ahead_s=0.9, wait_s=20.0),
    walker(is_residual=True, residual_m=3.0, unserved_need_s=5.0, pet_s=2.0, entry="clearance"),
    walker(is_residual=True, residual_m=6.0, unserved_need_s=8.0, mobility_class="frail", crossing="XS"),
    walker(entered_s=None, entry=None, wait_s=70.0, exposure_yield_s=0.0),
]


@pytest.fixture
def events():
    types = {name: pl.Float64 for name, value in WALKERS[0].items() if value is None}
    return pl.DataFrame(WALKERS, schema_overrides=types)


def test_classes_by_hand(events):
    adult, frail = breakdown(events, "mobility_class").to_dicts()
    assert (adult["mobility_class"], adult["crossings_n"]) == ("adult", 3)
    assert adult["residual_per_10k"] == pytest.approx(1e4 / 3)
    assert (adult["residual_m_mean"], adult["unserved_need_mean_s"]) == (3.0, 5.0)
    assert adult["exposure_yield_s"] == pytest.approx(8 / 3)
    assert (adult["pet_serious_n"], adult["pet_turn_critical_n"]) == (1, 1)
    assert (adult["wait_s"], adult["wait_max_s"]) == (110 / 4, 70.0)
    assert adult["wait_p95_s"] == pytest.approx(20 + 0.85 * 50)
    assert (frail["residual_per_10k"], frail["residual_m_mean"]) == (1e4, 6.0)


def test_who_has_no_entry_is_in_no_group_of_entries(events):
    groups = breakdown(events, "entry")
    assert groups["entry"].to_list() == ["clearance", "walk_first"]
    assert groups["crossings_n"].sum() == 4


def test_a_group_in_which_nobody_crossed_has_no_rate(events):
    waiting = events.filter(pl.col("entered_s").is_null())
    (row,) = breakdown(waiting, "crossing").to_dicts()
    assert (row["crossings_n"], row["residual_per_10k"], row["residual_m_mean"]) == (0, None, None)


def test_the_table_puts_controllers_below_each_other(events):
    table = breakdown_table({"fixed": events, "eta": events.head(1)}, "crossing")
    assert [row["name"] for row in table["rows"]] == ["XS, fixed", "XW, fixed", "XW, eta"]
    assert len(table["rows"][0]["cells"]) == len(table["heads"]) == len(FIGURES)
    assert table["rows"][2]["cells"][1] == {"mean": "0", "range": ""}
    lengths = breakdown_table({"fixed": events}, "length_m")
    assert lengths["rows"][0]["name"] == "35 m, fixed"
    assert lengths["rows"][0]["cells"][2]["mean"] == "4.5"

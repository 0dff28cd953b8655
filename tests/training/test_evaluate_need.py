"""The evaluation of the need estimate: its scores by hand, and the command on a short run."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from bitgoeul.training.evaluate_commands import evaluate
from bitgoeul.training.evaluate_need import (
    LABELS,
    NEED_COLUMNS,
    QUANTILES,
    SEEN,
    calibration,
    coverage_interval,
    held_out,
    pinball,
    reliability,
    scores,
    with_baselines,
)


def rows(*people):
    """Return rows of (walker, true_s, remaining_m, speed, age, mean of the class, need at each quantile)."""
    names = [*LABELS, "walker", "mobility_class", "true_s", "now_ds", "length_m", *SEEN, *NEED_COLUMNS]
    labels = ("30", "even", "perfect", 1)
    table = [
        [*labels, walker, "adult", true_s, 0, 30.0, *seen, *[need_s] * len(QUANTILES)]
        for walker, true_s, *seen, need_s in people
    ]
    return pl.DataFrame(table, schema=names, orient="row")


def test_baselines_by_hand():
    (row,) = with_baselines(rows(("a", 20.0, 14.0, 0.5, 1.0, 1.4, 25.0))).to_dicts()
    assert row["fixed_1.0"] == 13.0
    assert row["fixed_0.8"] == pytest.approx(16.5)
    assert row["fixed_0.7"] == pytest.approx(19.0)
    assert row["last_speed"] == 27.0
    assert row["class_mean"] == pytest.approx(9.0)
    assert row["need"] == 25.0
    assert row["third"] == 2  # 16 of 30 m


def test_the_thirds():
    table = with_baselines(
        rows(*(("a", 1.0, left_m, 1.0, 0.0, 1.0, 1.0) for left_m in (31.0, 29.0, 19.0, 9.0, 0.0)))
    )
    assert table["third"].to_list() == [1, 1, 2, 3, 3]


def test_pinball_is_dear_where_the_truth_is_later():
    table = pl.DataFrame({"true": [10.0, 10.0], "stated": [8.0, 12.0]})
    losses = table.select(pinball(pl.col("true"), pl.col("stated"), 0.95)).to_series()
    assert losses.to_list() == pytest.approx([1.9, 0.1])


def test_scores_and_reliability_by_hand():
    people = with_baselines(
        rows(
            ("a", 10.0, 10.0, 1.0, 0.0, 1.0, 12.0),
            ("a", 10.0, 10.0, 1.0, 0.0, 1.0, 9.0),
            ("b", 10.0, 10.0, 1.0, 0.0, 1.0, 11.0),
            ("c", 10.0, 10.0, 1.0, 0.0, 1.0, 13.0),
        )
    )
    need = scores(people).filter(pl.col("method") == "need").to_dicts()[0]
    assert (need["seconds_n"], need["walkers_n"], need["coverage"]) == (4, 3, 0.75)
    assert need["over_s"] == 1.5
    assert need["pinball_s"] == pytest.approx((0.1 + 0.95 + 0.05 + 0.15) / 4)
    assert reliability(people)["met"].to_list() == [0.75] * len(QUANTILES)
    # Of three walkers one is met half of the time: whole walkers are drawn, so all four values occur.
    low, high = coverage_interval(people)
    assert 0.4 <= low < 0.75 < high == 1.0


def test_nothing_of_the_calibration_is_held_out():
    chosen_on, tried_on = calibration(minutes=60, seed=100), held_out(minutes=60, seed=10_800)
    for name in ("place", "mix", "detector", "seed"):
        assert not {getattr(t, name) for t in chosen_on} & {getattr(t, name) for t in tried_on}
    assert len({t.seed for t in tried_on}) == len(tried_on)
    assert all(10_000 <= t.seed < 11_000 for t in tried_on)


@pytest.mark.sumo
def test_the_command_writes_page_figures_and_rows(tmp_path):
    ran = CliRunner().invoke(
        evaluate, ["need", "--calibration", "--minutes", "8", "--out", str(tmp_path), "--json"]
    )
    assert ran.exit_code == 0, ran.output
    figures = json.loads(ran.stdout)
    assert figures == json.loads((tmp_path / "need.json").read_text())
    assert 0.85 < figures["coverage"] <= 1
    assert figures["pinball_against_class_mean"] < -0.2
    people = pl.read_parquet(tmp_path / "people.parquet")
    assert figures["methods"]["need"]["seconds_n"] == people.height > 1000
    assert (people["true_s"] >= 0).all()
    page = (tmp_path / "need.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")

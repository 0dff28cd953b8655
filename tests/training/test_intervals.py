import math

import numpy as np
import polars as pl
import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.training.intervals import (
    MEASURES,
    Interval,
    format_interval,
    mean_interval,
    rate_interval,
    summarise,
)


def table(**columns):
    """Return rows of two controllers and three seeds; every measure not given is 0."""
    rows = []
    for rank, controller in enumerate(("fixed", "eta")):
        for place, seed in enumerate((10_000, 10_001, 10_002)):
            row = {"site": "a", "controller": controller, "detector": "perfect", "hour": "peak"}
            row |= {"form": "P", "extension_max_s": None, "seed": seed}
            row |= {measure.name: 0.0 for measure in MEASURES}
            for group in ("", "_legal", "_within_max", *(f"_{name}" for name in MOBILITY_CLASSES)):
                row |= {f"residual_n{group}": 0, f"crossings_n{group}": 100}
            row |= {name: values[rank][place] for name, values in columns.items()}
            rows.append(row)
    return pl.DataFrame(rows, schema_overrides={"extension_max_s": pl.Float64})


def test_mean_of_two_values_has_both_as_its_ends():
    assert mean_interval([1.0, 3.0]) == Interval(mean=2.0, low=1.0, high=3.0)


def test_interval_agrees_with_the_t_interval_of_many_values():
    values = np.random.default_rng(1).normal(50, 10, 400)
    interval = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15)


def test_one_seed_has_no_interval_and_none_in_json():
    assert mean_interval([4.0]).as_json() == {"mean": 4.0, "low": None, "high": None}


def test_runs_without_a_value_are_left_out():
    assert mean_interval([4.0, float("nan")]).mean == 4.0
    assert mean_interval([float("nan")]).as_json() == {"mean": None, "low": None, "high": None}


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([4.0, 4.0, 4.0]) == Interval(mean=4.0, low=4.0, high=4.0)


def test_rate_is_all_events_over_all_crossings_not_the_mean_of_rates():
    # 10 of 100 and 0 of 900: 10 / 1,000 = 100 per 10,000; the mean of the rates would be 500.
    assert rate_interval(np.array([10.0, 0.0]), np.array([100.0, 900.0])).mean == pytest.approx(100.0)


def test_no_event_gets_the_rule_of_three():
    interval = rate_interval(np.zeros(2), np.array([400.0, 600.0]))
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 30.0)
    assert format_interval(interval) == "0 (under 30.0)"


def test_the_bound_never_exceeds_everybody():
    assert rate_interval(np.zeros(1), np.ones(1)).high == 10_000.0


def test_rate_of_nobody_is_unknown():
    assert rate_interval(np.zeros(2), np.zeros(2)).mean is None


def test_the_same_runs_give_the_same_interval():
    events, crossings = np.array([3.0, 9.0, 5.0]), np.array([100.0, 120.0, 90.0])
    assert rate_interval(events, crossings) == rate_interval(events, crossings)


def test_paired_differences_are_sharper_than_the_spread_of_seeds():
    # Seeds differ by 20 s, controllers by 2 s on each seed: hand value 2.0 with no width.
    rows = table(vehicle_delay_s=((40.0, 50.0, 60.0), (42.0, 52.0, 62.0)))
    fixed, eta = summarise(rows)
    assert fixed.baseline is None
    assert fixed.differences == {}
    assert eta.baseline == "fixed"
    difference = eta.differences["vehicle_delay_s"]
    assert difference.mean == pytest.approx(2.0)
    assert difference.low == pytest.approx(2.0)
    assert difference.high == pytest.approx(2.0)
    assert difference.excludes_zero()
    assert eta.changes["vehicle_delay_s"].mean == pytest.approx(0.04)


def test_rates_are_compared_pooled():
    rows = table(residual_n=((6, 9, 15), (1, 0, 2)))
    _, eta = summarise(rows)
    assert eta.measures["residual_per_10k"].mean == pytest.approx(100.0)  # 3 of 300
    assert eta.differences["residual_per_10k"].mean == pytest.approx(-900.0)  # 30 of 300 before
    assert eta.changes["residual_per_10k"].mean == pytest.approx(-0.9)
    assert eta.counts["residual_per_10k"] == (3, 300)


def test_only_seeds_that_both_have_are_paired():
    rows = table(vehicle_delay_s=((40.0, 50.0, 90.0), (42.0, 52.0, 0.0)))
    rows = rows.filter(~((pl.col("controller") == "eta") & (pl.col("seed") == 10_002)))
    _, eta = summarise(rows)
    assert eta.differences["vehicle_delay_s"].mean == pytest.approx(2.0)


def test_a_baseline_run_once_serves_every_maximum_but_not_measures_that_depend_on_it():
    rows = table(vehicle_delay_s=((40.0, 50.0, 60.0), (42.0, 52.0, 62.0)))
    other = rows.filter(pl.col("controller") == "eta").with_columns(extension_max_s=pl.lit(5.0))
    _, _, short = summarise(pl.concat([rows, other]))
    assert short.condition["extension_max_s"] == 5.0
    assert short.differences["vehicle_delay_s"].mean == pytest.approx(2.0)
    assert short.differences["residual_within_max_per_10k"].mean is None


def test_nothing_released_in_n_runs_is_bounded_by_three_in_n():
    fixed, _ = summarise(table())
    assert fixed.measures["released_on_person"].high == pytest.approx(1.0)

"""Which seconds are judged, by whose truth, and against what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import polars as pl
import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES, Track, Zone
from bitgoeul.training.evaluate_need import (
    METHODS,
    NEED,
    QUANTILES,
    Trial,
    _Record,
    calibration,
    held_out,
    pinball,
    scores,
    with_baselines,
)

TRIAL = Trial(place="24", mix="even", detector="thermal", seed=1, minutes=1)
ADULT = tuple(float(name == "adult") for name in MOBILITY_CLASSES)


class Person(NamedTuple):
    track: Track
    gone_ds: int


def walker(name, exited_ds):
    return SimpleNamespace(id=name, mobility_class="adult", exited_ds=exited_ds)


def person(number, *, measured_ds=100, gone_ds=-1):
    track = Track(number, "X", Zone.CROSSING, 12.0, 1.2, ADULT, "test", measured_ds, 0)
    return Person(track, gone_ds)


class Driver:
    """One crossing with given people; `who` tells whose track a number was at each time."""

    def __init__(self, people, who):
        self.plan = SimpleNamespace(crossings=[SimpleNamespace(id="X", length_m=24.0)])
        self.detector = SimpleNamespace(walkers_by_track=lambda: who)
        needs = SimpleNamespace(
            people=lambda _: people,
            needs=lambda _i, _now, quantiles: [[10.0 * q for q in quantiles] for _ in people],
            need=lambda _i, _now, quantile: 10.0 * quantile,
        )
        self.loop = SimpleNamespace(needs=needs)


def noted(people, walkers):
    """Return the rows of one second at 10 s, after a picture at 10 s; all leave in the end."""
    record = _Record(TRIAL, Driver(people, walkers))
    record.note(100)
    for each in walkers.values():
        each.exited_ds = each.exited_ds or 150
    return record.people(), record.crossings()


def test_who_is_lost_is_judged_too():
    people, crossings = noted(
        [person("1"), person("2", gone_ds=95)], {"1": walker("a", None), "2": walker("b", None)}
    )
    assert people.select("walker", "sight", "true_s").rows() == [("a", "in sight", 5.0), ("b", "lost", 5.0)]
    assert crossings.is_empty()  # not everybody is in sight


def test_who_is_seen_under_another_number_is_judged_once():
    one = walker("a", None)
    people, _ = noted([person("1", gone_ds=95), person("2")], {"1": one, "2": one})
    assert people["sight"].to_list() == ["in sight"]


def test_false_tracks_and_who_has_left_are_nobodys_need():
    people, crossings = noted([person("ghost"), person("1")], {"1": walker("a", 90)})
    assert people.is_empty()
    assert crossings.is_empty()


def test_the_baselines_by_hand():
    people, _ = noted([person("1")], {"1": walker("a", None)})
    row = with_baselines(people).row(0, named=True)
    assert row["fixed_0.8"] == 15.0
    assert row["last_speed"] == pytest.approx(10.0)
    assert row["class_mean"] == pytest.approx(12 / 1.29)
    assert row["class_slow"] == pytest.approx(12 / (1.29 - 1.645 * 0.27))
    assert (row["need"], row["third"]) == (row[NEED], 2)
    assert row[NEED] == 9.5
    assert len([name for name in row if name.startswith("need_")]) == len(QUANTILES)


def test_a_score_by_hand():
    people, _ = noted([person("1")], {"1": walker("a", None)})
    table = scores(with_baselines(people))
    assert table["method"].to_list() == list(METHODS)
    need = table.filter(pl.col("method") == "need").row(0, named=True)
    assert (need["coverage"], need["seconds_n"], need["walkers_n"]) == (1.0, 1, 1)
    assert need["pinball_s"] == pytest.approx(0.05 * 4.5)  # 4.5 s too long, at 95 %


def test_pinball_is_dear_where_the_truth_is_later():
    table = pl.DataFrame({"true": [10.0, 10.0], "stated": [8.0, 12.0]})
    losses = table.select(pinball(pl.col("true"), pl.col("stated"), 0.95)).to_series()
    assert losses.to_list() == pytest.approx([1.9, 0.1])


def test_nothing_of_the_calibration_is_held_out():
    chosen_on, tried_on = calibration(minutes=60, seed=100), held_out(minutes=60, seed=10_800)
    for name in ("place", "mix", "detector", "seed"):
        assert not {getattr(t, name) for t in chosen_on} & {getattr(t, name) for t in tried_on}
    assert len({t.seed for t in tried_on}) == len(tried_on)
    assert all(10_000 <= t.seed < 11_000 for t in tried_on)

"""Whatever a sensor says, the need is a time: finite, never negative, longer for a surer question."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.need import SURE, NeedEstimator
from bitgoeul.controller.plan import load_plan

PLAN = load_plan(Path(__file__).parents[1] / "controller" / "plans" / "reference.toml")
XW = 3
QUANTILES = (0.05, 0.5, 0.9, 0.95, 0.99, 0.999)


def classes():
    certain = st.sampled_from(range(9)).map(lambda k: tuple(float(k == at) for at in range(9)))
    even = st.just(tuple(1 / len(MOBILITY_CLASSES) for _ in MOBILITY_CLASSES))
    return st.one_of(st.just(()), certain, even)


@st.composite
def pictures(draw):
    """Return frames of up to six numbers that jump, swap, stand, run and vanish, at rising times."""
    now_ds, frames = 0, []
    for _ in range(draw(st.integers(1, 12))):
        now_ds += draw(st.sampled_from((1, 5, 10, 200)))
        names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
        tracks = tuple(
            Track(name, "XW", Zone.CROSSING, draw(st.floats(0, 60)), draw(st.floats(0, 20)), draw(classes()),
                  "law", now_ds, 0)
            for name in names
        )  # fmt: skip
        frames.append((now_ds, draw(st.booleans()) or bool(tracks), tracks))
    return frames


@given(pictures(), st.integers(0, 100))
def test_a_need_is_a_time(series, late_ds):
    needs = NeedEstimator(PLAN)
    for now_ds, is_healthy, tracks in series:
        needs.update(
            tuple(
                Frame(crossing.id, now_ds, is_healthy, tracks if index == XW else ())
                for index, crossing in enumerate(PLAN.crossings)
            )
        )
        assert {person.track.id for person in needs.people(XW)} >= {track.id for track in tracks}
        at_ds = now_ds + late_ds
        all_s = [needs.need(XW, at_ds, quantile=each) for each in QUANTILES]
        assert all(math.isfinite(each) and each >= 0 for each in all_s)
        assert all(sooner <= later + 1e-9 for sooner, later in pairwise(all_s))
        for row in needs.needs(XW, at_ds, QUANTILES):
            assert all(math.isfinite(each) and each >= 0 for each in row)
            assert row == sorted(row)
        sure_s = needs.need(XW, at_ds, quantile=SURE)
        assert not (needs.people(XW) and sure_s > 1 and needs.is_clear_within(XW, at_ds, 0.9 * sure_s - 0.5))


@given(pictures())
def test_the_last_one_needs_as_long_as_anybody(series):
    needs = NeedEstimator(PLAN)
    for now_ds, is_healthy, tracks in series:
        needs.update(
            tuple(
                Frame(crossing.id, now_ds, is_healthy, tracks if index == XW else ())
                for index, crossing in enumerate(PLAN.crossings)
            )
        )
    now_ds = series[-1][0]
    for place, quantile in enumerate(QUANTILES):
        longest_s = max((row[place] for row in needs.needs(XW, now_ds, QUANTILES)), default=0.0)
        assert needs.need(XW, now_ds, quantile=quantile) >= longest_s - 1e-6

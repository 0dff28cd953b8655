"""Averages of arrivals and departures, against their closed form."""

from __future__ import annotations

from math import exp
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitgoeul.controller.detection import Snapshot
from bitgoeul.controller.flows import FLOW_MEMORY_S, MOST_TICKS, VehicleFlows
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import Calls, Lamps, phase_mask

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
LOOPS = [detector.id for detector in PLAN.passage_detectors]
ZONES = [detector.id for detector in PLAN.zone_detectors]
GO_NORTH = Lamps(green=phase_mask((4, 8)))
STOP = Lamps()


def tick(now_ds, *, loops=(), zones=(), lamps=STOP):
    counts = [
        tuple(dict(seen).get(name, 0) for name in names) for seen, names in ((zones, ZONES), (loops, LOOPS))
    ]
    return Snapshot(now_ds, lamps, Calls(), *counts, ())


def followed(ticks):
    flows = VehicleFlows(PLAN)
    for each in ticks:
        flows.follow(each)
    return flows


def arrived(flows, now_ds, loop):
    return flows.rates(now_ds)[:, LOOPS.index(loop)].tolist()


def departed(flows, now_ds, zone):
    return flows.rates(now_ds)[:, len(LOOPS) + ZONES.index(zone)].tolist()


def test_one_arrival_fades_with_each_time_constant():
    flows = followed([tick(0), tick(5, loops={"pass_N_1": 1}), tick(10)])
    assert arrived(flows, 105, "pass_N_1") == pytest.approx([exp(-10 / t) / t for t in FLOW_MEMORY_S])


def test_a_vehicle_that_stands_on_the_detector_arrives_once():
    flows = followed([tick(0), *(tick(now_ds, loops={"pass_N_1": 1}) for now_ds in range(5, 100, 5))])
    assert arrived(flows, 5, "pass_N_1") == pytest.approx([1 / t for t in FLOW_MEMORY_S])


def test_vehicles_depart_when_a_zone_empties_on_green_or_yellow_only():
    for lamps, gone in (
        (GO_NORTH, 3),
        (Lamps(yellow=phase_mask((4,))), 3),
        (STOP, 0),
        (Lamps(green=phase_mask((2, 6))), 0),
    ):
        counts = enumerate((3, 3, 2, 0, 1))
        flows = followed([tick(5 * n, zones={"zone_N_1": count}, lamps=lamps) for n, count in counts])
        assert (departed(flows, 20, "zone_N_1")[2] > 0) == (gone > 0), lamps
        assert departed(flows, 20, "zone_N_1")[2] == pytest.approx(gone / 300, rel=0.01)


def test_what_was_there_at_the_first_tick_neither_arrived_nor_left():
    flows = followed([tick(0, loops={"pass_N_1": 1}, zones={"zone_N_1": 4}, lamps=GO_NORTH)])
    assert not any(arrived(flows, 0, "pass_N_1"))
    assert not any(departed(flows, 0, "zone_N_1"))


def test_a_steady_flow_is_its_rate():
    ticks = [tick(now_ds, loops={"pass_N_1": int(now_ds % 50 == 0)}) for now_ds in range(0, 20_000, 5)]
    assert arrived(followed(ticks), 20_000, "pass_N_1") == pytest.approx([0.2] * 3, rel=0.3)


@given(
    counts=st.lists(st.integers(0, 3), min_size=2, max_size=60),
    asked=st.sets(st.integers(0, 59)),
)
def test_asking_in_between_changes_nothing(counts, asked):
    once, often = VehicleFlows(PLAN), VehicleFlows(PLAN)
    for n, count in enumerate(counts):
        here = tick(5 * n, loops={"pass_N_1": count}, zones={"zone_N_1": 3 - count}, lamps=GO_NORTH)
        once.follow(here)
        often.follow(here)
        if n in asked:
            often.rates(5 * n)
    now_ds = 5 * len(counts)
    np.testing.assert_allclose(often.rates(now_ds), once.rates(now_ds), rtol=1e-9, atol=1e-15)
    assert often.counts(now_ds) == once.counts(now_ds)  # to the last bit
    rises = [5 * n for n in range(1, len(counts)) if counts[n] > counts[n - 1]]
    size = {5 * n: counts[n] - counts[n - 1] for n in range(1, len(counts))}
    formula = [sum(size[at] * exp((at - now_ds) / 10 / t) / t for at in rises) for t in FLOW_MEMORY_S]
    assert arrived(once, now_ds, "pass_N_1") == pytest.approx(formula)


def test_nobody_has_to_ask_for_the_memory_to_stay_small():
    flows = followed([tick(5 * n, loops={"pass_N_1": n % 2}) for n in range(2 * MOST_TICKS + 7)])
    assert len(flows._pending) < MOST_TICKS
    assert arrived(flows, 10 * MOST_TICKS + 35, "pass_N_1")[0] > 0

"""Arrivals and departures as the controller counts them, against SUMO's own vehicles."""

from __future__ import annotations

import numpy as np
import pytest

from bitgoeul.controller.flows import VehicleFlows
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo

LONG_S = 1e9  # nothing is forgotten: an average is a count over LONG_S


@pytest.mark.parametrize("hour", ["peak", "offpeak"])
def test_counts_of_arrivals_and_departures_are_within_10_percent_of_the_truth(hour):
    site = load_site("bukmun_5")
    spec = RunSpec(site="bukmun_5", controller="max_pressure+guard", seed=10_004, hour=hour, minutes=8)
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        edges = sorted({zone.sumo_id.rsplit("_", 1)[0] for zone in site.plan.zone_detectors})
        flows, before, left = VehicleFlows(site.plan, (LONG_S,)), None, 0
        while driver.now_ds < spec.end_s * 10:
            driver.step()
            snapshot = driver.loop.observed.snapshot
            if not snapshot.zone_vehicles:
                continue
            flows.follow(snapshot)
            here = {edge: set(opened.connection.edge.getLastStepVehicleIDs(edge)) for edge in edges}
            left += 0 if before is None else sum(len(before[edge] - here[edge]) for edge in edges)
            before = here
        counted = flows.rates(driver.now_ds)[0] * LONG_S
        arrived, departed = np.split(counted, [len(site.plan.passage_detectors)])
    assert left > 200
    assert departed.sum() == pytest.approx(left, rel=0.1)
    queued = sum(snapshot.zone_vehicles)
    assert arrived.sum() == pytest.approx(left, rel=0.1, abs=queued)

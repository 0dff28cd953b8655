"""A proving ground is an ordinary site of the length asked for."""

from __future__ import annotations

import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.envs.world import RunSpec, run_world
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.proving_ground import write_proving_ground

ADULTS = {name: float(name == "adult") for name in MOBILITY_CLASSES}


@pytest.mark.parametrize("length_m", [6.0, 24.0, 45.0])
def test_a_plan_fits_its_length(tmp_path, length_m):
    plan = load_site(write_proving_ground(tmp_path, length_m=length_m, mobility_mix=ADULTS)).plan
    phase = plan.phase(4)
    assert plan.crossing("X").length_m == length_m
    assert phase.walk_s + phase.ped_clear_s >= 7 + length_m
    assert plan.conflicting_phases("X") == (2,)


@pytest.mark.parametrize("length_m", [5.9, 45.1])
def test_other_lengths_are_refused(tmp_path, length_m):
    with pytest.raises(ValueError, match="allowed are 6 to 45 m"):
        write_proving_ground(tmp_path / "no", length_m=length_m, mobility_mix=ADULTS)
    assert not (tmp_path / "no").exists()


@pytest.mark.sumo
def test_people_cross_it_in_the_time_their_speed_says(tmp_path):
    site = write_proving_ground(tmp_path, length_m=24.0, mobility_mix=ADULTS, persons_per_h=200)
    events = run_world(RunSpec(site=str(site), controller="fixed", seed=1, hour="12", minutes=20)).events
    ways_m = sorted(e["crossing_s"] * e["speed_mps"] for e in events if e["crossing_s"])
    assert len(ways_m) > 40
    assert ways_m[len(ways_m) // 2] == pytest.approx(24.0, rel=0.03)

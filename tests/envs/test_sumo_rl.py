"""sumo-rl's figures: equal to its own functions on the same running simulation, and written as it does."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.sumo_rl_csv import LATER, PEDESTRIANS, SumoRlCsv, episode_file
from bitgoeul.envs.sumo_rl_figures import SignalFigures
from bitgoeul.envs.sumo_rl_rewards import REWARDS, sumo_rl_reward
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo

SITE = load_site("bukmun_5")
SPEC = RunSpec(site="bukmun_5", controller="actuated+guard", seed=2, hour="peak", minutes=5)


@pytest.fixture(scope="module")
def sumo_rl():
    """sumo-rl's classes; importing them asks for SUMO_HOME, which nothing of ours does."""
    sumo = pytest.importorskip("sumo")
    before = os.environ.get("SUMO_HOME")
    os.environ["SUMO_HOME"] = str(Path(sumo.__file__).parent)
    try:
        env = pytest.importorskip("sumo_rl.environment.env")
    finally:
        if before is None:
            del os.environ["SUMO_HOME"]
        else:
            os.environ["SUMO_HOME"] = before
    return env


@pytest.fixture
def running():
    with simulation(SPEC, SITE) as opened:
        yield build_driver(SPEC, SITE, opened.connection)


def their_signal(sumo_rl, connection, traffic_light):
    """One of their traffic lights without its constructor, which would replace the lamps' program."""
    signal = object.__new__(sumo_rl.TrafficSignal)
    lanes = connection.trafficlight.getControlledLanes(traffic_light)
    signal.id, signal.sumo, signal.last_measure = traffic_light, connection, 0.0
    signal.env = SimpleNamespace(vehicles={})
    signal.lanes = list(dict.fromkeys(lanes))
    links = connection.trafficlight.getControlledLinks(traffic_light)
    signal.out_lanes = list({link[0][1] for link in links if link})
    return signal


def their_row(sumo_rl, connection, signal):
    them = SimpleNamespace(sumo=connection, ts_ids=[signal.id], traffic_signals={signal.id: signal})
    return {
        **sumo_rl.SumoEnvironment._get_system_info(them),
        **sumo_rl.SumoEnvironment._get_per_agent_info(them),
    }


def test_every_row_equals_what_sumo_rl_computes_on_the_same_simulation(sumo_rl, running):
    table = SumoRlCsv(running, every_s=5)
    theirs = their_signal(sumo_rl, running.connection, SITE.plan.sumo.traffic_light)
    rows = []
    while running.now_ds < 4000:
        if table.sample():
            rows.append(their_row(sumo_rl, running.connection, theirs))
        running.step()
    assert len(rows) == len(table.rows) == 80
    assert table.columns[: 1 + len(rows[0])] == ("step", *rows[0])
    for ours, expected in zip(table.rows, rows, strict=True):
        assert {name: ours[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    busiest = max(rows, key=lambda row: row["agents_total_stopped"])
    assert busiest["agents_total_stopped"] > 10
    assert busiest["agents_total_accumulated_waiting_time"] > 100
    assert [row["step"] for row in table.rows] == [5.0 * number for number in range(80)]


def test_every_reward_equals_sumo_rls(sumo_rl, running):
    theirs = their_signal(sumo_rl, running.connection, SITE.plan.sumo.traffic_light)
    functions = {name: sumo_rl_reward(name) for name in sumo_rl.TrafficSignal.reward_fns}
    assert set(functions) == set(REWARDS)
    seen = {name: [] for name in functions}
    while running.now_ds < 3000:
        for _ in range(10):
            running.step()
        for name, function in functions.items():
            expected = sumo_rl.TrafficSignal.reward_fns[name](theirs)
            assert function(SimpleNamespace(driver=running)) == {name: pytest.approx(expected, rel=1e-12)}
            seen[name].append(float(expected))
    assert all(len(set(values)) > 5 for values in seen.values())
    assert min(seen["diff-waiting-time"]) < 0 < max(seen["diff-waiting-time"])


def test_a_reward_begins_anew_with_the_next_episode(running):
    reward = sumo_rl_reward("diff-waiting-time")
    for _ in range(600):
        running.step()
    interval = SimpleNamespace(driver=running)
    first = reward(interval)["diff-waiting-time"]
    assert first < 0
    assert reward(interval)["diff-waiting-time"] == 0
    again = SimpleNamespace(**{name: getattr(running, name) for name in ("connection", "plan")})
    assert reward(SimpleNamespace(driver=again))["diff-waiting-time"] == first


def test_an_unknown_reward_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="unknown reward 'co2'; sumo-rl has diff-waiting-time"):
        sumo_rl_reward("co2")


def test_pedestrians_and_counters_follow_sumo_rls_columns(running):
    table = SumoRlCsv(running, every_s=10)
    counted = {"Arrived": 0, "Departed": 0, "EndingTeleport": 0}
    while running.now_ds < 6000:
        table.sample()
        running.step()
        for what in counted:
            counted[what] += getattr(running.connection.simulation, f"get{what}Number")()
    table.sample()
    assert table.columns[-len(LATER + PEDESTRIANS) :] == LATER + PEDESTRIANS
    last, column = table.rows[-1], {name: [row[name] for row in table.rows] for name in table.columns}
    assert [last[f"system_total_{name}"] for name in ("arrived", "departed", "teleported")] == [
        counted[what] for what in counted
    ]
    assert last["system_total_departed"] - last["system_total_arrived"] == last["system_total_running"] > 0
    assert max(column["ped_waiting"]) > 3
    assert max(column["ped_crossing"]) > 1
    assert max(column["ped_mean_wait_s"]) > 5
    for name in ("ped_crossed_n", "residual_n", "extension_s", "system_total_arrived"):
        assert column[name] == sorted(column[name])
    events = running.measures.event_rows(running.now_ds)
    assert last["residual_n"] == sum(row["is_residual"] for row in events)
    assert last["ped_crossed_n"] == sum(row["crossing_s"] is not None for row in events) > 10
    assert last["extension_s"] == running.loop.audit.extension_ds / 10 > 0


def test_the_file_is_whole_and_in_the_folder_asked_for(running, tmp_path):
    table = SumoRlCsv(running)
    table.sample()
    path = table.write(episode_file(tmp_path / "new" / "run", 2))
    assert path == tmp_path / "new" / "run_conn0_ep2.csv"
    assert [each.name for each in path.parent.iterdir()] == ["run_conn0_ep2.csv"]
    with path.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert tuple(row) == table.columns
    assert float(row["step"]) == 0.0
    assert float(row["J_average_speed"]) == 1.0


def test_what_cannot_be_sampled_or_written_is_refused(running, tmp_path):
    with pytest.raises(ValueError, match="at least one running junction"):
        SumoRlCsv([])
    with pytest.raises(ValueError, match="every_s = 0"):
        SumoRlCsv(running, every_s=0)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ScenarioError, match="cannot be made"):
        SumoRlCsv(running).write(tmp_path / "file" / "run.csv")


def test_several_junctions_share_the_file_and_the_memory_of_waiting(running):
    table = SumoRlCsv([running, running])
    for _ in range(400):
        running.step()
    table.sample()
    (row,) = table.rows
    assert row["agents_total_stopped"] == 2 * row["J_stopped"] > 0
    assert np.isfinite(list(row.values())).all()
    assert SignalFigures(running.connection, "J").stopped_n() == row["J_stopped"]

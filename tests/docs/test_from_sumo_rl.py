"""The page for sumo-rl's users: its two scripts run, and what it claims of both holds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

from bitgoeul.envs.foreign import junction_env
from bitgoeul.envs.options import EnvOptions
from bitgoeul.envs.sumo_rl_csv import LATER, PEDESTRIANS, episode_file
from bitgoeul.envs.sumo_rl_rewards import REWARDS
from bitgoeul.sim_scenarios.build import build_network
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.demand import draw_trips, write_routes

pytestmark = pytest.mark.sumo

PAGE = (Path(__file__).parents[2] / "docs" / "from-sumo-rl.md").read_text(encoding="utf-8")
SITE = load_site("bukmun_5")

THEIR_WATCH = """
import json, sumo_rl
changes, crossed, caught, arrived = [], set(), set(), 0
class Watched(sumo_rl.SumoEnvironment):
    def _sumo_step(self):
        global arrived
        super()._sumo_step()
        arrived += self.sumo.simulation.getDepartedNumber()
        if self.sim_step > 300:
            note(self.sumo, self.sim_step)
    def close(self):
        global arrived
        if self.sumo is not None and self.episode:
            arrived += len(self.sumo.simulation.getPendingVehicles())
        super().close()
sumo_rl.SumoEnvironment = Watched
"""
OUR_WATCH = """
import json
from bitgoeul.controller.junction import SumoJunction
changes, crossed, caught, step_before = [], set(), set(), SumoJunction.step
def step(driver):
    step_before(driver)
    if driver.now_ds > driver.warmup_ds:
        note(driver._connection, driver.now_ds / 10)
SumoJunction.step = step
"""
NOTE = """
CONFLICTS = {conflicts}
def note(sumo, now_s):
    state = sumo.trafficlight.getRedYellowGreenState("J")
    before = changes[-1][1] if changes else state
    for edge, links in CONFLICTS.items():
        here = {{(edge, person) for person in sumo.edge.getLastStepPersonIDs(edge)}}
        crossed.update(here)
        if any(state[i] in "Gg" and before[i] not in "Gg" for i in links):
            caught.update(here)
    if not changes or state != before:
        changes.append((now_s, state))
"""
RESULT = """
print("RESULT", json.dumps(dict(steps=steps, changes=changes, dtype=str(observation.dtype), {more})))
"""


def part(name):
    return PAGE.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]


def links_in_conflict(crossing):
    plan = SITE.plan
    return [
        link
        for movement in plan.movements
        if plan.relation(movement.id, crossing.id) == "conflict"
        for link in movement.sumo_links
    ]


def play(folder, watch, name, more):
    """Run a script of the page in a process of its own, with something to look over its shoulder."""
    conflicts = {crossing.sumo_edge: links_in_conflict(crossing) for crossing in SITE.plan.crossings}
    block = part(name).removeprefix("```python\n").removesuffix("```")
    script = folder / f"{name}.py"
    script.write_text(
        NOTE.format(conflicts=conflicts) + watch + block + RESULT.format(more=more), encoding="utf-8"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SUMO_HOME": str(Path(find_spec("sumo").origin).parent),
        "LIBSUMO_AS_TRACI": "1",
    }
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(result.removeprefix("RESULT "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("both")
    shutil.copy(build_network(SITE).net_path, made / "junction.net.xml")
    trips = draw_trips(SITE, seed=1, hour="peak", duration_s=900)
    write_routes(trips, made / "junction.rou.xml")
    return made


@pytest.fixture(scope="module")
def theirs(folder):
    return play(folder, THEIR_WATCH, "theirs", "arrived=arrived, residual=[len(caught), len(crossed)]")


@pytest.fixture(scope="module")
def ours(folder):
    result = 'info["result"]'
    return play(folder, OUR_WATCH, "ours", f"result={result}")


def shortest_after_walk_s(changes):
    """From the end of a crossing's walk to the next start of a green in conflict with it."""
    shortest = float("inf")
    for crossing in SITE.plan.crossings:
        ended_s = None
        for (_, before), (now_s, after) in pairwise(changes):
            if before[crossing.sumo_link] == "G" and after[crossing.sumo_link] != "G":
                ended_s = now_s
            starts = any(after[i] in "Gg" and before[i] not in "Gg" for i in links_in_conflict(crossing))
            if ended_s is not None and starts:
                shortest, ended_s = min(shortest, now_s - ended_s), None
    return shortest


def shortest_all_red_s(changes):
    """From the end of a movement's yellow to the next start of a green in conflict with it."""
    plan, shortest = SITE.plan, float("inf")
    for movement in plan.movements:
        others = [
            link
            for other in plan.movements
            if plan.movement_relation(movement.id, other.id) == "conflict"
            for link in other.sumo_links
        ]
        for own in movement.sumo_links:
            ended_s = None
            for (_, before), (now_s, after) in pairwise(changes):
                if before[own] == "y" and after[own] != "y":
                    ended_s = now_s
                if ended_s is not None and any(after[i] in "Gg" and before[i] not in "Gg" for i in others):
                    shortest, ended_s = min(shortest, now_s - ended_s), None
    return shortest


def columns(path):
    return path.read_text(encoding="utf-8").splitlines()[0].split(",")


def figures(changes, residual_n, crossed_n):
    """One column of the page's table of figures."""
    return [
        f"{shortest_after_walk_s(changes):.0f} s",
        f"{shortest_all_red_s(changes):.0f} s",
        f"{residual_n} of {crossed_n}",
    ]


def shown(column):
    return [line.strip("| ").split(" | ")[column] for line in part("measured").splitlines()[2:]]


def test_their_script_makes_one_step_every_five_seconds_and_their_csv(theirs, folder):
    assert theirs["steps"] == 180
    assert theirs["dtype"] == "float32"
    assert len(columns(episode_file(folder / "theirs", 1))) == 10


def test_their_lamps_are_what_the_page_says(theirs):
    assert shown(1) == figures(theirs["changes"], *theirs["residual"])


def test_our_script_makes_one_step_every_five_seconds_after_the_warm_up(ours, theirs):
    assert 300 + 5 * ours["steps"] == 5 * theirs["steps"]
    assert ours["dtype"] == theirs["dtype"]


def test_our_csv_begins_with_their_columns(ours, theirs, folder):
    own = columns(folder / "ours.csv")
    expected = columns(episode_file(folder / "theirs", 1))
    assert own == [*expected, *LATER, *PEDESTRIANS]


def test_both_have_had_the_same_vehicles_arrive(ours, theirs, folder):
    lines = (folder / "ours.csv").read_text(encoding="utf-8").splitlines()
    last = dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))
    assert last["step"] == 900
    by_then = last["system_total_departed"] + last["system_total_backlogged"]
    assert by_then == theirs["arrived"] > 200


def test_our_lamps_are_what_the_page_says(ours):
    phases, result = SITE.plan.phases, ours["result"]
    clear_s = min(phase.yellow_s + phase.red_clear_s for phase in phases)
    walk_to_green_s = min(phase.ped_clear_s for phase in phases if phase.ped_clear_s) + clear_s
    assert shortest_after_walk_s(ours["changes"]) >= walk_to_green_s
    assert shortest_all_red_s(ours["changes"]) >= min(phase.red_clear_s for phase in phases) > 0
    assert result["residual_within_max_per_10k"] == 0
    expected = figures(ours["changes"], result["residual_n"], result["crossings_n"])
    assert shown(2) == expected, f"docs/from-sumo-rl.md is out of date: its last column is now {expected}"


def table_rows():
    table = PAGE.split("## What maps to what\n")[1].split("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]


def test_every_argument_of_theirs_is_in_the_table(folder):
    source = "import inspect, sumo_rl; print(*inspect.signature(sumo_rl.SumoEnvironment).parameters)"
    environment = {**os.environ, "SUMO_HOME": str(Path(find_spec("sumo").origin).parent)}
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    named = {name for row in table_rows() for name in re.findall(r"`([a-z_]+)", row[0])}
    assert set(done.stdout.split()) <= named


def test_every_reward_of_theirs_is_in_the_table():
    named = {name for row in table_rows() for name in re.findall(r'sumo_rl_reward\("([a-z-]+)"\)', row[1])}
    assert named == set(REWARDS)


def test_every_option_of_ours_in_the_table_exists():
    known = {field.name for field in fields(EnvOptions)}
    named = {name for row in table_rows() for name in re.findall(r"`([a-z_]+)=", row[1])}
    assert named <= known
    assert {"minutes", "delta_time_s", "csv_path", "hour"} <= known


def test_their_files_make_an_environment_of_ours(folder):
    made = junction_env(folder / "junction.net.xml", folder / "junction.rou.xml", minutes=1)
    _, info = made.reset(seed=1)
    assert info["seed"] == 1
    made.close()


def test_every_name_of_ours_on_the_page_is_where_it_says():
    named = set(re.findall(r"`(bitgoeul\.[a-z_.]+)\.([A-Za-z_]+)", PAGE))
    assert {name for _, name in named} >= {"corridor_env", "junction_env", "episode_file"}
    for module, name in named:
        assert callable(getattr(import_module(module), name)), f"{module}.{name}"

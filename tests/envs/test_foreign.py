"""The environment on other people's networks: nothing conflicts, traffic flows, the checkers pass."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.policies import PolicyOptions, make_controller, parse_controller
from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.foreign import junction_env
from bitgoeul.envs.layout import _kerb_by_side, crossing_layouts
from bitgoeul.envs.render import make_renderer
from bitgoeul.envs.world import JunctionDriver, Simulation
from bitgoeul.sim_scenarios.build import netconvert_path
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.importers import PERIOD, site_from_network
from bitgoeul.sim_scenarios.matrix import junction_shapes, line_distance_m, ways_apart_m

pytestmark = pytest.mark.sumo

FOUR = {"w": (-200, 0), "n": (0, 200), "e": (200, 0), "s": (0, -200)}
THREE = {"w": (-200, 0), "e": (200, 10), "s": (20, -200)}
FIVE = {"w": (-200, 0), "n": (-60, 200), "ne": (150, 150), "e": (200, -40), "s": (0, -200)}
RUN_S = 600


def network(folder: Path, legs, *, fast=()) -> tuple[Path, Path]:
    """Let netconvert build a junction with crossings, and write flows for all of its ways."""
    nodes = "".join(f'<node id="{leg}" x="{x}" y="{y}"/>' for leg, (x, y) in legs.items())
    edges = "".join(
        f'<edge id="{a}_{b}" from="{a}" to="{b}" numLanes="2" speed="{20 if leg in fast else 13.8}"/>'
        for leg in legs
        for a, b in ((leg, "J"), ("J", leg))
    )
    nodes = f'<nodes><node id="J" x="0" y="0" type="traffic_light"/>{nodes}</nodes>'
    (folder / "x.nod.xml").write_text(nodes, encoding="utf-8")
    (folder / "x.edg.xml").write_text(f"<edges>{edges}</edges>", encoding="utf-8")
    command = [str(netconvert_path()), "--no-turnarounds", "--sidewalks.guess", "--crossings.guess"]
    command += ["--walkingareas", "-n", str(folder / "x.nod.xml"), "-e", str(folder / "x.edg.xml")]
    subprocess.run([*command, "-o", str(folder / "x.net.xml")], check=True, capture_output=True)
    flows = "".join(
        f'<flow id="{a}{b}" from="{a}_J" to="J_{b}" begin="0" end="2000" vehsPerHour="60"/>'
        for a in legs
        for b in legs
        if a != b
    )
    walks = "".join(
        f'<personFlow id="p{leg}" begin="0" end="2000" period="40" departPos="-15">'
        f'<walk from="{leg}_J" to="J_{leg}" arrivalPos="10"/></personFlow>'
        for leg in legs
    )
    (folder / "x.rou.xml").write_text(f"<routes>{flows}{walks}</routes>", encoding="utf-8")
    return folder / "x.net.xml", folder / "x.rou.xml"


def bundled(name: str) -> tuple[Path, Path]:
    """Return a network and a route file that the sumo-rl package brings."""
    package = importlib.util.find_spec("sumo_rl")
    assert package is not None
    folder = Path(package.submodule_search_locations[0]) / "nets" / name
    return next(folder.glob("*.net.xml")), min(folder.glob("*.rou.xml"))


@pytest.fixture(params=["three", "four", "five", "2way-single-intersection", "single-intersection"])
def files(request, tmp_path):
    legs = {"three": THREE, "four": FOUR, "five": FIVE}.get(request.param)
    return bundled(request.param) if legs is None else network(tmp_path, legs)


@pytest.fixture
def opened():
    made: list[CrossingEnv] = []

    def start(*files, **options) -> CrossingEnv:
        made.append(junction_env(*files, **options))
        return made[-1]

    yield start
    for env in made:
        env.close()


def shown_together(site, rows) -> set[frozenset[str]]:
    """Return which protected streams and crossings were green at once, by SUMO's letters alone."""
    links = {link: each.id for each in site.plan.movements for link in each.sumo_links}
    links.update({each.sumo_link: each.id for each in site.plan.crossings})
    together: set[frozenset[str]] = set()
    for row in set(rows):
        green = [links[link] for link, letter in enumerate(row) if letter == "G"]
        together.update(frozenset(pair) for pair in combinations(green, 2) if pair[0] != pair[1])
    return together


def meet_on_the_ground(site) -> set[frozenset[str]]:
    """Return which streams cut through each other or over a crossing, by the network's lanes alone."""
    shapes = junction_shapes(site.plan, site.imported.net_file, "test")
    meet: set[frozenset[str]] = set()
    for one, other in combinations(site.plan.movements, 2):
        if one.from_leg != other.from_leg:
            ways = product(shapes.ways[one.id], shapes.ways[other.id])
            if any(ways_apart_m(a, b) == 0.0 for a, b in ways):
                meet.add(frozenset((one.id, other.id)))
    for movement, crossing in product(site.plan.movements, site.plan.crossings):
        band = shapes.bands[crossing.id].points
        if any(line_distance_m(way.points, band) == 0.0 for way in shapes.ways[movement.id]):
            meet.add(frozenset((movement.id, crossing.id)))
    return meet


def test_ten_minutes_of_the_fixed_plan_never_conflict_and_let_everybody_through(files):
    site = site_from_network(*files)
    simulation = Simulation(site, seed=1, hour=PERIOD, end_s=RUN_S)
    try:
        controller = make_controller(parse_controller("fixed"), site.plan, PolicyOptions())
        driver = JunctionDriver(
            simulation.connection, site.plan, controller, detector="perfect", seed=1, is_recording=True
        )
        arrived: set[str] = set()
        departed: set[str] = set()
        while driver.now_ds < RUN_S * 10:
            driver.step()
            arrived.update(simulation.connection.simulation.getArrivedIDList())
            departed.update(simulation.connection.simulation.getDepartedIDList())
        assert driver.backend.alarms == []
        rows = [row for _, row in driver.backend.row_changes]
        assert len(set(rows)) > 4
        assert not shown_together(site, rows) & meet_on_the_ground(site)
        assert simulation.connection.simulation.getStartingTeleportNumber() == 0
        assert len(departed) >= 50
        assert len(arrived) > 0.7 * len(departed)
        events = driver.measures.event_rows(RUN_S * 10, driver.detector.was_detected, [])
        assert {each["crossing"] for each in events} == {each.id for each in site.plan.crossings}
        assert {each["mobility_class"] for each in events} <= {"unknown"}
    finally:
        simulation.close()


def test_two_hundred_random_steps_and_the_public_checker(files, opened):
    env = opened(*files, minutes=60)
    env.reset(seed=5)
    rng = np.random.default_rng(0)
    rewards = []
    for _ in range(200):
        action = int(rng.choice(np.flatnonzero(env.action_masks())))
        _, reward, _, is_over, _ = env.step(action)
        rewards.append(reward)
        if is_over:
            env.reset(seed=6)
    assert env._driver.backend.alarms == []
    assert max(rewards) <= 0.0
    assert min(rewards) < 0.0
    check_env(env, skip_render_check=True)


def test_the_kerbs_follow_from_the_sides_of_a_leg_where_no_sidewalk_tells():
    site = load_site("bukmun_5")
    simulation = Simulation(site, seed=1, hour="night", end_s=10)
    try:
        layouts = crossing_layouts(simulation.connection, site.plan)
        sides = [
            _kerb_by_side(site.plan, crossing, layout.start_xy, layout.end_xy)
            for crossing, layout in zip(site.plan.crossings, layouts, strict=True)
        ]
        assert sides == [layout.start_kerb for layout in layouts]
    finally:
        simulation.close()


def test_a_crossing_without_sidewalks_beside_it_is_walked(tmp_path, opened):
    # Over 13.89 m/s netconvert guesses no sidewalk: only the south leg, which is slower, has one.
    net, routes = network(tmp_path, THREE, fast=("w", "e"))
    text = routes.read_text(encoding="utf-8")
    for leg in ("w", "e"):
        text = re.sub(rf'<personFlow id="p{leg}".*?</personFlow>', "", text)
    routes.write_text(text, encoding="utf-8")
    env = opened(net, routes, minutes=5)
    assert [each.id for each in env.site.plan.crossings] == ["XS"]
    env.reset(seed=1)
    is_over = False
    while not is_over:
        *_, is_over, _ = env.step(int(np.flatnonzero(env.action_masks())[-1]))
    crossed = env._driver.measures.event_rows(6000)
    assert len(crossed) >= 5
    assert {each["kerb"] for each in crossed} == {"B"}  # northbound people walk on the east side


def test_the_same_seed_gives_the_same_trace(tmp_path, opened):
    files = network(tmp_path, FOUR)
    traces = []
    for _ in range(2):
        env = opened(*files, minutes=2)
        env.reset(seed=7)
        is_over = False
        while not is_over:
            *_, is_over, _ = env.step(int(np.flatnonzero(env.action_masks())[-1]))
        traces.append(env.trace_hash)
        env.close()
    assert traces[0] == traces[1]


def test_an_hour_is_refused_because_the_route_file_settles_it(opened):
    with pytest.raises(ValueError, match="hour"):
        junction_env(*bundled("single-intersection"), hour="peak")
    env = opened(*bundled("single-intersection"), minutes=1)
    with pytest.raises(ValueError, match="hour: the route file says who departs when"):
        env.reset(seed=1, options={"hour": "peak"})


def test_a_junction_without_crossings_has_no_table_of_them(opened):
    env = opened(*bundled("single-intersection"), minutes=1, render_mode="ansi")
    env.reset(seed=1)
    right_of_the_phases = make_renderer(env.site, env.driver).rgb_array()[590:, 400:]
    assert len(np.unique(right_of_the_phases.reshape(-1, 3), axis=0)) == 1
    assert [line.split()[0] for line in env.render().splitlines()[1:]] == ["ring", *4 * ["queue"]]


def test_a_route_file_that_begins_at_seven_is_moved_to_the_warm_up(opened):
    net, routes = bundled("RESCO/cologne1")
    env = opened(net, routes, minutes=1)
    assert any("moved back by 25200 s" in line for line in env.site.explain())
    env.reset(seed=1)
    assert env._driver.connection.vehicle.getIDCount() > 10


def test_a_route_over_unknown_edges_is_refused_at_reset(tmp_path, opened):
    net, routes = network(tmp_path, FOUR)
    routes.write_text('<routes><trip id="a" from="nowhere" to="J_e" depart="0"/></routes>', encoding="utf-8")
    with pytest.raises(ScenarioError, match="nowhere"):
        opened(net, routes).reset(seed=1)

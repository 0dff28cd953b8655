"""The corridor: junctions stepped together in one SUMO, and their PettingZoo environment."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import cycle

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.policies import PolicyOptions, make_controller, parse_controller
from bitgoeul.controller.signals import phase_mask
from bitgoeul.envs.corridor import IDLE_ROW, corridor_env, drop_idle
from bitgoeul.envs.corridor_reward import CorridorPersons
from bitgoeul.envs.corridor_world import CorridorDriver, corridor_controller, corridor_simulation
from bitgoeul.envs.episode import DRAWN, EXAMPLE_FILE
from bitgoeul.envs.reward import SCALE_S
from bitgoeul.envs.world import WARMUP_DS, JunctionDriver
from bitgoeul.sim_scenarios.corridor import CORRIDOR_DEMAND_FILE, CORRIDOR_FILE, load_corridor
from bitgoeul.sim_scenarios.corridor_demand import member_seed, persons_per_second

pytestmark = pytest.mark.sumo

MEMBER = """
[[members]]
id = "{0}"
site = "bukmun_5"
name = "{0}"
name_ko = "{0}"
lat = 35.0
lon = 126.0
offset_s = {1}
"""
LINK = """
[[links]]
from_member = "a"
from_leg = "E"
to_member = "b"
to_leg = "W"
spacing_m = 300.0
"""


def corridor_of(folder, members, *, veh_per_h=300.0):
    """Return a corridor of one junction, or of two linked ones."""
    text = 'schema_version = 1\nid = "test_row"\nname = "test"\nname_ko = "test"\n'
    text += "".join(MEMBER.format(name, offset_s) for name, offset_s in members.items())
    is_pair = len(members) > 1
    (folder / CORRIDOR_FILE).write_text(text + (LINK if is_pair else ""), encoding="utf-8")
    rows = "schema_version = 1\nwalker_factor = 1.0\n"
    for name in members:
        for leg in "WENS":
            if not is_pair or (name, leg) not in {("a", "E"), ("b", "W")}:
                rows += f'[[entries]]\nmember = "{name}"\nleg = "{leg}"\nveh_per_h = {veh_per_h}\n'
            rows += f'[[turns]]\nmember = "{name}"\nleg = "{leg}"\nleft = 0.2\nthrough = 0.6\nright = 0.2\n'
    (folder / CORRIDOR_DEMAND_FILE).write_text(rows, encoding="utf-8")
    return load_corridor(folder)


@pytest.fixture
def pair(tmp_path):
    return corridor_of(tmp_path, {"a": 0.0, "b": 28.0})


@pytest.fixture
def make_env():
    """Return a maker of environments, all closed after the test."""
    made = []

    def make(corridor="bukmun_row", **options):
        made.append(corridor_env(corridor, **{"minutes": 1, "hour": "offpeak", **options}))
        return made[-1]

    yield make
    for env in made:
        env.close()


def play(env, seed, *, steps=60, pick=0, idle=IDLE_ROW):
    """Play legal actions drawn by `pick`; return everything that came back."""
    rng = np.random.default_rng(pick)
    played = [env.reset(seed=seed)]
    for _ in range(steps):
        actions = {}
        for agent in env.agents:
            legal = np.flatnonzero(env.action_masks(agent))
            action = int(rng.choice(legal))
            actions[agent] = action if len(legal) > 1 else idle
        played.append(env.step(actions))
    return played


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other or (math.isnan(one) and math.isnan(other))  # a mean over nobody


# --- stepping together ----------------------------------------------------------------------------


def test_a_corridor_of_one_leaves_the_trace_of_its_junction_stepped_alone(tmp_path):
    one = corridor_of(tmp_path, {"a": 0.0})
    name = parse_controller("fixed+guard")
    hashes = []
    for is_corridor in (True, False):
        with corridor_simulation(one, seed=7, hour="offpeak", end_s=420) as opened:
            if is_corridor:
                driver = CorridorDriver(
                    opened.connection,
                    one,
                    corridor_controller("fixed+guard", PolicyOptions()),
                    detector="camera_day",
                    seed=7,
                )
            else:
                plan = one.members["a"].plan
                driver = JunctionDriver(
                    opened.connection,
                    plan,
                    make_controller(name, plan, PolicyOptions()),
                    detector="camera_day",
                    seed=member_seed(7, "a"),
                )
            while driver.now_ds < 4200:
                driver.step()
            hashes.append(driver.trace_hashes["a"] if is_corridor else driver.trace.hexdigest)
    assert hashes[0] == hashes[1]


def test_fixed_runs_each_junction_at_its_offset_and_no_conflicting_greens_come(pair):
    began = {name: [] for name in pair.members}
    with corridor_simulation(pair, seed=7, hour="offpeak", end_s=700) as opened:
        driver = CorridorDriver(
            opened.connection,
            pair,
            corridor_controller("fixed", PolicyOptions()),
            detector="camera_day",
            seed=7,
        )

        def listen(name, plan):
            walk, conflicts = phase_mask([4]), phase_mask(plan.conflicting_phases("XW"))

            def heard(now_ds, before, after):
                if after.walk & ~before.walk & walk:
                    began[name].append(now_ds / 10)
                assert not ((after.walk | after.ped_clear) & walk and after.green & conflicts)

            return heard

        for name, junction in driver.junctions.items():
            junction.lamp_listeners.append(listen(name, junction.plan))
        while driver.now_ds < 7000:
            driver.step()
        assert [each.backend.alarms for each in driver.junctions.values()] == [[], []]
    assert len(began["a"]) >= 4
    in_step = [time_s % 160 for time_s in began["a"][-2:]], [time_s % 160 for time_s in began["b"][-2:]]
    assert (in_step[1][0] - in_step[0][0]) % 160 == 28.0
    assert in_step[0][0] == in_step[0][1]


def counted_by_edges(env):
    """Return the persons at each junction, by looking at every edge and every person."""
    connection, owner = env.driver.connection, env.corridor.owner
    kinds = {kind.id: kind.persons for kind in env.corridor.sites["a"].demand.vehicle_types}
    counted = {
        name: [0.0, sum(map(len, [*junction.walkers.waiting, *junction.walkers.on_crossing]))]
        for name, junction in env.driver.junctions.items()
    }
    for edge in connection.edge.getIDList():
        for vehicle in connection.edge.getLastStepVehicleIDs(edge):
            counted[owner(edge)][0] += kinds[connection.vehicle.getTypeID(vehicle)]
    for vehicle in connection.simulation.getPendingVehicles():
        first = connection.vehicle.getRoute(vehicle)[0]
        counted[owner(first)][0] += kinds[connection.vehicle.getTypeID(vehicle)]
    return counted


def test_each_second_everybody_counts_at_one_junction_those_who_cannot_enter_included(tmp_path, make_env):
    corridor = corridor_of(tmp_path, {"a": 0.0, "b": 28.0}, veh_per_h=2_500.0)
    env = make_env(corridor, hour="peak", minutes=5)
    env.reset(seed=5)
    followed, waited_outside, came_on_n = CorridorPersons(env.driver), 0, 0
    followed.count()
    connection = env.driver.connection
    while env.driver.now_ds < WARMUP_DS + 600:
        for _ in range(2):
            env.driver.step()
            counted = followed.count()
        by_edges = counted_by_edges(env)
        for name, persons in counted.items():
            assert persons == pytest.approx(by_edges[name])
        anew = CorridorPersons(env.driver).count()
        assert {name: pytest.approx(persons) for name, persons in anew.items()} == counted
        waited_outside += len(connection.simulation.getPendingVehicles())
        came_on_n += connection.edge.getLastStepVehicleNumber("a.E_out")
    assert waited_outside > 1_000
    assert came_on_n > 100
    assert all(on_foot > 0 for _, on_foot in counted.values())


def test_a_vehicle_that_sumo_moves_on_counts_at_the_junction_it_lands_before(pair, make_env):
    env = make_env(pair, hour="peak")
    env.reset(seed=5)
    persons, driver = CorridorPersons(env.driver), env.driver
    persons.count()
    vehicle = next(each for each in driver.connection.edge.getLastStepVehicleIDs("a.W_far"))
    driver.connection.vehicle.setRoute(vehicle, ("a.W_far", "a.W_in", "a.E_out", "b.W_in", "b.E_out"))
    driver.connection.vehicle.moveTo(vehicle, "b.W_in_2", 5.0)
    persons._landed = lambda: (vehicle,)
    driver.step()
    counted, by_edges = persons.count(), counted_by_edges(env)
    for name, found in counted.items():
        assert found == pytest.approx(by_edges[name])


# --- the environment ------------------------------------------------------------------------------


def test_pettingzoos_checker_of_the_interface_passes(pair, make_env):
    parallel_api_test(make_env(pair), num_cycles=70)


def test_pettingzoos_checker_of_seeds_passes_with_one_environment_on_each_backend(pair, make_env):
    backends = cycle(["libsumo", "traci"])
    parallel_seed_test(lambda: make_env(pair, hour="night", backend=next(backends)), num_cycles=5)


def test_the_same_seed_and_actions_give_the_same_everything_on_libsumo_and_traci(pair, make_env):
    one = play(make_env(pair, hour="night"), 3, steps=30)
    other = play(make_env(pair, hour="night", backend="traci"), 3, steps=30)
    assert_same(one, other)


def test_a_second_reset_with_a_seed_repeats_the_first_and_another_seed_does_not(make_env):
    env = make_env()
    one = play(env, 3)
    traces = env.driver.trace_hashes
    again = play(env, 3)
    assert_same(one, again)
    assert env.driver.trace_hashes == traces
    assert len(set(traces.values())) == len(traces)
    play(env, 4)
    assert env.driver.trace_hashes != traces


IN_ANOTHER_PROCESS = """
import json, sys
from bitgoeul.envs.corridor import corridor_env

env = corridor_env(sys.argv[1], hour="offpeak", minutes=1)
env.reset(seed=3)
rewards = []
while env.agents:
    actions = {agent: int(env.action_masks(agent).nonzero()[0][-1]) for agent in env.agents}
    rewards.append(env.step(actions)[1])
print(json.dumps([env.driver.trace_hashes, rewards]))
env.close()
"""


def test_two_other_processes_give_the_same_traces_and_rewards(pair):
    told = [
        subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS, str(pair.folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    traces, rewards = json.loads(told[0])
    assert told[0] == told[1]
    assert set(traces) == {"a", "b"}
    assert len(rewards) == 60


def test_an_agent_with_nothing_to_decide_has_row_0_alone_and_its_action_has_no_effect(make_env):
    env = make_env()
    one = play(env, 3)
    traces = env.driver.trace_hashes
    other = play(env, 3, idle=N_MAX - 1)
    assert env.driver.trace_hashes == traces
    idle_n = chosen_n = 0
    for (observations, *_, infos), (*_, told) in zip(one, other, strict=True):
        for agent, observation in observations.items():
            has_choice = infos[agent]["has_choice"]
            legal = np.flatnonzero(observation["mask"])
            assert (len(legal) > 1) == has_choice
            if not has_choice:
                assert legal.tolist() == [IDLE_ROW]
            idle_n += not has_choice
            chosen_n += has_choice
            assert told[agent]["has_choice"] == has_choice
    assert idle_n > chosen_n > 5
    assert sum(info["illegal_action"] for *_, infos in other[1:] for info in infos.values()) == (
        sum(not infos[agent]["has_choice"] for *_, infos in one[:-1] for agent in infos)
    )


def test_rewards_sum_to_the_corridors_person_seconds_over_its_scale(make_env):
    env = make_env(tau_s=None)
    played = play(env, 3)
    scale = persons_per_second(env.corridor, "offpeak") * SCALE_S
    for _, rewards, terminated, _, infos in played[1:]:
        assert not any(terminated.values())
        assert all(info["reward_terms"]["teleports"] == 0 for info in infos.values())
        person_s = sum(info["person_s"] for info in infos.values())
        assert sum(rewards.values()) == pytest.approx(-person_s / scale)
        for agent, reward in rewards.items():
            assert reward == pytest.approx(sum(infos[agent]["reward_terms"].values()))
            assert reward < 0
    assert all(played[-1][3].values())
    assert not any(played[-2][3].values())
    assert env.agents == []
    with pytest.raises(RuntimeError, match="no episode runs"):
        env.step({})


def test_agents_decide_at_whole_seconds_only_and_the_guard_overrules_no_legal_choice(make_env):
    env = make_env(minutes=3)
    env.reset(seed=4)
    decided, rng = [], np.random.default_rng(4)

    def noted(agent, policy):
        choose = policy._chooser.choose

        def note(observation):
            decided.append((agent, env.driver.now_ds))
            return choose(observation)

        policy._chooser.choose = note

    for agent, mine in env._agents.items():
        noted(agent, mine.policy)
    asked_n = 0
    while env.agents:
        legal = {agent: np.flatnonzero(env.action_masks(agent)) for agent in env.agents}
        asked_n += sum(len(rows) > 1 for rows in legal.values())
        *_, infos = env.step({agent: int(rng.choice(rows)) for agent, rows in legal.items()})
        assert not any(info["illegal_action"] or info["overrides"] for info in infos.values())
    assert len(decided) >= asked_n > 5
    assert all(now_ds % 10 == 0 for _, now_ds in decided)


def test_elapsed_runs_from_decision_to_decision_and_dropping_idle_steps_keeps_the_return(make_env):
    env = make_env(minutes=2)
    played = play(env, 3, steps=120)
    for agent in env.possible_agents:
        acted_on = [infos[agent]["has_choice"] for *_, infos in played[:-1]]
        rewards = [step[1][agent] for step in played[1:]]
        truncated = [step[3][agent] for step in played[1:]]
        batch = {"has_choice": acted_on, "reward": rewards, "truncated": truncated}
        rows = drop_idle(batch, tau_s=240.0)
        first = acted_on.index(True)
        seen = [infos[agent]["elapsed_s"] for *_, infos in played[first + 1 :] if infos[agent]["has_choice"]]
        assert rows["elapsed_s"][: len(seen)].tolist() == seen
        expected = sum(r * np.exp(-k / 240) for k, r in enumerate(rewards[first:]))
        discounts = np.cumprod([1.0, *rows["discount"][:-1]])
        assert float(rows["reward"] @ discounts) == pytest.approx(expected)
        assert not rows["is_open"].any()


def test_an_illegal_choice_is_replaced_by_the_first_legal_one_or_raises_under_strict(make_env):
    env = make_env(minutes=2)
    _, infos = env.reset(seed=3)
    while not any(info["has_choice"] for info in infos.values()):
        *_, infos = env.step(dict.fromkeys(env.agents, 0))
    agent = next(name for name in env.agents if infos[name]["has_choice"])
    default = int(np.flatnonzero(env.action_masks(agent))[0])
    at_ds = env.driver.now_ds
    idle = dict.fromkeys(env.agents, 0)
    *_, infos = env.step({**idle, agent: N_MAX - 1})
    assert infos[agent]["illegal_action"]
    seen = env.driver.trace_hashes
    env.reset(seed=3)
    while env.driver.now_ds < at_ds:
        env.step(idle)
    *_, infos = env.step({**idle, agent: default})
    assert not infos[agent]["illegal_action"]
    assert env.driver.trace_hashes == seen
    env.close()
    strict = make_env(strict=True)
    strict.reset(seed=3)
    with pytest.raises(ValueError, match=r"action 99 of bukmun_6 is illegal now; legal: "):
        strict.step(dict.fromkeys(strict.agents, 99))


def test_observations_and_state_lie_in_their_spaces_and_monitors_see_no_fault(make_env):
    env = make_env()
    for observations, *_ in play(env, 8):
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
    assert env.state_space.contains(env.state())
    assert all(each.backend.alarms == [] for each in env.driver.junctions.values())


def test_idle_agents_see_zeros_or_on_request_their_detectors_with_the_same_run(pair, make_env):
    env = make_env(pair)
    plain = play(env, 8)
    traces, state = env.driver.trace_hashes, env.state()
    idle = [
        observations[agent]
        for observations, *_, infos in plain
        for agent in observations
        if not infos[agent]["has_choice"]
    ]
    assert len(idle) > 60
    assert not any(each["context"].any() or each["choices"].any() for each in idle)
    env.close()
    full = make_env(pair, observe_idle=True)
    shown = play(full, 8)
    assert full.driver.trace_hashes == traces
    np.testing.assert_array_equal(full.state(), state)
    for (observations, *_), (seen, *_, infos) in zip(plain, shown, strict=True):
        for agent, observation in seen.items():
            assert observation["context"].any()
            np.testing.assert_array_equal(observation["mask"], observations[agent]["mask"])
            if infos[agent]["has_choice"]:
                assert_same(observation, observations[agent])


def test_reset_takes_an_hour_and_a_detector_and_draws_training_seeds(make_env):
    env = make_env(render_mode="ansi")
    _, infos = env.reset(options={"hour": "night", "detector": "perfect", "colour": "blue"})
    info = infos["bukmun_5"]
    assert (info["hour"], info["detector"], info["unknown_options"]) == ("night", "perfect", ["colour"])
    assert 0 <= info["seed"] < 10_000
    assert env.driver.now_ds == WARMUP_DS
    blocks = env.render().split("\n\n")
    assert [block.split()[0] for block in blocks] == env.possible_agents
    assert "0:05:00.0" in blocks[0]
    with pytest.raises(ValueError, match="seed = -1: a seed is a whole number"):
        env.reset(seed=-1)
    with pytest.raises(ValueError, match="no action for bukmun_6"):
        env.step({"bukmun_5": 0, "bukmun_4": 0})
    with pytest.raises(TypeError, match=r"action = 1\.0: an action is one row's index"):
        env.step(dict.fromkeys(env.agents, 1.0))


def test_masks_and_state_before_reset_are_refused(make_env):
    env = make_env()
    with pytest.raises(RuntimeError, match="call reset first"):
        env.action_masks("bukmun_5")
    with pytest.raises(RuntimeError, match="call reset first"):
        env.state()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes = 0"),
        ({"backend": "carla"}, "backend has 'carla'"),
        ({"render_mode": "rgb"}, "render_mode has 'rgb'"),
        ({"hour": "noon"}, "'noon' is unknown"),
        ({"tau_s": 0.0}, "tau_s = 0.0"),
        ({"form": "Q"}, "form = 'Q'"),
        ({"detector": "eyes"}, "eyes"),
    ],
)
def test_an_option_out_of_its_range_is_refused(options, message):
    with pytest.raises((ValueError, ScenarioError), match=message):
        corridor_env(**options)


def test_a_controller_that_retimes_the_plan_is_refused_in_a_corridor():
    with pytest.raises(ValueError, match="run at their own design speed"):
        corridor_controller("fixed:0.8", PolicyOptions())


def test_an_option_a_corridor_does_not_have_is_refused():
    with pytest.raises(TypeError, match="a corridor has no option csv_path, delta_time_s"):
        corridor_env(delta_time_s=5, csv_path="x.csv")
    with pytest.raises(
        TypeError, match=r"unknown option colour; .* render_mode, observation, ablation, .*tau_s$"
    ):
        corridor_env(colour="blue")


def test_a_picture_shows_all_junctions_and_the_last_one_stays_after_the_end(pair, make_env):
    env = make_env(pair, render_mode="rgb_array", hour="night")
    env.reset(seed=2)
    first = env.render()
    assert first.dtype == np.uint8
    while env.agents:
        env.step(dict.fromkeys(env.agents, 0))
    assert env.render().shape == first.shape
    assert (env.render() != first).any()


def test_a_flat_observation_with_its_mask_last_and_the_truth_for_a_critic_alone(pair, make_env):
    flat = make_env(pair, observation="flat", hour="night")
    observations, _ = flat.reset(seed=2)
    assert flat.observation_space("a").contains(observations["a"])
    np.testing.assert_array_equal(observations["a"][-N_MAX:], flat.action_masks("a"))
    flat.close()
    critical = make_env(pair, critic=True, hour="night")
    observations, _ = critical.reset(seed=2)
    assert set(observations["b"]) == {"context", "choices", "mask", "critic"}
    assert critical.observation_space("b").contains(observations["b"])
    assert critical.state().shape == flat.state_space.shape


def test_randomised_conditions_are_drawn_by_seed_and_told(pair, make_env):
    env = make_env(pair, randomise=EXAMPLE_FILE)
    told = []
    for _ in range(2):
        _, infos = env.reset(seed=11)
        told.append({name: infos["a"][name] for name in DRAWN})
        assert infos["a"] == infos["b"] | {"has_choice": infos["a"]["has_choice"]}
    assert told[0] == told[1]
    _, infos = env.reset(options={"demand_factor": 0.5, "hour": "offpeak"})
    assert infos["a"]["demand_factor"] == 0.5


def test_an_ended_episode_tells_each_junctions_result_without_mixing_it_with_the_corridors(make_env):
    env = make_env(hour="peak", minutes=3)
    *_, infos = play(env, 6, steps=180)[-1]
    rows = [infos[agent]["result"] for agent in env.possible_agents]
    assert len({row["trace_hash"] for row in rows}) == 3
    assert len({row["vehicles_n"] for row in rows}) == 1
    assert all(row["crossings_n"] > 0 for row in rows)
    assert not any("persons_n" in row or "person_delay_s" in row for row in rows)
    assert {row["trace_hash"] for row in rows} == set(env.driver.trace_hashes.values())

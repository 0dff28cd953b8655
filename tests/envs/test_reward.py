"""The reward: person-seconds by hand, the discount inside a step, charges, optional terms, own functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.reward import (
    JAMMED_PERSON_S,
    SCALE_S,
    TELEPORT_PERSON_S,
    TERMS,
    PersonSeconds,
    persons_per_second,
)
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo


class FakeVehicles:
    """A junction whose vehicles and walkers the test moves by hand, one step at a time."""

    step_ds = 5

    def __init__(self):
        self.now_ds = 3000
        self.inside, self.departed, self.arrived, self.waiting_outside = ["c0"], [], [], []
        self.statistics = {"stats.teleports.total": 0, "stats.persons.jammed": 0}
        self.connection = self.simulation = self.vehicle = self.walkers = self
        self.waiting, self.on_crossing = [{}, {}], [{}, {}]

    def getDepartedIDList(self):  # noqa: N802 - SUMO's names
        return tuple(self.departed)

    def getArrivedIDList(self):  # noqa: N802
        return tuple(self.arrived)

    def getPendingVehicles(self):  # noqa: N802
        return tuple(self.waiting_outside)

    def getIDList(self):  # noqa: N802
        return tuple(self.inside)

    def getTypeID(self, vehicle):  # noqa: N802
        return {"c": "car", "b": "bus", "x": "tram"}[vehicle[0]]

    def getParameter(self, _, name):  # noqa: N802
        return str(self.statistics[name])

    def step(self, *, departed=(), arrived=()):
        self.now_ds += 5
        self.departed, self.arrived = list(departed), list(arrived)
        self.inside = [each for each in self.inside if each not in arrived] + list(departed)


@pytest.fixture(scope="module")
def site():
    return load_site("bukmun_5")


@pytest.fixture
def junction():
    return FakeVehicles()


def test_everybody_is_charged_by_the_second_with_the_occupants_of_each_kind_of_vehicle(junction, site):
    spent = PersonSeconds(junction, site, "peak")
    junction.waiting[1] = {"w0": None, "w1": None}
    junction.on_crossing[0] = {"w2": None}
    junction.step()  # car 1.4, three walkers
    spent.add()
    junction.step(departed=["b0"])  # and a bus of 25
    spent.add()
    junction.waiting_outside = ["c1", "x0"]  # a car and a tram of 1.4 each that cannot enter
    junction.step(arrived=["c0"])
    spent.add()
    interval = spent.interval()
    vehicles_s = 0.5 * (1.4 + 26.4 + (25.0 + 2.8))
    assert interval.person_s == pytest.approx(vehicles_s + 0.5 * 9)
    assert interval.elapsed_s == 1.5
    scale = persons_per_second(site, "peak") * SCALE_S
    assert interval.terms["vehicles"] == pytest.approx(-vehicles_s / scale)
    assert interval.terms["walkers"] == pytest.approx(-4.5 / scale)


def test_vehicles_are_counted_anew_after_steps_that_were_not_added(junction, site):
    spent = PersonSeconds(junction, site, "peak")
    spent.add()
    junction.step(departed=["b0"])
    junction.step()
    spent.add()
    assert spent.interval().person_s == pytest.approx(0.5 * (1.4 + 26.4))


def test_a_step_cut_in_two_is_worth_the_same_with_the_discount_between(junction, site):
    def play(cut_at: int | None) -> list[float]:
        junction.now_ds, junction.inside = 3000, ["c0"]
        spent = PersonSeconds(junction, site, "peak", tau_s=20.0)
        rewards = []
        for step in range(24):
            junction.step(departed=[f"b{step}"] if step % 5 == 0 else ())
            spent.add()
            if step == cut_at:
                rewards.append(spent.result()[0])
                spent.start()
        return [*rewards, spent.result()[0]]

    (whole,) = play(None)
    first, second = play(9)
    assert whole == pytest.approx(first + math.exp(-5.0 / 20.0) * second)


def test_a_constant_junction_costs_the_integral_of_the_discount(junction, site):
    spent = PersonSeconds(junction, site, "peak", tau_s=20.0)
    for _ in range(40):
        junction.step()
        spent.add()
    interval = spent.interval()
    expected = 1.4 * 20.0 * (1 - math.exp(-1.0))
    assert interval.terms["vehicles"] * interval.scale_person_s == pytest.approx(-expected)
    assert interval.person_s == pytest.approx(1.4 * 20)


def test_teleports_and_jams_are_charged_once_and_told(junction, site):
    spent = PersonSeconds(junction, site, "peak")
    junction.step()
    spent.add()
    junction.statistics = {"stats.teleports.total": 2, "stats.persons.jammed": 1}
    interval = spent.interval()
    assert (interval.teleports_n, interval.jammed_n) == (2, 1)
    assert interval.terms["teleports"] * interval.scale_person_s == pytest.approx(-2 * TELEPORT_PERSON_S)
    assert interval.terms["jammed"] * interval.scale_person_s == pytest.approx(-JAMMED_PERSON_S)
    assert interval.person_s == pytest.approx(0.7 + 2 * TELEPORT_PERSON_S + JAMMED_PERSON_S)
    spent.start()
    assert spent.interval().person_s == 0.0


@pytest.fixture
def make_env():
    """Make environments that are closed whatever happens."""
    made = []

    def make(*args, **options) -> CrossingEnv:
        made.append(CrossingEnv(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def play(env: CrossingEnv, steps: int | None = None) -> list[dict]:
    env.reset(seed=3)
    rng, infos = np.random.default_rng(0), []
    while steps is None or len(infos) < steps:
        *_, reward, _, is_over, info = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
        assert reward == pytest.approx(sum(info["reward_terms"].values()))
        infos.append(info)
        if is_over:
            break
    return infos


def test_optional_terms_are_logged_apart_and_agree_with_the_result(make_env):
    env = make_env(minutes=4, tau_s=None, reward_terms=dict.fromkeys(TERMS, 1.0))
    infos = play(env)
    scale = persons_per_second(env.site, "peak") * SCALE_S
    sums = {name: -scale * sum(info["reward_terms"][name] for info in infos) for name in TERMS}
    assert all(value >= 0 for value in sums.values())
    assert sums["extension"] == pytest.approx(infos[-1]["extension_s"], abs=1.0)
    assert sums["switch"] == pytest.approx(round(sums["switch"]))
    assert sums["switch"] > 0
    assert sums["stops"] > 0
    assert sums["unfinished"] > 0
    assert all(info["reward_terms"]["unfinished"] == 0 for info in infos[:-1])
    built_in = ("vehicles", "walkers", "teleports", "jammed")
    spent_s = -scale * sum(info["reward_terms"][name] for info in infos for name in built_in)
    assert sum(info["person_s"] for info in infos) == pytest.approx(spent_s)


def test_residual_walkers_of_an_unguarded_junction_are_counted_as_the_measures_count_them():
    from bitgoeul.envs.reward_terms import TermCounters
    from bitgoeul.envs.world import RunSpec, build_driver, simulation

    spec = RunSpec(site="bukmun_5", controller="fixed", seed=10_001, hour="peak", minutes=10)
    site = load_site("bukmun_5")
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        while driver.now_ds < driver.warmup_ds:
            driver.step()
        counters = TermCounters(driver, {"residual": 1.0})
        while driver.now_ds < spec.end_s * 10:
            driver.step()
            counters.add(1.0)
    records = [each for each in driver.measures._records if each.residual_m is not None]
    noted = sum(each.conflict_ds >= driver.warmup_ds for each in records)
    assert noted > 0
    assert counters.costs(1.0, None)["residual"] == noted


def test_a_reward_function_of_ones_own_gets_the_interval_and_replaces_the_terms(make_env):
    seen = []

    def queue(interval):
        seen.append(interval)
        return {"queue": -float(interval.driver.connection.lane.getLastStepHaltingNumber("W_in_1")), "one": 1}

    env = make_env(minutes=2, reward=queue)
    infos = play(env)
    assert all(set(info["reward_terms"]) == {"queue", "one"} for info in infos)
    assert [interval.elapsed_s for interval in seen] == [info["elapsed_s"] for info in infos]
    assert [interval.is_over for interval in seen] == [False] * (len(seen) - 1) + [True]
    assert set(seen[0].terms) == {"vehicles", "walkers", "teleports", "jammed"}

"""No observation leads to the truth, whatever is ablated, and a user's function is given none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from test_detector_truth_apart import leaks, reachable

from bitgoeul.controller.guard import Guard
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.observe import ChoiceObserver
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser
from bitgoeul.envs.ablations import ABLATIONS, ClassBlindNeeds, observed_needs
from bitgoeul.envs.observing import as_observation
from bitgoeul.envs.world import JunctionDriver, Simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo

SITE = load_site("bukmun_5")


@dataclass(frozen=True)
class Options:
    observation: Any = "dict"
    critic: bool = False


class Keeping:
    """A user's function that keeps all it is given."""

    space = spaces.Box(0.0, 1.0, (1,), np.float32)

    def __init__(self):
        self.given = []

    def __call__(self, situation, observation):
        self.given.append((situation, observation))
        return np.zeros(1, np.float32)


@pytest.fixture(scope="module", params=["none", "class_blind", "presence"])
def run(request):
    """A junction with people on a crossing, observed under an ablation."""
    assert request.param in ABLATIONS
    simulation = Simulation(SITE, seed=10_000, hour="peak", end_s=700)
    try:
        policy = ChoicePolicy(
            "watched",
            SITE.plan,
            LinearChooser(MAX_PRESSURE_WEIGHTS),
            needs=observed_needs(SITE.plan, request.param),
        )
        driver = JunctionDriver(
            simulation.connection, SITE.plan, (policy, Guard(SITE.plan)), detector="camera_day", seed=0
        )
        while driver.now_ds < 3100 or not any(
            frame.on_crossing for frame in driver.loop.observed.snapshot.frames
        ):
            driver.step()
        yield driver, request.param
    finally:
        simulation.close()


def test_no_observer_reaches_the_truth(run):
    driver, ablation = run
    observer = driver.policy.observer
    assert isinstance(observer, ChoiceObserver)
    observation = observer.observe(driver.loop.observed)
    assert leaks(observer, observation, driver.policy) == []
    kinds = [type(each) for each, _ in reachable(observer)]
    assert kinds.count(NeedEstimator) == (ablation == "class_blind")  # its own; the loop's is only lent
    assert (ClassBlindNeeds in kinds) == (ablation == "class_blind")


def test_a_users_function_is_given_nothing_of_the_truth(run):
    driver, _ = run
    situation, function = driver.loop.observed, Keeping()
    observation = driver.policy.observer.observe(situation)
    as_observation(observation, Options(function), situation=situation)
    assert function.given == [(situation, observation)]
    assert leaks(function) == []


def test_the_dict_handed_out_holds_arrays_and_nothing_else(run):
    driver, _ = run
    observation = driver.policy.observer.observe(driver.loop.observed)
    for form in ("dict", "flat"):
        handed = as_observation(observation, Options(form))
        assert leaks(handed) == []
        arrays = list(handed.values()) if isinstance(handed, dict) else [handed]
        assert all(type(each) is np.ndarray and each.dtype.kind in "fi" for each in arrays)


def test_the_walk_would_find_an_observer_that_knows_the_driver(run):
    driver, _ = run
    driver.policy.observer.driver = driver
    assert leaks(driver.policy.observer)
    del driver.policy.observer.driver

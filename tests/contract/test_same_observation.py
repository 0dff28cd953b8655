"""An agent of the environment sees, bit for bit, what the controller's own loop sees."""

from __future__ import annotations

import numpy as np
import pytest

from bitgoeul.controller.observe import CHOICE, CONTEXT, Observation
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser
from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

pytestmark = pytest.mark.sumo

MINUTES, SEED = 3, 10_011


class Recording:
    """A chooser that keeps each observation it is asked about."""

    def __init__(self):
        self.seen = []
        self._chooser = LinearChooser(MAX_PRESSURE_WEIGHTS)

    def choose(self, observation):
        self.seen.append(observation)
        return self._chooser.choose(observation)


def in_the_loop(backend):
    spec = RunSpec(
        site="bukmun_5",
        controller="max_pressure+guard",
        seed=SEED,
        hour="peak",
        minutes=MINUTES,
        backend=backend,
    )
    site, recording = load_site("bukmun_5"), Recording()
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        driver.policy._chooser = recording
        while driver.now_ds < spec.end_s * 10:
            driver.step()
    return recording.seen


def in_the_environment():
    env, recording = CrossingEnv("bukmun_5", hour="peak", minutes=MINUTES), Recording()
    seen, _ = env.reset(seed=SEED)
    is_over = False
    while not is_over:
        choice = recording.choose(Observation(seen["context"], seen["choices"], seen["mask"].astype(bool)))
        seen, _, _, is_over, _ = env.step(choice)
    env.close()
    return recording.seen


def test_the_environment_and_the_loop_see_the_same_numbers():
    expected, found = in_the_loop("libsumo"), in_the_environment()
    assert len(found) > 10
    choosing = iter(expected)  # the environment may pass over moments with a single choice
    for here in found:
        there = next(each for each in choosing if np.array_equal(each.context, here.context))
        np.testing.assert_array_equal(here.choices, there.choices)
        np.testing.assert_array_equal(here.mask, there.mask)
    used = {CONTEXT[n].name for n in range(len(CONTEXT)) if any(each.context[n] for each in found)}
    used |= {CHOICE[n].name for n in range(len(CHOICE)) if any(each.choices[:, n].any() for each in found)}
    names = {f"{kind}_{seconds}" for kind in ("arrived", "departed") for seconds in (10, 60, 300)}
    assert names | {"detection_age", "open_services"} <= used


def test_a_simulation_over_a_socket_is_seen_alike():
    for here, there in zip(in_the_loop("libsumo"), in_the_loop("traci"), strict=True):
        np.testing.assert_array_equal(here.context, there.context)
        np.testing.assert_array_equal(here.choices, there.choices)

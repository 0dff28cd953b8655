"""The public checkers of environments, for every registered site and corridor and each form of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from pettingzoo.test import parallel_api_test, parallel_seed_test

from bitgoeul.envs.corridor import corridor_env
from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.sim_scenarios.catalog import site_names
from bitgoeul.sim_scenarios.corridor import corridor_names

pytestmark = pytest.mark.sumo

FORMS = [
    pytest.param({"observation": observation, "delta_time_s": delta_time_s}, id=f"{observation}-{moments}")
    for observation in ("dict", "flat")
    for moments, delta_time_s in (("event", None), ("delta", 5.0))
]
STEPS = 20
EXPECTED = (
    "For Box action spaces",
    "Your observation",
    "render_fps",
    "Core environment is written as",
    "Not able to test alternative render modes",
)
"""Beginnings of what a checker remarks without finding a fault."""


@contextmanager
def nothing_remarked() -> Iterator[None]:
    """Fail on a checker's warnings, but for hints at taste."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    remarks = [str(each.message) for each in found if issubclass(each.category, UserWarning)]
    assert not [text for text in remarks if not any(hint in text for hint in EXPECTED)]


@contextmanager
def opened(make: Callable[[], Any]) -> Iterator[Any]:
    """Make an environment, and close it whatever happens: one SUMO a process."""
    env = make()
    try:
        yield env
    finally:
        env.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("site", site_names())
def test_gymnasiums_checker_passes(site: str, form: dict[str, Any]) -> None:
    with opened(partial(CrossingEnv, site, minutes=1, **form)) as env, nothing_remarked():
        gymnasium_check(env, skip_render_check=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("site", site_names())
def test_stable_baselines_checker_passes(site: str, form: dict[str, Any]) -> None:
    check_env = pytest.importorskip("stable_baselines3.common.env_checker").check_env
    with opened(partial(CrossingEnv, site, minutes=1, **form)) as env, nothing_remarked():
        check_env(env, skip_render_check=True)


def test_the_registered_environment_is_made_by_its_name() -> None:
    with opened(partial(gymnasium.make, "Bitgoeul/Crossing-v0", minutes=1)) as env:
        _, info = env.reset(seed=10_001)
        assert info["seed"] == 10_001
        assert env.unwrapped.action_masks().any()


@pytest.mark.parametrize("corridor", corridor_names())
def test_pettingzoos_api_test_passes(corridor: str) -> None:
    with opened(partial(corridor_env, corridor, minutes=1)) as env:
        parallel_api_test(env, num_cycles=STEPS)


@pytest.mark.parametrize("corridor", corridor_names())
def test_pettingzoos_seed_test_passes(corridor: str) -> None:
    parallel_seed_test(partial(corridor_env, corridor, minutes=1, backend="traci"), num_cycles=STEPS)

"""The observation as Gymnasium gets it: forms, a user's function, ablations, and what only a critic sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, ChoiceObserver, Observation
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser
from bitgoeul.envs.ablations import ABLATIONS, ablated, observed_needs
from bitgoeul.envs.critic import CRITIC, N_CRITIC, critic_vector
from bitgoeul.envs.observing import FLAT_N, ObservationFunction, as_observation, observation_space
from bitgoeul.envs.world import JunctionDriver, Simulation
from bitgoeul.sim_scenarios.catalog import load_site

SITE = load_site("bukmun_5")
END_DS = 7200
NEED_COLUMNS = {"need", "extension", "extension_left"}


@dataclass(frozen=True)
class Options:
    observation: Any = "dict"
    critic: bool = False


def some_observation():
    draws = np.random.default_rng(1)
    return Observation(
        draws.uniform(0, LIMIT, len(CONTEXT)).astype(np.float32),
        draws.uniform(0, LIMIT, (N_MAX, len(CHOICE))).astype(np.float32),
        draws.random(N_MAX) < 0.5,
    )


def test_the_flat_form_is_context_choices_and_mask_in_a_row():
    seen, options = some_observation(), Options("flat")
    row = as_observation(seen, options)
    assert row.dtype == np.float32
    assert observation_space(options).shape == row.shape == (FLAT_N,)
    assert observation_space(options).contains(row)
    rows_end = len(CONTEXT) + N_MAX * len(CHOICE)
    np.testing.assert_array_equal(row[: len(CONTEXT)], seen.context)
    np.testing.assert_array_equal(row[len(CONTEXT) : rows_end].reshape(N_MAX, -1), seen.choices)
    np.testing.assert_array_equal(row[rows_end:], seen.mask)


def test_the_dict_form_has_a_critics_part_only_when_asked():
    seen, truth = some_observation(), np.ones(N_CRITIC, np.float32)
    for options, names in ((Options(), 3), (Options(critic=True), 4)):
        parts = as_observation(seen, options, critic=truth)
        assert list(parts) == ["context", "choices", "mask", "critic"][:names]
        assert observation_space(options).contains(parts)
    assert "critic" not in as_observation(seen, Options(critic=True))  # the caller's to add


class Pressure:
    """A user's own observation."""

    space = spaces.Box(0.0, LIMIT, (N_MAX,), np.float32)

    def __call__(self, situation, observation):
        assert situation == "the situation"
        return observation.choices[:, 3]


def test_a_users_function_is_given_situation_and_observation():
    options, seen = Options(Pressure()), some_observation()
    assert isinstance(options.observation, ObservationFunction)
    assert observation_space(options) is Pressure.space
    found = as_observation(seen, options, situation="the situation")
    np.testing.assert_array_equal(found, seen.choices[:, 3])
    with pytest.raises(ValueError, match="needs the situation"):
        as_observation(seen, options)


@pytest.mark.parametrize("form", ["rows", None, lambda situation, observation: 0])
def test_another_form_is_refused(form):
    with pytest.raises(ValueError, match="allowed are 'dict', 'flat', and a function"):
        observation_space(Options(form))


def test_the_truth_stands_under_a_key_or_nowhere():
    with pytest.raises(ValueError, match="critic=True needs observation='dict'"):
        observation_space(Options("flat", critic=True))


def test_an_unknown_ablation_is_refused_and_only_perfect_changes_the_detector():
    for make in (lambda name: ablated("camera_day", name), lambda name: observed_needs(SITE.plan, name)):
        with pytest.raises(ValueError, match="ablation = 'all': known are none, class_blind, perfect"):
            make("all")
    others = {ablated("camera_day", name) for name in ABLATIONS if name != "perfect"}
    assert (ablated("camera_day", "perfect"), others) == ("perfect", {"camera_day"})


# --- in SUMO --------------------------------------------------------------------------------------


class Watched(ChoicePolicy):
    """A choosing policy beside which other observers look at the same ticks."""

    def __init__(self, name, plan, chooser, **options):
        super().__init__(name, plan, chooser, **options)
        self.beside = {
            name: ChoiceObserver(plan, self.rules, needs=observed_needs(plan, name)) for name in ABLATIONS
        }

    def is_due(self, situation):
        for observer in self.beside.values():
            observer.follow(situation)
        return super().is_due(situation)


def play(ablation, *, look=None, policy=ChoicePolicy):
    """Return the trace hash of some minutes behind the guard; `look` is called at each decision."""
    simulation = Simulation(SITE, seed=10_003, hour="peak", end_s=END_DS // 10)
    try:
        needs = observed_needs(SITE.plan, ablation)
        chooser = LinearChooser(MAX_PRESSURE_WEIGHTS)
        driver = JunctionDriver(
            simulation.connection,
            SITE.plan,
            (policy("watched", SITE.plan, chooser, needs=needs), Guard(SITE.plan)),
            detector=ablated("camera_day", ablation),
            seed=3,
        )
        while driver.now_ds < END_DS:
            if look is not None and driver.is_decision_due:
                look(driver)
            driver.step()
        return driver.trace.hexdigest
    finally:
        simulation.close()


@pytest.fixture(scope="module")
def seen():
    """What observers see of one run under each ablation, the truth beside it, and whether people cross."""
    rows: dict[str, list[Observation]] = {name: [] for name in ABLATIONS}
    truths, crossing = [], []

    def look(driver):
        for name, observer in driver.policy.beside.items():
            rows[name].append(observer.observe(driver.loop.observed))
        truth = dict(zip([feature.name for feature in CRITIC], critic_vector(driver), strict=True))
        truths.append((truth, critic_vector(driver), counted(driver)))
        crossing.append(any(frame.on_crossing for frame in driver.loop.observed.snapshot.frames))

    trace = play("none", look=look, policy=Watched)
    assert any(crossing)
    assert len(crossing) > 20
    return rows, truths, trace


def counted(driver):
    """Count again what the critic is told, from SUMO itself."""
    persons = driver.connection.person
    edges = {crossing.sumo_edge for crossing in driver.plan.crossings}
    on = [persons.getRoadID(each) for each in persons.getIDList()]
    return {
        "crossing": sum(edge in edges for edge in on),
        "in_network": driver.connection.vehicle.getIDCount(),
        "standing": sum(
            driver.connection.vehicle.getSpeed(each) < 0.1
            for zone in driver.plan.zone_detectors
            for each in driver.connection.lane.getLastStepVehicleIDs(zone.sumo_id)
        ),
    }


def changed_columns(first, second):
    context = {
        feature.name
        for place, feature in enumerate(CONTEXT)
        if any(a.context[place] != b.context[place] for a, b in zip(first, second, strict=True))
    }
    choices = {
        feature.name
        for place, feature in enumerate(CHOICE)
        if any((a.choices[:, place] != b.choices[:, place]).any() for a, b in zip(first, second, strict=True))
    }
    return context, choices


@pytest.mark.sumo
def test_an_ablation_changes_what_tells_the_need_and_nothing_else(seen):
    rows, _, _ = seen
    need = [feature.name for feature in CHOICE].index("need")
    for name in ("class_blind", "no_need", "presence"):
        context, choices = changed_columns(rows["none"], rows[name])
        assert "need" in choices, name
        assert choices <= NEED_COLUMNS, name
        assert context <= {"extension"}, name
    assert changed_columns(rows["none"], rows["perfect"]) == (set(), set())  # another detector, not observer
    usual = np.array([each.choices[:, need] for each in rows["none"]])
    blind = np.array([each.choices[:, need] for each in rows["class_blind"]])
    present = np.array([each.choices[:, need] for each in rows["presence"]])
    assert not any(each.choices[:, need].any() for each in rows["no_need"])
    assert set(np.unique(present)) == {0.0, 1.0}
    assert (
        (usual > 0) >= (present > 0)
    ).all()  # who is seen has a need; who is lost for a moment has one too
    np.testing.assert_array_equal(blind > 0, usual > 0)  # the same people, the same memory of them


@pytest.mark.sumo
def test_the_guard_sees_what_it_saw_whatever_the_policy_is_not_told(seen):
    # Max-pressure's weights pass over the need, so the same choices are made: what differs is the guard's.
    _, _, trace = seen
    assert play("class_blind") == play("no_need") == trace
    assert play("perfect") != trace


@pytest.mark.sumo
def test_the_critic_is_told_the_truth_bounded_and_in_one_length(seen):
    _, truths, _ = seen
    scale = {feature.name: feature.scale for feature in CRITIC}
    for truth, vector, again in truths:
        assert vector.shape == (N_CRITIC,)
        assert vector.dtype == np.float32
        assert 0 <= vector.min() <= vector.max() <= LIMIT
        assert truth["in_network"] * scale["in_network"] == pytest.approx(
            min(again["in_network"], 200), rel=1e-5
        )
        assert truth["crossing_mean"] * scale["crossing_mean"] * 4 == pytest.approx(
            again["crossing"], rel=1e-5
        )
        lanes = len(SITE.plan.zone_detectors)
        standing = truth["standing_mean"] * scale["standing_mean"] * lanes
        assert standing == pytest.approx(again["standing"], rel=1e-5)
        for group in ("waiting", "longest_wait", "crossing", "need", "standing", "vehicles"):
            assert truth[f"{group}_least"] <= truth[f"{group}_mean"] + 1e-6 <= truth[f"{group}_most"] + 2e-6
    assert max(truth["need_most"] for truth, _, _ in truths) > 0
    assert max(truth["longest_wait_most"] for truth, _, _ in truths) > 0

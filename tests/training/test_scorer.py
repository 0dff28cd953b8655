import numpy as np
import pytest
from gymnasium import spaces

torch = pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

from bitgoeul.controller.choices import N_MAX  # noqa: E402
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation  # noqa: E402
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser  # noqa: E402
from bitgoeul.training.scorer import ScorerPolicy  # noqa: E402
from bitgoeul.training.smdp import SmdpMaskableDictRolloutBuffer  # noqa: E402

SPACE = spaces.Dict(
    {
        "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
        "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
        "mask": spaces.MultiBinary(N_MAX),
    }
)


def make_policy(*, is_trained):
    torch.manual_seed(1)
    policy = ScorerPolicy(
        SPACE,
        spaces.Discrete(N_MAX),
        lambda _: 1e-3,
        hidden=16,
        temperature=0.1,
        start_weights=MAX_PRESSURE_WEIGHTS,
    )
    if is_trained:
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return policy


def draw(batch, seed=0):
    draws = np.random.default_rng(seed)
    mask = draws.random((batch, N_MAX)) < 0.4
    mask[:, 3] = True
    return {
        "context": draws.uniform(0, LIMIT, (batch, len(CONTEXT))).astype(np.float32),
        "choices": draws.uniform(0, LIMIT, (batch, N_MAX, len(CHOICE))).astype(np.float32),
        "mask": mask.astype(np.int8),
    }


def tensors(observation):
    return {name: torch.as_tensor(value) for name, value in observation.items()}


def test_permuting_the_choices_permutes_the_scores_and_leaves_the_value():
    policy, seen = make_policy(is_trained=True), draw(8)
    order = np.random.default_rng(5).permutation(N_MAX)
    turned = {
        "context": seen["context"],
        "choices": seen["choices"][:, order],
        "mask": seen["mask"][:, order],
    }
    with torch.no_grad():
        scores = policy.mlp_extractor.forward_actor(policy.extract_features(tensors(seen)))
        turned_scores = policy.mlp_extractor.forward_actor(policy.extract_features(tensors(turned)))
        values, turned_values = policy.predict_values(tensors(seen)), policy.predict_values(tensors(turned))
    assert scores.std() > 0.1
    torch.testing.assert_close(turned_scores, scores[:, order])
    torch.testing.assert_close(turned_values, values)


def test_the_value_does_not_depend_on_illegal_rows():
    policy, seen = make_policy(is_trained=True), draw(8)
    other = draw(8, seed=9)
    is_illegal = seen["mask"] == 0
    changed = {**seen, "choices": np.where(is_illegal[:, :, None], other["choices"], seen["choices"])}
    with torch.no_grad():
        torch.testing.assert_close(
            policy.predict_values(tensors(changed)), policy.predict_values(tensors(seen))
        )


def test_an_untrained_scorer_chooses_as_max_pressure_does():
    policy, seen, linear = make_policy(is_trained=False), draw(300), LinearChooser(MAX_PRESSURE_WEIGHTS)
    chosen, _ = policy.predict(seen, deterministic=True, action_masks=seen["mask"])
    expected = [
        linear.choose(Observation(seen["context"][i], seen["choices"][i], seen["mask"][i].astype(bool)))
        for i in range(300)
    ]
    assert chosen.tolist() == expected


def test_scores_start_with_a_largest_weight_of_one_over_the_temperature():
    scorer = make_policy(is_trained=False).scorer
    name = max(MAX_PRESSURE_WEIGHTS, key=lambda name: abs(MAX_PRESSURE_WEIGHTS[name]))
    place = [feature.name for feature in CHOICE].index(name)
    choices = torch.zeros(1, 2, len(CHOICE))
    choices[0, 1, place] = 1.0
    none, one = scorer(torch.zeros(1, len(CONTEXT)), choices)[0].tolist()
    assert abs(one - none) == pytest.approx(1 / 0.1)


def test_illegal_choices_are_never_drawn():
    policy, seen = make_policy(is_trained=True), draw(500)
    drawn, _ = policy.predict(seen, deterministic=False, action_masks=seen["mask"])
    assert seen["mask"][np.arange(500), drawn].all()


def test_a_saved_policy_loads_with_its_settings(tmp_path):
    policy, seen = make_policy(is_trained=True), draw(20)
    policy.save(tmp_path / "policy.zip")
    loaded = ScorerPolicy.load(tmp_path / "policy.zip", device="cpu")
    for kind in (policy, loaded):
        kind.set_training_mode(False)
    chosen = [
        kind.predict(seen, deterministic=True, action_masks=seen["mask"])[0] for kind in (policy, loaded)
    ]
    assert chosen[0].tolist() == chosen[1].tolist()


# --- discounting by seconds -----------------------------------------------------------------------


def fill(elapsed_s, rewards, *, values, ends=(), gae_lambda=1.0):
    """Return a full buffer of one simulation; `ends` are the decisions that end an episode."""
    length = len(rewards)
    buffer = SmdpMaskableDictRolloutBuffer(
        length, SPACE, spaces.Discrete(N_MAX), "cpu", gae_lambda=gae_lambda, gamma=1.0, tau_s=100.0
    )
    seen = draw(1)
    for step in range(length):
        buffer.elapsed_s[step, 0] = elapsed_s[step]
        buffer.add(
            seen,
            np.zeros((1, 1)),
            np.array([rewards[step]]),
            np.array([float(step == 0 or step - 1 in ends)]),
            torch.tensor([[values[step]]]),
            torch.zeros(1),
            action_masks=seen["mask"],
        )
    return buffer


def test_returns_are_discounted_by_the_seconds_a_decision_takes():
    buffer = fill([50.0, 20.0], [1.0, 2.0], values=[0.0, 0.0])
    buffer.compute_returns_and_advantage(torch.tensor([[4.0]]), np.array([False]))
    second = 2.0 + np.exp(-0.2) * 4.0
    assert buffer.returns[:, 0] == pytest.approx([1.0 + np.exp(-0.5) * second, second])


def test_cutting_a_decision_in_two_changes_nothing():
    whole = fill([60.0], [0.0], values=[0.5])
    halves = fill([20.0, 40.0], [0.0, 0.0], values=[0.5, 0.5])
    for buffer in (whole, halves):
        buffer.compute_returns_and_advantage(torch.tensor([[3.0]]), np.array([False]))
    assert halves.returns[0, 0] == pytest.approx(whole.returns[0, 0])


def test_nothing_is_credited_across_the_end_of_an_episode():
    buffer = fill([10.0, 10.0], [1.0, 7.0], values=[0.25, 0.5], ends=(0,), gae_lambda=0.9)
    buffer.compute_returns_and_advantage(torch.tensor([[9.0]]), np.array([True]))
    assert buffer.advantages[:, 0] == pytest.approx([1.0 - 0.25, 7.0 - 0.5])


def test_advantages_follow_generalised_advantage_estimation():
    buffer = fill([10.0, 30.0], [1.0, 2.0], values=[0.5, 0.25], gae_lambda=0.9)
    buffer.compute_returns_and_advantage(torch.tensor([[4.0]]), np.array([False]))
    first, second = np.exp(-0.1), np.exp(-0.3)
    later = 2.0 + second * 4.0 - 0.25
    assert buffer.advantages[:, 0] == pytest.approx([1.0 + first * 0.25 - 0.5 + first * 0.9 * later, later])

"""What a trained scorer reads, and what its file may not: columns by name, and never the critic's truth."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("sb3_contrib")

from importlib.resources import files  # noqa: E402
from pathlib import Path  # noqa: E402

from gymnasium import spaces  # noqa: E402
from sb3_contrib import MaskablePPO  # noqa: E402

from bitgoeul.controller.choices import N_MAX  # noqa: E402
from bitgoeul.controller.errors import ScenarioError  # noqa: E402
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation  # noqa: E402
from bitgoeul.controller.policies import SHIPPED_POLICY  # noqa: E402
from bitgoeul.controller.policies.scorers import (  # noqa: E402
    MAX_PRESSURE_WEIGHTS,
    OnnxChooser,
    feature_list,
)
from bitgoeul.envs.critic import N_CRITIC  # noqa: E402
from bitgoeul.training.checkpoint import Checkpoint  # noqa: E402
from bitgoeul.training.export import export_policy  # noqa: E402
from bitgoeul.training.recipe import SHIPPED, read_recipe  # noqa: E402
from bitgoeul.training.scorer import ScorerPolicy  # noqa: E402

SPACE = spaces.Dict(
    {
        "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
        "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
        "mask": spaces.MultiBinary(N_MAX),
        "critic": spaces.Box(0.0, LIMIT, (N_CRITIC,), np.float32),
    }
)
FIRST = {
    "context_features": [feature.name for feature in CONTEXT[:6]],
    "choice_features": [feature.name for feature in CHOICE[:20]],
}
FEW = {
    "context_features": ["waiting", "departed_60"],
    "choice_features": ["extension", "need", "vehicles_served"],
}


class Drawn(gymnasium.Env):
    """An environment of drawn numbers, with a critic's part."""

    observation_space, action_space = SPACE, spaces.Discrete(N_MAX)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._draw(), {}

    def step(self, action):
        reward = float(self._seen["critic"].mean()) - 0.1 * action
        return self._draw(), reward, False, False, {}

    def action_masks(self):
        return self._seen["mask"].astype(bool)

    def _draw(self):
        self._seen = self.observation_space.sample()
        self._seen["mask"][0] = 1
        return self._seen


@pytest.fixture(scope="module")
def learned():
    """A scorer after an update of learning with the critic's part."""
    model = MaskablePPO(
        ScorerPolicy,
        Drawn(),
        n_steps=64,
        batch_size=32,
        n_epochs=2,
        policy_kwargs={"hidden": 8, "temperature": 0.1, "start_weights": MAX_PRESSURE_WEIGHTS},
        seed=2,
        device="cpu",
    )
    before = {name: each.clone() for name, each in model.policy.state_dict().items()}
    model.learn(128)
    assert any((each != before[name]).any() for name, each in model.policy.state_dict().items())
    return model.policy


def checkpoint(policy, **features):
    return Checkpoint(
        recipe_text=read_recipe(SHIPPED)[1],
        timesteps=1,
        total_timesteps=1,
        updates=1,
        wall_s=1.0,
        policy=policy.state_dict(),
        optimizer={},
        updates_log=[],
        validations=[],
        beside={},
        start_weights=dict(MAX_PRESSURE_WEIGHTS),
        code_version="c0de",
        versions={},
        **features,
    )


def draw(count, seed=0):
    draws = np.random.default_rng(seed)
    mask = draws.random((count, N_MAX)) < 0.4
    mask[:, 3] = True
    return {
        "context": draws.uniform(0, LIMIT, (count, len(CONTEXT))).astype(np.float32),
        "choices": draws.uniform(0, LIMIT, (count, N_MAX, len(CHOICE))).astype(np.float32),
        "mask": mask.astype(np.int8),
        "critic": draws.uniform(0, LIMIT, (count, N_CRITIC)).astype(np.float32),
    }


def observations(table):
    rows = zip(table["context"], table["choices"], table["mask"].astype(bool), strict=True)
    return [Observation(*row) for row in rows]


def make_policy(**features):
    torch.manual_seed(5)
    policy = ScorerPolicy(
        SPACE,
        spaces.Discrete(N_MAX),
        lambda _: 1e-3,
        hidden=8,
        temperature=0.1,
        start_weights=MAX_PRESSURE_WEIGHTS,
        **features,
    )
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return policy


def test_the_exported_file_has_no_input_for_the_truth(learned, tmp_path):
    export_policy(checkpoint(learned), tmp_path / "policy.onnx")
    graph = onnx.load(tmp_path / "policy.onnx").graph
    shapes = {each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in graph.input}
    assert shapes == {
        "context": [1, len(CONTEXT)],
        "choices": [1, N_MAX, len(CHOICE)],
        "mask": [1, N_MAX],
    }
    assert not any(N_CRITIC in each.dims for each in graph.initializer)


def test_another_truth_changes_the_value_and_no_choice(learned, tmp_path):
    export_policy(checkpoint(learned), tmp_path / "policy.onnx")
    chooser, table = OnnxChooser(tmp_path / "policy.onnx"), draw(40)
    other = {**table, "critic": draw(40, seed=9)["critic"]}
    tensors = [{name: torch.as_tensor(each) for name, each in seen.items()} for seen in (table, other)]
    with torch.no_grad():
        values = [learned.predict_values(each) for each in tensors]
        scores = [learned.get_distribution(each).distribution.logits for each in tensors]
    assert (values[0] != values[1]).all()
    assert torch.equal(*scores)
    expected, _ = learned.predict(other, deterministic=True, action_masks=table["mask"])
    assert [chooser.choose(each) for each in observations(table)] == expected.tolist()


@pytest.mark.parametrize("features", [FIRST, FEW, {}], ids=["first", "few", "all"])
def test_a_file_is_given_the_columns_it_names_and_no_others(features, tmp_path):
    policy, path = make_policy(**features), tmp_path / "policy.onnx"
    about = export_policy(checkpoint(policy, **policy.reads), path)
    names = [*features.get("context_features", []), *features.get("choice_features", [])]
    if names:
        assert [word.split("/")[0] for word in about["features"].split()] == names
    else:
        assert about["features"] == feature_list()
    chooser, table = OnnxChooser(path), draw(60)
    expected, _ = policy.predict(table, deterministic=True, action_masks=table["mask"])
    assert [chooser.choose(each) for each in observations(table)] == expected.tolist()
    others = {name: each.copy() for name, each in table.items()}
    for part, known, key in (
        ("context", CONTEXT, "context_features"),
        ("choices", CHOICE, "choice_features"),
    ):
        unread = [
            n for n, feature in enumerate(known) if feature.name not in features.get(key, [feature.name])
        ]
        others[part][..., unread] = 0.0
    assert [chooser.choose(each) for each in observations(others)] == expected.tolist()


def test_the_shipped_policy_reads_the_first_features_alone():
    chooser = OnnxChooser(Path(str(files("bitgoeul.controller.policies") / SHIPPED_POLICY)))
    words = chooser.metadata["features"].split()
    assert words == feature_list(CONTEXT[:6], CHOICE[:20]).split()
    table = draw(60)
    others = {name: each.copy() for name, each in table.items()}
    others["context"][:, 6:] = others["choices"][..., 20:] = 0.0
    chosen = [[chooser.choose(each) for each in observations(seen)] for seen in (table, others)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) > 5


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"choice_features": ["need", "speed"]}, "no such features: speed; known: is_stay"),
        ({"context_features": []}, "name at least one, and each once"),
        ({"context_features": ["waiting", "waiting"]}, "name at least one, and each once"),
    ],
)
def test_a_list_that_names_no_features_is_refused(features, message):
    with pytest.raises(ValueError, match=message):
        make_policy(**features)


def test_another_versions_observation_is_refused():
    shapes = {**SPACE.spaces, "context": spaces.Box(0.0, LIMIT, (6,), np.float32)}
    with pytest.raises(ValueError, match="the scorer reads the dict observation"):
        ScorerPolicy(
            spaces.Dict(shapes),
            spaces.Discrete(N_MAX),
            lambda _: 1e-3,
            hidden=8,
            temperature=0.1,
            start_weights=MAX_PRESSURE_WEIGHTS,
        )


def test_a_checkpoint_that_names_other_features_than_it_has_is_not_exported(tmp_path):
    policy = make_policy(**FIRST)
    with pytest.raises(ScenarioError, match=r"reads 6 context and 20 choice features, it names \d+ and \d+"):
        export_policy(checkpoint(policy), tmp_path / "policy.onnx")
    with pytest.raises(ScenarioError, match="the checkpoint's scorer: no such features: speed"):
        export_policy(checkpoint(policy, choice_features=["speed"]), tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())

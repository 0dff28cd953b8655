import json
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("sb3_contrib")

from importlib.resources import files  # noqa: E402
from pathlib import Path  # noqa: E402

from bitgoeul.controller.choices import N_MAX  # noqa: E402
from bitgoeul.controller.errors import ScenarioError  # noqa: E402
from bitgoeul.controller.observe import CHOICE, CONTEXT, Observation  # noqa: E402
from bitgoeul.controller.policies import SHIPPED_POLICY  # noqa: E402
from bitgoeul.controller.policies.scorers import (  # noqa: E402
    MAX_PRESSURE_WEIGHTS,
    OnnxChooser,
    PolicyFileError,
    feature_list,
)
from bitgoeul.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from bitgoeul.training.export import export_policy  # noqa: E402
from bitgoeul.training.recipe import SHIPPED, read_recipe  # noqa: E402
from bitgoeul.training.scorer import ScorerPolicy  # noqa: E402

RESULT_LIMIT_BYTES = 200_000


@pytest.fixture(scope="module")
def spaces_seen():
    """Observation and action space, and over 1,000 observations visited in SUMO."""
    import gymnasium

    import bitgoeul.envs  # noqa: F401 - registers the environment

    draws = np.random.default_rng(3)
    seen = []
    for hour, minutes in (("peak", 10), ("night", 110)):
        env = gymnasium.make("Bitgoeul/Crossing-v0", hour=hour, minutes=minutes).unwrapped
        observation, _ = env.reset(seed=7)
        is_over = False
        while not is_over:
            mask = env.action_masks()
            seen.append(Observation(observation["context"], observation["choices"], mask))
            wants_stay = mask[0] and draws.random() < 0.95  # decisions of 2 s: many in little time
            legal = [0] if wants_stay else np.flatnonzero(mask)
            observation, _, _, is_over, _ = env.step(int(draws.choice(legal)))
        env.close()
    return (env.observation_space, env.action_space), seen


@pytest.fixture(scope="module")
def trained(spaces_seen):
    """A policy whose every weight is in use."""
    (observations, actions), _ = spaces_seen
    torch.manual_seed(4)
    policy = ScorerPolicy(
        observations,
        actions,
        lambda _: 1e-3,
        hidden=32,
        temperature=0.1,
        start_weights=MAX_PRESSURE_WEIGHTS,
    )
    for parameter in policy.scorer.parameters():
        parameter.data += torch.randn_like(parameter)
    return policy


@pytest.fixture(scope="module")
def checkpoint(trained):
    return make_checkpoint(trained.state_dict())


def make_checkpoint(weights):
    return Checkpoint(
        recipe_text=read_recipe(SHIPPED)[1],
        timesteps=512,
        total_timesteps=1024,
        updates=1,
        wall_s=1.5,
        policy=weights,
        optimizer={},
        updates_log=[],
        validations=[{"updates": 0, "timesteps": 0, "person_hours_per_h": 9.0, "days": []}],
        beside={"actuated+guard": 8.0},
        start_weights=dict(MAX_PRESSURE_WEIGHTS),
        code_version="c0de",
        versions={"torch": "2"},
    )


@pytest.mark.sumo
def test_onnx_chooses_as_torch_does_on_visited_observations(spaces_seen, trained, checkpoint, tmp_path):
    export_policy(checkpoint, tmp_path / "policy.onnx")
    chooser, (_, seen) = OnnxChooser(tmp_path / "policy.onnx"), spaces_seen
    assert len(seen) >= 1_000
    close = 0
    for observation in seen:
        context, choices = torch.tensor(observation.context[None]), torch.tensor(observation.choices[None])
        with torch.no_grad():
            scores = trained.scorer(context, choices)[0].numpy()
        legal = np.sort(scores[observation.mask])
        if len(legal) > 1 and legal[-1] - legal[-2] < 1e-4:
            close += 1
            continue
        table = {
            "context": observation.context,
            "choices": observation.choices,
            "mask": observation.mask.astype(np.int8),
        }
        expected, _ = trained.predict(table, deterministic=True, action_masks=observation.mask)
        assert chooser.choose(observation) == int(expected)
    assert close < len(seen) / 100


def test_the_first_of_equal_scores_wins_and_illegal_rows_never_do(checkpoint, tmp_path):
    export_policy(checkpoint, tmp_path / "policy.onnx")
    chooser = OnnxChooser(tmp_path / "policy.onnx")
    context, choices = np.ones(len(CONTEXT), np.float32), np.ones((N_MAX, len(CHOICE)), np.float32)
    mask = np.zeros(N_MAX, bool)
    for legal in ([5, 9, 23], [23], [0, 1]):
        mask[:] = False
        mask[legal] = True
        assert chooser.choose(Observation(context, choices, mask)) == legal[0]


def test_the_same_checkpoint_gives_the_same_small_file(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "checkpoint.pt")
    export_policy(checkpoint, tmp_path / "a.onnx")
    export_policy(load_checkpoint(tmp_path / "checkpoint.pt"), tmp_path / "b.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert len(content) < RESULT_LIMIT_BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "checkpoint.pt"]


def test_the_file_says_where_it_came_from(checkpoint, tmp_path):
    written = export_policy(checkpoint, tmp_path / "policy.onnx")
    about = OnnxChooser(tmp_path / "policy.onnx").metadata
    assert about == written
    assert about["features"] == feature_list()
    assert about["recipe"] == read_recipe(SHIPPED)[1]
    assert about["training_seeds"] == "0-9999"
    assert json.loads(about["start_weights"]) == MAX_PRESSURE_WEIGHTS
    assert len(about["weights_sha256"]) == 64
    assert onnx.load(tmp_path / "policy.onnx").opset_import[0].version >= 17


def test_other_weights_have_another_digest(checkpoint, tmp_path):
    name = "mlp_extractor.scorer.linear.weight"
    changed = {**checkpoint.policy, name: checkpoint.policy[name] + 1e-3}
    digests = {
        export_policy(kept, tmp_path / "policy.onnx")["weights_sha256"]
        for kept in (checkpoint, make_checkpoint(changed))
    }
    assert len(digests) == 2


def test_a_policy_made_for_other_features_is_refused(checkpoint, tmp_path):
    export_policy(checkpoint, tmp_path / "policy.onnx")
    model = onnx.load(tmp_path / "policy.onnx")
    features = model.metadata_props[0]
    named = features.value
    for instead, message in (
        (
            named.replace("need/40", "one_more/1"),
            r"made for other features than this version's \(one_more/1\)",
        ),
        (named.replace("need/40", "need/41"), r"made for other features than this version's \(need/41\)"),
        (named + " need/40", "does not name each feature it reads"),
        ("", "does not name each feature it reads"),
    ):
        features.value = instead
        (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(PolicyFileError, match=message):
            OnnxChooser(tmp_path / "other.onnx")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ScenarioError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"format": 1, "policy": Malicious()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ScenarioError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "ran").exists()


def test_an_unwritable_folder_is_one_error(checkpoint, tmp_path):
    with pytest.raises(ScenarioError, match="cannot be written"):
        export_policy(checkpoint, tmp_path / "missing" / "policy.onnx")


# --- the shipped policy ---------------------------------------------------------------------------


@pytest.fixture
def shipped():
    return Path(str(files("bitgoeul.controller.policies") / SHIPPED_POLICY))


def test_the_shipped_policy_was_made_by_the_shipped_recipe(shipped):
    about = OnnxChooser(shipped).metadata
    recipe, text = read_recipe(SHIPPED)
    assert about["recipe"] == text
    assert int(about["total_timesteps"]) == recipe.total_timesteps
    assert shipped.stat().st_size < RESULT_LIMIT_BYTES


def test_the_shipped_policy_is_the_best_that_was_validated(shipped):
    about = OnnxChooser(shipped).metadata
    validations = json.loads(about["validations"])
    best = min(validations, key=lambda record: record["person_hours_per_h"])
    assert validations[0]["timesteps"] == 0
    assert about["timesteps"] == str(best["timesteps"])


@pytest.mark.sumo
def test_a_decision_takes_under_a_millisecond(shipped):
    """Observation and choice together, where decisions are made; the median, since machines are shared."""
    from bitgoeul.envs.world import RunSpec, build_driver, simulation
    from bitgoeul.sim_scenarios.catalog import load_site

    site = load_site("bukmun_5")
    spec = RunSpec(
        site="bukmun_5", controller="learned", seed=10_000, hour="peak", minutes=10, policy_file=str(shipped)
    )
    taken_s = []
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        while driver.now_ds < spec.end_s * 10:
            if driver.is_decision_due:
                observer, chooser = driver.policy.observer, driver.policy._chooser
                for _ in range(10):
                    observer._observed = None
                    began_s = time.perf_counter()
                    observation = observer.observe(driver.loop.observed)
                    choice = chooser.choose(observation)
                    taken_s.append(time.perf_counter() - began_s)
                assert observation.mask[choice]
            driver.step()
    assert len(taken_s) > 100
    assert np.median(taken_s) < 1e-3

"""`bitgoeul policy evaluate`: ONNX files and what stable-baselines3 saved, run as `compare` runs."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from bitgoeul.controller.cli import main

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

SHIPPED = Path(str(files("bitgoeul.controller.policies") / "learned.onnx"))
SHORT = ("--hour", "offpeak", "--minutes", "2", "--seeds", "2", "--jobs", "1", "--json")


def call(capsys, *words):
    """Return exit status, output and errors of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, errors = capsys.readouterr()
    return ended.value.code, out, errors


def evaluated(capsys, *words):
    status, out, errors = call(capsys, "policy", "evaluate", *words)
    assert status in {0, None}, errors
    return json.loads(out)["rows"]


def test_no_line_of_the_list_of_commands_is_cut_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = call(capsys, "policy", "--help")
    assert "..." not in out.split("Commands:")[1]


@pytest.mark.sumo
def test_an_onnx_policy_is_run_beside_others_as_compare_runs_it(capsys, tmp_path):
    copy = tmp_path / "mine.onnx"
    copy.write_bytes(SHIPPED.read_bytes())
    rows = evaluated(capsys, copy, "bukmun_5", "--beside", "fixed", *SHORT, "--out", tmp_path / "a")
    assert [row["controller"] for row in rows] == ["fixed", "learned"]
    status, out, _ = call(
        capsys, "compare", "bukmun_5", "--controllers", "fixed,learned", *SHORT, "--out", tmp_path / "b"
    )
    assert status in {0, None}
    assert rows == json.loads(out)["rows"]
    assert (tmp_path / "a" / "report.html").is_file()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Untrained policies as stable-baselines3 saves them: masked on events, stock at 5 s."""
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import DQN, PPO

    from bitgoeul.envs.crossing import CrossingEnv

    folder = tmp_path_factory.mktemp("saved")
    events, fixed = CrossingEnv(), CrossingEnv(delta_time_s=5, observation="flat")
    MaskablePPO("MultiInputPolicy", events, seed=1, device="cpu").save(folder / "masked.zip")
    PPO("MlpPolicy", fixed, seed=1, device="cpu").save(folder / "stock.zip")
    DQN("MlpPolicy", fixed, seed=1, device="cpu", buffer_size=10).save(folder / "dqn.zip")
    PPO("MlpPolicy", "CartPole-v1", seed=1, device="cpu").save(folder / "pole.zip")
    return folder


@pytest.mark.sumo
def test_a_saved_policy_is_evaluated_by_the_command(capsys, saved, tmp_path):
    rows = evaluated(capsys, saved / "stock.zip", "bukmun_5", "--delta-time", "5", *SHORT, "--out", tmp_path)
    assert rows[0]["seeds"] == 2
    assert rows[0]["person_hours_per_h"]["mean"] > 0
    assert (tmp_path / "report.html").is_file()


@pytest.mark.sumo
@pytest.mark.parametrize(("name", "delta_time_s"), [("masked", None), ("stock", 5.0), ("dqn", 5.0)])
def test_a_saved_policy_repeats_its_run(saved, name, delta_time_s):
    from bitgoeul.training.saved import run_saved, with_step

    spec = spec_of(with_step(saved / f"{name}.zip", delta_time_s))
    first, again = run_saved(spec), run_saved(spec)
    assert first.trace_hash == again.trace_hash
    assert first.events == again.events
    assert (first.row["seed"], first.row["minutes"], first.row["controller"]) == (10_003, 1, "learned")


def spec_of(policy_file):
    from bitgoeul.envs.world import RunSpec

    return RunSpec(
        site="bukmun_5",
        controller="learned",
        seed=10_003,
        hour="peak",
        minutes=1,
        policy_file=policy_file,
    )


def test_a_saved_policy_is_loaded_by_its_algorithm(saved):
    from bitgoeul.training.saved import load_saved

    kinds = {name: type(load_saved(saved / f"{name}.zip")).__name__ for name in ("masked", "stock", "dqn")}
    assert kinds == {"masked": "MaskablePPO", "stock": "PPO", "dqn": "DQN"}


def test_mistakes_are_one_line_and_exit_2(capsys, saved, tmp_path):
    (tmp_path / "text.zip").write_text("no archive")
    out = ("--out", tmp_path / "out")
    mistakes = [
        ((tmp_path / "none.onnx", "bukmun_5"), "no such policy file"),
        ((tmp_path / "none.zip", "bukmun_5"), "no such policy file"),
        ((tmp_path / "text.zip", "bukmun_5"), "not a policy that stable-baselines3 saved"),
        ((SHIPPED, "nowhere"), "nowhere"),
        ((SHIPPED, "bukmun_5", "--delta-time", "5"), "goes with a .zip"),
        ((saved / "stock.zip", "bukmun_5", "--beside", "fixed"), "does not go with a .zip"),
        ((SHIPPED, "bukmun_5", "--beside", "nobody"), "unknown controller"),
    ]
    for words, said in mistakes:
        status, printed, errors = call(capsys, "policy", "evaluate", *words, *out)
        assert status == 2, words
        assert said in errors
        assert len(errors.strip().splitlines()) == 1
        assert not printed
    assert not (tmp_path / "out").exists()


@pytest.mark.sumo
def test_a_policy_of_another_environment_is_refused(saved):
    from bitgoeul.controller.errors import ScenarioError
    from bitgoeul.training.saved import run_saved

    with pytest.raises(ScenarioError, match="other observations"):
        run_saved(spec_of(str(saved / "pole.zip")))

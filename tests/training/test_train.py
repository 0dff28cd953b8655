import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bitgoeul.controller.cli import main
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.training.recipe import SHIPPED, check_recipe, parse_recipe, read_recipe

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

TINY = """
name = "tiny"
seed = 1
total_timesteps = 32
[episodes]
minutes = 2
detector = "camera_day"
first_seed = 20
last_seed = 29
mix = [{ site = "bukmun_5", hour = "offpeak" }, { site = "bukmun_5_zone", hour = "offpeak", weight = 2.0 }]
[reward]
offset_per_s = 0.3
scale = 0.1
[network]
hidden = 8
temperature = 0.1
[ppo]
n_envs = 2
n_steps = 8
batch_size = 16
n_epochs = 2
learning_rate = 1e-3
horizon_s = 240.0
gae_lambda = 0.95
clip_range = 0.2
entropy = 0.0
value = 0.5
max_grad_norm = 0.5
target_kl = 0.1
[validation]
first_seed = 10_500
last_seed = 10_500
minutes = 1
every_updates = 2
"""


# --- recipes --------------------------------------------------------------------------------------


def test_a_recipe_may_name_the_features_that_the_scorer_reads():
    lists = 'hidden = 8\ncontext_features = ["waiting"]\nchoice_features = ["need", "lost"]'
    network = parse_recipe(TINY.replace("hidden = 8", lists), "recipe").network
    assert network.context_features == ("waiting",)
    assert network.choice_features == ("need", "lost")
    assert parse_recipe(TINY, "recipe").network.choice_features is None
    with pytest.raises(ScenarioError, match="no such features: speed; known: is_stay"):
        parse_recipe(TINY.replace("hidden = 8", 'hidden = 8\nchoice_features = ["speed"]'), "recipe")


def test_the_shipped_recipe_can_be_used():
    recipe, _ = read_recipe(SHIPPED)
    check_recipe(recipe)
    assert recipe.episodes.last_seed < 10_000
    assert all(10_500 <= seed < 11_000 for seed in recipe.validation.seeds)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 1\n", "", "seed: Field required"),
        ("seed = 1\n", "seed = 1\nspeed = 2\n", "speed: Extra inputs"),
        ("seed = 1\n", "seed = 1.5\n", "seed: Input should be a valid integer"),
        ("last_seed = 29", "last_seed = 10000", "episodes.last_seed"),
        ("last_seed = 29", "last_seed = 3", "first_seed is above last_seed"),
        (
            "last_seed = 10_500",
            "last_seed = 20_000",
            "validation: Value error, seeds lie within 10500 and 10999",
        ),
        ("minutes = 2\n", "minutes = 2\ncontinuing_minutes = 3\n", "no multiple of minutes"),
        ("gae_lambda = 0.95", "gae_lambda = 1.5", "ppo.gae_lambda"),
        ("learning_rate = 1e-3", "learning_rate = nan", "ppo.learning_rate"),
        ("temperature = 0.1", "temperature = 0.0", "network.temperature"),
        ("weight = 2.0", "weight = -2.0", "episodes.mix.1.weight"),
        ("minutes = 2", 'minutes = "2"', "episodes.minutes"),
        ('name = "tiny"', "name = tiny", "not TOML"),
    ],
)
def test_a_faulty_recipe_is_refused_with_the_place(old, new, said):
    assert old in TINY
    with pytest.raises(ScenarioError, match=r"mine\.toml") as caught:
        parse_recipe(TINY.replace(old, new, 1), "mine.toml")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [('site = "bukmun_5"', 'site = "nowhere"'), ('"offpeak"', '"noon"'), ('"camera_day"', '"eagle"')],
)
def test_what_the_simulation_does_not_know_is_refused(old, new):
    with pytest.raises((ScenarioError, ValueError), match=new.split('"')[-2]):
        check_recipe(parse_recipe(TINY.replace(old, new, 1), "mine.toml"))


# --- episodes -------------------------------------------------------------------------------------


@pytest.mark.sumo
def test_episodes_follow_the_recipe_and_repeat():
    from bitgoeul.training.episodes import RecipeEnv

    recipe = parse_recipe(TINY.replace("minutes = 2", "minutes = 1"), "tiny")

    def play(worker):
        env, costs, rewards = RecipeEnv(recipe, worker=worker), [], []
        for _ in range(2):
            env.reset()
            is_over = False
            while not is_over:
                action = int(np.flatnonzero(env.action_masks())[-1])
                _, reward, _, is_over, extras = env.step(action)
                rewards.append(reward)
            costs.append(extras["episode_cost"])
        env.close()
        return costs, rewards

    first, again, other = play(0), play(0), play(1)
    assert first == again
    assert first != other
    for cost in first[0]:
        assert 20 <= cost["seed"] <= 29
        assert cost["site"] in {"bukmun_5", "bukmun_5_zone"}
        assert 10 < cost["mean_time_s"] < 1_000
    assert abs(np.mean(first[1])) < 1


@pytest.mark.sumo
def test_continuing_episodes_share_a_simulation_and_its_warm_up():
    from bitgoeul.training.episodes import RecipeEnv

    recipe = parse_recipe(TINY.replace("minutes = 2", "minutes = 1\ncontinuing_minutes = 2", 1), "tiny")
    env, seeds, began_s = RecipeEnv(recipe, worker=0), [], []
    for _ in range(3):
        _, info = env.reset()
        seeds.append(info["seed"])
        began_s.append(env._env.driver.now_ds / 10)
        is_over = False
        while not is_over:
            *_, is_over, _ = env.step(int(env.action_masks().argmax()))
    env.close()
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(20 <= seed <= 29 for seed in seeds)
    assert began_s[1] >= 360
    assert began_s[2] < began_s[1]


# --- the command ----------------------------------------------------------------------------------


def command(*words):
    return [sys.executable, "-m", "bitgoeul.controller.cli", *map(str, words)]


def call(*words):
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished tiny training."""
    base = tmp_path_factory.mktemp("training")
    (base / "tiny.toml").write_text(TINY)
    done = call("train", "--recipe", base / "tiny.toml", "--out", base / "out", "--json")
    assert done.returncode == 0, done.stderr
    (base / "result.json").write_text(done.stdout)
    return base


@pytest.mark.sumo
def test_a_training_leaves_checkpoints_a_log_and_the_best_policy(folder):
    result = json.loads((folder / "result.json").read_text())
    lines = [json.loads(line) for line in (folder / "out" / "log.jsonl").read_text().splitlines()]
    updates = [line for line in lines if "approx_kl" in line]
    validated = [line for line in lines if "person_hours_per_h" in line]
    assert [line["timesteps"] for line in updates] == [16, 32]
    assert [line["timesteps"] for line in validated] == [0, 32]
    assert result["timesteps"] == 32
    assert result["start"] == validated[0]
    assert result["chosen"] == min(validated, key=lambda line: line["person_hours_per_h"])
    assert {day["seed"] for day in validated[0]["days"]} == {10_500}
    names = {path.name for path in (folder / "out").iterdir()}
    assert names == {"best.pt", "checkpoint.pt", "candidates", "log.jsonl", "policy.onnx", "validation"}


@pytest.mark.sumo
def test_policy_export_repeats_the_file_and_show_reads_it(folder):
    exported = call("policy", "export", folder / "out" / "best.pt", "--out", folder / "again.onnx")
    assert exported.returncode == 0, exported.stderr
    assert (folder / "again.onnx").read_bytes() == (folder / "out" / "policy.onnx").read_bytes()
    shown = call("policy", "show", folder / "again.onnx", "--json")
    about = json.loads(shown.stdout)
    assert about["recipe"] == TINY
    assert about["training_seeds"] == "20-29"
    assert about["bytes"] < 200_000
    assert "vehicles_served/40" in call("policy", "show", folder / "again.onnx").stdout


@pytest.mark.sumo
def test_a_training_goes_on_from_its_checkpoint(folder):
    from bitgoeul.training.checkpoint import load_checkpoint

    before = load_checkpoint(folder / "out" / "checkpoint.pt")
    done = call("train", "--out", folder / "out", "--resume", "--timesteps", 48, "--json")
    assert done.returncode == 0, done.stderr
    after = load_checkpoint(folder / "out" / "checkpoint.pt")
    assert (before.timesteps, after.timesteps) == (32, 48)
    assert after.updates_log[:2] == before.updates_log
    assert after.validations[0] == before.validations[0]
    assert after.optimizer["state"][0]["step"] > before.optimizer["state"][0]["step"]


def test_mistakes_are_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "bad.toml").write_text("seed = 1")
    (tmp_path / "file").write_text("")
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "checkpoint.pt").write_text("")
    mistakes = [
        (["train", "--recipe", "nowhere", "--out", tmp_path / "a"], "no such recipe"),
        (["train", "--recipe", tmp_path / "bad.toml", "--out", tmp_path / "a"], "Field required"),
        (["train", "--out", tmp_path / "file" / "b"], "cannot write"),
        (["train", "--out", tmp_path / "held"], "holds a training already"),
        (["train", "--out", tmp_path / "c", "--resume"], "no such checkpoint"),
        (["policy", "export", tmp_path / "bad.toml"], "not a checkpoint"),
        (["policy", "show", tmp_path / "nothing.onnx"], "no such policy file"),
    ]
    for words, said in mistakes:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert ended.value.code == 2, words
        out, errors = capsys.readouterr()
        assert said in errors
        assert len(errors.strip().splitlines()) == 1
        assert not out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "file", "held"]


@pytest.mark.sumo
@pytest.mark.slow
def test_ctrl_c_keeps_the_last_update_and_leaves_no_process(tmp_path):
    from bitgoeul.training.checkpoint import load_checkpoint

    (tmp_path / "tiny.toml").write_text(TINY.replace("total_timesteps = 32", "total_timesteps = 100_000"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("train", "--recipe", tmp_path / "tiny.toml", "--out", out),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = out / "log.jsonl"
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not (log.exists() and '"updates": 1,' in log.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume goes on" in said
    assert "Traceback" not in said
    assert load_checkpoint(out / "checkpoint.pt").updates >= 1
    assert not [path for path in out.rglob(".*") if path.is_file()]
    for _ in range(50):
        if not session_members(process.pid):
            break
        time.sleep(0.1)
    assert not session_members(process.pid)


def session_members(session):
    """Return the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.sumo
@pytest.mark.long
def test_the_same_recipe_gives_the_same_policy(folder, tmp_path):
    done = call("train", "--recipe", folder / "tiny.toml", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    # The chosen weights depend on the validation too; the log holds every update.
    names = ("timesteps", "value_loss", "approx_kl", "entropy_loss", "mean_time_s")
    logs = []
    for base in (folder, tmp_path):
        lines = [json.loads(line) for line in (base / "out" / "log.jsonl").read_text().splitlines()]
        logs.append([[line[name] for name in names] for line in lines if "approx_kl" in line][:2])
    assert logs[0] == logs[1]

import multiprocessing
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sb3_contrib")

from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.training.vector import SubprocCrossingVecEnv, crossings


class Counting:
    """A pipe to a worker that counts what is sent."""

    def __init__(self, remote):
        self.remote, self.sent = remote, []

    def send(self, message):
        self.sent.append(message[0])
        self.remote.send(message)

    def __getattr__(self, name):
        return getattr(self.remote, name)


def count_messages(venv):
    venv.remotes = tuple(Counting(remote) for remote in venv.remotes)
    return lambda: [remote.sent for remote in venv.remotes]


# --- with real crossings ----------------------------------------------------------------------------


@pytest.mark.sumo
def test_crossings_side_by_side_with_masks_sent_along():
    venv = crossings(2, minutes=1, hour="offpeak")
    scratch = Path(venv._scratch.name)
    try:
        venv.seed(3)
        assert is_masking_supported(venv)
        observations = venv.reset()
        assert [info["seed"] for info in venv.reset_infos] == [3, 4]
        sent = count_messages(venv)
        made, finals = 0, 0
        while not finals:
            masks = get_action_masks(venv)
            assert is_masking_supported(venv)
            assert np.array_equal(masks, observations["mask"].astype(bool))
            observations, _, dones, infos = venv.step(masks.argmax(axis=1))
            made, finals = made + 1, finals + dones.sum()
        assert sent() == [["step"] * made] * 2
        place = int(dones.argmax())
        # The reset was made in the same step: the last observation is beside the next one's first.
        assert infos[place]["TimeLimit.truncated"]
        assert venv.reset_infos[place]["seed"] < 10_000
        last, first = infos[place]["terminal_observation"], observations
        assert not np.array_equal(last["choices"], first["choices"][place])
        assert np.array_equal(get_action_masks(venv)[place], first["mask"][place].astype(bool))
        assert venv.env_method("action_masks", indices=[place])[0].shape == masks[0].shape
        assert list(scratch.rglob("bitgoeul-*"))
    finally:
        venv.close()
    assert not scratch.exists()
    assert not multiprocessing.active_children()


@pytest.mark.sumo
def test_an_illegal_action_under_strict_is_the_callers_mistake_with_the_workers_traceback():
    venv = crossings(2, minutes=1, hour="offpeak", strict=True)
    try:
        venv.reset()
        masks = get_action_masks(venv)
        actions = masks.argmax(axis=1)
        actions[1] = (~masks[1]).argmax()
        with pytest.raises(ValueError, match="illegal now") as caught:
            venv.step(actions)
    finally:
        venv.close()
    assert "in environment 1" in caught.value.__notes__[0]
    assert "Traceback" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_a_site_that_does_not_exist_is_said_before_anything_runs():
    with pytest.raises(ScenarioError, match="nowhere"):
        crossings(2, "nowhere")
    assert not multiprocessing.active_children()


# --- with environments that misbehave ---------------------------------------------------------------


@pytest.fixture
def venv(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import odd_envs

    made = SubprocCrossingVecEnv([partial(odd_envs.Odd)] * 2)
    made.reset()
    yield made
    made.close()
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_said_and_none_is_left(venv):
    with pytest.raises(ScenarioError, match="ended before its time"):
        venv.step(np.array([0, 1]))
    assert not multiprocessing.active_children()


def test_an_error_that_cannot_be_sent_still_has_its_message(venv):
    with pytest.raises(RuntimeError, match="first and second") as caught:
        venv.step(np.array([3, 0]))
    assert "in environment 0" in caught.value.__notes__[0]


def test_an_error_in_a_method_comes_through(venv):
    with pytest.raises(KeyError, match="asked for"):
        venv.env_method("fail", indices=[1])


def test_without_masks_none_are_claimed(venv):
    assert not is_masking_supported(venv)
    with pytest.raises(AttributeError):
        venv.env_method("action_masks")


def test_closing_does_not_wait_for_a_worker_that_hangs(venv, monkeypatch):
    monkeypatch.setattr("bitgoeul.training.processes.GOODBYE_S", 0.2)
    venv.step_async(np.array([2, 2]))
    began_s = time.monotonic()
    venv.close()
    assert time.monotonic() - began_s < 5
    assert not multiprocessing.active_children()


def test_a_script_that_is_stopped_without_closing_leaves_no_files(files_left_by_stopped_script):
    assert not files_left_by_stopped_script("bitgoeul.training.vector", "crossings", signal.SIGTERM)

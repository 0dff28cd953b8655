"""Idle steps of a grid fall out of a batch, and the return of what is left stays right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitgoeul.envs.idle import drop_idle


def test_rewards_of_idle_steps_are_added_with_the_discount_by_hand():
    rows = drop_idle(
        {
            "has_choice": [True, False, False, True, False],
            "reward": [-1.0, -2.0, -3.0, -4.0, -5.0],
            "action": [7, 0, 0, 2, 0],
            "next_value": [10.0, 11.0, 12.0, 13.0, 14.0],
        },
        tau_s=1 / math.log(2),  # the discount halves each second
    )
    assert rows["action"].tolist() == [7, 2]
    assert rows["reward"] == pytest.approx([-1 - 1 - 0.75, -4 - 2.5])
    assert rows["elapsed_s"].tolist() == [3.0, 2.0]
    assert rows["discount"] == pytest.approx([1 / 8, 1 / 4])
    assert rows["next_value"].tolist() == [12.0, 14.0]
    assert rows["is_open"].tolist() == [False, True]


def test_the_semi_markov_return_is_that_of_all_steps():
    rng = np.random.default_rng(1)
    steps_n, tau_s = 500, 240.0
    reward = -rng.random(steps_n)
    has_choice = rng.random(steps_n) < 0.1
    has_choice[0] = True
    rows = drop_idle({"has_choice": has_choice, "reward": reward}, tau_s=tau_s)
    of_steps = float(reward @ np.exp(-np.arange(steps_n) / tau_s))
    of_rows = 0.0
    for one, discount in zip(rows["reward"][::-1], rows["discount"][::-1], strict=True):
        of_rows = one + discount * of_rows
    assert len(rows["reward"]) == has_choice.sum() < steps_n / 5
    assert of_rows == pytest.approx(of_steps)
    assert rows["elapsed_s"].sum() == steps_n


def test_an_interval_ends_with_its_episode_and_what_comes_before_a_first_decision_is_in_no_row():
    rows = drop_idle(
        {
            "has_choice": [False, True, False, False, True],
            "reward": [1.0, 2.0, 4.0, 8.0, 16.0],
            "truncated": [False, False, True, False, False],
            "observation": [[0], [1], [2], [3], [4]],
        },
        tau_s=None,
        step_s=0.5,
    )
    assert rows["reward"].tolist() == [6.0, 16.0]
    assert rows["truncated"].tolist() == [True, False]
    assert rows["observation"].tolist() == [[1], [4]]
    assert rows["elapsed_s"].tolist() == [1.0, 0.5]
    assert rows["is_open"].tolist() == [False, True]


def test_a_batch_without_a_decision_leaves_no_rows():
    rows = drop_idle({"has_choice": [False, False], "reward": [1.0, 1.0]}, tau_s=10.0)
    assert {name: len(column) for name, column in rows.items()} == dict.fromkeys(rows, 0)


def test_missing_and_uneven_columns_are_refused():
    with pytest.raises(ValueError, match="lacks the columns reward"):
        drop_idle({"has_choice": [True]}, tau_s=None)
    with pytest.raises(ValueError, match="columns reward are not of the length of has_choice, 2"):
        drop_idle({"has_choice": [True, False], "reward": [1.0]}, tau_s=None)

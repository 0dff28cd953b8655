"""The page on the observation shows the features there are, and its examples run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import CHOICE, CONTEXT, Observation, places_of
from bitgoeul.envs.ablations import ABLATIONS
from bitgoeul.envs.critic import CRITIC
from bitgoeul.envs.observing import ObservationFunction, features_table

PAGE = (Path(__file__).parents[2] / "docs" / "observation.md").read_text(encoding="utf-8")


def block(language):
    return PAGE.split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.parametrize(
    ("name", "features"), [("context", CONTEXT), ("choices", CHOICE), ("critic", CRITIC)]
)
def test_the_page_is_made_from_the_features(name, features):
    expected = features_table(features)
    shown = PAGE.split(f"<!-- {name}:begin -->\n")[1].split(f"\n<!-- {name}:end -->")[0]
    assert shown == expected, f"docs/observation.md is out of date: paste this between its marks\n{expected}"


def test_every_ablation_is_explained():
    rows = PAGE.split("## Ablations")[1].split("## ")[0].splitlines()
    assert [row.split("`")[1] for row in rows if row.startswith("| `")] == sorted(
        ABLATIONS, key=rows_order(rows)
    )


def rows_order(rows):
    text = "\n".join(rows)
    return lambda name: text.index(f"| `{name}` |")


def test_the_example_function_is_one():
    found = {}
    exec(block("python"), found)
    function = found["Pressure"]()
    assert isinstance(function, ObservationFunction)
    choices = np.ones((N_MAX, len(CHOICE)), np.float32)
    seen = Observation(np.zeros(len(CONTEXT), np.float32), choices, np.ones(N_MAX, bool))
    assert function.space.contains(function(None, seen))


def test_the_example_recipe_names_features_there_are():
    network = tomllib.loads(block("toml"))["network"]
    assert places_of(network["context_features"], CONTEXT)
    assert places_of(network["choice_features"], CHOICE)

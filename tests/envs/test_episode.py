"""Drawn episodes: what a randomisation may say, and that everything follows from the seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.episode import (
    EXAMPLE_FILE,
    NOTHING_DRAWN,
    TRAINING_SEEDS,
    EpisodeDraw,
    Randomisation,
    fix,
    load_randomisation,
)

BASE = EpisodeDraw(seed=0, hour="night", detector="camera_night")


@pytest.fixture(scope="module")
def example():
    return load_randomisation(EXAMPLE_FILE)


def draws(randomisation: Randomisation, count: int, seed: int = 1) -> list[EpisodeDraw]:
    rng = np.random.default_rng(seed)
    return [randomisation.draw(rng, BASE) for _ in range(count)]


def test_the_shipped_example_draws_each_condition_as_often_as_its_weight_says(example):
    drawn = draws(example, 3000)
    hours = Counter(draw.hour for draw in drawn)
    mixes = Counter(draw.walker_mix for draw in drawn)
    assert hours["peak"] / hours["offpeak"] == pytest.approx(2, rel=0.1)
    assert set(hours) == {"peak", "offpeak"}
    assert mixes["site"] / mixes["ageing_town"] == pytest.approx(2, rel=0.15)
    assert mixes["welfare_centre"] / mixes["ageing_town"] == pytest.approx(1, rel=0.15)
    factors = [draw.demand_factor for draw in drawn]
    assert 0.8 <= min(factors) < 0.81
    assert 1.19 < max(factors) <= 1.2
    assert all(0 <= draw.seed < TRAINING_SEEDS for draw in drawn)
    assert len({draw.detector for draw in drawn}) == 2
    for draw in drawn:
        assert (
            draw.shares is None
            if draw.walker_mix == "site"
            else sum(draw.shares.values()) == pytest.approx(1)
        )


def test_the_same_generator_draws_the_same_episodes(example):
    assert draws(example, 20, seed=7) == draws(example, 20, seed=7)
    assert draws(example, 20, seed=7) != draws(example, 20, seed=8)


def test_what_a_file_leaves_out_stays_as_it_was():
    (draw,) = draws(NOTHING_DRAWN, 1)
    assert (draw.hour, draw.detector, draw.demand_factor) == ("night", "camera_night", 1.0)
    assert (draw.walker_mix, draw.shares) == ("site", None)


def test_a_seed_draws_the_same_demand_whatever_else_is_drawn(example):
    assert [draw.seed for draw in draws(example, 5)] == [draw.seed for draw in draws(NOTHING_DRAWN, 5)]


BAD = [
    ("seeds = [0, 10000]", "seeds.1: Input should be less than 10000"),
    ("seeds = [5, 4]", "the first must not be above the last"),
    ("demand_factor = [0.0, 1.0]", "demand_factor.0: Input should be greater than 0"),
    ("[[detectors]]\ndetector = 'camera_dusk'", "'camera_dusk' is unknown"),
    ("[[hours]]\nhour = 'peak'\nweight = -1", "weight: Input should be greater than 0"),
    ("[[walker_mixes]]\nname = 'old'", "any other states mobility_mix or age_structure"),
    ("[[walker_mixes]]\nname = 'old'\nmobility_mix = { elderly = 0.5 }", "sum to 0.5; they must sum to 1"),
    ("hour = 'peak'", "hour: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text.replace("\n", " ") for text, _ in BAD])
def test_a_fault_in_a_file_is_named_with_its_place(tmp_path, text, message):
    path = tmp_path / "randomise.toml"
    path.write_text(f"schema_version = 1\n{text}\n")
    with pytest.raises(ScenarioError, match=message) as refused:
        load_randomisation(path)
    assert str(path) in str(refused.value)


def test_reset_may_fix_what_was_drawn(example):
    (drawn,) = draws(example, 1)
    given = {"hour": "8", "detector": "perfect", "demand_factor": 0.5, "walker_mix": "ageing_town"}
    fixed = fix(drawn, given, example)
    assert (fixed.hour, fixed.detector, fixed.demand_factor) == ("8", "perfect", 0.5)
    assert fixed.walker_mix == "ageing_town"
    assert fixed.shares == example.mix_named("ageing_town").mix
    assert fixed.seed == drawn.seed
    alone = fix(drawn, {"walker_mix": {"adult": 0.4, "frail": 0.6}}, example)
    assert (alone.walker_mix, alone.shares) == ("given", {"adult": 0.4, "frail": 0.6})
    assert fix(drawn, {"walker_mix": "site"}, example).shares is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nonsense": 1}, "unknown reset options: nonsense; known are hour, detector, demand_factor"),
        ({"walker_mix": "martians"}, "walker_mix 'martians' is unknown; the randomisation has site, welf"),
        ({"walker_mix": {"adult": 0.4}}, "sum to 0.4"),
        ({"walker_mix": {"adult": 1.4, "frail": -0.4}}, "a share is 0 or more"),
        ({"demand_factor": 4}, "demand_factor = 4.0: a factor is above 0 and at most 3"),
        ({"detector": "camera_dusk"}, "'camera_dusk' is unknown"),
        ({"detector": None}, "detector = None: give a text"),
        ({"hour": None}, "hour = None: give a text"),
        ({"demand_factor": "2"}, "demand_factor = '2': give a number"),
        ({"walker_mix": ["adult"]}, "walker_mix = ..adult..: give a name, or shares"),
        ({"walker_mix": {"adult": "x"}}, "walker_mix.'adult'. = 'x': give a number"),
        ("hour", "reset options 'hour': give a mapping of hour, detector"),
    ],
)
def test_reset_refuses_what_cannot_be_simulated(example, given, message):
    with pytest.raises(ValueError, match=message):
        fix(BASE, given, example)

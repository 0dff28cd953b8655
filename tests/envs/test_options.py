"""The environments' options: what is refused, and that each refusal says what is allowed."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.envs.options import EnvOptions, make_options


class NoSpace:
    """A function whose space is none."""

    space = "box"

    def __call__(self, situation, observation):
        return situation, observation


REFUSED = [
    ({"minutes": 0}, "minutes = 0: give 1 to 44640 whole minutes"),
    ({"minutes": 1.5}, "minutes = 1.5: give 1 to"),
    ({"minutes": 30, "continuing_minutes": 20}, "continuing_minutes = 20: give 30 to"),
    ({"detector": "camera_dusk"}, "'camera_dusk' is unknown; choose one of"),
    ({"form": "Q"}, "'Q'"),
    ({"extension_max_s": -1.0}, "-1"),
    ({"backend": "sumo"}, "backend has 'sumo'; give one of libsumo, traci"),
    ({"render_mode": "video"}, "render_mode has 'video'; give one of None, human, rgb_array, ansi"),
    ({"ablation": "blind"}, "ablation has 'blind'; give one of none, class_blind"),
    ({"delta_time_s": 0.7}, "delta_time_s = 0.7: a step is a multiple of 0.5 s"),
    ({"delta_time_s": 0}, "delta_time_s = 0"),
    ({"delta_time_s": 7, "minutes": 1}, "minutes = 1 holds a whole number"),
    ({"delta_time_s": float("nan")}, "delta_time_s = nan"),
    ({"tau_s": 0.0}, "tau_s = 0.0: a time constant is over 0 s"),
    ({"observation": "graph"}, "observation = 'graph': give one of dict, flat, or a function"),
    ({"observation": lambda *_: 0}, "a function with a `space`"),
    ({"observation": NoSpace()}, "a function with a `space`"),
    ({"observation": "flat", "critic": True}, "critic = True needs observation = 'dict'"),
    ({"reward": 3}, "reward = 3: give a function of an Interval"),
    ({"minutes": True}, "minutes = True: give 1 to"),
    ({"hour": None}, "hour = None: give a text"),
    ({"detector": 5}, "detector = 5: give a text"),
    ({"form": None}, "form = None: give a text"),
    ({"strict": "no"}, "strict = 'no': give True or False"),
    ({"extension_max_s": "x"}, "extension_max_s = 'x': give a number"),
    ({"delta_time_s": "5"}, "delta_time_s = '5': give a number"),
    ({"tau_s": [240]}, r"tau_s = \[240\]: give a number"),
    ({"observation": np.zeros(2)}, "observation = array"),
    ({"randomise": {}}, "randomise = {}: give one of str, Path, Randomisation, None"),
    ({"csv_path": "/nowhere/at/all.csv"}, "csv_path = /nowhere/at/all.csv: no such folder"),
    ({"csv_path": "/"}, "csv_path = /: this is a folder"),
    ({"site": 5}, "site = 5: give one of str, Path, Site"),
    ({"reward_terms": ["switch"]}, r"reward_terms = \['switch'\]: give weights by name"),
    ({"reward_terms": {"switch": "x"}}, r"reward_terms\['switch'\] = 'x': give a number"),
    ({"reward_terms": {"safety": 1.0}}, "reward_terms has 'safety'; give one of residual, extension"),
    ({"reward_terms": {"switch": -1.0}}, r"reward_terms\['switch'\] = -1.0: a weight is 0 or more"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_value_out_of_its_range_is_refused_with_what_is_allowed(given, message):
    with pytest.raises(ValueError, match=message):
        EnvOptions(**given)


def test_an_hour_of_the_day_may_be_a_number():
    assert EnvOptions(hour=np.int64(8)).hour == EnvOptions(hour="8").hour == "8"


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(TypeError, match=r"unknown option delta_time; the options are hour, minutes, .*tau_s"):
        make_options("bukmun_5", {"delta_time": 5})


def test_an_unknown_hour_or_site_is_refused_when_the_site_is_loaded():
    with pytest.raises(ScenarioError, match="hour 'rush' is unknown; give one of peak, offpeak, night"):
        EnvOptions(hour="rush").load_site()
    with pytest.raises(ScenarioError, match="site 'nowhere' is unknown"):
        EnvOptions("nowhere").load_site()


def test_options_are_frozen_and_travel_to_other_processes():
    options = EnvOptions(delta_time_s=5, reward_terms={"switch": 2.0})
    with pytest.raises(FrozenInstanceError):
        options.minutes = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(options)) == options

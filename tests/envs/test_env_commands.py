"""`bitgoeul env describe`: every number an agent sees and every action, as tables and as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.cli import main
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation
from bitgoeul.envs.commands import bench
from bitgoeul.envs.critic import CRITIC
from bitgoeul.envs.env_commands import env
from bitgoeul.envs.observing import flat


def output(*arguments):
    result = CliRunner().invoke(env, ["describe", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_no_line_of_the_list_of_commands_is_cut_off(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for group in (env, bench):
        shown = CliRunner().invoke(group, ["--help"], catch_exceptions=False).output
        assert "..." not in shown.split("Commands:")[1]


def document(*arguments):
    return json.loads(output(*arguments, "--json"))


def test_the_tables_name_every_component_with_meaning_unit_and_range(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = output("bukmun_5").splitlines()
    for feature in (*CONTEXT, *CHOICE):
        row = [line for line in lines if feature.name in line.split()[1:2] and feature.meaning in line]
        assert row, feature.name
        assert all(
            f" 0-{feature.most:g} " in line and line.split()[-1] == f"{feature.scale:g}" for line in row
        )
        assert all(feature.unit in line.split() for line in row if feature.unit)
    assert any("6     go 4+8" in line and "walk on XW, XE" in line for line in lines)
    assert any("Discrete(24)" in line for line in lines)
    assert not any("longest_wait_most" in line for line in lines)


def test_the_document_has_each_actions_row_name_and_orders():
    told = document("bukmun_5")
    assert told["site"] == "bukmun_5"
    assert told["action_space"] == f"Discrete({N_MAX})"
    assert [each["row"] for each in told["actions"]] == list(range(10))
    assert told["actions"][1] == {
        "row": 1,
        "name": "stay 5 s",
        "orders": "hold the present phases for 5 s; a walk goes on",
    }
    assert "first legal row" in told["mask"]
    assert "service bound" in told["mask"]


@pytest.mark.parametrize("site", ["bukmun_5", "bukmun_5_zone"])
def test_an_index_of_the_flat_form_is_where_the_number_stands(site):
    seen = document(site, "--observation", "flat")["observation"]
    observation = Observation(
        np.arange(len(CONTEXT), dtype=np.float32),
        np.arange(100, 100 + N_MAX * len(CHOICE), dtype=np.float32).reshape(N_MAX, -1),
        np.ones(N_MAX, dtype=bool),
    )
    row = flat(observation)
    assert seen["shapes"]["flat"] == [len(row)]
    for place, each in enumerate(seen["context"]):
        assert (each["name"], row[each["index"]]) == (CONTEXT[place].name, observation.context[place])
    for place, each in enumerate(seen["choices"]):
        assert each["name"] == CHOICE[place].name
        for choice in (0, 7):
            here = row[each["index"] + choice * seen["row_stride"]]
            assert here == observation.choices[choice, place]
    assert row[seen["mask_from"] :].tolist() == [1.0] * N_MAX


def test_the_critics_values_are_told_apart_and_only_when_asked():
    told = document("bukmun_5", "--critic")["observation"]
    assert [each["name"] for each in told["critic"]] == [feature.name for feature in CRITIC]
    assert all(each["range"] == [0.0, LIMIT * each["scale"]] for each in told["critic"])
    assert "critic" not in document("bukmun_5")["observation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "site 'nowhere' is unknown; give one of bukmun_5"),
        (["bukmun_5", "--observation", "rows"], "'rows' is not one of 'dict', 'flat'"),
        (["bukmun_5", "--observation", "flat", "--critic"], "--critic goes with --observation dict"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("sys.argv", ["bitgoeul", "env", "describe", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err

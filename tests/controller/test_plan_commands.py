"""`bitgoeul plan check` and `bitgoeul plan schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitgoeul.controller.plan import plan_json_schema
from bitgoeul.controller.plan_commands import plan

REFERENCE = Path(__file__).parent / "plans" / "reference.toml"


@pytest.fixture
def invoke():
    return lambda *words: CliRunner().invoke(plan, [str(word) for word in words])


@pytest.fixture
def refused(tmp_path):
    path = tmp_path / "refused.toml"
    text = REFERENCE.read_text(encoding="utf-8").replace("yellow_s = 5.0", "yellow_s = 2.0")
    path.write_text(text, encoding="utf-8")
    return path


def test_check_prints_what_each_phase_can_give(invoke):
    result = invoke("check", REFERENCE)
    assert result.exit_code == 0, result.output
    assert "valid, site reference" in result.output
    assert "can give [s]" in result.output
    assert "40.0" in result.output
    assert "239.5 s (bound 300.0 s)" in result.output


def test_check_tells_all_faults_of_all_files_and_exits_2(invoke, refused, tmp_path):
    result = invoke("check", refused, tmp_path / "absent.toml", REFERENCE)
    assert result.exit_code == 2
    assert "phases.4.yellow_s = 2.0" in result.stderr
    assert "phases.8.yellow_s = 2.0" in result.stderr
    assert "absent.toml: 1 fault" in result.stderr
    assert "valid, site reference" in result.stdout


def test_check_as_json(invoke, refused):
    result = invoke("check", REFERENCE, refused, "--json")
    assert result.exit_code == 2
    good, bad = json.loads(result.stdout)["plans"]
    assert good["is_valid"]
    assert good["phases"][1]["spare_s"] == 40.0
    assert good["crossings"][0] == {
        "crossing": "XN",
        "phase": 6,
        "length_m": 18.0,
        "form": "P",
        "extension_max_s": 16.2,
        "conflicting_phases": [4, 5, 7, 8],
    }
    assert not bad["is_valid"]
    assert {fault["path"] for fault in bad["faults"]} == {"phases.4.yellow_s", "phases.8.yellow_s"}


def test_check_needs_a_file(invoke):
    assert invoke("check").exit_code == 2


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_schema_is_json(invoke, flags):
    result = invoke("schema", *flags)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == plan_json_schema()


@pytest.mark.parametrize("command", ["check", "schema"])
def test_help_has_an_example(invoke, command):
    assert "bitgoeul plan" in invoke(command, "--help").output

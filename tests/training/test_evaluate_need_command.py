"""`evaluate need`: one short run through the command; mistakes leave nothing behind."""

from __future__ import annotations

import json

import polars as pl
import pytest
from click.testing import CliRunner

from bitgoeul.training import evaluate_need as evaluating
from bitgoeul.training.evaluate_commands import need

pytest.importorskip("libsumo", reason="SUMO is not installed")


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def one_run(monkeypatch):
    trial = evaluating.Trial(place="18", mix="calibration", detector="camera_day", seed=100, minutes=4)
    monkeypatch.setattr(evaluating, "held_out", lambda **_: (trial,))


@pytest.mark.usefixtures("one_run")
def test_the_files_are_whole_and_say_what_is_printed(tmp_path):
    arguments = ["--jobs", "1", "--json", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(need, arguments)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout, parse_constant=refuse_constant)
    assert 0.5 < printed["coverage"] <= 1
    names = ["crossings.parquet", "need.html", "need.json", "people.parquet"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert json.loads((tmp_path / "out" / "need.json").read_text(encoding="utf-8")) == printed
    people = pl.read_parquet(tmp_path / "out" / "people.parquet")
    assert printed["methods"]["need"]["seconds_n"] == len(people)


@pytest.mark.usefixtures("one_run")
def test_what_cannot_be_written_is_one_error_and_no_half(tmp_path):
    (tmp_path / "people.parquet").mkdir()
    result = CliRunner().invoke(need, ["--jobs", "1", "--out", str(tmp_path)])
    assert "people.parquet: cannot be written: Is a directory" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["people.parquet"]


def test_a_seed_too_large_is_refused_before_a_folder_is_made(tmp_path):
    result = CliRunner().invoke(need, ["--seed", "2147483640", "--out", str(tmp_path / "out")])
    assert "36 seeds from there must lie below 2147483648" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_more_than_a_day_is_refused(tmp_path):
    result = CliRunner().invoke(need, ["--minutes", "1441", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "2<=x<=1440" in result.output
    assert not (tmp_path / "out").exists()

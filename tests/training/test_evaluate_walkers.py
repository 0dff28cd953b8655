"""`evaluate walkers`: one seed of one hour through the command, and the formulas by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest
from click.testing import CliRunner

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.training import evaluate_walkers as evaluating

pytest.importorskip("libsumo", reason="SUMO is not installed")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walkers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluating, "HOURS", 1)
        result = CliRunner().invoke(
            evaluating.walkers, ["bukmun_5", "--seeds", "2", "--json", "--out", str(folder / "out")]
        )
    assert result.exit_code == 0, result.output
    return folder / "out", json.loads(result.stdout)


def test_the_files_are_there_and_say_the_same(evaluated):
    folder, printed = evaluated
    assert sorted(path.name for path in folder.iterdir()) == [
        "walkers.json",
        "walkers.parquet",
        "walkers.svg",
    ]
    assert json.loads((folder / "walkers.json").read_text(encoding="utf-8")) == printed
    assert (folder / "walkers.svg").read_text(encoding="utf-8").startswith("<svg")
    persons = pl.read_parquet(folder / "walkers.parquet")
    assert persons["mobility_class"].n_unique() == 9
    assert persons["seed"].unique().sort().to_list() == [10_000, 10_001]


def test_every_class_keeps_its_speed_and_does_as_drawn(evaluated):
    _, printed = evaluated
    assert [each["mobility_class"] for each in printed["classes"]] == list(MOBILITY_CLASSES)
    for each in printed["classes"]:
        assert each["walkers_n"] >= 5
        assert abs(each["speed_bias"]) < 0.005
        assert each["speed_worst"] < 0.02
        assert each["startup_s"] == pytest.approx(each["startup_drawn_s"], abs=0.3)
        assert each["late_wrong_n"] == 0
    assert 0.02 < sum(each["late_share"] for each in printed["classes"]) / 9 < 0.2


def test_formulas_stand_beside_the_simulated_waits(evaluated):
    _, printed = evaluated
    by_formula = {(each["formula"], each["green_s"]): each for each in printed["delays"]}
    assert by_formula["KHCM", 15.0]["formula_s"] == pytest.approx(65.7, abs=0.01)  # 145^2 / 320
    assert by_formula["HCM", 19.0]["formula_s"] == pytest.approx(62.128, abs=0.001)  # 141^2 / 320
    assert by_formula["HCM", 15.0]["crossings"] == "XS XN"
    for check in printed["delays"]:
        assert check["walkers_n"] > 300
        assert check["simulated_s"] == pytest.approx(check["formula_s"], rel=0.12)
    late, plain = by_formula["HCM", 19.0]["simulated_s"], by_formula["KHCM", 15.0]["simulated_s"]
    assert late < plain < by_formula["KHCM, start-up on", 15.0]["simulated_s"]


def test_tables_are_printed(evaluated, capsys):
    _, printed = evaluated
    classes = tuple(evaluating.ClassFigures(**each) for each in printed["classes"])
    delays = tuple(evaluating.DelayCheck(**each) for each in printed["delays"])
    evaluation = evaluating.WalkerEvaluation(
        site="bukmun_5", seeds=(1,), classes=classes, delays=delays, persons=pl.DataFrame()
    )
    evaluating._print_tables(evaluation)
    shown = capsys.readouterr().out
    assert "powered" in shown
    assert "KHCM" in shown
    within = tuple(replace(each, deviation=0.049) for each in delays)
    assert replace(evaluation, delays=within).passes
    beyond = (*within[:-3], replace(within[0], deviation=-0.051), *within[-2:])
    assert not replace(evaluation, delays=beyond).passes
    slow = (replace(classes[0], speed_bias=-0.021), *classes[1:])
    assert not replace(evaluation, delays=within, classes=slow).passes
    told = replace(evaluation, delays=beyond, classes=slow).faults
    assert told[0].endswith("own speed -2.1%, allowed 2%")
    assert "wait -5.1%, allowed 5% (95 % interval of the mean" in told[1]
    assert len(told) == 2
    wrong = (replace(classes[0], late_wrong_n=1), *classes[1:])
    assert not replace(evaluation, delays=within, classes=wrong).passes


def test_an_unknown_site_is_one_clear_error(tmp_path):
    result = CliRunner().invoke(evaluating.walkers, ["nowhere", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, ScenarioError)
    assert "'nowhere' is unknown" in str(result.exception)
    assert result.output == ""
    assert not (tmp_path / "out").exists()


def test_more_seeds_than_there_are_for_everyday_use_are_refused(tmp_path):
    result = CliRunner().invoke(
        evaluating.walkers, ["bukmun_5", "--seeds", "1001", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 2
    assert "1<=x<=1000" in result.output

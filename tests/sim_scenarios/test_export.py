"""An export is a whole folder that a stock SUMO runs, or nothing at all."""

from __future__ import annotations

import json
import subprocess

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios import export
from bitgoeul.sim_scenarios.build import netconvert_path
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.export import export_site

pytestmark = pytest.mark.sumo

FILES = ["detectors.add.xml", "manifest.json", "network.net.xml", "plan.toml", "run.sumocfg", "trips.rou.xml"]
RUN = {"seed": 10_001, "hour": "peak", "minutes": 1}


def test_a_stock_sumo_runs_the_folder_from_anywhere(site, tmp_path):
    configuration = export_site(site, **RUN, out=tmp_path / "run")
    assert sorted(path.name for path in configuration.parent.iterdir()) == FILES
    moved = configuration.parent.rename(tmp_path / "moved")
    sumo = netconvert_path().with_name("sumo")
    ran = subprocess.run(
        [sumo, "-c", moved / "run.sumocfg"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (moved / "warnings.txt").read_text() == ""


def test_the_manifest_says_what_the_run_is(bukmun, tmp_path):
    folder = export_site(bukmun, **RUN, out=tmp_path / "run").parent
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert {key: manifest[key] for key in ("site", "seed", "hour", "minutes", "warm_up_s", "end_s")} == {
        "site": "bukmun_5",
        "seed": 10_001,
        "hour": "peak",
        "minutes": 1,
        "warm_up_s": 300,
        "end_s": 360,
    }
    assert (folder / "plan.toml").read_bytes() == bukmun.plan_file.read_bytes()


def test_the_same_run_gives_the_same_bytes_and_replaces_the_old(bukmun, tmp_path):
    folder = export_site(bukmun, **RUN, out=tmp_path / "run").parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    export_site(bukmun, **RUN, out=tmp_path / "run")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_something_else_is_left_alone(bukmun, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ScenarioError, match="holds something other than an export"):
        export_site(bukmun, **RUN, out=tmp_path)
    with pytest.raises(ScenarioError, match="is a file"):
        export_site(bukmun, **RUN, out=tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_unwritable_place_is_one_clear_error(bukmun, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScenarioError, match="cannot be written"):
        export_site(bukmun, **RUN, out=tmp_path / "file" / "run")


def test_a_failure_half_way_leaves_no_folder(bukmun, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_routes", fail)
    with pytest.raises(KeyboardInterrupt):
        export_site(bukmun, **RUN, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_retimed_plan_and_a_run_without_minutes_are_refused(bukmun, tmp_path):
    with pytest.raises(ScenarioError, match="retimed plan cannot be exported"):
        export_site(load_site("bukmun_5", design_speed_mps=0.8), **RUN, out=tmp_path / "run")
    for minutes in (0, 44_641):
        with pytest.raises(ValueError, match=f"minutes = {minutes}: a run lasts 1 to 44640 minutes"):
            export_site(bukmun, **{**RUN, "minutes": minutes}, out=tmp_path / "run")

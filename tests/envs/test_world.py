"""Whole runs: what the guard promises with perfect detection, retimed plans, the benchmark's replay."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bitgoeul.envs.bench import bench_environment
from bitgoeul.envs.world import RunSpec, run_world

pytestmark = pytest.mark.sumo


def spec(controller: str, **changes: object) -> RunSpec:
    given = {"site": "bukmun_5", "controller": controller, "seed": 10_000, "hour": "peak", "minutes": 20}
    return RunSpec(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize("site", ["bukmun_5", "bukmun_5_zone"])
def test_with_perfect_detection_no_legal_starter_within_the_maximum_is_left(site, form):
    result = run_world(spec("eta", site=site, form=form, detector="perfect"))
    assert result.row["residual_within_max_per_10k"] == 0
    assert result.row["crossings_n"] > 200
    assert result.extensions


def test_fixed_and_gwangju5_leave_some_and_gwangju5_fewer():
    fixed, five = (
        run_world(spec(name, detector="perfect", minutes=40)).row for name in ("fixed", "gwangju5")
    )
    assert fixed["residual_n"] > five["residual_n"] > 0


def test_a_zero_maximum_gives_no_extension():
    row = run_world(spec("eta", extension_max_s=0.0, detector="perfect")).row
    assert row["extension_s_per_h"] == 0


def test_a_slower_design_speed_is_a_retimed_plan():
    row = run_world(spec("fixed:0.7", minutes=40)).row
    assert row["residual_n"] < run_world(spec("fixed", minutes=40)).row["residual_n"]


def test_a_blind_detector_never_releases_early():
    blind = run_world(spec("eta", detector="off"))
    assert {each["reason"] for each in blind.extensions} == {"blind"}
    # Walk and clearance take 42 s on XW; a design for 0.7 m/s 7 + 35 / 0.7 = 57 s.
    assert {each["seconds"] for each in blind.extensions if each["crossing"] == "XW"} == {15.0}
    assert blind.row["residual_n"] < run_world(spec("fixed")).row["residual_n"]


def test_every_walker_has_one_event_and_the_row_counts_them():
    result = run_world(spec("puffin"))
    crossed = [event for event in result.events if event["entered_s"] is not None]
    assert len(crossed) == result.row["crossings_n"]
    assert sum(event["is_residual"] for event in crossed) == result.row["residual_n"]


def test_the_benchmarks_replay_has_the_same_trips():
    figures = bench_environment(spec("eta", minutes=2), repeat=1)
    assert figures.ratio == pytest.approx(figures.env_sps / figures.replay_sps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**31}, "between 0 and 2147483647"),
        ({"minutes": 0}, "a run lasts 1 to 44640 minutes"),
        ({"minutes": -5}, "a run lasts 1 to 44640 minutes"),
        ({"minutes": 44_641}, "a run lasts 1 to 44640 minutes"),
        ({"extension_max_s": -1.0}, "allowed are 0 to 120"),
        ({"form": "Q"}, "allowed are P and R"),
        ({"detector": "psychic"}, "detector preset 'psychic'"),
        ({"controller": "psychic"}, "unknown controller 'psychic'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(changes, message):
    with pytest.raises(ValueError, match=message):
        spec(changes.pop("controller", "eta"), **changes)


def bitgoeul(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from bitgoeul.controller.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nowhere"), "site 'nowhere' is unknown"),
        (("run", "bukmun_5", "--hour", "noon"), "hour 'noon' is unknown"),
        (("run", "bukmun_5", "--minutes", "-1"), "--minutes"),
        (("run", "bukmun_5", "--controller", "magic"), "unknown controller 'magic'"),
        (("run", "bukmun_5", "--policy", "no.onnx", "--controller", "learned"), "no such policy file"),
        (("run", "bukmun_5", "--out", "/proc/nothing"), "cannot be written"),
        (("bench", "env", "--site", "nowhere"), "site 'nowhere' is unknown"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_2(arguments, message):
    done = bitgoeul(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_run_prints_its_row_as_json_and_nothing_else(tmp_path):
    done = bitgoeul("run", "bukmun_5", "--minutes", "2", "--json", "--out", str(tmp_path / "out"))
    row = json.loads(done.stdout)
    assert row["controller"] == "eta"
    assert json.loads((tmp_path / "out" / "row.json").read_text()) == row
    assert "Warning" not in done.stderr

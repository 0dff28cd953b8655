import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.training import compare_commands
from bitgoeul.training.compare import (
    Comparison,
    never_extends,
    run_here,
    run_parallel,
    seed_notice,
)
from bitgoeul.training.store import RunStore

BASE = [
    "bukmun_5",
    "--controllers",
    "fixed,eta",
    "--seeds",
    "2",
    "--minutes",
    "5",
    "--jobs",
    "2",
]


def make_comparison(**changes):
    settings = {
        "sites": ("bukmun_5",),
        "controllers": ("fixed", "eta"),
        "seeds": (10_000, 10_001),
        "detectors": ("camera_day",),
        "hour": "peak",
        "minutes": 5,
    }
    return Comparison(**{**settings, **changes})


@pytest.fixture
def store(tmp_path):
    return RunStore(folder=tmp_path, version="1")


@pytest.fixture
def command(monkeypatch, fake_runs):
    """Return a function that runs the command with fake runs in worker processes."""

    def run(*arguments, function="run"):
        monkeypatch.setattr(compare_commands, "RUN", f"fake_runs:{function}")
        return CliRunner().invoke(compare_commands.compare, [str(argument) for argument in arguments])

    return run


def names_left(folder):
    """Return unfinished parts and temporary files."""
    return list(Path(folder).rglob(".*"))


def test_every_combination_is_one_run():
    comparison = make_comparison(extension_maxima_s=(0.0, None), forms=("P", "R"))
    assert len(comparison.specs()) == 2 * 2 * 2 * 2


def test_a_controller_that_never_extends_is_run_for_the_main_maximum_only():
    comparison = make_comparison(extension_maxima_s=(0.0, None, 45.0), forms=("P", "R"))
    fixed = [s for s in comparison.specs(never_extends=never_extends) if s.controller == "fixed"]
    assert [(s.form, s.extension_max_s) for s in fixed] == [("P", None)] * 2
    assert make_comparison(extension_maxima_s=(0.0, 20.0)).main_maximum_s == 20.0


def test_which_controllers_never_extend():
    names = ["fixed", "fixed:0.7", "actuated", "fixed+guard", "eta", "gwangju5", "puffin"]
    assert [never_extends(name) for name in names] == [True, True, True, False, False, False, False]


def test_seed_ranges_are_announced():
    assert seed_notice(range(10_000, 10_100)) is None
    assert "training seeds" in seed_notice(range(9_999, 10_001))
    assert "test seeds" in seed_notice(range(20_000, 20_008))


def test_runs_in_this_process_and_resumes(store, fake_runs):
    calls = []

    def run(spec, *, record_strip=False):
        calls.append((spec.controller, spec.seed, record_strip))
        return fake_runs.run(spec, record_strip=record_strip)

    specs, done = make_comparison().specs(), []
    run_here(specs[:1], store, run=run, on_done=done.append)
    run_here(specs, store, run=run, on_done=done.append)
    assert len(done) == 5
    assert calls[0] == ("fixed", 10_000, True)
    assert calls[1:] == [("eta", 10_000, True), ("fixed", 10_001, False), ("eta", 10_001, False)]


def test_worker_processes_do_each_run_once(store, fake_runs, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("BITGOEUL_TEST_LOG", str(log))
    specs = make_comparison().specs()
    for _ in range(2):
        run_parallel(specs, store, workers=2, run="fake_runs:run_and_count", on_done=lambda _: None)
    assert len(log.read_text().splitlines()) == 4
    assert all(store.is_done(spec) for spec in specs)


def test_a_worker_that_dies_is_one_error_that_names_the_run(store, fake_runs):
    specs = make_comparison(controllers=("eta",), seeds=(10_000, 10_001, 10_002)).specs()
    with pytest.raises(ScenarioError, match=r"bukmun_5, eta, seed 10001,.*SIGKILL.*kept"):
        run_parallel(specs, store, workers=1, run="fake_runs:run_and_die", on_done=lambda _: None)
    assert store.is_done(specs[0])
    assert names_left(store.folder) == []


def test_a_run_that_is_refused_is_one_error_that_names_the_run(store, fake_runs):
    with pytest.raises(ScenarioError, match=r"eta, seed 10001.*no network here"):
        run_parallel(
            make_comparison(controllers=("eta",)).specs(),
            store,
            workers=1,
            run="fake_runs:run_and_refuse",
            on_done=lambda _: None,
        )
    assert names_left(store.folder) == []


def test_a_bug_in_a_run_keeps_its_traceback(store, fake_runs):
    with pytest.raises(RuntimeError, match=r"(?s)seed 1000[01].*Traceback.*KeyError: 'a bug'"):
        run_parallel(
            make_comparison().specs(),
            store,
            workers=1,
            run="fake_runs:run_with_a_bug",
            on_done=lambda _: None,
        )


def test_the_command_writes_tables_report_and_json(command, tmp_path):
    result = command(*BASE, "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["report"] == str(tmp_path / "report.html")
    assert [row["controller"] for row in answer["rows"]] == ["fixed", "eta"]
    for row in answer["rows"]:
        assert row["seeds"] == 2
        for name in ("residual_per_10k", "released_on_person", "person_hours_per_h", "extension_s_per_h"):
            assert set(row[name]) == {"mean", "low", "high"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "parts",
        "rows.parquet",
        "events.parquet",
        "extensions.parquet",
        "timings.parquet",
        "report.html",
        "compare.json",
    }
    assert names_left(tmp_path) == []


def test_the_command_prints_a_table_with_intervals(command, tmp_path):
    result = command(*BASE, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "fixed" in result.stdout
    assert "under" in result.stdout
    assert "95 % interval" in result.stdout
    assert f"report: {tmp_path / 'report.html'}" in result.stdout.replace("\n", "")


def test_fresh_discards_what_was_stored(command, tmp_path):
    command(*BASE, "--out", tmp_path)
    part = next((tmp_path / "parts").iterdir())
    (part / "rows.parquet").write_bytes(b"")
    damaged = command(*BASE, "--out", tmp_path)
    assert damaged.exit_code != 0
    assert "rows.parquet" in str(damaged.exception)
    assert command(*BASE, "--out", tmp_path, "--fresh").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--controllers", "fixed"], "nowhere.*bukmun_5"),
        (["bukmun_5", "--controllers", "fixd"], "fixd.*known: fixed"),
        (["bukmun_5", "--controllers", "fixed", "--detector", "owl"], "owl.*camera_day"),
        (["bukmun_5", "--controllers", "fixed", "--hour", "noon"], "noon.*peak"),
        (["bukmun_5", "--controllers", "fixed", "--minutes", "-5"], "-5"),
        (["bukmun_5", "--controllers", "fixed", "--seeds", "0"], "0"),
        (["bukmun_5", "--controllers", "fixed", "--seeds", "99999999999"], "1<=x<=10000"),
        (["bukmun_5", "--controllers", "fixed,fixed"], "twice"),
        (["bukmun_5", "--controllers", "fixed,"], "empty name"),
        (["bukmun_5", "bukmun_5", "--controllers", "fixed"], "twice"),
        (["bukmun_5", "--controllers", "eta", "--extension-max", "-3"], "-3 s"),
        (["bukmun_5", "--controllers", "eta", "--extension-max", "ten"], "ten"),
        (["bukmun_5", "--controllers", "eta", "--extension-max", "nan"], "nan"),
        (["bukmun_5", "--controllers", "eta", "--form", "Q"], "'Q'.*P, R"),
        (["--controllers", "eta"], "SITE"),
        (["bukmun_5", "--controllers", "eta", "--out", "/dev/null/out"], "cannot write to /dev/null/out"),
    ],
)
def test_a_mistake_is_one_clear_error_and_exit_status_2(arguments, words, tmp_path, monkeypatch, capsys):
    from bitgoeul.controller.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bitgoeul.controller.cli.bitgoeul", compare_commands.compare)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert re.search(words, error), error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from bitgoeul.training import compare_commands
import bitgoeul.controller.cli as cli
compare_commands.RUN = "fake_runs:run_slowly"
cli.bitgoeul = compare_commands.compare
if __name__ == "__main__":
    cli.main()
"""


def start(script, out):
    """Start the command with slow runs in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parent), *BASE, "--out", str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )


def await_slow_runs(process, out):
    """Wait until the first seed's runs are stored and the second's have begun; return the stored parts."""
    deadline = time.monotonic() + 40
    while True:
        complete = [path for path in out.glob("parts/*") if path.name[0] != "."]
        if len(complete) == 2 and list(out.glob("parts/.*")):
            return complete
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_group_gone(process):
    """Return True once nobody of the group is left; Python's own resource tracker ends a moment later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def end_group(process):
    """Leave no process of the group, whatever the test found."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX process groups")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_complete_parts_and_no_process(tmp_path, number, status):
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT, encoding="utf-8")
    process = start(script, out)
    try:
        complete = await_slow_runs(process, out)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: the whole group
        else:
            process.send_signal(number)
        began = time.monotonic()
        _, error = process.communicate(timeout=20)
        assert process.returncode == status, error
        assert time.monotonic() - began < 10
        assert "Traceback" not in error
        if number == signal.SIGINT:
            assert "stopped: 2 of 4 runs are kept" in error
        assert sorted(out.glob("parts/*")) == sorted(complete)
        assert [path.name for path in out.iterdir()] == ["parts"]
        assert is_group_gone(process)
    finally:
        end_group(process)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX process groups")
def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT, encoding="utf-8")
    process = start(script, out)
    try:
        await_slow_runs(process, out)
        process.kill()
        process.communicate(timeout=20)
        assert is_group_gone(process)
    finally:
        end_group(process)


def test_no_learning_library_is_needed(tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'stable_baselines3', 'sb3_contrib']));"
        "import bitgoeul.training.compare_commands, bitgoeul.training.report, bitgoeul.training.time_space"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=tmp_path)


def test_rows_have_the_promised_columns(command, tmp_path):
    command(*BASE, "--out", tmp_path)
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    promised = {
        "site": pl.String,
        "controller": pl.String,
        "detector": pl.String,
        "hour": pl.String,
        "form": pl.String,
        "extension_max_s": pl.Float64,
        "seed": pl.Int64,
        "minutes": pl.Int64,
        "residual_per_10k": pl.Float64,
        "ped_wait_s": pl.Float64,
        "vehicle_delay_s": pl.Float64,
        "crossings_n": pl.Int64,
        "residual_n": pl.Int64,
        "trace_hash": pl.String,
        "sumo_version": pl.String,
    }
    assert {name: rows.schema[name] for name in promised} == promised

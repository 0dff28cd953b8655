"""Run, environment and `control` on a SUMO started by somebody else leave the same trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sumolib

from bitgoeul.controller.observe import Observation
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser
from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.world import RunSpec, run_world
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.export import export_site

pytestmark = pytest.mark.sumo

MINUTES = 5
SEED = 10_007


def spec(controller: str, **changes: object) -> RunSpec:
    given = {"site": "bukmun_5", "controller": controller, "seed": SEED, "hour": "peak", "minutes": MINUTES}
    return RunSpec(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    out = tmp_path / "export"
    return export_site(load_site("bukmun_5"), seed=SEED, hour="peak", minutes=MINUTES, out=out)


@pytest.fixture
def exported_hour(tmp_path: Path) -> Path:
    out = tmp_path / "hour"
    return export_site(load_site("bukmun_5"), seed=SEED, hour="peak", minutes=60, out=out)


def start_sumo(configuration: Path, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sumolib.checkBinary("sumo"), "-c", configuration.name, "--remote-port", str(port)],
        cwd=configuration.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def control_command(port: int, controller: str, *extra: str) -> list[str]:
    arguments = ["control", "--backend", "sumo", "--port", str(port), "--site", "bukmun_5"]
    program = "from bitgoeul.controller.cli import main; main()"
    return [sys.executable, "-c", program, *arguments, "--controller", controller, "--json", *extra]


@pytest.mark.parametrize("controller", ["eta", "max_pressure+guard"])
def test_libsumo_and_traci_and_a_second_run_leave_the_same_rows(controller):
    first = run_world(spec(controller))
    again = run_world(spec(controller))
    over_traci = run_world(spec(controller, backend="traci"))
    assert first.row == again.row == over_traci.row
    assert first.events == again.events == over_traci.events


def test_the_environment_fed_the_same_choices_leaves_the_same_trace():
    run = run_world(spec("max_pressure+guard"))
    env = CrossingEnv("bukmun_5", hour="peak", minutes=MINUTES)
    chooser = LinearChooser(MAX_PRESSURE_WEIGHTS)
    seen, _ = env.reset(seed=SEED)
    is_over = False
    while not is_over:
        observation = Observation(seen["context"], seen["choices"], seen["mask"].astype(bool))
        seen, _, _, is_over, info = env.step(chooser.choose(observation))
        assert not info["illegal_action"]
    assert env.trace_hash == run.trace_hash
    env.close()


@pytest.mark.parametrize("controller", ["eta", "puffin", "max_pressure+guard"])
def test_control_on_a_sumo_started_by_somebody_else_leaves_the_same_trace(exported, controller):
    port = sumolib.miscutils.getFreeSocketPort()
    sumo = start_sumo(exported, port)
    done = subprocess.run(
        control_command(port, controller), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["trace_hash"] == run_world(spec(controller)).trace_hash
    assert sumo.wait(timeout=20) == 0


def test_control_says_so_and_exits_2_when_sumo_dies(exported_hour):
    port = sumolib.miscutils.getFreeSocketPort()
    sumo = start_sumo(exported_hour, port)
    control = subprocess.Popen(
        control_command(port, "eta"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    sumo.kill()
    _, errors = control.communicate(timeout=60)
    assert control.returncode == 2
    assert errors.splitlines()[-1].startswith("error: sumo: the simulation ended")
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_gives_the_junction_back_when_asked_to_stop(exported_hour, number):
    port = sumolib.miscutils.getFreeSocketPort()
    sumo = start_sumo(exported_hour, port)
    control = subprocess.Popen(
        control_command(port, "eta"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    os.kill(control.pid, number)
    out, errors = control.communicate(timeout=60)
    assert control.returncode == 128 + number, errors
    assert json.loads(out.splitlines()[-1])["site"] == "bukmun_5"
    sumo.wait(timeout=20)


def test_control_refuses_a_network_without_the_plans_signal(exported):
    port = sumolib.miscutils.getFreeSocketPort()
    network = exported.parent / "network.net.xml"
    network.write_text(
        network.read_text().replace('tl="J"', 'tl="K"').replace('<tlLogic id="J"', '<tlLogic id="K"')
    )
    sumo = start_sumo(exported, port)
    done = subprocess.run(
        control_command(port, "eta"), capture_output=True, text=True, check=False, timeout=60
    )
    sumo.kill()
    sumo.wait()
    assert done.returncode == 2
    assert "'J'" in done.stderr


@pytest.mark.parametrize(
    ("step_length", "is_allowed"),
    [("0.15", False), ("0.3", False), ("0.05", False), ("0.1", True), ("1", True)],
)
def test_control_refuses_steps_that_would_bend_the_plans_times(exported, step_length, is_allowed):
    port = sumolib.miscutils.getFreeSocketPort()
    text = exported.read_text()
    assert '<step-length value="0.5"/>' in text
    exported.write_text(text.replace('<step-length value="0.5"/>', f'<step-length value="{step_length}"/>'))
    sumo = start_sumo(exported, port)
    command = control_command(port, "eta", "--minutes", "1")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sumo.wait(timeout=20)
    assert done.returncode == (0 if is_allowed else 2), done.stderr
    if not is_allowed:
        assert "step-length" in done.stderr
        assert "allowed are 0.1, 0.2, 0.5, 1 s" in done.stderr


FOREIGN = {
    "a crossing's link": (
        {"sumo_link = 18": "sumo_link = 19", "sumo_link = 19": "sumo_link = 18"},
        "is not that of",
    ),
    "a crossing's length": (
        {"length_m = 35.0": "length_m = 34.5"},
        "35.0 m long in the network, 34.5 m in the plan",
    ),
    "the program": ({'program = "plan"': 'program = "other"'}, "no program 'other'"),
    "a loop": ({'sumo_id = "pass_W_1"': 'sumo_id = "pass_W_9"'}, "lacks the plan's detectors pass_W_9"),
}


@pytest.mark.parametrize(("changes", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_plan_that_is_not_the_networks_is_refused_when_control_attaches(exported, changes, message):
    plan_file = exported.parent / "plan.toml"
    lines = plan_file.read_text().splitlines()
    assert set(changes) <= set(lines)
    plan_file.write_text("\n".join(changes.get(line, line) for line in lines))
    port = sumolib.miscutils.getFreeSocketPort()
    sumo = start_sumo(exported, port)
    command = [*control_command(port, "eta"), "--site", str(plan_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sumo.wait(timeout=20)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr


def test_a_run_ended_by_sigterm_leaves_no_scratch_folder(tmp_path):
    program = "from bitgoeul.controller.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", program, "run", "bukmun_5", "--minutes", "600"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(tmp_path.glob("bitgoeul-*/0/tripinfo.xml")):
        assert run.poll() is None
        time.sleep(0.1)
    run.terminate()
    assert run.wait(timeout=20) == 143
    assert not list(tmp_path.iterdir())

"""The command line: listing without importing, errors as one line, exit statuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from bitgoeul.controller import cli


class MadeUp:
    """A second distribution on the import path, whose subcommands are written by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, **bodies: str) -> None:
        lines = [f"[{cli.COMMAND_GROUP}]"]
        for name, body in bodies.items():
            module = f"{name}_of_{self.folder.name}".replace("-", "_")
            (self.folder / f"{module}.py").write_text(textwrap.dedent(body), encoding="utf-8")
            lines.append(f"{name} = {module}:command")
        metadata_folder = self.folder / "made_up-1.0.dist-info"
        metadata_folder.mkdir()
        (metadata_folder / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\nSummary: Signals for ducks\n",
            encoding="utf-8",
        )
        (metadata_folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bitgoeul.controller.cli", *arguments],
            env=os.environ | {"PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    return MadeUp(tmp_path)


def exit_status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def body_raising(expression: str) -> str:
    return f"""
        import click
        from bitgoeul.controller.errors import FieldFault, PlanError, PlanFault, ScenarioError

        @click.command()
        def command():
            raise {expression}
    """


def test_help_lists_every_command_with_one_line(capsys):
    assert exit_status("--help") == 0
    shown = capsys.readouterr().out
    for name, listing in cli.LISTINGS.items():
        assert f"  {name} " in shown
        assert listing.help.split()[0] in shown


def test_every_command_of_ours_is_installed_and_listed():
    assert list(cli.command_entry_points())[: len(cli.LISTINGS)] == list(cli.LISTINGS)
    installed = metadata.entry_points(group=cli.COMMAND_GROUP)
    assert {point.name for point in installed if point.dist.name == cli.DISTRIBUTION} == set(cli.LISTINGS)


def test_every_extra_that_a_listing_names_is_an_extra_of_the_distribution():
    extras = metadata.metadata("bitgoeul").get_all("Provides-Extra")
    assert {listing.extra for listing in cli.LISTINGS.values()} - {None} <= set(extras)
    assert set(cli.EXTRA_MODULES) <= set(extras)


def test_help_imports_no_subcommand():
    script = (
        "import sys\nfrom bitgoeul.controller import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "late = ('numpy', 'pydantic', 'libsumo', 'gymnasium', 'torch', 'polars', 'matplotlib')\n"
        "late += ('bitgoeul.envs', 'bitgoeul.training', 'bitgoeul.sim_scenarios')\n"
        "print([name for name in late if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_version_names_the_distribution(capsys):
    assert exit_status("--version") == 0
    assert capsys.readouterr().out == f"bitgoeul {metadata.version('bitgoeul')}\n"


def test_unknown_command_is_a_mistake(capsys):
    assert exit_status("no-such-command") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: No such command 'no-such-command'.\ntry: bitgoeul --help\n"


def test_missing_extra_is_named_with_the_line_that_installs_it(made_up, capsys):
    made_up.install(ducks="raise ModuleNotFoundError(\"No module named 'libsumo'\", name='libsumo')")
    assert exit_status("ducks") == 2
    assert capsys.readouterr().err == "error: ducks: libsumo is not installed; pip install 'bitgoeul[sim]'\n"


def test_extra_missed_only_in_the_middle_of_a_command_is_named_too(made_up, capsys):
    made_up.install(learn=body_raising("ModuleNotFoundError(name='torch.nn')"))
    assert exit_status("learn") == 2
    assert capsys.readouterr().err == "error: torch is not installed; pip install 'bitgoeul[train]'\n"


def test_command_whose_extra_is_missing_is_listed_with_the_hint(monkeypatch, capsys):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    assert exit_status("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Train a policy from a recipe. (needs: pip install 'bitgoeul[train]')" in shown
    assert "bitgoeul[sim]" not in shown


def test_entry_point_without_its_attribute_is_one_error(made_up, capsys):
    made_up.install(ducks="other = 1")
    assert exit_status("ducks") == 2
    assert capsys.readouterr().err.startswith("error: ducks: ducks_of_")


def test_entry_point_that_is_no_command_is_one_error(made_up, capsys):
    made_up.install(ducks="command = 1")
    assert exit_status("ducks") == 2
    assert "is not a click command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("ValueError('minutes = -5 is not > 0')", "minutes = -5 is not > 0"),
        ("ScenarioError('no site nowhere')", "no site nowhere"),
        ("FieldFault('SUMO on port 8813', 'closed the link')", "SUMO on port 8813: closed the link"),
        (
            "PlanError('plan.toml', (PlanFault(path='a.b', value='2', rule='is below 3'),))",
            "plan.toml: 1 fault",
        ),
        ("PermissionError(13, 'Permission denied', '/nowhere/out')", "/nowhere/out: Permission denied"),
        ("click.BadParameter('not a number', param_hint='--seed')", "Invalid value for --seed: not a number"),
    ],
)
def test_errors_are_one_message_and_exit_2(made_up, capsys, expression, message):
    made_up.install(fails=body_raising(expression))
    assert exit_status("fails") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert "Traceback" not in shown.err


def test_a_fault_of_ours_is_not_hidden(made_up):
    made_up.install(fails=body_raising("AssertionError('ours')"))
    with pytest.raises(AssertionError, match="ours"):
        cli.main(["fails"])


def test_traceback_is_shown_on_request(made_up, monkeypatch):
    monkeypatch.setenv("BITGOEUL_TRACEBACK", "1")
    made_up.install(fails=body_raising("ValueError('where from')"))
    with pytest.raises(ValueError, match="where from"):
        cli.main(["fails"])


def test_interrupt_in_a_command_is_130(made_up, capsys):
    made_up.install(fails=body_raising("KeyboardInterrupt"))
    assert exit_status("fails") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_returned_integer_is_the_exit_status(made_up):
    made_up.install(three="import click\n\n@click.command()\ndef command():\n    return 3\n")
    assert exit_status("three") == 3


def test_another_distributions_command_is_listed_after_ours_with_its_summary(made_up, capsys):
    made_up.install(ducks="raise AssertionError('imported')")
    assert exit_status("--help") == 0
    last = capsys.readouterr().out.split("control", maxsplit=1)[1]
    assert "ducks Signals for ducks" in " ".join(last.split())


def test_another_distribution_cannot_take_over_a_name_of_ours(made_up):
    made_up.install(run="command = 1")
    assert cli.command_entry_points()["run"].value == "bitgoeul.envs.commands:run"


def test_ctrl_c_ends_the_process_with_130_and_no_traceback(made_up):
    made_up.install(
        waits="""
        import time
        import click

        @click.command()
        def command():
            click.echo("waiting")
            time.sleep(30)
        """
    )
    with made_up.start("waits") as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=20)
    assert process.returncode == 130
    assert shown.strip() == "interrupted"


def test_reader_that_leaves_early_causes_no_noise(made_up):
    made_up.install(
        talks="""
        import click

        @click.command()
        def command():
            for _ in range(200_000):
                click.echo("walk")
        """
    )
    with made_up.start("talks") as process:
        process.stdout.readline()
        process.stdout.close()
        shown = process.stderr.read()
    assert shown == ""
    assert process.returncode == 1

"""The command `bitgoeul`: finds subcommands by entry point, imports one when called, names its errors."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import FrameType, MappingProxyType
from typing import Any, Final

import click

from bitgoeul.controller.errors import BitgoeulError

DISTRIBUTION: Final = "bitgoeul"
COMMAND_GROUP: Final = "bitgoeul.commands"
"""Entry-point group: name of the subcommand = `module:click_command`."""

EXIT_MISTAKE: Final = 2
"""Exit status of every error that the caller can put right."""
EXIT_BROKEN_PIPE: Final = 1
"""Exit status when the reader of our output left; what Python's manual advises."""
EXIT_INTERRUPTED: Final = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells report it."""

EXTRA_MODULES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "sim": (
            "libsumo",
            "traci",
            "sumo",
            "sumolib",
            "gymnasium",
            "pettingzoo",
            "polars",
            "scipy",
            "matplotlib",
            "jinja2",
            "PIL",
            "osmium",
            "tomlkit",
        ),
        "train": ("torch", "stable_baselines3", "sb3_contrib", "onnx", "cma"),
        "cluster": ("ray",),
    }
)
"""Top-level modules that each extra brings: what tells whether an extra is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one subcommand stands in the list, known without importing it.

    Parameters
    ----------
    help : one line.
    extra : the extra that the command needs; None if the base install is enough.
    """

    help: str
    extra: str | None = None


LISTINGS: Final[Mapping[str, Listing]] = MappingProxyType(
    {
        "sites": Listing(help="List the sites that can be run."),
        "site": Listing(help="Make, show, draw or export one site.", extra="sim"),
        "import": Listing(help="Make a site of a SUMO network or an OpenStreetMap extract.", extra="sim"),
        "corridor": Listing(help="Show, coordinate or draw a corridor.", extra="sim"),
        "district": Listing(help="Make, run and rank all signalised junctions of a district.", extra="sim"),
        "plan": Listing(help="Check, explain or describe a site plan."),
        "run": Listing(help="Run one controller on one site for one seed.", extra="sim"),
        "env": Listing(help="Describe what a learning agent sees and may do at a site.", extra="sim"),
        "compare": Listing(help="Compare controllers over paired seeds and write the report.", extra="sim"),
        "bench": Listing(help="Measure how much of SUMO's own speed is left.", extra="sim"),
        "evaluate": Listing(help="Hold the need estimate and the walkers against the truth.", extra="sim"),
        "train": Listing(help="Train a policy from a recipe.", extra="train"),
        "policy": Listing(help="Export, inspect or evaluate a trained policy.", extra="train"),
        "control": Listing(help="Take over a junction in a SUMO that somebody else started."),
        "core": Listing(help="Trace the signal core alone under a script of calls."),
        "detections": Listing(help="Check, record and play what sensors say over the network."),
    }
)
"""Our own subcommands in the order of use. Other distributions' commands are listed after them."""


class CommandUnavailableError(click.ClickException):
    """A subcommand that is listed but cannot be imported; the message says what to install."""

    exit_code = EXIT_MISTAKE


def install_hint(extra: str) -> str:
    """Return the line that installs `extra`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def missing_extra(extra: str | None) -> str | None:
    """Return `extra` if a module that it brings is not installed, else None; imports nothing."""
    if extra is None:
        return None
    absent = any(importlib.util.find_spec(module) is None for module in EXTRA_MODULES[extra])
    return extra if absent else None


def explain_missing_module(module_name: str | None) -> str:
    """Return one sentence on a module that could not be imported, with the install line.

    Parameters
    ----------
    module_name : dotted name, as in `ModuleNotFoundError.name`; None if Python did not say.
    """
    top = (module_name or "").partition(".")[0]
    for extra, modules in EXTRA_MODULES.items():
        if top in modules:
            return f"{top} is not installed; {install_hint(extra)}"
    return f"module {module_name or '(unnamed)'} is not installed; reinstall {DISTRIBUTION}"


def command_entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the installed subcommands by name: ours in order of use, then others by name.

    A name of ours cannot be taken over by another distribution.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=COMMAND_GROUP):
        is_ours = point.dist is not None and _normalised(point.dist.name) == DISTRIBUTION
        if is_ours or (point.name not in LISTINGS and point.name not in found):
            found[point.name] = point
    order = {name: rank for rank, name in enumerate(LISTINGS)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _listed_help(point: metadata.EntryPoint) -> str:
    """Return the help line of a command that is not imported; another distribution's own summary."""
    listing = LISTINGS.get(point.name)
    if listing is None:
        summary = point.dist.metadata["Summary"] if point.dist is not None else None
        return summary or f"From {point.value}."
    lacking = missing_extra(listing.extra)
    return listing.help if lacking is None else f"{listing.help} (needs: {install_hint(lacking)})"


class LazyGroup(click.Group):
    """A click group whose subcommands are entry points, imported one at a time and only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all installed subcommands, in the order of use."""
        del ctx  # click's signature; the list is the same everywhere
        return list(command_entry_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand; None if there is none of that name.

        Raises
        ------
        CommandUnavailableError : a library that the command needs is missing, or the module has no
            such command.
        """
        del ctx
        point = command_entry_points().get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except ModuleNotFoundError as fault:
            raise CommandUnavailableError(f"{cmd_name}: {explain_missing_module(fault.name)}") from fault
        except AttributeError as fault:
            raise CommandUnavailableError(f"{cmd_name}: {point.value} is not there ({fault})") from fault
        if not isinstance(command, click.Command):
            raise CommandUnavailableError(f"{cmd_name}: {point.value} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing any."""
        del ctx
        rows = [(name, _listed_help(point)) for name, point in command_entry_points().items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="BITGOEUL_TRACEBACK=1 shows where an error was raised.",
)
@click.version_option(package_name=DISTRIBUTION, message="%(package)s %(version)s")
def bitgoeul() -> None:
    """Pedestrian-aware signal control: the same controller in SUMO and on the street."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the console script's entry.

    Parameters
    ----------
    arguments : words after the program's name; None takes the process's own.

    Raises
    ------
    SystemExit : always. 0 on success, or the integer that the subcommand returned; 2 for a mistake
        that the caller can put right, with `error: ...` on standard error; 130 after Ctrl-C.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        status = EXIT_BROKEN_PIPE
    sys.exit(status)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an ordinary exit, so that scratch files and child processes are cleared away."""
    sys.exit(128 + number)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return the exit status."""
    show_traceback = os.environ.get("BITGOEUL_TRACEBACK", "") not in {"", "0"}
    try:
        result: Any = bitgoeul.main(
            args=None if arguments is None else list(arguments),
            prog_name=DISTRIBUTION,
            standalone_mode=False,
        )
    except click.exceptions.Abort:  # click's name for Ctrl-C and for end of input at a prompt
        return _report_interrupt()
    except KeyboardInterrupt:  # arrived while click itself was at work
        return _report_interrupt()
    except BrokenPipeError:
        raise
    except (click.ClickException, BitgoeulError, ValueError, ModuleNotFoundError, OSError) as fault:
        if show_traceback:
            raise
        _report(_message(fault))
        return EXIT_MISTAKE
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _message(fault: Exception) -> str:
    """Return what the user is told about an error, on one line or more."""
    if isinstance(fault, click.UsageError):
        path = fault.ctx.command_path if fault.ctx is not None else DISTRIBUTION
        return f"{fault.format_message()}\ntry: {path} --help"
    if isinstance(fault, click.ClickException):
        return fault.format_message()
    if isinstance(fault, ModuleNotFoundError):
        return explain_missing_module(fault.name)
    if isinstance(fault, OSError) and fault.filename is not None:
        return f"{fault.filename}: {fault.strerror}"
    return str(fault) or type(fault).__name__


def _report(message: str) -> None:
    click.echo(f"{click.style('error:', fg='red')} {message}", err=True)


def _report_interrupt() -> int:
    click.echo("interrupted", err=True)
    return EXIT_INTERRUPTED


def _discard_output() -> None:
    """Point standard output at nothing, so that Python's own flush at exit stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()

"""The command `control`: run a controller on a junction that somebody else started."""

from __future__ import annotations

import json
import math
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import click

from .backends.sumo import as_fault, clear_junction, connect
from .catalogs import find_plan
from .errors import FieldFault, ScenarioError
from .junction import Street, SumoJunction
from .plan import SitePlan
from .policies import PolicyOptions, make_controller, parse_controller, plan_for
from .timing import to_ds

WARMUP_S = 300
"""As in `run`: until this simulation time the plan's pattern runs. [s] [A]"""


@click.command(
    epilog="Example: sumo -c out/bukmun.sumocfg --remote-port 8813 &  bitgoeul control --backend sumo "
    "--port 8813 --site bukmun_5 --controller eta"
)
@click.option("--backend", default="sumo", show_default=True, type=click.Choice(["sumo"]))
@click.option("--host", default="localhost", show_default=True)
@click.option("--port", required=True, type=click.IntRange(1, 65_535), help="SUMO's --remote-port.")
@click.option("--site", required=True, help="Registered name, or path of a plan.")
@click.option("--controller", default="eta", show_default=True, help="fixed, eta, learned, NAME+guard ...")
@click.option("--source", default="emulated", show_default=True, help="Where detections come from.")
@click.option("--detector", default="camera_day", show_default=True, metavar="PRESET[:FIELD=VALUE]...",
              help="Emulated detector, as `camera_day:person_recall=0.8:latency_s=2`.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of the detector; default: SUMO's own seed.")
@click.option("--warmup", "warmup_s", default=WARMUP_S, show_default=True, type=click.IntRange(min=0),
              help="The plan's own timing runs until this simulation time [s].")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0.1), help="Stop after this; default: SUMO's end.")
@click.option("--extension-max", type=click.FloatRange(0, 120), help="Maximum [s]; default: the plan's.")
@click.option("--form", default="P", show_default=True, type=click.Choice(["P", "R"]), help="Extension form.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="ONNX file for `learned`.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def control(
    *,
    backend: str,  # noqa: ARG001 - one backend so far
    host: str,
    port: int,
    site: str,
    controller: str,
    source: str,
    detector: str,
    seed: int | None,
    warmup_s: int,
    minutes: float | None,
    extension_max: float | None,
    form: str,
    policy_file: Path | None,
    as_json: bool,
) -> None:
    """Take a junction over in a running SUMO, control it, and give it back on exit."""
    if minutes is not None and not math.isfinite(minutes):
        raise ValueError(f"--minutes {minutes}: give a number of minutes")
    name = parse_controller(controller)
    plan = plan_for(name, find_plan(site))
    make_street = find_source(source)
    make_street.check_detector(detector)
    options = PolicyOptions(form=form, extension_max_s=extension_max, policy_file=policy_file)
    policy, guard = make_controller(name, plan, options)
    connection = connect(host, port)
    try:
        if seed is None:
            seed = int(connection.simulation.getOption("seed"))
        now_ds = to_ds(connection.simulation.getTime())
        if now_ds > 0:
            now_ds = clear_junction(connection, plan)
        street = make_street(connection, plan, detector, seed)
        junction = SumoJunction(
            connection, plan, policy, guard, street, warmup_ds=to_ds(warmup_s), now_ds=now_ds
        )
        asked = _control(junction, *_ends_ds(connection, now_ds, minutes))
    except Exception as error:
        raise as_fault(error) from error
    finally:
        _close(connection)
    summary = {
        "site": plan.site.id,
        "controller": controller,
        "from_s": now_ds / 10,
        "to_s": junction.now_ds / 10,
        "extension_s": junction.loop.audit.extension_ds / 10,
        "extensions": len(junction.loop.audit.extensions),
        "released_on_person": 0 if guard is None else guard.released_on_person,
        "trace_hash": junction.trace.hexdigest,
    }
    click.echo(json.dumps(summary) if as_json else _told(summary))
    if asked == signal.SIGINT:
        raise KeyboardInterrupt
    if asked:
        sys.exit(128 + asked)


class SourceMaker(Protocol):
    """Makes a detection source for a connection, a plan, a detector and a seed."""

    def check_detector(self, detector: str) -> None:
        """Refuse a detector that cannot be used, before anything is connected."""
        ...

    def __call__(self, connection: Any, plan: SitePlan, detector: str, seed: int) -> Street:
        """Return the source."""
        ...


def find_source(source: str) -> SourceMaker:
    """Return the maker of a detection source by its entry point.

    Raises
    ------
    ScenarioError : no such source is registered.
    """
    sources = {entry.name: entry for entry in entry_points(group="bitgoeul.detection_sources")}
    if source not in sources:
        raise ScenarioError(f"unknown detection source {source!r}; known: {', '.join(sources) or 'none'}")
    maker: SourceMaker = sources[source].load()
    return maker


def _ends_ds(connection: Any, now_ds: int, minutes: float | None) -> tuple[float, float]:
    """Return when we stop and when SUMO ends; infinity where there is no such time. [0.1 s]"""
    sumo_end_s = connection.simulation.getEndTime()
    sumo_end_ds = to_ds(sumo_end_s) if sumo_end_s > 0 else math.inf
    return (math.inf if minutes is None else now_ds + to_ds(60 * minutes)), sumo_end_ds


def _control(junction: SumoJunction, stop_ds: float, sumo_end_ds: float) -> int:
    """Step until the end, or until asked to stop; return the signal that asked, 0 if none did.

    SIGINT and SIGTERM end the running step, then the junction is cleared and given back.
    """
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not asked and junction.now_ds < min(stop_ds, sumo_end_ds):
            junction.step()
        junction.give_back(is_over=junction.now_ds >= sumo_end_ds)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return asked[0] if asked else 0


def _close(connection: Any) -> None:
    """Close the connection; a SUMO that is gone already is no second fault."""
    try:
        connection.close()
    except Exception as error:
        if not isinstance(as_fault(error), FieldFault):
            raise


def _told(summary: dict[str, Any]) -> str:
    return (
        f"{summary['site']} under {summary['controller']}: "
        f"{summary['from_s']:.0f} to {summary['to_s']:.0f} s, "
        f"{summary['extensions']} extensions of {summary['extension_s']:.1f} s in all, given back; "
        f"trace {summary['trace_hash'][:16]}"
    )

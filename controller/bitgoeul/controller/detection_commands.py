"""`bitgoeul detections`: the schema of field messages; check, record and play them."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from math import isfinite
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import click

from .catalogs import find_plan
from .errors import FieldFault, ScenarioError
from .field_sources import load_sources
from .inbox import Arrival
from .messages import KINDS, NAME, Drop, explain, messages_json_schema, parse, parse_topic
from .mqtt import Broker, Line, monotonic_ds, utc_ms
from .need import NeedEstimator
from .plan import SitePlan
from .recording import START_DS, PlayedSource, Recorder, Recording, moved, read_recording

EXIT_REFUSED = 2
"""Exit status when at least one message would be dropped."""
WAIT_S = 10.0
"""How long to wait for the broker. [s] [A]"""
PROGRESS_S = 5.0
"""A line of progress so often. [s]"""
QUANTILE = 0.95
"""Quantile of the need shown."""
CUT = "  it ends in the middle of a message; the rest is good"
LONGEST_TOPIC = 80
"""Of a topic so much is shown. [characters]"""
TYPES = {"detections": "detections", "request": "requests", "status": "status"}
"""`type` of a message, and the topic's last level."""

Command = TypeVar("Command", bound=Callable[..., Any])


_sources_option = click.option(
    "--sources",
    "sources_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Who may speak; default: whoever speaks in the recording.",
)


def _broker_options(command: Command) -> Command:
    """Add the options that say where the broker is."""
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    for option in (
        click.option("--key", type=path, help="Our private key (PEM)."),
        click.option("--cert", "certificate", type=path, help="Our certificate (PEM)."),
        click.option("--ca", type=path, help="Authority that signed the broker's certificate; none: no TLS."),
    ):
        command = option(command)
    return command


def _broker(address: str, ca: Path | None, certificate: Path | None, key: Path | None) -> Broker:
    if ca is None and (certificate is not None or key is not None):
        raise ValueError("--cert and --key need --ca: without it the line would not be encrypted")
    if key is not None and certificate is None:
        raise ValueError("--key needs --cert")
    host, colon, port = address.rpartition(":")
    if not colon:
        host, port = address, "1883" if ca is None else "8883"
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:  # noqa: PLR2004 - ports are 16 bits
        raise ValueError(f"--broker {address!r}: give HOST or HOST:PORT")
    return Broker(host=host, port=int(port), ca=ca, certificate=certificate, key=key)


def _user_name(_ctx: click.Context, _parameter: click.Parameter, user: str) -> str:
    """Refuse a user name that could match other users' topics."""
    if re.fullmatch(NAME, user) is None:
        raise click.BadParameter(f"{user!r}: use letters, digits, `_`, `.` or `-`, 32 at most")
    return user


def _new_recording(_ctx: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    """Refuse a file that could not be written, or would be read as something else."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise click.BadParameter(f"{str(path)!r}: give a name that ends in .jsonl or .jsonl.gz")
    if path.exists():
        raise click.BadParameter(f"{str(path)!r} is there already; choose another name")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"{str(path)!r}: {path.parent} is no folder that can be written to")
    return path


def _finite(_ctx: click.Context, _parameter: click.Parameter, minutes: float | None) -> float | None:
    if minutes is not None and not isfinite(minutes):
        raise click.BadParameter(f"{minutes} is no number of minutes")
    return minutes


@click.group()
def detections() -> None:
    """Check, record and play what sensors and people's devices say (docs/messages.md)."""


@detections.command(epilog="Example: bitgoeul detections schema > messages.schema.json")
@click.option("--json", "as_json", is_flag=True, help="Print on one line, for programs.")
def schema(*, as_json: bool) -> None:
    """Print the JSON Schema of the messages."""
    click.echo(json.dumps(messages_json_schema(), ensure_ascii=False, indent=None if as_json else 2))


@detections.command(
    epilog="Examples: bitgoeul detections check message.json   or   "
    "bitgoeul detections check monday.jsonl.gz --site bukmun_5 --sources sources.toml"
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--site", help="Also check crossings, order and times against this site's plan.")
@_sources_option
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def check(
    ctx: click.Context, file: Path, *, site: str | None, sources_file: Path | None, as_json: bool
) -> None:
    """Check one message (.json) or a recording; exit 2 if any message would be dropped."""
    if sources_file is not None and site is None:
        raise ValueError("--sources needs --site: its crossings are the plan's")
    counts: dict[str, Any]
    if file.suffix == ".json":
        if site is not None:
            raise ValueError(
                "--site checks a recording; a message by itself has no topic and no time of arrival"
            )
        counts = _checked_message(file)
    else:
        counts = _checked_recording(file, site, sources_file)
    click.echo(json.dumps(counts) if as_json else _told(str(file), counts))
    if counts["dropped"]:
        ctx.exit(EXIT_REFUSED)


def _checked_message(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    try:
        kind = TYPES.get(str(json.loads(content).get("type")))
    except (ValueError, AttributeError, RecursionError):
        kind = None
    if kind is None:
        return {"taken": {}, "dropped": {Drop.MALFORMED.value: 1}, "first": f"type: use {', '.join(TYPES)}"}
    message = parse(kind, content)
    if isinstance(message, Drop):
        return {"taken": {}, "dropped": {message.value: 1}, "first": explain(kind, content)}
    return {"taken": {kind: 1}, "dropped": {}, "first": ""}


def _checked_recording(file: Path, site: str | None, sources_file: Path | None) -> dict[str, Any]:
    recording = read_recording(file)
    taken: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    inbox = None
    if site is not None:
        plan = _plan_of(recording, site)
        inbox = PlayedSource(
            recording, plan, None if sources_file is None else load_sources(sources_file, plan)
        ).inbox
    first = ""
    for number, arrival in enumerate(recording.arrivals, 1):
        address = parse_topic(arrival.topic)
        kind = "other" if address is None else address[1]
        reason: Any = Drop.UNKNOWN_TOPIC if address is None else parse(kind, arrival.payload)
        if inbox is not None:
            reason = inbox.deliver(arrival)
        if not isinstance(reason, Drop):
            taken[kind] += 1
            continue
        dropped[reason.value] += 1
        cause = explain(kind, arrival.payload) if kind in KINDS else "topic"
        first = first or f"message {number}, {arrival.topic[:LONGEST_TOPIC]!r}: {cause or reason.value}"
    counts = {"taken": dict(taken), "dropped": dict(dropped), "first": first, "is_cut": recording.is_cut}
    return counts if inbox is None else counts | {"missed": inbox.missed}


def _plan_of(recording: Recording, site: str) -> SitePlan:
    plan = find_plan(site)
    if plan.site.id != recording.header.site:
        raise ScenarioError(
            f"the recording is of site {recording.header.site!r}, the plan of {plan.site.id!r}"
        )
    return plan


def _told(name: str, counts: dict[str, Any]) -> str:
    taken = ", ".join(f"{count} {kind}" for kind, count in counts["taken"].items()) or "no message"
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts["dropped"].items())
    lines = [f"{name}: {taken}; dropped: {dropped or 'none'}"]
    if counts["first"]:
        lines.append(f"  first: {counts['first']}")
    if counts.get("missed"):
        lines.append(f"  {counts['missed']} sequence numbers never came")
    if counts.get("is_cut"):
        lines.append(CUT)
    return "\n".join(lines)


@detections.command(
    epilog="Example: bitgoeul detections record --broker localhost:8883 --ca ca.crt --cert recorder.crt "
    "--key recorder.key --site bukmun_5 --minutes 60 --out monday.jsonl.gz"
)
@click.option("--broker", "address", required=True, help="HOST or HOST:PORT.")
@_broker_options
@click.option(
    "--user", default="recorder", show_default=True, callback=_user_name, help="Our user name at the broker."
)
@click.option("--site", required=True, help="Whose messages: a registered name, or the path of a plan.")
@click.option(
    "--minutes", type=click.FloatRange(min=0.001), callback=_finite, help="Stop after this; default: Ctrl-C."
)
@click.option("--without-class", is_flag=True, help="Leave out classes and kinds of assistance.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), callback=_new_recording,
    help="A new file, *.jsonl or *.jsonl.gz.",
)  # fmt: skip
def record(
    *,
    address: str,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    user: str,
    site: str,
    minutes: float | None,
    without_class: bool,
    out: Path,
) -> None:
    """Record all messages of a site as they arrive; Ctrl-C leaves a whole file."""
    plan = find_plan(site)
    arrived: SimpleQueue[Arrival] = SimpleQueue()
    line = Line(
        _broker(address, ca, certificate, key), plan.site.id, user, on_message=arrived.put, kinds=KINDS,
        is_lasting=False,
    )  # fmt: skip
    line.open(wait_s=WAIT_S)
    started_ds = monotonic_ds()
    recorder = Recorder(
        out, plan.site.id, started_ms=utc_ms(), started_ds=started_ds, has_class=not without_class
    )
    try:
        with recorder:
            click.echo(f"recording {plan.site.id} from {line.broker.name}; Ctrl-C ends it", err=True)
            until_ds = None if minutes is None else started_ds + 600 * minutes
            _record(recorder, line, arrived, until_ds)
    finally:
        line.close()
        left_out = f", {recorder.left_out} unreadable left out" if recorder.left_out else ""
        silence = "" if recorder.count else f"; was nobody there, or may {user} not read them at the broker?"
        click.echo(f"{out}: {recorder.count} messages{left_out}{silence}", err=True)


def _record(recorder: Recorder, line: Line, arrived: SimpleQueue[Arrival], until_ds: float | None) -> None:
    """Write what arrives until a time, or until somebody stops it; tell how it goes."""
    started_ds = told_ds = monotonic_ds()
    while until_ds is None or monotonic_ds() < until_ds:
        with suppress(Empty):  # nobody spoke: look at the time again
            recorder.write(arrived.get(timeout=0.2))
        now_ds = monotonic_ds()
        if now_ds - told_ds >= 10 * PROGRESS_S:
            told_ds = now_ds
            down = "" if line.is_up else f"; {line.broker.name} is away: {line.refusal}"
            click.echo(f"{(now_ds - started_ds) / 10:.0f} s: {recorder.count} messages{down}", err=True)


@detections.command(
    epilog="Examples: bitgoeul detections play monday.jsonl.gz   or, to a broker of your own,   "
    "bitgoeul detections play monday.jsonl.gz --broker localhost:1883"
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--site", help="Registered name or path of a plan; default: the recording's.")
@_sources_option
@click.option("--real-time", is_flag=True, help="At the pace it was recorded; default: as fast as possible.")
@click.option(
    "--broker", "address", help="Send it there in real time, as of now; default: into the estimate."
)
@_broker_options
@click.option(
    "--user", default="player", show_default=True, callback=_user_name, help="Our user name at the broker."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def play(
    *,
    file: Path,
    site: str | None,
    sources_file: Path | None,
    real_time: bool,
    address: str | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    user: str,
    as_json: bool,
) -> None:
    """Play a recording into the need estimate, or to a broker.

    The same recording gives the same frames and needs, and so the same hash.
    """
    recording = read_recording(file)
    if address is not None:
        if sources_file is not None or site is not None:
            raise ValueError("--broker plays the recording as it is; leave out --site and --sources")
        broker = _broker(address, ca, certificate, key)
        sent = _send(recording, Line(broker, recording.header.site, user, is_lasting=False))
        if as_json:
            click.echo(json.dumps({"sent": sent}))
        return
    if any(each is not None for each in (ca, certificate, key)):
        raise ValueError("--ca, --cert and --key need --broker")
    plan = _plan_of(recording, site or recording.header.site)
    sources = None if sources_file is None else load_sources(sources_file, plan)
    summary = _played(PlayedSource(recording, plan, sources), plan, is_real_time=real_time)
    summary["is_cut"] = recording.is_cut
    click.echo(json.dumps(summary) if as_json else _told_play(str(file), summary))


def _played(source: PlayedSource, plan: SitePlan, *, is_real_time: bool) -> dict[str, Any]:
    """Play every tenth of a second; return what was seen, and the hash of all frames and needs."""
    needs, digest = NeedEstimator(plan), sha256()
    names = [crossing.id for crossing in plan.crossings]
    healthy, most, longest_s = Counter[str](), Counter[str](), dict.fromkeys(names, 0.0)
    began_ds, told_ds = monotonic_ds(), monotonic_ds()
    for now_ds in range(source.starts_ds, source.ends_ds + 1):
        if is_real_time:
            time.sleep(max(now_ds - source.starts_ds - (monotonic_ds() - began_ds), 0.0) / 10)
        frames = source.frames(now_ds)
        needs.update(frames)
        each_s = [needs.need(index, now_ds, quantile=QUANTILE) for index in range(len(names))]
        digest.update(repr((frames, source.requests(now_ds), each_s)).encode())
        for frame, need_s in zip(frames, each_s, strict=True):
            healthy[frame.crossing] += frame.is_healthy
            most[frame.crossing] = max(most[frame.crossing], len(frame.on_crossing))
            longest_s[frame.crossing] = max(longest_s[frame.crossing], need_s)
        if monotonic_ds() - told_ds >= 10 * PROGRESS_S:
            told_ds = monotonic_ds()
            click.echo(f"{(now_ds - source.starts_ds) / 10:.0f} s played", err=True)
    ticks = source.ends_ds + 1 - source.starts_ds
    return {
        "seconds": (ticks - 1) / 10,
        "taken": dict(source.inbox.taken),
        "dropped": {reason.value: count for reason, count in source.inbox.dropped.items()},
        "missed": source.inbox.missed,
        "crossings": {
            name: {
                "healthy_share": round(healthy[name] / ticks, 4),
                "most_people": most[name],
                "longest_need_s": round(longest_s[name], 2),
            }
            for name in names
        },
        "hash": digest.hexdigest(),
    }


def _told_play(name: str, summary: dict[str, Any]) -> str:
    dropped = ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items()) or "none"
    lines = [
        f"{name}: {summary['seconds']:.1f} s, {sum(summary['taken'].values())} messages; dropped: {dropped}",
        "crossing  healthy  most people  longest need, 95 % [s]",
    ]
    lines += [
        f"{crossing:<8}  {row['healthy_share']:>7.1%}  {row['most_people']:>11}"
        f"  {row['longest_need_s']:>22.1f}"
        for crossing, row in summary["crossings"].items()
    ]
    lines += [CUT] if summary["is_cut"] else []
    return "\n".join([*lines, f"hash {summary['hash'][:16]}"])


def _send(recording: Recording, line: Line) -> int:
    """Publish a recording under its own topics, with all times moved to now; return the number of messages.

    Raises
    ------
    FieldFault : the broker did not take all of them.
    """
    line.open(wait_s=WAIT_S)
    began_ds, told_ds, count = monotonic_ds(), monotonic_ds(), 0
    shift_ms = round(utc_ms() - recording.header.started_ms)
    try:
        for arrival in recording.arrivals:
            address = parse_topic(arrival.topic, recording.header.site)
            if address is None or arrival.is_retained:
                continue
            time.sleep(max(arrival.received_ds - START_DS - (monotonic_ds() - began_ds), 0.0) / 10)
            line.publish(address[1], moved(arrival, shift_ms), user=address[0])
            count += 1
            if monotonic_ds() - told_ds >= 10 * PROGRESS_S:
                told_ds = monotonic_ds()
                click.echo(f"{(told_ds - began_ds) / 10:.0f} s: {count} messages sent", err=True)
        missing = line.undelivered(wait_s=WAIT_S)
        if missing:
            cause = f"took {count - missing} of {count} messages: {line.refusal or 'no answer'}"
            raise FieldFault(line.broker.name, cause)
    finally:
        line.close()
    click.echo(f"{count} messages sent to {line.broker.name}", err=True)
    return count

"""Detection streams as files: the very messages with the times they arrived; recorded, read and played.

JSON lines, gzip when the name ends in `.gz`. The first line says what it is; each other one is a message.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self, TextIO

from pydantic import Field, ValidationError

from .detection import CrossingRequest, Frame, Zone
from .errors import ScenarioError
from .field_sources import FieldSource
from .inbox import Arrival, Inbox
from .messages import Detections, Drop, MessagePart, Request, parse, parse_topic
from .plan import SitePlan

RECORDING_VERSION: Final = 1
START_DS = 100.0
"""Monotonic time at which a played recording begins; the same in every play. [0.1 s]"""
LONGEST_DS = 31 * 864_000.0
"""Longest recording that is read: a month. [0.1 s] [A]"""
FLUSH_DS = 10
"""What was recorded is on disk after this. [0.1 s]"""
CLASS_FIELDS = ("class_confidence", "assistType")
"""What says something of a person's body; left out with `--without-class`."""
TIME_FIELDS = ("measured_ms", "session_ms", "first_seen_ms")
"""Times that move when a recording is played into the present."""


WallMs = Annotated[float, Field(ge=0, le=4_102_444_800_000)]
"""UTC time to 2100. [ms since 1970]"""


class Header(MessagePart):
    """First line of a recording."""

    recording_version: int = Field(ge=1, le=RECORDING_VERSION)
    site: str = Field(max_length=64)
    started_ms: WallMs
    has_class: bool = True


class Line(MessagePart):
    """One message of a recording; bytes that are no text are kept in base 64."""

    at_ds: float = Field(ge=-LONGEST_DS, le=LONGEST_DS)
    received_ms: WallMs
    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    is_retained: bool = False

    def arrival(self) -> Arrival:
        """Return the message as it arrived; its time is counted from the recording's start."""
        text = self.payload
        content = base64.b64decode(self.payload_base64 or "") if text is None else text.encode()
        return Arrival(self.topic, content, self.received_ms, START_DS + self.at_ds, self.is_retained)


class Recorder:
    """Writes arrivals to a file; under a hidden name until it is closed.

    Parameters
    ----------
    path : file to write; gzip when it ends in `.gz`.
    site : whose messages.
    started_ms, started_ds : when it began: UTC and the arrivals' monotonic time. [ms], [0.1 s]
    has_class : False leaves out classes and kinds of assistance, and any message that cannot be read.
    """

    def __init__(
        self, path: Path, site: str, *, started_ms: float, started_ds: float, has_class: bool = True
    ) -> None:
        self.path, self.count, self.left_out = path, 0, 0
        self._partial = path.with_name(f".{path.name}.partial")
        self._started_ds, self._has_class, self._flushed_ds = started_ds, has_class, started_ds
        self._stream = _open_text(self._partial, path.suffix, "w")
        head = Header(recording_version=1, site=site, started_ms=started_ms, has_class=has_class)
        self._stream.write(head.model_dump_json() + "\n")

    def write(self, arrival: Arrival) -> None:
        """Write one message."""
        content = arrival.payload if self._has_class else _without_class(arrival)
        if content is None:
            self.left_out += 1
            return
        line: dict[str, Any] = {
            "at_ds": round(arrival.received_ds - self._started_ds, 3),
            "received_ms": round(arrival.received_ms, 1),
            "topic": arrival.topic,
        }
        try:
            line["payload"] = content.decode()
        except UnicodeDecodeError:
            line["payload_base64"] = base64.b64encode(content).decode()
        if arrival.is_retained:
            line["is_retained"] = True
        self._stream.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.count += 1
        if arrival.received_ds - self._flushed_ds >= FLUSH_DS:
            self._stream.flush()
            self._flushed_ds = arrival.received_ds

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, also after Ctrl-C: what was recorded is whole."""
        self._stream.close()
        self._partial.replace(self.path)


def _open_text(path: Path, suffix: str, mode: str) -> TextIO:
    binary: Any = gzip.GzipFile(path, f"{mode}b") if suffix == ".gz" else path.open(f"{mode}b")
    return io.TextIOWrapper(binary, encoding="utf-8")


def _without_class(arrival: Arrival) -> bytes | None:
    """Return a message without what says something of a person's body; None if it cannot be read."""
    address = parse_topic(arrival.topic)
    if address is None or isinstance(parse(address[1], arrival.payload), Drop):
        return None
    return json.dumps(_changed(json.loads(arrival.payload), 0, keep_class=False)).encode()


def _changed(part: Any, shift_ms: int, *, keep_class: bool = True) -> Any:
    """Return a part of a message with its times moved, and without classes if asked."""
    if isinstance(part, list):
        return [_changed(each, shift_ms, keep_class=keep_class) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value + shift_ms if key in TIME_FIELDS else _changed(value, shift_ms, keep_class=keep_class)
        for key, value in part.items()
        if keep_class or key not in CLASS_FIELDS
    }


def moved(arrival: Arrival, shift_ms: int) -> bytes:
    """Return a message as if all its times were `shift_ms` later; one that cannot be read stays as it is."""
    address = parse_topic(arrival.topic)
    if address is None or isinstance(parse(address[1], arrival.payload), Drop):
        return arrival.payload
    return json.dumps(_changed(json.loads(arrival.payload), shift_ms)).encode()


@dataclass(slots=True)
class Recording:
    """A recording that is read: its header, its messages, and whether it ends in the middle of one.

    Parameters
    ----------
    header : its first line.
    arrivals : its messages, in order of arrival.
    is_cut : the last line is incomplete, as after a power failure.
    """

    header: Header
    arrivals: tuple[Arrival, ...]
    is_cut: bool


def read_recording(path: Path) -> Recording:
    """Return a recording.

    Raises
    ------
    ScenarioError : it is none, or a line before the last is broken.
    OSError : it cannot be read.
    """
    lines, is_cut = _lines(path)
    try:
        header = Header.model_validate_json(lines[0] if lines else "")
    except ValidationError as error:
        cause = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise ScenarioError(
            f"{path}: line 1: is no recording of version {RECORDING_VERSION}: {cause}"
        ) from None
    arrivals = []
    for number, text in enumerate(lines[1:], 2):
        try:
            arrivals.append(Line.model_validate_json(text).arrival())
        except ValueError as error:
            if number == len(lines):
                is_cut = True
                break
            raise ScenarioError(
                f"{path}: line {number}: is no message of a recording: {_cause(error)}"
            ) from None
    return Recording(header, tuple(sorted(arrivals, key=lambda arrival: arrival.received_ds)), is_cut)


def _cause(error: ValueError) -> str:
    """Return the first thing wrong with a line: which field, and why."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else first["msg"]


def _lines(path: Path) -> tuple[list[str], bool]:
    """Return the lines of a file, and whether its compression ends too early."""
    lines: list[str] = []
    is_gzip = path.suffix == ".gz" or path.name.endswith(".gz.partial")
    with _open_text(path, ".gz" if is_gzip else path.suffix, "r") as stream:
        try:
            lines.extend(line for line in stream)
        except EOFError:
            return lines, True
        except (gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as fault:
            raise ScenarioError(f"{path}: cannot be read: {fault}") from None
    return lines, False


def sources_in(arrivals: Iterable[Arrival]) -> tuple[FieldSource, ...]:
    """Return the sources that a recording's own messages speak of, each with all it spoke of."""
    crossings: dict[str, dict[str, None]] = {}
    zones: dict[str, dict[Zone, None]] = {}
    requesters: set[str] = set()
    for arrival in arrivals:
        address = parse_topic(arrival.topic)
        message = None if address is None else parse(address[1], arrival.payload)
        if address is None or not isinstance(message, Detections | Request):
            continue
        named = crossings.setdefault(address[0], {})
        if isinstance(message, Request):
            requesters.add(address[0])
            named[message.crossing] = None
            continue
        for view in message.crossings:
            named[view.crossing] = None
            zones.setdefault(address[0], {}).update(dict.fromkeys(view.zones))
    return tuple(
        FieldSource(
            user=user,
            crossings=tuple(named),
            zones=tuple(zones.get(user, ())),
            may_request=user in requesters,
        )
        for user, named in crossings.items()
    )


class PlayedSource:
    """A recording as a detection source: the same recording gives the same frames, at any speed.

    Parameters
    ----------
    recording : what to play.
    plan : the site.
    sources : who may speak; None: whoever speaks in the recording.
    """

    def __init__(
        self, recording: Recording, plan: SitePlan, sources: Iterable[FieldSource] | None = None
    ) -> None:
        arrivals = recording.arrivals
        self.inbox = Inbox(plan, sources_in(arrivals) if sources is None else sources)
        self.starts_ds = int(START_DS)
        self.ends_ds = int(arrivals[-1].received_ds) + 1 if arrivals else self.starts_ds
        self._left: Iterator[Arrival] = iter(arrivals)
        self._next = next(self._left, None)

    def _deliver(self, now_ds: int) -> None:
        while self._next is not None and self._next.received_ds <= now_ds:
            self.inbox.deliver(self._next)
            self._next = next(self._left, None)

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return the newest frame of each crossing at a time since the recording's start, plus `START_DS`."""
        self._deliver(now_ds)
        return self.inbox.frames(now_ds)

    def requests(self, now_ds: int) -> tuple[CrossingRequest, ...]:
        """Return the open requests."""
        self._deliver(now_ds)
        return self.inbox.requests(now_ds)

"""Messages made for tests and benchmarks: pictures, requests, and broken ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

NOON_MS = 1_900_000_000_000
"""A time of measurement. [ms, UTC]"""
SESSION_MS = NOON_MS - 3_600_000


def person(number: int | str = 1, **changes: Any) -> dict[str, Any]:
    """Return someone 10 m from kerb A, walking to B at 1 m/s."""
    return {
        "object_id": str(number),
        "zone": "crossing",
        "x_m": 10.0,
        "towards": "b",
        "vx_mps": 1.0,
        "x_sd_m": 0.3,
        "vx_sd_mps": 0.1,
        "class_confidence": {"adult": 0.9, "elderly": 0.1},
        "quality": 0.95,
        "first_seen_ms": NOON_MS - 4_000,
    } | changes


def view(crossing: str = "XN", objects: Iterable[dict[str, Any]] = (), **changes: Any) -> dict[str, Any]:
    """Return a healthy view of a whole crossing."""
    return {
        "crossing": crossing,
        "health": "ok",
        "zones": ["kerb_a", "crossing", "kerb_b"],
        "objects": list(objects),
    } | changes


def picture(views: Iterable[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the first picture of camera `cam`, measured at `NOON_MS`."""
    return {
        "message_version": 1,
        "type": "detections",
        "sender": "cam",
        "session_ms": SESSION_MS,
        "sequence": 0,
        "measured_ms": NOON_MS,
        "crossings": [view()] if views is None else list(views),
    } | changes


def request(**changes: Any) -> dict[str, Any]:
    """Return a request of gateway `gate`, made at `NOON_MS`."""
    return {
        "message_version": 1,
        "type": "request",
        "sender": "gate",
        "session_ms": SESSION_MS,
        "sequence": 0,
        "measured_ms": NOON_MS,
        "request_id": "r1",
        "crossing": "XN",
        "zone": "kerb_a",
        "crossRequest": True,
        "crossState": False,
        "assistType": ["movement"],
        "needed_s": 32.5,
        "valid_s": 60.0,
    } | changes


def status(state: str = "offline", **changes: Any) -> dict[str, Any]:
    """Return a status of camera `cam`."""
    return {
        "message_version": 1,
        "type": "status",
        "sender": "cam",
        "session_ms": SESSION_MS,
        "state": state,
    } | changes


def payload(message: dict[str, Any]) -> bytes:
    """Return a message as bytes."""
    return json.dumps(message).encode()


WEIRD: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, -0.0, "", "x" * 5_000, "\u0000", "../..", "#", [], {}, [[]], {"a": {}},
    "NaN", "2030-01-01", ["crossing"] * 500,
)  # fmt: skip
"""Values that stand nowhere in a message where they would be right, with few exceptions."""


def broken(message: dict[str, Any], random: Random) -> bytes:
    """Return a message broken in one of seven ways: it may by chance still be a message."""
    text = payload(message)
    at = random.randrange(len(text))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: random.randbytes(random.randrange(400)),
        lambda: text[:at],
        lambda: text[:at] + random.randbytes(random.randrange(1, 6)) + text[at + random.randrange(4) :],
        lambda: text + b" " * 70_000,
        lambda: b"[" * random.randrange(1, 50_000),
        lambda: text.replace(b"1.0", random.choice((b"NaN", b"Infinity", b"-1e999", b"1e400"))),
        lambda: _with_a_weird_value(text, random),
    )
    return random.choice(ways)()


def _with_a_weird_value(text: bytes, random: Random) -> bytes:
    """Return a message in which one value at any depth is another."""
    part: Any = json.loads(text)
    while isinstance(part, dict | list) and part:
        places = list(part) if isinstance(part, dict) else range(len(part))
        place = random.choice(list(places))
        if not isinstance(part[place], dict | list) or random.random() < 0.3:
            whole = _with(json.loads(text), part, place, random.choice(WEIRD))
            return json.dumps(whole).encode()
        part = part[place]
    return b"{}"


def _with(whole: Any, part: Any, place: Any, value: Any) -> Any:
    """Return a copy of a document in which one place of one part, found by equality, has another value."""
    if whole == part and isinstance(whole, dict | list):
        changed = type(whole)(whole)
        changed[place] = value
        return changed
    if isinstance(whole, dict):
        return {key: _with(each, part, place, value) for key, each in whole.items()}
    if isinstance(whole, list):
        return [_with(each, part, place, value) for each in whole]
    return whole

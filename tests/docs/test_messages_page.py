"""The page on messages: its examples are let in, every field and reason is there, its broker is tried."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bitgoeul.controller import messages
from bitgoeul.controller.catalogs import find_plan
from bitgoeul.controller.field_sources import checked_sources
from bitgoeul.controller.inbox import Arrival, Inbox
from bitgoeul.controller.messages import Drop, parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")


def example(name):
    return re.search(rf"<!-- example:{name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)[1]


def sources():
    return checked_sources(tomllib.loads(example("sources")), find_plan("bukmun_5"), "docs/messages.md")


@pytest.mark.parametrize("kind", ["detections", "requests", "status"])
def test_each_example_is_let_in_from_the_sources_of_the_page(kind):
    content = example(kind).encode()
    message = parse(kind, content)
    assert not isinstance(message, Drop)
    inbox = Inbox(find_plan("bukmun_5"), sources())
    received = Arrival(f"bitgoeul/v1/bukmun_5/{message.sender}/{kind}", content, 1_900_000_000_100, 9_000.0)
    assert inbox.deliver(received) is None
    if kind == "detections":
        health = {frame.crossing: (frame.is_healthy, len(frame.on_crossing)) for frame in inbox.frames(9_000)}
        assert health == {"XS": (False, 0), "XN": (True, 1), "XW": (False, 0), "XE": (False, 0)}


def names_in(rows):
    """What stands in backticks in the first column."""
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def fields_of(name):
    table = PAGE.split(f"<!-- fields:{name} -->")[1].split("\n<!--")[0].split("\n#")[0]
    return names_in(row for row in table.splitlines() if row.startswith("|"))


def test_every_field_is_explained_and_none_that_is_not():
    known = {name: set(getattr(messages, name).model_fields) for name in ("CrossingView", "SeenObject")}
    for name, fields in known.items():
        assert fields_of(name) == fields
    assert fields_of("Detections") == set(messages.Detections.model_fields)
    common = fields_of("Detections") - {"crossings"}
    assert fields_of("Request") | common == set(messages.Request.model_fields)
    common -= {"sequence", "measured_ms"}
    assert fields_of("Status") | common == set(messages.Status.model_fields)


def test_every_reason_to_drop_a_message_is_listed():
    table = PAGE.split("| dropped as |")[1].split("\n\n")[0]
    assert names_in(table.splitlines()[2:]) == {reason.value for reason in Drop}


def test_the_limits_in_the_text_are_those_of_the_code():
    assert f"over {messages.MAX_BYTES:,} bytes" in PAGE
    assert f"0 to {messages.MAX_OBJECTS} |" in PAGE
    assert f"1 to {messages.MAX_CROSSINGS} |" in PAGE


def test_the_access_list_is_the_one_that_the_tests_try():
    tried = (ROOT / "tests" / "field" / "mosquitto.py").read_text(encoding="utf-8")
    for kind in ("detections", "requests", "status"):
        assert f"pattern write bitgoeul/v1/bukmun_5/%u/{kind}\n" in PAGE
        assert f'"{kind}"' in tried
    for line in (
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "persistence true",
    ):
        assert f"\n{line}\n" in PAGE
        assert f'"{line}"' in tried

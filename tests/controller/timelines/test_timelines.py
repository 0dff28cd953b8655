"""Each timeline of this folder against the signal core: every change of lamps, to the tenth of a second."""

from __future__ import annotations

import copy
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.heads import pedestrian_heads
from bitgoeul.controller.plan import checked_plan
from bitgoeul.controller.signals import PATTERN_FLASH, PATTERN_FREE, Calls, Commands, phase_mask, phases_in

HERE = Path(__file__).parent
PATTERNS = {"free": {"pattern": PATTERN_FREE}, "flash": {"pattern": PATTERN_FLASH}, "plan": {}, "none": {}}
NUMBERS = ("preempt", "pattern")
RINGS = ("stop_time", "ped_recycle", "max_2")
SILENCED = {"vehicle_recall": "none", "ped_recall": False}
FIELDS = {"title", "plan", "quiet", "phases", "crossings", "parts", "clock", "from_s", "until_s"}
FIELDS |= {"calls", "orders", "lamps", "walkers", "why"}


def timelines():
    for path in sorted(HERE.glob("*.toml")):
        for number, case in enumerate(tomllib.loads(path.read_text(encoding="utf-8"))["timeline"], 1):
            yield pytest.param(case, id=f"{path.stem}-{number}")


CASES = list(timelines())


# --- reading a timeline -----------------------------------------------------------------------------


def plan_of(case):
    """Return the checked plan of a timeline."""
    paths = (HERE / "plans" / f"{case['plan']}.toml", HERE.parent / "plans" / f"{case['plan']}.toml")
    text = next(path for path in paths if path.exists()).read_text(encoding="utf-8")
    document = copy.deepcopy(tomllib.loads(text))
    document.update(case.get("parts", {}))
    for phase in document["phases"]:
        phase.update(SILENCED if case.get("quiet") else {})
    for part, key in (("phases", "number"), ("crossings", "id")):
        known = {str(each[key]): each for each in document[part]}
        for name, fields in case.get(part, {}).items():
            if name in known:
                known[name].update(fields)
            else:
                document[part].append({key: int(name) if part == "phases" else name, **fields})
    return checked_plan(document, case["plan"])


def lines(text):
    """Return `second: what` lines as (tenths of a second, what)."""
    pairs = [line.split(":", 1) for line in text.strip().splitlines()]
    return [(round(float(second) * 10), what.strip()) for second, what in pairs]


def signals(kind, words, plan):
    """Return `Calls` or `Commands` from `hold 2+6, stop_time ring 1`."""
    fields = {}
    for part in words.split(","):
        name, _, value = part.strip().partition(" ")
        if name in PATTERNS:
            fields.update(PATTERNS[name])
        elif name in NUMBERS:
            fields[name] = int(value)
        elif name == "ped_extend":
            ids = [crossing.id for crossing in plan.crossings]
            fields[name] = sum(1 << ids.index(crossing) for crossing in value.split("+"))
        else:
            numbers = value.removeprefix("ring ") if name in RINGS else value
            fields[name] = phase_mask(int(number) for number in numbers.split("+"))
    return kind(**fields)


def script(kind, text, plan):
    return [(at_ds, signals(kind, words, plan)) for at_ds, words in lines(text)]


def shown(lamps, plan):
    """Return lamps as the timelines write them: `2+6+A walk 2`, `yellow 2`, `red`, `flash`."""
    if lamps.is_flashing:
        return "flash"

    def overlaps(mask):
        return [each.id for index, each in enumerate(plan.overlaps) if mask >> index & 1]

    groups = {
        "": [*phases_in(lamps.green), *overlaps(lamps.overlap_green)],
        "yellow ": [*phases_in(lamps.yellow), *overlaps(lamps.overlap_yellow)],
        "walk ": phases_in(lamps.walk),
        "clear ": phases_in(lamps.ped_clear),
        "extend ": [each.id for index, each in enumerate(plan.crossings) if lamps.ped_extend >> index & 1],
    }
    parts = [word + "+".join(str(name) for name in names) for word, names in groups.items() if names]
    return " ".join(parts) or "red"


def heads_shown(plan, core):
    """Return each crossing's head: `clear 7 sound`."""
    found = {}
    for head in pedestrian_heads(plan, core):
        parts = [head.indication]
        parts += [str(head.countdown_s)] * (head.countdown_s is not None) + ["sound"] * head.is_sounding
        found[head.crossing] = " ".join(parts)
    return found


# --- running one ------------------------------------------------------------------------------------


def new_core(case, plan):
    hours, minutes, seconds = (int(part) for part in case.get("clock", "00:00:00").split(":"))
    return SignalCore(plan, day_offset_ds=(hours * 3600 + minutes * 60 + seconds) * 10)


def at(entries, now_ds):
    return next(value for since_ds, value in reversed(entries) if now_ds >= since_ds)


def scripts(case, plan):
    return script(Calls, case["calls"], plan), script(Commands, case["orders"], plan)


@pytest.mark.parametrize("case", CASES)
def test_the_lamps_follow_the_timeline(case):
    plan = plan_of(case)
    core = new_core(case, plan)
    calls, orders = scripts(case, plan)
    walkers = dict(lines(case.get("walkers", "")))
    found, heads, before = {}, {}, None
    for now_ds in range(round(case["until_s"] * 10)):
        lamps = shown(core.advance(1, at(calls, now_ds), at(orders, now_ds)), plan)
        if lamps != before and now_ds >= case.get("from_s", 0) * 10:
            found[now_ds / 10] = lamps
        before = lamps
        if now_ds in walkers:
            expected = walkers[now_ds].split(", ")
            named = {each.split(" ", 1)[0] for each in expected}
            states = heads_shown(plan, core).items()
            heads[now_ds] = ", ".join(f"{name} {state}" for name, state in states if name in named)
    assert found == {at_ds / 10: lamps for at_ds, lamps in lines(case["lamps"])}, case["title"]
    assert heads == walkers, case["title"]


@pytest.mark.parametrize("case", CASES)
def test_one_step_between_changes_of_calls_and_orders_ends_in_the_same_state(case):
    plan = plan_of(case)
    tenths, strides = new_core(case, plan), new_core(case, plan)
    calls, orders = scripts(case, plan)
    until_ds = round(case["until_s"] * 10)
    for now_ds in range(until_ds):
        tenths.advance(1, at(calls, now_ds), at(orders, now_ds))
    moments = sorted({at_ds for at_ds, _ in calls + orders if at_ds < until_ds} | {until_ds})
    for now_ds, next_ds in pairwise(moments):
        strides.advance(next_ds - now_ds, at(calls, now_ds), at(orders, now_ds))
    assert strides.state == tenths.state, case["title"]


def test_every_timeline_has_a_title_of_its_own_and_says_why():
    cases = [param.values[0] for param in CASES]
    assert len({case["title"] for case in cases}) == len(cases)
    assert [case["title"] for case in cases if not case["why"] or case.keys() - FIELDS] == []

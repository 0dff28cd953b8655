"""Who crosses, how they walk, and with whom: the walkers of one crossing, drawn by seed alone.

A party is one drawn person and those who walk along. They keep together: all of them have the drawn
person's speed, start-up, lateness and gait.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from bitgoeul.controller.plan_parts import Crossing

from .streams import Stream, lognormal, picked, truncated_normal
from .walker_tables import HELPER_CLASS, Parties, WalkerClass, WalkerClasses, walker_classes

GAIT_SEPARATOR = "="


@dataclass(frozen=True, slots=True, kw_only=True)
class Gait:
    """How a person crosses beyond speed and start-up; the defaults are a steady walk alone.

    Parameters
    ----------
    hurry_factor : at flashing green they walk so many times their speed if they would not make it; >= 1.
    slow_to : speed at the far kerb over speed at the near one, within (0, 1]; the mean is their speed.
    rest_at : share of the crossing after which they stand for `rest_s`; 0: they never do.
    rest_s : how long. [s]
    turn_within : at flashing green they turn back within this first share of the crossing if they would
        not make it; 0: never.
    party : name of the party they walk in; empty: alone.
    """

    hurry_factor: float = 1.0
    slow_to: float = 1.0
    rest_at: float = 0.0
    rest_s: float = 0.0
    turn_within: float = 0.0
    party: str = ""

    def as_text(self) -> str:
        """Return what differs from a steady walk alone as `name=value` words; empty if nothing does."""
        return _text_of(self)


STEADY = Gait()
"""A steady walk alone."""
_STEADY: Mapping[str, float | str] = MappingProxyType(asdict(STEADY))


@lru_cache(maxsize=1024)
def _text_of(gait: Gait) -> str:
    stated = [(name, getattr(gait, name)) for name in _STEADY]
    return " ".join(f"{name}{GAIT_SEPARATOR}{value}" for name, value in stated if value != _STEADY[name])


def gait_of(text: str) -> Gait:
    """Return the gait that `Gait.as_text` wrote.

    Raises
    ------
    ValueError : a word that is no `name=value`, an unknown name, or a value that is no number.

    Examples
    --------
    >>> gait_of("slow_to=0.8 party=XS-4")
    Gait(hurry_factor=1.0, slow_to=0.8, rest_at=0.0, rest_s=0.0, turn_within=0.0, party='XS-4')
    """
    if not text:
        return STEADY
    stated: dict[str, float | str] = {}
    for word in text.split():
        name, separator, value = word.partition(GAIT_SEPARATOR)
        if not separator or name not in _STEADY:
            raise ValueError(f"bitgoeul.gait: {word!r} is no NAME=VALUE with NAME of {', '.join(_STEADY)}")
        stated[name] = value if name == "party" else float(value)
    return Gait(**stated)  # type: ignore[arg-type]


class WalkerTrip(NamedTuple):
    """One walker over one crossing. A named tuple: a thousand are made at each reset.

    Parameters
    ----------
    id : `w` and a number in order of departure.
    depart_s : when the walker appears, `WALK_IN_M` before the junction. [s]
    crossing : crossing id of the plan.
    from_kerb : the leg that names the kerb of departure (one of the crossing's `kerbs`).
    mobility_class : one of `MOBILITY_CLASSES`.
    speed_mps : mean walking speed over the crossing, unhindered. [m/s]
    startup_s : delay at walk onset if already waiting. [s]
    late_s : enters until this long after clearance began; 0: never after walk. [s]
    red_s : enters until this long after red began; 0: never on red. [s]
    edges : SUMO edges of the walk.
    gait : how they cross.
    is_companion : walks along with another, at the other's speed.
    """

    id: str
    depart_s: float
    crossing: str
    from_kerb: str
    mobility_class: str
    speed_mps: float
    startup_s: float
    late_s: float
    edges: tuple[str, str]
    red_s: float = 0.0
    gait: Gait = STEADY
    is_companion: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The walkers of one crossing in one run.

    Parameters
    ----------
    crossing : of the plan.
    kerb_a_share : share of the parties that start at the first of the crossing's kerbs.
    ends : SUMO edges of the walk by the kerb of departure.
    persons_per_h : companions included. [persons/h]
    mix : shares of the mobility classes among these persons.
    """

    crossing: Crossing
    kerb_a_share: float
    ends: Mapping[str, tuple[str, str]]
    persons_per_h: float
    mix: Mapping[str, float]


ATTRIBUTES = (
    "kerb", "class", "component", "speed", "startup", "lateness",
    "red", "hurry", "rest", "rest place", "rest time", "turn back", "companions",
)  # fmt: skip
"""What is drawn for each party, each from a stream of its own; new ones come last."""


def walker_flow(flow: Flow, stream: Stream) -> Iterator[WalkerTrip]:
    """Draw the walkers of one crossing, without ids, each party together in order of departure."""
    table = walker_classes()
    classes = {each.id: each for each in table.classes}
    parties = table.parties(flow.mix)
    departures_s = stream.departures_s(flow.persons_per_h * parties.per_person)
    columns = [stream.uniforms(attribute, len(departures_s)) for attribute in ATTRIBUTES]
    leaders = picked(parties.leaders, columns[ATTRIBUTES.index("class")])
    for number, (depart_s, leader, *drawn) in enumerate(zip(departures_s, leaders, *columns, strict=True)):
        draws = dict(zip(ATTRIBUTES, drawn, strict=True))
        walker_class = classes[leader]
        yield from _party(
            flow, table, _Drawn(f"{flow.crossing.id}-{number}", depart_s, draws), walker_class, parties
        )


@dataclass(frozen=True, slots=True)
class _Drawn:
    party: str
    depart_s: float
    draws: Mapping[str, float]


def _party(
    flow: Flow, table: WalkerClasses, drawn: _Drawn, walker_class: WalkerClass, parties: Parties
) -> Iterator[WalkerTrip]:
    draws = drawn.draws
    companions = walker_class.companions
    is_same = companions.of == "same"
    others = companions.count(draws["companions"] / (1.0 if is_same else parties.helped or 1e-12))
    from_kerb = flow.crossing.kerbs[0 if draws["kerb"] < flow.kerb_a_share else 1]
    if from_kerb not in flow.ends:  # the island: both halves are walked, from the kerb
        from_kerb = next(iter(flow.ends))
    parts = walker_class.speed.parts
    startup = walker_class.startup_at(is_acoustic=flow.crossing.acoustic)
    startup_s = min(lognormal(startup.mean_s, startup.p85_s, draws["startup"]), table.startup_max_s)
    startup_s = round(startup_s, 2)
    gait = _gait(table, walker_class, flow.crossing.length_m, draws, drawn.party if others else "")
    speed_mps = round(truncated_normal(parts[int(draws["component"] * len(parts))], draws["speed"]), 3)
    for companion in range(others + 1):
        yield WalkerTrip(
            id="",
            depart_s=drawn.depart_s,
            crossing=flow.crossing.id,
            from_kerb=from_kerb,
            mobility_class=walker_class.id if is_same or not companion else HELPER_CLASS,
            speed_mps=speed_mps,
            startup_s=startup_s,
            late_s=table.late_window_s if draws["lateness"] < walker_class.late.share else 0.0,
            red_s=table.red_window_s if draws["red"] < walker_class.red.share else 0.0,
            edges=flow.ends[from_kerb],
            gait=gait,
            is_companion=companion > 0,
        )


def _gait(
    table: WalkerClasses, walker_class: WalkerClass, length_m: float, draws: Mapping[str, float], party: str
) -> Gait:
    hurry, rest = walker_class.hurry, walker_class.rest
    rest_at = rest_s = 0.0
    if draws["rest"] < 1 - (1 - rest.per_10m) ** (length_m / 10):
        first, last = table.rest_between
        rest_at = round(first + draws["rest place"] * (last - first), 3)
        rest_s = round(min(-rest.mean_s * math.log(draws["rest time"]), table.rest_max_s), 1)
    return Gait(
        hurry_factor=hurry.factor if draws["hurry"] < hurry.share else 1.0,
        slow_to=walker_class.slowing.to,
        rest_at=rest_at,
        rest_s=rest_s,
        turn_within=table.turn_within if draws["turn back"] < walker_class.turn_back.share else 0.0,
        party=party,
    )

"""Phases, rings and legal times for a junction read from a network, each choice with its reason.

Opposing legs share a barrier. Where both have lanes of their own for the left turn it is the dual ring of
an ordinary four-leg plan; where lefts' ways meet they come one after another; where a lane serves left and
through alike each leg has a phase of its own. A crossing walks beside a through phase that it does not
conflict with, or in an exclusive pedestrian phase. Times follow FACTS: walk and clearance by length, yellow
and red clearance by approach speed and way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from typing import Any, Literal

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.geometry import THROUGH_ANGLE_MAX_DEG, turn_angle_deg

from .network_reading import JunctionCrossing, JunctionLeg, JunctionMovement, SignalisedJunction

Kind = Literal["through", "left", "whole", "walk"]

ENTRY_S, CLEARANCE_MPS = 7.0, 1.3
"""Entry time [s] [S] and clearance speed [m/s] [M] of the timing (FACTS, Korean pedestrian signals)."""
MIN_WALK_S, MIN_WALK_WIDE_S, WIDE_LANES = 4.0, 7.0, 3
"""Least walk [s], and from so many lanes on the longer one."""
DECELERATION_MPS2, VEHICLE_M, REACTION_S = 5.0, 6.0, 1.0
"""a, l and the first term of yellow + red = 1 + v/2a + (w + l)/v (FACTS, a reference plan) [A]."""
YELLOW_RANGE_S, USUAL_RED_S, LEAST_RED_S = (3.0, 5.0), 2.0, 1.0
"""Yellow [S], the all-red that yellow is chosen for, and the least all-red (1-2 s). [s]"""
GREEN_S: dict[Kind, float] = {"through": 30.0, "left": 12.0, "whole": 24.0, "walk": 0.0}
"""Green that a phase of each kind gets where nothing asks for more. [s] [A]"""
ARTERIAL_LANES, ARTERIAL_MIN_GREEN_S, MIN_GREEN_S, WALK_MIN_GREEN_S = 3, 15.0, 7.0, 5.0
"""From so many lanes in, a leg's least green is the arterial's; else, and in a walk phase. [s] [M]"""
PASSAGE_S = 3.0
"""Gap that ends a green. [s] [A]"""
SERIES = ((2, 1, 6, 5), (4, 3, 8, 7), (10, 9, 14, 13), (12, 11, 16, 15))
"""Phase numbers of a pair of opposing legs: first through, second's left, second through, first's left."""
LAST_PHASE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A phase before it has times."""

    number: int
    name: str
    kind: Kind
    movements: tuple[JunctionMovement, ...] = ()
    crossings: tuple[JunctionCrossing, ...] = ()


Group = tuple[tuple[Draft, ...], tuple[Draft, ...]]
"""One barrier: the phases of ring 1 and of ring 2, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meetings:
    """Who may never have the right of way together.

    Parameters
    ----------
    movements : tells it of two movements by their ids.
    walk : tells it of a movement and a crossing by their ids.
    """

    movements: Callable[[str, str], bool]
    walk: Callable[[str, str], bool]


@dataclass(slots=True)
class Phasing:
    """Barriers in order, and why they are so."""

    groups: list[Group] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def drafts(self) -> Iterator[Draft]:
        """Yield every phase, ring 1 before ring 2 in each barrier."""
        return chain.from_iterable(chain(*group) for group in self.groups)

    def beside(self, number: int) -> tuple[Draft, ...]:
        """Return the phases that may run beside one, itself included."""
        for group in self.groups:
            for ring in (0, 1):
                own = [each for each in group[ring] if each.number == number]
                if own:
                    return (*own, *group[1 - ring])
        return ()


def phasing(junction: SignalisedJunction, meetings: Meetings, *, is_scramble: bool) -> Phasing:
    """Return the phases of a junction and the reasons for them.

    Parameters
    ----------
    junction : as read.
    meetings : who may not go together.
    is_scramble : all crossings in one exclusive phase, instead of each where it fits.

    Raises
    ------
    ScenarioError : more legs than a plan has phases for.
    """
    found = Phasing()
    pairs, singles = _pairs_of(junction)
    for pair, numbers in zip(pairs, SERIES, strict=False):
        found.groups.append(_pair_group(junction, pair, numbers, meetings, found.reasons))
    singles += [leg for pair in pairs[len(SERIES) :] for leg in pair]
    used = {each.number for each in found.drafts()}
    left = [n for n in (4, 8, 3, 7, *range(9, LAST_PHASE + 1), 1, 2, 5, 6) if n not in used]
    if len(singles) + 1 > len(left):
        raise ScenarioError(
            f"traffic light {junction.traffic_light} has {len(junction.legs)} legs: more than a plan has"
            f" phases for ({LAST_PHASE})"
        )
    for leg in singles:
        movements = tuple(m for m in junction.movements if m.from_leg == leg.id)
        draft = Draft(number=left.pop(0), name=f"leg {leg.id}", kind="whole", movements=movements)
        found.groups.append(((draft,), ()))
        found.reasons.append(f"phase {draft.number} serves leg {leg.id} alone: no leg lies opposite it")
    _place_crossings(junction, found, meetings, left, is_scramble=is_scramble)
    return found


def _pairs_of(
    junction: SignalisedJunction,
) -> tuple[list[tuple[JunctionLeg, JunctionLeg]], list[JunctionLeg]]:
    """Return the pairs of opposing legs, the widest first, and the legs that have none opposite."""
    served = {movement.from_leg for movement in junction.movements}
    legs = [leg for leg in junction.legs if leg.id in served]
    angles = sorted(
        (abs(turn_angle_deg(a.bearing_deg, b.bearing_deg)), i, j)
        for (i, a), (j, b) in combinations(enumerate(legs), 2)
    )
    pairs: list[tuple[JunctionLeg, JunctionLeg]] = []
    taken: set[int] = set()
    for angle_deg, i, j in angles:
        if angle_deg <= THROUGH_ANGLE_MAX_DEG and not {i, j} & taken:
            taken |= {i, j}
            pairs.append((legs[i], legs[j]))
    pairs.sort(key=lambda pair: -max(len(leg.lanes_in) * leg.speed_mps for leg in pair))
    return pairs, [leg for i, leg in enumerate(legs) if i not in taken]


def _pair_group(
    junction: SignalisedJunction,
    pair: tuple[JunctionLeg, JunctionLeg],
    numbers: Sequence[int],
    meetings: Meetings,
    reasons: list[str],
) -> Group:
    """Return the barrier of two opposing legs."""
    first, second = pair
    named = f"legs {first.id} and {second.id}"
    parts = {leg.id: _parts(junction, leg) for leg in pair}
    shared = [leg.id for leg in pair if _shares_left_lane(*parts[leg.id])]
    (through_1, left_1), (through_2, left_2) = parts[first.id], parts[second.id]
    drafts = (
        Draft(number=numbers[0], name=f"from {first.id}", kind="through", movements=through_1),
        Draft(number=numbers[1], name=f"left from {second.id}", kind="left", movements=left_2),
        Draft(number=numbers[2], name=f"from {second.id}", kind="through", movements=through_2),
        Draft(number=numbers[3], name=f"left from {first.id}", kind="left", movements=left_1),
    )
    if not shared:
        dual: Group = (_kept(drafts[0], drafts[1]), _kept(drafts[2], drafts[3]))
        if _fits(dual, meetings):
            reasons.append(f"{named}: dual ring, lefts in lanes of their own")
            return dual
        both = replace(drafts[0], name=f"from {first.id} and {second.id}", movements=through_1 + through_2)
        series: Group = (_kept(both, drafts[1], drafts[3]), ())
        if _fits(series, meetings):
            why = _clash(dual, meetings)
            reasons.append(f"{named}: one ring, through together, lefts one after another, because {why}")
            return series
        why = _clash(series, meetings)
    else:
        why = " and ".join(f"leg {leg} has a lane for left and through alike" for leg in shared)
    reasons.append(f"{named}: split phasing, one phase per leg, because {why}")
    whole = [
        Draft(number=number, name=f"leg {leg.id}", kind="whole", movements=sum(parts[leg.id], ()))
        for leg, number in zip(pair, (numbers[0], numbers[2]), strict=True)
    ]
    return (_kept(*whole), ())


def _parts(
    junction: SignalisedJunction, leg: JunctionLeg
) -> tuple[tuple[JunctionMovement, ...], tuple[JunctionMovement, ...]]:
    """Return a leg's through and right movements, and its lefts and U-turns."""
    own = [movement for movement in junction.movements if movement.from_leg == leg.id]
    is_left = ("left", "u_turn")
    return tuple(m for m in own if m.turn not in is_left), tuple(m for m in own if m.turn in is_left)


def _shares_left_lane(through: Sequence[JunctionMovement], left: Sequence[JunctionMovement]) -> bool:
    return bool({lane for m in through for lane in m.lanes} & {lane for m in left for lane in m.lanes})


def _kept(*drafts: Draft) -> tuple[Draft, ...]:
    return tuple(draft for draft in drafts if draft.movements or draft.crossings)


def _clashes(group: Group, meetings: Meetings) -> Iterator[tuple[str, str]]:
    """Yield the pairs of movements that would be green together and must not."""
    for draft in chain(*group):
        yield from _bad_pairs(combinations(draft.movements, 2), meetings)
    for one in group[0]:
        for other in group[1]:
            pairs = ((a, b) for a in one.movements for b in other.movements)
            yield from _bad_pairs(pairs, meetings)


def _bad_pairs(
    pairs: Iterator[tuple[JunctionMovement, JunctionMovement]], meetings: Meetings
) -> Iterator[tuple[str, str]]:
    return ((a.id, b.id) for a, b in pairs if meetings.movements(a.id, b.id))


def _fits(group: Group, meetings: Meetings) -> bool:
    return next(_clashes(group, meetings), None) is None


def _clash(group: Group, meetings: Meetings) -> str:
    first, second = next(_clashes(group, meetings))
    return f"the ways of {first} and {second} meet"


def _place_crossings(
    junction: SignalisedJunction,
    found: Phasing,
    meetings: Meetings,
    left: list[int],
    *,
    is_scramble: bool,
) -> None:
    """Give each crossing the through phase it may walk in, or all that have none an exclusive phase."""
    exclusive: list[JunctionCrossing] = []
    for crossing in junction.crossings:
        place = None if is_scramble else _place_of(crossing, found, meetings)
        if place is None:
            exclusive.append(crossing)
        else:
            found.groups = [
                tuple(tuple(_with(crossing, d) if d.number == place else d for d in ring) for ring in group)  # type: ignore[misc]
                for group in found.groups
            ]
    if exclusive:
        number = left.pop(0)
        draft = Draft(number=number, name="exclusive walk", kind="walk", crossings=tuple(exclusive))
        found.groups.append(((draft,), ()))
        named = " ".join(crossing.id for crossing in exclusive)
        why = "to serve each call in time" if is_scramble else "somebody drives over it in every other phase"
        found.reasons.append(f"phase {number} is an exclusive pedestrian phase for {named}: {why}")


def _with(crossing: JunctionCrossing, draft: Draft) -> Draft:
    return replace(draft, crossings=(*draft.crossings, crossing))


def _place_of(crossing: JunctionCrossing, found: Phasing, meetings: Meetings) -> int | None:
    """Return the phase a crossing walks in: a through phase before a leg's whole one before a left."""
    rank: dict[Kind, int] = {"through": 0, "whole": 1, "left": 2, "walk": 3}
    fitting = [
        draft
        for draft in found.drafts()
        if draft.kind != "walk"
        and not any(
            meetings.walk(movement.id, crossing.id)
            for each in found.beside(draft.number)
            for movement in each.movements
        )
    ]
    return min(fitting, key=lambda draft: rank[draft.kind]).number if fitting else None


# --- times ----------------------------------------------------------------------------------------


def clearing_s(speed_mps: float, way_m: float) -> tuple[float, float]:
    """Return yellow and red clearance of a movement. [s]

    Parameters
    ----------
    speed_mps : approach speed v, > 0. [m/s]
    way_m : way w from the stop line to the end of the junction, >= 0. [m]

    Notes
    -----
    yellow + red = 1 + v / 2a + (w + l) / v, rounded up to 0.1 s; yellow 3 to 5 s such that red is about
    2 s, and red never under 1 s.

    Examples
    --------
    >>> clearing_s(13.89, 32.0)
    (3.2, 2.0)
    >>> clearing_s(11.11, 49.0)
    (5.0, 2.1)
    """
    needed_s = REACTION_S + speed_mps / (2 * DECELERATION_MPS2) + (way_m + VEHICLE_M) / speed_mps
    needed_s = math.ceil(needed_s * 10 - 1e-6) / 10
    yellow_s = round(min(max(needed_s - USUAL_RED_S, YELLOW_RANGE_S[0]), YELLOW_RANGE_S[1]), 1)
    return yellow_s, round(max(needed_s - yellow_s, LEAST_RED_S), 1)


def walking_s(crossings: Sequence[JunctionCrossing], design_speed_mps: float) -> tuple[float, float]:
    """Return walk and pedestrian clearance of a phase, whole seconds; 0 and 0 without a crossing. [s]"""
    if not crossings:
        return 0.0, 0.0
    longest_m = max(crossing.length_m for crossing in crossings)
    clearance_s = math.ceil(longest_m / CLEARANCE_MPS - 1e-6)
    is_wide = any(crossing.lanes >= WIDE_LANES for crossing in crossings)
    least_s = MIN_WALK_WIDE_S if is_wide else MIN_WALK_S
    walk_s = max(least_s, math.ceil(ENTRY_S + longest_m / design_speed_mps - clearance_s - 1e-6))
    return float(walk_s), float(clearance_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What the times are derived with: design speed [m/s], extra green or none, maximum over green."""

    design_speed_mps: float
    has_spare_green: bool
    max_share: float


def phase_tables(junction: SignalisedJunction, found: Phasing, times: Times) -> list[dict[str, Any]]:
    """Return the plan's `phases`, ascending; `max_green_s` still without the splits' spare."""
    speeds = {leg.id: leg.speed_mps for leg in junction.legs}
    lanes = {leg.id: len(leg.lanes_in) for leg in junction.legs}
    tables = []
    for draft in sorted(found.drafts(), key=lambda each: each.number):
        clears = [clearing_s(speeds[m.from_leg], m.way_m) for m in draft.movements]
        min_green_s = _min_green_s(draft, lanes)
        walk_s, clearance_s = walking_s(draft.crossings, times.design_speed_mps)
        tables.append(
            {
                "number": draft.number,
                "name": draft.name,
                "movements": [movement.id for movement in draft.movements],
                "crossings": [crossing.id for crossing in draft.crossings],
                "min_green_s": min_green_s,
                "max_green_s": max(min_green_s, walk_s + clearance_s),
                "passage_s": PASSAGE_S,
                "yellow_s": max((yellow_s for yellow_s, _ in clears), default=YELLOW_RANGE_S[0]),
                "red_clear_s": max((red_s for _, red_s in clears), default=USUAL_RED_S),
                "walk_s": walk_s,
                "ped_clear_s": clearance_s,
                "ped_recall": bool(draft.crossings),
                "dual_entry": draft.kind == "through" and any(group[1] for group in found.groups),
            }
        )
    return tables


def _min_green_s(draft: Draft, lanes: Mapping[str, int]) -> float:
    """Return a phase's least green by the lanes of its legs. [s]"""
    if draft.kind == "walk":
        return WALK_MIN_GREEN_S
    is_wide = any(lanes[movement.from_leg] >= ARTERIAL_LANES for movement in draft.movements)
    return ARTERIAL_MIN_GREEN_S if is_wide and draft.kind != "left" else MIN_GREEN_S


def timed(tables: list[dict[str, Any]], found: Phasing, times: Times) -> dict[str, Any]:
    """Return the plan's pattern, and raise the phases' `max_green_s` to fit it.

    Notes
    -----
    A split is the longer of least service and the green of its kind, with yellow and red; in each barrier
    the ring that would end first gives its spare time to its first phase.
    """
    by_number = {table["number"]: table for table in tables}
    splits: dict[int, float] = {}
    for draft in found.drafts():
        table = by_number[draft.number]
        least_s = max(table["min_green_s"], table["walk_s"] + table["ped_clear_s"])
        green_s = max(least_s, GREEN_S[draft.kind]) if times.has_spare_green else least_s
        splits[draft.number] = float(math.ceil(green_s + table["yellow_s"] + table["red_clear_s"] - 1e-6))
    cycle_s = 0.0
    for group in found.groups:
        sums_s = [sum(splits[draft.number] for draft in ring) for ring in group]
        for ring, sum_s in zip(group, sums_s, strict=True):
            if ring:
                splits[ring[0].number] += max(sums_s) - sum_s
        cycle_s += max(sums_s)
    for number, split_s in splits.items():
        table = by_number[number]
        green_s = split_s - table["yellow_s"] - table["red_clear_s"]
        table["max_green_s"] = max(table["max_green_s"], float(math.floor(green_s * times.max_share)))
    return {
        "number": 1,
        "name": "all day",
        "hours": [[0, 24]],
        "cycle_s": cycle_s,
        "offset_s": 0.0,
        "splits": {str(number): splits[number] for number in sorted(splits)},
    }


def ring_tables(found: Phasing) -> list[list[list[int]]]:
    """Return the plan's `rings`; the second only where a phase is in it."""
    rings = [[[draft.number for draft in group[ring]] for group in found.groups] for ring in (0, 1)]
    return rings if any(rings[1]) else rings[:1]

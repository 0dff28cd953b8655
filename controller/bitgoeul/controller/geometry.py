"""Which streams meet at a junction, from the legs' bearings and nothing else.

Every leg has an in-point and an out-point on a circle around the junction. Looking from the centre
along the leg in right-hand traffic, vehicles leave on the right and arrive on the left, so with
compass bearings (clockwise) the in-point lies just before the leg's bearing and the out-point just
after it. A movement is the chord from its in-point to its out-point; two movements cross when their
chords do. This holds for any number of legs. Where a network is at hand, its lanes are asked the same
question, and a plan that disagrees with them is refused (`sim_scenarios.matrix`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .plan import Leg, Movement

Relation = Literal["conflict", "yield", "free"]
"""`conflict`: never together; `yield`: together, one gives way; `free`: they do not meet."""

THROUGH_ANGLE_MAX_DEG = 60.0
"""A through movement turns by no more than this. [deg] [A]"""


def circle_points(legs: Sequence[Leg]) -> dict[tuple[str, str], int]:
    """Return the order of all in- and out-points around the junction, clockwise from north.

    Parameters
    ----------
    legs : legs with different bearings; right-hand traffic.

    Returns
    -------
    `(leg id, "in" | "out")` -> position, 0 to 2 * legs - 1.
    """
    points: dict[tuple[str, str], int] = {}
    for index, leg in enumerate(sorted(legs, key=lambda leg: leg.bearing_deg)):
        points[leg.id, "in"] = 2 * index
        points[leg.id, "out"] = 2 * index + 1
    return points


def movements_relation(first: Movement, second: Movement, points: Mapping[tuple[str, str], int]) -> Relation:
    """Return how two movements meet.

    Parameters
    ----------
    first, second : movements whose legs are all in `points`.
    points : order of the legs' ends (`circle_points`).

    Returns
    -------
    `free` from the same leg or on separate ways; `conflict` where the ways cross or merge;
    `yield` where they merge and exactly one of them is a right turn.
    """
    if first.from_leg == second.from_leg:
        return "free"
    if first.to_leg == second.to_leg:
        return "yield" if (first.turn == "right") != (second.turn == "right") else "conflict"
    low, high = sorted((points[first.from_leg, "in"], points[first.to_leg, "out"]))
    starts_between = low < points[second.from_leg, "in"] < high
    ends_between = low < points[second.to_leg, "out"] < high
    return "conflict" if starts_between != ends_between else "free"


def crossing_relation(movement: Movement, leg: str, *, is_listed: bool) -> Relation:
    """Return how a movement meets the walkers on a crossing over `leg`.

    Parameters
    ----------
    movement : the stream of vehicles.
    leg : leg that the crossing goes over.
    is_listed : whether the plan's `yields` names the pair.

    Returns
    -------
    `conflict` on the leg the movement comes from. On the leg it goes to: `yield` for a right turn and
    for a listed left (both are permitted turns across a walk), `conflict` else. Other legs: `free`.

    Notes
    -----
    A right turn on red, which stops first, is not a relation of the plan: it has no green.
    """
    if leg == movement.from_leg:
        return "conflict"
    if leg != movement.to_leg:
        return "free"
    is_permitted = movement.turn == "right" or (movement.turn == "left" and is_listed)
    return "yield" if is_permitted else "conflict"


def turn_angle_deg(from_bearing_deg: float, to_bearing_deg: float) -> float:
    """Return by how much a vehicle turns; right is positive.

    Parameters
    ----------
    from_bearing_deg, to_bearing_deg : bearings of the two legs from the centre outwards. [deg]

    Returns
    -------
    Angle in (-180, 180]; 0 is straight on. [deg]

    Examples
    --------
    >>> turn_angle_deg(270.0, 180.0)  # from the west leg to the south leg
    90.0
    """
    return 180.0 - (from_bearing_deg - to_bearing_deg) % 360.0


def fits_turn(turn: str, angle_deg: float) -> bool:
    """Return whether a turn's name fits the angle between its (different) legs.

    Parameters
    ----------
    turn : `left`, `through`, `right`; a `u_turn` never fits two different legs.
    angle_deg : `turn_angle_deg` of the movement. [deg]
    """
    if turn == "through":
        return abs(angle_deg) <= THROUGH_ANGLE_MAX_DEG
    return (turn == "right" and angle_deg > 0.0) or (turn == "left" and angle_deg < 0.0)


def neighbours(leg: str, legs: Sequence[Leg]) -> tuple[str, str]:
    """Return the legs next to `leg`, anticlockwise first (the same one twice on a two-leg junction)."""
    ring = [each.id for each in sorted(legs, key=lambda each: each.bearing_deg)]
    at = ring.index(leg)
    return ring[at - 1], ring[(at + 1) % len(ring)]

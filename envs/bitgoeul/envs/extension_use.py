"""What the extensions of a run were worth, by the true time that everyone left the crossing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitgoeul.controller.audit import Extension

Span = tuple[float, float]
"""From, to. [0.1 s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One walker's time on a crossing.

    Parameters
    ----------
    crossing : crossing id.
    entered_ds, left_ds : first seen on it and off it. [0.1 s]
    conflict_ds : when a conflicting green first started meanwhile; None if none did. [0.1 s]
    """

    crossing: str
    entered_ds: int
    left_ds: float
    conflict_ds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtensionUse:
    """The seconds of extension of a run by what they were worth.

    Parameters
    ----------
    used_s : somebody on an extended crossing would not have been clear without them. [s]
    wasted_s : the rest: nobody was there, or all would have been clear. [s]
    refused_s : needed past the extensions given: from the conflicting green after an extension until
        the last one who was there when it ended had left. [s]
    """

    used_s: float
    wasted_s: float
    refused_s: float


NO_EXTENSIONS = ExtensionUse(used_s=0.0, wasted_s=0.0, refused_s=0.0)


def extension_use(extensions: Sequence[tuple[Extension, int]], stays: Iterable[Stay]) -> ExtensionUse:
    """Return what extensions were worth.

    Parameters
    ----------
    extensions : each with the yellow and red clearance that follow it, 0 where they went before
        (form R). [0.1 s]
    stays : everyone's time on a crossing.

    Notes
    -----
    An extension from s to e, followed by a clearance c, is needed until n = x - c, where x is the time
    at which the last of those who entered before e left. The time from s to n (e at the latest) is used,
    the rest wasted. Where several crossings are held at once, a moment is used if any of them uses it:
    used and wasted seconds add up to the time in which at least one extension bound.
    """
    by_crossing: dict[str, list[Stay]] = {}
    for stay in stays:
        by_crossing.setdefault(stay.crossing, []).append(stay)
    used: list[Span] = []
    refused: dict[tuple[str, int], float] = {}
    for extension, clears_ds in extensions:
        from_ds, to_ds = extension.started_ds, extension.ended_ds
        there = [
            stay
            for stay in by_crossing.get(extension.crossing, ())
            if stay.entered_ds < to_ds and stay.left_ds > from_ds
        ]
        needed_until_ds = max((stay.left_ds - clears_ds for stay in there), default=from_ds)
        if needed_until_ds > from_ds:
            used.append((from_ds, min(to_ds, needed_until_ds)))
        for stay in there:
            if stay.conflict_ds is not None and stay.conflict_ds >= to_ds:
                key = (extension.crossing, stay.conflict_ds)
                refused[key] = max(refused.get(key, 0.0), stay.left_ds - stay.conflict_ds)
    total_ds = _covered_ds((each.started_ds, each.ended_ds) for each, _ in extensions)
    used_ds = _covered_ds(used)
    return ExtensionUse(
        used_s=used_ds / 10, wasted_s=(total_ds - used_ds) / 10, refused_s=sum(refused.values()) / 10
    )


def extended_s(spans: Sequence[Span], from_ds: float, to_ds: float) -> float:
    """Return how much of a stretch of time lies in some spans that do not overlap. [s]"""
    return sum(max(0.0, min(to_ds, end) - max(from_ds, begin)) for begin, end in spans) / 10


def _covered_ds(spans: Iterable[Span]) -> float:
    """Return the time that lies in at least one span. [0.1 s]"""
    covered_ds, until_ds = 0.0, 0.0
    for begin_ds, end_ds in sorted(spans):
        covered_ds += max(0.0, end_ds - max(begin_ds, until_ds))
        until_ds = max(until_ds, end_ds)
    return covered_ds

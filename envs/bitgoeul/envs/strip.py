"""One cycle of a run for the report's time-space strip: lamps, walkers on a crossing, extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitgoeul.controller.audit import Extension
from bitgoeul.controller.signals import Lamps, phase_bit, phase_mask, phases_in

if TYPE_CHECKING:
    from .world import JunctionDriver

BEFORE_DS = 700
"""Kept before an extension starts. [0.1 s]"""
AFTER_DS = 300
"""Kept after it ends. [0.1 s]"""


class StripRecorder:
    """Notes lamps and walkers' positions on the longest crossing.

    Parameters
    ----------
    driver : the running junction; the recorder listens to its lamps and walkers.
    from_ds : start of the record. [0.1 s]
    """

    def __init__(self, driver: JunctionDriver, from_ds: int) -> None:
        plan = driver.plan
        self._plan, self._walkers_of = plan, driver.walkers
        driver.walkers.watchers.append(self._note_walkers)
        driver.lamp_listeners.append(self._note_lamps)
        self._from_ds = from_ds
        self._index = max(range(len(plan.crossings)), key=lambda i: plan.crossings[i].length_m)
        self._crossing = plan.crossings[self._index]
        self._lamps: list[tuple[int, Lamps]] = []
        self._points: dict[str, list[tuple[int, float]]] = {}
        self._walkers: dict[str, tuple[str, str]] = {}

    def _note_lamps(self, now_ds: int, _before: Lamps, after: Lamps) -> None:
        self._lamps.append((now_ds, after))

    def _note_walkers(self, now_ds: int) -> None:
        if now_ds < self._from_ds:
            return
        for walker, remaining_m in self._walkers_of.remaining_m(self._index):
            along_m = remaining_m if walker.kerb == "B" else self._crossing.length_m - remaining_m
            self._points.setdefault(walker.id, []).append((now_ds, along_m))
            self._walkers[walker.id] = (walker.mobility_class, walker.entry_lamp)

    def cycle(self, extensions: list[Extension]) -> dict[str, Any] | None:
        """Return the stretch around the longest extension of the crossing (around its first walk if none).

        Returns
        -------
        `crossing`, `length_m`, `begin_s`, `end_s`; `phases`: label and spans `[from, to, lamp]`;
        `walkers`: class, entry lamp and points `[s, metres from kerb A]`; `extensions`: `[from, to, reason]`.
        None when nothing was recorded.
        """
        if not self._lamps:
            return None
        own = [e for e in extensions if e.crossing == self._crossing.id]
        longest = max(own, key=lambda e: e.seconds, default=None)
        bit = phase_mask(self._plan.walk_phases(self._crossing.id))
        walks = [ds for ds, lamps in self._lamps if lamps.walk & bit and ds >= self._from_ds]
        middle_ds = walks[0] + BEFORE_DS if walks else self._from_ds + BEFORE_DS
        begin_ds = (longest.started_ds if longest else middle_ds) - BEFORE_DS
        end_ds = (longest.ended_ds if longest else middle_ds) + AFTER_DS
        return {
            "crossing": self._crossing.id,
            "length_m": self._crossing.length_m,
            "begin_s": begin_ds / 10,
            "end_s": end_ds / 10,
            "phases": self._rows(bit, begin_ds, end_ds),
            "walkers": [
                {
                    "mobility_class": self._walkers[walker][0],
                    "entry": self._walkers[walker][1],
                    "points": [[ds / 10, metres] for ds, metres in points if begin_ds <= ds <= end_ds],
                }
                for walker, points in self._points.items()
                if points[-1][0] >= begin_ds and points[0][0] <= end_ds
            ],
            "extensions": [
                [max(e.started_ds, begin_ds) / 10, min(e.ended_ds, end_ds) / 10, e.reason]
                for e in own
                if e.ended_ds >= begin_ds and e.started_ds <= end_ds
            ],
        }

    def _rows(self, bit: int, begin_ds: int, end_ds: int) -> list[dict[str, Any]]:
        """Return lamp spans of the crossing, its parent phase, and each conflicting phase."""
        parent = phases_in(bit)[0]
        rows = [
            {
                "label": f"crossing {self._crossing.id}",
                "spans": self._spans(bit, begin_ds, end_ds, is_crossing=True),
            }
        ]
        for number in (parent, *self._plan.conflicting_phases(self._crossing.id)):
            name = self._plan.phase(number).name
            spans = self._spans(phase_bit(number), begin_ds, end_ds)
            if any(lamp != "red" for _, _, lamp in spans):
                rows.append({"label": f"phase {number} {name}", "spans": spans})
        return rows

    def _spans(self, bit: int, begin_ds: int, end_ds: int, *, is_crossing: bool = False) -> list[list[Any]]:
        spans: list[list[Any]] = []
        for place, (from_ds, lamps) in enumerate(self._lamps):
            to_ds = self._lamps[place + 1][0] if place + 1 < len(self._lamps) else end_ds
            low, high = max(from_ds, begin_ds) / 10, min(to_ds, end_ds) / 10
            if high <= low:
                continue
            if is_crossing:
                lamp = "walk" if lamps.walk & bit else "clearance" if lamps.ped_clear & bit else "dont_walk"
            else:
                lamp = "green" if lamps.green & bit else "yellow" if lamps.yellow & bit else "red"
            if spans and spans[-1][2] == lamp:
                spans[-1][1] = high
            else:
                spans.append([low, high, lamp])
        return spans

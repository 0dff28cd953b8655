"""Fixed timing with an occupancy extension: the +5 s products, Chungju's +10 s, and Puffin."""

from __future__ import annotations

from dataclasses import dataclass

from ..clocks import NOT_YET_DS, CrossingService
from ..detection import Frame
from ..plan import SitePlan
from ..signals import Commands
from ..situation import Proposal, Situation
from ..timing import to_ds


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupancyRule:
    """How a product extends.

    Parameters
    ----------
    name : policy name and reason in the log.
    maximum_s : longest extension; None uses each crossing's own maximum. [s]
    clear_after_s : the extension ends this long after the crossing emptied. [s]
    is_once : whoever arrives after clearance ended does not start an extension.
    """

    name: str
    maximum_s: float | None
    clear_after_s: float
    is_once: bool


GWANGJU5 = OccupancyRule(name="gwangju5", maximum_s=5.0, clear_after_s=0.0, is_once=True)
"""Gwangju ITS Smart Crosswalk: once, up to 5 s [S]."""
CHUNGJU = OccupancyRule(name="chungju", maximum_s=10.0, clear_after_s=0.0, is_once=True)
"""Chungju: once, 6-10 s, ends early when the crossing clears [S]; we give its most."""
PUFFIN = OccupancyRule(name="puffin", maximum_s=None, clear_after_s=1.0, is_once=False)
"""UK Puffin: occupancy to a maximum, ends 1 s after the crossing is empty [S]."""


class OccupancyExtension:
    """Runs the plan's pattern and holds the parent phase while somebody is detected on its crossing.

    Parameters
    ----------
    plan : the site.
    rule : which product.
    form : "P" holds the parent phase, "R" its red clearance.
    extension_max_s : replaces the rule's maximum; None keeps it. [s]
    """

    reads_vehicles = False

    def __init__(
        self, plan: SitePlan, rule: OccupancyRule, *, form: str = "P", extension_max_s: float | None = None
    ) -> None:
        self.name = rule.name
        self._rule, self._form = rule, form
        self._maximum_ds = tuple(
            to_ds(self._maximum_s(plan, crossing.id, extension_max_s)) for crossing in plan.crossings
        )
        self._occupied_ds = [NOT_YET_DS for _ in plan.crossings]
        self._proposals: dict[int, Proposal] = {0: Proposal()}
        self._is_over = [True for _ in plan.crossings]
        self._was_occupied = [False for _ in plan.crossings]  # in the last tick

    def _maximum_s(self, plan: SitePlan, crossing: str, extension_max_s: float | None) -> float:
        """Return the longest hold after clearance; form R also waits out yellow and red. [s]"""
        maximum_s = self._rule.maximum_s
        if maximum_s is None:
            maximum_s = plan.extension_max_s(crossing) if extension_max_s is None else extension_max_s
        return maximum_s if self._form == "P" else maximum_s + plan.clears_after_s(crossing)

    def propose(self, situation: Situation) -> Proposal:
        """Hold the crossings that are still occupied, each within its maximum."""
        now_ds, mask = situation.snapshot.now_ds, 0
        for service in situation.clocks.services:
            if service.is_open and self._holds(service, situation.snapshot.frames[service.index], now_ds):
                mask |= service.bit
        if mask not in self._proposals:
            commands = Commands(hold=mask) if self._form == "P" else Commands(red_hold=mask)
            self._proposals[mask] = Proposal(commands, extension=mask, reason=self.name)
        return self._proposals[mask]

    def _holds(self, service: CrossingService, frame: Frame, now_ds: int) -> bool:
        """Tell whether this crossing holds its conflicting greens now."""
        index = service.index
        was_occupied, self._was_occupied[index] = self._was_occupied[index], bool(frame.on_crossing)
        if service.is_walking or service.is_clearing:
            self._is_over[index] = False
            if frame.on_crossing:
                self._occupied_ds[index] = now_ds
            return False if service.is_walking else self._is_occupied(index, now_ds)
        if self._is_over[index]:
            return False
        if frame.on_crossing and (was_occupied or not self._rule.is_once):
            self._occupied_ds[index] = now_ds
        is_held = self._is_occupied(index, now_ds)
        is_held &= now_ds < service.clear_ended_ds + self._maximum_ds[index]
        if not is_held:
            self._is_over[index] = True
            service.is_open = False
        return is_held

    def _is_occupied(self, index: int, now_ds: int) -> bool:
        """Tell whether somebody was seen on the crossing within the rule's clearing time."""
        since_ds = self._occupied_ds[index]
        return since_ds != NOT_YET_DS and now_ds - since_ds <= to_ds(self._rule.clear_after_s)

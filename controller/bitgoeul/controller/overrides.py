"""How often a policy's choices are overruled by the guard, or carried out later for people's sake."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .guard import Verdict

OVERRULING = frozenset({"service", "policy_fault"})
"""Reasons of the guard's interventions that put a choice aside."""
UNDERWAY = frozenset({"walk", "clearance"})
"""Reasons to hold that are no extension yet."""


@dataclass(slots=True)
class OverrideCount:
    """Counts choices, each once a reason.

    Parameters
    ----------
    overrides : choices put aside, by reason: `service` (a call would come too late), `policy_fault`.
    delayed : gos that began later because of an extension, by its reason: `person`, `unconfirmed`,
        `request`, `blind`, `maximum`. Such a choice is carried out: the end of an extension is the guard's.
    """

    overrides: Counter[str] = field(default_factory=Counter)
    delayed: Counter[str] = field(default_factory=Counter)
    _choice: object = None
    _told: set[str] = field(default_factory=set)

    def note(self, choice: object, verdict: Verdict, *, is_delaying: bool) -> None:
        """Take in a verdict on a choice under way.

        Parameters
        ----------
        choice : the commitment; the same object while it lasts.
        verdict : what the guard let through.
        is_delaying : it is a go, and an extension keeps its greens from starting.
        """
        if choice is not self._choice:
            self._choice, self._told = choice, set()
        for intervention in verdict.interventions:
            if intervention.reason in OVERRULING:
                self._add(self.overrides, intervention.reason)
        if is_delaying:
            for _, reason in verdict.reasons:
                if reason not in UNDERWAY:
                    self._add(self.delayed, reason)

    def _add(self, counter: Counter[str], reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            counter[reason] += 1

"""The policy protocol: one way to run a junction."""

from __future__ import annotations

from typing import Protocol

from ..situation import Proposal, Situation


class Policy(Protocol):
    """One way to run a junction; the same object runs in SUMO and in the field.

    `reads_vehicles` is False for a policy that looks at no vehicle detector.
    """

    name: str
    reads_vehicles: bool

    def propose(self, situation: Situation) -> Proposal:
        """Return what to order in this tick. Called at each tick, in order, once."""
        ...

"""Policies that leave the choice to the cabinet: its fixed pattern, or free actuated operation."""

from __future__ import annotations

from ..signals import PATTERN_FREE, Commands
from ..situation import Proposal, Situation


class Fixed:
    """The plan's pattern, nothing else. Slower design speeds are a retimed plan, not a policy."""

    name = "fixed"
    reads_vehicles = False
    _proposal = Proposal()

    def propose(self, situation: Situation) -> Proposal:  # noqa: ARG002 - the protocol's argument
        """Order nothing: the cabinet runs its pattern."""
        return self._proposal


class Actuated:
    """Free operation: minimums, passage, gap-out and max-out by the cabinet's own detectors."""

    name = "actuated"
    reads_vehicles = True
    _proposal = Proposal(Commands(pattern=PATTERN_FREE))

    def propose(self, situation: Situation) -> Proposal:  # noqa: ARG002 - the protocol's argument
        """Order free operation."""
        return self._proposal

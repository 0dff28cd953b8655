"""What a policy decides on, and what it may propose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from .bound import ServiceBound
from .clocks import SignalClocks
from .detection import Snapshot
from .need import NeedEstimator
from .plan import SitePlan
from .signals import NO_COMMANDS, Commands


@dataclass(slots=True)
class Situation:
    """What a policy decides on: the snapshot and what follows from it. The truth is not in it.

    Parameters
    ----------
    plan : the site.
    snapshot : this tick's snapshot.
    clocks : how long each phase and crossing has been as it is.
    needs : people on the crossings and the time they need.
    bound : who waits since when, and which choices keep the plan's service bound: the guard's, where there
        is one.
    """

    plan: SitePlan
    snapshot: Snapshot
    clocks: SignalClocks
    needs: NeedEstimator
    bound: ServiceBound = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Follow the bound by itself where no guard does."""
        if cast("ServiceBound | None", self.bound) is None:
            self.bound = ServiceBound(self.plan, self.clocks)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a policy wants.

    Parameters
    ----------
    commands : orders for the cabinet.
    extension : phases in `commands.hold` or `commands.red_hold` kept for people on a crossing.
    reason : one word for the audit log.
    made_ds : the moment it was made for; None: this tick. The guard refuses what comes late. [0.1 s]
    """

    commands: Commands = NO_COMMANDS
    extension: int = 0
    reason: str = ""
    made_ds: int | None = None

"""One tick of control: read, need, policy, guard, write, audit; the same in SUMO and in the field."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .audit import Audit
from .backends.base import Backend
from .bound import ServiceBound
from .clocks import SignalClocks
from .detection import CrossingRequest, Frame, Snapshot
from .guard import Guard, Verdict
from .need import NeedEstimator
from .overrides import OverrideCount
from .plan import SitePlan
from .policies.base import Policy
from .policies.choosing import ChoicePolicy
from .signals import Commands, Lamps
from .situation import Proposal, Situation


class DetectionSource(Protocol):
    """Where frames come from: an emulated detector, a broker, a recording."""

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return the newest delivered frame of each crossing, in the plan's order."""
        ...


@runtime_checkable
class RequestSource(Protocol):
    """A detection source that also hears people's own devices."""

    def requests(self, now_ds: int) -> tuple[CrossingRequest, ...]:
        """Return the open requests, in order of arrival; the same object while nothing changes."""
        ...


class ControlLoop:
    """Runs one policy on one junction.

    Parameters
    ----------
    plan : the site.
    backend : the cabinet.
    source : the people detector.
    policy : who decides.
    guard : None only for baselines that have no guarantee; then the policy's commands go out as they are.
    """

    def __init__(
        self, plan: SitePlan, backend: Backend, source: DetectionSource, policy: Policy, guard: Guard | None
    ) -> None:
        self._backend = backend
        self.listen_to(source)
        self.clocks = SignalClocks(plan)
        self.needs = NeedEstimator(plan)
        self.audit = Audit(plan)
        self.counts = OverrideCount()
        self._plan = plan
        self.situation: Situation | None = None
        self.take_over(policy, guard)
        self._held = self._red_held = 0
        self._noted: Verdict | None = None
        self._lamps: Lamps | None = None
        self._unguarded: tuple[Proposal | None, Verdict] = (None, Verdict(Commands(), 0))

    def listen_to(self, source: DetectionSource) -> None:
        """Take frames, and requests if there are any, from another source from the next tick on."""
        self._source = source
        self._asked = source.requests if isinstance(source, RequestSource) else None

    def take_over(self, policy: Policy, guard: Guard | None) -> None:
        """Let another policy, behind its guard, decide from the next tick on."""
        self._policy, self._guard = policy, guard
        self._chooser = policy if isinstance(policy, ChoicePolicy) else None
        if guard is None:
            self._bound = ServiceBound(self._plan, self.clocks)
        else:
            guard.attach(self.clocks)
            self._bound = guard.bound
        if self.situation is not None:
            self.situation.bound = self._bound

    def observe(self) -> Situation:
        """Read cabinet and detectors; bring clocks and needs up to date."""
        reading = self._backend.read(with_vehicles=self._policy.reads_vehicles)
        frames = self._source.frames(reading.now_ds)
        self._held, self._red_held = reading.held, reading.red_held
        requests = () if self._asked is None else self._asked(reading.now_ds)
        snapshot = Snapshot._make((*reading[:5], frames, requests))
        if reading.lamps is not self._lamps:
            self._lamps = reading.lamps
            self.clocks.follow(reading.now_ds, reading.lamps)
        self.needs.update(frames, requests)
        if self.situation is None:
            self.situation = Situation(self._plan, snapshot, self.clocks, self.needs, self._bound)
        self.situation.snapshot = snapshot
        return self.situation

    def act(self) -> Lamps:
        """Decide on the situation last observed, write, and log; return the lamps that follow."""
        situation = self.observed
        proposal = self._policy.propose(situation)
        verdict = self._review(situation, proposal)
        lamps = self._backend.write(verdict.commands)
        if verdict is not self._noted or self._held or self._red_held or not self.audit.is_quiet:
            self._noted = verdict
            held_for_traffic = _held_for_traffic(proposal)
            self.audit.note(situation.snapshot.now_ds, verdict, self._held, self._red_held, held_for_traffic)
            commitment = None if self._chooser is None else self._chooser.commitment
            if commitment is not None:
                is_delaying = self.audit.is_binding and not commitment.choice.stay_ds
                self.counts.note(commitment, verdict, is_delaying=is_delaying)
        return lamps

    def _review(self, situation: Situation, proposal: Proposal) -> Verdict:
        if self._guard is None:
            if proposal is not self._unguarded[0]:
                reasons = tuple(
                    (service.crossing, proposal.reason)
                    for service in self.clocks.services
                    if service.bit & proposal.extension
                )
                self._unguarded = (proposal, Verdict(proposal.commands, proposal.extension, reasons))
            return self._unguarded[1]
        return self._guard.review(situation.snapshot, situation.needs, proposal)

    def tick(self) -> Lamps:
        """Observe and act once."""
        self.observe()
        return self.act()

    @property
    def observed(self) -> Situation:
        """The situation last observed.

        Raises
        ------
        RuntimeError : nothing was observed yet.
        """
        if self.situation is None:
            raise RuntimeError("observe before act")
        return self.situation


def _held_for_traffic(proposal: object) -> int:
    """Return the phases a policy holds, but not for people; 0 for what the guard refuses as no proposal."""
    commands = proposal.commands if isinstance(proposal, Proposal) else None
    if not isinstance(proposal, Proposal) or not isinstance(commands, Commands):
        return 0
    is_usable = isinstance(commands.hold, int) and isinstance(proposal.extension, int)
    return commands.hold & ~proposal.extension if is_usable else 0

"""The guard: what must hold whatever a policy says. The only module that may say no to a policy.

For each crossing, from the start of walk: conflicting greens are held back by default and released on
evidence. Evidence is a healthy, fresh, empty picture taken after walk ended, or people whose 99 % need fits
into yellow and red clearance (form P), or nobody left (form R). A blind sensor is not an empty crossing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from .bound import ServiceBound
from .clocks import NOT_YET_DS, CrossingService, SignalClocks
from .detection import FRESH_DS, CrossingRequest, Frame, Snapshot
from .need import NeedEstimator
from .plan import SitePlan
from .signals import (
    NO_COMMANDS,
    PATTERN_FLASH,
    PHASE_ORDERS,
    RING_ORDERS,
    Commands,
    Lamps,
    phase_mask,
    phases_in,
)
from .situation import Proposal
from .timing import FOREVER_DS, HOUR_DS, to_ds

MARGIN_DS = 10
"""Everyone must be clear so long before conflicting greens may start (promise 3). [0.1 s]"""
LOOK_BEFORE_DS = 10
"""The guard weighs the evidence from this long before clearance ends. [0.1 s]"""
LAST_RED_DS = 30
"""More all-red at the maximum with a person still there, where the cabinet can. [0.1 s]"""
STUCK_SERVICES = 3
"""Services running at the maximum without movement after which a sensor is faulty (promise 4)."""
HEALTHY_SERVICES = 10
"""Normal services after which a faulty sensor is trusted again (promise 4)."""
LATE_DS = 20
"""A proposal made longer ago is refused, and the cabinet runs its own plan. [0.1 s] [A]"""
RESERVED = ("ped_extend", *RING_ORDERS, "preempt")
"""Orders that no policy may give: the guard's own, and what starts or stops a service (FIELD)."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One thing the guard did, for the audit log.

    Parameters
    ----------
    crossing : crossing id, or "" for the whole site.
    reason : `person`, `unconfirmed`, `request`, `blind`, `maximum`, `service`, `policy_fault`,
        `sensor_fault`.
    detail : a sentence with the figures.
    """

    crossing: str
    reason: str
    detail: str


class Verdict(NamedTuple):
    """What goes to the cabinet, and why it differs from what the policy proposed.

    Parameters
    ----------
    commands : the commands to write.
    extension : phases held for somebody on a crossing (subset of hold or red hold).
    reasons : per held crossing, why.
    interventions : what happened in this tick worth an audit line.
    """

    commands: Commands
    extension: int
    reasons: tuple[tuple[str, str], ...] = ()
    interventions: tuple[Intervention, ...] = ()


@dataclass(slots=True)
class CrossingGuard:
    """The guard's memory of one crossing.

    Maxima count from the end of clearance; in form R they include yellow and red clearance, which pass
    before the hold.
    """

    service: CrossingService
    extension_max_ds: int
    unconfirmed_max_ds: int
    blind_until_ds: int  # after walk starts
    look_after_ds: int  # after clearance starts; before, nothing can end the green anyway
    credit_s: float
    form: str
    has_last_red: bool
    walk_bits: int  # the phases in which it has walk
    flash_bit: int  # the crossing's bit where its flashing green goes on in an extension, else 0
    last_red_until_ds: int = NOT_YET_DS
    asked_after_ds: int = NOT_YET_DS  # requests made before had their walk in an earlier service
    is_sensor_faulty: bool = False
    normal_services: int = 0
    stuck_services: int = 0
    has_reached_max: bool = False
    is_at_max: bool = False
    was_unmoved: bool = False
    outcomes: deque[tuple[int, bool]] = field(default_factory=deque)

    def flashes_for(self, reason: str) -> int:
        """Return the crossing's bit if its flashing green goes on for this reason, else 0."""
        return self.flash_bit if reason in ("person", "unconfirmed") else 0


class Guard:
    """Holds conflicting greens back while a detected person may still be crossing.

    Parameters
    ----------
    plan : the site.
    form : "P" (hold the parent phase) or "R" (hold its red clearance); None: each crossing's own.
    extension_max_s : replaces every crossing's maximum; None keeps the plan's. [s]
    can_hold_red : the cabinet knows `red_hold` (our own core); without it every form is "P".
    """

    def __init__(
        self,
        plan: SitePlan,
        *,
        form: str | None = None,
        extension_max_s: float | None = None,
        can_hold_red: bool = True,
    ) -> None:
        self._plan_mask = 0
        for phase in plan.phases:
            self._plan_mask |= 1 << (phase.number - 1)
        self._can_hold_red = can_hold_red
        self._crossings: tuple[CrossingGuard, ...] = ()
        self.bound: ServiceBound
        self._policy_fault = ""
        self._is_forcing = False
        self._plan = plan
        self._form = form
        self._extension_max_s = extension_max_s
        self._quiet_until_ds = 0
        self._quiet_verdict = Verdict(Commands(), 0)
        self._quiet_proposal: object = None
        self._quiet_lamps: Lamps | None = None
        self._trusted: Commands | None = None
        self._proposed: Commands | None = None
        self._held_commands: dict[tuple[int, int, int, int], Commands] = {}
        self._quiet_requests: tuple[CrossingRequest, ...] = ()
        self.released_on_person = 0

    def extension_max_s(self, crossing: str) -> float:
        """Return the longest extension of a crossing, for a person who is surely there. [s]"""
        replaced_s = self._extension_max_s
        return self._plan.extension_max_s(crossing) if replaced_s is None else replaced_s

    def attach(self, clocks: SignalClocks) -> None:
        """Bind to the clocks of the loop that asks for verdicts."""
        plan, limits = self._plan, self._plan.limits
        guards = []
        for service, crossing in zip(clocks.services, plan.crossings, strict=True):
            maximum_s = self._extension_max_s
            if maximum_s is None:
                maximum_s = plan.extension_max_s(crossing.id)
            clearance_s = min(plan.phase(n).ped_clear_s for n in plan.walk_phases(crossing.id))
            form = (self._form or crossing.extension_form) if self._can_hold_red else "P"
            waits_s = 0.0 if form == "P" else service.clears_after_s
            guards.append(
                CrossingGuard(
                    service=service,
                    extension_max_ds=to_ds(maximum_s + waits_s),
                    unconfirmed_max_ds=to_ds(min(limits.unconfirmed_max_s, maximum_s) + waits_s),
                    blind_until_ds=to_ds(limits.entry_time_s + crossing.length_m / limits.blind_speed_mps),
                    look_after_ds=to_ds(clearance_s) - LOOK_BEFORE_DS,
                    credit_s=service.clears_after_s if form == "P" else 0.0,
                    form=form,
                    walk_bits=phase_mask(plan.walk_phases(crossing.id)),
                    flash_bit=1 << service.index if crossing.display == "flash" else 0,
                    has_last_red=maximum_s > 0,  # a maximum of 0 means no extension of any kind
                )
            )
        self._crossings = tuple(guards)
        red_held = frozenset(each.service.crossing for each in guards if each.form == "R")
        self.bound = ServiceBound(plan, clocks, extension_max_s=self._extension_max_s, red_held=red_held)

    def review(self, snapshot: Snapshot, needs: NeedEstimator, proposal: object) -> Verdict:
        """Return what goes to the cabinet: the proposal made legal, plus the holds people need.

        Parameters
        ----------
        snapshot : what is known now.
        needs : people on the crossings, already updated with the snapshot.
        proposal : what the policy wants; anything that is not a `Proposal` is refused, and the cabinet
            runs its own plan.
        """
        asked = self._asked_for(snapshot.requests) if snapshot.requests else 0
        self.bound.follow(snapshot, asked)
        if (
            snapshot.now_ds < min(self._quiet_until_ds, self.bound.next_due_ds)
            and proposal is self._quiet_proposal
            and snapshot.lamps is self._quiet_lamps
            and snapshot.requests is self._quiet_requests
        ):
            return self._quiet_verdict
        interventions: list[Intervention] = []
        commands = self._sanitise(proposal, snapshot.now_ds, interventions)
        commands = self._serve_overdue(commands, snapshot, interventions)
        self._quiet_until_ds = _stale_ds(proposal)
        hold = red_hold = ped_extend = 0
        reasons: list[tuple[str, str]] = []
        for guard in self._crossings:
            if not guard.service.is_open:
                continue
            reason = self._reason_to_hold(guard, snapshot, needs, interventions)
            if reason is not None:
                reasons.append((guard.service.crossing, reason))
                if guard.form == "P":
                    hold |= guard.service.bit
                    ped_extend |= guard.flashes_for(reason)
                else:
                    red_hold |= guard.service.bit
            elif guard.last_red_until_ds > snapshot.now_ds:
                reasons.append((guard.service.crossing, "maximum"))
                red_hold |= guard.service.bit
        if hold or red_hold or asked:
            commands = self._with_orders(commands, hold, red_hold, ped_extend, asked)
        verdict = Verdict(commands, hold | red_hold, tuple(reasons), tuple(interventions))
        if interventions:
            self._quiet_until_ds = 0
        self._quiet_verdict, self._quiet_proposal = verdict, proposal
        self._quiet_lamps, self._quiet_requests = snapshot.lamps, snapshot.requests
        return verdict

    def _asked_for(self, requests: tuple[CrossingRequest, ...]) -> int:
        """Return the phases whose walk somebody's device asks for and has not had since: a call, no more."""
        asked = 0
        for guard in self._crossings:
            service = guard.service
            if not service.is_walking and any(
                each.crossing == service.crossing and each.measured_ds > service.walk_ended_ds
                for each in requests
            ):
                asked |= guard.walk_bits
        return asked

    def _with_orders(
        self, commands: Commands, hold: int, red_hold: int, ped_extend: int, asked: int
    ) -> Commands:
        """Return the commands with holds and calls added: the same object while nothing changes."""
        if commands is not self._proposed:
            self._proposed = commands
            self._held_commands.clear()
        key = (hold, red_hold, ped_extend, asked)
        held = self._held_commands.get(key)
        if held is None:
            held = replace(
                commands,
                hold=commands.hold | hold,
                red_hold=commands.red_hold | red_hold,
                ped_extend=ped_extend,
                ped_call=commands.ped_call | asked,
            )
            self._held_commands[key] = held
        return held

    def _sanitise(self, proposal: object, now_ds: int, interventions: list[Intervention]) -> Commands:
        """Return the proposal's commands, or none at all when they are not to be used."""
        fault = self._policy_fault_of(proposal, now_ds)
        if fault and fault != self._policy_fault:
            interventions.append(Intervention("", "policy_fault", fault))
        self._policy_fault = fault
        if fault or not isinstance(proposal, Proposal):
            return NO_COMMANDS
        self._trusted = proposal.commands
        return proposal.commands

    def _policy_fault_of(self, proposal: object, now_ds: int) -> str:
        """Return why a proposal cannot be used; "" when it can."""
        commands = proposal.commands if isinstance(proposal, Proposal) else None
        if not isinstance(proposal, Proposal) or not isinstance(commands, Commands):
            return "the policy proposed nothing usable"
        made_ds = now_ds if proposal.made_ds is None else proposal.made_ds
        if not isinstance(made_ds, int) or not 0 <= now_ds - made_ds <= LATE_DS:
            return "the policy's proposal is not of this moment"
        return "" if commands is self._trusted else _fault_of_orders(commands, self._plan_mask)

    def _serve_overdue(
        self, commands: Commands, snapshot: Snapshot, interventions: list[Intervention]
    ) -> Commands:
        """Return the orders, replaced while they would keep a call waiting past the bound (promise 5)."""
        served = self.bound.reviewed(commands, snapshot.now_ds, snapshot.lamps)
        if self.bound.is_forcing and not self._is_forcing:
            phases = ", ".join(str(phase) for phase in phases_in(served.vehicle_call))
            interventions.append(Intervention("", "service", f"calls of phases {phases} are overdue"))
        self._is_forcing = self.bound.is_forcing
        return served

    # --- one crossing -----------------------------------------------------------------------------

    def _reason_to_hold(
        self,
        guard: CrossingGuard,
        snapshot: Snapshot,
        needs: NeedEstimator,
        interventions: list[Intervention],
    ) -> str | None:
        """Return why conflicting greens must wait for this crossing, or None when they need not."""
        service, now_ds = guard.service, snapshot.now_ds
        if service.is_walking:
            guard.has_reached_max = guard.is_at_max = guard.was_unmoved = False
            guard.last_red_until_ds = NOT_YET_DS
            return "walk"
        look_ds = service.walk_ended_ds + guard.look_after_ds
        if service.is_clearing and now_ds < look_ds:
            self._quiet_until_ds = min(self._quiet_until_ds, look_ds)
            return "clearance"
        if guard.is_at_max and service.is_green:
            return None
        self._quiet_until_ds = 0
        reason = None
        if not guard.is_at_max:
            reason = self._evidence(guard, snapshot.frames[service.index], needs, now_ds)
            reason = self._within_maximum(guard, reason, now_ds)
        if service.is_green:
            return reason
        return self._after_green(guard, reason, needs, now_ds, interventions)

    def _within_maximum(self, guard: CrossingGuard, reason: str | None, now_ds: int) -> str | None:
        """Return the reason while its maximum lasts, else None; nothing holds past the maximum."""
        if guard.service.clear_ended_ds == NOT_YET_DS:
            return reason
        extended_ds = now_ds - guard.service.clear_ended_ds
        is_unsure = reason in ("unconfirmed", "request")
        maximum_ds = guard.unconfirmed_max_ds if is_unsure else guard.extension_max_ds
        if extended_ds < maximum_ds:
            return reason
        guard.is_at_max = extended_ds >= guard.extension_max_ds
        if reason == "person":
            guard.has_reached_max = True
        elif reason == "unconfirmed":
            guard.was_unmoved = True
            if guard.is_sensor_faulty and not guard.is_at_max:
                return self._blind(guard, now_ds)
        return None

    def _after_green(
        self,
        guard: CrossingGuard,
        reason: str | None,
        needs: NeedEstimator,
        now_ds: int,
        interventions: list[Intervention],
    ) -> str | None:
        """Decide once the parent green is over: form R holds on; else the service closes.

        A person left behind at the maximum gets a last all-red. Whoever was first seen after clearance
        started on red: reported, not promised.
        """
        service = guard.service
        if reason is not None and guard.form == "R":
            return reason
        if guard.last_red_until_ds == NOT_YET_DS:
            guard.last_red_until_ds = now_ds
            if guard.has_reached_max and self._is_person_left(guard, needs, now_ds):
                self.released_on_person += 1
                interventions.append(
                    Intervention(
                        service.crossing,
                        "maximum",
                        f"released after {guard.extension_max_ds / 10:.0f} s with a person still crossing",
                    )
                )
                if self._can_hold_red and guard.has_last_red:
                    yellow_and_red_s = service.clears_after_s if guard.form == "P" else 0.0
                    guard.last_red_until_ds = now_ds + to_ds(yellow_and_red_s) + LAST_RED_DS
        if guard.last_red_until_ds <= now_ds:
            self._close(guard, now_ds, interventions)
        return None

    def _is_person_left(self, guard: CrossingGuard, needs: NeedEstimator, now_ds: int) -> bool:
        """Tell whether a confirmed person who entered before clearance ended will not be off in time."""
        service = guard.service
        if needs.is_clear_within(service.index, now_ds - MARGIN_DS, guard.credit_s):
            return False
        return any(
            person.is_confirmed and person.first_ds <= service.clear_ended_ds
            for person in needs.people(service.index)
        )

    def _evidence(self, guard: CrossingGuard, frame: Frame, needs: NeedEstimator, now_ds: int) -> str | None:
        """Return `person`, `unconfirmed`, `request` or `blind` while nothing speaks for release."""
        service = guard.service
        is_fresh = frame.is_healthy and now_ds - frame.measured_ds < FRESH_DS
        people = needs.people(service.index)
        if people and not needs.is_clear_within(service.index, now_ds - MARGIN_DS, guard.credit_s):
            is_confirmed = any(person.is_confirmed for person in people)
            if is_confirmed or is_fresh:
                return "person" if is_confirmed else "unconfirmed"
        if is_fresh and not guard.is_sensor_faulty:
            is_after_walk = frame.measured_ds >= service.walk_ended_ds
            reason = None if is_after_walk else "walk"
        else:
            reason = self._blind(guard, now_ds)
        return reason or self._asked_to_wait(guard, needs, now_ds)

    @staticmethod
    def _asked_to_wait(guard: CrossingGuard, needs: NeedEstimator, now_ds: int) -> str | None:
        """Return `request` while somebody who asked for this walk still needs it by their own account."""
        service = guard.service
        asked_s = needs.requested_s(
            service.index,
            service.walk_since_ds,
            service.walk_ended_ds,
            now_ds,
            asked_after_ds=guard.asked_after_ds,
        )
        if asked_s > max(guard.credit_s - MARGIN_DS / 10, 0.0):
            return "request"
        return None

    def _blind(self, guard: CrossingGuard, now_ds: int) -> str | None:
        """Return `blind` until the service has lasted as in a design for slow walkers, then None."""
        is_time_served = now_ds >= guard.service.walk_since_ds + guard.blind_until_ds
        return None if is_time_served else "blind"

    def _close(self, guard: CrossingGuard, now_ds: int, interventions: list[Intervention]) -> None:
        """End the service, and judge the sensor by it (promise 4)."""
        guard.service.is_open = False
        guard.asked_after_ds = guard.service.walk_ended_ds
        is_stuck = guard.was_unmoved and not guard.has_reached_max
        guard.outcomes.append((now_ds, is_stuck))
        while guard.outcomes[0][0] < now_ds - HOUR_DS:
            guard.outcomes.popleft()
        guard.stuck_services = guard.stuck_services + 1 if is_stuck else 0
        guard.normal_services = 0 if is_stuck else guard.normal_services + 1
        stuck_in_hour = sum(stuck for _, stuck in guard.outcomes)
        services = len(guard.outcomes)
        is_mostly_stuck = services >= 2 * STUCK_SERVICES and 2 * stuck_in_hour > services
        if guard.is_sensor_faulty:
            guard.is_sensor_faulty = guard.normal_services < HEALTHY_SERVICES
        elif guard.stuck_services >= STUCK_SERVICES or is_mostly_stuck:
            guard.is_sensor_faulty = True
            interventions.append(
                Intervention(guard.service.crossing, "sensor_fault", "at its maximum without movement")
            )


def _stale_ds(proposal: object) -> int:
    """Return from when on a proposal is late. [0.1 s]"""
    made_ds = proposal.made_ds if isinstance(proposal, Proposal) else None
    return made_ds + LATE_DS + 1 if isinstance(made_ds, int) else FOREVER_DS


def _fault_of_orders(commands: Commands, plan_mask: int) -> str:
    """Return why orders are not a policy's to give; "" when they are."""
    if not all(isinstance(getattr(commands, each.name), int) for each in fields(Commands)):
        return "the policy's orders are no phase masks"
    if any(getattr(commands, name) & ~plan_mask for name in PHASE_ORDERS):
        return "the policy named phases not in the plan"
    if commands.pattern == PATTERN_FLASH or any(getattr(commands, name) for name in RESERVED):
        return "the policy gave orders that are not a policy's"
    return ""

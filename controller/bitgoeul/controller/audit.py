"""What the controller did and why: extensions with their reasons, interventions, and a trace of commands."""

from __future__ import annotations

from dataclasses import dataclass, field

from .guard import Intervention, Verdict
from .plan import SitePlan
from .signals import NO_COMMANDS, Commands, phase_mask


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: somebody was there, so no conflicting green started.

    Parameters
    ----------
    crossing : crossing id.
    started_ds, ended_ds : when only the hold kept the next green away. [0.1 s]
    reason : `person`, `unconfirmed`, `request`, `blind`, or a baseline's own rule.
    """

    crossing: str
    started_ds: int
    ended_ds: int
    reason: str

    @property
    def seconds(self) -> float:
        """Length of the extension. [s]"""
        return (self.ended_ds - self.started_ds) / 10


@dataclass(slots=True)
class Audit:
    """Collects extensions and interventions tick by tick.

    An extension counts while it binds: the green would end, or the red clearance is over, but for a hold
    set for people. `extension_ds` is the time at least one extension bound. [0.1 s] `reasons` says for each
    crossing held by the newest verdict why.
    """

    plan: SitePlan
    extensions: list[Extension] = field(default_factory=list)
    interventions: list[tuple[int, Intervention]] = field(default_factory=list)
    commands: Commands = NO_COMMANDS
    extension_ds: int = 0
    reasons: tuple[tuple[str, str], ...] = ()
    _running: dict[str, tuple[int, str]] = field(default_factory=dict)
    _last_ds: int = 0
    _was_binding: bool = False

    def close(self, now_ds: int) -> None:
        """End the extensions still running at the end of a run. [0.1 s]"""
        if self._was_binding:
            self.extension_ds += now_ds - self._last_ds
        self._last_ds, self._was_binding = now_ds, False
        for crossing, (started_ds, reason) in self._running.items():
            self.extensions.append(Extension(crossing, started_ds, now_ds, reason))
        self._running.clear()

    def running_s(self, crossing: str, now_ds: int) -> float:
        """Return how long a crossing's extension has run so far; 0 while none runs. [s]"""
        if crossing not in self._running:
            return 0.0
        return (now_ds - self._running[crossing][0]) / 10

    @property
    def is_binding(self) -> bool:
        """Tell whether an extension bound at the last note: but for it, a green or a red would have ended."""
        return self._was_binding

    @property
    def is_quiet(self) -> bool:
        """True while no extension runs: a tick with the same verdict and nothing held needs no note."""
        return not (self._was_binding or self._running)

    def note(self, now_ds: int, verdict: Verdict, held: int, red_held: int, policy_hold: int) -> None:
        """Take in one tick: the verdict, and which phases only a hold kept from ending before it.

        Parameters
        ----------
        now_ds : time of the tick. [0.1 s]
        verdict : what the guard let through.
        held, red_held : masks read from the cabinet.
        policy_hold : phases the policy held for traffic, not for people; such a hold is no extension.
        """
        if self._was_binding:
            self.extension_ds += now_ds - self._last_ds
        self._last_ds, self.commands, self.reasons = now_ds, verdict.commands, verdict.reasons
        for intervention in verdict.interventions:
            self.interventions.append((now_ds, intervention))
        binding = verdict.extension & (held & ~policy_hold | red_held)
        self._was_binding = bool(binding)
        if not binding and not self._running:
            return
        reasons = dict(verdict.reasons)
        for crossing in self.plan.crossings:
            bit = phase_mask(self.plan.walk_phases(crossing.id))
            reason = reasons.get(crossing.id, "")
            is_held = bool(binding & bit and reason)
            if is_held and crossing.id not in self._running:
                self._running[crossing.id] = (now_ds, reason)
            elif not is_held and crossing.id in self._running:
                started_ds, first_reason = self._running.pop(crossing.id)
                self.extensions.append(Extension(crossing.id, started_ds, now_ds, first_reason))

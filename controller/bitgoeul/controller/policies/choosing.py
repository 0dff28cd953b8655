"""Policies that choose: at each decision one of the junction's choices, by a score per choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..choices import Choice, ChoiceRules
from ..observe import ChoiceObserver, NeedReader, Observation
from ..plan import SitePlan
from ..situation import Proposal, Situation


class Chooser(Protocol):
    """Picks one row of an observation."""

    def choose(self, observation: Observation) -> int:
        """Return the index of a legal choice."""
        ...


@dataclass(slots=True)
class Commitment:
    """A choice under way.

    Parameters
    ----------
    choice : what was chosen.
    until_ds : end of a stay. [0.1 s]
    """

    choice: Choice
    until_ds: int


class ChoicePolicy:
    """Runs a chooser: asks it when a decision is due, and carries its choice out until it is done.

    Parameters
    ----------
    name : policy name.
    plan : the site.
    chooser : who picks.
    needs : what it sees as the need of people; None is the controller's own estimate.

    Notes
    -----
    A decision is due when every green has served its minimum, the last choice is done (a stay when its
    time is over, a go when its phases are green, or out of reach) and at least one choice is legal. Until
    the first one the phases found stay. While no choice would keep the service bound, or the guard serves an
    overdue call, nothing is due and the rings are served in their order. An illegal pick is replaced by
    `default_choice`.
    """

    reads_vehicles = True
    decides_late = False
    """Whether `is_due` answers some ticks late: a coarser grid than the loop's."""

    def __init__(
        self, name: str, plan: SitePlan, chooser: Chooser, *, needs: NeedReader | None = None
    ) -> None:
        self.name = name
        self.rules = ChoiceRules(plan, decides_late=self.decides_late)
        self.observer = ChoiceObserver(plan, self.rules, needs=needs)
        self._chooser = chooser
        self._commitment: Commitment | None = None
        self._proposals: dict[tuple[str, int], Proposal] = {}
        self._is_in_order = False
        self._in_order = Proposal(self.rules.in_order, reason="in order")
        self.decisions = 0

    @property
    def commitment(self) -> Commitment | None:
        """The choice under way; None before the first one, and while the rings are served in their order."""
        return self._commitment

    def is_due(self, situation: Situation) -> bool:
        """Tell whether a decision is due in this situation."""
        self.observer.follow(situation)
        situation.bound.follow(situation.snapshot)
        if situation.bound.is_forcing:
            self._commitment, self._is_in_order = None, True
            return False
        commitment = self._commitment
        if commitment is not None:
            if commitment.choice.stay_ds:
                if situation.snapshot.now_ds < commitment.until_ds:
                    return False
            elif situation.snapshot.lamps.green != commitment.choice.mask:
                return self._is_lost(commitment.choice, situation) and self._has_choice(situation)
        return self.rules.is_settled(situation) and self._has_choice(situation)

    def _is_lost(self, choice: Choice, situation: Situation) -> bool:
        """Tell whether the cabinet has gone elsewhere, by preemption say, and cannot get there."""
        return self.rules.is_settled(situation) and self.rules.is_out_of_reach(choice, situation)

    def _has_choice(self, situation: Situation) -> bool:
        """Tell whether any choice is legal; if none is, the rings are served in their order from now on."""
        has_choice = bool(self.observer.observe(situation).mask.any())
        if not has_choice:
            self._commitment = None
        self._is_in_order = not has_choice
        return has_choice

    def propose(self, situation: Situation) -> Proposal:
        """Carry on with the last choice, or make the next one."""
        if self.is_due(situation):
            observation = self.observer.observe(situation)
            index = self._chooser.choose(observation)
            if not observation.mask[index]:
                index = default_choice(observation)
            choice = self.rules.choices[index]
            self._commitment = Commitment(choice, situation.snapshot.now_ds + choice.stay_ds)
            self.decisions += 1
        if self._is_in_order:
            return self._in_order
        choice = self._commitment.choice if self._commitment else self.rules.choices[0]
        return self._orders(choice, situation.snapshot.lamps.green)

    def _orders(self, choice: Choice, current: int) -> Proposal:
        """Return the proposal that carries out a choice; the same object for the same question."""
        proposal = self._proposals.get((choice.name, current))
        if proposal is None:
            proposal = Proposal(self.rules.orders(choice, current), reason=choice.name)
            self._proposals[choice.name, current] = proposal
        return proposal


def default_choice(observation: Observation) -> int:
    """Return the choice that replaces an illegal one: the first legal row (stay 2 s where it is legal)."""
    return int(observation.mask.argmax())

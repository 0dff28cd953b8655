"""How an agent's action becomes the junction's next choice, on events or at fixed intervals."""

from __future__ import annotations

import operator
from dataclasses import replace

import numpy as np

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import NeedReader, Observation
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.policies.choosing import ChoicePolicy, default_choice
from bitgoeul.controller.situation import Situation

STAY_ROW = 0
"""Row of the shortest stay: the default, and the only action that says nothing."""


def row_of(action: object) -> int:
    """Return the row that an action names; it may be none of the table.

    Raises
    ------
    TypeError : it is no whole number.
    """
    try:
        return operator.index(action)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"action = {action!r}: an action is one row's index, 0 to {N_MAX - 1}") from None


class GivenChoice:
    """A chooser that takes what the agent gave, where it is legal, and the default elsewhere."""

    def __init__(self) -> None:
        self._index: int | None = None
        self._is_kept = False
        self.was_refused = False

    def give(self, index: int, *, is_kept: bool) -> None:
        """Take the agent's action.

        Parameters
        ----------
        index : the row it chose.
        is_kept : use it at every decision until the next `give`, not only at the first.
        """
        self._index, self._is_kept, self._is_first = index, is_kept, True
        self.was_refused = False

    def choose(self, observation: Observation) -> int:
        """Return the agent's choice, or the default; a refusal of its first use is noted."""
        index, self._index = self._index, self._index if self._is_kept else None
        if index is None:
            return default_choice(observation)
        is_legal = 0 <= index < len(observation.mask) and bool(observation.mask[index])
        if self._is_first:
            self._is_first, self.was_refused = False, not is_legal
        return index if is_legal else default_choice(observation)


class AgentPolicy(ChoicePolicy):
    """The policy that carries out an agent's actions.

    Parameters
    ----------
    plan : the site.
    chooser : where the actions are given.
    needs : what it sees as the need of people; None is the controller's own estimate.
    """

    def __init__(self, plan: SitePlan, chooser: GivenChoice, needs: NeedReader | None = None) -> None:
        super().__init__("environment", plan, chooser, needs=needs)

    def has_choice(self, situation: Situation) -> bool:
        """Tell whether more than one choice is legal; asked when a decision is due."""
        return int(self.observer.observe(situation).mask.sum()) > 1

    def break_stay(self) -> None:
        """End a stay under way, so that the next decision is due as soon as the lamps allow."""
        if self._commitment is not None and self._commitment.choice.stay_ds:
            self._commitment = None


def only_staying(observation: Observation) -> Observation:
    """Return an observation that leaves the default row alone legal: no decision is due."""
    mask = np.zeros_like(observation.mask)
    mask[STAY_ROW] = True
    return replace(observation, mask=mask)

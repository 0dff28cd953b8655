"""The choices of a junction: stay, or go to another pair of phases; which are legal now, and their orders."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .bound import forcing_age_s, in_ring_order
from .clocks import NOT_YET_DS
from .plan import SitePlan
from .signals import PATTERN_FREE, Commands, phase_bit, phase_mask, phases_in
from .situation import Situation
from .timing import to_ds

STAY_S: tuple[int, ...] = (2, 5)
"""Lengths of the stay choices (DESIGN: what a policy chooses). [s]"""
N_MAX = 24
"""Rows of the padded choice table: 2 stays and up to 22 pairs (8 for a dual ring of 8 phases)."""

LONGEST_RED_DS = 600
"""A red clearance inside a barrier group is held no longer: a ring dark for longer rests. [0.1 s]"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing a policy may do next.

    Parameters
    ----------
    name : `stay 2 s`, `go 2+6`.
    stay_ds : how long to stay; 0 for a go. [0.1 s]
    phases : target phase per ring, 0 where the ring rests; empty for a stay.
    mask : the target phases as a mask.
    barrier : their barrier group; -1 for a stay.
    """

    name: str
    stay_ds: int
    phases: tuple[int, ...]
    mask: int
    barrier: int


def list_choices(plan: SitePlan) -> tuple[Choice, ...]:
    """Return every choice of a site in fixed order: the stays, then the pairs in plan order.

    Raises
    ------
    ValueError : the plan has more pairs than the padded table has rows.
    """
    choices = [Choice(f"stay {seconds} s", to_ds(seconds), (), 0, -1) for seconds in STAY_S]
    for barrier in range(len(plan.rings[0])):
        sequences = [ring[barrier] or (0,) for ring in plan.rings]
        for phases in itertools.product(*sequences):
            served = tuple(phase for phase in phases if phase)
            name = "go " + "+".join(str(phase) for phase in served)
            choices.append(Choice(name, 0, phases, phase_mask(served), barrier))
    if len(choices) > N_MAX:
        raise ValueError(f"{plan.site.id} has {len(choices)} choices, the table holds {N_MAX}")
    return tuple(choices)


class ChoiceRules:
    """Which choices are legal, when a decision is due, and what a choice orders.

    Parameters
    ----------
    plan : the site.
    decides_late : decisions are made some ticks after they are due, so walk may be over by then.
    """

    def __init__(self, plan: SitePlan, *, decides_late: bool = False) -> None:
        self.decides_late = decides_late
        self.choices = list_choices(plan)
        self._places = {
            number: (ring, barrier, place)
            for ring, barriers in enumerate(plan.rings)
            for barrier, numbers in enumerate(barriers)
            for place, number in enumerate(numbers)
        }
        self._all = phase_mask(phase.number for phase in plan.phases)
        self._walks = phase_mask(phase.number for phase in plan.phases if phase.walk_s > 0)
        self._conditional = phase_mask(phase.number for phase in plan.phases if phase.conditional_service)
        self._min_green_ds = {phase.number: to_ds(phase.min_green_s) for phase in plan.phases}
        self._walk_ds = {phase.number: to_ds(phase.walk_s) for phase in plan.phases}
        self._clear_ds = {phase.number: to_ds(phase.yellow_s + phase.red_clear_s) for phase in plan.phases}
        self._rings = tuple(phase_mask(n for numbers in ring for n in numbers) for ring in plan.rings)
        self._barriers = tuple(
            phase_mask(n for numbers in group for n in numbers) for group in zip(*plan.rings, strict=True)
        )
        self._reachable: dict[tuple[int, int], tuple[bool, ...]] = {}  # by greens, and which are once more
        self._force_after_ds = to_ds(forcing_age_s(plan))

    @property
    def forcing_age_s(self) -> float:
        """Age of a call at which it must be served next. [s]"""
        return self._force_after_ds / 10

    def current(self, situation: Situation) -> int:
        """Return the mask of green phases."""
        return situation.snapshot.lamps.green

    def is_settled(self, situation: Situation) -> bool:
        """Tell whether every green has served its minimum: walk (or clearance, once begun) and min green.

        False while any ring shows yellow or is in red clearance: what follows there is chosen already.
        """
        snapshot, clocks = situation.snapshot, situation.clocks
        lamps = snapshot.lamps
        if lamps.yellow or not lamps.green or lamps.ped_clear or self._is_clearing(situation):
            return False
        for number, clock in clocks.phases.items():
            if not clock.is_green:
                continue
            age_ds = snapshot.now_ds - clock.green_since_ds
            least_ds = self._walk_ds[number] if lamps.walk & clock.bit else self._min_green_ds[number]
            if age_ds < least_ds:
                return False
        return True

    def _is_clearing(self, situation: Situation) -> bool:
        """Tell whether a ring without a green is in red clearance, held for people perhaps, not at rest.

        A ring at rest has served nothing since its barrier group was entered.
        """
        now_ds, green = situation.snapshot.now_ds, situation.snapshot.lamps.green
        dark = sum(ring for ring in self._rings if not ring & green)
        if not dark:
            return False
        clocks = situation.clocks.phases.values()
        here = self._barriers[self._places[min(phases_in(green))][1]]
        left_ds = max((clock.green_ended_ds for clock in clocks if not clock.bit & here), default=now_ds)
        for clock in clocks:
            if clock.bit & dark and clock.green_ended_ds:
                ended_ds = now_ds - clock.green_ended_ds
                is_of_this_visit = clock.bit & here and clock.green_ended_ds > left_ds
                if ended_ds <= (LONGEST_RED_DS if is_of_this_visit else self._clear_ds[clock.phase]):
                    return True
        return False

    def forced_phase(self, situation: Situation) -> int:
        """Return the phase whose call has waited longest past the forcing age, or 0."""
        now_ds = situation.snapshot.now_ds
        worst, worst_ds = 0, self._force_after_ds
        for number, clock in situation.clocks.phases.items():
            if clock.called_ds != NOT_YET_DS and now_ds - clock.called_ds >= worst_ds:
                worst, worst_ds = number, now_ds - clock.called_ds
        return worst

    def legal(self, situation: Situation) -> tuple[bool, ...]:
        """Return for each choice whether it may be made now.

        A pair is legal when every ring keeps its phase or moves forward inside the barrier group, or all
        rings leave it, and every call can still be served within the bound afterwards: the guard will not
        overrule it for what can be foreseen. None may be left: then the rings are served in their order
        (`in_order`), which is no choice. A phase that has waited for the forcing age leaves only the pairs
        that serve it, or, where it lies behind in its ring, that leave its group.
        """
        current, snapshot, bound = self.current(situation), situation.snapshot, situation.bound
        once_more = self._once_more(situation)
        reachable = self._reachable.get((current, once_more))
        if reachable is None:
            reachable = tuple(
                not each.stay_ds and self._is_reachable(each, current, once_more) for each in self.choices
            )
            self._reachable[current, once_more] = reachable
        legal = []
        for choice, is_reachable in zip(self.choices, reachable, strict=True):
            rests = self._resting(choice, current) & snapshot.lamps.walk
            if choice.stay_ds:
                legal.append(bound.foresees_stay(snapshot, choice.stay_ds, rests))
            else:
                legal.append(
                    is_reachable
                    and bound.foresees_go(
                        snapshot, (choice.barrier, choice.phases), rests, is_late=self.decides_late
                    )
                )
        forced = self.forced_phase(situation)
        return self._serving(forced, legal) if forced else tuple(legal)

    def _serving(self, forced: int, legal: list[bool]) -> tuple[bool, ...]:
        """Return of these choices those that serve a phase, else the pairs, else all."""
        pairs = [choice.mask if is_legal else 0 for choice, is_legal in zip(self.choices, legal, strict=True)]
        serving = tuple(bool(mask & phase_bit(forced)) for mask in pairs)
        if any(serving):
            return serving
        return tuple(mask > 0 for mask in pairs) if any(pairs) else tuple(legal)

    def _resting(self, choice: Choice, current: int) -> int:
        """Return the phases that rest in walk under a choice, if they show it, as a mask."""
        return current & self._walks & (current if choice.stay_ds else choice.mask)

    @property
    def in_order(self) -> Commands:
        """Orders that serve the rings in their order, each green at its minimum."""
        return in_ring_order(0, 0, self._all)

    def is_out_of_reach(self, choice: Choice, situation: Situation) -> bool:
        """Tell whether the cabinet can no longer get from these greens to a pair in one move."""
        current = self.current(situation)
        return choice.mask != current and not self._is_reachable(choice, current, self._once_more(situation))

    def _once_more(self, situation: Situation) -> int:
        """Return the greens that are conditional services: nothing follows them before the barrier."""
        current = self.current(situation) & self._conditional
        return phase_mask(n for n in phases_in(current) if situation.bound.is_once_more(n)) if current else 0

    def _is_reachable(self, choice: Choice, current: int, once_more: int) -> bool:
        """Tell whether the cabinet gets to this pair in one move.

        Not back to a conditional phase: the cabinet might serve it before the other rings have left. Nor on
        from one that is served once more.
        """
        if choice.mask == current:
            return False
        now = {self._places[phase][0]: phase for phase in range(1, 17) if current >> (phase - 1) & 1}
        is_forward = is_backward = True
        for ring, target in enumerate(choice.phases):
            present = now.get(ring, 0)
            if not target or not present:
                continue
            if self._places[present][1] != choice.barrier:
                return True
            is_forward &= self._places[target][2] >= self._places[present][2]
            is_forward &= target == present or not once_more & phase_bit(present)
            is_backward &= self._places[target][2] < self._places[present][2]
        return is_forward or (is_backward and not choice.mask & self._conditional)

    def orders(self, choice: Choice, current: int) -> Commands:
        """Return the commands that carry out a choice while `current` phases are green."""
        if choice.stay_ds:
            return Commands(hold=current, walk_rest=self._resting(choice, current), pattern=PATTERN_FREE)
        stays = current & choice.mask
        return Commands(
            hold=choice.mask,
            walk_rest=self._resting(choice, current),
            force_off=current & ~choice.mask,
            phase_omit=self._all & ~choice.mask & ~current,
            vehicle_call=choice.mask & ~stays,
            pattern=PATTERN_FREE,
        )

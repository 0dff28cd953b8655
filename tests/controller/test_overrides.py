"""What counts as an override of a choice, and what only as a delay."""

from __future__ import annotations

import sys
from pathlib import Path

from bitgoeul.controller.guard import Guard, Intervention, Verdict
from bitgoeul.controller.overrides import OverrideCount
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.signals import Calls, Commands

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))
from fake_junction import FakeStreet, Junction, Sensor, Walker

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
OVERDUE = Intervention("", "service", "calls of phases 4 are overdue")
LEFT = Intervention("XE", "maximum", "released")
EMPTY = Commands()


def test_a_choice_is_counted_once_a_reason():
    counts, first, second = OverrideCount(), object(), object()
    for choice in (first, first, second):
        counts.note(choice, Verdict(EMPTY, 0, (), (OVERDUE,)), is_delaying=False)
    assert counts.overrides == {"service": 2}
    assert not counts.delayed


def test_a_go_that_waits_for_people_is_delayed_and_not_overruled():
    counts = OverrideCount()
    held = Verdict(EMPTY, 8, (("XE", "person"), ("XW", "clearance")), (LEFT,))
    counts.note("go", held, is_delaying=True)
    counts.note("go", held, is_delaying=True)
    assert not counts.overrides
    assert counts.delayed == {"person": 1}


class Goes:
    """Leaves where it is as soon as it may."""

    def choose(self, observation):
        return int(observation.mask.nonzero()[0][-1])


def test_an_extension_delays_the_go_it_was_chosen_in():
    # 0.5 m/s on 35 m: 70 s from the second half of walk on, 42 s of walk and clearance.
    street = FakeStreet(PLAN, [Walker(index, 0, "walk", 0.9, 0.5) for index in range(4)], Sensor())
    policy = ChoicePolicy("goes", PLAN, Goes())
    junction = Junction(PLAN, policy, street, guard=Guard(PLAN), calls=Calls(vehicle=0xFF)).run(200)
    assert not junction.loop.counts.overrides
    assert junction.loop.counts.delayed["person"] >= 1


def test_an_overruled_choice_is_counted_and_no_decision_is_due_meanwhile():
    street = FakeStreet(PLAN, [], Sensor())
    policy = ChoicePolicy("goes", PLAN, Goes())
    junction = Junction(PLAN, policy, street, guard=Guard(PLAN), calls=Calls(vehicle=0xFF)).run(40)
    loop = junction.loop
    assert loop.counts.overrides == {}
    bound = loop.observe().bound
    overdue = next(number for number in bound._since_ds)
    bound._since_ds[overdue], bound._next_due_ds = -3_000, 0  # a surprise: somebody has waited for ever
    junction.run(junction.backend.core.now_ds / 10 + 1)
    assert loop.counts.overrides == {"service": 1}
    assert policy.commitment is None
    assert not policy.is_due(loop.observe())

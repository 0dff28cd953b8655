"""The mask and the guard agree on the bound: what is legal is not overruled for what can be foreseen."""

from __future__ import annotations

from random import Random

import numpy as np
from fake_junction import FakeStreet, Junction, Sensor, Walker
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plans import random_plans

from bitgoeul.controller.guard import Guard
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.signals import Calls, phases_in

MINUTES = 10
SPEED_MPS = (0.5, 0.8, 1.2)
STARTS = ("walk", "clear")


class AnyChoice:
    """Takes any legal row."""

    def __init__(self, seed):
        self._random = Random(seed)

    def choose(self, observation):
        return self._random.choice(np.flatnonzero(observation.mask).tolist())


class Judge:
    """Counts overrules, and calls that wait too long, of phases somebody always wants."""

    def __init__(self, junction, plan, calls):
        self._junction, self._limit_ds = junction, plan.limits.service_bound_s * 10
        self._waits = dict.fromkeys(phases_in(calls.vehicle), 0)
        self._walks = dict.fromkeys(phases_in(calls.ped), 0)
        self.late, self.forced = [], []

    def __call__(self, now_ds):
        lamps = self._junction.backend.core.lamps
        for waits, lit in ((self._waits, lamps.green), (self._walks, lamps.walk)):
            for number in waits:
                if lit >> (number - 1) & 1:
                    waits[number] = now_ds
                elif now_ds - waits[number] > self._limit_ds:
                    self.late.append((now_ds, number))
        if self._junction.guard.bound.is_forcing:
            self.forced.append(now_ds)


@st.composite
def crowds(draw, plan):
    """Return people who walk in the first services of each crossing, some too slow for any extension."""
    return [
        Walker(index, service, draw(st.sampled_from(STARTS)), 0.5, draw(st.sampled_from(SPEED_MPS)))
        for index in range(len(plan.crossings))
        for service in range(draw(st.integers(0, 8)))
    ]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1 << 30), form=st.sampled_from(("P", "R")))
def test_a_legal_choice_is_never_overruled_for_the_bound(data, seed, form):
    plan = data.draw(random_plans())
    numbers = plan.phase_numbers
    vehicle = sum(1 << (number - 1) for number in numbers if data.draw(st.booleans()))
    ped = sum(1 << (n - 1) for n in numbers if plan.phase(n).walk_s and data.draw(st.booleans()))
    calls = Calls(vehicle=vehicle, ped=ped)
    street = FakeStreet(plan, data.draw(crowds(plan)), Sensor())
    policy = ChoicePolicy("any", plan, AnyChoice(seed))
    junction = Junction(plan, policy, street, guard=Guard(plan, form=form), calls=calls)
    judge = Judge(junction, plan, calls)
    junction.run(60 * MINUTES, each_tick=judge)
    assert not judge.late
    assert not judge.forced

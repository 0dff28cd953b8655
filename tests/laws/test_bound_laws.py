"""The mask and the guard agree on the bound: what is legal is not overruled for what can be foreseen."""

from __future__ import annotations

from random import Random

import numpy as np
from fake_junction import FakeStreet, Junction, Sensor, Walker
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_plans import FOLDER, random_plans

from bitgoeul.controller.detection import Frame, Track, Zone
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.signals import PATTERN_FREE, Calls, Commands, phase_mask, phases_in
from bitgoeul.controller.situation import Proposal

MINUTES = 10
SPEED_MPS = (0.5, 0.8, 1.2)
STARTS = ("walk", "clear")
REFERENCE = load_plan(FOLDER / "reference.toml")
WALKS = phase_mask(phase.number for phase in REFERENCE.phases if phase.walk_s)


class Unruly:
    """Orders anything a policy may order, for a while each."""

    name, reads_vehicles = "unruly", True

    def __init__(self, plan, seed):
        self._random, self._numbers = Random(seed), plan.phase_numbers
        self._until_ds, self._proposal = 0, None

    def _some(self):
        return sum(1 << (number - 1) for number in self._numbers if self._random.random() < 0.5)

    def propose(self, situation):
        now_ds = situation.snapshot.now_ds
        if now_ds >= self._until_ds:
            self._until_ds = now_ds + self._random.choice((5, 20, 100, 600, 3000))
            pattern = self._random.choice((0, PATTERN_FREE))
            masks = {name: self._some() for name in self._random.choice(HABITS)}
            self._proposal = Proposal(Commands(pattern=pattern, **masks))
        return self._proposal


HABITS = (
    (),
    ("hold",),
    ("hold", "walk_rest"),
    ("phase_omit",),
    ("force_off", "phase_omit", "hold", "vehicle_call", "ped_omit"),
)


class Ghosts(FakeStreet):
    """Somebody who is never there walks on every crossing: each extension lasts its maximum."""

    def frames(self, now_ds):
        return tuple(
            Frame(crossing.id, now_ds, is_healthy=True, on_crossing=(_ghost(crossing, now_ds),))
            for crossing in self.plan.crossings
        )


def _ghost(crossing, now_ds):
    number, age_ds = divmod(now_ds, 100)
    remaining_m = crossing.length_m - age_ds / 20
    return Track(
        f"g{number}", crossing.id, Zone.CROSSING, remaining_m, 0.5, (), "fake", now_ds, now_ds - age_ds
    )


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


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 30), form=st.sampled_from(("P", "R")))
@example(seed=6, form="R")  # walk lit once more in a green, when time was short
def test_nobody_waits_past_the_bound_whatever_is_ordered_and_whoever_seems_to_be_there(seed, form):
    calls = Calls(vehicle=phase_mask(REFERENCE.phase_numbers), ped=WALKS)
    street = Ghosts(REFERENCE, [], Sensor())
    junction = Junction(
        REFERENCE, Unruly(REFERENCE, seed), street, guard=Guard(REFERENCE, form=form), calls=calls
    )
    judge = Judge(junction, REFERENCE, calls)
    junction.run(60 * MINUTES * 6, each_tick=judge)
    assert not judge.late

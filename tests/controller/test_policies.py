"""The baselines by hand-timed cases, the choosing policy, and controllers by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_junction import FakeStreet, Junction, Sensor, Walker

from bitgoeul.controller.clocks import SignalClocks
from bitgoeul.controller.detection import Frame, Snapshot, Track, Zone
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.observe import CHOICE, CONTEXT, N_MAX, Observation
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies import (
    POLICIES,
    PolicyOptions,
    make_controller,
    parse_controller,
    plan_for,
)
from bitgoeul.controller.policies.choosing import ChoicePolicy, default_choice
from bitgoeul.controller.policies.occupancy import CHUNGJU, GWANGJU5, PUFFIN, OccupancyExtension
from bitgoeul.controller.policies.plain import Actuated, Fixed
from bitgoeul.controller.policies.scorers import LinearChooser
from bitgoeul.controller.signals import NO_CALLS, PATTERN_FREE, Calls, Commands, Lamps
from bitgoeul.controller.situation import Proposal, Situation

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XW, BIT = 3, 0b1000
WALK = Lamps(green=BIT, walk=BIT)
CLEAR = Lamps(green=BIT, ped_clear=BIT)
GREEN = Lamps(green=BIT)
SOMEBODY = (Track("p", "XW", Zone.CROSSING, 10.0, 1.0, (), "test", 0, 0),)


class Bench:
    """One policy, told tick by tick whether somebody is on XW (phase 4: walk 15 s, clearance 27 s)."""

    def __init__(self, rule, **options):
        self.policy = OccupancyExtension(PLAN, rule, **options)
        self.clocks, self.needs = SignalClocks(PLAN), NeedEstimator(PLAN)

    def tick(self, now_ds, lamps, *, is_occupied):
        self.clocks.follow(now_ds, lamps)
        frames = tuple(
            Frame(crossing.id, now_ds, True, SOMEBODY if is_occupied and index == XW else ())
            for index, crossing in enumerate(PLAN.crossings)
        )
        snapshot = Snapshot(now_ds, lamps, NO_CALLS, (), (), frames)
        return self.policy.propose(Situation(PLAN, snapshot, self.clocks, self.needs))

    def held_until(self, until_s, *, step_ds=5, since_s=0.0, again_s=99.0):
        """Serve from 0: somebody is there from `since_s` to `until_s` and from `again_s` on.

        Returns the moments with a hold after clearance, which ends at 42 s. [s]
        """
        held = []
        for now_ds in range(0, 900, step_ds):
            now_s = now_ds / 10
            lamps = WALK if now_s < 15 else CLEAR if now_s < 42 else GREEN
            proposal = self.tick(now_ds, lamps, is_occupied=since_s <= now_s < until_s or now_s >= again_s)
            if proposal.commands != Commands():
                assert proposal.extension == BIT
                assert proposal.reason == self.policy.name
                held += [now_s]
        return [now_s for now_s in held if now_s >= 42]


@pytest.mark.parametrize(("rule", "maximum_s"), [(GWANGJU5, 5.0), (CHUNGJU, 10.0), (PUFFIN, 36.1)])
@pytest.mark.parametrize("step_ds", [1, 5, 10])
def test_an_occupied_crossing_is_held_to_the_maximum_whatever_the_tick(rule, maximum_s, step_ds):
    held = Bench(rule).held_until(200.0, step_ds=step_ds)
    assert held[0] == 42.0
    assert 42 + maximum_s - step_ds / 10 <= held[-1] < 42 + maximum_s


def test_an_empty_crossing_is_not_held():
    for rule in (GWANGJU5, CHUNGJU, PUFFIN):
        assert Bench(rule).held_until(30.0) == []


def test_the_products_end_when_the_crossing_is_empty():
    assert Bench(GWANGJU5).held_until(44.0)[-1] == 43.5
    assert Bench(CHUNGJU).held_until(44.0)[-1] == 43.5


def test_puffin_waits_one_second_after_the_last_person():
    assert Bench(PUFFIN).held_until(44.0)[-1] == 44.5  # seen last at 43.5 s


def test_the_products_extend_once_puffin_only_while_its_service_is_open():
    # Empty at 43 s, occupied again from 44 s on.
    assert Bench(GWANGJU5).held_until(43.0, again_s=44.0)[-1] == 42.5
    assert Bench(CHUNGJU).held_until(43.0, again_s=44.0)[-1] == 42.5
    assert Bench(PUFFIN).held_until(43.0, again_s=44.0)[-1] == 78.0


def test_who_steps_on_as_clearance_ends_starts_no_extension_of_a_product():
    assert Bench(GWANGJU5).held_until(60.0, since_s=42.0) == []


def test_form_r_holds_the_red_and_waits_yellow_and_red_out():
    bench = Bench(GWANGJU5, form="R")
    proposal = bench.tick(0, WALK, is_occupied=True)
    assert proposal.commands == Commands()
    bench.tick(150, CLEAR, is_occupied=True)
    bench.tick(415, CLEAR, is_occupied=True)
    assert bench.tick(420, Lamps(yellow=BIT), is_occupied=True).commands == Commands(red_hold=BIT)
    assert bench.tick(425 + 110, Lamps(), is_occupied=True).commands == Commands(red_hold=BIT)
    assert bench.tick(425 + 115, Lamps(), is_occupied=True).commands == Commands()  # 5 + 7 s


def test_only_puffins_maximum_can_be_replaced():
    assert Bench(PUFFIN, extension_max_s=20.0).held_until(200.0)[-1] == 61.5
    assert Bench(GWANGJU5, extension_max_s=20.0).held_until(200.0)[-1] == 46.5


def test_the_next_service_extends_again():
    bench = Bench(GWANGJU5)
    first = bench.held_until(200.0)
    bench.clocks.follow(900, Lamps())
    assert bench.held_until(200.0) == first


def test_a_walker_too_slow_for_5_s_is_left_behind_by_gwangju5():
    # 0.6 m/s from 107.5 s: 165.8 s. Held to 140.5 s, 7 s of yellow and red: 3 turns green at 147.5 s.
    people = [Walker(XW, 0, "walk", 1.0, 0.6)]
    street = FakeStreet(PLAN, people, Sensor(latency_ds=0))
    Junction(PLAN, OccupancyExtension(PLAN, GWANGJU5), street, guard=None).run(200)
    (residual,) = street.residuals[:1]
    assert residual.green == 3
    assert residual.at_ds == 1475


# --- plain and choosing -----------------------------------------------------------------------------


def test_fixed_orders_nothing_and_actuated_runs_free():
    assert Fixed().propose(None) == Proposal()
    assert Actuated().propose(None) == Proposal(Commands(pattern=PATTERN_FREE))


class Picks:
    """Chooses by name, again and again."""

    def __init__(self, rules, *names):
        self._indexes = [[choice.name for choice in rules.choices].index(name) for name in names]
        self.asked_ds = []

    def choose(self, observation):
        self._indexes.append(self._indexes.pop(0))
        return self._indexes[-1]


def choosing(*names):
    policy = ChoicePolicy("picks", PLAN, None)
    policy._chooser = Picks(policy.rules, *names)
    return policy


def played(policy, seconds):
    """Run with vehicles at every detector; return when each pair turned green. [s]"""
    street = FakeStreet(PLAN, [], Sensor())
    calls = Calls(vehicle=0xFF, extend=0xFF)
    Junction(PLAN, policy, street, guard=None, calls=calls).run(seconds)
    return {at_ds / 10: pair for at_ds, pair in _pairs(street.starts).items()}


def _pairs(starts):
    pairs = {}
    for at_ds, phase in starts:
        pairs.setdefault(at_ds, []).append(phase)
    return pairs


def test_choices_are_carried_out_in_turn():
    policy = choosing("go 4+8", "go 2+6")
    found = played(policy, 300)
    assert list(found.values())[:4] == [[2, 6], [4, 8], [2, 6], [4, 8]]
    moments = list(found)
    # 4/8: walk 15 s, a tick until it is read as served, clearance 27 s, yellow and red 7 s.
    assert moments[2] - moments[1] == 49.5
    # 2/6: 11 s, a tick, 14 s and 6 s.
    assert moments[3] - moments[2] == 31.5


def test_a_stay_lasts_its_time_and_walk_with_it():
    policy = choosing("go 4+8", "stay 5 s", "stay 2 s", "go 2+6")
    moments = list(played(policy, 300))
    assert moments[2] - moments[1] == 49.5 + 5 + 2


def test_an_illegal_pick_is_replaced_by_the_first_legal_choice():
    policy = choosing("go 2+6")  # where it already is
    assert list(played(policy, 140).values()) == [[2, 6]]  # 4 and 8 are forced at 143.7 s
    assert policy.decisions > 50  # it stays 2 s, again and again


def observation(mask, **features):
    choices = np.zeros((N_MAX, len(CHOICE)), dtype=np.float32)
    for name, values in features.items():
        choices[: len(values), [feature.name for feature in CHOICE].index(name)] = values
    full = np.zeros(N_MAX, dtype=np.bool_)
    full[: len(mask)] = mask
    return Observation(np.zeros(len(CONTEXT), dtype=np.float32), choices, full)


def test_the_default_choice_is_the_first_legal_one():
    assert default_choice(observation([False, True, True])) == 1


def test_the_linear_scorer_takes_the_best_legal_choice():
    chooser = LinearChooser({"vehicles_served": 1.0, "lost": -1.0})
    seen = observation([True, True, True, False], vehicles_served=[0.1, 0.9, 0.8, 2.0], lost=[0, 0.5, 0.1, 0])
    assert chooser.choose(seen) == 2
    assert chooser.choose(observation([False, True, True])) == 1  # ties go to the first


def test_a_weight_for_no_feature_is_refused():
    with pytest.raises(ValueError, match="no such choice features: speed; known: is_stay"):
        LinearChooser({"speed": 1.0})


@pytest.mark.parametrize("guarded", ["", "+guard"])
def test_max_pressure_serves_every_call_within_the_bound(guarded):
    name = parse_controller(f"max_pressure{guarded}")
    policy, guard = make_controller(name, PLAN, PolicyOptions())
    people = [Walker(index, n, "walk", 0.5, 0.8) for index in range(4) for n in range(3)]
    street = FakeStreet(PLAN, people, Sensor())
    junction = Junction(PLAN, policy, street, guard=guard, calls=Calls(vehicle=0xFF))
    served_ds = dict.fromkeys(range(1, 9), 0)
    waited_ds = dict(served_ds)

    def each_tick(now_ds):
        for phase in served_ds:
            if junction.backend.core.lamps.green >> (phase - 1) & 1:
                served_ds[phase] = now_ds
            waited_ds[phase] = max(waited_ds[phase], now_ds - served_ds[phase])

    junction.run(1200, each_tick=each_tick)
    assert max(waited_ds.values()) <= 3_000, waited_ds


# --- controllers by name ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base", "speed_mps", "is_guarded"),
    [
        ("fixed", "fixed", None, False),
        ("fixed:0.8", "fixed", 0.8, False),
        ("fixed:0.7+guard", "fixed", 0.7, True),
        ("eta", "eta", None, True),
        ("eta:0.8", "eta", 0.8, True),
        ("actuated+guard", "actuated", None, True),
        ("max_pressure", "max_pressure", None, False),
        ("learned", "learned", None, True),
    ],
)
def test_a_name_says_policy_speed_and_guard(text, base, speed_mps, is_guarded):
    name = parse_controller(text)
    assert (name.text, name.base, name.design_speed_mps, name.is_guarded) == (
        text,
        base,
        speed_mps,
        is_guarded,
    )


@pytest.mark.parametrize(
    "text",
    ["", "FIXED", "fix", "fixed:", "fixed:a", "fixed:-1", "fixed+", "fixed guard", "+guard", "fixed\n"],
)
def test_an_unknown_name_is_refused_with_the_known_ones(text):
    with pytest.raises(ValueError, match=r"unknown controller .*known: fixed, gwangju5"):
        parse_controller(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("puffin:0.8", "design speed goes with `fixed` only"),
        ("fixed:0.2", "between 0.3 and 1.5"),
        ("fixed:1.6", "between 0.3 and 1.5"),
    ],
)
def test_a_speed_out_of_place_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_controller(text)


@pytest.mark.parametrize("base", sorted(set(POLICIES) - {"learned"}))
def test_every_policy_is_made_by_its_name(base):
    policy, guard = make_controller(parse_controller(base), PLAN, PolicyOptions())
    assert policy.name == ("fixed" if base == "eta" else base)
    assert (guard is not None) == (base == "eta")
    assert make_controller(parse_controller(f"{base}+guard"), PLAN, PolicyOptions())[1] is not None


def test_the_plan_of_a_slower_fixed_timing_is_retimed():
    assert plan_for(parse_controller("fixed"), PLAN) is PLAN
    slower = plan_for(parse_controller("fixed:0.8"), PLAN)
    # 7 s + 35 m / 0.8 m/s = 50.75 s of walk and clearance, instead of 42 s.
    assert slower.phase(4).walk_s + slower.phase(4).ped_clear_s >= 50.75

"""The guard's six promises (DESIGN), one by one, against policies, sensors and people at their worst."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fake_junction import FakeStreet, Junction, Sensor, Walker
from hypothesis import given, settings
from hypothesis import strategies as st
from lamp_laws import LampLaws
from random_plans import random_plans
from test_guard_laws import SENSORS, Adversary, errant_sensors, promised, scripts, walkers_of_a_class

from bitgoeul.controller.backup import BackupTimer
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.guard import LATE_DS, Guard
from bitgoeul.controller.monitor import Monitor
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies.plain import Fixed
from bitgoeul.controller.signals import NO_COMMANDS, PATTERN_FREE, Calls, Commands, phases_in
from bitgoeul.controller.situation import Proposal

PLANS = Path(__file__).parents[1] / "controller" / "plans"
REFERENCE = load_plan(PLANS / "reference.toml")
XN, XE, XS, XW = range(4)
sensors = st.sampled_from(list(SENSORS.values()))


@settings(max_examples=100)
@given(
    plan=random_plans(),
    people=st.lists(walkers_of_a_class(), max_size=6),
    script=scripts,
    sensor=errant_sensors(),
    calls=st.builds(Calls, vehicle=st.integers(0, 255), extend=st.integers(0, 255)),
)
def test_promise_1_lamps_keep_their_laws_whatever_sensor_and_policy_do(plan, people, script, sensor, calls):
    """No conflicting greens; every minimum, yellow and all-red is served; the monitor is silent."""
    people = [walker for walker in people if walker.crossing < len(plan.crossings)]
    street = FakeStreet(plan, people, sensor)
    junction = Junction(plan, Adversary(script), street, guard=Guard(plan), calls=calls)
    laws, monitor = LampLaws(plan), Monitor(plan)

    def check(now_ds):
        lamps = junction.backend.core.lamps
        laws.follow(now_ds, lamps)
        assert monitor.watch(now_ds, lamps) is None

    junction.run(250, each_tick=check)
    assert not monitor.reports


@settings(max_examples=100)
@given(
    plan=random_plans(),
    people=st.lists(walkers_of_a_class(), min_size=1, max_size=8),
    script=scripts,
    sensor=sensors,
)
def test_promise_2_whoever_was_seen_is_off_in_time_on_any_plan(plan, people, script, sensor):
    people = [walker for walker in people if walker.crossing < len(plan.crossings)]
    street = FakeStreet(plan, people, sensor)
    Junction(plan, Adversary(script), street, guard=Guard(plan)).run(320)
    assert not [residual for residual in street.residuals if promised(residual, plan)]


TURNS = ("stop", "stall", "back", "aside")


@pytest.mark.parametrize("form", ["P", "R"])
@settings(max_examples=40)
@given(
    crossing=st.sampled_from((XE, XW)),
    turns=st.lists(
        st.tuples(st.sampled_from(TURNS), st.floats(1, 34), st.floats(0.5, 1.4)), min_size=1, max_size=4
    ),
    script=scripts,
)
def test_promise_2_people_who_stop_stall_turn_back_or_leave(form, crossing, turns, script):
    """Nobody the prediction could still foresee is left; a turn after the release cannot be foreseen."""
    people = [
        Walker(crossing, 0, "walk", 0.5, speed, "elderly", turn=turn, turn_m=at_m)
        for turn, at_m, speed in turns
    ]
    street = FakeStreet(REFERENCE, people, SENSORS["perfect"])
    guard = Guard(REFERENCE, form=form)
    junction = Junction(REFERENCE, Adversary(script), street, guard=guard).run(320)
    places = {residual.walker.id: residual for residual in street.residuals}
    limit_ds = 10 * (REFERENCE.extension_max_s("XE") + REFERENCE.clears_after_s("XE"))
    for residual in places.values():
        is_at_maximum = residual.at_ds - residual.clear_ended_ds >= limit_ds
        released_ds = _released_ds(junction, residual)
        assert is_at_maximum or residual.turned_ds >= released_ds, residual


def _released_ds(junction, residual):
    """Return the last moment before a conflicting green at which the guard still held for the crossing."""
    name = REFERENCE.crossings[residual.walker.crossing].id
    return max(
        (
            at_ds
            for at_ds, v in junction.guard.verdicts
            if at_ds < residual.at_ds and dict(v.reasons).get(name)
        ),
        default=0,
    )


@pytest.mark.parametrize("form", ["P", "R"])
def test_promise_2_twenty_at_once(form):
    people = [Walker(XE, 0, "walk", n / 20, 0.5 + n / 40, "") for n in range(20)]
    street = FakeStreet(REFERENCE, people, SENSORS["noisy"])
    Junction(REFERENCE, Fixed(), street, guard=Guard(REFERENCE, form=form)).run(200)
    assert not street.residuals


@settings(max_examples=50)
@given(plan=random_plans(), script=scripts, latency_ds=st.integers(25, 60))
def test_promise_3_walk_is_held_until_evidence_comes(plan, script, latency_ds):
    """Too old a picture is none: conflicting greens wait as in a design for 0.7 m/s."""
    street = FakeStreet(plan, [], Sensor(latency_ds=latency_ds))
    junction = Junction(plan, Adversary(script), street, guard=Guard(plan))
    checked = []

    def check(now_ds):
        for at_ds, phase in street.starts[len(checked) :]:
            checked.append(phase)
            for index, crossing in enumerate(plan.crossings):
                since_ds = street.services[index].walk_since_ds
                if since_ds < 0 or phase not in plan.conflicting_phases(crossing.id):
                    continue
                least_s = plan.limits.entry_time_s + crossing.length_m / plan.limits.blind_speed_mps
                assert at_ds - since_ds >= 10 * least_s - 1

    junction.run(250, each_tick=check)


@settings(max_examples=30)
@given(crossing=st.sampled_from((XN, XE, XS, XW)), form=st.sampled_from(("P", "R")))
def test_promise_4_a_stuck_sensor_is_faulty_after_three_services_and_trusted_after_ten(crossing, form):
    street = FakeStreet(REFERENCE, [], Sensor(ghosts=(crossing,)))
    junction = Junction(REFERENCE, Fixed(), street, guard=Guard(REFERENCE, form=form))
    junction.run(160 * 4)
    faults = [i for _, verdict in junction.guard.verdicts for i in verdict.interventions]
    assert [i.reason for i in faults].count("sensor_fault") == 1
    street.sensor = Sensor()
    guard = junction.guard.guard._crossings[crossing]
    assert guard.is_sensor_faulty
    junction.run(160 * 15)
    assert not guard.is_sensor_faulty


orders = st.builds(
    Commands,
    hold=st.integers(0, 255),
    force_off=st.integers(0, 255),
    phase_omit=st.integers(0, 255),
    ped_omit=st.integers(0, 255),
    vehicle_call=st.integers(0, 255),
    walk_rest=st.integers(0, 255),
    red_hold=st.integers(0, 255),
    pattern=st.sampled_from((0, PATTERN_FREE)),
)


@settings(max_examples=60)
@given(
    script=st.lists(st.tuples(st.integers(1, 400), st.builds(Proposal, orders)), min_size=1, max_size=6),
    people=st.lists(walkers_of_a_class(), max_size=4),
    vehicle=st.integers(0, 255),
    ped=st.integers(0, 255),
)
def test_promise_5_every_call_is_served_within_the_bound(script, people, vehicle, ped):
    """Whoever holds, omits or forces off, and whoever walks: no call waits past the plan's bound."""
    calls = Calls(vehicle=vehicle, ped=ped & 0b10101010)
    street = FakeStreet(REFERENCE, people, SENSORS["late"])
    junction = Junction(REFERENCE, Adversary(script), street, guard=Guard(REFERENCE), calls=calls)
    green_ds = dict.fromkeys(phases_in(calls.vehicle), 0)
    walk_ds = dict.fromkeys(phases_in(calls.ped), 0)
    bound_ds = REFERENCE.limits.service_bound_s * 10

    def check(now_ds):
        lamps = junction.backend.core.lamps
        for number in green_ds:
            if lamps.green >> (number - 1) & 1:
                green_ds[number] = now_ds
        for number in walk_ds:
            if lamps.walk >> (number - 1) & 1:
                walk_ds[number] = now_ds
        late = [n for n, since_ds in (*green_ds.items(), *walk_ds.items()) if now_ds - since_ds > bound_ds]
        assert not late

    junction.run(900, each_tick=check)


def test_promise_5_the_forcing_is_told_once():
    proposal = Proposal(Commands(hold=0b100010, pattern=PATTERN_FREE))
    street = FakeStreet(REFERENCE, [], SENSORS["perfect"])
    calls = Calls(vehicle=0b1000)
    junction = Junction(REFERENCE, Adversary([(1, proposal)]), street, guard=Guard(REFERENCE), calls=calls)
    junction.run(300)
    told = [i for _, verdict in junction.guard.verdicts for i in verdict.interventions]
    assert [i.reason for i in told] == ["service"]
    assert "overdue" in told[0].detail
    assert 4 in {phase for _, phase in street.starts}


class Gone:
    """Proposes a hold once, and is never heard of again: `propose` returns what it made then."""

    name = "gone"
    reads_vehicles = True

    def __init__(self):
        self._proposal = None

    def propose(self, situation):
        if self._proposal is None:
            orders = Commands(hold=0b100010, pattern=PATTERN_FREE)
            self._proposal = Proposal(orders, made_ds=situation.snapshot.now_ds)
        return self._proposal


def test_promise_6_a_policy_that_is_late_gives_way_to_the_plan():
    street = FakeStreet(REFERENCE, [], SENSORS["perfect"])
    junction = Junction(REFERENCE, Gone(), street, guard=Guard(REFERENCE)).run(200)
    told = [(at_ds, i.reason) for at_ds, verdict in junction.guard.verdicts for i in verdict.interventions]
    assert told == [(LATE_DS + 5, "policy_fault")]
    assert (710, 1) in street.starts  # the plan: 65 s of green, 4 s yellow, 2 s red


@given(
    nothing=st.sampled_from(
        (
            None,
            math.nan,
            "stay",
            Proposal(Commands(hold=math.nan)),
            Proposal(Commands(hold=1 << 30)),
            Proposal(Commands(stop_time=3)),
            Proposal(Commands(preempt=1)),
            Proposal(Commands(ped_recycle=1)),
            Proposal(Commands(pattern=255)),
            Proposal(NO_COMMANDS, made_ds=10**9),
            Proposal(NO_COMMANDS, made_ds="now"),
        )
    )
)
@settings(max_examples=12)
def test_promise_6_a_policy_of_nonsense_gives_way_to_the_plan(nothing):
    street = FakeStreet(REFERENCE, [], SENSORS["perfect"])
    junction = Junction(REFERENCE, Adversary([(1, nothing)]), street, guard=Guard(REFERENCE)).run(80)
    told = [i.reason for _, verdict in junction.guard.verdicts for i in verdict.interventions]
    assert told == ["policy_fault"]
    assert (710, 1) in street.starts


def test_promise_6_a_link_that_fails_ends_in_the_cabinets_own_plan():
    """Orders stay for the backup time; then the cabinet ends the hold by its own rules."""
    core, timer = SignalCore(REFERENCE), BackupTimer(600)
    assert timer.is_in_backup(0)
    found = {}
    for now_ds in range(0, 2_000, 5):
        if now_ds < 300:  # then the link fails
            timer.write(now_ds, Commands(hold=0b100010, pattern=PATTERN_FREE))
        found[now_ds] = core.advance(5, Calls(vehicle=0b1000), timer.orders(now_ds)).green
    assert found[890] == 0b100010  # 295 + 600: still the last orders
    assert found[900] == 0
    assert 0b10001000 in found.values()

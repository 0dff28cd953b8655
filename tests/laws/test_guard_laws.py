"""Promises of the guard (DESIGN), in a closed loop, behind a policy that proposes anything.

Known limits: the prediction errs once in a hundred, so people walk at one speed with a little noise; who
steps on in the last moments of clearance is seen only after it ended, and is not promised.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_junction import TICK_DS, FakeStreet, Junction, Sensor, Walker
from hypothesis import given, settings
from hypothesis import strategies as st

from bitgoeul.controller.guard import LAST_RED_DS, Guard
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.policies.plain import Actuated, Fixed
from bitgoeul.controller.signals import PATTERN_FREE, Calls, Commands
from bitgoeul.controller.situation import Proposal
from bitgoeul.controller.walking import GAIT

PLANS = Path(__file__).parents[1] / "controller" / "plans"
REFERENCE = load_plan(PLANS / "reference.toml")
SPLIT = load_plan(PLANS / "split.toml")
XN, XE, XS, XW = range(4)

masks = st.one_of(st.just(0), st.integers(0, 255))
commands = st.builds(
    Commands,
    force_off=masks,
    phase_omit=masks,
    ped_omit=st.sampled_from((0, 0, 0, 0b1010)),
    vehicle_call=masks,
    ped_call=masks,
    hold=st.sampled_from((0, 0, 0, 0b1000)),
    walk_rest=st.sampled_from((0, 0, 0, 0b1000)),
    red_hold=st.sampled_from((0, 0, 0, 0b1000)),
    pattern=st.sampled_from((0, PATTERN_FREE, 1, 77)),
)
garbage = st.sampled_from(
    (
        None,
        "go",
        Proposal(None),
        Proposal(Commands(hold=1 << 20)),
        Proposal(Commands(force_off=-1)),
        Proposal(Commands(hold="all")),
        Proposal(Commands(pattern=[1])),
        Proposal(Commands(hold=8), extension="8"),
    )
)
proposals = st.one_of(st.builds(Proposal, commands, masks), garbage)
scripts = st.lists(st.tuples(st.integers(1, 60), proposals), min_size=1, max_size=8)


class Adversary:
    """Proposes each thing of its script for some ticks, over and over."""

    name = "adversary"
    reads_vehicles = True

    def __init__(self, script):
        self._ticks = [proposal for ticks, proposal in script for _ in range(ticks)]
        self._asked = 0

    def propose(self, situation):
        self._asked += 1
        return self._ticks[self._asked % len(self._ticks)]


@st.composite
def walkers_of_a_class(draw):
    """Return somebody whose speed is usual for their class (2 standard deviations, 0.4 m/s at least)."""
    mobility_class = draw(st.sampled_from(sorted(GAIT)))
    mean_mps, sd_mps = GAIT[mobility_class][:2]
    speed_mps = max(mean_mps + draw(st.floats(-2, 2)) * sd_mps, 0.4)
    return Walker(
        crossing=draw(st.integers(0, 3)),
        service=draw(st.integers(0, 1)),
        start=draw(st.sampled_from(("walk", "walk", "clear", "red"))),
        share=draw(st.floats(0, 1)),
        speed_mps=speed_mps,
        mobility_class=draw(st.sampled_from((mobility_class, mobility_class, ""))),
    )


def promised(residual, plan):
    """Tell whether the guard promised that this walker would be gone."""
    walker = residual.walker
    crossing = plan.crossings[walker.crossing].id
    within_s = plan.clears_after_s(crossing) + plan.extension_max_s(crossing)
    is_seen = walker.detected_by_ds <= walker.clear_ended_ds
    return walker.start != "red" and is_seen and 0 < walker.needed_at_clearance_s <= within_s - 1


SENSORS = {
    "perfect": Sensor(latency_ds=0),
    "late": Sensor(latency_ds=10),
    "noisy": Sensor(noise_m=0.3, noise_mps=0.1),
    "flapping": Sensor(seen_ticks=2, blind_ticks=2),
}


def errant_sensors(**more):
    """Return a strategy for sensors that are late, noisy, blind or stuck."""
    return st.builds(
        Sensor,
        latency_ds=st.integers(0, 30),
        noise_m=st.floats(0, 1),
        seen_ticks=st.integers(1, 8),
        blind_ticks=st.integers(0, 8),
        stuck_from_ds=st.sampled_from((1 << 60, 300, 1000)),
        **more,
    )


@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize("sensor", SENSORS.values(), ids=SENSORS)
@settings(max_examples=30)
@given(people=st.lists(walkers_of_a_class(), min_size=1, max_size=6), script=scripts)
def test_whoever_was_seen_is_off_before_a_conflicting_green(form, sensor, people, script):
    street = FakeStreet(REFERENCE, people, sensor)
    Junction(REFERENCE, Adversary(script), street, guard=Guard(REFERENCE, form=form)).run(320)
    assert not [residual for residual in street.residuals if promised(residual, REFERENCE)]


@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize("policy", [Fixed, Actuated])
@settings(max_examples=20)
@given(people=st.lists(walkers_of_a_class(), min_size=1, max_size=6))
def test_the_same_under_the_plans_own_timing(form, policy, people):
    street = FakeStreet(REFERENCE, people, SENSORS["late"])
    calls = Calls(vehicle=0b01010101)
    Junction(REFERENCE, policy(), street, guard=Guard(REFERENCE, form=form), calls=calls).run(320)
    assert not [residual for residual in street.residuals if promised(residual, REFERENCE)]


def crowd(crossing):
    """Return people who step on one after another, for ever: the crossing never empties."""
    starts = [("walk", 0.9), ("clear", 0.5), ("clear", 0.9), ("red", 0.1), ("red", 0.4), ("red", 0.7)]
    return [Walker(crossing, n, start, share, 0.3, "frail") for n in range(3) for start, share in starts]


@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize("sensor", [Sensor(), Sensor(seen_ticks=3, blind_ticks=5)], ids=["seen", "flapping"])
@pytest.mark.parametrize("crossing", [XE, XW])
def test_an_extension_ends_at_its_maximum(form, sensor, crossing):
    """Conflicting greens wait for clearance, the maximum, yellow and red, and 3 s more all-red."""
    street = FakeStreet(REFERENCE, crowd(crossing), sensor)
    guard = Guard(REFERENCE, form=form)
    Junction(REFERENCE, Fixed(), street, guard=guard).run(480)
    following = {XE: 7, XW: 3}[crossing]
    starts = [at_ds for at_ds, phase in street.starts if phase == following]
    walks = [at_ds for at_ds, phase in street.starts if phase == following + 1]
    # 15 s walk, 27 s clearance, 36.1 s maximum, 7 s yellow and red, 3 s last red; a tick each until the
    # guard has read that clearance, then green, is over, and one to round up to.
    for walk_ds, start_ds in zip(walks, starts, strict=False):
        assert start_ds - walk_ds <= 420 + 361 + 70 + LAST_RED_DS + 3 * TICK_DS
        assert start_ds - walk_ds >= 420 + 361 + 70
    assert len(starts) >= 2
    assert guard.released_on_person >= 2


@settings(max_examples=30)
@given(
    people=st.lists(walkers_of_a_class(), max_size=6),
    script=scripts,
    sensor=errant_sensors(ghosts=st.sampled_from(((), (XW,), (XN, XE)))),
    form=st.sampled_from(("P", "R")),
)
def test_no_reason_outlives_its_maximum(people, script, sensor, form):
    """Whatever the sensor says: after its maximum (blind: after a 0.7 m/s design) no reason stands."""
    street = FakeStreet(REFERENCE, people, sensor)
    junction = Junction(REFERENCE, Adversary(script), street, guard=Guard(REFERENCE, form=form))
    places = {crossing.id: index for index, crossing in enumerate(REFERENCE.crossings)}

    def check(now_ds):
        _, verdict = junction.guard.verdicts[-1]
        for name, reason in verdict.reasons:
            service = junction.loop.clocks.services[places[name]]
            if service.clear_ended_ds < 0:
                continue
            waits_s = 0 if form == "P" else REFERENCE.clears_after_s(name)
            bound_ds = service.clear_ended_ds + 10 * (REFERENCE.extension_max_s(name) + waits_s)
            if reason == "unconfirmed":
                bound_ds = service.clear_ended_ds + 10 * (10.0 + waits_s)
            if reason == "maximum":  # the last all-red, after yellow and red clearance in form P
                bound_ds += LAST_RED_DS + 2 * TICK_DS
                bound_ds += 10 * REFERENCE.clears_after_s(name) if form == "P" else 0
            if reason == "blind":
                bound_ds = service.walk_since_ds + 10 * (7 + REFERENCE.crossing(name).length_m / 0.7)
            assert now_ds < bound_ds, (name, reason)

    junction.run(250, each_tick=check)


@pytest.mark.parametrize("form", ["P", "R"])
@pytest.mark.parametrize(
    "sensor",
    [Sensor(seen_ticks=0, blind_ticks=1), Sensor(stuck_from_ds=1), Sensor(latency_ds=30)],
    ids=["blind", "stuck", "late"],
)
def test_without_evidence_a_service_lasts_as_in_a_design_for_0_7_m_per_s(form, sensor):
    street = FakeStreet(REFERENCE, [], sensor)
    Junction(REFERENCE, Fixed(), street, guard=Guard(REFERENCE, form=form)).run(480)
    first = {phase: at_ds for at_ds, phase in reversed(street.starts)}
    # 7 s + 35 m / 0.7 m/s = 57 s; form P adds yellow and red. The guard reads walk a tick after it began.
    assert first[3] - first[4] == TICK_DS + (570 + 70 if form == "P" else 570)
    # 7 s + 18 m / 0.7 m/s = 32.7 s: the fixed green of 65 s is longer.
    assert first[1] - first[2] == 710


@settings(max_examples=20)
@given(script=scripts, form=st.sampled_from(("P", "R")))
def test_blind_is_never_less_than_0_7_m_per_s(script, form):
    street = FakeStreet(REFERENCE, [], Sensor(seen_ticks=0, blind_ticks=1))
    walked = {}

    def check(now_ds):
        for at_ds, phase in street.starts[len(walked.setdefault("seen", [])) :]:
            walked["seen"].append(phase)
            for index, crossing in enumerate(REFERENCE.crossings):
                since_ds = street.services[index].walk_since_ds
                if since_ds >= 0 and phase in REFERENCE.conflicting_phases(crossing.id):
                    assert at_ds - since_ds >= 70 + crossing.length_m / 0.7 * 10

    junction = Junction(REFERENCE, Adversary(script), street, guard=Guard(REFERENCE, form=form))
    junction.run(250, each_tick=check)


@pytest.mark.parametrize("form", ["P", "R"])
def test_a_ghost_is_bounded_then_counted_as_a_faulty_sensor(form):
    street = FakeStreet(REFERENCE, [], Sensor(ghosts=(XW,)))
    guard = Guard(REFERENCE, form=form)
    junction = Junction(REFERENCE, Fixed(), street, guard=guard)
    junction.run(160 * 3 + 159)
    walks = [at_ds for at_ds, phase in street.starts if phase == 4]
    lefts = [at_ds for at_ds, phase in street.starts if phase == 3]
    waited = [left - walk for walk, left in zip(walks, lefts, strict=True)]
    # 42 s walk and clearance, 10 s unconfirmed, 7 s yellow and red; a tick until clearance is read as over.
    assert waited[:3] == [595, 595, 595]
    faults = [i for _, verdict in junction.guard.verdicts for i in verdict.interventions]
    assert [(i.crossing, i.reason) for i in faults] == [("XW", "sensor_fault")]
    # From the fourth service on the blind fallback: 7 s + 35 m / 0.7 m/s, in form P before yellow and red.
    assert waited[3] == (TICK_DS + 570 + 70 if form == "P" else 595)
    assert guard.released_on_person == 0


def test_a_plan_may_choose_the_form_per_crossing():
    people = [Walker(index, 0, "walk", 0.9, 0.6, "frail") for index in range(4)]
    street = FakeStreet(SPLIT, people, SENSORS["late"])
    junction = Junction(SPLIT, Fixed(), street, guard=Guard(SPLIT)).run(160)
    assert not street.residuals
    commands = [verdict.commands for _, verdict in junction.guard.verdicts]
    held = red_held = 0
    for each in commands:
        held, red_held = held | each.hold, red_held | each.red_hold
    assert (held, red_held) == (0b0011, 0b1100)  # XS, XN on 1, 2 in form P; XW, XE on 3, 4 in form R

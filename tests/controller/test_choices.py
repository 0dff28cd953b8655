"""Which pairs may follow which, when a choice is due, and what it orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitgoeul.controller.bound import ServiceBound
from bitgoeul.controller.choices import N_MAX, ChoiceRules, list_choices
from bitgoeul.controller.clocks import SignalClocks
from bitgoeul.controller.core import SignalCore
from bitgoeul.controller.detection import Frame, Snapshot
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import NO_CALLS, PATTERN_FREE, Commands, Lamps, phase_mask
from bitgoeul.controller.situation import Situation

PLANS = Path(__file__).parent / "plans"
REFERENCE = load_plan(PLANS / "reference.toml")
TEE = load_plan(PLANS / "tee.toml")
SPLIT = load_plan(PLANS / "split.toml")
PAIRS = ["2+6", "2+5", "1+6", "1+5", "4+8", "4+7", "3+8", "3+7"]
STAYS = ["stay 2 s", "stay 5 s"]


def situation(plan, green, *, age_s=100.0, yellow=(), walk=(), clear=(), called=None, waiting=None):  # noqa: PLR0913
    """Return what a policy sees with these phases green since `age_s`, and calls of some ages [s].

    `called` as the policy's clocks know them, `waiting` as the service bound does.
    """
    clocks = SignalClocks(plan)
    now_ds = 10_000
    began_ds = now_ds - round(age_s * 10)
    clocks.follow(began_ds, Lamps(green=phase_mask(green)))
    for phase, waited_s in (called or {}).items():
        clocks.phases[phase].called_ds = now_ds - round(waited_s * 10)
    lamps = Lamps(
        green=phase_mask(green),
        yellow=phase_mask(yellow),
        walk=phase_mask(walk),
        ped_clear=phase_mask(clear),
    )
    frames = tuple(Frame(crossing.id, now_ds, is_healthy=True) for crossing in plan.crossings)
    snapshot = Snapshot(now_ds, lamps, NO_CALLS, (0,) * len(plan.zone_detectors), (), frames)
    found = Situation(plan, snapshot, clocks, NeedEstimator(plan))
    found.bound.follow(snapshot)
    found.bound._since_ds.update(
        {n: now_ds - round(waited_s * 10) for n, waited_s in (waiting or {}).items()}
    )
    return found


def legal(plan, green, **given):
    rules = ChoiceRules(plan)
    verdicts = rules.legal(situation(plan, green, **given))
    return [
        choice.name.removeprefix("go ")
        for choice, is_legal in zip(rules.choices, verdicts, strict=True)
        if is_legal
    ]


def choice(rules, name):
    return next(each for each in rules.choices if each.name == name)


def test_the_choices_of_a_dual_ring_are_two_stays_and_eight_pairs():
    assert [each.name for each in list_choices(REFERENCE)] == STAYS + [f"go {pair}" for pair in PAIRS]


def test_a_ring_with_an_empty_barrier_rests_there():
    assert [(each.name, each.phases) for each in list_choices(TEE)[2:]] == [
        ("go 2+6", (2, 6)),
        ("go 1+6", (1, 6)),
        ("go 8", (0, 8)),
    ]


def test_a_table_too_small_is_refused():
    plan = REFERENCE.model_copy(update={"rings": ((tuple(range(1, 6)),), (tuple(range(6, 11)),))})
    with pytest.raises(ValueError, match=f"27 choices, the table holds {N_MAX}"):
        list_choices(plan)


OTHER_SIDE = ["4+8", "4+7", "3+8", "3+7"]
ARTERIAL = ["2+6", "2+5", "1+6", "1+5"]


@pytest.mark.parametrize(
    ("green", "pairs"),
    [
        ((2, 6), ["2+5", "1+6", "1+5", *OTHER_SIDE]),  # each ring stays or goes on
        (
            (1, 6),
            ["1+5", *OTHER_SIDE],
        ),  # ring 1 is at its end: 2+6 and 2+5 would need a way back for one ring
        ((2, 5), ["1+5", *OTHER_SIDE]),
        ((1, 5), ["2+6", *OTHER_SIDE]),  # both at their ends: both may go back, through the barrier
        ((4, 8), [*ARTERIAL, "4+7", "3+8", "3+7"]),
        ((3, 8), [*ARTERIAL, "3+7"]),
        ((3, 7), [*ARTERIAL, "4+8"]),
    ],
)
def test_the_legal_pairs_for_each_current_pair(green, pairs):
    assert legal(REFERENCE, green) == STAYS + pairs


def test_the_legal_choices_of_a_t_junction():
    assert legal(TEE, (2, 6)) == [*STAYS, "1+6", "8"]
    assert legal(TEE, (1, 6)) == [*STAYS, "8"]
    assert legal(TEE, (8,)) == [*STAYS, "2+6", "1+6"]


def test_the_legal_choices_of_one_ring():
    assert legal(SPLIT, (1,)) == [*STAYS, "2", "3", "4"]
    assert legal(SPLIT, (4,)) == [*STAYS, "1", "2", "3"]


def test_who_has_waited_too_long_is_served_next():
    # Longest services: 2/6 25 + 16.2 + 6, 1/5 12, 4/8 42 + 36.1 + 7, 3/7 12: 156.3 s of the bound of 300 s.
    assert ChoiceRules(REFERENCE).forcing_age_s == pytest.approx(143.7)
    assert legal(REFERENCE, (2, 6), called={3: 143.6}) == legal(REFERENCE, (2, 6))
    assert legal(REFERENCE, (2, 6), called={3: 143.7}) == ["3+8", "3+7"]
    assert legal(REFERENCE, (2, 6), called={3: 150.0, 4: 160.0}) == ["4+8", "4+7"]


def test_a_forced_phase_behind_its_ring_is_reached_by_leaving_the_group():
    # From 1+6 no pair with 2 can be reached in one move: only pairs that move on are left.
    assert legal(REFERENCE, (1, 6), called={2: 143.7}) == ["1+5", *OTHER_SIDE]


def test_a_choice_after_which_a_call_could_come_too_late_is_illegal():
    # In order, from 2+6: 6 s of yellow and red, 12 s of 1+5; 3 s in hand for ticks: 279.0 s of age at most.
    assert legal(REFERENCE, (2, 6), waiting={4: 270.0}) == [*STAYS, "1+5", "4+8", "4+7"]
    assert legal(REFERENCE, (2, 6), waiting={4: 275.0}) == ["stay 2 s", "1+5", "4+8", "4+7"]
    # For 3 the whole of 4 may come first: 89.1 s more.
    assert legal(REFERENCE, (2, 6), waiting={3: 185.0}) == ["stay 2 s", "1+5", *OTHER_SIDE]


def test_no_choice_is_legal_when_only_the_order_of_the_rings_is_in_time():
    assert legal(REFERENCE, (2, 6), waiting={1: 292.0}) == []


@pytest.mark.parametrize(
    ("green", "given", "is_settled"),
    [
        ((2, 6), {"age_s": 15.0}, True),
        ((2, 6), {"age_s": 14.9}, False),  # min green
        ((2, 6), {"age_s": 11.0, "walk": (2, 6)}, True),  # walk is served: clearance follows a go
        ((2, 6), {"age_s": 10.9, "walk": (2, 6)}, False),
        ((2, 6), {"age_s": 20.0, "clear": (2,)}, False),
        ((2,), {"age_s": 20.0, "yellow": (6,)}, False),
        ((), {}, False),
    ],
)
def test_a_choice_is_due_when_every_minimum_is_served(green, given, is_settled):
    assert ChoiceRules(REFERENCE).is_settled(situation(REFERENCE, green, **given)) is is_settled


def shown(plan, *lamps):
    """Return the situation after these lamps, each from its moment on: (moment [0.1 s], lamps)."""
    found = situation(plan, ())
    found.clocks = SignalClocks(plan)
    for at_ds, greens, yellows in lamps:
        found.clocks.follow(at_ds, Lamps(green=phase_mask(greens), yellow=phase_mask(yellows)))
    at_ds, greens, yellows = lamps[-1]
    found.snapshot = found.snapshot._replace(
        now_ds=at_ds, lamps=Lamps(green=phase_mask(greens), yellow=phase_mask(yellows))
    )
    found.bound = ServiceBound(plan, found.clocks)
    return found


def later(found, at_ds):
    found.snapshot = found.snapshot._replace(now_ds=at_ds)
    return found


def test_no_choice_is_due_while_a_ring_is_in_red_clearance():
    # 8 has 5 s of yellow and 2 s of red; what follows it is chosen already.
    found = shown(REFERENCE, (100, (3, 7), ()), (300, (4, 8), ()), (900, (4,), (8,)), (950, (4,), ()))
    rules = ChoiceRules(REFERENCE)
    assert not rules.is_settled(later(found, 970))
    assert not rules.is_settled(later(found, 1400))  # held red, for people
    assert rules.is_settled(later(found, 1501))  # longer than any: the ring rests


def test_a_ring_at_rest_keeps_no_choice_from_being_due():
    found = shown(
        REFERENCE,
        (100, (2, 6), ()),
        (300, (), (2, 6)),
        (360, (4, 8), ()),
        (900, (), (4, 8)),
        (970, (2,), ()),
        (1300, (2,), ()),
    )
    assert ChoiceRules(REFERENCE).is_settled(found)


def test_a_ring_at_rest_lets_the_other_go_on_alone():
    found = shown(
        REFERENCE,
        (100, (4, 8), ()),
        (300, (), (4, 8)),
        (370, (2,), ()),
        (600, (), (2,)),
        (660, (1,), ()),
        (800, (1,), ()),
    )
    assert ChoiceRules(REFERENCE).is_settled(found)


def conditional(number):
    """Return the reference plan with a conditional phase."""
    phases = tuple(
        phase.model_copy(update={"conditional_service": phase.number == number}) for phase in REFERENCE.phases
    )
    return REFERENCE.model_copy(update={"phases": phases, "rings": (((1, 2), (3, 4)), ((5, 6), (7, 8)))})


def test_a_conditional_service_is_followed_by_nothing_before_the_barrier():
    plan = conditional(1)
    rules = ChoiceRules(plan)
    through = choice(rules, "go 2+6")
    first = shown(plan, (100, (4, 8), ()), (300, (), (4, 8)), (370, (1, 6), ()))
    assert not rules.is_out_of_reach(through, first)
    again = shown(
        plan,
        (100, (4, 8), ()),
        (300, (), (4, 8)),
        (370, (2, 6), ()),
        (600, (6,), (2,)),
        (660, (1, 6), ()),
    )
    assert rules.is_out_of_reach(through, again)
    assert not rules.legal(again)[rules.choices.index(through)]
    assert rules.legal(again)[rules.choices.index(choice(rules, "go 4+8"))]


def test_a_conditional_service_is_known_by_a_green_beside_it():
    # A red held for 9 s between the two; and a group entered anew.
    plan = conditional(1)
    late = shown(plan, (100, (4, 8), ()), (370, (2, 6), ()), (600, (6,), (2,)), (750, (1, 6), ()))
    assert late.bound.is_once_more(1)
    anew = shown(plan, (100, (4, 8), ()), (370, (2, 6), ()), (600, (), (2, 6)), (660, (1, 5), ()))
    assert not anew.bound.is_once_more(1)


def test_a_stay_holds_what_is_green_and_its_walk():
    rules = ChoiceRules(REFERENCE)
    assert rules.orders(choice(rules, "stay 5 s"), phase_mask((1, 6))) == Commands(
        hold=phase_mask((1, 6)), walk_rest=phase_mask((6,)), pattern=PATTERN_FREE
    )


def test_a_go_ends_what_does_not_stay_and_omits_what_is_skipped():
    rules = ChoiceRules(REFERENCE)
    assert rules.orders(choice(rules, "go 1+6"), phase_mask((2, 6))) == Commands(
        hold=phase_mask((1, 6)),
        walk_rest=phase_mask((6,)),
        force_off=phase_mask((2,)),
        phase_omit=phase_mask((3, 4, 5, 7, 8)),
        vehicle_call=phase_mask((1,)),
        pattern=PATTERN_FREE,
    )


@pytest.mark.parametrize("plan", [REFERENCE, TEE, SPLIT], ids=lambda plan: plan.site.id)
def test_the_cabinet_carries_every_legal_choice_out(plan):
    """From each pair each legal choice leads to its own pair, within minimums, clearance, yellow and red."""
    rules = ChoiceRules(plan)
    for start in rules.choices[2:]:
        core = SignalCore(plan)
        _go(rules, core, start)
        state = core.state
        for target, is_legal in zip(
            rules.choices, rules.legal(situation(plan, _phases(core.lamps.green))), strict=True
        ):
            if is_legal and not target.stay_ds:
                core.restore(state)
                _go(rules, core, target)


def _phases(mask):
    return [phase for phase in range(1, 17) if mask >> (phase - 1) & 1]


def _go(rules, core, target):
    before_ds = core.now_ds
    while core.lamps.green != target.mask:
        core.advance(5, NO_CALLS, rules.orders(target, core.lamps.green))
        assert core.now_ds - before_ds < 1200, (target.name, core.lamps)

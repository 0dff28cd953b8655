"""The plan's fixed timing as SUMO rows: hand-checked times, minimums, no conflict."""

from __future__ import annotations

import itertools

from bitgoeul.controller.backends.sumo import SumoRows
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask
from bitgoeul.sim_scenarios.program import fixed_program

# Links 0-2 from N, 3-7 from E, 8-10 from S, 11-15 from W (right, through, left each); XN, XE, XS, XW.
BUKMUN_5 = [
    (11.0, "srrgGGGrsrrgGGGrGrGr"),
    (14.0, "srrgGGGrsrrgGGGryryr"),
    (40.0, "srrgGGGrsrrgGGGrrrrr"),
    (4.0, "srryyyyrsrryyyyrrrrr"),
    (2.0, "srrsrrrrsrrsrrrrrrrr"),
    (17.0, "srrsrrrGsrrsrrrGrrrr"),
    (3.0, "srrsrrrysrrsrrryrrrr"),
    (2.0, "srrsrrrrsrrsrrrrrrrr"),
    (15.0, "gGrsrrrrgGrsrrrrrGrG"),
    (27.0, "gGrsrrrrgGrsrrrrryry"),
    (5.0, "yyrsrrrryyrsrrrrrrrr"),
    (2.0, "srrsrrrrsrrsrrrrrrrr"),
    (13.0, "srGsrrrrsrGsrrrrrrrr"),
    (3.0, "srysrrrrsrysrrrrrrrr"),
    (2.0, "srrsrrrrsrrsrrrrrrrr"),
]


def test_the_program_of_bukmun_5_row_by_row(bukmun):
    assert fixed_program(bukmun.plan) == BUKMUN_5


def test_durations_sum_to_the_cycle(site):
    assert sum(row[0] for row in fixed_program(site.plan)) == site.plan.patterns[0].cycle_s


def test_no_row_shows_what_conflicts(site):
    plan = site.plan
    goes = {"G", "g", "y"}
    for _, row in fixed_program(plan):
        moving = [each.id for each in plan.movements if row[each.sumo_links[0]] in goes]
        walking = [each.id for each in plan.crossings if row[each.sumo_link] in goes]
        assert all(plan.relation(m, c) != "conflict" for m, c in itertools.product(moving, walking))
        assert all(plan.movement_relation(a, b) != "conflict" for a, b in itertools.combinations(moving, 2))


def test_letters_of_every_lamp(bukmun):
    plan = bukmun.plan
    assert SumoRows(plan).row(ALL_RED) == "srrsrrrrsrrsrrrrrrrr"
    mask = phase_mask((4, 8))
    assert SumoRows(plan).row(Lamps(green=mask, walk=mask)) == "gGrsrrrrgGrsrrrrrGrG"
    assert SumoRows(plan).row(Lamps(green=mask, ped_clear=mask)) == "gGrsrrrrgGrsrrrrryry"
    assert SumoRows(plan).row(Lamps(yellow=mask)) == "yyrsrrrryyrsrrrrrrrr"


def test_a_right_turn_that_may_not_turn_on_red_is_red(bukmun):
    movements = tuple(each.model_copy(update={"right_turn_on_red": False}) for each in bukmun.plan.movements)
    plan = bukmun.plan.model_copy(update={"movements": movements})
    assert SumoRows(plan).row(ALL_RED) == "r" * 20

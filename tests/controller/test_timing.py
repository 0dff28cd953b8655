"""A plan in the core's own terms: deciseconds, masks, fixed force-offs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import phase_bit, phase_mask, phases_in
from bitgoeul.controller.timing import compile_plan, to_ds

PLANS = Path(__file__).parent / "plans"
REFERENCE = compile_plan(load_plan(PLANS / "reference.toml"))
MIDBLOCK = compile_plan(load_plan(PLANS / "midblock.toml"))
TEE = compile_plan(load_plan(PLANS / "tee.toml"))


@pytest.mark.parametrize(("seconds", "ds"), [(0.0, 0), (0.1, 1), (2.3, 23), (36.1, 361), (53.5, 535)])
def test_seconds_become_whole_deciseconds(seconds, ds):
    assert to_ds(seconds) == ds


def test_a_mask_has_bit_0_for_phase_1():
    assert (phase_bit(1), phase_bit(16)) == (1, 0x8000)
    assert phase_mask((2, 6)) == 0b100010
    assert phases_in(0b100010) == (2, 6)
    assert phases_in(0) == ()


def test_the_masks_of_the_reference_plan():
    assert REFERENCE.all_phases == 0xFF
    assert REFERENCE.has_walk == REFERENCE.ped_recall == REFERENCE.dual_entry == phase_mask((2, 4, 6, 8))
    assert REFERENCE.vehicle_recall == phase_mask((2, 4, 6, 8))
    assert REFERENCE.barrier_masks == (phase_mask((1, 2, 5, 6)), phase_mask((3, 4, 7, 8)))
    assert REFERENCE.later == {
        2: phase_mask((1,)),
        1: 0,
        4: phase_mask((3,)),
        3: 0,
        6: phase_mask((5,)),
        5: 0,
        8: phase_mask((7,)),
        7: 0,
    }
    assert REFERENCE.hours == (1,) * 24


def test_an_empty_barrier_has_an_empty_mask():
    assert TEE.ring_masks == ((phase_mask((1, 2)), 0), (phase_mask((6,)), phase_mask((8,))))


def test_fixed_points_in_the_cycle():
    pattern = REFERENCE.patterns[1]
    assert pattern.start_ds == {2: 0, 1: 710, 4: 930, 3: 1420, 6: 0, 5: 710, 8: 930, 7: 1420}
    assert pattern.green_end_ds == {2: 650, 1: 880, 4: 1350, 3: 1550, 6: 650, 5: 880, 8: 1350, 7: 1550}


@pytest.mark.parametrize(
    ("started_ds", "force_off_ds"),
    [
        (0, 650),
        (200, 650),  # 20 s late: the same force-off
        (799, 650),  # late by up to half a cycle: already past, so the minimum follows
        (800, 2250),  # later than that: the next cycle's
        (1600 - 220, 2250),  # 22 s early
        (1600, 2250),
        (16_000 + 30, 16_650),
    ],
)
def test_a_service_keeps_the_force_off_of_the_cycle_it_started_nearest_to(started_ds, force_off_ds):
    assert REFERENCE.patterns[1].force_off_ds(2, started_ds) == force_off_ds


def test_an_offset_moves_every_fixed_point():
    # Phase 1 of pattern 1: split 53.5 s with 5 s of yellow and red, cycle 80 s, offset 30 s.
    assert MIDBLOCK.patterns[1].force_off_ds(1, 300) == 300 + 485
    assert MIDBLOCK.patterns[1].force_off_ds(1, 0) == 300 + 485  # 30 s early


@pytest.mark.parametrize(
    ("hour", "pattern"), [(0, 2), (5.99, 2), (6, 1), (21.99, 1), (22, 2), (24, 2), (30, 1)]
)
def test_the_hour_gives_the_pattern(hour, pattern):
    assert MIDBLOCK.pattern_at(round(hour * 36_000)) == pattern


def test_the_next_change_is_at_the_next_full_hour():
    assert MIDBLOCK.next_pattern_change_ds(0) == 36_000
    assert MIDBLOCK.next_pattern_change_ds(35_999) == 36_000
    assert MIDBLOCK.next_pattern_change_ds(36_000) == 72_000


def test_only_a_dual_entry_phase_that_nothing_omits_comes_along_uncalled():
    assert REFERENCE.may_enter_uncalled(8, 0)
    assert not REFERENCE.may_enter_uncalled(8, phase_bit(8))
    assert not REFERENCE.may_enter_uncalled(7, 0)

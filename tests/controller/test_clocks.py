"""How long phases and crossings have been as they are, from the lamps alone."""

from __future__ import annotations

from pathlib import Path

from bitgoeul.controller.clocks import NOT_YET_DS, SignalClocks
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import ALL_RED, Lamps

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XW, BIT = 3, 0b1000
WALK = Lamps(green=BIT, walk=BIT)
CLEAR = Lamps(green=BIT, ped_clear=BIT)
GREEN = Lamps(green=BIT)


def test_a_phase_clock_follows_green():
    clocks = SignalClocks(PLAN)
    clock = clocks.phases[4]
    assert (clock.is_green, clock.green_since_ds) == (False, 0)
    clocks.follow(100, WALK)
    clocks.follow(250, CLEAR)
    clocks.follow(520, GREEN)
    assert (clock.is_green, clock.green_since_ds) == (True, 100)
    clocks.follow(600, Lamps(yellow=BIT))
    assert (clock.is_green, clock.green_ended_ds) == (False, 600)
    clocks.follow(650, ALL_RED)
    assert clock.green_ended_ds == 600
    assert not clocks.phases[3].is_green


def test_lamps_seen_again_move_no_clock():
    clocks = SignalClocks(PLAN)
    clocks.follow(100, GREEN)
    clocks.follow(200, Lamps(green=BIT))
    assert clocks.phases[4].green_since_ds == 100


def test_a_service_notes_walk_clearance_and_green():
    clocks = SignalClocks(PLAN)
    service = clocks.services[XW]
    assert (service.crossing, service.bit, service.clears_after_s) == ("XW", BIT, 7.0)
    clocks.follow(100, WALK)
    assert service.is_walking
    assert service.is_open
    assert (service.walk_since_ds, service.walk_ended_ds) == (100, NOT_YET_DS)
    clocks.follow(250, CLEAR)
    assert service.is_clearing
    assert (service.walk_ended_ds, service.clear_ended_ds) == (250, NOT_YET_DS)
    clocks.follow(520, GREEN)
    assert not service.is_clearing
    assert service.is_green
    assert service.clear_ended_ds == 520
    clocks.follow(600, Lamps(yellow=BIT))
    assert not service.is_green
    assert service.clear_ended_ds == 520
    assert service.is_open  # whoever ends the extension closes it


def test_the_next_walk_opens_a_new_service():
    clocks = SignalClocks(PLAN)
    service = clocks.services[XW]
    for now_ds, lamps in ((100, WALK), (250, CLEAR), (520, ALL_RED)):
        clocks.follow(now_ds, lamps)
    service.is_open = False
    clocks.follow(1700, WALK)
    assert service.is_open
    assert (service.walk_since_ds, service.walk_ended_ds, service.clear_ended_ds) == (1700, -1, -1)


def test_a_green_without_walk_opens_no_service():
    clocks = SignalClocks(PLAN)
    clocks.follow(100, GREEN)
    assert not clocks.services[XW].is_open
    assert clocks.services[XW].clear_ended_ds == NOT_YET_DS


def test_a_call_is_as_old_as_somebody_waits_in_red():
    clocks = SignalClocks(PLAN)
    clock = clocks.phases[4]
    clocks.note_calls(50, BIT)
    clocks.note_calls(60, BIT)
    assert clock.called_ds == 50
    clocks.note_calls(70, 0)
    assert clock.called_ds == NOT_YET_DS
    clocks.note_calls(80, BIT)
    clocks.follow(100, GREEN)
    assert clock.called_ds == NOT_YET_DS
    clocks.follow(200, ALL_RED)  # still called when the green ends: the wait starts anew
    assert clock.called_ds == 200


def test_who_comes_during_green_does_not_wait():
    clocks = SignalClocks(PLAN)
    clocks.follow(100, GREEN)
    clocks.note_calls(150, BIT)
    assert clocks.phases[4].called_ds == NOT_YET_DS
    clocks.note_calls(160, 0)
    clocks.follow(200, ALL_RED)
    assert clocks.phases[4].called_ds == NOT_YET_DS

"""What counts as an extension, and for how long."""

from __future__ import annotations

from pathlib import Path

from bitgoeul.controller.audit import Audit, Extension
from bitgoeul.controller.guard import Intervention, Verdict
from bitgoeul.controller.plan import load_plan
from bitgoeul.controller.signals import Commands

PLAN = load_plan(Path(__file__).parent / "plans" / "reference.toml")
XE, XW = 0b1000_0000, 0b1000  # phases 8 and 4
PERSON = Verdict(Commands(hold=XW), XW, (("XW", "person"),))
NOTHING = Verdict(Commands(), 0)


def test_a_hold_is_an_extension_only_while_it_binds():
    audit = Audit(PLAN)
    audit.note(100, PERSON, 0, 0, 0)  # the green would not end anyway
    audit.note(105, PERSON, XW, 0, 0)
    audit.note(110, PERSON, XW, 0, 0)
    assert audit.extensions == []
    audit.note(115, NOTHING, 0, 0, 0)
    audit.note(120, NOTHING, 0, 0, 0)
    assert audit.extensions == [Extension("XW", 105, 115, "person")]
    assert audit.extensions[0].seconds == 1.0
    assert audit.extension_ds == 10


def test_a_hold_for_traffic_is_no_extension():
    audit = Audit(PLAN)
    audit.note(100, PERSON, XW, 0, XW)
    audit.note(105, NOTHING, 0, 0, 0)
    assert (audit.extensions, audit.extension_ds) == ([], 0)


def test_a_held_red_clearance_is_an_extension():
    audit = Audit(PLAN)
    audit.note(100, Verdict(Commands(red_hold=XW), XW, (("XW", "person"),)), 0, XW, 0)
    audit.note(130, NOTHING, 0, 0, 0)
    assert audit.extensions == [Extension("XW", 100, 130, "person")]


def test_two_extensions_at_once_are_two_but_their_time_counts_once():
    audit = Audit(PLAN)
    both = Verdict(Commands(hold=XE | XW), XE | XW, (("XE", "blind"), ("XW", "person")))
    audit.note(100, both, XE | XW, 0, 0)
    audit.note(120, PERSON, XW, 0, 0)
    audit.note(150, NOTHING, 0, 0, 0)
    assert audit.extensions == [Extension("XE", 100, 120, "blind"), Extension("XW", 100, 150, "person")]
    assert audit.extension_ds == 50


def test_the_first_reason_stands():
    audit = Audit(PLAN)
    audit.note(100, Verdict(Commands(hold=XW), XW, (("XW", "unconfirmed"),)), XW, 0, 0)
    audit.note(105, PERSON, XW, 0, 0)
    audit.note(110, NOTHING, XW, 0, 0)
    assert audit.extensions == [Extension("XW", 100, 110, "unconfirmed")]


def test_a_last_red_without_a_reason_is_no_extension_of_a_crossing():
    audit = Audit(PLAN)
    audit.note(100, Verdict(Commands(red_hold=XW), XW), 0, XW, 0)
    audit.note(130, NOTHING, 0, 0, 0)
    assert audit.extensions == []
    assert audit.extension_ds == 30


def test_interventions_are_kept_with_their_time_and_the_commands_with_them():
    audit = Audit(PLAN)
    note = Intervention("XW", "maximum", "released")
    audit.note(100, Verdict(Commands(force_off=1), 0, (), (note,)), 0, 0, 0)
    assert audit.interventions == [(100, note)]
    assert audit.commands == Commands(force_off=1)

"""What a plan may say of overlaps, shared crossings, preemption, maxima, flash and coordination."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import pytest

from bitgoeul.controller.errors import PlanError
from bitgoeul.controller.plan import checked_plan

DOCUMENT = tomllib.loads((Path(__file__).parent / "plans" / "reference.toml").read_text(encoding="utf-8"))


def phase(document, number):
    return next(each for each in document["phases"] if each["number"] == number)


def drop_movement(document, name):
    for each in document["phases"]:
        each["movements"] = [m for m in each["movements"] if m != name]


def overlap_of(phases, movements=("EBR",)):
    def change(document):
        drop_movement(document, "EBR")
        document["overlaps"] = [{"id": "A", "phases": list(phases), "movements": list(movements)}]

    return change


def set_phase(number, **fields):
    return lambda document: phase(document, number).update(fields)


def set_pattern(**fields):
    return lambda document: document["patterns"][0].update(fields)


def both(*changes):
    def change(document):
        for each in changes:
            each(document)

    return change


PREEMPT = {"number": 1, "name": "fire", "phases": [2, 5], "exit_phases": [4, 8]}


def preempts(*found):
    return lambda document: document.update(preempts=[{**PREEMPT, **each} for each in found])


FAULTS = [
    (overlap_of([2]), "overlaps.A.phases", "name two or more"),
    (overlap_of([2, 2]), "overlaps.A.phases", "name two or more"),
    (overlap_of([2, 6]), "overlaps.A.phases", "from yellow to green"),
    (overlap_of([2, 9]), "overlaps.A.phases", "no such phase"),
    (overlap_of([2, 3], ()), "overlaps.A.movements", "it serves nothing"),
    (overlap_of([2, 3], ("XXX",)), "overlaps.A.movements", "no such movement"),
    (overlap_of([2, 3], ("EBT",)), "overlaps.A.movements", "in a phase too"),
    (overlap_of([2, 4]), "phases.4.movements", "conflict"),
    (
        both(overlap_of([2, 3]), set_phase(2, leading_walk_s=3.0)),
        "overlaps.A.phases",
        "could not stay green",
    ),
    (lambda d: phase(d, 6)["crossings"].append("XS"), "crossings.XS", "never run together"),
    (lambda d: phase(d, 2)["crossings"].append("XS"), "crossings.XS", "named twice"),
    (preempts({}, {}), "preempts.1", "given more than once"),
    (preempts({"phases": []}), "preempts.1.phases", "holds nothing"),
    (preempts({"phases": [2, 4]}), "preempts.1.phases", "never run together"),
    (preempts({"exit_phases": [1, 2]}), "preempts.1.exit_phases", "never run together"),
    (preempts({"phases": [9]}), "preempts.1.phases", "no such phase"),
    (preempts({"walker_max_s": 11.0}), "preempts.1.walker_max_s", "less than or equal to 10"),
    (set_phase(1, leading_walk_s=3.0), "phases.1.leading_walk_s", "no crossing"),
    (set_phase(1, walk_delay_s=3.0), "phases.1.walk_delay_s", "no crossing"),
    (set_phase(2, leading_walk_s=12.0), "phases.2.leading_walk_s", "walk itself"),
    (set_phase(2, leading_walk_s=3.0, walk_delay_s=3.0), "phases.2.walk_delay_s", "leads already"),
    (set_phase(2, max_green_2_s=3.0), "phases.2.max_green_2_s", "below min_green_s"),
    (set_phase(2, dynamic_max_s=3.0, dynamic_step_s=5.0), "phases.2.dynamic_max_s", "below min_green_s"),
    (set_phase(2, dynamic_max_s=90.0), "phases.2.dynamic_step_s", "both or neither"),
    (set_phase(2, dynamic_step_s=5.0), "phases.2.dynamic_step_s", "both or neither"),
    (set_phase(2, conditional_service=True), "phases.2.conditional_service", "no walk"),
    (lambda d: d.update(unit={"main_phases": [2, 4]}), "unit.main_phases", "never run together"),
    (lambda d: d.update(unit={"backup_s": 41.0}), "unit.backup_s", "drop a hold on a walker"),
    (set_pattern(mode="coordinated"), "patterns.1.coordinated", "correct mode or phases"),
    (set_pattern(coordinated=[2, 6]), "patterns.1.coordinated", "correct mode or phases"),
    (set_pattern(mode="coordinated", coordinated=[2, 4]), "patterns.1.coordinated", "never run together"),
    (set_pattern(force_off="floating"), "patterns.1.force_off", "only a coordinated pattern"),
    (set_pattern(permissive_s=5.0), "patterns.1.permissive_s", "only a coordinated pattern"),
]


@pytest.mark.parametrize(("change", "path", "rule"), FAULTS, ids=[f"{f[1]} {f[2]}" for f in FAULTS])
def test_a_plan_that_a_cabinet_could_not_keep_is_refused(change, path, rule):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(PlanError) as refusal:
        checked_plan(document, "plan.toml")
    told = [f"{fault.value} {fault.rule}" for fault in refusal.value.faults if fault.path == path]
    assert any(rule in each for each in told), refusal.value


@pytest.mark.parametrize(
    "change",
    [
        overlap_of([2, 3]),
        preempts({}, {"number": 2, "phases": [4], "exit_phases": []}),
        set_phase(2, leading_walk_s=5.0),
        set_phase(1, conditional_service=True, dynamic_max_s=40.0, dynamic_step_s=5.0),
        set_pattern(mode="coordinated", coordinated=[2, 6], force_off="floating", permissive_s=10.0),
        lambda d: d.update(unit={"backup_s": 60.0, "main_phases": [2, 6], "startup_flash_s": 5.0}),
    ],
)
def test_a_plan_that_a_cabinet_can_keep_is_taken(change):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    checked_plan(document, "plan.toml")

"""Plans at random: the four test plans with every option of a phase, a pattern and a cabinet drawn anew."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

from hypothesis import assume
from hypothesis import strategies as st

from bitgoeul.controller.errors import PlanError
from bitgoeul.controller.plan import checked_plan

FOLDER = Path(__file__).parents[1] / "controller" / "plans"
NAMES = ("reference", "midblock", "tee", "split")
DOCUMENTS = {name: tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")) for name in NAMES}
OVERLAPS = {"reference": ("EBR", (2, 3))}


@st.composite
def random_plans(draw):
    """Return a checked plan; options a plan refuses together are drawn again."""
    name = draw(st.sampled_from(NAMES))
    document = copy.deepcopy(DOCUMENTS[name])
    numbers = [phase["number"] for phase in document["phases"]]
    for phase in document["phases"]:
        _draw_phase(draw, phase)
    for crossing in document["crossings"]:
        crossing["display"] = draw(st.sampled_from(("dark", "flash")))
        crossing["extension_form"] = draw(st.sampled_from(("P", "R")))
    for ring in document["rings"]:
        for group in ring:
            if draw(st.booleans()):
                group.reverse()
    if name in OVERLAPS and draw(st.booleans()):
        _add_overlap(document, *OVERLAPS[name])
    _draw_cabinet(draw, document, numbers)
    document["limits"]["service_bound_s"] = 300.0
    try:
        return checked_plan(document, name)
    except PlanError:
        assume(False)
        raise


def _draw_phase(draw, phase):
    has_walk = bool(phase.get("crossings"))
    phase["vehicle_recall"] = draw(st.sampled_from(("none", "none", "min", "max", "soft")))
    phase["dual_entry"] = draw(st.booleans())
    phase["simultaneous_gap"] = draw(st.booleans())
    phase["red_clear_s"] = draw(st.sampled_from((0.5, 1.0, phase["red_clear_s"])))
    phase["passage_s"] = draw(st.sampled_from((0.0, 2.0, 5.0)))
    if draw(st.booleans()):
        phase.update(dynamic_max_s=phase["max_green_s"] + 10.0, dynamic_step_s=5.0)
    if not has_walk:
        phase["conditional_service"] = draw(st.booleans())
        return
    phase["ped_recall"] = draw(st.booleans())
    phase["rest_in_walk"] = draw(st.booleans())
    walk = draw(st.sampled_from(("", "", "leading_walk_s", "walk_delay_s")))
    if walk:
        phase[walk] = 3.0


def _add_overlap(document, movement, phases):
    for phase in document["phases"]:
        phase["movements"] = [name for name in phase["movements"] if name != movement]
        if phase["number"] in phases:
            phase.pop("leading_walk_s", None)
    document["overlaps"] = [{"id": "A", "phases": list(phases), "movements": [movement]}]


def _draw_cabinet(draw, document, numbers):
    groups = [[ring[barrier] for ring in document["rings"]] for barrier in range(len(document["rings"][0]))]

    def together():
        return [draw(st.sampled_from(group)) for group in draw(st.sampled_from(groups)) if group]

    document["preempts"] = [
        {
            "number": number,
            "name": "fire",
            "phases": together(),
            "exit_phases": draw(st.sampled_from(([], together()))),
            "delay_s": draw(st.sampled_from((0.0, 2.5))),
            "min_dwell_s": draw(st.sampled_from((0.0, 10.0))),
            "walker_max_s": draw(st.sampled_from((0.0, 4.0, 10.0))),
        }
        for number in (1, 2)
    ]
    document["unit"] = {
        "startup_flash_s": draw(st.sampled_from((0.0, 0.0, 4.0))),
        "startup_red_s": draw(st.sampled_from((0.0, 0.0, 6.0))),
        "main_phases": draw(st.sampled_from(([], together()))),
    }
    for pattern in document["patterns"]:
        if draw(st.booleans()):
            pattern.update(
                mode="coordinated",
                coordinated=together(),
                force_off=draw(st.sampled_from(("fixed", "floating"))),
            )
            if draw(st.booleans()):
                pattern["permissive_s"] = draw(st.sampled_from((0.0, 5.0, 20.0)))
        pattern["offset_correction"] = draw(st.sampled_from(("shortway", "dwell")))
        pattern["offset_s"] = draw(st.sampled_from((0.0, 10.0)))

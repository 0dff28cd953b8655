"""Every column that a run writes is defined on the page of measures, and the page defines no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.envs.world import RunSpec, run_world
from bitgoeul.training.store import EVENT_COLUMNS

pytestmark = pytest.mark.sumo
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
ENTRIES = ("walk_first", "walk_second", "clearance", "red")


@pytest.fixture(scope="module")
def results():
    given = {"site": "bukmun_5", "seed": 10_000, "hour": "peak", "minutes": 10}
    return {
        (controller, detector): run_world(RunSpec(controller=controller, detector=detector, **given))
        for controller, detector in (("fixed", "camera_day"), ("fixed", "off"), ("eta", "perfect"))
    }


def defined(section):
    """Return the columns in the table under a heading."""
    part = PAGE.split(f"## {section}")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", part, flags=re.MULTILINE)


def general(column):
    """Return the name under which a column of a group is defined."""
    crossing = re.fullmatch(r"(ped_wait(?:_p95|_max)?_s)_X\w", column)
    if crossing:
        return f"{crossing[1]}_CROSSING"
    group = re.fullmatch(r"(crossings_n|residual_n)_(.+)", column)
    if group and (group[2] in (*MOBILITY_CLASSES, *ENTRIES, "unknown") or re.fullmatch(r"\d+m", group[2])):
        return f"{group[1]}_GROUP"
    return column


def test_every_column_of_the_events_is_defined_and_no_other(results):
    columns = list(results["eta", "perfect"].events[0])
    assert defined("One walker") == columns
    assert set(EVENT_COLUMNS) <= set(columns)


def test_every_column_of_the_row_is_defined_and_no_other(results):
    intro = re.findall(r"`(\w+)`", PAGE.split("## One run")[1].split("| column |")[0])[1:]
    columns = {general(column) for column in results["eta", "perfect"].row}
    assert columns == set(defined("One run")) | set(intro)


def test_used_and_wasted_add_up_to_the_extension(results):
    row = results["eta", "perfect"].row
    assert row["extension_s_per_h"] > 0
    assert row["extension_used_s_per_h"] > 0
    total = row["extension_used_s_per_h"] + row["extension_wasted_s_per_h"]
    assert total == pytest.approx(row["extension_s_per_h"])


def test_no_measure_depends_on_what_a_sensor_saw(results):
    seen, blind = results["fixed", "camera_day"], results["fixed", "off"]
    assert seen.trace_hash == blind.trace_hash
    assert any(event["was_detected"] for event in seen.events)
    assert not any(event["was_detected"] for event in blind.events)
    assert without(seen.events, "was_detected") == without(blind.events, "was_detected")
    assert without([seen.row], "detector") == without([blind.row], "detector")


def without(records, name):
    """Return the records but for one column; not-a-number as text, so that it equals itself."""
    return [
        {key: str(value) if value != value else value for key, value in record.items() if key != name}  # noqa: PLR0124
        for record in records
    ]


@pytest.mark.parametrize(
    "module", ["measures", "result", "pet", "paths", "extension_use", "queues", "tripinfo"]
)
def test_the_measures_do_not_import_a_detector(module):
    tree = ast.parse((ROOT / "envs" / "bitgoeul" / "envs" / f"{module}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert not imported & {"detector", "street", "bitgoeul.controller.need", "bitgoeul.envs.detector"}
    assert not names & {"Track", "Frame", "Snapshot", "EmulatedDetector", "NeedEstimator"}

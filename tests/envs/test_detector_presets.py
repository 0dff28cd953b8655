"""The presets' file: tagged figures, class tables that come to the overall figures, changes by the user."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from bitgoeul.controller.control_commands import control
from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.envs.detector import PRESETS, preset
from bitgoeul.envs.detector_presets import FIELDS, PresetFile, class_table, preset_file
from bitgoeul.envs.world import RunSpec
from bitgoeul.training.compare import Comparison
from bitgoeul.training.compare_commands import check_comparison

PLACE = {name: place for place, name in enumerate(MOBILITY_CLASSES)}


def test_every_preset_has_its_name_and_an_unknown_one_lists_them():
    assert " ".join(PRESETS) == (
        "perfect camera_day camera_night thermal push_button adversarial class_blind off"
    )
    assert all(preset(name).name == name for name in PRESETS)
    with pytest.raises(ValueError, match=r"'radar' is unknown.*perfect, camera_day"):
        preset("radar")


def test_every_figure_has_a_source_and_every_preset_every_figure():
    for name in PRESETS:
        figures = preset_file().figures(name)
        assert set(figures) == set(FIELDS)
        assert all(re.match(r"[SMA](: .+)?$", source) for _, source in figures.values())
    with pytest.raises(ValueError, match=r"(?s)classes.*presets\.x\.figures\.latency_s"):
        PresetFile.model_validate(
            {
                "schema_version": 1,
                "classes": [{}],
                "presets": {"x": {"about": "x", "figures": {"latency_s": [1, "?"]}}},
            }
        )


def test_camera_day_is_the_stated_default():
    day = preset("camera_day")
    assert (day.person_recall, day.frame_seen_share, day.mean_gap_s, day.latency_s) == (0.97, 0.95, 0.5, 0.5)
    assert (day.position_noise_m, day.speed_noise_mps, day.class_precision) == (0.3, 0.1, 0.9)
    assert (day.false_tracks_per_h, day.outage_share, day.outage_mean_s) == (1.0, 0.01, 5.0)
    assert day.occlusion_depth == 0.0
    assert RunSpec(site="bukmun_5", controller="eta", seed=1, hour="peak", minutes=1).detector == "camera_day"


@pytest.mark.parametrize("overall", [1.0, 0.97, 0.8, 0.5, 0.1, 0.0])
def test_recall_by_class_comes_to_the_overall_recall(overall):
    table = class_table()
    for is_button in (False, True):
        recalls = table.recalls(overall, is_button=is_button)
        assert sum(m * r for m, r in zip(table.mix, recalls, strict=True)) == pytest.approx(overall, abs=1e-9)
        assert all(0 <= recall <= 1 for recall in recalls)
    if 0 < overall < 1:
        recalls = table.recalls(overall)
        assert (
            recalls[PLACE["stroller_child"]] < recalls[PLACE["manual_wheelchair"]] < recalls[PLACE["adult"]]
        )


@pytest.mark.parametrize("overall", [1.0, 0.9, 0.7, 0.5, 0.34])
def test_the_confusion_comes_to_the_overall_precision(overall):
    table = class_table()
    confusion = table.confusion(overall)
    right = sum(
        share * row[place] for place, (share, row) in enumerate(zip(table.mix, confusion, strict=True))
    )
    assert right == pytest.approx(overall, abs=1e-9)
    assert all(sum(row) == pytest.approx(1.0) for row in (*confusion, *table.stated(confusion)))


def test_classes_are_confused_with_those_they_look_like():
    cane = class_table().confusion(0.9)[PLACE["cane"]]
    assert cane[PLACE["elderly"]] > 20 * cane[PLACE["manual_wheelchair"]]
    chair = class_table().confusion(0.9)[PLACE["manual_wheelchair"]]
    # Per head of the mix, a wheelchair is taken for the other kind rather than for an adult.
    assert chair[PLACE["powered_wheelchair"]] / 0.02 > 10 * chair[PLACE["adult"]] / 0.50


def test_at_chance_a_report_says_nothing_but_the_mix():
    table = class_table()
    assert table.chance == pytest.approx(0.27, abs=0.01)
    row = table.confusion(table.chance)[PLACE["adult"]]
    # 0.5 of 0.5 + 2 x 0.25 (elderly) + 0.08 + 0.04 + 0.03 + 0.1 x 0.04 (wheelchairs) + 0.02 + 0.04
    assert row[PLACE["adult"]] == pytest.approx(0.5 / 1.214)


def test_the_mix_is_that_of_an_elderly_rich_site():
    assert class_table().mix == (0.50, 0.25, 0.08, 0.04, 0.02, 0.02, 0.03, 0.02, 0.04)


def test_changes_are_read_and_stay_in_the_name():
    changed = preset("camera_day:person_recall=0.8:latency_s=2:sees_kerb_b=false")
    assert (changed.person_recall, changed.latency_s, changed.sees_kerb_b) == (0.8, 2.0, False)
    assert changed.name == "camera_day:person_recall=0.8:latency_s=2:sees_kerb_b=false"
    assert (changed.class_precision, PRESETS["camera_day"].person_recall) == (0.9, 0.97)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera_day:person_recall=1.2", r"person_recall = 1\.2: input should be less than or equal to 1"),
        ("camera_day:latency_s=late", r"latency_s = late: input should be a valid number"),
        ("camera_day:latency_s=nan", r"latency_s = nan: input should be a finite number"),
        (
            "camera_day:recall=0.8",
            r"'recall=0\.8' is no field=value; the fields are is_button, person_recall",
        ),
        ("camera_day:name=x", "'name=x' is no field=value"),
        ("camera_day:latency_s", "'latency_s' is no field=value"),
        ("camera_day:", "'' is no field=value"),
        ("camera_day:latency_s=1:latency_s=2", "latency_s stands twice"),
        ("perfect:class_precision=0.2", r"class_precision = 0\.2 is below 0\.27"),
        ("perfect:view_from_share=0.9:view_to_share=0.2", "view_from_share = 0.9 must be below"),
        ("perfect:mean_gap_s=0", "mean_gap_s = 0: input should be greater than or equal to 0.05"),
        ("perfect:frame_seen_share=0", "frame_seen_share = 0: must be above 0"),
    ],
)
def test_a_wrong_change_says_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        preset(text)


def test_control_refuses_a_wrong_detector_before_it_connects():
    told = CliRunner().invoke(
        control, ["--port", "1", "--site", "bukmun_5", "--detector", "perfect:latency_s=-3"]
    )
    assert isinstance(told.exception, ValueError)
    assert "latency_s = -3" in str(told.exception)


def test_a_run_and_a_comparison_take_changes_and_refuse_wrong_ones():
    spec = {"site": "bukmun_5", "controller": "eta", "seed": 1, "hour": "peak", "minutes": 1}
    assert RunSpec(**spec, detector="perfect:latency_s=3").detector == "perfect:latency_s=3"
    with pytest.raises(ValueError, match="latency_s = -3"):
        RunSpec(**spec, detector="perfect:latency_s=-3")
    sweep = ("perfect:person_recall=0.9", "perfect:person_recall=0.5", "class_blind")
    both = {"controllers": ("eta",), "seeds": (1,), "hour": "peak", "minutes": 1, "sites": ("bukmun_5",)}
    assert [each.detector for each in check_comparison(Comparison(**both, detectors=sweep)).specs()] == [
        *sweep
    ]
    with pytest.raises(ValueError, match="person_recall = 5"):
        check_comparison(Comparison(**both, detectors=("perfect:person_recall=5",)))

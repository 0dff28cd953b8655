"""Sites are found by name, by folder and by plan file; faults name the file and the place."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitgoeul.controller.errors import PlanError, ScenarioError
from bitgoeul.sim_scenarios import catalog
from bitgoeul.sim_scenarios.catalog import SITES_FOLDER, load_site, site_names


def test_both_variants_are_registered():
    assert site_names()[:2] == ("bukmun_5", "bukmun_5_zone")


def test_the_zone_has_its_own_plan_and_the_same_streets_and_demand():
    base, zone = load_site("bukmun_5"), load_site("bukmun_5_zone")
    assert base.plan.limits.design_speed_mps == 1.0
    assert zone.plan.limits.design_speed_mps == 0.7
    assert zone.network_folder == base.network_folder
    assert zone.demand == base.demand
    assert [each.sumo_edge for each in zone.plan.crossings] == [
        each.sumo_edge for each in base.plan.crossings
    ]


@pytest.mark.parametrize("as_file", [True, False])
def test_a_site_is_also_found_by_its_path(site_copy, as_file):
    folder = site_copy()
    site = load_site(folder / "plan.toml" if as_file else folder)
    assert (site.name, site.folder) == ("bukmun_5", folder)


def test_a_plan_file_of_another_name_is_read_itself(site_copy):
    folder = site_copy()
    other = folder / "other.toml"
    text = (folder / "plan.toml").read_text(encoding="utf-8")
    other.write_text(text.replace('id = "bukmun_5"', 'id = "other"', 1), encoding="utf-8")
    assert load_site(other).plan.site.id == "other"


def test_an_unknown_site_lists_the_known_ones():
    with pytest.raises(ScenarioError, match=r"'gwangju' is unknown; give one of bukmun_5, bukmun_5_zone"):
        load_site("gwangju")


def test_a_faulty_plan_is_the_plans_error(site_copy):
    with pytest.raises(PlanError, match=r"plan\.toml"):
        load_site(site_copy("plan.toml", "min_green_s = 7.0", "min_green_s = -7.0"))


def test_a_design_speed_retimes_the_plan():
    slow = load_site("bukmun_5", design_speed_mps=0.8)
    crossing = slow.plan.crossing("XW")
    phase = slow.plan.phase(slow.plan.phase_of("XW"))
    assert phase.walk_s + phase.ped_clear_s >= 7 + crossing.length_m / 0.8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("based_on = ", "cannot be read"),
        ('based_on = "nowhere"', "'nowhere' is unknown"),
        ('based_on = "bukmun_5_zone"', "itself based on another"),
        ('base = "bukmun_5"', "exactly one line"),
    ],
)
def test_a_faulty_site_file_is_refused(tmp_path, text, message):
    folder = tmp_path / "variant"
    shutil.copytree(SITES_FOLDER / "bukmun_5_zone", folder)
    (folder / "site.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=message):
        load_site(folder)


@pytest.mark.parametrize("kind", ["module", "callable"])
def test_other_packages_register_sites_by_entry_point(monkeypatch, site_copy, kind):
    folder = site_copy()
    module = type(pytest)("their_site")
    module.__file__ = str(folder / "__init__.py")
    target = module if kind == "module" else lambda: str(folder)
    point = SimpleNamespace(name="theirs", load=lambda: target)
    monkeypatch.setattr(
        catalog, "entry_points", lambda *, group: [point] if group == "bitgoeul.sites" else []
    )
    assert "theirs" in site_names()
    assert load_site("theirs").folder == folder


def test_an_entry_point_must_give_a_folder(monkeypatch):
    point = SimpleNamespace(name="theirs", load=lambda: 3)
    monkeypatch.setattr(catalog, "entry_points", lambda *, group: [point])
    with pytest.raises(ScenarioError, match="theirs: its entry point must give a folder"):
        site_names()


def test_every_site_says_where_its_figures_come_from(site):
    text = (Path(site.folder) / "SOURCES.md").read_text(encoding="utf-8")
    rows = [
        row for row in text.splitlines() if row.startswith("| ") and not row.startswith(("| what", "| short"))
    ]
    tags = ("R", "M", "A", "derived", "measured", "S, M or A")
    source_names = ("| row |", "| manual |", "| rules |", "| KHCM |")
    untagged = [
        r for r in rows if not r.split("|")[-2].strip().startswith(tags) and not r.startswith(source_names)
    ]
    assert len(rows) > 5
    assert untagged == []

"""`bitgoeul sites` and `bitgoeul site`: what they print, and whose mistake an error is."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.commands import site as site_command
from bitgoeul.sim_scenarios.commands import sites as sites_command


def output(command, *arguments):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_sites_lists_id_korean_name_crossings_cycle_and_design_speed():
    text = output(sites_command)
    assert "bukmun_5  장애인복지회관" in text
    assert "XW 35 m, XE 35 m; cycle 180 s; design speed 0.7 m/s" in text


def test_sites_as_json():
    listed = {each["site"]: each for each in json.loads(output(sites_command, "--json"))["sites"]}
    assert listed["bukmun_5"]["cycle_s"] == 160
    assert listed["bukmun_5"]["design_speed_mps"] == 1.0
    assert {"id": "XS", "length_m": 18.0} in listed["bukmun_5_zone"]["crossings"]


def test_sites_lists_corridors_on_request_and_says_what_stands_in():
    text = output(sites_command, "--corridors")
    assert text.startswith("bukmun_row  북문대로  (Bukmun-daero")
    assert "bukmun_4  운암동 한국병원 (Unam Hankook Hospital (stand-in)): site bukmun_5, offset 53 s" in text
    assert "bukmun_6 to bukmun_5: 384 m" in text
    assert "stand-ins" in text
    assert "SOURCES.md" in text
    (row,) = json.loads(output(sites_command, "--corridors", "--json"))["corridors"]
    assert row["corridor"] == "bukmun_row"
    assert [each["id"] for each in row["members"]] == ["bukmun_6", "bukmun_5", "bukmun_4"]
    assert [each["spacing_m"] for each in row["links"]] == [384.0, 342.0]


def test_show_states_degrees_of_saturation_and_the_khcm_wait():
    text = output(site_command, "show", "bukmun_5")
    # By hand: 1550 / (3 lanes x 1900 x 65 / 160) = 0.669; (160 - 15)^2 / 320 = 65.7 s.
    assert "phase 2 eastbound: 1550 veh/h, saturation 0.67" in text
    assert "phase 8 northbound: 200 veh/h, saturation 0.40" in text
    assert "walkers wait 66 s (KHCM)" in text
    assert "Hypothetical" in output(site_command, "show", "bukmun_5_zone")


@pytest.mark.sumo
def test_export_prints_the_configuration(tmp_path):
    text = output(
        site_command, "export", "bukmun_5", "--minutes", "1", "--hour", "8", "--out", str(tmp_path / "x")
    )
    assert text.strip() == str(tmp_path / "x" / "run.sumocfg")


def test_an_unknown_site_is_a_scenario_error():
    result = CliRunner().invoke(site_command, ["show", "gwangju"])
    assert isinstance(result.exception, ScenarioError)

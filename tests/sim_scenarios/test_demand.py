"""Draws depend on the seed alone, follow the tables, and broken files are named with their place."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from statistics import fmean
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import parse_plan
from bitgoeul.controller.walking import P85_Z, lognormal_parameters
from bitgoeul.sim_scenarios import walker_tables
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.demand import Variation, draw_trips, write_routes
from bitgoeul.sim_scenarios.streams import picked, picker, truncated_normal, truncated_normals
from bitgoeul.sim_scenarios.tables import TruncatedNormal
from bitgoeul.sim_scenarios.walker_tables import walker_classes
from bitgoeul.sim_scenarios.walker_trips import STEADY, Gait, gait_of


@pytest.fixture(scope="module")
def day(bukmun):
    """A long run, for shares and means."""
    return draw_trips(bukmun, seed=7, hour="peak", duration_s=20 * 3600)


def test_one_seed_gives_one_set_of_trips(bukmun):
    first = draw_trips(bukmun, seed=10_000, hour="peak", duration_s=900)
    assert first == draw_trips(bukmun, seed=10_000, hour="peak", duration_s=900)
    other = draw_trips(bukmun, seed=10_001, hour="peak", duration_s=900)
    assert first.vehicles != other.vehicles
    assert first.walkers != other.walkers


def test_the_zone_and_a_retimed_plan_have_the_same_trips(bukmun):
    trips = draw_trips(bukmun, seed=10_000, hour="peak", duration_s=900)
    for site in (load_site("bukmun_5_zone"), load_site("bukmun_5", design_speed_mps=0.8)):
        assert draw_trips(site, seed=10_000, hour="peak", duration_s=900) == trips


def test_a_longer_run_only_adds_trips_at_its_end(bukmun):
    short = draw_trips(bukmun, seed=3, hour="night", duration_s=1800)
    long = draw_trips(bukmun, seed=3, hour="night", duration_s=3600)
    assert long.vehicles[: len(short.vehicles)] == short.vehicles
    assert long.walkers[: len(short.walkers)] == short.walkers
    assert max(trip.depart_s for trip in short.walkers) < 1800 <= long.walkers[len(short.walkers)].depart_s


def test_flows_are_the_demand_files(day):
    hours = day.duration_s / 3600
    assert len(day.vehicles) / hours == pytest.approx(3920, rel=0.02)
    assert len(day.walkers) / hours == pytest.approx(793, rel=0.03)
    movements = Counter(trip.movement for trip in day.vehicles)
    assert movements["EBT"] / hours == pytest.approx(1400, rel=0.03)
    assert movements["NBL"] / hours == pytest.approx(80, rel=0.1)


def test_periods_scale_the_flows(bukmun):
    counts = {
        hour: len(draw_trips(bukmun, seed=1, hour=hour, duration_s=3600).vehicles)
        for hour in ("peak", "8", "offpeak", "night", "3")
    }
    assert counts["peak"] == counts["8"]
    assert counts["night"] == counts["3"]
    assert counts["offpeak"] / counts["peak"] == pytest.approx(0.6, rel=0.1)
    assert counts["night"] / counts["peak"] == pytest.approx(0.15, rel=0.2)


def test_walkers_follow_their_class(bukmun, day):
    table = walker_classes()
    for name in MOBILITY_CLASSES:
        everyone = [trip for trip in day.walkers if trip.mobility_class == name]
        figures = table.walker_class(name)
        assert len(everyone) / len(day.walkers) == pytest.approx(bukmun.demand.mobility_mix[name], abs=0.01)
        walkers = [trip for trip in everyone if not trip.is_companion]
        lowest = min(each.clip[0] for each in figures.speed.parts)
        highest = max(each.clip[1] for each in figures.speed.parts)
        assert all(lowest <= trip.speed_mps <= highest for trip in walkers)
        assert fmean(trip.speed_mps for trip in walkers) == pytest.approx(figures.mean_speed_mps, rel=0.05)
        # The lognormals have long tails: means of 300 and more draws wander.
        startup_s = 2.5 if name == "visually_impaired" else figures.startup.mean_s  # crossings with sound
        assert fmean(trip.startup_s for trip in walkers) == pytest.approx(startup_s, rel=0.15)
        assert {trip.late_s for trip in walkers} == {0.0, 8.0}
        assert fmean(trip.late_s > 0 for trip in walkers) == pytest.approx(figures.late.share, abs=0.04)
        assert {trip.red_s for trip in walkers} == {0.0}
        assert {trip.gait.slow_to for trip in walkers} == {figures.slowing.to}
    assert fmean(trip.late_s > 0 for trip in day.walkers) == pytest.approx(0.1, abs=0.01)


def test_traits_come_as_often_as_the_table_says(day):
    """Shares at 18 and 35 m crossings, from the table by hand."""
    frail = [trip for trip in day.walkers if trip.mobility_class == "frail" and not trip.is_companion]
    for length, crossings in ((18, "XS XN"), (35, "XW XE")):
        here = [trip.gait for trip in frail if trip.crossing in crossings.split()]
        rests = [gait.rest_s for gait in here if gait.rest_at]
        assert len(rests) / len(here) == pytest.approx({18: 0.071, 35: 0.133}[length], abs=0.05)
        assert all(0.15 <= gait.rest_at <= 0.85 for gait in here if gait.rest_at)
        assert all(0 < seconds <= 9 for seconds in rests)
    assert {gait.hurry_factor for gait in (trip.gait for trip in frail)} == {1.0}
    assert fmean(trip.gait.turn_within == 0.15 for trip in frail) == pytest.approx(0.2, abs=0.05)
    adults = [trip for trip in day.walkers if trip.mobility_class == "adult" and not trip.is_companion]
    assert fmean(trip.gait.hurry_factor == 1.4 for trip in adults) == pytest.approx(0.8, abs=0.02)
    assert not [trip for trip in adults if trip.gait.rest_at]


def test_a_party_departs_and_walks_as_its_leader(day):
    parties = {}
    for trip in day.walkers:
        if trip.gait.party:
            parties.setdefault(trip.gait.party, []).append(trip)
    assert len(parties) > 2000
    for leader, *others in parties.values():
        assert not leader.is_companion
        assert others
        for other in others:
            assert other.is_companion
            assert other == leader._replace(
                id=other.id, mobility_class=other.mobility_class, is_companion=True
            )
    of_frail = {
        other.mobility_class
        for leader, *rest in parties.values()
        for other in rest
        if leader.mobility_class == "frail"
    }
    assert of_frail == {"adult"}
    frail = [trip for trip in day.walkers if trip.mobility_class == "frail"]
    assert fmean(bool(trip.gait.party) for trip in frail) == pytest.approx(0.4, abs=0.06)


def test_sound_shortens_the_start_of_the_visually_impaired_and_of_nobody_else(bukmun):
    text = bukmun.plan_file.read_text(encoding="utf-8").replace("acoustic = true", "acoustic = false")
    silent = dataclasses.replace(bukmun, plan=parse_plan(text, "here"))
    with_sound, without = (
        draw_trips(site, seed=5, hour="peak", duration_s=20 * 3600).walkers for site in (bukmun, silent)
    )
    led = [(a, b) for a, b in zip(with_sound, without, strict=True) if a.startup_s != b.startup_s]
    assert {a.mobility_class for a, _ in led if not a.is_companion} == {"visually_impaired"}
    assert fmean(a.startup_s for a, _ in led) == pytest.approx(2.5, rel=0.15)
    assert fmean(b.startup_s for _, b in led) == pytest.approx(4.0, rel=0.2)
    assert len(led) > 50


@pytest.mark.parametrize(
    ("mix", "per_person"),
    [
        # Alone: elderly lead 1 / 1.16 parties a person. Helpers: l_f = 0.5, 0.4 of them helped, so
        # adults lead (0.5 - 0.2) / 1.24. Too few adults: all of them help, nobody leads.
        ({"elderly": 1.0}, 1 / 1.16),
        ({"frail": 0.5, "adult": 0.5}, 0.5 + 0.3 / 1.24),
        ({"frail": 0.9, "adult": 0.1}, 0.9),
        ({"frail": 1.0}, 1.0),
    ],
)
def test_parties_keep_the_mix_of_persons(mix, per_person):
    parties = walker_classes().parties(mix)
    assert parties.per_person == pytest.approx(per_person)
    assert sum(parties.leaders.values()) == pytest.approx(1.0)


def test_a_gait_is_written_and_read():
    gait = Gait(hurry_factor=1.4, rest_at=0.25, rest_s=3.5, turn_within=0.15, party="XS-4")
    assert gait.as_text() == "hurry_factor=1.4 rest_at=0.25 rest_s=3.5 turn_within=0.15 party=XS-4"
    assert gait_of(gait.as_text()) == gait
    assert STEADY.as_text() == ""
    assert gait_of("") is STEADY
    with pytest.raises(ValueError, match=r"'speed=3' is no NAME=VALUE with NAME of hurry_factor"):
        gait_of("speed=3")


def test_ages_become_classes():
    mix = walker_classes().mix_of_ages({"from_13_to_64": 0.5, "from_75": 0.5})
    assert mix["adult"] == pytest.approx(0.47)
    assert mix["elderly"] == pytest.approx(0.30)
    assert mix["cane"] == pytest.approx(0.1025)
    assert sum(mix.values()) == pytest.approx(1.0)


def test_a_site_may_state_ages_and_an_hour_its_own_mix(site_copy):
    folder = site_copy("demand.toml", 'name = "offpeak"', 'name = "offpeak"\nmobility_mix = { adult = 1.0 }')
    file = folder / "demand.toml"
    text = file.read_text(encoding="utf-8")
    begins, ends = text.index("[mobility_mix]"), text.index("# Hours of the day")
    ages = "[age_structure]\nfrom_13_to_64 = 0.5\nfrom_75 = 0.5\n"
    file.write_text(text[:begins] + ages + text[ends:], encoding="utf-8")
    site = load_site(folder)
    assert site.demand.mix_at("offpeak") == {"adult": 1.0}
    assert {t.mobility_class for t in draw_trips(site, seed=1, hour="offpeak", duration_s=3600).walkers} == {
        "adult"
    }
    walkers = draw_trips(site, seed=1, hour="peak", duration_s=3600).walkers
    assert fmean(t.mobility_class == "elderly" for t in walkers) == pytest.approx(0.3, abs=0.05)


def test_both_kerbs_of_every_crossing_are_used_by_the_right_sidewalks(bukmun, day):
    inbound_kerb = {"XW": "S", "XN": "W", "XE": "N", "XS": "E"}
    for trip in day.walkers:
        leg = trip.crossing[1]
        kerb_edge = f"{leg}_in" if trip.from_kerb == inbound_kerb[trip.crossing] else f"{leg}_out"
        assert trip.edges[0] == kerb_edge
        assert set(trip.edges) == {f"{leg}_in", f"{leg}_out"}
        assert trip.from_kerb in bukmun.plan.crossing(trip.crossing).kerbs
    shares = Counter((trip.crossing, trip.from_kerb) for trip in day.walkers)
    assert len(shares) == 8
    assert all(count / len(day.walkers) == pytest.approx(0.125, abs=0.01) for count in shares.values())


@pytest.mark.parametrize(("mean", "p85"), [(1.9, 3.1), (2.5, 4.0), (3.5, 5.0)])
def test_the_lognormal_meets_its_mean_and_p85(mean, p85):
    mu, sigma = lognormal_parameters(mean, p85)
    assert math.exp(mu + sigma**2 / 2) == pytest.approx(mean)
    assert math.exp(mu + P85_Z * sigma) == pytest.approx(p85)


def test_a_p85_out_of_reach_gives_the_nearest_lognormal():
    mu, sigma = lognormal_parameters(4.0, 7.0)
    assert math.exp(mu + sigma**2 / 2) == pytest.approx(4.0)
    assert math.exp(mu + P85_Z * sigma) == pytest.approx(6.844, abs=0.001)


def test_a_p85_below_the_mean_is_refused():
    with pytest.raises(ValueError, match="must be above mean"):
        lognormal_parameters(4.0, 3.0)


def test_many_draws_at_once_give_what_they_give_one_by_one():
    draws = [1e-12, *np.random.default_rng(1).random(2_000).tolist(), 1 - 1e-12]
    shape = TruncatedNormal(mean=1.0, sd=0.13, clip=(0.7, 1.4))
    assert truncated_normals(shape, draws) == [truncated_normal(shape, draw) for draw in draws]
    shares = {"car": 0.7, "bus": 0.1, "truck": 0.2}
    assert picked(shares, draws) == [picker(shares)(draw) for draw in draws]
    assert picked(shares, []) == []


def test_a_truncated_normal_stays_within_its_clip_and_keeps_its_middle():
    shape = TruncatedNormal(mean=1.0, sd=0.25, clip=(0.4, 1.6))
    assert truncated_normal(shape, 1e-12) == pytest.approx(0.4, abs=1e-6)
    assert truncated_normal(shape, 0.5) == pytest.approx(1.0)
    assert truncated_normal(shape, 1 - 1e-12) == pytest.approx(1.6, abs=1e-6)


def test_the_route_file_is_sorted_and_carries_the_walkers_figures(bukmun, tmp_path):
    trips = draw_trips(bukmun, seed=10_000, hour="peak", duration_s=600)
    path = tmp_path / "trips.rou.xml"
    write_routes(trips, path)
    root = ET.parse(path).getroot()
    departures = [float(each.get("depart")) for each in root if each.get("depart")]
    assert departures == sorted(departures)
    assert len(root.findall("vehicle")) == len(trips.vehicles)
    types = {each.get("id"): each for each in root.findall("vType")}
    for trip, person in zip(trips.walkers, root.findall("person"), strict=True):
        own = types[person.get("type")]
        stated = {each.get("key"): each.get("value") for each in person.findall("param")}
        assert gait_of(stated.pop("bitgoeul.gait", "")) == trip.gait
        assert own.get("maxSpeed") == own.get("desiredMaxSpeed") == f"{trip.speed_mps:.3f}"
        assert (own.get("speedFactor"), own.get("speedDev")) == ("1", "0")
        assert own.get("jmDriveAfterYellowTime") == ("8" if trip.late_s else None)
        assert stated == {
            "bitgoeul.class": trip.mobility_class,
            "bitgoeul.startup_s": f"{trip.startup_s:.2f}",
            "bitgoeul.crossing": trip.crossing,
            "bitgoeul.speed_mps": f"{trip.speed_mps:.3f}",
        }
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_clear_error(bukmun, tmp_path):
    trips = draw_trips(bukmun, seed=1, hour="night", duration_s=60)
    with pytest.raises(ScenarioError, match="cannot be written"):
        write_routes(trips, tmp_path / "nowhere" / "trips.rou.xml")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed -1 is negative"),
        ({"duration_s": 0}, ValueError, "too short"),
        ({"hour": "noon"}, ScenarioError, "'noon' is unknown; give one of peak, offpeak, night"),
        ({"hour": "24"}, ScenarioError, "'24' is unknown"),
    ],
)
def test_wrong_arguments_are_refused(bukmun, arguments, error, message):
    with pytest.raises(error, match=message):
        draw_trips(bukmun, **{"seed": 1, "hour": "peak", "duration_s": 60, **arguments})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "schema_version = 1",
            "schema_version = ",
            r"demand\.toml: cannot be read: Invalid value \(at line 3",
        ),
        ("left_veh_per_h = 130.0", "left_veh_per_h = -130.0", r"approaches\.0\.left_veh_per_h"),
        ("left_veh_per_h = 130.0", "left_vehicles = 130.0", r"approaches\.0\.left_vehicles"),
        ("left_veh_per_h = 130.0", 'left_veh_per_h = "many"', r"approaches\.0\.left_veh_per_h"),
        ("share = 0.94", "share = 0.5", "shares of vehicle_types sum to 0.56"),
        ("adult = 0.50", "adult = 0.40", "shares of mobility_mix sum to 0.9"),
        (
            "yield_gap_m = 6.0",
            "yield_gap_m = 6.0\nage_structure = { from_75 = 1.0 }",
            "mobility_mix or age_structure",
        ),
        (
            'name = "offpeak"',
            'name = "offpeak"\nage_structure = { old = 1.0 }',
            r"periods\.1: age_structure has \['old'\]",
        ),
        ("cane = 0.08", "robots = 0.08", r"mobility_mix has \['robots'\]"),
        ("hours = [7, 8, 9, 17, 18, 19]", "hours = [7, 8, 9, 17, 18]", "each hour of the day"),
        ("clip = [0.8, 1.2]", "clip = [1.1, 1.2]", r"vehicle_speed_factor.*must lie inside clip"),
        ('leg = "W"', 'leg = "X"', r"approaches has rows for \['E', 'N', 'S', 'X'\]"),
        ('id = "XS"', 'id = "XX"', r"crossings has rows for"),
    ],
)
def test_a_broken_demand_file_is_named_with_the_place(site_copy, old, new, message):
    with pytest.raises(ScenarioError, match=message):
        load_site(site_copy("demand.toml", old, new))


def test_a_missing_demand_file_is_named(site_copy):
    folder = site_copy()
    (folder / "demand.toml").unlink()
    with pytest.raises(ScenarioError, match=r"demand\.toml: cannot be read: No such file"):
        load_site(folder)


def test_every_figure_of_a_class_names_its_source():
    for each in walker_classes().classes:
        blocks = [each.speed, each.startup, each.late, each.red, each.hurry, each.slowing, each.rest]
        assert all(block.source[0] in "SMA" for block in [*blocks, each.turn_back, each.companions])
    with pytest.raises(ValueError, match="'robot' is unknown"):
        walker_classes().walker_class("robot")


def test_a_figure_without_a_source_is_refused(tmp_path, monkeypatch):
    text = walker_tables.WALKER_CLASSES_FILE.read_text(encoding="utf-8")
    file = tmp_path / "walker_classes.toml"
    monkeypatch.setattr(walker_tables, "WALKER_CLASSES_FILE", file)
    for old, new, message in (
        ('source = "S: FHWA after Staplin"', 'source = "somewhere"', r"classes\.0\.startup\.source"),
        ("one = 0.16, two = 0.04", "one = 0.9, two = 0.2", "probabilities sum to at most 1"),
        ("stroller_child = 0.97", "stroller_child = 0.5", "age group under_13 sum to 0.53"),
        ('id = "crutches"', 'id = "cane"', "each class must stand once"),
    ):
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ScenarioError, match=message):
            walker_tables.walker_classes.__wrapped__()


def test_occupancy_is_in_the_demand_file(bukmun):
    assert (bukmun.demand.persons_in("car"), bukmun.demand.persons_in("bus")) == (1.4, 25.0)
    with pytest.raises(ValueError, match="'tram' is not in the demand file"):
        bukmun.demand.persons_in("tram")


def test_the_sites_own_variation_changes_no_trip(bukmun):
    plain = draw_trips(bukmun, seed=3, hour="peak", duration_s=1800)
    same = Variation(demand_factor=1.0, walker_mix=bukmun.demand.mix_at("peak"))
    assert draw_trips(bukmun, seed=3, hour="peak", duration_s=1800, variation=Variation()) == plain
    assert draw_trips(bukmun, seed=3, hour="peak", duration_s=1800, variation=same) == plain


def test_a_demand_factor_scales_vehicles_and_walkers(bukmun):
    whole = draw_trips(bukmun, seed=3, hour="peak", duration_s=10 * 3600)
    half = draw_trips(
        bukmun, seed=3, hour="peak", duration_s=10 * 3600, variation=Variation(demand_factor=0.5)
    )
    assert len(half.vehicles) / len(whole.vehicles) == pytest.approx(0.5, rel=0.03)
    assert len(half.walkers) / len(whole.walkers) == pytest.approx(0.5, rel=0.05)


def test_a_walker_mix_says_who_walks_and_changes_no_vehicle(bukmun):
    plain = draw_trips(bukmun, seed=3, hour="peak", duration_s=10 * 3600)
    mix = Variation(walker_mix={"frail": 0.5, "adult": 0.5})
    other = draw_trips(bukmun, seed=3, hour="peak", duration_s=10 * 3600, variation=mix)
    frail = sum(trip.mobility_class == "frail" for trip in other.walkers)
    assert other.vehicles == plain.vehicles
    assert {trip.mobility_class for trip in other.walkers} == {"frail", "adult"}
    assert frail / len(other.walkers) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("factor", [0.0, -1.0, 3.1, float("nan")])
def test_a_demand_factor_out_of_its_range_is_refused(bukmun, factor):
    with pytest.raises(ValueError, match="a factor is above 0 and at most 3"):
        draw_trips(bukmun, seed=3, hour="peak", duration_s=60, variation=Variation(demand_factor=factor))

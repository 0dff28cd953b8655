"""Residuals, exposure, PET and waits by hand on a fake SUMO; sums by hand; a recount on the real site."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_bit
from bitgoeul.envs.measures import (
    Measures,
    RunHealth,
    VehicleMeasures,
    run_health,
    summarise,
    vehicle_measures,
)
from bitgoeul.envs.walkers import WalkerDriver

XW = 2  # phase 4, 35 m; phase 3 (northbound left) and the arterial conflict with it
WALK = Lamps(green=phase_bit(4) | phase_bit(8), walk=phase_bit(4) | phase_bit(8))
CLEARANCE = Lamps(green=phase_bit(4) | phase_bit(8), ped_clear=phase_bit(4) | phase_bit(8))
YELLOW = Lamps(yellow=phase_bit(4) | phase_bit(8))
LEFTS = Lamps(green=phase_bit(3) | phase_bit(7))
ARTERIAL = Lamps(green=phase_bit(2) | phase_bit(6))
DONE = VehicleMeasures(
    vehicles_n=10,
    unserved_n=1,
    unfinished_n=2,
    delay_s=30.0,
    stops_per_vehicle=1.5,
    occupants_n=20.0,
    person_delay_s=600.0,
)
HEALTHY = RunHealth(jammed_n=1, teleports_n=2, warnings_n=3)


class Junction:
    """Driver and measures on a fake SUMO, one step at a time in the order that the world keeps."""

    def __init__(self, sumo, plan, **options):
        self.sumo = sumo
        self.driver = WalkerDriver(sumo, plan)
        self.measures = Measures(plan, self.driver, sumo, options.pop("warmup_ds", 0), **options)
        self.now_ds = 0
        self.lamps = ALL_RED

    def step(self, lamps, steps=1, *, enters=None, position=0.5):
        """Run steps under these lamps; `enters` goes onto XW in the first of them."""
        for number in range(steps):
            if lamps != self.lamps:
                self.measures.lamps_changed(self.now_ds, self.lamps, lamps)
                self.lamps = lamps
            self.driver.act(self.now_ds, lamps)
            if enters is not None and number == 0:
                self.sumo.enter(enters, "XW", position)
            self.now_ds += 5
            self.driver.observe(self.now_ds)

    def rows(self):
        return {row["walker"]: row for row in self.measures.event_rows(self.now_ds)}


@pytest.fixture
def junction(sumo, plan):
    return Junction(sumo, plan)


def crossing_on(junction, lamps, *, person="w1", position=0.5, **parameters):
    """Let a person arrive, wait, and enter XW while the lamps are shown."""
    junction.sumo.arrive(person, "XW", **({"class": "frail", "speed_mps": 1.0} | parameters))
    junction.step(ALL_RED, 2)
    junction.step(lamps, enters=person, position=position)


def test_a_residual_is_counted_once_with_its_distance(junction):
    crossing_on(junction, WALK)
    junction.step(WALK, 29)
    junction.step(CLEARANCE, 54)
    junction.sumo.persons["w1"].position = 28.0
    junction.step(YELLOW, 14)
    junction.step(LEFTS, 10)
    junction.sumo.persons["w1"].position = 33.0
    junction.step(YELLOW, 2)
    junction.step(ARTERIAL, 3)
    junction.sumo.leave("w1")
    junction.step(ARTERIAL)
    row = junction.rows()["w1"]
    assert (row["is_residual"], row["residual_m"]) == (True, 7.0)
    assert row["exposure_s"] == 0.5 * (10 + 2 + 3 + 1)
    assert row["needed_after_clearance_s"] == 0.5 * (14 + 10 + 2 + 3 + 1)
    assert row["is_within_max"]
    assert (row["entry"], row["mobility_class"], row["kerb"]) == ("walk_first", "frail", "A")
    assert row["crossing_s"] == 0.5 * (29 + 54 + 14 + 10 + 2 + 3 + 1)


def test_within_the_maximum_ends_with_the_given_extension(sumo, plan):
    for maximum_s, is_within in ((0.0, False), (8.0, True)):
        junction = Junction(
            type(sumo)(plan), plan, extension_max_s=dict.fromkeys(["XS", "XN", "XW", "XE"], maximum_s)
        )
        crossing_on(junction, WALK)
        junction.step(CLEARANCE, 10)
        junction.step(YELLOW, 29)  # 15 s to the first step off: yellow 5 + red 2 + maximum 8
        junction.sumo.leave("w1")
        junction.step(YELLOW)
        row = junction.rows()["w1"]
        assert row["needed_after_clearance_s"] == 15.0
        assert row["is_within_max"] is is_within


def test_a_parallel_green_makes_no_residual(junction):
    crossing_on(junction, WALK)
    junction.step(YELLOW)
    junction.step(Lamps(green=phase_bit(8)))
    assert not junction.rows()["w1"]["is_residual"]


def test_who_leaves_in_time_needs_nothing(junction):
    crossing_on(junction, WALK)
    junction.sumo.leave("w1")
    junction.step(WALK)
    junction.step(CLEARANCE)
    junction.step(YELLOW)
    junction.step(LEFTS)
    row = junction.rows()["w1"]
    assert (row["is_residual"], row["needed_after_clearance_s"], row["is_within_max"]) == (False, 0.0, True)


def test_red_starters_are_counted_but_promised_nothing(junction):
    crossing_on(junction, YELLOW)
    junction.step(LEFTS)
    row = junction.rows()["w1"]
    assert (row["entry"], row["is_residual"], row["is_within_max"]) == ("red", True, False)
    assert row["needed_after_clearance_s"] is None


def test_entries_are_told_apart(junction):
    for person in ("first", "second", "flash"):
        junction.sumo.arrive(person, "XW", speed_mps=1.0)
    junction.step(ALL_RED, 2)
    junction.step(WALK, 20, enters="first")
    junction.step(WALK, 10, enters="second")
    junction.step(CLEARANCE, enters="flash")
    entries = {person: row["entry"] for person, row in junction.rows().items()}
    assert entries == {"first": "walk_first", "second": "walk_second", "flash": "clearance"}


def test_while_walk_still_runs_the_entry_is_judged_by_the_plan(junction, plan):
    assert plan.phase(4).walk_s == 15.0
    junction.sumo.arrive("early", "XW")
    junction.sumo.arrive("late", "XW")
    junction.step(ALL_RED, 2)
    junction.step(WALK, 20, enters="early")
    junction.step(WALK, enters="late")
    entries = {person: row["entry"] for person, row in junction.rows().items()}
    assert entries == {"early": "walk_first", "late": "walk_second"}


def test_waits_run_from_the_kerb_and_the_unserved_have_a_row(junction):
    junction.sumo.arrive("w1", "XW", metres=2.0, speed_mps=1.0)
    junction.step(ALL_RED, 60)
    row = junction.rows()["w1"]
    arrived_s = junction.driver.waiting[XW]["w1"].arrived_ds / 10
    assert row["wait_s"] == 30.0 - arrived_s - 2.0
    assert (row["entered_s"], row["entry"], row["crossing_s"]) == (None, None, None)
    junction.step(WALK, 10, enters="w1")
    row = junction.rows()["w1"]
    assert row["wait_s"] == 30.5 - arrived_s - 2.0
    assert row["entered_s"] == 30.5


def test_entries_before_the_end_of_warm_up_make_no_row(sumo, plan):
    junction = Junction(sumo, plan, warmup_ds=100)
    crossing_on(junction, WALK, person="before")
    junction.step(WALK, 20)
    junction.sumo.arrive("after", "XW")
    junction.step(WALK, 2)
    junction.step(WALK, enters="after")
    assert list(junction.rows()) == ["after"]


def test_exposure_to_yielding_turns_is_time_with_their_green(junction):
    crossing_on(junction, WALK)
    junction.step(WALK, 9)
    junction.step(YELLOW, 4)
    junction.sumo.leave("w1")
    junction.step(YELLOW)
    # The southbound right turn of phase 4 yields on XW; the walker entered 0.5 s into its green.
    assert junction.rows()["w1"]["exposure_yield_s"] == 4.5


def test_was_detected_comes_from_the_sensor(junction):
    crossing_on(junction, WALK)
    (row,) = junction.measures.event_rows(junction.now_ds, lambda walker: walker == "w1")
    assert row["was_detected"]


def residual_at(junction, position):
    crossing_on(junction, WALK, position=position)
    junction.step(YELLOW)
    junction.step(LEFTS)
    assert junction.rows()["w1"]["is_residual"]


def test_pet_behind_a_residual_walker_on_an_exit_lane(junction):
    # Lane W_out_1 lies at y = 14.5: 1.5 to 4.5 m along the crossing, which runs from the north.
    residual_at(junction, 6.5)
    assert len(junction.driver.watchers) == 1
    junction.sumo.vehicles["v1"] = SimpleNamespace(lane="W_out_1", position=3.0, speed=10.0)
    junction.step(LEFTS)
    # The walker left the strip 2 m or 2 s ago; the vehicle was at the near edge, 3 + 4 + 3 m back, 1 s ago.
    assert junction.rows()["w1"]["pet_s"] == pytest.approx(1.0)
    junction.sumo.leave("w1")
    junction.step(LEFTS, 12)
    assert junction.driver.watchers == []


def test_pet_on_an_approach_lane_and_none_in_front_of_the_walker(junction):
    junction.sumo.vehicles["v1"] = SimpleNamespace(lane="W_in_4", position=80.0, speed=5.0)
    residual_at(junction, 6.5)
    # W_in_4 lies at y = -5.5: 21.5 to 24.5 m along; the walker is not there yet.
    junction.sumo.vehicles["v1"].lane = ":J_1_0"
    junction.step(LEFTS)
    assert junction.rows()["w1"]["pet_s"] is None
    junction.sumo.vehicles["v2"] = SimpleNamespace(lane="W_in_4", position=80.0, speed=5.0)
    junction.sumo.persons["w1"].position = 26.5
    junction.step(LEFTS)
    junction.sumo.vehicles["v2"].lane = ":J_1_0"
    junction.sumo.vehicles["v2"].position = 1.0
    junction.step(LEFTS)
    # 2 m behind the strip; the vehicle is at the near edge, 1 m behind its stop line, now.
    assert junction.rows()["w1"]["pet_s"] == pytest.approx(2.0)


def test_a_vehicle_that_changes_lanes_has_not_passed(junction):
    junction.sumo.vehicles["v1"] = SimpleNamespace(lane="W_in_4", position=80.0, speed=5.0)
    residual_at(junction, 26.5)
    junction.sumo.vehicles["v1"].lane = "W_in_3"
    junction.step(LEFTS)
    assert junction.rows()["w1"]["pet_s"] is None


TRIP = (
    '<tripinfo id="{id}" depart="{depart}" departDelay="{wait}" arrival="{arrival}" waitingCount="{stops}" '
    'timeLoss="{loss}" vType="{kind}"/>'
)


def trips(*rows):
    keys = ("id", "kind", "depart", "wait", "arrival", "stops", "loss")
    body = "".join(TRIP.format(**dict(zip(keys, row, strict=True))) for row in rows)
    return f"<tripinfos>{body}<personinfo id='w1' depart='1'/></tripinfos>"


def test_vehicle_delay_holds_those_who_never_entered(tmp_path):
    path = tmp_path / "tripinfo.xml"
    path.write_text(
        trips(
            ("early", "car", "299.00", "0.00", "400", 9, "99.00"),
            ("waited", "car", "301.00", "2.00", "400", 9, "99.00"),  # scheduled at 299
            ("a", "car", "310.00", "5.00", "400", 1, "20.00"),
            ("bus", "bus", "400.00", "0.00", "-1.00", 2, "40.00"),
            ("out", "truck", "-1", "60.00", "-1.00", 0, "0.00"),  # scheduled at 840
            ("out before", "car", "-1", "700.00", "-1.00", 0, "0.00"),  # scheduled at 200
            ("next", "car", "-1", "0.00", "-1.00", 0, "0.00"),  # scheduled at the end
            ("tram", "tram@w", "500.00", "0.00", "600", 0, "10.00"),
        )
    )
    measured = vehicle_measures(path, 300, 900)
    assert (measured.vehicles_n, measured.unserved_n, measured.unfinished_n) == (4, 1, 1)
    assert measured.delay_s == pytest.approx((25 + 40 + 60 + 10) / 4)
    assert measured.stops_per_vehicle == 1.0
    assert measured.occupants_n == pytest.approx(1.4 + 25 + 1.4 + 1.4)
    assert measured.person_delay_s == pytest.approx(1.4 * 25 + 25 * 40 + 1.4 * 60 + 1.4 * 10)


def test_a_window_without_vehicles_has_no_mean(tmp_path):
    path = tmp_path / "tripinfo.xml"
    path.write_text(trips())
    measured = vehicle_measures(path, 0, 900)
    assert measured.vehicles_n == 0
    assert math.isnan(measured.delay_s)


@pytest.mark.parametrize("text", ["", "<tripinfos><tripinfo ", "<tripinfos><tripinfo id='a'/></tripinfos>"])
def test_output_that_is_cut_off_is_one_clear_error(tmp_path, text):
    path = tmp_path / "tripinfo.xml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"tripinfo\.xml: is cut off"):
        vehicle_measures(path, 0, 900)
    with pytest.raises(ScenarioError, match="cannot be read"):
        vehicle_measures(tmp_path / "none.xml", 0, 900)


def test_health_of_a_run(tmp_path):
    statistic, warnings = tmp_path / "statistics.xml", tmp_path / "warnings.txt"
    statistic.write_text(
        '<statistics><teleports total="4" jam="4"/><persons loaded="9" jammed="2"/></statistics>'
    )
    assert run_health(statistic, warnings) == RunHealth(jammed_n=2, teleports_n=4, warnings_n=0)
    warnings.write_text("Warning: one\n of two lines\nWarning: two\n")
    assert run_health(statistic, warnings).warnings_n == 2
    assert run_health(statistic).warnings_n == 0


def row(**changed):
    return {
        "walker": "w",
        "crossing": "XW",
        "length_m": 35.0,
        "mobility_class": "adult",
        "speed_mps": 1.0,
        "startup_s": 0.0,
        "kerb": "A",
        "entered_s": 400.0,
        "entry": "walk_first",
        "wait_s": 10.0,
        "crossing_s": 40.0,
        "is_residual": False,
        "residual_m": None,
        "needed_after_clearance_s": 0.0,
        "is_within_max": True,
        "exposure_s": 0.0,
        "exposure_yield_s": 2.0,
        "pet_s": None,
        "was_detected": True,
    } | changed


RESIDUAL = {"is_residual": True, "exposure_s": 4.0, "residual_m": 6.0}


def test_the_result_row_by_hand():
    rows = [
        row(),
        row(**RESIDUAL, mobility_class="frail", pet_s=0.8, wait_s=20.0),
        row(**RESIDUAL, mobility_class="frail", is_within_max=False, pet_s=2.5),
        row(**RESIDUAL, entry="clearance", pet_s=5.0),
        row(entry="walk_second", length_m=18.0, crossing_s=20.0),
        row(entered_s=None, entry=None, crossing_s=None, is_within_max=None, wait_s=110.0),
    ]
    result = summarise(rows=rows, vehicles=DONE, health=HEALTHY, duration_s=360.0)
    assert (result["crossings_n"], result["unserved_walkers_n"], result["residual_n"]) == (5, 1, 3)
    assert result["residual_per_10k"] == pytest.approx(6000)
    assert result["residual_legal_per_10k"] == pytest.approx(5000)
    assert result["residual_within_max_per_10k"] == pytest.approx(1e4 / 3)
    assert result["beyond_max_share"] == pytest.approx(0.25)
    assert (result["residual_n_frail"], result["crossings_n_frail"], result["crossings_n_adult"]) == (2, 2, 3)
    assert (result["residual_n_35m"], result["crossings_n_18m"], result["residual_n_18m"]) == (3, 1, 0)
    assert (result["residual_n_clearance"], result["crossings_n_red"]) == (1, 0)
    assert (result["residual_m_mean"], result["exposure_s"]) == (6.0, 12.0)
    assert (result["pet_critical_n"], result["pet_serious_n"]) == (1, 2)
    assert result["ped_wait_s"] == pytest.approx(170 / 6)
    assert result["ped_wait_max_s"] == 110.0
    walkers_s = 170 + 4 * 5 + 2
    assert result["person_delay_s"] == pytest.approx((walkers_s + 600) / (6 + 20))
    assert result["person_hours_per_h"] == pytest.approx((walkers_s + 600) / 360)
    assert (result["vehicle_delay_s"], result["vehicles_unserved_n"], result["stops_per_vehicle"]) == (
        30.0,
        1,
        1.5,
    )
    assert (result["jammed_n"], result["teleports_n"], result["warnings_n"]) == (1, 2, 3)
    assert all(isinstance(value, int | float) for value in result.values())


def test_a_run_without_walkers_has_no_rates():
    result = summarise(rows=[], vehicles=DONE, health=HEALTHY, duration_s=360.0)
    assert result["crossings_n"] == 0
    assert math.isnan(result["residual_per_10k"])
    assert math.isnan(result["ped_wait_max_s"])
    assert result["person_delay_s"] == 30.0

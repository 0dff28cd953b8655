"""Residuals, exposure, PET and waits by hand on a fake SUMO; sums by hand; a recount on the real site."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from bitgoeul.controller.audit import Extension
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_bit
from bitgoeul.envs.extension_use import ExtensionUse, Stay, extension_use
from bitgoeul.envs.measures import (
    Measures,
    RunHealth,
    VehicleMeasures,
    run_health,
    summarise,
    vehicle_measures,
)
from bitgoeul.envs.pet import times_inside
from bitgoeul.envs.queues import QueueMeasures
from bitgoeul.envs.result import jain_index, mark_jammed
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


def step_on(junction, lamps, person="w1", **parameters):
    """Let a person enter XW at 0.5 m from the north; they are first seen there at 1.5 s."""
    crossing_on(junction, lamps, person=person, **parameters)
    assert junction.now_ds == 15


def stroll(junction, lamps, steps, person="w1"):
    """Walk on at 1 m/s."""
    for _ in range(steps):
        junction.sumo.persons[person].position += 0.5
        junction.step(lamps)


def drive(junction, lane, position, speed=10.0, vehicle="v1"):
    junction.sumo.vehicles[vehicle] = SimpleNamespace(lane=lane, position=position, speed=speed)


def pets(junction, person="w1"):
    row = junction.rows()[person]
    return tuple(row[name] for name in ("pet_s", "pet_ahead_s", "pet_turn_s", "pet_turn_ahead_s"))


# Lane :J_4_0 (westbound through, phase 6) runs along y = 14.5, 1.5 to 4.5 m along XW, which begins in the
# north; it is 28 m long, and a front is on the crossing from 21 to 27 m.


def test_pet_of_a_vehicle_behind_the_walker(junction):
    step_on(junction, WALK)
    stroll(junction, ARTERIAL, 10)  # past 4.5 m at 5.5 s, at 6.5 s now
    drive(junction, ":J_4_0", 23.0)
    stroll(junction, ARTERIAL, 1)  # 7.0 s: the front came to 21 m at 6.8 s
    assert pets(junction) == (pytest.approx(1.3), None, None, None)


def test_pet_of_a_vehicle_ahead_of_the_walker(junction):
    drive(junction, ":J_4_0", 26.0)
    step_on(junction, ARTERIAL)  # the rear, 5 m behind, leaves the 27 m line at 2.1 s
    junction.sumo.vehicles.clear()
    stroll(junction, ARTERIAL, 10)  # past 1.5 m at 2.5 s
    assert pets(junction) == (None, pytest.approx(0.4), None, None)


def test_pet_is_nothing_where_both_were_on_the_spot(junction):
    step_on(junction, WALK)
    stroll(junction, ARTERIAL, 4)  # at 2.5 m
    drive(junction, ":J_4_0", 22.0, speed=2.0)
    stroll(junction, ARTERIAL, 4)
    assert pets(junction)[0] == 0.0


def test_pet_is_the_same_for_who_comes_from_the_other_kerb(junction):
    # Backwards the same strip begins 30.5 m and ends 33.5 m after the start; SUMO's position falls.
    junction.sumo.arrive("w1", "XW", backwards=True, speed_mps=1.0)
    junction.step(ALL_RED, 2)
    junction.sumo.enter("w1", "XW", 6.0, backwards=True)
    junction.step(WALK)
    for _ in range(10):  # past 1.5 m at 6.0 s, at 6.5 s now
        junction.sumo.persons["w1"].position -= 0.5
        junction.step(ARTERIAL)
    drive(junction, ":J_4_0", 23.0)
    junction.step(ARTERIAL)
    assert pets(junction)[0] == pytest.approx(0.8)


@pytest.mark.parametrize(("wait", "expected_s"), [(1, 3.0), (5, 5.0), (6, None)])
def test_a_vehicle_behind_counts_until_5_s_after_the_walker(junction, wait, expected_s):
    # Lane :J_12_0 (eastbound through, phase 2) runs 30.5 to 33.5 m along XW; a front is on it from 1 m on.
    step_on(junction, WALK)
    junction.sumo.persons["w1"].position = 32.5
    junction.step(WALK)
    stroll(junction, WALK, 4)  # at 34.5 m; past 33.5 m at 3.0 s
    junction.sumo.leave("w1")
    junction.step(ARTERIAL, 2 + wait)
    drive(junction, ":J_12_0", 1.0)
    junction.step(ARTERIAL)  # 6.0 s if the wait is 1 step
    assert pets(junction)[0] == (expected_s and pytest.approx(expected_s))
    junction.step(ARTERIAL, 20)
    assert pets(junction)[0] == (expected_s and pytest.approx(expected_s))


def test_who_turns_back_is_followed_back(junction):
    # In past 1.5 m at 2.5 s, as far as 3.0 m at 4.0 s, out past 1.5 m at 5.5 s, off at 6.5 s.
    step_on(junction, WALK)
    stroll(junction, WALK, 5)
    for _ in range(5):
        junction.sumo.persons["w1"].position -= 0.5
        junction.step(WALK)
    junction.sumo.leave("w1")
    junction.step(ARTERIAL)
    drive(junction, ":J_4_0", 23.0)
    junction.step(ARTERIAL)  # 7.5 s: the front came at 7.3 s
    assert pets(junction)[0] == pytest.approx(7.3 - 5.5)


def test_a_turn_that_yields_is_counted_apart(junction):
    # Southbound right turn, link 0: from (-6, 22) to (-14, 14.5), on XW from 4.4 m of its 11 m on.
    step_on(junction, WALK)
    stroll(junction, WALK, 10)  # at 5.5 m; past the turn's 3.5 m at 4.5 s
    drive(junction, ":J_0_0", 5.0, speed=4.0)
    stroll(junction, WALK, 1)  # 7.0 s
    conflict_s, _, turn_s, _ = pets(junction)
    assert conflict_s is None
    assert turn_s == pytest.approx(7.0 - 0.6 / 4 - 4.5, abs=0.01)


def test_vehicles_of_a_red_movement_are_not_looked_for(junction):
    step_on(junction, WALK)
    stroll(junction, WALK, 10)
    drive(junction, ":J_4_0", 23.0)
    stroll(junction, WALK, 1)
    assert pets(junction) == (None, None, None, None)


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        ((10.0, 9.0, 8.0, 7.0, 6.0, 5.0), (0.5, 2.5)),  # in past 8.5 m, out past 6.5 m
        ((10.0, 9.0, 8.0, 8.0, 8.0, 6.0), (0.5, 3.75)),  # stands inside
        ((10.0, 9.0, 8.0, 9.0, 10.0), (0.5, 1.5)),  # turns back
        ((10.0, 9.0, 8.0), (0.5, math.inf)),
        ((10.0, 9.0, 8.6), None),
        ((10.0, 5.0), (-0.7, -0.3)),  # in and out in one step
    ],
)
def test_times_inside_a_stretch(course, expected):
    assert times_inside(course, 6.5, 8.5) == (expected and pytest.approx(expected))


def test_lane_exposure_counts_the_conflicting_greens_still_ahead(junction):
    # XW has lanes at 1.5-4.5, 4.5-7.5 and 7.5-10.5 m (out) and 21.5 m and on (in).
    step_on(junction, WALK)
    junction.sumo.persons["w1"].position = 6.0
    junction.step(YELLOW)
    junction.step(LEFTS, 4)  # left turn from the south: into lane 2 only, the walker is on it
    junction.sumo.persons["w1"].position = 11.0
    junction.step(LEFTS, 4)  # now behind it
    junction.step(YELLOW, 2)
    junction.step(ARTERIAL, 2)  # lanes 1 to 3 out are behind; eastbound right and through: 3 lanes ahead
    junction.sumo.leave("w1")
    junction.step(ARTERIAL)
    row = junction.rows()["w1"]
    assert row["residual_m"] == 29.0
    assert row["exposure_lane_s"] == 0.5 * (4 * 1 + 2 * 3)


def test_unserved_need_is_the_time_past_the_conflicting_green(junction):
    step_on(junction, WALK)
    junction.sumo.persons["w1"].position = 25.0
    junction.step(YELLOW)
    junction.step(LEFTS, 4)
    junction.sumo.persons["w1"].position = 27.0
    junction.step(LEFTS)
    # 2.5 s past the green, and 8 m to go at 1 m/s
    assert junction.rows()["w1"]["unserved_need_s"] == pytest.approx(2.5 + 8.0)
    junction.sumo.leave("w1")
    junction.step(LEFTS)
    assert junction.rows()["w1"]["unserved_need_s"] == 3.0


def test_delay_is_wait_and_what_the_crossing_took_too_long(junction):
    crossing_on(junction, WALK, speed_mps=1.0)
    junction.step(WALK, 79)
    junction.sumo.leave("w1")
    junction.step(WALK)
    row = junction.rows()["w1"]
    assert row["crossing_s"] == 40.0
    assert row["delay_s"] == row["wait_s"] + 5.0


def extension(started_ds, ended_ds, crossing="XW"):
    return Extension(crossing, started_ds, ended_ds, "person")


def stay(entered_ds, left_ds, conflict_ds=None, crossing="XW"):
    return Stay(crossing=crossing, entered_ds=entered_ds, left_ds=left_ds, conflict_ds=conflict_ds)


@pytest.mark.parametrize(
    ("given", "stays", "expected"),
    [
        # Held from 100 to 110 s, then 7 s of yellow and red. Off at 112 s: needed until 105 s.
        ([(extension(1000, 1100), 70)], [stay(700, 1120)], (5.0, 5.0, 0.0)),
        ([(extension(1000, 1100), 0)], [stay(700, 1120, 1100)], (10.0, 0.0, 2.0)),
        ([(extension(1000, 1100), 70)], [stay(700, 1060)], (0.0, 10.0, 0.0)),  # would have been clear
        ([(extension(1000, 1100), 70)], [], (0.0, 10.0, 0.0)),
        ([(extension(1000, 1100), 70)], [stay(700, 1120, crossing="XE")], (0.0, 10.0, 0.0)),
        # Two who stay beyond the green at 117 s: the last one counts, once.
        ([(extension(1000, 1100), 70)], [stay(1, 1190, 1170), stay(2, 1200, 1170)], (10.0, 0.0, 3.0)),
        # Two crossings at once: used if either needs it.
        (
            [(extension(1000, 1100), 0), (extension(1050, 1200, "XE"), 0)],
            [stay(700, 1020), stay(700, 1150, crossing="XE")],
            (12.0, 8.0, 0.0),
        ),
    ],
)
def test_extensions_by_what_they_were_worth(given, stays, expected):
    use = extension_use(given, stays)
    assert (use.used_s, use.wasted_s, use.refused_s) == expected


def test_extension_of_a_green_parent_is_followed_by_yellow_and_red(junction):
    step_on(junction, WALK)
    junction.step(CLEARANCE, 10)
    junction.step(Lamps(green=CLEARANCE.green), 40)  # held from 6.5 to 26.5 s
    junction.step(YELLOW, 7)
    junction.sumo.leave("w1")
    junction.step(YELLOW)  # off at 30.5 s: needed until 23.5 s
    (row,) = junction.measures.event_rows(junction.now_ds, None, [extension(65, 265)])
    assert row["extension_s"] == 20.0
    assert junction.measures.extension_use == ExtensionUse(used_s=17.0, wasted_s=3.0, refused_s=0.0)
    junction.measures.event_rows(junction.now_ds, None, [extension(280, 300)])  # the parent is red
    assert junction.measures.extension_use == ExtensionUse(used_s=2.0, wasted_s=0.0, refused_s=0.0)


def test_queues_are_sampled_every_10_s(sumo, plan):
    junction = Junction(sumo, plan)
    assert math.isnan(junction.measures.queues.result().mean_n)
    drive(junction, "W_in_2", 80.0, speed=0.0, vehicle="a")
    drive(junction, "W_in_2", 70.0, speed=0.05, vehicle="b")
    drive(junction, "W_in_1", 80.0, speed=0.0, vehicle="c")
    drive(junction, "W_in_1", 60.0, speed=3.0, vehicle="d")
    junction.step(ALL_RED, 20)
    junction.sumo.vehicles.clear()
    junction.step(ALL_RED, 20)
    junction.sumo.pending = ("e",)
    junction.step(ALL_RED, 20)
    junction.sumo.pending = ()
    for number in range(11):  # the lane is 86 m long and holds 11
        drive(junction, "W_in_1", 80.0 - 7 * number, speed=0.0, vehicle=f"q{number}")
    junction.step(ALL_RED, 20)
    queues = junction.measures.queues.result()
    assert (queues.mean_n, queues.max_n, queues.spillback_share) == ((3 + 0 + 0 + 11) / 4, 11.0, 0.5)
    assert queues.p95_n == pytest.approx(2 + 0.85 * 9)


@pytest.mark.parametrize(
    ("shares", "index"),
    [((0.5, 0.5, 0.5), 1.0), ((1.0, 0.0, 0.0), 1 / 3), ((0.8, 0.4), 1.2**2 / (2 * 0.8))],
)
def test_jain_index_by_hand(shares, index):
    assert jain_index(shares) == pytest.approx(index)


def test_jain_index_of_nobody_is_no_number():
    assert math.isnan(jain_index([]))
    assert math.isnan(jain_index([0.0, 0.0]))


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
    found = run_health(statistic, warnings)
    assert (found.jammed_n, found.teleports_n, found.warnings_n, found.jams) == (2, 4, 0, frozenset())
    warnings.write_text("Warning: one\n of two lines\nWarning: two\n")
    assert run_health(statistic, warnings).warnings_n == 2
    assert run_health(statistic).warnings_n == 0


JAMS = """Warning: Person 'w7' is jammed on edge ':J_c3', time=1204.50.
Warning: Teleporting vehicle 'c1'; waited too long (jam), lane='N_in_1', time=900.00.
Warning: Vehicle 'c2' performs emergency braking on lane 'N_in_1' with decel=9.00, time=903.00.
Warning: Vehicle 'c3'; collision with person 'w9', lane=':J_c0_0', gap=-1.00, time=910.50.
Warning: Something new.
Error: not a warning
"""


def test_warnings_are_told_apart_and_the_jammed_by_name(tmp_path):
    statistic, warnings = tmp_path / "statistics.xml", tmp_path / "warnings.txt"
    statistic.write_text('<statistics><teleports total="1"/><persons jammed="1"/></statistics>')
    warnings.write_text(JAMS)
    found = run_health(statistic, warnings)
    assert found.warnings_of == {"jam": 1, "teleport": 1, "collision": 1, "braking": 1, "other": 1}
    assert found.warnings_n == 5
    assert found.jams == {("w7", ":J_c3")}


def test_who_squeezed_through_on_a_crossing_is_not_counted_as_served():
    rows = [row(walker=name) for name in ("w7", "w8", "w9")]
    rows.append(row(walker="w9", is_residual=True, residual_m=5.0, crossing="XS"))
    jams = {("w7", ":J_c3"), ("w8", ":J_w0"), ("w9", ":J_c2")}
    mark_jammed(rows, jams, {"XW": ":J_c3", "XS": ":J_c2"})
    assert [each["is_jammed"] for each in rows] == [True, False, False, True]
    result = summarise(rows=rows, vehicles=DONE, health=HEALTHY, duration_s=360.0)
    # w7 was not served; w8 was jammed on a walking area, not on the crossing; the residual one counts.
    assert (result["crossings_n"], result["unserved_walkers_n"], result["residual_n"]) == (3, 1, 1)
    assert result["jammed_crossings_n"] == 2


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
        "delay_s": 15.0,
        "is_residual": False,
        "residual_m": None,
        "needed_after_clearance_s": 0.0,
        "is_within_max": True,
        "unserved_need_s": 0.0,
        "extension_s": 0.0,
        "exposure_s": 0.0,
        "exposure_lane_s": 0.0,
        "exposure_yield_s": 2.0,
        "pet_s": None,
        "pet_ahead_s": None,
        "pet_turn_s": None,
        "pet_turn_ahead_s": None,
        "was_detected": True,
        "is_jammed": False,
    } | changed


RESIDUAL = {"is_residual": True, "exposure_s": 4.0, "residual_m": 6.0, "unserved_need_s": 4.0}
USE = ExtensionUse(used_s=12.0, wasted_s=3.0, refused_s=1.0)
QUEUES = QueueMeasures(mean_n=5.0, p95_n=7.0, max_n=9.0, spillback_share=0.1)


def test_the_result_row_by_hand():
    rows = [
        row(exposure_lane_s=0.0, pet_turn_s=0.5, pet_turn_ahead_s=0.2),
        row(**RESIDUAL, exposure_lane_s=2.5, mobility_class="frail", pet_s=0.8, wait_s=20.0, delay_s=25.0),
        row(**RESIDUAL, mobility_class="frail", is_within_max=False, pet_s=4.0, pet_ahead_s=2.5),
        row(**RESIDUAL, entry="clearance", pet_s=5.0, pet_turn_s=3.0),
        row(entry="walk_second", crossing="XS", length_m=18.0, crossing_s=20.0, delay_s=12.0),
        row(entered_s=None, entry=None, crossing_s=None, is_within_max=None, wait_s=110.0, delay_s=110.0),
    ]
    result = summarise(
        rows=rows, vehicles=DONE, health=HEALTHY, duration_s=360.0, extensions=USE, queues=QUEUES
    )
    assert (result["crossings_n"], result["unserved_walkers_n"], result["residual_n"]) == (5, 1, 3)
    assert result["residual_per_10k"] == pytest.approx(6000)
    assert result["residual_legal_per_10k"] == pytest.approx(5000)
    assert result["residual_within_max_per_10k"] == pytest.approx(1e4 / 3)
    assert result["beyond_max_share"] == pytest.approx(0.25)
    assert (result["residual_n_frail"], result["crossings_n_frail"], result["crossings_n_adult"]) == (2, 2, 3)
    assert (result["residual_n_35m"], result["crossings_n_18m"], result["residual_n_18m"]) == (3, 1, 0)
    assert (result["residual_n_clearance"], result["crossings_n_red"]) == (1, 0)
    assert (result["residual_m_mean"], result["exposure_s"], result["exposure_lane_s"]) == (6.0, 12.0, 2.5)
    assert (result["unserved_need_s_per_h"], result["unserved_need_mean_s"]) == (120.0, 4.0)
    assert (result["pet_critical_n"], result["pet_serious_n"]) == (1, 2)
    assert (result["pet_turn_critical_n"], result["pet_turn_serious_n"]) == (1, 2)
    assert result["ped_wait_s"] == pytest.approx(170 / 6)
    assert result["ped_wait_max_s"] == 110.0
    assert (result["ped_wait_s_XS"], result["ped_wait_max_s_XW"]) == (10.0, 110.0)
    assert result["ped_wait_p95_s_XW"] == pytest.approx(20 + 0.8 * 90)
    walkers_s = 15 + 25 + 15 + 15 + 12 + 110
    assert result["persons_n"] == 6 + 20
    assert result["person_delay_s"] == pytest.approx((walkers_s + 600) / (6 + 20))
    assert result["person_hours_per_h"] == pytest.approx((walkers_s + 600) / 360)
    assert (result["vehicle_delay_s"], result["vehicles_unserved_n"], result["stops_per_vehicle"]) == (
        30.0,
        1,
        1.5,
    )
    assert (result["queue_mean_n"], result["queue_p95_n"], result["queue_max_n"]) == (5.0, 7.0, 9.0)
    assert result["spillback_share"] == 0.1
    assert result["extension_used_s_per_h"] == 120.0
    assert (result["extension_wasted_s_per_h"], result["extension_refused_s_per_h"]) == (30.0, 10.0)
    assert (result["jammed_n"], result["teleports_n"], result["warnings_n"]) == (1, 2, 3)
    assert all(isinstance(value, int | float) for value in result.values())


def test_equity_compares_classes_with_20_crossings():
    adults = [row(is_residual=n < 2) for n in range(40)]  # 5 %
    elderly = [row(is_residual=n < 5, mobility_class="elderly") for n in range(20)]  # 25 %
    frail = [row(is_residual=True, mobility_class="frail") for _ in range(19)]
    rows = [one | {"residual_m": 1.0} for one in (*adults, *elderly, *frail)]
    result = summarise(rows=rows, vehicles=DONE, health=HEALTHY, duration_s=360.0)
    assert result["worst_class_residual_per_10k"] == 2500.0
    assert result["jain_served"] == pytest.approx((0.95 + 0.75) ** 2 / (2 * (0.95**2 + 0.75**2)))


def test_a_run_without_walkers_has_no_rates():
    result = summarise(rows=[], vehicles=DONE, health=HEALTHY, duration_s=360.0)
    assert result["crossings_n"] == 0
    assert math.isnan(result["residual_per_10k"])
    assert math.isnan(result["ped_wait_max_s"])
    assert result["person_delay_s"] == 30.0

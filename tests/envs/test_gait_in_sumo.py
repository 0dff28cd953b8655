"""Each trait of a walker as SUMO realises it: scripted walkers on the real site, without vehicles."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from bitgoeul.controller.backends.sumo import SumoRows
from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame
from bitgoeul.controller.signals import ALL_RED, Lamps, phase_mask
from bitgoeul.envs.detector import PERFECT, EmulatedDetector
from bitgoeul.envs.gait import TurnBack
from bitgoeul.envs.walkers import WalkerDriver
from bitgoeul.envs.world import RunSpec, Simulation, run_world
from bitgoeul.sim_scenarios.catalog import SITES_FOLDER, load_site
from bitgoeul.sim_scenarios.demand import Trips, draw_trips
from bitgoeul.sim_scenarios.walker_tables import walker_classes
from bitgoeul.sim_scenarios.walker_trips import Gait, WalkerTrip

pytestmark = pytest.mark.sumo
pytest.importorskip("libsumo", reason="SUMO is not installed")

ENDS = {"N": ("W_out", "W_in"), "S": ("W_in", "W_out")}
"""Edges of a walk over leg W by its kerb; the lane of the crossing runs from the north."""
STEP_DS = 5


def trip(name: str, *, depart_s: float = 0.0, from_kerb: str = "N", **changes: Any) -> WalkerTrip:
    """Return a walker over XW at 1 m/s; 15 m of sidewalk and some 4 m of corner lie before the kerb."""
    walker = WalkerTrip(
        id=name,
        depart_s=depart_s,
        crossing="XW",
        from_kerb=from_kerb,
        mobility_class="adult",
        speed_mps=1.0,
        startup_s=0.0,
        late_s=0.0,
        edges=ENDS[from_kerb],
    )
    return walker._replace(**changes)


@dataclass
class Noted:
    """What was seen: places on crossings from the kerb of departure, entries, exits, all positions."""

    driver: WalkerDriver
    on: dict[str, list[tuple[int, str, float]]] = field(default_factory=dict)
    entered: list[tuple[int, Any]] = field(default_factory=list)
    exits: list[tuple[int, Any]] = field(default_factory=list)
    positions: list[dict[str, tuple[float, float]]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def speed_mps(self, name: str) -> float:
        """Return the mean speed between the first and last position on a crossing."""
        return self.speed_between(name, 0.0, 100.0)

    def speed_between(self, name: str, from_m: float, to_m: float) -> float:
        points = [(at_ds, metres) for at_ds, _, metres in self.on[name] if from_m <= metres <= to_m]
        (first_ds, first_m), (last_ds, last_m) = points[0], points[-1]
        return 10 * (last_m - first_m) / (last_ds - first_ds)


class Listener:
    def __init__(self, noted: Noted) -> None:
        self.noted = noted

    def entered(self, walker: Any, now_ds: int) -> None:
        self.noted.entered.append((now_ds, walker))

    def left(self, walker: Any, now_ds: int) -> None:
        self.noted.exits.append((now_ds, walker))


def walk(site, walkers, shown, seconds, replay=None) -> Noted:
    """Run walkers under scripted lamps.

    Parameters
    ----------
    shown : (from [s], `walk`, `clearance` or `red`) for every crossing of the site at once.
    replay : driver of an earlier run whose record is pushed, instead of driving.
    """
    trips = Trips(demand=site.demand, seed=1, duration_s=1, vehicles=(), walkers=tuple(walkers))
    opened = Simulation(site, seed=1, hour="peak", end_s=round(seconds), trips=trips)
    try:
        return drive(site, opened.connection, shown, seconds, replay)
    finally:
        opened.close()


def drive(site, sumo, shown, seconds, replay) -> Noted:
    every = phase_mask(phase for each in site.plan.crossings for phase in site.plan.walk_phases(each.id))
    looks = {"walk": Lamps(walk=every), "clearance": Lamps(ped_clear=every), "red": ALL_RED}
    rows = SumoRows(site.plan)
    driver = WalkerDriver(sumo, site.plan, is_recording=True)
    noted, detector = Noted(driver), EmulatedDetector(driver, site.plan, PERFECT, 1)
    driver.listeners.append(Listener(noted))
    for now_ds in range(0, round(10 * seconds), STEP_DS):
        name = [look for from_s, look in shown if 10 * from_s <= now_ds][-1]
        sumo.trafficlight.setRedYellowGreenState("J", rows.row(looks[name]))
        if replay is None:
            driver.observe(now_ds)
            note(site, noted, now_ds)
            noted.frames += detector.frames(now_ds)
            driver.act(now_ds, looks[name])
        else:
            push(sumo, replay, now_ds)
        sumo.simulationStep()
        noted.positions.append(
            {person: sumo.person.getPosition(person) for person in sumo.person.getIDList()}
        )
    return noted


def note(site, noted, now_ds):
    driver = noted.driver
    for index, crossing in enumerate(site.plan.crossings):
        for walker, remaining_m in driver.remaining_m(index):
            is_back = walker.turned_back_ds is not None
            metres = remaining_m if is_back else driver.layouts[index].length_m - remaining_m
            noted.on.setdefault(walker.id, []).append((now_ds, crossing.id, metres))


def push(sumo, replay, now_ds):
    for at_ds, person, order in replay.orders:
        if at_ds == now_ds and isinstance(order, TurnBack):
            order.apply(sumo.person, person)
        elif at_ds == now_ds:
            sumo.person.setSpeed(person, order)


# Kerb reached about 19 s after departure at 1 m/s; red until then keeps everybody at the kerb.
ONSET_S = 30
WALK = [(0, "red"), (ONSET_S, "walk")]
LENGTH_M = 35.0


def clearance_after(walk_s):
    """Return lamps with clearance of 27 s, the plan's, after some seconds of walk."""
    return [*WALK, (ONSET_S + walk_s, "clearance"), (ONSET_S + walk_s + 27, "red")]


@pytest.fixture(scope="module")
def site():
    return load_site("bukmun_5")


@pytest.mark.parametrize("from_kerb", ["N", "S"])
@pytest.mark.parametrize("mobility_class", MOBILITY_CLASSES)
def test_each_class_crosses_an_empty_crossing_at_the_drawn_speed(site, mobility_class, from_kerb):
    """Within 2 %, in both directions, however much the class slows on the way."""
    figures = walker_classes().walker_class(mobility_class)
    gait = Gait(slow_to=figures.slowing.to)
    speed_mps = round(figures.mean_speed_mps, 3)
    alone = trip("w", from_kerb=from_kerb, speed_mps=speed_mps, gait=gait, mobility_class=mobility_class)
    noted = walk(site, [alone], [(0, "walk")], 130)
    assert noted.speed_mps("w") == pytest.approx(speed_mps, rel=0.02)
    # The whole stay on the crossing, kerb to kerb, is seen to one step.
    ((entered_ds, _),), ((left_ds, _),) = noted.entered, noted.exits
    assert (left_ds - entered_ds) / 10 == pytest.approx(LENGTH_M / speed_mps, abs=0.6)


def test_who_slows_is_faster_at_first_and_slower_at_last(site):
    noted = walk(site, [trip("w", gait=Gait(slow_to=0.6))], [(0, "walk")], 80)
    first, last = noted.speed_between("w", 1, 8), noted.speed_between("w", 27, 34)
    # c = mean of 1 / (0.95, 0.85, 0.75, 0.65) = 1.2752, times 0.95 and 0.65.
    assert (first, last) == (pytest.approx(1.211, rel=0.02), pytest.approx(0.829, rel=0.02))
    assert noted.driver.orders[-1][2] == -1.0


def test_who_rests_stands_there_as_long_as_drawn(site):
    noted = walk(site, [trip("w", gait=Gait(rest_at=0.4, rest_s=6.0))], [(0, "walk")], 90)
    ((entered_ds, _),), ((left_ds, _),) = noted.entered, noted.exits
    assert (left_ds - entered_ds) / 10 == pytest.approx(35 + 6, abs=0.6)
    standing = [metres for (_, _, metres), (_, _, after) in pairwise(noted.on["w"]) if after == metres]
    assert len(standing) in (12, 13)
    assert standing[0] == pytest.approx(14.0, abs=0.5)


def test_who_would_not_make_it_hurries_at_flashing_green_and_not_before(site):
    """10 s of walk at 1 m/s: 25 m to go need 25 s of 27; at 0.8 m/s 27 m need 34 s."""
    hurries = Gait(hurry_factor=1.4)
    for speed_mps, is_hurrying in ((1.0, False), (0.8, True)):
        noted = walk(site, [trip("w", speed_mps=speed_mps, gait=hurries)], clearance_after(10), 90)
        ((_, walker),) = noted.exits
        assert walker.is_hurrying is is_hurrying
        assert noted.speed_between("w", 1, 7) == pytest.approx(speed_mps, rel=0.02)
        after = speed_mps * (1.4 if is_hurrying else 1.0)
        assert noted.speed_between("w", 12, 34) == pytest.approx(after, rel=0.02)
    steady = walk(site, [trip("w", speed_mps=0.8)], clearance_after(10), 90)
    assert steady.speed_between("w", 12, 34) == pytest.approx(0.8, rel=0.02)


def test_a_rest_is_dropped_in_a_hurry(site):
    gait = Gait(hurry_factor=1.2, rest_at=0.5, rest_s=10.0)
    noted = walk(site, [trip("w", speed_mps=0.8, gait=gait)], clearance_after(10), 100)
    assert noted.speed_between("w", 12, 34) == pytest.approx(0.96, rel=0.02)


@pytest.mark.parametrize("from_kerb", ["N", "S"])
def test_who_turns_back_waits_at_the_kerb_and_crosses_at_the_next_walk(site, from_kerb):
    """7 s of walk at 0.7 m/s: 4.9 m in, the other 30 m would take 43 s of 27."""
    shown = [*clearance_after(7), (120, "walk")]
    alone = trip("w", from_kerb=from_kerb, speed_mps=0.7, gait=Gait(turn_within=0.15))
    noted = walk(site, [alone], shown, 200)
    (first_ds, first), (second_ds, second) = noted.exits
    assert first.turned_back_ds == 10 * (ONSET_S + 7)
    furthest = max(metres for at_ds, _, metres in noted.on["w"] if at_ds <= first_ds)
    assert furthest == pytest.approx(4.9, abs=0.8)
    assert (first_ds - first.turned_back_ds) / 10 == pytest.approx(0.5 + furthest / 0.7, abs=1.1)
    assert (first.kerb, second.kerb) == (first.kerb, first.kerb)
    assert second.turned_back_ds is None
    assert second.entered_ds == pytest.approx(1205, abs=15)
    assert (second_ds - second.entered_ds) / 10 == pytest.approx(35 / 0.7, abs=0.6)


def test_a_sensor_sees_who_turns_back_walk_and_not_leap(site):
    """The distance to the far kerb jumps when the far kerb becomes the other one; the speed must not."""
    alone = trip("w", speed_mps=0.7, gait=Gait(turn_within=0.15))
    noted = walk(site, [alone], clearance_after(7), 60)
    tracks = [track for frame in noted.frames for track in frame.on_crossing]
    assert max(track.speed_mps for track in tracks) == pytest.approx(0.7, abs=0.01)
    assert max(track.remaining_m for track in tracks[:5]) > 30
    assert max(track.remaining_m for track in tracks[-5:]) < 5


def test_nobody_turns_back_who_is_further_on_or_would_make_it_or_has_done_so(site):
    turns = Gait(turn_within=0.15)
    further = walk(site, [trip("w", speed_mps=0.7, gait=turns)], clearance_after(10), 110)
    in_time = walk(site, [trip("w", speed_mps=1.4, gait=turns)], [*WALK, (33, "clearance")], 70)
    for noted in (further, in_time):
        ((_, walker),) = noted.exits
        assert walker.turned_back_ds is None
    again = [*clearance_after(7), (120, "walk"), (127, "clearance"), (154, "red")]
    noted = walk(site, [trip("w", speed_mps=0.7, gait=turns)], again, 200)
    assert [walker.turned_back_ds is None for _, walker in noted.exits] == [False, True]


def test_start_up_is_as_drawn_and_late_starters_enter_in_their_window_only(site):
    waits = [
        trip(f"w{k}", from_kerb=kerb, startup_s=s) for k, (kerb, s) in enumerate([("N", 2.0), ("S", 6.5)])
    ]
    noted = walk(site, waits, WALK, 90)
    began = {walker.id: entered_ds / 10 - ONSET_S for entered_ds, walker in noted.entered}
    assert began == {"w0": pytest.approx(2.5, abs=0.5), "w1": pytest.approx(7.0, abs=0.5)}
    # Kerbs are reached at 19 s, so one late starter has 8 s of clearance left, one 1 s, one comes at 11 s.
    late = [trip(f"w{k}", depart_s=k, late_s=8.0) for k in (0, 7, 11)] + [trip("no", from_kerb="S")]
    noted = walk(site, late, [(0, "walk"), (18, "clearance"), (45, "red"), (100, "walk")], 150)
    entered = {walker.id: (entered_ds / 10, walker.entry_lamp) for entered_ds, walker in noted.entered}
    assert {name: lamp for name, (_, lamp) in entered.items()} == {
        "w0": "clearance", "w7": "clearance", "w11": "walk", "no": "walk",
    }  # fmt: skip
    assert all(18 <= at_s <= 26.5 for at_s, lamp in entered.values() if lamp == "clearance")


def test_a_late_starter_who_would_not_make_it_hurries_at_once(site):
    late = trip("w", speed_mps=1.0, late_s=8.0, gait=Gait(hurry_factor=1.4))
    noted = walk(site, [late], [(0, "walk"), (15, "clearance"), (42, "red")], 70)
    ((_, walker),) = noted.exits
    assert walker.entry_lamp == "clearance"
    assert noted.speed_mps("w") == pytest.approx(1.4, rel=0.02)


def test_a_red_runner_enters_on_red_in_the_window_only(site):
    runners = [trip(f"w{k}", depart_s=k, red_s=5.0) for k in (0, 8)] + [trip("no", from_kerb="S")]
    noted = walk(site, runners, [(0, "walk"), (5, "clearance"), (17, "red"), (100, "walk")], 150)
    lamps = {walker.id: walker.entry_lamp for _, walker in noted.entered}
    assert lamps == {"w0": "red", "w8": "walk", "no": "walk"}


def test_a_party_starts_together(site):
    """The last of three is still on the way when walk begins; alone, it would start without the others."""
    together, apart = (
        [
            trip(f"w{k}", depart_s=depart_s, startup_s=4.0, gait=Gait(party=party))
            for k, depart_s in enumerate((0, 0, 12))
        ]
        for party in ("XW-1", "")
    )
    for walkers, spread_s in ((together, 3.0), (apart, 1.5)):
        noted = walk(site, walkers, WALK, 90)
        entered = {walker.id: entered_ds / 10 - ONSET_S for entered_ds, walker in noted.entered}
        assert len(entered) == 3
        began = sorted(entered.values())
        if walkers is together:
            assert began[0] >= 4.0
            assert began[-1] - began[0] <= spread_s
        else:
            assert began[0] < 4.0


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    """Leg W crossed in two stages, 13 m each, over a 9 m median: XW from the south, XW2 to the north."""
    folder = tmp_path_factory.mktemp("two") / "site"
    shutil.copytree(SITES_FOLDER / "bukmun_5", folder)
    net, plan, demand = (folder / name for name in ("bukmun.con.xml", "plan.toml", "demand.toml"))
    whole = '<crossing node="J" edges="W_in W_out" width="6.00" priority="true"/>'
    halves = "".join(whole.replace("W_in W_out", edge) for edge in ("W_in", "W_out"))
    replace_in(net, (whole, halves))
    replace_in(
        plan,
        ('crossings = ["XW"]', 'crossings = ["XW", "XW2"]'),
        ('kerbs = ["N", "S"]', 'kerbs = ["S", "island"]'),
        ("[sumo]", f"{HALF}\n[sumo]"),
    )
    replace_in(demand, ("# Shares of the walkers' classes", f"{HALF_DEMAND}\n# Shares"))
    return load_site(folder)


HALF = """
[[crossings]]
id = "XW2"
leg = "W"
length_m = 17.0
width_m = 6.0
lanes = 4
kerbs = ["island", "N"]
sumo_edge = ":J_c4"
sumo_link = 20

[[yields]]
movement = "SBR"
crossing = "XW2"
"""
HALF_DEMAND = """
[[crossings]]
id = "XW2"
persons_per_h = 100.0
from_kerb_a_share = 0.5
"""


def replace_in(file, *pairs):
    text = file.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")


def test_walkers_wait_on_the_island_of_a_two_stage_crossing(two_stages):
    """At 1 m/s nobody gets over both halves in 15 s of walk."""
    shown = [*WALK, (ONSET_S + 15, "red"), (100, "walk")]
    alone = trip("w", from_kerb="S", startup_s=2.0)
    noted = walk(two_stages, [alone], shown, 160)
    (_, first), (_, second) = noted.exits
    crossings = two_stages.plan.crossings
    assert [crossings[walker.crossing].id for walker in (first, second)] == ["XW", "XW2"]
    assert (first.is_on_island, second.is_on_island) == (False, True)
    assert (first.kerb, second.kerb) == ("A", "A")
    assert second.arrived_ds < 1000 < second.entered_ds
    # On the island too they take their time to start.
    assert second.entered_ds == pytest.approx(1000 + 25, abs=10)


def test_who_sets_out_over_two_stages_starts_at_a_kerb(two_stages):
    walkers = draw_trips(two_stages, seed=1, hour="peak", duration_s=3600).walkers
    kerbs = {(trip.crossing, trip.from_kerb, trip.edges) for trip in walkers if trip.crossing[1] == "W"}
    assert kerbs == {("XW", "S", ("W_in", "W_out")), ("XW2", "N", ("W_out", "W_in"))}


def test_there_is_one_rest_on_the_whole_way(two_stages):
    stays_s = []
    for gait in (Gait(), Gait(rest_at=0.5, rest_s=5.0)):
        noted = walk(two_stages, [trip("w", from_kerb="S", gait=gait)], [(0, "walk")], 100)
        stays_s.append([(left_ds - walker.entered_ds) / 10 for left_ds, walker in noted.exits])
    (first_s, second_s), (rested_s, unrested_s) = stays_s
    assert rested_s - first_s == pytest.approx(5.0, abs=0.6)
    assert unrested_s == pytest.approx(second_s, abs=0.6)


def test_nobody_turns_back_to_the_island(two_stages):
    alone = trip("w", from_kerb="S", speed_mps=0.4, gait=Gait(turn_within=0.5))
    (_, (entered_ds, _)) = walk(two_stages, [alone], [(0, "walk")], 160).entered
    noted = walk(two_stages, [alone], [(0, "walk"), (entered_ds / 10 + 2, "clearance")], 200)
    assert noted.exits[1][1].entered_ds == entered_ds
    assert [walker.turned_back_ds for _, walker in noted.exits] == [None, None]


def test_one_run_is_replayed_by_its_record(site):
    """Lamps, turns and speeds pushed into a bare SUMO give the same positions."""
    gaits = [Gait(turn_within=0.15), Gait(slow_to=0.8, rest_at=0.3, rest_s=4.0), Gait(hurry_factor=1.3)]
    walkers = [
        trip(f"w{k}", from_kerb="NS"[k % 2], depart_s=k, speed_mps=0.7, startup_s=1.0 * k, gait=gait)
        for k, gait in enumerate(gaits)
    ]
    shown = [*clearance_after(7), (120, "walk")]
    noted = walk(site, walkers, shown, 200)
    assert any(isinstance(order, TurnBack) for _, _, order in noted.driver.orders)
    replayed = walk(site, walkers, shown, 200, replay=noted.driver)
    assert replayed.positions == noted.positions
    assert len(noted.positions) == 400


def test_a_run_with_all_traits_is_the_same_twice_and_its_people_whoever_controls():
    spec = RunSpec(site="bukmun_5", controller="fixed", seed=10_000, hour="peak", minutes=12)
    first, again = run_world(spec), run_world(spec)
    assert (first.trace_hash, first.events) == (again.trace_hash, again.events)
    other = run_world(replace(spec, controller="eta"))
    drawn = ("walker", "mobility_class", "speed_mps", "startup_s")
    people = [{tuple(row[name] for name in drawn) for row in run.events} for run in (first, other)]
    both = {row[0] for row in people[0]} & {row[0] for row in people[1]}
    assert len(both) > 100
    assert {row for row in people[0] if row[0] in both} == {row for row in people[1] if row[0] in both}

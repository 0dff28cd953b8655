"""What a policy sees: bounded, fixed in shape, and the same in whatever order the junction is written."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitgoeul.controller.choices import N_MAX, ChoiceRules
from bitgoeul.controller.clocks import SignalClocks
from bitgoeul.controller.detection import Frame, Snapshot, Track, Zone
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, ChoiceObserver
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.signals import Calls, Lamps, phase_mask
from bitgoeul.controller.situation import Situation

REFERENCE_FILE = Path(__file__).parent / "plans" / "reference.toml"
REFERENCE = load_plan(REFERENCE_FILE)
DOCUMENT = tomllib.loads(REFERENCE_FILE.read_text(encoding="utf-8"))
CONTEXT_AT = {feature.name: index for index, feature in enumerate(CONTEXT)}
CHOICE_AT = {feature.name: index for index, feature in enumerate(CHOICE)}


class World:
    """What happens at the junction, by names, so that it can be told in any order."""

    def __init__(self, plan, *, zones=(), loops=(), waiting=(), walking=(), blind=()):  # noqa: PLR0913
        self.plan = plan
        self.rules = ChoiceRules(plan)
        self.observer = ChoiceObserver(plan, self.rules)
        self.clocks, self.needs = SignalClocks(plan), NeedEstimator(plan)
        self.zones, self.loops = dict(zones), dict(loops)
        self.waiting, self.walking, self.blind = waiting, walking, blind

    def at(self, now_ds, lamps):
        """Return the situation at a moment; whoever waits has done so since time 0."""
        self.clocks.follow(now_ds, lamps)
        frames = tuple(
            Frame(
                crossing.id,
                now_ds,
                is_healthy=crossing.id not in self.blind,
                on_crossing=tuple(
                    Track(name, crossing.id, Zone.CROSSING, metres, 1.0, (), "test", now_ds, 0)
                    for name, where, metres in self.walking
                    if where == crossing.id
                ),
                waiting=tuple(
                    Track(name, crossing.id, Zone.KERB_A, crossing.length_m, 0.0, (), "test", now_ds, 0)
                    for name, where in self.waiting
                    if where == crossing.id
                ),
            )
            for crossing in self.plan.crossings
        )
        self.needs.update(frames)
        zones = tuple(self.zones.get(detector.id, 0) for detector in self.plan.zone_detectors)
        loops = tuple(self.loops.get(detector.id, 0) for detector in self.plan.passage_detectors)
        calls = Calls(
            vehicle=phase_mask(
                {n for d in self.plan.zone_detectors if self.zones.get(d.id) for n in d.phases}
            )
        )
        return Situation(
            self.plan, Snapshot(now_ds, lamps, calls, zones, loops, frames), self.clocks, self.needs
        )

    def observe(self, now_ds=600, lamps=None):
        """Follow five ticks, then look."""
        shown = Lamps(green=phase_mask((2, 6))) if lamps is None else lamps
        for before_ds in range(now_ds - 20, now_ds + 1, 5):
            situation = self.at(before_ds, shown)
            self.observer.follow(situation)
        return self.observer.observe(situation)

    def rows(self, observation):
        return {
            choice.name: row for choice, row in zip(self.rules.choices, observation.choices, strict=False)
        }


def value(row, name):
    """Return one feature of a row in its own unit."""
    return row[CHOICE_AT[name]] * CHOICE[CHOICE_AT[name]].scale


def test_names_are_unique_and_flags_end_at_1():
    for features in (CONTEXT, CHOICE):
        assert len({feature.name for feature in features}) == len(features)
        for feature in features:
            assert feature.most == (1.0 if feature.unit == "0/1" else LIMIT * feature.scale)
            assert feature.name.startswith("is_") == (feature.unit == "0/1")


def test_shapes_and_types():
    observation = World(REFERENCE).observe()
    assert observation.context.shape == (len(CONTEXT),)
    assert observation.choices.shape == (N_MAX, len(CHOICE))
    assert observation.mask.shape == (N_MAX,)
    assert [observation.context.dtype, observation.choices.dtype] == [np.float32, np.float32]
    assert observation.mask.dtype == np.bool_
    assert not observation.mask[10:].any()
    assert not observation.choices[10:].any()


def test_the_mask_is_the_legal_choices():
    world = World(REFERENCE)
    observation = world.observe()
    assert tuple(observation.mask[:10]) == world.rules.legal(world.at(600, Lamps(green=phase_mask((2, 6)))))


def test_one_tick_is_observed_once():
    world = World(REFERENCE)
    situation = world.at(600, Lamps(green=phase_mask((2, 6))))
    assert world.observer.observe(situation) is world.observer.observe(situation)
    assert world.observer.observe(world.at(605, situation.snapshot.lamps)) is not None


def test_a_row_tells_what_a_choice_serves_and_delays():
    world = World(
        REFERENCE,
        zones={"zone_N_1": 3, "zone_S_1": 5, "zone_W_1": 2, "zone_W_4": 4},  # phases 4, 8, 2, 5
        waiting=[("a", "XW"), ("b", "XW"), ("c", "XE"), ("d", "XS")],
        walking=[("e", "XS", 9.0)],
    )
    rows = world.rows(world.observe())
    go = rows["go 4+8"]
    assert value(go, "vehicles_served") == pytest.approx(8)
    assert value(go, "vehicles_delayed") == pytest.approx(6)
    assert value(go, "longest_lane") == pytest.approx(5)
    assert value(go, "lanes_served") == pytest.approx(2)
    assert value(go, "longest_delayed") == pytest.approx(4)
    assert value(go, "waiting_served") == pytest.approx(3)
    assert value(go, "waiting_delayed") == pytest.approx(1)
    assert value(go, "oldest_served") == pytest.approx(60)
    assert value(go, "lost") == pytest.approx(6)  # 4 s yellow, 2 s red
    assert value(go, "commits") == pytest.approx(49)  # 15 + 27 + 7 s
    assert 9.0 / 1.3 <= value(go, "need") <= 9.0 / 0.4
    assert not value(go, "is_stay")
    stay = rows["stay 5 s"]
    assert value(stay, "is_stay") == 1
    assert value(stay, "stay") == pytest.approx(5)
    assert value(stay, "vehicles_served") == pytest.approx(2)
    assert value(stay, "waiting_served") == 0  # green without walk: nobody may start
    assert value(stay, "need") == value(stay, "lost") == value(stay, "commits") == 0
    within = rows["go 2+5"]
    assert value(within, "is_within") == 1
    assert value(go, "is_within") == 0


def test_during_walk_a_stay_serves_those_who_wait_and_a_go_costs_the_clearance():
    lamps = Lamps(green=phase_mask((2, 6)), walk=phase_mask((2, 6)))
    world = World(REFERENCE, waiting=[("d", "XS")])
    rows = world.rows(world.observe(lamps=lamps))
    assert value(rows["stay 2 s"], "waiting_served") == pytest.approx(1)
    assert value(rows["go 4+8"], "lost") == pytest.approx(20)  # 14 s clearance, 6 s yellow and red


def test_arrivals_are_the_mean_of_the_last_minute():
    # One vehicle each tick at phase 4's loop: five ticks of 1/60 s, each fading by half a second's share.
    world = World(REFERENCE, loops={"pass_N_1": 1})
    rows = world.rows(world.observe())
    keep = 1 - 0.5 / 60
    rate = sum(keep**n for n in range(5)) / 60
    assert value(rows["go 4+8"], "arrivals_10") == pytest.approx(10 * rate, rel=1e-4)
    assert value(rows["go 4+8"], "arrivals_30") == 0
    assert value(rows["stay 2 s"], "arrivals_30") == pytest.approx(30 * rate, rel=1e-4)


def test_arrivals_and_departures_stand_where_they_are_served():
    # Phase 4's loop sees a vehicle at the third tick, its zone loses two at the last.
    lamps = Lamps(green=phase_mask((4, 8)))
    world = World(REFERENCE)
    for now_ds, passing, standing in ((580, 0, 4), (585, 0, 4), (590, 1, 4), (595, 1, 4), (600, 0, 2)):
        world.loops, world.zones = {"pass_N_1": passing}, {"zone_N_1": standing}
        situation = world.at(now_ds, lamps)
        world.observer.follow(situation)
    observation = world.observer.observe(situation)
    rows = world.rows(observation)
    for seconds in (10, 60, 300):
        arrived, departed = np.exp(-1 / seconds) / seconds, 2 / seconds
        served, delayed = rows["stay 2 s"], rows["go 2+6"]
        for row, here, elsewhere in ((served, "served", "delayed"), (delayed, "delayed", "served")):
            assert value(row, f"arrived_{seconds}_{here}") == pytest.approx(arrived, rel=1e-4)
            assert value(row, f"departed_{seconds}_{here}") == pytest.approx(departed, rel=1e-4)
            assert value(row, f"arrived_{seconds}_{elsewhere}") == 0
            assert value(row, f"departed_{seconds}_{elsewhere}") == 0
        for name, rate in ((f"arrived_{seconds}", arrived), (f"departed_{seconds}", departed)):
            at = CONTEXT_AT[name]
            assert observation.context[at] * CONTEXT[at].scale == pytest.approx(rate, rel=1e-4)


def test_the_age_of_a_picture_counts_where_its_crossing_matters():
    world = World(REFERENCE)
    situation = world.at(600, Lamps(green=phase_mask((2, 6))))
    frames = tuple(
        frame._replace(measured_ds=570 if frame.crossing == "XW" else 595)
        for frame in situation.snapshot.frames
    )
    situation.snapshot = situation.snapshot._replace(frames=frames)
    observation = world.observer.observe(situation)
    rows = world.rows(observation)
    assert value(rows["go 4+8"], "detection_age") == pytest.approx(3.0)  # it starts XW's walk
    assert value(rows["go 2+5"], "detection_age") == pytest.approx(0.5)  # it waits for XN
    assert value(rows["stay 2 s"], "detection_age") == 0  # green without walk depends on none
    assert observation.context[CONTEXT_AT["detection_age"]] == pytest.approx(3.0 / 5.0)


def test_an_extension_runs_while_somebody_is_there_after_clearance():
    green = phase_mask((2, 6))
    world = World(REFERENCE, walking=[("e", "XS", 9.0)])
    for now_ds, lamps in (
        (0, Lamps(green=green, walk=green)),
        (100, Lamps(green=green, ped_clear=green)),
        (240, Lamps(green=green)),
        (300, Lamps(green=green)),
    ):
        situation = world.at(now_ds, lamps)
    observation = world.observer.observe(situation)
    rows = world.rows(observation)
    most_s = REFERENCE.extension_max_s("XS")
    assert value(rows["go 4+8"], "extension") == pytest.approx(6.0)
    assert value(rows["go 4+8"], "extension_left") == pytest.approx(most_s - 6.0)
    assert value(rows["stay 5 s"], "extension") == value(rows["stay 5 s"], "extension_left") == 0
    assert observation.context[CONTEXT_AT["extension"]] == pytest.approx(6.0 / 40.0)
    assert observation.context[CONTEXT_AT["open_services"]] == pytest.approx(2 / 4)
    empty = World(REFERENCE)
    empty.clocks = world.clocks
    assert (
        value(empty.rows(empty.observer.observe(empty.at(300, Lamps(green=green))))["go 4+8"], "extension")
        == 0
    )


class TenSeconds:
    def __init__(self):
        self.followed = 0

    def follow(self, situation):
        self.followed += 1

    def need_s(self, situation, index):
        return 10.0


def test_another_reader_of_needs_replaces_the_need_alone():
    usual, other = World(REFERENCE), World(REFERENCE)
    other.observer = ChoiceObserver(REFERENCE, other.rules, needs=TenSeconds())
    expected, found = usual.observe().choices, other.observe().choices
    assert other.observer._needs.followed == 5
    assert found[6, CHOICE_AT["need"]] == pytest.approx(10 / 40)
    differing = np.flatnonzero((expected != found).any(axis=0))
    assert [CHOICE[place].name for place in differing] == ["need"]


def test_following_one_tick_twice_counts_once():
    world = World(REFERENCE, loops={"pass_N_1": 1})
    situation = world.at(600, Lamps(green=phase_mask((2, 6))))
    other = World(REFERENCE, loops={"pass_N_1": 1})
    world.observer.follow(situation)
    world.observer.follow(situation)
    other.observer.follow(situation)
    np.testing.assert_array_equal(
        world.observer.observe(situation).choices, other.observer.observe(situation).choices
    )


def test_time_runs_since_service_and_to_the_forced_one():
    world = World(REFERENCE)
    observation = world.observe(now_ds=600)
    row = world.rows(observation)["go 4+8"]
    assert value(row, "since_served") == pytest.approx(60)
    # 2, 4, 6, 8 are on recall: 4 and 8 are called since 58 s and forced at 143.7 s.
    assert value(world.rows(observation)["stay 2 s"], "to_forced") == pytest.approx(143.7 - 2, abs=0.01)


def test_the_context_counts_everybody():
    world = World(REFERENCE, zones={"zone_N_1": 3, "zone_W_1": 3}, waiting=[("a", "XW")], blind=("XN",))
    context = world.observe().context
    assert context[CONTEXT_AT["vehicles"]] == pytest.approx(6 / 60)
    assert context[CONTEXT_AT["waiting"]] == pytest.approx(1 / 20)
    assert context[CONTEXT_AT["is_blind"]] == 1
    assert context[CONTEXT_AT["is_walking"]] == 0
    assert context[CONTEXT_AT["green_age"]] == pytest.approx(2 / 60)


def test_all_red_is_observed_too():
    observation = World(REFERENCE).observe(lamps=Lamps())
    assert observation.context[CONTEXT_AT["green_age"]] == 0
    assert np.isfinite(observation.choices).all()


counts = st.integers(0, 500)
detectors = st.sampled_from([detector.id for detector in REFERENCE.detectors])
crossings = st.sampled_from([crossing.id for crossing in REFERENCE.crossings])


@given(
    zones=st.dictionaries(detectors, counts),
    loops=st.dictionaries(detectors, counts),
    waiting=st.lists(st.tuples(st.uuids().map(str), crossings), max_size=60),
    walking=st.lists(st.tuples(st.uuids().map(str), crossings, st.floats(0, 80)), max_size=10),
    lamps=st.builds(Lamps, green=st.integers(0, 255), walk=st.integers(0, 255)),
    now_ds=st.integers(20, 10**8),
)
def test_every_value_lies_between_0_and_2(  # noqa: PLR0913, PLR0917
    zones, loops, waiting, walking, lamps, now_ds
):
    world = World(REFERENCE, zones=zones, loops=loops, waiting=waiting, walking=walking)
    observation = world.observe(now_ds, lamps)
    for values in (observation.context, observation.choices):
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= LIMIT


ticks = st.lists(
    st.tuples(
        st.integers(1, 3_000),  # since the tick before [0.1 s]
        st.tuples(*[st.sampled_from([0, 0x22, 0x88, 0xFF])] * 4),  # green, yellow, walk, clearance
        st.integers(0, 10_000),  # age of the pictures [0.1 s]
        st.lists(st.integers(0, 500), min_size=30, max_size=30),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(script=ticks)
def test_every_value_is_bounded_whatever_the_snapshots_say(script):
    world, now_ds = World(REFERENCE), 0
    zones_n, loops_n = len(REFERENCE.zone_detectors), len(REFERENCE.passage_detectors)
    for since_ds, (green, yellow, walk, clear), age_ds, counts, is_healthy in script:
        now_ds += since_ds
        lamps = Lamps(green=green, yellow=yellow & ~green, walk=walk & green, ped_clear=clear & green & ~walk)
        world.walking = [("e", "XS", float(counts[0] % 30))] if counts[0] % 2 else []
        world.zones = dict(zip([d.id for d in REFERENCE.zone_detectors], counts, strict=False))
        situation = world.at(now_ds, lamps)
        frames = tuple(
            frame._replace(measured_ds=now_ds - age_ds, is_healthy=is_healthy)
            for frame in situation.snapshot.frames
        )
        situation.snapshot = situation.snapshot._replace(
            zone_vehicles=tuple(counts[:zones_n]), arrivals=tuple(counts[-loops_n:]), frames=frames
        )
        world.observer.follow(situation)
        observation = world.observer.observe(situation)
        for values, features in ((observation.context, CONTEXT), (observation.choices, CHOICE)):
            assert np.isfinite(values).all()
            most = np.array([feature.most / feature.scale for feature in features], dtype=np.float32)
            assert (values >= 0).all()
            assert (values <= most).all()


@given(data=st.data())
def test_the_order_in_which_a_junction_is_written_changes_no_row(data):
    document = copy.deepcopy(DOCUMENT)
    for table in ("legs", "movements", "crossings", "phases", "detectors", "rings"):
        document[table] = data.draw(st.permutations(document[table]), label=table)
    shuffled = checked_plan(document, "shuffled")
    seen = {
        "zones": data.draw(st.dictionaries(detectors, st.integers(0, 20)), label="zones"),
        "loops": data.draw(st.dictionaries(detectors, st.integers(0, 2)), label="loops"),
        "waiting": data.draw(st.lists(st.tuples(st.uuids().map(str), crossings), max_size=8)),
        "walking": [("e", "XS", 9.0), ("f", "XE", 20.0)],
    }
    first, second = World(REFERENCE, **seen), World(shuffled, **seen)
    expected, found = first.observe(), second.observe()
    np.testing.assert_allclose(found.context, expected.context, rtol=1e-5)
    by_mask = {
        choice.mask or choice.name: row
        for choice, row in zip(second.rules.choices, found.choices, strict=False)
    }
    legal = {
        choice.mask or choice.name: ok for choice, ok in zip(second.rules.choices, found.mask, strict=False)
    }
    for choice, row, is_legal in zip(first.rules.choices, expected.choices, expected.mask, strict=False):
        key = choice.mask or choice.name
        np.testing.assert_allclose(by_mask[key], row, rtol=1e-5, atol=1e-6)
        assert legal[key] == is_legal

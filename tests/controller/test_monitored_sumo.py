"""The malfunction monitor in SUMO's cabinet, and the rows that this cabinet can show."""

from __future__ import annotations

import copy
import itertools
import tomllib
from pathlib import Path

import pytest

from bitgoeul.controller.backends import sumo
from bitgoeul.controller.heads import INDICATIONS
from bitgoeul.controller.monitor import Kind, Monitor
from bitgoeul.controller.plan import checked_plan, load_plan
from bitgoeul.controller.signals import NO_COMMANDS, Commands, Lamps, phase_mask
from bitgoeul.sim_scenarios.catalog import load_site

PLANS = Path(__file__).parent / "plans"
REFERENCE = load_plan(PLANS / "reference.toml")
DOCUMENT = tomllib.loads((PLANS / "reference.toml").read_text(encoding="utf-8"))


def with_times(numbers, **times):
    """Return the reference plan with other times of some phases."""
    document = copy.deepcopy(DOCUMENT)
    for phase in document["phases"]:
        phase.update(times if phase["number"] in numbers else {})
    return checked_plan(document, "reference")


def with_overlap():
    """Return the reference plan with the right turn EBR as an overlap of phases 2 and 3."""
    document = copy.deepcopy(DOCUMENT)
    document["phases"][1]["movements"].remove("EBR")
    document["overlaps"] = [{"id": "A", "phases": [2, 3], "movements": ["EBR"]}]
    return checked_plan(document, "reference")


class Lights:
    """A traffic light that keeps what it was set to."""

    def __init__(self):
        self.rows = []

    def setRedYellowGreenState(self, _signal, row):  # noqa: N802 - SUMO's name
        self.rows.append(row)

    def setProgram(self, _signal, program):  # noqa: N802 - SUMO's name
        self.rows.append(program)

    def setPhase(self, _signal, _phase):  # noqa: N802 - SUMO's name
        pass


class Counts:
    """Detectors without vehicles."""

    def getLastStepVehicleNumber(self, _detector):  # noqa: N802 - SUMO's name
        return 0


class Connection:
    """As much of SUMO as a cabinet needs."""

    def __init__(self):
        self.trafficlight, self.lane, self.inductionloop, self.simulation = Lights(), Counts(), Counts(), None


@pytest.fixture
def connection(monkeypatch):
    monkeypatch.setattr(sumo, "check_network", lambda *_: None)
    return Connection()


def test_a_cabinet_in_sumo_has_a_monitor_and_runs_on_under_it(connection):
    backend = sumo.SumoBackend(connection, REFERENCE)
    for _ in range(2 * 3600):
        assert backend.write(NO_COMMANDS) is backend.core.lamps
        assert backend.read().lamps is backend.core.lamps
    assert backend.alarms == []
    assert (backend.monitor.faults, backend.monitor.reports) == ((), ())
    backend.release()
    assert connection.trafficlight.rows[-1] == "plan"


def test_a_trip_flashes_instead_of_the_fault_and_stays(connection):
    strict = with_times((1,), yellow_s=3.5)
    backend = sumo.SumoBackend(connection, REFERENCE, monitor=Monitor(strict))
    backend.row_changes = []
    shown = [backend.write(NO_COMMANDS) for _ in range(2 * 200)]
    rows = connection.trafficlight.rows
    tripped = next(index for index, lamps in enumerate(shown) if lamps.is_flashing)
    assert all(lamps is shown[tripped] for lamps in shown[tripped:])
    assert backend.read().lamps is shown[tripped]
    assert rows[-1] == "o" * 16 + "r" * 4
    assert not any("o" in row for row in rows[:-1])
    assert [alarm.kind for alarm in backend.alarms] == [Kind.SHORT_YELLOW]
    assert backend.alarms[0].at_ds == 5 * tripped
    assert backend.row_changes[-1] == (5 * tripped, rows[-1])
    assert backend.core.now_ds == 2_000


def test_the_backends_monitor_allows_for_the_step(connection):
    plan = with_times(REFERENCE.phase_numbers, yellow_s=4.3, red_clear_s=1.7)
    for step_ds in sumo.STEPS_DS:
        backend = sumo.SumoBackend(connection, plan, step_ds=step_ds)
        for _ in range(10 * 3600 // step_ds):
            backend.write(Commands(pattern=254))
        assert backend.alarms == []
        assert backend.monitor.reports == ()


@pytest.mark.sumo
@pytest.mark.parametrize("is_strict", [False, True])
def test_a_run_in_sumo_is_silent_and_goes_on_in_flash_after_a_trip(is_strict):
    world = pytest.importorskip("bitgoeul.envs.world")
    spec = world.RunSpec(site="bukmun_5", controller="eta", seed=10_003, hour="peak", minutes=2)
    site = load_site("bukmun_5")
    with world.simulation(spec, site) as opened:
        driver = world.build_driver(spec, site, opened.connection)
        backend = driver.backend
        if is_strict:
            backend.monitor = Monitor(with_times((1,), yellow_s=3.5))
        while driver.now_ds < 10 * spec.end_s:
            driver.step()
        row = opened.connection.trafficlight.getRedYellowGreenState(driver.plan.sumo.traffic_light)
    assert bool(backend.alarms) == backend.monitor.is_tripped == is_strict
    assert ("o" in row) == is_strict
    assert is_strict or backend.monitor.reports == ()


def lamps_of(plan):
    """Yield the lamps of every choice of phases that may run together, each in every interval."""
    intervals = tuple(dict.fromkeys(INDICATIONS.values()))
    for barrier in range(len(plan.rings[0])):
        choices = [[(0, ()), *itertools.product(ring[barrier], intervals)] for ring in plan.rings]
        for chosen in itertools.product(*choices):
            masks = dict.fromkeys(("green", "yellow", "walk", "ped_clear"), 0)
            for number, lit in chosen:
                is_walker = not number or plan.phase(number).crossings
                for name in lit:
                    if is_walker or name not in ("walk", "ped_clear"):
                        masks[name] |= phase_mask((number,))
            overlaps = [phase_mask(overlap.phases) for overlap in plan.overlaps]
            green = sum(1 << i for i, phases in enumerate(overlaps) if masks["green"] & phases)
            yellow = sum(1 << i for i, phases in enumerate(overlaps) if masks["yellow"] & phases)
            extend = sum(
                1 << i
                for i, crossing in enumerate(plan.crossings)
                if phase_mask(plan.walk_phases(crossing.id)) & masks["green"] & ~masks["walk"]
            )
            for ped_extend in {0, extend}:
                yield Lamps(
                    **masks, overlap_green=green, overlap_yellow=yellow & ~green, ped_extend=ped_extend
                )


def conflicting_links(plan):
    """Return the pairs of SUMO links that must never be lit together."""
    heads = [(link, movement.id) for movement in plan.movements for link in movement.sumo_links]
    pairs = [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(heads, 2)
        if plan.movement_relation(a, b) == "conflict"
    ]
    return pairs + [
        (link, crossing.sumo_link)
        for link, movement in heads
        for crossing in plan.crossings
        if plan.relation(movement, crossing.id) == "conflict"
    ]


ROW_PLANS = {
    "bukmun_5": load_site("bukmun_5").plan,
    "overlapping": with_overlap(),
    **{name: load_plan(PLANS / f"{name}.toml") for name in ("reference", "midblock", "tee", "split")},
}


@pytest.mark.parametrize("plan", ROW_PLANS.values(), ids=ROW_PLANS)
def test_no_row_that_a_site_can_show_has_conflicting_letters(plan):
    rows, pairs = sumo.SumoRows(plan), conflicting_links(plan)
    assert pairs
    shown = set()
    for lamps in lamps_of(plan):
        assert Monitor(plan).watch(0, lamps) is None
        row = rows.row(lamps)
        shown.add(row)
        wrong = [(a, b) for a, b in pairs if row[a] in "Ggyo" and row[b] in "Ggyo"]
        assert not wrong, (lamps, row, wrong)
    assert len(shown) >= 5

"""No controller reaches the truth: a walk through all that policy and guard hold, in a real run."""

from __future__ import annotations

import gc
from itertools import islice
from types import FunctionType, ModuleType

import pytest

from bitgoeul.controller.backends.sumo import SumoBackend
from bitgoeul.controller.loop import ControlLoop
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.envs.detector import EmulatedDetector
from bitgoeul.envs.street import EmulatedStreet
from bitgoeul.envs.walkers import Walker, WalkerDriver
from bitgoeul.envs.world import JunctionDriver, RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

libsumo = pytest.importorskip("libsumo", reason="SUMO is not installed")
pytestmark = pytest.mark.sumo

TRUTH = (
    Walker,
    WalkerDriver,
    EmulatedDetector,
    EmulatedStreet,
    JunctionDriver,
    ControlLoop,
    SumoBackend,
    ModuleType,
)
"""What no policy and no guard may hold; a SUMO connection is the module libsumo, or an object of traci's."""


def reachable(*roots):
    """Yield each object that can be reached from what these hold, and the path of types that leads to it.

    Code is not data: a class, a module and a function's globals are not followed, a closure's cells and
    a bound method's object are.
    """
    waiting = [(root, type(root).__name__) for root in roots]
    met = set()
    while waiting:
        here, path = waiting.pop()
        if id(here) in met:
            continue
        met.add(id(here))
        yield here, path
        if isinstance(here, (type, ModuleType)):
            continue
        held = (
            [*(here.__closure__ or ()), here.__defaults__]
            if isinstance(here, FunctionType)
            else gc.get_referents(here)
        )
        waiting += [(each, f"{path} > {type(each).__name__}") for each in held]


def leaks(*roots):
    return [
        path
        for each, path in reachable(*roots)
        if isinstance(each, TRUTH) or type(each).__module__ == "traci.connection"
    ]


@pytest.fixture(scope="module", params=["eta", "max_pressure+guard", "learned"])
def run(request):
    """A run in its fourth minute after the warm-up, with people on the crossings."""
    spec = RunSpec(site="bukmun_5", controller=request.param, seed=10_000, hour="peak", minutes=5)
    with simulation(spec, load_site("bukmun_5")) as opened:
        driver = build_driver(spec, load_site("bukmun_5"), opened.connection)
        while driver.now_ds < 5400 or not any(driver.loop.observed.snapshot.frames[2].on_crossing):
            driver.step()
        yield driver


def test_no_controller_reaches_the_truth(run):
    situation = run.loop.observed
    assert any(frame.on_crossing for frame in situation.snapshot.frames)
    assert leaks(situation, run.policy, run.guard) == []
    kinds = {type(each) for each, _ in islice(reachable(situation), 100_000)}
    assert NeedEstimator in kinds  # the walk does go through what is held


def test_the_walk_finds_what_is_hidden(run):
    def closure():
        return run

    for carrier in (
        [{"deep": (run.walkers,)}],
        run.street.frames,
        closure,
        libsumo,
        [libsumo],
        run.loop.observe,
    ):
        assert leaks(carrier), carrier


def test_only_plain_values_are_in_a_frame(run):
    for frame in run.loop.observed.snapshot.frames:
        kinds = {type(each).__name__ for each, _ in reachable(frame)} - {"type"}
        assert kinds <= {
            "Frame",
            "Track",
            "Zone",
            "str",
            "int",
            "float",
            "bool",
            "tuple",
            "dict",
            "NoneType",
            "EnumType",
        }


def test_nothing_told_of_a_person_is_their_id_in_sumo(run):
    names = {name for here in run.walkers.on_crossing for name in here}
    assert names
    assert not names & {each for each, _ in reachable(run.loop.observed) if isinstance(each, str)}

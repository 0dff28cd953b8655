"""The default sensor in a real run: its overall figures, and the same chances for every controller."""

from __future__ import annotations

import pytest

from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import load_site

libsumo = pytest.importorskip("libsumo", reason="SUMO is not installed")
pytestmark = pytest.mark.sumo


class Watched:
    """Twenty minutes of the default sensor beside the truth, without its latency."""

    def __init__(self):
        spec = RunSpec(
            site="bukmun_5", controller="fixed", seed=10_001, hour="peak", minutes=20,
            detector="camera_day:latency_s=0",
        )  # fmt: skip
        self.seen = self.there = self.ever = self.persons = self.healthy = self.pictures = 0
        with simulation(spec, load_site("bukmun_5")) as opened:
            driver = build_driver(spec, load_site("bukmun_5"), opened.connection)
            detector, everybody = driver.detector, {}
            while driver.now_ds < spec.end_s * 10:
                driver.step()
                self._count(driver, detector, everybody)
        self.persons, self.ever = len(everybody), sum(everybody.values())

    def _count(self, driver, detector, everybody):
        for index, frame in enumerate(driver.loop.observed.snapshot.frames):
            self.pictures += 1
            self.healthy += frame.is_healthy
            if not frame.is_healthy:
                continue
            for name in driver.walkers.on_crossing[index]:
                everybody[name] = detector.was_detected(name)
            known = [name for name in driver.walkers.on_crossing[index] if detector._people[name].is_seen]
            self.there += len(known)
            self.seen += sum(bool(track.class_probabilities) for track in frame.on_crossing)


def test_the_default_sensor_meets_its_overall_figures():
    met = Watched()
    assert met.persons > 200
    assert met.seen / met.there == pytest.approx(0.95, abs=0.015)
    assert met.ever / met.persons == pytest.approx(0.97, abs=0.03)
    assert met.healthy / met.pictures == pytest.approx(0.99, abs=0.01)


def test_the_sensors_chances_are_the_same_for_two_controllers():
    """Whoever waits or crosses under both controllers is seen, and read, in the same way."""
    known = []
    for controller in ("fixed", "max_pressure"):
        spec = RunSpec(site="bukmun_5", controller=controller, seed=10_002, hour="peak", minutes=3)
        with simulation(spec, load_site("bukmun_5")) as opened:
            driver = build_driver(spec, load_site("bukmun_5"), opened.connection)
            people = {}
            while driver.now_ds < spec.end_s * 10:
                driver.step()
                people |= {n: (p.is_seen, p.probabilities) for n, p in driver.detector._people.items()}
            known.append(people)
    both = known[0].keys() & known[1].keys()
    assert len(both) > 60
    assert all(known[0][name] == known[1][name] for name in both)

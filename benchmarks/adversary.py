"""Set everything against the guard at once, for hours: a hostile policy, failing sensors, a failing link.

What must not happen is counted, not asserted: conflicting greens, people left behind whom the guard promised
to wait for, calls served late. In a junction without SUMO (fast) or in SUMO.
"""

# ruff: noqa: SLF001 - it looks inside what it attacks
from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

from bitgoeul.controller.detection import Frame, Track, Zone
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.signals import Calls, Commands, Lamps, phase_mask, phases_in
from bitgoeul.controller.walking import GAIT
from bitgoeul.sim_scenarios.catalog import load_site

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests" / "laws")]
from fake_junction import FakeBackend, FakeStreet, Junction, Sensor, Walker
from hostility import FailingLink, FaultySource, HostilePolicy, Umpire

SITE = "bukmun_5"
COMES_TO_KERB = 0.005
"""Chance that somebody comes to a crossing's kerb in a tick, while walk is not lit."""
DRIVES_UP = 0.03
"""Chance that a vehicle arrives for a phase in a tick."""
DRIVES_ON = 0.25
"""Chance that a queue's first vehicle leaves in a tick of green."""
TRUSTED = 0.85
"""Share of somebody's pace that they are trusted to keep."""
NEVER_DS = 1 << 60
"""Later than any run. [0.1 s]"""


# --- without SUMO -------------------------------------------------------------------------------------


class Crowd(FakeStreet):  # type: ignore[misc]
    """People who keep coming: some to each walk, some waiting at the kerb."""

    def __init__(self, plan: SitePlan, random: Random) -> None:
        super().__init__(plan, [], Sensor(noise_m=0.2, noise_mps=0.05), seed=random.getrandbits(32))
        self._draw, self._named = random, 0
        self._bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self.kerbs = 0
        self.crossed = 0
        for index in range(len(plan.crossings)):
            self._come(index, 0)

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return the crossings' pictures, with those who wait."""
        frames = super().frames(now_ds)
        return tuple(
            frame._replace(waiting=(_at_kerb(frame, now_ds),))
            if self.kerbs & bits and frame.is_healthy
            else frame
            for frame, bits in zip(frames, self._bits, strict=True)
        )

    def act(self, now_ds: int, lamps: Lamps) -> None:
        """Let people act, then let some leave and others come."""
        numbers = [service.number for service in self.services]
        super().act(now_ds, lamps)
        for bits in self._bits:
            if not lamps.walk & bits and self._draw.random() < COMES_TO_KERB:
                self.kerbs |= bits
        self.kerbs &= ~lamps.walk
        for index, service in enumerate(self.services):
            if service.number != numbers[index]:
                self.walkers = [w for w in self.walkers if w.crossing != index or w.service >= service.number
                                or w.remaining_m > 0]  # fmt: skip
                self._come(index, service.number + 1)

    def _come(self, index: int, service: int) -> None:
        """Draw those of a crossing's coming service: usual for their class, 0.4 m/s at least."""
        for _ in range(self._draw.choice((0, 1, 1, 2, 4, 8))):
            name = self._draw.choice(sorted(GAIT))
            mean_mps, sd_mps = GAIT[name][:2]
            speed_mps = max(mean_mps + self._draw.uniform(-2, 2) * sd_mps, 0.4)
            start = self._draw.choice(("walk", "walk", "clear", "red"))
            known = self._draw.choice((name, name, ""))
            walker = Walker(index, service, start, self._draw.random(), speed_mps, known)
            self._named += 1
            walker.id = f"p{self._named}"
            self.walkers.append(walker)
            self.crossed += 1


def _at_kerb(frame: Frame, now_ds: int) -> Track:
    return Track("kerb", frame.crossing, Zone.KERB_A, 1.0, 0.0, (), "fake", now_ds, now_ds)


class Traffic(FakeBackend):  # type: ignore[misc]
    """The core in process, with vehicles that come by chance and leave in green."""

    def __init__(self, plan: SitePlan, random: Random) -> None:
        super().__init__(plan)
        self._random, self._numbers = random, plan.phase_numbers
        self._queues = dict.fromkeys(self._numbers, 0)

    def write(self, commands: Commands) -> Lamps:
        """Let vehicles come and go, then half a second pass."""
        lamps, random = self.core.lamps, self._random
        called = extended = 0
        for number in self._numbers:
            bit = 1 << (number - 1)
            self._queues[number] += random.random() < DRIVES_UP
            if lamps.green & bit and self._queues[number] and random.random() < DRIVES_ON:
                self._queues[number] -= 1
                extended |= bit
            called |= bit if self._queues[number] else 0
        if (called, extended) != (self._calls.vehicle, self._calls.extend):
            self._calls = Calls(vehicle=called, extend=extended)
        shown: Lamps = super().write(commands)
        return shown


def against_fake(hours: float, seed: int, *, form: str | None = None) -> dict[str, Any]:
    """Return what happened in so many hours without SUMO. [h]"""
    plan, random = load_site(SITE).plan, Random(seed)  # noqa: S311 - a simulation, no secret
    street, umpire = Crowd(plan, random), Umpire(plan)
    guard = Guard(plan, form=form)
    junction = Junction(plan, HostilePolicy(plan, random), street, guard=guard)
    junction.guard.verdicts = deque(maxlen=1)
    backend = Traffic(plan, random)
    link, source = FailingLink(backend, random), FaultySource(street, plan, random)
    junction.backend = junction.loop._backend = link
    link.core = backend.core  # type: ignore[attr-defined]
    junction.loop._source = source

    def each_tick(now_ds: int) -> None:
        lamps = backend.core.lamps
        umpire.judge(now_ds, lamps)
        umpire.wait(now_ds, "vehicle", backend._calls.vehicle, lamps.green)
        umpire.wait(now_ds, "walker", street.kerbs & (source.waiting | umpire.waits("walker")), lamps.walk)

    junction.run(hours * 3600, each_tick=each_tick)
    umpire.close(backend.core.now_ds, link)
    left = [_fake_row(each, plan, source, link) for each in street.residuals]
    return _report(hours, umpire, left, street.crossed, guard)


def _fake_row(residual: Any, plan: SitePlan, source: FaultySource, link: FailingLink) -> dict[str, Any]:
    walker = residual.walker
    crossing = plan.crossings[walker.crossing].id
    within_s = plan.clears_after_s(crossing) + plan.extension_max_s(crossing) - 1
    confirmed_ds = source.confirmed_ds.get(walker.id, NEVER_DS)
    return {
        "walker": walker.id,
        "crossing": crossing,
        "start": walker.start,
        "speed_mps": round(walker.speed_mps, 2),
        "conflict_s": residual.at_ds / 10,
        "clear_ended_s": walker.clear_ended_ds / 10,
        "confirmed_s": confirmed_ds / 10,
        "needed_s": round(walker.needed_at_clearance_s, 1),
        "is_promised": walker.start != "red"
        and 0 < walker.needed_at_clearance_s <= within_s
        and confirmed_ds <= walker.clear_ended_ds,
        "was_link_down": link.was_down(walker.entered_ds, residual.at_ds),
    }


# --- in SUMO ------------------------------------------------------------------------------------------


def against_sumo(hours: float, seed: int, *, form: str | None = None) -> dict[str, Any]:
    """Return what happened in so many hours of SUMO's peak hour. [h]"""
    from bitgoeul.envs.world import WARMUP_DS, JunctionDriver, RunSpec, simulation

    site, random = load_site(SITE), Random(seed)  # noqa: S311 - a simulation, no secret
    spec = RunSpec(site=SITE, controller="eta", seed=10_000 + seed, hour="peak", minutes=round(hours * 60))
    plan, guard = site.plan, Guard(site.plan, form=form)
    umpire = Umpire(plan)
    with simulation(spec, site) as opened:
        controller = (HostilePolicy(plan, random), guard)
        driver = JunctionDriver(opened.connection, plan, controller, detector="camera_day", seed=spec.seed)
        link, source = FailingLink(driver.backend, random), FaultySource(driver.street, plan, random)
        driver.loop._backend, driver.loop._source = link, source
        bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        numbers: dict[int, str] = {}
        paces = Paces(driver)
        called: set[int] = set()
        while driver.now_ds < spec.end_s * 10:
            driver.step()
            _note_numbers(driver, numbers)
            paces.follow()
            lamps, at_kerb = driver.backend.core.lamps, 0
            for index, waiting in enumerate(driver.walkers.waiting):
                at_kerb |= bits[index] if waiting else 0
            umpire.judge(driver.now_ds, lamps)
            if driver.now_ds <= WARMUP_DS:
                continue
            umpire.wait(driver.now_ds, "vehicle", driver.backend._reading_calls.vehicle, lamps.green)
            called = {
                n for n in phases_in(at_kerb & ~lamps.walk) if n in called or source.waiting >> (n - 1) & 1
            }
            umpire.wait(driver.now_ds, "walker", phase_mask(called), lamps.walk)
        umpire.close(driver.now_ds, link)
        rows = driver.measures.event_rows(driver.now_ds)
        left = [
            _sumo_row(record, row, source.confirmed_ds.get(numbers.get(id(record), ""), NEVER_DS), link)
            | {"stopped_after_release": id(record) in paces.foreseen_clear}
            for record, row in zip(driver.measures._records, rows, strict=False)
            if row["is_residual"]
        ]
        crossed = len(driver.measures._records)
    return _report(hours, umpire, left, crossed, guard)


class Paces:
    """Follows everybody's distance to the far kerb, and whom nothing but a stop could keep on a crossing.

    Who, as the parent green ends, will be off in yellow and red clearance at 85 % of the pace of the last
    seconds, and is not, has stopped since: nobody could foresee that.
    """

    def __init__(self, driver: Any) -> None:
        self._driver, self._green = driver, 0
        self._metres: dict[int, deque[float]] = {}
        self.foreseen_clear: set[int] = set()
        plan = driver.plan
        self._bits = tuple(phase_mask(plan.walk_phases(crossing.id)) for crossing in plan.crossings)
        self._clears_s = tuple(plan.clears_after_s(crossing.id) - 1 for crossing in plan.crossings)

    def follow(self) -> None:
        """Take note of everybody's place; judge those whose parent green ends now."""
        driver, green = self._driver, self._driver.backend.core.lamps.green
        ended, self._green = self._green & ~green, green
        for index, active in enumerate(driver.measures._active):
            if not active:
                continue
            for walker, metres in driver.walkers.remaining_m(index):
                key = id(active.get(walker.id))
                past = self._metres.setdefault(key, deque(maxlen=7))
                past.append(metres)
                pace_mps = TRUSTED * (past[0] - metres) / max(len(past) - 1, 1) * 2
                if ended & self._bits[index] and metres <= pace_mps * self._clears_s[index]:
                    self.foreseen_clear.add(key)


def _note_numbers(driver: Any, numbers: dict[int, str]) -> None:
    """Note under which number the sensor follows whoever is on a crossing, by record."""
    for active in driver.measures._active:
        for name, record in active.items():
            person = driver.detector._people.get(name)
            if person is not None:
                numbers[id(record)] = person.number


def _sumo_row(record: Any, row: dict[str, Any], confirmed_ds: int, link: FailingLink) -> dict[str, Any]:
    clear_ended_ds = -1 if record.clearance_end_ds is None else record.clearance_end_ds
    return {
        "walker": row["walker"],
        "crossing": row["crossing"],
        "start": row["entry"],
        "speed_mps": round(row["speed_mps"], 2),
        "conflict_s": record.conflict_ds / 10,
        "clear_ended_s": clear_ended_ds / 10,
        "confirmed_s": confirmed_ds / 10,
        "needed_s": row["needed_after_clearance_s"],
        "is_promised": bool(row["is_within_max"]) and confirmed_ds <= clear_ended_ds,
        "was_link_down": link.was_down(record.walker.entered_ds or 0, record.conflict_ds),
    }


# --- the count ----------------------------------------------------------------------------------------


def _report(
    hours: float, umpire: Umpire, left: list[dict[str, Any]], crossed: int, guard: Guard
) -> dict[str, Any]:
    """Return the counts; the first of everything that must not happen with all its figures."""
    bound_s = umpire.plan.limits.service_bound_s
    too_late = [each for each in umpire.late if each["waited_s"] > bound_s]
    promised = [row for row in left if row["is_promised"]]
    stopped = [row for row in promised if row.get("stopped_after_release") and not row["was_link_down"]]
    broken = [row for row in promised if not row["was_link_down"] and row not in stopped]
    return {
        "hours": hours,
        "walkers": crossed,
        "conflicting_greens": len(umpire.conflicts),
        "promised_left": len(broken),
        "promised_left_as_they_stopped_after_the_release": len(stopped),
        "promised_left_as_the_link_was_down": len(promised) - len(broken) - len(stopped),
        "others_left": len(left) - len(promised),
        "later_than_worst_service": len(umpire.late),
        "later_than_service_bound": sum(not each["was_link_down"] for each in too_late),
        "later_than_service_bound_as_the_link_was_down": sum(each["was_link_down"] for each in too_late),
        "longest_wait_s": dict(umpire.longest_s),
        "released_on_person": guard.released_on_person,
        "examples": {
            "conflicts": umpire.conflicts[:5],
            "left": broken[:10],
            "late": sorted(umpire.late, key=lambda each: -each["waited_s"])[:10],
        },
    }


def main() -> None:
    """Run one world and print its counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=["fake", "sumo"], default="fake")
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--form", choices=["P", "R"])
    options = parser.parse_args()
    against = against_sumo if options.world == "sumo" else against_fake
    print(json.dumps(against(options.hours, options.seed, form=options.form), indent=1))


if __name__ == "__main__":
    main()

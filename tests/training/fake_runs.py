"""Runs without SUMO: plausible numbers from a seed alone, and runs that misbehave on purpose."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError

SHARES = (0.50, 0.25, 0.08, 0.04, 0.02, 0.02, 0.03, 0.02, 0.04)
RISKS = (0.0136, 0.063, 0.197, 0.49, 0.064, 0.01, 0.112, 0.25, 0.05)
SAVED = {"fixed": 0.0, "gwangju5": 0.43, "eta": 0.96, "learned": 0.95}
DELAY_S = {"fixed": 57.0, "gwangju5": 60.0, "eta": 64.0, "learned": 60.5}
WALKERS = 600


@dataclass(frozen=True, kw_only=True)
class FakeResult:
    row: dict[str, Any]
    events: list[dict[str, Any]]
    extensions: list[dict[str, Any]]
    strip: dict[str, Any] | None
    trace_hash: str


def run(spec, *, record_strip=False):
    random = np.random.default_rng(spec.seed)
    own = np.random.default_rng([spec.seed, sum(spec.controller.encode())])
    maximum = 31.0 if spec.extension_max_s is None else spec.extension_max_s
    saved = SAVED.get(spec.controller, 0.5) * min(1.0, (maximum / 31.0) ** 0.4)
    events = [_event(number, random, own, saved) for number in range(WALKERS)]
    waits = np.array([event["wait_s"] for event in events])
    delay_s = DELAY_S.get(spec.controller, 62.0) * (0.93 + 0.07 * min(maximum / 31, 1.2)) + random.normal(
        0, 2
    )
    extensions = [
        {"crossing": "XW", "started_s": 400.0 + 160 * n, "seconds": 6.5, "reason": "detected"}
        for n in range(int(20 * saved))
    ]
    row = {
        "residual_per_10k": 1e4 * sum(event["is_residual"] for event in events) / len(events),
        "residual_legal_per_10k": 100.0,
        "residual_within_max_per_10k": 50.0,
        "beyond_max_share": 0.004,
        "released_on_person": 0,
        "person_hours_per_h": 2.0 * delay_s + own.normal(0, 1),
        "ped_wait_s": float(waits.mean()),
        "ped_wait_p95_s": float(np.percentile(waits, 95)),
        "ped_wait_max_s": float(waits.max()),
        "vehicle_delay_s": delay_s,
        "person_delay_s": delay_s + 1.0,
        "extension_s_per_h": float(sum(extension["seconds"] for extension in extensions)),
        "stops_per_vehicle": 0.9,
        "vehicles_n": 4190,
        "vehicles_unserved_n": 3,
        "jammed_n": 0,
        "teleports_n": 0,
        "warnings_n": 0,
        "pet_critical_n": 0,
        "pet_serious_n": 2,
        "pet_turn_critical_n": 11,
        "pet_turn_serious_n": 30,
        "vehicles_unfinished_n": 4,
        "unserved_walkers_n": 1,
        "queue_mean_n": 40.0,
        "queue_max_n": 14,
        "spillback_share": 0.25,
        "exposure_lane_s": 20.0 * (1 - saved),
        "exposure_yield_s": 700.0,
        "extension_used_s_per_h": 80.0 * saved,
        "extension_wasted_s_per_h": 50.0 * saved,
        "extension_refused_s_per_h": 5.0 * saved,
        "unserved_need_s_per_h": 400.0 * (1 - saved),
        "unserved_need_mean_s": 8.0,
        "residual_m_mean": 4.0,
        "worst_class_residual_per_10k": 4_000.0 * (1 - saved),
        "jain_served": 1 - 0.05 * (1 - saved),
        "decision_ms_mean": time.perf_counter() % 1,
        "sumo_version": "1.28.0",
    }
    strip = _strip(own) if record_strip else None
    return FakeResult(row=row, events=events, extensions=extensions, strip=strip, trace_hash=f"{spec.seed:x}")


def _event(number, random, own, saved):
    kind = int(random.choice(len(MOBILITY_CLASSES), p=SHARES))
    entry = random.choice(["walk_first", "walk_second", "clearance", "red"], p=[0.8, 0.17, 0.025, 0.005])
    risk, luck = random.random(), random.random()
    is_late = risk < RISKS[kind] * (3 if entry == "clearance" else 1)
    return {
        "walker": f"w{number}",
        "crossing": "XW" if random.random() < 0.5 else "XS",
        "length_m": 35.0,
        "mobility_class": MOBILITY_CLASSES[kind],
        "kerb": "W",
        "entered_s": 300.0 + 6 * number,
        "entry": str(entry),
        "wait_s": float(abs(own.normal(50, 38))),
        "crossing_s": 30.0,
        "delay_s": 52.0,
        "is_residual": bool(is_late and luck >= saved),
        "residual_m": float(random.uniform(0.2, 6)) if is_late else None,
        "needed_after_clearance_s": 12.0 if is_late else 0.0,
        "is_within_max": bool(luck < 0.99 if saved < 0.9 else luck < saved),
        "unserved_need_s": 8.0 if is_late else 0.0,
        "extension_s": 3.0 if is_late else 0.0,
        "exposure_s": 8.0 if is_late else 0.0,
        "exposure_lane_s": 2.0 if is_late else 0.0,
        "exposure_yield_s": 1.0,
        "pet_s": 2.0 if is_late else None,
        "pet_ahead_s": None,
        "pet_turn_s": 0.5 if luck < 0.02 else None,
        "pet_turn_ahead_s": None,
        "was_detected": True,
    }


def _strip(random):
    walk, clear = (100.0, 115.0), (115.0, 142.0)
    walkers = []
    for kind, start, speed, entry in (
        ("adult", 102.0, 1.3, "walk"),
        ("adult", 104.5, 1.5, "walk"),
        ("elderly", 103.0, 1.0, "walk"),
        ("adult", 112.0, 1.25, "walk"),
        ("frail", 113.0, 0.8, "walk"),
        ("adult", 118.0, 1.7, "clearance"),
    ):
        up = random.random() < 0.5
        points = [[start - 8, 0.0 if up else 35.0]]
        points += [[start + m / speed, float(m if up else 35 - m)] for m in np.linspace(0, 35, 12)]
        walkers.append({"mobility_class": kind, "entry": entry, "points": points})
    return {
        "crossing": "XW",
        "length_m": 35.0,
        "begin_s": 40.0,
        "end_s": 210.0,
        "phases": [
            {
                "label": "crossing XW",
                "spans": [
                    [40.0, 100.0, "dont_walk"],
                    [*walk, "walk"],
                    [*clear, "clearance"],
                    [142.0, 210.0, "dont_walk"],
                ],
            },
            {
                "label": "phase 4 (EBT)",
                "spans": [
                    [40.0, 100.0, "red"],
                    [100.0, 150.5, "green"],
                    [150.5, 155.5, "yellow"],
                    [155.5, 210.0, "red"],
                ],
            },
            {
                "label": "phase 3 (NBL)",
                "spans": [
                    [40.0, 157.5, "red"],
                    [157.5, 170.0, "green"],
                    [170.0, 173.0, "yellow"],
                    [173.0, 210.0, "red"],
                ],
            },
            {
                "label": "phase 2 (EBT)",
                "spans": [
                    [40.0, 94.0, "green"],
                    [94.0, 98.0, "yellow"],
                    [98.0, 175.0, "red"],
                    [175.0, 210.0, "green"],
                ],
            },
        ],
        "walkers": walkers,
        "extensions": [[142.0, 150.5, "frail need 8.5 s"]],
    }


def run_slowly(spec, *, record_strip=False):
    result = run(spec, record_strip=record_strip)
    if spec.seed > 10_000:
        time.sleep(30)
    return result


def run_and_die(spec, *, record_strip=False):
    if spec.seed == 10_001:
        os.kill(os.getpid(), signal.SIGKILL)
    return run(spec, record_strip=record_strip)


def run_and_refuse(spec, *, record_strip=False):
    if spec.seed == 10_001:
        raise ScenarioError("no network here")
    return run(spec, record_strip=record_strip)


def run_with_a_bug(spec, *, record_strip=False):
    raise KeyError("a bug")


def run_and_count(spec, *, record_strip=False):
    with Path(os.environ["BITGOEUL_TEST_LOG"]).open("a", encoding="utf-8") as log:
        log.write(f"{spec.controller} {spec.seed}\n")
    return run(spec, record_strip=record_strip)

"""Time one decision of a policy, observation and inference, beside one SUMO step of the same run."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from bitgoeul.envs.world import RunSpec, build_driver, silence_native_warnings, simulation
from bitgoeul.sim_scenarios.catalog import load_site


def measure(controller: str, minutes: int) -> dict[str, float]:
    """Return decision and step times of one run. [ms]"""
    spec = RunSpec(site="bukmun_5", controller=controller, seed=10_000, hour="peak", minutes=minutes)
    site = load_site(spec.site)
    decisions_ms: list[float] = []
    steps_ms: list[float] = []
    with simulation(spec, site) as opened:
        driver = build_driver(spec, site, opened.connection)
        act, step = driver.loop.act, driver._simulation_step  # noqa: SLF001 - timed from outside

        def timed_act() -> object:
            is_decision = driver.is_decision_due
            started_s = time.perf_counter()
            lamps = act()
            if is_decision:
                decisions_ms.append(1000 * (time.perf_counter() - started_s))
            return lamps

        def timed_step() -> None:
            started_s = time.perf_counter()
            step()
            steps_ms.append(1000 * (time.perf_counter() - started_s))

        driver.loop.act = timed_act  # type: ignore[method-assign,assignment]
        driver._simulation_step = timed_step  # noqa: SLF001
        while driver.now_ds < spec.end_s * 10:
            driver.step()
    step_ms = float(np.median(steps_ms))
    p50_ms, p99_ms = (float(np.percentile(decisions_ms, q)) for q in (50, 99))
    return {
        "decisions": len(decisions_ms),
        "decision_p50_ms": p50_ms,
        "decision_p99_ms": p99_ms,
        "sumo_step_ms": step_ms,
        "ratio_p50": p50_ms / step_ms,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controller", default="learned")
    parser.add_argument("--minutes", type=int, default=60)
    arguments = parser.parse_args()
    silence_native_warnings()
    print(json.dumps(measure(arguments.controller, arguments.minutes), indent=1))

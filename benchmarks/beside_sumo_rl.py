"""How much of SUMO's speed sumo-rl leaves, measured as `bitgoeul bench env --through environment` is.

Usage: python benchmarks/beside_sumo_rl.py [--seconds 3600] [--repeat 3]. One of sumo-rl's own networks, its
defaults (a decision each 5 s; it has no walkers), and the phases in turn as the agent. Both in libsumo.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitgoeul.envs.bench_replay import Program, bench_program
from bitgoeul.envs.world import silence_native_warnings

NETS = Path("nets") / "single-intersection"
"""sumo-rl's own network, in its package."""


def _sumo_rl() -> Any:
    """Import sumo-rl, which needs two environment variables for that."""
    sumo = importlib.import_module("sumo")
    os.environ.setdefault("SUMO_HOME", str(sumo.SUMO_HOME))
    os.environ["LIBSUMO_AS_TRACI"] = "1"
    return importlib.import_module("sumo_rl")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python benchmarks/beside_sumo_rl.py --repeat 3"
    )
    parser.add_argument("--seconds", type=int, default=3600, help="simulated time of an episode [s]")
    parser.add_argument("--repeat", type=int, default=3, help="pairs; medians count")
    asked = parser.parse_args()
    silence_native_warnings()
    sumo_rl = _sumo_rl()
    folder = Path(sumo_rl.__file__).parent / NETS
    env = sumo_rl.SumoEnvironment(
        net_file=str(folder / "single-intersection.net.xml"),
        route_file=str(folder / "single-intersection.rou.xml"),
        single_agent=True,
        num_seconds=asked.seconds,
        sumo_warnings=False,
    )

    def play() -> None:
        is_over, turn = False, 0
        while not is_over:
            turn += 1
            _, _, _, is_over, _ = env.step(turn // 4 % env.action_space.n)

    figures = bench_program(
        importlib.import_module("traci"),
        Program(reset=lambda: env.reset(seed=1), play=play),
        repeat=asked.repeat,
    )
    env.close()
    print(json.dumps(asdict(figures), indent=1))


if __name__ == "__main__":
    main()

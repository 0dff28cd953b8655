"""How our worlds start SUMO: one set of options for runs, exports and replays."""

from __future__ import annotations

from pathlib import Path

STEP_S = 0.5
"""Simulation step. [s] [A]"""
WARMUP_S = 300
"""Simulated time under `fixed` before anything is measured. [s] [A]"""
TELEPORT_S = 300
"""A vehicle stuck this long is moved on and counted as a teleport. [s] (SUMO's own default)"""

JUNCTION_BLOCKER_S = 20
"""Others find their way round a vehicle that has stood inside the junction this long. [s] [A]

A through car behind a right-turner who waits for a slow walker is caught inside the junction; without
this, two such cars lock the whole junction for the rest of the run (seen in 2 of 32 peak hours).
"""

LONGEST_MIN = 44_640
"""Longest run: 31 days. [min] [A]"""
LARGEST_SEED = 2**31 - 1
"""SUMO takes no larger one."""

OPTIONS: dict[str, str] = {
    "step-length": str(STEP_S),
    "time-to-teleport": str(TELEPORT_S),
    "ignore-junction-blocker": str(JUNCTION_BLOCKER_S),
    # Drawn speeds are walked exactly; the default 0.2 takes a tenth off (measured).
    "pedestrian.striping.dawdling": "0",
    # How far back a vehicle's accumulated waiting reaches, for comparison with sumo-rl; moves nobody. [s]
    "waiting-time-memory": "1000",
    "no-step-log": "true",
    "duration-log.disable": "true",
    "xml-validation": "never",
    "tripinfo-output.write-unfinished": "true",
    "tripinfo-output.write-undeparted": "true",
}
"""SUMO options of every run, by long name."""


def sumo_options(*, network: Path, additional: Path, routes: Path, seed: int, end_s: int) -> dict[str, str]:
    """Return SUMO's options for one run, by long name.

    Parameters
    ----------
    network, additional, routes : input files.
    seed : of SUMO's own random numbers (driver imperfection); the demand is drawn before.
    end_s : end of the simulation. [s]
    """
    return {
        "net-file": str(network),
        "additional-files": str(additional),
        "route-files": str(routes),
        "seed": str(seed),
        "end": str(end_s),
        **OPTIONS,
    }


def output_options(folder: Path) -> dict[str, str]:
    """Return the options that write a run's trips, statistics and warnings into a folder."""
    return {
        "tripinfo-output": str(folder / "tripinfo.xml"),
        "statistic-output": str(folder / "statistics.xml"),
        "error-log": str(folder / "warnings.txt"),
    }


def as_arguments(options: dict[str, str]) -> list[str]:
    """Return options as command-line arguments."""
    return [argument for name, value in options.items() for argument in (f"--{name}", value)]

"""Let a policy that picks any legal choice run for simulated days, and count what must not happen.

Each hour of the day is one episode of `Bitgoeul/Crossing-v0`. Hours done are kept as lines of JSON; a run
that was stopped goes on where it stopped. Two processes share the days: memory is each process's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bitgoeul.controller.monitor import Monitor
from bitgoeul.envs.crossing import CrossingEnv
from bitgoeul.envs.world import silence_native_warnings

Row = dict[str, Any]
HOURS = 24
PAGE_BYTES = resource.getpagesize()
RESULTS = (
    "crossings_n",
    "residual_n",
    "unserved_walkers_n",
    "jammed_n",
    "jammed_crossings_n",
    "teleports_n",
    "warnings_n",
    "warnings_jam_n",
    "warnings_teleport_n",
    "warnings_collision_n",
    "warnings_braking_n",
    "warnings_other_n",
    "vehicles_unserved_n",
    "vehicles_unfinished_n",
    "released_on_person",
)
"""Columns of an hour's result that are summed."""


def run_hour(env: CrossingEnv, hour: int, seed: int) -> Row:
    """Return what happened in one hour of the day. [h]"""
    started_s, random = time.perf_counter(), np.random.default_rng(seed)
    env.reset(seed=seed, options={"hour": str(hour)})
    monitor, faults = Monitor(env.site.plan), Counter[str]()

    def watch(now_ds: int, _before: object, after: Any) -> None:
        fault = monitor.watch(now_ds, after)
        if fault is not None:
            faults[type(fault).__name__] += 1

    env.driver.lamp_listeners.append(watch)
    decisions, illegal, overrides = 0, 0, Counter[str]()
    is_over = False
    while not is_over:
        legal = np.flatnonzero(env.action_masks())
        *_, is_over, info = env.step(int(random.choice(legal)))
        decisions += 1
        illegal += info["illegal_action"]
        overrides += Counter(info["overrides"])
    result = info["result"]
    return {
        "hour": hour,
        "seed": seed,
        "decisions": decisions,
        "illegal": illegal,
        "overrides": dict(overrides),
        "delayed": dict(env.driver.delayed),
        "monitor_faults": dict(faults),
        **{name: result.get(name, 0) for name in RESULTS},
        "rss_mib": rss_mib(),
        "wall_s": time.perf_counter() - started_s,
        "trace_hash": result["trace_hash"],
    }


def rss_mib() -> float:
    """Return this process's resident memory. [MiB]"""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * PAGE_BYTES / 2**20


def run_day(site: str, day: int, hours: tuple[int, ...], minutes: int, path: Path) -> int:
    """Run the hours of a day that are not done yet, and write each down; return how many crashed."""
    silence_native_warnings()
    done = {(row["seed"], row["hour"]) for row in read(path)}
    env, crashes = CrossingEnv(site, minutes=minutes), 0
    try:
        for hour in hours:
            seed = 10_000 + 100 * day + hour
            if (seed, hour) in done:
                continue
            try:
                row = run_hour(env, hour, seed) | {"day": day}
            except Exception:  # noqa: BLE001 - a crash is what this looks for
                crashes += 1
                row = {"day": day, "hour": hour, "seed": seed, "crash": traceback.format_exc()}
                env.close()
                env = CrossingEnv(site, minutes=minutes)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    finally:
        env.close()
    return crashes


def read(path: Path) -> list[Row]:
    """Return the hours written so far; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def table(rows: Iterable[Row]) -> str:
    """Return the counts of all hours as lines of text."""
    every = list(rows)
    rows = [row for row in every if "crash" not in row]
    decisions = sum(row["decisions"] for row in rows)
    lines = [
        ("hours", len(rows)),
        ("crashes", len(every) - len(rows)),
        ("decisions", decisions),
        ("illegal actions", sum(row["illegal"] for row in rows)),
    ]
    for kind in ("overrides", "delayed"):
        counts = sum((Counter(row[kind]) for row in rows), Counter[str]())
        share = f"{sum(counts.values())} ({sum(counts.values()) / max(decisions, 1):.2%})"
        lines.append((kind, share))
        lines += [(f"  {reason}", f"{n} ({n / max(decisions, 1):.2%})") for reason, n in counts.most_common()]
    faults = sum((Counter(row["monitor_faults"]) for row in rows), Counter[str]())
    lines.append(("faults seen by the monitor", sum(faults.values())))
    lines += [(name, sum(row[name] for row in rows)) for name in RESULTS]
    for day in sorted({row["day"] for row in rows}):
        memory = [row["rss_mib"] for row in rows if row["day"] == day]
        slope = np.polyfit(range(len(memory)), memory, 1)[0] if len(memory) > 1 else 0.0
        lines.append(
            (f"memory, day {day} [MiB]", f"{memory[0]:.0f} to {memory[-1]:.0f}, {slope:+.2f} an hour")
        )
    wall_s = sum(row["wall_s"] for row in rows)
    lines.append(("wall time of all processes [s]", round(wall_s)))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def main() -> None:
    """Run the days that are asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", default="bukmun_5")
    parser.add_argument("--days", type=int, default=5, help="days, each with its own seeds")
    parser.add_argument("--hours", type=int, default=HOURS, help="hours of each day, spread evenly")
    parser.add_argument("--minutes", type=int, default=60, help="length of each hour's episode")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("random_policy"), help="folder of the hours done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    hours = tuple(HOURS * place // given.hours for place in range(given.hours))
    paths = [given.out / f"{given.site}_day{day}.jsonl" for day in range(given.days)]
    with ProcessPoolExecutor(given.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        jobs = {
            pool.submit(run_day, given.site, day, hours, given.minutes, path): day
            for day, path in enumerate(paths)
        }
        for job in as_completed(jobs):
            print(f"day {jobs[job]} done, {job.result()} crashes", file=sys.stderr, flush=True)
    print(table(row for path in paths for row in read(path)))


if __name__ == "__main__":
    main()

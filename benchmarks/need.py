"""Time of the need estimate: a frame taken in and the need asked for, for 1, 3, 10 and 30 tracks.

Usage: python benchmarks/need.py [--repeat 300]. The reference is sorting 1,000 numbers, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bitgoeul.controller.detection import MOBILITY_CLASSES, Frame, Track, Zone
from bitgoeul.controller.need import NeedEstimator
from bitgoeul.controller.plan import load_plan

PLAN = load_plan(Path(__file__).parents[1] / "sim_scenarios/bitgoeul/sim_scenarios/sites/bukmun_5/plan.toml")
CROSSING = max(range(len(PLAN.crossings)), key=lambda index: PLAN.crossings[index].length_m)
WRONG = 0.1 / (len(MOBILITY_CLASSES) - 1)


def frames_of(count: int, frame_count: int) -> list[tuple[Frame, ...]]:
    """Return frames of people who walk over the longest crossing, every half second."""
    draw = np.random.default_rng(count)
    people = [(30.0 + draw.random(), 0.5 + draw.random(), int(draw.integers(9))) for _ in range(count)]
    stated = [tuple(0.9 if at == k else WRONG for at in range(9)) for k in range(9)]
    series = []
    for now_ds in range(0, 5 * frame_count, 5):
        walked_m = [speed_mps * now_ds / 10 + float(draw.normal(0, 0.3)) for _, speed_mps, _ in people]
        tracks = tuple(
            Track(str(number), PLAN.crossings[CROSSING].id, Zone.CROSSING,
                  max(start_m - walked_m[number], 0.0), speed_mps, stated[kind], "bench", now_ds, 0)
            for number, (start_m, speed_mps, kind) in enumerate(people)
        )  # fmt: skip
        series.append(
            tuple(
                Frame(crossing.id, now_ds, is_healthy=True, on_crossing=tracks if index == CROSSING else ())
                for index, crossing in enumerate(PLAN.crossings)
            )
        )
    return series


def median_us(calls: list[Callable[[], object]]) -> float:
    """Return the median time of the calls. [us]"""
    times = []
    for call in calls:
        began_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - began_s)
    return 1e6 * statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=300, help="of each figure; medians count")
    repeat = parser.parse_args().repeat
    if repeat < 1:
        parser.error(f"--repeat {repeat}: give 1 or more")
    numbers = np.random.default_rng(1).random(1000).tolist()
    reference_us = median_us([lambda: sorted(numbers)] * repeat)
    print(f"reference, sorting 1,000 numbers: {reference_us:.0f} us")
    for count in (1, 3, 10, 30):
        update_us, need_us, within_us = [], [], []
        for _ in range(max(1, repeat // 30)):
            needs = NeedEstimator(PLAN)
            for frames in frames_of(count, 30):
                now_ds = frames[CROSSING].measured_ds
                update_us.append(median_us([lambda needs=needs, frames=frames: needs.update(frames)]))
                need_us.append(median_us([lambda needs=needs, now=now_ds: needs.need(CROSSING, now)]))
                within_us.append(
                    median_us([lambda needs=needs, now=now_ds: needs.is_clear_within(CROSSING, now, 60.0)])
                )
        both_us = statistics.median([a + b for a, b in zip(update_us, need_us, strict=True)])
        print(
            f"{count:3d} tracks: frame {statistics.median(update_us):5.0f} us, need "
            f"{statistics.median(need_us):5.0f} us, both {both_us:5.0f} us = "
            f"{both_us / reference_us:.2f} references; clear within? {statistics.median(within_us):4.0f} us"
        )


if __name__ == "__main__":
    main()

"""Learning curves to compare with: stock PPO at 5 s and MaskablePPO on decision events, on bukmun_5.

Usage: python benchmarks/reference_curves.py [--out out/reference] [--steps N] [--only first_ppo]

Learns as `examples/first_ppo.py` and `examples/masked_ppo.py` do, on one processor. After each tenth of the
steps the policy is saved, loaded again and run on evaluation days; each part starts from the saved policy
with a seed of its own, so that an interrupted run, repeated, gives the same curve. Writes for each learner
`NAME.csv` (the curve), `NAME.png`, `NAME.zip` (the policy) and `NAME.json`: command, seed, versions, the
controllers beside it on the same days, and the SHA-256 of the curve.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from bitgoeul.envs.world import RunSpec, run_world, silence_native_warnings
from bitgoeul.training.figures import INK, PALETTE, new_figure
from bitgoeul.training.saved import run_saved, with_step
from bitgoeul.training.smdp import SmdpCallback, SmdpMaskableDictRolloutBuffer
from bitgoeul.training.store import code_version
from bitgoeul.training.vector import crossings

SITE: Final = "bukmun_5"
HOUR: Final = "peak"
SEED: Final = 1
DAYS: Final = (10_000, 10_001, 10_002)
"""Evaluation seeds, apart from training's."""
PARTS: Final = 10
"""Points of a curve after its start."""
BESIDE: Final = ("eta", "max_pressure+guard", "learned")
"""Controllers run on the same days."""
MEASURES: Final = ("person_hours_per_h", "residual_per_10k", "ped_wait_s", "vehicle_delay_s")
"""Columns of a curve, means over the days."""
VERSIONS: Final = ("gymnasium", "libsumo", "numpy", "sb3-contrib", "stable-baselines3", "torch")
TAU_S: Final = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """How one of the curves is learned.

    Parameters
    ----------
    make : returns the learner at its start, given its environment and the minutes of an episode.
    steps : decisions to learn from.
    options : of the environment.
    delta_time_s : seconds a step; None is on events. [s]
    has_callback : learns by the second.
    """

    make: Callable[[VecEnv, int], PPO]
    steps: int
    options: Mapping[str, Any]
    delta_time_s: float | None
    has_callback: bool


def stock(venv: VecEnv, minutes: int) -> PPO:
    """Return the learner of `examples/first_ppo.py`."""
    return PPO("MlpPolicy", venv, n_steps=24 * minutes, batch_size=2 * minutes, seed=SEED, device="cpu")


def masked(venv: VecEnv, minutes: int) -> Any:
    """Return the learner of `examples/masked_ppo.py`, with one simulation."""
    from sb3_contrib import MaskablePPO

    return MaskablePPO(
        "MultiInputPolicy",
        venv,
        n_steps=min(256, 8 * minutes),
        batch_size=min(256, 8 * minutes),
        rollout_buffer_class=SmdpMaskableDictRolloutBuffer,
        rollout_buffer_kwargs={"tau_s": TAU_S},
        seed=SEED,
        device="cpu",
    )


LEARNERS: Final[Mapping[str, Learner]] = {
    "first_ppo": Learner(
        make=stock,
        steps=20_000,
        options={"observation": "flat", "delta_time_s": 5},
        delta_time_s=5.0,
        has_callback=False,
    ),
    "masked_ppo": Learner(
        make=masked, steps=8_000, options={"tau_s": TAU_S}, delta_time_s=None, has_callback=True
    ),
}


def learn_part(learner: Learner, policy: Path, part: int, *, steps: int, minutes: int) -> int:
    """Learn one part from the saved policy and save it; return the decisions learned from so far."""
    venv = crossings(1, SITE, hour=HOUR, minutes=minutes, **learner.options)
    try:
        if part == 0:
            model = learner.make(venv, minutes)
        else:
            model = type(learner.make(venv, minutes)).load(policy, env=venv, device="cpu", force_reset=True)
            model.set_random_seed(SEED + part)
            model.learn(
                steps * part // PARTS - model.num_timesteps,
                callback=SmdpCallback() if learner.has_callback else None,
                reset_num_timesteps=False,
            )
        fresh = policy.with_suffix(f".{os.getpid()}.zip")
        model.save(fresh)
        fresh.replace(policy)
        return int(model.num_timesteps)
    finally:
        venv.close()


def specs(controller: str, minutes: int, policy_file: str | None = None) -> list[RunSpec]:
    """Return the runs of the evaluation days."""
    return [
        RunSpec(
            site=SITE, controller=controller, seed=seed, hour=HOUR, minutes=minutes, policy_file=policy_file
        )
        for seed in DAYS
    ]


def mean_row(results: list[Any]) -> dict[str, Any]:
    """Return the means over the days, and one hash of all their traces."""
    traces = hashlib.sha256("".join(result.trace_hash for result in results).encode()).hexdigest()
    means: dict[str, float | None] = {}
    for name in MEASURES:
        known = [float(result.row[name]) for result in results if not math.isnan(result.row[name])]
        means[name] = round(statistics.fmean(known), 4) if known else None
    return {**means, "traces": traces[:16]}


def read_rows(curve: Path) -> list[dict[str, str]]:
    """Return the points of a curve so far."""
    if not curve.exists():
        return []
    with curve.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(curve: Path, rows: list[dict[str, Any]]) -> None:
    """Write the points of a curve, whole."""
    fresh = curve.with_suffix(".part")
    with fresh.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    fresh.replace(curve)


def make_curve(name: str, out: Path, *, steps: int, minutes: int) -> None:
    """Learn one curve, from where it stopped, and write its files."""
    learner, curve, policy = LEARNERS[name], out / f"{name}.csv", out / f"{name}.zip"
    rows: list[dict[str, Any]] = list(read_rows(curve))
    for part in range(len(rows), PARTS + 1):
        began_s, kept = time.monotonic(), out / f"{name}-{part}.zip"
        if part:
            kept.write_bytes((out / f"{name}-{part - 1}.zip").read_bytes())
        decisions = learn_part(learner, kept, part, steps=steps, minutes=minutes)
        runs = [run_saved(spec) for spec in specs("learned", minutes, with_step(kept, learner.delta_time_s))]
        rows.append({"decisions": decisions, **mean_row(runs)})
        write_rows(curve, rows)
        print(f"{name} {part}/{PARTS}: {rows[-1]} in {time.monotonic() - began_s:.0f} s", flush=True)
    policy.write_bytes((out / f"{name}-{PARTS}.zip").read_bytes())
    beside = {each: mean_row([run_world(spec) for spec in specs(each, minutes)]) for each in BESIDE}
    about = {
        "command": f"python benchmarks/reference_curves.py --only {name} --steps {steps} --minutes {minutes}",
        "site": SITE,
        "hour": HOUR,
        "minutes": minutes,
        "steps": steps,
        "seed": SEED,
        "days": DAYS,
        "curve_sha256": hashlib.sha256(curve.read_bytes()).hexdigest(),
        "beside": beside,
        "code_version": code_version(),
        "versions": {each: metadata.version(each) for each in VERSIONS},
    }
    (out / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    draw(name, rows, beside, out / f"{name}.png")


def draw(name: str, rows: list[dict[str, Any]], beside: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw a curve over the decisions learned from, the controllers beside it as lines."""
    figure, panels = new_figure((9.2, 3.8), columns=2)
    learned = [int(row["decisions"]) for row in rows]
    for axes, measure, words in (
        (panels[0], "person_hours_per_h", "Delay of all persons (person-h/h)"),
        (panels[1], "residual_per_10k", "Residual walkers per 10,000 crossings"),
    ):
        values = [math.nan if row[measure] in {None, ""} else float(row[measure]) for row in rows]
        axes.plot(learned, values, color=PALETTE[0], marker="o", markersize=4, label=name)
        for rank, (controller, row) in enumerate(beside.items(), start=1):
            if row[measure] is None:
                continue
            axes.axhline(
                row[measure] or 0.0, color=PALETTE[rank], linestyle="--", linewidth=1.4, label=controller
            )
        axes.set_xlabel("Decisions learned from")
        axes.set_ylabel(words)
        axes.set_ylim(bottom=0)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    """Make the curves asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/reference"))
    parser.add_argument("--steps", type=int, help="decisions to learn from; as in the examples by default")
    parser.add_argument("--minutes", type=int, default=30, help="of an episode, and of an evaluation day")
    parser.add_argument("--only", choices=sorted(LEARNERS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    silence_native_warnings()
    for name in [given.only] if given.only else list(LEARNERS):
        steps = given.steps or LEARNERS[name].steps
        make_curve(name, given.out, steps=steps, minutes=given.minutes)


if __name__ == "__main__":  # worker processes import this file
    main()

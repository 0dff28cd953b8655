"""Tune the linear scorer of `max_pressure` with CMA-ES: `python -m bitgoeul.training.tune`.

Every candidate of a generation plays the same training days (common random numbers), behind the guard.
The cost is the mean time a person spends at the junction, summed over the conditions.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass

import click
import numpy as np

from bitgoeul.controller.guard import Guard
from bitgoeul.controller.policies.choosing import ChoicePolicy
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS, LinearChooser
from bitgoeul.envs.reward import PersonSeconds, persons_per_second
from bitgoeul.envs.world import JunctionDriver, Simulation, silence_native_warnings
from bitgoeul.sim_scenarios.catalog import load_site
from bitgoeul.sim_scenarios.simulation import WARMUP_S

from .compare import TRAINING_SEEDS

TUNED = (
    "vehicles_served", "longest_lane", "lanes_served", "arrivals_10", "waiting_served", "oldest_served",
    "is_stay", "lost", "is_within", "since_served", "commits", "vehicles_delayed", "longest_delayed",
)  # fmt: skip
"""Choice features that get a weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One simulated stretch that candidates are judged on."""

    site: str
    hour: str
    seed: int
    minutes: int


def time_at_junction(weights: dict[str, float], day: Day) -> float:
    """Return the mean time a person spends at the junction under a linear scorer. [s]"""
    site = load_site(day.site)
    end_s = WARMUP_S + 60 * day.minutes
    simulation = Simulation(site, seed=day.seed, hour=day.hour, end_s=end_s)
    try:
        policy = ChoicePolicy("candidate", site.plan, LinearChooser(weights))
        driver = JunctionDriver(
            simulation.connection,
            site.plan,
            (policy, Guard(site.plan)),
            detector="camera_day",
            seed=day.seed,
        )
        spent = PersonSeconds(driver, site, day.hour)
        while driver.now_ds < end_s * 10:
            driver.step()
            if driver.now_ds > driver.warmup_ds:
                spent.add()
        person_s = spent.interval().person_s
    finally:
        simulation.close()
    return person_s / (60 * day.minutes * persons_per_second(site, day.hour))


def _judge(job: tuple[dict[str, float], Day]) -> float:
    return time_at_junction(*job)


@click.command()
@click.option("--generations", default=30, show_default=True, type=click.IntRange(min=1))
@click.option("--candidates", default=12, show_default=True, type=click.IntRange(min=4), help="A generation.")
@click.option("--minutes", default=18, show_default=True, type=click.IntRange(min=1), help="Of each day.")
@click.option("--site", default="bukmun_5", show_default=True)
@click.option("--hours", default="peak,offpeak", show_default=True)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=1), help="Of the search.")
def tune(  # noqa: PLR0913 - one parameter per option
    *, generations: int, candidates: int, minutes: int, site: str, hours: str, jobs: int, seed: int
) -> None:
    """Search weights for `max_pressure` from the present ones; print each generation's mean as JSON."""
    import cma

    start = [MAX_PRESSURE_WEIGHTS.get(name, 0.0) for name in TUNED]
    search = cma.CMAEvolutionStrategy(start, 0.3, {"popsize": candidates, "seed": seed, "verbose": -9})
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, initializer=silence_native_warnings) as pool:
        for generation in range(generations):
            days = [
                Day(
                    site=site, hour=hour, seed=(generation * 7 + place) % len(TRAINING_SEEDS), minutes=minutes
                )
                for place, hour in enumerate(hours.split(","))
            ]
            asked = search.ask()
            named = [dict(zip(TUNED, map(float, candidate), strict=True)) for candidate in asked]
            spent_s = pool.map(_judge, [(weights, day) for weights in named for day in days], chunksize=1)
            costs = np.array(spent_s).reshape(len(asked), len(days)).sum(axis=1)
            search.tell(asked, costs.tolist())
            mean = dict(zip(TUNED, np.round(search.mean, 2).tolist(), strict=True))
            shown = {
                "generation": generation,
                "best_s": float(costs.min()),
                "median_s": float(np.median(costs)),
            }
            click.echo(json.dumps({**shown, "mean": mean}))


if __name__ == "__main__":
    tune()

"""What `bench env` measures and prints."""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from .bench import bench_environment, leave_out
from .bench_split import TARGET, Split, bench_split, split_rows
from .world import RunSpec, silence_native_warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvBench:
    """What to measure.

    Parameters
    ----------
    site, hour, minutes, seed, controller : of the run.
    corridor : name of several junctions in one SUMO, in place of the site; None: the site.
    repeat : number of pairs, >= 1.
    without : parts to leave out.
    is_through_environment : step `CrossingEnv` by a scripted agent, not the driver by a controller.
    """

    site: str
    corridor: str | None
    controller: str
    hour: str
    minutes: int
    seed: int
    repeat: int
    without: frozenset[str]
    is_through_environment: bool

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises
        ------
        ValueError : parts left out of an environment; an environment of a corridor.
        """
        if self.is_through_environment and (self.without or self.corridor):
            raise ValueError("--through environment goes with a whole site: no --without, no --corridor")


def measure(asked: EnvBench, *, as_json: bool) -> None:
    """Measure and print."""
    silence_native_warnings()
    if asked.corridor:
        corridors = importlib.import_module("bitgoeul.envs.bench_corridor")
        run = corridors.corridor_run(asked.corridor, asked.controller, minutes=asked.minutes)
        run = replace(
            run, hour=asked.hour, seed=asked.seed, prepare=partial(leave_out, without=asked.without)
        )
        figures: Any = corridors.bench_corridor(run, repeat=asked.repeat)
        split: Split | None = corridors.split_corridor(run, repeat=asked.repeat)
    elif asked.is_through_environment:
        from .bench_gym import bench_gym, split_gym

        figures = bench_gym(
            asked.site, hour=asked.hour, minutes=asked.minutes, seed=asked.seed, repeat=asked.repeat
        )
        split = split_gym(
            asked.site, hour=asked.hour, minutes=asked.minutes, seed=asked.seed, repeat=asked.repeat
        )
    else:
        spec = RunSpec(
            site=asked.site,
            controller=asked.controller,
            seed=asked.seed,
            hour=asked.hour,
            minutes=asked.minutes,
        )
        figures = bench_environment(spec, repeat=asked.repeat, without=asked.without)
        split = bench_split(spec, repeat=asked.repeat, without=asked.without)
    if as_json:
        click.echo(json.dumps({**asdict(figures), "split": None if split is None else asdict(split)}))
        return
    console = Console()
    for name, value in asdict(figures).items():
        if name.endswith(("_sps", "_us")):
            unit = "simulated s/s" if name.endswith("_sps") else "us a step"
            console.print(f"{name.rsplit('_', 1)[0]}: {value:,.0f} {unit}", highlight=False)
    console.print(
        f"ratio: {figures.ratio:.3f} (median of {asked.repeat} pairs; run and replay end alike)",
        highlight=False,
    )
    if split is not None:
        _print_split(console, split)


def _print_split(console: Console, split: Split) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("part of a step")
    table.add_column("us a step", justify="right")
    table.add_column("of the SUMO step", justify="right")
    for cells in split_rows(split):
        table.add_row(*cells)
    console.print(table)
    share = 100 * split.watched_share
    console.print(f"detector and measures: {share:.1f} % of the SUMO step (target under {100 * TARGET:g} %)")

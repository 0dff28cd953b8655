"""Is the stated need met? The estimate against the truth of walkers seen through emulated sensors."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.walking import GAIT, PASSERS_BY
from bitgoeul.envs.world import RunSpec, build_driver, simulation
from bitgoeul.sim_scenarios.catalog import Site, load_site
from bitgoeul.sim_scenarios.proving_ground import write_proving_ground
from bitgoeul.training.processes import run_in_workers

QUANTILES: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
STATED: Final = 0.95
EVERY_DS: Final = 10
"""People are asked after once a second. [0.1 s]"""
PICTURES: Final = 40
"""Pictures for which is known who had which number: 20 s, longer than any is on its way."""
RESAMPLES: Final = 1000
CRAWL_MPS: Final = 0.1
"""Least speed of a baseline that divides by the last one seen. [m/s]"""
BASELINES: Final = ("fixed_1.0", "fixed_0.8", "fixed_0.7", "last_speed", "class_mean", "class_slow")
METHODS: Final = ("need", *BASELINES)
SLOW_Z: Final = 1.645
"""Deviations below its mean at which one in twenty of a class walks: what `class_slow` goes by."""

MIXES: Final[Mapping[str, Mapping[str, float]]] = {
    "even": dict.fromkeys(MOBILITY_CLASSES, 1 / len(MOBILITY_CLASSES)),
    "care_home": {
        "adult": 0.20, "elderly": 0.25, "cane": 0.20, "frail": 0.15, "manual_wheelchair": 0.08,
        "powered_wheelchair": 0.03, "visually_impaired": 0.03, "crutches": 0.04, "stroller_child": 0.02,
    },
    "university": {
        "adult": 0.90, "elderly": 0.04, "cane": 0.01, "frail": 0.01, "manual_wheelchair": 0.01,
        "powered_wheelchair": 0.01, "visually_impaired": 0.01, "crutches": 0.005, "stroller_child": 0.005,
    },
}  # fmt: skip
"""Class mixes the estimate's figures were not chosen on: [A]."""
CALIBRATION_MIX: Final[Mapping[str, float]] = dict(zip(MOBILITY_CLASSES, PASSERS_BY, strict=True))
"""The mix they were chosen on: FACTS, default mix of an elderly-rich site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run on a proving ground or a site.

    Parameters
    ----------
    place : `L m` of a proving ground (`"24"`), or a site's name.
    mix : of `MIXES`, or `calibration`; a site has its own and takes no notice.
    detector : preset of the emulated detector.
    seed : of walkers and sensor.
    minutes : measured time. [min]
    """

    place: str
    mix: str
    detector: str
    seed: int
    minutes: int


def held_out(*, minutes: int, seed: int) -> tuple[Trial, ...]:
    """Return the trials of the evaluation: nothing in them was used to choose the estimate's figures."""
    places = ("12", "24", "35")
    detectors = ("thermal", "class_blind", "camera_day:latency_s=1.5:position_noise_m=0.5", "adversarial")
    return tuple(
        Trial(place=place, mix=mix, detector=detector, seed=seed + number, minutes=minutes)
        for number, (place, mix, detector) in enumerate(product(places, MIXES, detectors))
    )


def calibration(*, minutes: int, seed: int) -> tuple[Trial, ...]:
    """Return the trials that the figures of `controller/need.py` were chosen on."""
    pairs = (("18", "camera_day"), ("18", "camera_night"), ("30", "camera_day"), ("30", "camera_night"),
             ("40", "camera_day"), ("40", "camera_night"))  # fmt: skip
    return tuple(
        Trial(place=place, mix="calibration", detector=detector, seed=seed + number, minutes=minutes)
        for number, (place, detector) in enumerate(pairs)
    )


def site_of(trial: Trial, folder: Path) -> Site:
    """Return the site of a trial, a proving ground written into `folder`."""
    try:
        length_m = float(trial.place)
    except ValueError:
        return load_site(trial.place)
    mix = CALIBRATION_MIX if trial.mix == "calibration" else MIXES[trial.mix]
    return load_site(write_proving_ground(folder, length_m=length_m, mobility_mix=mix))


def run_trial(trial: Trial) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Run a trial.

    Returns
    -------
    people : a row for each second of each detected walker on a crossing, lost from sight or not, until they
        are forgotten or off it: what was stated, what was true.
    crossings : a row for each second of each crossing on which everybody who is remembered is seen, and is
        somebody: the need of the last one.
    """
    with tempfile.TemporaryDirectory(prefix="bitgoeul-ground-") as folder:
        site = site_of(trial, Path(folder))
        spec = RunSpec(
            site=str(site.folder), controller="fixed", seed=trial.seed, hour="12", minutes=trial.minutes,
            detector=trial.detector,
        )  # fmt: skip
        with simulation(spec, site) as opened:
            driver = build_driver(spec, site, opened.connection)
            record = _Record(trial, driver)
            while driver.now_ds < spec.end_s * 10:
                driver.step()
                record.note(driver.now_ds)
    return record.people(), record.crossings()


class _Record:
    """What was stated, second by second, until the truth is known."""

    def __init__(self, trial: Trial, driver: Any) -> None:
        self._trial, self._driver = trial, driver
        self._who: deque[tuple[int, dict[str, Any]]] = deque(maxlen=PICTURES)
        self._rows: list[tuple[Any, list[Any]]] = []
        self._last: list[tuple[list[Any], list[Any]]] = []

    def note(self, now_ds: int) -> None:
        driver, needs = self._driver, self._driver.loop.needs
        self._who.append((now_ds, driver.detector.walkers_by_track()))
        if now_ds % EVERY_DS:
            return
        who = dict(self._who)
        for index, crossing in enumerate(driver.plan.crossings):
            people = tuple(needs.people(index))
            if not people:
                continue
            present = []
            stated = needs.needs(index, now_ds, QUANTILES)
            walkers = [who.get(person.track.measured_ds, {}).get(person.track.id) for person in people]
            in_sight = {walker.id for walker, each in zip(walkers, people, strict=True)
                        if walker is not None and each.gone_ds < 0}  # fmt: skip
            for walker, person, quantiles_s in zip(walkers, people, stated, strict=True):
                if walker is None or walker.exited_ds is not None:
                    continue
                is_lost = person.gone_ds >= 0
                if is_lost and walker.id in in_sight:
                    continue  # followed under another number
                if not is_lost:
                    present.append(walker)
                said = [now_ds, crossing.length_m, *_seen(person, now_ds), *quantiles_s]
                self._rows.append((walker, said))
            if len(present) == len(people):
                last_s = [needs.need(index, now_ds, quantile=each) for each in QUANTILES]
                self._last.append((present, [now_ds, crossing.id, len(present), *last_s]))

    def people(self) -> pl.DataFrame:
        rows = [
            [*self._labels(), walker.id, walker.mobility_class, (walker.exited_ds - row[0]) / 10, *row]
            for walker, row in self._rows
            if walker.exited_ds is not None
        ]
        names = [*LABELS, "walker", "mobility_class", "true_s", "now_ds", "length_m", *SEEN, *NEED_COLUMNS]
        return pl.DataFrame(rows, schema=names, orient="row").with_columns(
            pl.col("mobility_class").cast(pl.String)
        )

    def crossings(self) -> pl.DataFrame:
        rows = [
            [*self._labels(), (max(walker.exited_ds for walker in present) - row[0]) / 10, *row]
            for present, row in self._last
            if all(walker.exited_ds is not None for walker in present)
        ]
        names = [*LABELS, "true_s", "now_ds", "crossing", "people", *NEED_COLUMNS]
        return pl.DataFrame(rows, schema=names, orient="row")

    def _labels(self) -> tuple[str, str, str, int]:
        return self._trial.place, self._trial.mix, self._trial.detector, self._trial.seed


LABELS: Final = ("place", "mix", "detector", "seed")
SEEN: Final = ("sight", "remaining_m", "last_speed_mps", "age_s", "stated_mean_mps", "stated_slow_mps")
NEED_COLUMNS: Final = tuple(f"need_{quantile:g}" for quantile in QUANTILES)
NEED: Final = f"need_{STATED:g}"


def _seen(person: Any, now_ds: int) -> tuple[str, float, float, float, float, float]:
    """Return what a simpler rule would go by: distance, speed, age, and how the likeliest class walks."""
    track = person.track
    stated = track.class_probabilities
    likeliest = MOBILITY_CLASSES[int(np.argmax(stated))] if stated else "elderly"
    age_s = (now_ds - track.measured_ds) / 10
    gait, sight = GAIT[likeliest], "lost" if person.gone_ds >= 0 else "in sight"
    slow_mps = max(gait.speed_mps - SLOW_Z * gait.speed_sd_mps, CRAWL_MPS)
    return sight, track.remaining_m, track.speed_mps, age_s, gait.speed_mps, slow_mps


def with_baselines(people: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with each baseline's seconds and the third of the crossing they were said in."""
    remaining_m, age_s = pl.col("remaining_m"), pl.col("age_s")
    fixed = [
        (remaining_m / speed_mps - age_s).clip(0.0).alias(f"fixed_{speed_mps:.1f}")
        for speed_mps in (1.0, 0.8, 0.7)
    ]
    last = pl.max_horizontal(pl.col("last_speed_mps"), pl.lit(CRAWL_MPS))
    return people.with_columns(
        *fixed,
        (remaining_m / last - age_s).clip(0.0).alias("last_speed"),
        (remaining_m / pl.col("stated_mean_mps") - age_s).clip(0.0).alias("class_mean"),
        (remaining_m / pl.col("stated_slow_mps") - age_s).clip(0.0).alias("class_slow"),
        pl.col(NEED).alias("need"),
        ((1 - remaining_m / pl.col("length_m")) * 3).floor().clip(0, 2).cast(pl.Int32).alias("third") + 1,
    )


def pinball(true_s: pl.Expr, stated_s: pl.Expr, quantile: float) -> pl.Expr:
    """Return the pinball loss of a stated quantile. [s]"""
    off_s = true_s - stated_s
    return pl.max_horizontal(quantile * off_s, (quantile - 1) * off_s)


def scores(people: pl.DataFrame, by: Sequence[str] = (), *, methods: Sequence[str] = METHODS) -> pl.DataFrame:
    """Return each method's coverage, pinball loss and median over-estimate, by the given columns.

    Parameters
    ----------
    people : of `with_baselines`.
    by : columns to group by; none: one row a method.
    methods : which to score.
    """
    true_s = pl.col("true_s")
    tables = []
    for method in methods:
        stated_s = pl.col(method)
        columns = (
            pl.lit(method).alias("method"),
            pl.len().alias("seconds_n"),
            (pl.col("seed").cast(pl.String) + "/" + pl.col("walker")).n_unique().alias("walkers_n"),
            (true_s <= stated_s).mean().alias("coverage"),
            pinball(true_s, stated_s, STATED).mean().alias("pinball_s"),
            (stated_s - true_s).median().alias("over_s"),
        )
        tables.append(people.group_by(list(by)).agg(columns) if by else people.select(columns))
    return pl.concat(tables).sort(*by, "method") if by else pl.concat(tables)


def reliability(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the share of the truth at or under each stated quantile: columns `stated`, `met`."""
    met = [(pl.col("true_s") <= pl.col(name)).mean().alias(name) for name in NEED_COLUMNS]
    return pl.DataFrame({"stated": QUANTILES, "met": rows.select(met).row(0)})


def coverage_interval(people: pl.DataFrame, *, seed: int = 1) -> tuple[float, float]:
    """Return the 95 % interval of the need's coverage: bootstrap over walkers, whole, not over seconds."""
    met = (
        people.with_columns(is_met=pl.col("true_s") <= pl.col(NEED))
        .group_by("seed", "walker")
        .agg(pl.col("is_met").sum(), pl.len().alias("n"))
        .sort("seed", "walker")
    )
    hits, seconds = met["is_met"].to_numpy(), met["n"].to_numpy()
    draws = np.random.default_rng(seed).integers(0, len(hits), (RESAMPLES, len(hits)))
    low, high = np.quantile(hits[draws].sum(axis=1) / seconds[draws].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


def run_trials(
    trials: Sequence[Trial], *, workers: int, on_done: Callable[[], None]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Run trials in worker processes and return their rows together, in the trials' order.

    Parameters
    ----------
    trials : what to run.
    workers : worker processes.
    on_done : called after each trial.
    """
    results = run_in_workers(run_trial, trials, workers=workers, on_done=on_done)
    people, crossings = zip(*results, strict=True)
    return with_baselines(pl.concat(people)), pl.concat(crossings)

"""Means, pooled rates and paired differences over seeds, each with a 95 % interval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bitgoeul.controller.detection import MOBILITY_CLASSES

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 4_999
"""Bootstrap resamples: the interval's ends move by under 2 % of its width from one generator seed to
another (own check on 8 seeds)."""
BOOTSTRAP_SEED: Final = 20_260
"""Seed of the resampling, so that the same runs always give the same interval."""
RULE_OF_THREE: Final = 3.0
"""No event in N: the 95 % upper bound is 3/N (Hanley and Lippman-Hand 1983, JAMA 249:1743)."""
PER: Final = 10_000.0
"""Crossings that a rate is given for."""
CONDITION: Final = ("site", "controller", "detector", "hour", "form", "extension_max_s")
"""Columns that tell one set of paired runs from another."""

FloatArray = NDArray[np.float64]
"""One value per seed, shape (n_seeds,), or resamples of it, shape (..., n_seeds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of merit: its column, its words and how runs are put together.

    Parameters
    ----------
    name : column of the rows.
    label : words for a table head.
    unit : unit for an axis or a table head; empty for a share.
    short : words for a narrow table head; empty for `label`.
    digits : decimals worth printing.
    kind : `mean` over seeds; `rate` pooled over crossings; `events`, a mean whose zero gets the rule of
        three.
    group : of a `rate`, the suffix of its two counts, `residual_n<group>` over `crossings_n<group>`.
    """

    name: str
    label: str
    unit: str
    short: str = ""
    digits: int = 1
    kind: str = "mean"
    group: str = ""


_RATE_UNIT: Final = "per 10,000 crossings"
MEASURES: Final[tuple[Measure, ...]] = (
    Measure(
        name="residual_per_10k",
        label="residual walkers",
        unit=_RATE_UNIT,
        short="residual",
        digits=0,
        kind="rate",
    ),
    Measure(
        name="residual_legal_per_10k",
        label="residual, legal starters",
        unit=_RATE_UNIT,
        short="legal",
        digits=0,
        kind="rate",
        group="_legal",
    ),
    Measure(
        name="residual_within_max_per_10k",
        label="residual, legal starters within the maximum",
        unit=_RATE_UNIT,
        short="legal within max",
        kind="rate",
        group="_within_max",
    ),
    Measure(name="beyond_max_share", label="share beyond the maximum", unit="", digits=4),
    Measure(
        name="released_on_person",
        short="released on person",
        label="released on a person",
        unit="per run",
        kind="events",
    ),
    Measure(
        name="person_hours_per_h", short="persons' delay", label="delay of all persons", unit="person-h/h"
    ),
    Measure(name="ped_wait_s", short="walk wait", label="walkers' wait, mean", unit="s"),
    Measure(name="ped_wait_p95_s", short="wait p95", label="walkers' wait, 95th percentile", unit="s"),
    Measure(name="ped_wait_max_s", label="walkers' wait, longest", unit="s"),
    Measure(name="vehicle_delay_s", label="vehicle delay", unit="s"),
    Measure(name="person_delay_s", label="person delay", unit="s"),
    Measure(name="extension_s_per_h", label="extension", unit="s/h", digits=0),
    Measure(name="extension_used_s_per_h", label="extension used", unit="s/h", digits=0),
    Measure(name="extension_wasted_s_per_h", label="extension wasted", unit="s/h", digits=0),
    Measure(name="extension_refused_s_per_h", label="need past the extensions", unit="s/h", digits=0),
    Measure(name="unserved_need_s_per_h", label="unserved need", unit="s/h", digits=0),
    Measure(name="unserved_need_mean_s", label="unserved need of a residual walker", unit="s"),
    Measure(name="residual_m_mean", label="way left of a residual walker", unit="m"),
    Measure(name="worst_class_residual_per_10k", label="residual, worst class", unit=_RATE_UNIT, digits=0),
    Measure(name="jain_served", label="Jain index of the classes' served shares", unit="", digits=4),
    Measure(name="stops_per_vehicle", label="stops", unit="per vehicle", digits=2),
    Measure(name="queue_mean_n", label="standing vehicles, mean", unit="vehicles"),
    Measure(name="queue_max_n", label="longest queue in a lane", unit="vehicles", digits=0),
    Measure(name="spillback_share", label="share of time with spill-back", unit="", digits=3),
    Measure(name="vehicles_n", label="vehicles", unit="per run", digits=0),
    Measure(name="vehicles_unserved_n", label="vehicles not served", unit="per run"),
    Measure(name="vehicles_unfinished_n", label="vehicles not through", unit="per run"),
    Measure(name="crossings_n", label="crossings walked", unit="per run", digits=0),
    Measure(name="unserved_walkers_n", label="walkers not served", unit="per run"),
    Measure(name="exposure_lane_s", label="residual exposure", unit="lane-s per run"),
    Measure(name="exposure_yield_s", label="exposure to yielding turns", unit="s per run", digits=0),
    Measure(name="pet_critical_n", label="PET at most 1 s, conflicting traffic", unit="walkers per run"),
    Measure(name="pet_serious_n", label="PET at most 3 s, conflicting traffic", unit="walkers per run"),
    Measure(name="pet_turn_critical_n", label="PET at most 1 s, yielding turns", unit="walkers per run"),
    Measure(name="pet_turn_serious_n", label="PET at most 3 s, yielding turns", unit="walkers per run"),
    Measure(name="jammed_n", label="walkers jammed", unit="per run"),
    Measure(name="teleports_n", label="vehicles teleported", unit="per run"),
    Measure(name="warnings_n", label="SUMO warnings", unit="per run"),
)
MEASURE: Final[Mapping[str, Measure]] = {measure.name: measure for measure in MEASURES}
OF_THE_MAXIMUM: Final = ("residual_within_max_per_10k", "beyond_max_share")
"""Measures whose meaning depends on the extension maximum: compared under one and the same only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval.

    Parameters
    ----------
    mean : the estimate; None if no run gave a value.
    low, high : ends of the interval; None when there are too few seeds to say.
    is_rule_of_three : True when nothing was counted and `high` is 3/N.
    """

    mean: float | None
    low: float | None
    high: float | None
    is_rule_of_three: bool = False

    def as_json(self) -> dict[str, float | None]:
        """Return the three numbers by name, None where one is not known."""
        return {"mean": self.mean, "low": self.low, "high": self.high}

    def excludes_zero(self) -> bool:
        """Return True if the whole interval lies on one side of zero."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 or self.high < 0


NO_VALUE: Final = "\N{EN DASH}"
"""Printed where there is no value."""
UNKNOWN: Final = Interval(mean=None, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What all seeds of one condition say together.

    Parameters
    ----------
    condition : value per column of `CONDITION`; `extension_max_s` None means the plan's own maximum. [s]
    seeds : the seeds run, ascending.
    counts : residual walkers and crossings of all runs by rate name.
    measures : interval by measure name.
    by_class : residual walkers per 10,000 crossings by mobility class.
    baseline : controller that `differences` refer to; None for that controller itself.
    differences : this minus the baseline over paired seeds, by measure name.
    changes : the same as a share of the baseline (-0.5 is half of it), by measure name.
    """

    condition: Mapping[str, Any]
    seeds: tuple[int, ...]
    counts: Mapping[str, tuple[int, int]]
    measures: Mapping[str, Interval]
    by_class: Mapping[str, Interval]
    baseline: str | None = None
    differences: Mapping[str, Interval] = field(default_factory=dict)
    changes: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def controller(self) -> str:
        """Name of the controller."""
        return str(self.condition["controller"])


def interval_of(samples: Sequence[FloatArray], statistic: Callable[..., Any]) -> Interval:
    """Return a statistic of paired samples with its bootstrap 95 % interval.

    Parameters
    ----------
    samples : arrays (n_seeds,) of equal length; seeds are resampled, the same for all.
    statistic : function of the arrays and `axis`, vectorised.

    Returns
    -------
    The estimate; `low` and `high` None with fewer than two seeds or an estimate that is not finite.

    Notes
    -----
    Bias-corrected and accelerated (Efron 1987), percentile where that is not defined (all resamples
    equal).
    """
    from scipy.stats import bootstrap

    estimate = float(statistic(*samples, axis=-1)) if samples[0].size else float("nan")
    if not np.isfinite(estimate):
        return UNKNOWN
    if samples[0].size < 2:  # noqa: PLR2004 - one value has no spread
        return Interval(mean=estimate, low=None, high=None)
    if all(np.ptp(sample) == 0 for sample in samples):
        return Interval(mean=estimate, low=estimate, high=estimate)
    for method in ("BCa", "percentile"):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy on equal resamples: the next method is tried
            ends = bootstrap(
                samples,
                statistic,
                paired=True,
                vectorized=True,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(BOOTSTRAP_SEED),
            ).confidence_interval
        if np.isfinite(ends.low) and np.isfinite(ends.high):
            return Interval(mean=estimate, low=float(ends.low), high=float(ends.high))
    return Interval(mean=estimate, low=None, high=None)


def mean_interval(values: Iterable[float]) -> Interval:
    """Return the mean over seeds with its interval; seeds without a value (NaN) are left out."""
    known = np.asarray([value for value in values if np.isfinite(value)], dtype=np.float64)
    return interval_of((known,), _mean)


def rate_interval(events: FloatArray, crossings: FloatArray, *, per: float = PER) -> Interval:
    """Return events per `per` crossings, pooled over seeds: all events over all crossings.

    Parameters
    ----------
    events : events per seed, shape (n_seeds,).
    crossings : crossings per seed, shape (n_seeds,).
    per : crossings that the rate is given for.

    Returns
    -------
    The rate, seeds resampled. With no event at all it is 0 with the rule of three's bound, 3/N; unknown
    when nobody crossed.

    Examples
    --------
    >>> rate_interval(np.array([0.0, 0.0]), np.array([500.0, 500.0])).high
    30.0
    """
    total = float(crossings.sum())
    if total <= 0:
        return UNKNOWN
    if float(events.sum()) == 0.0:
        return Interval(mean=0.0, low=0.0, high=per * min(1.0, RULE_OF_THREE / total), is_rule_of_three=True)

    def pooled(events: FloatArray, crossings: FloatArray, axis: int = -1) -> FloatArray:
        return np.asarray(per * events.sum(axis) / crossings.sum(axis))

    return interval_of((events, crossings), pooled)


def format_ends(interval: Interval, digits: int = 1) -> str:
    """Return the interval alone, for a second line: `55.0 to 60.0`, `under 3.8` or nothing.

    Examples
    --------
    >>> format_ends(Interval(mean=57.2, low=55.0, high=60.0))
    '55.0 to 60.0'
    """
    if interval.low is None or interval.high is None:
        return ""
    if interval.is_rule_of_three:
        return f"under {interval.high:,.{digits}f}"
    return f"{interval.low:,.{digits}f} to {interval.high:,.{digits}f}"


def format_mean(interval: Interval, digits: int = 1) -> str:
    """Return the estimate alone; 0 without decimals when nothing was counted, a dash when unknown."""
    if interval.mean is None:
        return NO_VALUE
    return "0" if interval.is_rule_of_three else f"{interval.mean:,.{digits}f}"


def format_interval(interval: Interval, digits: int = 1) -> str:
    """Return `mean (low to high)`, `0 (under bound)` when nothing was counted, or a dash.

    Examples
    --------
    >>> format_interval(Interval(mean=57.2, low=55.0, high=60.0))
    '57.2 (55.0 to 60.0)'
    >>> format_interval(Interval(mean=0.0, low=0.0, high=3.8, is_rule_of_three=True))
    '0 (under 3.8)'
    """
    mean, ends = format_mean(interval, digits), format_ends(interval, digits)
    return f"{mean} ({ends})" if ends else mean


def summarise(rows: pl.DataFrame) -> list[Summary]:
    """Return one summary per condition, in the order in which the rows bring them.

    Parameters
    ----------
    rows : one row per run, as `RunStore.merge` writes them. The first controller is the baseline.
    """
    groups = [group.sort("seed") for group in rows.partition_by(list(CONDITION), maintain_order=True)]
    first = groups[0]["controller"][0] if groups else None
    return [_summary(group, _baseline_of(group, groups, first)) for group in groups]


def _summary(group: pl.DataFrame, baseline: pl.DataFrame | None) -> Summary:
    compared = {} if baseline is None else {m.name: _compare(m, group, baseline) for m in MEASURES}
    return Summary(
        condition={name: group[name][0] for name in CONDITION},
        seeds=tuple(int(seed) for seed in group["seed"]),
        counts={
            m.name: (int(_counts(m, group)[0].sum()), int(_counts(m, group)[1].sum()))
            for m in MEASURES
            if m.kind == "rate"
        },
        measures={measure.name: _measure(measure, group) for measure in MEASURES},
        by_class={
            name: rate_interval(_column(group, f"residual_n_{name}"), _column(group, f"crossings_n_{name}"))
            for name in MOBILITY_CLASSES
        },
        baseline=None if baseline is None else str(baseline["controller"][0]),
        differences={name: pair[0] for name, pair in compared.items()},
        changes={name: pair[1] for name, pair in compared.items()},
    )


def _baseline_of(
    group: pl.DataFrame, groups: Sequence[pl.DataFrame], controller: str | None
) -> pl.DataFrame | None:
    """Return the baseline's runs that fit this condition best; None for the baseline itself.

    The same detector, form and maximum if they were run; a controller that never extends is run once
    for all of them.
    """
    if group["controller"][0] == controller:
        return None
    rivals = [
        other
        for other in groups
        if other["controller"][0] == controller
        and all(other[name][0] == group[name][0] for name in ("site", "hour"))
    ]
    tail = ("detector", "form", "extension_max_s")
    return max(rivals, key=lambda other: [other[name][0] == group[name][0] for name in tail], default=None)


def _column(group: pl.DataFrame, name: str) -> FloatArray:
    """Return a column as floats, shape (n_seeds,); NaN where a run has no value."""
    return np.asarray(group[name].cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _counts(measure: Measure, group: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Return residual walkers and crossings of a rate, per seed."""
    return _column(group, f"residual_n{measure.group}"), _column(group, f"crossings_n{measure.group}")


def _measure(measure: Measure, group: pl.DataFrame) -> Interval:
    if measure.kind == "rate":
        return rate_interval(*_counts(measure, group))
    values = _column(group, measure.name)
    if measure.kind == "events" and values.size and not values.any():
        return Interval(mean=0.0, low=0.0, high=RULE_OF_THREE / values.size, is_rule_of_three=True)
    return mean_interval(values)


def _compare(measure: Measure, group: pl.DataFrame, baseline: pl.DataFrame) -> tuple[Interval, Interval]:
    """Return difference and relative change to the baseline over the seeds that both have."""
    is_about_maximum = measure.name in OF_THE_MAXIMUM
    if is_about_maximum and group["extension_max_s"][0] != baseline["extension_max_s"][0]:
        return UNKNOWN, UNKNOWN
    shared = sorted(set(group["seed"]) & set(baseline["seed"]))
    pair = [frame.filter(pl.col("seed").is_in(shared)).sort("seed") for frame in (group, baseline)]
    if measure.kind == "rate":
        samples = (*_counts(measure, pair[0]), *_counts(measure, pair[1]))
        return interval_of(samples, _rate_difference), interval_of(samples, _rate_change)
    values = np.stack([_column(frame, measure.name) for frame in pair])
    values = values[:, np.isfinite(values).all(axis=0)]
    return interval_of(tuple(values), _difference), interval_of(tuple(values), _change)


def _mean(values: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(values.mean(axis))


def _difference(new: FloatArray, base: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(new.mean(axis) - base.mean(axis))


def _change(new: FloatArray, base: FloatArray, axis: int = -1) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(new.mean(axis) / base.mean(axis) - 1.0)


def _rate_difference(
    new: FloatArray, new_n: FloatArray, base: FloatArray, base_n: FloatArray, axis: int = -1
) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(PER * (new.sum(axis) / new_n.sum(axis) - base.sum(axis) / base_n.sum(axis)))


def _rate_change(
    new: FloatArray, new_n: FloatArray, base: FloatArray, base_n: FloatArray, axis: int = -1
) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((new.sum(axis) / new_n.sum(axis)) / (base.sum(axis) / base_n.sum(axis)) - 1.0)

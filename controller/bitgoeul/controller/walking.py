"""What is believed of a person's walking before and after they were seen to walk: distributions on one grid.

A belief about a speed is a row of weights over the speeds `SPEED_MPS`, equally far apart in their logarithm.
Rows are stacked, so that many people cost little more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .detection import MOBILITY_CLASSES

Array = npt.NDArray[np.float64]


class Gait(NamedTuple):
    """How people of one class walk over a crossing, and how long they take to start.

    Parameters
    ----------
    speed_mps, speed_sd_mps : mean and standard deviation over the class. [m/s]
    startup_s, startup_p85_s : mean and 85th percentile from the onset of walk to the first step. [s]
    """

    speed_mps: float
    speed_sd_mps: float
    startup_s: float
    startup_p85_s: float


GAIT: dict[str, Gait] = {
    "adult": Gait(1.29, 0.27, 1.9, 3.1),  # [S] Han et al. 2020 (Korea); FHWA/Staplin
    "elderly": Gait(1.13, 0.27, 2.5, 3.8),  # [S] the same
    "cane": Gait(0.86, 0.13, 3.0, 4.2),  # [S] p15 0.73; mean [A]
    "frail": Gait(0.64, 0.14, 3.5, 5.0),  # [S] Bath, SPPB 4-7; Pyeongchang
    "manual_wheelchair": Gait(1.08, 0.25, 2.5, 4.0),  # [M] Perry
    "powered_wheelchair": Gait(1.40, 0.30, 2.5, 4.0),  # [S] AAA, n = 6; [A]
    "visually_impaired": Gait(1.00, 0.25, 4.0, 6.8),  # [S] AAA, n = 15; [A]
    "crutches": Gait(0.80, 0.20, 3.0, 4.5),  # [M] Perry
    "stroller_child": Gait(1.175, 0.25, 2.0, 3.0),  # [A]
}
"""Priors by class (FACTS, walkers)."""

PASSERS_BY = (0.50, 0.25, 0.08, 0.04, 0.02, 0.02, 0.03, 0.02, 0.04)
"""Share of each class, in the order of `MOBILITY_CLASSES`, at large [A: an elderly-rich site]."""
SLOW = (0.0, 0.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.25, 0.0)
"""Whoever's class is unknown or uncertain counts as slow [A]."""
SLOW_SHARE = 0.5
"""How far somebody of no known class counts as slow; the rest is as walkers at large [A]."""
CERTAIN_CLASS = 0.5
"""Least probability of the likeliest class for the stated probabilities to be used [A]."""
ODD_SHARE = 0.005
"""Weight of "walks like nobody in the table": any speed of the grid [A]."""

GRID_SIZE = 40
SLOWEST_MPS = 0.1
"""Nobody is assumed to walk slower for good. [m/s] [A]"""
FASTEST_MPS = 3.5
"""Nobody crosses faster: a run. [m/s] [A]"""
LOG_SLOWEST = log(SLOWEST_MPS)
LOG_STEP = (log(FASTEST_MPS) - LOG_SLOWEST) / (GRID_SIZE - 1)
SPEED_MPS: Array = np.exp(LOG_SLOWEST + LOG_STEP * np.arange(GRID_SIZE))
"""The grid, `(GRID_SIZE,)`. [m/s]"""
LOG_NEGLIGIBLE = -40.0
"""A weight is never below exp of this: numbers next to zero are twenty times slower to multiply."""
STARTUP_STEP_S = 0.5
"""Grid of the time to clear from the onset of walk. [s]"""
P85_Z = NormalDist().inv_cdf(0.85)


def _class_speeds() -> Array:
    """Return each class's weights over the grid, `(n_classes, GRID_SIZE)`: a normal in m/s."""
    rows = []
    for name in MOBILITY_CLASSES:
        gait = GAIT[name]
        density = np.exp(-0.5 * ((SPEED_MPS - gait.speed_mps) / gait.speed_sd_mps) ** 2) * SPEED_MPS
        rows.append((1 - ODD_SHARE) * density / density.sum() + ODD_SHARE / GRID_SIZE)
    return np.array(rows)


CLASS_SPEEDS: Array = _class_speeds()
UNKNOWN: tuple[float, ...] = tuple(
    SLOW_SHARE * slow + (1 - SLOW_SHARE) * share for slow, share in zip(SLOW, PASSERS_BY, strict=True)
)


def class_weights(stated: tuple[float, ...]) -> tuple[float, ...]:
    """Return the probability of each class: what a sensor stated, or the unknown's when it is of no use."""
    return stated if stated and max(stated) >= CERTAIN_CLASS else UNKNOWN


@lru_cache(maxsize=4096)
def speed_prior(stated: tuple[float, ...]) -> Array:
    """Return the weights over the grid for a person of stated class probabilities; empty: unknown."""
    return np.asarray(class_weights(stated) @ CLASS_SPEEDS, dtype=np.float64)


def spread_matrix(relative_sd: float) -> Array:
    """Return the matrix that spreads a belief by a lognormal factor, `(GRID_SIZE, GRID_SIZE)`."""
    offsets = LOG_STEP * (np.arange(GRID_SIZE)[:, None] - np.arange(GRID_SIZE)[None, :])
    weights = np.exp(np.maximum(-0.5 * (offsets / relative_sd) ** 2, LOG_NEGLIGIBLE))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@lru_cache(maxsize=64)
def lognormal_parameters(mean: float, p85: float) -> tuple[float, float]:
    """Return mu and sigma of the lognormal with a given mean and 85th percentile.

    Parameters
    ----------
    mean, p85 : of the quantity itself; `p85` above `mean`.

    Returns
    -------
    mu, sigma of the logarithm. Beyond p85 / mean = exp(z^2 / 2) = 1.711 no lognormal exists: then the
    nearest, sigma = z, which keeps the mean and reaches p85 = 1.711 mean.

    Raises
    ------
    ValueError : `p85` is not above `mean`, or `mean` is not above 0.

    Notes
    -----
    mean = exp(mu + sigma^2 / 2) and p85 = exp(mu + z sigma) with z = 1.0364 give
    sigma = z - sqrt(z^2 - 2 ln(p85 / mean)); the smaller root, the less skewed of the two.

    Examples
    --------
    >>> mu, sigma = lognormal_parameters(2.5, 3.8)
    >>> [round(float(np.exp(x)), 6) for x in (mu + sigma**2 / 2, mu + P85_Z * sigma)]
    [2.5, 3.8]
    """
    if not 0 < mean < p85:
        raise ValueError(f"p85 {p85} must be above mean {mean}, and both above 0")
    sigma = P85_Z - sqrt(max(P85_Z**2 - 2 * log(p85 / mean), 0.0))
    return log(mean) - sigma**2 / 2, sigma


@lru_cache(maxsize=64)
def clear_from_start(length_m: float) -> Array:
    """Return P(clear within t of the onset of walk | class), `(n_classes, n)`, t in steps of 0.5 s.

    Parameters
    ----------
    length_m : of the crossing, > 0. [m]

    Notes
    -----
    P(S + L / V <= t) = sum over v of p(v | class) F_S(t - L / v), with F_S the lognormal of the start-up. The
    last column is the time of the slowest speed of the grid after the longest start-up, where all are clear.
    """
    last_s = length_m / SLOWEST_MPS + 30.0
    times_s = STARTUP_STEP_S * np.arange(ceil(last_s / STARTUP_STEP_S) + 1)
    left_s = np.maximum(times_s[None, :] - length_m / SPEED_MPS[:, None], 1e-9)
    rows = []
    for place, name in enumerate(MOBILITY_CLASSES):
        mu, sigma = lognormal_parameters(GAIT[name].startup_s, GAIT[name].startup_p85_s)
        rows.append(CLASS_SPEEDS[place] @ normal_cdf((np.log(left_s) - mu) / sigma))
    table = np.array(rows)
    table[:, -1] = 1.0
    return table


def normal_cdf(z: Array) -> Array:
    """Return the standard normal distribution function, to 1e-7 (Abramowitz and Stegun, 26.2.17)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    tail = np.exp(-0.5 * z * z) / sqrt(2 * np.pi) * t * (
        0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429)))
    )  # fmt: skip
    return np.where(z > 0, 1.0 - tail, tail)


def slowest_of(cumulative: Array, quantiles: Sequence[float]) -> Array:
    """Return, for each quantile and belief, the speed undercut with probability 1 - quantile, `(m, n)`. [m/s]

    Parameters
    ----------
    cumulative : `(n, GRID_SIZE)`, each row rising to 1.
    quantiles : m of the time to clear, within (0, 1).
    """
    aim = 1.0 - np.array(quantiles)[:, None]
    place = np.minimum((cumulative < aim[:, :, None]).sum(axis=2), GRID_SIZE - 1)
    rows, below = np.arange(len(cumulative)), np.maximum(place - 1, 0)
    low, high = cumulative[rows, below], cumulative[rows, np.maximum(place, 1)]
    share = np.minimum(np.maximum((aim - low) / (high - low), 0.0), 1.0)
    return np.asarray(np.exp(LOG_SLOWEST + LOG_STEP * (below + share)))


def clear_by(cumulative: Array, distance_m: Array, times_s: Array) -> Array:
    """Return P(clear) for each person at each of their own times, both `(n, m)`; times <= 0 give 0."""
    needed = np.log(distance_m[:, None] / np.maximum(times_s, 1e-9))
    place = np.minimum(np.maximum((needed - LOG_SLOWEST) / LOG_STEP, 0.0), GRID_SIZE - 1.000001)
    below = place.astype(np.intp)
    rows = np.arange(len(distance_m))[:, None]
    low = cumulative[rows, below]
    return np.asarray(1.0 - (low + (place - below) * (cumulative[rows, below + 1] - low)))

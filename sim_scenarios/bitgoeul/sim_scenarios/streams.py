"""Seeded streams of uniform numbers, and the distributions that are read off them."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from zlib import crc32

import numpy as np

from .tables import TruncatedNormal

STANDARD_NORMAL = NormalDist()
P85_Z = STANDARD_NORMAL.inv_cdf(0.85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Random numbers of one flow: each attribute of its trips has a generator of its own.

    Parameters
    ----------
    seed : of the run, 0 or more.
    name : of the flow.
    duration_s : length of the run. [s]
    """

    seed: int
    name: str
    duration_s: int

    def generator(self, attribute: str) -> np.random.Generator:
        """Return the generator of one attribute, at its beginning."""
        return np.random.default_rng([self.seed, crc32(f"{self.name} {attribute}".encode())])

    def departures_s(self, per_h: float) -> list[float]:
        """Return Poisson departure times within the run in seconds, to 0.01 s, in order."""
        if per_h <= 0:
            return []
        expected = per_h * self.duration_s / 3600
        block = math.ceil(expected + 10 * math.sqrt(expected) + 10)
        gaps_s = self.generator("departure").exponential(3600 / per_h, block)
        times_s = np.cumsum(gaps_s).round(2)
        return [float(at_s) for at_s in times_s[times_s < self.duration_s]]

    def uniforms(self, attribute: str, count: int) -> list[float]:
        """Return one number in (0, 1) per trip."""
        drawn = self.generator(attribute).random(count)
        return [float(one) for one in np.clip(drawn, 1e-12, 1 - 1e-12)]


def picker(shares: Mapping[str, float]) -> Callable[[float], str]:
    """Return what maps a uniform number to a name, by shares in alphabetical order."""
    names = sorted(shares)
    bounds = list(itertools.accumulate(shares[name] for name in names))
    return lambda draw: names[min(bisect_right(bounds, draw * bounds[-1]), len(names) - 1)]


def truncated_normal(shape: TruncatedNormal, draw: float) -> float:
    """Return the value of a truncated normal distribution at a quantile.

    Parameters
    ----------
    shape : mean, sd and clip of the distribution before truncation.
    draw : the quantile, within (0, 1).
    """
    low, high = (STANDARD_NORMAL.cdf((end - shape.mean) / shape.sd) for end in shape.clip)
    return shape.mean + shape.sd * STANDARD_NORMAL.inv_cdf(low + draw * (high - low))


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
    >>> round(math.exp(mu + sigma**2 / 2), 6), round(math.exp(mu + P85_Z * sigma), 6)
    (2.5, 3.8)
    """
    if not 0 < mean < p85:
        raise ValueError(f"p85 {p85} must be above mean {mean}, and both above 0")
    sigma = P85_Z - math.sqrt(max(P85_Z**2 - 2 * math.log(p85 / mean), 0.0))
    return math.log(mean) - sigma**2 / 2, sigma


def lognormal(mean: float, p85: float, draw: float) -> float:
    """Return the value at a quantile within (0, 1) of the lognormal of `lognormal_parameters`."""
    mu, sigma = lognormal_parameters(mean, p85)
    return math.exp(mu + sigma * STANDARD_NORMAL.inv_cdf(draw))

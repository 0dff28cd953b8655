"""Seeded streams of uniform numbers, and the distributions that are read off them."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from zlib import crc32

import numpy as np

from bitgoeul.controller.walking import lognormal_parameters

from .tables import TruncatedNormal

STANDARD_NORMAL = NormalDist()


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
        departures: list[float] = times_s[times_s < self.duration_s].tolist()
        return departures

    def uniforms(self, attribute: str, count: int) -> list[float]:
        """Return one number in (0, 1) per trip."""
        drawn = self.generator(attribute).random(count)
        uniforms: list[float] = np.clip(drawn, 1e-12, 1 - 1e-12).tolist()
        return uniforms


def picker(shares: Mapping[str, float]) -> Callable[[float], str]:
    """Return what maps a uniform number to a name, by shares in alphabetical order."""
    names = sorted(shares)
    bounds = list(itertools.accumulate(shares[name] for name in names))
    return lambda draw: names[min(bisect_right(bounds, draw * bounds[-1]), len(names) - 1)]


def picked(shares: Mapping[str, float], draws: Sequence[float]) -> list[str]:
    """Return the names that `picker` gives for many uniform numbers."""
    names = sorted(shares)
    bounds = list(itertools.accumulate(shares[name] for name in names))
    places = np.searchsorted(bounds, np.array(draws) * bounds[-1], side="right")
    return [names[place] for place in np.minimum(places, len(names) - 1).tolist()]


def truncated_normal(shape: TruncatedNormal, draw: float) -> float:
    """Return the value of a truncated normal distribution at a quantile.

    Parameters
    ----------
    shape : mean, sd and clip of the distribution before truncation.
    draw : the quantile, within (0, 1).
    """
    low, span = _cut(shape.mean, shape.sd, *shape.clip)
    return shape.mean + shape.sd * STANDARD_NORMAL.inv_cdf(low + draw * span)


def truncated_normals(shape: TruncatedNormal, draws: Sequence[float]) -> list[float]:
    """Return the values of `truncated_normal` at many quantiles, the same to the last bit."""
    low, span = _cut(shape.mean, shape.sd, *shape.clip)
    mean, sd, quantiles = shape.mean, shape.sd, low + np.array(draws) * span
    return [mean + sd * normal for normal in map(STANDARD_NORMAL.inv_cdf, quantiles.tolist())]


@lru_cache(maxsize=256)
def _cut(mean: float, sd: float, first: float, last: float) -> tuple[float, float]:
    """Return the quantile at which a clip begins, and the share of the distribution within it."""
    low, high = (STANDARD_NORMAL.cdf((end - mean) / sd) for end in (first, last))
    return low, high - low


def lognormal(mean: float, p85: float, draw: float) -> float:
    """Return the value at a quantile within (0, 1) of the lognormal of `lognormal_parameters`."""
    mu, sigma = lognormal_parameters(mean, p85)
    return math.exp(mu + sigma * STANDARD_NORMAL.inv_cdf(draw))

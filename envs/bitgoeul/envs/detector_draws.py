"""Where an emulated sensor's chances come from: seeds and names, so that all controllers meet the same."""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from struct import unpack
from zlib import crc32

TABLE_SIZE = 1021
"""Draws in each table shared by all tracks of a run; every person starts elsewhere."""
UNIT = 2.0**-32


def stream(seed: int, *names: str) -> Random:
    """Return the random stream of a seed and names, the same on every machine and in every run."""
    return Random((seed << 32) | crc32("/".join(names).encode()))  # noqa: S311 - a simulation, no secret


def person_draws(seed: int, person: str) -> tuple[float, ...]:
    """Return eight uniform draws in [0, 1) of a seed and a person, far cheaper than a stream."""
    digest = blake2b(f"{seed}/{person}".encode(), digest_size=32).digest()
    return tuple([word * UNIT for word in unpack("<8I", digest)])

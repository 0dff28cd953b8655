"""How long a picture is on its way from the sensor to the controller."""

from __future__ import annotations

from collections import deque

from bitgoeul.controller.detection import Frame

from .detector_draws import TABLE_SIZE, stream

BLOCK_DS = 100
"""The latency is drawn anew this often, as the load of processor and link changes [A]. [0.1 s]"""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, less their whole part, fill 0 to 1 evenly: as good as chance for rounding."""

CONSTANT = 0.001
"""A coefficient of variation up to this is none."""

Picture = tuple[Frame, ...]
"""One frame of each crossing, taken at one moment."""


class Delivery:
    """Delays pictures by a gamma-distributed latency; none overtakes another.

    Latencies depend on the seed and the time only. They are rounded to whole ticks, up or down in turn,
    so that the mean is kept.

    Parameters
    ----------
    mean_s : mean latency, > 0. [s]
    variation : its standard deviation over its mean; 0: constant.
    seed : >= 0.
    """

    __slots__ = (
        "_before_ds",
        "_block_ds",
        "_draws",
        "_late_ds",
        "_mean_ds",
        "_newest",
        "_pictures",
        "_shape",
        "_table_ds",
    )

    def __init__(self, mean_s: float, variation: float, seed: int) -> None:
        """Prepare; latencies are drawn as time goes on, for a run's first three hours: then they repeat."""
        self._draws, self._mean_ds = stream(seed, "latency"), 10 * mean_s
        self._shape = variation**-2 if variation > CONSTANT else 0.0
        self._table_ds: list[float] = []
        self._late_ds, self._block_ds = 0.0, -1
        self._before_ds = 0
        self._pictures: deque[tuple[float, Picture]] = deque()
        self._newest: Picture | None = None

    def send(self, picture: Picture, now_ds: int) -> Picture | None:
        """Send a picture on its way and return the newest that has arrived; None while there is none.

        The first picture sent is the first to arrive: a faster one behind it waits.
        """
        if now_ds >= self._block_ds:
            block = now_ds // BLOCK_DS
            self._late_ds, self._block_ds = self._latency_ds(block % TABLE_SIZE), (block + 1) * BLOCK_DS
        arrives_ds = now_ds + self._late_ds - now_ds * GOLDEN % 1.0 * (now_ds - self._before_ds)
        self._before_ds = now_ds
        pictures = self._pictures
        pictures.append((arrives_ds, picture))
        while pictures and pictures[0][0] <= now_ds:
            self._newest = pictures.popleft()[1]
        return self._newest

    def _latency_ds(self, place: int) -> float:
        table_ds, shape = self._table_ds, self._shape
        while len(table_ds) <= place:
            table_ds.append(self._mean_ds * (self._draws.gammavariate(shape, 1 / shape) if shape else 1.0))
        return table_ds[place]

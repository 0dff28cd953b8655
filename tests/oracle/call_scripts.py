"""Random calls for a table: detectors that toggle, or queues that build up in red and drain in green."""

from __future__ import annotations

from random import Random

LENGTH = 300
"""Length of a script. [steps]"""
NEVER = 1 << 30
DISCHARGE = 2
"""A queue lets one vehicle go each so many steps of green."""


class Toggles:
    """Each detector is on and off for random times, whatever the lamps show."""

    def __init__(self, random, phases):
        self._random = random
        mean_off = {number: random.choice((8, 25, 60, 150)) for number in phases}
        mean_on = {number: random.choice((1, 3, 8, 25)) for number in phases}
        self._means = {1 << (number - 1): (mean_off[number], mean_on[number]) for number in phases}
        self._next = {bit: self._span(means[0]) for bit, means in self._means.items()}
        self._mask, self._first = 0, 0

    def _span(self, mean):
        return 1 + int(self._random.expovariate(1 / mean))

    def calls(self, step, _green):
        """Return the calls of a step."""
        if step < self._first:
            return self._mask
        for bit, at in self._next.items():
            if at <= step:
                self._mask ^= bit
                self._next[bit] = step + self._span(self._means[bit][bool(self._mask & bit)])
        self._first = min(self._next.values())
        return self._mask


class Queues:
    """Vehicles arrive at random and stay until they have gone by in green."""

    def __init__(self, random, phases):
        self._random = random
        level = random.choice((0.3, 1.0, 2.0))
        self._headway = {1 << (n - 1): random.choice((6, 15, 40, 120)) / level for n in phases}
        self._next = {bit: self._span(headway) for bit, headway in self._headway.items()}
        self._waiting = dict.fromkeys(self._next, 0)

    def _span(self, mean):
        return 1 + int(self._random.expovariate(1 / mean))

    def calls(self, step, green):
        """Return the calls of a step, given the greens of the step before."""
        mask = 0
        waiting = self._waiting
        for bit, at in self._next.items():
            count = waiting[bit]
            if at <= step:
                count += 1
                self._next[bit] = step + self._span(self._headway[bit])
            if count:
                mask |= bit
                if green & bit and not step % DISCHARGE:
                    count -= 1
            waiting[bit] = count
        return mask


def call_script(seed, phases):
    """Return the script of a seed: half of them toggle, half queue."""
    random = Random(seed)
    return (Toggles, Queues)[seed % 2](random, phases)

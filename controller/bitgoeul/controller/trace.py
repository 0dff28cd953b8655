"""A hash over all that happened at a junction: equal hashes mean equal runs."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Protocol

from .signals import Commands, Lamps


class Passer(Protocol):
    """Whoever steps on or off a crossing: an id, and the crossing's index in the plan."""

    id: str
    crossing: int


class Trace:
    """A running hash of lamps, commands, and people stepping on and off the crossings, with their times.

    Two runs with equal hashes showed the same lamps, had the same commands written and the same walkers
    enter and leave, all at the same moments.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._commands: Commands | None = None

    def entered(self, walker: Passer, now_ds: int) -> None:
        """Note a walker stepping onto a crossing."""
        self._hash.update(f"+{now_ds}:{walker.id}:{walker.crossing}\n".encode())

    def left(self, walker: Passer, now_ds: int) -> None:
        """Note a walker stepping off a crossing."""
        self._hash.update(f"-{now_ds}:{walker.id}:{walker.crossing}\n".encode())

    def shown(self, now_ds: int, lamps: Lamps) -> None:
        """Note a change of lamps."""
        self._hash.update(f"L{now_ds}:{lamps.green},{lamps.yellow},{lamps.walk},{lamps.ped_clear}\n".encode())

    def ordered(self, now_ds: int, commands: Commands) -> None:
        """Note the commands of a tick, if they changed."""
        if commands is self._commands or commands == self._commands:
            return
        self._commands = commands
        self._hash.update(f"C{now_ds}:{_as_text(commands)}\n".encode())

    @property
    def hexdigest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


@lru_cache(maxsize=256)
def _as_text(commands: Commands) -> str:
    """Return commands in words; a run gives the same few again and again."""
    return str(commands)

"""The backend port: how a controller reads a cabinet and writes to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..signals import Calls, Commands, Lamps


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend's cabinet can do beyond NTCIP 1202; stands in every result row.

    Parameters
    ----------
    red_hold : it can hold a phase's red clearance (form R; last all-red at the maximum).
    walk_rest_by_phase : it can rest in walk phase by phase (NTCIP knows the whole unit only).
    """

    red_hold: bool
    walk_rest_by_phase: bool


class CabinetReading(NamedTuple):
    """What a backend read in one tick; fields as in `Snapshot`.

    `held` and `red_held` are the phases that only a hold keeps from ending; 0 where a cabinet does not
    tell.
    """

    now_ds: int
    lamps: Lamps
    calls: Calls
    zone_vehicles: tuple[int, ...]
    arrivals: tuple[int, ...]
    held: int = 0
    red_held: int = 0


class Backend(Protocol):
    """A cabinet to read and command. Errors of the link are `FieldFault`."""

    capabilities: Capabilities

    def read(self, *, with_vehicles: bool) -> CabinetReading:
        """Return lamps, calls and detector states as they are now.

        Without vehicles (a policy that does not look at them) the vehicle fields stay empty.
        """
        ...

    def write(self, commands: Commands) -> Lamps:
        """Give the orders of this tick; return the lamps they led to, as far as known."""
        ...

    def release(self) -> None:
        """Withdraw every order and give the junction back to its own plan."""
        ...

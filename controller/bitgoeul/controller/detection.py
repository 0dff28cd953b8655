"""What the sensors said, and when: tracks, frames and the snapshot a controller decides on.

Named tuples, not dataclasses: some ten are made in every tick, and they are made three times as fast.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .signals import Calls, Lamps

MOBILITY_CLASSES: tuple[str, ...] = (
    "adult",
    "elderly",
    "cane",
    "frail",
    "manual_wheelchair",
    "powered_wheelchair",
    "visually_impaired",
    "crutches",
    "stroller_child",
)
"""Order of `Track.class_probabilities` (classes of the walkers' table, FACTS)."""

FRESH_DS = 20
"""A picture older than this is no evidence (DESIGN, promise 3). [0.1 s]"""


class Zone(StrEnum):
    """Where on a crossing a track is."""

    KERB_A = "kerb_a"
    KERB_B = "kerb_b"
    CROSSING = "crossing"
    ISLAND = "island"


class Track(NamedTuple):
    """One person as a sensor reported them.

    Parameters
    ----------
    id : the sensor's own number for the person; says nothing of who they are.
    crossing : crossing id of the plan.
    zone : kerb A, kerb B, crossing or island.
    remaining_m : distance to the far kerb along the crossing, >= 0. [m]
    speed_mps : speed towards the far kerb as measured, >= 0. [m/s]
    class_probabilities : one per `MOBILITY_CLASSES`, summing to 1; empty when the class is unknown.
    source : which sensor.
    measured_ds : when the sensor saw this. [0.1 s]
    since_ds : when the sensor first saw this person here. [0.1 s]
    quality : 0 to 1.
    """

    id: str
    crossing: str
    zone: Zone
    remaining_m: float
    speed_mps: float
    class_probabilities: tuple[float, ...]
    source: str
    measured_ds: int
    since_ds: int
    quality: float = 1.0


class Frame(NamedTuple):
    """One sensor's newest delivered picture of one crossing: *empty* and *blind* differ.

    Parameters
    ----------
    crossing : crossing id of the plan.
    measured_ds : when the picture was taken (not when it arrived). [0.1 s]
    is_healthy : False while a part is not seen; then nobody's absence means anything. A push button, which
        never sees the crossing, and sensors of which another fails, still show somebody in such a frame.
    on_crossing : tracks on the crossing, in the sensor's order.
    waiting : tracks at the kerbs who want to cross here.
    """

    crossing: str
    measured_ds: int
    is_healthy: bool
    on_crossing: tuple[Track, ...] = ()
    waiting: tuple[Track, ...] = ()


class CrossingRequest(NamedTuple):
    """One person's request to cross, as their own device stated it.

    Parameters
    ----------
    id : the device's number for this request; says nothing of who they are.
    crossing : crossing id of the plan.
    zone : where they wait: a kerb or the island.
    needed_s : seconds they say they need from the start of walk to the far kerb, > 0; None: not stated. [s]
    source : which device or gateway.
    measured_ds : when it was made. [0.1 s]
    until_ds : from then on it counts no more. [0.1 s]
    """

    id: str
    crossing: str
    zone: Zone
    needed_s: float | None
    source: str
    measured_ds: int
    until_ds: int


class Snapshot(NamedTuple):
    """All a controller knows in a tick. The truth is not in it.

    Parameters
    ----------
    now_ds : monotonic time of the tick. [0.1 s]
    lamps : indications read back from the cabinet.
    calls : the cabinet's calls and detector states.
    zone_vehicles : vehicles seen per zone detector, in the order of `SitePlan.zone_detectors`.
    arrivals : vehicles that passed each passage detector since the last tick, in the order of
        `SitePlan.passage_detectors`.
    frames : newest delivered frame per crossing, in the order of `SitePlan.crossings`.
    requests : open requests to cross, in order of arrival.
    """

    now_ds: int
    lamps: Lamps
    calls: Calls
    zone_vehicles: tuple[int, ...]
    arrivals: tuple[int, ...]
    frames: tuple[Frame, ...]
    requests: tuple[CrossingRequest, ...] = ()

"""The emulated street: walkers moved by the driver, seen by the emulated detector."""

from __future__ import annotations

from typing import Any

from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.trace import Trace

from .detector import EmulatedDetector, preset
from .walkers import WalkerDriver


class EmulatedStreet:
    """People and detector of a simulated junction; also the `emulated` detection source of `control`.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection.
    plan : the site.
    detector : preset, with changes if any.
    seed : of the detector, >= 0.
    is_recording : keep speed changes for a replay.
    """

    def __init__(
        self, connection: Any, plan: SitePlan, detector: str, seed: int, *, is_recording: bool = False
    ) -> None:
        self.walkers = WalkerDriver(connection, plan, is_recording=is_recording)
        self.detector = EmulatedDetector(self.walkers, plan, preset(detector), seed)
        # Bound, not wrapped: these four are called in every step.
        self.frames = self.detector.frames
        self.observe = self.walkers.observe
        self.act = self.walkers.act
        self.release = self.walkers.release_all

    @staticmethod
    def check_detector(detector: str) -> None:
        """Refuse a preset that cannot be used, before any simulation is touched.

        Raises
        ------
        ValueError : an unknown preset or field, or a value out of its range.
        """
        preset(detector)

    def follow(self, trace: Trace) -> None:
        """Tell the trace of everyone who steps on or off a crossing."""
        self.walkers.listeners.append(trace)

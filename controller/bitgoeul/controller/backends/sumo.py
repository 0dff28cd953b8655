"""SUMO as the street: detectors and lamps of one junction, with the cabinet's core in process.

The connection is the `libsumo` module or a `traci` connection; both have the same calls.
"""

from __future__ import annotations

from typing import Any

from ..core import SignalCore
from ..errors import FieldFault
from ..plan import SitePlan
from ..signals import Calls, Commands, Lamps, phase_bit, phase_mask
from .base import Capabilities, CabinetReading

RELEASE_PROGRAM = "the network's own signal program"


class SumoRows:
    """Lamps of a plan as SUMO state strings (one letter per signal link).

    Parameters
    ----------
    plan : the site; its `sumo_links` and `sumo_link` are the indices.

    Notes
    -----
    Letters (SUMO.md): `G` protected green, `g` a turn that yields, `s` right turn on red after a stop,
    `y` yellow; for crossings `G` walk, `y` pedestrian clearance, `r` don't walk.
    """

    def __init__(self, plan: SitePlan) -> None:
        phases = {name: phase_mask(p.number for p in plan.phases if name in p.movements)
                  for name in (movement.id for movement in plan.movements)}  # fmt: skip
        links: dict[int, tuple[int, str, str, bool]] = {}
        for movement in plan.movements:
            green = "g" if movement.turn == "right" else "G"
            red = "s" if movement.right_turn_on_red else "r"
            for link in movement.sumo_links:
                links[link] = (phases[movement.id], green, red, False)
        for crossing in plan.crossings:
            links[crossing.sumo_link] = (phase_bit(plan.phase_of(crossing.id)), "G", "r", True)
        self._links = tuple(links[index] for index in range(len(links)))
        self._known: dict[Lamps, str] = {}

    def row(self, lamps: Lamps) -> str:
        """Return the state string of these lamps."""
        row = self._known.get(lamps)
        if row is None:
            row = self._known[lamps] = "".join(self._letter(lamps, *link) for link in self._links)
        return row

    @staticmethod
    def _letter(lamps: Lamps, phases: int, green: str, red: str, is_crossing: bool) -> str:
        shown_green = lamps.walk if is_crossing else lamps.green
        shown_yellow = lamps.ped_clear if is_crossing else lamps.yellow
        if shown_green & phases:
            return green
        return "y" if shown_yellow & phases else red


class SumoBackend:
    """One junction in SUMO: reads its detectors, times its lamps with a `SignalCore`.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection.
    plan : the site.
    step_ds : length of a simulation step. [0.1 s]

    Raises
    ------
    FieldFault : the network lacks the plan's signal or its number of links differs.
    """

    capabilities = Capabilities(red_hold=True, walk_rest_by_phase=True)

    def __init__(self, connection: Any, plan: SitePlan, *, step_ds: int = 5) -> None:
        self._plan = plan
        self.core = SignalCore(plan)
        self._step_ds = step_ds
        self._rows = SumoRows(plan)
        self._signal = plan.sumo.traffic_light
        self._row = ""
        self._lights = connection.trafficlight
        self._simulation = connection.simulation
        self._count_in_lane = connection.lane.getLastStepVehicleNumber
        self._count_at_loop = connection.inductionloop.getLastStepVehicleNumber
        self._zones = tuple(detector.sumo_id for detector in plan.zone_detectors)
        self._loops = tuple(detector.sumo_id for detector in plan.passage_detectors)
        self._zone_masks = tuple(phase_mask(detector.phases) for detector in plan.zone_detectors)
        self._loop_masks = tuple(phase_mask(detector.phases) for detector in plan.passage_detectors)
        self._calls_known: dict[tuple[int, int], Calls] = {}
        self._reading_calls = Calls()
        self.row_changes: list[tuple[int, str]] | None = None
        self._check_signal()

    def _check_signal(self) -> None:
        """Refuse a network that is not the plan's."""
        if self._signal not in self._lights.getIDList():
            known = ", ".join(self._lights.getIDList()) or "none"
            raise FieldFault("sumo", f"no traffic light {self._signal!r} in the network (it has: {known})")
        expected = len(self._rows.row(Lamps()))
        found = len(self._lights.getRedYellowGreenState(self._signal))
        if expected != found:
            raise FieldFault("sumo", f"{self._signal} has {found} signal links, the plan maps {expected}")

    def read(self) -> CabinetReading:
        """Return the detectors after the last simulation step, and the lamps shown during it."""
        zones = tuple([self._count_in_lane(lane) for lane in self._zones])
        loops = tuple([self._count_at_loop(loop) for loop in self._loops])
        waiting = passing = 0
        for count, mask in zip(zones, self._zone_masks, strict=True):
            if count:
                waiting |= mask
        for count, mask in zip(loops, self._loop_masks, strict=True):
            if count:
                passing |= mask
        calls = self._calls_known.get((waiting, passing))
        if calls is None:
            calls = self._calls_known[waiting, passing] = Calls(vehicle=waiting, extend=passing)
        self._reading_calls = calls
        core = self.core
        return CabinetReading(
            now_ds=core.now_ds,
            lamps=core.lamps,
            calls=calls,
            zone_vehicles=zones,
            arrivals=loops,
            held=core.held,
            red_held=core.red_held,
        )

    def write(self, commands: Commands) -> Lamps:
        """Let the core run one step under these commands and set SUMO's lamps for it."""
        lamps = self.core.advance(self._step_ds, self._reading_calls, commands)
        row = self._rows.row(lamps)
        if row != self._row:
            self._row = row
            self._lights.setRedYellowGreenState(self._signal, row)
            if self.row_changes is not None:
                self.row_changes.append((self.core.now_ds - self._step_ds, row))
        return lamps

    def release(self) -> None:
        """Give the junction back to the network's own signal program."""
        self._lights.setProgram(self._signal, self._plan.sumo.program)
        self._row = ""

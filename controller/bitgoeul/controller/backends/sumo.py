"""SUMO as the street: detectors and lamps of one junction, with the cabinet's core in process.

The connection is the `libsumo` module or a `traci` connection; both have the same calls.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from ..core import SignalCore
from ..errors import FieldFault
from ..monitor import Fault, Monitor, flash_lamps
from ..plan import SitePlan
from ..signals import ALL_RED, Calls, Commands, Lamps, phase_mask
from ..timing import to_ds
from .base import CabinetReading, Capabilities

STEPS_DS = (1, 2, 5, 10)
"""Simulation steps that divide a second, and so every time of a plan in whole seconds. [0.1 s]"""
LENGTH_TOLERANCE_M = 0.2
"""How far a crossing's length in SUMO may be off the plan's (DESIGN, world). [m]"""
CONNECT_TRIES = 20
"""Attempts, half a second apart, to reach a SUMO that may still be starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A signal link: the masks that light it, and its letters. `crossing` is its bit, 0 for vehicles."""

    phases: int
    overlaps: int = 0
    crossing: int = 0
    green: str = "G"
    red: str = "r"

    def letter(self, lamps: Lamps) -> str:
        """Return SUMO's letter for this link under these lamps."""
        if self.crossing:
            if lamps.walk & self.phases:
                return self.green
            is_clearing = lamps.ped_clear & self.phases or lamps.ped_extend & self.crossing
            return "y" if is_clearing else self.red
        if lamps.is_flashing:
            return "o"
        if lamps.green & self.phases or lamps.overlap_green & self.overlaps:
            return self.green
        return "y" if lamps.yellow & self.phases or lamps.overlap_yellow & self.overlaps else self.red


class SumoRows:
    """Lamps of a plan as SUMO state strings (one letter per signal link).

    Parameters
    ----------
    plan : the site; its `sumo_links` and `sumo_link` are the indices.

    Notes
    -----
    Letters (SUMO.md): `G` protected green, `g` a turn that yields, `s` right turn on red after a stop,
    `y` yellow, `o` flashing; for crossings `G` walk, `y` pedestrian clearance and the flashing green of
    an extension, `r` don't walk or dark.
    """

    def __init__(self, plan: SitePlan) -> None:
        links: dict[int, Link] = {}
        for movement in plan.movements:
            head = Link(
                phases=phase_mask(plan.phases_of(movement.id)),
                overlaps=sum(1 << i for i, each in enumerate(plan.overlaps) if movement.id in each.movements),
                green="g" if movement.turn == "right" else "G",
                red="s" if movement.right_turn_on_red else "r",
            )
            links.update(dict.fromkeys(movement.sumo_links, head))
        for index, crossing in enumerate(plan.crossings):
            phases = phase_mask(plan.walk_phases(crossing.id))
            links[crossing.sumo_link] = Link(phases=phases, crossing=1 << index)
        self._links = tuple(links[index] for index in range(len(links)))
        self._known: dict[Lamps, str] = {}

    def row(self, lamps: Lamps) -> str:
        """Return the state string of these lamps."""
        row = self._known.get(lamps)
        if row is None:
            row = self._known[lamps] = "".join(link.letter(lamps) for link in self._links)
        return row


class SumoBackend:
    """One junction in SUMO: reads its detectors, times its lamps with a `SignalCore`.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection.
    plan : the site.
    step_ds : length of a simulation step. [0.1 s]
    now_ds : the simulation's time; the core starts in red then. [0.1 s]
    monitor : watches what the core shows; None is one of its own, by this plan and step.

    Raises
    ------
    FieldFault : the network is not the plan's (`check_network`).

    Notes
    -----
    When the monitor trips, the faulty indication is not shown: from then on the junction flashes, and
    `alarms` names the fault. Only a new backend ends that.
    """

    capabilities = Capabilities(red_hold=True, walk_rest_by_phase=True)

    def __init__(
        self,
        connection: Any,
        plan: SitePlan,
        *,
        step_ds: int = 5,
        now_ds: int = 0,
        monitor: Monitor | None = None,
    ) -> None:
        check_network(connection, plan)
        self._plan = plan
        self.core = SignalCore(plan, start_ds=now_ds)
        self._step_ds = step_ds
        self._rows = SumoRows(plan)
        self._signal = plan.sumo.traffic_light
        self.monitor = Monitor(plan, step_ds=step_ds) if monitor is None else monitor
        self.alarms: list[Fault] = []
        self._lamps: Lamps | None = None
        self._shown = self.core.lamps
        self._lights = connection.trafficlight
        self._simulation = connection.simulation
        self._count_in_lane = compiled(connection, "lane", "getLastStepVehicleNumber")
        self._count_at_loop = compiled(connection, "inductionloop", "getLastStepVehicleNumber")
        self._zones = tuple(detector.sumo_id for detector in plan.zone_detectors)
        self._loops = tuple(detector.sumo_id for detector in plan.passage_detectors)
        self._zone_masks = tuple(phase_mask(detector.phases) for detector in plan.zone_detectors)
        self._loop_masks = tuple(phase_mask(detector.phases) for detector in plan.passage_detectors)
        self._calls_known: dict[tuple[int, int], Calls] = {}
        self._reading_calls = Calls()
        self.row_changes: list[tuple[int, str]] | None = None

    def read(self, *, with_vehicles: bool = True) -> CabinetReading:
        """Return the detectors after the last simulation step, and the lamps shown during it."""
        core = self.core
        zones: tuple[int, ...] = ()
        loops: tuple[int, ...] = ()
        if with_vehicles:
            zones = tuple([self._count_in_lane(lane) for lane in self._zones])
            loops = tuple([self._count_at_loop(loop) for loop in self._loops])
            self._reading_calls = self._calls(zones, loops)
        return CabinetReading(
            core.now_ds, self._shown, self._reading_calls, zones, loops, core.held, core.red_held
        )

    def _calls(self, zones: tuple[int, ...], loops: tuple[int, ...]) -> Calls:
        """Return the phases called and extended by these detector states."""
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
        return calls

    def write(self, commands: Commands) -> Lamps:
        """Let the core run one step under these commands and set SUMO's lamps for it."""
        lamps = self.core.advance(self._step_ds, self._reading_calls, commands)
        if lamps is not self._lamps:
            self._lamps = lamps
            if not self.alarms:
                self._show(self.core.now_ds - self._step_ds, lamps)
        return self._shown

    def _show(self, now_ds: int, lamps: Lamps) -> None:
        """Set SUMO's lamps for the step that began at `now_ds`; flash for good if the monitor trips."""
        fault = self.monitor.watch(now_ds, lamps)
        if fault is not None:
            self.alarms.append(fault)
            lamps = flash_lamps()
        self._shown = lamps
        row = self._rows.row(lamps)
        self._lights.setRedYellowGreenState(self._signal, row)
        if self.row_changes is not None:
            self.row_changes.append((now_ds, row))

    def release(self) -> None:
        """Give the junction back to the network's own signal program, from the start of its cycle."""
        self._lights.setProgram(self._signal, self._plan.sumo.program)
        self._lights.setPhase(self._signal, 0)
        self._lamps = None


def check_network(connection: Any, plan: SitePlan) -> None:
    """Refuse a network that is not the one the plan describes.

    Raises
    ------
    FieldFault : no such signal or program; a link that leads elsewhere than the plan's movement or crossing;
        a crossing of another length; a detector that is not there.
    """
    signal, lights = plan.sumo.traffic_light, connection.trafficlight
    if signal not in lights.getIDList():
        known = ", ".join(lights.getIDList()) or "none"
        raise FieldFault("sumo", f"no traffic light {signal!r} in the network (it has: {known})")
    programs = [logic.programID for logic in lights.getAllProgramLogics(signal)]
    if plan.sumo.program not in programs:
        raise FieldFault(
            "sumo", f"{signal} has no program {plan.sumo.program!r} (it has: {', '.join(programs)})"
        )
    links = lights.getControlledLinks(signal)
    mapped = sum(len(movement.sumo_links) for movement in plan.movements) + len(plan.crossings)
    if len(links) != mapped:
        raise FieldFault("sumo", f"{signal} has {len(links)} signal links, the plan maps {mapped}")
    _check_movements(links, plan)
    _check_crossings(connection, links, plan)
    missing = sorted(
        {each.sumo_id for each in plan.zone_detectors} - set(connection.lane.getIDList())
        | {each.sumo_id for each in plan.passage_detectors} - set(connection.inductionloop.getIDList())
    )
    if missing:
        raise FieldFault("sumo", f"the network lacks the plan's detectors {', '.join(missing)}")


def _check_movements(links: Any, plan: SitePlan) -> None:
    """Refuse links that do not lead from and to one edge per leg."""
    edges: dict[tuple[str, str], str] = {}
    for movement in plan.movements:
        for link in movement.sumo_links:
            from_lane, to_lane, _ = links[link][0]
            for end, leg, lane in (("from", movement.from_leg, from_lane), ("to", movement.to_leg, to_lane)):
                edge = lane.rsplit("_", 1)[0]
                if edges.setdefault((end, leg), edge) != edge:
                    raise FieldFault(
                        "sumo",
                        f"link {link} of {movement.id} leads {end} {edge}, other links of leg {leg} "
                        f"{end} {edges[end, leg]}: the plan's sumo_links are not this network's",
                    )


def _check_crossings(connection: Any, links: Any, plan: SitePlan) -> None:
    """Refuse crossings whose link, edge or length is another than the plan says."""
    for crossing in plan.crossings:
        lanes = {lane for link in links[crossing.sumo_link] for lane in link}
        lane = f"{crossing.sumo_edge}_0"
        if lane not in lanes:
            raise FieldFault(
                "sumo", f"link {crossing.sumo_link} of {crossing.id} is not that of {crossing.sumo_edge}"
            )
        length_m = connection.lane.getLength(lane)
        if abs(length_m - crossing.length_m) > LENGTH_TOLERANCE_M:
            raise FieldFault(
                "sumo",
                f"{crossing.id} is {length_m:.1f} m long in the network, {crossing.length_m} m in the plan",
            )


def step_length_ds(connection: Any) -> int:
    """Return SUMO's step. [0.1 s]

    Raises
    ------
    FieldFault : it is none of 0.1, 0.2, 0.5 and 1 s: the plan's times would be cut short or drawn out.
    """
    step_s = connection.simulation.getDeltaT()
    step_ds = to_ds(step_s)
    if step_ds not in STEPS_DS or not math.isclose(step_s * 10, step_ds):
        allowed = ", ".join(f"{each / 10:g}" for each in STEPS_DS)
        raise FieldFault("sumo", f"its step-length is {step_s:g} s; allowed are {allowed} s")
    return step_ds


def compiled(connection: Any, domain: str, name: str) -> Callable[..., Any]:
    """Return a getter without libsumo's Python wrapper, for calls made in every step.

    The wrappers only pass their arguments on, and cost as much as the call. A TraCI connection has none.
    """
    module = getattr(connection, "_libsumo", None)
    function: Callable[..., Any] | None = getattr(module, f"{domain}_{name}", None)
    wrapped: Callable[..., Any] = getattr(getattr(connection, domain), name)
    return function or wrapped


def clear_junction(connection: Any, plan: SitePlan) -> int:
    """Bring a junction from whatever it shows to all red, for taking over and giving back.

    Every green gets the plan's longest yellow, and nothing starts until the longest pedestrian clearance
    has passed: whoever is on a crossing finishes.

    Returns
    -------
    The simulation time reached. [0.1 s]
    """
    signal, lights = plan.sumo.traffic_light, connection.trafficlight
    red = SumoRows(plan).row(ALL_RED)
    yellow = "".join("y" if letter in "Gg" else letter for letter in lights.getRedYellowGreenState(signal))
    yellow_s = max(phase.yellow_s for phase in plan.phases)
    clear_s = max(max(phase.ped_clear_s, phase.yellow_s + phase.red_clear_s) for phase in plan.phases)
    begin_s = connection.simulation.getTime()
    while (passed_s := connection.simulation.getTime() - begin_s) < clear_s:
        lights.setRedYellowGreenState(signal, yellow if passed_s < yellow_s else red)
        connection.simulationStep()
    return to_ds(begin_s + passed_s)


def connect(host: str, port: int) -> Any:
    """Return a TraCI connection to a SUMO started by anyone.

    Raises
    ------
    FieldFault : nobody answers, or TraCI is not installed.
    """
    try:
        import traci
    except ModuleNotFoundError as error:
        raise FieldFault("sumo", "TraCI is not installed: pip install 'bitgoeul[sim]'") from error
    try:
        with redirect_stdout(sys.stderr):  # it prints its retries
            connection = traci.connect(port=port, host=host, numRetries=CONNECT_TRIES, waitBetweenRetries=0.5)
        connection.setOrder(1)
    except (traci.FatalTraCIError, traci.TraCIException, OSError) as error:
        raise FieldFault("sumo", f"no SUMO answers at {host}:{port} ({error})") from error
    return connection


def as_fault(error: Exception) -> Exception:
    """Return SUMO's own errors, by libsumo or TraCI, as a `FieldFault`; others unchanged."""
    if type(error).__name__ == "FatalTraCIError" or isinstance(error, ConnectionError):
        return FieldFault("sumo", f"the simulation ended: {error}")
    return FieldFault("sumo", str(error)) if type(error).__name__ == "TraCIException" else error

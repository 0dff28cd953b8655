"""A corridor's world: several controlled junctions in one SUMO, stepped together.

In each step every junction acts on what it last observed, SUMO runs once, and every junction observes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bitgoeul.controller.guard import Guard
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.policies import PolicyOptions, make_controller, parse_controller, plan_for
from bitgoeul.controller.policies.base import Policy
from bitgoeul.sim_scenarios.corridor import Corridor
from bitgoeul.sim_scenarios.corridor_build import build_corridor
from bitgoeul.sim_scenarios.corridor_demand import draw_corridor_trips, member_seed
from bitgoeul.sim_scenarios.demand import Trips

from .outcome import result_columns
from .world import STEP_DS, JunctionDriver, Simulation

ControllerMaker = Callable[[str, SitePlan], tuple[Policy, Guard | None]]
"""Gives a member (its id and plan) its policy and guard."""


class CorridorDriver:
    """All junctions of a corridor in one running SUMO.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection, at time 0.
    corridor : what runs in it.
    controller : makes each member's policy and guard; its plan there is the one that is timed.
    detector : preset of the emulated detectors, with changes if any.
    seed : of the run; each member's detector draws from one of its own.
    extension_max_s : what *within the maximum* means; None is the plans'. [s]
    is_recording : keep lamp and speed changes for a replay.

    Attributes
    ----------
    junctions : the members' drivers by id, in the corridor's order.
    """

    def __init__(  # noqa: PLR0913 - all but the first three by keyword
        self,
        connection: Any,
        corridor: Corridor,
        controller: ControllerMaker,
        *,
        detector: str,
        seed: int,
        extension_max_s: float | None = None,
        is_recording: bool = False,
    ) -> None:
        self.connection, self.corridor = connection, corridor
        self.junctions: dict[str, JunctionDriver] = {
            name: JunctionDriver(
                connection,
                site.plan,
                controller(name, site.plan),
                detector=detector,
                seed=member_seed(seed, name),
                extension_max_s=extension_max_s,
                is_recording=is_recording,
            )
            for name, site in corridor.members.items()
        }
        self._acts = tuple(each.act for each in self.junctions.values())
        self._observes = tuple(each.observe for each in self.junctions.values())
        self._simulation_step = connection.simulationStep
        self.now_ds = 0

    def step(self) -> None:
        """Let every junction act, SUMO run one step, and every junction observe."""
        for act in self._acts:
            act()
        self._simulation_step()
        for observe in self._observes:
            observe()
        self.now_ds += STEP_DS

    @property
    def trace_hashes(self) -> dict[str, str]:
        """Return the hash of all lamps, commands and crossings of each member so far."""
        return {name: each.trace.hexdigest for name, each in self.junctions.items()}


def corridor_controller(text: str, options: PolicyOptions) -> ControllerMaker:
    """Return what gives every member the controller of a name such as `fixed+guard` or `eta`.

    Raises
    ------
    ValueError : an unknown name, or one that retimes the plan: a corridor's plans run as they stand.
    """
    name = parse_controller(text)
    if name.design_speed_mps is not None:
        raise ValueError(f"controller {text!r}: in a corridor the plans run at their own design speed")
    return lambda _member, plan: make_controller(name, plan_for(name, plan), options)


@contextmanager
def corridor_simulation(
    corridor: Corridor, *, seed: int, hour: str, end_s: int, backend: str = "libsumo"
) -> Iterator[Simulation]:
    """Open the simulation of a corridor and leave nothing behind."""
    trips = draw_corridor_trips(corridor, seed=seed, hour=hour, duration_s=end_s)
    opened = open_corridor(corridor, trips, end_s=end_s, backend=backend)
    try:
        yield opened
    finally:
        opened.close()


def open_corridor(
    corridor: Corridor, trips: Trips, *, end_s: int, backend: str = "libsumo", has_gui: bool = False
) -> Simulation:
    """Return the opened simulation of a corridor; the caller closes it.

    Parameters
    ----------
    corridor, trips : what to simulate; SUMO's own random numbers have the seed of the trips.
    end_s : end of the simulation. [s]
    backend : `libsumo` or `traci`.
    has_gui : show `sumo-gui` (needs `traci`).
    """
    return Simulation(
        next(iter(corridor.members.values())),
        seed=trips.seed,
        hour="",
        end_s=end_s,
        backend=backend,
        has_gui=has_gui,
        trips=trips,
        network=build_corridor(corridor),
    )


NOT_OF_A_JUNCTION = ("person_delay_s", "person_hours_per_h", "persons_n")
"""Columns that would add one junction's walkers to the whole corridor's vehicles."""


def corridor_results(simulation: Simulation, driver: CorridorDriver) -> dict[str, dict[str, Any]]:
    """End a run and return each member's result columns; SUMO stays for the next run.

    Returns
    -------
    By member: walkers, extensions and queues are its own; columns of vehicles, and of SUMO's health, are the
    whole corridor's, the same in each.
    """
    end_ds = driver.now_ds
    events = {}
    for name, junction in driver.junctions.items():
        audit = junction.loop.audit
        audit.close(end_ds)
        events[name] = junction.measures.event_rows(end_ds, junction.detector.was_detected, audit.extensions)
    outputs = simulation.conclude()
    rows = {}
    for name, junction in driver.junctions.items():
        site = driver.corridor.members[name]
        row = result_columns(site, junction, events[name], outputs, end_ds // 10)
        rows[name] = {key: value for key, value in row.items() if key not in NOT_OF_A_JUNCTION}
    return rows

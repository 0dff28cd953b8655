"""The result of a finished run: the columns that a comparison's row and an episode's `info` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitgoeul.controller.audit import Extension
from bitgoeul.sim_scenarios.catalog import Site
from bitgoeul.sim_scenarios.simulation import WARMUP_S

from .measures import run_health, summarise, vehicle_measures
from .result import mark_jammed

if TYPE_CHECKING:
    from .world import JunctionDriver, Simulation

Row = dict[str, Any]


def result_columns(site: Site, driver: JunctionDriver, events: list[Row], outputs: Path, end_s: int) -> Row:
    """Return what a finished run has to say, without what it was asked.

    Parameters
    ----------
    site : its demand gives the vehicles' occupancy.
    driver : the junction, its audit closed.
    events : `Measures.event_rows` of it.
    outputs : folder of SUMO's outputs, complete.
    end_s : end of the simulation, warm-up included. [s]
    """
    duration_s = end_s - WARMUP_S
    occupancy = {kind.id: kind.persons for kind in site.demand.vehicle_types}
    health = run_health(outputs / "statistics.xml", outputs / "warnings.txt")
    mark_jammed(events, health.jams, driver.crossing_edges)
    return {
        **summarise(
            rows=events,
            vehicles=vehicle_measures(outputs / "tripinfo.xml", WARMUP_S, end_s, occupancy),
            health=health,
            duration_s=duration_s,
            extensions=driver.measures.extension_use,
            queues=driver.measures.queues.result(),
        ),
        "released_on_person": 0 if driver.guard is None else driver.guard.released_on_person,
        "extension_s_per_h": driver.loop.audit.extension_ds / 10 / duration_s * 3600,
        "decisions_n": getattr(driver.policy, "decisions", 0),
        "trace_hash": driver.trace.hexdigest,
    }


def conclude(simulation: Simulation, driver: JunctionDriver, end_s: int) -> Row:
    """End a run and return its columns; SUMO stays for the next one.

    Parameters
    ----------
    simulation, driver : the run, at its end.
    end_s : now, warm-up included. [s]
    """
    driver.loop.audit.close(10 * end_s)
    extensions = driver.loop.audit.extensions
    events = driver.measures.event_rows(10 * end_s, driver.detector.was_detected, extensions)
    return result_columns(simulation.site, driver, events, simulation.conclude(), end_s)


def count_so_far(simulation: Simulation, driver: JunctionDriver) -> Row:
    """Return the counts of a run that goes on: what is known before SUMO has written its outputs."""
    connection = driver.connection
    statistic = connection.simulation.getParameter
    warnings = simulation.outputs / "warnings.txt"
    lines = warnings.read_text(encoding="utf-8", errors="replace").splitlines() if warnings.exists() else []
    return {
        "teleports_n": int(statistic("", "stats.teleports.total")),
        "jammed_n": int(statistic("", "stats.persons.jammed")),
        "warnings_n": sum(line.startswith("Warning") for line in lines),
        "vehicles_unserved_n": len(connection.simulation.getPendingVehicles()),
        "vehicles_unfinished_n": len(connection.vehicle.getIDList()),
        "trace_hash": driver.trace.hexdigest,
    }


def extension_row(extension: Extension) -> Row:
    """Return an extension as a row of the store."""
    return {
        "crossing": extension.crossing,
        "started_s": extension.started_ds / 10,
        "seconds": extension.seconds,
        "reason": extension.reason,
    }

"""A CSV of a run with sumo-rl's column names, so that its users' notebooks read our runs; ours follow."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitgoeul.sim_scenarios.files import make_folder, write_text

from .sumo_rl_figures import SignalFigures, network_figures

if TYPE_CHECKING:
    from .world import JunctionDriver

Row = dict[str, float]

SYSTEM = (
    "system_total_stopped",
    "system_total_waiting_time",
    "system_mean_waiting_time",
    "system_mean_speed",
)
"""Columns of all vehicles, after `step`, in sumo-rl's order."""
AGENT = ("stopped", "accumulated_waiting_time", "average_speed")
"""Columns of each traffic light, after its id and an underscore."""
AGENTS = ("agents_total_stopped", "agents_total_accumulated_waiting_time")
LATER = (
    "system_total_running",
    "system_total_backlogged",
    "system_total_arrived",
    "system_total_departed",
    "system_total_teleported",
)
"""Columns that sumo-rl has on its main branch, after the release 1.4.5."""
PEDESTRIANS = (
    "ped_waiting",
    "ped_crossing",
    "ped_mean_wait_s",
    "ped_crossed_n",
    "residual_n",
    "extension_s",
    "released_on_person",
)
"""Columns that only a world with pedestrians has."""


class SumoRlCsv:
    """Samples a running junction, or several in one network, every few seconds.

    Parameters
    ----------
    driver : the junction, or all of them.
    every_s : time between rows, > 0; sumo-rl takes one at each action (`delta_time`). [s]

    Attributes
    ----------
    rows : the samples so far, by column.

    Raises
    ------
    ValueError : no driver, or `every_s` not above 0.

    Notes
    -----
    Call `sample` as often as you like: it takes a row when one is due, the first at the first call. `step`
    is SUMO's time, the warm-up included. Pedestrians' columns are the truth, at the moment of the row but
    for the last four, which count since the beginning of the run: walkers who have left a crossing,
    residuals (still on it as a conflicting green started), seconds of extension, and extensions that ended
    at their maximum with a person still there.
    """

    def __init__(self, driver: JunctionDriver | Sequence[JunctionDriver], every_s: float = 5.0) -> None:
        self._drivers = tuple(driver) if isinstance(driver, Sequence) else (driver,)
        if not self._drivers:
            raise ValueError("a CSV needs at least one running junction")
        if not every_s > 0:
            raise ValueError(f"every_s = {every_s}: rows lie more than 0 s apart")
        self.rows: list[Row] = []
        first = self._drivers[0]
        self._connection = first.connection
        self._every_ds = round(every_s * 10)
        self._due_ds = first.now_ds
        waits: dict[str, dict[str, float]] = {}
        self._signals = tuple(
            SignalFigures(self._connection, each.plan.sumo.traffic_light, waits) for each in self._drivers
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns in their order: sumo-rl's, its later ones, ours."""
        agents = tuple(f"{signal.id}_{name}" for signal in self._signals for name in AGENT)
        return ("step", *SYSTEM, *agents, *AGENTS, *LATER, *PEDESTRIANS)

    def sample(self) -> bool:
        """Take a row if one is due; tell whether it was."""
        now_ds = self._drivers[0].now_ds
        if now_ds < self._due_ds:
            return False
        self._due_ds = now_ds + self._every_ds
        row: Row = {"step": now_ds / 10, **network_figures(self._connection)}
        stopped, waited = [], []
        for signal in self._signals:
            stopped.append(signal.stopped_n())
            waited.append(signal.accumulated_wait_s())
            values = (stopped[-1], waited[-1], signal.average_speed())
            row |= {f"{signal.id}_{name}": value for name, value in zip(AGENT, values, strict=True)}
        row |= zip(AGENTS, (sum(stopped), sum(waited)), strict=True)
        row |= self._counts()
        row |= self._pedestrians(now_ds)
        self.rows.append(row)
        return True

    def write(self, path: str | Path) -> Path:
        """Write all rows; the folder is made if it is missing.

        Returns
        -------
        The file written.

        Raises
        ------
        ScenarioError : it cannot be written.
        """
        target = Path(path)
        make_folder(target.parent)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(target, text.getvalue())
        return target

    def _counts(self) -> Row:
        """Return what SUMO has counted since the simulation began, the warm-up included."""
        simulation = self._connection.simulation
        running_n = self._connection.vehicle.getIDCount()
        departed_n = int(simulation.getParameter("", "stats.vehicles.inserted"))
        return {
            "system_total_running": running_n,
            "system_total_backlogged": len(simulation.getPendingVehicles()),
            "system_total_arrived": departed_n - running_n,
            "system_total_departed": departed_n,
            "system_total_teleported": int(simulation.getParameter("", "stats.teleports.total")),
        }

    def _pedestrians(self, now_ds: int) -> Row:
        waits_s = [
            max(now_ds - walker.waiting_since_ds, 0) / 10
            for driver in self._drivers
            for waiting in driver.walkers.waiting
            for walker in waiting.values()
        ]
        crossing = sum(len(each) for driver in self._drivers for each in driver.walkers.on_crossing)
        values = (
            len(waits_s),
            crossing,
            sum(waits_s) / len(waits_s) if waits_s else 0.0,
            sum(driver.measures.crossed_n for driver in self._drivers),
            sum(driver.measures.residual_n for driver in self._drivers),
            sum(driver.loop.audit.extension_ds for driver in self._drivers) / 10,
            sum(0 if each.guard is None else each.guard.released_on_person for each in self._drivers),
        )
        return dict(zip(PEDESTRIANS, values, strict=True))


def episode_file(out_csv_name: str | Path, episode: int, connection: int = 0) -> Path:
    """Return the name sumo-rl gives to an episode's file.

    Parameters
    ----------
    out_csv_name : as sumo-rl takes it: a path without `.csv`.
    episode : from 1.
    connection : number of the environment in its process, from 0.

    Examples
    --------
    >>> episode_file("results/mine", 3).name
    'mine_conn0_ep3.csv'
    """
    return Path(f"{out_csv_name}_conn{connection}_ep{episode}.csv")

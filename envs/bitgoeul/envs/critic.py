"""What only a critic sees: the truth about the junction, in a vector of one length for every site.

It helps a value function while it learns. It never reaches policy, guard or an exported file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.controller.observe import LIMIT, Feature

from .walkers import STANDING_MPS

if TYPE_CHECKING:
    from .world import JunctionDriver

_GROUPS: Final = (
    Feature("waiting", "persons waiting at a kerb", 10.0),
    Feature("longest_wait", "longest wait of a person at a kerb", 150.0, "s"),
    Feature("crossing", "persons on a crossing", 10.0),
    Feature("need", "longest time that somebody on a crossing needs at their own walking speed", 40.0, "s"),
    Feature("standing", "vehicles standing in an approach lane", 14.0),
    Feature("vehicles", "vehicles in an approach lane", 14.0),
)
"""Groups of values: each gives the least, the mean and the most over all kerbs, crossings or lanes."""

CRITIC: Final[tuple[Feature, ...]] = (
    *(
        Feature(f"{group.name}_{name}", f"{group.meaning}, {words}", group.scale, group.unit)
        for group in _GROUPS
        for name, words in (("least", "the least"), ("mean", "the mean"), ("most", "the most"))
    ),
    Feature("in_network", "vehicles in the network", 100.0),
    Feature("pending", "vehicles that cannot enter the network yet", 40.0),
)
"""The critic's values, clipped to 0-2 after scaling."""
N_CRITIC: Final = len(CRITIC)
"""Length of the critic's vector, whatever the site."""

_SCALE = np.array([feature.scale for feature in CRITIC], dtype=np.float32)


def critic_vector(driver: JunctionDriver) -> npt.NDArray[np.float32]:
    """Return the truth about a running junction, scaled and clipped to 0-2. `(N_CRITIC,)`"""
    connection = driver.connection
    lanes = [detector.sumo_id for detector in driver.plan.zone_detectors]
    standing = compiled(connection, "lane", "getLastStepHaltingNumber")
    present = compiled(connection, "lane", "getLastStepVehicleNumber")
    groups = (
        *_people(driver),
        [standing(lane) for lane in lanes],
        [present(lane) for lane in lanes],
    )
    values = [each for group in groups for each in _least_mean_most(group)]
    values += [connection.vehicle.getIDCount(), len(connection.simulation.getPendingVehicles())]
    scaled = np.array(values, dtype=np.float32) / _SCALE
    return np.asarray(np.clip(scaled, 0.0, LIMIT), dtype=np.float32)


def _people(driver: JunctionDriver) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return waiting and longest wait of each kerb, number on and longest need of each crossing."""
    walkers, now_ds = driver.walkers, driver.now_ds
    waiting_n: list[float] = []
    waited_s: list[float] = []
    for waiting in walkers.waiting:
        for kerb in ("A", "B"):
            here = [(now_ds - each.arrived_ds) / 10 for each in waiting.values() if each.kerb == kerb]
            waiting_n.append(len(here))
            waited_s.append(max(here, default=0.0))
    crossing_n = [float(len(here)) for here in walkers.on_crossing]
    need_s = [
        max(
            (m / max(walker.speed_mps, STANDING_MPS) for walker, m in walkers.remaining_m(index)), default=0.0
        )
        for index in range(len(walkers.on_crossing))
    ]
    return waiting_n, waited_s, crossing_n, need_s


def _least_mean_most(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the mean and the most; zeros where there is nothing."""
    if not values:
        return 0.0, 0.0, 0.0
    return min(values), sum(values) / len(values), max(values)

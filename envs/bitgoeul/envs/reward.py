"""The reward: person-seconds at the junction, by term, over a scale fixed by site and hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitgoeul.sim_scenarios.catalog import Site
from bitgoeul.sim_scenarios.simulation import STEP_S

if TYPE_CHECKING:
    from .world import JunctionDriver

SCALE_S = 600.0
"""The scale is the persons arriving in this many seconds: rewards then lie near -0.1 a second [A]. [s]"""


class PersonSeconds:
    """Adds up the time people spend at the junction.

    Parameters
    ----------
    driver : the running junction.
    site : its demand gives occupancy and scale.
    hour : demand period or hour.

    Notes
    -----
    Vehicles count with the mean occupancy of the demand's mix, from their scheduled departure (those that
    cannot enter yet included) until they leave the network; walkers from the kerb until they are across.
    """

    def __init__(self, driver: JunctionDriver, site: Site, hour: str) -> None:
        self._driver = driver
        self._in_network = driver.connection.vehicle.getIDCount
        self._pending = driver.connection.simulation.getPendingVehicles
        self._occupancy, persons_per_s = mean_occupancy(site), persons_per_second(site, hour)
        self._per_term_scale = STEP_S / (persons_per_s * SCALE_S)
        self.start()

    def start(self) -> None:
        """Begin a new interval."""
        self._vehicle_steps = self._walker_steps = 0

    def add(self) -> None:
        """Count everyone at the junction for one simulation step."""
        self._vehicle_steps += self._in_network() + len(self._pending())
        walkers = self._driver.walkers
        for waiting, crossing in zip(walkers.waiting, walkers.on_crossing, strict=True):
            self._walker_steps += len(waiting) + len(crossing)

    def result(self) -> tuple[float, dict[str, float]]:
        """Return the reward of the interval and its named terms; all <= 0."""
        terms = {
            "vehicles": -self._vehicle_steps * self._occupancy * self._per_term_scale,
            "walkers": -self._walker_steps * self._per_term_scale,
        }
        return sum(terms.values()), terms


def mean_occupancy(site: Site) -> float:
    """Return persons a vehicle, over the demand's vehicle mix."""
    return sum(kind.share * kind.persons for kind in site.demand.vehicle_types)


def persons_per_second(site: Site, hour: str) -> float:
    """Return persons arriving, walkers and people in vehicles. [1/s]"""
    if site.imported is not None:
        return site.imported.routes.persons_per_s
    demand, period = site.demand, site.demand.period(hour)
    vehicles_per_h = sum(
        approach.veh_per_h(turn) for approach in demand.approaches for turn in ("left", "through", "right")
    )
    walkers_per_h = sum(crossing.persons_per_h for crossing in demand.crossings)
    persons_per_h = vehicles_per_h * period.vehicle_factor * mean_occupancy(site)
    return (persons_per_h + walkers_per_h * period.walker_factor) / 3600

"""sumo-rl's four rewards as reward functions of our environments, for comparison and for migration.

They know vehicles only: a policy trained on one of them learns nothing about people on foot, whom the
guard protects all the same. The project's own reward is `reward.PersonSeconds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from .sumo_rl_figures import SignalFigures

if TYPE_CHECKING:
    from .world import JunctionDriver

WAIT_SCALE_S = 100.0
"""sumo-rl divides accumulated waiting times by this. [s]"""


class HasDriver(Protocol):
    """What these rewards need of an interval between two decisions."""

    @property
    def driver(self) -> JunctionDriver:
        """The running junction."""
        ...


class SumoRlReward(ABC):
    """A reward of sumo-rl; call it with the interval since the last decision.

    Attributes
    ----------
    name : sumo-rl's own, and of the only term.

    Notes
    -----
    One object serves one environment, episode after episode: it begins anew with each running junction.
    """

    name: str

    def __init__(self) -> None:
        self._driver: JunctionDriver | None = None
        self._figures: SignalFigures

    def __call__(self, interval: HasDriver) -> Mapping[str, float]:
        """Return the reward under its name."""
        if interval.driver is not self._driver:
            driver = self._driver = interval.driver
            self._figures = SignalFigures(driver.connection, driver.plan.sumo.traffic_light)
            self.begin()
        return {self.name: float(self.value(self._figures))}

    def begin(self) -> None:  # noqa: B027 - most remember nothing
        """Forget the last episode."""

    @abstractmethod
    def value(self, figures: SignalFigures) -> float:
        """Return the reward at the end of an interval."""


class DiffWaitingTime(SumoRlReward):
    """How much less is waited on the approach lanes than at the last decision, over 100 s."""

    name = "diff-waiting-time"

    def begin(self) -> None:
        """Forget the last episode."""
        self._last = 0.0

    def value(self, figures: SignalFigures) -> float:
        """Return the waiting time at the last call less that of now. [100 s]"""
        last, self._last = self._last, figures.accumulated_wait_s() / WAIT_SCALE_S
        return last - self._last


class Queue(SumoRlReward):
    """Minus the vehicles that stand on the approach lanes."""

    name = "queue"

    def value(self, figures: SignalFigures) -> float:
        """Return minus the standing vehicles."""
        return -figures.stopped_n()


class Pressure(SumoRlReward):
    """Vehicles on the lanes behind the junction less those on the lanes before it."""

    name = "pressure"

    def value(self, figures: SignalFigures) -> float:
        """Return the pressure, with sumo-rl's sign: more vehicles before the junction, less reward."""
        return figures.pressure()


class AverageSpeed(SumoRlReward):
    """Mean share of the allowed speed on the approach lanes; 1 without a vehicle."""

    name = "average-speed"

    def value(self, figures: SignalFigures) -> float:
        """Return the mean share, 0 to about 1."""
        return figures.average_speed()


REWARDS: dict[str, type[SumoRlReward]] = {
    each.name: each for each in (DiffWaitingTime, AverageSpeed, Queue, Pressure)
}
"""By sumo-rl's names."""


def sumo_rl_reward(name: str) -> SumoRlReward:
    """Return a reward by sumo-rl's name for it.

    Raises
    ------
    ValueError : sumo-rl knows none of this name.

    Examples
    --------
    >>> sumo_rl_reward("queue").name
    'queue'
    """
    if name not in REWARDS:
        raise ValueError(f"unknown reward {name!r}; sumo-rl has {', '.join(REWARDS)}")
    return REWARDS[name]()

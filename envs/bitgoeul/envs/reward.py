"""The reward: person-seconds at the junction, by term, over a scale fixed by site and hour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bitgoeul.controller.backends.sumo import compiled
from bitgoeul.sim_scenarios.catalog import Site
from bitgoeul.sim_scenarios.simulation import STEP_S

from .reward_terms import TERMS, TermCounters
from .tripinfo import OTHER_OCCUPANCY

if TYPE_CHECKING:
    from .world import JunctionDriver

__all__ = ["SCALE_S", "TERMS", "Interval", "PersonSeconds", "RewardFunction", "persons_per_second"]

SCALE_S = 600.0
"""The scale is the persons arriving in this many seconds: rewards then lie near -0.1 a second [A]. [s]"""
TELEPORT_PERSON_S: Final = 600.0
"""Charge for a vehicle that SUMO moved on: twice the 300 s it stood, as it would stand on [A]. [person-s]"""
JAMMED_PERSON_S: Final = 60.0
"""Charge for a walker who squeezed through others after 10 s in a jam [A]. [person-s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What happened between two decisions: what a reward function is given.

    Parameters
    ----------
    driver : the running junction, with the truth: `walkers`, `measures`, `detector`, `connection`, `loop`.
    elapsed_s : length of the interval. [s]
    tau_s : time constant of the discount inside it; None: none. [s]
    terms : the built-in terms with the optional ones asked for, all <= 0, over `scale_person_s`.
    person_s : person-seconds spent, neither discounted nor scaled, charges included. [person-s]
    scale_person_s : what terms are divided by. [person-s]
    teleports_n, jammed_n : vehicles that SUMO moved on, walkers who squeezed through, meanwhile.
    is_over : the episode has ended.
    """

    driver: JunctionDriver
    elapsed_s: float
    tau_s: float | None
    terms: Mapping[str, float]
    person_s: float
    scale_person_s: float
    teleports_n: int
    jammed_n: int
    is_over: bool


class RewardFunction(Protocol):
    """A reward of one's own."""

    def __call__(self, interval: Interval) -> Mapping[str, float]:
        """Return named terms; the reward is their sum."""
        ...


class PersonSeconds:
    """Adds up the time people spend at the junction.

    Parameters
    ----------
    driver : the running junction.
    site : its demand gives occupancy and scale.
    hour : demand period or hour.
    tau_s : time constant of the discount, from the start of each interval; None: no discount. [s]
    weights : optional terms by name, with what one unit costs. [person-s]

    Notes
    -----
    With n(t) persons at the junction a time t after the decision, an interval of T costs the integral
    over 0..T of n(t) exp(-t / tau) dt, exact for n constant within a simulation step, over a scale:
    `SCALE_S` times the persons that site and hour send per second.

    n counts the occupants of each vehicle by its type (`persons` of the demand file, 1.4 in a type that it
    does not have; one figure for all vehicles of an imported network) from its scheduled
    departure, those that cannot enter yet included, until it leaves the network; walkers from the kerb
    until they are across. Who never leaves is so charged for every second of the episode. The end of an
    episode adds nothing: it is a truncation, and the learner's bootstrap stands for what would follow.
    A method without a bootstrap asks for the optional term `unfinished` instead; never use both.

    A teleport costs `TELEPORT_PERSON_S` and a jammed walker `JAMMED_PERSON_S`, at the end of the interval.
    """

    def __init__(
        self,
        driver: JunctionDriver,
        site: Site,
        hour: str,
        *,
        tau_s: float | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        connection = driver.connection
        self._driver, self._tau_s = driver, tau_s
        self._departed = compiled(connection, "simulation", "getDepartedIDList")
        self._arrived = compiled(connection, "simulation", "getArrivedIDList")
        self._pending = compiled(connection, "simulation", "getPendingVehicles")
        self._statistic = connection.simulation.getParameter
        self._type_of, self._ids = connection.vehicle.getTypeID, connection.vehicle.getIDList
        self._persons_in = {kind.id: kind.persons for kind in site.demand.vehicle_types}
        self._others = OTHER_OCCUPANCY
        if site.imported is not None:
            self._persons_in, self._others = {}, site.imported.occupancy
        self._known: dict[str, float] = {}
        self._occupants, self._seen_ds = 0.0, -1
        self._outside: tuple[str, ...] = ()
        self._outside_n = 0.0
        self._counters = TermCounters(driver, weights or {})
        self.scale_person_s = persons_per_second(site, hour) * SCALE_S
        self._decay = 1.0 if tau_s is None else math.exp(-STEP_S / tau_s)
        self._first_weight = STEP_S if tau_s is None else tau_s * (1.0 - self._decay)
        self._teleports_n, self._jammed_n = self._incidents()
        self.start()

    def start(self) -> None:
        """Begin a new interval; the discount starts anew."""
        self._started_ds = self._driver.now_ds
        self._discount = 1.0
        self._vehicles = self._walkers = self._spent = 0.0
        self._counters.start()

    def add(self) -> None:
        """Count everyone at the junction for one simulation step."""
        occupants = self._count_occupants() + self._count_outside()
        people = self._driver.walkers
        walkers = sum(map(len, people.waiting)) + sum(map(len, people.on_crossing))
        discount = self._discount
        self._vehicles += occupants * discount
        self._walkers += walkers * discount
        self._spent += occupants + walkers
        self._counters.add(discount)
        self._discount = discount * self._decay

    def interval(self, *, is_over: bool = False) -> Interval:
        """Return what the interval cost."""
        teleports_n, jammed_n = self._incidents()
        new_teleports, new_jams = teleports_n - self._teleports_n, jammed_n - self._jammed_n
        self._teleports_n, self._jammed_n = teleports_n, jammed_n
        incidents = {"teleports": new_teleports * TELEPORT_PERSON_S, "jammed": new_jams * JAMMED_PERSON_S}
        costs = {
            "vehicles": self._vehicles * self._first_weight,
            "walkers": self._walkers * self._first_weight,
            **{name: cost * self._discount for name, cost in incidents.items()},
            **self._counters.costs(self._discount, self._present_n if is_over else None),
        }
        return Interval(
            driver=self._driver,
            elapsed_s=(self._driver.now_ds - self._started_ds) / 10,
            tau_s=self._tau_s,
            terms={name: -cost / self.scale_person_s for name, cost in costs.items()},
            person_s=self._spent * STEP_S + sum(incidents.values()),
            scale_person_s=self.scale_person_s,
            teleports_n=new_teleports,
            jammed_n=new_jams,
            is_over=is_over,
        )

    def result(self) -> tuple[float, dict[str, float]]:
        """Return the reward of the interval and its named terms; all <= 0."""
        terms = dict(self.interval().terms)
        return sum(terms.values()), terms

    def _present_n(self) -> float:
        """Return the persons at the junction now, those who could not enter included."""
        people = self._driver.walkers
        walkers = sum(map(len, people.waiting)) + sum(map(len, people.on_crossing))
        return self._occupants + self._count_outside() + walkers

    def _count_outside(self) -> float:
        """Return the persons in vehicles that cannot enter the network yet."""
        pending = self._pending()
        if pending != self._outside:
            self._outside = pending
            self._outside_n = sum([self._known.get(each) or self._look_up(each) for each in pending])
        return self._outside_n

    def _count_occupants(self) -> float:
        """Return the persons in vehicles in the network; counted anew after steps that were not added."""
        now_ds = self._driver.now_ds
        if now_ds - self._seen_ds != self._driver.step_ds:
            self._known.clear()
            self._occupants = sum(map(self._look_up, self._ids()))
        else:
            for vehicle in self._departed():
                self._occupants += self._known.get(vehicle) or self._look_up(vehicle)
            for vehicle in self._arrived():
                self._occupants -= self._known.pop(vehicle, 0.0)
        self._seen_ds = now_ds
        return self._occupants

    def _look_up(self, vehicle: str) -> float:
        """Return the persons in a vehicle, by its type."""
        kind = self._type_of(vehicle).partition("@")[0]
        persons = self._known[vehicle] = self._persons_in.get(kind, self._others)
        return persons

    def _incidents(self) -> tuple[int, int]:
        """Return teleports and jammed walkers since SUMO's start."""
        statistic = self._statistic
        return int(statistic("", "stats.teleports.total")), int(statistic("", "stats.persons.jammed"))


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

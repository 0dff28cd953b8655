"""How full a plan's fixed timing is: degree of saturation and KHCM delay, for reading, not for control."""

from __future__ import annotations

from dataclasses import dataclass

from .catalog import Site

SATURATION_FLOW_VEH_PER_H = 1900.0
"""Flow of one lane at continuous green. [veh/h] [A]; right turns held up by walkers have less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseLoad:
    """The load of one phase in a fixed pattern.

    Parameters
    ----------
    phase : phase number.
    name : its name in the plan.
    veh_per_h : flow of its movements. [veh/h]
    capacity_veh_per_h : lanes x saturation flow x green / cycle. [veh/h]
    walk_wait_s : mean wait of walkers at its crossings, (C - g)^2 / 2C; None without a crossing. [s]
    """

    phase: int
    name: str
    veh_per_h: float
    capacity_veh_per_h: float
    walk_wait_s: float | None

    @property
    def degree_of_saturation(self) -> float:
        """Flow over capacity; walkers in the way of right turns are not in it."""
        return self.veh_per_h / self.capacity_veh_per_h


def phase_loads(site: Site, hour: str) -> tuple[PhaseLoad, ...]:
    """Return the load of each phase of a site in one demand period, by phase number.

    Parameters
    ----------
    site : the site; the pattern is the one of the period's first hour.
    hour : demand period or hour of the day.

    Raises
    ------
    ScenarioError : unknown hour.

    References
    ----------
    Pedestrian delay: Korean Highway Capacity Manual 2013, eq. 14-5, with g the walk interval.
    """
    period = site.demand.period(hour)
    pattern = site.plan.pattern_at(period.hours[0])
    approaches = {approach.leg: approach for approach in site.demand.approaches}
    loads: list[PhaseLoad] = []
    for number in site.plan.phase_numbers:
        phase = site.plan.phase(number)
        movements = [site.plan.movement(each) for each in phase.movements]
        lanes = {(each.from_leg, lane) for each in movements for lane in each.lanes}
        flow = sum(approaches[each.from_leg].veh_per_h(each.turn) for each in movements)
        green_s = pattern.splits[str(number)] - phase.yellow_s - phase.red_clear_s
        cycle_s = pattern.cycle_s
        loads.append(
            PhaseLoad(
                phase=number,
                name=phase.name,
                veh_per_h=flow * period.vehicle_factor,
                capacity_veh_per_h=len(lanes) * SATURATION_FLOW_VEH_PER_H * green_s / cycle_s,
                walk_wait_s=(cycle_s - phase.walk_s) ** 2 / (2 * cycle_s) if phase.crossings else None,
            )
        )
    return tuple(loads)

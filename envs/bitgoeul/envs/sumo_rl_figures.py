"""The figures sumo-rl 1.4 takes of a traffic light and of the whole network, by its own definitions.

They stand here for comparison with results made with sumo-rl; our own measures are in `measures`. Each is
read from the running simulation and changes nothing in it.
"""

from __future__ import annotations

from typing import Any

HALTING_MPS = 0.1
"""A slower vehicle counts as stopped (SUMO's own threshold, and sumo-rl's). [m/s]"""


class SignalFigures:
    """What sumo-rl's `TrafficSignal` computes for one traffic light.

    Parameters
    ----------
    connection : `libsumo` or a `traci` connection.
    traffic_light : SUMO's id of the traffic light.
    waits : waiting time of each vehicle by lane, kept by all traffic lights of a network together. [s]

    Notes
    -----
    The lanes are those with a signal link, walking areas before crossings among them; no vehicle is ever
    on one, so they add nothing. A vehicle's accumulated waiting time covers as far back as SUMO's
    `waiting-time-memory` says: 1,000 s in sumo-rl and in our runs.
    """

    def __init__(
        self, connection: Any, traffic_light: str, waits: dict[str, dict[str, float]] | None = None
    ) -> None:
        self.id = traffic_light
        self._lane, self._vehicle = connection.lane, connection.vehicle
        self._waits: dict[str, dict[str, float]] = {} if waits is None else waits
        lights = connection.trafficlight
        self.lanes = tuple(dict.fromkeys(lights.getControlledLanes(traffic_light)))
        self.out_lanes = tuple(
            dict.fromkeys(links[0][1] for links in lights.getControlledLinks(traffic_light) if links)
        )

    def stopped_n(self) -> int:
        """Return the vehicles that stand on the approach lanes (`get_total_queued`)."""
        return sum(self._lane.getLastStepHaltingNumber(lane) for lane in self.lanes)

    def pressure(self) -> int:
        """Return the vehicles on the lanes behind less those on the lanes before (`get_pressure`)."""
        count = self._lane.getLastStepVehicleNumber
        return sum(count(lane) for lane in self.out_lanes) - sum(count(lane) for lane in self.lanes)

    def average_speed(self) -> float:
        """Return the mean share of the allowed speed on the approach lanes (`get_average_speed`).

        Returns
        -------
        0 for a standstill, 1 for free flow, 1 without a vehicle.
        """
        vehicles = [each for lane in self.lanes for each in self._lane.getLastStepVehicleIDs(lane)]
        if not vehicles:
            return 1.0
        shares = (self._vehicle.getSpeed(each) / self._vehicle.getAllowedSpeed(each) for each in vehicles)
        return float(sum(shares) / len(vehicles))

    def accumulated_wait_s(self) -> float:
        """Return the time waited on the approach lanes by those now on them, each on its present lane. [s]

        Notes
        -----
        `get_accumulated_waiting_time_per_lane`, summed: what a vehicle waited on earlier lanes is taken
        off, as far as it was seen there by an earlier call. So the figure depends on when it was asked for.
        """
        return sum(self._wait_on(lane) for lane in self.lanes)

    def _wait_on(self, lane: str) -> float:
        total_s = 0.0
        for each in self._lane.getLastStepVehicleIDs(lane):
            now_on, so_far_s = self._vehicle.getLaneID(each), self._vehicle.getAccumulatedWaitingTime(each)
            by_lane = self._waits.setdefault(each, {})
            elsewhere_s = sum(seconds for other, seconds in by_lane.items() if other != now_on)
            by_lane[now_on] = so_far_s - elsewhere_s
            total_s += by_lane[now_on]
        return total_s


def network_figures(connection: Any) -> dict[str, float]:
    """Return what sumo-rl's `_get_system_info` computes of all vehicles, by its names."""
    vehicle = connection.vehicle
    present = vehicle.getIDList()
    speeds = [vehicle.getSpeed(each) for each in present]
    waits = [vehicle.getWaitingTime(each) for each in present]
    return {
        "system_total_stopped": sum(speed < HALTING_MPS for speed in speeds),
        "system_total_waiting_time": sum(waits),
        "system_mean_waiting_time": sum(waits) / len(waits) if waits else 0.0,
        "system_mean_speed": sum(speeds) / len(speeds) if speeds else 0.0,
    }

"""A user's SUMO route file: who departs in it and how often, flows included, without running it."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from bitgoeul.controller.errors import ScenarioError

VEHICLES = ("vehicle", "trip")
PERSONS = ("person",)
FLOWS = {"flow": "vehicles", "personFlow": "persons"}
DAY_S = 86_400.0
"""End of a flow that states none (SUMO's default). [s]"""
RATES_PER_H = ("vehsPerHour", "perHour", "personsPerHour")
HOUR_S = 3600.0
UNITS_S = (1.0, 60.0, HOUR_S, DAY_S)
"""Seconds, minutes, hours, days: SUMO writes `d:h:m:s`. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDemand:
    """What a route file holds.

    Parameters
    ----------
    path : the file, used as it is.
    vehicles_n, persons_n : departures, flows included. [1]
    begin_s, end_s : first and last departure. [s]
    """

    path: Path
    vehicles_n: float
    persons_n: float
    begin_s: float
    end_s: float

    @property
    def persons_per_s(self) -> float:
        """Return persons departing a second, one in each vehicle. [1/s]"""
        return (self.vehicles_n + self.persons_n) / max(self.end_s - self.begin_s, 1.0)


def read_route_demand(path: Path) -> RouteDemand:
    """Count the departures of a route file.

    Parameters
    ----------
    path : vehicles, trips, persons and flows of either; may be compressed (`.gz`).

    Raises
    ------
    ScenarioError : no such file, no XML, nobody departs, or a time or rate that is no number.
    """
    counts = {"vehicles": 0.0, "persons": 0.0}
    times: list[float] = []
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for _, element in ET.iterparse(stream):  # noqa: S314 - the user's own file
                tag = element.tag
                if tag in VEHICLES or tag in PERSONS:
                    counts["persons" if tag in PERSONS else "vehicles"] += 1
                    times.append(seconds(element.get("depart", "0")))
                elif tag in FLOWS:
                    number, begin_s, end_s = _flow(element.attrib)
                    counts[FLOWS[tag]] += number
                    times += [begin_s, end_s]
                if tag not in ("stop", "param", "route", "walk", "personTrip", "ride"):
                    element.clear()
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such route file; give the path of a .rou.xml") from None
    except (ET.ParseError, OSError, ValueError) as fault:
        raise ScenarioError(f"{path}: cannot be read as a SUMO route file: {fault}") from None
    if not sum(counts.values()):
        raise ScenarioError(f"{path}: nobody departs; it needs vehicles, trips, persons or flows")
    return RouteDemand(
        path=path,
        vehicles_n=counts["vehicles"],
        persons_n=counts["persons"],
        begin_s=min(times),
        end_s=max(times),
    )


def _flow(flow: Mapping[str, str]) -> tuple[float, float, float]:
    """Return a flow's departures, and its begin and end. [1, s, s]"""
    begin_s, end_s = seconds(flow.get("begin", "0")), seconds(flow.get("end", str(DAY_S)))
    period = flow.get("period", "")
    per_h = next((float(flow[key]) for key in RATES_PER_H if key in flow), None)
    if per_h is not None:
        per_s = per_h / HOUR_S
    elif "probability" in flow:
        per_s = float(flow["probability"])
    elif period.startswith("exp("):
        per_s = float(period[4:].rstrip(")"))
    elif period:
        per_s = 1.0 / float(period)
    else:
        return float(flow.get("number", "0")), begin_s, end_s
    number = per_s * (end_s - begin_s)
    if "number" in flow and per_s > 0.0:
        number = min(number, float(flow["number"]))
        end_s = begin_s + number / per_s
    return number, begin_s, end_s


def seconds(text: str) -> float:
    """Return a SUMO time in seconds; 0 for one that a word gives, such as `triggered`.

    Raises
    ------
    ValueError : neither a number, nor `d:h:m:s`, nor a word SUMO knows.

    Examples
    --------
    >>> seconds("1:00:05"), seconds("12.5"), seconds("triggered")
    (3605.0, 12.5, 0.0)
    """
    if text in ("triggered", "containerTriggered", "begin", "split", "now"):
        return 0.0
    parts = [float(part) for part in text.split(":")]
    total_s = sum(part * unit_s for part, unit_s in zip(reversed(parts), UNITS_S, strict=False))
    if not math.isfinite(total_s):
        raise ValueError(f"time {text!r} is not finite")
    return total_s

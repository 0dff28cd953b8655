"""A user's SUMO route file: who departs in it and how often, flows included, without running it."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from bitgoeul.controller.errors import ScenarioError

from .files import write_text

VEHICLES = ("vehicle", "trip")
PERSONS = ("person",)
TIMES = {
    **dict.fromkeys(("vehicle", "trip", "person"), ("depart",)),
    **dict.fromkeys(("flow", "personFlow"), ("begin", "end")),
    "stop": ("until", "arrival", "started", "ended"),
}
"""Attributes that are points in time, by element."""
FLOWS = {"flow": "vehicles", "personFlow": "persons"}
DAY_S = 86_400.0
"""End of a flow that states none (SUMO's default). [s]"""
RATES_PER_H = ("vehsPerHour", "perHour", "personsPerHour")
HOUR_S = 3600.0
FROM_S = 60.0
"""A file that begins late is moved back by whole minutes. [s]"""
WORDS = ("triggered", "containerTriggered", "begin", "split", "now")
"""Departures that SUMO gives by a word."""
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
    moved_s : by how much the file's times were moved back (`moved_to_begin`). [s]
    """

    path: Path
    vehicles_n: float
    persons_n: float
    begin_s: float
    end_s: float
    moved_s: float = 0.0

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
        with _opened(path) as stream:
            for _, element in ET.iterparse(stream):  # noqa: S314 - the user's own file
                tag = element.tag
                if tag in VEHICLES or tag in PERSONS:
                    counts["persons" if tag in PERSONS else "vehicles"] += 1
                    depart = element.get("depart", "0")
                    times += [] if depart in WORDS else [seconds(depart)]
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
        begin_s=min(times, default=0.0),
        end_s=max(times, default=0.0),
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
    number = per_s * max(end_s - begin_s, 0.0)
    if "number" in flow and per_s > 0.0:
        number = min(number, float(flow["number"]))
        end_s = begin_s + number / per_s
    return number, begin_s, end_s


def moved_to_begin(demand: RouteDemand, folder: Path) -> RouteDemand:
    """Return a demand whose first departure lies within the first minute, on a copy of its file.

    Parameters
    ----------
    demand : of a file that begins late.
    folder : where the copy goes, named by its content.

    Raises
    ------
    ScenarioError : the file cannot be read any more, or the copy not be written.
    """
    moved_s = math.floor(demand.begin_s / FROM_S) * FROM_S
    try:
        with _opened(demand.path) as stream:
            root = ET.parse(stream).getroot()  # noqa: S314 - the user's own file
    except (ET.ParseError, OSError) as fault:
        raise ScenarioError(f"{demand.path}: cannot be read as a SUMO route file: {fault}") from None
    for element in root.iter():
        if element.tag in FLOWS and "end" not in element.attrib and "number" not in element.attrib:
            element.set("end", str(DAY_S))
        for name in TIMES.get(element.tag, ()):
            text = element.get(name)
            if text is not None and text not in WORDS:
                element.set(name, f"{seconds(text) - moved_s:.2f}")
    text = ET.tostring(root, encoding="unicode")
    name = demand.path.name.removesuffix(".gz").removesuffix(".xml").removesuffix(".rou")
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.rou.xml"
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise ScenarioError(f"{folder}: cannot be written: {fault.strerror or fault}") from None
        write_text(path, text)
    return replace(
        demand, path=path, begin_s=demand.begin_s - moved_s, end_s=demand.end_s - moved_s, moved_s=moved_s
    )


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def seconds(text: str) -> float:
    """Return a SUMO time in seconds.

    Raises
    ------
    ValueError : neither a number nor `d:h:m:s`.

    Examples
    --------
    >>> seconds("1:00:05"), seconds("12.5")
    (3605.0, 12.5)
    """
    parts = [float(part) for part in text.split(":")]
    total_s = sum(part * unit_s for part, unit_s in zip(reversed(parts), UNITS_S, strict=False))
    if not math.isfinite(total_s):
        raise ValueError(f"time {text!r} is not finite")
    return total_s

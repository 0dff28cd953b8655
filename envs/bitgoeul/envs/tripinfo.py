"""Vehicle delay and the health of a run, from what SUMO writes at its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from xml.parsers import expat

from bitgoeul.controller.errors import ScenarioError

OCCUPANCY: dict[str, float] = {"car": 1.4, "bus": 25.0, "truck": 1.4}
"""Persons a vehicle by SUMO type. [A] FACTS, walkers: 1.4 a car, 25 a bus; a truck as a car."""
OTHER_OCCUPANCY = 1.4
"""Persons in a vehicle of any other type. [A] as a car."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleMeasures:
    """Delay of the vehicles scheduled in a window, with those who could not enter or leave.

    Parameters
    ----------
    vehicles_n : vehicles scheduled in the window.
    unserved_n : those of them who never entered the network.
    unfinished_n : those who entered and had not left at the end.
    delay_s : mean of time loss and departure delay; NaN without vehicles. [s]
    stops_per_vehicle : mean number of stops of those who entered; NaN without any.
    occupants_n : persons in the vehicles, by occupancy.
    person_delay_s : sum of the occupants' delays. [s]
    """

    vehicles_n: int
    unserved_n: int
    unfinished_n: int
    delay_s: float
    stops_per_vehicle: float
    occupants_n: float
    person_delay_s: float


WARNINGS: dict[str, str] = {
    "jam": " is jammed on edge ",
    "teleport": "eleporting",
    "collision": "collision",
    "braking": "emergency",
}
"""Kinds of SUMO's warnings, by a piece of their text; the first that fits. Others are `other`."""
_JAM = re.compile(r"Person '(?P<person>.*)' is jammed on edge '(?P<edge>[^']*)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHealth:
    """What SUMO says of a run's own troubles.

    Parameters
    ----------
    jammed_n : walkers who squeezed through others after SUMO's jam time.
    teleports_n : vehicles SUMO moved on because they stood too long.
    warnings_n : lines of the warnings file that start with `Warning`.
    warnings_of : the same by kind: each of `WARNINGS`, and `other`.
    jams : (person, edge) of each walker who squeezed through, as the warnings file names them.
    """

    jammed_n: int
    teleports_n: int
    warnings_n: int
    warnings_of: Mapping[str, int] = field(default_factory=dict)
    jams: frozenset[tuple[str, str]] = frozenset()


def vehicle_measures(
    tripinfo_path: Path,
    begin_s: float,
    end_s: float,
    occupancy: Mapping[str, float] = OCCUPANCY,
) -> VehicleMeasures:
    """Return the vehicles' measures from SUMO's trip output.

    Parameters
    ----------
    tripinfo_path : written with `write-unfinished` and `write-undeparted`, else a jam looks like a gain.
    begin_s : a vehicle counts if it was scheduled at or after this. [s]
    end_s : and before this, which must be the end of the simulation: SUMO states how long someone who
        never entered has waited by then, not since when. [s]
    occupancy : persons a vehicle by type; other types count as `OTHER_OCCUPANCY`.

    Raises
    ------
    ScenarioError : the file is missing, cut off or no trip output.
    """
    tally = _Tally(begin_s, end_s, occupancy)
    _read_elements(tripinfo_path, tally.element)
    entered_n = tally.vehicles_n - tally.unserved_n
    return VehicleMeasures(
        vehicles_n=tally.vehicles_n,
        unserved_n=tally.unserved_n,
        unfinished_n=tally.unfinished_n,
        delay_s=tally.delay_s / tally.vehicles_n if tally.vehicles_n else nan,
        stops_per_vehicle=tally.stops_n / entered_n if entered_n else nan,
        occupants_n=tally.occupants_n,
        person_delay_s=tally.person_delay_s,
    )


def run_health(statistic_path: Path, warnings_path: Path | None = None) -> RunHealth:
    """Return the troubles of a run from SUMO's statistics and its warnings file.

    Parameters
    ----------
    statistic_path : written with `statistic-output`.
    warnings_path : written with `error-log` or `log`; None counts no warnings. It may be missing, as
        SUMO writes none when there is nothing to say.

    Raises
    ------
    ScenarioError : the statistics are missing or cut off.
    """
    counts = {"persons": 0, "teleports": 0}

    def element(name: str, attributes: dict[str, str]) -> None:
        if name == "persons":
            counts[name] = int(attributes["jammed"])
        elif name == "teleports":
            counts[name] = int(attributes["total"])

    _read_elements(statistic_path, element)
    lines: list[str] = []
    if warnings_path is not None and warnings_path.exists():
        text = warnings_path.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.startswith("Warning")]
    kinds = Counter(map(_kind, lines))
    found = (_JAM.search(line) for line in lines)
    return RunHealth(
        jammed_n=counts["persons"],
        teleports_n=counts["teleports"],
        warnings_n=len(lines),
        warnings_of={kind: kinds[kind] for kind in (*WARNINGS, "other")},
        jams=frozenset((jam["person"], jam["edge"]) for jam in found if jam),
    )


def _kind(line: str) -> str:
    return next((kind for kind, text in WARNINGS.items() if text in line), "other")


class _Tally:
    """Sums over the vehicles of one file."""

    def __init__(self, begin_s: float, end_s: float, occupancy: Mapping[str, float]) -> None:
        self.begin_s, self.end_s, self.occupancy = begin_s, end_s, occupancy
        self.vehicles_n = self.unserved_n = self.unfinished_n = self.stops_n = 0
        self.delay_s = self.occupants_n = self.person_delay_s = 0.0

    def element(self, name: str, trip: dict[str, str]) -> None:
        """Add one vehicle if it was scheduled in the window."""
        if name != "tripinfo":
            return
        waited_s, departed_s = float(trip["departDelay"]), float(trip["depart"])
        has_entered = departed_s >= 0
        scheduled_s = (departed_s if has_entered else self.end_s) - waited_s
        if not self.begin_s <= scheduled_s < self.end_s:
            return
        delay_s = waited_s
        self.vehicles_n += 1
        if has_entered:
            delay_s += float(trip["timeLoss"])
            self.stops_n += int(trip["waitingCount"])
            self.unfinished_n += float(trip["arrival"]) < 0
        else:
            self.unserved_n += 1
        self.delay_s += delay_s
        persons = self.occupancy.get(trip["vType"].partition("@")[0], OTHER_OCCUPANCY)
        self.occupants_n += persons
        self.person_delay_s += persons * delay_s


def _read_elements(path: Path, element: object) -> None:
    parser = expat.ParserCreate()
    parser.StartElementHandler = element  # type: ignore[assignment]
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as fault:
        raise ScenarioError(
            f"{path}: cannot be read ({fault.strerror}); SUMO writes it when it ends"
        ) from fault
    except (expat.ExpatError, KeyError, ValueError) as fault:
        raise ScenarioError(f"{path}: is cut off or no output of SUMO ({fault}); run it again") from fault

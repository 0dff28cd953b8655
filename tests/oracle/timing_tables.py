"""Dual-ring timings, each written once and given to both: a site plan for us, a `tlLogic` for SUMO."""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from bitgoeul.controller.plan import checked_plan
from bitgoeul.controller.signals import PATTERN_FREE, phase_mask

STEP_S = 1
"""Simulation step; every time in the tables is a multiple of it. [s]"""
STEP_DS = 10 * STEP_S
LINKS = 8
_LEGS = {"W": 270.0, "N": 0.0, "E": 90.0, "S": 180.0}
_MOVEMENTS = {1: "WBL", 2: "EBT", 3: "NBL", 4: "SBT", 5: "EBL", 6: "WBT", 7: "SBL", 8: "NBT"}
_ENDS = {
    "WBL": "ES",
    "EBT": "WE",
    "NBL": "SW",
    "SBT": "NS",
    "EBL": "WN",
    "WBT": "EW",
    "SBL": "NE",
    "NBT": "SN",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """One phase's times, whole seconds; `split` is 0 in free operation. [s]"""

    minimum: int = 5
    maximum: int = 25
    passage: int = 3
    yellow: int = 3
    red: int = 2
    split: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A dual-ring configuration.

    Parameters
    ----------
    rings : phases as in a plan: `rings[ring][barrier]`, at most two to a barrier.
    defaults : per barrier, the phases that enter uncalled beside the other ring (dual entry).
    timings : per phase where it differs from `usual`.
    min_recall, max_recall : phases with a standing call.
    cycle, offset : 0 in free operation; `offset` is SUMO's. [s]
    is_fixed : fixed force-offs, else floating.
    ends_alone : our phases gap out whatever the other ring does, as SUMO's do (no simultaneous gap-out).
    """

    name: str
    rings: tuple
    defaults: tuple
    usual: Timing = field(default_factory=Timing)
    timings: dict = field(default_factory=dict)
    min_recall: tuple = ()
    max_recall: tuple = ()
    coordinated: tuple = ()
    cycle: int = 0
    offset: int = 0
    is_fixed: bool = True
    ends_alone: bool = True

    @property
    def phases(self):
        return tuple(sorted(n for ring in self.rings for group in ring for n in group))

    @property
    def recalls(self):
        return phase_mask((*self.min_recall, *self.max_recall))

    @property
    def pattern(self):
        return 1 if self.cycle else PATTERN_FREE

    def timing(self, number):
        return self.timings.get(number, self.usual)

    def barrier_of(self, number):
        return next(b for ring in self.rings for b, group in enumerate(ring) if number in group)

    def plan(self):
        """Return the table as a checked site plan."""
        return checked_plan(_plan_document(self), f"{self.name}.toml")

    def program(self):
        """Return the table as a SUMO `tlLogic`."""
        return _program(self)


def _plan_document(table):
    placed = {name: _ENDS[name] for number, name in _MOVEMENTS.items() if number in table.phases}
    return {
        "schema_version": 1,
        "rings": table.rings,
        "yields": [],
        "crossings": [],
        "detectors": [],
        "site": {"id": "oracle", "name": table.name, "name_ko": table.name, "lat": 35.0, "lon": 127.0},
        "limits": {"manual": "none", "min_yellow_s": 3.0},
        "sumo": {"junction": "J", "traffic_light": "J"},
        "legs": [_leg(name, bearing) for name, bearing in _LEGS.items()],
        "movements": [
            {
                "id": name,
                "from_leg": start,
                "to_leg": end,
                "turn": "left" if name.endswith("L") else "through",
                "lanes": [2 if name.endswith("L") else 1],
                "sumo_links": [index],
            }
            for index, (name, (start, end)) in enumerate(placed.items())
        ],
        "phases": [_phase(table, number) for number in table.phases],
        "patterns": [_pattern(table) if table.cycle else _unused_pattern(table)],
    }


def _leg(name, bearing):
    return {
        "id": name,
        "name": name,
        "bearing_deg": bearing,
        "lanes_in": 2,
        "lanes_out": 2,
        "speed_limit_mps": 13.9,
    }


def _phase(table, number):
    timing = table.timing(number)
    recall = "max" if number in table.max_recall else "min" if number in table.min_recall else "none"
    return {
        "number": number,
        "name": _MOVEMENTS[number],
        "movements": [_MOVEMENTS[number]],
        "min_green_s": timing.minimum,
        "max_green_s": timing.maximum,
        "passage_s": timing.passage,
        "yellow_s": timing.yellow,
        "red_clear_s": timing.red,
        "vehicle_recall": recall,
        "dual_entry": any(number in group for group in table.defaults),
        "simultaneous_gap": not table.ends_alone,
    }


def _pattern(table):
    """Return the pattern; SUMO's cycle starts with the first coordinated green, ours with ring order."""
    starts = {}
    for ring in table.rings:
        at = 0
        for number in (n for group in ring for n in group):
            starts[number] = at
            at += table.timing(number).split
    zero = min(starts[number] for number in table.coordinated)
    return {
        "number": 1,
        "name": "all day",
        "hours": [[0, 24]],
        "cycle_s": table.cycle,
        "offset_s": (table.offset - zero) % table.cycle,
        "splits": {str(number): table.timing(number).split for number in table.phases},
        "mode": "coordinated",
        "coordinated": table.coordinated,
        "force_off": "fixed" if table.is_fixed else "floating",
    }


def _unused_pattern(table):
    """Return a pattern that passes the checks; free operation does not look at it."""
    splits, cycle = {}, 0
    for barrier in range(len(table.rings[0])):
        groups = [ring[barrier] for ring in table.rings]
        for group in groups:
            splits |= {str(number): _longest(table.timing(number)) for number in group}
        sums = [sum(splits[str(number)] for number in group) for group in groups]
        for group, total in zip(groups, sums, strict=True):
            splits[str(group[-1])] += max(sums) - total
        cycle += max(sums)
    return {"number": 1, "name": "unused", "hours": [[0, 24]], "cycle_s": cycle, "splits": splits}


def _longest(timing):
    return timing.maximum + timing.yellow + timing.red


def _program(table):
    phases = "".join(_program_phase(table, number) for number in table.phases)
    params = {
        "barrier2Phases": table.defaults[0],
        "barrierPhases": table.defaults[1],
        "minRecall": table.min_recall,
        "maxRecall": table.max_recall,
        "ring1": _padded(table.rings[0]),
        "ring2": _padded(table.rings[1]),
        "fixForceOff": str(table.is_fixed).lower(),
        "total-cycle-length": table.cycle or 60,
        "coordinate-mode": str(bool(table.cycle)).lower(),
    }
    lines = "".join(
        f"<param key={quoteattr(key)} value={quoteattr(_text(value))}/>" for key, value in params.items()
    )
    return f'<tlLogic id="J" type="NEMA" programID="oracle" offset="{table.offset}">{phases}{lines}</tlLogic>'


def _text(value):
    return ",".join(str(each) for each in value) if isinstance(value, tuple) else str(value)


def _padded(ring):
    """Return a ring as SUMO reads it: two places to a barrier, 0 where there is no phase."""
    return tuple(number for group in ring for number in (*group, 0)[:2])


def _program_phase(table, number):
    timing = table.timing(number)
    longest = timing.split - timing.yellow - timing.red if table.cycle else timing.maximum
    state = "".join("G" if link == number - 1 else "r" for link in range(LINKS))
    return (
        f'<phase duration="90" state="{state}" minDur="{timing.minimum}" maxDur="{longest}" '
        f'vehext="{timing.passage + STEP_S}" yellow="{timing.yellow}" red="{timing.red}" name="{number}"/>'
    )


LEAD = (((1, 2), (3, 4)), ((5, 6), (7, 8)))
MIXED = (((2, 1), (3, 4)), ((5, 6), (8, 7)))
VARIED = {
    1: Timing(minimum=5, maximum=14, passage=2, yellow=3, red=1),
    2: Timing(minimum=10, maximum=30, passage=3, yellow=4, red=2),
    3: Timing(minimum=5, maximum=12, passage=2, yellow=3, red=1),
    4: Timing(minimum=6, maximum=20, passage=3, yellow=3, red=2),
    5: Timing(minimum=5, maximum=16, passage=2, yellow=3, red=1),
    6: Timing(minimum=10, maximum=30, passage=3, yellow=4, red=2),
    7: Timing(minimum=5, maximum=12, passage=3, yellow=3, red=1),
    8: Timing(minimum=7, maximum=24, passage=3, yellow=4, red=2),
}
FREE = (
    Table(name="free lead", rings=LEAD, defaults=((2, 6), (4, 8)), min_recall=(2, 6)),
    Table(
        name="free lead, simultaneous gap",
        rings=LEAD,
        defaults=((2, 6), (4, 8)),
        min_recall=(2, 6),
        timings=VARIED,
        ends_alone=False,
    ),
    Table(name="free lead varied", rings=LEAD, defaults=((2, 6), (4, 8)), min_recall=(2, 6), timings=VARIED),
    Table(name="free lag and lead", rings=MIXED, defaults=((1, 6), (4, 7)), min_recall=(2, 6)),
    Table(
        name="free all on min recall", rings=LEAD, defaults=((2, 6), (4, 8)), min_recall=tuple(range(1, 9))
    ),
    Table(name="free max recall", rings=LEAD, defaults=((2, 6), (4, 8)), min_recall=(2,), max_recall=(6, 8)),
    Table(name="free no recall", rings=LEAD, defaults=((2, 6), (4, 8))),
    Table(
        name="free two phases",
        rings=(((2,), (4,)), ((6,), (8,))),
        defaults=((2, 6), (4, 8)),
        min_recall=(2, 6),
    ),
)
SPLITS = {
    number: Timing(split=split)
    for number, split in zip(range(1, 9), (16, 30, 16, 28, 18, 28, 20, 24), strict=True)
}
COORDINATED = (
    Table(
        name="coordinated lead",
        rings=LEAD,
        defaults=((2, 6), (4, 8)),
        min_recall=(2, 6),
        timings=SPLITS,
        coordinated=(2, 6),
        cycle=90,
    ),
    Table(
        name="coordinated lead floating",
        rings=LEAD,
        defaults=((2, 6), (4, 8)),
        min_recall=(2, 6),
        timings=SPLITS,
        coordinated=(2, 6),
        cycle=90,
        offset=17,
        is_fixed=False,
    ),
    Table(
        name="coordinated two phases",
        rings=(((2,), (4,)), ((6,), (8,))),
        defaults=((2, 6), (4, 8)),
        min_recall=(2, 6),
        timings={2: Timing(split=40), 4: Timing(split=30), 6: Timing(split=40), 8: Timing(split=30)},
        coordinated=(2, 6),
        cycle=70,
        offset=5,
    ),
)

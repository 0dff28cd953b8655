"""The parts of a site plan, as `plan.toml` writes them; `plan.SitePlan` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
"""A time in seconds with at most one decimal (checked at load)."""
PhaseNumber = Annotated[int, Field(ge=1, le=16)]

EXTENSION_SLOW_MPS = 0.5
"""Slowest walker for whom the default maximum of an extension suffices (DESIGN, extension). [m/s] [A]"""
EXTENSION_CLEARANCE_MPS = 1.3
"""Walking speed of the clearance that the extension follows (FACTS, flashing green). [m/s] [M]"""
EXTENSION_MAX_RANGE_S = (8.0, 45.0)
"""Shortest and longest maximum of an extension (DESIGN, extension). [s] [A]"""
OFFSET_CORRECTION_SHARE = 0.17
"""Offset correction changes a cycle by no more than this share of it. [-] [S]"""
PREEMPT_WALKER_MAX_S = 10.0
"""Longest time after clearance for which a preemption waits for a walker. [s] [A]"""
DESIGN_SPEED_RANGE_MPS = (0.3, 1.5)
"""Slowest and fastest design speed of a crossing that a plan may state. [m/s] [A]"""


class PlanPart(BaseModel):
    """A table of the plan: no unknown fields, no infinities, never changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class SiteInfo(PlanPart):
    """Who and where the junction is."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    name_ko: str
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    note: str = ""


class Limits(PlanPart):
    """The manual's rules this plan must keep; a missing value is the Korean default (FACTS)."""

    manual: str
    design_speed_mps: float = Field(1.0, ge=DESIGN_SPEED_RANGE_MPS[0], le=DESIGN_SPEED_RANGE_MPS[1])
    clearance_speed_mps: float = Field(1.3, ge=0.5, le=1.5)
    entry_time_s: Seconds = 7.0
    min_walk_s: Seconds = 4.0
    min_walk_wide_s: Seconds = 7.0  # three or more lanes crossed
    min_yellow_s: Seconds = 3.0
    service_bound_s: Seconds = 300.0
    blind_speed_mps: float = Field(0.7, ge=0.3, le=1.5)
    unconfirmed_max_s: Seconds = 10.0


class Leg(PlanPart):
    """One arm of the junction; bearing is the compass direction from the centre outwards, in degrees."""

    id: str
    name: str
    bearing_deg: float = Field(ge=0, lt=360)
    lanes_in: int = Field(ge=0, le=8)
    lanes_out: int = Field(ge=0, le=8)
    speed_limit_mps: float = Field(gt=0, le=40)


class Movement(PlanPart):
    """A stream of vehicles from one leg to another. `lanes` count from the kerb, 1 = nearest."""

    id: str
    from_leg: str
    to_leg: str
    turn: Literal["left", "through", "right", "u_turn"]
    lanes: tuple[int, ...]
    right_turn_on_red: bool = False
    sumo_links: tuple[int, ...]


class Crossing(PlanPart):
    """A marked crossing over one leg; `kerbs` names its ends A and B by the neighbouring legs."""

    id: str
    leg: str
    length_m: float = Field(gt=0, le=80)
    width_m: float = Field(gt=0, le=30)
    lanes: int = Field(ge=1, le=16)
    kerbs: tuple[str, str]
    acoustic: bool = False
    extension_form: Literal["P", "R"] = "P"
    extension_max_s: Seconds | None = None  # None: L/0.5 - L/1.3 - (yellow + red), within 8-45
    display: Literal["dark", "flash"] = "dark"
    sumo_edge: str
    sumo_link: int


class Phase(PlanPart):
    """A numbered right-of-way for a set of movements and crossings, with its timings."""

    number: PhaseNumber
    name: str
    movements: tuple[str, ...]
    crossings: tuple[str, ...] = ()
    min_green_s: Seconds
    max_green_s: Seconds
    passage_s: Seconds
    yellow_s: Seconds
    red_clear_s: Seconds
    walk_s: Seconds = 0.0
    ped_clear_s: Seconds = 0.0
    vehicle_recall: Literal["none", "min", "max", "soft"] = "none"
    ped_recall: bool = False
    dual_entry: bool = False
    max_green_2_s: Seconds | None = None  # max 2; None: the same as max_green_s (max 1)
    dynamic_max_s: Seconds | None = None  # limit of the running max; None: no dynamic max
    dynamic_step_s: Seconds = 0.0  # added after two max-outs in a row, taken off after two gap-outs
    simultaneous_gap: bool = True  # at a barrier, gapped out only together with the other ring
    conditional_service: bool = False  # served again before the barrier while the other ring goes on
    rest_in_walk: bool = False  # walk stays while nobody waits for a conflicting phase
    walk_delay_s: Seconds = 0.0  # delayed walk: green first, walk so much later
    leading_walk_s: Seconds = 0.0  # leading walk (LPI): walk first, green so much later
    red_revert_s: Seconds = 2.0  # least red before the same phase is green again


class Overlap(PlanPart):
    """A vehicle overlap: green with any of its phases, and on from one of them to the next.

    A crossing needs none: named by several phases, it walks in each (pedestrian overlap).
    """

    id: str
    phases: tuple[PhaseNumber, ...]
    movements: tuple[str, ...]


class Preempt(PlanPart):
    """A preemption: named phases reached safely and held, then a named exit."""

    number: int = Field(ge=1, le=8)
    name: str
    phases: tuple[PhaseNumber, ...]
    exit_phases: tuple[PhaseNumber, ...]
    delay_s: Seconds = 0.0
    min_dwell_s: Seconds = 0.0
    walker_max_s: float = Field(10.0, ge=0, le=PREEMPT_WALKER_MAX_S)  # holds kept so long after clearance


class Unit(PlanPart):
    """What concerns the whole cabinet: start-up, automatic flash, backup."""

    startup_flash_s: Seconds = 0.0
    startup_red_s: Seconds = 0.0
    main_phases: tuple[PhaseNumber, ...] = ()  # flash is entered in their red, left into their green
    backup_s: Seconds = 0.0  # without orders for so long the cabinet runs its own plan; 0: not watched


class Pattern(PlanPart):
    """Cycle, offset and splits for the hours it runs (`[from, to)` in hours of the day)."""

    number: int = Field(ge=1, le=253)
    name: str
    hours: tuple[tuple[int, int], ...]
    cycle_s: Seconds
    offset_s: Seconds = 0.0
    splits: dict[str, Seconds]  # phase number as text -> seconds incl. yellow and red clearance
    mode: Literal["pretimed", "coordinated"] = "pretimed"  # coordinated: other phases need a call
    coordinated: tuple[PhaseNumber, ...] = ()  # phases that rest in green until their yield point
    force_off: Literal["fixed", "floating"] = "fixed"
    permissive_s: Seconds | None = None  # how long after the yield point; None: while each still fits
    offset_correction: Literal["shortway", "dwell"] = "shortway"


class Detector(PlanPart):
    """A vehicle detector: `zone` counts those waiting, `passage` those going by."""

    id: str
    kind: Literal["zone", "passage"]
    leg: str
    lane: int = Field(ge=1)
    phases: tuple[PhaseNumber, ...]
    distance_m: float = Field(ge=0)  # stop line to the detector's near edge
    length_m: float = Field(ge=0)
    sumo_id: str  # lane of a zone, induction loop of a passage detector


class PermittedYield(PlanPart):
    """A turn that may run across a walk and must yield to it."""

    movement: str
    crossing: str


class SumoMapping(PlanPart):
    """Where the plan's signal lives in a SUMO network."""

    junction: str
    traffic_light: str
    program: str = "plan"

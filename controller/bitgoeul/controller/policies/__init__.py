"""The policies by name. Adding one is one file and one line in `POLICIES`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..guard import Guard
from ..plan import SitePlan
from .base import Policy
from .choosing import ChoicePolicy
from .occupancy import CHUNGJU, GWANGJU5, PUFFIN, OccupancyExtension, OccupancyRule
from .plain import Actuated, Fixed
from .scorers import MAX_PRESSURE_WEIGHTS, LinearChooser, OnnxChooser

SHIPPED_POLICY = "learned.onnx"
LONGEST_EXTENSION_S = 120
"""Longest extension maximum a controller may be given. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """What every policy may be made with.

    Parameters
    ----------
    form : "P", "R", or None for the plan's own form per crossing.
    extension_max_s : replaces the plan's maxima; None keeps them. [s]
    policy_file : ONNX file of `learned`; None is the shipped one.
    """

    form: str | None = None
    extension_max_s: float | None = None
    policy_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no policy can be made with.

        Raises
        ------
        ValueError : an unknown form, or a maximum that is not 0 to 120 s.
        """
        if self.form not in (None, "P", "R"):
            raise ValueError(f"form = {self.form!r}: allowed are P and R")
        if self.extension_max_s is not None and not 0 <= self.extension_max_s <= LONGEST_EXTENSION_S:
            raise ValueError(
                f"extension maximum = {self.extension_max_s}: allowed are 0 to {LONGEST_EXTENSION_S} s"
            )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: how a policy is made, and what it is."""

    make: Callable[[SitePlan, PolicyOptions], Policy]
    summary: str


def _occupancy(rule: OccupancyRule) -> Callable[[SitePlan, PolicyOptions], Policy]:
    return lambda plan, options: OccupancyExtension(
        plan, rule, form=options.form or "P", extension_max_s=options.extension_max_s
    )


def _max_pressure(plan: SitePlan, _options: PolicyOptions) -> Policy:
    return ChoicePolicy("max_pressure", plan, LinearChooser(MAX_PRESSURE_WEIGHTS))


def _learned(plan: SitePlan, options: PolicyOptions) -> Policy:
    path = options.policy_file or Path(str(files(__package__) / SHIPPED_POLICY))
    return ChoicePolicy("learned", plan, OnnxChooser(path))


POLICIES: dict[str, Entry] = {
    "fixed": Entry(lambda _plan, _options: Fixed(), "the plan's pattern; fixed:0.8 retimes it"),
    "gwangju5": Entry(_occupancy(GWANGJU5), "fixed, +5 s once while the crossing is occupied"),
    "chungju": Entry(_occupancy(CHUNGJU), "fixed, +10 s once while the crossing is occupied"),
    "puffin": Entry(_occupancy(PUFFIN), "fixed, extended while occupied, to the maximum"),
    "eta": Entry(lambda _plan, _options: Fixed(), "fixed with the guard (same as fixed+guard)"),
    "actuated": Entry(lambda _plan, _options: Actuated(), "gap-out and max-out by the cabinet"),
    "max_pressure": Entry(_max_pressure, "serves the pair with most vehicles and walkers"),
    "learned": Entry(_learned, "the learned scorer, always with the guard"),
}

ALWAYS_GUARDED = frozenset({"eta", "learned"})
"""Policies that never run without the guard."""

_NAME = re.compile(r"(?P<base>[a-z0-9_]+)(:(?P<speed>\d+(\.\d+)?))?(?P<guard>\+guard)?")


@dataclass(frozen=True, slots=True)
class ControllerName:
    """A controller as the user names it: `fixed`, `fixed:0.8`, `actuated+guard`.

    Parameters
    ----------
    text : the name as given.
    base : key of `POLICIES`.
    design_speed_mps : retime the plan at this speed; None keeps it. [m/s]
    is_guarded : run behind the guard.
    """

    text: str
    base: str
    design_speed_mps: float | None
    is_guarded: bool


def parse_controller(text: str) -> ControllerName:
    """Return what a controller's name means.

    Raises
    ------
    ValueError : unknown, or an option the policy does not take; the message lists the known ones.
    """
    found = _NAME.fullmatch(text)
    if found is None or found["base"] not in POLICIES:
        raise ValueError(
            f"unknown controller {text!r}; known: {', '.join(POLICIES)}, "
            "fixed:SPEED (m/s), and NAME+guard for the guard in front of any of them"
        )
    speed = float(found["speed"]) if found["speed"] else None
    if speed is not None and found["base"] not in ("fixed", "eta"):
        raise ValueError(f"{text!r}: a design speed goes with `fixed` only, such as fixed:0.8")
    if speed is not None and not 0.3 <= speed <= 1.5:  # noqa: PLR2004 - the plan's own range
        raise ValueError(f"{text!r}: a design speed lies between 0.3 and 1.5 m/s")
    is_guarded = bool(found["guard"]) or found["base"] in ALWAYS_GUARDED
    return ControllerName(text, found["base"], speed, is_guarded)


def make_controller(
    name: ControllerName, plan: SitePlan, options: PolicyOptions, *, can_hold_red: bool = True
) -> tuple[Policy, Guard | None]:
    """Return the policy of that name for a plan, and the guard it runs behind, if any.

    The plan must be retimed already (`plan_for`).
    """
    policy = POLICIES[name.base].make(plan, options)
    if not name.is_guarded:
        return policy, None
    guard = Guard(plan, form=options.form, extension_max_s=options.extension_max_s, can_hold_red=can_hold_red)
    return policy, guard


def plan_for(name: ControllerName, plan: SitePlan) -> SitePlan:
    """Return the plan that a controller runs: retimed where its name says so."""
    return plan if name.design_speed_mps is None else plan.retimed(name.design_speed_mps)

"""A plan for another design speed: the same junction with longer walks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .plan_parts import DESIGN_SPEED_RANGE_MPS
from .timing_checks import TOLERANCE_S, least_service_s, needed_service_s

if TYPE_CHECKING:
    from .plan import Limits, Pattern, Phase, SitePlan

Splits = dict[int, float]


def retimed_plan(plan: SitePlan, design_speed_mps: float) -> SitePlan:
    """Return a checked plan whose walks suffice for `design_speed_mps`; its id stays.

    Parameters
    ----------
    plan : a checked plan; left as it is.
    design_speed_mps : new design speed, 0.3 to 1.5. [m/s]

    Returns
    -------
    Plan with each walk lengthened to whole seconds where entry time + length / design speed asks for
    it (never shortened), max green at least walk + clearance, and splits that hold them. A cycle is
    kept where barriers whose phases need nothing can spare the time, taken from the phases with most
    to spare; else it grows by what is missing.

    Raises
    ------
    ValueError : a speed outside 0.3-1.5 m/s, or NaN.
    PlanError : the longer times break another rule, such as the bound on service.
    """
    slowest_mps, fastest_mps = DESIGN_SPEED_RANGE_MPS
    if not slowest_mps <= design_speed_mps <= fastest_mps:
        allowed = f"{slowest_mps}-{fastest_mps} m/s"
        raise ValueError(f"design speed {design_speed_mps} m/s is outside {allowed}; choose one within")
    from .plan import checked_plan

    limits = plan.limits.model_copy(update={"design_speed_mps": float(design_speed_mps)})
    phases = [_retimed_phase(plan, phase, limits) for phase in plan.phases]
    minimums_s = {
        phase.number: least_service_s(phase) + phase.yellow_s + phase.red_clear_s for phase in phases
    }
    document = plan.model_dump(mode="json", exclude_none=True)
    document["limits"] = limits.model_dump(mode="json")
    document["phases"] = [phase.model_dump(mode="json") for phase in phases]
    document["patterns"] = [_retimed_pattern(plan, pattern, minimums_s) for pattern in plan.patterns]
    return checked_plan(document, f"{plan.site.id} at {design_speed_mps} m/s")


def _retimed_phase(plan: SitePlan, phase: Phase, limits: Limits) -> Phase:
    if not phase.crossings:
        return phase
    needed_s = max(needed_service_s(plan.crossing(name), limits) for name in phase.crossings)
    walk_s = max(phase.walk_s, float(math.ceil(needed_s - phase.ped_clear_s - TOLERANCE_S)))
    max_green_s = max(phase.max_green_s, walk_s + phase.ped_clear_s)
    return phase.model_copy(update={"walk_s": walk_s, "max_green_s": max_green_s})


def _retimed_pattern(plan: SitePlan, pattern: Pattern, minimums_s: Mapping[int, float]) -> dict[str, object]:
    """Return a pattern, as the file writes it, whose splits hold the minimums."""
    barriers = [[ring[barrier] for ring in plan.rings] for barrier in range(len(plan.rings[0]))]
    splits = {number: max(pattern.splits[str(number)], least_s) for number, least_s in minimums_s.items()}
    lengths_s = [_even_out(rings, splits) for rings in barriers]
    missing_s = sum(lengths_s) - pattern.cycle_s
    if missing_s > TOLERANCE_S:
        grown = [
            any(splits[n] > pattern.splits[str(n)] + TOLERANCE_S for n in _phases(rings))
            for rings in barriers
        ]
        givers = [rings for rings, is_grown in zip(barriers, grown, strict=True) if not is_grown]
        if sum(_spare_s(rings, splits, minimums_s) for rings in givers) >= missing_s - TOLERANCE_S:
            for rings in sorted(givers, key=lambda rings: -_spare_s(rings, splits, minimums_s)):
                taken_s = min(missing_s, _spare_s(rings, splits, minimums_s))
                for group in rings:
                    _take(group, splits, minimums_s, taken_s)
                missing_s -= taken_s
            lengths_s = [_even_out(rings, splits) for rings in barriers]
    written = pattern.model_dump(mode="json")
    written["splits"] = {str(number): round(split_s, 1) for number, split_s in splits.items()}
    written["cycle_s"] = round(sum(lengths_s), 1)
    return written


def _phases(rings: Sequence[Sequence[int]]) -> list[int]:
    return [number for group in rings for number in group]


def _even_out(rings: Sequence[Sequence[int]], splits: Splits) -> float:
    """Lengthen shorter rings of a barrier by their longest split; return the barrier's length, in seconds."""
    length_s = max(sum(splits[number] for number in group) for group in rings)
    for group in (group for group in rings if group):
        longest = max(group, key=lambda number: splits[number])
        splits[longest] += length_s - sum(splits[number] for number in group)
    return length_s


def _spare_s(rings: Sequence[Sequence[int]], splits: Splits, minimums_s: Mapping[int, float]) -> float:
    """Return what a barrier can give: the least that any of its rings can, in seconds."""
    return min(sum(splits[n] - minimums_s[n] for n in group) for group in rings if group)


def _take(group: Sequence[int], splits: Splits, minimums_s: Mapping[int, float], taken_s: float) -> None:
    """Shorten the splits of one ring in one barrier by `taken_s`, those with most to spare first."""
    for number in sorted(group, key=lambda n: minimums_s[n] - splits[n]):
        given_s = min(taken_s, splits[number] - minimums_s[number])
        splits[number] -= given_s
        taken_s -= given_s

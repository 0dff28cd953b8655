"""What a policy sees: a context, and one row per choice with what it would serve and what it would delay.

It sees need in seconds, never a mobility class. The same numbers are computed in training and in the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .choices import N_MAX, ChoiceRules
from .clocks import NOT_YET_DS
from .detection import Snapshot
from .plan import SitePlan
from .situation import Situation
from .signals import phase_mask
from .timing import to_ds


@dataclass(frozen=True, slots=True)
class Feature:
    """One number a policy sees: its name, its meaning with unit, and the value that is scaled to 1."""

    name: str
    meaning: str
    scale: float


CONTEXT: tuple[Feature, ...] = (
    Feature("green_age", "age of the youngest green [s]", 60.0),
    Feature("is_walking", "1 while a walk is shown", 1.0),
    Feature("vehicles", "vehicles in all detection zones", 60.0),
    Feature("waiting", "persons waiting at the kerbs", 20.0),
    Feature("arrivals", "vehicles arriving, mean of the last minute or so [1/s]", 1.5),
    Feature("is_blind", "1 while a crossing's sensor is blind", 1.0),
)
"""The context, one value each, clipped to 0-2 after scaling."""

CHOICE: tuple[Feature, ...] = (
    Feature("is_stay", "1 for a stay", 1.0),
    Feature("stay", "length of the stay [s]", 5.0),
    Feature("is_within", "1 for a go inside the barrier group", 1.0),
    Feature("vehicles_served", "vehicles in the zones it serves", 40.0),
    Feature("vehicles_delayed", "vehicles in the zones it does not serve", 60.0),
    Feature("longest_lane", "most vehicles in one lane it serves", 14.0),
    Feature("lanes_served", "lanes it serves that have vehicles", 8.0),
    Feature("longest_delayed", "most vehicles in one lane it does not serve", 14.0),
    Feature("arrivals_10", "vehicles expected in 10 s where it serves", 15.0),
    Feature("arrivals_30", "vehicles expected in 30 s where it does not serve", 40.0),
    Feature("waiting_served", "persons waiting whose walk it starts", 20.0),
    Feature("oldest_served", "longest of those waits [s]", 150.0),
    Feature("waiting_delayed", "persons waiting whose walk it does not start", 20.0),
    Feature("oldest_delayed", "longest of those waits [s]", 150.0),
    Feature("need", "95 % need of the people on crossings it must wait for [s]", 40.0),
    Feature("lost", "clearance, yellow and red before it starts [s]", 50.0),
    Feature("commits", "its shortest service, with yellow and red after it [s]", 60.0),
    Feature("since_served", "longest time since one of its phases was green [s]", 150.0),
    Feature("since_delayed", "longest time since another phase was green [s]", 150.0),
    Feature("to_forced", "time until some phase it does not serve is forced [s]", 150.0),
)
"""One row per choice, clipped to 0-2 after scaling."""

ARRIVAL_MEMORY_S = 60.0
"""Time constant of the arrival averages [A]. [s]"""
LIMIT = 2.0
"""Scaled values are clipped to 0 .. LIMIT."""

_CONTEXT_SCALE = np.array([feature.scale for feature in CONTEXT], dtype=np.float32)
_CHOICE_SCALE = np.array([feature.scale for feature in CHOICE], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Observation:
    """Context `(len(CONTEXT),)`, choices `(N_MAX, len(CHOICE))`, mask `(N_MAX,)`; float32, float32, bool."""

    context: npt.NDArray[np.float32]
    choices: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


@dataclass(slots=True)
class _PhaseView:
    """What waits for one phase."""

    vehicles: int = 0
    longest: int = 0
    lanes: int = 0
    arrivals: float = 0.0
    waiting: int = 0
    oldest_s: float = 0.0
    since_s: float = 0.0


class ChoiceObserver:
    """Builds observations of one junction.

    Parameters
    ----------
    plan : the site.
    rules : its choices.
    """

    def __init__(self, plan: SitePlan, rules: ChoiceRules) -> None:
        self._rules = rules
        self._numbers = tuple(phase.number for phase in plan.phases)
        self._zone_phases = tuple(detector.phases for detector in plan.zone_detectors)
        self._loop_phases = tuple(detector.phases for detector in plan.passage_detectors)
        self._crossing_phase = tuple(plan.phase_of(crossing.id) for crossing in plan.crossings)
        self._lost_ds = {p.number: (to_ds(p.ped_clear_s), to_ds(p.yellow_s + p.red_clear_s)) for p in plan.phases}
        self._commit_s = {
            p.number: max(p.min_green_s, p.walk_s + p.ped_clear_s) + p.yellow_s + p.red_clear_s
            for p in plan.phases
        }
        self._masks = {number: phase_mask((number,)) for number in self._numbers}
        self._rates = [0.0] * len(self._loop_phases)
        self._followed_ds = NOT_YET_DS
        self._observed: tuple[Snapshot, Observation] | None = None

    def follow(self, situation: Situation) -> None:
        """Keep the arrival averages up to date; call once a tick."""
        snapshot = situation.snapshot
        if snapshot.now_ds == self._followed_ds:
            return
        elapsed_s = min((snapshot.now_ds - self._followed_ds) / 10, 5.0) if self._followed_ds >= 0 else 0.5
        self._followed_ds = snapshot.now_ds
        share = elapsed_s / ARRIVAL_MEMORY_S
        keep = 1 - share
        weight = share / elapsed_s if elapsed_s else 0.0
        self._rates = [
            rate * keep + count * weight for rate, count in zip(self._rates, snapshot.arrivals, strict=True)
        ]

    def observe(self, situation: Situation) -> Observation:
        """Return what a policy sees of this situation; asked twice for one tick, the same object."""
        if self._observed is not None and self._observed[0] is situation.snapshot:
            return self._observed[1]
        views = self._phase_views(situation)
        choices = np.zeros((N_MAX, len(CHOICE)), dtype=np.float32)
        mask = np.zeros(N_MAX, dtype=np.bool_)
        legal = self._rules.legal(situation)
        mask[: len(legal)] = legal
        rows = [self._row(index, situation, views) for index in range(len(legal))]
        choices[: len(rows)] = np.clip(np.array(rows, dtype=np.float32) / _CHOICE_SCALE, 0.0, LIMIT)
        context = np.clip(self._context(situation, views) / _CONTEXT_SCALE, 0.0, LIMIT)
        self._observed = (situation.snapshot, Observation(context, choices, mask))
        return self._observed[1]

    def _phase_views(self, situation: Situation) -> dict[int, _PhaseView]:
        """Return what waits for each phase."""
        snapshot, now_ds = situation.snapshot, situation.snapshot.now_ds
        views = {number: _PhaseView() for number in self._numbers}
        for count, phases in zip(snapshot.zone_vehicles, self._zone_phases, strict=True):
            for number in phases:
                view = views[number]
                view.vehicles += count
                view.lanes += count > 0
                view.longest = max(view.longest, count)
        for rate, phases in zip(self._rates, self._loop_phases, strict=True):
            for number in phases:
                views[number].arrivals += rate
        for frame, number in zip(snapshot.frames, self._crossing_phase, strict=True):
            view = views[number]
            view.waiting += len(frame.waiting)
            for track in frame.waiting:
                view.oldest_s = max(view.oldest_s, (now_ds - track.since_ds) / 10)
        for number, clock in situation.clocks.phases.items():
            views[number].since_s = 0.0 if clock.is_green else (now_ds - clock.green_ended_ds) / 10
        return views

    def _context(self, situation: Situation, views: dict[int, _PhaseView]) -> npt.NDArray[np.float32]:
        snapshot, now_ds = situation.snapshot, situation.snapshot.now_ds
        greens = [now_ds - c.green_since_ds for c in situation.clocks.phases.values() if c.is_green]
        values = (
            min(greens, default=0) / 10,
            float(snapshot.lamps.walk > 0),
            float(sum(snapshot.zone_vehicles)),
            float(sum(view.waiting for view in views.values())),
            sum(self._rates),
            float(not all(frame.is_healthy for frame in snapshot.frames)),
        )
        return np.array(values, dtype=np.float32)

    def _row(self, index: int, situation: Situation, views: dict[int, _PhaseView]) -> tuple[float, ...]:
        choice = self._rules.choices[index]
        snapshot = situation.snapshot
        current = snapshot.lamps.green
        target = choice.mask or current
        leaving = 0 if choice.stay_ds else current & ~target
        served = [views[n] for n in self._numbers if target & self._masks[n]]
        delayed = [views[n] for n in self._numbers if not target & self._masks[n]]
        starts_walk = [views[n] for n in self._numbers if target & ~current & self._masks[n]]
        if not leaving:
            starts_walk += [views[n] for n in self._numbers if snapshot.lamps.walk & self._masks[n]]
        no_walk = [view for view in views.values() if not any(view is other for other in starts_walk)]
        lost_s = self._lost_s(leaving, snapshot.lamps.walk)
        since_delayed_s = max((view.since_s for view in delayed), default=0.0)
        new = [n for n in self._numbers if target & ~current & self._masks[n]]
        return (
            float(choice.stay_ds > 0),
            choice.stay_ds / 10,
            float(bool(leaving) and bool(target & current)),
            float(sum(view.vehicles for view in served)),
            float(sum(view.vehicles for view in delayed)),
            float(max((view.longest for view in served), default=0)),
            float(sum(view.lanes for view in served)),
            float(max((view.longest for view in delayed), default=0)),
            10 * sum(view.arrivals for view in served),
            30 * sum(view.arrivals for view in delayed),
            float(sum(view.waiting for view in starts_walk)),
            max((view.oldest_s for view in starts_walk), default=0.0),
            float(sum(view.waiting for view in no_walk)),
            max((view.oldest_s for view in no_walk), default=0.0),
            self._need_s(leaving, situation),
            lost_s,
            max((self._commit_s[n] for n in new), default=0.0),
            max((view.since_s for view in served), default=0.0),
            since_delayed_s,
            self._rules.forcing_age_s - since_delayed_s,
        )

    def _lost_s(self, leaving: int, walking: int) -> float:
        """Return the clearance, yellow and red that pass before the target phases start. [s]"""
        lost_ds = 0
        for number in self._numbers:
            bit = self._masks[number]
            if leaving & bit:
                ped_clear_ds, vehicle_clear_ds = self._lost_ds[number]
                lost_ds = max(lost_ds, vehicle_clear_ds + (ped_clear_ds if walking & bit else 0))
        return lost_ds / 10

    def _need_s(self, leaving: int, situation: Situation) -> float:
        """Return the 95 % need on the crossings whose phases would end. [s]"""
        now_ds = situation.snapshot.now_ds
        return max(
            (
                situation.needs.need(index, now_ds, quantile=0.95)
                for index, number in enumerate(self._crossing_phase)
                if leaving & self._masks[number]
            ),
            default=0.0,
        )

"""What a policy sees: a context, and one row per choice with what it would serve and what it would delay.

It sees need in seconds, never a mobility class. The same numbers are computed in training and in the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .choices import N_MAX, ChoiceRules
from .clocks import NOT_YET_DS
from .detection import Snapshot
from .flows import VehicleFlows
from .plan import SitePlan
from .signals import phase_mask
from .situation import Situation

FLAG = "0/1"
"""Unit of a feature that is 0 or 1."""
LIMIT = 2.0
"""Scaled values are clipped to 0 .. LIMIT."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number a policy sees.

    Parameters
    ----------
    name : how policies and weights name it.
    meaning : what it is.
    scale : the value, in its unit, that is scaled to 1.
    unit : of the unscaled value; "" for a plain number.
    """

    name: str
    meaning: str
    scale: float
    unit: str = ""

    @property
    def most(self) -> float:
        """The largest value a policy can tell from larger ones, in the feature's unit."""
        return 1.0 if self.unit == FLAG else LIMIT * self.scale


CONTEXT: tuple[Feature, ...] = (
    Feature("green_age", "age of the youngest green", 60.0, "s"),
    Feature("is_walking", "1 while a walk is shown", 1.0, FLAG),
    Feature("vehicles", "vehicles in all detection zones", 60.0),
    Feature("waiting", "persons waiting at the kerbs", 20.0),
    Feature(
        "arrivals", "count of the passage detectors, standing vehicles too, mean of about 60 s", 1.5, "1/s"
    ),
    Feature("is_blind", "1 while a crossing's sensor is blind", 1.0, FLAG),
    Feature("arrived_10", "vehicles arriving, mean of about 10 s", 3.0, "1/s"),
    Feature("arrived_60", "vehicles arriving, mean of about 60 s", 1.5, "1/s"),
    Feature("arrived_300", "vehicles arriving, mean of about 300 s", 1.5, "1/s"),
    Feature("departed_10", "vehicles leaving over the stop lines, mean of about 10 s", 3.0, "1/s"),
    Feature("departed_60", "vehicles leaving over the stop lines, mean of about 60 s", 1.5, "1/s"),
    Feature("departed_300", "vehicles leaving over the stop lines, mean of about 300 s", 1.5, "1/s"),
    Feature("detection_age", "age of the oldest of the crossings' newest pictures", 5.0, "s"),
    Feature(
        "extension", "longest time since a clearance ended with somebody still on the crossing", 40.0, "s"
    ),
    Feature("open_services", "crossings the guard has not released since their walk", 4.0),
)
"""The context, one value each, clipped to 0-2 after scaling. New ones are appended."""

CHOICE: tuple[Feature, ...] = (
    Feature("is_stay", "1 for a stay", 1.0, FLAG),
    Feature("stay", "length of the stay", 5.0, "s"),
    Feature("is_within", "1 for a go inside the barrier group", 1.0, FLAG),
    Feature("vehicles_served", "vehicles in the zones it serves", 40.0),
    Feature("vehicles_delayed", "vehicles in the zones it does not serve", 60.0),
    Feature("longest_lane", "most vehicles in one lane it serves", 14.0),
    Feature("lanes_served", "lanes it serves that have vehicles", 8.0),
    Feature("longest_delayed", "most vehicles in one lane it does not serve", 14.0),
    Feature("arrivals_10", "10 s of `arrivals` where it serves", 15.0),
    Feature("arrivals_30", "30 s of `arrivals` where it does not serve", 40.0),
    Feature("waiting_served", "persons waiting whose walk it starts", 20.0),
    Feature("oldest_served", "longest of those waits", 150.0, "s"),
    Feature("waiting_delayed", "persons waiting whose walk it does not start", 20.0),
    Feature("oldest_delayed", "longest of those waits", 150.0, "s"),
    Feature("need", "95 % need of the people on crossings it must wait for", 40.0, "s"),
    Feature("lost", "clearance, yellow and red before it starts", 50.0, "s"),
    Feature("commits", "its shortest service, with yellow and red after it", 60.0, "s"),
    Feature("since_served", "longest time since one of its phases was green", 150.0, "s"),
    Feature("since_delayed", "longest time since another phase was green", 150.0, "s"),
    Feature("to_forced", "time until some phase it does not serve is forced", 150.0, "s"),
    Feature("arrived_10_served", "vehicles arriving where it serves, mean of about 10 s", 3.0, "1/s"),
    Feature("arrived_60_served", "vehicles arriving where it serves, mean of about 60 s", 1.5, "1/s"),
    Feature("arrived_300_served", "vehicles arriving where it serves, mean of about 300 s", 1.5, "1/s"),
    Feature(
        "arrived_10_delayed", "vehicles arriving where it does not serve, mean of about 10 s", 3.0, "1/s"
    ),
    Feature(
        "arrived_60_delayed", "vehicles arriving where it does not serve, mean of about 60 s", 1.5, "1/s"
    ),
    Feature(
        "arrived_300_delayed", "vehicles arriving where it does not serve, mean of about 300 s", 1.5, "1/s"
    ),
    Feature("departed_10_served", "vehicles leaving where it serves, mean of about 10 s", 3.0, "1/s"),
    Feature("departed_60_served", "vehicles leaving where it serves, mean of about 60 s", 1.5, "1/s"),
    Feature("departed_300_served", "vehicles leaving where it serves, mean of about 300 s", 1.5, "1/s"),
    Feature(
        "departed_10_delayed", "vehicles leaving where it does not serve, mean of about 10 s", 3.0, "1/s"
    ),
    Feature(
        "departed_60_delayed", "vehicles leaving where it does not serve, mean of about 60 s", 1.5, "1/s"
    ),
    Feature(
        "departed_300_delayed", "vehicles leaving where it does not serve, mean of about 300 s", 1.5, "1/s"
    ),
    Feature("detection_age", "oldest newest picture of the crossings it waits for or gives walk", 5.0, "s"),
    Feature("extension", "longest extension that runs on a crossing it must wait for", 40.0, "s"),
    Feature("extension_left", "longest time until such an extension reaches the plan's maximum", 40.0, "s"),
)
"""One row per choice, clipped to 0-2 after scaling. New ones are appended."""

FIRST_CHOICE_N = 20
"""Choice features of the first version: what weights found for those are multiplied with."""
NEED_QUANTILE = 0.95
"""Quantile of the need a policy sees; the guard's own is stricter."""

_CONTEXT_SCALE = np.array([feature.scale for feature in CONTEXT], dtype=np.float32)
_CHOICE_SCALE = np.array([feature.scale for feature in CHOICE], dtype=np.float32)


def places_of(names: Sequence[str] | None, known: tuple[Feature, ...]) -> list[int]:
    """Return where the features of these names stand; all of them for None.

    Raises
    ------
    ValueError : a name that is not known, or stands twice, or no name at all.
    """
    places = {feature.name: place for place, feature in enumerate(known)}
    if names is None:
        return list(places.values())
    unknown = sorted(set(names) - set(places))
    if unknown:
        raise ValueError(f"no such features: {', '.join(unknown)}; known: {', '.join(places)}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"features = {', '.join(names) or 'none'}: name at least one, and each once")
    return [places[name] for name in names]


@dataclass(frozen=True, slots=True)
class Observation:
    """Context `(len(CONTEXT),)`, choices `(N_MAX, len(CHOICE))`, mask `(N_MAX,)`; float32, float32, bool."""

    context: npt.NDArray[np.float32]
    choices: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


Vector = npt.NDArray[np.float32]


class NeedReader(Protocol):
    """What an observer takes for the need of people on a crossing, where it is not the controller's own.

    For studies of what the need is worth; the guard asks the controller's own estimate in any case.
    """

    def follow(self, situation: Situation) -> None:
        """Take in a tick; called once a tick."""
        ...

    def need_s(self, situation: Situation, index: int) -> float:
        """Return the need on a crossing, by its index in the plan; 0 if nobody is there. [s]"""
        ...


@dataclass(frozen=True, slots=True)
class PhaseView:
    """What waits for each phase: one value per phase, in the plan's order, `(n_phases,)`.

    Parameters
    ----------
    vehicles, longest, lanes : vehicles in its zones, most in one lane, lanes with any.
    arrivals : mean count of its passage detectors. [1/s]
    waiting, oldest : persons at its kerbs, and the longest wait of one. [s]
    since : time since it was green; 0 while it is. [s]
    called : how long somebody has waited for it; 0 if nobody does. [s]
    need : 95 % need of the people on its crossings; 0 unless it is green. [s]
    age : of the oldest of its crossings' newest pictures. [s]
    extension, extension_left : of the extension running on one of its crossings; 0 if none is. [s]
    flows : averages of its vehicles, arrivals then departures, `(2, n_phases, len(FLOW_MEMORY_S))`. [1/s]
    all_flows : the same of all vehicles, each counted once, in a row. [1/s]
    is_current, is_walking : it shows green; it shows walk.
    """

    vehicles: Vector
    longest: Vector
    lanes: Vector
    arrivals: Vector
    since: Vector
    called: Vector
    waiting: Vector
    oldest: Vector
    need: Vector
    age: Vector
    extension: Vector
    extension_left: Vector
    flows: Vector
    all_flows: Vector
    is_current: npt.NDArray[np.bool_]
    is_walking: npt.NDArray[np.bool_]


class ChoiceObserver:
    """Builds observations of one junction.

    Parameters
    ----------
    plan : the site.
    rules : its choices.
    needs : what it takes for the need; None is the controller's own estimate.
    """

    def __init__(self, plan: SitePlan, rules: ChoiceRules, *, needs: NeedReader | None = None) -> None:
        self._rules, self._needs = rules, needs
        place = {phase.number: index for index, phase in enumerate(plan.phases)}
        self._bits = tuple(1 << (phase.number - 1) for phase in plan.phases)
        self._numbers = tuple(place)
        self._zone_places = tuple(tuple(place[n] for n in zone.phases) for zone in plan.zone_detectors)
        self._loop_places = tuple(tuple(place[n] for n in loop.phases) for loop in plan.passage_detectors)
        self._crossing_places = tuple(place[plan.phase_of(crossing.id)] for crossing in plan.crossings)
        self._crossing_bits = tuple(self._bits[place_of] for place_of in self._crossing_places)
        self._recalled = phase_mask(
            phase.number for phase in plan.phases if phase.ped_recall or phase.vehicle_recall != "none"
        )
        self._ped_clear_s = np.array([phase.ped_clear_s for phase in plan.phases], dtype=np.float32)
        self._clear_s = np.array([p.yellow_s + p.red_clear_s for p in plan.phases], dtype=np.float32)
        self._commit_s = self._clear_s + np.array(
            [max(phase.min_green_s, phase.walk_s + phase.ped_clear_s) for phase in plan.phases],
            dtype=np.float32,
        )
        choices = rules.choices
        self._is_stay = np.array([choice.stay_ds > 0 for choice in choices])
        self._stay_s = np.array([choice.stay_ds / 10 for choice in choices], dtype=np.float32)
        self._targets = np.array([[bool(choice.mask & bit) for bit in self._bits] for choice in choices])
        self._flows = VehicleFlows(plan)
        self._flow_sums = _flow_sums(self._loop_places, self._zone_places, len(place))
        self._extension_max_s = tuple(plan.extension_max_s(crossing.id) for crossing in plan.crossings)
        self._followed_ds = NOT_YET_DS
        self._observed: tuple[Snapshot, Observation] | None = None

    def follow(self, situation: Situation) -> None:
        """Keep call ages and vehicle averages up to date; call once a tick."""
        snapshot = situation.snapshot
        if snapshot.now_ds == self._followed_ds:
            return
        calls = snapshot.calls.vehicle | self._recalled
        for frame, bit in zip(snapshot.frames, self._crossing_bits, strict=True):
            if frame.waiting:
                calls |= bit
        situation.clocks.note_calls(snapshot.now_ds, calls)
        self._followed_ds = snapshot.now_ds
        self._flows.follow(snapshot)
        if self._needs is not None:
            self._needs.follow(situation)

    def observe(self, situation: Situation) -> Observation:
        """Return what a policy sees of this situation; asked twice for one tick, the same object."""
        if self._observed is not None and self._observed[0] is situation.snapshot:
            return self._observed[1]
        view = self._view(situation)
        legal = self._rules.legal(situation)
        choices = np.zeros((N_MAX, len(CHOICE)), dtype=np.float32)
        choices[: len(legal)] = _scaled(self._rows(view), _CHOICE_SCALE)
        context = _scaled(self._context(situation, view), _CONTEXT_SCALE)
        mask = np.zeros(N_MAX, dtype=np.bool_)
        mask[: len(legal)] = legal
        self._observed = (situation.snapshot, Observation(context, choices, mask))
        return self._observed[1]

    def _view(self, situation: Situation) -> PhaseView:
        """Return what waits for each phase."""
        snapshot, now_ds = situation.snapshot, situation.snapshot.now_ds
        count = len(self._bits)
        vehicles, longest, lanes = [0] * count, [0] * count, [0] * count
        for number, places in zip(snapshot.zone_vehicles, self._zone_places, strict=True):
            for place in places:
                vehicles[place] += number
                lanes[place] += number > 0
                longest[place] = max(longest[place], number)
        arrivals = [0.0] * count
        for rate, places in zip(self._flows.counts(now_ds), self._loop_places, strict=True):
            for place in places:
                arrivals[place] += rate
        green = snapshot.lamps.green
        people = self._people(situation)
        clocks = situation.clocks.phases
        since = [
            0.0 if clocks[number].is_green else (now_ds - clocks[number].green_ended_ds) / 10
            for number in self._numbers
        ]
        called = [
            0.0 if clocks[number].called_ds == NOT_YET_DS else (now_ds - clocks[number].called_ds) / 10
            for number in self._numbers
        ]
        numbers = np.array([vehicles, longest, lanes, arrivals, since, called, *people], dtype=np.float32)
        lamps = np.array([[bool(mask & bit) for bit in self._bits] for mask in (green, snapshot.lamps.walk)])
        flows = (self._flow_sums @ self._flows.rates(now_ds).T).astype(np.float32)
        parts = [*numbers, flows[:-2].reshape(2, count, -1), flows[-2:].ravel(), *lamps]
        return PhaseView(*parts)

    def _people(self, situation: Situation) -> tuple[list[float], ...]:
        """Return waiting, oldest, need, age, extension and extension_left of each phase."""
        snapshot, now_ds = situation.snapshot, situation.snapshot.now_ds
        services, green = situation.clocks.services, snapshot.lamps.green
        table = tuple([0.0] * len(self._bits) for _ in range(6))
        waiting, oldest, need, age, extension, extension_left = table
        for index, (frame, place) in enumerate(zip(snapshot.frames, self._crossing_places, strict=True)):
            waiting[place] += len(frame.waiting)
            for track in frame.waiting:
                oldest[place] = max(oldest[place], (now_ds - track.since_ds) / 10)
            age[place] = max(age[place], (now_ds - frame.measured_ds) / 10)
            if not green & self._bits[place]:
                continue
            needed_s = (
                situation.needs.need(index, now_ds, quantile=NEED_QUANTILE)
                if self._needs is None
                else self._needs.need_s(situation, index)
            )
            need[place] = max(need[place], needed_s)
            ended_ds = services[index].clear_ended_ds
            if needed_s > 0 and services[index].is_open and ended_ds != NOT_YET_DS:
                runs_s = (now_ds - ended_ds) / 10
                extension[place] = max(extension[place], runs_s)
                extension_left[place] = max(extension_left[place], self._extension_max_s[index] - runs_s)
        return table

    def _context(self, situation: Situation, view: PhaseView) -> Vector:
        snapshot, now_ds = situation.snapshot, situation.snapshot.now_ds
        greens = [now_ds - c.green_since_ds for c in situation.clocks.phases.values() if c.is_green]
        values = (
            min(greens, default=0) / 10,
            float(snapshot.lamps.walk > 0),
            float(sum(snapshot.zone_vehicles)),
            float(view.waiting.sum()),
            sum(self._flows.counts(now_ds)),
            float(not all(frame.is_healthy for frame in snapshot.frames)),
            *view.all_flows.tolist(),
            max(view.age.tolist()),
            max(view.extension.tolist()),
            float(sum(service.is_open for service in situation.clocks.services)),
        )
        return np.array(values, dtype=np.float32)

    def _rows(self, view: PhaseView) -> Vector:
        """Return one unscaled row per choice, `(n_choices, len(CHOICE))`."""
        target = np.where(self._is_stay[:, None], view.is_current, self._targets)
        other = ~target
        starts = target & ~view.is_current
        leaving = view.is_current & other
        walks = target & (~view.is_current | view.is_walking)
        lost_s = self._clear_s + self._ped_clear_s * view.is_walking
        longest, since = _most(target, view.longest, view.since)
        longest_other, since_other, called = _most(other, view.longest, view.since, view.called)
        need, lost, extension, left = _most(leaving, view.need, lost_s, view.extension, view.extension_left)
        both = np.array((target, other), dtype=np.float32)
        flows = both @ view.flows[:, None]  # (kind, served or not, choice, memory)
        columns = (
            self._is_stay,
            self._stay_s,
            leaving.any(axis=1) & (target & view.is_current).any(axis=1),
            target @ view.vehicles,
            other @ view.vehicles,
            longest,
            target @ view.lanes,
            longest_other,
            10 * (target @ view.arrivals),
            30 * (other @ view.arrivals),
            walks @ view.waiting,
            *_most(walks, view.oldest),
            ~walks @ view.waiting,
            *_most(~walks, view.oldest),
            need,
            lost,
            *_most(starts, self._commit_s),
            since,
            since_other,
            self._rules.forcing_age_s - called,
            *flows.transpose(0, 1, 3, 2).reshape(-1, len(target)),
            *_most(leaving | walks, view.age),
            extension,
            left,
        )
        return np.array(columns, dtype=np.float32).T


def _flow_sums(
    loop_places: tuple[tuple[int, ...], ...], zone_places: tuple[tuple[int, ...], ...], count: int
) -> npt.NDArray[np.float64]:
    """Return the matrix that adds up detectors: loops by phase, zones by phase, all loops, all zones."""
    loops_n = len(loop_places)
    matrix = np.zeros((2 * count + 2, loops_n + len(zone_places)))
    for column, places in enumerate((*loop_places, *zone_places)):
        kind = int(column >= loops_n)
        matrix[[kind * count + place for place in places], column] = 1.0
        matrix[2 * count + kind, column] = 1.0
    return matrix


def _most(of: npt.NDArray[np.bool_], *values: Vector) -> Vector:
    """Return, for each of the values, each row's largest among the phases it marks; 0 where it marks none."""
    return np.asarray((of * np.array(values)[:, None, :]).max(axis=2), dtype=np.float32)


def _scaled(values: Vector, scale: Vector) -> Vector:
    """Return values over their scale, clipped to 0 .. LIMIT."""
    return np.asarray(np.minimum(np.maximum(values / scale, 0.0), LIMIT), dtype=np.float32)

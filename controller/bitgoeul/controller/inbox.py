"""From messages to frames and requests: who may speak, what is fresh, what several sensors see together.

No socket, no clock: a message comes with the times at which it arrived, so that a recording gives the same
frames again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import floor, inf
from typing import NamedTuple

from .detection import FRESH_DS, MOBILITY_CLASSES, CrossingRequest, Frame, Track, Zone
from .field_sources import FieldSource
from .messages import (
    CrossingView,
    Detections,
    Drop,
    Message,
    Request,
    SeenObject,
    Status,
    parse,
    parse_topic,
)
from .plan import SitePlan

MAX_AHEAD_MS = 200
"""A sender's clock may be ahead of ours by this much; its pictures then count as of now. [ms] [A]"""
MAX_AGE_MS = 100 * FRESH_DS
"""An older picture is no evidence (DESIGN, promise 3). [ms]"""
MAX_REQUEST_AGE_MS = 10_000
"""An older request is dropped: whoever asked has asked again by then. [ms] [A]"""
OFF_END_M = 10.0
"""An object may be this far beyond a kerb: people wait behind it. [m] [A]"""
BLIND_GAP_M = 0.5
"""Strips narrower than this between two sensors' views hide nobody. [m] [A]"""
WINDOW = 1_024
"""An overtaken message is told from a replay as long as it is no farther behind than this [A]."""
WINDOW_BITS = (1 << WINDOW) - 1
MAX_OPEN = 10
"""Most open requests of one source for one crossing: whoever fills it keeps nobody from another [A]."""
RATES = {"detections": (40.0, 80.0), "requests": (1.0, 20.0), "status": (1.0, 20.0)}
"""Messages a second that a source may send for long, and at once; 30 pictures a second fit. [1/s], [-] [A]"""


class Arrival(NamedTuple):
    """A message as it arrived.

    Parameters
    ----------
    topic, payload : as the broker delivered them.
    received_ms : UTC. [ms since 1970]
    received_ds : the controller's own monotonic time, with fractions. [0.1 s]
    is_retained : the broker kept it from earlier.
    """

    topic: str
    payload: bytes
    received_ms: float
    received_ds: float
    is_retained: bool = False


class Sight(NamedTuple):
    """One sensor's newest picture of one crossing; a blind one shows no zone."""

    measured_ds: int
    zones: frozenset[Zone]
    from_m: float
    to_m: float
    on_crossing: tuple[Track, ...]
    waiting: tuple[Track, ...]


class Numbers:
    """Which sequence numbers of one source and kind have come: new, overtaken, or seen before.

    Attributes
    ----------
    session_ms, newest : the newest message's session and number; -1 before the first.
    missed : numbers that never came, of all sessions.
    """

    def __init__(self) -> None:
        self.session_ms, self.newest, self.missed, self._first = 0, -1, 0, 0
        self._seen = 0  # bit d: number `newest - d` has come

    def check(self, session_ms: int, sequence: int) -> Drop | None:
        """Take note of a number; return None if it is newer than all before."""
        if session_ms < self.session_ms:
            return Drop.REPLAYED
        if session_ms > self.session_ms:
            self.session_ms, self.newest, self._first, self._seen = session_ms, sequence, sequence, 1
            return None
        behind = self.newest - sequence
        if behind < 0:
            self._seen = (self._seen << -behind | 1) & WINDOW_BITS if -behind < WINDOW else 1
            self.newest, self.missed = sequence, self.missed - behind - 1
            return None
        if behind >= WINDOW or self._seen >> behind & 1 or sequence < self._first:
            return Drop.REPLAYED
        self._seen |= 1 << behind
        self.missed -= 1
        return Drop.OUT_OF_ORDER


class Bucket:
    """Lets through a rate of messages, and a burst at once."""

    def __init__(self, rate_hz: float, burst: float) -> None:
        self._rate_hz, self._burst, self._left, self._at_ds = rate_hz, burst, burst, -inf

    def take(self, now_ds: float) -> bool:
        """Tell whether one more may pass now."""
        passed_s = max(now_ds - self._at_ds, 0.0) / 10
        self._left = (
            min(self._burst, self._left + self._rate_hz * passed_s) if passed_s < inf else self._burst
        )
        self._at_ds = max(now_ds, self._at_ds)
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class SourceState:
    """What is remembered of one source.

    Parameters
    ----------
    source : as configured.
    numbers : sequence numbers that have come, by kind.
    measured_ms : of the newest picture: time does not run back. [ms, UTC]
    sights : newest picture by crossing; dropped when it is no evidence any more.
    """

    source: FieldSource
    numbers: dict[str, Numbers] = field(
        default_factory=lambda: {"detections": Numbers(), "requests": Numbers()}
    )
    measured_ms: int = 0
    sights: dict[str, Sight] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(
        default_factory=lambda: {kind: Bucket(*rate) for kind, rate in RATES.items()}
    )


class Inbox:
    """Takes messages in, never raises on one, and gives frames and requests.

    Parameters
    ----------
    plan : the site.
    sources : who may speak, and of what.
    """

    def __init__(self, plan: SitePlan, sources: Iterable[FieldSource]) -> None:
        self._site = plan.site.id
        self._crossings = {crossing.id: crossing.length_m for crossing in plan.crossings}
        self.sources = {source.user: SourceState(source) for source in sources}
        self._by_crossing = {
            name: [s for s in self.sources.values() if name in s.source.crossings and s.source.zones]
            for name in self._crossings
        }
        self._zones = {
            name: frozenset(zone for state in states for zone in state.source.zones)
            for name, states in self._by_crossing.items()
        }
        self._requests: dict[tuple[str, str], CrossingRequest] = {}
        self._asked: tuple[CrossingRequest, ...] | None = ()
        self._frames: dict[str, tuple[tuple[Sight, ...], Frame]] = {}
        self.taken: Counter[str] = Counter()
        self.dropped: Counter[Drop] = Counter()

    @property
    def missed(self) -> int:
        """Messages whose sequence number never came, over all sources."""
        return sum(each.missed for state in self.sources.values() for each in state.numbers.values())

    def deliver(self, arrival: Arrival) -> Drop | None:
        """Take one message in; return why it was dropped, None if it was used."""
        read = self._read(arrival)
        dropped = read if isinstance(read, Drop) else self._take(arrival, *read)
        if dropped is not None:
            self.dropped[dropped] += 1
        elif not isinstance(read, Drop):
            self.taken[read[1]] += 1
        return dropped

    def _read(self, arrival: Arrival) -> tuple[SourceState, str, Message] | Drop:
        """Return who says what, and the kind of it; or why nobody says anything."""
        address = parse_topic(arrival.topic, self._site)
        if address is None:
            return Drop.UNKNOWN_TOPIC
        user, kind = address
        state = self.sources.get(user)
        if state is None:
            return Drop.UNKNOWN_SOURCE
        message = parse(kind, arrival.payload)
        if isinstance(message, Drop):
            return message
        return (state, kind, message) if message.sender == user else Drop.WRONG_SENDER

    def _take(self, arrival: Arrival, state: SourceState, kind: str, message: Message) -> Drop | None:
        if isinstance(message, Status):
            return self._take_status(state, message, arrival)
        dropped = (
            (Drop.RETAINED if arrival.is_retained else None)
            or self._foreign(state, message)
            or _untimely(state, message, kind, arrival)
            or (None if state.buckets[kind].take(arrival.received_ds) else Drop.TOO_FAST)
        )
        if dropped is not None:
            return dropped
        if isinstance(message, Detections):
            return self._take_detections(state, message, arrival)
        return self._take_request(state, message, arrival)

    def _foreign(self, state: SourceState, message: Detections | Request) -> Drop | None:
        """Return why a source may not say this, if so."""
        if isinstance(message, Request) and not state.source.may_request:
            return Drop.NO_REQUESTER
        views = message.crossings if isinstance(message, Detections) else (message,)
        for view in views:
            if view.crossing not in self._crossings:
                return Drop.UNKNOWN_CROSSING
            if view.crossing not in state.source.crossings or (
                isinstance(message, Detections) and not state.source.zones
            ):
                return Drop.FOREIGN_CROSSING
        return None

    def _take_status(self, state: SourceState, status: Status, arrival: Arrival) -> Drop | None:
        if not state.buckets["status"].take(arrival.received_ds):
            return Drop.TOO_FAST
        if status.session_ms < state.numbers["detections"].session_ms:
            return Drop.REPLAYED
        # The broker keeps the order: whatever comes after a last will was sent by somebody who is back.
        if status.state == "offline" and not arrival.is_retained:
            state.sights.clear()
        return None

    def _take_detections(self, state: SourceState, message: Detections, arrival: Arrival) -> Drop | None:
        if message.measured_ms < state.measured_ms:
            return Drop.OUT_OF_ORDER
        times = _Times(arrival, message.measured_ms)
        for view in message.crossings:
            length_m = self._crossings[view.crossing]
            if any(not -OFF_END_M <= each.x_m <= length_m + OFF_END_M for each in view.objects):
                return Drop.OFF_CROSSING
        state.measured_ms = message.measured_ms
        for view in message.crossings:
            length_m = self._crossings[view.crossing]
            state.sights[view.crossing] = _sight(state.source.user, view, length_m, times)
        return None

    def _take_request(self, state: SourceState, message: Request, arrival: Arrival) -> Drop | None:
        user = state.source.user
        key, measured_ds = (user, message.request_id), _Times(arrival, message.measured_ms).measured_ds
        if not message.crossRequest or message.crossState:
            self._requests.pop(key, None)
            self._asked = None
            return None
        self._forget_requests(floor(arrival.received_ds))
        there = [
            each.source == user and each.crossing == message.crossing for each in self._requests.values()
        ]
        if key not in self._requests and sum(there) >= MAX_OPEN:
            return Drop.TOO_MANY_OPEN
        self._asked = None
        self._requests[key] = CrossingRequest(
            id=f"{user}:{message.request_id}",
            crossing=message.crossing,
            zone=Zone(message.zone),
            needed_s=message.needed_s,
            source=user,
            measured_ds=measured_ds,
            until_ds=measured_ds + round(10 * message.valid_s),
        )
        return None

    def _forget_requests(self, now_ds: int) -> None:
        for key in [key for key, request in self._requests.items() if request.until_ds <= now_ds]:
            del self._requests[key]
            self._asked = None

    def requests(self, now_ds: int) -> tuple[CrossingRequest, ...]:
        """Return the open requests in order of arrival; the same object while nothing changes."""
        self._forget_requests(now_ds)
        if self._asked is None:
            self._asked = tuple(self._requests.values())
        return self._asked

    def frames(self, now_ds: int) -> tuple[Frame, ...]:
        """Return the frame of each crossing in the plan's order; blind where sensors do not cover all of it.

        Notes
        -----
        People are the union of what all sensors see, each under its own name `USER:object`. A frame is
        healthy only if pictures that are fresh and healthy together show the whole crossing and every zone
        that the sources file promises; it is then as old as the oldest picture needed for that. One that is
        not still shows whom its sensors see: they are there, but nobody else is known not to be.
        """
        return tuple([self._frame(name, now_ds) for name in self._crossings])

    def _frame(self, crossing: str, now_ds: int) -> Frame:
        sights = []
        for state in self._by_crossing[crossing]:
            sight = state.sights.get(crossing)
            if sight is None:
                continue
            if now_ds - sight.measured_ds >= FRESH_DS:
                del state.sights[crossing]
            else:
                sights.append(sight)
        key = tuple(sights)
        known = self._frames.get(crossing)
        if known is not None and known[0] == key:
            return known[1]
        measured_ds = self._covered_since(crossing, key)
        on_crossing = tuple([track for sight in key for track in sight.on_crossing])
        waiting = tuple([track for sight in key for track in sight.waiting])
        if measured_ds is None:
            self._frames.pop(crossing, None)
            return Frame(crossing, now_ds, is_healthy=False, on_crossing=on_crossing, waiting=waiting)
        frame = Frame(crossing, measured_ds, is_healthy=True, on_crossing=on_crossing, waiting=waiting)
        self._frames[crossing] = (key, frame)
        return frame

    def _covered_since(self, crossing: str, sights: tuple[Sight, ...]) -> int | None:
        """Return since when pictures show all of a crossing; None if they do not. [0.1 s]"""
        used: list[Sight] = []
        for sight in sorted(sights, key=lambda each: -each.measured_ds):
            used.append(sight)
            zones = frozenset().union(*(each.zones for each in used))
            if zones >= self._zones[crossing] and _is_whole(used, self._crossings[crossing]):
                return sight.measured_ds
        return None


def _is_whole(sights: list[Sight], length_m: float) -> bool:
    """Tell whether views together show a crossing from kerb to kerb."""
    seen_to_m = 0.0
    for sight in sorted((each for each in sights if Zone.CROSSING in each.zones), key=lambda s: s.from_m):
        if sight.from_m <= seen_to_m + BLIND_GAP_M:
            seen_to_m = max(seen_to_m, sight.to_m)
    return seen_to_m >= length_m - BLIND_GAP_M


def _untimely(state: SourceState, message: Detections | Request, kind: str, arrival: Arrival) -> Drop | None:
    """Return whether a message is from the future, replayed or too old; take note of its number."""
    age_ms = arrival.received_ms - message.measured_ms
    if age_ms < -MAX_AHEAD_MS:
        return Drop.FROM_FUTURE
    dropped = state.numbers[kind].check(message.session_ms, message.sequence)
    if dropped is not None:
        return dropped
    return Drop.TOO_OLD if age_ms > (MAX_AGE_MS if kind == "detections" else MAX_REQUEST_AGE_MS) else None


class _Times:
    """Turns a message's UTC times into the controller's time, never newer than its arrival."""

    def __init__(self, arrival: Arrival, measured_ms: int) -> None:
        age_ms = max(arrival.received_ms - measured_ms, 0.0)
        self._measured_ms, self._at_ds = measured_ms, arrival.received_ds - age_ms / 100
        self.measured_ds = floor(self._at_ds)

    def ds(self, before_ms: int) -> int:
        """Return when something was that many milliseconds before the picture. [0.1 s]"""
        return floor(self._at_ds - max(before_ms, 0) / 100)

    def since_ds(self, first_seen_ms: int) -> int:
        """Return a first sight's time, at most that of the picture. [0.1 s]"""
        return self.ds(self._measured_ms - first_seen_ms)


def _sight(user: str, view: CrossingView, length_m: float, times: _Times) -> Sight:
    on_crossing, waiting = [], []
    for each in view.objects:
        if each.zone is Zone.CROSSING:
            on_crossing.append(_track(user, view.crossing, each, length_m, times))
        elif each.wants_to_cross:
            waiting.append(_track(user, view.crossing, each, length_m, times))
    return Sight(
        measured_ds=times.measured_ds,
        zones=frozenset(view.zones),
        from_m=0.0 if view.from_m is None else view.from_m,
        to_m=length_m if view.to_m is None else view.to_m,
        on_crossing=tuple(on_crossing),
        waiting=tuple(waiting),
    )


def _track(user: str, crossing: str, each: SeenObject, length_m: float, times: _Times) -> Track:
    """Return a track; whoever's direction is unknown walks to the farther kerb."""
    x_m = min(max(each.x_m, 0.0), length_m)
    if each.zone in {Zone.KERB_A, Zone.KERB_B}:
        remaining_m, speed_mps = length_m, 0.0
    elif each.towards == "b":
        remaining_m, speed_mps = length_m - x_m, each.vx_mps
    elif each.towards == "a":
        remaining_m, speed_mps = x_m, -each.vx_mps
    else:
        remaining_m = max(x_m, length_m - x_m)
        speed_mps = each.vx_mps if length_m - x_m >= x_m else -each.vx_mps
    stated = each.class_confidence
    total = sum(stated.values())
    return Track(
        id=f"{user}:{each.object_id}",
        crossing=crossing,
        zone=each.zone,
        remaining_m=remaining_m,
        speed_mps=max(speed_mps, 0.0),
        class_probabilities=tuple([stated.get(name, 0.0) / total for name in MOBILITY_CLASSES])
        if stated
        else (),
        source=user,
        measured_ds=times.ds(each.age_ms),
        since_ds=min(times.since_ds(each.first_seen_ms), times.ds(each.age_ms)),
        quality=each.quality,
    )

"""What sensors and people's devices say over the network: models, limits, JSON Schema, parsing.

Names follow SAE J3224 (SDSM) for what sensors see and SAE J2735 (PSM) for requests; docs/messages.md puts
them side by side. Nothing is trusted here: a message that breaks one limit is dropped whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from .detection import MOBILITY_CLASSES, Zone

MESSAGE_VERSION: Final = 1
"""Version of every message here; another one is dropped as `unknown_version`."""
TOPIC_ROOT: Final = "bitgoeul/v1"
"""Topics are `bitgoeul/v1/SITE/USER/KIND`; the broker's access list keeps USER honest."""

MAX_BYTES = 65_536
"""Longest payload that is looked at: four crossings of 64 objects fit. [bytes] [A]"""
MAX_OBJECTS = 64
"""Most objects on one crossing in one message [A]."""
MAX_CROSSINGS = 8
"""Most crossings in one message [A]."""
NEEDED_RANGE_S = (1.0, 120.0)
"""Shortest and longest time a request may state: 40 m at a third of a metre a second. [s] [A]"""
VALID_RANGE_S = (1.0, 300.0)
"""Shortest and longest life of a request: up to the plan's longest service bound. [s] [A]"""
CONFIDENCE_SLACK = 0.05
"""Class confidences may miss a sum of 1 by this much: nine of them arrive rounded to 0.01 [A]."""

NAME = r"^[A-Za-z0-9_.-]{1,32}$"
Name = Annotated[str, Field(pattern=NAME)]
"""Name of a sensor, device, crossing, object or request: no topic wildcard, no separator."""
EpochMs = Annotated[int, Field(ge=1_577_836_800_000, le=4_102_444_800_000)]
"""UTC time, 2020 to 2100. [ms since 1970]"""
Metres = Annotated[float, Field(ge=-20, le=100)]
Confidence = Annotated[float, Field(ge=0, le=1)]


class Drop(StrEnum):
    """Why a message was not used."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_SOURCE = "unknown_source"
    WRONG_SENDER = "wrong_sender"
    UNKNOWN_CROSSING = "unknown_crossing"
    FOREIGN_CROSSING = "foreign_crossing"
    NO_REQUESTER = "no_requester"
    RETAINED = "retained"
    FROM_FUTURE = "from_future"
    TOO_OLD = "too_old"
    OUT_OF_ORDER = "out_of_order"
    REPLAYED = "replayed"
    TOO_FAST = "too_fast"
    TOO_MANY_OPEN = "too_many_open"
    OFF_CROSSING = "off_crossing"
    OVERFLOW = "overflow"


class MessagePart(BaseModel):
    """A part of a message: no unknown field, no coercion, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SeenObject(MessagePart):
    """One person as the sensor sees them (SDSM detected object)."""

    object_id: Name = Field(description="The sensor's number for the track; not of the person.")
    zone: Zone = Field(description="Where the person is.")
    x_m: Metres = Field(description="Position along the crossing from kerb A. [m]")
    towards: Literal["a", "b", "unknown"] = Field(description="Kerb they walk to; unknown: the far one.")
    vx_mps: float = Field(ge=-5, le=5, description="Velocity along the crossing, positive towards B. [m/s]")
    x_sd_m: float = Field(ge=0, le=10, description="Standard deviation of x_m. [m]")
    vx_sd_mps: float = Field(ge=0, le=5, description="Standard deviation of vx_mps. [m/s]")
    class_confidence: dict[str, Confidence] = Field(
        default_factory=dict,
        max_length=len(MOBILITY_CLASSES),
        json_schema_extra={"propertyNames": {"enum": list(MOBILITY_CLASSES)}},
        description="Probability of each class, summing to 1; empty: unknown.",
    )
    quality: Confidence = Field(1.0, description="Confidence that this is a person. [-]")
    first_seen_ms: EpochMs = Field(description="When this track began here. [ms, UTC]")
    age_ms: int = Field(0, ge=0, le=2_000, description="How long before measured_ms it was seen last. [ms]")
    wants_to_cross: bool = Field(
        default=True, description="At a kerb or on the island: waits to cross, does not pass by."
    )

    @model_validator(mode="after")
    def _classes_are_ours_and_sum_to_one(self) -> SeenObject:
        stated = self.class_confidence
        if stated and (
            not stated.keys() <= set(MOBILITY_CLASSES) or abs(sum(stated.values()) - 1) > CONFIDENCE_SLACK
        ):
            raise ValueError("class_confidence: use the classes of the schema, summing to 1, or none")
        return self


class CrossingView(MessagePart):
    """What one sensor sees of one crossing: *empty* is healthy without objects, *blind* is not healthy."""

    crossing: Name = Field(description="Crossing id of the site plan.")
    health: Literal["ok", "blind"] = Field(description="blind: this crossing cannot be seen now.")
    zones: tuple[Zone, ...] = Field(max_length=len(Zone), description="Zones in view now.")
    from_m: Metres | None = Field(None, description="The crossing is in view from here; null: kerb A. [m]")
    to_m: Metres | None = Field(None, description="To here; null: kerb B. [m]")
    objects: tuple[SeenObject, ...] = Field(max_length=MAX_OBJECTS, description="Everyone in view.")

    @model_validator(mode="after")
    def _blind_is_empty_and_ids_are_unique(self) -> CrossingView:
        if self.health == "blind" and (self.objects or self.zones):
            raise ValueError("a blind view has no zones and no objects")
        if len({each.object_id for each in self.objects}) < len(self.objects):
            raise ValueError("an object_id is there twice")
        return self


class _Message(MessagePart):
    message_version: Literal[1] = Field(description="1.")
    sender: Name = Field(description="User name at the broker; must be the topic's.")
    session_ms: EpochMs = Field(
        description="When the sender began to count; rises with each restart. [ms, UTC]"
    )
    sequence: int = Field(
        ge=0, le=2**53, description="Rises by 1 with each message of this kind (SDSM msgCnt)."
    )
    measured_ms: EpochMs = Field(
        description="When it was seen or asked, not sent (SDSM time stamp). [ms, UTC]"
    )

    @model_validator(mode="after")
    def _session_is_older(self) -> _Message:
        if self.session_ms > self.measured_ms:
            raise ValueError("session_ms is after measured_ms")
        return self


class Detections(_Message):
    """One picture of one sensor, on topic `.../USER/detections` (SDSM)."""

    type: Literal["detections"]
    crossings: tuple[CrossingView, ...] = Field(min_length=1, max_length=MAX_CROSSINGS)

    @model_validator(mode="after")
    def _crossings_are_unique(self) -> Detections:
        if len({view.crossing for view in self.crossings}) < len(self.crossings):
            raise ValueError("a crossing is there twice")
        return self


class Request(_Message):
    """One person's request to cross, on topic `.../USER/requests` (PSM)."""

    type: Literal["request"]
    request_id: Name = Field(description="The device's number for this request (PSM id: temporary).")
    crossing: Name = Field(description="Crossing id of the site plan.")
    zone: Literal["kerb_a", "kerb_b", "island"] = Field(description="Where they wait.")
    crossRequest: bool = Field(description="PSM: true asks to cross, false withdraws.")  # noqa: N815 - PSM
    crossState: bool = Field(description="PSM: true: already crossing; ends the request.")  # noqa: N815 - PSM
    assistType: tuple[Literal["vision", "hearing", "movement", "cognition"], ...] = Field(  # noqa: N815 - PSM
        (), max_length=4, description="PSM bits; checked and forgotten: seconds count, not reasons."
    )
    needed_s: float | None = Field(
        None,
        ge=NEEDED_RANGE_S[0],
        le=NEEDED_RANGE_S[1],
        description="Ours: seconds needed from the start of walk to the far kerb; null: not stated. [s]",
    )
    valid_s: float = Field(
        120.0, ge=VALID_RANGE_S[0], le=VALID_RANGE_S[1], description="Counts no more after this. [s]"
    )


class Status(MessagePart):
    """Whether a sender is there, on topic `.../USER/status`, retained; `offline` is its last will."""

    message_version: Literal[1] = Field(description="1.")
    type: Literal["status"]
    sender: Name = Field(description="User name at the broker; must be the topic's.")
    session_ms: EpochMs = Field(description="As in the sender's other messages. [ms, UTC]")
    state: Literal["online", "offline"]


Message: TypeAlias = Detections | Request | Status
KINDS: Final[Mapping[str, type[Detections | Request | Status]]] = {
    "detections": Detections,
    "requests": Request,
    "status": Status,
}
"""Last level of a topic, and the message it carries."""


def topic(site: str, user: str, kind: str) -> str:
    """Return the topic of a user's messages; `+` stands for every user."""
    return f"{TOPIC_ROOT}/{site}/{user}/{kind}"


def parse_topic(text: str, site: str | None = None) -> tuple[str, str] | None:
    """Return (user, kind) of a topic; None if it is none of ours, or not of this site."""
    levels = text.split("/")
    if len(levels) != 5 or "/".join(levels[:2]) != TOPIC_ROOT or levels[4] not in KINDS:  # noqa: PLR2004
        return None
    return (levels[3], levels[4]) if site in {None, levels[2]} else None


def parse(kind: str, payload: bytes) -> Message | Drop:
    """Return the message in a payload, or why there is none; no payload raises.

    Parameters
    ----------
    kind : last level of the topic: detections, requests or status.
    payload : bytes as they came.
    """
    if len(payload) > MAX_BYTES:
        return Drop.TOO_LARGE
    try:
        return KINDS[kind].model_validate_json(payload)
    except ValidationError as error:
        return _reason(error)


def _reason(error: ValidationError) -> Drop:
    places = (
        each["loc"] for each in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return Drop.UNKNOWN_VERSION if ("message_version",) in places else Drop.MALFORMED


def explain(kind: str, payload: bytes) -> str:
    """Return what is wrong with a payload in one line, without quoting it; empty if nothing is."""
    dropped = parse(kind, payload)
    if dropped is Drop.TOO_LARGE:
        return f"{len(payload)} bytes; at most {MAX_BYTES} are read"
    if not isinstance(dropped, Drop):
        return ""
    try:
        KINDS[kind].model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "message"
        return f"{place}: {first['msg']}"
    return ""


def to_json(message: Message) -> bytes:
    """Return a message as it is sent."""
    return message.model_dump_json().encode()


def messages_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of all messages (draft 2020-12)."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Message, Field(discriminator="type")])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bitgoeul field messages",
        "description": f"message_version {MESSAGE_VERSION}; topics {topic('SITE', 'USER', 'KIND')}",
        **adapter.json_schema(),
    }

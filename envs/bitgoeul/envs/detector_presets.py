"""How good each emulated sensor is: presets from `detector_presets.toml`, changed by `name:field=value`."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.sim_scenarios.tables import SHARE_TOLERANCE, read_table

from .detector_classes import ClassRow, ClassTable

PRESETS_FILE: Final = Path(__file__).parent / "detector_presets.toml"
TAGGED: Final = re.compile(r"[SMA](: .+)?")
"""A source: S, M or A, and what it is."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Metres = Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0.05, le=3_600, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DetectorPreset:
    """How good a sensor is. Two kinds of miss are never mixed: a person, and a frame.

    Parameters
    ----------
    name : as the user stated it, with what they changed.
    is_button : buttons only: calls from the kerbs, blind on the crossing.
    person_recall : share of persons who are ever seen (who push, if `is_button`), over the class mix.
    frame_seen_share : share of the time in which a seen person on a crossing, whom nobody hides, is in
        the picture.
    mean_gap_s : mean length of the gaps in between; both periods are exponential. [s]
    view_from_share, view_to_share : part of a crossing in view, from kerb A.
    sees_kerb_a, sees_kerb_b, sees_island : whether who waits there is seen.
    occlusion_depth : who stands behind somebody by less than this share of that one's distance from the
        sensor is hidden; 0: nobody hides anybody.
    body_width_m : the line of sight to a hidden person passes within half of this of who hides them. [m]
    latency_s : mean time from taking a picture to delivering it. [s]
    latency_cv : its standard deviation over its mean (gamma); 0: constant.
    position_noise_m : standard deviation of the distance to the far kerb, at mid-crossing. [m]
    speed_noise_mps : standard deviation of the speed, at mid-crossing. [m/s]
    noise_growth : both grow from 1 - this at the sensor's kerb to 1 + this at the far one.
    class_precision : share of reported classes that are right, over the class mix.
    unknown_class_share : share of persons whose class is not reported.
    breaks_per_min : how often a track on a crossing ends and goes on under a new number. [1/min]
    switches_per_min : how often two near tracks swap numbers, per minute of nearness. [1/min]
    switch_within_m : tracks this near along and across the crossing may swap. [m]
    false_tracks_per_h : false tracks an hour and crossing. [1/h]
    false_track_mean_s : mean life of a false track. [s]
    false_moving_share : share of false tracks that move.
    false_speed_mps : speed of those. [m/s]
    outage_share : share of the time in which a crossing's sensor is blind; 1 is always.
    outage_mean_s : mean length of an outage. [s]
    """

    name: str
    is_button: bool
    person_recall: Share
    frame_seen_share: Share
    mean_gap_s: Seconds
    view_from_share: Share
    view_to_share: Share
    sees_kerb_a: bool
    sees_kerb_b: bool
    sees_island: bool
    occlusion_depth: Share
    body_width_m: Metres
    latency_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]
    latency_cv: Share
    position_noise_m: Metres
    speed_noise_mps: Metres
    noise_growth: Share
    class_precision: Share
    unknown_class_share: Share
    breaks_per_min: Rate
    switches_per_min: Rate
    switch_within_m: Metres
    false_tracks_per_h: Rate
    false_track_mean_s: Seconds
    false_moving_share: Share
    false_speed_mps: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    outage_share: Share
    outage_mean_s: Seconds

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        chance = class_table().chance
        if self.class_precision < chance:
            raise ValueError(
                f"class_precision = {self.class_precision:g} is below {chance:.2f}, what guessing gives; "
                "unknown_class_share=1 reports no class at all"
            )
        if self.view_from_share >= self.view_to_share:
            raise ValueError(
                f"view_from_share = {self.view_from_share:g} must be below view_to_share = "
                f"{self.view_to_share:g}"
            )
        if self.frame_seen_share <= 0:
            raise ValueError("frame_seen_share = 0: must be above 0; use the preset off for no sensor")
        return self


Figure = tuple[bool | float, Annotated[str, Field(pattern=TAGGED)]]
"""A value and its source."""


class PresetRow(BaseModel):
    """One preset of the file: figures with their sources, on top of those of another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    like: str | None = None
    about: Annotated[str, Field(min_length=1)]
    figures: dict[str, Figure]


class PresetFile(BaseModel):
    """The file `detector_presets.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    classes: tuple[ClassRow, ...]
    presets: dict[str, PresetRow]

    @model_validator(mode="after")
    def _every_class_stands_once(self) -> Self:
        if sorted(row.id for row in self.classes) != sorted(MOBILITY_CLASSES):
            raise ValueError(f"each class must stand once: {', '.join(MOBILITY_CLASSES)}")
        if abs(sum(row.share for row in self.classes) - 1) > SHARE_TOLERANCE:
            raise ValueError("the shares of the classes must sum to 1")
        return self

    def figures(self, name: str) -> dict[str, Figure]:
        """Return all figures of a preset with their sources, its own before those of the one it is like."""
        row = self.presets[name]
        return ({} if row.like is None else self.figures(row.like)) | row.figures


@lru_cache(maxsize=1)
def preset_file() -> PresetFile:
    """Return the shipped file, read once."""
    return read_table(PRESETS_FILE, PresetFile)


@lru_cache(maxsize=1)
def class_table() -> ClassTable:
    """Return how sensors see each class."""
    rows = {row.id: row for row in preset_file().classes}
    return ClassTable(tuple(rows[name] for name in MOBILITY_CLASSES))


def _shipped(name: str) -> DetectorPreset:
    values = {field: value for field, (value, _) in preset_file().figures(name).items()}
    try:
        return DetectorPreset(name=name, **cast("dict[str, Any]", values))
    except ValidationError as fault:
        raise ScenarioError(f"{PRESETS_FILE}: presets.{name}: {_told(fault)}") from None


PRESETS: Final[dict[str, DetectorPreset]] = {name: _shipped(name) for name in preset_file().presets}
PERFECT: Final = PRESETS["perfect"]
"""The upper bound."""
CAMERA_DAY: Final = PRESETS["camera_day"]
"""The default."""
FIELDS: Final = tuple(field.name for field in fields(DetectorPreset) if field.name != "name")
"""What may be changed."""


def preset(text: str) -> DetectorPreset:
    """Return a preset by name, with changes if any: `camera_day:person_recall=0.8:latency_s=2`.

    Raises
    ------
    ValueError : no such preset or field, a field twice, or a value out of its range; the message says
        what is allowed.
    """
    name, *changes = text.split(":")
    if name not in PRESETS:
        raise ValueError(f"detector preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    values: dict[str, Any] = {}
    for change in changes:
        field, has_value, value = change.partition("=")
        if field not in FIELDS or not has_value:
            raise ValueError(
                f"detector {text!r}: {change!r} is no field=value; the fields are {', '.join(FIELDS)}"
            )
        if field in values:
            raise ValueError(f"detector {text!r}: {field} stands twice; state it once")
        values[field] = value
    try:
        return replace(PRESETS[name], name=text, **values)
    except ValidationError as fault:
        raise ValueError(f"detector {text!r}: {_told(fault)}") from None


def _told(fault: ValidationError) -> str:
    """Return each fault as `field = value: what is allowed`."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))} = {each['input']}: {each['msg'][0].lower()}{each['msg'][1:]}"
        if each["loc"]
        else each["msg"].removeprefix("Value error, ")
        for each in fault.errors(include_url=False)
    )


def presets_table() -> str:
    """Return the presets as a Markdown table: fields down, presets across; docs/detectors.md shows it."""
    lines = [f"| | {' | '.join(PRESETS)} |", f"|---|{'---|' * len(PRESETS)}"]
    for field in FIELDS:
        values = [_cell(getattr(each, field)) for each in PRESETS.values()]
        lines.append(f"| `{field}` | {' | '.join(values)} |")
    return "\n".join(lines)


def sources_table() -> str:
    """Return each preset's own figures with their sources as a Markdown table."""
    lines = ["| preset | figure | value | source |", "|---|---|---|---|"]
    for name, row in preset_file().presets.items():
        lines += [f"| {name} | `{f}` | {_cell(v)} | {source} |" for f, (v, source) in row.figures.items()]
    return "\n".join(lines)


def classes_table() -> str:
    """Return how `camera_day` and `push_button` see each class as a Markdown table."""
    table, day, button = class_table(), PRESETS["camera_day"], PRESETS["push_button"]
    confusion = table.confusion(day.class_precision)
    stated = table.stated(confusion)
    recalls, presses = table.recalls(day.person_recall), table.recalls(button.person_recall, is_button=True)
    lines = [
        "| class | share | seen | pushes | read right | oftenest taken for | a report of it is right |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, name in enumerate(MOBILITY_CLASSES):
        row = confusion[place]
        other = max((p for p in range(len(row)) if p != place), key=row.__getitem__)
        shares = (table.mix[place], recalls[place], presses[place], row[place])
        lines.append(
            f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} | "
            f"{MOBILITY_CLASSES[other]} ({row[other]:.3f}) | {stated[place][place]:.3f} |"
        )
    return "\n".join(lines)


def _cell(value: bool | float) -> str:  # noqa: FBT001 - a figure is either
    return ("no", "yes")[value] if isinstance(value, bool) else f"{value:g}"

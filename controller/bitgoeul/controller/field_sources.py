"""Who may say what: the file that lists a site's sensors and request gateways."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from .detection import Zone
from .errors import ScenarioError
from .messages import MessagePart, Name
from .plan import SitePlan


class FieldSource(MessagePart):
    """One user of the broker.

    Parameters
    ----------
    user : user name at the broker: the common name of the client certificate.
    crossings : what it may speak of.
    zones : what it shows when it is well; empty for one that only passes on requests.
    may_request : passes on people's requests.
    """

    user: Name
    crossings: tuple[Name, ...] = Field(min_length=1)
    zones: tuple[Zone, ...] = ()
    may_request: bool = False


class FieldSources(MessagePart):
    """All sources of one site."""

    source_version: int = Field(1, ge=1, le=1)
    sources: tuple[FieldSource, ...]


def load_sources(path: Path, plan: SitePlan) -> tuple[FieldSource, ...]:
    """Return the sources of a file, checked against the plan.

    Raises
    ------
    ScenarioError : the file is no list of sources, or names a crossing that the plan has not.
    OSError : it cannot be read.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ScenarioError(f"{path}: is no TOML file: {fault}") from None
    return checked_sources(document, plan, str(path))


def checked_sources(document: dict[str, Any], plan: SitePlan, where: str) -> tuple[FieldSource, ...]:
    """Return the sources of a document; see `load_sources`."""
    try:
        sources = FieldSources.model_validate(document, strict=False).sources
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ScenarioError(f"{where}: {place} = {str(first['input'])[:60]!r}: {first['msg']}") from None
    known = [crossing.id for crossing in plan.crossings]
    for source in sources:
        for crossing in source.crossings:
            if crossing not in known:
                there = ", ".join(known)
                raise ScenarioError(
                    f"{where}: source {source.user} names crossing {crossing!r}; the plan has {there}"
                )
    if len({source.user for source in sources}) < len(sources):
        raise ScenarioError(f"{where}: a user is there twice; list each once with all its crossings")
    return sources


def whole_view_sources(users: dict[str, tuple[str, ...]]) -> tuple[FieldSource, ...]:
    """Return sensors that each see both kerbs and the crossing, by user and crossings."""
    zones = (Zone.KERB_A, Zone.CROSSING, Zone.KERB_B)
    return tuple(
        FieldSource(user=user, crossings=crossings, zones=zones) for user, crossings in users.items()
    )

"""Keep each run of a comparison as one complete part on disk, and join the parts into Parquet tables."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bitgoeul.controller.detection import MOBILITY_CLASSES
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.files import whole_file
from bitgoeul.training.intervals import CONDITION

if TYPE_CHECKING:
    from bitgoeul.envs.world import RunResult, RunSpec

TABLES: Final = ("rows", "events", "extensions", "timings")
"""Tables of a part and of a merged comparison. Only `timings` differs between two equal runs."""
TIMING_PREFIXES: Final = ("decision_ms", "wall_")
"""Columns of a run's row that measure this computer, not the junction."""
RUN_COLUMNS: Final = (*CONDITION, "seed")
"""Columns that name the run in every table."""
EVENT_COLUMNS: Final[Mapping[str, type[Any]]] = {
    "walker": str,
    "crossing": str,
    "length_m": float,
    "mobility_class": str,
    "kerb": str,
    "entered_s": float,
    "entry": str,
    "wait_s": float,
    "crossing_s": float,
    "delay_s": float,
    "is_residual": bool,
    "residual_m": float,
    "needed_after_clearance_s": float,
    "is_within_max": bool,
    "unserved_need_s": float,
    "extension_s": float,
    "exposure_s": float,
    "exposure_lane_s": float,
    "exposure_yield_s": float,
    "pet_s": float,
    "pet_ahead_s": float,
    "pet_turn_s": float,
    "pet_turn_ahead_s": float,
    "was_detected": bool,
}
"""One walker's crossing, as the truth has it; docs/measures.md defines each."""
LEGAL_ENTRIES: Final = ("walk_first", "walk_second")
"""Entries on walk: the starters that are legal."""
EXTENSION_COLUMNS: Final[Mapping[str, type[Any]]] = {
    "crossing": str,
    "started_s": float,
    "seconds": float,
    "reason": str,
}
"""One extension: where, when, how long and why."""
_POLARS: Final[Mapping[type[Any], Any]] = {
    str: pl.String,
    float: pl.Float64,
    bool: pl.Boolean,
    int: pl.Int64,
}
_SOURCE_SUFFIXES: Final = (".py", ".toml", ".xml", ".onnx", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStore:
    """The runs of a comparison in one folder: `parts/<key>/` per run, merged tables beside it.

    A part is a folder renamed into place when it is complete, so it is either whole or absent.

    Parameters
    ----------
    folder : folder of the comparison.
    version : what besides the run's own settings decides its result (see `code_version`).
    token : tells this process's unfinished parts from another's.
    """

    folder: Path
    version: str
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def parts(self) -> Path:
        """Folder of the parts."""
        return self.folder / "parts"

    def key(self, spec: RunSpec) -> str:
        """Return the name of the run's part: a hash of its settings and the version."""
        text = json.dumps({"spec": asdict(spec), "version": self.version}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def part(self, spec: RunSpec) -> Path:
        """Return where the run's part is, or will be."""
        return self.parts / self.key(spec)

    def is_done(self, spec: RunSpec) -> bool:
        """Return True if the run is stored and undamaged, False if it has yet to run.

        Raises
        ------
        ScenarioError : the part is there but damaged; the message names the file.
        """
        part = self.part(spec)
        if not part.exists():
            return False
        check_part(part)
        return True

    def reserve(self, spec: RunSpec) -> Path:
        """Make and return the folder in which this process prepares the run's part."""
        folder = self.parts / f".{self.key(spec)}.{self.token}.{os.getpid()}"
        folder.mkdir(parents=True)
        return folder

    def reserved(self) -> dict[int, str]:
        """Return the key of the run that each process of ours has begun, by process id."""
        unfinished = (path.name.split(".") for path in self.parts.glob(f".*.{self.token}.*"))
        return {int(pid): key for _, key, _, pid in unfinished}

    def write(self, spec: RunSpec, result: RunResult, *, wall_s: float) -> None:
        """Store one run; until the last step nothing of it can be seen.

        Parameters
        ----------
        spec : the run's settings.
        result : what came of it.
        wall_s : how long it took on this computer. [s]
        """
        folder = self.parts / f".{self.key(spec)}.{self.token}.{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in _frames(spec, result, wall_s).items():
            frame.write_parquet(folder / f"{name}.parquet")
        (folder / "strip.json").write_text(json.dumps(result.strip), encoding="utf-8")
        files = {path.name: _digest(path.read_bytes()) for path in sorted(folder.iterdir())}
        part = {"spec": asdict(spec), "version": self.version, "files": files}
        (folder / "part.json").write_text(json.dumps(part, indent=1), encoding="utf-8")
        try:
            folder.rename(self.part(spec))
        except OSError:
            if not self.is_done(spec):  # else another process stored the same run first
                raise
            shutil.rmtree(folder)

    def sweep(self) -> None:
        """Remove the unfinished parts of this comparison's processes."""
        for folder in self.parts.glob(f".*.{self.token}.*"):
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove all parts in the folder."""
        if self.parts.exists():
            shutil.rmtree(self.parts)

    def read(self, table: str, specs: Iterable[RunSpec]) -> pl.DataFrame:
        """Return one table of the given runs, in their order."""
        frames = [pl.read_parquet(self.part(spec) / f"{table}.parquet") for spec in specs]
        return pl.concat(frames, how="diagonal_relaxed")

    def strip(self, spec: RunSpec) -> dict[str, Any] | None:
        """Return the run's time-space strip; None if none was recorded."""
        strip: dict[str, Any] | None = json.loads((self.part(spec) / "strip.json").read_text("utf-8"))
        return strip

    def merge(self, specs: Sequence[RunSpec]) -> dict[str, Path]:
        """Write `rows`, `events`, `extensions` and `timings` of the given runs; return their paths."""
        paths = {}
        for table in TABLES:
            paths[table] = self.folder / f"{table}.parquet"
            write_parquet(paths[table], self.read(table, specs))
        return paths


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table under a temporary name, then rename it, so that no half of it is ever seen.

    Raises
    ------
    ScenarioError : the folder cannot be written to.
    """
    try:
        with whole_file(path) as temporary:
            table.write_parquet(temporary)
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be written: {fault.strerror or fault}") from None


def check_part(part: Path) -> None:
    """Check each file of a part against the sums stored with it.

    Raises
    ------
    ScenarioError : a file is missing, cut short or changed; the message names it and says what to do.
    """
    advice = "remove its folder to run it again, or use --fresh for all"
    listing = part / "part.json"
    try:
        files = dict(json.loads(listing.read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ScenarioError(f"{listing}: stored run is damaged ({fault}); {advice}") from fault
    for name, digest in files.items():
        path = part / name
        try:
            is_whole = _digest(path.read_bytes()) == digest
        except OSError as fault:
            raise ScenarioError(f"{path}: stored run is damaged ({fault.strerror}); {advice}") from fault
        if not is_whole:
            raise ScenarioError(f"{path}: stored run is damaged (its content changed); {advice}")


def code_version(extra_files: Iterable[Path] = ()) -> str:
    """Return a hash of all code and site files that a run's result depends on.

    Parameters
    ----------
    extra_files : files outside the packages that matter too (a plan or policy given by path).
    """
    digest = hashlib.blake2b(digest_size=12)
    for package in ("bitgoeul.controller", "bitgoeul.sim_scenarios", "bitgoeul.envs"):
        _digest_sources(resources.files(package), digest, package)
    for path in sorted(extra_files):
        digest.update(path.name.encode() + path.read_bytes())
    for distribution in ("libsumo", "numpy"):
        try:
            digest.update(f"{distribution} {metadata.version(distribution)}".encode())
        except metadata.PackageNotFoundError:
            digest.update(f"{distribution} absent".encode())
    return digest.hexdigest()


def _digest_sources(folder: Traversable, digest: Any, place: str) -> None:
    """Add the name and content of every source file under `folder`."""
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.is_dir():
            _digest_sources(entry, digest, f"{place}/{entry.name}")
        elif entry.name.endswith(_SOURCE_SUFFIXES):
            digest.update(f"{place}/{entry.name}".encode())
            digest.update(entry.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def event_counts(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return crossings and residual walkers of a run: all, legal, legal within the maximum, by class.

    Parameters
    ----------
    events : one record per walker; one who never entered has `entered_s` None and is not counted.
    """
    crossed = [event for event in events if event["entered_s"] is not None]
    legal = [event for event in crossed if event["entry"] in LEGAL_ENTRIES]
    groups = {
        "": crossed,
        "_legal": legal,
        "_within_max": [event for event in legal if event["is_within_max"]],
    }
    for mobility_class in MOBILITY_CLASSES:
        groups[f"_{mobility_class}"] = [e for e in crossed if e["mobility_class"] == mobility_class]
    counts = {}
    for suffix, group in groups.items():
        counts[f"crossings_n{suffix}"] = len(group)
        counts[f"residual_n{suffix}"] = sum(bool(event["is_residual"]) for event in group)
    return counts


def _frames(spec: RunSpec, result: RunResult, wall_s: float) -> dict[str, pl.DataFrame]:
    """Return the run's tables by name."""
    named = {name: getattr(spec, name) for name in RUN_COLUMNS}
    named["extension_max_s"] = _cast(spec.extension_max_s, float)
    counts = event_counts(result.events)
    row = {"minutes": spec.minutes, **counts, **result.row, "trace_hash": result.trace_hash, **named}
    timing = {name: row.pop(name) for name in list(row) if name.startswith(TIMING_PREFIXES)}
    return {
        "rows": _frame([row], {}, named),
        "events": _frame(result.events, EVENT_COLUMNS, named),
        "extensions": _frame(result.extensions, EXTENSION_COLUMNS, named),
        "timings": _frame([{**timing, "wall_s": wall_s}], {}, named),
    }


def _frame(
    records: Sequence[Mapping[str, Any]], columns: Mapping[str, type[Any]], named: Mapping[str, Any]
) -> pl.DataFrame:
    """Return records as a table with the run's own columns first, also when there are none.

    Raises
    ------
    ScenarioError : a record lacks a column.
    """
    for record in records:
        if lacking := set(columns) - set(record):
            raise ScenarioError(f"a run's record lacks {', '.join(sorted(lacking))}: {dict(record)}")
    types = {**dict.fromkeys(named, pl.String), "extension_max_s": pl.Float64, "seed": pl.Int64}
    types |= {name: _POLARS[kind] for name, kind in columns.items()}
    plain = [
        {
            **named,
            **{name: _cast(value, columns.get(name)) for name, value in record.items() if name not in named},
        }
        for record in records
    ]
    if not plain:
        return pl.DataFrame(schema=types)
    return pl.DataFrame(plain, schema_overrides=types, infer_schema_length=None).select(
        *named, pl.exclude(*named)
    )


def _cast(value: Any, kind: type[Any] | None) -> Any:
    return value if value is None or kind is None else kind(value)

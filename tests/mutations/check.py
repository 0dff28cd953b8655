"""Put each deliberate fault of `mutations.toml` into a copy of the controller: do the tests notice?

    python tests/mutations/check.py                 all of them, and docs/mutations.md
    python tests/mutations/check.py --only guard-03,unit
    python tests/mutations/check.py --resume        those not yet tried on these very sources and tests

Exit status: 0 all killed, 1 some survived, 2 the list is stale or the tests fail without any fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutations.toml")
SOURCES = Path("controller/bitgoeul/controller")
COPIED = (
    "controller",
    "tests/controller",
    "tests/laws",
    "tests/field",
    "tests/conftest.py",
    "benchmarks",
    "docs",
    "pyproject.toml",
)
FIRST = (
    "safety_lines",
    "safety_lines_guard",
    "core",
    "guard",
    "clocks",
    "need",
    "monitor",
    "timing",
    "choices",
    "overrides",
)
"""Controller tests that are quick and notice most: asked first, and alone."""
ALL = ("tests/controller", "tests/laws")
RESULTS = ROOT / "out" / "mutations.json"
TABLE = ROOT / "docs" / "mutations.md"
WORKERS = 2
EXAMPLES = 25
"""Hypothesis examples of each law."""
TIMEOUT_S = 400
"""A fault that lets the tests run on for ever is noticed too."""
NO_ENDING = -1
"""Our own exit status for tests that run on for ever."""
NOTICED = (1, 2, NO_ENDING)
"""Exit statuses of tests that fail, that cannot be collected, that do not end."""


class StaleError(Exception):
    """The list does not fit the sources, or the tests fail by themselves."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One deliberate fault: `old` becomes `new` in a module; `breaks` says what that does on the street."""

    name: str
    module: str
    breaks: str
    old: str
    new: str

    @property
    def path(self) -> Path:
        return SOURCES / f"{self.module}.py"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutation: `killed` by which test, or `survived`."""

    name: str
    breaks: str
    verdict: str
    test: str


def mutations() -> list[Mutation]:
    """Return the list, numbered within each module."""
    modules = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [
        Mutation(name=f"{module}-{number:02}", module=module, **each)
        for module, listed in modules.items()
        for number, each in enumerate(listed, start=1)
    ]


def stale(chosen: Iterable[Mutation], root: Path = ROOT) -> Iterator[str]:
    """Yield what is wrong with mutations: `old` not there exactly once, no change, or no Python."""
    for each in chosen:
        path = root / each.path
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        count = source.count(each.old)
        if count != 1:
            yield f"{each.name}: its old text is there {count} times, not once: {each.old!r}"
        elif each.old == each.new:
            yield f"{each.name}: changes nothing"
        else:
            try:
                compile(source.replace(each.old, each.new), str(each.path), "exec")
            except SyntaxError as error:
                yield f"{each.name}: is no Python ({error})"


def copy_tree(target: Path) -> None:
    """Copy what is tested and its tests, without caches."""
    for part in COPIED:
        source, copied = ROOT / part, target / part
        if source.is_dir():
            shutil.copytree(source, copied, ignore=shutil.ignore_patterns("__pycache__", "images"))
        else:
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copied)


def digest(folder: Path) -> str:
    """Return a hash of sources and tests: results hold for these only."""
    found = hashlib.sha256()
    parts = (folder / "controller", folder / "tests")
    for path in sorted(path for part in parts for path in part.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def run_tests(copy: Path, tests: Iterable[str] = ALL) -> tuple[int, str]:
    """Return pytest's exit status in a copy, and the first test that failed."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(copy / "controller"), str(Path(__file__).parent))),
        "PYTHONDONTWRITEBYTECODE": "1",  # a fault of the same length must not meet stale bytecode
        "BITGOEUL_MUTATED_COPY": str(copy),
        "BITGOEUL_MUTATION_EXAMPLES": str(EXAMPLES),
    }
    command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-p", "scratch_plugin", "-m", "not long and not sumo"]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return NO_ENDING, "none ends"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    first = (
        failed[0].split(" ", 1)[1].split(" - ")[0] if failed else done.stdout[-2000:] + done.stderr[-2000:]
    )
    return done.returncode, first


def _quick(copy: Path) -> list[str]:
    names = (f"tests/controller/test_{name}.py" for name in FIRST)
    return [name for name in names if (copy / name).exists()]


def try_one(each: Mutation, copies: SimpleQueue[Path]) -> Outcome:
    """Put one fault into a free copy, test it, and take it out again."""
    copy = copies.get()
    path = copy / each.path
    source = path.read_text(encoding="utf-8")
    try:
        path.write_text(source.replace(each.old, each.new), encoding="utf-8")
        status, test = run_tests(copy, _quick(copy))
        if status == 0:
            status, test = run_tests(copy)
    finally:
        path.write_text(source, encoding="utf-8")
        copies.put(copy)
    if status == 0:
        return Outcome(each.name, each.breaks, "survived", "")
    if status not in NOTICED:
        raise StaleError(f"{each.name}: pytest ended with {status}: {test}")
    return Outcome(each.name, each.breaks, "killed", test)


def try_all(chosen: list[Mutation], *, is_resumed: bool) -> list[Outcome]:
    """Try mutations in two copies at a time; results are kept as they come."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        copies: SimpleQueue[Path] = SimpleQueue()
        folders = [Path(name) / str(number) for number in range(WORKERS)]
        for folder in folders:
            copy_tree(folder)
            copies.put(folder)
        if faults := list(stale(chosen, folders[0])):
            raise StaleError("\n".join(faults))
        key = digest(folders[0])
        known = _known(key) if is_resumed else {}
        left = [each for each in chosen if _key(each) not in known]
        status, failed = run_tests(folders[0]) if left else (0, "")
        if status:
            raise StaleError(f"the tests fail without any fault: {failed}")
        with _progress() as progress, ThreadPoolExecutor(WORKERS) as pool:
            task = progress.add_task("mutations", total=len(left))
            running = {pool.submit(try_one, each, copies): each for each in left}
            for done in as_completed(running):
                known[_key(running[done])] = asdict(done.result())
                _keep(key, known)
                progress.advance(task)
    return [Outcome(**known[_key(each)]) for each in chosen]


def _key(each: Mutation) -> str:
    return hashlib.sha256(repr((each.module, each.old, each.new)).encode()).hexdigest()[:16]


def _known(key: str) -> dict[str, dict[str, str]]:
    if not RESULTS.exists():
        return {}
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    return dict(stored["outcomes"]) if stored["digest"] == key else {}


def _keep(key: str, outcomes: dict[str, dict[str, str]]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    write(RESULTS, json.dumps({"digest": key, "outcomes": outcomes}, indent=1))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def table(outcomes: list[Outcome]) -> str:
    """Return the results as a page of the docs."""
    killed = sum(each.verdict == "killed" for each in outcomes)
    rows = [
        f"| {each.name} | {each.breaks} | {each.verdict} | {each.test.rpartition('/')[2].partition('[')[0]} |"
        for each in outcomes
    ]
    return "\n".join(
        [
            "# Mutations",
            "",
            "Deliberate faults in the lines that safety rests on (`tests/mutations/mutations.toml`), each",
            "put into a copy of the controller and tested with the controller's tests and the laws. A fault",
            "that no test notices has *survived*. `make mutations` writes this page.",
            "",
            f"{killed} of {len(outcomes)} killed.",
            "",
            "| fault | what it does | | noticed first by |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _progress() -> Progress:
    console = Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*parts, console=console, transient=True)


def _chosen(only: str) -> list[Mutation]:
    """Return the mutations named: `guard-03`, or a whole module `guard`."""
    listed = mutations()
    names = [name for name in only.split(",") if name]
    known = {each.name for each in listed} | {each.module for each in listed}
    if unknown := [name for name in names if name not in known]:
        raise StaleError(f"--only: no mutation {', '.join(unknown)}")
    return [each for each in listed if not names or {each.name, each.module} & set(names)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Try deliberate faults against the tests.")
    parser.add_argument("--only", default="", help="names or modules, with commas; leaves docs alone")
    parser.add_argument("--resume", action="store_true", help="keep results of the same sources and tests")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    options = parser.parse_args(arguments)
    try:
        outcomes = try_all(_chosen(options.only), is_resumed=options.resume)
    except StaleError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    if not options.only:
        write(TABLE, table(outcomes))
    survivors = [each for each in outcomes if each.verdict == "survived"]
    if options.json:
        click.echo(json.dumps([asdict(each) for each in outcomes]))
    else:
        for each in survivors:
            click.echo(f"{each.name} survived: {each.breaks}")
        click.echo(f"{len(outcomes) - len(survivors)} of {len(outcomes)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

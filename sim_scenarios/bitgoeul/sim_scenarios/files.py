"""Writing files and folders whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.files import write_whole


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it.

    Raises
    ------
    ScenarioError : the folder cannot be written to.
    """
    try:
        write_whole(path, text)
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be written: {fault.strerror or fault}") from None


def make_folder(path: Path) -> None:
    """Make a folder and those above it, as far as they are missing.

    Raises
    ------
    ScenarioError : it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ScenarioError(f"{path}: cannot be made: {fault.strerror or fault}") from None


@contextmanager
def new_folder(target: Path, *, replace: bool) -> Iterator[Path]:
    """Give a temporary folder to fill; on success it becomes `target`, on any error it is removed.

    Parameters
    ----------
    target : where the folder is to be.
    replace : True: an existing `target` makes way; False: it stays and the new folder is dropped.

    Raises
    ------
    ScenarioError : the parent folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as fault:
        raise ScenarioError(f"{target}: cannot be written: {fault.strerror or fault}") from None
    try:
        yield temporary
        temporary.chmod(0o755)
        _move_into_place(temporary, target, replace=replace)
    except OSError as fault:
        raise ScenarioError(f"{target}: cannot be written: {fault.strerror or fault}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary: Path, target: Path, *, replace: bool) -> None:
    if not replace:
        # Another process may have put the same folder there meanwhile: then its copy serves.
        with suppress(OSError):
            temporary.rename(target)
        if not target.is_dir():
            temporary.rename(target)
        return
    if not target.exists():
        temporary.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    target.rename(aside)
    try:
        temporary.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)

"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file to fill, which then takes the place of `path`; on any error it is removed.

    Raises
    ------
    OSError : the folder cannot be written to; it names `path`, not the temporary file.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, str(path)) from None


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it, so that no half of it is ever seen.

    Raises
    ------
    OSError : the folder cannot be written to; it names `path`, not the temporary file.
    """
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)

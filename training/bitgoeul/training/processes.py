"""Starting and ending worker processes so that Ctrl-C and SIGTERM leave none behind."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final

GOODBYE_S: Final = 5.0
"""How long a worker process may take to end before it is killed. [s]"""
EXIT_TERMINATED: Final = 143
"""Exit status after SIGTERM: 128 + 15, as shells report it."""


@contextmanager
def sigint_held() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile never get it, so that this one alone decides."""
    if not hasattr(signal, "pthread_sigmask"):  # not POSIX
        yield
        return
    resource_tracker.ensure_running()  # it takes Ctrl-C off hold when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an ordinary exit, so that worker processes are ended on the way out."""

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame
        sys.exit(EXIT_TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give the processes started meanwhile one folder for their scratch files, removed at the end.

    A worker that is ended in the middle of a run cannot clear up after itself.
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="bitgoeul-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def await_end(processes: Collection[BaseProcess]) -> None:
    """Wait for processes that were told to end; terminate, then kill those that do not."""
    for process in processes:
        process.join(GOODBYE_S)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(GOODBYE_S)
        if process.is_alive():
            process.kill()
            process.join()

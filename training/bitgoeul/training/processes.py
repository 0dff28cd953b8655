"""Starting and ending worker processes so that Ctrl-C and SIGTERM leave none behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

GOODBYE_S: Final = 5.0
"""How long a worker process may take to end before it is killed. [s]"""
POLL_S: Final = 1.0
"""Longest wait without looking for signals. [s]"""
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


def begin_worker(scratch: Path | None = None) -> None:
    """Tie this worker to its parent and keep SUMO's own output off the terminal.

    Parameters
    ----------
    scratch : removed by the workers if their parent ended without doing so.

    Notes
    -----
    SUMO's warnings are in its log, and counted; errors travel back as values. BITGOEUL_TRACEBACK=1 lets
    everything through to standard error.
    """
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()
    sink = os.open(os.devnull, os.O_WRONLY)
    shows_all = os.environ.get("BITGOEUL_TRACEBACK", "") not in {"", "0"}
    os.dup2(2 if shows_all else sink, 1)
    os.dup2(2 if shows_all else sink, 2)
    os.close(sink)


def _end_with_parent(scratch: Path | None) -> None:
    """End this worker when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)


def end_pool(pool: ProcessPoolExecutor, started: Collection[BaseProcess]) -> None:
    """Leave no worker process behind, whatever happened."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in started:
        if child.is_alive():
            child.terminate()
    await_end(started)


def run_in_workers(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, on_done: Callable[[], None]
) -> list[Result]:
    """Run a function on each item in worker processes; return the results in the items' order.

    Parameters
    ----------
    work : a function of a module; what it raises is raised here, and the others are ended.
    items : what to work on.
    workers : number of processes.
    on_done : called after each item.
    """
    older = set(multiprocessing.active_children())
    with ending_on_sigterm(), scratch_folder():
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(
            max_workers=min(workers, len(items)), mp_context=context, initializer=begin_worker
        )
        try:
            with sigint_held():
                futures = [pool.submit(work, item) for item in items]
            waiting: set[Future[Result]] = set(futures)
            while waiting:
                ended, waiting = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                    on_done()
            return [future.result() for future in futures]
        finally:
            end_pool(pool, set(multiprocessing.active_children()) - older)

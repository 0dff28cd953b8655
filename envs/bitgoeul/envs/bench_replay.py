"""Any program's run on SUMO against a bare replay of what it told SUMO, whoever the program is.

The recorder stands between a program and SUMO and notes each call that changes the simulation; the replay
makes the same calls before the same steps and does nothing else.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from bitgoeul.controller.errors import ScenarioError

CHANGES: dict[str, tuple[str, ...]] = {
    "trafficlight": ("setRedYellowGreenState", "setProgramLogic", "setProgram", "setPhase"),
    "person": ("setSpeed", "removeStages", "appendWalkingStage"),
}
"""By SUMO's domain, the calls with which a program may change the simulation."""

Call = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(slots=True)
class Run:
    """What one episode of a program did to SUMO.

    Parameters
    ----------
    arguments : SUMO's, as the episode loaded them.
    calls : before each step, the calls that changed something.
    first : steps already made when the timing began (a warm-up).
    state : digest of where everybody was at the end.
    """

    arguments: list[str]
    calls: list[list[Call]] = field(default_factory=lambda: [[]])
    first: int = 0
    state: str = ""

    @property
    def steps(self) -> int:
        """Steps made."""
        return len(self.calls) - 1


class Recorder(AbstractContextManager["Recorder"]):
    """Notes what a program does to SUMO, from the next load on; the calls themselves go through.

    Parameters
    ----------
    connection : the `libsumo` module.
    is_light : note only what is loaded, so that the program's steps are not slowed down.

    Attributes
    ----------
    run : of the present episode; None before one was loaded.
    """

    def __init__(self, connection: Any, *, is_light: bool = False) -> None:
        self._connection, self._is_light = connection, is_light
        self._before: list[tuple[Any, str, Any]] = []
        self.run: Run | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        connection = self._connection
        step, load, start, close = (
            getattr(connection, name) for name in ("simulationStep", "load", "start", "close")
        )

        def loaded(arguments: list[str], *others: Any) -> Any:
            self._end()
            self.run = Run(list(arguments))
            return load(arguments, *others)

        def started(command: list[str], *others: Any, **named: Any) -> Any:
            self.run = Run(list(command[1:]))
            return start(command, *others, **named)

        def closed(*arguments: Any) -> Any:
            self._end()
            return close(*arguments)

        def stepped(*arguments: Any) -> Any:
            if self.run is not None:
                self.run.calls.append([])
            return step(*arguments)

        self._put(connection, "load", loaded)
        self._put(connection, "start", started)
        if self._is_light:
            return self
        self._put(connection, "close", closed)
        self._put(connection, "simulationStep", stepped)
        for domain, names in CHANGES.items():
            owner = getattr(connection, domain)
            for name in names:
                self._put(owner, name, self._noted(getattr(owner, name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put everything back as it was."""
        self._end()
        while self._before:
            owner, name, value = self._before.pop()
            setattr(owner, name, value)

    def _end(self) -> None:
        """Note where the run ends: the program may close SUMO as soon as it is over."""
        if self.run is not None and not self._is_light and not self.run.state:
            self.run.state = state_of(self._connection)

    def _put(self, owner: Any, name: str, value: Callable[..., Any]) -> None:
        self._before.append((owner, name, vars(owner)[name]))
        setattr(owner, name, staticmethod(value) if isinstance(owner, type) else value)

    def _noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **named: Any) -> Any:
            if self.run is not None:
                self.run.calls[-1].append((function, arguments))
            return function(*arguments, **named)

        return noted


def replay(connection: Any, run: Run) -> float:
    """Load a run again and replay it.

    Returns
    -------
    Processor time of the steps after the first `run.first`. [s]

    Raises
    ------
    ScenarioError : it ends in another state, so it is not the same run.
    """
    if connection.isLoaded():
        connection.load(run.arguments)
    else:
        connection.start(["sumo", *run.arguments])
    step, calls = connection.simulationStep, run.calls
    for before in calls[: run.first]:
        _make(before)
        step()
    began_s = time.process_time()
    for before in calls[run.first : -1]:
        if before:
            _make(before)
        step()
    took_s = time.process_time() - began_s
    if state_of(connection) != run.state:
        raise ScenarioError("the replay ends otherwise than the run: the benchmark would compare two runs")
    return took_s


def _make(calls: list[Call]) -> None:
    for function, arguments in calls:
        function(*arguments)


def state_of(connection: Any) -> str:
    """Return a digest of where everybody is now, and how fast."""
    digest = hashlib.sha256()
    for domain in (connection.vehicle, connection.person):
        for name in domain.getIDList():
            digest.update(f"{name} {domain.getPosition(name)} {domain.getSpeed(name)}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFigures:
    """A program's speed beside the replay of its own run.

    Parameters
    ----------
    ratio : median over the pairs of `replay_us / program_us`.
    program_us, replay_us : median processor time a step. [us]
    ratios : each pair's ratio.
    steps : measured steps.
    """

    ratio: float
    program_us: float
    replay_us: float
    ratios: tuple[float, ...]
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Whose speed is measured.

    Parameters
    ----------
    reset : begins an episode, the same each time, warm-up included: not timed.
    play : runs it to its end: timed.
    """

    reset: Callable[[], object]
    play: Callable[[], object]


def bench_program(connection: Any, program: Program, *, repeat: int) -> ReplayFigures:
    """Time a program's episode and the replay of it in turn.

    Parameters
    ----------
    connection : the `libsumo` module, which the program uses too.
    program : what to measure.
    repeat : number of pairs, >= 1.

    Raises
    ------
    ScenarioError : a replay ends in another state than the run.
    """
    program_s, replay_s = [], []
    with Recorder(connection) as recorder:
        program.reset()
        run = recorder.run
        if run is None:
            raise ScenarioError("the program loaded no simulation")
        run.first = run.steps
        program.play()
    for _ in range(repeat):
        with Recorder(connection, is_light=True) as recorder:
            program.reset()
        if recorder.run is not None:
            run.arguments = recorder.run.arguments
        began_s = time.process_time()
        program.play()
        program_s.append(time.process_time() - began_s)
        replay_s.append(replay(connection, run))
    steps = run.steps - run.first
    ratios = tuple(bare / whole for bare, whole in zip(replay_s, program_s, strict=True))
    return ReplayFigures(
        ratio=statistics.median(ratios),
        program_us=1e6 * statistics.median(program_s) / steps,
        replay_us=1e6 * statistics.median(replay_s) / steps,
        ratios=ratios,
        steps=steps,
    )

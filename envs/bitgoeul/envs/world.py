"""A junction's world: SUMO stepped with our cabinet, controller, walkers, detector and measures in it.

The only module besides `controller.backends.sumo` that speaks to SUMO; `libsumo` and `traci` are used
through the calls they share.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sumolib

from bitgoeul.controller.backends.sumo import as_fault
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.junction import SumoJunction
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.policies import (
    PolicyOptions,
    make_controller,
    parse_controller,
    plan_for,
)
from bitgoeul.controller.policies.base import Policy
from bitgoeul.sim_scenarios.build import BuiltNetwork, build_network
from bitgoeul.sim_scenarios.catalog import Site, load_site
from bitgoeul.sim_scenarios.demand import Trips, draw_trips, write_routes
from bitgoeul.sim_scenarios.simulation import (
    LARGEST_SEED,
    LONGEST_MIN,
    STEP_S,
    WARMUP_S,
    as_arguments,
    output_options,
    sumo_options,
)

from .detector import preset
from .measures import Measures
from .outcome import extension_row, result_columns
from .port import await_port
from .street import EmulatedStreet
from .strip import StripRecorder

STEP_DS = round(STEP_S * 10)
"""Simulation step. [0.1 s]"""
WARMUP_DS = WARMUP_S * 10
"""Warm-up under `fixed`. [0.1 s]"""
STDERR = 2
"""File descriptor of standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run: everything that determines its result.

    Parameters
    ----------
    site : registered name or path of a site folder.
    controller : as `parse_controller` reads it.
    seed : 0-9,999 training, 10,000-10,999 everyday, 20,000 to 2^31 - 1 test.
    hour : demand period or hour of the day.
    minutes : measured time after the warm-up, 1 to 44,640. [min]
    detector : preset of the emulated detector, with changes if any (`camera_day:latency_s=2`).
    extension_max_s : replaces the plan's extension maxima; None keeps them. [s]
    form : extension form.
    backend : `libsumo` in process, or `traci` over a socket.
    policy_file : ONNX file of `learned`; None is the shipped one.
    """

    site: str
    controller: str
    seed: int
    hour: str
    minutes: int
    detector: str = "camera_day"
    extension_max_s: float | None = None
    form: Literal["P", "R"] = "P"
    backend: Literal["libsumo", "traci"] = "libsumo"
    policy_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises
        ------
        ValueError : a negative seed, no minutes or over 31 days, a negative maximum, an unknown form,
            controller or preset, a detector's figure out of its range.
        """
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed = {self.seed}: a seed lies between 0 and {LARGEST_SEED}")
        if not 1 <= self.minutes <= LONGEST_MIN:
            raise ValueError(f"minutes = {self.minutes}: a run lasts 1 to {LONGEST_MIN} minutes")
        PolicyOptions(form=self.form, extension_max_s=self.extension_max_s)
        parse_controller(self.controller)
        preset(self.detector)

    @property
    def end_s(self) -> int:
        """End of the simulation, warm-up included. [s]"""
        return WARMUP_S + 60 * self.minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run left: its row, one row per walker's crossing, its extensions, its trace.

    Parameters
    ----------
    row : plain numbers and the spec's fields.
    events : see `Measures.event_rows`.
    extensions : crossing, started_s, seconds, reason.
    trace_hash : of lamps, commands and walkers' entries and exits, with their times.
    strip : one cycle for the report, if asked for.
    """

    row: dict[str, float | int | str]
    events: list[dict[str, Any]]
    extensions: list[dict[str, Any]]
    trace_hash: str
    strip: dict[str, Any] | None


class JunctionDriver(SumoJunction):
    """A controlled junction with the truth beside it: measures and, if asked for, a recording.

    Parameters
    ----------
    connection : `libsumo`, or a `traci` connection, at time 0.
    plan : the plan the controller runs.
    controller : policy and guard.
    detector : preset of the emulated detector, with changes if any.
    seed : of the detector.
    extension_max_s : what *within the maximum* means; None is the plan's. [s]
    is_recording : keep lamp and speed changes for a replay.
    """

    def __init__(  # noqa: PLR0913 - all but the first three by keyword
        self,
        connection: Any,
        plan: SitePlan,
        controller: tuple[Policy, Guard | None],
        *,
        detector: str,
        seed: int,
        extension_max_s: float | None = None,
        is_recording: bool = False,
    ) -> None:
        self.connection = connection
        street = EmulatedStreet(connection, plan, detector, seed, is_recording=is_recording)
        self.walkers, self.detector = street.walkers, street.detector
        maxima = None if extension_max_s is None else {c.id: extension_max_s for c in plan.crossings}
        self.measures = Measures(plan, self.walkers, connection, WARMUP_DS, maxima)
        self.crossing_edges = {
            crossing.id: layout.edge
            for crossing, layout in zip(plan.crossings, self.walkers.layouts, strict=True)
        }
        super().__init__(connection, plan, *controller, street, warmup_ds=WARMUP_DS)
        self.lamp_listeners.append(self.measures.lamps_changed)
        if is_recording:
            self.backend.row_changes = []


# --- starting and stopping SUMO -------------------------------------------------------------------

_LIBSUMO_IN_USE: list[Path] = []
"""Scratch folder of the open simulation of this process: libsumo itself keeps one in global state."""


class Simulation:
    """One SUMO run in a scratch folder: `libsumo` in this process, or `sumo` as a child over TraCI.

    Parameters
    ----------
    site, seed, hour, end_s : what to simulate.
    backend : `libsumo` or `traci`.
    has_gui : show `sumo-gui` (needs `traci`).
    trips : who travels; None: drawn from the site's demand.
    network : where they travel; None: the site's own network.

    Notes
    -----
    One that is forgotten (rebound in a notebook, or left open when the program ends) leaves nothing behind:
    its files are removed and libsumo is free again once it is garbage.
    """

    def __init__(  # noqa: PLR0913 - all but the first by keyword
        self,
        site: Site,
        *,
        seed: int,
        hour: str,
        end_s: int,
        backend: str = "libsumo",
        has_gui: bool = False,
        trips: Trips | None = None,
        network: BuiltNetwork | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bitgoeul-"))
        self._leave = weakref.finalize(self, _leave_nothing, self.folder)
        try:
            self.site, self._network = site, network or build_network(site)
            self._runs, self._is_concluded = 0, False
            self._backend, self._has_gui = backend, has_gui
            self._process: subprocess.Popen[bytes] | None = None
            self._is_in_process = False
            if trips is None and site.imported is None:
                trips = draw_trips(site, seed=seed, hour=hour, duration_s=end_s)
            self._prepare(trips, seed, end_s)
            self.connection = self._open()
        except BaseException:
            self._leave()
            raise

    def _prepare(self, trips: Trips | None, seed: int, end_s: int) -> None:
        """Write a run's trips, or take the route file of an imported network; settle its options."""
        if trips is None and self.site.imported is not None:
            routes = self.site.imported.routes.path
        elif trips is not None:
            routes = self.folder / "routes.rou.xml"
            write_routes(trips, routes)
        self._options = sumo_options(
            network=self._network.net_path,
            additional=self._network.additional_path,
            routes=routes,
            seed=seed,
            end_s=end_s,
        )

    @property
    def outputs(self) -> Path:
        """Folder of the present run's outputs; complete once the run is finished or restarted."""
        return self.folder / str(self._runs)

    def _arguments(self) -> list[str]:
        """Return SUMO's arguments for the present run, its output folder made."""
        self.outputs.mkdir(exist_ok=True)
        return as_arguments({**self._options, **output_options(self.outputs)})

    def _open(self) -> Any:
        if self._backend == "libsumo" and not self._has_gui:
            opened = open_libsumo(self._arguments(), self.folder)
            self._is_in_process = True
            return opened
        traci = importlib.import_module("traci")
        port = sumolib.miscutils.getFreeSocketPort()
        binary = sumolib.checkBinary("sumo-gui" if self._has_gui else "sumo")
        extra = ["--start", "--quit-on-end"] if self._has_gui else []
        self._process = subprocess.Popen(
            [binary, *self._arguments(), *extra, "--remote-port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await_port(port, self._process)
        return traci.connect(port=port, numRetries=20, proc=self._process, waitBetweenRetries=0.1)

    def restart(self) -> None:
        """Begin the same run again in the same SUMO; the last run's outputs stay in its own folder."""
        self._runs += 1
        self.connection.load(self._arguments())

    def load(self, trips: Trips | None, *, seed: int, end_s: int) -> None:
        """Begin another run in the same SUMO; the last run's outputs are removed.

        Parameters
        ----------
        trips : who travels; None: whom the route file of an imported network has.
        seed : of SUMO's own random numbers.
        end_s : end of the simulation. [s]

        Raises
        ------
        ScenarioError : SUMO refuses the files.
        """
        self._prepare(trips, seed, end_s)
        self.load_again()

    def load_again(self) -> None:
        """Begin the same run again in the same SUMO; the last run's outputs are removed.

        Raises
        ------
        ScenarioError : SUMO refuses the files.
        """
        # The folder is used again: SUMO writes over all but the warnings, of which there may be none.
        (self.outputs / "warnings.txt").unlink(missing_ok=True)
        arguments = self._arguments()
        try:
            if self._is_in_process and self._is_concluded:
                self.connection.start(["sumo", *arguments])
            else:
                self.connection.load(arguments)
        except Exception as error:
            raise ScenarioError(f"SUMO did not load the run: {as_fault(error)}") from error
        self._is_concluded = False

    def conclude(self) -> Path:
        """End the run so that SUMO writes its outputs, and keep SUMO for `load`.

        Returns
        -------
        The folder of the outputs, which stands until the next `load` or `close`.
        """
        if self._is_in_process:
            self.connection.close()
            self._is_concluded = True
            return self.outputs
        # A SUMO of its own would end if closed; it writes its outputs when it is given another run.
        if self._runs:
            shutil.rmtree(self.folder / str(self._runs - 1), ignore_errors=True)
        self.restart()
        self.connection.simulation.getTime()
        return self.folder / str(self._runs - 1)

    def finish(self) -> None:
        """End the run so that SUMO writes its outputs; the folder stays until `close`."""
        try:
            self.connection.close()
        finally:
            if self._process is not None:
                self._process.wait(timeout=30)

    def close(self) -> None:
        """Stop SUMO if it still runs, and remove the scratch folder. The second call does nothing."""
        self._is_in_process = False
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._leave()


def _leave_nothing(folder: Path) -> None:
    """Remove a simulation's scratch folder; if it ran in this process, libsumo is free for another."""
    if folder in _LIBSUMO_IN_USE:
        _LIBSUMO_IN_USE.remove(folder)
    shutil.rmtree(folder, ignore_errors=True)


def open_libsumo(arguments: list[str], folder: Path) -> Any:
    """Start SUMO in this process, or load another run into the one that is already there.

    Parameters
    ----------
    arguments : SUMO's.
    folder : scratch folder of the simulation; libsumo is in use until it is removed.

    Raises
    ------
    ScenarioError : SUMO refuses the files.
    """
    libsumo = importlib.import_module("libsumo")
    if _LIBSUMO_IN_USE:
        gc.collect()  # a forgotten simulation may wait to be cleared up
    if _LIBSUMO_IN_USE:
        raise ScenarioError(
            "only one libsumo simulation a process: close the other, or give each its own process"
        )
    try:
        if libsumo.isLoaded():
            libsumo.load(arguments)
        else:
            libsumo.start(["sumo", *arguments])
    except (libsumo.TraCIException, libsumo.FatalTraCIError) as error:
        raise ScenarioError(f"SUMO did not start: {error}") from error
    _LIBSUMO_IN_USE.append(folder)
    return libsumo


def silence_native_warnings() -> None:
    """Keep SUMO's own console output away from the terminal; its warnings are counted from its log.

    libsumo writes to file descriptor 2 past Python. Python's own standard error goes on as before, through
    a copy of the descriptor. For programs that own their process: the commands and their workers.
    """
    if sys.stderr is not sys.__stderr__ or sys.stderr is None or sys.stderr.fileno() != STDERR:
        return
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(STDERR), "w", buffering=1, encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)


@contextmanager
def simulation(spec: RunSpec, site: Site, *, has_gui: bool = False) -> Iterator[Simulation]:
    """Open the simulation of a run and leave nothing behind."""
    opened = Simulation(
        site, seed=spec.seed, hour=spec.hour, end_s=spec.end_s, backend=spec.backend, has_gui=has_gui
    )
    try:
        yield opened
    finally:
        opened.close()


# --- one run --------------------------------------------------------------------------------------


def build_driver(spec: RunSpec, site: Site, connection: Any, *, is_recording: bool = False) -> JunctionDriver:
    """Return the loop of a run, ready for its first step."""
    name = parse_controller(spec.controller)
    plan = plan_for(name, site.plan)
    options = PolicyOptions(
        form=spec.form,
        extension_max_s=spec.extension_max_s,
        policy_file=Path(spec.policy_file) if spec.policy_file else None,
    )
    return JunctionDriver(
        connection,
        plan,
        make_controller(name, plan, options),
        detector=spec.detector,
        seed=spec.seed,
        extension_max_s=spec.extension_max_s,
        is_recording=is_recording,
    )


def run_world(
    spec: RunSpec,
    *,
    record_strip: bool = False,
    has_gui: bool = False,
    progress: Callable[[float], None] | None = None,
) -> RunResult:
    """Run one controller on one site and return what happened.

    Parameters
    ----------
    spec : the run.
    record_strip : keep one cycle with an extension for the report.
    has_gui : show `sumo-gui`.
    progress : called now and then with the share done, 0 to 1.

    Raises
    ------
    ScenarioError, PlanError, FieldFault, ValueError : the run cannot be made.
    """
    site = load_site(spec.site)
    with simulation(spec, site, has_gui=has_gui) as opened:
        driver = build_driver(spec, site, opened.connection)
        strip = StripRecorder(driver, WARMUP_DS) if record_strip else None
        end_ds = spec.end_s * 10
        try:
            while driver.now_ds < end_ds:
                driver.step()
                if progress is not None and driver.now_ds % 600 == 0:
                    progress(driver.now_ds / end_ds)
        except Exception as error:
            raise as_fault(error) from error
        driver.loop.audit.close(end_ds)
        extensions = driver.loop.audit.extensions
        events = driver.measures.event_rows(end_ds, driver.detector.was_detected, extensions)
        version = str(opened.connection.getVersion()[1])
        opened.finish()
        row = _row(spec, site, driver, events, opened.outputs)
    return RunResult(
        row={**row, "sumo_version": version},
        events=events,
        extensions=[extension_row(extension) for extension in extensions],
        trace_hash=driver.trace.hexdigest,
        strip=None if strip is None else strip.cycle(extensions),
    )


def _row(
    spec: RunSpec, site: Site, driver: JunctionDriver, events: list[dict[str, Any]], outputs: Path
) -> dict[str, float | int | str]:
    """Return the result row of a finished run."""
    return {
        "site": driver.plan.site.id,
        "controller": spec.controller,
        "detector": spec.detector,
        "hour": spec.hour,
        "form": spec.form,
        "extension_max_s": math.nan if spec.extension_max_s is None else spec.extension_max_s,
        "seed": spec.seed,
        "minutes": spec.minutes,
        **result_columns(site, driver, events, outputs, spec.end_s),
    }

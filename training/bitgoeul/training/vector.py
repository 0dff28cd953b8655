"""Crossings side by side for stable-baselines3: one process and one SUMO each, masks sent along.

Gymnasium's own vector form is another interface with other rules: `bitgoeul.envs.vector`.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from bitgoeul.controller.errors import ScenarioError

from .processes import await_end, begin_worker, sigint_held

MASKS: Final = "action_masks"
"""Method that sb3-contrib asks for."""
MASK: Final = "action_mask"
"""Where a worker's `info` has the mask of the state it returns."""

Result = TypeVar("Result")
Start = Callable[[], gymnasium.Env[Any, Any]]


class SubprocCrossingVecEnv(SubprocVecEnv):
    """Environments in processes of their own, as SB3's `SubprocVecEnv` runs them.

    Parameters
    ----------
    starts : one function a process that makes its environment; each must be picklable.

    Raises
    ------
    Exception : what an environment raised, in its own type, its worker's traceback as a note.
    ScenarioError : a worker process ended without a word.

    Notes
    -----
    Beyond SB3's own:

    - **Masks travel with the observation.** A worker puts the mask of the state it returns into the same
      message, and `action_masks` is answered from it: no further round trip before each decision.
    - **Errors come through.** SB3's worker dies of one, and its parent is told no more than `EOFError`.
    - **Nothing is left.** Processes are spawned (libsumo keeps its one simulation in global state), Ctrl-C
      goes to the parent alone, and `close` ends every worker, also one that hangs or is dead, and removes
      their scratch files. Workers end by themselves if their parent is killed.

    An episode that is over is reset in the same step, as SB3 wants it: the observation returned is the next
    episode's first, and `info["terminal_observation"]` the last one of the old. `seed(n)` gives the workers
    n, n + 1, ... for their next reset; later episodes draw their seeds below 10,000 from those.
    """

    def __init__(self, starts: Sequence[Start]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="bitgoeul-", ignore_cleanup_errors=True)
        self._folders = [Path(self._scratch.name) / str(worker) for worker in range(len(starts))]
        self._masks: list[npt.NDArray[np.bool_] | None] = [None] * len(starts)
        wrapped = [partial(_open, start, folder) for start, folder in zip(starts, self._folders, strict=True)]
        older = set(multiprocessing.active_children())
        try:
            with sigint_held():
                super().__init__(wrapped, start_method="spawn")  # type: ignore[arg-type] # partials
        except (EOFError, ConnectionError) as fault:
            await_end(set(multiprocessing.active_children()) - older)
            error = self._worker_error()
            self._scratch.cleanup()
            raise error from fault
        except BaseException:
            await_end(set(multiprocessing.active_children()) - older)
            self._scratch.cleanup()
            raise

    def reset(self) -> VecEnvObs:
        """Start an episode in every process."""
        observations = self._told(super().reset)
        self._keep_masks(self.reset_infos)
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Send every process its action."""
        self._told(partial(super().step_async, actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the actions led to; see `VecEnv.step`."""
        observations, rewards, dones, infos = self._told(super().step_wait)
        self._keep_masks(
            reset_info if is_done else info
            for is_done, info, reset_info in zip(dones, infos, self.reset_infos, strict=True)
        )
        return observations, rewards, dones, infos

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environments; their masks are known here already."""
        if method_name == MASKS and not method_args and not method_kwargs:
            kept = [self._masks[index] for index in self._get_indices(indices)]
            if all(mask is not None for mask in kept):
                return kept
        self._require(method_name)
        call = partial(super().env_method, method_name, *method_args, indices=indices, **method_kwargs)
        return self._told(call)

    def has_attr(self, attr_name: str) -> bool:
        """Return whether every environment has it; the masks are known of here."""
        if attr_name == MASKS and all(mask is not None for mask in self._masks):
            return True
        return self._told(partial(super().has_attr, attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each environment."""
        self._require(attr_name)
        return self._told(partial(super().get_attr, attr_name, indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each environment."""
        self._told(partial(super().set_attr, attr_name, value, indices))

    def close(self) -> None:
        """End every worker, at once those that do not answer, and remove their scratch files."""
        if self.closed:
            return
        self.closed = True
        for remote in self.remotes:
            with suppress(OSError):  # it is dead already
                remote.send(("close", None))
        await_end(self.processes)
        for remote in self.remotes:
            remote.close()
        self._scratch.cleanup()

    def _require(self, name: str) -> None:
        """Refuse what an environment lacks, before a worker ends of it."""
        if not self.has_attr(name):
            raise AttributeError(f"the environments have no {name}")

    def _keep_masks(self, infos: Iterable[Mapping[str, Any]]) -> None:
        self._masks = [info.get(MASK) for info in infos]

    def _told(self, call: Callable[[], Result]) -> Result:
        """Return what a call to the workers returns, or raise what one of them raised."""
        try:
            return call()
        except (EOFError, ConnectionError) as fault:
            error = self._worker_error()
            self.close()
            raise error from fault

    def _worker_error(self) -> Exception:
        """Return why a worker ended."""
        for worker, folder in enumerate(self._folders):
            if (note := folder / "error").exists():
                error, trace = pickle.loads(note.read_bytes())  # noqa: S301 - our own worker wrote it
                error.add_note(f"in environment {worker}:\n{trace}")
                return error  # type: ignore[no-any-return]
        return ScenarioError("a worker process of the environments ended before its time")


def crossings(n: int, site: str = "bukmun_5", **options: Any) -> SubprocCrossingVecEnv:
    """Return n crossings side by side.

    Parameters
    ----------
    n : number of processes, each with a SUMO of its own.
    site : registered name or path of a site.
    **options : of `CrossingEnv`.
    """
    from bitgoeul.envs.crossing import CrossingEnv

    return SubprocCrossingVecEnv([partial(CrossingEnv, site, **options) for _ in range(n)])


# --- in the worker --------------------------------------------------------------------------------


class _Noting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the mask into `info`, and writes down what ends the worker."""

    def __init__(self, env: gymnasium.Env[Any, Any], folder: Path) -> None:
        super().__init__(env)
        self._folder = folder
        self._action_masks = env.get_wrapper_attr(MASKS) if env.has_wrapper_attr(MASKS) else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        with _errors_noted(self._folder):
            observation, info = self.env.reset(seed=seed, options=options)
            return observation, self._with_mask(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Carry out an action."""
        with _errors_noted(self._folder):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, self._with_mask(info)

    def get_wrapper_attr(self, name: str) -> Any:
        """Return an attribute; a method notes its errors."""
        found = super().get_wrapper_attr(name)
        return _errors_noted(self._folder)(found) if callable(found) else found

    def _with_mask(self, info: dict[str, Any]) -> dict[str, Any]:
        return info if self._action_masks is None else {**info, MASK: self._action_masks()}


@contextmanager
def _errors_noted(folder: Path) -> Iterator[None]:
    """Write down an error for the parent before it ends this worker."""
    try:
        yield
    except Exception as error:
        trace = traceback.format_exc()
        try:
            note = pickle.dumps((error, trace))
            pickle.loads(note)  # noqa: S301 - some errors can be written and not read
        except Exception:  # noqa: BLE001 - whatever an error's own pickling may raise
            note = pickle.dumps((RuntimeError(str(error)), trace))
        (folder / "error").write_bytes(note)
        raise


def _open(start: Start, folder: Path) -> gymnasium.Env[Any, Any]:
    """Make a worker's environment; its scratch files go into the folder."""
    begin_worker(folder.parent)
    folder.mkdir()
    tempfile.tempdir = str(folder)
    with _errors_noted(folder):
        env = start()
        return _Noting(env, folder)

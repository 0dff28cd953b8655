"""Crossings side by side as a Gymnasium `VectorEnv`: one process and one SUMO each.

The form for stable-baselines3 is another interface with other rules: `bitgoeul.training.vector`.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from .crossing import CrossingEnv
from .world import silence_native_warnings


class CrossingVectorEnv(AsyncVectorEnv[Any, Any]):
    """Gymnasium's own `AsyncVectorEnv` of crossings, set up for libsumo.

    Parameters
    ----------
    num_envs : number of processes, >= 1.
    site : registered name or path of a site.
    autoreset_mode : what follows an episode's last step, `NextStep`, `SameStep` or `Disabled`; see Notes.
    max_concurrency : processes that simulate at the same time; None: all. More processes than processors
        can be quicker with a limit near the number of processors.
    **options : of `CrossingEnv`, the same for each.

    Notes
    -----
    Processes are spawned: libsumo keeps its one simulation in global state. Observations come through
    shared memory, and with them the masks (`observation["mask"]`), so that no call to the environments
    is needed before an action. What an environment raises is raised here in its own type, its traceback
    logged. Ctrl-C goes to the parent alone; close the environment then, as always. Workers of a parent that
    ends without, or is killed, end with it and leave no files.

    `reset(seed=n)` seeds the environments n, n + 1, ...; episodes that are started by an autoreset draw
    their seeds below 10,000 from those, so that the same seed and actions give the same days.

    Autoreset, as Gymnasium defines it for vector environments:

    ============ ===================================================================================
    `NextStep`   the step after the last ignores its action, has reward 0 and returns the first
                 observation of the next episode; it took no time: leave it out of what is learned from
    `SameStep`   the last step returns the next episode's first observation already; the last
                 observation is `infos["final_obs"]`, its info `infos["final_info"]`
    `Disabled`   call `reset(options={"reset_mask": is_over})` after it
    ============ ===================================================================================

    References
    ----------
    https://farama.org/Vector-Autoreset-Mode
    """

    def __init__(
        self,
        num_envs: int = 1,
        site: str = "bukmun_5",
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_concurrency: int | None = None,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs = {num_envs}: at least 1 environment is needed")
        given: dict[str, Any] = {} if max_concurrency is None else {"max_concurrency": max_concurrency}
        super().__init__(
            [partial(_open, partial(CrossingEnv, site, **options))] * num_envs,
            context="spawn",
            autoreset_mode=autoreset_mode,
            **given,  # Gymnasium before 1.4 does not know the limit
        )


def decided(
    infos: Mapping[str, Any], name: str, num_envs: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return a number from each environment's info of the step just taken, in any autoreset mode.

    Parameters
    ----------
    infos : as `step` returned them.
    name : of the number, such as `elapsed_s`.
    num_envs : number of environments.

    Returns
    -------
    values : `(num_envs,)`, 0 where there is none.
    is_decision : `(num_envs,)`; False where nothing was decided: the step was `NextStep`'s reset.
    """
    values, is_decision = np.zeros(num_envs), np.zeros(num_envs, dtype=np.bool_)
    for found in (infos, infos.get("final_info", {})):
        if name in found:
            has = np.asarray(found[f"_{name}"], dtype=np.bool_)
            values[has] = np.asarray(found[name], dtype=np.float64)[has]
            is_decision |= has
    return values, is_decision


def _open(make: Callable[[], gymnasium.Env[Any, Any]]) -> gymnasium.Env[Any, Any]:
    """Make one process's environment; the parent makes one too, for its spaces, and simulates nothing."""
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _leave)  # so that the simulation's files are removed
        silence_native_warnings()
    return make()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End this process as at the end of a program, so that nothing is left behind."""
    del frame
    sys.exit(128 + number)

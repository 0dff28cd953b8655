"""Steps of a one-second grid as semi-Markov transitions: idle steps out, their reward kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Batch = dict[str, npt.NDArray[Any]]

ENDS = ("terminated", "truncated", "done")
"""Columns that end an episode."""
NEXT = "next_"
"""Columns that begin so are of the step's end."""


def drop_idle(batch: Mapping[str, npt.ArrayLike], *, tau_s: float | None, step_s: float = 1.0) -> Batch:
    """Return one row per decision of one agent, from its steps in order of time.

    Parameters
    ----------
    batch : columns `(n_steps, ...)`. Needed: `has_choice` (of the observation acted on) and `reward`.
        `terminated`, `truncated` and `done` end an episode; columns that begin with `next_` are of the
        step's end. All others (observation, action, log-probability ...) are of its beginning.
    tau_s : time constant of the discount, the environment's own; None: no discount. [s]
    step_s : length of a step. [s]

    Returns
    -------
    The same columns, `(n_decisions, ...)`: beginnings from the step of the decision, ends from the last step
    before the next one (or the episode's end), `reward` summed over the steps, the k-th times
    exp(-k step_s / tau_s). New columns: `elapsed_s`, `discount` = exp(-elapsed_s / tau_s), and `is_open`,
    True for the last row if its interval had not ended with the batch. Steps before an episode's first
    decision belong to no row.

    Raises
    ------
    ValueError : a needed column is missing, or columns differ in length.

    Examples
    --------
    >>> rows = drop_idle({"has_choice": [True, False, True], "reward": [-1.0, -2.0, -4.0]}, tau_s=None)
    >>> rows["reward"].tolist(), rows["elapsed_s"].tolist()
    ([-3.0, -4.0], [2.0, 1.0])
    """
    columns = {name: np.asarray(column) for name, column in batch.items()}
    missing = [name for name in ("has_choice", "reward") if name not in columns]
    if missing:
        raise ValueError(f"the batch lacks the columns {', '.join(missing)}")
    steps_n = len(columns["has_choice"])
    unequal = [name for name, column in columns.items() if len(column) != steps_n]
    if unequal:
        raise ValueError(f"columns {', '.join(unequal)} are not of the length of has_choice, {steps_n}")
    has_choice = columns["has_choice"].astype(bool)
    is_end = np.zeros(steps_n, dtype=bool)
    for name in ENDS:
        if name in columns:
            is_end |= columns[name].astype(bool)
    begins, ends, is_open = _intervals(has_choice, is_end)
    decay = 1.0 if tau_s is None else float(np.exp(-step_s / tau_s))
    rewards = columns["reward"].astype(np.float64)
    dropped: Batch = {
        name: column[ends] if name in ENDS or name.startswith(NEXT) else column[begins]
        for name, column in columns.items()
    }
    lengths = ends - begins + 1
    dropped["reward"] = np.array(
        [
            float(rewards[begin : end + 1] @ decay ** np.arange(end - begin + 1))
            for begin, end in zip(begins, ends, strict=True)
        ],
        dtype=np.float64,
    )
    dropped["elapsed_s"] = lengths * step_s
    dropped["discount"] = decay ** lengths.astype(np.float64)
    dropped["is_open"] = is_open
    return dropped


def _intervals(
    has_choice: npt.NDArray[np.bool_], is_end: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return the first and last step of each decision's interval, and which had not ended with the batch."""
    begins, ends, is_open = [], [], []
    begin = -1
    for step in range(len(has_choice)):
        if has_choice[step]:
            if begin >= 0:
                ends.append(step - 1)
                is_open.append(False)
            begin = step
            begins.append(step)
        if is_end[step] and begin >= 0:
            ends.append(step)
            is_open.append(False)
            begin = -1
    if begin >= 0:
        ends.append(len(has_choice) - 1)
        is_open.append(True)
    return np.array(begins, dtype=np.intp), np.array(ends, dtype=np.intp), np.array(is_open, dtype=bool)

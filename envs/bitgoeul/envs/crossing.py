"""`Bitgoeul/Crossing-v0`: one junction as a Gymnasium environment, the guard always on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation
from bitgoeul.controller.policies.choosing import ChoicePolicy, default_choice
from bitgoeul.sim_scenarios.catalog import Site, load_site
from bitgoeul.sim_scenarios.simulation import WARMUP_S

from .reward import PersonSeconds
from .world import JunctionDriver, Simulation

TRAINING_SEEDS = 10_000
"""Episodes reset without a seed draw theirs below this; evaluation starts here (DESIGN, measures)."""

ObsType = dict[str, npt.NDArray[Any]]


class GivenChoice:
    """A chooser that takes what the agent gave."""

    def __init__(self) -> None:
        self.index = 0

    def choose(self, observation: Observation) -> int:  # noqa: ARG002 - the protocol's argument
        """Return the agent's choice."""
        return self.index


class CrossingEnv(gymnasium.Env[ObsType, int]):
    """One junction in SUMO. The agent picks one of its choices whenever a decision is due.

    Parameters
    ----------
    site : registered name or path of a site, or a `Site` (`foreign.junction_env`).
    hour : demand period or hour of the day.
    minutes : length of an episode after the warm-up. [min]
    detector : preset of the emulated detector.
    form : extension form of the guard.
    extension_max_s : replaces the plan's extension maxima; None keeps them. [s]
    strict : raise on an illegal action instead of replacing it.
    backend : `libsumo` (one environment a process) or `traci`.

    Notes
    -----
    Observation: dict of `context` `(6,)`, `choices` `(24, 20)` in 0-2 and `mask` `(24,)` of 0 and 1;
    names, units and scales are in `bitgoeul.controller.observe`. Action: a row index. An illegal action is
    replaced by the first legal row (stay 2 s where it is legal) and reported as `info["illegal_action"]`.
    Reward: minus the person-seconds spent at the junction since the last decision (walkers, people in
    vehicles, and those who could not enter yet), over a scale fixed by site and hour; its terms are in
    `info["reward_terms"]`. The guarantee is the guard's and no reward term stands for it.

    `reset(seed=n)` plays demand seed n; without a seed, one below 10,000 (training seeds) is drawn.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(  # noqa: PLR0913 - one keyword per option, as Gymnasium passes them
        self,
        site: str | Site = "bukmun_5",
        *,
        hour: str = "peak",
        minutes: int = 60,
        detector: str = "camera_day",
        form: str = "P",
        extension_max_s: float | None = None,
        strict: bool = False,
        backend: str = "libsumo",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self.site: Site = site if isinstance(site, Site) else load_site(site)
        self._hour, self._detector = hour, detector
        self._form, self._extension_max_s = form, extension_max_s
        self._strict, self._backend = strict, backend
        self.observation_space = spaces.Dict(  # type: ignore[assignment]
            {
                "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
                "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
                "mask": spaces.MultiBinary(N_MAX),
            }
        )
        self.action_space = spaces.Discrete(N_MAX)  # type: ignore[assignment]
        self._simulation: Simulation | None = None
        self._driver: JunctionDriver | None = None
        self._chooser = GivenChoice()
        self._mask = np.ones(N_MAX, dtype=np.int8)
        self._end_ds = (WARMUP_S + 60 * minutes) * 10

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Start an episode and run it to the first decision.

        Parameters
        ----------
        seed : demand and detector seed; None draws one below 10,000.
        options : none are known.

        Raises
        ------
        ValueError : an unknown option.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"unknown reset options: {', '.join(options)}")
        episode_seed = int(self.np_random.integers(TRAINING_SEEDS)) if seed is None else seed
        self.close()
        self._simulation = Simulation(
            self.site, seed=episode_seed, hour=self._hour, end_s=self._end_ds // 10, backend=self._backend
        )
        plan = self.site.plan
        self._policy = ChoicePolicy("environment", plan, self._chooser)
        guard = Guard(plan, form=self._form, extension_max_s=self._extension_max_s)
        self._driver = JunctionDriver(
            self._simulation.connection,
            plan,
            (self._policy, guard),
            detector=self._detector,
            seed=episode_seed,
            extension_max_s=self._extension_max_s,
        )
        self._reward = PersonSeconds(self._driver, self.site, self._hour)
        while not self._driver.is_decision_due and self._driver.now_ds < self._end_ds:
            self._driver.step()
        return self._observe(self._driver), {"seed": episode_seed}

    def step(self, action: int) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Carry out a choice until the next decision is due, or the episode ends.

        Raises
        ------
        ValueError : an illegal action under `strict`.
        RuntimeError : before `reset`.
        """
        driver = self._driver
        if driver is None:
            raise RuntimeError("call reset before step")
        is_illegal = not 0 <= action < N_MAX or not self._mask[action]
        if is_illegal and self._strict:
            legal = ", ".join(str(index) for index in np.flatnonzero(self._mask))
            raise ValueError(f"action {action} is illegal now; legal: {legal}")
        self._chooser.index = self._default if is_illegal else int(action)
        started_ds = driver.now_ds
        self._reward.start()
        while True:
            driver.step()
            self._reward.add()
            if driver.is_decision_due or driver.now_ds >= self._end_ds:
                break
        reward, terms = self._reward.result()
        info: dict[str, Any] = {
            "elapsed_s": (driver.now_ds - started_ds) / 10,
            "illegal_action": is_illegal,
            "reward_terms": terms,
            "extension_s": driver.loop.audit.extension_ds / 10,
        }
        return self._observe(driver), reward, False, driver.now_ds >= self._end_ds, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal now. `(24,)`"""
        return self._mask.astype(np.bool_)

    @property
    def trace_hash(self) -> str:
        """Hash of all lamps, commands and crossings of this episode so far."""
        if self._driver is None:
            raise RuntimeError("call reset first")
        return self._driver.trace.hexdigest

    def close(self) -> None:
        """End the simulation and remove its files."""
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None
        self._driver = None

    def _observe(self, driver: JunctionDriver) -> ObsType:
        observation = self._policy.observer.observe(driver.loop.observed)
        self._mask = observation.mask.astype(np.int8)
        self._default = default_choice(observation)
        return {"context": observation.context, "choices": observation.choices, "mask": self._mask}

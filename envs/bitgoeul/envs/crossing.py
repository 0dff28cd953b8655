"""`Bitgoeul/Crossing-v0`: one junction as a Gymnasium environment, the guard always on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from bitgoeul.controller.backends.sumo import as_fault
from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.guard import Guard
from bitgoeul.sim_scenarios.catalog import Site
from bitgoeul.sim_scenarios.demand import AS_STATED, Trips, draw_trips
from bitgoeul.sim_scenarios.simulation import WARMUP_S

from .deciding import AgentPolicy, GivenChoice, only_staying, row_of
from .episode import NOTHING_DRAWN, TRAINING_SEEDS, EpisodeDraw, checked_number, checked_seed, fix, played
from .observing import (
    ObsType,
    ablated,
    as_observation,
    critic_vector,
    observation_space,
    observed_needs,
)
from .options import RENDER_MODES, make_options
from .outcome import conclude, count_so_far
from .reward import Interval, PersonSeconds
from .sumo_rl_csv import SumoRlCsv
from .world import JunctionDriver, Simulation

if TYPE_CHECKING:
    from .render import Renderer

__all__ = ["TRAINING_SEEDS", "CrossingEnv", "ObsType"]


class CrossingEnv(gymnasium.Env[ObsType, int]):
    """One junction in SUMO. The agent picks one of its choices whenever it has more than one.

    Parameters
    ----------
    site : registered name or path of a site, or a loaded one.
    **options : see `EnvOptions`.

    Notes
    -----
    Observation: dict of `context` `(k,)`, `choices` `(24, f)` in 0-2 and `mask` `(24,)` of 0 and 1, or one
    flat vector; `bitgoeul env describe SITE` lists each number with its unit. Action: a row index. An
    illegal action is replaced by the first legal row (stay 2 s where it is legal) and reported as
    `info["illegal_action"]`. Reward: minus the person-seconds spent at the junction since the last decision
    (`reward.PersonSeconds`). The guarantee is the guard's and no reward term stands for it.

    `reset(seed=n)` plays demand seed n; without a seed, one below 10,000 (training seeds) is drawn. An
    episode ends by its time limit alone: truncated, never terminated. docs/environment.md has it all.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 2}  # noqa: RUF012 - Gymnasium

    def __init__(self, site: str | Path | Site = "bukmun_5", **options: Any) -> None:
        self.options = make_options(site, options)
        self.render_mode = self.options.render_mode
        self.site: Site = self.options.load_site()
        self._randomisation = self.options.load_randomisation(self.site) or NOTHING_DRAWN
        self.observation_space = observation_space(self.options)
        self.action_space = spaces.Discrete(N_MAX)  # type: ignore[assignment]
        self._simulation: Simulation | None = None
        self._driver: JunctionDriver | None = None
        self._chooser = GivenChoice()
        self._mask = np.zeros(N_MAX, dtype=np.bool_)
        self._step_ds = round(10 * (self.options.delta_time_s or 0))
        self._simulation_ends_ds = self._episode_ends_ds = 0
        self._started_ds = 0
        self._episode: EpisodeDraw | None = None
        self._is_open = self._is_playing = False
        self._renderer: Renderer | None = None
        self._last_frame: Any = None

    # --- Gymnasium ---------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Start an episode and run it to the first decision.

        Parameters
        ----------
        seed : of demand, detector and whatever `randomise` draws; above 2^31 - 1 (learners draw such) it
            draws one below 10,000, always the same; None draws one below 10,000. Under
            `continuing_minutes`, None goes on with the present simulation while it lasts.
        options : fixes `hour`, `detector`, `demand_factor` or `walker_mix` of this episode.

        Raises
        ------
        ValueError : an unknown option, or an option or seed out of its range.
        ScenarioError : an unknown hour, or SUMO refuses the run.
        """
        number = checked_seed(seed)
        super().reset(seed=number)
        if seed is None and not options and self._can_go_on():
            begins_ds = self.driver.now_ds
        else:
            self._begin(self._draw(played(number), options or {}))
            begins_ds = self.driver.warmup_ds
        self._episode_ends_ds = begins_ds + 600 * self.options.minutes
        self._is_playing = True
        self._overrides = Counter(self.driver.overrides)
        self._csv = None if self.options.csv_path is None else SumoRlCsv(self.driver)
        if self._csv is not None:
            self._csv.sample()
        return self._observe(), self._told()

    def step(self, action: int) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Carry out a choice until the next one, or until the episode ends.

        Raises
        ------
        ValueError : an illegal action under `strict`.
        RuntimeError : before `reset`, or after the end of the episode.
        """
        self._give(action)
        self._run()
        return self._outcome()

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal now. `(24,)`"""
        return self._mask.copy()

    def render(self) -> Any:
        """Return the picture of this moment: an array `(H, W, 3)`, a text, or None (`human` shows itself)."""
        if self.render_mode in {None, "human"}:
            return None
        if not self._is_open and self._last_frame is not None:
            return self._last_frame
        return self._draw_frame()

    def close(self) -> None:
        """End the simulation and remove its files."""
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None
        self._driver, self._episode = None, None
        self._is_open = self._is_playing = False

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or another process is given.

        Raises
        ------
        TypeError : SUMO runs, and cannot be copied.
        """
        if self._simulation is not None:
            raise TypeError("an environment with a running SUMO cannot be copied: copy it before reset")
        return vars(self).copy()

    # --- what renderers and tests look at -----------------------------------------------------------

    @property
    def driver(self) -> JunctionDriver:
        """The running junction.

        Raises
        ------
        RuntimeError : before `reset`.
        """
        if self._driver is None:
            raise RuntimeError("call reset first")
        return self._driver

    @property
    def simulation(self) -> Simulation:
        """The running SUMO.

        Raises
        ------
        RuntimeError : before `reset`.
        """
        if self._simulation is None:
            raise RuntimeError("call reset first")
        return self._simulation

    @property
    def trace_hash(self) -> str:
        """Hash of all lamps, commands and crossings since the simulation began."""
        return self.driver.trace.hexdigest

    # --- an episode's beginning ---------------------------------------------------------------------

    def _draw(self, seed: int | None, given: Mapping[str, Any]) -> EpisodeDraw:
        """Draw the conditions of the next episode; a given seed stands, what is given is not drawn."""
        base = EpisodeDraw(seed=0, hour=self.options.hour, detector=self.options.detector)
        drawn = self._randomisation.draw(self.np_random, base)
        return fix(drawn if seed is None else replace(drawn, seed=seed), given, self._randomisation)

    def _can_go_on(self) -> bool:
        """Tell whether the present simulation has time left for another episode."""
        is_continuing = self.options.continuing_minutes is not None
        return is_continuing and self._is_open and self.driver.now_ds < self._simulation_ends_ds

    def _begin(self, episode: EpisodeDraw) -> None:
        """Start a simulation and run it through the warm-up, to the first decision."""
        options = self.options
        end_s = WARMUP_S + 60 * (options.continuing_minutes or options.minutes)
        last, self._episode = self._episode, None
        self._is_open = self._is_playing = False
        if self._simulation is None:
            self._simulation = Simulation(
                self.site,
                seed=episode.seed,
                hour=episode.hour,
                end_s=end_s,
                backend=options.backend,
                has_gui=options.render_mode == "human",
                trips=self._draw_trips(episode, end_s),
            )
        elif episode == last:
            self._simulation.load_again()
        else:
            self._simulation.load(self._draw_trips(episode, end_s), seed=episode.seed, end_s=end_s)
        self._episode, self._simulation_ends_ds, self._started_ds = episode, 10 * end_s, 0
        self._is_open, self._last_frame, self._renderer = True, None, None
        self._make_junction(episode)

    def _draw_trips(self, episode: EpisodeDraw, end_s: int) -> Trips | None:
        """Return who travels; None on an imported network, whose route file says so.

        Raises
        ------
        ValueError : a variation of a route file's demand, which is used as it is.
        """
        if self.site.imported is None:
            return draw_trips(
                self.site, seed=episode.seed, hour=episode.hour, duration_s=end_s, variation=episode.variation
            )
        if episode.variation != AS_STATED:
            raise ValueError("demand_factor and walker_mix: a route file is used as it is; leave them out")
        if episode.hour != self.options.hour:
            raise ValueError("hour: the route file says who departs when; leave it out")
        return None

    def _make_junction(self, episode: EpisodeDraw) -> None:
        """Put the controlled junction into the simulation and warm it up."""
        options, plan = self.options, self.site.plan
        self._policy = AgentPolicy(plan, self._chooser, observed_needs(plan, options.ablation))
        guard = Guard(plan, form=options.form, extension_max_s=options.extension_max_s)
        driver = self._driver = JunctionDriver(
            self.simulation.connection,
            plan,
            (self._policy, guard),
            detector=ablated(episode.detector, options.ablation),
            seed=episode.seed,
            extension_max_s=options.extension_max_s,
        )
        self._reward = PersonSeconds(
            driver, self.site, episode.hour, tau_s=options.tau_s, weights=options.reward_terms
        )
        while not self._is_next_due(driver) and driver.now_ds < self._simulation_ends_ds:
            driver.step()

    # --- a step -------------------------------------------------------------------------------------

    def _give(self, action: int) -> None:
        """Hand the agent's action to the junction.

        Raises
        ------
        ValueError : it is illegal now, under `strict`.
        RuntimeError : no episode runs.
        """
        if not self._is_playing:
            raise RuntimeError("call reset before step: no episode runs")
        index = row_of(action)
        is_known = 0 <= index < N_MAX
        is_asked = not self._step_ds or self.driver.is_decision_due
        if self.options.strict and not (is_known and (self._mask[index] or not is_asked)):
            legal = ", ".join(map(str, np.flatnonzero(self._mask)))
            raise ValueError(f"action {action} is illegal now; legal: {legal}")
        self._chooser.give(index, is_kept=bool(self._step_ds))

    def _run(self) -> None:
        """Run to the next decision with a choice, the end of a fixed step, or the end of the episode."""
        driver, reward, csv = self.driver, self._reward, self._csv
        is_continuing = self.options.continuing_minutes is not None
        last_ds = self._simulation_ends_ds if is_continuing else self._episode_ends_ds
        self._started_ds = driver.now_ds
        reward.start()
        try:
            while True:
                driver.step()
                reward.add()
                if csv is not None:
                    csv.sample()
                if driver.now_ds >= last_ds or self._is_next_due(driver):
                    return
        except Exception as error:
            raise as_fault(error) from error

    def _is_next_due(self, driver: JunctionDriver) -> bool:
        """Tell whether the agent is asked now: a choice is due, or a fixed step is over."""
        if self._step_ds:
            return driver.now_ds >= max(driver.warmup_ds, self._started_ds + self._step_ds)
        return driver.is_decision_due and self._policy.has_choice(driver.loop.observed)

    def _outcome(self) -> tuple[ObsType, float, bool, bool, dict[str, Any]]:
        """Return what the step led to."""
        driver = self.driver
        is_over = driver.now_ds >= min(self._episode_ends_ds, self._simulation_ends_ds)
        interval = self._reward.interval(is_over=is_over)
        terms = self._terms(interval)
        tau_s, overrides = self.options.tau_s, Counter(driver.overrides)
        info: dict[str, Any] = {
            "elapsed_s": interval.elapsed_s,
            "discount": 1.0 if tau_s is None else math.exp(-interval.elapsed_s / tau_s),
            "illegal_action": self._chooser.was_refused,
            "reward_terms": terms,
            "person_s": interval.person_s,
            "extension_s": driver.loop.audit.extension_ds / 10,
            "overrides": dict(overrides - self._overrides),
        }
        self._overrides = overrides
        observation = self._observe()
        if is_over:
            self._is_playing = False
            info["result"] = self._end()
        return observation, sum(terms.values()), False, is_over, info

    def _terms(self, interval: Interval) -> dict[str, float]:
        """Return the reward's terms: the built-in ones, or those of the function given.

        Raises
        ------
        ValueError : that function returned something else.
        """
        named = interval.terms if self.options.reward is None else self.options.reward(interval)
        if not isinstance(named, Mapping):
            raise ValueError(f"reward returned {named!r}: give a mapping of named terms")  # noqa: TRY004 - as for options
        return {name: checked_number(f"reward term {name!r}", value) for name, value in named.items()}

    def _observe(self) -> ObsType:
        """Return what the agent sees, and keep the mask."""
        driver, options = self.driver, self.options
        situation = driver.loop.observed
        if self._step_ds:
            self._policy.break_stay()
        observation = self._policy.observer.observe(situation)
        if self._step_ds and not driver.is_decision_due:
            observation = only_staying(observation)
        self._mask = observation.mask
        critic = critic_vector(driver) if options.critic else None
        return as_observation(observation, options, situation=situation, critic=critic)

    # --- an episode's end ---------------------------------------------------------------------------

    def _end(self) -> dict[str, Any]:
        """Return the episode's result; at the end of a simulation SUMO writes its outputs first."""
        driver = self.driver
        if self._csv is not None and self.options.csv_path is not None:
            self._csv.write(self.options.csv_path)
        is_simulation_over = driver.now_ds >= self._simulation_ends_ds
        if not is_simulation_over:
            return {**self._told(), **count_so_far(self.simulation, driver)}
        if self.render_mode in {"rgb_array", "ansi"}:
            self._last_frame = self._draw_frame()
        self._is_open = False
        return {**self._told(), **conclude(self.simulation, driver, driver.now_ds // 10)}

    def _told(self) -> dict[str, Any]:
        """Return the conditions of the episode."""
        names = ("seed", "hour", "detector", "demand_factor", "walker_mix")
        return {name: getattr(self._episode, name) for name in names}

    def _draw_frame(self) -> Any:
        """Return the picture of this moment."""
        if self._renderer is None:
            from .render import make_renderer

            self._renderer = make_renderer(self.site, self.driver)
        return self._renderer.ansi() if self.render_mode == "ansi" else self._renderer.rgb_array()

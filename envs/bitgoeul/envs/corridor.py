"""A corridor as a PettingZoo parallel environment: one agent a junction, a grid of one second.

`corridor_env()` makes one; `drop_idle` turns an agent's steps into semi-Markov transitions.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import ParallelEnv

from bitgoeul.controller.backends.sumo import as_fault
from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.situation import Situation
from bitgoeul.sim_scenarios.corridor import Corridor, load_corridor
from bitgoeul.sim_scenarios.corridor_demand import draw_corridor_trips
from bitgoeul.sim_scenarios.simulation import STEP_S, WARMUP_S

from .corridor_reward import CorridorReward
from .corridor_world import CorridorDriver, corridor_results, open_corridor
from .deciding import STAY_ROW, AgentPolicy, GivenChoice, only_staying, row_of
from .episode import DRAWN, NOTHING_DRAWN, EpisodeDraw, checked_seed, fix, played
from .idle import drop_idle
from .observing import ObsType, ablated, as_observation, critic_vector, observation_space, observed_needs
from .options import RENDER_MODES, EnvOptions, make_options
from .world import WARMUP_DS, JunctionDriver, Simulation

__all__ = ["CorridorEnv", "corridor_env", "drop_idle"]

GRID_DS = 10
"""Agents choose at whole seconds. [0.1 s]"""
GRID_S = GRID_DS / 10
"""Length of a step of the environment. [s]"""
NOT_HERE = ("delta_time_s", "reward", "reward_terms", "continuing_minutes", "csv_path")
"""Options of `EnvOptions` that a corridor does not have."""

Infos = dict[str, dict[str, Any]]


class GridPolicy(AgentPolicy):
    """Carries out an agent's actions; its decisions are due at whole seconds only."""

    decides_late = True

    def is_due(self, situation: Situation) -> bool:
        """Tell whether a decision is due in this situation.

        Between the seconds only calls and the service bound are followed: nothing else would be taken up.
        """
        situation.bound.follow(situation.snapshot)
        is_on_grid = situation.snapshot.now_ds % GRID_DS == 0
        if is_on_grid or situation.bound.is_forcing or not self.rules.is_settled(situation):
            return super().is_due(situation)
        self.observer.follow(situation)
        return False


@dataclass(slots=True, eq=False, kw_only=True)
class _Agent:
    """One junction's agent.

    Parameters
    ----------
    chooser, policy : how its actions become choices.
    mask : what is legal now.
    has_choice : whether it is asked now.
    decided_ds : when it last chose; the beginning of the episode before. [0.1 s]
    overrides : how often it was overruled until then, by reason.
    """

    chooser: GivenChoice
    policy: GridPolicy
    mask: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(N_MAX, dtype=np.bool_))
    has_choice: bool = False
    decided_ds: int = WARMUP_DS
    overrides: Counter[str] = field(default_factory=Counter)


class CorridorEnv(ParallelEnv[str, ObsType, int]):  # type: ignore[misc]  # an untyped base
    """Several junctions in one SUMO. Each second every agent acts; one whose decision is due chooses.

    Parameters
    ----------
    corridor : name or path of a corridor, or a loaded one.
    observe_idle : show agents with nothing to decide what their detectors show, too, each second; it costs
        as much time as all the rest of the controller.
    **options : as `EnvOptions`, without those in `NOT_HERE`.

    Notes
    -----
    Agents: the members' ids. Observation of each: as in `CrossingEnv`, from its own detectors. An agent with
    nothing to decide (or one choice only, which is taken for it) sees zeros, and has a mask of row 0 alone;
    any other row is then illegal and, like row 0, without effect. Where there is a choice, an illegal row is
    replaced by the first legal one. Both are reported.

    Reward of each: minus the person-seconds of this second at its junction, over a scale fixed by corridor
    and hour (`CorridorReward`), so that the agents' rewards sum to the corridor's. The guarantee is the
    guards' and no reward term stands for it. An episode ends by its time limit alone: truncated.

    `reset(seed=n)` plays demand seed n; without a seed, one below 10,000 (training seeds) is drawn.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - PettingZoo declares it so
        "name": "bitgoeul_corridor_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": 1,
        "is_parallelizable": True,
    }

    def __init__(
        self, corridor: str | Path | Corridor = "bukmun_row", *, observe_idle: bool = False, **options: Any
    ) -> None:
        self.corridor = corridor if isinstance(corridor, Corridor) else load_corridor(corridor)
        self.options = _options(self.corridor, options)
        self.render_mode = self.options.render_mode
        sites = self.corridor.sites.values()
        self._randomisation = self.options.load_randomisation(*sites) or NOTHING_DRAWN
        self.possible_agents = list(self.corridor.members)
        self.agents: list[str] = []
        self._observation_spaces = {agent: observation_space(self.options) for agent in self.possible_agents}
        self._action_spaces = {agent: spaces.Discrete(N_MAX) for agent in self.possible_agents}
        size = len(self.possible_agents) * (len(CONTEXT) + N_MAX * len(CHOICE) + N_MAX)
        self.state_space = spaces.Box(0.0, LIMIT, (size,), np.float32)
        self._rng = np.random.default_rng()
        self._end_ds = (WARMUP_S + 60 * self.options.minutes) * 10
        self._simulation: Simulation | None = None
        self._driver: CorridorDriver | None = None
        self._agents: dict[str, _Agent] = {}
        self._renderer: Any = None
        self._last_frame: Any = None
        self._observe_idle = observe_idle

    # --- PettingZoo ---------------------------------------------------------------------------------

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's observation space, the same object each time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's action space, the same object each time."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, ObsType], Infos]:
        """Start an episode and run it through the warm-up.

        Parameters
        ----------
        seed : of demand, detectors and whatever `randomise` draws; None draws one below 10,000.
        options : fixes `hour`, `detector`, `demand_factor` or `walker_mix` of this episode; others are
            named in each info's `unknown_options` (PettingZoo's own checker passes one).

        Raises
        ------
        ScenarioError, ValueError : a value out of its range.
        """
        number = checked_seed(seed)
        given = dict(options or {})
        unknown = sorted(name for name in given if name not in DRAWN)
        episode = self._draw(number, {name: value for name, value in given.items() if name in DRAWN})
        self._begin(episode)
        self.agents = list(self.possible_agents)
        names = ("seed", "hour", "detector", "demand_factor", "walker_mix")
        told = {**{name: getattr(episode, name) for name in names}, "unknown_options": unknown}
        observations = {agent: self._observe(agent) for agent in self.agents}
        return observations, {agent: {**self._info(agent), **told} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, ObsType], dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Take every agent's action and run one second.

        Raises
        ------
        ValueError : an agent without an action, or an illegal action under `strict`.
        RuntimeError : no episode runs.
        """
        agents, driver = self.agents, self.driver
        if not agents:
            raise RuntimeError("call reset before step: no episode runs")
        missing = [agent for agent in agents if agent not in actions]
        if missing:
            raise ValueError(f"no action for {', '.join(missing)}")
        illegal = {agent: self._is_illegal(agent, actions[agent]) for agent in agents}
        for agent in agents:
            self._give(agent, actions[agent])
        self._reward.start()
        try:
            for _ in range(round(GRID_S / STEP_S)):
                driver.step()
                self._reward.add()
        except Exception as error:
            raise as_fault(error) from error
        terms, person_s = self._reward.result()
        is_over = driver.now_ds >= self._end_ds
        observations = {agent: self._observe(agent) for agent in agents}
        infos: Infos = {
            agent: {
                **self._info(agent),
                "illegal_action": illegal[agent],
                "reward_terms": terms[agent],
                "person_s": person_s[agent],
            }
            for agent in agents
        }
        if is_over:
            self._end(infos)
        rewards = {agent: sum(terms[agent].values()) for agent in agents}
        return observations, rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, is_over), infos

    def state(self) -> npt.NDArray[np.float32]:
        """Return what all agents' detectors show, in one vector, for a central critic; no truth is in it."""
        parts = []
        for agent in self.possible_agents:
            junction = self.driver.junctions[agent]
            mine = self._agents[agent]
            seen = mine.policy.observer.observe(junction.loop.observed)
            parts += [seen.context, seen.choices.ravel(), mine.mask]
        return np.concatenate(parts).astype(np.float32)

    def render(self) -> Any:
        """Return the picture of this moment: an array `(H, W, 3)`, a text, or None (`human` shows itself)."""
        if self.render_mode in {None, "human"}:
            return None
        return self._draw_frame() if self.agents else self._last_frame

    def close(self) -> None:
        """End the simulation and remove its files."""
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None
        self._driver = None
        self.agents = []

    # --- what learners, renderers and tests look at ---------------------------------------------------

    def action_masks(self, agent: str) -> npt.NDArray[np.bool_]:
        """Return which actions of an agent are legal now. `(N_MAX,)`

        Raises
        ------
        RuntimeError : before `reset`.
        """
        if not self._agents:
            raise RuntimeError("call reset first")
        return self._agents[agent].mask.copy()

    @property
    def driver(self) -> CorridorDriver:
        """The running corridor.

        Raises
        ------
        RuntimeError : before `reset`, or after `close`.
        """
        if self._driver is None:
            raise RuntimeError("call reset first")
        return self._driver

    # --- an episode's beginning and end ---------------------------------------------------------------

    def _draw(self, seed: int | None, given: Mapping[str, Any]) -> EpisodeDraw:
        """Draw the conditions of the next episode; a given seed stands, what is given is not drawn."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        base = EpisodeDraw(seed=0, hour=self.options.hour, detector=self.options.detector)
        drawn = self._randomisation.draw(self._rng, base)
        demand_seed = played(seed)
        return fix(
            drawn if demand_seed is None else replace(drawn, seed=demand_seed), given, self._randomisation
        )

    def _begin(self, episode: EpisodeDraw) -> None:
        """Start a simulation and run it through the warm-up."""
        options, end_s = self.options, self._end_ds // 10
        trips = draw_corridor_trips(
            self.corridor,
            seed=episode.seed,
            hour=episode.hour,
            duration_s=end_s,
            variation=episode.variation,
        )
        if self._simulation is None:
            has_gui = self.render_mode == "human"
            self._simulation = open_corridor(
                self.corridor, trips, end_s=end_s, backend=options.backend, has_gui=has_gui
            )
        else:
            self._simulation.load(trips, seed=episode.seed, end_s=end_s)
        self._agents = {}
        driver = self._driver = CorridorDriver(
            self._simulation.connection,
            self.corridor,
            self._controller,
            detector=ablated(episode.detector, options.ablation),
            seed=episode.seed,
            extension_max_s=options.extension_max_s,
        )
        while driver.now_ds < WARMUP_DS:
            driver.step()
        self._reward = CorridorReward(driver, episode.hour, tau_s=options.tau_s)
        self._renderer = self._last_frame = None

    def _controller(self, agent: str, plan: SitePlan) -> tuple[GridPolicy, Guard]:
        chooser = GivenChoice()
        policy = GridPolicy(plan, chooser, observed_needs(plan, self.options.ablation))
        self._agents[agent] = _Agent(chooser=chooser, policy=policy)
        return policy, Guard(plan, form=self.options.form, extension_max_s=self.options.extension_max_s)

    def _end(self, infos: Infos) -> None:
        """Let SUMO write its outputs and put each junction's result into its info."""
        if self.render_mode in {"rgb_array", "ansi"}:
            self._last_frame = self._draw_frame()
        self.agents = []
        if self._simulation is not None:
            for agent, row in corridor_results(self._simulation, self.driver).items():
                infos[agent]["result"] = row

    # --- a step ---------------------------------------------------------------------------------------

    def _is_illegal(self, agent: str, action: int) -> bool:
        """Tell whether an action is illegal now.

        Raises
        ------
        ValueError : it is, under `strict`.
        """
        mask, index = self._agents[agent].mask, row_of(action)
        is_illegal = not (0 <= index < N_MAX and mask[index])
        if is_illegal and self.options.strict:
            legal = ", ".join(map(str, np.flatnonzero(mask)))
            raise ValueError(f"action {action} of {agent} is illegal now; legal: {legal}")
        return is_illegal

    def _give(self, agent: str, action: int) -> None:
        """Hand the action of an agent that is asked to its junction."""
        mine = self._agents[agent]
        if mine.has_choice:
            mine.chooser.give(row_of(action), is_kept=False)
            mine.decided_ds = self.driver.now_ds
            mine.overrides = _overrides(self.driver.junctions[agent])

    def _observe(self, agent: str) -> ObsType:
        """Return what an agent sees, and note what it may choose."""
        mine, junction, options = self._agents[agent], self.driver.junctions[agent], self.options
        situation = junction.loop.observed
        is_due = junction.is_decision_due
        is_shown = is_due or self._observe_idle
        observation = mine.policy.observer.observe(situation) if is_shown else _nothing_seen()
        mine.has_choice = is_due and int(observation.mask.sum()) > 1
        if not mine.has_choice:
            observation = only_staying(observation if self._observe_idle else _nothing_seen())
        mine.mask = observation.mask
        critic = critic_vector(junction) if options.critic else None
        return as_observation(observation, options, situation=situation, critic=critic)

    def _info(self, agent: str) -> dict[str, Any]:
        mine, junction = self._agents[agent], self.driver.junctions[agent]
        tau_s = self.options.tau_s
        return {
            "has_choice": mine.has_choice,
            "elapsed_s": (junction.now_ds - mine.decided_ds) / 10,
            "discount": 1.0 if tau_s is None else math.exp(-GRID_S / tau_s),
            "extension_s": junction.loop.audit.extension_ds / 10,
            "overrides": dict(_overrides(junction) - mine.overrides),
        }

    def _draw_frame(self) -> Any:
        """Return the picture of this moment."""
        if self._renderer is None:
            module = importlib.import_module("bitgoeul.envs.render")
            sites, junctions = tuple(self.corridor.members.values()), tuple(self.driver.junctions.values())
            self._renderer = module.make_renderer(sites, junctions)
        return getattr(self._renderer, str(self.render_mode))()


IDLE_ROW = STAY_ROW
"""The one legal row of an agent with nothing to decide; it has no effect."""


def _nothing_seen() -> Observation:
    """Return what an agent with nothing to decide sees."""
    return Observation(
        np.zeros(len(CONTEXT), dtype=np.float32),
        np.zeros((N_MAX, len(CHOICE)), dtype=np.float32),
        np.zeros(N_MAX, dtype=np.bool_),
    )


def _overrides(junction: JunctionDriver) -> Counter[str]:
    """Return how often the guard overruled a junction's choices so far, by reason."""
    return Counter(junction.overrides)


def _options(corridor: Corridor, given: Mapping[str, Any]) -> EnvOptions:
    """Return a corridor's options.

    Raises
    ------
    TypeError : an unknown option, or one that a corridor does not have.
    ScenarioError, ValueError : a value out of its range.
    """
    refused = sorted(set(given) & {*NOT_HERE, "site"})
    if refused:
        raise TypeError(
            f"a corridor has no option {', '.join(refused)}: its steps are seconds of one episode"
        )
    options = make_options(next(iter(corridor.sites.values())), given, without=NOT_HERE)
    options.load_site()
    return options


def corridor_env(
    corridor: str | Path | Corridor = "bukmun_row", *, observe_idle: bool = False, **options: Any
) -> CorridorEnv:
    """Return a corridor's environment.

    Parameters
    ----------
    corridor, observe_idle, **options : see `CorridorEnv`.

    Raises
    ------
    TypeError : an unknown option.
    ValueError, ScenarioError, PlanError : a value out of its range, or the corridor cannot be loaded.
    """
    return CorridorEnv(corridor, observe_idle=observe_idle, **options)

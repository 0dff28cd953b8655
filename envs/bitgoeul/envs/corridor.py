"""A corridor as a PettingZoo parallel environment: one agent a junction, a grid of one second.

`corridor_env()` makes one; `drop_idle` (module `idle`) turns its steps into semi-Markov transitions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]  # it ships no types

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.guard import Guard
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Observation
from bitgoeul.controller.plan import SitePlan
from bitgoeul.controller.policies import PolicyOptions
from bitgoeul.controller.policies.choosing import ChoicePolicy, default_choice
from bitgoeul.controller.situation import Situation
from bitgoeul.sim_scenarios.corridor import Corridor, load_corridor
from bitgoeul.sim_scenarios.corridor_demand import persons_per_second
from bitgoeul.sim_scenarios.simulation import LONGEST_MIN, STEP_S, WARMUP_S

from .corridor_world import CorridorDriver, CorridorPersons, open_corridor
from .crossing import TRAINING_SEEDS, GivenChoice
from .detector import preset
from .idle import drop_idle
from .reward import SCALE_S
from .world import WARMUP_DS, Simulation

__all__ = ["CorridorEnv", "CorridorOptions", "corridor_env", "drop_idle"]

GRID_DS = 10
"""Agents choose at whole seconds. [0.1 s]"""
GRID_S = GRID_DS / 10
"""Length of a step of the environment. [s]"""
RENDER_MODES = ("human", "ansi")
BACKENDS = ("libsumo", "traci")
IDLE_ROW = 0
"""The one legal row of an agent with nothing to decide; it has no effect."""

ObsType = dict[str, npt.NDArray[Any]]
Infos = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorridorOptions:
    """How a corridor's environment simulates and rewards; the names are those of `CrossingEnv`.

    Parameters
    ----------
    hour : demand period or hour of the day.
    minutes : length of an episode after the warm-up, 1 to 44,640. [min]
    detector : preset of the emulated detectors, with changes if any.
    form : extension form of the guards, `P` or `R`.
    extension_max_s : replaces the plans' extension maxima; None keeps them. [s]
    strict : raise on an illegal action instead of replacing it.
    backend : `libsumo` (one simulation a process) or `traci`.
    render_mode : None, `human` (`sumo-gui`, over TraCI) or `ansi`.
    tau_s : time constant of the discount; None: no discount. [s]

    Raises
    ------
    ValueError : a value out of its range; the message says what is allowed.
    """

    hour: str = "peak"
    minutes: int = 60
    detector: str = "camera_day"
    form: str = "P"
    extension_max_s: float | None = None
    strict: bool = False
    backend: str = "libsumo"
    render_mode: str | None = None
    tau_s: float | None = 240.0

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not 1 <= self.minutes <= LONGEST_MIN:
            raise ValueError(f"minutes = {self.minutes}: give 1 to {LONGEST_MIN} whole minutes")
        preset(self.detector)
        PolicyOptions(form=self.form, extension_max_s=self.extension_max_s)
        if self.backend not in BACKENDS:
            raise ValueError(f"backend has {self.backend!r}; give one of {', '.join(BACKENDS)}")
        if self.render_mode not in (None, *RENDER_MODES):
            raise ValueError(
                f"render_mode has {self.render_mode!r}; give one of None, {', '.join(RENDER_MODES)}"
            )
        if self.tau_s is not None and not (math.isfinite(self.tau_s) and self.tau_s > 0):
            raise ValueError(f"tau_s = {self.tau_s}: a time constant is over 0 s; None does not discount")


class GridPolicy(ChoicePolicy):
    """Runs what an agent chose; its decisions are due at whole seconds only."""

    def is_due(self, situation: Situation) -> bool:
        """Tell whether a decision is due in this situation."""
        return super().is_due(situation) and situation.snapshot.now_ds % GRID_DS == 0


@dataclass(slots=True, eq=False)
class _Agent:
    """One junction's agent: its policy, what it may choose now, and when it last chose."""

    chooser: GivenChoice
    policy: GridPolicy
    has_choice: bool = False
    mask: npt.NDArray[np.int8] | None = None
    default: int = IDLE_ROW
    decided_ds: int = WARMUP_DS
    overrides: Counter[str] | None = None


class CorridorEnv(ParallelEnv[str, ObsType, int]):  # type: ignore[misc]  # an untyped base
    """Several junctions in one SUMO. Each second every agent acts; one whose decision is due chooses.

    Parameters
    ----------
    corridor : name or path of a corridor, or a loaded one.
    options : how it simulates and rewards.

    Notes
    -----
    Agents: the members' ids. Observation of each: dict of `context`, `choices` and `mask`, as in
    `CrossingEnv`, from its own detectors. An agent with nothing to decide (or one choice only, which is
    taken for it) has a mask of row 0 alone; any other row is then illegal and, like row 0, without effect.
    Where there is a choice, an illegal row is replaced by the first legal one. Both are reported.

    Reward of each: minus the person-seconds of this second at its junction (`CorridorPersons`), discounted
    within the second, over a scale fixed by corridor and hour, so that the agents' rewards sum to the
    corridor's. The guarantee is the guards' and no reward term stands for it.

    `reset(seed=n)` plays demand seed n; without a seed, one below 10,000 (training seeds) is drawn.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - PettingZoo declares it so
        "name": "bitgoeul_corridor_v0",
        "render_modes": list(RENDER_MODES),
        "is_parallelizable": True,
    }

    def __init__(self, corridor: str | Path | Corridor, options: CorridorOptions) -> None:
        self.corridor = corridor if isinstance(corridor, Corridor) else load_corridor(corridor)
        for site in self.corridor.sites.values():
            site.demand.period(options.hour)
        self.options, self.render_mode = options, options.render_mode
        self.possible_agents = list(self.corridor.members)
        self.agents: list[str] = []
        self._observation_spaces = {
            agent: spaces.Dict(
                {
                    "context": spaces.Box(0.0, LIMIT, (len(CONTEXT),), np.float32),
                    "choices": spaces.Box(0.0, LIMIT, (N_MAX, len(CHOICE)), np.float32),
                    "mask": spaces.MultiBinary(N_MAX),
                }
            )
            for agent in self.possible_agents
        }
        self._action_spaces = {agent: spaces.Discrete(N_MAX) for agent in self.possible_agents}
        size = len(self.possible_agents) * (len(CONTEXT) + N_MAX * len(CHOICE) + N_MAX)
        self.state_space = spaces.Box(0.0, LIMIT, (size,), np.float32)
        self._rng = np.random.default_rng()
        self._end_ds = (WARMUP_S + 60 * options.minutes) * 10
        self._simulation: Simulation | None = None
        self._driver: CorridorDriver | None = None
        self._observations: dict[str, ObsType] = {}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's observation space, the same object each time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return an agent's action space, the same object each time."""
        return self._action_spaces[agent]

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

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, ObsType], Infos]:
        """Start an episode and run it through the warm-up.

        Parameters
        ----------
        seed : demand and detector seed; None draws one below 10,000.
        options : `hour` and `detector` replace the environment's own; others are named in each
            info's `unknown_options` (PettingZoo's checker passes one).

        Raises
        ------
        ScenarioError, ValueError : an unknown hour or detector, or a negative seed.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        episode_seed = int(self._rng.integers(TRAINING_SEEDS)) if seed is None else int(seed)
        given = dict(options or {})
        hour = str(given.pop("hour", self.options.hour))
        detector = str(given.pop("detector", self.options.detector))
        preset(detector)
        self.close()
        self._simulation = open_corridor(
            self.corridor,
            seed=episode_seed,
            hour=hour,
            end_s=self._end_ds // 10,
            backend=self.options.backend,
            has_gui=self.render_mode == "human",
        )
        self._agents: dict[str, _Agent] = {}
        self._driver = CorridorDriver(
            self._simulation.connection,
            self.corridor,
            self._controller,
            detector=detector,
            seed=episode_seed,
            extension_max_s=self.options.extension_max_s,
        )
        self._persons = CorridorPersons(self._driver)
        self._scale = 1.0 / (persons_per_second(self.corridor, hour) * SCALE_S)
        while self._driver.now_ds < WARMUP_DS:
            self._driver.step()
        self.agents = list(self.possible_agents)
        self._observations = {agent: self._observe(agent) for agent in self.agents}
        stated = {"seed": episode_seed, "hour": hour, "detector": detector, "unknown_options": sorted(given)}
        return self._observations, {agent: {**self._info(agent), **stated} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, ObsType], dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Take every agent's action and run one second.

        Raises
        ------
        ValueError : an agent without an action, or an illegal action under `strict`.
        RuntimeError : before `reset`.
        """
        driver = self.driver
        if not self.agents:
            raise RuntimeError("the episode is over; call reset")
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise ValueError(f"no action for {', '.join(missing)}")
        illegal = {agent: self._take(agent, actions[agent]) for agent in self.agents}
        terms, person_s = self._run_second(driver)
        is_over = driver.now_ds >= self._end_ds
        agents = self.agents
        self._observations = {agent: self._observe(agent) for agent in agents}
        rewards = {agent: sum(terms[agent].values()) for agent in agents}
        infos = {
            agent: {
                **self._info(agent),
                "illegal_action": illegal[agent],
                "reward_terms": terms[agent],
                "person_s": person_s[agent],
            }
            for agent in agents
        }
        if is_over:
            self.agents = []
        return (
            self._observations,
            rewards,
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, is_over),
            infos,
        )

    def state(self) -> npt.NDArray[np.float32]:
        """Return all agents' observations in one vector, for a central critic; the truth is not in it."""
        parts = [
            self._observations[agent][key].ravel()
            for agent in self.possible_agents
            for key in ("context", "choices", "mask")
        ]
        return np.concatenate(parts).astype(np.float32)

    def action_masks(self, agent: str) -> npt.NDArray[np.bool_]:
        """Return which actions of an agent are legal now. `(N_MAX,)`"""
        return self._observations[agent]["mask"].astype(np.bool_)

    def render(self) -> str | None:
        """Return a line for each junction under `ansi`; SUMO's own window shows itself under `human`."""
        if self.render_mode != "ansi":
            return None
        return "\n".join(self._line(agent) for agent in self.possible_agents)

    def close(self) -> None:
        """End the simulation and remove its files."""
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None
        self._driver = None
        self.agents = []

    def _controller(self, agent: str, plan: SitePlan) -> tuple[GridPolicy, Guard]:
        chooser = GivenChoice()
        policy = GridPolicy("environment", plan, chooser)
        self._agents[agent] = _Agent(chooser=chooser, policy=policy)
        return policy, Guard(plan, form=self.options.form, extension_max_s=self.options.extension_max_s)

    def _take(self, agent: str, action: int) -> bool:
        """Give an agent's action to its policy; tell whether it was illegal."""
        mask, mine = self._observations[agent]["mask"], self._agents[agent]
        is_illegal = not 0 <= action < N_MAX or not mask[action]
        if is_illegal and self.options.strict:
            legal = ", ".join(str(row) for row in np.flatnonzero(mask))
            raise ValueError(f"action {action} of {agent} is illegal now; legal: {legal}")
        mine.chooser.index = int(action) if mine.has_choice and not is_illegal else mine.default
        if mine.has_choice:
            mine.decided_ds = self.driver.now_ds
            mine.overrides = Counter(_overrides(self.driver, agent))
        return is_illegal

    def _run_second(self, driver: CorridorDriver) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
        """Run one second; return each agent's reward terms, and its person-seconds, undiscounted. [s]"""
        tau_s = self.options.tau_s
        decay = 1.0 if tau_s is None else math.exp(-STEP_S / tau_s)
        weight = STEP_S if tau_s is None else tau_s * (1.0 - decay)
        spent = {agent: [0.0, 0.0] for agent in self.agents}
        person_s = dict.fromkeys(self.agents, 0.0)
        for _ in range(round(GRID_S / STEP_S)):
            driver.step()
            for agent, (in_vehicles, on_foot) in self._persons.count().items():
                spent[agent][0] += weight * in_vehicles
                spent[agent][1] += weight * on_foot
                person_s[agent] += STEP_S * (in_vehicles + on_foot)
            weight *= decay
        terms = {
            agent: {"vehicles": -vehicles * self._scale, "walkers": -walkers * self._scale}
            for agent, (vehicles, walkers) in spent.items()
        }
        return terms, person_s

    def _observe(self, agent: str) -> ObsType:
        """Return what an agent sees, and note what it may choose."""
        mine, junction = self._agents[agent], self.driver.junctions[agent]
        observation = mine.policy.observer.observe(junction.loop.observed)
        is_due = junction.is_decision_due
        mine.has_choice = is_due and int(observation.mask.sum()) > 1
        mine.default = default_choice(observation) if is_due else IDLE_ROW
        return _as_dict(observation, has_choice=mine.has_choice)

    def _info(self, agent: str) -> dict[str, Any]:
        mine, junction = self._agents[agent], self.driver.junctions[agent]
        tau_s = self.options.tau_s
        return {
            "has_choice": mine.has_choice,
            "elapsed_s": (junction.now_ds - mine.decided_ds) / 10,
            "discount": 1.0 if tau_s is None else math.exp(-GRID_S / tau_s),
            "extension_s": junction.loop.audit.extension_ds / 10,
            "overrides": dict(_overrides(self.driver, agent) - (mine.overrides or Counter())),
        }

    def _line(self, agent: str) -> str:
        junction = self.driver.junctions[agent]
        lamps = junction.loop.observed.snapshot.lamps
        green = "+".join(
            str(phase.number) for phase in junction.plan.phases if _has(lamps.green, phase.number)
        )
        walkers = junction.walkers
        return (
            f"{agent}  {junction.now_ds / 10:.1f} s  green {green or '-'}"
            f"  waiting {sum(map(len, walkers.waiting))}  crossing {sum(map(len, walkers.on_crossing))}"
        )


def _has(mask: int, phase: int) -> bool:
    return bool(mask >> (phase - 1) & 1)


def _overrides(driver: CorridorDriver, agent: str) -> Counter[str]:
    """Return how often the guard overruled a junction's choices so far, by reason."""
    return Counter(getattr(driver.junctions[agent], "overrides", {}))


def _as_dict(observation: Observation, *, has_choice: bool) -> ObsType:
    """Return an observation with its mask; an agent without a choice has row 0 alone."""
    mask = observation.mask.astype(np.int8)
    if not has_choice:
        mask = np.zeros(N_MAX, dtype=np.int8)
        mask[IDLE_ROW] = 1
    return {"context": observation.context, "choices": observation.choices, "mask": mask}


def corridor_env(corridor: str | Path | Corridor = "bukmun_row", **options: Any) -> CorridorEnv:
    """Return a corridor's environment.

    Parameters
    ----------
    corridor : name or path of a corridor, or a loaded one.
    options : see `CorridorOptions`.

    Raises
    ------
    TypeError : an unknown option.
    ValueError, ScenarioError, PlanError : a value out of its range, or the corridor cannot be loaded.
    """
    return CorridorEnv(corridor, CorridorOptions(**options))

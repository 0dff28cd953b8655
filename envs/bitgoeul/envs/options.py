"""The options of the learning environments: one frozen value, checked when it is made."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, Final

import numpy as np
from gymnasium.spaces import Space

from bitgoeul.controller.policies import PolicyOptions
from bitgoeul.sim_scenarios.catalog import Site, load_site
from bitgoeul.sim_scenarios.simulation import LONGEST_MIN, STEP_S

from .detector import preset
from .episode import Randomisation, checked_hour, checked_number, checked_text, load_randomisation
from .observing import ABLATIONS
from .reward import TERMS, RewardFunction

RENDER_MODES: Final = ("human", "rgb_array", "ansi")
"""What `render_mode` may be besides None."""
BACKENDS: Final = ("libsumo", "traci")
"""What `backend` may be."""
OBSERVATIONS: Final = ("dict", "flat")
"""Names of the built-in observations."""
TAU_S: Final = 240.0
"""Default time constant of the discount. [s] [A]"""


@dataclass(frozen=True, slots=True)
class EnvOptions:
    """How an environment simulates, observes and rewards.

    Parameters
    ----------
    site : registered name or path of a site, or a loaded one.
    hour : demand period or hour of the day, unless `randomise` draws it.
    minutes : length of an episode after the warm-up, 1 to 44,640. [min]
    detector : preset of the emulated detector, with changes if any, unless `randomise` draws it.
    form : extension form of the guard, `P` or `R`.
    extension_max_s : replaces the plan's extension maxima; None keeps them. [s]
    strict : raise on an illegal action instead of replacing it.
    backend : `libsumo` (one environment a process) or `traci`.
    render_mode : None, `human` (`sumo-gui`, over TraCI), `rgb_array` or `ansi`.
    delta_time_s : None: a step lasts until the next choice; else each step lasts so long. [s]
    observation : `dict`, `flat`, or a function (`observing.ObservationFunction`).
    reward : None: person-seconds; else a function of the interval (`reward.RewardFunction`).
    reward_terms : weights of optional terms by name (`reward.TERMS`); None adds none. [person-s]
    ablation : what the policy does not see, or sees without error; the guard's view stays.
    critic : add the truth as `critic` to the dict observation, for a critic in training alone.
    randomise : conditions of each episode are drawn from it; a path is read as TOML. None: no drawing.
    continuing_minutes : one simulation goes on over several episodes for so long; None: one each. [min]
    tau_s : time constant of the discount inside a step; None: no discount. [s]
    csv_path : file that gets sumo-rl's columns at the end of each episode; None writes none.

    Raises
    ------
    ValueError : a value out of its range; the message says what is allowed.
    ScenarioError, PlanError : the site or the randomisation cannot be loaded.
    """

    site: str | Path | Site = "bukmun_5"
    _: KW_ONLY
    hour: str = "peak"
    minutes: int = 60
    detector: str = "camera_day"
    form: str = "P"
    extension_max_s: float | None = None
    strict: bool = False
    backend: str = "libsumo"
    render_mode: str | None = None
    delta_time_s: float | None = None
    observation: Any = "dict"
    reward: RewardFunction | None = None
    reward_terms: Mapping[str, float] | None = None
    ablation: str = "none"
    critic: bool = False
    randomise: Randomisation | str | Path | None = None
    continuing_minutes: int | None = None
    tau_s: float | None = TAU_S
    csv_path: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        self._check_kinds()
        _check_minutes("minutes", self.minutes, least=1)
        if self.continuing_minutes is not None:
            _check_minutes("continuing_minutes", self.continuing_minutes, least=self.minutes)
        preset(self.detector)
        PolicyOptions(form=self.form, extension_max_s=self.extension_max_s)
        _check_name("backend", self.backend, BACKENDS)
        _check_name("render_mode", self.render_mode, (None, *RENDER_MODES))
        _check_name("ablation", self.ablation, ABLATIONS)
        self._check_times()
        self._check_observation()
        self._check_reward()

    def _check_kinds(self) -> None:
        """Refuse what is of another kind than the option, so that the message names the option."""
        object.__setattr__(self, "hour", checked_hour(self.hour))
        checked_text("detector", self.detector)
        checked_text("form", self.form)
        for name in ("strict", "critic"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise ValueError(f"{name} = {getattr(self, name)!r}: give True or False")  # noqa: TRY004 - as for all options
        for name in ("extension_max_s", "delta_time_s", "tau_s"):
            if getattr(self, name) is not None:
                checked_number(name, getattr(self, name))
        _check_kind("site", self.site, str, Path, Site)
        _check_kind("randomise", self.randomise, str, Path, Randomisation, NoneType)
        _check_kind("csv_path", self.csv_path, str, Path, NoneType)
        if self.csv_path is not None and not Path(self.csv_path).parent.is_dir():
            raise ValueError(f"csv_path = {self.csv_path}: no such folder; make it first")
        if self.csv_path is not None and Path(self.csv_path).is_dir():
            raise ValueError(f"csv_path = {self.csv_path}: this is a folder; name a file in it")

    def _check_times(self) -> None:
        step_s, tau_s = self.delta_time_s, self.tau_s
        if step_s is not None:
            is_whole = math.isfinite(step_s) and step_s > 0 and (step_s / STEP_S).is_integer()
            if not is_whole or (60 * self.minutes / step_s) % 1:
                raise ValueError(
                    f"delta_time_s = {step_s}: a step is a multiple of {STEP_S} s of which minutes ="
                    f" {self.minutes} holds a whole number; None decides on events"
                )
        if tau_s is not None and not (math.isfinite(tau_s) and tau_s > 0):
            raise ValueError(f"tau_s = {tau_s}: a time constant is over 0 s; None does not discount")

    def _check_observation(self) -> None:
        view = self.observation
        is_function = callable(view) and isinstance(getattr(view, "space", None), Space)
        if not is_function and not (isinstance(view, str) and view in OBSERVATIONS):
            raise ValueError(
                f"observation = {view!r}: give one of {', '.join(OBSERVATIONS)}, or a function with a `space`"
            )
        if self.critic and (is_function or view != "dict"):
            raise ValueError("critic = True needs observation = 'dict': the truth is a key of its own")

    def _check_reward(self) -> None:
        if self.reward is not None and not callable(self.reward):
            raise ValueError(f"reward = {self.reward!r}: give a function of an Interval, or None")
        if self.reward_terms is not None and not isinstance(self.reward_terms, Mapping):
            raise ValueError(f"reward_terms = {self.reward_terms!r}: give weights by name, or None")
        for name, weight in (self.reward_terms or {}).items():
            _check_name("reward_terms", name, tuple(TERMS))
            checked_number(f"reward_terms[{name!r}]", weight)
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"reward_terms[{name!r}] = {weight}: a weight is 0 or more person-seconds")

    def load_site(self) -> Site:
        """Return the site, loaded, once it is known to have the hour.

        Raises
        ------
        ScenarioError, PlanError : no such site or hour, or it has faults.
        """
        site = self.site if isinstance(self.site, Site) else load_site(self.site)
        site.demand.period(self.hour)
        return site

    def load_randomisation(self, *sites: Site) -> Randomisation | None:
        """Return what episodes are drawn from; None if they are not.

        Parameters
        ----------
        *sites : where; each must have every hour that may be drawn.

        Raises
        ------
        ScenarioError : the file cannot be read or has faults, or a site lacks an hour.
        """
        given = self.randomise
        loaded = load_randomisation(given) if isinstance(given, str | Path) else given
        if loaded is not None:
            for site in sites:
                source = "randomise" if isinstance(given, Randomisation) else str(given)
                loaded.check_hours(site.demand.period, source)
        return loaded


def make_options(
    site: str | Path | Site, given: Mapping[str, Any], *, without: Collection[str] = ()
) -> EnvOptions:
    """Return options from keywords; those in `without` are not listed as known.

    Raises
    ------
    TypeError : an unknown option; the message lists those there are.
    ValueError : see `EnvOptions`.
    """
    known = [field.name for field in fields(EnvOptions) if field.name not in {"site", *without}]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(f"unknown option {', '.join(unknown)}; the options are {', '.join(known)}")
    return EnvOptions(site, **given)


def _check_minutes(name: str, minutes: object, *, least: int) -> None:
    try:
        is_allowed = least <= operator.index(minutes) <= LONGEST_MIN  # type: ignore[arg-type]
    except TypeError:
        is_allowed = False
    if isinstance(minutes, bool) or not is_allowed:
        raise ValueError(f"{name} = {minutes}: give {least} to {LONGEST_MIN} whole minutes")


def _check_kind(option: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        names = ", ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ValueError(f"{option} = {value!r}: give one of {names}")  # noqa: TRY004 - as for all options


def _check_name(option: str, name: object, known: tuple[str | None, ...]) -> None:
    if name not in known:
        raise ValueError(f"{option} has {name!r}; give one of {', '.join(map(str, known))}")

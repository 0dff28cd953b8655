"""Recipes: everything that determines a training run, as one strict TOML file."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.observe import CHOICE, CONTEXT, places_of

SHIPPED = "crossing"
"""Recipe that the shipped policy was made by."""
LAST_TRAINING_SEED = 9_999
"""Seeds up to here are for training. (DESIGN, measures)"""
VALIDATION_SEEDS = range(10_500, 11_000)
"""Seeds that choose among checkpoints: above training's and apart from everyday comparisons (from 10,000)."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Condition(_Strict):
    """A site at a demand period, and how often episodes take place there.

    Parameters
    ----------
    site : registered name or path of a site.
    hour : demand period.
    weight : drawn in proportion to it, > 0.
    """

    site: str
    hour: str
    weight: Positive = 1.0


class Episodes(_Strict):
    """What is simulated.

    Parameters
    ----------
    mix : one condition is drawn per episode.
    minutes : length of an episode after the warm-up. [min]
    detector : preset of the emulated detector.
    first_seed, last_seed : demand and detector seeds are drawn from this range, within 0 to 9,999.
    continuing_minutes : several episodes in one simulation of this length, a multiple of `minutes`, so that
        its warm-up is paid once; None: each episode has its own. [min]
    """

    mix: tuple[Condition, ...] = Field(min_length=1)
    minutes: Annotated[int, Field(ge=1, le=240)]
    detector: str
    first_seed: Annotated[int, Field(ge=0, le=LAST_TRAINING_SEED)]
    last_seed: Annotated[int, Field(ge=0, le=LAST_TRAINING_SEED)]
    continuing_minutes: Annotated[int, Field(ge=1, le=1_440)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first_seed > self.last_seed:
            raise ValueError("first_seed is above last_seed")
        if self.continuing_minutes is not None and self.continuing_minutes % self.minutes:
            raise ValueError("continuing_minutes is no multiple of minutes")
        return self


class Reward(_Strict):
    """How the environment's reward becomes the learner's: `scale * (reward + offset_per_s * elapsed_s)`.

    Parameters
    ----------
    offset_per_s : near the usual cost of a second, so that what is learned has mean about 0. [1/s]
    scale : brings returns to the order of 1 to 10.
    """

    offset_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    scale: Positive


class Network(_Strict):
    """The scorer.

    Parameters
    ----------
    hidden : width of each hidden layer.
    temperature : divides the scores, which start with a largest weight of 1; lower explores less, > 0.
    context_features, choice_features : what the scorer reads, by name; left out, everything there is.
    """

    hidden: Annotated[int, Field(ge=4, le=256)]
    temperature: Positive
    context_features: tuple[str, ...] | None = None
    choice_features: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _features_are_known(self) -> Self:
        places_of(self.context_features, CONTEXT)
        places_of(self.choice_features, CHOICE)
        return self


class Ppo(_Strict):
    """Proximal policy optimisation, with time in seconds instead of a discount per decision.

    Parameters
    ----------
    n_envs : simulations side by side.
    n_steps : decisions per simulation and update.
    batch_size, n_epochs, learning_rate, clip_range, entropy, value, max_grad_norm, target_kl, gae_lambda :
        as in stable-baselines3.
    horizon_s : a cost that lies this far ahead counts exp(-1). [s]
    """

    n_envs: Annotated[int, Field(ge=1, le=64)]
    n_steps: Annotated[int, Field(ge=2)]
    batch_size: Annotated[int, Field(ge=2)]
    n_epochs: Count
    learning_rate: Positive
    horizon_s: Positive
    gae_lambda: Share
    clip_range: Positive
    entropy: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    value: Positive
    max_grad_norm: Positive
    target_kl: Positive


class Validation(_Strict):
    """How one of the checkpoints is chosen: the least delay of all persons, over the same days for each.

    Parameters
    ----------
    first_seed, last_seed : every condition of the mix is run with each, within 10,500 to 10,999.
    minutes : measured time of a run. [min]
    every_updates : checkpoints that are validated: the start, each so many updates, and the last.
    beside : controllers run once on the same days for comparison.
    """

    first_seed: int
    last_seed: int
    minutes: Annotated[int, Field(ge=1, le=240)]
    every_updates: Count
    beside: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _seeds_apart(self) -> Self:
        if not (self.first_seed in VALIDATION_SEEDS and self.last_seed in VALIDATION_SEEDS):
            raise ValueError(f"seeds lie within {VALIDATION_SEEDS[0]} and {VALIDATION_SEEDS[-1]}")
        if self.first_seed > self.last_seed:
            raise ValueError("first_seed is above last_seed")
        return self

    @property
    def seeds(self) -> range:
        """The validation seeds."""
        return range(self.first_seed, self.last_seed + 1)


class Recipe(_Strict):
    """One training run.

    Parameters
    ----------
    name : of the recipe.
    seed : of the weights, the exploration and the order of episodes.
    total_timesteps : decisions to learn from, over all simulations; whole updates, so a few more are made.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    seed: Annotated[int, Field(ge=0)]
    total_timesteps: Count
    episodes: Episodes
    reward: Reward
    network: Network
    ppo: Ppo
    validation: Validation


def read_recipe(name_or_path: str) -> tuple[Recipe, str]:
    """Return a recipe and its text.

    Parameters
    ----------
    name_or_path : a shipped recipe's name, or a file.

    Raises
    ------
    ScenarioError : no such recipe, or it cannot be used.
    """
    folder = Path(str(files(__package__) / "recipes"))
    shipped = folder / f"{name_or_path}.toml"
    path = shipped if shipped.is_file() and "/" not in name_or_path else Path(name_or_path)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ScenarioError(f"{name_or_path}: no such recipe file; shipped recipes: {known}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise ScenarioError(f"{path}: not a text file ({fault.reason})") from fault
    return parse_recipe(text, str(path)), text


def parse_recipe(text: str, source: str) -> Recipe:
    """Return the recipe in `text`; `source` names it in errors.

    Raises
    ------
    ScenarioError : not TOML, or not a recipe; the message has all faults.
    """
    try:
        tables = tomllib.loads(text)
        return Recipe.model_validate_json(json.dumps(tables, default=str))
    except tomllib.TOMLDecodeError as fault:
        raise ScenarioError(f"{source}: not TOML: {fault}") from fault
    except ValidationError as faults:
        found = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg']}"
            for fault in faults.errors()
        )
        raise ScenarioError(f"{source}: {found}") from faults


def check_recipe(recipe: Recipe) -> None:
    """Refuse what the simulation would refuse later: unknown sites, hours, detectors or controllers.

    Raises
    ------
    ScenarioError, PlanError : unknown site or hour, or a plan that must not be run.
    ValueError : an unknown detector or controller.
    """
    from bitgoeul.controller.policies import parse_controller
    from bitgoeul.envs.detector import preset
    from bitgoeul.sim_scenarios.catalog import load_site

    preset(recipe.episodes.detector)
    for condition in recipe.episodes.mix:
        load_site(condition.site).demand.period(condition.hour)
    for controller in recipe.validation.beside:
        parse_controller(controller)

"""Learn a policy: maskable PPO from max-pressure on, checkpoints at every update, the best one chosen."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.policies.scorers import MAX_PRESSURE_WEIGHTS
from bitgoeul.sim_scenarios.files import write_text

from . import compare
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .episodes import worker_processes
from .export import digest, export_policy, scorer_weights
from .processes import ending_on_sigterm, scratch_folder
from .recipe import Recipe
from .scorer import ScorerPolicy
from .smdp import SmdpCallback, SmdpMaskableDictRolloutBuffer
from .store import RunStore, code_version

if TYPE_CHECKING:
    from bitgoeul.envs.world import RunSpec

LATEST: Final = "checkpoint.pt"
"""The last update, with all that is needed to go on."""
BEST: Final = "best.pt"
"""The checkpoint with the least delay in validation so far."""
POLICY: Final = "policy.onnx"
"""The best checkpoint, exported."""
LOG: Final = "log.jsonl"
"""One line per update and per validated checkpoint."""
CRITERION: Final = "person_hours_per_h"
"""Measure by which a checkpoint is chosen: delay of walkers and occupants. [person-h/h]"""
VERSIONS: Final = ("torch", "stable-baselines3", "sb3-contrib", "gymnasium", "libsumo", "numpy")


class Progress(Protocol):
    """Told how a training goes on."""

    def advance(self, timesteps: int, doing: str) -> None:
        """Take the decisions made so far, and what is being done."""
        ...


class Silent:
    """Shows nothing."""

    def advance(self, timesteps: int, doing: str) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is to be learned, and where it is kept.

    Parameters
    ----------
    recipe, recipe_text : the recipe, and as it was read.
    folder : checkpoints, log and the policy; exists.
    total_timesteps : decisions to learn from; the recipe's unless the user said otherwise.
    """

    recipe: Recipe
    recipe_text: str
    folder: Path
    total_timesteps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished training.

    Parameters
    ----------
    policy : the exported file.
    chosen : record of the chosen checkpoint; `timesteps` 0 is the start.
    start : record of the start.
    beside : mean delay of other controllers on the same days. [person-h/h]
    timesteps : decisions learned from.
    wall_s : time spent, over all parts of a resumed training. [s]
    """

    policy: Path
    chosen: dict[str, Any]
    start: dict[str, Any]
    beside: dict[str, float]
    timesteps: int
    wall_s: float


def train(training: Training, *, is_resumed: bool, progress: Progress | None = None) -> Outcome:
    """Learn, and export the best checkpoint.

    Parameters
    ----------
    training : what and where.
    is_resumed : go on from the folder's checkpoint.
    progress : told after each decision; None is silent.

    Raises
    ------
    ScenarioError : a worker or validation run failed, or the checkpoint cannot be used.
    KeyboardInterrupt : Ctrl-C; the last complete checkpoint stays and no process is left.
    """
    torch.set_num_threads(1)  # the networks are tiny, and the processors are the simulations'
    folder = training.folder
    before = load_checkpoint(folder / LATEST) if is_resumed else None
    done = before.timesteps if before else 0
    with ending_on_sigterm(), scratch_folder(), worker_processes(training.recipe, started_at=done) as venv:
        model = make_model(training.recipe, venv, seed=training.recipe.seed + done)
        recorder = Recorder(training, before, progress or Silent())
        if before is not None:
            restore(model, before)
        model.set_logger(Logger(folder=None, output_formats=[]))
        if done < training.total_timesteps:
            model.learn(
                training.total_timesteps - done,
                callback=[SmdpCallback(), recorder],
                log_interval=None,  # type: ignore[arg-type] # None is what `learn` tests for
                reset_num_timesteps=before is None,
            )
    best = load_checkpoint(folder / BEST)
    latest = load_checkpoint(folder / LATEST)
    # The chosen weights, with the record of all that was validated until the end.
    chosen = replace(best, validations=latest.validations, total_timesteps=latest.total_timesteps)
    save_checkpoint(chosen, folder / BEST)
    export_policy(chosen, folder / POLICY)
    return Outcome(
        policy=folder / POLICY,
        chosen=least(latest.validations),
        start=latest.validations[0],
        beside=latest.beside,
        timesteps=latest.timesteps,
        wall_s=latest.wall_s,
    )


def make_model(recipe: Recipe, venv: VecEnv, *, seed: int) -> MaskablePPO:
    """Return the learner at its start."""
    ppo = recipe.ppo
    return MaskablePPO(
        ScorerPolicy,
        venv,
        learning_rate=ppo.learning_rate,
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy,
        vf_coef=ppo.value,
        max_grad_norm=ppo.max_grad_norm,
        target_kl=ppo.target_kl,
        rollout_buffer_class=SmdpMaskableDictRolloutBuffer,
        rollout_buffer_kwargs={"tau_s": ppo.horizon_s},
        policy_kwargs={
            "hidden": recipe.network.hidden,
            "temperature": recipe.network.temperature,
            "start_weights": MAX_PRESSURE_WEIGHTS,
            "context_features": recipe.network.context_features,
            "choice_features": recipe.network.choice_features,
        },
        seed=seed,
        device="cpu",
    )


def restore(model: MaskablePPO, checkpoint: Checkpoint) -> None:
    """Put a learner where a checkpoint left it.

    Raises
    ------
    ScenarioError : the checkpoint's network is another one.
    """
    try:
        model.policy.load_state_dict(checkpoint.policy)
        model.policy.optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, ValueError) as fault:
        raise ScenarioError(f"the checkpoint fits another network ({str(fault).splitlines()[0]})") from fault
    model.num_timesteps = checkpoint.timesteps


class Recorder(BaseCallback):
    """Notes what episodes cost, and after each update keeps a checkpoint and validates when due.

    Parameters
    ----------
    training : what and where.
    before : the checkpoint that the training goes on from; None at its start.
    progress : told after each decision.
    """

    def __init__(self, training: Training, before: Checkpoint | None, progress: Progress) -> None:
        super().__init__()
        self._training, self._progress = training, progress
        self._updates = before.updates if before else 0
        self._log: list[dict[str, Any]] = list(before.updates_log) if before else []
        self._validations: list[dict[str, Any]] = list(before.validations) if before else []
        self._beside = dict(before.beside) if before else {}
        self._start_weights = before.start_weights if before else dict(MAX_PRESSURE_WEIGHTS)
        self._wall_s, self._began_s = before.wall_s if before else 0.0, time.monotonic()
        self._episodes: list[Mapping[str, Any]] = []
        self._is_learning = False

    # --- during an update's decisions -------------------------------------------------------------

    def _on_step(self) -> bool:
        ended = (info.get("episode_cost") for info in self.locals["infos"])
        self._episodes += [cost for cost in ended if cost is not None]
        self._progress.advance(self.num_timesteps, "learning")
        return True

    # --- between updates --------------------------------------------------------------------------

    def _on_rollout_start(self) -> None:
        self._between_updates()

    def _on_training_end(self) -> None:
        self._between_updates(is_last=True)

    def _between_updates(self, *, is_last: bool = False) -> None:
        """Keep the update that has just been made, and validate it if that is due."""
        if self._is_learning:
            self._updates += 1
            self._log.append(self._update_record())
            self._episodes = []
        if self._is_learning or not self._updates:
            self.keep()
        self._is_learning = True
        is_due = is_last or self._updates % self._training.recipe.validation.every_updates == 0
        if is_due and not any(seen["updates"] == self._updates for seen in self._validations):
            self._validate()

    def _update_record(self) -> dict[str, Any]:
        """Return the line of the log for this update."""
        values = self.model.logger.name_to_value
        named = {
            "value_loss": "train/value_loss",
            "explained_variance": "train/explained_variance",
            "approx_kl": "train/approx_kl",
            "clip_fraction": "train/clip_fraction",
            "entropy_loss": "train/entropy_loss",
        }
        return {
            "updates": self._updates,
            "timesteps": self.model.num_timesteps,
            "wall_s": round(self.wall_s, 1),
            "episodes": len(self._episodes),
            "person_seconds_per_h": _mean(self._episodes, "person_seconds_per_h"),
            "mean_time_s": _mean(self._episodes, "mean_time_s"),
            **{name: float(values[key]) for name, key in named.items() if key in values},
        }

    @property
    def wall_s(self) -> float:
        """Time spent so far, earlier parts included. [s]"""
        return self._wall_s + time.monotonic() - self._began_s

    def checkpoint(self) -> Checkpoint:
        """Return the present state."""
        policy: ScorerPolicy = self.model.policy  # type: ignore[assignment] # `make_model` made it
        return Checkpoint(
            recipe_text=self._training.recipe_text,
            timesteps=self.model.num_timesteps,
            total_timesteps=self._training.total_timesteps,
            updates=self._updates,
            wall_s=self.wall_s,
            policy=policy.state_dict(),
            optimizer=policy.optimizer.state_dict(),
            updates_log=self._log,
            validations=self._validations,
            beside=self._beside,
            start_weights=self._start_weights,
            code_version=code_version(),
            versions={name: metadata.version(name) for name in VERSIONS},
            **policy.reads,
        )

    def keep(self) -> None:
        """Write checkpoint and log."""
        save_checkpoint(self.checkpoint(), self._training.folder / LATEST)
        lines = [json.dumps(record) for record in [*self._log, *self._validations]]
        write_text(self._training.folder / LOG, "\n".join(lines) + "\n")

    def _validate(self) -> None:
        """Run the present policy on the validation days, and keep it if it is the best so far."""
        self._progress.advance(self.model.num_timesteps, "validating")
        checkpoint, folder = self.checkpoint(), self._training.folder
        candidates = folder / "candidates"
        candidates.mkdir(exist_ok=True)
        name = digest(scorer_weights(checkpoint))[:12]
        policy_file = candidates / f"{checkpoint.timesteps:07d}-{name}.onnx"
        export_policy(checkpoint, policy_file)
        if not self._validations:
            for controller in self._training.recipe.validation.beside:
                self._beside[controller] = mean_delay(run_days(self._training, controller))
        days = run_days(self._training, "learned", policy_file)
        record = {
            "updates": self._updates,
            "timesteps": checkpoint.timesteps,
            "policy": policy_file.name,
            CRITERION: mean_delay(days),
            "days": days,
        }
        self._validations.append(record)
        if least(self._validations) is record:
            save_checkpoint(self.checkpoint(), folder / BEST)
        self.keep()


def run_days(training: Training, controller: str, policy_file: Path | None = None) -> list[dict[str, Any]]:
    """Run a controller on every validation day and return one record for each.

    Raises
    ------
    ScenarioError : a run cannot be done.
    """
    store = RunStore(folder=training.folder / "validation", version=code_version())
    specs = validation_specs(training.recipe, controller, policy_file)
    compare.run_parallel(specs, store, workers=compare.default_workers(), on_done=lambda _: None)
    rows = store.read("rows", specs).to_dicts()
    return [{name: row[name] for name in ("site", "hour", "seed", CRITERION)} for row in rows]


def validation_specs(recipe: Recipe, controller: str, policy_file: Path | None) -> list[RunSpec]:
    """Return a run for every condition of the mix and validation seed."""
    from bitgoeul.envs.world import RunSpec

    return [
        RunSpec(
            site=condition.site,
            controller=controller,
            seed=seed,
            hour=condition.hour,
            minutes=recipe.validation.minutes,
            detector=recipe.episodes.detector,
            policy_file=None if policy_file is None else str(policy_file),
        )
        for condition in recipe.episodes.mix
        for seed in recipe.validation.seeds
    ]


def mean_delay(days: list[dict[str, Any]]) -> float:
    """Return the mean of the criterion over days. [person-h/h]"""
    return float(np.mean([day[CRITERION] for day in days]))


def least(validations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record with the least delay; of equals, the first."""
    return min(validations, key=lambda record: record[CRITERION])


def _mean(episodes: list[Mapping[str, Any]], name: str) -> float | None:
    """Return a mean over episodes; None if none has ended."""
    return float(np.mean([episode[name] for episode in episodes])) if episodes else None

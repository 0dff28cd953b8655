"""Policies that stable-baselines3 saved, run in the environment they were learned in."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gymnasium import spaces

from bitgoeul.controller.errors import ScenarioError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from bitgoeul.envs.world import RunResult, RunSpec

RUN: Final = "bitgoeul.training.saved:run_saved"
"""The function that runs one `RunSpec` with a saved policy, as a comparison names it."""
_STEP: Final = ":delta_time_s="


def with_step(file: Path, delta_time_s: float | None) -> str:
    """Return how a `RunSpec` names a saved policy and the length of its steps; None is on events. [s]"""
    return str(file) if delta_time_s is None else f"{file}{_STEP}{delta_time_s:g}"


def load_saved(file: Path) -> BaseAlgorithm:
    """Return the learner in a file that `model.save` of stable-baselines3 wrote.

    Loading runs what the file says: load only files of your own.

    Raises
    ------
    ScenarioError : no such file, not one of stable-baselines3's, or of an algorithm that is not known.
    """
    from sb3_contrib import MaskablePPO
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
    from stable_baselines3 import DQN, PPO
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.save_util import load_from_zip_file
    from stable_baselines3.dqn.policies import DQNPolicy

    if not file.is_file():
        raise ScenarioError(f"{file}: no such policy file")
    if not zipfile.is_zipfile(file):
        raise ScenarioError(f"{file}: not a policy that stable-baselines3 saved")
    kept, _, _ = load_from_zip_file(str(file), device="cpu")
    kind = (kept or {}).get("policy_class")
    if not isinstance(kind, type):
        raise ScenarioError(f"{file}: not a policy that stable-baselines3 saved")
    known: dict[type, type[BaseAlgorithm]] = {
        MaskableActorCriticPolicy: MaskablePPO,
        ActorCriticPolicy: PPO,
        DQNPolicy: DQN,
    }
    for policy, algorithm in known.items():
        if issubclass(kind, policy):
            return algorithm.load(str(file), device="cpu")
    raise ScenarioError(f"{file}: a {kind.__name__}; known are the policies of PPO, MaskablePPO and DQN")


def run_saved(spec: RunSpec, *, record_strip: bool = False) -> RunResult:
    """Run a saved policy for one episode and return what happened, as `run_world` does.

    Parameters
    ----------
    spec : its `policy_file` is from `with_step`.
    record_strip : not done here; the result has no strip.

    Raises
    ------
    ScenarioError, PlanError, FieldFault, ValueError : the run cannot be made.
    """
    del record_strip
    from bitgoeul.envs.crossing import CrossingEnv
    from bitgoeul.envs.outcome import extension_row
    from bitgoeul.envs.world import RunResult

    name, _, step = (spec.policy_file or "").partition(_STEP)
    model = load_saved(Path(name))
    env = CrossingEnv(
        spec.site,
        hour=spec.hour,
        minutes=spec.minutes,
        detector=spec.detector,
        form=spec.form,
        extension_max_s=spec.extension_max_s,
        delta_time_s=float(step) if step else None,
        observation="dict" if isinstance(model.observation_space, spaces.Dict) else "flat",
    )
    try:
        _check_spaces(env, model, name)
        result = _play(env, model, spec.seed)
        driver = env.driver
        extensions = driver.loop.audit.extensions
        asked = {field: getattr(spec, field) for field in ("controller", "hour", "detector", "form", "seed")}
        return RunResult(
            row={
                "site": driver.plan.site.id,
                **asked,
                "extension_max_s": math.nan if spec.extension_max_s is None else spec.extension_max_s,
                "minutes": spec.minutes,
                **{
                    column: value
                    for column, value in result.items()
                    if column not in {"demand_factor", "walker_mix"}
                },
                "sumo_version": str(env.simulation.connection.getVersion()[1]),
            },
            events=driver.measures.event_rows(driver.now_ds, driver.detector.was_detected, extensions),
            extensions=[extension_row(extension) for extension in extensions],
            trace_hash=env.trace_hash,
            strip=None,
        )
    finally:
        env.close()


def _check_spaces(env: Any, model: BaseAlgorithm, name: str) -> None:
    """Refuse a policy that was learned on other observations or actions.

    Raises
    ------
    ScenarioError : it was.
    """
    if (env.observation_space, env.action_space) != (model.observation_space, model.action_space):
        raise ScenarioError(f"{name}: learned on other observations or actions than those of this version")


def _play(env: Any, model: BaseAlgorithm, seed: int) -> dict[str, Any]:
    """Play one episode, always the action the policy likes best, and return its result."""
    import torch
    from sb3_contrib import MaskablePPO

    torch.set_num_threads(1)
    observation, _ = env.reset(seed=seed)
    while True:
        masks = {"action_masks": env.action_masks()} if isinstance(model, MaskablePPO) else {}
        action, _ = model.predict(observation, deterministic=True, **masks)
        observation, _, _, is_over, info = env.step(int(action))
        if is_over:
            result: dict[str, Any] = info["result"]
            return result

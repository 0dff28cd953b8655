"""A trained scorer as an ONNX file: scores, mask and choice in one small graph, and where it came from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.observe import CHOICE, CONTEXT, Feature, places_of
from bitgoeul.controller.policies.scorers import feature_list

from .checkpoint import Checkpoint, write_bytes
from .recipe import parse_recipe

if TYPE_CHECKING:
    import onnx

OPSET: Final = 17
"""ONNX operator set of the graph."""
IR_VERSION: Final = 8
"""ONNX file version that belongs to it."""
PREFIX: Final = "mlp_extractor.scorer."
"""Where the scorer's weights stand among the policy's."""
WEIGHTS: Final = ("linear", "correction.0", "correction.2", "correction.4")
"""Layers of the scorer; see `ChoiceScorer`."""
LEAST: Final = float(np.finfo(np.float32).min)
"""Score of an illegal choice."""


def export_policy(checkpoint: Checkpoint, path: Path) -> dict[str, str]:
    """Write a checkpoint's scorer as ONNX and return the metadata in it.

    The same checkpoint gives the same bytes.

    Raises
    ------
    ScenarioError : the folder cannot be written to, or the scorer was trained on other features than this
        version has.
    """
    import onnx

    weights = scorer_weights(checkpoint)
    model = build_model(weights, *read_by(checkpoint))
    about = provenance(checkpoint, weights)
    onnx.helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString(deterministic=True))
    return about


def scorer_weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the scorer's arrays by name, matrices as they multiply a row from the right."""
    found = {}
    for layer in WEIGHTS:
        found[f"{layer}.weight"] = checkpoint.policy[f"{PREFIX}{layer}.weight"].numpy().T
        bias = checkpoint.policy.get(f"{PREFIX}{layer}.bias")
        if bias is not None:
            found[f"{layer}.bias"] = bias.numpy()
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in found.items()}


def read_by(checkpoint: Checkpoint) -> tuple[tuple[Feature, ...], tuple[Feature, ...]]:
    """Return the context and choice features that a checkpoint's scorer reads, in its order.

    Raises
    ------
    ScenarioError : the scorer was trained on other features than this version has.
    """
    try:
        context = tuple(CONTEXT[place] for place in places_of(checkpoint.context_features, CONTEXT))
        choices = tuple(CHOICE[place] for place in places_of(checkpoint.choice_features, CHOICE))
    except ValueError as fault:
        raise ScenarioError(f"the checkpoint's scorer: {fault}") from fault
    choice_n = checkpoint.policy[f"{PREFIX}linear.weight"].shape[1]
    context_n = checkpoint.policy[f"{PREFIX}correction.0.weight"].shape[1] - choice_n
    if (context_n, choice_n) != (len(context), len(choices)):
        raise ScenarioError(
            f"the checkpoint's scorer reads {context_n} context and {choice_n} choice features, it names "
            f"{len(context)} and {len(choices)}: export it with the version that trained it"
        )
    return context, choices


def build_model(
    weights: dict[str, Any], context: tuple[Feature, ...], choices: tuple[Feature, ...]
) -> onnx.ModelProto:
    """Return the graph: `context`, `choices` and `mask` in, `choice` and `scores` out.

    `choice` is the legal row with the highest score, the first of equals; `scores` are before masking.
    """
    from onnx import TensorProto, helper, numpy_helper

    shape = np.array([1, N_MAX, len(context)], dtype=np.int64)
    constants = {
        **weights,
        "one": np.array([1], dtype=np.int64),
        "two": np.array([2], dtype=np.int64),
        "context_shape": shape,
        "least": np.array(LEAST, dtype=np.float32),
    }
    node = helper.make_node
    nodes = [
        node("MatMul", ["choices", "linear.weight"], ["weighted"]),
        node("Unsqueeze", ["context", "one"], ["context_row"]),
        node("Expand", ["context_row", "context_shape"], ["context_rows"]),
        node("Concat", ["context_rows", "choices"], ["rows"], axis=2),
        node("MatMul", ["rows", "correction.0.weight"], ["first_product"]),
        node("Add", ["first_product", "correction.0.bias"], ["first_sum"]),
        node("Tanh", ["first_sum"], ["first"]),
        node("MatMul", ["first", "correction.2.weight"], ["second_product"]),
        node("Add", ["second_product", "correction.2.bias"], ["second_sum"]),
        node("Tanh", ["second_sum"], ["second"]),
        node("MatMul", ["second", "correction.4.weight"], ["correction"]),
        node("Add", ["weighted", "correction"], ["score_rows"]),
        node("Squeeze", ["score_rows", "two"], ["scores"]),
        node("Where", ["mask", "scores", "least"], ["legal_scores"]),
        node("ArgMax", ["legal_scores"], ["choice"], axis=1, keepdims=0, select_last_index=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "per_choice_scorer",
        [
            value("context", TensorProto.FLOAT, [1, len(context)]),
            value("choices", TensorProto.FLOAT, [1, N_MAX, len(choices)]),
            value("mask", TensorProto.BOOL, [1, N_MAX]),
        ],
        [value("choice", TensorProto.INT64, [1]), value("scores", TensorProto.FLOAT, [1, N_MAX])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="bitgoeul")
    model.ir_version = IR_VERSION
    return model


def provenance(checkpoint: Checkpoint, weights: dict[str, Any]) -> dict[str, str]:
    """Return what a policy file says about itself."""
    recipe = parse_recipe(checkpoint.recipe_text, "the checkpoint's recipe")
    episodes, validation = recipe.episodes, recipe.validation
    return {
        "features": feature_list(*read_by(checkpoint)),
        "recipe_name": recipe.name,
        "recipe": checkpoint.recipe_text,
        "seed": str(recipe.seed),
        "training_seeds": f"{episodes.first_seed}-{episodes.last_seed}",
        "validation_seeds": f"{validation.first_seed}-{validation.last_seed}",
        "timesteps": str(checkpoint.timesteps),
        "total_timesteps": str(checkpoint.total_timesteps),
        "validations": json.dumps(checkpoint.validations),
        "beside": json.dumps(checkpoint.beside),
        "start_weights": json.dumps(checkpoint.start_weights),
        "code_version": checkpoint.code_version,
        "versions": json.dumps(checkpoint.versions),
        "weights_sha256": digest(weights),
    }


def digest(weights: dict[str, Any]) -> str:
    """Return a SHA-256 of names, shapes and values of weights."""
    hashed = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], dtype="<f4")
        hashed.update(f"{name} {array.shape} ".encode() + array.tobytes())
    return hashed.hexdigest()

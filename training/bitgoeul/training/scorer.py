"""The per-choice scorer in torch: one function scores every choice, whatever their number and order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import CHOICE, CONTEXT

FLAT = [len(CONTEXT), N_MAX * len(CHOICE), N_MAX]
"""Lengths of context, choices and mask in a flat observation."""


class ChoiceScorer(nn.Module):
    """Scores choices: a weighted sum of a choice's features, and a small correction seen in context.

    Parameters
    ----------
    context_n, choice_n : number of features.
    hidden : width of the correction's two layers.
    temperature : divides the scores, > 0.

    Notes
    -----
    `score_j = (w . choice_j + mlp([context, choice_j])) / temperature`. The correction's last layer starts
    at zero, so an untrained scorer is its linear part: max-pressure.
    """

    def __init__(self, context_n: int, choice_n: int, hidden: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.linear = nn.Linear(choice_n, 1, bias=False)
        last = nn.Linear(hidden, 1, bias=False)  # a bias would move all scores alike
        nn.init.zeros_(last.weight)
        self.correction = nn.Sequential(
            nn.Linear(context_n + choice_n, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last
        )

    def start_from(self, weights: Mapping[str, float]) -> None:
        """Set the linear part to weights by feature name, scaled so that the largest is 1."""
        scale = max(abs(weight) for weight in weights.values())
        values = [weights.get(feature.name, 0.0) / scale for feature in CHOICE]
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([values]))

    def forward(self, context: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        """Return one score per choice, legal or not.

        Parameters
        ----------
        context : `(batch, context_n)`.
        choices : `(batch, n, choice_n)`.
        """
        rows = torch.cat([context.unsqueeze(1).expand(-1, choices.shape[1], -1), choices], dim=2)
        scores: torch.Tensor = self.linear(choices) + self.correction(rows)
        return scores.squeeze(2) / self.temperature


class TableValue(nn.Module):
    """Encodes a whole observation for the value: context, and mean and maximum over the legal rows."""

    def __init__(self, context_n: int, choice_n: int, hidden: int) -> None:
        super().__init__()
        self.row = nn.Sequential(nn.Linear(choice_n, hidden), nn.Tanh())
        self.table = nn.Sequential(nn.Linear(context_n + 2 * hidden, hidden), nn.Tanh())

    def forward(self, context: torch.Tensor, choices: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the encoding. `(batch, hidden)`"""
        rows, legal = self.row(choices), mask.unsqueeze(2)
        mean = (rows * legal).sum(1) / legal.sum(1).clamp(min=1.0)
        greatest = torch.where(legal > 0, rows, torch.full_like(rows, -1.0)).amax(1)
        encoded: torch.Tensor = self.table(torch.cat([context, mean, greatest], dim=1))
        return encoded


class FlatTable(BaseFeaturesExtractor):
    """Lays context, choices and mask side by side in one row, as the policy's interface wants it."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, sum(FLAT))

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the flat observation. `(batch, features_dim)`"""
        parts = [observations[name].flatten(1) for name in ("context", "choices", "mask")]
        return torch.cat(parts, dim=1)


class ScorerNetwork(nn.Module):
    """The scorer and the value's encoder behind the interface of SB3's `mlp_extractor`."""

    def __init__(self, hidden: int, temperature: float) -> None:
        super().__init__()
        self.scorer = ChoiceScorer(len(CONTEXT), len(CHOICE), hidden, temperature)
        self.encoder = TableValue(len(CONTEXT), len(CHOICE), hidden)
        self.latent_dim_pi, self.latent_dim_vf = N_MAX, hidden

    def split(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return context, choices and mask of a flat observation."""
        context, choices, mask = torch.split(flat, FLAT, dim=1)
        return context, choices.reshape(-1, N_MAX, len(CHOICE)), mask

    def forward(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and the value's encoding."""
        return self.forward_actor(flat), self.forward_critic(flat)

    def forward_actor(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the scores. `(batch, n_max)`"""
        context, choices, _ = self.split(flat)
        scores: torch.Tensor = self.scorer(context, choices)
        return scores

    def forward_critic(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the value's encoding. `(batch, hidden)`"""
        encoded: torch.Tensor = self.encoder(*self.split(flat))
        return encoded


class ScorerPolicy(MaskableActorCriticPolicy):
    """A maskable actor-critic policy whose logits are the scorer's scores.

    Parameters
    ----------
    hidden : width of the hidden layers.
    temperature : divides the scores, > 0.
    start_weights : weight by choice feature to start from.
    """

    def __init__(  # noqa: PLR0913 - SB3's signature
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        hidden: int,
        temperature: float,
        start_weights: Mapping[str, float],
        **kwargs: Any,
    ) -> None:
        self.hidden, self.temperature, self.start_weights = hidden, temperature, dict(start_weights)
        kwargs["features_extractor_class"] = FlatTable
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @property
    def scorer(self) -> ChoiceScorer:
        """The part that is exported."""
        network: ScorerNetwork = self.mlp_extractor  # type: ignore[assignment]
        return network.scorer

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ScorerNetwork(self.hidden, self.temperature)  # type: ignore[assignment] # its interface

    def _build(self, lr_schedule: Schedule) -> None:
        """Create the networks and the optimiser."""
        self._build_mlp_extractor()
        self.action_net = nn.Identity()  # scores are logits already
        self.value_net = nn.Linear(self.hidden, 1)
        self.scorer.start_from(self.start_weights)
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        kept = super()._get_constructor_parameters()
        for name in ("net_arch", "activation_fn", "ortho_init", "features_extractor_class"):
            kept.pop(name, None)
        kept.update(hidden=self.hidden, temperature=self.temperature, start_weights=self.start_weights)
        return kept

"""The per-choice scorer in torch: one function scores every choice, whatever their number and order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from bitgoeul.controller.choices import N_MAX
from bitgoeul.controller.observe import CHOICE, CONTEXT, places_of

PARTS = ("context", "choices", "mask", "critic")
"""Parts of an observation in a row, in this order; `critic` only where the environment adds it."""


class ChoiceScorer(nn.Module):
    """Scores choices: a weighted sum of a choice's features, and a small correction seen in context.

    Parameters
    ----------
    context_at, choices_at : where the features it reads stand in an observation.
    hidden : width of the correction's two layers.
    temperature : divides the scores, > 0.

    Notes
    -----
    `score_j = (w . choice_j + mlp([context, choice_j])) / temperature`. The correction's last layer starts
    at zero, so an untrained scorer is its linear part: max-pressure.
    """

    context_at: torch.Tensor
    choices_at: torch.Tensor

    def __init__(
        self, context_at: Sequence[int], choices_at: Sequence[int], hidden: int, temperature: float
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_buffer("context_at", torch.tensor(context_at), persistent=False)
        self.register_buffer("choices_at", torch.tensor(choices_at), persistent=False)
        context_n, choice_n = len(context_at), len(choices_at)
        self.linear = nn.Linear(choice_n, 1, bias=False)
        last = nn.Linear(hidden, 1, bias=False)  # a bias would move all scores alike
        nn.init.zeros_(last.weight)
        self.correction = nn.Sequential(
            nn.Linear(context_n + choice_n, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last
        )

    def start_from(self, weights: Mapping[str, float]) -> None:
        """Set the linear part to weights by feature name, scaled so that the largest is 1."""
        scale = max(abs(weight) for weight in weights.values())
        names = [CHOICE[place].name for place in self.choices_at.tolist()]
        values = [weights.get(name, 0.0) / scale for name in names]
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([values]))

    def forward(self, context: torch.Tensor, choices: torch.Tensor) -> torch.Tensor:
        """Return one score per choice, legal or not.

        Parameters
        ----------
        context : `(batch, len(CONTEXT))`.
        choices : `(batch, n, len(CHOICE))`.
        """
        context, choices = context[:, self.context_at], choices[:, :, self.choices_at]
        rows = torch.cat([context.unsqueeze(1).expand(-1, choices.shape[1], -1), choices], dim=2)
        scores: torch.Tensor = self.linear(choices) + self.correction(rows)
        return scores.squeeze(2) / self.temperature


class TableValue(nn.Module):
    """Encodes a whole observation for the value: context, and mean and maximum over the legal rows.

    Parameters
    ----------
    context_n : length of the context, with what only the critic sees behind it.
    choice_n : number of choice features.
    hidden : width.
    """

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
    """Lays the parts of an observation side by side in one row, as the policy's interface wants it."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        self.names = [name for name in PARTS if name in observation_space.spaces]
        super().__init__(observation_space, sum(_lengths(observation_space)))

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the flat observation. `(batch, features_dim)`"""
        return torch.cat([observations[name].flatten(1).float() for name in self.names], dim=1)


class ScorerNetwork(nn.Module):
    """The scorer and the value's encoder behind the interface of SB3's `mlp_extractor`.

    What only the critic sees (`critic`) is split off before the scorer and goes to the value's encoder alone.

    Parameters
    ----------
    scorer : the part that is exported.
    lengths : of context, choices, mask and critic in a flat observation.
    hidden : width of the value's encoder.
    """

    def __init__(self, scorer: ChoiceScorer, lengths: list[int], hidden: int) -> None:
        super().__init__()
        self.scorer, self._lengths = scorer, lengths
        self.encoder = TableValue(lengths[0] + lengths[3], len(CHOICE), hidden)
        self.latent_dim_pi, self.latent_dim_vf = N_MAX, hidden

    def split(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return context, choices, mask and critic of a flat observation."""
        context, choices, mask, critic = torch.split(flat, self._lengths, dim=1)
        return context, choices.reshape(-1, N_MAX, len(CHOICE)), mask, critic

    def forward(self, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and the value's encoding."""
        return self.forward_actor(flat), self.forward_critic(flat)

    def forward_actor(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the scores. `(batch, n_max)`"""
        context, choices, _, _ = self.split(flat)
        scores: torch.Tensor = self.scorer(context, choices)
        return scores

    def forward_critic(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the value's encoding. `(batch, hidden)`"""
        context, choices, mask, critic = self.split(flat)
        encoded: torch.Tensor = self.encoder(torch.cat([context, critic], dim=1), choices, mask)
        return encoded


def _lengths(observation_space: spaces.Dict) -> list[int]:
    """Return the lengths of context, choices, mask and critic (0 without one) in a flat observation.

    Raises
    ------
    ValueError : it is not this version's observation.
    """
    shapes = {name: space.shape or () for name, space in observation_space.spaces.items()}
    expected = {"context": (len(CONTEXT),), "choices": (N_MAX, len(CHOICE)), "mask": (N_MAX,)}
    if any(shapes.get(name) != shape for name, shape in expected.items()):
        raise ValueError(f"the scorer reads the dict observation {expected}; got {shapes}")
    return [len(CONTEXT), N_MAX * len(CHOICE), N_MAX, sum(shapes.get("critic", ()))]


class ScorerPolicy(MaskableActorCriticPolicy):
    """A maskable actor-critic policy whose logits are the scorer's scores.

    Parameters
    ----------
    hidden : width of the hidden layers.
    temperature : divides the scores, > 0.
    start_weights : weight by choice feature to start from.
    context_features, choice_features : what the scorer reads, by name; None is everything. The value's
        network, which is not exported, always sees everything.
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
        context_features: Sequence[str] | None = None,
        choice_features: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.hidden, self.temperature, self.start_weights = hidden, temperature, dict(start_weights)
        self.context_features, self.choice_features = context_features, choice_features
        kwargs["features_extractor_class"] = FlatTable
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    @property
    def reads(self) -> dict[str, list[str]]:
        """What the scorer reads, by name, in its order; `Checkpoint` keeps it under the same two words."""
        return {
            "context_features": [CONTEXT[place].name for place in self.scorer.context_at.tolist()],
            "choice_features": [CHOICE[place].name for place in self.scorer.choices_at.tolist()],
        }

    @property
    def scorer(self) -> ChoiceScorer:
        """The part that is exported."""
        network: ScorerNetwork = self.mlp_extractor  # type: ignore[assignment]
        return network.scorer

    def _build_mlp_extractor(self) -> None:
        space: spaces.Dict = self.observation_space  # type: ignore[assignment] # it is the scorer's own
        scorer = ChoiceScorer(
            places_of(self.context_features, CONTEXT),
            places_of(self.choice_features, CHOICE),
            self.hidden,
            self.temperature,
        )
        self.mlp_extractor = ScorerNetwork(scorer, _lengths(space), self.hidden)  # type: ignore[assignment] # its interface

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
        kept.update(
            hidden=self.hidden,
            temperature=self.temperature,
            start_weights=self.start_weights,
            context_features=self.context_features,
            choice_features=self.choice_features,
        )
        return kept

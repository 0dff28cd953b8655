"""How sensors see each class of people: who is missed, who is taken for whom, and what is then stated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bitgoeul.controller.detection import MOBILITY_CLASSES

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Odds = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Shares = tuple[float, ...]
"""One figure per class, in the order of `MOBILITY_CLASSES`."""
HALVINGS = 50
"""Of the bracket 0 to 1 when solving for a probability. Plain code: importing a solver takes 0.3 s."""


class ClassRow(BaseModel):
    """How sensors see one class, relative to the others.

    Parameters
    ----------
    id : one of `MOBILITY_CLASSES`.
    share : of the mix that overall figures are means over.
    miss_odds, no_press_odds, misread_odds : factors on the odds that a person of this class is missed,
        does not push the button, is guessed at instead of read.
    looks_like : factor on the odds that a guess falls on that class; 1 where none is named.
    sources : of all of these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    share: Share
    miss_odds: Odds
    no_press_odds: Odds
    misread_odds: Odds
    looks_like: dict[str, Odds]
    sources: Annotated[str, Field(pattern=r"^[SMA]: ")]

    @model_validator(mode="after")
    def _looks_like_classes(self) -> Self:
        if unknown := set(self.looks_like) - set(MOBILITY_CLASSES):
            raise ValueError(f"looks_like names no class: {', '.join(sorted(unknown))}")
        return self


class ClassTable:
    """The classes together: overall figures taken apart by class.

    Parameters
    ----------
    rows : one per class, in the order of `MOBILITY_CLASSES`.

    Notes
    -----
    A probability q with odds factor w becomes w q / (1 - q + w q): in order, within 0 and 1, and at both
    ends the same for everybody. q is solved for so that the mean over the mix is the overall figure.
    """

    def __init__(self, rows: tuple[ClassRow, ...]) -> None:
        self.mix: Shares = tuple(row.share for row in rows)
        self._rows = rows
        self._guesses = tuple(self._guess(row) for row in rows)
        self.chance = sum(
            share * row[i] for i, (share, row) in enumerate(zip(self.mix, self._guesses, strict=True))
        )
        """Precision of pure guessing: the least `class_precision`."""

    def _guess(self, row: ClassRow) -> Shares:
        """Return what somebody of a class is taken for if the class is guessed."""
        weights = [
            share * row.looks_like.get(name, 1.0)
            for name, share in zip(MOBILITY_CLASSES, self.mix, strict=True)
        ]
        return tuple(weight / sum(weights) for weight in weights)

    def recalls(self, person_recall: float, *, is_button: bool = False) -> Shares:
        """Return the share of each class that is seen, or that pushes the button."""
        factors = [row.no_press_odds if is_button else row.miss_odds for row in self._rows]
        misses = _solved(factors, lambda missed: self._mean(missed) - (1 - person_recall))
        return tuple(1 - miss for miss in misses)

    def confusion(self, class_precision: float) -> tuple[Shares, ...]:
        """Return for each true class how often each class is reported."""
        kept = [1 - row[i] for i, row in enumerate(self._guesses)]

        def excess(guessed: Shares) -> float:
            return self._mean(tuple(g * k for g, k in zip(guessed, kept, strict=True))) - (
                1 - class_precision
            )

        guessed = _solved([row.misread_odds for row in self._rows], excess)
        return tuple(
            tuple(g * other + (1 - g if place == i else 0.0) for place, other in enumerate(row))
            for i, (g, row) in enumerate(zip(guessed, self._guesses, strict=True))
        )

    def stated(self, confusion: tuple[Shares, ...]) -> tuple[Shares, ...]:
        """Return for each reported class the probabilities of the true ones, by Bayes over the mix."""
        columns = [
            [share * row[place] for share, row in zip(self.mix, confusion, strict=True)]
            for place in range(len(self.mix))
        ]
        return tuple(tuple(part / sum(column) for part in column) for column in columns)

    def _mean(self, shares: Shares) -> float:
        return sum(part * share for part, share in zip(self.mix, shares, strict=True))


def _solved(factors: list[float], excess: Callable[[Shares], float]) -> Shares:
    """Return the probabilities q with odds factors for which `excess` is 0; it rises with q."""

    def scaled(q: float) -> Shares:
        return tuple(w * q / (1 - q + w * q) for w in factors)

    low, high = 0.0, 1.0
    for end in (low, high):
        if excess(scaled(end)) == 0:
            return scaled(end)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if excess(scaled(middle)) < 0:
            low = middle
        else:
            high = middle
    return scaled(low)

"""`bitgoeul district`: make, run and rank the junctions of a district."""

from __future__ import annotations

import click


@click.group()
def district() -> None:
    """Make, run and rank all signalised junctions of a district."""

"""`bitgoeul corridor`: show, coordinate and draw a corridor."""

from __future__ import annotations

import click


@click.group()
def corridor() -> None:
    """Show, coordinate or draw a corridor."""

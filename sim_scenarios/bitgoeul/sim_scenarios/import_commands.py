"""`bitgoeul import`: make a site of a network or a map."""

from __future__ import annotations

import click


@click.group(name="import")
def import_() -> None:
    """Make a site of a SUMO network or an OpenStreetMap extract."""

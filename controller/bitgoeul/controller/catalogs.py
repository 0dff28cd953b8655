"""Where plans are found by name: the catalogs of sites that are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from .errors import ScenarioError
from .plan import SitePlan, load_plan


def find_plan(site: str) -> SitePlan:
    """Return the plan of a registered site, or of a path.

    Raises
    ------
    ScenarioError : no such site is registered and no such file exists.
    PlanError : the plan must not be run.
    """
    path = Path(site)
    if path.suffix == ".toml" or path.is_file():
        return load_plan(path)
    known: list[str] = []
    for catalog in entry_points(group="bitgoeul.site_catalogs"):
        plans: Callable[[], dict[str, Callable[[], SitePlan]]] = catalog.load()
        found = plans()
        if site in found:
            return found[site]()
        known += found
    raise ScenarioError(f"unknown site {site!r}; known: {', '.join(known) or 'none'}, or the path of a plan")

"""The environment on anybody's SUMO network, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitgoeul.sim_scenarios.importers import PERIOD, site_from_network

from .crossing import CrossingEnv

DRAWN_BY_SITES = ("hour",)
"""Options that choose among a site's demand, which a route file already is."""


def junction_env(
    net_file: str | Path,
    route_file: str | Path,
    *,
    traffic_light: str | None = None,
    design_speed_mps: float = 1.0,
    **options: Any,
) -> CrossingEnv:
    """Return a `CrossingEnv` on one signalised junction of a SUMO network.

    Parameters
    ----------
    net_file : the network (`.net.xml`); stays as it is, its signal program replaced while it runs.
    route_file : vehicles and persons of the whole network, flows and trips included; used as it is,
        but for a file that begins late: its times are moved back, which `env.site.explain()` says.
    traffic_light : its id; None takes the only one.
    design_speed_mps : slowest walker that walk and clearance serve, 0.3 to 1.5. [m/s]
    options : of `CrossingEnv`, but for `site` and `hour`.

    Returns
    -------
    The environment; `env.site.explain()` says how the timing was derived.

    Raises
    ------
    ScenarioError : the network or route file cannot serve (`site_from_network`).
    ValueError : an option that a route file settles, or a value out of its range.

    Notes
    -----
    The trips are the file's at every reset: a seed changes SUMO's own random numbers (flows with a
    probability, driver imperfection, speeds) and the detector's, not who travels. The first 300 s
    are warm-up. Persons carry no mobility class, so they count as `unknown`, walk at their vehicle
    type's speed and start without delay, unless the file has the parameters `bitgoeul.class` and
    `bitgoeul.startup_s`. A vehicle counts as one person in the reward.
    """
    given = [name for name in DRAWN_BY_SITES if name in options]
    if given:
        raise ValueError(f"{', '.join(given)}: the route file says who departs when; leave it out")
    site = site_from_network(
        net_file, route_file, traffic_light=traffic_light, design_speed_mps=design_speed_mps
    )
    return CrossingEnv(site, hour=PERIOD, **options)

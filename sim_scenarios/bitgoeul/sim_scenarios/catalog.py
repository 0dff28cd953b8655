"""The sites at hand: shipped ones, those that other packages register, and any folder by its path."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import SitePlan, load_plan

from .demand_tables import Demand, load_demand
from .route_files import RouteDemand

SITES_FOLDER = Path(__file__).parent / "sites"
ENTRY_POINT_GROUP = "bitgoeul.sites"
"""Entry points of other packages: name -> a module in the site folder, or a callable giving its path."""
PLAN_FILE = "plan.toml"
DEMAND_FILE = "demand.toml"
SITE_FILE = "site.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedNetwork:
    """What a site derived from somebody's SUMO network runs on (`importers.site_from_network`).

    Parameters
    ----------
    net_file : the network, used as it is.
    routes : the route file, used as it is, and what departs in it.
    occupancy : persons a vehicle. [1]
    lines : how the plan was derived, a line each.
    """

    net_file: Path
    routes: RouteDemand
    occupancy: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One site, loaded and checked.

    Parameters
    ----------
    name : registered name, or the plan's own id for a site given by path.
    folder : where its plan stands.
    plan_file : the plan itself.
    network_folder : where its network sources and demand stand; `folder` unless `site.toml` says
        `based_on`.
    plan : its plan, retimed if that was asked for.
    demand : who arrives.
    imported : the network and route file of a site that `site_from_network` derived, else None; then
        `plan_file` is the network, and nothing is drawn from `demand`.
    """

    name: str
    folder: Path
    plan_file: Path
    network_folder: Path
    plan: SitePlan
    demand: Demand
    imported: ImportedNetwork | None = None

    def explain(self) -> tuple[str, ...]:
        """Return how the plan was derived from a network, a line each; nothing for a written plan."""
        return () if self.imported is None else self.imported.lines


def _registered_folders() -> dict[str, Path]:
    folders = {path.parent.name: path.parent for path in sorted(SITES_FOLDER.glob(f"*/{PLAN_FILE}"))}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name not in folders:
            folders[point.name] = _folder_of(point.name, point.load())
    return folders


def _folder_of(name: str, target: object) -> Path:
    if isinstance(target, ModuleType) and target.__file__:
        return Path(target.__file__).parent
    found = target() if callable(target) else target
    if not isinstance(found, str | Path):
        raise ScenarioError(f"site {name}: its entry point must give a folder, not {type(found).__name__}")
    return Path(found)


def site_names() -> tuple[str, ...]:
    """Return the names of all registered sites, shipped ones first."""
    return tuple(_registered_folders())


def site_folder(name_or_path: str | Path) -> Path:
    """Return the folder of a site given by name, by its folder or by its plan file.

    Raises
    ------
    ScenarioError : neither a registered name nor a folder with a plan; the message lists the names.
    """
    folders = _registered_folders()
    if str(name_or_path) in folders:
        return folders[str(name_or_path)]
    path = Path(name_or_path)
    folder = path.parent if path.is_file() else path
    if (folder / PLAN_FILE).is_file():
        return folder.resolve()
    known = ", ".join(folders)
    raise ScenarioError(
        f"site {str(name_or_path)!r} is unknown; give one of {known}, or a folder with a {PLAN_FILE}"
    )


def _network_folder(folder: Path) -> Path:
    site_file = folder / SITE_FILE
    if not site_file.is_file():
        return folder
    try:
        document = tomllib.loads(site_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ScenarioError(f"{site_file}: cannot be read: {fault}") from None
    base = document.get("based_on")
    if set(document) != {"based_on"} or not isinstance(base, str) or not base:
        raise ScenarioError(f"{site_file}: must hold exactly one line, based_on = <name or path of a site>")
    beside = folder.parent / base
    base_folder = beside if (beside / PLAN_FILE).is_file() else site_folder(base)
    if (base_folder / SITE_FILE).is_file():
        raise ScenarioError(f"{site_file}: {base} is itself based on another site; name that one")
    return base_folder


def load_site(name_or_path: str | Path, design_speed_mps: float | None = None) -> Site:
    """Load a site.

    Parameters
    ----------
    name_or_path : registered name, or path of a site's folder or plan file.
    design_speed_mps : retime the plan for this walking speed; None: the plan as it stands. [m/s]

    Raises
    ------
    ScenarioError : unknown site, or its demand or `site.toml` has faults.
    PlanError : its plan has faults.
    """
    folder = site_folder(name_or_path)
    is_registered = str(name_or_path) in site_names()
    is_plan_file = not is_registered and Path(name_or_path).is_file()
    plan_file = Path(name_or_path).resolve() if is_plan_file else folder / PLAN_FILE
    plan = load_plan(plan_file)
    network_folder = _network_folder(folder)
    demand_file = folder / DEMAND_FILE
    return Site(
        name=str(name_or_path) if is_registered else plan.site.id,
        folder=folder,
        plan_file=plan_file,
        network_folder=network_folder,
        plan=plan if design_speed_mps is None else plan.retimed(design_speed_mps),
        demand=load_demand(demand_file if demand_file.is_file() else network_folder / DEMAND_FILE, plan),
    )


def plans() -> dict[str, Callable[[], SitePlan]]:
    """Return a loader of each registered site's plan, for programs that need no more (`control`)."""
    return {name: partial(_plan_of, name) for name in site_names()}


def _plan_of(name: str) -> SitePlan:
    return load_site(name).plan

"""A run as a folder that a stock SUMO opens: network, trips, detectors, configuration, plan, manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from bitgoeul.controller.errors import ScenarioError
from bitgoeul.controller.plan import load_plan

from .build import ADDITIONAL_FILE, NETWORK_FILE, build_network
from .catalog import PLAN_FILE, Site
from .demand import draw_trips, write_routes
from .files import new_folder, write_text
from .simulation import LARGEST_SEED, LONGEST_MIN, WARMUP_S, output_options, sumo_options

ROUTES_FILE = "trips.rou.xml"
CONFIGURATION_FILE = "run.sumocfg"
MANIFEST_FILE = "manifest.json"
MANIFEST_FORMAT = "bitgoeul-export-1"


def export_site(site: Site, *, seed: int, hour: str, minutes: int, out: Path) -> Path:
    """Write everything a stock SUMO needs for one run of a site.

    Parameters
    ----------
    site : the site, with its plan as it stands in its file.
    seed : of the trips and of SUMO's own random numbers, >= 0.
    hour : demand period or hour of the day.
    minutes : measured time, after a warm-up of `WARMUP_S`, >= 1. [min]
    out : folder to make; an earlier export there is replaced, anything else is left alone.

    Returns
    -------
    Path of the configuration file, for `sumo -c`.

    Raises
    ------
    ScenarioError : `out` holds something else or cannot be written, or the site cannot be built.
    ValueError : a negative seed or less than 1 minute.
    """
    if not 1 <= minutes <= LONGEST_MIN:
        raise ValueError(f"minutes = {minutes}: a run lasts 1 to {LONGEST_MIN} minutes")
    _refuse_foreign_folder(out)
    if load_plan(site.plan_file) != site.plan:
        raise ScenarioError(f"{site.name}: a retimed plan cannot be exported; export the site as it stands")
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed = {seed}: a seed lies between 0 and {LARGEST_SEED}")
    duration_s = WARMUP_S + 60 * minutes
    trips = draw_trips(site, seed=seed, hour=hour, duration_s=duration_s)
    network = build_network(site)
    out = out.resolve()
    with new_folder(out, replace=True) as folder:
        shutil.copyfile(network.net_path, folder / NETWORK_FILE)
        shutil.copyfile(network.additional_path, folder / ADDITIONAL_FILE)
        shutil.copyfile(site.plan_file, folder / PLAN_FILE)
        write_routes(trips, folder / ROUTES_FILE)
        options = sumo_options(
            network=Path(NETWORK_FILE),
            additional=Path(ADDITIONAL_FILE),
            routes=Path(ROUTES_FILE),
            seed=seed,
            end_s=duration_s,
        )
        write_text(folder / CONFIGURATION_FILE, _configuration({**options, **output_options(Path())}))
        manifest = {
            "format": MANIFEST_FORMAT,
            "site": site.name,
            "plan_id": site.plan.site.id,
            "seed": seed,
            "hour": hour,
            "period": site.demand.period(hour).name,
            "minutes": minutes,
            "warm_up_s": WARMUP_S,
            "end_s": duration_s,
            "vehicles": len(trips.vehicles),
            "walkers": len(trips.walkers),
            "network_hash": network.content_hash,
            "traffic_light": site.plan.sumo.traffic_light,
            "program": site.plan.sumo.program,
        }
        write_text(folder / MANIFEST_FILE, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
    return out / CONFIGURATION_FILE


def _refuse_foreign_folder(out: Path) -> None:
    """Raise ScenarioError unless `out` is free, empty or an earlier export."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ScenarioError(f"{out}: is a file; give a folder")
    try:
        is_free = not any(out.iterdir())
        text = "" if is_free else (out / MANIFEST_FILE).read_text(encoding="utf-8")
        is_export = not is_free and json.loads(text).get("format") == MANIFEST_FORMAT
    except (OSError, ValueError, AttributeError):
        is_free = is_export = False
    if not is_free and not is_export:
        raise ScenarioError(f"{out}: holds something other than an export; give a new folder")


def _configuration(options: Mapping[str, str]) -> str:
    """Return a SUMO configuration file; SUMO takes each option as an element of its name."""
    rows = "".join(f'    <{name} value="{value}"/>\n' for name, value in options.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<configuration>\n{rows}</configuration>\n'

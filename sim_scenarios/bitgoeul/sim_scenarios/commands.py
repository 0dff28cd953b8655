"""The subcommands `bitgoeul sites` and `bitgoeul site`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .build import INSTALL_HINT, build_network, find_netconvert
from .catalog import Site, load_site, site_names
from .corridor import Corridor, corridor_names, load_corridor
from .matrix import relations_document, relations_table
from .saturation import SATURATION_FLOW_VEH_PER_H, phase_loads


def _summary(site: Site) -> dict[str, object]:
    plan = site.plan
    return {
        "site": site.name,
        "name": plan.site.name,
        "name_ko": plan.site.name_ko,
        "crossings": [{"id": each.id, "length_m": each.length_m} for each in plan.crossings],
        "cycle_s": plan.patterns[0].cycle_s,
        "design_speed_mps": plan.limits.design_speed_mps,
        "note": plan.site.note,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--corridors", "with_corridors", is_flag=True, help="List the corridors instead.")
def sites(*, as_json: bool, with_corridors: bool) -> None:
    """List the sites that can be run."""
    if with_corridors:
        _list_corridors(as_json=as_json)
        return
    listed = [load_site(name) for name in site_names()]
    if as_json:
        click.echo(json.dumps({"sites": [_summary(site) for site in listed]}, ensure_ascii=False, indent=2))
        return
    for site in listed:
        plan = site.plan
        lengths = ", ".join(f"{each.id} {each.length_m:g} m" for each in plan.crossings)
        click.echo(f"{site.name}  {plan.site.name_ko}  ({plan.site.name})")
        click.echo(
            f"    crossings {lengths}; cycle {plan.patterns[0].cycle_s:g} s;"
            f" design speed {plan.limits.design_speed_mps:g} m/s"
        )


def _list_corridors(*, as_json: bool) -> None:
    listed = [load_corridor(name) for name in corridor_names()]
    if as_json:
        document = {"corridors": [_corridor_document(corridor) for corridor in listed]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    for corridor in listed:
        table = corridor.table
        click.echo(f"{corridor.name}  {table.name_ko}  ({table.name})")
        for member in table.members:
            click.echo(
                f"    {member.id}  {member.name_ko} ({member.name}): site {member.site},"
                f" offset {member.offset_s:g} s"
            )
        for link in table.links:
            click.echo(f"    {link.from_member} to {link.to_member}: {link.spacing_m:g} m")
        if table.note:
            click.echo(f"    {table.note}")
        click.echo(f"    figures and their sources: {corridor.folder / 'SOURCES.md'}")


def _corridor_document(corridor: Corridor) -> dict[str, object]:
    stated = corridor.table.model_dump(include={"name", "name_ko", "note", "members", "links"})
    return {"corridor": corridor.name, **stated}


@click.group()
def site() -> None:
    """Show or export one site."""


@site.command(epilog="Example: `bitgoeul site show bukmun_5`")
@click.argument("site_name", metavar="SITE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(site_name: str, as_json: bool) -> None:
    """Show SITE: its crossings, conflicts, timing, demand and degrees of saturation."""
    shown = load_site(site_name)
    is_checked = find_netconvert() is not None
    if is_checked:
        build_network(shown)  # refuses a plan whose conflicts are not those of the network
    if as_json:
        document = {
            **_summary(shown),
            "relations": relations_document(shown.plan),
            "is_checked_against_network": is_checked,
            "periods": [_period_document(shown, period.name) for period in shown.demand.periods],
        }
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    _show_junction(shown)
    _show_relations(shown, is_checked=is_checked)
    for period in shown.demand.periods:
        _show_period(shown, period.name)


def _show_junction(shown: Site) -> None:
    plan = shown.plan
    click.echo(f"{shown.name}: {plan.site.name_ko} ({plan.site.name})")
    if plan.site.note:
        click.echo(f"  {plan.site.note}")
    click.echo(f"  figures and their sources: {shown.folder / 'SOURCES.md'}")
    click.echo("Crossings")
    for crossing in plan.crossings:
        phase = plan.phase(plan.phase_of(crossing.id))
        click.echo(
            f"  {crossing.id}  over leg {crossing.leg}, {crossing.length_m:g} m x {crossing.width_m:g} m,"
            f" phase {phase.number}: walk {phase.walk_s:g} s, clearance {phase.ped_clear_s:g} s,"
            f" extension up to {plan.extension_max_s(crossing.id):g} s"
        )


def _show_relations(shown: Site, *, is_checked: bool) -> None:
    checked = "as the network's lanes have it" if is_checked else f"not checked: {INSTALL_HINT}"
    click.echo(f"Conflicts (C never together, Y one gives way, . apart; {checked})")
    for line in relations_table(shown.plan):
        click.echo(f"  {line}")


def _period_document(shown: Site, hour: str) -> dict[str, object]:
    period = shown.demand.period(hour)
    loads = [
        {
            "phase": load.phase,
            "name": load.name,
            "veh_per_h": load.veh_per_h,
            "degree_of_saturation": load.degree_of_saturation,
            "walk_wait_s": load.walk_wait_s,
        }
        for load in phase_loads(shown, hour)
    ]
    return {"period": period.name, "hours": list(period.hours), "phases": loads}


def _show_period(shown: Site, hour: str) -> None:
    period = shown.demand.period(hour)
    walkers = sum(each.persons_per_h for each in shown.demand.crossings) * period.walker_factor
    loads = phase_loads(shown, hour)
    pattern = shown.plan.pattern_at(period.hours[0])
    hours = ", ".join(map(str, period.hours))
    click.echo(
        f"{hour} (hours {hours}):"
        f" {sum(each.veh_per_h for each in loads):.0f} veh/h,"
        f" {walkers:.0f} walkers/h, cycle {pattern.cycle_s:g} s"
    )
    for load in loads:
        wait = "" if load.walk_wait_s is None else f", walkers wait {load.walk_wait_s:.0f} s (KHCM)"
        click.echo(
            f"  phase {load.phase} {load.name}: {load.veh_per_h:.0f} veh/h, saturation"
            f" {load.degree_of_saturation:.2f} at {SATURATION_FLOW_VEH_PER_H:.0f} veh/h and lane{wait}"
        )


@site.command()
@click.argument("site_name", metavar="SITE")
@click.option("--seed", type=int, default=10_000, show_default=True, help="Seed of the trips, 0 or more.")
@click.option("--hour", default="peak", show_default=True, help="Demand period, or an hour 0 to 23.")
@click.option(
    "--minutes", type=int, default=60, show_default=True, help="Measured minutes, after the warm-up."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to make; an earlier export is replaced.",
)
def export(site_name: str, seed: int, hour: str, minutes: int, out: Path) -> None:
    """Write everything a stock SUMO needs to run SITE."""
    from .export import export_site

    configuration = export_site(load_site(site_name), seed=seed, hour=hour, minutes=minutes, out=out)
    click.echo(f"{configuration}")

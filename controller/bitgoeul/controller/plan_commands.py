"""`bitgoeul plan`: check site plans, say what each phase can give, draw one, print the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .errors import PlanError
from .files import write_whole
from .plan import SitePlan, load_plan, plan_json_schema

EXIT_REFUSED = 2
"""Exit status when at least one plan is refused."""
LEAST_WIDTH = 110
"""Tables are not squeezed below this, so that a piped report stays whole. [columns]"""


@click.group()
def plan() -> None:
    """Check, explain, draw or describe a site plan (plan.toml)."""


@plan.command(
    epilog="Examples: `bitgoeul plan check plan.toml` or `bitgoeul plan check sites/*/plan.toml --json`"
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for all files.")
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check plans and report all faults of each at once; exit 2 if any plan is refused.

    For a valid plan it prints the least split of each phase, what the phase can give to an extension
    elsewhere (split less least split, in the pattern that leaves least), the longest extension of each
    crossing, and the longest time until a call is served.
    """
    reports = [_report(path) for path in files]
    if as_json:
        click.echo(json.dumps({"plans": reports}, ensure_ascii=False, indent=2))
    else:
        for report in reports:
            _print_report(report)
    if not all(report["is_valid"] for report in reports):
        ctx.exit(EXIT_REFUSED)


@plan.command(epilog="Example: `bitgoeul plan schema > plan.schema.json`")
@click.option("--json", "as_json", is_flag=True, help="Print on one line, for programs.")
def schema(*, as_json: bool) -> None:
    """Print the JSON Schema of plan.toml (editors check and complete a plan with it)."""
    click.echo(json.dumps(plan_json_schema(), ensure_ascii=False, indent=None if as_json else 2))


@plan.command(
    epilog="Examples: `bitgoeul plan draw bukmun_5 --out plan.svg` or `bitgoeul plan draw plan.toml > it.svg`"
)
@click.argument("site", metavar="SITE_OR_PLAN")
@click.option("--pattern", type=int, help="Pattern whose splits are drawn; default: the plan's first.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: standard output.")
def draw(site: str, pattern: int | None, out: Path | None) -> None:
    """Draw a registered site's plan, or a plan file, as an SVG figure.

    Rings and barriers, the times of one cycle, and what each phase serves.
    """
    from .catalogs import find_plan
    from .plan_drawing import draw_plan

    drawing = draw_plan(find_plan(site), pattern)
    if out is None:
        click.echo(drawing, nl=False)
        return
    write_whole(out, drawing)
    click.echo(str(out))


def _report(path: Path) -> dict[str, Any]:
    try:
        site_plan = load_plan(path)
    except PlanError as error:
        faults = [{"path": f.path, "value": f.value, "rule": f.rule} for f in error.faults]
        return {"file": str(path), "is_valid": False, "message": str(error), "faults": faults}
    return {"file": str(path), "is_valid": True, "faults": [], **_explained(site_plan)}


def _explained(site_plan: SitePlan) -> dict[str, Any]:
    phases = [
        {
            "phase": number,
            "name": site_plan.phase(number).name,
            "min_split_s": site_plan.minimum_split_s(number),
            "splits_s": {str(each.number): each.splits[str(number)] for each in site_plan.patterns},
            "spare_s": site_plan.spare_s(number),
            "concurrent_phases": site_plan.concurrent_phases(number),
        }
        for number in site_plan.phase_numbers
    ]
    crossings = [
        {
            "crossing": crossing.id,
            "phase": site_plan.phase_of(crossing.id),
            "length_m": crossing.length_m,
            "form": crossing.extension_form,
            "extension_max_s": site_plan.extension_max_s(crossing.id),
            "conflicting_phases": site_plan.conflicting_phases(crossing.id),
        }
        for crossing in site_plan.crossings
    ]
    return {
        "site": site_plan.site.id,
        "cycles_s": {str(each.number): each.cycle_s for each in site_plan.patterns},
        "worst_service_s": site_plan.worst_service_s,
        "service_bound_s": site_plan.limits.service_bound_s,
        "phases": phases,
        "crossings": crossings,
    }


def _print_report(report: dict[str, Any]) -> None:
    if not report["is_valid"]:
        click.echo(f"{click.style('refused:', fg='red')} {report['message']}", err=True)
        return
    console = Console(highlight=False)
    console = Console(highlight=False, width=max(console.width, LEAST_WIDTH))
    console.print(f"{report['file']}: valid, site {report['site']}", markup=False)
    console.print(_phase_table(report))
    console.print(_crossing_table(report))
    worst_s, bound_s = report["worst_service_s"], report["service_bound_s"]
    console.print(f"longest time until a call is served: {worst_s:.1f} s (bound {bound_s:.1f} s)")


def _phase_table(report: dict[str, Any]) -> Table:
    table = Table("phase", "name", escape("least split [s]"), show_footer=True)
    for number, cycle_s in report["cycles_s"].items():
        table.add_column(escape(f"pattern {number} [s]"), footer=f"cycle {cycle_s:.1f}")
    table.add_column(escape("can give [s]"))
    for row in report["phases"]:
        splits = [f"{row['splits_s'][number]:.1f}" for number in report["cycles_s"]]
        least, spare = f"{row['min_split_s']:.1f}", f"{row['spare_s']:.1f}"
        table.add_row(str(row["phase"]), escape(row["name"]), least, *splits, spare)
    return table


def _crossing_table(report: dict[str, Any]) -> Table:
    headings = ("crossing", "phase", "length [m]", "form", "longest extension [s]", "conflicting phases")
    table = Table(*(escape(heading) for heading in headings))
    for row in report["crossings"]:
        conflicts = " ".join(str(number) for number in row["conflicting_phases"])
        length, longest = f"{row['length_m']:.1f}", f"{row['extension_max_s']:.1f}"
        table.add_row(escape(row["crossing"]), str(row["phase"]), length, row["form"], longest, conflicts)
    return table

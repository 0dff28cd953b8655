"""The command `bitgoeul env`: look at a learning environment without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bitgoeul.controller.choices import N_MAX, Choice, list_choices
from bitgoeul.controller.observe import CHOICE, CONTEXT, LIMIT, Feature
from bitgoeul.controller.plan import SitePlan
from bitgoeul.sim_scenarios.catalog import load_site

from .critic import CRITIC
from .observing import FLAT_N

MASK_RULE = (
    "A row's mask is 1 while its choice is legal: a stay, or a go to another pair of phases that the rings "
    "reach moving forward inside the barrier group or by leaving it, where every call is still served within "
    "the plan's service bound. While a phase has waited past its forcing age, only choices that serve it are "
    "legal. Rows beyond the site's choices are never legal. An illegal action is replaced by the first legal "
    "row and reported in info['illegal_action']."
)


@click.group()
def env() -> None:
    """Look at the learning environments."""


@env.command(
    short_help="Print what an agent sees and may do at SITE.",
    epilog="Examples: `bitgoeul env describe bukmun_5` or "
    "`bitgoeul env describe bukmun_5 --observation flat --json`",
)
@click.argument("site_name", metavar="SITE")
@click.option("--observation", "form", default="dict", show_default=True,
              type=click.Choice(["dict", "flat"]), help="Form of the observation.")  # fmt: skip
@click.option("--critic", is_flag=True, help="With what only a critic sees.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def describe(*, site_name: str, form: str, critic: bool, as_json: bool) -> None:
    """Print what an agent sees and may do at SITE: each number with unit and range, and each action."""
    if critic and form == "flat":
        raise click.UsageError("--critic goes with --observation dict: it is a key of its own")
    plan = load_site(site_name).plan
    document = description(plan, form, with_critic=critic)
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        _show(document)


def description(plan: SitePlan, form: str, *, with_critic: bool = False) -> dict[str, Any]:
    """Return the observation and the actions of a site as one document.

    Parameters
    ----------
    plan : the site's plan.
    form : `dict` or `flat`; in `flat` an index counts along the whole row.
    with_critic : with what only a critic sees.
    """
    is_flat, choices = form == "flat", list_choices(plan)
    rows_at = len(CONTEXT) if is_flat else 0
    observation: dict[str, Any] = {
        "form": form,
        "range": [0.0, LIMIT],
        "shapes": {"flat": [FLAT_N]}
        if is_flat
        else {"context": [len(CONTEXT)], "choices": [N_MAX, len(CHOICE)], "mask": [N_MAX]},
        "context": _components(CONTEXT, 0),
        "choices": _components(CHOICE, rows_at),
    }
    if is_flat:
        observation["row_stride"] = len(CHOICE)
        observation["mask_from"] = FLAT_N - N_MAX
    if with_critic:
        observation["shapes"]["critic"] = [len(CRITIC)]
        observation["critic"] = _components(CRITIC, 0)
    return {
        "site": plan.site.id,
        "observation": observation,
        "action_space": f"Discrete({N_MAX})",
        "actions": [
            {"row": row, "name": choice.name, "orders": orders_in_words(choice, plan)}
            for row, choice in enumerate(choices)
        ],
        "mask": MASK_RULE,
    }


def _components(features: Iterable[Feature], first: int) -> list[dict[str, Any]]:
    """Return features with their index and the range of their unscaled values."""
    return [
        {"index": first + place, **asdict(feature), "range": [0.0, feature.most]}
        for place, feature in enumerate(features)
    ]


def orders_in_words(choice: Choice, plan: SitePlan) -> str:
    """Return what a choice orders of the cabinet, in one line."""
    if choice.stay_ds:
        return f"hold the present phases for {choice.stay_ds / 10:g} s; a walk goes on"
    served = [phase for phase in choice.phases if phase]
    walks = [each for phase in served for each in plan.phase(phase).crossings]
    words = f"end what is green beside phases {' and '.join(map(str, served))}, then give them green"
    return f"{words} with walk on {', '.join(walks)}" if walks else words


def _show(document: dict[str, Any]) -> None:
    """Print a description as tables."""
    console, seen = Console(), document["observation"]
    shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in seen["shapes"].items())
    console.print(f"[bold]{escape(document['site'])}[/]: observation `{seen['form']}`: {shapes}, float32;")
    console.print(f"each value is divided by its scale and clipped to 0-{LIMIT:g}; the mask is 0 or 1\n")
    titles = {
        "context": "Context",
        "choices": "Each row of choices",
        "critic": "Critic: the truth, for a value function alone; never exported",
    }
    for part, title in titles.items():
        if part in seen:
            console.print(_table(title, seen[part]))
    if "row_stride" in seen:
        console.print(
            f"Row r of the choices begins {seen['row_stride']} r further on; the mask begins at index "
            f"{seen['mask_from']}.\n"
        )
    actions = Table("row", "choice", "orders", title="Actions", title_justify="left", box=box.SIMPLE)
    for each in document["actions"]:
        actions.add_row(str(each["row"]), escape(each["name"]), escape(each["orders"]))
    console.print(actions)
    console.print(f"Action space: {document['action_space']}. {document['mask']}", highlight=False)


def _table(title: str, components: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("index", justify="right")
    table.add_column("name", no_wrap=True)
    table.add_column("meaning")
    table.add_column("unit")
    table.add_column("range", no_wrap=True)
    table.add_column("is 1 at", justify="right")
    for each in components:
        span = f"0-{each['range'][1]:g}"
        table.add_row(
            str(each["index"]),
            each["name"],
            escape(each["meaning"]),
            each["unit"],
            span,
            f"{each['scale']:g}",
        )
    return table

"""The same claims across several stores, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shattering.report.summary import summarise
from shattering.report.terminal import TONES, new_table, printed
from shattering.report.words import interval, number, published
from shattering.store.store import Store


def compare_stores(stores: Sequence[Store]) -> dict[str, Any]:
    """Aligns the claims of every plan in every store.

    Returns:
        ``stores`` (paths), ``summaries`` (the object of ``--json`` per plan, each with ``label``), and ``claims``:
        one entry per distinct (study, source, quantity) with ``study``, ``source``, ``quantity``, ``unit``,
        ``published`` and ``results``, which has one of ``ours``, ``low``, ``high``, ``seeds``, ``verdict`` per
        summary, in their order, or none where that plan's study has no such claim.
    """
    summaries = [
        {"label": f"{store.root.name or store.root}: {plan.key}", **summarise(store, plan)}
        for store in stores
        for plan in store.plans()
    ]
    claims: dict[tuple[str, str, str], dict[str, Any]] = {}
    for position, summary in enumerate(summaries):
        for claim in summary["claims"]:
            key = (summary["study"], claim["source"], claim["quantity"])
            entry = claims.setdefault(
                key,
                {
                    "study": summary["study"],
                    **{name: claim[name] for name in ("source", "quantity", "unit", "published")},
                    "results": [None] * len(summaries),
                },
            )
            entry["results"][position] = {name: claim[name] for name in ("ours", "low", "high", "seeds", "verdict")}
    return {
        "stores": [str(store.root) for store in stores],
        "summaries": summaries,
        "claims": list(claims.values()),
    }


def render_comparison(comparison: dict[str, Any]) -> str:
    """The comparison as text: a legend of the columns, and a table per study."""
    from rich.text import Text

    summaries = comparison["summaries"]
    if not summaries:
        return "The stores hold no plan; there is nothing to compare.\n"
    legend = Text("")
    for place, summary in enumerate(summaries, start=1):
        legend.append(f"({place}) {summary['label']}, {summary['counts']}\n")
    tables = []
    for study in dict.fromkeys(claim["study"] for claim in comparison["claims"]):
        mine = [claim for claim in comparison["claims"] if claim["study"] == study]
        shown = [place for place, summary in enumerate(summaries) if summary["study"] == study]
        table = new_table()
        table.title = Text(study)
        table.add_column("claim", ratio=3)
        table.add_column("paper", justify="right", min_width=6)
        for place in shown:
            table.add_column(f"({place + 1})", justify="right", ratio=2)
        for claim in mine:
            table.add_row(
                Text(f"{claim['source']}: {claim['quantity']}"),
                published(claim["published"], claim["unit"]),
                *(_cell(claim["results"][place], claim["unit"]) for place in shown),
            )
        tables.append(table)
    return printed(legend, *tables)


def _cell(result: dict[str, Any] | None, unit: str) -> Any:
    from rich.text import Text

    if result is None:
        return Text("–", style="dim")
    text = Text(number(result["ours"], unit))
    between = interval(result["low"], result["high"], unit)
    if between:
        text.append(f"\n{between}")
    return text.append(f"\n{result['verdict']}", style=TONES.get(result["verdict"], "yellow"))

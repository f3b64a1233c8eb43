"""The summary of a plan as text: the answer, the table of paper against ours, the counts, and where the report lies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from shattering.core.words import plural
from shattering.report.words import interval, number, published

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NARROWEST = 80
TONES = {
    "reproduced": "green",
    "effect reproduced": "green",
    "not reproduced": "red",
    "effect not reproduced": "red",
    "not run": "dim",
}


def render(summary: dict[str, Any]) -> str:
    """The text of a summary, with colours where standard output is a terminal that wants them."""
    from rich.text import Text

    run = [claim for claim in summary["claims"] if claim["verdict"] != "not run"]
    lines = Text("")
    if len(run) < len(summary["claims"]):
        absent = len(summary["claims"]) - len(run)
        lines.append(f"{plural(absent, 'more claim')}: not run (no run here bears on them).\n")
    lines.append(f"{summary['counts']}")
    tables = [claims_table(run, summary["ours"])] if run else []
    # Commands and paths are there to be copied, so they are not wrapped.
    copied = [f"report: {summary['report']}"]
    if summary["runs"]["cancelled"] + summary["runs"]["failed"] and summary["command"]:
        copied.insert(0, f"continue with: {summary['command']}")
    return "\n".join([printed(Text(f"{summary['answer']}\n"), *tables, lines).rstrip("\n"), *copied, ""])


def claims_table(claims: list[dict[str, Any]], ours: str) -> Table:
    """Paper against ours, one row per claim."""
    from rich.text import Text

    table = new_table()
    table.add_column("claim", ratio=1)
    table.add_column("paper", justify="right", no_wrap=True)
    table.add_column(Text(ours), justify="right", max_width=18)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("verdict", max_width=13)
    for claim in claims:
        value = number(claim["ours"], claim["unit"])
        between = interval(claim["low"], claim["high"], claim["unit"])
        table.add_row(
            Text(claim["quantity"]).append(f"\n{claim['source']}", style="dim"),
            published(claim["published"], claim["unit"]),
            Text(f"{value}\n{between}" if between else value),
            str(claim["seeds"]),
            Text(claim["verdict"], style=TONES.get(claim["verdict"], "yellow")),
        )
    return table


def new_table() -> Table:
    """A plain table that copes with 80 columns."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)


def line_width() -> int:
    """Columns of a line: those of the terminal, 100 in a pipe, never fewer than 80."""
    import shutil

    return max(NARROWEST, shutil.get_terminal_size((100, 24)).columns)


def printed(*things: RenderableType, wrap: bool = True) -> str:
    """Renders to a string: plain in a pipe, coloured on a terminal, never narrower than 80 columns.

    Args:
        things: what to render.
        wrap: whether to break lines at the terminal's edge.
    """
    import io

    from rich.console import Console

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sink = io.StringIO()
    console = Console(
        file=sink,
        width=line_width(),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for thing in things:
        console.print(thing, soft_wrap=not wrap)
    # Tables pad to their full width; in a pipe those blanks are noise.
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"

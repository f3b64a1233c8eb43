"""The summary of a sweep as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shattering.report.sweep_words import is_fraction, label, number_label, number_text, value_text
from shattering.report.terminal import new_table, printed
from shattering.report.words import interval

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS, MOST_NUMBERS = 24, 4


def render_sweep(summary: dict[str, Any]) -> str:
    """The text of a sweep's summary, with colours where standard output is a terminal that wants them."""
    from rich.text import Text

    cells = summary["cells"]
    names = summary["numbers"][:MOST_NUMBERS]
    tables = []
    if summary["thresholds"]:
        tables.append(_thresholds(summary["thresholds"]))
    elif cells and summary["fields"] and names:
        table = new_table()
        for path in summary["fields"]:
            table.add_column(Text(label(path)))
        table.add_column("fitted", justify="right", no_wrap=True)
        for name in names:
            table.add_column(Text(number_label(name)), justify="right")
        for cell in cells[:MOST_ROWS]:
            place = [Text(value_text(cell["place"][path])) for path in summary["fields"]]
            fitted = f"{cell['runs']['done']:,} of {cell['runs']['asked']:,}"
            table.add_row(*place, fitted, *(_text(cell["numbers"][name], name) for name in names))
        tables.append(table)
    lines = Text("")
    more = (
        len(summary["thresholds"] or []) - MOST_ROWS if summary["thresholds"] else summary["combinations"] - MOST_ROWS
    )
    if more > 0 and tables:
        lines.append(f"{more:,} more combinations are in the report.\n")
    if summary["note"]:
        lines.append(f"{summary['note']}\n")
    lines.append(summary["counts"])
    copied = [f"report: {summary['report']}"]
    if summary["runs"]["cancelled"] + summary["runs"]["failed"] and summary["command"]:
        copied.insert(0, f"continue with: {summary['command']}")
    return "\n".join([printed(Text(f"{summary['answer']}\n"), *tables, lines).rstrip("\n"), *copied, ""])


def _thresholds(rows: list[dict[str, Any]]) -> Table:
    from rich.text import Text

    table = new_table()
    for path in rows[0]["place"]:
        table.add_column(Text(label(path)))
    table.add_column(Text(f"threshold of {label(rows[0]['field'])}"), justify="right")
    table.add_column("95% interval", justify="right")
    table.add_column("seeds")
    for row in rows[:MOST_ROWS]:
        place = [Text(value_text(value)) for value in row["place"].values()]
        ends = "" if row["low"] is None else f"[{row['low']:,.3g}, {row['high']:,.3g}]"
        table.add_row(*place, "–" if row["value"] is None else f"{row['value']:,.3g}", ends, row["how"])
    return table


def _text(number: dict[str, Any], name: str) -> str:
    if "longest" in number:
        value = number["value"]
        return f"> {number['longest']:,.0f}" if value is None else number_text(name, value)
    between = interval(number["low"], number["high"], "1" if is_fraction(name) else "")
    value = number_text(name, number["value"])
    return f"{value}\n{between}" if between else value

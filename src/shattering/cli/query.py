"""``shattering query``: SQL over the runs of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shattering.cli.options import COMMON, Common, Flag
from shattering.cli.output import columns, emit, emit_json, tell
from shattering.core.errors import SpecError

if TYPE_CHECKING:
    from shattering.store.query import Columns, Results

MOST_ROWS = 50
WIDEST = 40


def query(
    folder: str,
    sql: str | None = None,
    /,
    *,
    csv: Annotated[Flag, Parameter()] = False,
    limit: int | None = None,
    common: Common = COMMON,
) -> None:
    """Ask the runs of a store in SQL: tables runs, rows, examples and plans.

    Nothing is changed, and nothing but the store is read.

    Parameters
    ----------
    folder
        The store.
    sql
        One SELECT; without it, the tables and their columns are listed.
    csv
        Print comma-separated values; a text that a spreadsheet would compute begins with an apostrophe.
    limit
        Rows at most; without it 50 are printed as a table, all with --csv or --json.
    """
    from shattering.execution.defaults import results_of
    from shattering.store.query import Results
    from shattering.store.store import Store

    if limit is not None and limit < 1:
        raise SpecError("option-wrong-value", f"--limit {limit} is too small; give a whole number from 1 up.")
    if csv and common.json:
        raise SpecError("conflicting-options", "--csv and --json exclude each other; give one of them.")
    store = Store.open(Path(folder), write=False)
    results = Results(store) if sql is None else results_of(store, sql)
    try:
        if sql is None:
            _print_tables(results, common)
        else:
            _print_answer(results, sql, csv, limit, common)
    finally:
        store.index.save()
        if not common.quiet:
            for problem in store.problems:
                tell(problem)


def _print_tables(results: Results, common: Common) -> None:
    from shattering.store.query import QUESTIONS, TABLES

    found = results.columns()
    if common.json:
        tables = {name: [{"name": column, "type": kind} for column, kind in found[name]] for name in TABLES}
        emit_json({"store": str(results.store.root), "runs": len(results), "tables": tables, "examples": QUESTIONS})
        return
    lines = [f"{len(results):,} runs in {results.store.root}"]
    for name, meaning in TABLES.items():
        lines += [
            "",
            f"{name}: {meaning}",
            columns([("   ", *cells) for cells in found[name]]) if found[name] else "    (none)",
        ]
    lines += [
        "",
        "Ask, for instance:",
        *(f"    shattering query {results.store.root} '{question}'" for question in QUESTIONS),
    ]
    emit("\n".join(lines))


def _print_answer(results: Results, sql: str, csv: bool, limit: int | None, common: Common) -> None:
    if csv:
        emit(results.sql(sql, limit=limit).to_csv())
    elif common.json:
        answer = results.sql(sql, limit=limit)
        emit_json(
            {"store": str(results.store.root), "columns": answer.to_arrow().column_names, "rows": answer.to_rows()}
        )
    else:
        most = limit or MOST_ROWS
        emit(_table(results.sql(sql, limit=most + 1), most))


def _table(answer: Columns, most: int) -> str:
    rows = answer.to_arrow().slice(0, most).to_pylist()
    lines = [tuple(answer.to_arrow().column_names), *(tuple(_cell(value) for value in row.values()) for row in rows)]
    more = "\n… and more; --limit N shows N rows, --csv all" if len(answer) > most else ""
    return f"{columns(lines)}{more}"


def _cell(value: Any) -> str:
    """One value on one line, without control characters."""
    text = "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"

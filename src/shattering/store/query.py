"""Questions to a store in SQL, answered by DuckDB, and what it holds for pandas, Polars and Arrow.

A question is one SELECT. It sees the tables `TABLES` and nothing else: no other file, no network, no extension, and it
cannot write. ``examples`` is read from the runs' own Parquet files as they lie; the other tables are those of
`shattering.store.table`. A dotted name that is a column need not be quoted: ``training.learning_rate`` is taken for
``"training.learning_rate"``.
"""

from __future__ import annotations

import csv
import io as streams
import re
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from shattering.core.errors import SpecError, StoreError
from shattering.store import format as form
from shattering.store.index import FILES
from shattering.store.store import Store
from shattering.store.table import plans_table, rows_table, runs_table

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

TABLES = {
    "runs": "one row per run that has ended",
    "rows": "one row per snapshot of a run",
    "examples": "one row per training example of a run, for the runs that keep them",
    "plans": "one row per planned run",
}

QUESTIONS = (
    "SELECT status, count(*) FROM runs GROUP BY status",
    "SELECT model.name, corruption.name, count(*) AS runs, avg(last.test_accuracy) FROM runs GROUP BY ALL",
    "SELECT plan, place, plans.digest FROM plans ANTI JOIN runs USING (digest)",
)
"""Examples: how runs ended, a mean for each setting, and what has not been run yet."""

SHOWN = 20
_SHUT_OFF = {
    "memory_limit": "'768MB'",
    "temp_directory": "''",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
}
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)""", re.DOTALL
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Columns:
    """A table, for whichever library it is wanted in.

    Args:
        table: the table.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def to_arrow(self) -> pa.Table:
        """The table as it is."""
        return self._table

    def to_pandas(self) -> Any:
        """A pandas data frame. Raises `StoreError` where pandas is not installed."""
        _require("pandas")
        return self._table.to_pandas()

    def to_polars(self) -> Any:
        """A Polars data frame. Raises `StoreError` where Polars is not installed."""
        _require("polars")
        import polars

        return polars.from_arrow(self._table)

    def to_csv(self) -> str:
        """Comma-separated values with a line of names; a text that a spreadsheet would compute begins with ``'``."""
        out = streams.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([_harmless(name) for name in self._table.column_names])
        for batch in self._table.to_batches(max_chunksize=4096):
            columns = [column.to_pylist() for column in batch.columns]
            writer.writerows([_harmless(value) for value in row] for row in zip(*columns, strict=True))
        return out.getvalue()

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary per row, of what JSON has types for; numbers that are not finite are words such as ``"nan"``."""
        return [{name: form.jsonable(value) for name, value in row.items()} for row in self._table.to_pylist()]

    def __repr__(self) -> str:
        rows, columns = self._table.shape
        return f"<{type(self).__name__}: {rows:,} rows of {columns} columns>"

    def _repr_html_(self) -> str:
        names = self._table.column_names
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_told(value))}</td>' for value in row.values())}</tr>"
            for row in self._table.slice(0, SHOWN).to_pylist()
        )
        more = (
            f"<p>{len(self):,} rows, the first {SHOWN} shown</p>" if len(self) > SHOWN else f"<p>{len(self)} rows</p>"
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


class Results(Columns):
    """The runs of a store, one row each, and whatever SQL makes of them.

    Args:
        store: where the runs are. What was read of it once stays as it was.
        runs: its table of runs, where it has been read already.
    """

    def __init__(self, store: Store, runs: pa.Table | None = None) -> None:
        super().__init__(runs_table(store) if runs is None else runs)
        self.store = store
        self._tables: dict[str, pa.Table] = {"runs": self._table}

    def sql(self, text: str, *, limit: int | None = None) -> Columns:
        """The answer to one SELECT.

        Args:
            text: the question; it may name the tables `TABLES`.
            limit: rows at most; none: all.

        Raises:
            SpecError: ``query-refused`` for anything but one SELECT, ``query-wrong`` where DuckDB cannot answer it.
            StoreError: DuckDB is not installed.
        """
        _require("duckdb")
        import duckdb

        connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False})
        try:
            text = self._prepared(connection, text)
            answer = connection.sql(text)
            table: pa.Table = (answer if limit is None else answer.limit(limit)).to_arrow_table()
        except duckdb.Error as error:
            # The word may stand for a column or a text as well, so only DuckDB knows that the table was meant.
            if "Table with name examples does not exist" in str(error):
                told = f"No run in {self.store.root} keeps a table of examples; ask `runs` or `rows`."
                raise SpecError("query-wrong", told) from None
            raise SpecError("query-wrong", _sentence(error)) from None
        finally:
            connection.close()
        return Columns(table.rename_columns(_distinct(table.column_names)))

    def where(self, condition: str) -> list[str]:
        """The names of the runs that meet a condition on the columns of ``runs``, in the order of the table."""
        found = self.sql(f"SELECT digest FROM runs WHERE ({condition}\n)").to_arrow()
        return [str(digest) for digest in found.column("digest").to_pylist()]

    def columns(self) -> dict[str, list[tuple[str, str]]]:
        """The tables with the names and types of their columns, as far as they are known without reading ``rows``."""
        runs = self._table.schema
        last = [(entry.name.removeprefix("last."), entry.type) for entry in runs if entry.name.startswith("last.")]
        plans = self.table("plans").schema
        files = self._example_files(1)
        return {
            "runs": [(entry.name, _kind(entry.type)) for entry in runs],
            "rows": [("digest", "text"), *((name, _kind(kind)) for name, kind in sorted(last, key=_step_first))],
            "examples": [("digest", "text"), *_parquet_columns(files[0])] if files else [],
            "plans": [(entry.name, _kind(entry.type)) for entry in plans],
        }

    def table(self, name: str) -> pa.Table:
        """One of the tables ``runs``, ``rows`` and ``plans``."""
        if name not in self._tables:
            self._tables[name] = rows_table(self.store) if name == "rows" else plans_table(self.store)
        return self._tables[name]

    def _prepared(self, connection: duckdb.DuckDBPyConnection, text: str) -> str:
        """Gives the connection the tables that are named, shuts it off from everything else; returns the question."""
        words = set(re.findall(r"\w+", text.lower()))
        named = [name for name in ("runs", "rows", "plans") if name in words]
        for name in named:
            connection.register(name, self.table(name))
        files = self._example_files() if "examples" in words else []
        if files:
            folder = str(self.store.root.resolve() / "runs").replace("'", "''")
            connection.execute(f"SET allowed_directories = ['{folder}']")
        for setting, value in _SHUT_OFF.items():
            connection.execute(f"SET {setting} = {value}")
        if files:
            _view_examples(connection, files)
        connection.execute("SET lock_configuration = true")
        text = quoted(text, [column for name in named for column in self.table(name).column_names])
        statements = _split(text)
        if [statement.type.name for statement in statements] != ["SELECT"]:
            raise SpecError("query-refused", "The query is not one SELECT; nothing else can be asked of a store.")
        return text

    def _example_files(self, most: int | None = None) -> list[str]:
        bit = 1 << FILES.index(form.EXAMPLES)
        found = sorted(digest for digest, mark in self.store.index.marks().items() if mark.files & bit)
        folder = self.store.root.resolve() / "runs"
        return [str(folder / digest / form.EXAMPLES) for digest in found[:most]]


def _view_examples(connection: duckdb.DuckDBPyConnection, files: list[str]) -> None:
    found = connection.read_parquet(files, union_by_name=True, filename=True)
    names = [name for name in found.columns if name != "filename"]
    chosen = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names)
    found.select(f"string_split(filename, '/')[-2] AS digest, {chosen}").create_view("examples")


def quoted(text: str, columns: Iterable[str]) -> str:
    """SQL in which the dotted names of columns that are not quoted are; what is in quotes or a comment stays."""
    dotted = {name.lower(): name for name in columns if "." in name}

    def replace(match: re.Match[str]) -> str:
        parts = match[1].split(".") if match[1] else []
        for begin in range(len(parts) - 1):
            name = dotted.get(".".join(parts[begin:]).lower())
            if name is not None:
                return "".join(f"{part}." for part in parts[:begin]) + f'"{name}"'
        return match[0]

    return _TOKENS.sub(replace, text)


def _split(text: str) -> list[Any]:
    import duckdb

    try:
        return list(duckdb.extract_statements(text))
    except duckdb.Error as error:
        raise SpecError("query-wrong", _sentence(error)) from None


def _sentence(error: Exception) -> str:
    told = " ".join(str(error).partition("LINE ")[0].split()).rstrip(".")
    return f"DuckDB cannot answer this: {told}; `shattering query DIR` lists the tables and their columns."


def _distinct(names: list[str]) -> list[str]:
    found: dict[str, int] = {}
    distinct = []
    for name in names:
        found[name] = found.get(name, 0) + 1
        distinct.append(name if found[name] == 1 else f"{name}_{found[name]}")
    return distinct


def _require(package: str) -> None:
    from importlib import import_module

    try:
        import_module(package)
    except ImportError:
        raise StoreError(
            "query-not-installed",
            f"The package {package} is needed and not installed; type `python -m pip install 'shattering[query]'`.",
        ) from None


def _parquet_columns(path: str) -> list[tuple[str, str]]:
    from pyarrow import parquet

    return [(entry.name, _kind(entry.type)) for entry in parquet.read_schema(path)]


def _step_first(entry: tuple[str, Any]) -> tuple[int, str]:
    return {"step": 0, "epoch": 1}.get(entry[0], 2), entry[0]


def _kind(kind: Any) -> str:
    words = {"string": "text", "double": "number", "float": "number", "bool": "truth", "null": "empty"}
    return words.get(str(kind), "whole" if "int" in str(kind) else str(kind))


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _told(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)

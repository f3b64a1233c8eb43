"""What a run's model, corruption and transform had left at its default, filled into a table of runs.

A spec names only the fields that were set, so that its name does not change with the functions that are registered; a
question such as ``WHERE model.fields.width >= 256`` is of the others as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shattering.store.query import Results
from shattering.store.store import Store
from shattering.store.table import runs_table

if TYPE_CHECKING:
    import pyarrow as pa

NAMED_BY = {"model": "model.name", "corruption": "corruption.name", "start": "start.transform"}
"""The parts of a spec that have fields of their own, and the column that says of what."""


_COUNTED = re.compile(r"count\s*\(\s*\*\s*\)", re.IGNORECASE)


def results_of(store: Store, question: str | None = None, runs: pa.Table | None = None) -> Results:
    """The runs of a store for questions in SQL, `filled`.

    Args:
        store: where they are.
        question: the only one that will be asked; none: any. What is registered takes a second to be imported, which a
            question is spared that neither names such a field nor asks for all columns.
        runs: its table of runs, where it has been read already.
    """
    table = runs_table(store) if runs is None else runs
    return Results(store, filled(table) if question is None or _sees_fields(question) else table)


def _sees_fields(question: str) -> bool:
    text = _COUNTED.sub("", question.lower())
    # In DuckDB `FROM runs` alone is all columns, too, and `COLUMNS(…)` those that a pattern fits.
    return any(word in text for word in ("fields", "*", "columns")) or "select" not in text


def filled(table: pa.Table) -> pa.Table:
    """The table with the defaults of registered functions in its columns ``model.fields.NAME`` and the like.

    Only columns that are there are filled, and only for what is registered: a user's own factory tells nobody its
    defaults but the process that calls it.

    Args:
        table: from `store.table.runs_table`.
    """
    import pyarrow as pa
    from pyarrow import compute

    for part, named in NAMED_BY.items():
        lacking = [name for name in table.column_names if name.startswith(f"{part}.fields.") and _has_null(table, name)]
        if not lacking or named not in table.column_names:
            continue
        of = table.column(named)
        known = {name: _defaults(part, name) for name in compute.unique(of).to_pylist() if name is not None}
        for name in lacking:
            column = table.column(name)
            for owner, fields in known.items():
                value = fields.get(name.removeprefix(f"{part}.fields."))
                if value is None:
                    continue
                try:
                    default = pa.scalar(value, column.type)
                except (pa.ArrowInvalid, pa.ArrowTypeError):  # of another kind than the values that were set
                    continue
                absent = compute.and_(compute.equal(of, owner), compute.is_null(column))
                column = compute.if_else(absent, default, column)
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def _has_null(table: pa.Table, name: str) -> bool:
    return bool(table.column(name).null_count)


def _defaults(part: str, name: str) -> dict[str, Any]:
    """The defaults of a registered thing's fields; none of what is not registered."""
    from shattering.corruptions.registry import corruptions
    from shattering.learners.registry import learners
    from shattering.models.registry import models
    from shattering.simulations.registry import simulations
    from shattering.transforms.registry import transforms

    registries: dict[str, tuple[Any, ...]] = {
        "model": (models, learners, simulations),
        "corruption": (corruptions,),
        "start": (transforms,),
    }
    for registry in registries[part]:
        if ":" not in name and name in registry.names():
            return {field.name: field.default for field in registry.get(name).fields if not field.required}
    return {}

"""A store as tables: one row per run, one per snapshot, one per planned run; columns, no `Record` objects.

What the tables say is what the index says (see `shattering.store.index`): whatever is not in it is read, verified and
added. At 10⁵ runs that takes a second where the index is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shattering.store import flat
from shattering.store.index import ROLL, Mark
from shattering.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

_TRIES = 3


def runs_table(store: Store, digests: Iterable[str] | None = None) -> pa.Table:
    """One row per run that has ended, failed ones included.

    Columns: ``digest``, ``status``, ``seconds`` (wall-clock time of the run, where it is known), ``error`` (what went
    wrong), ``snapshots`` (how many there are); every field of the spec under its dotted name, defaults filled in
    (``seed``, ``training.learning_rate``, ``corruption.fields.p``, …; lists as JSON text, ``selection.parent`` as the
    name of that run); ``summary.NAME``, such as ``summary.steps_to_fit``; ``last.NAME``, the numbers of the last
    snapshot; ``provenance.NAME``. The fields of the spec are there whether or not a run sets them; any other column is
    there if a run has it, and null for the others.

    Args:
        store: where the runs are.
        digests: which runs, in the order wanted; those that have not ended are left out. None: all, sorted by name.

    Raises:
        StoreError: something cannot be read.
    """
    import pyarrow as pa
    from pyarrow import compute

    known: dict[str, Mark] = {}
    table = flat.joined([])
    for _ in range(_TRIES):  # another process may tidy the index between our looking at it and our reading it
        known = store.catalogue()
        table = store.index.table()
        if len(table) == len(known):
            break
    table = table.select([name for name in table.column_names if not name.startswith("_")])
    order = sorted(known) if digests is None else list(digests)
    places = compute.index_in(pa.array(order, pa.string()), value_set=table.column("digest").combine_chunks())
    table = table.take(places.drop_null())
    there = {
        name: column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if name in flat.HEAD or column.null_count < len(table)
    }
    names = flat.ordered({*flat.known_columns(), *there})
    nothing = pa.nulls(len(table))
    return pa.table([there.get(name, nothing) for name in names], names=names)


def rows_table(store: Store, digests: Iterable[str] | None = None, names: Sequence[str] | None = None) -> pa.Table:
    """One row per snapshot: ``digest`` (a dictionary), ``step``, ``epoch`` and every measured name, null where a
    snapshot lacks it.

    Args:
        store: where the runs are.
        digests: which runs, None: all. Their order means nothing; the snapshots of a run are together, in its order.
        names: which columns besides the digest, None: all. Names that no snapshot has are left out.

    Raises:
        StoreError: something cannot be read.
    """
    known = store.catalogue()
    wanted = set(known if digests is None else digests)
    missing = {digest: mark.place for digest, mark in known.items() if digest in wanted and mark.files}
    tables = [_chosen(table, names) for table in store.index.snapshots(missing)]
    pending: dict[str, bytes] = {}
    for digest in list(missing):
        pending[digest] = store.metrics(digest)
        if len(pending) == ROLL or len(pending) == len(missing):
            tables.append(_chosen(store.index.keep_snapshots(pending), names))
            for taken in pending:
                del missing[taken]
            pending = {}
    table = flat.joined(tables)
    head = [name for name in ("digest", "step", "epoch") if name in table.column_names]
    return table.select(head + sorted(set(table.column_names) - {*head, "status"}))


def _chosen(table: pa.Table, names: Sequence[str] | None) -> pa.Table:
    if names is None:
        return table
    return table.select([name for name in table.column_names if name == "digest" or name in names])


def plans_table(store: Store) -> pa.Table:
    """One row per planned run: ``plan`` (the plan's folder), ``study``, ``scale``, ``data``, ``place`` in the plan from
    0, and ``digest``, which `runs_table` has once the run has ended."""
    import pyarrow as pa

    rows = [
        (plan.key, plan.study, plan.request.scale, plan.request.data.name, place, digest)
        for plan in store.plans()
        for place, digest in enumerate(plan.digests)
    ]
    names = ("plan", "study", "scale", "data", "place", "digest")
    kinds = [pa.int64() if name == "place" else pa.string() for name in names]
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)], names=list(names))

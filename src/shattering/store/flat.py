"""A run as one flat row of plain values under dotted names, and many of them as columns."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shattering.core.spec import RunSpec, SelectionSpec, StartSpec, parse_spec
from shattering.store import format as form

if TYPE_CHECKING:
    import pyarrow as pa

Flat = dict[str, Any]
"""Dotted names to numbers, truths, texts and none."""

HEAD = ("digest", "status", "seconds", "error", "snapshots")
"""The columns before those of the spec: the run's name, how it ended, wall-clock seconds, the message of what went
wrong, and the number of its snapshots."""

_GROUPS = ("summary", "last", "provenance")
_WHOLE = range(-(2**63), 2**63)


def flat_files(spec: dict[str, Any], facts: bytes, metrics: bytes) -> Flat:
    """`flat_run` of a lean spec and the other verified files of a run."""
    lines = metrics.splitlines()
    return flat_run(spec, json.loads(facts), len(lines), json.loads(lines[-1]) if lines else {})


def flat_run(spec: dict[str, Any], facts: dict[str, Any], snapshots: int, last: dict[str, Any]) -> Flat:
    """The row of a run: ``status``, ``seconds``, ``error``, ``snapshots``; the fields of the spec that are not at
    their default; ``summary.NAME``, ``last.NAME`` (the last snapshot) and ``provenance.NAME``.

    Args:
        spec: the spec without its defaults.
        facts: the content of the run's ``record.json``.
        snapshots: how many it has.
        last: the last of them as it lies in the store.
    """
    provenance = {name: value for name, value in facts["provenance"].items() if not isinstance(value, dict | list)}
    row: Flat = {"status": facts["status"], "snapshots": snapshots}
    if (seconds := provenance.pop("seconds", None)) is not None:
        row["seconds"] = seconds
    if facts["error"] is not None:
        row["error"] = facts["error"].get("message")
    row |= flat_spec(spec)
    groups = (form.untamed(facts["summary"]), form.untamed(last), provenance)
    for group, values in zip(_GROUPS, groups, strict=True):
        row.update((f"{group}.{name}", value) for name, value in values.items() if value is not None)
    return row


def flat_spec(spec: dict[str, Any]) -> Flat:
    """The fields of a spec under dotted names; lists are JSON text, and a run selected or started from is its
    name."""
    row: Flat = {}
    for name, value in spec.items():
        if name in ("selection", "start") and value is not None:
            value = {**value, "parent": _name_of(json.dumps(value["parent"], sort_keys=True))}
        _flatten(name, value, row)
    return row


def _flatten(name: str, value: Any, row: Flat) -> None:
    if isinstance(value, dict):
        for inner, entry in value.items():
            _flatten(f"{name}.{inner}", entry, row)
    else:
        row[name] = json.dumps(value) if isinstance(value, list) else value


@functools.lru_cache(maxsize=4096)
def _name_of(spec: str) -> str:
    return parse_spec(json.loads(spec)).digest


@functools.cache
def _defaults() -> Flat:
    return flat_spec(RunSpec().model_dump(mode="json"))


@functools.cache
def known_columns() -> tuple[str, ...]:
    """The columns that every store has, whatever its runs: `HEAD` and the fields of the spec, in order.

    Those that a model, a corruption or a transform adds (``corruption.fields.p``) are there if a run has them.
    """
    inner = {"selection": SelectionSpec.model_fields, "start": StartSpec.model_fields}
    nested = [f"{name}.{field}" for name, fields in inner.items() for field in fields if field != "fields"]
    return tuple(ordered({*HEAD, *nested, *_defaults()} - inner.keys()))


def run_columns(rows: Mapping[str, Flat]) -> pa.Table:
    """Rows by the runs' names as columns: `HEAD`, the spec's fields, the others, sorted."""
    defaults = _defaults()
    table = columns_of([{"digest": digest, **defaults, **row} for digest, row in rows.items()])
    return table.select(ordered(table.column_names))


def row_columns(metrics: Mapping[str, bytes]) -> pa.Table:
    """The snapshots of runs, given as JSON lines by the runs' names, as columns; ``digest`` is a dictionary."""
    import pyarrow as pa

    numbers = [number for number, data in enumerate(metrics.values()) for _ in range(data.count(b"\n"))]
    names = pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(list(metrics), pa.string()))
    if not numbers:
        return pa.table({"digest": names})
    data = b"".join(metrics.values())
    table = _quickly(data) if b': "' not in data else None  # numbers that are not finite are words
    if table is None or len(table) != len(numbers):
        table = columns_of([form.untamed(json.loads(line)) for line in data.splitlines()])
    return table.add_column(0, "digest", names)


def _quickly(data: bytes) -> pa.Table | None:
    """Lines of JSON as columns of numbers; none where they are something else."""
    import pyarrow as pa
    from pyarrow import json as lines

    try:
        table = lines.read_json(pa.BufferReader(data), lines.ReadOptions(use_threads=False, block_size=len(data) + 1))
    except pa.ArrowException:
        return None
    kinds = {str(entry.type) for entry in table.schema}
    return table if kinds <= {"int64", "double", "null"} else None


def ordered(names: Iterable[str]) -> list[str]:
    """Names of columns in the order in which people look for them; those with an underscore in front go last."""
    place = {name: number for number, name in enumerate((*HEAD, *_defaults()))}

    def rank(name: str) -> tuple[bool, int, int, str]:
        group = name.partition(".")[0]
        late = _GROUPS.index(group) + 1 if group in _GROUPS else 0
        return name.startswith("_"), late, place.get(name, len(place)), name

    return sorted(names, key=rank)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Mappings as columns; a name that a mapping lacks is null there, and what is not of one type is text."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _array([row.get(name) for row in rows]) for name in names})


def _array(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int} and not all(value in _WHOLE for value in values if value is not None):
        kinds = {float}
    if kinds <= {int, float}:
        kind = pa.null() if not kinds else pa.int64() if kinds == {int} else pa.float64()
        wanted = [float(value) if value is not None else None for value in values] if float in kinds else values
        return pa.array(wanted, kind, from_pandas=False)
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode()  # lone surrogates, as odd file names have, are no UTF-8


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below one another; where a column differs in type, numbers widen and anything else becomes text."""
    import pyarrow as pa

    if not tables:
        return pa.table({name: pa.array([], pa.string()) for name in ("digest", "status")})
    kinds: dict[str, set[Any]] = {}
    for table in tables:
        for entry in table.schema:
            kinds.setdefault(entry.name, set()).add(entry.type)
    fields = [pa.field(name, _common(found)) for name, found in kinds.items()]
    return pa.concat_tables([_cast(table, fields) for table in tables], unify_dictionaries=True)


def _common(kinds: set[Any]) -> Any:
    import pyarrow as pa

    kinds = kinds - {pa.null()}
    if len(kinds) <= 1:
        return next(iter(kinds), pa.null())
    return pa.float64() if kinds == {pa.int64(), pa.float64()} else pa.string()


def _cast(table: pa.Table, fields: Sequence[pa.Field]) -> pa.Table:
    import pyarrow as pa

    there = set(table.column_names)
    columns = [
        table.column(entry.name).cast(entry.type, safe=False)
        if entry.name in there
        else pa.nulls(len(table), entry.type)
        for entry in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))

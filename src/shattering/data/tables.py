"""Tables of numbers with a column of labels: CSV and Parquet files, a row for each example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.words import plural
from shattering.data.files import file_size, open_source, show
from shattering.data.given_labels import empty_label, label_array
from shattering.data.images import conversion_notes
from shattering.data.memory import require
from shattering.data.parquet import IMAGE_COLUMNS, read_parquet_images, refuse_extensions
from shattering.data.parts import Given, label_name

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_OTHERS = {";": "';'", "\t": "a tab", "|": "'|'", ",": "','"}
"""What else may stand between columns, and how it is called."""

_LONGEST_LINE = 1 << 20
_LARGEST_BLOCK = 2**31 - 2
_EXPANSION = 4
"""A number takes about so many times the room in memory that it takes as text, while it is read."""


def read_csv(path: Path, label: str | None = None) -> Given:
    """Reads a CSV or TSV file with a line of column names: the labels' column, and numbers in all others.

    Args:
        path: the file.
        label: the labels' column; none: the first of `LABEL_NAMES` that is there.

    Raises:
        DataError: a damaged file, another separator, no column of labels, an empty cell, or text where numbers are
            wanted.
    """
    import pyarrow as pa
    import pyarrow.csv

    size = file_size(path)
    require(_EXPANSION * size, f"Reading {show(path)}")
    with open_source(path) as stream:
        _refuse_separator(stream.readline(_LONGEST_LINE), path)
        stream.seek(0)
        try:
            table = pyarrow.csv.read_csv(
                stream,
                # One block: types are then those of whole columns.
                read_options=pyarrow.csv.ReadOptions(block_size=min(size + 1, _LARGEST_BLOCK), use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(delimiter=SEPARATORS[path.suffix.lower()]),
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError, ValueError) as error:
            raise _damaged(path, "CSV", error) from None
    return _from_table(table, path, label)


def read_parquet(path: Path, label: str | None = None) -> Given:
    """Reads one Parquet file: encoded images with labels, or columns of numbers or of equally long lists of numbers.

    Columns of lists, such as token ids, become arguments of the network, each by its name; otherwise all columns but
    the labels' are the features of a table.

    Args:
        path: the file.
        label: the labels' column; none: the first of `LABEL_NAMES` that is there.

    Raises:
        DataError: a damaged file, an absent column, an extension type, nulls, text, lists of several lengths, or what
            `read_parquet_images` refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_source(path) as stream:
        try:
            file = pq.ParquetFile(stream)
            refuse_extensions(file.schema_arrow, path)
            names = list(file.schema_arrow.names)
            if not any(name in names for name in IMAGE_COLUMNS):
                groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
                require(2 * sum(int(group.total_byte_size) for group in groups), f"Reading {show(path)}")
                return _from_table(file.read(use_threads=False), path, label)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _damaged(path, "Parquet", error) from None
    images, labels, tally = read_parquet_images(path, (label_name(names, label, show(path)),))
    return Given((("", images),), labels, show(path), notes=conversion_notes(tally))


def _from_table(table: Any, path: Path, label: str | None) -> Given:
    import pyarrow as pa

    where = show(path)
    names = list(table.column_names)
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError("data-column-doubled", f"{where} has two columns {show(doubled)!r}; rename one of them.")
    chosen = label_name(names, label, where)
    others = [name for name in names if name != chosen]
    if table.num_rows == 0 or not others:
        raise DataError("data-too-few", f"{where} has {table.num_rows} rows and {len(others)} features; add some.")
    for name in names:
        if table.column(name).null_count:
            row = table.column(name).is_null().to_pylist().index(True)
            raise DataError(
                "data-null", f"Row {row} of column {show(name)!r} of {where} is empty; fill the cell or drop the row."
            )
    kinds = [table.schema.field(name).type for name in others]
    lists = [_is_list(kind) for kind in kinds]
    labels = _labels(table.column(chosen), chosen, where)
    if not any(lists):
        columns = [_numbers(table.column(name), name, where) for name in others]
        dtype = np.result_type(np.float32, *columns) if all(c.dtype.kind == "f" for c in columns) else np.float64
        features = np.empty((table.num_rows, len(columns)), dtype=dtype)
        for place, column in enumerate(columns):
            features[:, place] = column
        return Given((("", features),), labels, where)
    parts = []
    for name, is_list, kind in zip(others, lists, kinds, strict=True):
        if is_list:
            parts.append((name, _rows(table.column(name), name, where)))
        elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            parts.append((name, _numbers(table.column(name), name, where)))
    left = len(others) - len(parts)
    notes = (f"{plural(left, 'column')} of text beside the lists were left out",) if left else ()
    return Given(tuple(parts), labels, where, exact=True, notes=notes)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _labels(column: Any, name: str, where: str) -> NDArray[Any]:
    import pyarrow as pa

    def named(row: int) -> str:
        return f"Row {row} of column {show(name)!r} of {where}"

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = column.to_pylist()
        blank = next((row for row, text in enumerate(texts) if not text.strip()), None)
        if blank is not None:  # a cell of text without text is no null in CSV
            raise empty_label(named(blank))
        return np.array(texts, dtype=np.str_)
    return label_array(column.to_numpy(), where, named)


def _numbers(column: Any, name: str, where: str) -> NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(
            "data-column-type",
            f"Column {show(name)[:60]!r} of {where} holds {show(str(kind))[:60]}, not numbers; encode it as numbers or "
            "leave it out.",
        )
    array: NDArray[Any] = column.to_numpy()
    return array


def _rows(column: Any, name: str, where: str) -> NDArray[Any]:
    """A column of equally long lists as ``[n, length]``."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy()
    if (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise DataError(
            "data-ragged",
            f"Row {row} of column {show(name)!r} of {where} has {int(lengths[row])} entries where the first has "
            f"{int(lengths[0])}; pad them to one length.",
        )
    flat = pc.list_flatten(column)
    if flat.null_count:
        raise DataError("data-null", f"Column {show(name)!r} of {where} has empty entries in its lists; fill them.")
    return _numbers(flat, name, where).reshape(len(lengths), int(lengths[0]))


def _refuse_separator(line: bytes, path: Path) -> None:
    """Raises `DataError` where the names of the columns are set apart by something else than the file's ending says."""
    wanted = SEPARATORS[path.suffix.lower()]
    found = next((other for other in _OTHERS if other != wanted and other.encode() in line), None)
    if found is not None and wanted.encode() not in line:
        form = "commas between columns and points in decimals" if wanted == "," else "tabs between columns"
        raise DataError(
            "data-csv-separator",
            f"The separator of {show(path)} seems to be {_OTHERS[found]}, not {_OTHERS[wanted]}; save it with {form}.",
        )


def _damaged(path: Path, form: str, error: Exception) -> DataError:
    reason = show((str(error).splitlines() or [type(error).__name__])[0])[:120]
    return DataError(
        f"data-{form.lower()}-damaged",
        f"{show(path)} cannot be read as {form} ({reason}); it may be cut or written otherwise, so write it again.",
    )

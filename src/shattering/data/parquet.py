"""Parquet files of encoded images with labels, read column by column and never by extension type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.data.cache import cached
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits
from shattering.data.files import open_source, show
from shattering.data.images import conversion_notes, decode_images
from shattering.data.memory import require

FILES = ("train.parquet", "test.parquet")
IMAGE_COLUMNS = ("img", "image")
_BATCH_ROWS = 1024


def read_parquet_images(
    path: Path, label_columns: tuple[str, ...], shape: tuple[int, int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[Any], Counter[str]]:
    """Images and labels of one file.

    Args:
        path: a Parquet file with a column ``img`` or ``image`` of ``struct{bytes, path}`` or bytes.
        label_columns: names of the label column, the first present one counts.
        shape: of every image; none: that of the first.

    Returns:
        uint8 ``[n, height, width, channels]``, labels ``[n]`` as stored, and the tally of `decode_images`.

    Raises:
        DataError: a damaged file, an absent column, an extension type, nulls, or a cell that cannot be decoded.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_source(path) as stream:
        try:
            file = pq.ParquetFile(stream)
            refuse_extensions(file.schema_arrow, path)
            image = _column(file.schema_arrow, IMAGE_COLUMNS, path)
            label = _column(file.schema_arrow, label_columns, path)
            _check_image_type(file.schema_arrow.field(image), path)
            rows = file.metadata.num_rows
            if rows == 0:
                raise DataError("data-too-few", f"{show(path)} has no rows; get the file again.")
            require(_encoded_bytes(file), f"Reading {show(path)}")
            labels: list[NDArray[Any]] = []
            cells = _cells(file, image, label, path, labels)
            images, tally = decode_images(cells, rows, shape=shape)
        except (pa.ArrowException, OSError, EOFError) as error:
            reason = str(error).splitlines()[0][:120]
            raise DataError(
                "data-parquet-damaged",
                f"{show(path)} cannot be read as Parquet ({reason}); it may be cut, so get the file again.",
            ) from None
    return images, np.concatenate(labels), tally


def read_parquet_folder(folder: Path, name: str) -> Splits:
    """Any image data set laid down as ``train.parquet`` and ``test.parquet`` with columns ``img`` and ``label``."""
    paths = [folder / file for file in FILES]

    def build() -> Splits:
        tally: Counter[str] = Counter()
        parts = []
        for path in paths:
            images, labels, found = read_parquet_images(path, ("label", "fine_label"))
            tally += found
            parts.append(Part(images, labels, show(path)))
        return build_splits(*parts, name=name, notes=conversion_notes(tally))

    return cached(f"parquet {name}", paths, build)


def _cells(file: Any, image: str, label: str, path: Path, labels: list[NDArray[Any]]) -> Iterator[tuple[str, bytes]]:
    row, declared = 0, file.metadata.num_rows
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[image, label], use_threads=False):
        column = batch.column(label)
        _refuse_nulls(column, label, row, path)
        labels.append(column.to_numpy(zero_copy_only=False))
        pictures = batch.column(image)
        _refuse_nulls(pictures, image, row, path)
        if hasattr(pictures, "field"):
            pictures = pictures.field("bytes")
            _refuse_nulls(pictures, f"{image}.bytes", row, path)
        if row + len(batch) > declared:
            break
        for offset, cell in enumerate(pictures):
            yield f"Row {row + offset} of column {image!r} of {show(path)}", cell.as_py()
        row += len(batch)
    if row != declared:
        raise DataError(
            "data-parquet-damaged",
            f"{show(path)} declares {declared} rows and does not hold as many; get the file again.",
        )


def _refuse_nulls(column: Any, name: str, row: int, path: Path) -> None:
    if column.null_count:
        first = row + column.is_null().to_pylist().index(True)
        raise DataError(
            "data-null", f"Row {first} of column {name!r} of {show(path)} is null; fill the cell or drop the row."
        )


def refuse_extensions(schema: Any, path: Path) -> None:
    """Raises `DataError` where a column is of an extension type, whose reading could run code.

    Args:
        schema: of the file.
        path: for the message.
    """
    import pyarrow as pa

    pending = list(schema)
    while pending:
        field = pending.pop()
        named = b"ARROW:extension:name" in (field.metadata or {})
        if named or isinstance(field.type, pa.BaseExtensionType):
            raise DataError(
                "data-parquet-extension",
                f"Column {show(field.name)!r} of {show(path)} has an extension type ({show(str(field.type))}), which "
                "is never interpreted; write it as a plain type.",
            )
        pending.extend(field.type.field(index) for index in range(field.type.num_fields))


def _column(schema: Any, names: tuple[str, ...], path: Path) -> str:
    for name in names:
        if name in schema.names:
            return name
    found = ", ".join(show(name) for name in schema.names[:20])
    raise DataError(
        "data-column-missing",
        f"{show(path)} has no column {' or '.join(map(repr, names))} (it has: {found}); rename the column.",
    )


def _check_image_type(field: Any, path: Path) -> None:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            "data-column-type",
            f"Column {field.name!r} of {show(path)} is {show(str(field.type))[:80]}; store encoded images as bytes or "
            "as struct{bytes, path}.",
        )


def _encoded_bytes(file: Any) -> int:
    """Uncompressed bytes of the largest row group: what one read may hold at a time."""
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    return max((int(group.total_byte_size) for group in groups), default=0)

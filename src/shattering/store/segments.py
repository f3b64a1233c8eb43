"""The files of an index: Parquet named by the hash of its own bytes, and logs of lines with a checksum each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shattering.core import io
from shattering.store.format import sha256

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_SEGMENT = re.compile(r"(runs|rows)-([0-9a-f]{16})\.parquet")
_LOG = re.compile(r"log-[0-9a-f]{16}\.jsonl")
_COVERED = b"shattering.runs"


def listed(folder: Path, kind: str) -> list[str]:
    """The names of the segments of a kind (``runs`` or ``rows``), sorted."""
    return [name for name in io.names(folder) if (match := _SEGMENT.fullmatch(name)) and match[1] == kind]


def logs(folder: Path) -> list[str]:
    """The names of the logs, sorted."""
    return [name for name in io.names(folder) if _LOG.fullmatch(name)]


def write(folder: Path, kind: str, table: pa.Table, scratch: Path, covered: Sequence[tuple[str, int]] = ()) -> str:
    """Writes a segment; returns its name.

    Args:
        folder: of the index.
        kind: ``runs`` or ``rows``.
        table: its content.
        scratch: folder for files under construction.
        covered: the runs that it holds all snapshots of, with their places.

    Raises `StoreError`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    schema = table.schema.with_metadata({_COVERED: json.dumps(list(covered)).encode()})
    parquet.write_table(table.cast(schema), sink, compression="zstd", write_statistics=False)
    data = sink.getvalue().to_pybytes()
    name = f"{kind}-{sha256(data)[:16]}.parquet"
    io.write_file(folder / name, data, scratch)
    return name


def opened(folder: Path, name: str) -> parquet.ParquetFile | None:
    """A segment whose bytes match its name; none where it is damaged or gone."""
    import pyarrow as pa
    from pyarrow import parquet

    data = io.read_bytes(folder / name)
    match = _SEGMENT.fullmatch(name)
    if data is None or match is None or sha256(data)[:16] != match[2]:
        return None
    try:
        return parquet.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError):  # the hash is not a secret: somebody may have made a file to fit it
        return None


def covered(segment: parquet.ParquetFile) -> list[tuple[str, int]]:
    """The runs, with their places, that a segment of snapshots holds."""
    try:
        return [(str(digest), int(place)) for digest, place in json.loads(segment.schema_arrow.metadata[_COVERED])]
    except (KeyError, TypeError, ValueError):
        return []


def line(entry: Any) -> bytes:
    """A line of a log."""
    text = json.dumps(entry, separators=(",", ":")).encode()
    return sha256(text)[:16].encode() + b" " + text + b"\n"


def entries(data: bytes) -> Iterator[Any]:
    """What the sound lines of a log hold; torn and damaged ones are passed over."""
    for whole in data.split(b"\n"):
        wanted, _, text = whole.partition(b" ")
        if text and sha256(text)[:16].encode() == wanted:
            yield json.loads(text)

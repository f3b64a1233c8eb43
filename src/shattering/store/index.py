"""What is in a store, at a glance: derived from the runs' folders, never needed, and made again where it is not there.

index/runs-<hash>.parquet   one row per run, as `shattering.store.flat` has it, and where and how its files were seen
index/rows-<hash>.parquet   one row per snapshot
index/log-<random>.jsonl    runs that were added since, a line each, by one process

Every process that writes has a log of its own, locked while it lives; from `ROLL` lines on they become segments. Nobody
else touches it. A line carries its checksum and a segment is named by the hash of its bytes, so that what a crash or a
bad disk left is passed over, and its runs are read again. Appending is not synced: after a power loss, too, a run that
is missing here is merely read again.

A row stands for a run as long as the run's folder is the same one (`Mark.place`, the inode that a listing tells without
looking at any file). Lists and queries ask no more than that. Whoever decides by it what need not be computed again
(`Store.missing`) asks for more: that all the run's files have the inode, size and time of change that they had when
their content was verified (`Mark.state`). Times of change are only compared for being equal, never put in order. What
this cannot see, such as a bit that a disk has lost by itself, or a change of the same size within the same tick of the
clock as the writing, `Store.get` finds when it reads and verifies: a study's report does, and `Store.check`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shattering.core import io
from shattering.core.errors import StoreError
from shattering.store import flat, segments
from shattering.store import format as form

if TYPE_CHECKING:
    import pyarrow as pa

ROLL = 4096
"""Rows of a segment."""
FEW = 256
"""So many runs are read again rather than kept: it takes a moment, and a file for them would stay."""
FILES_KEPT = 16
"""How many logs there may be before they are made a segment."""
LAYOUT = 1
"""Of the index; one of another layout is passed over."""

FILES = (form.SPEC, form.RECORD, form.METRICS, form.DONE, form.EXAMPLES, form.WEIGHTS, form.TESTED)
"""The files that a run may have; their places in this list are the bits of `Mark.files`."""


class Mark(NamedTuple):
    """How a run looked when it was verified.

    Args:
        place: inode of its folder; of a failure, the state of its file.
        state: of all its files, see `io.state_of`; 0 of a failure.
        files: which of `FILES` it has, as bits.
        numerics: numerics version that it was computed with.
        status: how it ended.
    """

    place: int
    state: int
    files: int
    numerics: int
    status: str

    @property
    def names(self) -> tuple[str, ...]:
        """The run's files."""
        return _names(self.files)


@cache
def _names(files: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(FILES) if files >> bit & 1)


_OF_MARK = {"_place": "place", "_state": "state", "_files": "files", "_numerics": "numerics", "status": "status"}


class Index:
    """The index of one store.

    Args:
        root: the store's folder.
        write: whether what is added is kept on disk, too.
    """

    def __init__(self, root: Path, write: bool) -> None:
        self.folder = root / "index"
        self.write = write
        self.damaged: list[str] = []
        """Segments that do not match their names."""
        self._root = root
        self._scratch = root / "tmp"
        self._marks: dict[str, Mark] = {}
        self._rows: dict[str, flat.Flat] = {}
        self._metrics: dict[str, bytes] = {}
        self._unsaved: list[pa.Table] = []
        self._unsaved_snapshots: list[tuple[pa.Table, list[tuple[str, int]]]] = []
        self._seen: dict[str, int] = {}
        self._log: tuple[int, Path, weakref.finalize[..., Index]] | None = None
        self._lines = 0
        self._unknown = 0

    # Reading

    def marks(self) -> dict[str, Mark]:
        """The runs known so far; see `refresh`."""
        return self._marks

    def refresh(self, places: Mapping[str, int]) -> None:
        """Takes up what others have added, and forgets what is no longer at its place.

        Args:
            places: where every run is now.

        Raises `StoreError` where a file of the index cannot be read.
        """
        self._marks = {digest: mark for digest, mark in self._marks.items() if places.get(digest) == mark.place}
        self._rows = {digest: row for digest, row in self._rows.items() if digest in self._marks}
        for name in segments.listed(self.folder, "runs"):
            if name not in self._seen:
                self._seen[name] = 1
                table = self._segment(name, ["digest", *_OF_MARK])
                if table is not None:
                    self._take(table, places)
        for name in segments.logs(self.folder):
            if self._log is not None and name == self._log[1].name:
                continue
            data = io.read_bytes(self.folder / name) or b""
            begin = self._seen.get(name, 0)
            if len(data) > begin:
                self._seen[name] = data.rfind(b"\n") + 1
                self._follow(data[begin : self._seen[name]], places)

    def _segment(self, name: str, columns: list[str] | None) -> pa.Table | None:
        segment = segments.opened(self.folder, name)
        if segment is None or not {"digest", *_OF_MARK} <= set(segment.schema_arrow.names):
            if name not in self.damaged and io.size(self.folder / name) is not None:
                self.damaged.append(name)
            return None
        return segment.read(columns=columns)

    def _take(self, table: pa.Table, places: Mapping[str, int]) -> None:
        columns = {name: table.column(name).to_pylist() for name in ("digest", *_OF_MARK)}
        for digest, *mark in zip(*columns.values(), strict=True):
            if places.get(digest) == mark[0] and mark[3] == form.NUMERICS_VERSION:
                self._marks[digest] = Mark._make(mark)

    def _follow(self, data: bytes, places: Mapping[str, int]) -> None:
        for entry in segments.entries(data):
            if entry["layout"] != LAYOUT:
                continue
            digest, mark = entry["digest"], Mark._make(entry["mark"])
            if places.get(digest) == mark.place and mark.numerics == form.NUMERICS_VERSION:
                self._marks[digest] = mark
                self._rows[digest] = entry["row"]

    def table(self) -> pa.Table:
        """The rows of all known runs, with the columns of their marks, in no particular order."""
        missing, tables = dict(self._marks), []
        for digest in self._rows:
            missing.pop(digest, None)
        if self._rows:
            tables.append(self._table_of(self._rows))
        for table in self._unsaved:
            tables.append(_picked(table, missing))
        for name in segments.listed(self.folder, "runs") if missing else ():
            table = self._segment(name, None)
            if table is not None:
                tables.append(_picked(table, missing))
        for digest in missing:  # a segment was damaged, or taken away, after its marks had been read
            del self._marks[digest]
        return flat.joined([table for table in tables if len(table)])

    def snapshots(self, missing: dict[str, int]) -> Iterator[pa.Table]:
        """Tables of the snapshots of runs, as far as they are kept; what is found is taken out of ``missing``.

        Args:
            missing: the runs wanted, with their places.
        """
        import pyarrow as pa
        from pyarrow import compute

        for name in segments.listed(self.folder, "rows") if missing else ():
            segment = segments.opened(self.folder, name)
            held = segments.covered(segment) if segment is not None else []
            found = [digest for digest, place in held if missing.get(digest) == place]
            if segment is not None and found:
                table = segment.read()
                if len(found) < len(held):
                    table = table.filter(compute.is_in(table.column("digest"), value_set=pa.array(found, pa.string())))
                for digest in found:
                    del missing[digest]
                yield table

    def _table_of(self, rows: Mapping[str, flat.Flat]) -> pa.Table:
        import pyarrow as pa

        table = flat.run_columns(rows)
        for column, field in _OF_MARK.items():
            if column.startswith("_"):
                values = [getattr(self._marks[digest], field) for digest in rows]
                table = table.append_column(column, pa.array(values, pa.int64()))
        return table

    # Writing

    def add(self, digest: str, mark: Mark, row: flat.Flat, metrics: bytes = b"") -> None:
        """Takes up a run that has been verified or written just now. Raises `StoreError`."""
        self._marks[digest] = mark
        self._rows[digest] = row
        self._unknown += 1
        if metrics:
            self._metrics[digest] = metrics
        if self.write:
            self._append(segments.line({"layout": LAYOUT, "digest": digest, "mark": mark, "row": row}))
        if self._lines >= ROLL or (not self.write and len(self._rows) >= ROLL):
            self._roll()

    def _append(self, line: bytes) -> None:
        if self._log is None:
            io.make_folders(self.folder)
            descriptor, path = io.create_log(self.folder)
            self._log = descriptor, path, weakref.finalize(self, io.close, descriptor)
        self._lines += 1
        io.append(self._log[0], line, self._log[1])

    def _roll(self) -> None:
        """Makes segments of the rows in memory, and ends the log."""
        if not self.write:
            self._unsaved.append(self._table_of(self._rows))
        else:
            self._write_segments(self._rows)
            self._end_log()
        self._rows, self._metrics = {}, {}

    def _write_segments(self, rows: Mapping[str, flat.Flat]) -> None:
        self._keep(self._table_of(rows))
        metrics = {digest: self._metrics[digest] for digest in rows if digest in self._metrics}
        if len(metrics) > ROLL // 2:
            self.keep_snapshots(metrics)

    def _keep(self, table: pa.Table) -> str:
        name = segments.write(self.folder, "runs", table, self._scratch)
        self.damaged = [other for other in self.damaged if other != name]  # the same rows make the same name
        self._seen[name] = 1
        return name

    def _end_log(self) -> None:
        if self._log is not None:
            _, path, closing = self._log
            io.remove(path)
            closing()
            self._log, self._lines = None, 0

    def keep_snapshots(self, metrics: Mapping[str, bytes]) -> pa.Table:
        """The snapshots of runs, given as they lie in the store, as columns; kept where the index may be written."""
        table = flat.row_columns(metrics)
        places = [(digest, self._marks[digest].place) for digest in metrics if digest in self._marks]
        if len(places) < FEW:
            return table
        if self.write:
            segments.write(self.folder, "rows", table, self._scratch, places)
        else:
            self._unsaved_snapshots.append((table, places))
        return table

    def save(self) -> None:
        """Keeps what a reader has found, for the next one, where the folder can be written; else does nothing."""
        if self.write or (self._unknown < FEW and not self._unsaved_snapshots):
            return
        try:
            io.check_writable(self._scratch)
            io.make_folders(self.folder)
            for table in self._unsaved:
                self._keep(table)
            if self._rows:
                self._keep(self._table_of(self._rows))
            for table, places in self._unsaved_snapshots:
                segments.write(self.folder, "rows", table, self._scratch, places)
            self._unsaved, self._unsaved_snapshots, self._unknown = [], [], 0
        except (StoreError, OSError):
            return

    def tidy(self) -> None:
        """Makes one of many small files, once nobody writes them any more, and removes damaged ones."""
        if not self.write:
            return
        names = segments.logs(self.folder)
        if len(names) <= FILES_KEPT and len(self._rows) < ROLL and not self.damaged:
            return
        with io.exclusive(self._root / "locks" / "index.lock") as ours:
            if not ours:
                return
            for name in self.damaged:
                io.remove(self.folder / name)
            self.damaged = []
            dead = [name for name in names if (self._log is None or name != self._log[1].name) and self._dead(name)]
            if self._rows:
                self._write_segments(self._rows)
                self._rows, self._metrics = {}, {}
            self._end_log()
            for name in dead:
                io.remove(self.folder / name)

    def _dead(self, name: str) -> bool:
        """Whether the process is gone whose log this is, and all of it has been taken up."""
        path = self.folder / name
        with io.exclusive(path) as ours:
            return ours and len(io.read_bytes(path) or b"") <= self._seen.get(name, 0)


def _picked(table: pa.Table, missing: dict[str, Mark]) -> pa.Table:
    """The rows of ``table`` that are missing still and stand where they stood; they are missing no more."""
    import pyarrow as pa

    found = []
    for digest, place in zip(table.column("digest").to_pylist(), table.column("_place").to_pylist(), strict=True):
        mark = missing.get(digest)
        found.append(mark is not None and mark.place == place)
        if found[-1]:
            del missing[digest]
    return table if all(found) else table.filter(pa.array(found, pa.bool_()))

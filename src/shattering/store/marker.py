"""The file that makes a folder a store, and tells its schema."""

from __future__ import annotations

import json
from pathlib import Path

from shattering.core import io
from shattering.core.disk import told
from shattering.core.errors import SpecError, StoreError
from shattering.store import format as form

MARKER = "shattering-store.json"
FORMAT = "shattering-store"


def find_or_make(path: Path, write: bool) -> None:
    """Makes sure that there is a store of our schema at ``path``; with ``write``, makes one in an empty or new folder.

    Raises `StoreError` where it is absent and ``write`` is false, and what `is_store` raises.
    """
    if is_store(path, write):
        return
    if not write:
        raise StoreError("store-missing", f"There is no store at {path}; make one with `shattering run`.")
    io.make_folders(path)
    tree = {"format": FORMAT, "schema": form.SCHEMA_VERSION}
    io.write_file(path / MARKER, (json.dumps(tree) + "\n").encode())


def is_store(path: Path, write: bool) -> bool:
    """Whether there is a store of our schema at ``path``, rather than an empty folder or nothing; it is only read.

    Args:
        path: the folder.
        write: whether it was named, with ``--out``, as one to write to; what is wrong with it is told accordingly.

    Raises:
        SpecError: ``path`` is a file.
        StoreError: it is a folder of something else, or a store of a newer schema.
    """
    with told(path, "Opening"):
        if path.exists() and not path.is_dir():
            remedy = "choose another one with --out" if write else "name the folder of a store"
            raise SpecError("out-is-file", f"{path} is a file, a folder is wanted; {remedy}.")
    marker = io.read_bytes(path / MARKER)
    if marker is None and io.names(path):
        marker = io.read_bytes(path / MARKER)  # another process may have made the store in between
        if marker is None:
            remedy = "choose an empty or new folder with --out" if write else "name the folder of a store"
            message = f"{path} is not empty and has no {MARKER}, so it is not a store; {remedy}."
            raise StoreError("store-not-a-store", message)
    if marker is None:
        return False
    _check_marker(path, marker, write)
    return True


def _check_marker(path: Path, marker: bytes, write: bool) -> None:
    try:
        tree = json.loads(marker)
        kind, schema = tree["format"], int(tree["schema"])
    except (ValueError, KeyError, TypeError):
        kind, schema = None, 0
    if schema > form.SCHEMA_VERSION and kind == FORMAT:
        raise StoreError(
            "store-newer-schema",
            f"{path} has schema {schema}, this program knows up to {form.SCHEMA_VERSION}; upgrade shattering or "
            + ("choose another folder with --out." if write else "name another store."),
        )
    if kind != FORMAT or schema != form.SCHEMA_VERSION:
        line = json.dumps({"format": FORMAT, "schema": form.SCHEMA_VERSION})
        raise StoreError(
            "store-marker-damaged",
            f"{path / MARKER} is damaged; if this is a store of this version, replace its content by {line}.",
        )

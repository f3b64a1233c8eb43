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

    Raises `SpecError` where ``path`` is a file; `StoreError` where it is a folder of something else, a store of a newer
    schema, or absent and ``write`` is false.
    """
    with told(path, "Opening"):
        if path.exists() and not path.is_dir():
            raise SpecError("out-is-file", f"{path} is a file, a folder is wanted; choose another one with --out.")
    marker = io.read_bytes(path / MARKER)
    if marker is None and io.names(path):
        marker = io.read_bytes(path / MARKER)  # another process may have made the store in between
        if marker is None:
            raise _not_a_store(path)
    if marker is not None:
        _check_marker(path, marker)
    elif write:
        io.make_folders(path)
        tree = {"format": FORMAT, "schema": form.SCHEMA_VERSION}
        io.write_file(path / MARKER, (json.dumps(tree) + "\n").encode())
    else:
        raise StoreError("store-missing", f"There is no store at {path}; make one with `shattering run`.")


def _not_a_store(path: Path) -> StoreError:
    return StoreError(
        "store-not-a-store",
        f"{path} is not empty and has no {MARKER}, so it is not a store; choose an empty or new folder with --out.",
    )


def _check_marker(path: Path, marker: bytes) -> None:
    try:
        tree = json.loads(marker)
        kind, schema = tree["format"], int(tree["schema"])
    except (ValueError, KeyError, TypeError):
        kind, schema = None, 0
    if schema > form.SCHEMA_VERSION and kind == FORMAT:
        raise StoreError(
            "store-newer-schema",
            f"{path} has schema {schema}, this program knows up to {form.SCHEMA_VERSION}; upgrade shattering or choose "
            "another folder with --out.",
        )
    if kind != FORMAT or schema != form.SCHEMA_VERSION:
        line = json.dumps({"format": FORMAT, "schema": form.SCHEMA_VERSION})
        raise StoreError(
            "store-marker-damaged",
            f"{path / MARKER} is damaged; if this is a store of this version, replace its content by {line}.",
        )

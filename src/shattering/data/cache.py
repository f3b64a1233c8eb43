"""Decoded data sets kept for the next time: found by what the source files contain, checked before they are used.

An entry is a folder of ``.npy`` files beside ``entry.json``, which carries sizes, checksums and a checksum of itself.
A damaged entry is built again in silence; a cache that cannot be written is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from shattering.core import io
from shattering.core.errors import DataError, StoreError
from shattering.data.checks import frozen
from shattering.data.dataset import Dataset, Moments, Splits
from shattering.data.files import open_source, show, source_digest

DECODER_VERSION = 1
"""Raised whenever decoding or checking gives other arrays or notes, so that no old entry is ever used."""

_ARRAYS = ("train_inputs", "train_labels", "test_inputs", "test_labels")
_verified: set[tuple[str, int]] = set()


def cache_folder() -> Path:
    """``SHATTERING_CACHE``, or ``~/.cache/shattering``; nothing need be there."""
    configured = os.environ.get("SHATTERING_CACHE")
    return Path(configured) if configured else Path("~/.cache/shattering").expanduser()


def cached(kind: str, sources: Sequence[Path], build: Callable[[], Splits]) -> Splits:
    """``build()``, or what it returned last time for the same bytes.

    Args:
        kind: decoder and parameters, part of the key.
        sources: the files that ``build`` reads.
        build: decodes and checks them.

    Raises:
        DataError: what ``build`` raises, or ``data-changed`` where a source changed while it was read.
    """
    before = _stamps(sources)
    key = _key(kind, sources)
    folder = cache_folder() / "decoded" / key
    known = _read(folder)
    if known is not None:
        return known
    splits = build()
    for path, old, new in zip(sources, before, _stamps(sources), strict=True):
        if old != new:
            raise DataError("data-changed", f"{show(path)} changed while it was read; start again when it is complete.")
    with contextlib.suppress(StoreError):
        _write(folder, splits)
    return splits


def _stamps(sources: Sequence[Path]) -> list[tuple[int, int]]:
    stamps = []
    for path in sources:
        with open_source(path) as stream:
            facts = os.fstat(stream.fileno())
            stamps.append((facts.st_size, facts.st_mtime_ns))
    return stamps


def _key(kind: str, sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{DECODER_VERSION} {kind} {len(sources)}".encode("utf-8", "backslashreplace"))
    for path in sources:
        digest.update(f"\0{path.parent.name}/{path.name}\0".encode("utf-8", "surrogateescape"))
        digest.update(source_digest(path))
    return digest.hexdigest()


def _sha256(path: Path) -> Any:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256")


def _read(folder: Path) -> Splits | None:
    try:
        wrapped = json.loads((folder / "entry.json").read_bytes())
        if hashlib.sha256(wrapped["body"].encode()).hexdigest() != wrapped["sha256"]:
            return None
        body = json.loads(wrapped["body"])
        arrays = {}
        for name in _ARRAYS:
            path, facts = folder / f"{name}.npy", body["files"][name]
            stat = path.stat()
            if stat.st_size != facts["size"]:
                return None
            mark = (str(path), stat.st_mtime_ns)
            if mark not in _verified:
                if _sha256(path).hexdigest() != facts["sha256"]:
                    return None
                _verified.add(mark)
            mapped = name.endswith("inputs")
            arrays[name] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return _splits(body, arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _splits(body: dict[str, Any], arrays: dict[str, Any]) -> Splits:
    facts = body["moments"]
    sums = Moments(facts["count"], tuple(facts["total"]), tuple(facts["squares"]))
    train, test = (
        Dataset(
            inputs=frozen(np.asarray(arrays[f"{split}_inputs"])),
            labels=arrays[f"{split}_labels"],
            num_classes=body["num_classes"],
            name=body["name"],
            split=split,
            divisor=body["divisor"],
            class_names=tuple(body["class_names"]),
            moments=sums,
            notes=tuple(body["notes"]),
        )
        for split in ("train", "test")
    )
    return Splits(train, test)


def _write(folder: Path, splits: Splits) -> None:
    files = {}
    facts = {}
    for name in _ARRAYS:
        split, part = name.split("_")
        parts = _npy(getattr(getattr(splits, split), part))
        digest = hashlib.sha256()
        for piece in parts:
            digest.update(piece)
        files[f"{name}.npy"] = parts
        facts[name] = {"size": sum(piece.nbytes for piece in parts), "sha256": digest.hexdigest()}
    train = splits.train
    assert train.moments is not None
    body = json.dumps(
        {
            "name": train.name,
            "num_classes": train.num_classes,
            "divisor": train.divisor,
            "class_names": train.class_names,
            "notes": train.notes,
            "moments": asdict(train.moments),
            "files": facts,
        }
    )
    wrapped = json.dumps({"body": body, "sha256": hashlib.sha256(body.encode()).hexdigest()})
    files["entry.json"] = (memoryview(wrapped.encode()),)
    io.make_folders(folder.parent)
    io.clean_scratch(folder.parent)
    # Only a damaged entry can be there; processes that have it mapped keep their pages.
    io.remove(folder)
    io.write_folder(folder, files)


def _npy(array: np.ndarray[Any, Any]) -> tuple[memoryview, ...]:
    """An ``.npy`` file, its header and its values apart: a second copy of the values might not fit in memory."""
    array = np.ascontiguousarray(array)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return memoryview(header.getvalue()), array.reshape(-1).view(np.uint8).data

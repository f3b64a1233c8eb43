"""Small data sets written in every form that is read, for the tests."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings

from shattering.data.images import encode_png

STEADY = settings(deadline=None, derandomize=True, max_examples=60)
"""Generated inputs, the same every time, and no clock."""

CIFAR_TRAIN, CIFAR_TEST = 50, 10


def examples(count: int, shape: tuple[int, ...] = (32, 32, 3), classes: int = 10, seed: int = 0) -> tuple[Any, Any]:
    """Random bytes, and labels 0 … classes-1 in turn."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, np.arange(count, dtype=np.int64) % classes


def idx_bytes(array: Any) -> bytes:
    data: bytes = array.tobytes()
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + data


def write_mnist(folder: Path, *, zipped: tuple[bool, ...] = (False, True, True, False)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train, test = examples(20, (28, 28)), examples(10, (28, 28), seed=1)
    names = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
    for name, array, squeeze in zip(names, (*train, *test), zipped, strict=True):
        data = idx_bytes(array.astype(np.uint8))
        (folder / (name + ".gz" if squeeze else name)).write_bytes(gzip.compress(data) if squeeze else data)
    return folder


def jpeg_bytes(image: Any, mode: str = "RGB") -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, format="JPEG", quality=90)
    return stream.getvalue()


def png_bytes(image: Any, mode: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, format="PNG")
    return stream.getvalue()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_header(width: int, height: int, depth: int = 8, rows: bytes = b"") -> bytes:
    """A colour PNG that claims any size and depth."""
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def write_parquet(
    path: Path, cells: list[bytes | None], labels: Any, *, image: str = "img", label: str = "label"
) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([None if cell is None else {"bytes": cell, "path": None} for cell in cells], kind)
    pq.write_table(pa.table({image: column, label: pa.array(labels)}), path)
    return path


def cifar_splits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    return examples(CIFAR_TRAIN), examples(CIFAR_TEST, seed=1)


def write_cifar_parquet(
    folder: Path, encode: Callable[[Any], bytes] = encode_png, *, image: str = "img", label: str = "label"
) -> Path:
    for name, (images, labels) in zip(("train", "test"), cifar_splits(), strict=True):
        cells: list[bytes | None] = [encode(each) for each in images]
        write_parquet(folder / f"{name}.parquet", cells, labels.tolist(), image=image, label=label)
    return folder


def batch_bytes(images: Any, labels: Any, key: str = "labels", protocol: int = 2) -> bytes:
    rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    return pickle.dumps({b"data": rows, key.encode(): labels.tolist(), "batch_label": "batch"}, protocol)


def _batches() -> dict[str, tuple[Any, Any]]:
    (images, labels), test = cifar_splits()
    size = CIFAR_TRAIN // 5
    parts = {f"data_batch_{n + 1}": (images[n * size :][:size], labels[n * size :][:size]) for n in range(5)}
    return {**parts, "test_batch": test}


def write_cifar_python(folder: Path, protocol: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in _batches().items():
        (folder / name).write_bytes(batch_bytes(images, labels, protocol=protocol))
    return folder


def record_bytes(images: Any, labels: Any, before: bytes = b"") -> bytes:
    return b"".join(
        before + bytes([label]) + image.transpose(2, 0, 1).tobytes()
        for image, label in zip(images, labels.tolist(), strict=True)
    )


def write_cifar_binary(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (images, labels) in _batches().items():
        (folder / f"{name}.bin").write_bytes(record_bytes(images, labels))
    return folder


def write_folder(root: Path, *, each: int = 3, size: int = 6) -> Path:
    """``train`` and ``test`` with classes ``cat`` and ``dog``, ``each`` PNG images a class."""
    for seed, split in enumerate(("train", "test")):
        images, _ = examples(2 * each, (size, size, 3), seed=seed)
        for index, image in enumerate(images):
            path = root / split / ("cat", "dog")[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(image))
    return root


def arrays(**changes: Any) -> dict[str, Any]:
    """Sixteen training and eight test examples of four classes with six features."""
    random = np.random.default_rng(0)
    tree = {
        "x_train": random.standard_normal((16, 6)).astype(np.float32),
        "y_train": np.arange(16) % 4,
        "x_test": random.standard_normal((8, 6)).astype(np.float32),
        "y_test": np.arange(8) % 4,
    }
    return {name: value for name, value in {**tree, **changes}.items() if value is not None}


def write_npz(path: Path, **changes: Any) -> Path:
    np.savez(path, **arrays(**changes))
    return path

"""Every bad file and label: refused with exit code, identifier, place and remedy, or noted with a count."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.data.checks import build_splits
from shattering.data.images import encode_png
from shattering.data.load import load_data

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import data_writers as write

BOUND_BYTES = 64 << 20
"""More than any of these small inputs can need; less than any of the bombs asks for."""

Prepare = Callable[[Path], str | tuple[str, Path]]
CASES: list[Any] = []


def refused(case: str, identifier: str, *words: str) -> Callable[[Prepare], Prepare]:
    """A case that ends in `DataError`; ``words`` are the place, the value and the remedy in its message."""

    def add(prepare: Prepare) -> Prepare:
        CASES.append(pytest.param(prepare, identifier, words, id=case))
        return prepare

    return add


def noted(case: str, *words: str) -> Callable[[Prepare], Prepare]:
    """A case that loads with a note that holds ``words``."""
    return refused(case, "", *words)


def _forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = Path.open

    def open_(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name:
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)


def _change_while_read(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    def build(*args: Any, **kwargs: Any) -> Any:
        os.utime(path, ns=(1, 1))
        return build_splits(*args, **kwargs)

    monkeypatch.setattr("shattering.data.cifar.build_splits", build)


@refused("01-missing", "data-missing", "cifar10 was not found", "/data", "cs.toronto.edu", "--data-dir")
def _(root: Path) -> Any:
    return "cifar10", root


@refused("01-missing-path", "data-missing", "absent.npz", "check the path")
def _(root: Path) -> Any:
    return str(root / "absent.npz")


def mnist(root: Path, name: str, change: Callable[[bytes], bytes]) -> tuple[str, Path]:
    path = write.write_mnist(root / "mnist") / name
    path.write_bytes(change(path.read_bytes()))
    return "mnist", root


@refused("02-empty", "data-empty", "train-images-idx3-ubyte", "0 bytes", "again")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: b"")


@refused("03-unreadable-pipe", "data-unreadable", "train-images-idx3-ubyte", "pipe", "put the data file")
def _(root: Path) -> Any:
    path = write.write_mnist(root / "mnist") / "train-images-idx3-ubyte"
    path.unlink()
    os.mkfifo(path)
    return "mnist", root


@refused("03-unreadable-permission", "data-unreadable", "test_batch", "Permission denied", "check its permissions")
def _(root: Path) -> Any:
    write.write_cifar_python(root / "cifar-10-batches-py")
    return "cifar10", root


@refused("04-idx-truncated", "data-idx-truncated", "train-images", "15696 bytes", "offset 15695", "download it again")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: data[:-1])


@refused("04-idx-truncated-in-header", "data-idx-truncated", "train-images", "offset 9", "download it again")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: data[:9])


@refused("04-idx-too-long", "data-idx-longer", "train-images", "after offset 15696", "download it again")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: data + b"\0")


@refused("05-idx-magic", "data-idx-magic", "train-images", "0x00000903", "0x00000803", "right file")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: b"\0\0\x09\x03" + data[4:])


@refused("06-idx-forged-dimensions", "data-idx-truncated", "train-images", "79228162458924105385300197391", "offset")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: data[:4] + b"\xff" * 12 + data[16:])


@refused("06-idx-forged-dimensions-gzip", "data-idx-forged", "t10k-images", "4294967295", "offset 4", "download")
def _(root: Path) -> Any:
    forged = b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 100
    return mnist(root, "t10k-images-idx3-ubyte.gz", lambda data: gzip.compress(forged))


@refused("07-gzip-cut", "data-gzip-truncated", "t10k-images-idx3-ubyte.gz", "download it again")
def _(root: Path) -> Any:
    return mnist(root, "t10k-images-idx3-ubyte.gz", lambda data: data[: len(data) // 2])


@refused("07-gzip-flipped", "data-gzip-damaged", "t10k-images-idx3-ubyte.gz", "download it again")
def _(root: Path) -> Any:
    return mnist(root, "t10k-images-idx3-ubyte.gz", lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])


@refused("08-counts-differ", "data-count-mismatch", "20 examples", "19 labels", "train-labels", "get both")
def _(root: Path) -> Any:
    labels = write.idx_bytes(np.arange(19, dtype=np.uint8) % 10)
    return mnist(root, "train-labels-idx1-ubyte.gz", lambda data: gzip.compress(labels))


@refused("08-counts-differ-in-batch", "data-count-mismatch", "test_batch", "10 images", "9 labels", "original")
def _(root: Path) -> Any:
    images, labels = write.examples(10)
    return batches(root, "test_batch", write.batch_bytes(images, labels[:9]))


def batches(root: Path, name: str, data: bytes) -> tuple[str, Path]:
    (write.write_cifar_python(root / "cifar-10-batches-py") / name).write_bytes(data)
    return "cifar10", root


@refused("09-pickle-truncated", "data-pickle-truncated", "data_batch_3", "offset 20000", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_3", write.batch_bytes(*write.examples(10))[:20000])


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@refused("10-pickle-forbidden-global", "data-pickle-forbidden", "data_batch_1", "system", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", pickle.dumps(_Canary(root.parent / "canary"), 2))


@refused("10-pickle-forbidden-global-protocol-4", "data-pickle-forbidden", "data_batch_1", "system")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", pickle.dumps(_Canary(root.parent / "canary"), 4))


@refused("10-pickle-forbidden-lookalike", "data-pickle-forbidden", "numpy.core.multiarray._reconstruct.system")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02cnumpy.core.multiarray\n_reconstruct.system\n.")


EIGHT_TIB = struct.pack("<Q", 2**43)
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
DTYPE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@refused("11-pickle-8-tib-array", "data-pickle-size", "data_batch_1", "holds no bytes", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02}U\x04data" + ARRAY + b"\x8a\x08" + EIGHT_TIB + b"\x85U\x01b\x87Rs.")


@refused("11-pickle-8-tib-state", "data-pickle-size", "data_batch_1", "8796093022208 bytes", "holds 3", "original file")
def _(root: Path) -> Any:
    state = b"(K\x01\x8a\x08" + EIGHT_TIB + b"\x85" + DTYPE + b"\x89U\x03abctb"
    return batches(root, "data_batch_1", b"\x80\x02}U\x04data" + ARRAY + b"K\x00\x85U\x01b\x87R" + state + b"s.")


@refused("11-pickle-8-tib-bytes", "data-pickle-truncated", "data_batch_1", "8796093022208 more bytes", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x04\x8e" + EIGHT_TIB + b".")


@refused("11-pickle-memo-index", "data-pickle-unsupported", "data_batch_1", "str", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02X\x01\x00\x00\x00ar\xff\xff\xff\xff.")


@refused("11-pickle-repeated-text", "data-pickle-size", "data_batch_1", "repeats text", "original file")
def _(root: Path) -> Any:
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    return batches(root, "data_batch_1", b"\x80\x02" + text + b"q\x00" + again * 5000 + b".")


@refused("11-pickle-endless-steps", "data-pickle-size", "data_batch_1", "400000 steps", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02" + b"N" * 410_000 + b".")


def nest(depth: int, opener: bytes, closer: bytes) -> bytes:
    """``depth`` levels of ten references each, in some 700 bytes for 30 levels: 10^30 leaves when written out."""
    level = opener + b"K\x01" * 10 + closer
    for _ in range(depth - 1):
        level = opener + level + b"q\x00" + b"h\x00" * 9 + closer
    return level


@refused("12-pickle-nested-lists", "data-pickle-labels", "data_batch_1", "flat list of integers", "original file")
def _(root: Path) -> Any:
    images, _ = write.examples(10)
    good = write.batch_bytes(images, np.zeros(0, np.int64), key="other")
    # Appended to a sound batch, so that only the labels are at fault.
    return batches(root, "data_batch_1", good[:-1] + b"U\x06labels" + nest(30, b"](", b"e") + b"s.")


@refused("12-pickle-nested-tuple-key", "data-pickle-unsupported", "data_batch_1", "offset", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02}" + nest(30, b"(", b"t") + b"K\x01s.")


@refused("12-pickle-deep-list", "data-pickle-unsupported", "data_batch_1", "list", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_1", b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")


@refused("13-missing-batch", "data-incomplete", "data_batch_4", "cifar10", "add what is missing")
def _(root: Path) -> Any:
    (write.write_cifar_python(root / "cifar-10-batches-py") / "data_batch_4").unlink()
    return "cifar10", root


@refused("13-missing-key", "data-pickle-key", "data_batch_5", "'labels'", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_5", write.batch_bytes(*write.examples(10), key="labels_of_mine"))


@refused("13-wrong-shape", "data-pickle-shape", "data_batch_5", "3072", "original file")
def _(root: Path) -> Any:
    return batches(root, "data_batch_5", write.batch_bytes(*write.examples(10, (8, 8, 3))))


@refused("13-binary-truncated", "data-binary-truncated", "data_batch_2.bin", "3073", "offset 27657", "again")
def _(root: Path) -> Any:
    path = write.write_cifar_binary(root / "cifar-10-batches-bin") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-5])
    return "cifar10", root


def npz(root: Path, **changes: Any) -> str:
    return str(write.write_npz(root / "mine.npz", **changes))


@refused("14-npz-object", "data-npz-object", "x_train", "mine.npz", "np.asarray")
def _(root: Path) -> Any:
    return npz(root, x_train=np.array([_Canary(root.parent / "canary")] * 16, dtype=object))


def forged_npz(root: Path, header: bytes, data: bytes) -> str:
    path = root / "mine.npz"
    write.write_npz(path, x_train=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)
    return str(path)


@refused("15-npz-forged-shape", "data-npz-size", "x_train", "1099511627776", "mine.npz", "write it again")
def _(root: Path) -> Any:
    return forged_npz(root, b"{'descr': '|u1', 'fortran_order': False, 'shape': (16, 1099511627776)}\n", b"abc")


@refused("15-npz-forged-header", "data-npz-header", "x_train", "mine.npz", "write it again")
def _(root: Path) -> Any:
    return forged_npz(root, b"[" * 9000, b"")


@refused("15-npz-cut", "data-npz-damaged", "mine.npz", "copy it again")
def _(root: Path) -> Any:
    path = write.write_npz(root / "mine.npz")
    path.write_bytes(path.read_bytes()[:-100])
    return str(path)


@refused("15-npz-flipped", "data-npz-damaged", "mine.npz", "CRC", "copy it again")
def _(root: Path) -> Any:
    path = write.write_npz(root / "mine.npz")
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    return str(path)


@refused("16-npz-bomb", "data-npz-bomb", "x_train", "mine.npz", "40000128", "np.savez")
def _(root: Path) -> Any:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (16, 2500000), }".ljust(117) + b"\n"
    path = root / "mine.npz"
    write.write_npz(path, x_train=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(40_000_000)
        archive.writestr("x_train.npy", data)
    return str(path)


@refused("17-npz-missing-name", "data-npz-name", "mine.npz", "'y_train'", "add that array")
def _(root: Path) -> Any:
    return npz(root, y_train=None)


@refused("17-npz-no-name", "data-npz-name", "mine.npz", "weights", "'x_train'")
def _(root: Path) -> Any:
    np.savez(root / "mine.npz", weights=np.zeros(3))
    return str(root / "mine.npz")


@refused("18-string-dtype", "data-dtype", "mine", "<U2", "float32")
def _(root: Path) -> Any:
    return npz(root, x_train=np.full((16, 6), "ab"))


@refused("18-complex-dtype", "data-dtype", "mine", "complex128", "float32")
def _(root: Path) -> Any:
    return npz(root, x_train=np.zeros((16, 6), np.complex128))


def spoilt(value: float) -> Any:
    inputs = write.arrays()["x_train"]
    inputs[5, 2] = inputs[9, 0] = value
    return inputs


@refused("19-nan", "data-nan", "training split", "mine", "NaN in 2 examples", "example 5", "replace")
def _(root: Path) -> Any:
    return npz(root, x_train=spoilt(np.nan))


@refused("20-inf", "data-inf", "training split", "mine", "infinite values in 2 examples", "example 5", "replace")
def _(root: Path) -> Any:
    return npz(root, x_train=spoilt(-np.inf))


def parquet(root: Path, **changes: Any) -> tuple[str, Path]:
    folder = write.write_cifar_parquet(root / "cifar10")
    images, labels = write.examples(10, seed=1)
    cells: list[Any] = [encode_png(image) for image in images]
    tree: dict[str, Any] = {"cells": cells, "labels": labels.tolist(), **changes}
    for index, cell in tree.pop("replace", {}).items():
        cells[index] = cell
    write.write_parquet(folder / "test.parquet", tree.pop("cells"), tree.pop("labels"), **tree)
    return "cifar10", root


@refused("21-parquet-cut", "data-parquet-damaged", "test.parquet", "get the file again")
def _(root: Path) -> Any:
    path = write.write_cifar_parquet(root / "cifar10") / "test.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    return "cifar10", root


@refused("21-parquet-damaged-middle", "data-parquet-damaged", "test.parquet", "get the file again")
def _(root: Path) -> Any:
    path = write.write_cifar_parquet(root / "cifar10") / "test.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff" * 64 + data[72:])
    return "cifar10", root


@refused("22-parquet-column-absent", "data-column-missing", "test.parquet", "'label'", "img, target", "rename")
def _(root: Path) -> Any:
    return parquet(root, label="target")


@refused("22-parquet-image-absent", "data-column-missing", "test.parquet", "'img' or 'image'", "picture", "rename")
def _(root: Path) -> Any:
    return parquet(root, image="picture")


@refused("23-parquet-null-image", "data-null", "Row 7", "'img'", "test.parquet", "drop the row")
def _(root: Path) -> Any:
    return parquet(root, replace={7: None})


@refused("23-parquet-null-label", "data-null", "Row 3", "'label'", "test.parquet", "drop the row")
def _(root: Path) -> Any:
    return parquet(root, labels=[0, 1, 2, None, 4, 5, 6, 7, 8, 9])


@refused("24-parquet-extension-type", "data-parquet-extension", "'key'", "test.parquet", "plain type")
def _(root: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet(root)
    path = root / "cifar10" / "test.parquet"
    table = pq.read_table(path)
    keys = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 10, pa.binary(16)))
    pq.write_table(table.append_column("key", keys), path)
    return "cifar10", root


@refused("24-parquet-unknown-extension-type", "data-parquet-extension", "'key'", "test.parquet", "plain type")
def _(root: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet(root)
    path = root / "cifar10" / "test.parquet"
    field = pa.field("key", pa.int64(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    pq.write_table(pq.read_table(path).append_column(field, pa.array(range(10))), path)
    return "cifar10", root


@refused("25-undecodable-cell", "data-image-format", "Row 4", "'img'", "test.parquet", "0x6e6f7468", "convert")
def _(root: Path) -> Any:
    return parquet(root, replace={4: b"nothing"})


@refused("25-cell-of-other-size", "data-mixed-sizes", "Row 4", "(8, 8, 3)", "(32, 32, 3)", "resize")
def _(root: Path) -> Any:
    return parquet(root, replace={4: encode_png(write.examples(1, (8, 8, 3))[0][0])})


def folder(root: Path, path: str = "", data: bytes = b"") -> str:
    write.write_folder(root / "pets")
    if path:
        (root / "pets" / path).write_bytes(data)
    return str(root / "pets")


PICTURE = write.examples(1, (6, 6, 3), seed=9)[0][0]


@noted("26-non-image-in-folder", "2 files that are not images were left out")
def _(root: Path) -> Any:
    name = folder(root, "train/cat/notes.txt", b"hello")
    (root / "pets" / "train" / "README").write_text("hello")
    return name


@refused("26-image-of-other-format", "data-image-format", "train/cat/x.gif", "convert")
def _(root: Path) -> Any:
    return folder(root, "train/cat/x.gif", b"GIF89a")


@refused("26-text-named-png", "data-image-format", "train/cat/x.png", "0x68656c6c", "remove")
def _(root: Path) -> Any:
    return folder(root, "train/cat/x.png", b"hello")


@refused("27-extension-contradicts-content", "data-image-extension", "train/dog/x.png", "JPEG", "rename")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.jpeg_bytes(PICTURE))


@refused("28-jpeg-cut", "data-image-damaged", "train/dog/x.jpg", "truncated", "restore or remove")
def _(root: Path) -> Any:
    data = write.jpeg_bytes(PICTURE)
    return folder(root, "train/dog/x.jpg", data[: len(data) - 30])


@refused("28-png-cut", "data-image-damaged", "train/dog/x.png", "restore or remove")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", encode_png(PICTURE)[:60])


@refused("29-image-huge", "data-image-huge", "train/dog/x.png", "10000 x 6000", "50000000", "scale it down")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_of_header(10000, 6000))


@refused("29-image-enormous", "data-image-huge", "train/dog/x.png", "89 million", "50000000", "scale it down")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_of_header(2**31 - 1, 2**31 - 1))


@refused("30-mixed-sizes", "data-mixed-sizes", "6 x 6 (12)", "5 x 7 (1)", "pets", "resize")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", encode_png(write.examples(1, (7, 5, 3))[0][0]))


@noted("31-palette", "1 images had a palette and were converted to RGB")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_bytes(PICTURE, "P"))


@noted("31-alpha", "1 images had transparency, which was dropped")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_bytes(PICTURE, "RGBA"))


@noted("31-grey-among-colour", "1 grey images were converted to RGB")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_bytes(PICTURE, "L"))


@refused("31-16-bit-grey", "data-image-depth", "train/dog/x.png", "16 bits", "convert it to 8 bits")
def _(root: Path) -> Any:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.zeros((6, 6), np.uint16)).save(stream, format="PNG")
    return folder(root, "train/dog/x.png", stream.getvalue())


@refused("31-16-bit-colour", "data-image-depth", "train/dog/x.png", "16 bits", "convert it to 8 bits")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.png", write.png_of_header(6, 6, 16, (b"\0" + bytes(36)) * 6))


@refused("31-cmyk", "data-image-mode", "train/dog/x.jpg", "CMYK", "convert it to RGB")
def _(root: Path) -> Any:
    return folder(root, "train/dog/x.jpg", write.jpeg_bytes(PICTURE, "CMYK"))


@refused("32-empty-class-folder", "data-class-empty", "train/owl", "remove the folder")
def _(root: Path) -> Any:
    name = folder(root)
    (root / "pets" / "train" / "owl").mkdir()
    return name


@refused("33-link-loop", "data-link", "train/cat/again", "loop", "remove it")
def _(root: Path) -> Any:
    name = folder(root)
    (root / "pets" / "train" / "cat" / "again").symlink_to(root / "pets" / "train")
    return name


@refused("33-link-to-itself", "data-link", "train/cat/self.png", "to itself", "remove or replace")
def _(root: Path) -> Any:
    name = folder(root)
    (root / "pets" / "train" / "cat" / "self.png").symlink_to("self.png")
    return name


@refused("33-link-outside", "data-link", "train/cat/x.png", "outside", "copy the file instead")
def _(root: Path) -> Any:
    name = folder(root)
    (root / "secret.png").write_bytes(encode_png(PICTURE))
    (root / "pets" / "train" / "cat" / "x.png").symlink_to(root / "secret.png")
    return name


@noted("34-odd-file-names", "3 file names have unprintable characters or blanks at their ends")
def _(root: Path) -> Any:
    name = folder(root)
    for index, odd in enumerate((b"a\n.png", b" b.png", b"\xff.png")):
        path = Path(os.fsdecode(os.fsencode(root / "pets" / "train" / "cat") + b"/" + odd))
        path.write_bytes(encode_png(write.examples(1, (6, 6, 3), seed=20 + index)[0][0]))
    return name


@refused("41-html-as-idx", "data-html", "train-images-idx3-ubyte", "web page", "download the file again")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: b"\n<!DOCTYPE html><title>404</title>")


@refused("41-html-as-npz", "data-html", "mine.npz", "web page", "download the file again")
def _(root: Path) -> Any:
    (root / "mine.npz").write_text("<html>log in</html>")
    return str(root / "mine.npz")


@refused("41-pointer-as-parquet", "data-pointer", "test.parquet", "pointer", "git lfs pull")
def _(root: Path) -> Any:
    path = write.write_cifar_parquet(root / "cifar10") / "test.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    return "cifar10", root


@refused("42-changed-while-read", "data-changed", "test.parquet", "start again")
def _(root: Path) -> Any:
    write.write_cifar_parquet(root / "cifar10")
    return "cifar10", root


@refused("43-more-than-memory-idx", "data-memory", "train-images", "15.31 KiB", "1000 B", "more memory")
def _(root: Path) -> Any:
    return mnist(root, "train-images-idx3-ubyte", lambda data: data)


@refused("43-more-than-memory-npz", "data-memory", "mine.npz", "KiB", "1000 B", "more memory")
def _(root: Path) -> Any:
    return npz(root)


@refused("43-more-than-memory-folder", "data-memory", "6 images", "pets", "1000 B", "more memory")
def _(root: Path) -> Any:
    return str(write.write_folder(root / "pets", size=16))


@refused("43-more-than-memory-parquet", "data-memory", "train.parquet", "1000 B", "more memory")
def _(root: Path) -> Any:
    write.write_cifar_parquet(root / "cifar10")
    return "cifar10", root


@refused("43-more-than-memory-batches", "data-memory", "cifar10", "1000 B", "more memory")
def _(root: Path) -> Any:
    write.write_cifar_binary(root / "cifar-10-batches-bin")
    return "cifar10", root


def labels(**changes: Any) -> Any:
    """The sound training labels with some replaced, given as ``_index=value``."""
    values = write.arrays()["y_train"].astype(changes.pop("dtype", np.int64))
    for index, value in changes.items():
        values[int(index[1:])] = value
    return values


@refused("44-label-out-of-range", "data-labels-range", "Label 6", "training split", "is 10", "0 … 9", "correct")
def _(root: Path) -> Any:
    values = np.arange(20, dtype=np.uint8) % 10
    values[6] = 10
    return mnist(root, "train-labels-idx1-ubyte.gz", lambda data: gzip.compress(write.idx_bytes(values)))


@refused("45-label-negative", "data-labels-negative", "Label 3", "mine", "-1", "2 negative labels", "remap")
def _(root: Path) -> Any:
    return npz(root, y_train=labels(_3=-1, _7=-2))


@noted("46-integral-floats", "24 labels were floats of integral value and were cast")
def _(root: Path) -> Any:
    return npz(root, y_train=labels(dtype=np.float64), y_test=np.arange(8.0) % 4)


@refused("47-fractional", "data-labels-fractional", "Label 2", "mine", "1.5", "1 such", "round or remap")
def _(root: Path) -> Any:
    return npz(root, y_train=labels(dtype=np.float64, _2=1.5))


@refused("47-label-nan", "data-labels-fractional", "Label 2", "mine", "nan", "round or remap")
def _(root: Path) -> Any:
    return npz(root, y_train=labels(dtype=np.float64, _2=np.nan))


@noted("48-one-hot", "24 one-hot labels were converted to class numbers")
def _(root: Path) -> Any:
    return npz(root, y_train=np.eye(4)[labels()], y_test=np.eye(4)[np.arange(8) % 4])


@refused("48-not-one-hot", "data-labels-shape", "mine", "4 columns", "row 5", "a single 1")
def _(root: Path) -> Any:
    rows = np.eye(4)[labels()]
    rows[5] = 0.25
    return npz(root, y_train=rows, y_test=np.eye(4)[np.arange(8) % 4])


@noted("49-strings", "24 text labels were mapped to 0 … 3")
def _(root: Path) -> Any:
    names = np.array(["owl", "cat", "dog", "ant"])
    return npz(root, y_train=names[labels()], y_test=names[np.arange(8) % 4])


@refused("49-strings-in-one-split", "data-labels-type", "<U1", "int64", "both as text or both as numbers")
def _(root: Path) -> Any:
    return npz(root, y_train=np.array(list("abcd"))[labels()])


@refused("50-one-class", "data-one-class", "mine", "are 2", "two classes")
def _(root: Path) -> Any:
    return npz(root, y_train=np.full(16, 2), y_test=np.full(8, 2))


@refused("51-class-missing-in-train", "data-class-missing", "Class 3", "training split", "1 of 4", "add examples")
def _(root: Path) -> Any:
    return npz(root, y_train=labels() % 3)


@refused("51-class-missing-in-test", "data-class-missing", "Class 1", "test split", "1 of 4", "add examples")
def _(root: Path) -> Any:
    return npz(root, y_test=np.array([0, 2, 3, 0, 2, 3, 0, 2]))


@refused("51-class-folder-missing", "data-class-missing", "pets/test", "'owl'", "add it there")
def _(root: Path) -> Any:
    name = folder(root)
    (root / "pets" / "train" / "owl").mkdir()
    (root / "pets" / "train" / "owl" / "x.png").write_bytes(encode_png(PICTURE))
    return name


def copied(pairs: dict[int, int], of: Any = None) -> Any:
    inputs = write.arrays()["x_train"]
    source = inputs if of is None else of
    for index, origin in pairs.items():
        inputs[index] = source[origin]
    return inputs


@noted("52-duplicates", "2 training examples are exact copies of an earlier one")
def _(root: Path) -> Any:
    return npz(root, x_train=copied({4: 0, 9: 5}))


@noted("53-conflicting-labels", "1 training examples are exact copies", "different label", "perfect fit is impossible")
def _(root: Path) -> Any:
    return npz(root, x_train=copied({5: 0}))


@noted("54-train-test-overlap", "3 test examples also occur in the training split")
def _(root: Path) -> Any:
    return npz(root, x_train=copied({0: 0, 1: 1, 2: 6}, of=write.arrays()["x_test"]))


@refused("55-one-example", "data-too-few", "mine", "1 examples", "at least 2", "add some")
def _(root: Path) -> Any:
    return npz(root, x_train=np.zeros((1, 6), np.float32), y_train=np.array([0]))


@refused("55-no-test-example", "data-too-few", "mine", "0 examples", "at least 1", "add some")
def _(root: Path) -> Any:
    return npz(root, x_test=np.zeros((0, 6), np.float32), y_test=np.zeros(0, np.int64))


@pytest.mark.parametrize(("prepare", "identifier", "words"), CASES)
def test_bad_data(
    prepare: Prepare,
    identifier: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    root = tmp_path / "data"
    root.mkdir()
    asked = prepare(root)
    name, folder = asked if isinstance(asked, tuple) else (asked, None)
    if "memory" in request.node.callspec.id:
        monkeypatch.setenv("SHATTERING_MEMORY_BYTES", "1000")
    if "permission" in request.node.callspec.id:
        _forbid(monkeypatch, "test_batch")
    if "changed" in request.node.callspec.id:
        _change_while_read(monkeypatch, root / "cifar10" / "test.parquet")
    tracemalloc.start()
    try:
        if identifier:
            with pytest.raises(DataError) as caught:
                load_data(name, folder)
            text = caught.value.message
            assert caught.value.identifier == identifier, text
            assert caught.value.exit_code == 3
        else:
            text = "\n".join(load_data(name, folder).train.notes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for word in words:
        assert word in text
    assert len(text) < 1000
    assert peak < BOUND_BYTES
    assert not (tmp_path / "canary").exists()

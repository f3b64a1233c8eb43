"""Labels from a file, and everything that can be wrong with it."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Splits

COUNT = 120


@pytest.fixture
def labels() -> np.ndarray:
    return (np.arange(COUNT) * 3 + 1) % 10


def write(path: Path, labels: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, labels)
    else:
        path.write_text("".join(f"{label}\n" for label in labels))
    return path


@pytest.mark.parametrize("name", ["labels.txt", "labels.npy"])
@pytest.mark.parametrize("dtype", ["int64", "uint8", ">i4"])
def test_labels_are_taken_from_the_file(name, dtype, tmp_path, labels, colour, make_spec) -> None:
    path = write(tmp_path / name, labels.astype(dtype))

    result = corrupt(colour, make_spec("label_file", {"path": str(path)})).train

    assert np.array_equal(result.labels, labels)
    assert result.labels.dtype == np.int64
    assert np.array_equal(result.changed, labels != colour.train.labels)


def test_subset_takes_the_labels_of_its_own_examples(tmp_path, labels, colour, make_spec) -> None:
    path = write(tmp_path / "labels.txt", labels)
    chosen = np.array([7, 8, 50, 119])

    result = corrupt(Splits(colour.train.take(chosen), colour.test), make_spec("label_file", {"path": str(path)})).train

    assert np.array_equal(result.labels, labels[chosen])


def test_hash_of_the_planned_file_is_accepted(tmp_path, labels, colour, make_spec) -> None:
    path = write(tmp_path / "labels.txt", labels)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert corrupt(colour, make_spec("label_file", {"path": str(path), "sha256": digest})).train.changed.any()


def test_labels_come_from_the_bytes_that_were_hashed(tmp_path, labels, colour, make_spec, monkeypatch) -> None:
    path = write(tmp_path / "labels.npy", labels)
    contents = path.read_bytes()
    read = Path.read_bytes

    def read_then_change(self: Path) -> bytes:
        found = read(self)
        if self == path:
            np.save(path, np.zeros(COUNT, dtype=np.int64))
        return found

    monkeypatch.setattr(Path, "read_bytes", read_then_change)
    fields = {"path": str(path), "sha256": hashlib.sha256(contents).hexdigest()}

    assert np.array_equal(corrupt(colour, make_spec("label_file", fields)).train.labels, labels)


def out_of_range(path: Path, labels: np.ndarray) -> None:
    write(path, np.where(np.arange(COUNT) == 5, 10, labels))


def negative(path: Path, labels: np.ndarray) -> None:
    write(path, np.where(np.arange(COUNT) == 119, -1, labels))


def beyond_63_bits(path: Path, labels: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), np.full(COUNT, 2**64 - 1, dtype=np.uint64))
    path.with_suffix(".npy").rename(path)


def damaged_array(path: Path, labels: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), labels)
    path.write_bytes(path.with_suffix(".npy").read_bytes()[:-9])


def cut_header(path: Path, labels: np.ndarray) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00")


def forged_shape(path: Path, labels: np.ndarray) -> None:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }"
    header = header.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + labels.tobytes())


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def objects(path: Path, labels: np.ndarray) -> None:
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (120,), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickle.dumps(Trap()))


def square(path: Path, labels: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), labels.reshape(12, 10))
    path.with_suffix(".npy").rename(path)


def fractions(path: Path, labels: np.ndarray) -> None:
    np.save(path.with_suffix(".npy"), labels / 2)
    path.with_suffix(".npy").rename(path)


CASES = [
    ("label-file-missing", lambda path, labels: None, "check the path"),
    ("label-file-missing", lambda path, labels: path.mkdir(), "check the path"),
    ("label-file-length", lambda path, labels: write(path, labels[:-1]), "119 labels, the training split 120"),
    ("label-file-length", lambda path, labels: write(path, np.append(labels, 0)), "121 labels"),
    ("label-file-length", lambda path, labels: path.write_text(""), "0 labels"),
    ("label-file-range", out_of_range, "label 10 at line 6 is outside 0 to 9"),
    ("label-file-range", negative, "label -1 at line 120"),
    ("label-file-range", beyond_63_bits, "outside 0 to 9"),
    ("label-file-format", lambda path, labels: path.write_text("3\nseven\n"), "seven"),
    ("label-file-format", lambda path, labels: path.write_text("3\n1.5\n"), "1.5"),
    ("label-file-format", lambda path, labels: path.write_text("3\n" + "9" * 40 + "\n"), "one label per line"),
    ("label-file-format", lambda path, labels: path.write_text("x" * 100_000), "one label per line"),
    ("label-file-format", lambda path, labels: path.write_bytes(b"\xff\xfe\x00"), "one label per line"),
    ("label-file-format", damaged_array, "one label per line"),
    ("label-file-format", cut_header, "one label per line"),
    ("label-file-format", forged_shape, "one label per line"),
    ("label-file-format", objects, "one label per line"),
    ("label-file-format", square, "(12, 10)"),
    ("label-file-format", fractions, "float64"),
]


@pytest.mark.parametrize(("identifier", "prepare", "told"), CASES, ids=range(len(CASES)))
def test_unfit_file_is_refused(identifier, prepare, told, tmp_path, labels, colour, make_spec, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "labels"
    prepare(path, labels)

    with pytest.raises(DataError) as caught:
        corrupt(colour, make_spec("label_file", {"path": str(path)}))

    assert caught.value.identifier == identifier
    assert str(path) in caught.value.message
    assert told in caught.value.message
    assert len(caught.value.message) < 300 + len(str(path))
    assert not Path("sprung").exists()


def test_file_that_changed_since_planning_is_refused(tmp_path, labels, colour, make_spec) -> None:
    path = write(tmp_path / "labels.txt", labels)
    fields = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write(path, np.roll(labels, 1))

    with pytest.raises(DataError) as caught:
        corrupt(colour, make_spec("label_file", fields))

    assert caught.value.identifier == "label-file-changed"
    assert str(path) in caught.value.message

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import data_writers as write
import numpy as np
import pytest

from shattering.data.cifar import JPEG_NOTE
from shattering.data.cifar10 import CIFAR10
from shattering.data.cifar100 import CIFAR100
from shattering.data.images import encode_png
from shattering.data.load import load_data


def test_every_form_of_the_same_images_has_the_same_fingerprint(tmp_path: Path) -> None:
    write.write_cifar_parquet(tmp_path / "a" / "cifar10")
    write.write_cifar_parquet(tmp_path / "b", image="image")
    write.write_cifar_python(tmp_path / "c" / "cifar-10-batches-py")
    write.write_cifar_python(tmp_path / "d" / "cifar10", protocol=4)
    write.write_cifar_binary(tmp_path / "e" / "cifar10" / "cifar-10-batches-bin")
    write.write_cifar_binary(tmp_path / "f")
    loaded = [load_data("cifar10", tmp_path / form) for form in "abcdef"]
    assert len({splits.fingerprint for splits in loaded}) == 1
    assert {splits.train.notes for splits in loaded} == {()}
    (images, labels), _ = write.cifar_splits()
    np.testing.assert_array_equal(loaded[0].train.inputs, images)
    np.testing.assert_array_equal(loaded[0].train.labels, labels)


def test_jpeg_cells_are_noted(tmp_path: Path) -> None:
    write.write_cifar_parquet(tmp_path, encode=write.jpeg_bytes)
    assert load_data("cifar10", tmp_path).facts.notes == (JPEG_NOTE,)


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    """As the original files are: byte strings by SHORT_BINSTRING and BINSTRING, labels in one list."""
    write.write_cifar_python(tmp_path)
    images, labels = write.examples(10, seed=1)
    raw = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).tobytes()
    data = (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x05batchq\x03U\x06labelsq\x04]q\x05("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"eU\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09"
        + b"(K\x01K\x0aM\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(raw).to_bytes(4, "little")
        + raw
        + b"tbu."
    )
    (tmp_path / "test_batch").write_bytes(data)
    np.testing.assert_array_equal(load_data("cifar10", tmp_path).test.inputs, images)


def write_cifar100(folder: Path) -> None:
    for form in ("parquet", "cifar-100-python", "cifar-100-binary"):
        (folder / form / (form if form != "parquet" else "")).mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        images, labels = write.examples(100, classes=100, seed=seed)
        cells: list[bytes | None] = [encode_png(image) for image in images]
        write.write_parquet(folder / "parquet" / f"{split}.parquet", cells, labels.tolist(), label="fine_label")
        batch = write.batch_bytes(images, labels, key="fine_labels")
        (folder / "cifar-100-python" / "cifar-100-python" / split).write_bytes(batch)
        records = write.record_bytes(images, labels, before=b"\x07")
        (folder / "cifar-100-binary" / "cifar-100-binary" / f"{split}.bin").write_bytes(records)


def test_cifar100_takes_the_fine_labels_in_every_form(tmp_path: Path) -> None:
    write_cifar100(tmp_path)
    loaded = [load_data("cifar100", path) for path in sorted(tmp_path.iterdir())]
    assert len(loaded) == 3 and len({splits.fingerprint for splits in loaded}) == 1
    np.testing.assert_array_equal(loaded[0].train.labels, np.arange(100))


def test_class_names_are_complete() -> None:
    assert len(set(CIFAR10.class_names)) == 10
    assert len(set(CIFAR100.class_names)) == 100 and list(CIFAR100.class_names) == sorted(CIFAR100.class_names)


def test_a_pickle_that_would_run_a_command_leaves_no_trace(tmp_path: Path) -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    payload = pickle.dumps(Canary(), protocol=2)
    write.write_cifar_python(tmp_path)
    for name in CIFAR10.stems:
        (tmp_path / name).write_bytes(payload)
    with pytest.raises(Exception, match="nothing in it was run"):
        load_data("cifar10", tmp_path)
    assert not (tmp_path / "canary").exists()
    # The payload does act where it is unpickled, so its absence above means something.
    pickle.loads(payload)  # noqa: S301
    assert (tmp_path / "canary").exists()

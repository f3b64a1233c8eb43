from __future__ import annotations

from typing import Any

import data_writers as write
import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits


def made(**changes: Any) -> Splits:
    return from_arrays(**write.arrays(**changes))


def test_floats_are_kept_and_bytes_are_pixels() -> None:
    splits = made()
    assert splits.train.inputs.dtype == np.float32 and splits.train.divisor == 1.0 and splits.train.notes == ()
    images, labels = write.examples(8, (4, 4), classes=4)
    splits = from_arrays(images, labels, images[:4] ^ 1, labels[:4], name="mine")
    assert splits.train.inputs.shape == (8, 4, 4, 1) and splits.train.divisor == 255.0
    assert splits.train.name == "mine" and splits.test.split == "test"


def test_classes_may_be_numbers_text_or_one_hot() -> None:
    names = np.array(["ant", "bee", "cat", "dog"])
    y = write.arrays()["y_train"], write.arrays()["y_test"]
    text = made(y_train=names[y[0]], y_test=names[y[1]].astype("S"))
    hot = made(y_train=np.eye(4)[y[0]], y_test=np.eye(4, dtype=bool)[y[1]])
    column = made(y_train=y[0][:, None].astype(np.uint8), y_test=y[1].astype(np.float32))
    mixed = made(y_train=np.array(names[y[0]].tolist(), dtype=object), y_test=names[y[1]].tolist())
    assert {splits.fingerprint for splits in (text, hot, column, mixed)} == {made().fingerprint}
    assert text.train.class_names == ("ant", "bee", "cat", "dog") == mixed.test.class_names


def test_given_class_names_fix_the_order_of_text_labels() -> None:
    splits = from_arrays(np.eye(4), list("abab"), np.eye(4) + 1, list("abab"), class_names=("b", "a"))
    assert splits.train.labels.tolist() == [1, 0, 1, 0]
    with pytest.raises(DataError, match=r"Label 1 .* 'c'"):
        from_arrays(np.eye(4), list("acab"), np.eye(4), list("abab"), class_names=("b", "a"))


@pytest.mark.parametrize(
    ("dtype", "shape", "expected", "divisor"),
    [
        (np.int64, (16, 4, 4, 1), np.uint8, 255.0),
        (np.int64, (16, 6), np.float64, 1.0),
        (np.bool_, (16, 6), np.uint8, 1.0),
        (np.float16, (16, 6), np.float32, 1.0),
        (np.dtype(">f8"), (16, 6), np.float64, 1.0),
    ],
)
def test_other_types_are_cast_without_loss(dtype: Any, shape: tuple[int, ...], expected: Any, divisor: float) -> None:
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    splits = made(x_train=values, x_test=values[:8].copy())
    assert splits.train.inputs.dtype == expected and splits.train.divisor == divisor
    np.testing.assert_array_equal(splits.train.inputs, values)


def test_integer_images_outside_bytes_are_refused() -> None:
    images = np.arange(16 * 16).reshape(16, 4, 4, 1) * 10
    with pytest.raises(DataError, match="from 0 to 2550"):
        made(x_train=images, x_test=images[:8])


def test_channels_move_last() -> None:
    images, _ = write.examples(24, (3, 5, 6))
    splits = made(x_train=images[:16], x_test=images[16:])
    np.testing.assert_array_equal(splits.train.inputs, images[:16].transpose(0, 2, 3, 1))
    assert "moved to the last" in splits.train.notes[0]


def test_without_a_test_split_a_fifth_of_each_class_is_held_out() -> None:
    inputs = np.arange(100, dtype=np.float32)[:, None]
    labels = np.arange(100) % 5
    splits, again = from_arrays(inputs, labels), from_arrays(inputs, labels)
    assert splits.fingerprint == again.fingerprint
    assert np.bincount(splits.test.labels).tolist() == [4] * 5
    together = np.concatenate([splits.train.inputs, splits.test.inputs]).ravel()
    assert sorted(together.tolist()) == list(range(100))
    assert "20 of 100 examples" in splits.train.notes[0]
    hot = from_arrays(inputs, np.eye(5)[labels])
    assert hot.fingerprint == splits.fingerprint


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"y_test": None}, "data-split-missing"),
        ({"x_test": None}, "data-split-missing"),
        ({"x_train": 3}, "data-shape"),
        ({"x_train": np.zeros(16)}, "data-shape"),
        ({"x_train": np.zeros((16, 7), np.float32)}, "data-shape"),
        ({"x_train": [[1.0], [1.0, 2.0]] * 8}, "data-shape"),
        ({"y_train": np.zeros((16, 2, 2))}, "data-labels-shape"),
        ({"y_train": np.zeros(16, np.complex64)}, "data-labels-type"),
        ({"y_train": np.array([None] * 16)}, "data-labels-type"),
        ({"y_train": np.array([{}] * 16), "x_test": None, "y_test": None}, "data-labels-type"),
        ({"y_train": np.full(16, 2**64 - 1, np.uint64)}, "data-labels-range"),
        ({"y_train": np.arange(15) % 4}, "data-count-mismatch"),
        ({"y_train": np.arange(15) % 4, "x_test": None, "y_test": None}, "data-count-mismatch"),
        ({"x_train": np.full((16, 6), 2**60)}, "data-dtype"),
        ({"x_train": np.zeros((16, 6), np.longdouble)}, "data-dtype"),
    ],
)
def test_unfit_arrays_are_refused(changes: dict[str, Any], identifier: str) -> None:
    with pytest.raises(DataError) as caught:
        made(**changes)
    assert caught.value.identifier == identifier


def test_the_arrays_given_stay_writable() -> None:
    tree = write.arrays()
    splits = from_arrays(**tree)
    assert tree["x_train"].flags.writeable and not splits.train.inputs.flags.writeable

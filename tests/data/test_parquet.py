from __future__ import annotations

from pathlib import Path
from typing import Any

import data_writers as write
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shattering.core.errors import DataError
from shattering.data.images import encode_png
from shattering.data.load import load_data
from shattering.data.parquet import read_parquet_images


def table(images: Any, labels: list[Any]) -> pa.Table:
    return pa.table({"image": pa.array([encode_png(image) for image in images], pa.binary()), "label": labels})


def test_plain_bytes_and_several_row_groups(tmp_path: Path) -> None:
    images, labels = write.examples(11, (5, 4, 1))
    pq.write_table(table(images, labels.tolist()), tmp_path / "a.parquet", row_group_size=3)
    read, found, tally = read_parquet_images(tmp_path / "a.parquet", ("label",))
    np.testing.assert_array_equal(read, images)
    np.testing.assert_array_equal(found, labels)
    assert tally == {"png": 11}


def test_text_labels_become_classes(tmp_path: Path) -> None:
    images, labels = write.examples(8, (5, 4, 3), classes=2)
    names = [("dog", "cat")[label] for label in labels]
    pq.write_table(table(images, names), tmp_path / "train.parquet", use_dictionary=True)
    pq.write_table(table(images[::-1] ^ 1, names[::-1]), tmp_path / "test.parquet")
    splits = load_data(str(tmp_path))
    assert splits.train.class_names == ("cat", "dog")
    np.testing.assert_array_equal(splits.train.labels, 1 - labels)


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array(["a", "b"]), pa.array([[1], [2]])])
def test_a_column_that_is_no_image_is_refused(tmp_path: Path, column: Any) -> None:
    pq.write_table(pa.table({"image": column, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="encoded images as bytes") as caught:
        read_parquet_images(tmp_path / "a.parquet", ("label",))
    assert caught.value.identifier == "data-column-type"


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(table([], []), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no rows"):
        read_parquet_images(tmp_path / "a.parquet", ("label",))

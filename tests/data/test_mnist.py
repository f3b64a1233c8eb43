from __future__ import annotations

from itertools import product
from pathlib import Path

import data_writers as write
import numpy as np
import pytest

from shattering.data.idx import read_idx
from shattering.data.load import load_data


def test_any_mix_of_gzipped_and_plain_files_gives_the_same(tmp_path: Path) -> None:
    seen = set()
    for index, zipped in enumerate(product((False, True), repeat=4)):
        write.write_mnist(tmp_path / str(index) / "mnist", zipped=zipped)
        seen.add(load_data("mnist", tmp_path / str(index)).fingerprint)
    assert len(seen) == 1


def test_images_and_labels_are_those_written(tmp_path: Path) -> None:
    splits = load_data("mnist", write.write_mnist(tmp_path))
    images, labels = write.examples(20, (28, 28))
    np.testing.assert_array_equal(splits.train.inputs[..., 0], images)
    np.testing.assert_array_equal(splits.train.labels, labels)
    assert splits.train.divisor == 255.0 and splits.facts.input_shape == (28, 28, 1)


def test_names_with_a_dot_are_found(tmp_path: Path) -> None:
    write.write_mnist(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(load_data("mnist", tmp_path).train) == 20


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_idx_round_trip(tmp_path: Path, axes: int) -> None:
    array = np.random.default_rng(axes).integers(0, 256, (3, 4, 5)[:axes], dtype=np.uint8)
    (tmp_path / "a").write_bytes(write.idx_bytes(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "a", axes), array)

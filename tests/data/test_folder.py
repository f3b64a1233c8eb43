from __future__ import annotations

from pathlib import Path

import data_writers as write
import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.data.folder import read_folder
from shattering.data.images import encode_png


def test_classes_are_folders_and_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    splits = read_folder(write.write_folder(tmp_path / "pets"))
    images, _ = write.examples(6, (6, 6, 3))
    np.testing.assert_array_equal(splits.train.inputs, images[[0, 2, 4, 1, 3, 5]])
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.train.class_names == ("cat", "dog") and splits.facts.notes == ()


def test_the_second_time_comes_from_the_cache_with_the_same_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write.write_folder(tmp_path / "pets")
    (root / "train" / "README").write_text("hello")
    first = read_folder(root)

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("shattering.data.folder.decode_images", fail)
    second = read_folder(root)
    assert second.fingerprint == first.fingerprint
    assert second.train.notes == first.train.notes == ("1 files that are not images were left out",)
    (root / "train" / "LICENSE").write_text("hello")
    with pytest.raises(AssertionError, match="decoded again"):
        read_folder(root)


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    root = write.write_folder(tmp_path / "pets")
    (root / "train" / "cat" / "9.png").symlink_to(root / "train" / "cat" / "0.png")
    assert len(read_folder(root).train) == 7


def test_odd_class_names_are_escaped(tmp_path: Path) -> None:
    root = write.write_folder(tmp_path / "pets")
    for split in ("train", "test"):
        (root / split / "cat").rename(root / split / "c\nat")
    splits = read_folder(root)
    assert splits.train.class_names == ("c\\nat", "dog")
    assert "2 file names have unprintable characters" in splits.train.notes[0]


def test_layouts_that_are_not_flat_or_not_split_are_refused(tmp_path: Path) -> None:
    nested = write.write_folder(tmp_path / "a")
    (nested / "train" / "cat" / "more").mkdir()
    with pytest.raises(DataError, match=r"more is a folder inside a class folder"):
        read_folder(nested)
    alone = write.write_folder(tmp_path / "b")
    (alone / "test").rename(alone / "later")
    with pytest.raises(DataError, match="neither test nor val"):
        read_folder(alone)


def test_grey_images_stay_grey_where_all_are(tmp_path: Path) -> None:
    root = write.write_folder(tmp_path / "pets")
    for path in root.rglob("*.png"):
        path.write_bytes(encode_png(np.full((6, 6, 1), 7 * len(path.parts), np.uint8)))
    splits = read_folder(root)
    assert splits.facts.input_shape == (6, 6, 1)

"""Data that come as a folder or an archive, with a test split or without, before anything is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shattering.core.errors import DataError
from shattering.data.dataset import Splits, datasets
from shattering.data.files import choose, show
from shattering.data.folder import has_classes, has_layout, list_folder, read_class_folders
from shattering.data.given import read_object
from shattering.data.given_labels import joined_labels, label_array
from shattering.data.load import load_data
from shattering.data.npz import read_npz_arrays
from shattering.data.parquet import FILES
from shattering.data.parts import Given
from shattering.data.tables import read_parquet

TEST_FOLDERS = ("test", "val", "validation")
_PAIRS = (("x_train", "y_train", "x_test", "y_test"), ("train_inputs", "train_labels", "test_inputs", "test_labels"))


def holds_registered(path: Path) -> bool:
    """Whether a folder has the files of a registered data set."""
    return any(entry.files and choose(path, entry.files) is not None for _, entry in datasets)


def lacks_test_classes(path: Path) -> bool:
    """Whether an image folder has a test split, and that has some of the training split's classes and no others."""
    test = _test_folder(path)
    if not has_layout(path) or test is None:
        return False
    ours, theirs = ({entry.name for entry in folder.iterdir() if entry.is_dir()} for folder in (path / "train", test))
    return theirs < ours


def _test_folder(path: Path) -> Path | None:
    return next((path / name for name in TEST_FOLDERS if has_classes(path / name)), None)


def read_any_folder(path: Path, label: str | None, data_dir: Path | None) -> tuple[Given, Given | None]:
    """Training data and, where the folder has them, test data: images by class, Parquet files, or a registered set's.

    Raises:
        DataError: the folder holds nothing of the kind, or what is wrong with it.
    """
    if has_layout(path) and not holds_registered(path):
        tested = _test_folder(path)
        if tested is not None and lacks_test_classes(path):
            return read_class_folders(path / "train"), read_class_folders(tested)
        if tested is not None:
            list_folder(path)  # its refusals name both splits
            return of_splits(load_data(str(path), data_dir))
        return read_class_folders(path / "train"), None
    if choose(path, (FILES,)) is not None:
        train, test = (read_parquet(path / name, label) for name in FILES)
        return train, test
    if holds_registered(path):
        return of_splits(load_data(str(path), data_dir))
    shards = sorted(path.glob("*.parquet"))
    if shards:
        return _concatenated([read_parquet(shard, label) for shard in shards], show(path)), None
    if has_classes(path):
        return read_class_folders(path), None
    return of_splits(load_data(str(path), data_dir))  # which says what is wrong with it


def read_any_npz(path: Path, label: str | None) -> tuple[Given, Given | None]:
    """Training data and, where the archive has them, test data: `read_npz`'s names, or any beside the labels'.

    Raises:
        DataError: what is wrong with the archive or its arrays.
    """
    arrays = read_npz_arrays(path)
    names = tuple(str(name) for name in arrays.pop("class_names", np.array(())).ravel())
    divisor = float(arrays.pop("divisor").ravel()[0]) if "divisor" in arrays else None

    def pair(inputs: str, labels: str) -> Given:
        x = arrays[inputs]
        y = label_array(arrays[labels], show(path), lambda place: f"Label {place} of {labels!r} in {show(path)}")
        return Given((("", x[:, None] if x.ndim == 1 else x),), y, show(path), False, names, (), divisor)

    for first, second, third, fourth in _PAIRS:
        if first in arrays and second in arrays:
            if (third in arrays) != (fourth in arrays):
                lacking, there = (third, fourth) if third not in arrays else (fourth, third)
                raise DataError("data-npz-name", f"{show(path)} has {there} and no {lacking!r}; add that array.")
            return pair(first, second), pair(third, fourth) if third in arrays else None
    return read_object(arrays, show(path), label), None


def of_splits(splits: Splits) -> tuple[Given, Given]:
    """Splits that were read whole, as if given part by part; labels stay numbers."""
    return tuple(  # type: ignore[return-value]
        Given((("", part.inputs),), part.labels, part.name, False, part.class_names, part.notes, part.divisor)
        for part in (splits.train, splits.test)
    )


def _concatenated(shards: list[Given], where: str) -> Given:
    first = shards[0]
    names = [name for name, _ in first.parts]
    for shard in shards[1:]:
        told = [(name, array.shape[1:]) for name, array in shard.parts]
        if told != [(name, array.shape[1:]) for name, array in first.parts]:
            raise DataError(
                "data-parts-differ", f"{shard.where} has other columns than {first.where}; write both alike."
            )
    parts = tuple((name, np.concatenate([dict(shard.parts)[name] for shard in shards])) for name in names)
    labels = joined_labels([shard.labels for shard in shards], where, single=False)
    return Given(parts, labels, where, first.exact, notes=first.notes)

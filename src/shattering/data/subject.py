"""The data of an audit: whatever form they come in, they become splits that worker processes load by path."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.spec import BatchPart
from shattering.core.streams import Stream
from shattering.core.words import plural
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits, datasets
from shattering.data.files import show
from shattering.data.folder import has_classes, has_layout
from shattering.data.given import read_object
from shattering.data.given_files import (
    TEST_FOLDERS,
    holds_registered,
    lacks_test_classes,
    of_splits,
    read_any_folder,
    read_any_npz,
)
from shattering.data.handed import hand_over
from shattering.data.load import load_data
from shattering.data.parts import Given, inputs_of, layout
from shattering.data.tables import SEPARATORS, read_csv, read_parquet

HELD_OUT = 0.2
"""Fraction of each class that is held out where no test data are given."""

_LEAST_LEFT = 3
"""Examples that a hold-out leaves to train on: one more than the smallest subset that is trained on."""

_TEST_NAMES = ("test", "validation", "val", "valid", "dev", "eval")


@dataclass(frozen=True, eq=False)
class Gathered:
    """The data of an audit.

    Args:
        splits: training and test split.
        data: what workers load them from: a registered name or a path.
        data_dir: where to look for a registered name first.
        batch: the arguments of the network that a row holds; empty where a row is its input.
        held_out: whether the test split was held out of the training data here.
        notes: what was done to the data on the way.
    """

    splits: Splits
    data: str
    data_dir: Path | None
    batch: tuple[BatchPart, ...] = ()
    held_out: bool = False
    notes: tuple[str, ...] = ()

    @property
    def model_fields(self) -> dict[str, Any]:
        """What `ModelSpec` has to know of the data."""
        return {"batch": self.batch} if self.batch else {}


def gather_paths(
    data: str,
    test: str | None = None,
    *,
    data_dir: Path | None = None,
    folder: Path,
    label: str | None = None,
    held_out: float = HELD_OUT,
) -> Gathered:
    """As `gather`, of names and paths alone."""
    return gather(data, test, folder=folder, data_dir=data_dir, label=label, held_out=held_out)


def gather(
    data: Any,
    test: Any = None,
    *,
    folder: Path,
    data_dir: Path | None = None,
    label: str | None = None,
    held_out: float = HELD_OUT,
    name: str | None = None,
) -> Gathered:
    """Makes splits of data in any form, and sees to it that worker processes can load them.

    A registered data set, and files that hold both splits in a form that `load_data` reads, are loaded from where they
    are. Everything else is written once, as ``data-FINGERPRINT.npz`` in ``folder``; the same data given again are found
    there. Without test data, of each class the fraction ``held_out`` (at least one example, and never all) that
    ``Stream(0, "held-out")`` puts first is held out, once for all runs. The test split may lack classes; labels that
    are exactly 1 … k become 0 … k-1.

    Args:
        data: a registered name; the path of an ``.npz``, CSV, TSV or Parquet file, of a folder of Parquet files, or of
            a folder of images by class, with or without ``train`` and ``test``; or a Python object as `read_object`
            takes it, or a dict of two such under ``train`` and ``test``.
        test: test data in the same form; none: those that belong to ``data``, or a part of them.
        folder: of the audit.
        data_dir: where to look for a registered data set first.
        label: name of the labels' column or key; none: ``label``, ``labels``, ``target``, ``y`` and the like.
        held_out: in 0 … 1, ends excluded.
        name: of the data; none: the file's or folder's, or ``data``.

    Raises:
        DataError: the data are missing, damaged or unfit, or training and test data do not go together.
        StoreError: ``folder`` cannot be written to.
    """
    if not 0 < held_out < 1:
        raise DataError("data-held-out", f"held_out={held_out:g} leaves no training or no test data; give 0.1 to 0.5.")
    data, test = _as_text(data), _as_text(test)
    if isinstance(data, str) and test is None and (native := _native(data, data_dir)) is not None:
        return native
    if isinstance(data, Mapping) and test is None:
        data, test = _split_pair(data)
    title = name or (show(Path(data).resolve().stem) if isinstance(data, str) else "data")
    train, own_test, batch = _read(data, "data" if not isinstance(data, str) else data, label, data_dir)
    other = _read(test, "test", label, data_dir)[0] if test is not None else own_test
    held = other is None
    if other is None:
        train, other, note = _hold_out(train, held_out)
    else:
        note = ()
    other = _numbered_alike(train, other)
    class_names = train.class_names or other.class_names
    splits = build_splits(
        Part(inputs_of(train, batch), train.labels, train.where),
        Part(inputs_of(other, batch), other.labels, other.where),
        name=title,
        class_names=class_names if not _is_text(train.labels) else (),
        divisor=train.divisor,
        notes=tuple(dict.fromkeys((*train.notes, *other.notes, *note))),
        from_one=True,
        partial_test=True,
    )
    path = hand_over(splits, folder)
    return Gathered(splits, str(path), None, batch, held, splits.train.notes)


def _as_text(data: Any) -> Any:
    return str(data) if isinstance(data, os.PathLike) else data


def _native(data: str, data_dir: Path | None) -> Gathered | None:
    """What `load_data` reads with a test split of its own; none for everything else."""
    path = Path(data).expanduser()
    named = data in datasets.names() or not (os.sep in data or path.suffix in _SUFFIXES or os.path.lexists(path))
    if not named:
        if not path.is_dir():
            return None
        if not (has_layout(path) or holds_registered(path)):
            return None
        if has_layout(path) and not any(has_classes(path / test) for test in TEST_FOLDERS):
            return None
        if lacks_test_classes(path) and not holds_registered(path):
            return None
    splits = load_data(data, data_dir)
    return Gathered(splits, data, data_dir, notes=splits.train.notes)


_SUFFIXES = (".npz", ".parquet", *SEPARATORS)


def _read(
    data: Any, where: str, label: str | None, data_dir: Path | None
) -> tuple[Given, Given | None, tuple[BatchPart, ...]]:
    """Training data, test data that came with them, and the arguments of the network that they hold."""
    if not isinstance(data, str):
        given = read_object(data, where, label)
        return given, None, layout(given)
    path = Path(data).expanduser()
    test: Given | None = None
    if data in datasets.names() or not (os.sep in data or path.suffix in _SUFFIXES or os.path.lexists(path)):
        given, test = of_splits(load_data(data, data_dir))
    elif path.is_dir():
        given, test = read_any_folder(path, label, data_dir)
    elif path.suffix.lower() in SEPARATORS:
        given = read_csv(path, label)
    elif path.suffix.lower() == ".parquet":
        given = read_parquet(path, label)
    elif path.suffix.lower() == ".npz":
        given, test = read_any_npz(path, label)
    else:
        raise DataError(
            "data-form" if path.exists() else "data-missing",
            f"{show(path)} is not a form of data that is read; give an .npz, .csv or .parquet file, or a folder of "
            "images by class."
            if path.exists()
            else f"There is no file or folder {show(path)}; check the path.",
        )
    return given, test, layout(given)


def _split_pair(data: Mapping[Any, Any]) -> tuple[Any, Any]:
    """Training and test data of a dict that holds a data set under each name; any other is one set."""
    found = next((name for name in _TEST_NAMES if name in data), None)
    if "train" not in data or isinstance(data["train"], np.ndarray):
        return data, None
    return data["train"], data[found] if found is not None else None


def _numbered_alike(train: Given, other: Given) -> Given:
    """Test data whose labels count the training data's classes, of which they may lack some."""
    ours, theirs = train.class_names, other.class_names
    if not ours or not theirs or ours == theirs:
        return other
    if not set(theirs) < set(ours) or _is_text(other.labels) or not _within(other.labels, len(theirs)):
        lacking = sorted(set(ours) ^ set(theirs)) or ["another order"]
        raise DataError(
            "data-class-missing",
            f"{train.where} and {other.where} have different classes ({', '.join(lacking[:5])}); both need the same.",
        )
    places = np.array([ours.index(name) for name in theirs])
    return replace(other, labels=places[other.labels], class_names=ours)


def _within(labels: NDArray[Any], count: int) -> bool:
    whole = labels.ndim == 1 and labels.dtype.kind in "iu"
    return whole and bool((labels >= 0).all() and (labels < count).all())


def _hold_out(given: Given, fraction: float) -> tuple[Given, Given, tuple[str, ...]]:
    """Splits off a test part; both keep the order of the examples.

    A class of one example stays whole in the training part, since one without any could not be learned. Returns the
    training part, the test part and notes.
    """
    count = len(given.labels)
    if any(len(array) != count for _, array in given.parts):
        raise DataError(
            "data-count-mismatch",
            f"{given.where}: there are {len(given.parts[0][1])} examples and {count} labels; they must be as many.",
        )
    order = Stream(0, "held-out").permutation(count)
    keys = given.labels.reshape(count, -1) if count else np.zeros((0, 1))
    if keys.shape[1] > 1:
        keys = keys.argmax(axis=1)[:, None]
    _, classes, sizes = np.unique(keys[:, 0], return_inverse=True, return_counts=True)
    if len(sizes) > max(2, count // 2):
        raise DataError(
            "data-labels-fractional",
            f"The labels of {given.where} have {len(sizes)} different values for {count} examples; an audit is of "
            "classes, so name the column that holds them.",
        )
    held = np.zeros(count, dtype=np.bool_)
    for index, size in enumerate(sizes):
        members = order[classes[order] == index]
        held[members[: min(size - 1, max(1, math.floor(fraction * size + 0.5)))]] = True
    if not held.any() or count - int(held.sum()) < _LEAST_LEFT:
        raise DataError(
            "data-too-few",
            f"{given.where} has {plural(count, 'example')} in {plural(len(sizes), 'class')}; to hold out a test part, "
            f"one class must have two and at least {_LEAST_LEFT} must be left to train on, so add some, or give test "
            "data apart with --test (in Python `test=`).",
        )
    alone = int((sizes == 1).sum())
    told = "1 class of one example stays" if alone == 1 else f"{alone} classes of one example each stay"
    return given.take(~held), given.take(held), (f"{told} in the training split",) if alone else ()


def _is_text(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind in "US" or labels.dtype == object

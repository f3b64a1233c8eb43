"""The embedded data set: 1,797 handwritten digits, 8 x 8, 17 grey levels (Alpaydin, Kaynak 1998; in scikit-learn)."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shattering.core.streams import Stream
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits, dataset

TRAIN_SIZE = 1437


@dataset("digits", summary="handwritten digits, 8 x 8 grey, 1,437 + 360; embedded, the default")
def digits(folder: Path | None = None) -> Splits:
    """Splits the 1,797 images once and for all: ``Stream(0, "digits-split").permutation(1797)``.

    Its first 1,437 entries, in that order, are the training split; the other 360 are the test split. Pixels are
    0 … 16, so the divisor is 16. ``folder`` is not used.
    """
    table = _table()
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64)
    order = Stream(0, "digits-split").permutation(len(labels))
    train, test = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    return build_splits(
        Part(images[train], labels[train], "digits"),
        Part(images[test], labels[test], "digits"),
        name="digits",
        num_classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
        divisor=16.0,
    )


def _table() -> NDArray[np.float64]:
    """The 64 pixels and the label of each image.

    From scikit-learn's own file where it is found: every worker reads it, and the package takes a second to import.
    """
    found = find_spec("sklearn")
    places = found.submodule_search_locations if found is not None else None
    for place in places or ():
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt", encoding="ascii") as text:
                return np.loadtxt(text, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])

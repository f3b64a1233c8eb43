"""Gaussian inputs whose labels say nothing: what a linear model with few or many features can fit of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shattering.core.streams import NORMAL_ONE, Stream, uniform_classes
from shattering.data.checks import frozen
from shattering.data.dataset import Dataset, Split, Splits, dataset, moments

FEATURES = 400
TRAIN_SIZE, TEST_SIZE = 1000, 200


@dataset(
    "gaussian_features", summary="400 independent normal features, 1,000 + 200, labels by coin; made by the program"
)
def gaussian_features(folder: Path | None = None) -> Splits:
    """Independent standard normal features, and one of two classes by coin.

    Example i has the normal numbers of ``Stream(0, "gaussian-features")`` at index i, divided by 4096, and the label
    that word 0 of ``Stream(0, "gaussian-labels")`` at index i gives among two. The first 1,000 examples are the
    training split. A linear model with fewer features takes the first ones. ``folder`` is not used.
    """
    indices = np.arange(TRAIN_SIZE + TEST_SIZE)
    inputs = Stream(0, "gaussian-features").normals(indices, FEATURES) / float(NORMAL_ONE)
    labels = uniform_classes(Stream(0, "gaussian-labels").words(indices)[:, 0], 2)
    facts = moments(inputs[:TRAIN_SIZE])

    def part(split: Split, rows: slice) -> Dataset:
        return Dataset(frozen(inputs[rows]), labels[rows], 2, "gaussian_features", split, 1.0, moments=facts)

    return Splits(part("train", slice(TRAIN_SIZE)), part("test", slice(TRAIN_SIZE, None)))

"""The Gaussian data set: what it says it is, and that its numbers are those of its streams."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.data.load import load_data


def test_sizes_classes_and_moments() -> None:
    splits = load_data("gaussian_features")

    assert (splits.facts.train_size, splits.facts.test_size, splits.facts.input_shape) == (1000, 200, (400,))
    assert (splits.train.num_classes, splits.train.divisor) == (2, 1.0)
    values = splits.train.inputs
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 5 * np.sqrt(2 / values.size) + 1e-3  # of which the table's cut tails take a little
    correlations = np.corrcoef(values.T)[np.triu_indices(400, 1)]
    assert abs(correlations.std() - 1 / np.sqrt(1000)) < 1e-3
    assert abs(splits.train.labels.mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 2


def test_an_example_is_its_index_in_the_stream() -> None:
    splits = load_data("gaussian_features")
    stream, coin = Stream(0, "gaussian-features"), Stream(0, "gaussian-labels")

    for split, row, index in ((splits.train, 7, 7), (splits.test, 3, 1003)):
        assert np.array_equal(split.inputs[row] * 4096, stream.normals(np.array([index]), 400)[0])
        assert split.labels[row] == int(coin.words(index)[0]) >> 31

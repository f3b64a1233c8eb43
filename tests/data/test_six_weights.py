"""The five examples, as printed."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.corruptions.registry import corrupt
from shattering.data.load import load_data

INPUTS = [
    [1, 0, 0, 0, 0, 1],
    [0, -1, 0, 0, 0, -1],
    [0, 0, -1, 0, 0, -1],
    [0, 0, 0, 1, 0, 1],
    [0, 0, 0, 0, -1, -1],
]


def test_examples_are_those_of_the_paper() -> None:
    splits = load_data("six_weights")

    assert np.concatenate([splits.train.inputs, splits.test.inputs]).tolist() == INPUTS
    assert [*splits.train.labels.tolist(), *splits.test.labels.tolist()] == [1, 0, 0, 1, 0]
    assert (splits.train.num_classes, splits.train.divisor, splits.train.class_names) == (2, 1.0, ("-1", "1"))
    assert (splits.facts.train_size, splits.facts.test_size, splits.facts.input_shape) == (4, 1, (6,))
    with pytest.raises(ValueError, match="read-only"):
        splits.train.inputs[0, 0] = 2


def test_without_the_last_feature_nothing_is_shared() -> None:
    both = corrupt(load_data("six_weights"), RunSpec(corruption=CorruptionSpec(name="without_last_feature")))

    inputs = np.concatenate([both.train.inputs, both.test.inputs])
    assert inputs.tolist() == [[*row[:5], 0] for row in INPUTS]
    products = inputs @ inputs.T
    assert np.array_equal(products, np.eye(5))
    assert both.train.changed.all() and both.test.changed.all()

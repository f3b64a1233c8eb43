from __future__ import annotations

import numpy as np

from shattering.core.streams import Stream
from shattering.data.dataset import moments
from shattering.data.load import load_data


def test_digits_are_embedded_and_fixed() -> None:
    splits = load_data("digits")
    assert splits.train.inputs.shape == (1437, 8, 8, 1) and splits.test.inputs.shape == (360, 8, 8, 1)
    assert splits.train.inputs.dtype == np.uint8 and splits.train.inputs.max() == 16
    assert splits.train.divisor == 16.0 and splits.train.num_classes == 10
    assert splits.fingerprint.startswith("b04e40ba9db8")


def test_the_split_is_the_documented_permutation() -> None:
    from sklearn.datasets import load_digits

    whole = load_digits()
    order = Stream(0, "digits-split").permutation(1797)
    splits = load_data("digits")
    np.testing.assert_array_equal(splits.train.inputs[..., 0], whole.images[order[:1437]])
    np.testing.assert_array_equal(splits.test.labels, whole.target[order[1437:]])


def test_both_splits_carry_the_moments_of_the_training_split() -> None:
    splits = load_data("digits")
    assert splits.train.moments == splits.test.moments == moments(splits.train.inputs)


def test_inputs_cannot_be_written_to() -> None:
    assert not load_data("digits").train.inputs.flags.writeable

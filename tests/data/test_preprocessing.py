from __future__ import annotations

import math
from typing import Any

import data_writers as write
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shattering.core.errors import SpecError
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Dataset
from shattering.data.preprocessing import centre_crop, scale, whiten


def slow_whiten(example: Any, divisor: float) -> Any:
    """The definition, value by value, in exactly rounded sums."""
    values = [float(value) / divisor for value in example.ravel()]
    size = len(values)
    mean = math.fsum(values) / size
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / size)
    floor = max(deviation, 1 / math.sqrt(size))
    return np.array([(value - mean) / floor for value in values]).reshape(example.shape)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "divisor"),
    [(np.uint8, 0, 256, 255.0), (np.uint8, 0, 17, 16.0), (np.int16, -30000, 30000, 255.0), (np.float32, -3, 3, 1.0)],
)
def test_whitening_equals_its_slow_twin(dtype: Any, low: int, high: int, divisor: float) -> None:
    random = np.random.default_rng(0)
    inputs = random.uniform(low, high, (5, 7, 6, 3)).astype(dtype)
    fast = whiten(inputs, divisor)
    assert fast.dtype == np.float32 and fast.shape == inputs.shape
    for ours, example in zip(fast, inputs, strict=True):
        # Float32 rounds to 6e-8 relative; whitened values stay below sqrt(N) = 11.3.
        np.testing.assert_allclose(ours, slow_whiten(example, divisor), rtol=1e-7, atol=1e-6)


@write.STEADY
@given(hnp.arrays(np.uint8, (2, 4, 4, 3)), st.randoms(use_true_random=False))
def test_whitening_ignores_the_order_of_pixels_bit_for_bit(inputs: Any, random: Any) -> None:
    order = list(range(48))
    random.shuffle(order)
    shuffled = inputs.reshape(2, -1)[:, order]
    np.testing.assert_array_equal(whiten(inputs, 255.0).reshape(2, -1)[:, order], whiten(shuffled, 255.0))


def test_whitened_examples_have_mean_0_and_deviation_1() -> None:
    inputs = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    white = whiten(inputs, 255.0).astype(np.float64).reshape(4, -1)
    np.testing.assert_allclose(white.mean(axis=1), 0, atol=1e-7)
    np.testing.assert_allclose(white.std(axis=1), 1, atol=1e-6)


def test_the_deviation_has_a_floor() -> None:
    assert not whiten(np.full((1, 4, 4, 1), 200, np.uint8), 255.0).any()
    faint = np.full((1, 4, 4, 1), 200, np.uint8)
    faint[0, 0, 0, 0] = 201
    # One level of 255 on 16 pixels is far below the floor of 1/4: value = (1/255)(1 - 1/16) · 4.
    assert whiten(faint, 255.0)[0, 0, 0, 0] == np.float32(4 * 15 / 16 / 255)


def test_huge_integers_do_not_overflow() -> None:
    inputs = np.array([[-(2**40), 2**40, 2**40, 3]], dtype=np.int64)
    np.testing.assert_allclose(whiten(inputs, 1.0)[0], slow_whiten(inputs[0], 1.0), rtol=1e-6)
    wide = np.full((1, 300, 300, 3), 32767, np.int16)
    wide[0, 0] = -32768
    np.testing.assert_allclose(whiten(wide, 255.0)[0], slow_whiten(wide[0], 255.0), rtol=1e-5, atol=1e-6)


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = np.random.default_rng(2).integers(0, 256, (9, 5, 5, 3), dtype=np.uint8)
    whole = whiten(inputs, 255.0), scale(inputs, 255.0)
    monkeypatch.setattr("shattering.data.preprocessing._CHUNK_VALUES", 160)
    np.testing.assert_array_equal(whole[0], whiten(inputs, 255.0))
    np.testing.assert_array_equal(whole[1], scale(inputs, 255.0))


def test_scaling_divides() -> None:
    inputs = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(scale(inputs, 255.0).ravel(), (np.arange(256) / 255).astype(np.float32))


def split_of(side: int) -> Dataset:
    images = np.arange(4 * side * side * 3, dtype=np.int64).reshape(4, side, side, 3) % 251
    return from_arrays(images.astype(np.uint8), [0, 1, 0, 1], images.astype(np.uint8), [0, 1, 0, 1]).train


def test_centre_crop_keeps_rows_and_columns_2_to_29() -> None:
    whole = split_of(32)
    crop = centre_crop(whole, 28)
    np.testing.assert_array_equal(crop.inputs, whole.inputs[:, 2:30, 2:30])
    assert crop.moments == whole.moments and len(crop) == 4
    assert centre_crop(split_of(5), 2).inputs[0, 0, 0, 0] == split_of(5).inputs[0, 1, 1, 0]


def test_a_crop_must_fit() -> None:
    with pytest.raises(SpecError, match="33 does not fit"):
        centre_crop(split_of(32), 33)
    features = from_arrays(np.eye(4), [0, 1, 0, 1], np.eye(4), [0, 1, 0, 1]).train
    with pytest.raises(SpecError, match="no images"):
        centre_crop(features, 2)

"""Permuted pixels and noise."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from statistics import NormalDist

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Dataset, Splits, moments
from shattering.data.preprocessing import centre_crop, whiten


def flat(dataset: Dataset) -> np.ndarray:
    """``[n, positions, channels]``; a feature is a position of one channel."""
    channels = dataset.inputs.shape[-1] if dataset.is_image else 1
    return dataset.inputs.reshape(len(dataset), -1, channels)


def test_shuffled_pixels_use_one_permutation_for_both_splits(splits, make_spec) -> None:
    result = corrupt(splits, make_spec("shuffled_pixels", seed=5))
    order = Stream(5, "pixels").permutation(flat(splits.train).shape[1])

    for before, after in ((splits.train, result.train), (splits.test, result.test)):
        assert np.array_equal(flat(after), flat(before)[:, order])


def test_random_pixels_use_one_permutation_for_each_image(splits, make_spec) -> None:
    result = corrupt(splits, make_spec("random_pixels", seed=5))

    for before, after, purpose in (
        (splits.train, result.train, "pixels"),
        (splits.test, result.test, "pixels/test"),
    ):
        source, moved = flat(before), flat(after)
        for index in (0, 1, len(source) - 1):
            order = Stream(5, purpose).permutation(source.shape[1], index)
            assert np.array_equal(moved[index], source[index][order])


@pytest.mark.parametrize("name", ["shuffled_pixels", "random_pixels"])
def test_permutations_keep_every_pixel_with_its_channels(name, splits, make_spec) -> None:
    result = corrupt(splits, make_spec(name))

    for before, after in ((splits.train, result.train), (splits.test, result.test)):
        for image, moved in zip(flat(before), flat(after), strict=True):
            assert sorted(map(tuple, image.tolist())) == sorted(map(tuple, moved.tolist()))


@pytest.mark.parametrize("name", ["shuffled_pixels", "random_pixels"])
def test_whitening_and_permuting_commute_to_the_bit(name, colour, make_spec) -> None:
    whitened = Splits(*(replace(split, inputs=whiten(split.inputs, 255.0)) for split in (colour.train, colour.test)))

    first = corrupt(whitened, make_spec(name)).train.inputs
    last = whiten(corrupt(colour, make_spec(name)).train.inputs, 255.0)

    assert first.dtype == last.dtype == np.float32
    assert first.tobytes() == last.tobytes()


def test_gaussian_equals_plain_integers(colour, make_spec) -> None:
    result = corrupt(colour, make_spec("gaussian", seed=6))
    train = colour.train.inputs.astype(int)
    count = train[..., 0].size
    facts = []
    for channel in range(3):
        values = [int(value) for value in train[..., channel].ravel()]
        total, squares = sum(values), sum(value * value for value in values)
        facts.append(((total << 16) // count, isqrt(((count * squares - total**2) << 32) // count**2)))

    for split, purpose in ((result.train, "gaussian"), (result.test, "gaussian/test")):
        assert split.inputs.dtype == np.int16
        for image in (0, 17):
            words = Stream(6, purpose).words(image, blocks=12).tolist()
            halves = [half for word in words for half in (word % 65536, word >> 16)]
            values = split.inputs[image].ravel().tolist()
            for place, (value, half) in enumerate(zip(values, halves, strict=False)):
                mean, deviation = facts[place % 3]
                assert value == (mean * 4096 + deviation * quantile(half) + 2**27) >> 28


def quantile(half: int) -> int:
    if half < 32768:
        return -quantile(65535 - half)
    return round(4096 * NormalDist().inv_cdf((half + 0.5) / 65536))


@pytest.mark.parametrize("split", ["train", "test"])
def test_gaussian_has_the_mean_and_variance_of_the_training_images(split, make_spec) -> None:
    count, means, deviations = 400, np.array([40.0, 120.0, 200.0]), np.array([10.0, 30.0, 20.0])
    values = np.random.default_rng(1).normal(means, deviations, (count, 8, 8, 3)).round().clip(0, 255).astype(np.uint8)
    labels, facts = np.zeros(count, np.int64), moments(values)
    # Test images are all black: their noise must be the training images' none the less.
    both = (
        Dataset(values, labels, 2, "noise", "train", moments=facts),
        Dataset(np.zeros_like(values), labels, 2, "noise", "test", moments=facts),
    )

    noise = getattr(corrupt(Splits(*both), make_spec("gaussian", seed=8)), split).inputs.reshape(-1, 3).astype(float)

    drawn, original = len(noise), values.reshape(-1, 3)
    expected, spread = original.mean(axis=0), original.std(axis=0)
    assert (np.abs(noise.mean(axis=0) - expected) < 5 * spread / np.sqrt(drawn)).all()
    # Rounding to whole units adds 1/12; the standard error of a Gaussian's variance is variance · sqrt(2/n).
    variance = spread**2 + 1 / 12
    assert (np.abs(noise.var(axis=0) - variance) < 5 * variance * np.sqrt(2 / drawn)).all()
    assert np.abs(np.corrcoef(noise.T)[np.triu_indices(3, 1)]).max() < 5 / np.sqrt(drawn)


def test_gaussian_features_match_each_column(features, make_spec) -> None:
    noise = corrupt(features, make_spec("gaussian")).train.inputs
    source = features.train.inputs.astype(np.float64)

    assert noise.dtype == np.float32
    errors = np.abs(noise.mean(axis=0) - source.mean(axis=0)) / (source.std(axis=0) / np.sqrt(len(source)))
    assert errors.max() < 5
    assert (np.abs(noise.std(axis=0) / source.std(axis=0) - 1) < 5 / np.sqrt(2 * len(source))).all()


def test_gaussian_is_not_clipped(colour, make_spec) -> None:
    noise = corrupt(colour, make_spec("gaussian")).train.inputs

    assert noise.min() < 0
    assert noise.max() > 255


def test_gaussian_uses_the_whole_training_split_whatever_is_cropped_or_left_out(colour, make_spec) -> None:
    chosen = np.array([4, 9])
    part = Splits(centre_crop(colour.train.take(chosen), 4), colour.test)

    noise = corrupt(part, make_spec("gaussian")).train.inputs

    whole = Dataset(np.zeros((120, 4, 4, 3), np.uint8), colour.train.labels, 10, "colour", "train")
    whole = replace(whole, moments=colour.train.moments)
    assert np.array_equal(noise, corrupt(Splits(whole, colour.test), make_spec("gaussian")).train.inputs[chosen])


def test_gaussian_of_constant_images_is_that_constant(make_spec) -> None:
    values = np.full((4, 2, 2, 1), 77, np.uint8)
    train = Dataset(values, np.zeros(4, np.int64), 2, "flat", "train", moments=moments(values))

    assert (corrupt(Splits(train, train), make_spec("gaussian")).train.inputs == 77).all()


def test_gaussian_without_moments_is_refused(make_spec) -> None:
    train = Dataset(np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int64), 2, "bare", "train")

    with pytest.raises(DataError) as caught:
        corrupt(Splits(train, train), make_spec("gaussian"))

    assert caught.value.identifier == "data-no-moments"
    assert "bare" in caught.value.message


def test_more_images_than_a_chunk_are_handled_like_few(make_spec) -> None:
    count = 2050
    values = (np.arange(count * 4) * 7 % 256).astype(np.uint8).reshape(count, 2, 2, 1)
    train = Dataset(values, np.zeros(count, np.int64), 2, "many", "train", moments=moments(values))
    ends = np.array([0, 2047, 2048, 2049])

    for name in ("random_pixels", "gaussian"):
        whole = corrupt(Splits(train, train.take(ends)), make_spec(name)).train
        few = corrupt(Splits(train.take(ends), train.take(ends)), make_spec(name)).train
        assert np.array_equal(whole.inputs[ends], few.inputs)

"""Random filters: against patches taken one at a time, and the kernel against the features it sums."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.core.streams import Stream
from shattering.kernels import filter_kernel, random_filters
from shattering.kernels.filter_kernel import feature_weights, filter_scores, linear_kernel
from shattering.kernels.random_filters import (
    FLOOR,
    FilterBank,
    draw_filters,
    filter_features,
)


def images(count: int = 12, side: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).random((count, side, side, channels)).astype(np.float32)


def written_out(image: np.ndarray, bank: FilterBank) -> np.ndarray:
    """One image by the definition: every patch normalised by itself; regions of even maps only."""
    side = bank.weights.shape[-1]
    positions = image.shape[0] - side + 1
    answers = np.empty((len(bank), positions, positions))
    for row in range(positions):
        for column in range(positions):
            patch = image[row : row + side, column : column + side].astype(np.float64)
            normalised = (patch - patch.mean()) / np.sqrt(patch.var() + FLOOR)
            answers[:, row, column] = np.einsum("fcyx,yxc->f", bank.weights, normalised) + bank.offsets
    half = positions // 2
    features = []
    for answer in answers:
        for sign in (1, -1):
            rectified = np.maximum(sign * answer - bank.threshold, 0)
            features += [
                rectified[row : row + half, column : column + half].mean() for row in (0, half) for column in (0, half)
            ]
    return np.array(features)


@pytest.mark.parametrize(("channels", "draw"), [(1, "patches"), (3, "patches"), (2, "gaussian")])
def test_equals_the_definition(channels, draw) -> None:
    batch = images(channels=channels)
    bank = draw_filters(batch, Stream(5, "filters"), filters=4, patch=3, draw=draw)

    found = filter_features(batch, bank).numpy()

    assert found.shape == (len(batch), bank.features) == (12, 32)
    np.testing.assert_allclose(found, [written_out(image, bank) for image in batch], atol=2e-4)
    assert found.any(axis=0).mean() > 0.5


def test_filters_come_from_the_stream_alone_and_a_longer_bank_begins_with_a_shorter() -> None:
    batch = images()
    drawn = [draw_filters(batch, Stream(seed, "filters"), filters=6, patch=3) for seed in (1, 1, 2)]
    shorter = draw_filters(batch, Stream(1, "filters"), filters=4, patch=3)

    np.testing.assert_array_equal(drawn[0].weights, drawn[1].weights)
    np.testing.assert_allclose(drawn[0].weights[:4], shorter.weights, atol=1e-6)
    assert np.abs(drawn[0].weights - drawn[2].weights).max() > 0.01


def test_patches_of_one_colour_are_passed_over(monkeypatch) -> None:
    batch = np.zeros((10, 8, 8, 1), dtype=np.float32)
    batch[:, :, 4:] = images(10)[:, :, 4:]
    stream = Stream(3, "filters")

    found = random_filters._random_patches(batch, stream, 30, 3)

    monkeypatch.setattr(random_filters, "TRIES", 1)
    naive = random_filters._random_patches(batch, stream, 30, 3)
    assert (naive.var(axis=1) == 0).any()
    assert (found.var(axis=1) > FLOOR).all()


def test_the_kernel_is_that_of_the_standardised_features_whatever_the_blocks(monkeypatch) -> None:
    batch = images(20)
    bank = draw_filters(batch, Stream(0, "filters"), filters=7, patch=3)
    features = filter_features(batch, bank).numpy().astype(np.float64)
    varying = features.std(axis=0) > 0
    standard = np.zeros_like(features)
    standard[:, varying] = (features - features.mean(axis=0))[:, varying] / features.std(axis=0)[varying]
    wanted = 1 + standard @ standard.T / bank.features

    for block, rows in ((256, 2048), (3, 7)):
        monkeypatch.setattr(filter_kernel, "BLOCK", block)
        monkeypatch.setattr(filter_kernel, "ROWS", rows)
        told = Mock()
        kernel, scaling = linear_kernel(batch, bank, told=told)

        np.testing.assert_allclose(kernel, wanted, atol=1e-5)
        np.testing.assert_array_equal(kernel, kernel.T)
        np.testing.assert_allclose(scaling.mean, features.mean(axis=0), atol=1e-12)
        told.assert_called_with(7, 7)


def test_weights_say_on_new_images_what_the_kernel_says() -> None:
    train, test = images(20), images(30)[20:]
    bank = draw_filters(train, Stream(0, "filters"), filters=6, patch=3)
    kernel, scaling = linear_kernel(train, bank)
    dual = np.random.default_rng(1).standard_normal((20, 3))

    weights = feature_weights(train, bank, scaling, dual)

    np.testing.assert_allclose(filter_scores(train, bank, scaling, weights), kernel @ dual, atol=1e-4)
    standard = (filter_features(test, bank).numpy() - scaling.mean) * scaling.scale / np.sqrt(bank.features)
    wanted = standard @ weights[:-1] + weights[-1]
    np.testing.assert_allclose(filter_scores(test, bank, scaling, weights), wanted, atol=1e-6)
    assert np.linalg.norm(weights) == pytest.approx(np.sqrt((dual * (kernel @ dual)).sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "patch", "identifier"),
    [
        ((5, 64), 3, "filters-not-images"),
        ((5, 8, 8, 1), 8, "filters-too-large"),
        ((5, 8, 8, 1), 1, "filters-too-large"),
    ],
)
def test_what_cannot_be_filtered_is_refused_in_one_sentence(shape, patch, identifier) -> None:
    with pytest.raises(SpecError) as caught:
        draw_filters(np.zeros(shape, dtype=np.float32), Stream(0, "filters"), filters=2, patch=patch)
    assert caught.value.identifier == identifier

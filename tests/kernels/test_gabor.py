"""Gabor features: against the transform written out in float64, and what they must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.kernels import gabor
from shattering.kernels.gabor import GaborBank, gabor_features, wavelet

BANK = GaborBank(orientations=3, wavelengths=(3.0, 4.5), cell=4)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def written_out(image: np.ndarray, bank: GaborBank) -> np.ndarray:
    """One image ``[h, w, c]`` by the definition: a sum for every pixel, then means over cells."""
    height, width, channels = image.shape
    features = []
    for wavelength in bank.wavelengths:
        for turn in range(bank.orientations):
            kernel = wavelet(wavelength, math.pi * turn / bank.orientations, bank.aspect)
            reach = len(kernel) // 2
            for channel in range(channels):
                padded = np.pad(image[:, :, channel].astype(np.float64), reach)
                magnitudes = np.empty((height, width))
                for row in range(height):
                    for column in range(width):
                        window = padded[row : row + len(kernel), column : column + len(kernel)]
                        magnitudes[row, column] = abs((window * kernel).sum())
                for row in range(0, height, bank.cell):
                    for column in range(0, width, bank.cell):
                        features.append(magnitudes[row : row + bank.cell, column : column + bank.cell].mean())
    return np.array(features)


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 6, 2)])
def test_equals_the_definition(shape) -> None:
    batch = images(2, *shape)

    found = gabor_features(batch, BANK)

    assert found.dtype == np.float32
    assert found.shape == (2, BANK.size(shape))
    np.testing.assert_allclose(found, [written_out(image, BANK) for image in batch], atol=1e-5)


def test_a_wavelet_has_norm_one_and_no_answer_to_an_even_grey() -> None:
    for angle in (0.0, 0.4, math.pi / 2):
        found = wavelet(4.0, angle, 0.5)

        assert abs(found.sum()) < 1e-12
        assert np.linalg.norm(found) == pytest.approx(1)
        assert len(found) % 2 == 1


def test_the_standard_bank_has_1176_features_on_mnist_and_is_not_negative() -> None:
    found = gabor_features(images(1, 28, 28, 1))

    assert found.shape == (1, 1176)
    assert found.min() >= 0
    assert not gabor_features(np.zeros((1, 28, 28, 1), dtype=np.float32)).any()


def test_a_negative_looks_the_same_away_from_the_edge_and_a_turned_wave_does_not() -> None:
    """Zeros beyond the edge make an even grey visible there, so the middle cell alone is compared."""
    bank = GaborBank(orientations=4, wavelengths=(4.0,), cell=8)
    row = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(24) / 4)
    wave = np.tile(row.astype(np.float32), (24, 1))[None, :, :, None]

    def middle(batch: np.ndarray) -> np.ndarray:
        return gabor_features(batch, bank).reshape(4, 3, 3)[:, 1, 1]

    np.testing.assert_allclose(middle(1 - wave), middle(wave), atol=1e-5)
    assert middle(wave).argmax() == 0
    assert middle(wave.transpose(0, 2, 1, 3)).argmax() == 2


def test_the_size_of_batches_does_not_matter(monkeypatch) -> None:
    batch = images(7, 8, 8, 1)
    at_once = gabor_features(batch, BANK)

    monkeypatch.setattr(gabor, "BATCH_BYTES", 1)

    np.testing.assert_allclose(gabor_features(batch, BANK), at_once, atol=1e-6)


def test_features_without_height_and_width_are_refused() -> None:
    with pytest.raises(SpecError, match=r"\[3, 64\]") as caught:
        gabor_features(np.zeros((3, 64), dtype=np.float32))
    assert caught.value.identifier == "gabor-not-images"

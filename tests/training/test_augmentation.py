"""Random crops, flips, rotations: each image is a real window of itself, and the draws follow the streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shattering.core.streams import Stream
from shattering.data.arrays import from_arrays
from shattering.data.preprocessing import centre_crop, whiten
from shattering.execution.run import execute
from shattering.training.augmentation import _flip_and_rotate, augment, draws, unaugmented, whiten_batch
from shattering.training.evaluation import evaluate
from shattering.training.examples import prepare
from tiny_runs import digits, tiny_spec

CROP = tiny_spec(training__augmentation="crop", data__crop=5)
FULL = tiny_spec(training__augmentation="full", data__crop=5)


def numbered(count: int = 40, channels: int = 3, height: int = 8, width: int = 7) -> torch.Tensor:
    """Images whose every value is different, so that a window can be told from any other."""
    values = torch.arange(count * channels * height * width, dtype=torch.float32)
    return values.reshape(count, channels, height, width)


def test_crops_are_windows_of_their_image() -> None:
    images = numbered()
    cropped = augment(images, CROP, step=3)
    assert cropped.shape == (40, 3, 5, 5)
    drawn = draws(CROP, 3, 40, (3, 2))
    for image, window, (row, column, _, _) in zip(images, cropped, drawn.tolist(), strict=True):
        assert torch.equal(window, image[:, row : row + 5, column : column + 5])
    assert set(drawn[:, 0]) == {0, 1, 2, 3} and set(drawn[:, 1]) == {0, 1, 2}


def test_images_stay_whole_without_a_crop() -> None:
    images = numbered()
    assert torch.equal(augment(images, tiny_spec(training__augmentation="crop"), step=0), images)


def test_draws_follow_seed_step_and_image() -> None:
    first = draws(FULL, 7, 12, (3, 3))
    assert np.array_equal(first, draws(FULL, 7, 12, (3, 3)))
    assert np.array_equal(first[:5], draws(FULL, 7, 5, (3, 3)))  # an image's draws do not depend on the batch's size
    assert not np.array_equal(first, draws(FULL, 8, 12, (3, 3)))
    other = tiny_spec(seed=5)
    assert not np.array_equal(first, draws(other, 7, 12, (3, 3)))
    same = tiny_spec(seed=5, stream_seeds={"augmentation": FULL.seed})
    assert np.array_equal(first, draws(same, 7, 12, (3, 3)))
    word = int(Stream(FULL.seed, "augmentation").words(7, blocks=12)[4 * 3 + 1])
    assert first[3, 1] == (word * 4) >> 32


def test_draws_are_uniform() -> None:
    drawn = draws(FULL, 0, 4000, (3, 0))
    assert drawn.min() == 0 and drawn[:, 1].max() == 0 and drawn[:, 3].max() <= 65535
    assert abs(drawn[:, 2].mean() - 0.5) < 4 * 0.5 / 4000**0.5
    assert np.abs(np.bincount(drawn[:, 0]) / 4000 - 0.25).max() < 4 * (0.25 * 0.75 / 4000) ** 0.5
    assert abs(drawn[:, 3].mean() / 65535 - 0.5) < 4 * 12**-0.5 / 4000**0.5


MIDDLE = torch.full((40,), 32767.5)
"""No rotation; it lies between two of the angles that are drawn."""


def test_no_flip_and_no_rotation_is_the_identity() -> None:
    images = numbered().double()
    turned = _flip_and_rotate(images, torch.zeros(40, dtype=torch.int64), MIDDLE.double())
    assert torch.allclose(turned, images, rtol=1e-12, atol=1e-9)


def test_flips_are_left_to_right() -> None:
    images = numbered().double()
    turned = _flip_and_rotate(images, torch.ones(40, dtype=torch.int64), MIDDLE.double())
    assert torch.allclose(turned, images.flip(-1), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(("height", "width"), [(41, 41), (41, 61)])
def test_rotation_turns_by_the_angle_on_any_aspect(height: int, width: int) -> None:
    """A bright pixel off the centre lands where plane geometry says, in pixels, on non-square images too."""
    image = torch.zeros(1, 1, height, width, dtype=torch.float64)
    down, right = 12, 9
    image[0, 0, height // 2 + down, width // 2 + right] = 1.0
    turned = _flip_and_rotate(image, torch.zeros(1, dtype=torch.int64), torch.tensor([65535.0], dtype=torch.float64))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    mass = turned[0, 0] / turned.sum()
    found = (
        float((mass * rows).sum()) - height // 2,
        float((mass * columns).sum()) - width // 2,
    )
    radians = np.deg2rad(25.0)
    # What is sampled at (x, y) is the input at the rotated (x, y); the pixel therefore moves by the inverse rotation.
    wanted = (down * np.cos(radians) - right * np.sin(radians), right * np.cos(radians) + down * np.sin(radians))
    assert found == pytest.approx(wanted, abs=0.25)


@pytest.mark.parametrize("spread", [0, 1, 100])
def test_batch_whitening_equals_the_exact_one(spread: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 1 + spread, size=(20, 6, 5, 3)).astype(np.uint8)
    wanted = np.moveaxis(whiten(pixels, 255.0), -1, 1)
    found = whiten_batch(torch.from_numpy(np.moveaxis(pixels / 255.0, -1, 1)))
    assert np.allclose(found.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("whitened", [True, False])
def test_evaluation_sees_centre_crops(whitened: bool) -> None:
    """An augmented training set is evaluated just as an unaugmented one would be."""
    spec = CROP.model_copy(update={"data": CROP.data.model_copy(update={"whiten": whitened})})
    few = digits().train.take(np.arange(30))
    augmented = prepare(few, spec, augmented=True)
    plain = prepare(centre_crop(few, 5), spec)
    assert torch.allclose(augmented.finish(augmented.inputs), plain.inputs, atol=1e-6)
    assert torch.equal(plain.finish(plain.inputs), plain.inputs)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(25, 10))
    one, other = (evaluate(model, examples, spec) for examples in (augmented, plain))
    assert torch.equal(one.predictions, other.predictions)
    assert torch.allclose(one.losses, other.losses, atol=1e-5)


def test_unaugmented_keeps_whole_images_without_a_crop() -> None:
    images = numbered()
    spec = tiny_spec(training__augmentation="crop", data__whiten=False)
    assert torch.equal(unaugmented(images, spec), images)


@pytest.mark.parametrize("augmentation", ["crop", "full"])
def test_images_that_are_not_square_can_be_augmented(augmentation: str) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, size=(60, 6, 9, 1)).astype(np.uint8)
    splits = from_arrays(pixels[:48], np.arange(48) % 3, pixels[48:], np.arange(12) % 3)
    spec = tiny_spec(training__augmentation=augmentation, data__train_size=None, data__test_size=None)
    record, _ = execute(spec, splits)
    assert record.summary["steps"] == 14
    assert len(record.examples["prediction"]) == 48

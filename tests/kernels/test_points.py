"""Points on and off a grid: inner products against integers and against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shattering.kernels.integers import byte_products, pays
from shattering.kernels.matrix import spans
from shattering.kernels.points import Products, frame_of, grid_of, place


def products(left: np.ndarray, right: np.ndarray, centred: bool = True) -> tuple[np.ndarray, Products]:
    """⟨x, y⟩ of centred points by tiles of 7 × 5, and what made them."""
    frame = frame_of(right, centred)
    ours, theirs = place(left, frame), place(right, frame)
    maker = Products(ours, theirs)
    found = np.empty((len(left), len(right)))
    for low, high in spans(len(left), 7):
        for start, stop, tile in maker.tiles(low, high, iter(spans(len(right), 5))):
            found[low:high, start:stop] = tile.numpy()
    return found, maker


def pixels(n: int, features: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, features)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_over_255_are_recognised(dtype) -> None:
    every = np.arange(256, dtype=np.uint8)[:, None]

    assert grid_of((every / dtype(255)).astype(dtype)) == 255
    assert grid_of(every.astype(dtype)) == 1
    assert grid_of((every / 16).astype(dtype)) == 16
    assert grid_of((every / dtype(255)).astype(dtype) + dtype(1e-5)) == 0
    assert grid_of(np.array([[1e9]], dtype)) == 0


@pytest.mark.parametrize("features", [9, 3072])
def test_products_of_bytes_are_those_of_integers(features) -> None:
    """3,072 features of extremes leave what float32 can count, and are summed in groups."""
    images = pixels(23, features)
    images[0], images[1] = 0, 255
    rows = images.astype(np.float32) / np.float32(255)

    found, maker = products(rows, rows)

    assert maker.exact
    whole = images.astype(np.int64) - np.rint(rows.mean(axis=0, dtype=np.float64) * 255).astype(np.int64)
    assert (np.rint(found * 255**2) == whole @ whole.T).all()
    np.testing.assert_allclose(found, (whole @ whole.T) / 255**2, rtol=1e-15)


def test_distances_of_neighbours_are_not_lost_in_rounding() -> None:
    images = pixels(2, 784)
    images[1] = images[0]
    images[1, 5] ^= 1
    rows = images.astype(np.float32) / np.float32(255)

    found, _ = products(rows, rows)

    squared = found[0, 0] + found[1, 1] - 2 * found[0, 1]
    assert squared == pytest.approx(1 / 255**2, rel=1e-9)


def test_products_of_other_numbers_are_those_of_float64() -> None:
    draw = np.random.default_rng(1)
    left, right = (draw.normal(3, 1, (n, 31)).astype(np.float32) for n in (11, 17))

    found, maker = products(left, right)

    assert not maker.exact
    centre = right.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found, (left - centre) @ (right - centre).T, rtol=0, atol=1e-13)


def test_points_off_the_grid_of_the_others_fall_back_to_float64() -> None:
    right = pixels(12, 20).astype(np.float32) / np.float32(255)
    left = np.random.default_rng(2).random((9, 20)).astype(np.float32)

    found, maker = products(left, right)

    assert not maker.exact
    frame = frame_of(right, True)
    centre, exact = frame.centre / 255, pixels(12, 20) / 255
    np.testing.assert_allclose(found, (left - centre) @ (exact - centre).T, rtol=0, atol=1e-14)


def test_squares_belong_to_the_centred_points() -> None:
    rows = pixels(10, 6).astype(np.float32) / np.float32(255)
    for centred in (True, False):
        frame = frame_of(rows, centred)
        found = place(rows, frame)
        expected = ((pixels(10, 6) / 255 - frame.centre / 255) ** 2).sum(axis=1)
        np.testing.assert_allclose(found.squares.numpy(), expected, rtol=1e-14)
        np.testing.assert_allclose(found.coordinates(2, 5).numpy(), pixels(10, 6)[2:5] / 255 - frame.centre / 255)
    assert (frame.centre == 0).all()


def test_nothing_is_done_to_the_inputs() -> None:
    rows = np.random.default_rng(3).random((8, 4)).astype(np.float32)
    before = rows.copy()

    products(rows, rows)

    np.testing.assert_array_equal(rows, before)
    assert place(rows, frame_of(rows, True)).rows.dtype == torch.float32


@pytest.mark.parametrize("features", [9, 784, 3072])
def test_bytes_give_the_same_bits_as_float32(features, monkeypatch) -> None:
    rows = pixels(21, features).astype(np.float32) / np.float32(255)
    found = {}
    for fast in (False, True):
        monkeypatch.setattr("shattering.kernels.points.pays", lambda fast=fast: fast)
        found[fast], maker = products(rows[:8], rows)
        assert (maker.left.bytes is not None) == fast

    assert (found[True] == found[False]).all()


def test_integers_beyond_bytes_are_left_to_float32(monkeypatch) -> None:
    monkeypatch.setattr("shattering.kernels.points.pays", lambda: True)
    rows = np.random.default_rng(4).integers(0, 300, (12, 9)).astype(np.float32)
    rows[0, 0] = 299

    found, maker = products(rows, rows)

    assert maker.left.on_grid
    assert maker.left.bytes is None
    whole = rows.astype(np.int64) - np.rint(rows.mean(axis=0, dtype=np.float64)).astype(np.int64)
    assert (found == whole @ whole.T).all()


def test_asking_whether_bytes_pay_gives_an_answer() -> None:
    assert pays() in (True, False)
    draw = np.random.default_rng(5)
    left, right = (torch.from_numpy(draw.integers(-128, 128, (n, 40)).astype(np.int8)) for n in (6, 11))
    if pays():
        assert torch.equal(byte_products(left, right).long(), left.long() @ right.long().T)

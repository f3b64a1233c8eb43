"""The exact solve: against NumPy in float64, in any tiles, after any interruption, and where nothing is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shattering.kernels import matrix as matrices
from shattering.kernels import solve as solves
from shattering.kernels.functions import Kernel
from shattering.kernels.matrix import GivenMatrix, KernelMatrix
from shattering.kernels.points import frame_of, place
from shattering.kernels.predict import predict
from shattering.kernels.solve import Solution, factor_dtype, solve, solve_bytes

KERNELS = [Kernel("gaussian", 0.05), Kernel("laplacian", 0.3), Kernel("linear", 0.0)]

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def cloud(n: int = 90, features: int = 100, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.5, 0.7, (n, features)).astype(np.float32)


def images(n: int = 90, features: int = 100) -> NDArray[np.float32]:
    return np.random.default_rng(1).integers(0, 256, (n, features)).astype(np.float32) / np.float32(255)


def one_hot(n: int = 90, classes: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.eye(classes)[np.random.default_rng(2).integers(0, classes, n)])


def slow(kernel: Kernel, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """The kernel by its definition, pair by pair."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    if kernel.name == "linear":
        return np.array([[x @ y for y in right] for x in left])
    power = 2 if kernel.name == "gaussian" else 1
    return np.array([[np.exp(-kernel.gamma * np.linalg.norm(x - y) ** power) for y in right] for x in left])


def matrix_of(rows: NDArray[np.float32], kernel: Kernel, ridge: float = 0.0, size: int = 32, room: int = 0):
    return KernelMatrix(place(rows, frame_of(rows, kernel.centred)), kernel, ridge, size, room)


def with_spectrum(values: NDArray[np.float64], seed: int = 0) -> torch.Tensor:
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    product = (turn * values) @ turn.T
    return torch.from_numpy((product + product.T) / 2)


class Drawer:
    """Keeps pieces, and stops after so many of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.pieces: dict[str, NDArray[Any]] = {}
        self.stop_after = stop_after
        self.written: list[str] = []
        self.progress: list[tuple[int, int]] = []

    def told(self, done: int, total: int) -> None:
        self.progress.append((done, total))

    def keep(self, name: str, array: NDArray[Any]) -> None:
        if self.stop_after is not None and len(self.written) >= self.stop_after:
            raise KeyboardInterrupt
        self.pieces[name] = array.copy()
        self.written.append(name)

    def kept(self, name: str) -> NDArray[Any] | None:
        return self.pieces.get(name)


def same(first: Solution, second: Solution) -> bool:
    """To the last bit."""
    numbers = ("residual", "condition", "norm", "passes", "shift")
    return torch.equal(first.coefficients, second.coefficients) and all(
        getattr(first, name) == getattr(second, name) for name in numbers
    )


@every_kernel
@both_precisions
@pytest.mark.parametrize("size", [7, 30, 90, 256])
def test_agrees_with_numpy(kernel, dtype, size) -> None:
    rows, test, targets = cloud(), cloud(13, seed=5), one_hot()
    values = slow(kernel, rows, rows)
    expected = np.linalg.solve(values, targets.numpy())

    matrix = matrix_of(rows, kernel, size=size)
    found = solve(matrix, targets, dtype=dtype)

    condition = np.linalg.cond(values)
    assert found.residual < 1e-15 * condition + 1e-14
    np.testing.assert_allclose(
        found.coefficients.numpy(), expected, rtol=0, atol=1e-14 * condition * abs(expected).max()
    )
    np.testing.assert_allclose(found.values.numpy(), targets.numpy(), rtol=0, atol=1e-13 * condition + 1e-13)
    assert found.norm == pytest.approx(np.sqrt(np.trace(expected.T @ values @ expected)), rel=1e-9)
    assert 0.9 * condition < found.condition <= 1.0001 * condition
    assert found.shift == 0

    given = place(test, matrix.points.frame)
    np.testing.assert_allclose(
        predict(kernel, given, matrix.points, found.coefficients).numpy(),
        slow(kernel, test, rows) @ expected,
        rtol=0,
        atol=1e-13 * condition,
    )


@every_kernel
def test_images_are_solved_for_exact_fractions(kernel) -> None:
    rows, targets = images(), one_hot()
    exact = np.rint(rows.astype(np.float64) * 255) / 255

    found = solve(matrix_of(rows, kernel), targets, dtype=torch.float32)

    values = slow(kernel, exact, exact)
    residual = np.linalg.norm(values @ found.coefficients.numpy() - targets.numpy()) / np.linalg.norm(targets.numpy())
    assert residual < 1e-14 * np.linalg.cond(values) + 1e-13


@every_kernel
@both_precisions
def test_ridge(kernel, dtype) -> None:
    rows, targets = cloud(60, 12), one_hot(60)
    values = slow(kernel, rows, rows)

    found = solve(matrix_of(rows, kernel, ridge=0.1), targets, dtype=dtype)

    expected = np.linalg.solve(values + 0.1 * np.eye(60), targets.numpy())
    np.testing.assert_allclose(found.coefficients.numpy(), expected, atol=1e-9 * abs(expected).max())
    np.testing.assert_allclose(found.values.numpy(), values @ expected, atol=1e-9)
    assert found.norm == pytest.approx(np.sqrt(np.trace(expected.T @ values @ expected)), rel=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_points(n) -> None:
    rows, targets = cloud(n), one_hot(n)

    found = solve(matrix_of(rows, KERNELS[0]), targets)

    expected = np.linalg.solve(slow(KERNELS[0], rows, rows), targets.numpy())
    np.testing.assert_allclose(found.coefficients.numpy(), expected, atol=1e-14)
    assert found.condition == pytest.approx(np.linalg.cond(slow(KERNELS[0], rows, rows)), rel=1e-6)


def test_order_of_the_points_does_not_matter() -> None:
    rows, targets = cloud(), one_hot()
    order = np.random.default_rng(4).permutation(len(rows))

    straight = solve(matrix_of(rows, KERNELS[0]), targets, dtype=torch.float32)
    turned = solve(matrix_of(rows[order], KERNELS[0]), targets[order], dtype=torch.float32)

    np.testing.assert_allclose(turned.coefficients.numpy(), straight.coefficients.numpy()[order], atol=1e-11)
    assert turned.norm == pytest.approx(straight.norm, rel=1e-12)


def test_remembered_tiles_change_no_bit() -> None:
    rows, targets = cloud(), one_hot()

    plain, remembered, half = (
        solve(matrix_of(rows, KERNELS[1], room=room), targets, dtype=torch.float32) for room in (0, 1 << 20, 20_000)
    )

    assert same(plain, remembered)
    assert same(plain, half)


def test_a_given_matrix_is_solved_alike() -> None:
    targets, values = one_hot(), with_spectrum(np.geomspace(1e-3, 1, 90))

    found = solve(GivenMatrix(values, 0.01, 25), targets, dtype=torch.float32)

    expected = np.linalg.solve(values.numpy() + 0.01 * np.eye(90), targets.numpy())
    np.testing.assert_allclose(found.coefficients.numpy(), expected, atol=1e-12 * abs(expected).max())
    assert found.condition == pytest.approx(1.01 / 0.011, rel=0.02)


@pytest.mark.parametrize("condition", [1e6, 1e8])
def test_a_factor_in_float32_is_enough_for_matrices_that_float32_cannot_solve(condition) -> None:
    """Where refinement gains nothing, conjugate gradients take over; the answer is as good as float64's own."""
    values, targets = with_spectrum(np.geomspace(1 / condition, 1, 120)), one_hot(120)
    own = np.linalg.solve(values.numpy(), targets.numpy())
    its = np.linalg.norm(values.numpy() @ own - targets.numpy()) / np.linalg.norm(targets.numpy())

    found = solve(GivenMatrix(values, 0.0, 50), targets, dtype=torch.float32)

    assert found.residual < 100 * its + 1e-12
    assert 0.3 * condition < found.condition < 1.01 * condition


def test_where_a_factor_in_float32_is_not_enough_another_is_made_in_float64(monkeypatch) -> None:
    monkeypatch.setattr(solves, "SMALL", 10)
    values, targets = with_spectrum(np.geomspace(1e-10, 1, 120)), one_hot(120)
    alone = solve(GivenMatrix(values, 0.0, 50), targets, dtype=torch.float32)

    found = solve(GivenMatrix(values, 0.0, 50), targets)

    assert alone.shift > 0
    assert alone.residual > 1e-6
    assert found.shift == 0
    assert found.residual < 1e-6
    assert 0.9e10 < found.condition < 1.01e10


def test_the_residual_of_a_hopeless_matrix_is_told_and_not_hidden() -> None:
    """Condition 1e12: float64 itself cannot do better than about 1e-6, and a float32 solve is off by more than 1."""
    values, targets = with_spectrum(np.geomspace(1e-12, 1, 200)), one_hot(200, 10)

    found = solve(GivenMatrix(values, 0.0, 64), targets)

    image = values.numpy() @ found.coefficients.numpy()
    direct = np.linalg.norm(image - targets.numpy()) / np.linalg.norm(targets.numpy())
    assert found.residual == pytest.approx(direct, rel=0.5)
    assert 1e-8 < found.residual < 1e-3
    assert found.condition > 1e11


def test_a_singular_matrix_gets_a_shifted_factor_and_a_large_residual() -> None:
    spectrum = np.geomspace(1e-2, 1, 80)
    spectrum[:20] = 0
    values, targets = with_spectrum(spectrum), one_hot(80)

    found = solve(GivenMatrix(values, 0.0, 30), targets)

    assert found.shift > 0
    assert found.residual > 0.1
    assert np.isfinite(found.coefficients.numpy()).all()


class TestAfterAKill:
    @staticmethod
    def matrix() -> KernelMatrix:
        return matrix_of(cloud(120), Kernel("gaussian", 0.002), size=25)

    def test_goes_on_to_the_same_bits_from_every_place(self) -> None:
        targets = one_hot(120)
        whole = Drawer()
        expected = solve(self.matrix(), targets, work=whole, dtype=torch.float32)
        assert len(whole.written) == len(set(whole.written)) > 7

        for stop_after in range(len(whole.written)):
            drawer = Drawer(stop_after)
            with pytest.raises(KeyboardInterrupt):
                solve(self.matrix(), targets, work=drawer, dtype=torch.float32)
            assert len(drawer.written) == stop_after
            drawer.stop_after = None
            assert same(solve(self.matrix(), targets, work=drawer, dtype=torch.float32), expected)
            assert drawer.written == whole.written

    def test_makes_nothing_of_what_was_kept(self, monkeypatch) -> None:
        drawer, targets = Drawer(), one_hot(120)
        expected = solve(self.matrix(), targets, work=drawer, dtype=torch.float32)
        monkeypatch.setattr(matrices.KernelMatrix, "row", None)

        assert same(solve(self.matrix(), targets, work=drawer, dtype=torch.float32), expected)

    def test_pieces_of_another_problem_are_left_alone(self) -> None:
        drawer = Drawer()
        solve(self.matrix(), one_hot(120), work=drawer, dtype=torch.float32)
        for matrix, targets in (
            (matrix_of(cloud(120), Kernel("gaussian", 0.003), size=25), one_hot(120)),
            (matrix_of(cloud(120, seed=1), Kernel("gaussian", 0.002), size=25), one_hot(120)),
            (self.matrix(), one_hot(120) * 2),
        ):
            fresh = solve(matrix, targets, dtype=torch.float32)
            assert same(solve(matrix, targets, work=drawer, dtype=torch.float32), fresh)

    def test_progress_grows_to_its_end(self) -> None:
        drawer = Drawer()
        solve(self.matrix(), one_hot(120), work=drawer, dtype=torch.float32)

        done = [done for done, _ in drawer.progress]
        assert done == sorted(done)
        assert len({total for _, total in drawer.progress}) == 1
        assert 0 < done[-1] <= drawer.progress[0][1]


def test_the_largest_solve_fits_into_ten_gigabytes() -> None:
    points = 2 * 4 * 60_000 * 784

    assert 7e9 < solve_bytes(60_000, 10) + points < 9e9
    assert factor_dtype(60_000) == torch.float32
    assert factor_dtype(500) == torch.float64

"""The exact solve (K + λI) A = Y: a triangular factor in low precision, and float64 for everything that is said of A.

The factor (`shattering.kernels.cholesky`) takes n²/2 float32 numbers, 7.2 GB at n = 60,000, and gives an answer good to
a few digits. The residual of that answer is computed in float64, with kernel tiles that are made anew where there is
no room to remember them, and the factor turns it into a correction; each round gains as many digits as the first. Where
the matrix is so ill-conditioned that a round gains less than one, corrections come from conjugate gradients with the
factor as their preconditioner. Nothing that is done to the factor, such as a shift on its diagonal, moves the answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from shattering.kernels.cholesky import Factor, factorise
from shattering.kernels.functions import Kernel
from shattering.kernels.matrix import GivenMatrix, KernelMatrix, Matrix, times
from shattering.kernels.points import Points
from shattering.kernels.spectrum import STEPS as KRYLOV_STEPS
from shattering.kernels.spectrum import block_width, greatest_vector, least_vector
from shattering.kernels.work import Unattended, Work

EPSILON = torch.finfo(torch.float64).eps

SMALL = 2048
"""Up to here the factor is float64 as well: it costs nothing."""

ROOM = 3 << 30
"""Bytes of kernel tiles remembered between rounds, so long as they and the factor stay below it."""

ROUNDS = 30
"""Rounds of refinement at most; three or four are usual."""

STEPS = 200
"""Steps of conjugate gradients in a round at most."""

GAIN = 0.1
"""A round that leaves more than this of the residual is the last of its kind."""

NEAR = 100
"""Within so many times the floor of float64, conjugate gradients are not worth starting."""

ENOUGH = 1e-8
"""A residual that is worth no second attempt with a better factor."""

USUAL = 4
"""Multiplications by the matrix that a solve usually takes; for the progress."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A with (K + λI) A = Y, and how well.

    Args:
        coefficients: A, float64 ``[n, columns]``.
        values: K A, without λ: what the machine says of its training points.
        residual: ‖(K + λI) A - Y‖ / ‖Y‖, Frobenius norms, computed in float64 from the A that is returned.
        condition: estimate from below of the condition number of K + λI, the greatest eigenvalue over the least: both
            are Rayleigh quotients in float64, of vectors that block Lanczos finds with the factor. Infinite where the
            lesser quotient is not positive.
        greatest: the greatest eigenvalue, from the same.
        least: the least eigenvalue, from the same.
        norm: √tr(Aᵀ K A), the norm of the functions in the kernel's Hilbert space, all columns together.
        passes: multiplications by the float64 matrix K + λI.
        shift: greatest number added to the diagonal of the factor (never to the matrix); 0 where none was needed.
    """

    coefficients: Tensor
    values: Tensor
    residual: float
    condition: float
    greatest: float
    least: float
    norm: float
    passes: int
    shift: float


def tile_size(n: int, device: str = "cpu") -> int:
    """Side of a tile: large enough for matrix products at full speed, small enough to stay in a CPU's cache."""
    if device != "cpu":
        return 4096
    return 256 if n <= 4096 else 512


def factor_dtype(n: int, device: str = "cpu") -> torch.dtype:
    """Precision of the factor: float32, but float64 where that is cheap (few points) or as fast (GPUs for science)."""
    return torch.float64 if n <= SMALL or device != "cpu" else torch.float32


def room_for_tiles(n: int, device: str = "cpu") -> int:
    """Bytes of float64 tiles worth remembering: the whole triangle or, beyond `ROOM`, none of it."""
    triangle = n * (n + tile_size(n, device)) // 2
    remembered = triangle * 8
    factor = triangle * factor_dtype(n, device).itemsize
    return remembered if device != "cpu" or remembered + factor <= 2 * ROOM else 0


def solve_bytes(n: int, columns: int, device: str = "cpu") -> int:
    """Memory at the peak of `solve` without the points: factor, remembered tiles, one row being kept, vectors."""
    size = tile_size(n, device)
    triangle = n * (n + size) // 2
    # A row being kept is copied twice; a Krylov space and its images stand beside a dozen vectors.
    keeping = 3 * min(n, size) * n * factor_dtype(n, device).itemsize
    working = 6 * 8 * min(n, size) ** 2 + keeping + 8 * n * (12 * columns + 4 * block_width(n) * KRYLOV_STEPS)
    factor = torch.float64 if double_fits(n) else factor_dtype(n, device)
    return triangle * factor.itemsize + room_for_tiles(n, device) + working


def kernel_matrix(points: Points, kernel: Kernel, ridge: float = 0.0) -> KernelMatrix:
    """K + λI in tiles of the usual size, remembered as far as is usual. See `KernelMatrix`."""
    n, device = len(points), points.rows.device.type
    return KernelMatrix(points, kernel, ridge, tile_size(n, device), room_for_tiles(n, device))


def given_matrix(values: Tensor, ridge: float = 0.0) -> GivenMatrix:
    """A K made by somebody else, plus λI, in tiles of the usual size. See `GivenMatrix`."""
    return GivenMatrix(values, ridge, tile_size(len(values), values.device.type))


def solve(matrix: Matrix, targets: Tensor, *, work: Work | None = None, dtype: torch.dtype | None = None) -> Solution:
    """Solves (K + λI) A = Y. Zhang et al. (2017), Section 5: with λ = 0, the interpolant of least norm.

    Stops where the residual is as small as float64 can make it: at most ε λ_max ‖A‖, or not to be lowered further.

    Args:
        matrix: K + λI, from `kernel_matrix` or `given_matrix`; of distinct points, or λ > 0.
        targets: Y, float64 ``[n, columns]``, where the matrix lies.
        work: told of progress; keeps finished rows of the factor and rounds, and a solve that was killed goes on
            from them to the same bits.
        dtype: precision of the factor; chosen by n where None.

    Returns:
        The solution; check ``residual``: it is large where K is singular to float64.
    """
    work = work or Unattended()
    digest = hashlib.sha256(matrix.fingerprint().encode())
    digest.update(np.ascontiguousarray(targets.cpu().numpy()).data)
    name = digest.hexdigest()[:12]
    first = dtype or factor_dtype(len(targets), matrix.device.type)
    again = dtype is None and first == torch.float32 and double_fits(len(targets))
    found = _solve_with(first, matrix, targets, work, name, again)
    if again and not found.residual <= ENOUGH:
        better = _solve_with(torch.float64, matrix, targets, work, f"{name}-double", False)
        passes = found.passes + better.passes
        found = replace(better if better.residual < found.residual else found, passes=passes)
    return found


def _solve_with(dtype: torch.dtype, matrix: Matrix, targets: Tensor, work: Work, name: str, again: bool) -> Solution:
    """``again``: a better factor is at hand, should this one be no good."""
    clock = _Clock(work, len(matrix.blocks))
    factor = factorise(matrix, dtype, work, f"{name}-factor", clock.row)
    return _System(matrix, factor, targets, work, name, clock, patient=not again or factor.shift == 0).solve()


def double_fits(n: int) -> bool:
    """Whether a float64 factor may take the place of a float32 one that was not enough: it takes twice the memory."""
    return 8 * n * n // 2 <= ROOM


@dataclass(eq=False)
class _Clock:
    """Progress in units of a row of tiles squared: the factor's rows weigh more the later they come."""

    work: Work
    rows: int
    done: int = 0

    def __post_init__(self) -> None:
        # A pass over all tiles, estimated as this share of the factor's work; four of them are usual.
        self.factor = self.rows * (self.rows + 1) * (2 * self.rows + 1) // 6
        self.total = self.factor + max(1, self.factor // 4)

    def row(self, i: int) -> None:
        """Row ``i`` of the factor is finished; -1: it goes on."""
        if i >= 0:
            self.done = (i + 1) * (i + 2) * (2 * i + 3) // 6
        self.work.told(self.done, self.total)

    def passed(self, share: float) -> None:
        """So much of the usual number of passes is over."""
        self.done = self.factor + int(min(1.0, share) * (self.total - self.factor))
        self.work.told(self.done, self.total)


@dataclass(eq=False)
class _System:
    """One system being solved."""

    matrix: Matrix
    factor: Factor
    targets: Tensor
    work: Work
    name: str
    clock: _Clock
    patient: bool = True
    """Whether conjugate gradients may be tried; not where a better factor is at hand."""
    passes: int = 0

    def solve(self) -> Solution:
        count = self.targets.shape[1]
        size = _norm(self.targets) or 1.0
        answer = self.factor.solve(self.targets)
        extremes = self._kept("extremes", self._extremes)
        product = self._times("round-00", torch.cat([answer, extremes], dim=1))
        image = product[:, :count]
        least, greatest = (float(x) for x in (extremes * product[:, count:]).sum(dim=0))
        residual = self.targets - image
        refining = True
        if not _norm(residual) < size:
            # A factor that has nothing to do with the matrix: no answer at all is better than its answer.
            answer, image = torch.zeros_like(answer), torch.zeros_like(image)
            residual, refining = self.targets, False
        for round_ in range(1, ROUNDS):
            share = _norm(residual)
            floor = EPSILON * greatest * _norm(answer)
            if not share > floor:
                break
            if not (refining or self.patient):
                break
            if refining:
                candidate = answer + self.factor.solve(residual)
            else:
                candidate = answer + self._gradients(residual, f"round-{round_:02d}", max(1e-8, 0.1 * floor / share))
            its_image = self._times(f"round-{round_:02d}", candidate)
            its_residual = self.targets - its_image
            gain = _norm(its_residual) / share
            if gain < 1:
                answer, image, residual = candidate, its_image, its_residual
            if not gain <= GAIN:
                if not refining or _norm(residual) <= NEAR * floor:
                    break
                refining = False
        values = image - self.matrix.ridge * answer
        return Solution(
            coefficients=answer,
            values=values,
            residual=_norm(residual) / size,
            condition=greatest / least if least > 0 else math.inf,
            greatest=greatest,
            least=least,
            norm=math.sqrt(max(float((answer * values).sum()), 0.0)),
            passes=self.passes,
            shift=self.factor.shift,
        )

    def _extremes(self) -> Tensor:
        """Unit vectors near those of the least and of the greatest eigenvalue, as columns."""
        n, device = len(self.targets), self.targets.device
        least = least_vector(self._told(self.factor.solve), n, device)
        return torch.cat([least, greatest_vector(self._told(self.factor.times), n, device)], dim=1)

    def _told(self, apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def told(vectors: Tensor) -> Tensor:
            self.clock.passed(0)
            return apply(vectors)

        return told

    def _gradients(self, residual: Tensor, name: str, share: float) -> Tensor:
        """A correction E with (K + λI) E near the residual, by conjugate gradients, each column by itself.

        The direction is corrected as in the flexible method (Polak and Ribière), because a factor in float32 is not
        quite the same operator from one step to the next.
        """
        target = share * torch.linalg.vector_norm(residual, dim=0)
        left, correction = residual.clone(), torch.zeros_like(residual)
        direction = preconditioned = self.factor.solve(left)
        product = (left * preconditioned).sum(dim=0)
        for step in range(STEPS):
            image = self._times(f"{name}-step-{step:03d}", direction)
            curvature = (direction * image).sum(dim=0)
            # A column that has converged, or that rounding has taken out of the positive directions, stays as it is.
            alive = (curvature > 0) & (product > 0) & (torch.linalg.vector_norm(left, dim=0) > target)
            if not bool(alive.any()):
                break
            length = torch.where(alive, product / curvature, torch.zeros_like(product))
            correction = correction + length * direction
            before, left = left, left - length * image
            preconditioned = self.factor.solve(left)
            turn = (preconditioned * (left - before)).sum(dim=0) / product
            product = (left * preconditioned).sum(dim=0)
            direction = preconditioned + torch.where(alive, turn, torch.zeros_like(turn)) * direction
        return correction

    def _times(self, name: str, vectors: Tensor) -> Tensor:
        """(K + λI) V in float64; kept, since all that follows can be had again from it without the matrix."""
        rows = len(self.matrix.blocks)
        product = self._kept(
            name, lambda: times(self.matrix, vectors, lambda row: self.clock.passed((self.passes + row / rows) / USUAL))
        )
        self.passes += 1
        return product

    def _kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """What was kept under ``name``, or else what is made now, which is then kept."""
        found = self.work.kept(f"{self.name}-{name}")
        if found is not None:
            return torch.from_numpy(found).to(self.targets.device)
        made = make()
        self.work.keep(f"{self.name}-{name}", made.cpu().numpy())
        return made


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor))

"""Step 1 of Theorem 1: points that are really distinct, and a direction along which they lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.expressivity.exact import Floats

if TYPE_CHECKING:
    import torch

ROUNDS, AT_A_TIME = 4, 8
"""Directions are drawn eight at a time, which cost one pass over the data, and at most four times."""

SAFE_GAP = 8.0
"""A direction will do where its smallest gap is so many times the rounding error of a projection."""

_VALUES = 1 << 15
"""Numbers at a time; their float64 copies stay in the cache."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Distinct points with their targets.

    Args:
        points: ``[n, d]`` as given, float32 or float64.
        targets: float64 ``[n]`` or ``[n, k]``.
        merged: how many exact copies with the same target were left out.
    """

    points: NDArray[np.floating]
    targets: Floats
    merged: int


@dataclass(frozen=True, eq=False)
class Sorted:
    """A direction and the order of the points along it.

    Args:
        direction: a, ``[d]``.
        order: indices of the points by increasing projection.
        projections: ``z = <a, x>``, increasing, ``[n]``.
    """

    direction: Floats
    order: NDArray[np.int64]
    projections: Floats

    @property
    def smallest_gap(self) -> float:
        """Between neighbours; infinite for one point."""
        return float(np.diff(self.projections).min(initial=math.inf))


def distinct_points(inputs: Any, targets: Any) -> Sample:
    """Checks points and targets, and leaves out exact copies.

    Args:
        inputs: ``[n, …]``, one point a row; n may be less or more than the number of features.
        targets: ``[n]`` or ``[n, k]`` real numbers.

    Raises:
        DataError: ``memorise-type``, ``memorise-shape``, ``memorise-not-finite``, or ``memorise-conflict`` where one
            point is given two targets.
    """
    points, wanted = _array(inputs), _array(targets).astype(np.float64)
    if (
        points.ndim < 2
        or wanted.ndim not in (1, 2)
        or len(points) != len(wanted)
        or 0 in (*points.shape, *wanted.shape)
    ):
        raise DataError(
            "memorise-shape",
            f"Points of shape {points.shape} do not go with targets of shape {wanted.shape}; give [n, features] and "
            "[n] or [n, outputs], for at least one point.",
        )
    points = points.reshape(len(points), -1)
    points = points if points.dtype in (np.float32, np.float64) else points.astype(np.float64)
    _require_finite(points, "point")
    _require_finite(wanted.reshape(len(wanted), -1), "target")
    kept = _first_copies(points, wanted)
    if len(kept) == len(points):
        return Sample(points, wanted, 0)
    return Sample(points[kept], wanted[kept], len(points) - len(kept))


def separate(points: NDArray[np.floating], stream: Stream) -> Sorted:
    """The best of several random directions: the one whose smallest gap is largest beside the spread.

    Directions are uniform in a cube, with 53 bits a coordinate. A random direction tells distinct points apart with
    probability 1; in float64 it must do so by more than the rounding of a projection, about ``2⁻⁵³ ‖a‖ ‖x‖``.

    Args:
        points: distinct, ``[n, d]``.
        stream: the source of the directions.

    Raises:
        DataError: ``memorise-degenerate`` where no direction drawn keeps all points apart.
    """
    best, worst_pair = None, (0, 0)
    for round_number in range(ROUNDS):
        drawn = _directions(stream, round_number, points.shape[1])
        chosen = int(np.argmax([_separation(column) for column in _products(points, drawn).T]))
        direction = np.ascontiguousarray(drawn[:, chosen])
        values = project_points(points, direction)
        order = np.argsort(values, kind="stable")
        best = Sorted(direction, order, values[order])
        rounding = np.finfo(np.float64).eps / 2 * float(np.linalg.norm(direction)) * _longest(points)
        if best.smallest_gap > SAFE_GAP * rounding:
            return best
        closest = int(np.diff(best.projections).argmin())
        worst_pair = (int(order[closest]), int(order[closest + 1]))
    raise DataError(
        "memorise-degenerate",
        f"None of {ROUNDS * AT_A_TIME} random directions keeps points {min(worst_pair)} and {max(worst_pair)} apart by "
        "more than rounding in float64; leave out points that hardly differ, or move all of them closer to the origin.",
    )


def project(inputs: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """``<a, x>`` for each row, in the direction's type, ``[n]``.

    Products are summed row by row, so that on a CPU a projection does not depend on the rows beside it by a bit, as it
    would in a matrix product.
    """
    import torch

    rows = inputs.reshape(len(inputs), len(direction))
    parts = [(block.to(direction.dtype) * direction).sum(dim=1) for block in blocks(rows, _rows(len(direction)))]
    return torch.cat(parts)


def blocks(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    """Consecutive rows, ``size`` at a time; one empty block where there are none."""
    return [rows[start : start + size] for start in range(0, max(1, len(rows)), size)]


def project_points(points: NDArray[np.floating], direction: Floats) -> Floats:
    """`project` for arrays; by the same instructions, so that a network meets the projections it was built for."""
    import torch

    values: Floats = project(torch.from_numpy(np.ascontiguousarray(points)), torch.from_numpy(direction)).numpy()
    return values


def _directions(stream: Stream, round_number: int, features: int) -> Floats:
    words = stream.words(np.arange(AT_A_TIME) + round_number * AT_A_TIME, blocks=-(-features // 2))
    pairs = words.reshape(AT_A_TIME, -1, 2)[:, :features].astype(np.uint64)
    bits = (pairs[..., 0] << np.uint64(21)) | (pairs[..., 1] >> np.uint64(11))
    # Odd multiples of 2⁻⁵³ between -1 and 1: never zero, so no coordinate is lost.
    return (bits.astype(np.float64) * 2.0**-52 - 1.0 + 2.0**-53).T


def _products(points: NDArray[np.floating], directions: Floats) -> Floats:
    return np.concatenate([rows.astype(np.float64) @ directions for rows in _parts(points)])


def _separation(values: Floats) -> float:
    """The smallest gap as a share of the spread; 0 where two values tie, or all."""
    ordered = np.sort(values)
    spread = float(ordered[-1] - ordered[0])
    return float(np.diff(ordered).min()) / spread if spread > 0 else 0.0


def _longest(points: NDArray[np.floating]) -> float:
    squares = (np.einsum("nd,nd->n", rows, rows, dtype=np.float64) for rows in _parts(points))
    return math.sqrt(max(float(rows.max()) for rows in squares))


def _parts(points: NDArray[Any]) -> list[NDArray[Any]]:
    size = _rows(points.shape[1])
    return [points[start : start + size] for start in range(0, len(points), size)]


def _rows(features: int) -> int:
    return max(1, _VALUES // features)


def _array(values: Any) -> NDArray[Any]:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.dtype.kind not in "biuf":
        raise DataError(
            "memorise-type", f"Points and targets must be real numbers, but some are of type {array.dtype}."
        )
    return array


def _require_finite(rows: NDArray[np.floating], what: str) -> None:
    start = 0
    for block in _parts(rows):
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            first = start + int(bad.argmax())
            value = block[bad.argmax()][~np.isfinite(block[bad.argmax()])][0]
            raise DataError(
                "memorise-not-finite", f"The {what} at index {first} has the value {value}; all must be finite numbers."
            )
        start += len(block)


def _first_copies(points: NDArray[np.floating], targets: Floats) -> NDArray[np.int64]:
    """Indices of the points without later copies; a hash that two different points share is seen through."""
    seen: dict[int, list[int]] = {}
    kept = []
    for index, row in enumerate(points):
        candidates = seen.setdefault(hash((row + 0).tobytes()), [])  # + 0 makes -0.0 equal to 0.0
        twin = next((other for other in candidates if np.array_equal(points[other], row)), None)
        if twin is None:
            candidates.append(index)
            kept.append(index)
        elif not np.array_equal(targets[twin], targets[index]):
            raise DataError(
                "memorise-conflict",
                f"Points {twin} and {index} are equal in {points.dtype} but have the targets {_shown(targets[twin])} "
                f"and {_shown(targets[index])}; no function fits both, so leave one out.",
            )
    return np.array(kept)


def _shown(target: Floats) -> str:
    return f"{float(target):g}" if target.ndim == 0 else str(target.tolist())

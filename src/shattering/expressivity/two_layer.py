"""Theorem 1 of Zhang et al. (2017): two layers of ReLUs with 2n+d weights represent any function on n points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from shattering.core.errors import DataError
from shattering.core.streams import Stream
from shattering.expressivity.classes import class_scores, rounded
from shattering.expressivity.exact import Floats, pieces
from shattering.expressivity.points import Sorted, blocks, distinct_points, project, separate
from shattering.expressivity.triangular import condition, eigenvalues, solve

PLACE = 2.0**-10
"""Where a threshold lies between the projections left and right of it, as a share of their gap."""

_ROWS, _UNITS = 256, 512
"""Tiles of the dense sum; 1 MiB in float64, which stays in the cache."""


class TwoLayerMemoriser(nn.Module):
    """``f(x) = Σ_j w_j max(<a, x> - b_j, 0)``: one hidden layer of ReLUs that share their incoming weights.

    Assumptions of Theorem 1 (Zhang et al. 2017): the activation is the ReLU, points are distinct, the output is a real
    number from a linear unit without bias. The hidden units share ``a``, which is why d + n + n numbers suffice.

    Along ``z = <a, x>`` the function is a broken line. `forward` evaluates it as such, in O(log n) a point, from a
    table that is computed from the weights in exact arithmetic; `dense` adds up the n hidden units as they stand. The
    weights are built for float64.

    Args:
        features: d.
        units: n, the number of hidden units.
        outputs: k for ``[batch, k]``, which takes ``n + n k + d`` weights; none for one real number per point.
    """

    def __init__(self, features: int, units: int, outputs: int | None = None) -> None:
        super().__init__()
        shape = (units,) if outputs is None else (units, outputs)

        def parameter(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(size, dtype=torch.float64), requires_grad=False)

        self.direction = parameter(features)
        self.thresholds = parameter(units)
        self.weights = parameter(*shape)
        self._table: _Table | None = None

    def project(self, inputs: torch.Tensor) -> torch.Tensor:
        """``<a, x>``, ``[batch]``."""
        return project(inputs, self.direction)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The real-valued output, ``[batch]`` or ``[batch, outputs]``, for inputs ``[batch, …]``.

        Gradients flow to the inputs; for gradients of thresholds and weights use `dense`.
        """
        line = self._broken_line()
        along = self.project(inputs)
        piece = torch.searchsorted(self.thresholds.detach(), along.detach())
        beyond = along - line.starts[piece]
        return line.values[piece] + line.slopes[piece] * (beyond if line.slopes.ndim == 1 else beyond[:, None])

    def dense(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same by adding up every hidden unit in the weights' own precision; O(n) a point."""
        tiles = list(zip(blocks(self.thresholds, _UNITS), blocks(self.weights, _UNITS), strict=True))
        parts = []
        for along in blocks(self.project(inputs), _ROWS):
            total = along.new_zeros(len(along), *self.weights.shape[1:])
            for thresholds, weights in tiles:
                total = total + (along[:, None] - thresholds).relu_() @ weights
            parts.append(total)
        return torch.cat(parts)

    def scores(self, inputs: torch.Tensor, num_classes: int) -> torch.Tensor:
        """`class_scores` of the output, ``[batch, num_classes]``."""
        return class_scores(self(inputs), num_classes)

    def classes(self, inputs: torch.Tensor, num_classes: int) -> torch.Tensor:
        """The class whose number is nearest to the output, ``[batch]``."""
        return rounded(self(inputs), num_classes)

    def _broken_line(self) -> _Table:
        thresholds, weights = self.thresholds.detach(), self.weights.detach()
        if self._table is None or not self._table.of(thresholds, weights):
            self._table = broken_line(thresholds, weights)
        return self._table


@dataclass(frozen=True, eq=False)
class _Table:
    """A broken line: where each piece begins, the value there, and its slope; piece 0 lies left of all thresholds.

    It keeps the tensors that it was made from, so that no others can take their place in memory unnoticed.
    """

    thresholds: torch.Tensor
    weights: torch.Tensor
    versions: tuple[int, int]
    starts: torch.Tensor
    values: torch.Tensor
    slopes: torch.Tensor

    def of(self, thresholds: torch.Tensor, weights: torch.Tensor) -> bool:
        """Whether it was made from these tensors as they are now."""
        same = self.thresholds.data_ptr() == thresholds.data_ptr() and self.weights.data_ptr() == weights.data_ptr()
        return same and self.versions == (thresholds._version, weights._version)


def broken_line(thresholds: torch.Tensor, weights: torch.Tensor) -> _Table:
    """The table of a network, each number rounded once."""
    places: Floats = thresholds.to("cpu", torch.float64).numpy()
    columns: Floats = weights.to("cpu", torch.float64).numpy().reshape(len(places), -1)
    table = np.zeros((2, len(places) + 1, columns.shape[1]))
    for number, column in enumerate(columns.T):
        table[:, 1:, number] = np.array(list(pieces(places, column))).T
    shape = (len(places) + 1, *weights.shape[1:])
    values, slopes = (torch.from_numpy(part.reshape(shape)).to(weights) for part in table)
    starts = torch.cat([thresholds.new_zeros(1), thresholds])
    return _Table(thresholds, weights, (thresholds._version, weights._version), starts, values, slopes)


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Construction(Generic[Network]):
    """A network with what is known of its making.

    Args:
        model: the network.
        layout: direction, order and projections of the distinct points.
        thresholds, weights: b and w, in the order of the projections.
        merged: how many exact copies of points were left out.
    """

    model: Network
    layout: Sorted
    thresholds: Floats
    weights: Floats
    merged: int

    @property
    def smallest_gap(self) -> float:
        """Between neighbouring projections; infinite for one point."""
        return self.layout.smallest_gap

    @property
    def smallest_eigenvalue(self) -> float:
        """Of Lemma 1's matrix: ``min_i (z_i - b_i)``."""
        return float(eigenvalues(self.layout.projections, self.thresholds).min())

    @cached_property
    def condition(self) -> float:
        """Of Lemma 1's matrix, in the maximum norm."""
        return condition(self.layout.projections, self.thresholds)

    @property
    def largest_weight(self) -> float:
        """``max_j |w_j|``."""
        return float(np.abs(self.weights).max())


def construct(
    inputs: Any, targets: Any, *, stream: Stream | None = None, place: float = PLACE
) -> Construction[TwoLayerMemoriser]:
    """`memorise`, with what is known of the construction.

    Args:
        inputs: ``[n, …]`` points.
        targets: ``[n]`` or ``[n, k]``.
        stream: the source of the direction; none: seed 0.
        place: between 0 and 1, see `thresholds_between`.
    """
    sample = distinct_points(inputs, targets)
    layout = separate(sample.points, stream or Stream(0, "direction"))
    thresholds = thresholds_between(layout.projections, place)
    weights = solve(layout.projections, thresholds, sample.targets[layout.order])
    outputs = weights.shape[1] if weights.ndim == 2 else None
    model = TwoLayerMemoriser(len(layout.direction), len(thresholds), outputs)
    model.direction.copy_(torch.from_numpy(layout.direction))
    model.thresholds.copy_(torch.from_numpy(thresholds))
    model.weights.copy_(torch.from_numpy(weights))
    return Construction(model, layout, thresholds, weights, sample.merged)


def memorise(inputs: Any, targets: Any, *, stream: Stream | None = None) -> TwoLayerMemoriser:
    """A two-layer ReLU network with ``2n + d`` weights that fits ``targets`` at n distinct points of dimension d.

    Written down, not trained: project the points on a random direction, put a threshold between each two neighbours,
    solve the triangular system of Lemma 1. Source: Zhang et al. (2017), Theorem 1. Targets may be any real numbers:
    measurements, ±1 (predict by the sign), or numbers of classes (predict by `TwoLayerMemoriser.classes`).

    Exact copies of a point with the same target count once, in n as well. Fewer points than features are no exception.

    Args:
        inputs: ``[n, …]``, one point a row; float32 or float64, anything else is taken to float64.
        targets: ``[n]``; or ``[n, k]``, for k outputs with ``n + n k + d`` weights.
        stream: the source of the direction; none: seed 0.

    Raises:
        DataError: ``memorise-type``, ``memorise-shape``, ``memorise-not-finite``, ``memorise-conflict`` (equal points,
            unequal targets), ``memorise-degenerate`` (points that no direction keeps apart) or ``memorise-overflow``.
    """
    return construct(inputs, targets, stream=stream).model


def thresholds_between(projections: Floats, place: float) -> Floats:
    """Interleaving thresholds: ``b_j = z_{j-1} + place · (z_j - z_{j-1})``, and b_1 one mean gap left of z_1.

    The slope of a piece carries over to the next one, reversed, by the factor ``place / (1 - place)``. Half-way
    (``place = 1/2``) that factor is 1: a steep piece between two close points is followed by steep ones for ever, all
    weights become as large as the largest, and so do rounding errors. Just right of a point, where ``place`` is small,
    the network is all but the broken line that joins the targets.
    """
    if not 0 < place < 1:
        raise DataError("memorise-place", f"Thresholds lie between points: place is {place:g}, but must lie in (0, 1).")
    spread = float(projections[-1] - projections[0])
    first = projections[0] - (spread / (len(projections) - 1) if spread else max(1.0, abs(float(projections[0]))))
    left = projections[:-1]
    between = np.maximum(left + place * np.diff(projections), np.nextafter(left, np.inf))
    return np.concatenate([[first], between])

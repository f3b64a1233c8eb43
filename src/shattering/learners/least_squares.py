"""Linear models by least squares: the interpolant of least norm, and the one that gradient descent finds by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import DataError, SpecError
from shattering.core.spec import Number, Whole
from shattering.core.streams import NORMAL_ONE
from shattering.learners.registry import Fitted, Material, learner

Matrix = NDArray[np.float64]

EXACT = 1e-6
"""The largest relative residual that counts as interpolation."""

FINEST = 1e-14
"""The smallest relative residual that descent is asked for: below it are rounding errors."""

BLOCK_BYTES = 256 << 20
"""Inputs are scored in blocks of about so much memory."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The singular values of the inputs that are not rounding errors, with their vectors.

    Args:
        left: ``[n, r]``, orthonormal columns.
        values: ``[r]``, descending, positive.
        right: ``[r, d]``, orthonormal rows, a basis of what the examples span.
    """

    left: Matrix
    values: Matrix
    right: Matrix

    def least_norm(self, targets: Matrix) -> Matrix:
        """``X⁺ Y``: of all weights with the least residual those of least norm, ``[d, k]``."""
        found: Matrix = self.right.T @ ((self.left.T @ targets) / self.values[:, None])
        return found

    def beyond(self, weights: Matrix) -> Matrix:
        """The component of weights that no example sees: orthogonal to all of them."""
        return weights - self.right.T @ (self.right @ weights)


def spectrum(inputs: Matrix) -> Spectrum:
    """The spectrum of ``[n, d]`` inputs, cut at ``max(n, d) · ε`` of the largest value; by QR first where n > d."""
    first = None
    core = inputs
    if len(inputs) > inputs.shape[1]:
        first, core = np.linalg.qr(inputs)
    left, values, right = np.linalg.svd(core, full_matrices=False)
    kept = values > max(inputs.shape) * np.finfo(np.float64).eps * values[0]
    left = left[:, kept] if first is None else first @ left[:, kept]
    return Spectrum(left, values[kept], right[kept])


def _memory(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    least = min(train, features)
    return 8.0 * (2 * train * features + 3 * train * least + 3 * features * least)


@learner(
    summary="linear model by least squares: least-norm solution, or SGD from zero or elsewhere",
    paper="Zhang et al. (2017), Section 5",
    units={
        "norm": "1",
        "residual": "1",
        "least_residual": "1",
        "distance_to_least_norm": "1",
        "distance_to_limit": "1",
        "null_component": "1",
        "rank": "dimensions",
        "condition": "1",
        "passes": "passes",
        "passes_expected": "passes",
    },
    growth=2.0,
    memory=_memory,
)
def least_squares(
    material: Material,
    *,
    method: Literal["pseudo_inverse", "descent"] = "pseudo_inverse",
    start: Literal["zero", "random"] = "zero",
    tolerance: Annotated[Number, Bound(ge=1e-14, lt=1)] = 1e-12,
    max_steps: Annotated[Whole, Bound(ge=1)] = 5_000_000,
) -> Fitted:
    """Weights W ``[d, k]`` with ``X W = Y``, Y the one-hot labels; no intercept, all in float64.

    Where examples are fewer than features and independent, infinitely many W interpolate. ``pseudo_inverse`` takes
    the one of least norm, ``Xᵀ(XXᵀ)⁻¹Y``. ``descent`` gets there without being asked to: stochastic gradient steps on
    single examples, ``w ← w - η (wᵀx_i - y_i) x_i``, never leave the span of the examples, so from zero the limit is
    the same; from a start w₀ it is the least-norm solution plus the part of w₀ that no example sees.

    The rate is ``η = 1 / max‖x_i‖²``, and the order of each pass is drawn from the stream ``order`` (index: the pass).
    On random examples the expected square of the error shrinks in n steps by ``exp(-η σ²)`` at least, σ the smallest
    singular value, which bounds the passes in advance. Descent ends at that bound, or before it where
    ``‖XW - Y‖ ≤ max(tolerance · σ/σ₁, 1e-14) · ‖Y‖``: then the weights' relative error is at most ``tolerance``, or
    what float64 can tell (Frobenius norms; checked every 16 passes).

    Args:
        material: what it is given; inputs are flattened.
        method: how weights are found.
        start: of the descent; ``random``: standard normal numbers divided by √d, from the stream ``start`` (index: the
            class). The pseudo-inverse takes it to the limit that descent has from there.
        tolerance: relative error of the weights at which descent ends.
        max_steps: the most steps on single examples that descent may be expected to need.

    Returns:
        Scores ``Wᵀx``. ``norm``, ‖W‖; ``residual``, ‖XW - Y‖ / ‖Y‖, 0 for an interpolant and at most 1 for the
        least-norm solution; ``least_residual``, the smallest that any weights have; ``distance_to_least_norm`` and
        ``distance_to_limit``, both relative to the least-norm solution; ``null_component``, the norm of the part of W
        that no example sees, 0 from zero; ``rank`` of X and its ``condition`` σ₁/σ; ``passes`` done and
        ``passes_expected``, the bound (both 0 for the pseudo-inverse). Not exact where the residual exceeds 1e-6,
        which is what happens when examples outnumber the dimensions that they span.

    Raises:
        DataError: ``least-squares-not-finite``, ``least-squares-zero``.
        SpecError: ``least-squares-no-interpolant`` where descent is asked for and no weights interpolate;
            ``least-squares-steps`` where the spectrum tells that the budget cannot do.

    Cost: ``O(n d min(n, d))`` for the spectrum, ``O(d k)`` for each of ``passes · n`` steps.
    """
    inputs, targets = material.rows.astype(np.float64), np.eye(material.num_classes)[material.labels]
    _check(inputs)
    with material.desk.waiting():
        found = spectrum(inputs)
    least = found.least_norm(targets)
    size = float(np.linalg.norm(targets))
    least_residual = float(np.linalg.norm(inputs @ least - targets)) / size
    begin = _start(material, inputs.shape[1]) if start == "random" else np.zeros_like(least)
    limit = least + found.beyond(begin)
    weights, passes, expected = limit, 0, 0
    if method == "descent":
        rank = len(found.values)
        if least_residual > EXACT:
            raise SpecError(
                "least-squares-no-interpolant",
                f"No weights fit these {len(inputs):,} examples of {inputs.shape[1]:,} features exactly: they span "
                f"{rank:,} dimensions and the least relative residual is {least_residual:.2g}; use fewer examples "
                "(--set data.train_size=…) or method=pseudo_inverse.",
            )
        stop = max(FINEST, tolerance * float(found.values[-1] / found.values[0]))
        expected = _passes_expected(inputs, found, stop, max_steps)
        weights, passes = _descend(material, inputs, targets, begin, stop * size, expected)
    residual = float(np.linalg.norm(inputs @ weights - targets)) / size
    reference = float(np.linalg.norm(least))
    facts: dict[str, float | int] = {
        "norm": float(np.linalg.norm(weights)),
        "residual": residual,
        "least_residual": least_residual,
        "distance_to_least_norm": float(np.linalg.norm(weights - least)) / reference,
        "distance_to_limit": float(np.linalg.norm(weights - limit)) / reference,
        "null_component": float(np.linalg.norm(found.beyond(weights))),
        "rank": len(found.values),
        "condition": float(found.values[0] / found.values[-1]),
        "passes": passes,
        "passes_expected": expected,
    }

    def scores(rows: NDArray[np.float32]) -> Matrix:
        flat = rows.reshape(len(rows), -1)
        block = max(1, BLOCK_BYTES // (8 * flat.shape[1]))
        parts = [flat[first : first + block].astype(np.float64) @ weights for first in range(0, len(flat), block)]
        return np.concatenate(parts)

    return Fitted(scores, facts, {"weights": weights}, train_scores=inputs @ weights, exact=residual <= EXACT)


def _check(inputs: Matrix) -> None:
    if not np.isfinite(inputs).all():
        row = int(np.flatnonzero(~np.isfinite(inputs).all(axis=1))[0])
        raise DataError(
            "least-squares-not-finite", f"Training example {row} has a value that is not finite; mend or leave it out."
        )
    if not inputs.any():
        raise DataError("least-squares-zero", "All training inputs are zero, so there is nothing to fit; check them.")


def _start(material: Material, features: int) -> Matrix:
    normals = material.stream("start").normals(np.arange(material.num_classes), features)
    start: Matrix = normals.T / (NORMAL_ONE * math.sqrt(features))
    return start


def _passes_expected(inputs: Matrix, found: Spectrum, stop: float, max_steps: int) -> int:
    largest = float((inputs * inputs).sum(axis=1).max())
    # The bound is on the error's square, and on average: the factor of ten is for starts and orders that are worse.
    passes = math.ceil(largest / float(found.values[-1]) ** 2 * 2 * math.log(10 / stop))
    if passes * len(inputs) > max_steps:
        raise SpecError(
            "least-squares-steps",
            f"Descent on these {len(inputs):,} examples would need about {passes:,} passes, {passes * len(inputs):.2g} "
            f"steps, because their smallest singular value is {found.values[-1]:.2g}; use fewer examples (--set "
            "data.train_size=…), raise model.fields.max_steps, or use method=pseudo_inverse.",
        )
    return passes


def _descend(
    material: Material, inputs: Matrix, targets: Matrix, begin: Matrix, stop: float, expected: int
) -> tuple[Matrix, int]:
    """Passes over the examples, one step each, until the residual's norm is at most ``stop`` or time is up."""
    rate = 1 / float((inputs * inputs).sum(axis=1).max())
    weights = begin.copy()
    columns = inputs[:, :, None]
    order = material.stream("order")
    done = 0
    while done < expected:
        for example in order.permutation(len(inputs), index=done):
            error = inputs[example] @ weights - targets[example]
            weights -= columns[example] * (rate * error)
        done += 1
        if done % 16 == 0:
            material.desk.told(done, expected)
            if float(np.linalg.norm(inputs @ weights - targets)) <= stop:
                break
    return weights, done

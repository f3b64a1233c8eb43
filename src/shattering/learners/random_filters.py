"""A linear model on random convolutional features: one layer of filters nobody trained, then one linear solve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import SpecError
from shattering.core.spec import Number, Whole
from shattering.learners.registry import Fitted, Material, learner

if TYPE_CHECKING:
    from torch import Tensor

EXACT = 1e-6
"""The largest relative residual of a solve that counts as one."""

ITERATIONS = 50
"""Steps of the power iterations behind the condition number."""


def _memory(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    columns = 256 * 2 * int(fields.get("regions", 2)) ** 2
    return 8.0 * 3 * train * train + (4.0 + 8.0) * max(train, test) * columns + (1 << 30)


@learner(
    summary="linear model on random convolutional features, without or with ridge",
    paper="Zhang et al. (2017), Section 5; Coates, Lee and Ng (2011)",
    units={
        "norm": "1",
        "residual": "1",
        "condition": "1",
        "ridge": "1",
        "filters": "filters",
        "features": "features",
    },
    growth=2.0,
    memory=_memory,
)
def random_filters(
    material: Material,
    *,
    filters: Annotated[Whole, Bound(ge=1)] = 1000,
    patch: Annotated[Whole, Bound(ge=2)] = 6,
    draw: Literal["patches", "gaussian"] = "patches",
    threshold: Annotated[Number, Bound(ge=0)] = 0.25,
    regions: Annotated[Whole, Bound(ge=1)] = 2,
    ridge: Annotated[Number, Bound(ge=0)] = 0.0,
) -> Fitted:
    """Solves ``(K + λ I) A = Y`` for the linear kernel K on features of random filters, Y the one-hot labels.

    ``K_ij = 1 + φ̂(x_i)ᵀφ̂(x_j)/D`` on D standardised features (`kernels.filter_kernel.linear_kernel`), by a Cholesky
    factorisation in float64 with one step of refinement. Without ridge this is the interpolant of least norm, which
    exists where there are more features than examples.

    Args:
        material: images; filters are drawn from the stream ``filters``.
        filters: number of filters; each gives ``2 · regions²`` features.
        patch: side of a filter, pixels.
        draw: whether filters are patches of training images or Gaussian noise.
        threshold: of the two-sided rectifier.
        regions: of the pooling grid, per side.
        ridge: λ; the mean of K's diagonal is 2.

    Returns:
        Scores of the linear model. ``norm``, √tr(AᵀKA), the norm of the weights; ``residual``,
        ‖Y - (K + λI)A‖ / ‖Y‖ (Frobenius); ``condition`` of K + λI, estimated by power iteration from below. Not exact
        where the residual exceeds 1e-6.

    Raises:
        SpecError: ``filters-too-few`` where without ridge there are no more features than examples;
            ``filters-singular`` where the kernel is not positive definite in float64; ``filters-not-images`` and
            ``filters-too-large`` from drawing the filters.

    Cost: convolutions of all training images twice, ``n² D`` operations for the kernel, ``n³/3`` for the solve; three
    matrices ``n × n`` of float64.
    """
    from shattering.kernels.filter_kernel import feature_weights, filter_scores, linear_kernel
    from shattering.kernels.random_filters import draw_filters

    images, count, desk = material.inputs, len(material.labels), material.desk
    bank = draw_filters(
        images,
        material.stream("filters"),
        filters=filters,
        patch=patch,
        draw=draw,
        threshold=threshold,
        regions=regions,
    )
    if ridge == 0 and bank.features < count:
        raise SpecError(
            "filters-too-few",
            f"{filters:,} filters give {bank.features:,} features, fewer than the {count:,} training examples, so "
            f"that nothing interpolates in general; set model.fields.filters to {count // bank.per_filter + 1:,} or "
            "more, or a model.fields.ridge.",
        )
    targets = np.eye(material.num_classes)[material.labels]
    kernel, scaling = linear_kernel(images, bank, device=material.device, told=desk.told)
    with desk.waiting():
        dual, facts = _solve(kernel, targets, ridge, material.device)
    weights = feature_weights(images, bank, scaling, dual, device=material.device)

    def scores(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return filter_scores(inputs, bank, scaling, weights, device=material.device)

    return Fitted(
        scores,
        {**facts, "ridge": ridge, "filters": filters, "features": bank.features},
        {"weights": weights, "mean": scaling.mean, "scale": scaling.scale, "filters": bank.weights},
        train_scores=kernel @ dual,
        exact=facts["residual"] <= EXACT,
    )


def _solve(
    kernel: NDArray[np.float64], targets: NDArray[np.float64], ridge: float, device: str
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Dual coefficients, with norm, residual and condition."""
    import torch

    matrix = torch.from_numpy(kernel).to(device, copy=True)
    matrix.diagonal().add_(ridge)
    wanted = torch.from_numpy(targets).to(device)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise SpecError(
            "filters-singular",
            "The kernel of the random filters is singular in float64, as it is where training images are copies of "
            "each other; set a model.fields.ridge such as 1e-3, or leave copies out.",
        )
    dual = torch.cholesky_solve(wanted, factor)
    dual += torch.cholesky_solve(wanted - matrix @ dual, factor)
    residual = float((wanted - matrix @ dual).norm() / wanted.norm())
    energy = float((dual * (matrix @ dual - ridge * dual)).sum())
    largest = _largest(lambda vector: matrix @ vector, wanted)
    smallest = _largest(lambda vector: torch.cholesky_solve(vector, factor), wanted)
    facts = {"norm": max(energy, 0.0) ** 0.5, "residual": residual, "condition": largest * smallest}
    return dual.cpu().numpy(), facts


def _largest(apply: Callable[[Tensor], Tensor], like: Tensor) -> float:
    """The largest eigenvalue of a positive definite matrix, from below, by power iteration."""
    import torch

    # Not constant: the constant vector is nearly the leading eigenvector, and hardly has a part in the last ones.
    vector = torch.cos(torch.arange(len(like), dtype=like.dtype, device=like.device) ** 2)[:, None]
    value = 0.0
    for _ in range(ITERATIONS):
        vector = apply(vector / vector.norm())
        value = float(vector.norm())
    return value

"""A kernel machine without regularisation: the function of least norm that passes through every training example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Bound

from shattering.core.errors import DataError
from shattering.core.spec import Number
from shattering.learners.registry import Fitted, Material, learner

RESIDUAL = 1e-6
"""A solve that leaves more than this is not the interpolant it claims to be."""

PAIRS = 2000
"""Training points, at most, between which distances are taken for their median."""

GABOR_GROWTH = 1.5
"""Features of the standard Gabor bank for each number of an image."""

Width = Annotated[Number, Bound(gt=0)] | Literal["median"]
Ridge = Annotated[Number, Bound(ge=0)]


def kernel_machine_bytes(train: int, test: int, features: int, classes: int, fields: Mapping[str, Any]) -> float:
    """Memory of the points, the factor of the kernel matrix and what a solve needs beside them."""
    from shattering.kernels.solve import solve_bytes

    grown = features * (GABOR_GROWTH if fields.get("features") == "gabor" else 1)
    return 4.0 * (train + test) * grown + solve_bytes(train, classes)


@learner(
    summary="a kernel machine: the interpolant of least norm, solved exactly",
    paper="Zhang et al. (2017), Section 5; Belkin, Ma & Mandal (2018)",
    units={
        "residual": "1",
        "condition": "1",
        "norm": "1",
        "ridge": "1",
        "gamma": "1",
        "passes": "passes",
        "duplicates": "examples",
        "shift": "1",
    },
    growth=3.0,
    memory=kernel_machine_bytes,
)
def kernel_machine(
    material: Material,
    *,
    kernel: Literal["gaussian", "laplacian", "linear"] = "gaussian",
    gamma: Width = 0.02,
    ridge: Ridge = 0.0,
    features: Literal["pixels", "gabor"] = "pixels",
) -> Fitted:
    """f(x) = Σᵢ k(x, xᵢ) aᵢ with (K + λI) A = Y, Y the one-hot labels: exact to float64, whatever it takes.

    Bytes of images divided by 255 count as k/255 exactly. Examples that are equal and have one label are solved for
    once where λ = 0: the first gets the coefficients, the others get zeros, and the function is the same.

    Args:
        material: what to learn from.
        kernel: ``gaussian`` exp(-γ‖x - x′‖²), ``laplacian`` exp(-γ‖x - x′‖), ``linear`` ⟨x, x′⟩.
        gamma: γ; ``median``: one over the median of ‖x - x′‖² (of ‖x - x′‖ for the Laplacian kernel) between training
            points. The linear kernel has none.
        ridge: λ; 0: an interpolant.
        features: what the kernel sees: the numbers of an input, or its `gabor_features`.

    Returns:
        Facts: ``residual`` ‖(K + λI) A - Y‖ / ‖Y‖ in float64 (0 to 1 at best; not exact above 10⁻⁶); ``condition`` of
        K + λI, greatest over least eigenvalue, estimated from below by Rayleigh quotients (1 or more; absent where the
        matrix is singular to float64); ``norm`` √tr(AᵀKA), the norm of all outputs together in the kernel's Hilbert
        space; ``ridge`` λ; ``gamma`` γ (0 for the linear kernel); ``passes`` multiplications by the matrix in float64;
        ``duplicates`` examples dropped as equal to an earlier one; ``shift`` greatest number added to the diagonal of
        the factor that finds corrections, never to the matrix (0 where none was needed).

    Raises:
        DataError: ``kernel-not-finite``; ``kernel-conflicting-duplicates`` where equal examples have different labels
            and λ = 0; ``kernel-rank`` where a linear kernel has fewer features than there are examples and λ = 0.
        SpecError: ``gabor-not-images`` where Gabor features are asked of inputs that are no images.

    Cost: n³/3 operations in float32 for the factor, n² times the features for each of the passes; memory 2 n² bytes,
    more for up to some 30,000 examples, whose kernel matrix is remembered.
    """
    import torch

    from shattering.kernels.duplicates import first_of_each, require_consistent, require_finite
    from shattering.kernels.functions import Kernel
    from shattering.kernels.points import frame_of, place
    from shattering.kernels.predict import predict
    from shattering.kernels.solve import kernel_matrix, solve

    desk, device = material.desk, material.device
    require_finite(material.inputs)
    see = _gabor(material) if features == "gabor" else _flat
    seen = see(material.inputs)
    kept, same = np.arange(len(seen)), np.arange(len(seen))
    if ridge == 0:
        first = first_of_each(seen)
        require_consistent(first, material.labels)
        kept, same = np.unique(first, return_inverse=True)
    if kernel == "linear" and ridge == 0:
        _require_rank(len(kept), seen.shape[1])
    if len(kept) < len(seen):
        seen = seen[kept]
    width = Kernel(kernel, _gamma(kernel, gamma, seen))
    frame = frame_of(seen, width.centred)
    points = place(seen, frame, device)
    del seen
    targets = torch.from_numpy(np.eye(material.num_classes)[material.labels[kept]]).to(device)
    solution = solve(kernel_matrix(points, width, ridge), targets, work=desk)

    def scores(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        given = place(see(inputs), frame, device)
        return predict(width, given, points, solution.coefficients, desk.should_stop).cpu().numpy()

    coefficients = np.zeros((len(same), material.num_classes))
    coefficients[kept] = solution.coefficients.cpu().numpy()
    facts = {
        "residual": solution.residual,
        "condition": solution.condition,
        "norm": solution.norm,
        "ridge": float(ridge),
        "gamma": width.gamma,
        "passes": solution.passes,
        "duplicates": len(same) - len(kept),
        "shift": solution.shift,
    }
    return Fitted(
        scores=scores,
        facts={name: value for name, value in facts.items() if np.isfinite(value)},
        weights={"coefficients": coefficients},
        train_scores=solution.values.cpu().numpy()[same],
        exact=solution.residual <= RESIDUAL,
    )


def _flat(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return inputs.reshape(len(inputs), -1)


def _gabor(material: Material) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    from shattering.kernels.gabor import gabor_features

    # Without the material itself, whose inputs would stay in memory as long as the function.
    desk, device = material.desk, material.device

    def see(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with desk.waiting():
            return gabor_features(images, device=device)

    return see


def _require_rank(examples: int, features: int) -> None:
    if examples > features:
        raise DataError(
            "kernel-rank",
            f"The linear kernel of {features:,} features has rank {features:,} at most, and {examples:,} different "
            "examples need as much as their number to be fitted whatever their labels; set model.fields.ridge above "
            "0, or model.fields.kernel to gaussian.",
        )


def _gamma(kernel: str, gamma: float | str, seen: NDArray[np.float32]) -> float:
    """γ as a number: one over the median over pairs of training points, evenly spaced ones where there are many."""
    if kernel == "linear":
        return 0.0
    if isinstance(gamma, str):
        from scipy.spatial.distance import pdist

        apart = pdist(seen[:: -(-len(seen) // PAIRS)].astype(np.float64))
        median = float(np.median(apart)) if len(apart) else 0.0
        if median == 0:
            raise DataError(
                "kernel-no-distance",
                "Half of the pairs of training examples are equal, so their distances have no median to take a width "
                "from; set model.fields.gamma to a number.",
            )
        return median**-2 if kernel == "gaussian" else 1 / median
    return float(gamma)

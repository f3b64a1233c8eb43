"""Ridge regression with a power-law spectrum, on the inputs or on linear random features, beside its equivalents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.ridge_equivalents import (
    power_laws,
    renormalised_ridge,
    ridge_errors,
    shrunk_overlap,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

EXAMPLES = (40, 80, 120, 160, 200, 260, 320, 400, 520, 700)
FEATURES = (40, 80, 120, 160, 190, 200, 210, 240, 300, 450, 600)
DECADE = (30, 42, 60, 85, 120, 170, 240, 300)
"""Where the axis is looked at: examples of plain ridge, features, and examples of a power law."""

FIXED_EXAMPLES = 200
"""Of the regression on random features."""


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes: drawing, and solving once for each place and repetition."""
    return float(fields.get("repetitions", 10) * 3e-9 * fields.get("inputs", 400) ** 3) + 1.0


@simulation(
    summary="ridge regression with a power-law spectrum against examples or random features, measured and predicted",
    paper="Atanasov, Zavatone-Veth & Pehlevan (2024)",
    units={
        "place": "",
        "kappa": "",
        "renormalisation": "x",
        "formula_naive": "",
        **{f"{kind}_{name}": "" for kind in ("simulated", "formula") for name in ("test", "train", "overlap")},
    },
    seconds=seconds,
)
def ridge_renormalised(
    bench: Bench,
    *,
    axis: Literal["examples", "features", "decade"] = "examples",
    inputs: Annotated[Whole, Bound(ge=10)] = 400,
    decay: Annotated[Number, Bound(gt=0)] = 1.2,
    source: Annotated[Number, Bound(gt=0)] = 1.2,
    ridge: Annotated[Number, Bound(ge=0)] = 0.02,
    noise: Annotated[Number, Bound(ge=0)] = 0.3,
    repetitions: Annotated[Whole, Bound(ge=1)] = 10,
) -> Iterator[Numbers]:
    """The minimiser of (1/n) ‖y - Xw‖² + λ ‖w‖² for inputs with eigenvalues i⁻ᵃ and a target with s w² = i⁻ᵇ.

    Args:
        bench: streams.
        axis: ``examples``: more examples; ``features``: more linear random features FᵀX with entries N(0, 1/N) of 200
            examples; ``decade``: examples from 30 to 300, for exponents.
        inputs: d.
        decay, source: a and b.
        ridge: λ; at 0 the shortest interpolant.
        noise: variance σ² of the labels' noise.
        repetitions: independent draws that everything is averaged over.

    Yields:
        For each place: κ; test error (noise included), training error, and ⟨w*, Σŵ⟩, simulated and by formula; with
        random features the formulas for errors are those of ridge given F, averaged over the F drawn. And the test
        error that λ in place of κ would give, as if the sample's covariance were Σ.
    """
    import numpy as np

    places = {"examples": EXAMPLES, "features": FEATURES, "decade": DECADE}[axis]
    spectrum, target = power_laws(inputs, decay, source)
    most = FIXED_EXAMPLES if axis == "features" else places[-1]
    drawn = bench.normals("simulation/inputs", repetitions * most, inputs).reshape(repetitions, most, inputs)
    noises = math.sqrt(noise) * bench.normals("simulation/noise", repetitions, most)
    widest = places[-1] if axis == "features" else 1
    projections = bench.normals("simulation/weights", repetitions * widest, inputs).reshape(repetitions, widest, inputs)
    for number, place in enumerate(places):
        bench.desk.told(number, len(places))
        count = most if axis == "features" else place
        sums = np.zeros(5)
        for draw, rest, projection in zip(drawn, noises, projections, strict=True):
            rows = draw[:count] * np.sqrt(spectrum)
            labels = rows @ target + rest[:count]
            if axis == "features":
                mixing = projection[:place].T / math.sqrt(place)
                fitted = mixing @ fit(rows @ mixing, labels, ridge)
                expected = given_mixing(spectrum, target, mixing, count, ridge, noise)
            else:
                fitted = fit(rows, labels, ridge)
                errors = ridge_errors(spectrum, target, count, ridge, noise)
                expected = (errors.test, errors.train)
            test = float(spectrum @ (fitted - target) ** 2) + noise
            train = float(((rows @ fitted - labels) ** 2).mean())
            sums += np.array([test, train, float(fitted @ (spectrum * target)), *expected])
        kappa = renormalised_ridge(spectrum, count, ridge, place if axis == "features" else None)
        means = sums / repetitions
        yield {
            "place": place,
            "kappa": kappa,
            "renormalisation": kappa / ridge if ridge else 0.0,
            "formula_naive": float((ridge**2 * spectrum * target**2 / (spectrum + ridge) ** 2).sum()) + noise,
            "simulated_test": float(means[0]),
            "simulated_train": float(means[1]),
            "simulated_overlap": float(means[2]),
            "formula_test": float(means[3]),
            "formula_train": float(means[4]),
            "formula_overlap": shrunk_overlap(spectrum, target, kappa),
        }


def fit(rows: Matrix, labels: Matrix, ridge: float) -> Matrix:
    """The minimiser of (1/n) ‖y - Xw‖² + λ ‖w‖², by whichever of the two systems is smaller; the shortest at λ = 0."""
    import numpy as np

    count, width = rows.shape
    if ridge == 0:
        return np.asarray(np.linalg.lstsq(rows, labels, rcond=1e-12)[0], dtype=np.float64)
    if width <= count:
        found = np.linalg.solve(rows.T @ rows + count * ridge * np.eye(width), rows.T @ labels)
    else:
        found = rows.T @ np.linalg.solve(rows @ rows.T + count * ridge * np.eye(count), labels)
    return np.asarray(found, dtype=np.float64)


def given_mixing(
    spectrum: Matrix, target: Matrix, mixing: Matrix, examples: int, ridge: float, noise: float
) -> tuple[float, float]:
    """Test and training error of ridge on features FᵀX of normal inputs, given F = ``mixing``, ``[d, N]``.

    The features have covariance FᵀΣF; of the target they see the best linear predictor, and the rest of its variance
    acts as label noise, for normal inputs independent of the features.
    """
    import numpy as np

    root = np.sqrt(spectrum)
    scaled = root[:, None] * mixing
    values, vectors = np.linalg.eigh(
        scaled @ scaled.T
    )  # its positive eigenvalues are those of the features' covariance
    kept = values > 1e-12 * values[-1]
    values = values[kept]
    seen = vectors[:, kept].T @ (root * target) / np.sqrt(values)
    unseen = max(float(spectrum @ target**2 - values @ seen**2), 0.0)
    errors = ridge_errors(values, seen, examples, ridge, noise + unseen)
    return errors.test, errors.train

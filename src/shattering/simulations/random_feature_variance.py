"""Random-feature regression many times over, with inits and data sets crossed: every part of its variance, unbiased."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field as Bound

from shattering.core.spec import Number, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.fine_grained_variance import Parts, given_features, given_inputs, parts_of, projected_parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

RATIOS = {
    "projection": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.4),
    "erf": (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0),
}
"""Widths beside the number of examples."""

INPUTS = {"projection": 1.5, "erf": 2 / 3}
"""Input dimensions beside the number of examples."""

PARTS = tuple(Parts.__dataclass_fields__)
NUMBERS = (*PARTS, "error", "ensemble", "bagging")


def erf_slopes() -> tuple[float, float]:
    """η = E erf(z)² = (2/π) asin(2/3) and ζ = (E z erf(z))² = 4/(3π)."""
    return 2 / math.pi * math.asin(2 / 3), 4 / (3 * math.pi)


def seconds(fields: Mapping[str, Any]) -> float:
    """About how long a run takes: the crossed regressions at every width."""
    group, examples = fields.get("group", 10), fields.get("examples", 150)
    widths = sum(RATIOS[fields.get("features", "projection")]) * examples
    return float(group**2 * widths * examples**2 * 2e-10 * (1 if fields.get("features") == "erf" else 3))


@simulation(
    summary="bias and fine-grained variance of random-feature ridge regression against width, measured and predicted",
    paper="Adlam & Pennington (2020)",
    units={
        "width": "features",
        "ratio": "",
        **{f"{kind}_{name}": "" for kind in ("simulated", "formula") for name in NUMBERS},
    },
    seconds=seconds,
)
def random_feature_variance(
    bench: Bench,
    *,
    features: Literal["projection", "erf"] = "projection",
    examples: Annotated[Whole, Bound(ge=10)] = 150,
    ridge: Annotated[Number, Bound(gt=0)] = 0.02,
    noise: Annotated[Number, Bound(ge=0)] = 0.25,
    group: Annotated[Whole, Bound(ge=2)] = 10,
) -> Iterator[Numbers]:
    """Ridge regression on p random features of n Gaussian examples, each of some inits on each of some data sets.

    The parts come from inner products of predictors that share an init, a data set, both or neither; label noise is
    fitted apart from the signal, which the predictor's linearity in the labels allows.

    Args:
        bench: streams.
        features: ``projection``: p of d = 1.5 n inputs, by a random orthogonal projection, ridge beside the mean
            squared error; ``erf``: erf(Wx/√d)/√N of d = 2n/3 inputs, ridge added to the n × n kernel.
        examples: n.
        ridge: see ``features``.
        noise: variance of the labels' noise; their signal has variance 1.
        group: inits, and data sets.

    Yields:
        For each width: the squared bias and the parts of the variance, the error of one predictor, of the mean over the
        inits (``ensemble``) and of the mean over the data sets (``bagging``); simulated, and by formula.
    """
    import numpy as np

    inputs = round(INPUTS[features] * examples)
    target = bench.normals("simulation/target", 1, inputs)[0]
    target *= math.sqrt(inputs) / float(np.linalg.norm(target))
    samples = bench.normals("simulation/inputs", group * examples, inputs).reshape(group, examples, inputs)
    noises = math.sqrt(noise) * bench.normals("simulation/noise", group, examples)
    widest = max(2, round(RATIOS[features][-1] * examples))
    draws = bench.normals("simulation/weights", group * widest, inputs).reshape(group, widest, inputs)
    tested = bench.normals("simulation/test", 600, inputs) if features == "erf" else math.sqrt(inputs) * np.eye(inputs)
    truth = tested @ target / math.sqrt(inputs)
    regress = _erf if features == "erf" else _projected
    for number, ratio in enumerate(RATIOS[features]):
        width = max(2, round(ratio * examples))
        bench.desk.told(number, len(RATIOS[features]))
        weights = draws[:, :width]
        predicted = np.stack(
            [
                regress(matrix, samples, samples @ target / math.sqrt(inputs), noises, ridge, tested)
                for matrix in weights
            ]
        )  # [init, data set, signal or noise, test point]
        simulated = measured(predicted, truth)
        if features == "erf":
            slopes = erf_slopes()
            formula = parts_of(
                [given_features(matrix, target, examples, ridge, slopes, noise) for matrix in weights],
                [given_inputs(sample, target, width, ridge, slopes, noise) for sample in samples],
            )
        else:
            formula = projected_parts(width / inputs, inputs / examples, ridge, 1.0, noise)
        expected = asdict(formula) | {
            "error": formula.error,
            "ensemble": formula.averaged(inits=group),
            "bagging": formula.averaged(samples=group),
        }
        yield (
            {"width": width, "ratio": width / examples}
            | {f"simulated_{name}": value for name, value in simulated.items()}
            | {f"formula_{name}": float(value) for name, value in expected.items()}
        )


def measured(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """The parts of the excess error, without bias, from predictors of crossed inits and data sets.

    Args:
        predicted: ``[inits, data sets, 2, test points]``: what is predicted from labels without noise, and from noise.
        truth: the labels without noise of the test points.

    Returns:
        The parts, which may be below 0 by chance, and the errors of one predictor and of both kinds of means.
    """
    signal, noisy = predicted[:, :, 0], predicted[:, :, 1]
    same, init, inputs, neither = _products(signal)
    noise_same, _, noise_inputs, _ = _products(noisy)
    centre = float((signal.mean(axis=(0, 1)) * truth).mean())
    whole = predicted.sum(axis=2)

    def error(means: Matrix) -> float:
        return float(((means - truth) ** 2).mean())

    return {
        "bias": neither - 2 * centre + float((truth**2).mean()),
        "init": init - neither,
        "inputs": inputs - neither,
        "both": same - init - inputs + neither,
        "noise": noise_inputs,
        "all_three": noise_same - noise_inputs,
        "error": error(whole),
        "ensemble": error(whole.mean(axis=0)),
        "bagging": error(whole.mean(axis=1)),
    }


def _products(values: Matrix) -> tuple[float, float, float, float]:
    """Mean products of predictors that share init and data set, only the init, only the data set, neither."""
    inits, sets, points = values.shape
    same = float((values**2).sum()) / points
    by_init = float((values.sum(axis=1) ** 2).sum()) / points
    by_set = float((values.sum(axis=0) ** 2).sum()) / points
    all_pairs = float((values.sum(axis=(0, 1)) ** 2).sum()) / points
    return (
        same / (inits * sets),
        (by_init - same) / (inits * sets * (sets - 1)),
        (by_set - same) / (sets * inits * (inits - 1)),
        (all_pairs - by_init - by_set + same) / (inits * sets * (inits - 1) * (sets - 1)),
    )


def _projected(
    weights: Matrix, samples: Matrix, labels: Matrix, noises: Matrix, ridge: float, tested: Matrix
) -> Matrix:
    """Predictions of ridge regression on orthogonal projections, ``[data sets, 2, test points]``."""
    import numpy as np

    rows = np.linalg.qr(weights.T)[0]  # [d, p]
    found = []
    for sample, label, noise in zip(samples, labels, noises, strict=True):
        seen, wanted = sample @ rows, np.stack([label, noise], axis=1)
        count, width = seen.shape
        if width <= count:
            fitted = np.linalg.solve(seen.T @ seen + count * ridge * np.eye(width), seen.T @ wanted)
        else:
            fitted = seen.T @ np.linalg.solve(seen @ seen.T + count * ridge * np.eye(count), wanted)
        found.append((tested @ (rows @ fitted)).T)
    return np.stack(found)


def _erf(weights: Matrix, samples: Matrix, labels: Matrix, noises: Matrix, ridge: float, tested: Matrix) -> Matrix:
    """Predictions of ridge regression on erf features, ``[data sets, 2, test points]``."""
    import numpy as np
    from scipy.special import erf

    width, inputs = weights.shape

    def seen(points: Matrix) -> Matrix:
        values: Matrix = erf(points @ weights.T / math.sqrt(inputs)) / math.sqrt(width)
        return values

    shown, found = seen(tested), []
    for sample, label, noise in zip(samples, labels, noises, strict=True):
        mapped = seen(sample)
        wanted = np.stack([label, noise], axis=1)
        dual = np.linalg.solve(mapped @ mapped.T + ridge * np.eye(len(sample)), wanted)
        found.append((shown @ (mapped.T @ dual)).T)
    return np.stack(found)

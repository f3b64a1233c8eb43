"""Bias and variance of trained networks, the variance split by what it comes from: the sample, or the training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BiasVariance:
    """The parts of a mean squared error; each is a mean over test points of sums over outputs.

    Args:
        bias: squared distance of the mean prediction to the target, without bias from the finite number of trainings.
        optimisation: variance between trainings on the same sample.
        sampling: variance between samples of the mean prediction over trainings.
        error: mean squared error, the sum of the three.
    """

    bias: float
    optimisation: float
    sampling: float
    error: float


def bias_variance(outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> BiasVariance:
    """Splits the error of networks trained on several samples, several times each, by the law of total variance.

    With S samples and O trainings of each: V_opt is the mean over samples of the unbiased variance over trainings;
    V_samp the unbiased variance over samples of the means over trainings, less V_opt / O, which those means still have
    of it; bias² the error less both. All three are unbiased, so small ones may be negative (Neal et al. 2018, the
    decomposition of the variance).

    Args:
        outputs: ``[samples, trainings, points, k]``, at least two of each of the first two.
        targets: ``[points, k]``.

    Raises:
        ValueError: fewer than two samples or trainings.
    """
    samples, trainings = outputs.shape[:2]
    if min(samples, trainings) < 2:
        raise ValueError("two samples and two trainings of each are the fewest that have variances")
    optimisation = float(outputs.var(axis=1, ddof=1).sum(axis=-1).mean())
    between = float(outputs.mean(axis=1).var(axis=0, ddof=1).sum(axis=-1).mean())
    error = float(((outputs - targets) ** 2).sum(axis=-1).mean())
    sampling = between - optimisation / trainings
    return BiasVariance(error - optimisation - sampling, optimisation, sampling, error)

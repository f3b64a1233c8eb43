"""Bias and the parts of the variance of ridge regression on random features: by initialisation, inputs, label noise.

The decomposition is Adlam & Pennington's (2020), "Understanding double descent requires a fine-grained bias-variance
decomposition". For linear features by an orthogonal projection it has the closed form of Lin & Dobriban (2021); for
nonlinear ones it follows from the Gaussian equivalent of the features, given one draw of them or of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """Squared bias and the parts of the variance, all at least 0 in expectation.

    Args:
        bias: squared bias B.
        init: V_P, what the initialisation alone does.
        inputs: V_X, what the sample of inputs alone does.
        both: V_PX, their interaction.
        noise: V_Xε, label noise with the inputs.
        all_three: V_PXε, label noise with inputs and initialisation.
    """

    bias: float
    init: float
    inputs: float
    both: float
    noise: float
    all_three: float

    @property
    def error(self) -> float:
        """Expected excess test error: the sum of all parts."""
        return self.bias + self.init + self.inputs + self.both + self.noise + self.all_three

    def averaged(self, inits: int = 1, samples: int = 1) -> float:
        """Expected excess error of the mean of ``inits`` predictors for each of ``samples`` independent data sets."""
        own = self.inputs + self.noise
        return self.bias + self.init / inits + own / samples + (self.both + self.all_three) / (inits * samples)


def resolvent(ratio: float, ridge: float) -> tuple[float, float]:
    """θ₁ and θ₂ = -dθ₁/dλ of the Marchenko-Pastur law with aspect ``ratio`` γ > 0, at ridge λ > 0.

    θⱼ = lim tr (S + λ)⁻ʲ / p for S = XXᵀ/n of p = γn independent features with unit variance.
    """
    inner = ridge - ratio + 1
    root = math.sqrt(inner**2 + 4 * ridge * ratio)
    # Where λ is small and γ < 1 the difference of two near numbers is avoided.
    first = 2 / (inner + root) if inner > 0 else (root - inner) / (2 * ridge * ratio)
    # From γλθ² + (1 - γ + λ)θ - 1 = 0: its derivative in λ.
    second = first * (ratio * first + 1) / (2 * ratio * ridge * first + inner)
    return first, second


def projected_parts(share: float, ratio: float, ridge: float, signal: float = 1.0, noise: float = 0.0) -> Parts:
    """The parts for d independent inputs seen through an orthogonal projection on p = π d of them.

    Args:
        share: π = p/d in (0, 1].
        ratio: δ = d/n, positive.
        ridge: λ > 0, of the loss (1/n) ‖y - f‖² + λ ‖w‖².
        signal: α² = ‖θ‖², the variance of the labels without noise.
        noise: σ², variance of the noise.

    Returns:
        The limit for n, d, p → ∞ with fixed ratios.
    """
    gamma = share * ratio
    t1, t2 = resolvent(gamma, ridge)
    root = math.sqrt((ridge + gamma - 1) ** 2 + 4 * ridge)
    lifted = ridge + (1 - share) / (2 * share) * (ridge + 1 - gamma + root)
    u1, u2 = resolvent(ratio, lifted)
    shrunk = share * (1 - ridge * t1)
    spread = t1 - ridge * t2
    init = signal * (1 - ridge * t1) ** 2 * share * (1 - share)
    inputs = signal * (1 - 2 * lifted * u1 + lifted**2 * u2 - shrunk**2)
    whole = signal * (share * (1 - 2 * ridge * t1 + ridge**2 * t2) + (1 - share) * gamma * spread)
    own = noise * ratio * (u1 - lifted * u2)
    return Parts(
        bias=(1 - shrunk) ** 2 * signal,
        init=init,
        inputs=inputs,
        both=whole - shrunk**2 * signal - init - inputs,
        noise=own,
        all_three=noise * gamma * spread - own,
    )


def positive_root(right: Callable[[float], float], start: float) -> float:
    """The κ > 0 with κ = ``right(κ)``, where right(κ)/κ falls: bisection on the logarithm to twelve digits."""
    low, high = start, start
    while right(low) < low:
        low /= 4
    while right(high) > high:
        high *= 4
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if right(middle) > middle else (low, middle)
    return math.sqrt(low * high)


@dataclass(frozen=True)
class Sums:
    """Second moments behind the parts, for one draw of what they are given: see `given_features` and `given_inputs`."""

    cosine: float
    """c = ⟨f*, E f⟩ / ⟨f*, f*⟩."""
    once: float
    """⟨E f, E f⟩, the mean taken over all but what is given."""
    noise: float
    """The same of the part that label noise makes, for noise of the given variance."""
    whole: float = 0.0
    """⟨f, f⟩ without label noise; of `given_features` only."""


def given_features(weights: Matrix, target: Matrix, examples: int, ridge: float, slopes: tuple[float, float],
                   noise: float) -> Sums:  # fmt: skip
    """Moments of kernel ridge regression on features s(Wx/√d)/√N, given W, over inputs x ~ N(0, I).

    The features' covariance is that of their Gaussian equivalent, S = [ζ WWᵀ/d + (η - ζ) I] / N, and their correlation
    with y = βx/√d is b = √ζ Wβ / (d √N). With κ = g/n + (κ/n) tr S (S + κ)⁻¹, m = (S + κ)⁻¹ b and q = tr S²(S + κ)⁻²/n
    the error without noise is (1 - 2 m·b + mᵀSm) / (1 - q), and that of the noise σ² q / (1 - q).

    Args:
        weights: W, ``[N, d]``, standard normal.
        target: β, ``[d]``, of squared length d.
        examples: n.
        ridge: g > 0, added to the n × n kernel.
        slopes: η = E s(z)² and ζ = (E z s(z))² of the centred, odd activation s.
        noise: σ².
    """
    count, inputs = weights.shape
    eta, zeta = slopes
    values, vectors = np.linalg.eigh(zeta * weights @ weights.T / inputs + (eta - zeta) * np.eye(count))
    values = np.maximum(values, 0) / count
    pull = vectors.T @ (math.sqrt(zeta) * weights @ target / (inputs * math.sqrt(count)))
    kappa = positive_root(
        lambda k: ridge / examples + k / examples * float((values / (values + k)).sum()), ridge / examples
    )
    solved = pull / (values + kappa)
    cosine, once = float(solved @ pull), float(values @ solved**2)
    shared = float(((values / (values + kappa)) ** 2).sum()) / examples
    error = (1 - 2 * cosine + once) / (1 - shared)
    return Sums(cosine, once, noise * shared / (1 - shared), once + shared * error)


def given_inputs(examples: Matrix, target: Matrix, features: int, ridge: float, slopes: tuple[float, float],
                 noise: float) -> Sums:  # fmt: skip
    """Moments of the same regression given the inputs, over W: the mean predictor is a kernel's with a larger ridge.

    K = ζ XXᵀ/d + (η - ζ) I, κ = g + (κ/N) tr K (K + κ)⁻¹, E f(x) = ζ xᵀXᵀ/d (K + κ)⁻¹ y.

    Args:
        examples: X, ``[n, d]``.
        target: β, ``[d]``, of squared length d.
        features: N.
        ridge, slopes, noise: as in `given_features`.
    """
    count, inputs = examples.shape
    eta, zeta = slopes
    values, vectors = np.linalg.eigh(zeta * examples @ examples.T / inputs + (eta - zeta) * np.eye(count))
    kappa = positive_root(lambda k: ridge + k / features * float((values / (values + k)).sum()), ridge)
    turned = vectors.T @ examples  # [n, d]
    labels = turned @ target / math.sqrt(inputs)
    mean = zeta / inputs * turned.T @ (labels / (values + kappa))
    noisy = zeta / inputs * turned / (values + kappa)[:, None]
    return Sums(float(mean @ target) / math.sqrt(inputs), float(mean @ mean), noise * float((noisy**2).sum()))


def parts_of(features: list[Sums], inputs: list[Sums]) -> Parts:
    """The parts from several draws of W and of X, their moments averaged before they are subtracted.

    The mean predictor is known from both sides, up to what finite size makes of each: a variance is taken around the
    mean of its own side, the bias from the mean of both.
    """

    def mean(found: list[float]) -> float:
        return sum(found) / len(found)

    centres = [mean([sums.cosine for sums in side]) for side in (features, inputs)]
    init, own = (
        mean([sums.once for sums in side]) - centre**2 for side, centre in zip((features, inputs), centres, strict=True)
    )
    noisy, noise = (mean([sums.noise for sums in side]) for side in (features, inputs))
    return Parts(
        bias=(1 - mean(centres)) ** 2,
        init=init,
        inputs=own,
        both=mean([sums.whole - sums.once for sums in features]) - own,
        noise=noise,
        all_three=noisy - noise,
    )

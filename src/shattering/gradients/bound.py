"""What coherence says about the generalisation gap: the stability bound of Chatterjee & Zielinski (2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shattering.core.errors import SpecError


def generalization_gap_bound(
    alphas: Sequence[float],
    learning_rates: Sequence[float],
    *,
    lipschitz: float,
    smoothness: float,
    examples: int,
) -> float:
    """Upper bound on the expected generalisation gap after T steps of (stochastic) gradient descent.

    |gap| ≤ (L²/m) Σₜ [Πₖ₌ₜ₊₁..T (1 + ηₖβ)] ηₜ √(2 (1 − α(wₜ₋₁))), t = 1..T, in expectation over samples of m examples
    and over the order of the examples (Chatterjee & Zielinski 2022, the generalisation theorem). It holds for every
    batch size: with b of m examples in a batch, an example is in it b times as often and weighs 1/b as much.

    Qualitative, as its authors say: L and β are unknown for networks, the product grows exponentially with the steps,
    and √(2 (1 − α)) moves by five per cent between α = 0 and α = 0.1, so it separates real from random labels only
    where α is of order 1. What it does say: equal gradients do not overfit, early coherence counts more than late,
    and the gap falls like 1/m.

    Args:
        alphas: α of the *distribution* at the weights before each step, in [0, 1], T of them. An estimate from m
            examples contains every example's product with itself, and is larger by about (1 − α)/m.
        learning_rates: ηₜ, at least 0, T of them.
        lipschitz: L, the largest norm of the gradient of any example's loss along the way, at least 0.
        smoothness: β, the largest Lipschitz constant of such a gradient, at least 0.
        examples: m, at least 1.

    Returns:
        A bound in units of the loss: 0 if every α is 1 or no step is taken; infinite where the product overflows.

    Raises:
        SpecError: ``bound-lengths`` if α and rates differ in number; ``bound-range`` if a value is out of its range.
    """
    if len(alphas) != len(learning_rates):
        raise SpecError(
            "bound-lengths",
            f"The bound wants one alpha for each learning rate, not {len(alphas)} for {len(learning_rates)} steps.",
        )
    for name, values, low, high in (
        ("alphas", alphas, 0.0, 1.0),
        ("learning_rates", learning_rates, 0.0, math.inf),
        ("lipschitz", [lipschitz], 0.0, math.inf),
        ("smoothness", [smoothness], 0.0, math.inf),
        ("examples", [examples], 1.0, math.inf),
    ):
        for value in values:
            if not low <= value <= high or math.isinf(value):
                allowed = f"finite and at least {low:g}" if math.isinf(high) else f"in [{low:g}, {high:g}]"
                raise SpecError("bound-range", f"{name} of the bound must be {allowed}, not {value}.")
    # Horner's scheme from the first step on: each step multiplies what earlier ones left by 1 + ηβ.
    total = 0.0
    for alpha, rate in zip(alphas, learning_rates, strict=True):
        total = (1 + rate * smoothness) * total + rate * math.sqrt(2 * (1 - alpha))
    return lipschitz * lipschitz / examples * total

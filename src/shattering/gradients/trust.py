"""Which way each parameter goes, and why: closed forms are believed only as far as single examples bear them out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shattering.gradients.capture import INTERLEAVED, SECOND
from shattering.gradients.sums import IN_CACHE, inner_product

TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-7}
"""Largest relative difference from single examples that passes for rounding; a wrong rule is off by a factor."""

NOISE = {torch.float32: 1e-5, torch.float64: 1e-13}
"""A gradient so small beside that of all parameters is rounding, and proves nothing."""

UNSEEN = "it is used where no torch function shows it"
DIFFERS = "the rule's gradients differ from those of single examples"


class Trust:
    """What has been found out about a model's parameters.

    Args:
        parameters: of the model.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.slow: dict[str, tuple[str, str]] = {}
        """Parameters that do not go in closed form: the way and the reason."""
        self.layouts: dict[str, int] = {}
        """Where the examples are in what a parameter's functions get, if not first."""
        self.verified: set[Any] = set()
        """Sequences of uses that have been compared."""
        self._unproven = set(parameters)

    @property
    def followed(self) -> dict[str, nn.Parameter]:
        """Parameters in closed form."""
        if not self.slow:
            return dict(self.parameters)
        return {name: p for name, p in self.parameters.items() if name not in self.slow}

    @property
    def proven(self) -> bool:
        """Whether every closed form has been compared with a gradient that was not zero."""
        return not self._unproven - self.slow.keys()

    def none_followed(self, reason: str) -> None:
        """All parameters go the slow way."""
        self.slow |= dict.fromkeys(self.followed, ("vmap", reason))

    def wrong(
        self,
        references: Iterable[tuple[float, dict[str, Tensor]]],
        norms: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        n: int,
    ) -> list[str]:
        """Names of parameters whose gradients differ from those of the first and last of n examples alone.

        Args:
            references: of these examples.
            norms: squared, per parameter, ``[n]``.
            totals: sums over the n examples, compared if there are no others.
            n: number of examples.
        """
        sizes: dict[str, list[float]] = {name: [] for name in self.parameters}
        parts: dict[str, list[Tensor]] = {}
        for _, gradients in references:
            for name in list(gradients):
                gradient = gradients.pop(name)
                sizes[name].append(math.sqrt(inner_product(gradient, gradient)))
                if n <= 2:
                    parts.setdefault(name, []).append(gradient)
        away = {name: _distance(totals[name], found) for name, found in parts.items() if name in totals}
        whole = max(math.hypot(*column) for column in zip(*sizes.values(), strict=True))
        found: list[str] = []
        for name, p in self.followed.items():
            tolerance, noise = TOLERANCE[p.dtype], NOISE[p.dtype] * whole
            ours = [math.sqrt(max(0.0, float(norms[name][i]))) if name in norms else 0.0 for i in sorted({0, n - 1})]
            close = all(abs(f - s) <= tolerance * s + noise for f, s in zip(ours, sizes[name], strict=True))
            if not close or away.get(name, 0.0) > tolerance * max(sizes[name]) + noise:
                found.append(name)
            elif min(sizes[name]) > 10 * noise:
                self._unproven.discard(name)
        return found

    def refuse(self, wrong: Iterable[str], norms: Mapping[str, Tensor]) -> None:
        """Tries another layout for what was wrong, or lets it go the slow way."""
        for name in wrong:
            if not self._try_otherwise(name, DIFFERS if name in norms else UNSEEN):
                return

    def unruled(self, functions: Mapping[str, str]) -> None:
        """Likewise for parameters that got into functions without a rule that applies."""
        # A weight whose layout is being tried takes the bias beside it along, which may be right as it is.
        begun = [name for name in functions if name in self.layouts]
        for name in begun or functions:
            reason = f"no rule for {functions[name]}"
            if not begun:
                self.slow[name] = ("vmap", reason)
            elif not self._try_otherwise(name, reason):
                return

    def _try_otherwise(self, name: str, reason: str) -> bool:
        """Whether there was another layout to try."""
        layout = self.layouts.get(name, 0) + 1
        if layout <= max(SECOND, INTERLEAVED):
            self.layouts[name] = layout
            return True
        # A layout tried in vain may have led others astray that share a function with this one: they start again.
        self.layouts.clear()
        self.slow[name] = ("vmap", reason)
        return False


def _distance(total: Tensor, parts: list[Tensor]) -> float:
    """The Euclidean distance of a tensor from the sum of others; beside them there are only blocks in float64."""
    step = IN_CACHE if total.device.type == "cpu" else 2**24
    flat, others = total.flatten(), [part.flatten() for part in parts]
    square = 0.0
    for start in range(0, len(flat), step):
        block = slice(start, start + step)
        rest = flat[block].to(torch.float64, copy=True)
        for other in others:
            rest -= other[block]
        square += float(torch.dot(rest, rest))
    return math.sqrt(square)

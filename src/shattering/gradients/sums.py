"""What one pass over the examples leaves behind: Σgᵢ and Σ‖gᵢ‖², per parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from shattering.gradients.alignment import Alignment

IN_CACHE = 2**16
"""Entries at a time that go into float64 on a CPU to be multiplied, so that they stay in a core's cache."""


class Totals(Mapping[str, torch.Tensor]):
    """Σgᵢ per parameter, each float64 as it is read, though kept in the arithmetic it was added up in.

    Sums over few examples are float32: kept so they take half the memory, and none is copied that nobody reads.

    Args:
        kept: 2^exponent Σgᵢ per parameter, in the parameter's shape.
        exponents: those that are not 0.
    """

    def __init__(self, kept: Mapping[str, torch.Tensor], exponents: Mapping[str, int] | None = None) -> None:
        self._kept, self._exponents = dict(kept), dict(exponents or {})

    def __getitem__(self, name: str) -> torch.Tensor:
        value = self._kept[name].to(torch.float64, memory_format=torch.contiguous_format)
        # Exact: the factor is a power of two.
        return value * 2.0 ** -self._exponents[name] if self._exponents.get(name) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def dot(self, name: str, other: Totals) -> float:
        """The inner product of two totals of a parameter, in float64 throughout."""
        exponent = self._exponents.get(name, 0) + other._exponents.get(name, 0)
        return inner_product(self._kept[name], other._kept[name]) * 2.0**-exponent


def inner_product(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of two tensors of one shape: in float64 throughout, and without a copy of either in float64."""
    same = first is second
    first = first.flatten()
    second = first if same else second.flatten()
    step = IN_CACHE if first.device.type == "cpu" else 2**24
    found = torch.zeros((), dtype=torch.float64, device=first.device)
    for start in range(0, len(first), step):
        one = first[start : start + step].double()
        found += torch.dot(one, one if same else second[start : start + step].double())
    return float(found)


@dataclass(frozen=True, eq=False)
class GradientSums:
    """Sums over the gradients of m examples; the sums over two disjoint sets of examples add.

    Args:
        examples: m.
        total: Σgᵢ per parameter, float64, in the parameter's shape; not to be changed.
        squared: Σ‖gᵢ‖² per parameter.
        squared_norms: ‖gᵢ‖² over all parameters, float64 ``[m]``, in the order of the examples.
        losses: ℓᵢ, float64 ``[m]``.
        roundoff: machine epsilon of the arithmetic that the gradients were computed in.
    """

    examples: int
    total: Mapping[str, torch.Tensor]
    squared: Mapping[str, float]
    squared_norms: torch.Tensor
    losses: torch.Tensor
    roundoff: float

    def __add__(self, other: GradientSums) -> GradientSums:
        if self.total.keys() != other.total.keys():
            raise ValueError("sums over different parameters do not add")
        return GradientSums(
            examples=self.examples + other.examples,
            total={name: value + other.total[name] for name, value in self.total.items()},
            squared={name: value + other.squared[name] for name, value in self.squared.items()},
            squared_norms=torch.cat([self.squared_norms, other.squared_norms]),
            losses=torch.cat([self.losses, other.losses]),
            roundoff=max(self.roundoff, other.roundoff),
        )

    def alignment(self, parameters: Iterable[str] | None = None) -> Alignment:
        """Coherence over the named parameters; none: over all of them."""
        names = list(self.total if parameters is None else parameters)
        return Alignment(
            examples=self.examples,
            squared_norm_of_sum=sum(self._squares_of_sums[name] for name in names),
            sum_of_squared_norms=sum(self.squared[name] for name in names),
            roundoff=self.roundoff,
        )

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """The parameters of each module that holds any, by the module's name, in the network's order."""
        grouped: dict[str, tuple[str, ...]] = {}
        for name in self.total:
            layer = name.rpartition(".")[0]
            grouped[layer] = (*grouped.get(layer, ()), name)
        return grouped

    def mean_gradient(self) -> dict[str, torch.Tensor]:
        """ḡ = Σgᵢ/m per parameter, float64."""
        return {name: value / self.examples for name, value in self.total.items()}

    def dot(self, other: GradientSums) -> float:
        """⟨Σgᵢ, Σgⱼ'⟩, the inner product with another set's sum."""
        mine, others = self._totals, other._totals
        return sum(mine.dot(name, others) for name in mine)

    @cached_property
    def _squares_of_sums(self) -> dict[str, float]:
        """‖Σgᵢ‖² per parameter: the whole and every layer are made of the same ones."""
        totals = self._totals
        return {name: totals.dot(name, totals) for name in totals}

    @property
    def _totals(self) -> Totals:
        return self.total if isinstance(self.total, Totals) else Totals(self.total)

"""Which way each parameter's gradients were computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

WAYS = ("closed form", "vmap", "loop")
"""From the fastest: rules inside one ordinary backward, gradients vectorised over examples, one example at a time."""


@dataclass(frozen=True)
class Coverage:
    """How the gradients of single examples were obtained; all three ways give the same numbers.

    Args:
        ways: per parameter, one of `WAYS`.
        reasons: per parameter not in closed form, why.
        sizes: entries per parameter.
        kinds: per parameter, the class of the module that holds it.
    """

    ways: Mapping[str, str]
    reasons: Mapping[str, str]
    sizes: Mapping[str, int]
    kinds: Mapping[str, str]

    def parameters(self, way: str) -> tuple[str, ...]:
        """Names of the parameters that went this way."""
        return tuple(name for name, taken in self.ways.items() if taken == way)

    def modules(self, way: str) -> tuple[str, ...]:
        """Names of the modules whose slowest parameter went this way; the model itself is ``""``."""
        slowest: dict[str, int] = {}
        for name, taken in self.ways.items():
            owner = name.rpartition(".")[0]
            slowest[owner] = max(slowest.get(owner, 0), WAYS.index(taken))
        return tuple(owner for owner, taken in slowest.items() if WAYS[taken] == way)

    def share(self, way: str) -> float:
        """Share of the parameters' entries that went this way, in [0, 1]."""
        return sum(self.sizes[name] for name in self.parameters(way)) / sum(self.sizes.values())

    def __str__(self) -> str:
        owners = {name.rpartition(".")[0] for name in self.ways}
        total = sum(self.sizes.values())
        parts = [
            f"closed form: {len(self.modules('closed form'))} of {len(owners)} modules "
            f"({100 * self.share('closed form'):.1f}% of {total:,} parameters)"
        ]
        for way in WAYS[1:]:
            names = self.parameters(way)
            if names:
                parts.append(f"{way}: {', '.join(self._told(names))}")
        return "; ".join(parts)

    def _told(self, names: tuple[str, ...]) -> list[str]:
        owners = {name.rpartition(".")[0]: name for name in reversed(names)}
        by_reason: dict[str, list[str]] = {}
        for owner, name in reversed(owners.items()):
            by_reason.setdefault(self.reasons[name], []).append(f"{owner or 'the model itself'} ({self.kinds[name]})")
        return [f"{', '.join(told)}, because {reason}" for reason, told in by_reason.items()]


def coverage_of(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], reasons: Mapping[str, tuple[str, str]]
) -> Coverage:
    """Coverage of a model from the reasons why some parameters are not in closed form: name to (way, reason)."""
    owners = dict(model.named_modules())
    kinds = {name: _kind(owners[name.rpartition(".")[0]]) for name in parameters}
    return Coverage(
        ways={name: reasons[name][0] if name in reasons else WAYS[0] for name in parameters},
        reasons={name: reason for name, (_, reason) in reasons.items()},
        sizes={name: parameter.numel() for name, parameter in parameters.items()},
        kinds=kinds,
    )


def _kind(module: nn.Module) -> str:
    kind = type(module)
    return f"torch.nn.{kind.__name__}" if kind.__module__.startswith("torch.nn.modules") else kind.__name__

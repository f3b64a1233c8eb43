"""The coherence of a network's per-example gradients, as a whole and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from shattering.core.errors import DataError
from shattering.gradients.alignment import Alignment
from shattering.gradients.batches import Batches, Loss
from shattering.gradients.coverage import Coverage
from shattering.gradients.engine import MEMORY, Engine
from shattering.gradients.sums import GradientSums


@dataclass(frozen=True, eq=False)
class Coherence:
    """How far the gradients of m examples point the same way, at one set of weights.

    Args:
        alignment: over all parameters.
        layers: per module with parameters of its own, by name; a parameter of the model itself is in ``""``.
        parameters: per parameter.
        squared_norms: ‖gᵢ‖² over all parameters, float64 ``[m]``, in the order of the examples.
        losses: ℓᵢ, float64 ``[m]``.
        mean_gradient: ḡ per parameter, float64.
        coverage: how the gradients were computed.
        notes: what was done to give each example a gradient of its own; empty if nothing had to be.
    """

    alignment: Alignment
    layers: Mapping[str, Alignment]
    parameters: Mapping[str, Alignment]
    squared_norms: torch.Tensor
    losses: torch.Tensor
    mean_gradient: Mapping[str, torch.Tensor]
    coverage: Coverage
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """m."""
        return self.alignment.examples

    @property
    def alpha(self) -> float:
        """α = ‖Σgᵢ‖² / (m Σ‖gᵢ‖²), in [0, 1]: 1 if all gradients are equal; NaN if all are zero."""
        return self.alignment.alpha

    @property
    def m_coherence(self) -> float:
        """m·α, in [0, m]: 1 if gradients are orthogonal, m if identical; NaN if all are zero."""
        return self.alignment.m_coherence

    @property
    def floor(self) -> float:
        """The α that rounding alone leaves of gradients that cancel exactly."""
        return self.alignment.floor

    @property
    def resolved(self) -> bool:
        """Whether α stands at least tenfold above its floor."""
        return self.alignment.resolved

    @property
    def mean_loss(self) -> float:
        """(1/m) Σℓᵢ."""
        return float(self.losses.mean())

    def __str__(self) -> str:
        rows = [("layer", "m-coherence", "alpha", "share of the squared norm")]
        whole = self.alignment.sum_of_squared_norms
        for name, part in [*self.layers.items(), ("all", self.alignment)]:
            if part.sum_of_squared_norms == 0:
                rows.append((name or "(the model itself)", "no gradient", "-", "-"))
                continue
            alpha = f"{part.alpha:.3g}" if part.resolved else f"< {10 * part.floor:.1g}"
            share = f"{part.sum_of_squared_norms / whole:.1%}"
            rows.append((name or "(the model itself)", f"{part.m_coherence:.4g}", alpha, share))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [f"Gradients of {self.examples:,} examples, mean loss {self.mean_loss:.4g}"]
        for row in rows:
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append("  ".join(cells))
        lines += [f"({note})" for note in self.notes]
        return "\n".join([*lines, str(self.coverage)])


def coherence(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    *,
    max_memory: int = MEMORY,
    dropout: str = "off",
    batch_norm: str = "evaluation",
    seed: int = 0,
) -> Coherence:
    """Measures how far the gradients of single examples point the same way.

    α = ‖Σgᵢ‖² / (m Σ‖gᵢ‖²), with gᵢ the gradient of the loss of example i alone, and m-coherence = m·α: how many
    examples, itself included, a step along one example's gradient helps (Chatterjee & Zielinski 2020, 2022, their
    definitions). For all parameters, each layer and each parameter at once, in about the time of a forward and a
    backward pass.

    Args:
        model: any network; it is measured in evaluation mode and left as it was.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches such as a DataLoader.
            α depends on m: compare only measurements of as many examples.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch); one number per example, or their
            mean or sum.
        max_memory: bytes that activations and gradients of a chunk may take.
        dropout: ``"off"``, or ``"fixed"``: on, with one mask for all examples.
        batch_norm: ``"evaluation"``: by running statistics; ``"refuse"``: an error if the model would use a batch's.
        seed: of the fixed masks.

    Raises:
        DataError: there are fewer than two examples, or one has a loss or gradient that is not finite.
        ModelError: the model cannot be measured, see `Engine`.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> def loss(outputs, targets):
    ...     return outputs[:, 0] * targets
    >>> round(coherence(model, (inputs, torch.ones(2)), loss).m_coherence, 6)
    1.0
    """
    engine = Engine(model, loss, max_memory=max_memory, dropout=dropout, batch_norm=batch_norm, seed=seed)
    return of_sums(engine.sums(batches), engine.coverage, engine.notes)


def of_sums(sums: GradientSums, coverage: Coverage, notes: tuple[str, ...] = ()) -> Coherence:
    """The coherence that sums over gradients amount to.

    Raises:
        DataError: they are of fewer than two examples.
    """
    if sums.examples < 2:
        raise DataError(
            "gradients-too-few-examples",
            "The coherence of a single example is 1 by definition; give at least two examples.",
        )
    return Coherence(
        alignment=sums.alignment(),
        layers={layer: sums.alignment(names) for layer, names in sums.layers.items()},
        parameters={name: sums.alignment([name]) for name in sums.total},
        squared_norms=sums.squared_norms,
        losses=sums.losses,
        mean_gradient=sums.mean_gradient(),
        coverage=coverage,
        notes=notes,
    )

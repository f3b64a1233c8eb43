"""What is measured of a network on the fixed examples: coherence, loss, accuracy, and which examples are right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shattering.core.errors import DataError, ModelError
from shattering.gradients.batches import Batch, Loss, batch_size, is_pair, loss_of, rows_of, tensors_of, to_device
from shattering.gradients.engine import Engine
from shattering.measures.coherence import NETWORK, coherence_numbers
from shattering.measures.registry import GroupedSums
from shattering.watching.probe import FixedProbe

Right = Callable[..., Tensor]
"""Which examples are right: ``(outputs, targets)`` of a pair, else ``(model, batch)``, to bool ``[n]``."""

BATCH_NORM = "batch normalisation is measured with its running statistics, not with those of a batch as in training"
DROPOUT = "dropout is off where the network is measured"


@dataclass(frozen=True, eq=False)
class Measured:
    """One look at a network.

    Args:
        numbers: by name, without the step; what is not finite is left out.
        losses: ℓᵢ, float64 ``[m]``, in the order of the probe.
        right: bool ``[m]``; none where that is not known.
    """

    numbers: dict[str, float]
    losses: NDArray[np.float64]
    right: NDArray[np.bool_] | None


class Gauge:
    """Measures one network on one probe, again and again. The network must be in evaluation mode (`state.kept`).

    Args:
        model: the network.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).
        probe: the examples.
        right: which of them are right; none: by the largest output, where outputs and targets have the usual shapes.
        max_memory: bytes that activations and gradients of a chunk may take.

    Raises:
        ModelError: the network cannot be measured, see `gradients.engine.Engine`.
    """

    def __init__(self, model: nn.Module, loss: Loss, probe: FixedProbe, right: Right | None, max_memory: int) -> None:
        self.model, self.loss, self.probe = model, loss, probe
        self._right = right
        self.why_no_accuracy = ""
        self.engine = Engine(model, loss, max_memory=max_memory)
        self._device = next(iter(self.engine.parameters.values())).device

    def look(self) -> Measured:
        """Measures once.

        Raises:
            DataError: a loss or gradient is not finite, or the loss has no meaning for an example alone.
            ModelError: model or loss fail.
        """
        probe = self.probe
        pristine, corrupt = (self.engine.sums(iter(part)) if part else None for part in (probe.pristine, probe.corrupt))
        sums = GroupedSums(pristine, corrupt)
        whole = sums.all
        total = sum(whole.squared.values())
        if total == 0:
            self._require_losses_to_add_up()
        numbers = {"probe_loss": float(whole.losses.mean())}
        # Of each layer, its share in Σ‖gᵢ‖²: over layers, α is a mean with these weights.
        for layer, names in whole.layers.items():
            if total > 0:
                numbers[f"gradient_share/{layer or NETWORK}"] = sum(whole.squared[name] for name in names) / total
        numbers |= coherence_numbers(sums)
        right = self._which_right()
        if right is not None:
            numbers["probe_accuracy"] = float(right.mean())
        if probe.changed is not None:
            for group, which in (("pristine", ~probe.changed), ("corrupt", probe.changed)):
                if which.any():
                    numbers[f"{group}_loss"] = float(whole.losses[torch.as_tensor(which)].mean())
                    if right is not None:
                        numbers[f"{group}_accuracy"] = float(right[which].mean())
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        return Measured(finite, whole.losses.numpy(), right)

    @property
    def slower(self) -> bool:
        """Whether some gradients do not come from the pass over a whole batch, see `gradients.coverage`."""
        return bool(self.engine.coverage.reasons)

    def _require_losses_to_add_up(self) -> None:
        """Raises `DataError` where the loss of a batch has nothing to do with those of its examples."""
        batch = to_device((*self.probe.pristine, *self.probe.corrupt)[0], self._device)
        rows = [rows_of(batch, slice(i, i + 1)) for i in range(min(8, batch_size(batch)))]
        with torch.no_grad():
            alone = [float(loss_of(self.model, self.loss, row).sum()) for row in rows]
            together = float(loss_of(self.model, self.loss, rows_of(batch, slice(0, len(rows)))).sum())
        if not any(math.isclose(together, each, rel_tol=1e-3, abs_tol=1e-6) for each in (sum(alone), fmean(alone))):
            raise DataError(
                "watch-loss-not-per-example",
                f"The loss of every example alone has no gradient, and that of {len(rows)} together ({together:.4g}) "
                "is neither their mean nor their sum; give a loss with one number per example.",
            )

    def _which_right(self) -> NDArray[np.bool_] | None:
        if self.why_no_accuracy:
            return None
        found: list[Tensor] = []
        with torch.no_grad():
            for batch in (*self.probe.pristine, *self.probe.corrupt):
                which = self._right_of(to_device(batch, self._device))
                if which is None:
                    return None
                found.append(which.reshape(-1).cpu())
        return torch.cat(found).numpy()

    def _right_of(self, batch: Batch) -> Tensor | None:
        n = batch_size(batch)
        try:
            if not is_pair(batch):
                if self._right is None:
                    self._say_why("a batch is no pair (inputs, targets)")
                    return None
                which = self._right(self.model, batch)
            elif self._right is not None:
                which = self._right(self.model(batch[0]), batch[1])
            else:
                usual = by_largest_output(self.model(batch[0]), batch[1], self.loss)
                if isinstance(usual, str):
                    self._say_why(usual)
                    return None
                which = usual
        except Exception as error:
            raise ModelError(
                "watch-right-fails",
                f"Telling which examples are right failed with {type(error).__name__}: {error}; correct right=.",
            ) from error
        if not isinstance(which, Tensor) or which.numel() != n:
            what = tuple(which.shape) if isinstance(which, Tensor) else type(which).__name__
            raise ModelError(
                "watch-right-shape", f"right= gave {what} for {n} examples; it must give one true or false for each."
            )
        return which.bool()

    def _say_why(self, why: str) -> None:
        self.why_no_accuracy = f"no accuracy and no learning steps, because {why}; give right= to say what is right"


def by_largest_output(outputs: Any, targets: Any, loss: Loss | None = None) -> Tensor | str:
    """Which examples have their largest output at the target; why that cannot be told, where it cannot.

    Args:
        outputs: ``[n, k]``, or an object with such ``logits``; ``[n]`` or ``[n, 1]`` logits of the second class of two
            where ``loss`` is torch's binary cross-entropy with logits.
        targets: int ``[n]``; class probabilities ``[n, k]`` count by their largest.
        loss: the training's.
    """
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or len(tensors_of(targets)) != 1:
        return f"outputs are a {type(outputs).__name__} and targets a {type(targets).__name__}"
    n = len(targets)
    told = f"outputs are {tuple(outputs.shape)} and targets {tuple(targets.shape)} of {targets.dtype}"
    binary = isinstance(loss, nn.BCEWithLogitsLoss) or loss is nn.functional.binary_cross_entropy_with_logits
    if binary and outputs.numel() == n == targets.numel():
        return (outputs.reshape(n) > 0) == (targets.reshape(n) > 0.5)
    if outputs.dim() != 2 or outputs.shape[0] != n or outputs.shape[1] < 2:
        return told
    if targets.shape == (n,) and not targets.is_floating_point():
        return outputs.argmax(1) == targets
    if targets.shape == outputs.shape and loss is nn.functional.cross_entropy:
        return outputs.argmax(1) == targets.argmax(1)
    return told


def notes_of(model: nn.Module) -> tuple[str, ...]:
    """What differs between the network that is measured and the one that is trained, one clause each."""
    parts = list(model.modules())
    notes = []
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts):
        notes.append(BATCH_NORM)
    if any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in parts):
        notes.append(DROPOUT)
    return tuple(notes)

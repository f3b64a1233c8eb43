"""What gradients of single examples cannot be measured of, or only with a note."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError, ModelError, SpecError


def require_finite_losses(losses: Tensor, before: int) -> None:
    """Raises `DataError` with the number of the first example, after so many ``before``, whose loss is not finite."""
    # One number read in the usual case; a sum may overflow without any of its terms being infinite.
    if math.isfinite(float(losses.sum())):
        return
    bad = ~losses.isfinite()
    if bool(bad.any()):
        i = int(bad.nonzero()[0, 0])
        raise DataError(
            "gradients-loss-not-finite",
            f"The loss of example {before + i} (counted from 0) is {float(losses[i])}; "
            "check its inputs, or measure before the training diverged.",
        )


def require_finite(names: Iterable[str], squares: Tensor, before: int) -> None:
    """Likewise of squared norms ``[parameters, n]``, of the parameters of these names."""
    if math.isfinite(float(squares.sum())):
        return
    finite = squares.isfinite()
    bad = ~finite.all(0)
    if bool(bad.any()):
        i = int(bad.nonzero()[0, 0])
        name = next(name for name, right in zip(names, finite[:, i].tolist(), strict=True) if not right)
        raise DataError(
            "gradients-not-finite",
            f"The gradient of example {before + i} (counted from 0) by {name} is not finite; "
            "look for a division by zero or a logarithm of zero in the backward of the model or the loss.",
        )


def check_arguments(max_memory: int, dropout: str, batch_norm: str) -> None:
    """Raises `SpecError` for an option that is not known."""
    for key, value, known in (
        ("dropout", dropout, ("off", "fixed")),
        ("batch_norm", batch_norm, ("evaluation", "refuse")),
    ):
        if value not in known:
            raise SpecError(
                f"gradients-{key.replace('_', '-')}",
                f"{key}={value!r} is not known; choose {known[0]!r} or {known[1]!r}.",
            )
    if max_memory < 1:
        raise SpecError("gradients-max-memory", f"max_memory={max_memory} must be a positive number of bytes.")


def check_arithmetic(parameters: dict[str, nn.Parameter]) -> None:
    """Raises `ModelError` for parameters, or a context, with less precision than float32, and for complex ones."""
    for name, p in parameters.items():
        if p.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                "gradients-arithmetic",
                f"The parameter {name} is in {p.dtype}; coherence near zero is lost in its rounding: "
                "convert the model with .float() or .double().",
            )
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ModelError(
            "gradients-autocast",
            "Gradients are to be measured inside torch.autocast, whose rounding drowns coherence near zero; "
            "leave that context first.",
        )


def notes_on(model: nn.Module, dropout: str, batch_norm: str) -> tuple[str, ...]:
    """What is done to the model so that each example has a gradient; raises `ModelError` where that is not possible."""
    notes = []
    norms = [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    for name, module in norms:
        if module.running_mean is None:
            raise ModelError(
                "gradients-batch-statistics",
                f"The batch normalisation {name or type(module).__name__} keeps no running statistics, so that no "
                "example has a gradient of its own; use shattering.gradients.minibatch, which measures whole batches.",
            )
    training = [name for name, module in norms if module.training]
    if training and batch_norm == "refuse":
        raise ModelError(
            "gradients-batch-norm",
            f"The batch normalisation {training[0]} is in training mode, where no example has a gradient of its own; "
            'call model.eval(), or allow running statistics with batch_norm="evaluation".',
        )
    if training:
        layers = f"{len(training)} batch normalisation{'s' if len(training) > 1 else ''}"
        notes.append(
            f"a per-example gradient does not exist with batch statistics; running statistics are used in {layers} "
            "(shattering.gradients.minibatch measures whole batches instead)"
        )
    if dropout == "fixed":
        notes.append("dropout is on with one mask that all examples share")
    return tuple(notes)

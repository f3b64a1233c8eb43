"""A user's loss, named ``MODULE:FUNCTION``: one number per example made of it, whatever it gives for a batch."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shattering.core.errors import ModelError
from shattering.models.named import load_named, name_of, told

LossFunction = Callable[[Tensor, Tensor], Tensor]

PAIRS = 4
"""Pairs of examples of one class that a mean or sum is told by; where there are none, of any."""

TOLERANCE = 1e-3


def loss_name(loss: Any) -> str:
    """What `TrainingSpec` calls a loss.

    Args:
        loss: a name; ``F.cross_entropy`` or ``nn.CrossEntropyLoss()`` as they come; a function of (outputs, labels), or
            an object that is called so and has a name at the top of a module that can be imported.

    Raises:
        ModelError: workers could not import it.
    """
    if loss is functional.cross_entropy:
        return "cross_entropy"
    if isinstance(loss, nn.CrossEntropyLoss) and _plain(loss):
        return "cross_entropy"
    if isinstance(loss, nn.Module):
        named = _at_the_top(loss)
        if named is not None:
            return named
    return name_of(loss, "loss", "a function of (outputs, labels)")


def losses_by(name: str, outputs: Tensor, labels: Tensor) -> Tensor:
    """The user's loss of each example, ``[n]``, with its graph.

    A function that gives one number per example is taken at its word; of one that gives a mean or sum, the loss of an
    example is that of a batch that holds it alone, which is the same for both. `require_separable` has seen to it,
    before any training, that the loss of a batch is made of those.

    Args:
        name: ``MODULE:FUNCTION``.
        outputs: ``[n, k]``.
        labels: int64 ``[n]``.

    Raises:
        ModelError: it cannot be imported, or gives something else.
    """
    loss = load_loss(name)
    value = loss(outputs, labels)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise _unfit(name, f"gives {_told(value)}")
    if value.ndim > 0:
        return _column(name, value, len(labels))
    if len(labels) == 1:
        return value.reshape(1)

    def alone(output: Tensor, label: Tensor) -> Tensor:
        return loss(output[None], label[None]).reshape(())

    try:
        found: Tensor = torch.func.vmap(alone)(outputs, labels)
    except Exception:  # whatever vmap cannot do, a loop can
        found = torch.stack([alone(output, label) for output, label in zip(outputs, labels, strict=True)])
    return found


def require_separable(name: str, outputs: Tensor, labels: Tensor) -> str:
    """How the user's loss of a batch is made of those of its examples: ``each``, ``mean`` or ``sum``.

    Args:
        name: ``MODULE:FUNCTION``.
        outputs: ``[n, k]`` of the untrained network, n ≥ 2.
        labels: int64 ``[n]``.

    Raises:
        ModelError: it cannot be called, gives no finite number, has no gradient, changes what it is given, draws at
            random, or is none of the three, as a mean with class weights.
    """
    loss = load_loss(name)
    outputs = outputs.detach().requires_grad_()
    before, given = outputs.detach().clone(), labels.clone()
    generator = torch.random.fork_rng(devices=[])
    with told("loss-failed", f"Calling the loss {name!r} failed"), generator, torch.enable_grad():
        value = loss(outputs, labels)
        again = loss(outputs, labels)
    if not torch.equal(before, outputs.detach()) or not torch.equal(given, labels):
        raise _unfit(name, "changes its arguments in place")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise _unfit(name, f"gives {_told(value)}")
    if not bool(value.isfinite().all()):
        raise _unfit(name, "is not finite for the untrained network")
    if not value.requires_grad:
        raise _unfit(name, "does not depend on the outputs as far as autograd can tell")
    if not torch.allclose(value, again, rtol=TOLERANCE, atol=0):
        raise _unfit(name, "draws at random: twice the same call gives two values")
    if value.ndim > 0:
        each = _column(name, value, len(labels)).detach().double()
        alone = _one_by_one(name, loss, outputs, labels)
        if not torch.allclose(each, alone, rtol=TOLERANCE, atol=1e-6 * max(1.0, float(alone.abs().max()))):
            raise _unfit(name, "of an example depends on the other examples of its batch")
        return "each"
    return _combination(name, loss, outputs.detach(), labels)


@functools.cache
def load_loss(name: str) -> LossFunction:
    """Imports a loss; a class of loss, such as ``torch.nn:MultiMarginLoss``, is made an object without arguments.

    Raises:
        ModelError: it cannot be imported or called.
    """
    found = load_named(name)
    if isinstance(found, type) and issubclass(found, nn.Module):
        with told("loss-failed", f"Making the loss {name!r} failed"):
            found = found()
    if not callable(found):
        raise _unfit(name, f"is a {type(found).__name__}")
    loss: LossFunction = found
    return loss


def _combination(name: str, loss: LossFunction, outputs: Tensor, labels: Tensor) -> str:
    alone = _one_by_one(name, loss, outputs, labels)
    verdicts: set[str] = set()
    # Pairs of neighbours in the classes' order: some are of two classes, where weights of classes show.
    order = torch.argsort(labels, stable=True)
    step = max(1, len(order) // (2 * PAIRS))
    groups = [order, *(order[first : first + 2] for first in range(0, len(order) - 1, step))]
    for rows in groups:
        with torch.no_grad():
            together = float(loss(outputs[rows], labels[rows]))
        mean, total = float(alone[rows].mean()), float(alone[rows].sum())
        fits = {
            kind
            for kind, wanted in (("mean", mean), ("sum", total))
            if math.isclose(together, wanted, rel_tol=TOLERANCE, abs_tol=1e-6)
        }
        if not fits:
            raise _unfit(
                name,
                f"of {len(rows)} examples is {together:.6g}, and neither the mean {mean:.6g} nor the sum {total:.6g} "
                "of theirs",
            )
        if len(fits) == 1:
            verdicts |= fits
    if len(verdicts) == 2:
        raise _unfit(name, "is the mean of some examples and the sum of others")
    return verdicts.pop() if verdicts else "mean"


def _one_by_one(name: str, loss: LossFunction, outputs: Tensor, labels: Tensor) -> Tensor:
    found = []
    with torch.no_grad(), told("loss-failed", f"Calling the loss {name!r} on one example failed"):
        for row in range(len(labels)):
            value = loss(outputs[row : row + 1], labels[row : row + 1])
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise _unfit(name, f"of one example is {_told(value)}")
            found.append(float(value))
    return torch.tensor(found, dtype=torch.float64)


def _column(name: str, value: Tensor, examples: int) -> Tensor:
    if value.numel() != examples or value.shape[0] != examples:
        raise _unfit(name, f"gives the shape {list(value.shape)} for {examples} examples")
    return value.reshape(examples)


def _told(value: Any) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _unfit(name: str, what: str) -> ModelError:
    return ModelError(
        "loss-unfit",
        f"The loss {name!r} {what}; make it return one real number per example, as with reduction='none', or their "
        "mean or sum.",
    )


def _plain(loss: nn.CrossEntropyLoss) -> bool:
    return loss.weight is None and loss.label_smoothing == 0.0 and loss.ignore_index == -100


def _at_the_top(loss: nn.Module) -> str | None:
    """``MODULE:NAME`` of an object that stands at the top of the script, or none."""
    main = sys.modules.get("__main__")
    name = next((name for name, value in vars(main).items() if value is loss), None) if main is not None else None
    if name is None:
        return None

    def stand_in() -> None:
        """Named as the object is, so that the script's name is found in one place."""

    stand_in.__module__, stand_in.__qualname__ = "__main__", name
    return name_of(stand_in, "loss")

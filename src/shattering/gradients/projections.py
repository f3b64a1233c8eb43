"""How much each example's gradient points in one direction, without any gradient."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from shattering.core.errors import DataError, SpecError, nearest
from shattering.gradients.batches import Batch, Batches, Loss, batch_size, rows_of, split_batches, to_device
from shattering.gradients.measured import device_of, measured, trainable
from shattering.gradients.per_example import MEMORY, Alone, per_example_gradients


def projections(
    model: nn.Module, batches: Batches, loss: Loss, direction: Mapping[str, Tensor], *, max_memory: int = MEMORY
) -> Tensor:
    """⟨d, gᵢ⟩ for every example: the rate at which its loss rises as the parameters move along d.

    With d the sum of all gradients it is example i's share in the first-order decrease of the loss, the shares of the
    pristine and the corrupt examples summing to f_p and f_c of Chatterjee (2020) once divided by ‖d‖².

    One forward pass carries value and derivative together (forward mode), at the cost of about two forwards. A network
    that cannot be differentiated so, or not with the derivative that its backward defines (an embedding's padding row),
    takes the gradients of its examples instead. Dropout is off and batch normalisation uses its running statistics; the
    model is left as it was.

    Args:
        model: any network.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).
        direction: d, for some or all of the parameters that require a gradient, by name and in their shape; it is zero
            for those left out.
        max_memory: bytes that a chunk may take.

    Returns:
        float64 ``[m]`` on the CPU, in the order of the examples, computed in the parameters' arithmetic.

    Raises:
        SpecError: ``projections-direction`` if the direction names no such parameter, or has another shape.
        DataError: ``gradients-no-examples`` if there is no example; a batch has no rows.
        ModelError: no parameter requires a gradient, or the loss of an example is not one number.
    """
    parameters = trainable(model)
    _check(direction, parameters)
    along = {name: direction[name].detach().to(value) for name, value in parameters.items() if name in direction}
    base = {name: value.detach() for name, value in parameters.items()}
    alone, device = Alone(model, loss), device_of(parameters)

    def rise(example: Batch) -> Tensor:
        moving = {name: base[name] for name in along}
        with warnings.catch_warnings():
            # At its first use, forward mode compiles its own formulas with a function that torch has deprecated.
            warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=DeprecationWarning)
            tangent: Tensor = jvp(lambda values: alone.at({**base, **values}, example), (moving,), (along,))[1]
        return tangent

    def by_gradients(part: Batch) -> Tensor:
        chunks = per_example_gradients(model, part, loss, max_memory=max_memory)
        return torch.cat([_products(chunk, along) for chunk in chunks])

    found: list[Tensor] = []
    chunk: int | None = None
    with measured(model):
        for batch in split_batches(batches):
            start, rows = 0, batch_size(batch)
            while start < rows:
                if chunk is None:
                    first = to_device(rows_of(batch, slice(0, 1)), device)
                    alone.vectorised = _differentiates_forward(alone, first, rise, by_gradients)
                    # Value, derivative, their sum and a convolution's workspace: measured, within six activations.
                    chunk = max(1, max_memory // (6 * alone.activation_bytes(first) + 1))
                part = to_device(rows_of(batch, slice(start, start + chunk)), device)
                rises = alone.over_rows(rise, part)
                found += [by_gradients(part)] if rises is None else [rises.detach().double()]
                start += chunk
    if not found:
        raise DataError("gradients-no-examples", "There are no examples to take gradients of; give at least one.")
    return torch.cat(found).cpu()


def _differentiates_forward(
    alone: Alone, example: Batch, rise: Callable[[Batch], Tensor], by_gradients: Callable[[Batch], Tensor]
) -> bool:
    """Whether forward mode gives the derivative that the backward pass defines.

    An embedding's padding row and a custom function can have a backward that is not their derivative; such a network,
    or one whose first example disagrees, goes backward.
    """
    value = alone.whole(example)
    seen: set[Any] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction) or _alters_its_gradient(node):
            return False
        waiting += [after for after, _ in node.next_functions]
    try:
        with sdpa_kernel(SDPBackend.MATH):
            forward = float(rise(example))
    except Exception:  # whatever goes wrong: the gradients are another way, and the user's own mistakes come up there
        return False
    backward = float(by_gradients(example))
    eps = torch.finfo(value.dtype).eps
    return math.isclose(forward, backward, rel_tol=eps**0.5, abs_tol=eps)


def _alters_its_gradient(node: Any) -> bool:
    """An embedding that leaves its padding row out of the gradient, or divides rows by how often they occur."""
    if not node.name().startswith("Embedding"):
        return False
    padding = getattr(node, "_saved_padding_idx", -1)
    return getattr(node, "_saved_scale_grad_by_freq", False) or 0 <= padding < 2**63  # -1 as an unsigned number is none


def _products(chunk: dict[str, Tensor], along: Mapping[str, Tensor]) -> Tensor:
    """⟨d, gᵢ⟩ of the gradients at hand, float64."""
    parts = [
        chunk[name].double().reshape(-1, value.numel()) @ value.double().flatten() for name, value in along.items()
    ]
    return torch.stack(parts).sum(0)


def _check(direction: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    if not direction:
        raise SpecError("projections-direction", "The direction names no parameter; give a tensor for at least one.")
    for name, value in direction.items():
        if name not in parameters:
            raise SpecError(
                "projections-direction",
                f"The direction names {name!r}, which is no parameter that requires a gradient; "
                + nearest(name, list(parameters)),
            )
        if value.shape != parameters[name].shape:
            raise SpecError(
                "projections-direction",
                f"The direction has shape {list(value.shape)} for {name!r}, which has {list(parameters[name].shape)}; "
                "give one entry for each of the parameter's.",
            )

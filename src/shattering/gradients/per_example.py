"""The gradients of single examples themselves, a chunk at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from shattering.gradients.batches import (
    Batch,
    Batches,
    Loss,
    batch_size,
    map_tensors,
    rows_of,
    split_batches,
    tensors_of,
    to_device,
)
from shattering.gradients.looped import gradients_of
from shattering.gradients.measured import device_of, loss_alone, measured, trainable

MEMORY = 2**30
"""Default bound on what a chunk takes, in bytes."""


def per_example_gradients(
    model: nn.Module, batches: Batches, loss: Loss, *, max_memory: int = MEMORY
) -> Iterator[dict[str, Tensor]]:
    """gᵢ for every example, in their order: each chunk maps a parameter's name to a tensor ``[c, *parameter.shape]``.

    Vectorised over the examples of a chunk where the network allows it, else one by one, with the same numbers. Dropout
    is off and batch normalisation uses its running statistics; the model is as it was whenever a chunk is handed out.

    Args:
        model: any network.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches; no chunk spans two.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).
        max_memory: bytes a chunk's gradients and activations may take; one example is taken however large it is.

    Yields:
        Gradients in the parameters' type and place, zero for a parameter that the loss does not depend on.

    Raises:
        DataError: a batch has no rows.
        ModelError: no parameter requires a gradient, or the loss of an example is not one number.
    """
    parameters = trainable(model)
    size = sum(parameter.numel() * parameter.element_size() for parameter in parameters.values())
    alone, device = Alone(model, loss), device_of(parameters)
    chunk: int | None = None
    for batch in split_batches(batches):
        start, rows = 0, batch_size(batch)
        while start < rows:
            with measured(model):
                if chunk is None:
                    activations = alone.activation_bytes(to_device(rows_of(batch, slice(0, 1)), device))
                    # Vectorised, a gradient lives twice for a moment; an activation has its own gradient beside it,
                    # and both may be copied for a convolution.
                    chunk = max(1, max_memory // (2 * size + 4 * activations))
                gradients = alone.gradients(to_device(rows_of(batch, slice(start, start + chunk)), device), parameters)
            yield gradients
            start += chunk


class Alone:
    """The loss of examples alone as a function of the parameters, vectorised for as long as that works."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.whole = _Whole(model, loss)
        self.vectorised = True

    def activation_bytes(self, example: Batch) -> int:
        """What autograd keeps for the backward of one example, without the parameters."""
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.layout == torch.strided:
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = self.whole(example)
        del value
        ours = {parameter.untyped_storage().data_ptr() for parameter in self.whole.parameters()}
        return sum(size for pointer, size in kept.items() if pointer not in ours)

    def gradients(self, batch: Batch, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """gᵢ of every row of ``batch``, ``[rows, *parameter.shape]``."""

        def loss_at(values: dict[str, Tensor], example: Batch) -> Tensor:
            return self.at(values, example)

        values = {name: parameter.detach() for name, parameter in parameters.items()}
        found = self.over_rows(lambda example: grad(loss_at)(values, example), batch)
        if found is None:
            single = [
                gradients_of(self.whole(rows_of(batch, slice(i, i + 1))), parameters) for i in range(batch_size(batch))
            ]
            found = {name: torch.stack([one[name] for one in single]) for name in parameters}
        return found

    def at(self, values: dict[str, Tensor], example: Batch) -> Tensor:
        """The loss of one example with these values of the parameters."""
        renamed = {f"{_Whole.MODEL}.{name}": value for name, value in values.items()}
        value: Tensor = functional_call(self.whole, renamed, (example,))
        return value

    def over_rows(self, function: Callable[[Batch], Any], batch: Batch) -> Any | None:
        """``function`` of every row, as a batch of one, in one vectorised call; none if the network does not allow it.

        What cannot be vectorised (a decision that depends on the data, an operation without a rule) raises: each row is
        alone by construction, so that the batch never shows through.
        """
        if not self.vectorised:
            return None
        columns = tensors_of(batch)

        def of_row(*row: Tensor) -> Any:
            entries = iter(row)
            return function(map_tensors(batch, lambda _: next(entries).unsqueeze(0)))

        try:
            with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
                # Fused attention is neither vectorised nor differentiated forward.
                # An operation without a rule of its own is done row by row, and says so each time.
                warnings.filterwarnings("ignore", message="There is a performance drop")
                return vmap(of_row)(*columns)
        except Exception:  # whatever goes wrong: one by one, the user's own mistakes come up again, without vmap around
            self.vectorised = False
            return None


class _Whole(nn.Module):
    """Model and loss as one module, so that parameters are replaced however the loss reaches them."""

    MODEL = "model"

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        # In a tuple, a loss that is itself a module does not become a submodule: its parameters are not the network's.
        self.losses = (loss,)

    def forward(self, example: Batch) -> Tensor:
        model: nn.Module = self.get_submodule(self.MODEL)
        return loss_alone(model, self.losses[0], example)

"""A user's network as the trainings call it: one tensor in, one tensor of logits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.core.spec import BatchPart

_DTYPES = {"int64": torch.int64, "int32": torch.int32, "uint8": torch.uint8, "bool": torch.bool}


def adapt(network: nn.Module, batch: Sequence[BatchPart] = (), *, structured: bool = False) -> nn.Module:
    """The same network, called with rows of a table that are cut into its arguments, and giving nothing but logits.

    It is the same object, of a class derived from its own: parameters, buffers and modules keep their names, so that
    weights, gradient rules and everything that looks at modules find what they would have found.

    Args:
        network: the user's, which is changed.
        batch: its arguments, in the order of the table's columns; empty: the row is its one argument.
        structured: whether it returns something that holds its logits, see `logits_of`.

    Raises:
        ModelError: ``model-not-adaptable`` where its class cannot be derived from, as that of a TorchScript module.
    """
    if not batch and not structured:
        return network
    cut = tuple(batch)
    kind = type(network)

    def forward(self: Any, inputs: Tensor) -> Any:
        # The class's own, not super(): `self` may be of a class derived once more.
        if not cut:
            return logits_of(kind.forward(self, inputs))
        given, named = arguments_of(inputs, cut)
        return logits_of(kind.forward(self, *given, **named))

    adapted = type(f"Adapted{kind.__name__}", (kind,), {"forward": forward, "__module__": kind.__module__})
    try:
        network.__class__ = adapted
    except TypeError as error:
        raise ModelError(
            "model-not-adaptable",
            f"A network of type {kind.__name__} cannot be given its arguments one by one ({error}); wrap it in a class "
            "of your own that takes one tensor and returns logits.",
        ) from None
    if "forward" in vars(network):
        raise ModelError(
            "model-not-adaptable",
            "The network has a forward of its own assigned to it, which hides that of its class; define it in the "
            "class.",
        )
    return network


def arguments_of(rows: Tensor, batch: Sequence[BatchPart]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Rows ``[n, columns]`` cut into positional and keyword arguments, each ``[n, *shape]`` of its dtype.

    Args:
        rows: of a table that holds the parts side by side.
        batch: the parts.
    """
    given: list[Tensor] = []
    named: dict[str, Tensor] = {}
    start = 0
    for part in batch:
        piece = rows[:, start : start + part.width].reshape(len(rows), *part.shape)
        start += part.width
        if part.dtype != "float":
            piece = piece.to(_DTYPES[part.dtype])
        if part.name:
            named[part.name] = piece
        else:
            given.append(piece)
    return given, named


def logits_of(outputs: Any) -> Any:
    """The logits that a network's result holds: itself, a sequence's first entry, or what it calls ``logits``."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    found = getattr(outputs, "logits", None)
    if isinstance(found, Tensor):
        return found
    if isinstance(outputs, tuple | list) and outputs:
        return logits_of(outputs[0])
    return outputs


def input_shape_of(shape: tuple[int, ...], batch: Sequence[BatchPart]) -> Any:
    """What a factory is told of its inputs: the shape of its only argument, or those of all by name or place."""
    if not batch:
        return shape
    if len(batch) == 1 and not batch[0].name:
        return batch[0].shape
    return {part.name or str(place): part.shape for place, part in enumerate(batch)}

"""Which network is measured, and which cannot be."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from shattering.core.errors import ModelError


def unwrapped(model: Any) -> nn.Module:
    """The network inside what compiles or distributes it, with the same parameters.

    Raises:
        ModelError: ``watch-not-a-module``.
    """
    while isinstance(model, nn.Module):
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            return model
    raise ModelError("watch-not-a-module", f"The model is a {type(model).__name__}; give a torch.nn.Module.")


def check_network(model: nn.Module) -> None:
    """Raises `ModelError` for a network without parameters here and now, or with part of them elsewhere."""
    parameters = dict(model.named_parameters())
    kind = type(model).__name__
    if not parameters:
        raise ModelError(
            "watch-no-parameters", f"The model ({kind}) has no parameters, so it has no gradients to watch."
        )
    for name, parameter in parameters.items():
        if is_lazy(parameter):
            raise ModelError(
                "watch-lazy", f"The parameter {name} has no shape yet; send one batch through the model first."
            )
        if type(parameter.data).__name__ == "DTensor" or parameter.is_meta:
            raise ModelError(
                "watch-sharded",
                f"The parameter {name} is not in this process as a whole; a network that is sharded or offloaded "
                "cannot be watched, one that every process has a copy of can.",
            )
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
        raise ModelError(
            "watch-sharded", f"The model ({kind}) is sharded over processes, none of which has all of it to watch."
        )

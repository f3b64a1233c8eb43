"""From a name and its fields to a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shattering.models.registry import models, resolved_fields

if TYPE_CHECKING:
    from torch import nn


def build_model(name: str, fields: dict[str, Any], input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Builds a registered network, or the user's own by ``MODULE:FACTORY``.

    Weights are drawn from torch's global generator: seed it first.

    Args:
        name: registered name, or ``MODULE:FACTORY``.
        fields: the network's own fields; unknown or ill-typed ones raise `SpecError`.
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.

    Raises:
        SpecError: ``unknown-model`` and wrong fields.
        ModelError: the network cannot be built for this shape, or the user's factory fails.
    """
    if ":" in name:
        from shattering.models.user import build_user_model

        return build_user_model(name, fields, input_shape, num_classes)
    entry = models.get(name)
    return entry.build(tuple(input_shape), num_classes, **resolved_fields(entry, fields))

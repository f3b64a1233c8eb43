"""From a name and its fields to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shattering.core.errors import ModelError
from shattering.core.spec import BatchPart
from shattering.models.registry import models, resolved_fields

if TYPE_CHECKING:
    from torch import nn


def build_model(
    name: str,
    fields: dict[str, Any],
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    batch: Sequence[BatchPart] = (),
    structured: bool = False,
) -> nn.Module:
    """Builds a registered network, or the user's own by ``MODULE:FACTORY``.

    Weights are drawn from torch's global generator: seed it first.

    Args:
        name: registered name, or ``MODULE:FACTORY``.
        fields: the network's own fields; unknown or ill-typed ones raise `SpecError`.
        input_shape: (channels, height, width), or (features,).
        num_classes: number of outputs.
        batch: the arguments of a user's network that a row of the inputs holds; empty: the row is its input.
        structured: whether a user's network returns something that holds its logits.

    Raises:
        SpecError: ``unknown-model`` and wrong fields.
        ModelError: the network cannot be built for this shape, or takes no batch of several parts, or the user's
            factory fails.
    """
    if ":" in name:
        from shattering.models.user import build_user_model

        return build_user_model(name, fields, input_shape, num_classes, batch=batch, structured=structured)
    if len(batch) > 1:
        raise ModelError(
            "model-one-input",
            f"{name!r} takes one table or image, and the examples have {len(batch)} parts "
            f"({', '.join(part.name or 'unnamed' for part in batch)}); name a network of your own, MODULE:FACTORY.",
        )
    entry = models.get(name)
    return entry.build(tuple(input_shape), num_classes, **resolved_fields(entry, fields))

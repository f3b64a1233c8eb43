"""Which networks there are; listing them by name is what imports their files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field as Bound

from shattering.core.errors import ShatteringError
from shattering.core.registry import Field, Registry, keyword_fields
from shattering.core.spec import Number, Whole

if TYPE_CHECKING:
    from torch import nn

Build = Callable[..., "nn.Module"]

Width = Annotated[Whole, Bound(ge=1)]
"""A number of units or channels."""

Probability = Annotated[Number, Bound(ge=0, lt=1)]
"""A probability that may be 0 but not 1."""


@dataclass(frozen=True)
class ModelEntry:
    """A registered network.

    Args:
        name: as typed after ``--model``; the name of the building function.
        summary: one line for listings.
        paper: where the network was defined.
        build: ``(input_shape, num_classes, **fields) -> nn.Module``.
        fields: the keyword-only parameters of ``build``.
    """

    name: str
    summary: str
    paper: str
    build: Build
    fields: tuple[Field, ...]


models: Registry[ModelEntry] = Registry("model", "shattering.models")


def model(*, summary: str, paper: str) -> Callable[[Build], Build]:
    """Registers a building function ``build(input_shape, num_classes, *, fields) -> nn.Module`` under its own name.

    ``input_shape`` is ``(channels, height, width)`` or ``(features,)``. The network is returned in training mode, in
    float32, on the CPU, with weights drawn from torch's global generator.
    """

    def register(build: Build) -> Build:
        name = build.__name__
        positional = [
            entry.name
            for entry in inspect.signature(build).parameters.values()
            if entry.kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        if positional != ["input_shape", "num_classes"]:
            raise ShatteringError(
                "registry-signature",
                f"model {name!r} must take (input_shape, num_classes, *, fields), not {positional}.",
            )
        if not (paper and summary and inspect.getdoc(build)):
            raise ShatteringError("registry-undocumented", f"model {name!r} needs a summary, a paper and a docstring.")
        models.add(name, ModelEntry(name, summary, paper, build, keyword_fields(build)))
        return build

    return register


def resolved_fields(entry: ModelEntry, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` checked and converted, those equal to their default left out; wrong ones raise `SpecError`."""
    from shattering.core.registry import check_fields

    return check_fields("model", entry.name, entry.fields, given)

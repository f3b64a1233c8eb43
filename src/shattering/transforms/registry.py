"""How a transform is registered, what it sees of the parent, and what it gives the run that starts there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shattering.core.errors import ShatteringError, SpecError
from shattering.core.registry import Field, Registry, check_fields, keyword_fields

if TYPE_CHECKING:
    from torch import Tensor

    from shattering.core.streams import Stream

Weights = Mapping[str, "Tensor"]
"""Parameters and buffers of a network by name, as in its ``state_dict``."""

Masks = Mapping[str, "Tensor"]
"""For each parameter that is pruned anywhere, where it is kept: bool, of the parameter's shape."""


@dataclass(frozen=True, eq=False)
class Origin:
    """What a transform sees.

    Args:
        weights: the parent's, at the step the run starts from.
        final: the parent's, at its end.
        masks: the parent's; a parameter without one is whole.
        fresh: what the run's own initialisation would be.
        prunable: names of the weights that may be pruned, in the network's order, the output layer's last: those of two
            dimensions and more, never biases nor normalisation.
        stream: from a purpose to the run's stream; all chance but that of ``fresh`` comes from there.
    """

    weights: Weights
    final: Weights
    masks: Masks
    fresh: Weights
    prunable: tuple[str, ...]
    stream: Callable[[str], Stream]

    def mask(self, name: str) -> Tensor:
        """Where a weight is kept in the parent: all of it, where there is no mask."""
        import torch

        found = self.masks.get(name)
        return torch.ones(self.weights[name].shape, dtype=torch.bool) if found is None else found


@dataclass(frozen=True, eq=False)
class Begin:
    """What a run begins with; where a mask is false, the weight is zero and stays so, whatever ``weights`` says."""

    weights: Weights
    masks: Masks = field(default_factory=dict)


Transform = Callable[..., Begin]
"""``(origin, *, fields…) -> Begin``; nothing it is given is modified."""


@dataclass(frozen=True)
class TransformEntry:
    """A registered transform.

    Args:
        name: as it stands in specs; the name of the function.
        summary: the first line of its docstring.
        paper: where it was described.
        function: the transform itself.
        fields: its fields in the spec.
    """

    name: str
    summary: str
    paper: str
    function: Transform
    fields: tuple[Field, ...]


transforms: Registry[TransformEntry] = Registry("transform", "shattering.transforms")


def transform(*, paper: str) -> Callable[[Transform], Transform]:
    """Registers a transform under its function's name; a missing source or docstring is refused."""

    def register(function: Transform) -> Transform:
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if not paper or not summary:
            raise ShatteringError(
                "registry-incomplete", f"The transform {function.__name__!r} needs a paper and a docstring."
            )
        name = function.__name__
        transforms.add(name, TransformEntry(name, summary, paper, function, keyword_fields(function)))
        return function

    return register


def transform_fields(entry: TransformEntry, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` checked and converted, those at their default left out; wrong ones raise `SpecError`."""
    return check_fields("start", entry.name, entry.fields, given)


def require_share(name: str, value: float) -> None:
    """Raises `SpecError` where ``value`` is not in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise SpecError(
            "spec-fraction",
            f"start.fields.{name}={value} is not a share that leaves something; give 0 or more, below 1.",
        )

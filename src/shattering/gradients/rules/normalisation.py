"""The scale and shift of normalisations: by layer, group, instance, root mean square and running statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.rules.registry import Use, rule


class Normalisation(Use):
    """``y = x̂ · w + b``: gᵢ is δ·x̂ and δ, summed over the positions that share a scale.

    Args:
        function: ``(x, weight, bias) -> y``.
        trailing: number of last dimensions that w covers; 0 if w has one entry per channel, the dimension after n.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor | None, Tensor | None], Tensor],
        weight: Tensor | None,
        bias: Tensor | None,
        trailing: int = 0,
    ) -> None:
        self.function = function
        self.parameters = (weight, bias)
        self.trailing = trailing
        self.merged = trailing > 0

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0], *self.parameters)

    def _reduced(self, values: Tensor) -> Tensor:
        if self.trailing:
            middle = values.dim() - 1 - self.trailing
            return values.flatten(1, middle).sum(1) if middle > 0 else values
        return values.flatten(2).sum(2) if values.dim() > 2 else values

    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        weight = self._reduced(delta * self.function(inputs[0], None, None)) if wanted[0] else None
        return [weight, self._reduced(delta) if wanted[1] else None]


def _measured(
    capture: Capture,
    function: Callable[[Tensor, Tensor | None, Tensor | None], Tensor],
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    trailing: int = 0,
) -> Any:
    return capture.measure(Normalisation(function, weight, bias, trailing), input)


@rule(F.layer_norm)
def layer_norm(
    capture: Capture,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """Layer normalisation."""
    shape = list(normalized_shape)
    if input.dim() == len(shape):
        return NotImplemented
    return _measured(capture, lambda x, w, b: F.layer_norm(x, shape, w, b, eps), input, weight, bias, len(shape))


@rule(F.rms_norm)
def rms_norm(
    capture: Capture,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Any:
    """Normalisation by the root mean square."""
    shape = list(normalized_shape)
    if input.dim() == len(shape):
        return NotImplemented
    return _measured(capture, lambda x, w, b: F.rms_norm(x, shape, w, eps), input, weight, None, len(shape))


@rule(F.group_norm)
def group_norm(
    capture: Capture,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """Group normalisation."""
    return _measured(capture, lambda x, w, b: F.group_norm(x, num_groups, w, b, eps), input, weight, bias)


@rule(F.instance_norm)
def instance_norm(
    capture: Capture,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Instance normalisation that keeps no running statistics."""
    if use_input_stats and running_mean is not None:
        return NotImplemented
    mean, variance = running_mean, running_var
    return _measured(
        capture,
        lambda x, w, b: F.instance_norm(x, mean, variance, w, b, use_input_stats, momentum, eps),
        input,
        weight,
        bias,
    )


@rule(F.batch_norm)
def batch_norm(
    capture: Capture,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Batch normalisation by running statistics; by those of the batch, examples have no gradient of their own."""
    if training:
        return NotImplemented
    mean, variance = running_mean, running_var
    return _measured(
        capture, lambda x, w, b: F.batch_norm(x, mean, variance, w, b, False, momentum, eps), input, weight, bias
    )

"""Convolutions and transposed convolutions of one to three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.convolution import accumulate, per_example_weight_gradients
from shattering.gradients.convolution_geometry import Geometry
from shattering.gradients.rules.registry import Use, rule

_PLAIN: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


class Convolution(Use):
    """A convolution: gᵢ = Σ over positions of δᵢ times the window of the input under it.

    Args:
        function: of torch.
        settings: its arguments after weight and bias, by name.
    """

    def __init__(
        self, function: Callable[..., Tensor], weight: Tensor, bias: Tensor | None, settings: dict[str, Any]
    ) -> None:
        self.function = function
        self.parameters = (weight, bias)
        self.settings = settings
        self.transposed = function in _TRANSPOSED
        of_shape = {key: value for key, value in settings.items() if key != "output_padding"}
        self.geometry = Geometry.of_call(weight, **of_shape, transposed=self.transposed)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0], *self.parameters, **self.settings)

    def data_gradients(
        self, inputs: Sequence[Tensor], delta: Tensor, needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        if isinstance(self.settings.get("padding"), str):
            return super().data_gradients(inputs, delta, needed)
        weight, geometry = self.parameters[0], self.geometry
        dimensions = len(geometry.kernel)
        output_padding = self.settings.get("output_padding", 0)
        if isinstance(output_padding, int):
            output_padding = [output_padding] * dimensions
        gradient = torch.ops.aten.convolution_backward(
            delta,
            inputs[0],
            weight,
            None,
            list(geometry.stride),
            list(geometry.padding),
            list(geometry.dilation),
            self.transposed,
            list(output_padding) if len(output_padding) == dimensions else list(output_padding) * dimensions,
            geometry.groups,
            [True, False, False],
        )[0]
        return [gradient]

    def _frames(self, x: Tensor) -> tuple[Tensor, int]:
        """Maps that belong to one example, as its neighbours in the first dimension, and how many there are."""
        extra = x.dim() - (len(self.geometry.kernel) + 2)
        return (x.flatten(0, extra), x[0].shape[:extra].numel()) if extra else (x, 1)

    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        a, frames = self._frames(inputs[0])
        d, _ = self._frames(delta)
        weight = per_example_weight_gradients(a, d, self.geometry) if wanted[0] else None
        bias = d.flatten(2).sum(2) if wanted[1] else None
        if frames > 1:
            weight = None if weight is None else weight.reshape(-1, frames, *weight.shape[1:]).sum(1)
            bias = None if bias is None else bias.reshape(-1, frames, bias.shape[1]).sum(1)
        return [weight, bias]

    def accumulate(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        if inputs[0].dim() != len(self.geometry.kernel) + 2:
            return super().accumulate(inputs, delta, totals)
        return accumulate(inputs[0], delta, self.geometry, *totals)


def _register(function: Callable[..., Tensor], names: tuple[str, ...]) -> None:
    @rule(function)
    def convolution(
        capture: Capture, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        settings = dict(zip(names, args, strict=False)) | kwargs
        if input.dim() != weight.dim():
            return NotImplemented
        return capture.measure(Convolution(function, weight, bias, settings), input)


for _function in _PLAIN:
    _register(_function, ("stride", "padding", "dilation", "groups"))
for _function in _TRANSPOSED:
    _register(_function, ("stride", "padding", "output_padding", "groups", "dilation"))

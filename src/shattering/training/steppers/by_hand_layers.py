"""Layers whose backward pass is written out: what a gradient is made of, and no more than is asked for.

Images go through as ``[b, channels, height, width]``. Behind the flattening values lie feature by feature, ``[features,
b]``: so the products of a linear layer read their larger operand row by row, as the parameter itself lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from shattering.models.small_convnet import SmallConvnet

LARGE = 2**23
"""Multiplications from which on oneDNN's product, which has more to set up, beat the BLAS: by 8 to 12% on a Zen 4."""

Found = tuple[Tensor | None, Sequence[Tensor]]
"""Gradients by a layer's inputs, none where they are not wanted, and by its parameters."""


class Layer(Protocol):
    """One step of a chain, forward and back."""

    parameters: Sequence[nn.Parameter]
    """In the order of their gradients."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs; keeps what `backward` needs. A ReLU overwrites its inputs."""
        ...

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        """The other gradients from that by the outputs, which a ReLU overwrites; by the inputs only ``onward``."""
        ...


class Linear:
    """``W x + b`` of columns x."""

    def __init__(self, module: nn.Linear) -> None:
        self.parameters: Sequence[nn.Parameter] = tuple(module.parameters())
        self.weight = module.weight.detach()
        self.bias = None if module.bias is None else module.bias.detach()[:, None]

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        outputs = product(self.weight, inputs)
        return outputs if self.bias is None else outputs.add_(self.bias)

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        found = [product(gradient, self.inputs.t())]
        if self.bias is not None:
            found.append(gradient.sum(dim=1))
        if not onward:
            return None, found
        if self.inputs.is_contiguous():
            return torch.mm(self.weight.t(), gradient), found
        return torch.mm(gradient.t(), self.weight).t(), found  # an image's gradient lies as the image does


class Convolution:
    """A convolution with zeros around."""

    def __init__(self, module: nn.Conv2d) -> None:
        self.parameters: Sequence[nn.Parameter] = tuple(module.parameters())
        self.weight = module.weight.detach()
        self.bias = None if module.bias is None else module.bias.detach()
        assert not isinstance(module.padding, str)
        self.form = (module.stride, module.padding, module.dilation, False, (0, 0), module.groups)

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs = inputs
        outputs: Tensor = torch.ops.aten.convolution(inputs, self.weight, self.bias, *self.form)
        return outputs

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        biased = self.bias is not None
        sizes, wanted = [len(self.weight)] if biased else None, [onward, True, biased]
        found = torch.ops.aten.convolution_backward(gradient, self.inputs, self.weight, sizes, *self.form, wanted)
        return found[0], found[1 : 2 + biased]


class MaxPool:
    """The largest value of each window.

    Args:
        padding: rows and columns of nothing on either side; none: those of `same_padding.max_pool_halving`.
    """

    parameters: Sequence[nn.Parameter] = ()

    def __init__(
        self,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int] | None,
        dilation: Sequence[int] = (1, 1),
        ceil: bool = True,
    ) -> None:
        self.size, self.stride, self.padding, self.dilation, self.ceil = size, stride, padding, dilation, ceil

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[-2:]
        padding = (height % 2, width % 2) if self.padding is None else self.padding
        self.inputs, self.form = inputs, (self.size, self.stride, padding, self.dilation, self.ceil)
        outputs: Tensor
        outputs, self.places = torch.ops.aten.max_pool2d_with_indices(inputs, *self.form)
        return outputs

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        back = torch.ops.aten.max_pool2d_with_indices_backward
        return back(gradient, self.inputs, *self.form, self.places), ()


class ReLU:
    """``max(x, 0)``, written over x."""

    parameters: Sequence[nn.Parameter] = ()

    def forward(self, inputs: Tensor) -> Tensor:
        self.outputs = inputs.relu_()
        return self.outputs

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        torch.ops.aten.threshold_backward.grad_input(gradient, self.outputs, 0, grad_input=gradient)
        return gradient, ()


class Flatten:
    """From images or features ``[b, …]`` to columns ``[features, b]``.

    Args:
        by_pixel: all channels of a pixel, then the next pixel, as `SmallConvnet` does it.
    """

    parameters: Sequence[nn.Parameter] = ()

    def __init__(self, by_pixel: bool = False) -> None:
        self.by_pixel = by_pixel

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.movedim(1, -1) if self.by_pixel else inputs
        self.shape = inputs.shape
        return inputs.flatten(1).t()

    def backward(self, gradient: Tensor, onward: bool) -> Found:
        images = gradient.t().reshape(self.shape)
        return images.movedim(-1, 1) if self.by_pixel else images, ()


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` by one of the two libraries that torch has for it, always the same one for the same shapes."""
    large = left.shape[0] * left.shape[1] * right.shape[1] >= LARGE and left.dtype == torch.float32
    # Anything but a whole matrix or its transpose it would first reorder, element by element.
    if large and _ONEDNN is not None and left.is_contiguous() and (right.is_contiguous() or right.t().is_contiguous()):
        return _ONEDNN(left, right.t(), None, "none", [], "")
    return torch.mm(left, right)


def _onednn() -> Callable[..., Tensor] | None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    product: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return product


_ONEDNN = _onednn()


def chain(model: nn.Module, input_shape: Sequence[int]) -> list[Layer] | str:
    """The layers of a network in a row, from the batch to columns of outputs.

    Args:
        model: a `SmallConvnet`, or an ``nn.Sequential`` of linear layers, convolutions, max-pooling, ReLU, flattening.
        input_shape: of one example.

    Returns:
        The layers, or why there are none, in one clause.
    """
    if type(model) is SmallConvnet:
        return [
            Convolution(model.conv1),
            MaxPool((3, 3), (2, 2), None),
            ReLU(),
            Convolution(model.conv2),
            MaxPool((3, 3), (2, 2), None),
            ReLU(),
            Flatten(by_pixel=True),
            Linear(model.linear),
            ReLU(),
            Linear(model.output),
        ]
    if type(model) is not nn.Sequential:
        return f"{type(model).__name__} is no plain row of layers"
    layers: list[Layer] = []
    flat = False
    for module in model:
        if not flat and (type(module) is nn.Flatten or (type(module) is nn.Linear and len(input_shape) == 1)):
            layers.append(Flatten())
            flat = True
        layer = _layer(module, flat)
        if isinstance(layer, str):
            return layer
        layers += layer
    return layers if flat else "the network ends in images"


def _layer(module: nn.Module, flat: bool) -> list[Layer] | str:
    """The layer of a module, none for a flattening, or why it cannot be."""
    if type(module) is nn.Flatten:
        whole = (module.start_dim, module.end_dim) == (1, -1)
        return [] if whole else "it flattens in part"
    if type(module) is nn.ReLU:
        return [ReLU()]
    if type(module) is nn.Linear and flat:
        return [Linear(module)]
    if type(module) is nn.Conv2d and not flat:
        zeros = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return [Convolution(module)] if zeros else "the padding of a convolution is given by name"
    if type(module) is nn.MaxPool2d and not flat and not module.return_indices:
        size, stride, padding = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
        return [MaxPool(size, stride, padding, _pair(module.dilation), module.ceil_mode)]
    return f"{type(module).__name__} is not written out, or not at this place"

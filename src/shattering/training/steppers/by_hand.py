"""The way by hand: torch's kernels called one after another, without autograd.

For fully connected networks too large for the compiled way, and for small convolutional networks, on a CPU. What it
spares is the recording and walking of a graph, copies of rows and gradients, and layouts that a kernel is slow in; the
kernels themselves are torch's, so it gains little where they take nearly all the time already.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shattering.core.spec import RunSpec
from shattering.training import objective
from shattering.training.examples import Examples
from shattering.training.masking import MASKED, is_masked
from shattering.training.steppers.by_hand_layers import chain
from shattering.training.steppers.by_hand_update import Updates
from shattering.training.stepping import Advanced, Wanted

PATIENCE = 0.05
"""Seconds after which no further update is begun before the training has had control."""

SCREENED = 500
"""Training examples that are screened at a time, as many as an evaluation takes."""

CERTAIN = 1e-3
"""An output that exceeds another by this part of the largest does so in any rounding."""


def why_not(model: nn.Module, spec: RunSpec, examples: Examples) -> str | None:
    """Why a run cannot go this way, in one clause; none where it can."""
    if spec.compute.device != "cpu":
        return "it is for the CPU"
    if spec.compute.dtype == "bfloat16":
        return "it knows float32 and float64"
    if spec.training.gradient != "mean":
        return f"it takes the mean gradient, not training.gradient={spec.training.gradient}"
    if examples.team is not None or not isinstance(examples.inputs, Tensor):
        return "the examples are not all in this process's memory"
    parameters = list(model.parameters())
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        return "parameters of the network are frozen"
    if is_masked(model):
        return MASKED
    if ":" in spec.training.loss:
        return "the loss is the user's own"
    if any(True for _ in model.buffers()):
        return "the network has buffers"
    if any(_changed(module) for module in model.modules()):
        return "the network has hooks"
    if any(p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters):
        return "parameters of the network have hooks"
    layers = chain(model, examples.input_shape)
    if isinstance(layers, str):
        return layers
    if sum(len(layer.parameters) for layer in layers) != len(parameters):
        return "layers of the network share parameters"
    return None


def _changed(module: nn.Module) -> bool:
    """Whether calling the module does more, or other, than its class says."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module)


class ByHandStepper:
    """Makes updates with a written-out backward pass, and those of torch's own optimizer.

    Args:
        model: one that `why_not` has nothing against.
        optimizer: from `update.build_optimizer`.
        examples: the training split.
        spec: the run.
    """

    reach = 64

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, examples: Examples, spec: RunSpec) -> None:
        layers = chain(model, examples.input_shape)
        assert not isinstance(layers, str), layers
        self.layers, self.examples, self.spec = layers, examples, spec
        self.updates = Updates(optimizer)
        self.first = next(i for i, layer in enumerate(layers) if layer.parameters)
        self.batches = None if spec.training.augmentation != "none" else Batches(examples)
        # Freed, a block this large teaches the C library to keep blocks up to its size for later, where it would give
        # those of a weight gradient back to the system and fault them in anew: 0.3 ms an update of 1.2 million weights.
        torch.empty(31 * 2**20, dtype=torch.uint8)

    @torch.no_grad()
    def advance(self, wanted: Wanted) -> Advanced:
        """As many of the wanted updates as are begun within 50 ms."""
        end = time.perf_counter() + PATIENCE
        labels, loss = self.examples.labels[wanted.rows], self.spec.training.loss
        seen: list[Tensor] = []
        start = 0
        for size, rate in zip(wanted.sizes, wanted.rates, strict=True):
            batch = slice(start, start := start + size)
            inputs = next(wanted.inputs) if self.batches is None else self.batches.gather(wanted.rows[batch])
            seen.append(self._forward(inputs))
            self.updates.begin(rate)
            self._backward(slope(seen[-1], labels[batch], loss))
            self.updates.end()
            if time.perf_counter() > end:
                break
        return scores(seen, labels[:start], loss)

    @torch.no_grad()
    def may_fit(self, needed: int) -> bool:
        """Counts the examples that are wrong in any rounding, and stops where they are too many for a fit."""
        labels, spare = self.examples.labels, len(self.examples) - needed
        if self.batches is None:
            return True
        wrong = 0
        for start in range(0, len(labels), SCREENED):
            rows = torch.arange(start, min(start + SCREENED, len(labels)))
            outputs = self._forward(self.batches.gather(rows)).t()
            if outputs.shape[1] == 1:
                return True
            own = outputs.gather(1, labels[rows][:, None])
            margin = CERTAIN * outputs.abs().amax()
            wrong += int((outputs.amax(dim=1, keepdim=True) - own > margin).sum())
            if wrong > spare:
                return False
        return True

    def _forward(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = layer.forward(values)
        return values

    def _backward(self, gradient: Tensor | None) -> None:
        for place in range(len(self.layers) - 1, self.first - 1, -1):
            assert gradient is not None
            gradient, found = self.layers[place].backward(gradient, place > self.first)
            self.updates.take(self.layers[place].parameters, found)


def slope(outputs: Tensor, labels: Tensor, loss: str) -> Tensor:
    """The gradient of a batch's mean loss by the outputs, ``[k, b]``.

    Args:
        outputs: ``[k, b]``, a column for each example.
        labels: int64 ``[b]``.
        loss: as in `objective.losses`.
    """
    own = labels[None]
    if loss != "cross_entropy" and len(outputs) == 1:
        return (outputs - (2 * own - 1)).div_(len(labels))
    # Over the first dimension the softmax is ten times as fast.
    gradient = torch.log_softmax(outputs, dim=0).exp_() if loss == "cross_entropy" else outputs.clone()
    return gradient.scatter_add_(0, own, gradient.new_full(own.shape, -1)).div_(len(labels))


def scores(outputs: Sequence[Tensor], labels: Tensor, loss: str) -> tuple[Tensor, Tensor]:
    """Each batch's mean loss, and how many of its examples were right, told of all batches at once.

    Args:
        outputs: of each batch, as for `slope`.
        labels: int64, of one batch after another.
        loss: as in `objective.losses`.
    """
    rows = torch.cat([columns.t() for columns in outputs])
    sizes = [columns.shape[1] for columns in outputs]
    losses = torch.split(objective.losses(rows, labels, loss), sizes)
    right = torch.split(objective.predictions(rows) == labels, sizes)
    return torch.stack([each.mean() for each in losses]), torch.stack([each.sum() for each in right])


class Batches:
    """Gathers rows of the examples as they lie in memory, into one place for each size of a batch."""

    def __init__(self, examples: Examples) -> None:
        inputs = examples.inputs
        assert isinstance(inputs, Tensor)
        # An image of one channel lies both ways; to a convolution its strides say which is meant.
        self.by_pixel = last = inputs.ndim == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        self.rows = (inputs.movedim(1, -1) if last else inputs.contiguous()).flatten(1)
        self.shape: Sequence[int] = (*inputs.shape[2:], inputs.shape[1]) if last else inputs.shape[1:]
        self.places: dict[int, Tensor] = {}

    def gather(self, rows: Tensor) -> Tensor:
        """``[b, …]`` of the examples ``rows``; gone when the next batch of that size is gathered."""
        place = self.places.get(len(rows))
        if place is None:
            place = self.places.setdefault(len(rows), self.rows.new_empty(len(rows), self.rows.shape[1]))
        torch.index_select(self.rows, 0, rows, out=place)
        images = place.view(-1, *self.shape)
        return images.movedim(-1, 1) if self.by_pixel else images

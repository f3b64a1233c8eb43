"""Corollary 1 of Zhang et al. (2017): the same at any depth k ≥ 2, with width O(n/k) and O(n+d) weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from shattering.core.errors import DataError, SpecError
from shattering.core.streams import Stream
from shattering.expressivity.classes import class_scores, rounded
from shattering.expressivity.points import Sorted, blocks, distinct_points, project, separate
from shattering.expressivity.triangular import solve
from shattering.expressivity.two_layer import PLACE, Construction, thresholds_between

CARRIED = 3
"""Units of a hidden layer beyond its block: the projection, and both signs of the running output."""

_VALUES = 1 << 17
"""Activations of one block of points; 1 MiB in float64, which stays in the cache."""


class HiddenLayer(nn.Module):
    """A layer of ReLUs: one block of the points, and three units that hand on what other layers need.

    From the layer before it gets the projection ``t ≥ 0``, the running output as ``r⁺`` and ``r⁻`` (a ReLU passes no
    negative number), and that layer's block ``h``. It gives ``t``, ``max(r, 0)``, ``max(-r, 0)`` with
    ``r = r⁺ - r⁻ + <w, h>``, and its own block ``max(t - c_j, 0)``.

    Args:
        units: of its block.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.thresholds = nn.Parameter(torch.zeros(units, dtype=torch.float64), requires_grad=False)
        self.weights = nn.Parameter(torch.zeros(units, dtype=torch.float64), requires_grad=False)

    def block(self, along: torch.Tensor) -> torch.Tensor:
        """``max(t - c_j, 0)``, ``[batch, units]``."""
        return (along[:, None] - self.thresholds).relu_()

    def summed(self, running: torch.Tensor, block: torch.Tensor) -> torch.Tensor:
        """The running output with this layer's block, on the way to the next layer; ``[batch]``."""
        return running + block @ self.weights


class DeepMemoriser(nn.Module):
    """A ReLU network of depth k that fits n points: k - 1 hidden layers of about ``n / (k-1) + 3`` units.

    Assumptions as for `TwoLayerMemoriser`: ReLUs, distinct points, a real-valued linear output without bias; the units
    of the first layer share the direction ``a``. The sorted projections are cut into blocks. Each layer has the hinges
    of one block and hands on the projection and the sum so far, so that the output is the same broken line as with two
    layers. There are ``2n + d + 1`` numbers to choose, and fewer than ``4n + d + 5k`` connections.

    Args:
        features: d.
        blocks: number of hinges in each hidden layer; their number is k - 1.
    """

    def __init__(self, features: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(features, dtype=torch.float64), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(1, dtype=torch.float64), requires_grad=False)
        self.layers = nn.ModuleList(HiddenLayer(units) for units in blocks)

    @property
    def hidden(self) -> list[HiddenLayer]:
        """The hidden layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, HiddenLayer)]

    @property
    def blocks(self) -> tuple[int, ...]:
        """Hinges in each hidden layer."""
        return tuple(len(layer.thresholds) for layer in self.hidden)

    @property
    def depth(self) -> int:
        """k: the hidden layers and the output."""
        return len(self.layers) + 1

    @property
    def width(self) -> int:
        """Units of the widest hidden layer."""
        first, *others = self.blocks
        return max(first + 1, *(units + CARRIED for units in others)) if others else first

    @property
    def connections(self) -> int:
        """Weights and biases of the network drawn as a graph; the first layer's shared direction counts once.

        Each hinge has a threshold, one incoming weight (none of its own in the first layer) and two outgoing ones (one
        in the last); between hidden layers, five carry the projection and the running output (one after the first).
        """
        features, hidden = len(self.direction), len(self.layers)
        first, last = self.blocks[0], self.blocks[-1]
        passing = sum(1 if layer == 1 else 5 for layer in range(1, hidden)) + (2 if hidden > 1 else 0)
        return features + 1 + 4 * sum(self.blocks) - first - last + passing

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The real-valued output, ``[batch]``, for inputs ``[batch, …]``, layer by layer."""
        shifted = project(inputs, self.direction) + self.offset
        size = max(1, _VALUES // max(self.blocks))
        return torch.cat([self._output(block) for block in blocks(shifted, size)])

    def _output(self, shifted: torch.Tensor) -> torch.Tensor:
        along = shifted.clamp(min=0)
        positive = negative = torch.zeros_like(along)
        for layer in self.hidden:
            running = layer.summed(positive - negative, layer.block(along))
            positive, negative = running.clamp(min=0), (-running).clamp(min=0)
            along = along.clamp(min=0)
        return running

    def as_sequential(self) -> nn.Sequential:
        """The same network of `nn.Linear` and `nn.ReLU`, all zeros written out; for small n, d.

        Output ``[batch, 1]`` for inputs ``[batch, d]``. Its units come in the order: projection, r⁺, r⁻, block.
        """
        first, *others = self.hidden
        start = linear(self.direction.expand(1 + len(first.weights), -1), self.offset - with_zero(first.thresholds))
        stages: list[nn.Module] = [start, nn.ReLU()]
        # What a layer adds to the running output, as a row over its units.
        adds = with_zero(first.weights)
        for layer in others:
            carry = torch.zeros_like(adds)
            carry[0] = 1
            rows = torch.cat([torch.stack([carry, adds, -adds]), carry.expand(len(layer.weights), -1)])
            bias = torch.cat([layer.thresholds.new_zeros(CARRIED), -layer.thresholds])
            stages += [linear(rows, bias), nn.ReLU()]
            adds = torch.cat([layer.weights.new_tensor([0.0, 1.0, -1.0]), layer.weights])
        return nn.Sequential(*stages, linear(adds[None], None))

    def scores(self, inputs: torch.Tensor, num_classes: int) -> torch.Tensor:
        """`class_scores` of the output, ``[batch, num_classes]``."""
        return class_scores(self(inputs), num_classes)

    def classes(self, inputs: torch.Tensor, num_classes: int) -> torch.Tensor:
        """The class whose number is nearest to the output, ``[batch]``."""
        return rounded(self(inputs), num_classes)


def with_zero(values: torch.Tensor) -> torch.Tensor:
    """``values`` after a zero."""
    return torch.cat([values.new_zeros(1), values])


def linear(weights: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    """A linear layer with the given weights ``[out, in]``."""
    made = nn.Linear(weights.shape[1], weights.shape[0], bias=bias is not None, dtype=weights.dtype)
    made.requires_grad_(False)
    made.weight.copy_(weights)
    if bias is not None:
        made.bias.copy_(bias)
    return made


def construct_deep(
    inputs: Any, targets: Any, depth: int, *, stream: Stream | None = None, place: float = PLACE
) -> Construction[DeepMemoriser]:
    """`memorise_deep`, with what is known of the construction; its projections are the shifted ones, ``t``."""
    if depth < 2:
        raise SpecError("memorise-depth", f"A network of depth {depth} has no hidden layer; give a depth of 2 or more.")
    sample = distinct_points(inputs, targets)
    if sample.targets.ndim != 1:
        raise DataError(
            "memorise-shape",
            f"Targets of shape {sample.targets.shape} are {sample.targets.shape[1]} numbers a point, but a deep "
            "memoriser has one output; give [n], or use memorise.",
        )
    layout = separate(sample.points, stream or Stream(0, "direction"))
    offset = -thresholds_between(layout.projections, place)[:1]
    # Thresholds and weights are made for the projections that ReLUs hand on, shifted above 0 and rounded as there.
    shifted: Sorted = replace(layout, projections=layout.projections + offset)
    thresholds = thresholds_between(shifted.projections, place)
    thresholds[0] = 0.0
    weights = solve(shifted.projections, thresholds, sample.targets[layout.order])
    cut = np.array_split(np.arange(len(weights)), min(depth - 1, len(weights)))
    parts = [(thresholds[part], weights[part]) for part in cut]
    parts += [(thresholds[:0], weights[:0])] * (depth - 1 - len(parts))
    model = DeepMemoriser(len(layout.direction), tuple(len(places) for places, _ in parts))
    model.direction.copy_(torch.from_numpy(layout.direction))
    model.offset.copy_(torch.from_numpy(offset))
    for layer, (places, weighed) in zip(model.hidden, parts, strict=True):
        layer.thresholds.copy_(torch.from_numpy(places))
        layer.weights.copy_(torch.from_numpy(weighed))
    return Construction(model, shifted, thresholds, weights, sample.merged)


def memorise_deep(inputs: Any, targets: Any, depth: int, *, stream: Stream | None = None) -> DeepMemoriser:
    """A ReLU network of the given depth that fits ``targets`` at n distinct points, with width about ``n / (depth-1)``.

    Source: Zhang et al. (2017), Corollary 1. Depth 2 has one hidden layer and is the network of Theorem 1, with one
    more weight that shifts the projections.

    Args:
        inputs: ``[n, …]``, one point a row.
        targets: ``[n]`` real numbers.
        depth: k, at least 2; layers beyond one a point only hand on.
        stream: the source of the direction; none: seed 0.

    Raises:
        DataError: as for `memorise`.
        SpecError: ``memorise-depth``.
    """
    return construct_deep(inputs, targets, depth, stream=stream).model

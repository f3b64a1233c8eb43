"""The parameters, buffers and optimizer state of many networks of one shape, side by side in memory.

All parameters of a network lie in one row of ``[slots, values]``, so that an optimizer's arithmetic for all networks is
a handful of operations. A member's own parameters, buffers and optimizer state are views into its slot while it trains,
so that whoever looks at the member sees it as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shattering.training.steppers.captured import complete_state

ALIGNED = 64
"""Values; every parameter begins at a multiple of it, where kernels read widest."""


class Stack:
    """The state of networks of one shape.

    Args:
        models: the members' networks; the first says what is stacked.
        optimizers: theirs; `torch.optim.SGD`, `Adam` or `AdamW`, one group of parameters.
        slots: how many networks there is room for, at least the members; the others begin as zeros.
    """

    def __init__(self, models: Sequence[nn.Module], optimizers: Sequence[torch.optim.Optimizer], slots: int) -> None:
        self.models, self.optimizers, self.slots = list(models), list(optimizers), slots
        first = models[0]
        self.skeleton = copy.deepcopy(first).train()
        self.parameters = dict(first.named_parameters())
        self.buffers = {name: _stacked(buffer, slots) for name, buffer in first.named_buffers()}
        self.offsets: dict[str, int] = {}
        self.width = 0
        for name, parameter in self.parameters.items():
            self.offsets[name] = self.width
            self.width += -(-parameter.numel() // ALIGNED) * ALIGNED
        self.values = self._flat()
        self.gradients = self._flat()
        complete_state(optimizers[0])
        kinds = list(optimizers[0].state[next(iter(self.parameters.values()))])
        self.moments = {kind: self._flat() for kind in kinds if kind != "step"}
        self.steps = torch.zeros(slots, dtype=torch.float32, device=self.values.device) if "step" in kinds else None
        for slot in range(len(models)):
            self._enter(slot)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters in a tensor ``[slots, values]``, by name, each ``[slots, …]`` with its own strides."""
        return {
            name: flat.as_strided(
                (self.slots, *parameter.shape),
                (flat.stride(0), *parameter.stride()),
                flat.storage_offset() + self.offsets[name],
            )
            for name, parameter in self.parameters.items()
        }

    def module(self, slot: int) -> nn.Module:
        """A network whose parameters and buffers are those of a slot, in training mode, whoever is in it."""
        network = copy.deepcopy(self.skeleton)
        views = self.views(self.values)
        for name, parameter in network.named_parameters():
            parameter.data = views[name][slot]
        _place_buffers(network, {name: buffer[slot] for name, buffer in self.buffers.items()})
        return network

    def changing(self) -> list[Tensor]:
        """All that an update changes."""
        steps = [] if self.steps is None else [self.steps]
        return [self.values, *self.moments.values(), *self.buffers.values(), *steps]

    def release(self, slot: int) -> None:
        """Gives the member of a slot a copy of its state, so that it stays as it is from now on."""
        model, optimizer = self.models[slot], self.optimizers[slot]
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
            state = optimizer.state[parameter]
            for kind, value in state.items():
                state[kind] = value.clone()
        _place_buffers(model, {name: buffer.clone() for name, buffer in model.named_buffers()})

    def _enter(self, slot: int) -> None:
        """Moves a member's state into its slot, and makes what it has views of it."""
        model, optimizer = self.models[slot], self.optimizers[slot]
        complete_state(optimizer)
        values = self.views(self.values)
        moments = {kind: self.views(flat) for kind, flat in self.moments.items()}
        for name, parameter in model.named_parameters():
            assert parameter.shape == self.parameters[name].shape, "the networks of a fleet have one shape"
            view = values[name][slot]
            view.copy_(parameter.data)
            parameter.data = view
            state = optimizer.state[parameter]
            for kind, views in moments.items():
                views[name][slot].copy_(state[kind])
                state[kind] = views[name][slot]
            if self.steps is not None:
                self.steps[slot] = state["step"]
                state["step"] = self.steps[slot]
        for name, buffer in model.named_buffers():
            self.buffers[name][slot].copy_(buffer)
        _place_buffers(model, {name: buffer[slot] for name, buffer in self.buffers.items()})

    def _flat(self) -> Tensor:
        kind = next(iter(self.parameters.values()))
        return torch.zeros(self.slots, self.width, dtype=kind.dtype, device=kind.device)


def _stacked(tensor: Tensor, slots: int) -> Tensor:
    return torch.zeros((slots, *tensor.shape), dtype=tensor.dtype, device=tensor.device)


def _place_buffers(model: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, buffer in buffers.items():
        path, _, last = name.rpartition(".")
        model.get_submodule(path)._buffers[last] = buffer

"""Recurrent layers, unrolled into the linear layers that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _VF, Tensor
from torch.nn import functional as F

from shattering.gradients.capture import Capture
from shattering.gradients.marks import mark
from shattering.gradients.rules.registry import rule

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State, list[Tensor | None]], State]


def lstm_cell(gates_of_input: Tensor, state: State, weights: list[Tensor | None]) -> State:
    """One step; a projection of the output if there is a third matrix."""
    hidden, cell = state
    gates = gates_of_input + F.linear(hidden, weights[1], weights[3])  # type: ignore[arg-type]
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    hidden = o.sigmoid() * cell.tanh()
    if weights[4] is not None:
        hidden = F.linear(hidden, weights[4])
    return hidden, cell


def gru_cell(gates_of_input: Tensor, state: State, weights: list[Tensor | None]) -> State:
    """One step, with the reset gate after the product."""
    (hidden,) = state
    r_i, z_i, n_i = gates_of_input.chunk(3, dim=-1)
    r_h, z_h, n_h = F.linear(hidden, weights[1], weights[3]).chunk(3, dim=-1)  # type: ignore[arg-type]
    reset, update = (r_i + r_h).sigmoid(), (z_i + z_h).sigmoid()
    new = (n_i + reset * n_h).tanh()
    return (new + update * (hidden - new),)


def tanh_cell(gates_of_input: Tensor, state: State, weights: list[Tensor | None]) -> State:
    """One step."""
    return ((gates_of_input + F.linear(state[0], weights[1], weights[3])).tanh(),)  # type: ignore[arg-type]


def relu_cell(gates_of_input: Tensor, state: State, weights: list[Tensor | None]) -> State:
    """One step."""
    return ((gates_of_input + F.linear(state[0], weights[1], weights[3])).relu(),)  # type: ignore[arg-type]


def _weights(flat: list[Tensor], biases: bool, projected: bool) -> list[list[Tensor | None]]:
    """Per layer and direction: input, hidden, input bias, hidden bias, projection."""
    size = 2 + 2 * biases + projected
    found: list[list[Tensor | None]] = []
    for start in range(0, len(flat), size):
        part: list[Tensor | None] = list(flat[start : start + size])
        projection = part.pop() if projected else None
        found.append([*part, *([] if biases else [None, None]), projection])
    return found


def _unrolled(
    input: Tensor, states: State, weights: list[list[Tensor | None]], cell: Cell, layers: int, directions: int
) -> tuple[Tensor, State]:
    """All layers over an input ``[n, T, features]``; states are ``[layers · directions, n, width]``."""
    last: list[State] = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            part = weights[place]
            gates = F.linear(input, part[0], part[2])  # type: ignore[arg-type]
            state = tuple(s[place] for s in states)
            steps = list(gates.unbind(1))
            hidden = []
            for step in reversed(steps) if direction else steps:
                state = cell(step, state, part)
                hidden.append(state[0])
            outputs.append(torch.stack(hidden[::-1] if direction else hidden, dim=1))
            last.append(state)
        input = torch.cat(outputs, dim=-1) if directions > 1 else outputs[0]
    return input, tuple(torch.stack(parts) for parts in zip(*last, strict=True))


def _register(function: Any, cell: Cell, several: bool) -> None:
    @rule(function)
    def recurrent(
        capture: Capture,
        input: Tensor,
        states: Any,
        flat: Any,
        has_biases: Any,
        num_layers: Any,
        dropout: Any,
        train: Any,
        bidirectional: Any,
        batch_first: Any = None,
    ) -> Any:
        """Of padded sequences; packed ones, and dropout between layers, are left to slower ways."""
        if not isinstance(has_biases, bool) or not isinstance(flat, (list, tuple)) or batch_first is None:
            return NotImplemented
        if input.dim() != 3 or (dropout > 0 and train):
            return NotImplemented
        # A state has a row per example even where it is made of zeros.
        state = tuple(mark(s) for s in (states if several else (states,)))
        directions = 2 if bidirectional else 1
        own = 2 + 2 * has_biases
        projected = len(flat) == num_layers * directions * (own + 1)
        with capture:
            rows = input if batch_first else input.transpose(0, 1)
            parts = _weights(list(flat), has_biases, projected)
            output, last = _unrolled(rows, state, parts, cell, num_layers, directions)
            return (output if batch_first else output.transpose(0, 1), *last)


_register(_VF.lstm, lstm_cell, True)
_register(_VF.gru, gru_cell, False)
_register(_VF.rnn_tanh, tanh_cell, False)
_register(_VF.rnn_relu, relu_cell, False)


def _register_cell(function: Any, cell: Cell, several: bool) -> None:
    @rule(function)
    def one_step(
        capture: Capture,
        input: Tensor,
        states: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        """A single step, called from a loop of the user's."""
        if input.dim() != 2:
            return NotImplemented
        with capture:
            state = tuple(mark(s) for s in (states if several else (states,)))
            found = cell(F.linear(input, w_ih, b_ih), state, [w_ih, w_hh, b_ih, b_hh, None])
            return found if several else found[0]


_register_cell(_VF.lstm_cell, lstm_cell, True)
_register_cell(_VF.gru_cell, gru_cell, False)
_register_cell(_VF.rnn_tanh_cell, tanh_cell, False)
_register_cell(_VF.rnn_relu_cell, relu_cell, False)

"""Which tensors come from the examples, and which functions make it unclear whose rows they hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MARK = "_from_examples"
"""Attribute of tensors that were computed from examples, so that ``positions(arange(T))`` is not taken for one."""

DECIDING = frozenset(
    function
    for name in (
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "item",
        "tolist",
        "numpy",
        "is_nonzero",
        "equal",
        "allclose",
    )
    for function in (getattr(torch, name, None), getattr(Tensor, name, None))
    if function is not None
)
"""Through these the values of examples reach Python, which may go another way for a batch than for one example."""

REGROUPING = frozenset(
    function
    for name in ("nonzero", "masked_select", "unique", "unique_consecutive", "argwhere")
    for function in (getattr(torch, name, None), getattr(Tensor, name, None))
    if function is not None
)
"""After these a first dimension of n may hold other rows than one per example."""


def mark(batch_tensor: Tensor) -> Tensor:
    """The tensor, as another object that is known to come from the examples."""
    fresh = batch_tensor.view_as(batch_tensor)
    setattr(fresh, MARK, True)
    return fresh


def mark_all(output: Any) -> None:
    """Marks every tensor in what a function of examples returned."""
    for tensor in tensors_in(output):
        if not hasattr(tensor, MARK):
            setattr(tensor, MARK, True)


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors among a function's arguments or results."""
    found: list[Tensor] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            # The common case without another call: this runs for every function of every forward.
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, (tuple, list, dict)):
                _collect(item, found)
    elif isinstance(value, dict):
        _collect(tuple(value.values()), found)


def is_marked(tensor: Tensor) -> bool:
    """Whether the tensor is known to come from the examples."""
    return hasattr(tensor, MARK)


def regroups(function: Any, args: tuple[Any, ...]) -> bool:
    """Whether this call on examples chooses rows by their values, so that it cannot be told whose they are."""
    if function in REGROUPING or (function is torch.where and len(args) == 1):
        return True
    if function not in (Tensor.__getitem__, torch.index_select, Tensor.index_select) or len(args) < 2:
        return False
    index = args[-1]
    index = index[0] if isinstance(index, tuple) and index else index
    chosen = isinstance(index, Tensor) and (index.dtype == torch.bool or is_marked(index))
    along = args[1] if len(args) > 2 else 0
    return chosen and along == 0 and is_marked(args[0])

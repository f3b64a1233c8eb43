"""Everything that a training could notice, kept as it is while something else calls its network."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shattering.models.process_globals import SETTINGS

_DEPTH = 4
"""How far generators are looked for in a data set's or loader's attributes: loader, batch sampler, sampler, its own."""

_Restore = Callable[[], object]


@contextmanager
def kept(modules: Iterable[nn.Module], holders: Iterable[object] = ()) -> Iterator[None]:
    """Evaluation mode and no autocast inside; afterwards all is what it was, bit for bit, whatever happened inside.

    All is: modes, parameters, gradients, buffers, ``requires_grad``, hooks and other attributes of the modules (what
    lists, dicts and sets hold one level deep); the generators of Python, NumPy, torch on every device, and those that
    modules and ``holders`` have among their attributes; torch's global settings. Hooks on parameters do not run inside:
    a gradient that is measured is that of the loss. Modules go to evaluation mode by their flags, not by their method
    ``train``, which in some networks changes weights.

    It takes the memory of the parameters and their gradients once more.

    Args:
        modules: networks, and losses that are modules; those inside them are included.
        holders: data sets and loaders that may have generators of their own.
    """
    inside = list({id(part): part for module in modules for part in module.modules()}.values())
    restore: list[_Restore] = []
    try:
        restore.extend((*_settings(), *_generators(inside, holders)))
        tensors: dict[int, Tensor] = {}
        for module in inside:
            restore.extend(_attributes(module))
            found = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
            tensors |= {id(value): value for value in found if isinstance(value, Tensor)}
        for tensor in tensors.values():
            restore.extend(_value(tensor))
            if tensor.is_leaf:
                restore.extend(_gradient(tensor))
        for module in inside:
            module.training = False
            if "forward" in vars(module) and "_original_forward" in vars(module):
                # Accelerate's wrapper casts to half precision, whose rounding would be taken for incoherence.
                vars(module)["forward"] = vars(module)["_original_forward"]
        with ExitStack() as stack:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for act in reversed(restore):
            act()


def _settings() -> Iterator[_Restore]:
    for _, read, write in SETTINGS:
        yield partial(_set_back, read, write, read())


def _set_back(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> None:
    if read() != value:
        write(value)


def _generators(modules: list[nn.Module], holders: Iterable[object]) -> Iterator[_Restore]:
    yield partial(random.setstate, random.getstate())
    yield partial(np.random.set_state, np.random.get_state())
    yield partial(torch.set_rng_state, torch.get_rng_state())
    if torch.cuda.default_generators:  # empty as long as no GPU has been used
        yield partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    if torch.backends.mps.is_available():
        yield partial(torch.mps.set_rng_state, torch.mps.get_rng_state())
    seen: set[int] = set()
    for module in modules:
        for value in vars(module).values():
            yield from _held(value, 1, seen)
    for holder in holders:
        yield from _held(holder, _DEPTH, seen)


def _held(value: object, depth: int, seen: set[int]) -> Iterator[_Restore]:
    """Generators among an object's attributes, and among theirs."""
    if id(value) in seen or isinstance(value, Tensor | np.ndarray | str | bytes | int | float | type):
        return
    seen.add(id(value))
    if isinstance(value, np.random.Generator):
        yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    elif isinstance(value, np.random.RandomState):
        yield partial(value.set_state, value.get_state())
    elif isinstance(value, random.Random):
        yield partial(value.setstate, value.getstate())
    elif isinstance(value, torch.Generator):
        yield partial(value.set_state, value.get_state())
    elif depth > 0 and not isinstance(value, nn.Module):
        held = list(value) if isinstance(value, list | tuple) else list(getattr(value, "__dict__", {}).values())
        for each in held[:64]:
            yield from _held(each, depth - 1, seen)


def _attributes(module: nn.Module) -> Iterator[_Restore]:
    own = vars(module)
    before = dict(own)

    def put_back() -> None:
        if own.keys() != before.keys() or any(own[name] is not value for name, value in before.items()):
            own.clear()
            own.update(before)

    for value in before.values():
        if isinstance(value, dict):
            yield partial(_refill_dict, value, dict(value))
        elif isinstance(value, list | deque):
            yield partial(_refill_list, value, list(value))
        elif isinstance(value, set):
            yield partial(_refill_set, value, set(value))
    yield put_back


def _refill_dict(value: dict[Any, Any], held: dict[Any, Any]) -> None:
    if list(value) != list(held) or any(value[key] is not held[key] for key in held):
        value.clear()
        value.update(held)


def _refill_list(value: list[Any] | deque[Any], held: list[Any]) -> None:
    if len(value) != len(held) or any(now is not then for now, then in zip(value, held, strict=True)):
        value.clear()
        value.extend(held)


def _refill_set(value: set[Any], held: set[Any]) -> None:
    if value != held:
        value.clear()
        value.update(held)


def _value(tensor: Tensor) -> Iterator[_Restore]:
    if tensor.layout is not torch.strided or tensor.is_meta:
        return
    copy = tensor.detach().clone()

    def put_back() -> None:
        # Compared, because writing would count as a change wherever autograd has saved the tensor.
        if not torch.equal(tensor.detach(), copy):
            with torch.no_grad():
                tensor.copy_(copy)

    yield put_back


def _gradient(tensor: Tensor) -> Iterator[_Restore]:
    gradient, wanted, hooks = tensor.grad, tensor.requires_grad, tensor._backward_hooks

    def put_back() -> None:
        if tensor.requires_grad is not wanted:
            tensor.requires_grad_(wanted)
        if tensor.grad is not gradient:
            tensor.grad = gradient
        if hooks:
            tensor._backward_hooks = hooks

    if gradient is not None:
        yield from _value(gradient)
    yield put_back
    if hooks:
        tensor._backward_hooks = None

"""Which functions have a rule; the first look-up imports this folder and what plugins bring along."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from shattering.core.errors import ShatteringError
from shattering.core.registry import load_plugins

Rule: TypeAlias = Callable[..., Any]

_rules: dict[Any, Rule] = {}
_spreading: set[Any] = set()
_discovered = False


class Use(ABC):
    """One call of a function with weights, as a rule sees it.

    The function has *inputs*, which vary from example to example, and *parameters*, which do not. The engine calls
    `forward` once, `data_gradients` once when the gradient δ of the output comes back, and then either `accumulate`
    or, if a parameter is used elsewhere too, `per_example` for some rows at a time. For the latter two, inputs and δ
    have been arranged to have one row per example in their first dimension.

    Args:
        parameters: the tensors with weights; one that is frozen is there too, its results are not asked for.
    """

    parameters: tuple[Tensor | None, ...]
    merged: bool = True
    """Whether the inputs may hold several rows per example, merged into the first dimension, or the examples second."""

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """The function itself."""

    def data_gradients(
        self, inputs: Sequence[Tensor], delta: Tensor, needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """The gradients of the inputs, None where not needed. Unless overridden, through a second forward."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needed, strict=True)]
            output = self.forward(*leaves)
        found = iter(torch.autograd.grad(output, [x for x in leaves if x.requires_grad], delta))
        return [next(found) if need else None for need in needed]

    @abstractmethod
    def per_example(self, inputs: Sequence[Tensor], delta: Tensor, wanted: Sequence[bool]) -> Sequence[Tensor | None]:
        """gᵢ of each wanted parameter: ``[rows, *parameter.shape]``, None for the others."""

    def stacked(self, uses: Sequence[tuple[Sequence[Tensor], Tensor]]) -> tuple[Sequence[Tensor], Tensor] | None:
        """Inputs and δ of one use that amounts to several of the same parameters; none if there is no such thing."""
        return None

    def accumulate(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Adds Σgᵢ to each total in place and returns ‖gᵢ‖² ``[n]`` of each; None where the total is None.

        Unless overridden, from gradients of single examples, a few rows at a time.
        """
        wanted = [total is not None for total in totals]
        size = sum(total.numel() for total in totals if total is not None)
        step = max(1, _WORKING_ENTRIES // max(1, size))
        norms: list[list[Tensor]] = [[] for _ in totals]
        for start in range(0, len(delta), step):
            rows = slice(start, start + step)
            gradients = self.per_example([x[rows] for x in inputs], delta[rows], wanted)
            for norm, gradient, total in zip(norms, gradients, totals, strict=True):
                if total is not None and gradient is not None:
                    norm.append(squared_rows(gradient))
                    total += gradient.sum(0)
        return [torch.cat(norm) if norm else None for norm in norms]

    def add_outer(self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None], fresh: bool) -> bool:
        """Adds (or writes, if fresh) Σgᵢ alone where gᵢ of a weight is aᵢ's outer product with δᵢ, and of a bias δᵢ.

        The norms of such uses follow from the lengths of the rows of a and δ, which `outer_norms` takes of many at
        once. False, and nothing done, where it is not so.
        """
        return False

    def write(
        self, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Like `accumulate`, into totals that hold anything, even no numbers; to be overridden where that is faster."""
        for total in totals:
            if total is not None:
                total.zero_()
        return self.accumulate(inputs, delta, totals)


COMFORTABLE = (1e-30, 1e30)
"""Outside, a squared norm in float32 has lost squares to underflow, or all of it to overflow."""

_WORKING_ENTRIES = 2**19
"""Entries of a scratch tensor that still fits a core's cache, about 2 MiB in float32."""


def squared_rows(gradients: Tensor) -> Tensor:
    """Squared Euclidean norm of each row, whatever its shape: ``[n]``, float64."""
    rows = gradients
    if gradients.dim() != 2:
        rows = gradients.flatten(1) if gradients.dim() > 2 else gradients[:, None]
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1).double().square()
    return norms


def _comfortable(norms: Tensor) -> bool:
    smallest, largest = torch.aminmax(norms)
    return smallest.item() > COMFORTABLE[0] and largest.item() < COMFORTABLE[1]


def safe_norms(
    use: Use, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None], fresh: bool = False
) -> list[Tensor | None]:
    """Squared norms by the rule; those out of float32's comfort once more in float64, row by row.

    Σgᵢ is added to the totals, or, if they are ``fresh``, written there.
    """
    return rechecked(use, inputs, delta, totals, list((use.write if fresh else use.accumulate)(inputs, delta, totals)))


def rechecked(
    use: Use, inputs: Sequence[Tensor], delta: Tensor, totals: Sequence[Tensor | None], norms: list[Tensor | None]
) -> list[Tensor | None]:
    """The squared norms that a rule found, those out of float32's comfort computed in float64."""
    if delta.dtype == torch.float64:
        return norms
    low, high = COMFORTABLE
    found = [norm for norm in norms if norm is not None]
    if not found:
        return norms
    # Often one tensor is the norms of two parameters.
    together = found[0][None] if all(norm is found[0] for norm in found) else torch.stack(found)
    if together.numel() == 0 or _comfortable(together):
        return norms
    doubtful = (~((together > low) & (together < high))).any(0)
    doubtful &= (delta != 0).flatten(1).any(1)
    rows = doubtful.nonzero()[:, 0]
    if len(rows) == 0:
        return norms
    exact = use.accumulate(
        [x[rows].double() if x.is_floating_point() else x[rows] for x in inputs],
        delta[rows].double(),
        [None if total is None else torch.zeros_like(total, dtype=torch.float64) for total in totals],
    )
    for i, norm in enumerate(exact):
        if norm is not None:
            norms[i] = norms[i].double().index_copy(0, rows, norm.double())  # type: ignore[union-attr]
    return norms


def outer_norms(uses: Sequence[tuple[Use, Tensor, Tensor, Sequence[Tensor | None]]]) -> list[list[Tensor | None]]:
    """‖gᵢ‖² of weight and bias, float64 ``[n]`` each, for uses that `Use.add_outer` took, with a, δ and the totals."""
    lengths = torch.stack([torch.linalg.vector_norm(x, dim=1) for _, a, delta, _ in uses for x in (delta, a)])
    squares = lengths.double().square_()
    of_bias, of_weight = squares[::2], squares[::2] * squares[1::2]
    comfortable = squares.numel() == 0 or (_comfortable(squares) and _comfortable(of_weight))
    found = []
    for (use, a, delta, totals), *norms in zip(uses, of_weight.unbind(), of_bias.unbind(), strict=True):
        wanted = [norm if total is not None else None for norm, total in zip(norms, totals, strict=True)]
        found.append(wanted if comfortable else rechecked(use, [a], delta, totals, wanted))
    return found


def rule(*functions: Any, spreads: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule for torch functions, those that `torch.overrides` lets one intercept.

    The rule is called as ``rule(capture, *args, **kwargs)`` with the arguments of the function and returns its output,
    by way of ``capture.measure(use, *inputs)`` or by calling functions that have rules; ``NotImplemented`` where it
    does not apply, which leaves the parameters to slower ways. What it returns is compared with single examples
    before it is trusted.

    Args:
        functions: of torch.
        spreads: whether the function may give each example its own copy of a parameter without seeing any example, as
            ``token.expand(len(inputs), -1, -1)`` does; other rules are called only with an example among the arguments.
    """

    def register(entry: Rule) -> Rule:
        for function in functions:
            if function in _rules:
                raise ShatteringError("registry-duplicate", f"There are two gradient rules for {function}; remove one.")
            _rules[function] = entry
            if spreads:
                _spreading.add(function)
        return entry

    return register


def rule_of(function: Any) -> Rule | None:
    """The rule for a torch function, if there is one."""
    _discover()
    return _rules.get(function)


def spreading(function: Any) -> bool:
    """Whether the function has a rule that applies although no example is among its arguments."""
    _discover()
    return function in _spreading


def _discover() -> None:
    global _discovered
    if not _discovered:
        _discovered = True
        package = importlib.import_module("shattering.gradients.rules")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
        load_plugins()

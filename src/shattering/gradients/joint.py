"""Parameters that are used more than once: their examples' gradients are added over the uses before norms are taken."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shattering.gradients.rules.registry import COMFORTABLE, Use, safe_norms, squared_rows
from shattering.gradients.slots import Slot


@dataclass(frozen=True, eq=False)
class Contribution:
    """One use whose δ has come back.

    Args:
        use: of the parameters.
        slots: where they are, aligned with the use's parameters.
        inputs: of the use, one row per example.
        delta: δ of its output, likewise.
    """

    use: Use
    slots: list[Slot | None]
    inputs: list[Tensor]
    delta: Tensor


@dataclass(eq=False)
class Joint:
    """Parameters that are only done with together.

    Args:
        names: of the parameters.
        expected: number of uses.
        contributions: those that have come back.
    """

    names: list[str]
    expected: int = 0
    contributions: list[Contribution] = field(default_factory=list)

    def add_up(
        self, parameters: Mapping[str, Tensor], totals: Mapping[str, Tensor], examples: int, scratch: int
    ) -> dict[str, Tensor]:
        """Adds Σgᵢ to the totals and returns ‖gᵢ‖² per parameter, ``[n]``; the contributions are forgotten."""
        direct = self._stacked(totals)
        if direct is not None:
            self.contributions.clear()
            return direct
        entries = sum(parameters[name].numel() for name in self.names)
        size = max(parameters[name].element_size() for name in self.names)
        step = max(1, scratch // (2 * entries * size))
        norms: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for start in range(0, examples, step):
            rows = slice(start, min(examples, start + step))
            for name, gradients in self._rows(parameters, rows).items():
                norms[name].append(_norms(gradients))
                totals[name].add_(gradients.sum(0))
        self.contributions.clear()
        return {name: torch.cat(found) for name, found in norms.items()}

    def _stacked(self, totals: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """Norms if all uses are one use at more positions, as steps in time are of a recurrent layer; else none."""
        first = self.contributions[0]
        slots = [slot if slot is not None and slot.roots[0] in self.names else None for slot in first.slots]
        alike = all(each.slots == first.slots and type(each.use) is type(first.use) for each in self.contributions)
        if not alike or not all(slot.view for slot in slots if slot) or sum(slot is not None for slot in slots) > 1:
            return None
        inputs_and_delta = first.use.stacked([(each.inputs, each.delta) for each in self.contributions])
        if inputs_and_delta is None:
            return None
        inputs, delta = inputs_and_delta
        wanted = [None if slot is None else slot.within(totals[slot.roots[0]]) for slot in slots]
        norms = safe_norms(first.use, inputs, delta, wanted)
        return {slot.roots[0]: norm for slot, norm in zip(slots, norms, strict=True) if slot and norm is not None}

    def _rows(self, parameters: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
        count = rows.stop - rows.start
        buffers = {}
        for name in self.names:
            like = parameters[name]
            buffers[name] = torch.empty_strided(
                (count, *like.shape), (like.numel(), *like.stride()), dtype=like.dtype, device=like.device
            ).zero_()
        for each in self.contributions:
            wanted = [slot is not None and slot.roots[0] in buffers for slot in each.slots]
            found = each.use.per_example([x[rows] for x in each.inputs], each.delta[rows], wanted)
            for slot, gradients in zip(each.slots, found, strict=True):
                if slot is None or gradients is None or slot.roots[0] not in buffers:
                    continue
                if slot.view:
                    slot.within_rows(buffers[slot.roots[0]]).add_(gradients)
                    continue
                for name, pulled in _pull_back(slot, gradients, parameters).items():
                    buffers[name].add_(pulled)
        return buffers


def _norms(gradients: Tensor) -> Tensor:
    rows = gradients.reshape(len(gradients), -1)
    norms = squared_rows(rows)
    low, high = COMFORTABLE
    if gradients.dtype != torch.float64 and not bool(((norms > low) & (norms < high)).all()):
        return squared_rows(rows.double())
    return norms


def _pull_back(slot: Slot, gradients: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From gradients by a tensor computed from parameters to gradients by those: ``[c, *parameter.shape]`` each."""
    leaves = [parameters[name] for name in slot.roots]
    gradients = gradients.to(slot.tensor.dtype)
    with torch.enable_grad():
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop")
                found = torch.autograd.grad(
                    slot.tensor, leaves, gradients, retain_graph=True, allow_unused=True, is_grads_batched=True
                )
        except RuntimeError:
            single = [
                torch.autograd.grad(slot.tensor, leaves, row, retain_graph=True, allow_unused=True) for row in gradients
            ]
            columns = zip(*single, strict=True)
            found = tuple(None if column[0] is None else torch.stack(column) for column in columns)  # type: ignore[misc]
    return {name: value for name, value in zip(slot.roots, found, strict=True) if value is not None}

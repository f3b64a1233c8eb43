"""What is added up during one measurement: in the parameters' arithmetic for a while, in float64 from then on."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from shattering.gradients.sums import GradientSums, Totals


class Tally:
    """Sums over the examples seen so far.

    Gradients may come multiplied by 2^`exponent`, an exact factor that keeps them in the range of float32.

    Args:
        parameters: whose gradients are added.
        exponent: the present one.
        spare: buffers of earlier sums that nobody reads any more; those of the result come back here in their turn.
            Memory that was used before is at hand, new memory the system has to fill with zeros first.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], exponent: int = 0, spare: dict[str, Tensor] | None = None
    ) -> None:
        self.parameters = parameters
        self._spare = spare
        self.exponent = exponent
        self.examples = 0
        self.waiting = 0
        self._buffers: dict[str, Tensor] = {}
        self._dirty: set[str] = set()
        self._total: dict[str, Tensor] = {}
        self._squared: dict[tuple[str, ...], Tensor] = {}
        self._norms: list[Tensor] = []
        self._losses: list[Tensor] = []

    def buffers(self, names: Iterable[str]) -> dict[str, Tensor]:
        """For each name a tensor laid out like the parameter, to which scaled gradients are added in place.

        Those not `begun` hold anything, and must be written, if only with zeros, once they have been asked for.
        """
        for name in names:
            self._dirty.add(name)
            if name not in self._buffers:
                self._buffers[name] = self._empty(name)
        return {name: self._buffers[name] for name in names}

    def _empty(self, name: str) -> Tensor:
        like = self.parameters[name]
        spare = self._spare.pop(name, None) if self._spare else None
        if spare is not None and (spare.shape, spare.stride(), spare.device) == (
            like.shape,
            like.stride(),
            like.device,
        ):
            return spare
        return torch.empty_like(like, requires_grad=False)

    @property
    def begun(self) -> frozenset[str]:
        """Names whose buffers hold gradients."""
        return frozenset(self._dirty)

    def flush(self) -> None:
        """Moves what the buffers hold into float64."""
        for name in sorted(self._dirty):
            buffer = self._buffers[name]
            if name in self._total:
                # In float64 throughout, and exact: the factor is a power of two.
                self._total[name].add_(buffer, alpha=2.0**-self.exponent)
            else:
                value = buffer.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
                self._total[name] = value.mul_(2.0**-self.exponent) if self.exponent else value
        self._dirty.clear()
        self.waiting = 0

    def discard(self) -> None:
        """Forgets what the buffers hold."""
        self._dirty.clear()

    def rescale(self, exponent: int) -> None:
        """From now on gradients come with another factor."""
        if exponent != self.exponent:
            self.flush()
            self.exponent = exponent

    def add_total(self, name: str, value: Tensor) -> None:
        """Adds unscaled float64 gradients, which are the tally's from now on."""
        if name in self._total:
            self._total[name] += value
        else:
            self._total[name] = value.contiguous()

    def add(self, names: tuple[str, ...], squares: Tensor | None, losses: Tensor) -> None:
        """Adds a chunk's scaled squared norms, float64 ``[parameters, n]`` by these names, and its losses ``[n]``.

        No norms where no gradient came.
        """
        n = len(losses)
        if squares is not None:
            if self.exponent:
                squares = squares * 4.0**-self.exponent
            sums = squares.sum(1)
            self._squared[names] = self._squared[names] + sums if names in self._squared else sums
            self._norms.append(squares.sum(0))
        else:
            self._norms.append(torch.zeros(n, dtype=torch.float64, device=losses.device))
        self._losses.append(losses.double())
        self.examples += n
        self.waiting += n

    def result(self) -> GradientSums:
        """The sums, with zeros for parameters that no gradient came for."""
        squared = dict.fromkeys(self.parameters, 0.0)
        for names, sums in self._squared.items():
            for name, value in zip(names, sums.tolist(), strict=True):
                squared[name] += value
        kept: dict[str, Tensor] = {}
        exponents: dict[str, int] = {}
        for name in self.parameters:
            if name in self._dirty and name not in self._total:
                # One window's sum stays as it is; the buffer is the result's from now on.
                kept[name], exponents[name] = self._buffers.pop(name), self.exponent
                self._dirty.remove(name)
        self.flush()
        self._buffers.clear()
        for name, p in self.parameters.items():
            if name not in kept:
                total = self._total.get(name)
                kept[name] = torch.zeros_like(p, dtype=torch.float64).detach() if total is None else total
        totals = Totals({name: kept[name] for name in self.parameters}, exponents)
        if self._spare is not None:
            # Only what is copied when it is read can have no other reader once the totals are gone.
            ours = {name: kept[name] for name in exponents if kept[name].dtype == torch.float32}
            weakref.finalize(totals, self._spare.update, ours).atexit = False
        return GradientSums(
            examples=self.examples,
            total=totals,
            squared=squared,
            squared_norms=torch.cat(self._norms).cpu(),
            losses=torch.cat(self._losses).cpu(),
            roundoff=max(torch.finfo(p.dtype).eps for p in self.parameters.values()),
        )

"""Sums and norms of the gradients of single examples, for little more than one ordinary backward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from shattering.core.errors import DataError, ShatteringError
from shattering.gradients.batches import (
    Batch,
    Batches,
    Loss,
    batch_size,
    is_one_set,
    is_pair,
    map_tensors,
    rows_of,
    split_batches,
    to_device,
)
from shattering.gradients.capture import Capture
from shattering.gradients.coverage import Coverage, coverage_of
from shattering.gradients.dropout import FixedDropout
from shattering.gradients.marks import mark
from shattering.gradients.measured import measured, trainable
from shattering.gradients.objective import Objective, agree, consistent, find_objective, losses_of_outputs
from shattering.gradients.refusals import (
    check_arguments,
    check_arithmetic,
    notes_on,
    require_finite,
    require_finite_losses,
)
from shattering.gradients.singles import Singles, first_line
from shattering.gradients.sums import GradientSums, inner_product
from shattering.gradients.tally import Tally
from shattering.gradients.trust import Trust

MEMORY = 2**30
"""Default bound on what a chunk takes, in bytes."""

WINDOW = 1024
"""Examples that are added up in float32 before they go into float64."""

IN_CACHE = 256
"""Rows at a time of a set in memory on a CPU, where more do not make the products faster."""


class Engine:
    """Computes Σgᵢ and Σ‖gᵢ‖² for a model, again and again as its weights change.

    The weights' own gradient is never computed by autograd: the sum of the single examples' gradients *is* it, so that
    the pass costs about as much as a forward and a backward of the mean loss. Functions with a rule are measured in
    closed form; what has none, or fails the comparison with single examples, goes through ``torch.func`` or, last,
    through a loop over examples, with the same numbers; `coverage` tells which.

    The model is measured in evaluation mode, in the arithmetic of its parameters, and left as it was.

    Args:
        model: any network; its parameters that require a gradient are measured.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch); it returns one number per example,
            or their mean or sum.
        max_memory: bytes that activations and gradients of a chunk may take; one example is taken however large it is.
        dropout: ``"off"``, or ``"fixed"``: on, with one mask for all examples.
        batch_norm: ``"evaluation"``: by running statistics; ``"refuse"``: an error if the model in training mode would
            use those of the batch.
        seed: of the fixed masks.

    Raises:
        ModelError: no parameter requires a gradient, or they are in half precision or complex; a batch normalisation
            has no running statistics, or is refused.
        SpecError: an argument has an unknown value.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        max_memory: int = MEMORY,
        dropout: str = "off",
        batch_norm: str = "evaluation",
        seed: int = 0,
    ) -> None:
        check_arguments(max_memory, dropout, batch_norm)
        self.model, self.loss, self.max_memory = model, loss, max_memory
        self.parameters = trainable(model)
        single = any(parameter.dtype == torch.float32 for parameter in self.parameters.values())
        self._arithmetic = torch.float32 if single else torch.float64
        check_arithmetic(self.parameters)
        self.notes = notes_on(model, dropout, batch_norm)
        self._masks = FixedDropout(seed) if dropout == "fixed" else None
        self._singles = Singles(model, loss, self.parameters, self._restart_masks)
        self._trust = Trust(self.parameters)
        self._objective: Objective | None = None
        self._example_bytes = 0
        self._spare: dict[str, Tensor] = {}

    @property
    def coverage(self) -> Coverage:
        """How each parameter's gradients are computed, as far as seen."""
        return coverage_of(self.model, self.parameters, self._trust.slow)

    def sums(self, batches: Batches, *, should_stop: Callable[[], object] | None = None) -> GradientSums:
        """Σgᵢ, Σ‖gᵢ‖² and each ‖gᵢ‖² and ℓᵢ over all examples of ``batches``, at the model's present weights.

        Args:
            batches: a tuple or dict of tensors with a row per example, or an iterable of batches.
            should_stop: called before each chunk; what it raises ends the measurement.

        Raises:
            DataError: there are no examples, tensors of a batch differ in their number, or the loss or gradient of an
                example is not finite.
            ModelError: model or loss fail, the loss is not one number per example, or it depends on chance.
        """
        tally = Tally(self.parameters, spare=self._spare)
        device = next(iter(self.parameters.values())).device
        limit = IN_CACHE if is_one_set(batches) and device.type == "cpu" else WINDOW
        first = True
        with self._measuring():
            for batch in split_batches(batches):
                size = batch_size(batch)
                if size == 0:
                    raise DataError("gradients-empty-batch", "A batch has no examples; leave it out.")
                if self._objective is None:
                    self._inspect(to_device(batch, device), tally)
                step = self._chunk_size(limit)
                for start in range(0, size, step):
                    if should_stop is not None:
                        should_stop()
                    chunk = to_device(rows_of(batch, slice(start, min(size, start + step))), device)
                    self._add(chunk, tally, first)
                    first = False
        if tally.examples == 0:
            raise DataError("gradients-no-examples", "There are no examples to take gradients of; give at least one.")
        return tally.result()

    # The state of the model.

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        modules = list(self.model.modules())
        # Such embeddings shorten their own rows when they are looked up.
        clipped = [
            (module.weight, module.weight.detach().clone())
            for module in modules
            if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None
        ]
        with measured(self.model, modules), self._masks or nullcontext():
            if self._masks is not None:
                for module in modules:
                    module.training = not isinstance(module, nn.modules.batchnorm._NormBase)
            try:
                yield
            finally:
                with torch.no_grad():
                    for weight, value in clipped:
                        weight.copy_(value)

    def _restart_masks(self) -> None:
        if self._masks is not None:
            self._masks.restart()

    def _inspect(self, batch: Batch, tally: Tally) -> None:
        """Finds out, from the first and the last example of a batch, all that the passes rely on."""
        singles = self._singles
        size = batch_size(batch)
        probe = rows_of(batch, slice(0, size, max(1, size - 1)))
        singles.exponent = 0
        alone, length = _lengths(singles.references(probe))
        losses = torch.tensor(alone, dtype=torch.float64)
        if not bool(losses.isfinite().all()):
            singles.name_first_bad(batch, tally.examples)
        singles.check(probe, alone[0])
        for exponent in (0, 100, -100):
            singles.exponent = exponent
            if exponent:
                _, length = _lengths(singles.references(probe))
            if math.isfinite(length) and length > 0:
                break
        else:
            singles.exponent = 0
            if not math.isfinite(length):
                singles.name_first_bad(batch, tally.examples)
            length = 1.0

        def gradient_says() -> str:
            return singles.mean_or_sum(probe, list(singles.references(probe)))

        self._restart_masks()
        self._objective = find_objective(self.model, self.loss, probe, losses, self._arithmetic, gradient_says)
        singles.exponent = self._retuned(length)
        self._example_bytes = singles.alone.activation_bytes(rows_of(probe, slice(0, 1)))
        if self._objective.kind == "alone":
            self._trust.none_followed("the loss of a batch is neither the mean nor the sum of its examples' losses")
        else:
            self._add(probe, Tally(self.parameters, singles.exponent), first=True)

    def _retuned(self, length: float) -> int:
        """The exponent that brings gradients of such a length, at the present one, near 1 if they are far off."""
        if 1e-6 < length < 1e6:
            return self._singles.exponent
        return max(-120, min(120, self._singles.exponent - round(math.log2(length))))

    # A chunk.

    def _chunk_size(self, limit: int) -> int:
        # A forward's activations and, in the backward, their gradients; beside them what a rule works on.
        each = 2 * max(1, self._example_bytes)
        return int(max(1, min(limit, 0.75 * self.max_memory // each)))

    def _add(self, chunk: Batch, tally: Tally, first: bool) -> None:
        n = batch_size(chunk)
        assert self._objective is not None
        if not self._objective.certain and n > 1:
            self._inspect(chunk, tally)
        tally.rescale(self._singles.exponent)
        if tally.waiting + n > WINDOW:
            tally.flush()
        names: tuple[str, ...] = ()
        squares = losses = None
        while losses is None and self._trust.followed:
            found = self._measure(chunk, n, tally, first)
            if found is not None:
                names, squares, losses = found
        if losses is None:
            losses = self._singles.losses(chunk)
            require_finite_losses(losses, tally.examples)
        slow = self._slow_norms(chunk, tally)
        names += tuple(slow)
        if slow:
            squares = torch.stack([*(() if squares is None else squares), *slow.values()])
        if squares is not None:
            require_finite(names, squares, tally.examples)
        tally.add(names, squares, losses)

    def _measure(
        self, chunk: Batch, n: int, tally: Tally, first: bool
    ) -> tuple[tuple[str, ...], Tensor | None, Tensor] | None:
        """Closed forms of n examples: names and squared norms of parameters, as rows, and losses.

        None if something was found out that makes another attempt necessary; no norms if no gradient came.
        """
        objective, trust, singles = self._objective, self._trust, self._singles
        assert objective is not None
        followed = trust.followed
        capture = Capture(followed, {}, n, trust.layouts, max(2**22, self.max_memory // 8))
        try:
            self._restart_masks()
            with capture:
                marked = map_tensors(chunk, mark)
                outputs = self.model(marked[0]) if is_pair(marked) else None
                value = objective.loss(outputs, marked[1]) if is_pair(marked) else objective.loss(self.model, marked)
        except (ShatteringError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            trust.none_followed(f"{type(error).__name__} in a batch: {first_line(error)}")
            return None
        losses = self._losses(objective, chunk, n, outputs, value)
        if losses is not None and capture.decides and n > 1:
            # A batch may go another way than its examples do: whether it did is asked of every one.
            losses = losses if agree(losses, singles.losses(chunk), self._arithmetic) else None
        del outputs
        if losses is None:
            self._objective = Objective("alone", self.loss)
            trust.none_followed("the loss of a batch does not always come from its examples' losses alone")
            return None
        require_finite_losses(losses, tally.examples)
        if capture.unruled:
            trust.unruled(capture.unruled)
            return None
        # What n examples do, one or two may do otherwise.
        key = (tuple(capture.signature), min(n, 3))
        verify = key not in trust.verified or (first and not trust.proven)
        if verify:
            tally.flush()
        separate = tally.waiting == 0
        try:
            capture.fresh = followed.keys() - tally.begun
            capture.totals = tally.buffers(followed)
            capture.plan()
            if value.requires_grad:
                seed = torch.full_like(value, 2.0**singles.exponent * objective.factor(n))
                torch.autograd.grad(value, [capture.anchor], seed, allow_unused=True)
            capture.finish()
        except (ShatteringError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not separate:
                raise
            tally.discard()
            trust.none_followed(f"{type(error).__name__} in the backward: {first_line(error)}")
            return None
        norms = capture.squared
        if verify:
            alone: list[float] = []
            wrong = trust.wrong(_noting(singles.references(chunk), alone), norms, capture.totals, n)
            if not agree(losses[sorted({0, n - 1})], torch.tensor(alone, dtype=torch.float64), self._arithmetic):
                tally.discard()
                self._objective = Objective("alone", self.loss)
                trust.none_followed("an example's loss depends on the other examples of a batch")
                return None
            if wrong:
                tally.discard()
                trust.refuse(wrong, norms)
                return None
            trust.verified.add(key)
        squares = torch.stack(list(norms.values())) if norms else None
        if first and separate and squares is not None and self._rescaled(squares, tally):
            return None
        return tuple(norms), squares, losses

    def _rescaled(self, squares: Tensor, tally: Tally) -> bool:
        """Whether gradients came near the limits of float32, so that the chunk must be measured at another scale."""
        exponent = self._singles.exponent
        length = math.sqrt(float(squares.amax()))
        if not math.isfinite(length):
            self._singles.exponent = max(-120, exponent - 100)
        elif length > 0 and not 1e-15 < length < 1e15:
            self._singles.exponent = self._retuned(length)
        if self._singles.exponent == exponent:
            return False
        tally.discard()
        tally.rescale(self._singles.exponent)
        return True

    def _losses(self, objective: Objective, chunk: Batch, n: int, outputs: Any, value: Tensor) -> Tensor | None:
        """ℓᵢ of a chunk, none if the chunk's loss turns out not to combine them as it did before."""
        if objective.kind == "each":
            return value.detach().reshape(n)
        if is_pair(chunk):
            losses = losses_of_outputs(objective.loss, outputs, chunk[1], n)
        else:
            losses = self._singles.losses(chunk)
        return (
            losses
            if not bool(value.isfinite()) or consistent(objective.kind, value, losses, self._arithmetic)
            else None
        )

    def _slow_norms(self, chunk: Batch, tally: Tally) -> dict[str, Tensor]:
        slow, alone = self._trust.slow, self._singles.alone
        if not slow:
            return {}
        subset = {name: p for name, p in self.parameters.items() if name in slow}
        size = sum(p.numel() * p.element_size() for p in subset.values())
        n = batch_size(chunk)
        # A gradient is there twice for a moment, and once more in float64.
        step = int(max(1, min(n, self.max_memory // (4 * size + 4 * self._example_bytes))))
        norms: dict[str, list[Tensor]] = {name: [] for name in subset}
        for start in range(0, n, step):
            gradients = alone.gradients(rows_of(chunk, slice(start, start + step)), subset)
            for name, each in gradients.items():
                rows = each.detach().double()
                norms[name].append(rows.flatten(1).square().sum(1) if rows.dim() > 1 else rows.square())
                tally.add_total(name, rows.sum(0) * 2.0**-self._singles.exponent)
        if not alone.vectorised:
            slow.update({name: ("loop", reason) for name, (_, reason) in slow.items()})
        return {name: torch.cat(found) for name, found in norms.items()}


def _lengths(references: Iterator[tuple[float, dict[str, Tensor]]]) -> tuple[list[float], float]:
    """The losses, and the norm of all gradients together, of which one example's are there at a time."""
    losses: list[float] = []
    squares = 0.0
    for loss, gradients in references:
        losses.append(loss)
        squares += sum(inner_product(gradient, gradient) for gradient in gradients.values())
        gradients.clear()
    return losses, math.sqrt(squares)


def _noting(
    references: Iterator[tuple[float, dict[str, Tensor]]], losses: list[float]
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    """The same one at a time, the losses also put into a list."""
    for loss, gradients in references:
        losses.append(loss)
        yield loss, gradients

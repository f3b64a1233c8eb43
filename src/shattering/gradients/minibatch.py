"""Coherence of examples from the gradients of whole batches, as batch normalisation needs it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shattering.core.errors import SpecError
from shattering.gradients.batches import (
    Batch,
    Batches,
    Loss,
    batch_size,
    is_one_set,
    map_tensors,
    split_batches,
    tensors_of,
    to_device,
)
from shattering.gradients.looped import gradients_of
from shattering.gradients.measured import device_of, measured, trainable
from shattering.gradients.reduction import mean_loss


def alpha_of_batches(alpha: float, *, batch_size: int) -> float:
    """α of the mean gradients of batches of k independent draws: kα / (1 + (k − 1) α).

    At least α, equal to it only at 0 and 1; about kα while α is far below 1/k (Chatterjee & Zielinski 2022, the
    property of mini-batching). Coherence of batches is therefore never to be compared with coherence of examples.

    Args:
        alpha: α of single gradients, in [0, 1].
        batch_size: k, at least 1.

    Raises:
        SpecError: ``minibatch-range`` if a value is out of its range.
    """
    _check(alpha, batch_size, None)
    return batch_size * alpha / (1 + (batch_size - 1) * alpha)


def alpha_of_examples(alpha: float, *, batch_size: int, examples: int | None = None) -> float:
    """α of single gradients from α_W, that of the mean gradients of batches of k.

    α = α_W / (k − (k − 1) α_W) for batches of independent draws (Chatterjee & Zielinski 2022). Batches that *partition*
    m examples are not independent: α = α_W (m − k) / (k (m − 1) − (k − 1) m α_W), exact where the mean squared norm
    of the batches' gradients is its average over all partitions. The first gives orthogonal gradients an m-coherence of
    m / (m − k + 1) and not 1; the second gives 1.

    Args:
        alpha: α_W, in [0, 1].
        batch_size: k, at least 1: the size of a batch, not the number of batches.
        examples: m, above k, if the batches partition m examples; none if each is drawn anew.

    Returns:
        α in [0, 1]: 0 and 1 where α_W is.

    Raises:
        SpecError: ``minibatch-range`` if a value is out of its range.
    """
    _check(alpha, batch_size, examples)
    k, m = batch_size, examples
    if m is None:
        return alpha / (k - (k - 1) * alpha)
    return alpha * (m - k) / (k * (m - 1) - (k - 1) * m * alpha)


@dataclass(frozen=True, eq=False)
class MinibatchCoherence:
    """Coherence of m examples, inferred from random partitions of them into batches.

    Args:
        examples: m.
        batch_sizes: of the batches of each partition.
        squared_norm_of_sum: per parameter, ‖Σ_b S_b‖² of each partition, S_b the sum of gradients in batch b, float64
            ``[partitions]``. Without batch statistics it is the same for all partitions.
        sum_of_squared_norms: per parameter, Σ_b ‖S_b‖² of each partition, float64 ``[partitions]``.
        batch_norm: the statistics that normalised the examples: ``"batch"``, those of their own batch, or ``"none"`` if
            the network has no batch normalisation.
    """

    examples: int
    batch_sizes: tuple[int, ...]
    squared_norm_of_sum: Mapping[str, Tensor]
    sum_of_squared_norms: Mapping[str, Tensor]
    batch_norm: str

    def m_coherence(self, parameters: Iterable[str] | None = None) -> float:
        """m·α over the named parameters (none: all), in [0, m]; NaN if every gradient is zero.

        Σ‖gᵢ‖² follows from Σ_b ‖S_b‖², linearly and without bias, and is averaged over the partitions before the ratio
        is taken: the mean of their ratios would stay off however many there were.
        """
        return _ratio(*self._moments(parameters))

    def alpha(self, parameters: Iterable[str] | None = None) -> float:
        """α over the named parameters (none: all), in [0, 1]."""
        return self.m_coherence(parameters) / self.examples

    def standard_error(self, parameters: Iterable[str] | None = None) -> float:
        """Of `m_coherence`, from the choice of partitions alone (jackknife); NaN for a single partition."""
        sums, squares = self._moments(parameters)
        n = len(sums)
        if n < 2:
            return math.nan
        left_out = [_ratio(sums[torch.arange(n) != i], squares[torch.arange(n) != i]) for i in range(n)]
        mean = sum(left_out) / n
        return math.sqrt((n - 1) / n * sum((value - mean) ** 2 for value in left_out))

    def _moments(self, parameters: Iterable[str] | None) -> tuple[Tensor, Tensor]:
        """‖Σgᵢ‖² and the estimate of Σ‖gᵢ‖², one for each partition."""
        names = list(self.squared_norm_of_sum if parameters is None else parameters)
        sums = torch.stack([self.squared_norm_of_sum[name] for name in names]).sum(0)
        batched = torch.stack([self.sum_of_squared_norms[name] for name in names]).sum(0)
        # The chance that two given examples share a batch; in expectation Σ‖S_b‖² = Q + shared (‖Σgᵢ‖² − Q).
        shared = sum(k * (k - 1) for k in self.batch_sizes) / (self.examples * (self.examples - 1))
        return sums, (batched - shared * sums) / (1 - shared)


def minibatch_coherence(
    model: nn.Module, batches: Batches, loss: Loss, *, batch_size: int, repeats: int = 8, seed: int = 0
) -> MinibatchCoherence:
    """Coherence of examples in a network whose batch normalisation uses the statistics of the batch, as in training.

    There an example alone has no gradient. The examples are shuffled and cut into batches, the gradient of each batch's
    mean loss is taken, and α of the batches is inverted to α of the examples: exact in expectation for a network that
    treats its examples apart, and for others the coherence of examples that keep company at random. It is not the
    coherence of the same network with its running statistics; say which, and compare like with like.

    Dropout is off. Weights, running statistics, modes and generators are left as they were. A forward and a backward
    over all examples for every repetition, in the memory of one batch.

    Args:
        model: any network.
        batches: a tuple or dict of tensors with a row per example, or an iterable of batches, which are joined.
        loss: of (outputs, targets) where a batch is a pair, else of (model, batch).
        batch_size: k; batches have k examples, or more by the remainder, which is spread over them.
        repeats: random partitions, at least 1; at least 2 for a standard error.
        seed: of the partitions.

    Raises:
        SpecError: ``minibatch-range`` if there are fewer than two batches or no repetition.
        DataError: a batch has no rows, or the loss is neither one number per example nor their mean or sum.
        ModelError: no parameter requires a gradient.
    """
    parameters = trainable(model)
    examples = _joined(batches)
    m = _rows(examples)
    if not 1 <= batch_size <= m // 2 or repeats < 1:
        raise SpecError(
            "minibatch-range",
            f"Batches of {batch_size} from {m} examples, {repeats} times: give a batch size of at least 1 and at most "
            "half of the examples, and at least one repetition.",
        )
    sizes = [len(part) for part in torch.arange(m).tensor_split(m // batch_size)]
    normalised = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    generator = torch.Generator().manual_seed(seed)
    of_sum = {name: torch.zeros(repeats, dtype=torch.float64) for name in parameters}
    of_batches = {name: torch.zeros(repeats, dtype=torch.float64) for name in parameters}
    with measured(model):
        for module in normalised:
            module.train()
        for repeat in range(repeats):
            total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in parameters.items()}
            for rows in torch.split(torch.randperm(m, generator=generator), sizes):
                value = mean_loss(model, loss, to_device(_taken(examples, rows), device_of(parameters)))
                for name, gradient in gradients_of(value, parameters).items():
                    summed = gradient.double() * len(rows)
                    total[name] += summed
                    of_batches[name][repeat] += float(summed.square().sum())
            for name, value in total.items():
                of_sum[name][repeat] = float(value.square().sum())
    return MinibatchCoherence(m, tuple(sizes), of_sum, of_batches, "batch" if normalised else "none")


def _check(alpha: float, batch_size: int, examples: int | None) -> None:
    if not 0 <= alpha <= 1 or batch_size < 1 or (examples is not None and examples <= batch_size):
        of = "" if examples is None else f" from {examples} examples"
        raise SpecError(
            "minibatch-range",
            f"alpha {alpha} with batches of {batch_size}{of}: alpha must lie in [0, 1], and the batch size must be at "
            "least 1 and below the number of examples.",
        )


def _ratio(sums: Tensor, squares: Tensor) -> float:
    return float(sums.mean() / squares.mean()) if float(squares.mean()) != 0 else math.nan


def _joined(batches: Batches) -> Batch:
    if is_one_set(batches):
        return batches
    parts = list(split_batches(batches))
    if len(parts) < 2:
        return parts[0] if parts else None
    columns = iter([torch.cat(column) for column in zip(*map(tensors_of, parts), strict=True)])
    return map_tensors(parts[0], lambda _: next(columns))


def _taken(examples: Batch, rows: Tensor) -> Batch:
    return map_tensors(examples, lambda tensor: tensor[rows.to(tensor.device)])


def _rows(examples: Batch) -> int:
    return batch_size(examples)

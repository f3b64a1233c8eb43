"""Whose gradients make the loss fall: those of pristine or of corrupt examples."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shattering.core.record import Record
from shattering.core.statistics import permutation_p
from shattering.core.streams import Stream
from shattering.measures.registry import Probe, measure

if TYPE_CHECKING:
    import torch

WORLDS = 999
"""Permutations of the tags; the smallest p-value is one thousandth."""

BATCH_SIZE = 500
CHUNK_ENTRIES = 2**22
"""Tags permuted at a time: what bounds the memory."""


@measure(
    units={
        "pristine_share": "1",
        "corrupt_share": "1",
        "pristine_contribution": "1",
        "corrupt_contribution": "1",
        "null_share_low": "1",
        "null_share_high": "1",
        "share_p": "1",
    },
    paper="Chatterjee (2020), the MNIST experiment with label noise",
    gradient_passes=1.0,  # beside the one it shares with `coherence`
)
def contributions(probe: Probe) -> dict[str, float]:
    """Shares of pristine and corrupt examples in the first-order decrease of the loss, beside null worlds.

    With gᵢ the gradient of example i alone, g = Σgᵢ over the m sampled training examples and g = gᵖ + gᶜ its parts from
    the examples that the corruption left alone (pristine) and changed (corrupt):

    * ``pristine_share`` is f_p = ⟨g, gᵖ⟩ / ⟨g, g⟩, and ``corrupt_share`` f_c = ⟨g, gᶜ⟩ / ⟨g, g⟩. They sum to 1; either
      may be negative, where its group's gradients oppose the step, and the other is then above 1.
    * ``pristine_contribution`` and ``corrupt_contribution`` are the mean over the group of ⟨ḡ, gᵢ⟩, ḡ = g/m: how much
      the loss of an average example of the group falls, to first order, per unit of learning rate.
    * ``null_share_low`` and ``null_share_high`` hold 95% of the f_p of 999 null worlds, in which the tags "pristine"
      and "corrupt" are dealt out anew among the same examples. Their mean is the pristine fraction of the sample.
      The worlds are permutations of the stream ``null-worlds``, the same ones at every snapshot.
    * ``share_p`` is the one-sided p-value of f_p among those worlds: at least 0.001 (pristine examples dominate beyond
      their number), near 1 where corrupt ones do.

    Where the sample has no pristine or no corrupt example nothing but the present group's contribution is defined;
    where g is exactly zero there are no shares; a number that is not finite is left out. Gradients are taken in
    evaluation mode, as in ``coherence``.

    The cost is one pass in forward mode over the sample, beside that of ``coherence``.
    """
    sums = probe.sums
    whole, squared = sums.all, sums.all.dot(sums.all)
    numbers = {}
    for group, part in (("pristine", sums.pristine), ("corrupt", sums.corrupt)):
        if part is not None:
            common = part.dot(whole)
            numbers[f"{group}_contribution"] = common / (whole.examples * part.examples)
            if sums.pristine is not None and sums.corrupt is not None and squared > 0:
                numbers[f"{group}_share"] = common / squared
    if math.isfinite(numbers.get("pristine_share", math.nan)):
        pristine = (~probe.changed[probe.gradient_rows]).cpu().numpy()
        # ⟨g, gᵢ⟩ / ⟨g, g⟩: what example i adds to the share of its group.
        parts = projections_of(probe) * whole.examples / squared
        if np.isfinite(parts).all():
            numbers |= null_numbers(parts, pristine, probe.seed_of("null-worlds"))
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def projections_of(probe: Probe) -> NDArray[np.float64]:
    """⟨ḡ, gᵢ⟩ of each sampled training example, float64 ``[m]``, in the order of the sample; ḡ must not be zero."""
    import torch

    from shattering.gradients.projections import projections

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.split(probe.gradient_rows, BATCH_SIZE):
            yield probe.inputs_of(rows), probe.labels[rows]

    mean = probe.sums.all.mean_gradient()
    # The gradients of a fitted network are tiny; a direction of length 1 keeps them clear of underflow in float32.
    norm = math.sqrt(sum(float(part.square().sum()) for part in mean.values()))
    direction = {name: part / norm for name, part in mean.items()}
    values: NDArray[np.float64] = projections(probe.model, batches(), probe.losses, direction).cpu().numpy()
    return values * norm


def null_numbers(parts: NDArray[np.float64], pristine: NDArray[np.bool_], seed: int) -> dict[str, float]:
    """Range and p-value of the pristine share among null worlds.

    Args:
        parts: float64 ``[m]``, what each example adds to the share of its group.
        pristine: bool ``[m]``, the examples tagged pristine.
        seed: of the stream ``null-worlds``.
    """
    shares = null_shares(parts, int(pristine.sum()), seed)
    low, high = np.quantile(shares, [0.025, 0.975])
    # Ties must count, and sums in another order differ in the last bits.
    slack = 1e-12 * float(np.abs(parts).sum())
    test = permutation_p(float(parts[pristine].sum()), (shares + slack).tolist())
    return {"null_share_low": float(low), "null_share_high": float(high), "share_p": test.p}


def null_shares(parts: NDArray[np.float64], pristine: int, seed: int) -> NDArray[np.float64]:
    """The pristine share in each null world, ``[999]``, as one matrix product; for the arguments see `null_numbers`."""
    tags = null_tags(len(parts), pristine, seed)
    rows = _chunk(len(parts))
    return np.concatenate([tags[first : first + rows] @ parts for first in range(0, len(tags), rows)])


@functools.lru_cache(maxsize=1)
def null_tags(examples: int, pristine: int, seed: int) -> NDArray[np.bool_]:
    """Who is pristine in each null world: bool ``[999, examples]``, ``pristine`` true ones a row.

    World w tags the first ``pristine`` positions of the stream ``null-worlds``'s permutation w.
    """
    stream = Stream(seed, "null-worlds")
    tags = np.zeros((WORLDS, examples), dtype=np.bool_)
    rows = _chunk(examples)
    for first in range(0, WORLDS, rows):
        worlds = np.arange(first, min(first + rows, WORLDS))
        np.put_along_axis(
            tags[worlds[0] : worlds[-1] + 1], stream.permutations(worlds, examples)[:, :pristine], True, 1
        )
    tags.flags.writeable = False
    return tags


def _chunk(examples: int) -> int:
    return max(1, CHUNK_ENTRIES // examples)


def cumulative(record: Record, name: str) -> tuple[list[int], list[float]]:
    """Sum of a measured number over all steps up to each snapshot: i_p(t) = Σ_{t' ≤ t} of the value at step t'.

    Between two snapshots the number is taken to change linearly, so the sum is exact where every step is a snapshot.
    Of ``pristine_contribution`` and ``corrupt_contribution`` it is the cumulative contribution per example, i_p and i_c
    (Chatterjee 2020); in null worlds both have the same expectation, the cumulative mean contribution of all examples.

    Args:
        record: a run with at least one snapshot that has the number.
        name: of the number.

    Returns:
        Steps and sums at the snapshots that have it; the sum begins with the first of them.
    """
    steps, values = record.trajectory(name)
    sums: list[float] = []
    for place, value in enumerate(values):
        if place == 0:
            sums.append(value)
            continue
        before, gap = values[place - 1], steps[place] - steps[place - 1]
        # Σ_{j=1..gap} of before + (value - before)·j/gap
        sums.append(sums[-1] + gap * before + (value - before) * (gap + 1) / 2)
    return steps, sums


def crossover(record: Record, *, threshold: float = 0.5, lasting: int | None = None) -> int | None:
    """When corrupt examples take over: the first snapshot from which on ``corrupt_share`` is above ``threshold``.

    Args:
        record: a run with the measure ``contributions``.
        threshold: at one half, f_c > f_p; the corrupt fraction of the sample asks for more than their number.
        lasting: how many snapshots in a row must be above, this one included; none: this and every later one, so that
            a passing fluctuation does not count.

    Returns:
        A number of updates, the first snapshot's where corrupt examples lead from the start; none where they never
        take over, or not for so long.
    """
    steps, shares = record.trajectory("corrupt_share")
    first: int | None = None
    length = 0
    for step, share in zip(steps, shares, strict=True):
        if share <= threshold:
            first, length = None, 0
            continue
        first, length = (step if first is None else first), length + 1
        if lasting is not None and length >= lasting:
            return first
    return first if lasting is None else None

"""Which examples were easy for a training, and whether other trainings agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.statistics import PermutationTest, mean_interval, permutation_p
from shattering.core.streams import Stream
from shattering.measures.learning_step import NEVER, learning_steps

PERMUTATIONS = 199


@dataclass(frozen=True)
class RankAgreement:
    """How far trainings agree on the order in which examples are learned.

    Args:
        value: mean over pairs of runs of Spearman's correlation of their learning steps, in [-1, 1]: 1 for the same
            order, 0 for unrelated ones.
        low, high: its 95% interval over runs; none with fewer than three.
        pairs: digests of two runs and their correlation, for every pair.
        runs: digests of the runs compared.
        considered: how many records were given, with those left out.
        examples: number of training examples, common to all runs.
        null_low, null_high: 95% range of ``value`` where every run learns in an order of its own.
        test: one-sided permutation test of ``value`` against that.
    """

    value: float
    low: float | None
    high: float | None
    pairs: tuple[tuple[str, str, float], ...]
    runs: tuple[str, ...]
    considered: int
    examples: int
    null_low: float
    null_high: float
    test: PermutationTest


def rank_agreement(records: Sequence[Record]) -> RankAgreement | None:
    """Spearman's rank correlation of learning steps between every two runs on the same examples with the same labels.

    Examples are aligned by their ``index``; ties are ranked by their mean, those never learned as the last, all alike.
    The runs compared are the largest set of the given ones that have the same examples and labels (the first given
    such set among equals). A run that learned all its examples at one snapshot has no order and is left out,
    and so is one that diverged or failed.

    Pairs that share a run are not independent, so the interval is not one over pairs: it is the jackknife over runs,
    Student's interval on the pseudo-values n·θ - (n - 1)·θ₋ₖ, where θ is the mean over all pairs and θ₋ₖ that over the
    pairs without run k. The null permutes the examples of every run but the first, each by itself, 199 times (stream
    ``agreement``).

    Args:
        records: runs with the columns ``index``, ``label`` and ``learning_step``.

    Returns:
        The agreement; none where fewer than two runs can be compared.

    Raises:
        DataError: ``column-missing``, where a run that ended well has no learning steps.
    """
    compared = _comparable(records)
    if len(compared) < 2:
        return None
    digests = [record.digest for record, _ in compared]
    scores = np.stack([_standard_ranks(steps) for _, steps in compared])  # [runs, examples]
    count, examples = scores.shape
    correlations = scores @ scores.T / examples
    value = _mean_over_pairs(correlations)
    low = high = None
    if count >= 3:
        without = [_mean_over_pairs(np.delete(np.delete(correlations, k, 0), k, 1)) for k in range(count)]
        _, low, high = mean_interval([count * value - (count - 1) * left for left in without])
    null = _null(scores)
    null_low, null_high = np.quantile(null, [0.025, 0.975])
    return RankAgreement(
        value=value,
        low=None if low is None else max(-1.0, low),
        high=None if high is None else min(1.0, high),
        pairs=tuple(
            (digests[i], digests[j], float(correlations[i, j])) for i, j in itertools.combinations(range(count), 2)
        ),
        runs=tuple(digests),
        considered=len(records),
        examples=examples,
        null_low=float(null_low),
        null_high=float(null_high),
        test=permutation_p(value, null.tolist()),
    )


def easy_hard(record: Record, fraction: float = 0.5) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which training examples were learned first (easy) and last (hard); those never learned are the hardest.

    Args:
        record: a run with the column ``learning_step``.
        fraction: of the examples that each part takes, in (0, 1/2]; rounded down, so that the parts are of equal size
            and disjoint.

    Returns:
        Two masks, bool ``[n]``, in the order of the record's examples: easy, hard. Ties fall in that order, whereas the
        selection of examples for another run breaks them by chance.

    Raises:
        SpecError: ``fraction-out-of-range``.
        DataError: ``column-missing``, where the record has no such column.
    """
    if not 0 < fraction <= 0.5:
        raise SpecError(
            "fraction-out-of-range", f"fraction={fraction} leaves no two disjoint parts; give one above 0, up to 0.5."
        )
    order = np.argsort(_never_last(learning_steps(record)), kind="stable")
    count = int(fraction * len(order))
    easy, hard = np.zeros(len(order), dtype=np.bool_), np.zeros(len(order), dtype=np.bool_)
    easy[order[:count]] = True
    hard[order[len(order) - count :]] = True
    return easy, hard


def _comparable(records: Sequence[Record]) -> list[tuple[Record, NDArray[np.int64]]]:
    """The largest set of runs on the same examples and labels, with learning steps in the order of ``index``."""
    sets: dict[tuple[bytes, bytes], list[tuple[Record, NDArray[np.int64]]]] = {}
    for record in records:
        if record.status not in (Status.DONE, Status.NOT_FITTED):
            continue
        steps = learning_steps(record)
        if len(np.unique(steps)) < 2:
            continue
        index = np.asarray(record.examples["index"], dtype=np.int64)
        order = np.argsort(index, kind="stable")
        labels = np.asarray(record.examples["label"], dtype=np.int64)
        sets.setdefault((index[order].tobytes(), labels[order].tobytes()), []).append((record, steps[order]))
    return max(sets.values(), key=len, default=[])


def _standard_ranks(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ranks with ties averaged and -1 last, with mean 0 and variance 1."""
    from scipy.stats import rankdata

    ranks = rankdata(_never_last(steps))
    standard: NDArray[np.float64] = (ranks - ranks.mean()) / ranks.std()
    return standard


def _never_last(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(steps == NEVER, np.iinfo(np.int64).max, steps)


def _mean_over_pairs(correlations: NDArray[np.float64]) -> float:
    return float(correlations[np.triu_indices(len(correlations), 1)].mean())


def _null(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[199]``: the mean over pairs with every run's examples but the first's permuted."""
    count, examples = scores.shape
    values = np.empty(PERMUTATIONS)
    stream = Stream(0, "agreement")
    for world in range(PERMUTATIONS):
        orders = stream.permutations(np.arange(world * (count - 1), (world + 1) * (count - 1)), examples)
        together = scores[0] + np.take_along_axis(scores[1:], orders, axis=1).sum(axis=0)
        # ‖Σz‖² holds every pair twice, and each ‖z‖² = examples once.
        values[world] = (together @ together / examples - count) / (count * (count - 1))
    return values

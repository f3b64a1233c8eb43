"""Which examples a network gets right only because it was trained on them, and which test examples they help.

From trainings on random subsets of one set of examples, after Feldman & Zhang (2020). All estimates come from the same
trainings: every example is inside some of the subsets and outside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.record import Record, Status
from shattering.measures.tested import outputs_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NORMAL_95 = 1.959964
"""Half the width of a 95% interval in standard errors."""

BLOCK = 4096
"""Examples that a matrix product is about at once."""


@dataclass(frozen=True, eq=False)
class SubsetOutcomes:
    """What each of several trainings was given, and what it got right.

    Args:
        index: int64 ``[n]``, places of the examples in the training split, ascending.
        label: int64 ``[n]``, as trained on.
        inside: bool ``[runs, n]``, whether the training had the example.
        outside: bool ``[runs, n]``, whether it had not, and was tested on it.
        right: bool ``[runs, n]``, whether it predicts ``label`` in the end.
        tested_index: int64 ``[m]``, places of the test examples in the test split.
        tested_right: bool ``[runs, m]``, whether it predicts their label.
        runs: digests of the trainings; empty where they have none.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    inside: Mask
    outside: Mask
    right: Mask
    tested_index: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    tested_right: Mask = field(default_factory=lambda: np.empty((0, 0), dtype=np.bool_))
    runs: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of trainings."""
        return len(self.inside)

    @property
    def fitted(self) -> float:
        """Mean over trainings of the share of their own examples that they get right, in [0, 1]."""
        return float(((self.inside & self.right).sum(axis=1) / self.inside.sum(axis=1)).mean())

    def of(self, runs: NDArray[np.integer]) -> SubsetOutcomes:
        """The same of some of the trainings."""
        tested = self.tested_right[runs] if len(self.tested_right) else self.tested_right
        names = tuple(self.runs[int(run)] for run in runs) if self.runs else ()
        return SubsetOutcomes(
            self.index,
            self.label,
            self.inside[runs],
            self.outside[runs],
            self.right[runs],
            self.tested_index,
            tested,
            names,
        )


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How far each example is memorised: P[right | trained on] - P[right | left out].

    Args:
        value: float64 ``[n]`` in [-1, 1]: 1 where an example is right only if it was trained on, 0 where training on it
            makes no difference; NaN where it was always inside or never.
        standard_error: float64 ``[n]``, of the value, never 0; NaN likewise.
        low, high: float64 ``[n]``, ends of its 95% interval.
        trained, left_out: int64 ``[n]``, trainings with the example and without it.
        right_trained, right_left_out: int64 ``[n]``, those of them that get it right.
    """

    value: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    trained: NDArray[np.int64]
    left_out: NDArray[np.int64]
    right_trained: NDArray[np.int64]
    right_left_out: NDArray[np.int64]


def subset_outcomes(records: Sequence[Record]) -> SubsetOutcomes:
    """Gathers trainings on subsets: ``data.train_size`` below the whole, ``data.tested_on`` ``left_out`` or ``both``.

    Each needs the columns ``index``, ``label`` and ``prediction`` of what it was trained on, and `tested_predictions`
    or `tested_outputs`. An example's label is the one it is trained on, wherever it was given a random one too; for
    that it must be the same in all trainings. Runs that diverged or failed are left out. Test examples are those of
    the test split, where the runs were tested on them.

    Raises:
        DataError: ``memorisation-no-runs``, ``memorisation-labels-differ`` or ``memorisation-tests-differ``.
    """
    used = [record for record in records if record.status in (Status.DONE, Status.NOT_FITTED) and record.tested]
    if not used:
        raise DataError(
            "memorisation-no-runs",
            "No training with columns of left-out examples is there; set data.tested_on=both, data.train_size below "
            "the number of examples, and measures.names to include tested_predictions.",
        )
    trained = [_columns(record.examples, record.examples["prediction"]) for record in used]
    tests = [_columns(record.tested, predictions_of(record)) for record in used]
    lefts = [np.asarray(record.tested["left_out"], dtype=np.bool_) for record in used]
    kept_out = [places[left] for (places, _, _), left in zip(tests, lefts, strict=True)]
    index = np.unique(np.concatenate([*(places for places, _, _ in trained), *kept_out]))
    label = np.full(len(index), -1, dtype=np.int64)
    for places, labels, _ in trained:
        at = np.searchsorted(index, places)
        if ((label[at] >= 0) & (label[at] != labels)).any():
            raise DataError(
                "memorisation-labels-differ",
                "An example has different labels in different trainings; give all the same with stream_seeds.labels.",
            )
        label[at] = labels
    for (places, labels, _), left in zip(tests, lefts, strict=True):
        at = np.searchsorted(index, places[left])
        label[at] = np.where(label[at] < 0, labels[left], label[at])  # trained on in no run: what the data say
    shape = len(used), len(index)
    inside, outside, right = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    for run, (own, (places, _, predicted), left) in enumerate(zip(trained, tests, lefts, strict=True)):
        for mask, where, said in ((inside, own[0], own[2]), (outside, places[left], predicted[left])):
            at = np.searchsorted(index, where)
            mask[run, at] = True
            right[run, at] = said == label[at]
    tested_index = tests[0][0][~lefts[0]]
    if any(not np.array_equal(t[0][~m], tested_index) for t, m in zip(tests, lefts, strict=True)):
        raise DataError(
            "memorisation-tests-differ",
            "The trainings were tested on different test examples; give all the same data.test_size.",
        )
    tested_right = np.stack([(t[1] == t[2])[~m] for t, m in zip(tests, lefts, strict=True)])
    digests = tuple(record.digest for record in used)
    return SubsetOutcomes(index, label, inside, outside, right, tested_index, tested_right, digests)


def memorisation(outcomes: SubsetOutcomes) -> Memorisation:
    """Estimates how far each example is memorised (Feldman & Zhang 2020, their subset estimator).

    value = right_trained / trained - right_left_out / left_out. It is unbiased for trainings on subsets of the size at
    hand, 70% of the examples for instance; leaving one example out of all of them may give another number, usually
    a smaller one. Subsets are drawn uniformly, not stratified by class.

    Given how often an example was inside, the trainings with it and those without are independent of each other, so
    both shares are binomial. The standard error is √(p(1-p)/(trained+2) + q(1-q)/(left_out+2)) with p and q the shares
    after one success and one failure are added to each, and the interval is centred at p - q (Agresti & Caffo 2000):
    shares of exactly 0 and 1, of which there are many, do not pretend to certainty.
    """
    trained, right_trained = outcomes.inside.sum(0), (outcomes.inside & outcomes.right).sum(0)
    left_out, right_left_out = outcomes.outside.sum(0), (outcomes.outside & outcomes.right).sum(0)
    value, error, middle = _difference(trained, right_trained, left_out, right_left_out)
    low, high = np.clip(middle - NORMAL_95 * error, -1, 1), np.clip(middle + NORMAL_95 * error, -1, 1)
    return Memorisation(value, error, low, high, trained, left_out, right_trained, right_left_out)


def influence(outcomes: SubsetOutcomes, rows: NDArray[np.integer] | None = None) -> tuple[Floats, Floats]:
    """How much more often test examples are right where an example was trained on: from the same trainings.

    Args:
        outcomes: the trainings.
        rows: which examples, as places in ``outcomes.index``; none: all. The result has as many rows, so ask for few
            where there are many test examples.

    Returns:
        Value in [-1, 1] and standard error, float64 ``[len(rows), m]`` each; NaN for examples always or never inside.
    """
    rows = np.arange(len(outcomes.index)) if rows is None else np.asarray(rows)
    tested = outcomes.tested_right.astype(np.float32)  # sums of zeros and ones are exact up to 2²⁴ trainings
    values, errors = np.empty((2, len(rows), tested.shape[1]))
    for start in range(0, len(rows), BLOCK):
        few = rows[start : start + BLOCK]
        inside, outside = (mask[:, few].astype(np.float32).T for mask in (outcomes.inside, outcomes.outside))
        trained, left_out = inside.sum(1)[:, None], outside.sum(1)[:, None]
        found = _difference(trained, inside @ tested, left_out, outside @ tested)
        values[start : start + BLOCK], errors[start : start + BLOCK] = found[0], found[1]
    return values, errors


def influence_p(outcomes: SubsetOutcomes, rows: NDArray[np.integer]) -> Floats:
    """How likely an influence at least so large is where an example makes no difference: Fisher's exact test.

    Given how many trainings had the example, and how many got the test example right, the number that did both is
    hypergeometric. Pairs whose estimate is below two standard errors are not looked at and get 1, the safe side.

    Args:
        outcomes: the trainings.
        rows: which examples, as places in ``outcomes.index``.

    Returns:
        One-sided p-values in (0, 1], float64 ``[len(rows), m]``, not corrected for their number.
    """
    from scipy.stats import hypergeom

    value, error = influence(outcomes, rows)
    p = np.ones(value.shape)
    pairs = np.nonzero(np.nan_to_num(value - 2 * error, nan=-1.0) > 0)
    example, tested = np.asarray(rows)[pairs[0]], pairs[1]
    inside, right = outcomes.inside.astype(np.float32), outcomes.tested_right.astype(np.float32)
    covered = (outcomes.inside | outcomes.outside).astype(np.float32)
    for start in range(0, len(example), BLOCK):
        one, other = example[start : start + BLOCK], tested[start : start + BLOCK]
        both = (inside[:, one] * right[:, other]).sum(axis=0)
        among = covered[:, one].sum(axis=0)
        rights = (covered[:, one] * right[:, other]).sum(axis=0)
        where = pairs[0][start : start + BLOCK], other
        p[where] = hypergeom.sf(both - 1, among, rights, inside[:, one].sum(axis=0))
    return np.clip(p, np.finfo(np.float64).tiny, 1.0)


def _difference(n: Any, x: Any, m: Any, y: Any) -> tuple[Floats, Floats, Floats]:
    """x/n - y/m, its standard error, and the middle of its interval."""
    n, x, m, y = (np.asarray(count, dtype=np.float64) for count in (n, x, m, y))
    p, q = (x + 1) / (n + 2), (y + 1) / (m + 2)
    error = np.sqrt(p * (1 - p) / (n + 2) + q * (1 - q) / (m + 2))
    known = (n > 0) & (m > 0)
    value = x / np.maximum(n, 1) - y / np.maximum(m, 1)
    return np.where(known, value, np.nan), np.where(known, error, np.nan), np.where(known, p - q, np.nan)


def _columns(columns: Any, predicted: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    index, label = (np.asarray(columns[name], dtype=np.int64) for name in ("index", "label"))
    return index, label, np.asarray(predicted, dtype=np.int64)


def predictions_of(record: Record) -> NDArray[np.int64]:
    """The classes predicted for the test examples, by `tested_predictions` or `tested_outputs`: int64 ``[n]``."""
    if "prediction" in record.tested:
        return np.asarray(record.tested["prediction"], dtype=np.int64)
    scores = outputs_of(record)
    return ((scores[:, 0] > 0) if scores.shape[1] == 1 else scores.argmax(axis=1)).astype(np.int64)

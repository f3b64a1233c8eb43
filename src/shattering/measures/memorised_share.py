"""Memorisation of a whole data set: its mean, the share of memorised examples, and whether it would be found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.statistics import Interval, mean_interval
from shattering.core.streams import Stream, uniform_classes
from shattering.measures.memorisation import BLOCK, NORMAL_95, SubsetOutcomes, memorisation

THRESHOLD = 0.25
"""Memorised is said of examples above it, as in the paper, where it is a convention."""

RESAMPLES = 200
SPLITS = 10
ERRORS_TO_THRESHOLD = 3.0
"""A threshold is told from 0 where it is so many standard errors away, for the noisiest of examples."""

ROUNDING = 1e-6
"""An estimate that equals the threshold counts as reaching it, however its fraction was rounded."""


@dataclass(frozen=True)
class MemorisedShare:
    """The share of examples whose memorisation reaches a threshold.

    Args:
        value: the share of estimates at or above the threshold, in [0, 1].
        low, high: its 95% interval over examples and trainings.
        noise: the largest standard error that an estimate can have, √(¼ / trainings without the example), where every
            training gets right what it was trained on.
        resolved: whether the threshold is three such errors or more.
    """

    value: float
    low: float
    high: float
    noise: float
    resolved: bool


def mean_memorisation(outcomes: SubsetOutcomes) -> Interval:
    """Mean memorisation over examples, with a 95% interval over trainings and examples.

    Examples of one training are right or wrong together, so its part of the chance is that of the trainings: the
    delta method, by what each training adds to the mean. That of the examples, their variance over n, comes on top,
    though a part of it is the same noise: the interval errs on the wide side.

    Returns:
        Mean in [-1, 1], low, high; ends none below three trainings. Examples always or never inside are left out.
    """
    found = memorisation(outcomes)
    known = np.isfinite(found.value)
    if not known.any():
        return 0.0, None, None
    trained, left_out = found.trained[known], found.left_out[known]
    share_in, share_out = found.right_trained[known] / trained, found.right_left_out[known] / left_out
    added = np.empty(len(outcomes))
    for run in range(len(outcomes)):  # one at a time: of all together there would be gigabytes
        inside, outside, right = (mask[run, known] for mask in (outcomes.inside, outcomes.outside, outcomes.right))
        added[run] = (inside * (right - share_in) / trained - outside * (right - share_out) / left_out).mean()
    value, runs, count = float(found.value[known].mean()), len(outcomes), int(known.sum())
    _, low, high = mean_interval((value + runs * added).tolist())
    if low is None or high is None or count < 2:
        return value, None, None
    half = float(np.hypot((high - low) / 2, NORMAL_95 * found.value[known].std(ddof=1) / np.sqrt(count)))
    return value, max(-1.0, value - half), min(1.0, value + half)


def memorised_share(outcomes: SubsetOutcomes, threshold: float = THRESHOLD) -> MemorisedShare:
    """`memorised_shares` of one threshold."""
    return memorised_shares(outcomes, (threshold,))[0]


def memorised_shares(outcomes: SubsetOutcomes, thresholds: Sequence[float]) -> tuple[MemorisedShare, ...]:
    """The shares of examples whose memorisation is at least each of ``thresholds``.

    Noise pushes examples over a threshold. How many is seen by adding it once more: trainings are drawn again with
    replacement, 200 times (stream ``memorisation``). The interval takes both the spread of the shares found so and
    their distance from the share itself, and the variance of a share of n examples.

    Args:
        outcomes: at least two trainings.
        thresholds: each in (0, 1].
    """
    found = memorisation(outcomes)
    known = np.isfinite(found.value)
    noise = float(np.sqrt(0.25 / max(1.0, float(np.median(found.left_out)))))
    count = max(1, int(known.sum()))
    shares = []
    for threshold, again in zip(thresholds, _resampled_shares(outcomes, known, thresholds), strict=True):
        value = float((found.value[known] >= threshold - ROUNDING).mean()) if known.any() else 0.0
        shrunk = (value * count + 1) / (count + 2)
        spread = again.var(ddof=1) + (again.mean() - value) ** 2 + shrunk * (1 - shrunk) / (count + 2)
        half = NORMAL_95 * float(np.sqrt(spread))
        low, high = max(0.0, value - half), min(1.0, value + half)
        shares.append(MemorisedShare(value, low, high, noise, threshold >= ERRORS_TO_THRESHOLD * noise))
    return tuple(shares)


def split_half_correlation(outcomes: SubsetOutcomes) -> float | None:
    """Mean correlation of the estimates from one half of the trainings with those from the other, over ten splits.

    Returns:
        In [-1, 1]: 1 where the halves agree, 0 for noise; none below eight trainings or where nothing varies.
    """
    runs = len(outcomes)
    if runs < 8:
        return None
    found = []
    for split in range(SPLITS):
        order = Stream(0, "memorisation-halves").permutation(runs, split)
        one, other = (memorisation(outcomes.of(part)).value for part in (order[: runs // 2], order[runs // 2 :]))
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() > 2 and one[both].std() > 0 and other[both].std() > 0:
            found.append(float(np.corrcoef(one[both], other[both])[0, 1]))
    return float(np.mean(found)) if found else None


def _resampled_shares(
    outcomes: SubsetOutcomes, known: NDArray[np.bool_], thresholds: Sequence[float]
) -> NDArray[np.float64]:
    """``[thresholds, 200]``: the shares among trainings drawn with replacement, 200 times."""
    runs = len(outcomes)
    blocks = -(-runs // 4)
    drawn = uniform_classes(Stream(0, "memorisation").words(np.arange(RESAMPLES), blocks=blocks)[:, :runs], runs)
    weights = np.stack([np.bincount(row, minlength=runs) for row in drawn]).astype(np.float32)  # [resamples, runs]
    above, count = np.zeros((len(thresholds), RESAMPLES)), np.zeros(RESAMPLES)
    places = np.flatnonzero(known)
    for start in range(0, len(places), BLOCK):
        few = places[start : start + BLOCK]
        inside, outside, right = (mask[:, few] for mask in (outcomes.inside, outcomes.outside, outcomes.right))
        trained, left_out, right_trained, right_left_out = (
            weights @ mask.astype(np.float32) for mask in (inside, outside, inside & right, outside & right)
        )
        both = (trained > 0) & (left_out > 0)
        value = right_trained / np.maximum(trained, 1) - right_left_out / np.maximum(left_out, 1)
        above += [(both & (value >= threshold - ROUNDING)).sum(axis=1) for threshold in thresholds]
        count += both.sum(axis=1)
    return np.asarray(above / np.maximum(count, 1))

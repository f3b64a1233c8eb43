"""How long a network took to fit, and how much longer than on true labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shattering.core.record import Record, Status
from shattering.core.statistics import Interval, ratio_interval


@dataclass(frozen=True)
class FitTime:
    """Updates until the fit criterion was met.

    Args:
        steps: that many; for a run that did not fit, the updates it made.
        censored: whether the run ended before it fitted, so that ``steps`` is a lower bound.
        resolution: updates between two looks at the criterion, an epoch: it was met after more than
            ``steps - resolution`` of them.
    """

    steps: int
    censored: bool
    resolution: int = field(default=1, compare=False)

    @property
    def least(self) -> float:
        """The earliest possible time as a fraction of ``steps``, in (0, 1]."""
        return (self.steps - self.resolution + 1) / self.steps if self.steps >= self.resolution else 1 / self.steps


def fit_time(record: Record) -> FitTime | None:
    """The time to fit of a run, censored where it did not; none for runs that diverged or failed."""
    if record.status not in (Status.DONE, Status.NOT_FITTED):
        return None
    steps = record.summary.get("steps_to_fit")
    if steps is None:
        return FitTime(int(record.summary["steps"] or 0), True)
    epochs = record.summary.get("epochs_to_fit")
    return FitTime(int(steps), False, max(1, round(steps / epochs)) if epochs else 1)


def time_ratio(slow: Sequence[FitTime], fast: Sequence[FitTime]) -> Interval:
    """Geometric mean of paired ratios of times to fit, with an interval for chance *and* for coarse looking.

    Student's interval on the logarithms (see `ratio_interval`) is widened by what the resolution leaves open: its lower
    end by the earliest times that ``slow`` may stand for, its upper end by those of ``fast``. Three equal ratios hence
    do not pass for certainty.

    Args:
        slow, fast: times of paired runs, of equal length, at least one.

    Returns:
        ratio, low, high; ends none below three pairs.
    """
    value, low, high = ratio_interval([float(time.steps) for time in slow], [float(time.steps) for time in fast])
    if low is None or high is None:
        return value, None, None
    return value, low * min(time.least for time in slow), high / min(time.least for time in fast)


@dataclass(frozen=True)
class Slowdown:
    """Time to fit relative to that on true labels.

    ``slowdown = steps to fit / steps to fit of the run with the same seed on true labels``, the geometric mean over
    seeds (Zhang et al. 2017, Figure 1b, where it is 1 at no corruption by definition).

    Args:
        value: the geometric mean, at least 0.
        low, high: its 95% interval over seeds, widened by the resolution; none with fewer than three.
        pairs: digests of the runs compared, corrupted ones first.
        censored: how many of the corrupted runs did not fit; the value is then a lower bound.
    """

    value: float
    low: float | None
    high: float | None
    pairs: tuple[tuple[str, str], ...]
    censored: int


def slowdown(corrupted: Sequence[Record], clean: Sequence[Record]) -> Slowdown | None:
    """Pairs runs by seed and compares their times to fit; none where no pair is complete.

    Pairs whose clean run did not fit are left out, since a ratio to a censored time bounds nothing.
    """
    baseline = {record.spec.seed: record for record in clean}
    slow, fast, pairs, censored = [], [], [], 0
    for record in corrupted:
        partner = baseline.get(record.spec.seed)
        ours, theirs = fit_time(record), fit_time(partner) if partner else None
        if partner is None or ours is None or theirs is None or theirs.censored or not (ours.steps and theirs.steps):
            continue
        slow.append(ours)
        fast.append(theirs)
        pairs.append((record.digest, partner.digest))
        censored += ours.censored
    if not pairs:
        return None
    value, low, high = time_ratio(slow, fast)
    return Slowdown(value, low, high, tuple(pairs), censored)

"""How long a network took to fit, and how much longer than on true labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shattering.core.record import Record, Status
from shattering.core.statistics import ratio_interval


@dataclass(frozen=True)
class FitTime:
    """Updates until the fit criterion was met.

    Args:
        steps: that many; for a run that did not fit, the updates it made.
        censored: whether the run ended before it fitted, so that ``steps`` is a lower bound.
    """

    steps: int
    censored: bool


def fit_time(record: Record) -> FitTime | None:
    """The time to fit of a run, censored where it did not; none for runs that diverged or failed."""
    if record.status not in (Status.DONE, Status.NOT_FITTED):
        return None
    steps = record.summary.get("steps_to_fit")
    if steps is None:
        return FitTime(int(record.summary["steps"] or 0), True)
    return FitTime(int(steps), False)


@dataclass(frozen=True)
class Slowdown:
    """Time to fit relative to that on true labels.

    ``slowdown = steps to fit / steps to fit of the run with the same seed on true labels``, the geometric mean over
    seeds (Zhang et al. 2017, Figure 1b, where it is 1 at no corruption by definition).

    Args:
        value: the geometric mean, at least 0.
        low, high: its 95% interval over seeds; none with fewer than three.
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
        if partner is None or ours is None or theirs is None or theirs.censored or theirs.steps == 0:
            continue
        slow.append(float(max(ours.steps, 1)))
        fast.append(float(theirs.steps))
        pairs.append((record.digest, partner.digest))
        censored += ours.censored
    if not pairs:
        return None
    value, low, high = ratio_interval(slow, fast)
    return Slowdown(value, low, high, tuple(pairs), censored)

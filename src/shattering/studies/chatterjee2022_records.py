"""Comparisons of coherence that the studies of Chatterjee and Zielinski share: within a run, and paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shattering.core.record import Record
from shattering.core.statistics import geometric_interval, ratio_interval
from shattering.core.study import Estimate, Point, Records, label_level
from shattering.studies.chatterjee2020 import Number, classes, ended, estimated, pairs

M = "m_coherence"

EARLY = (25, 100)
"""First and last step of what counts as early: after the fall of the first 25 updates, before much is memorised."""

LOSSES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Training losses at which runs are compared, as fractions of ln k, the loss of guessing."""

CONVOLUTIONAL = ("small_convnet", "inception")
LINEAR = ("linear", "output")
"""Convolutional networks without normalisation, and those of their layers that are fully connected."""


def noisy(records: Records, model: str, level: float) -> list[Record]:
    """The runs of a model at a level of label noise, however they ended."""
    return [r for r in records if r.spec.model.name == model and label_level(r.spec) == level]


def level_name(level: float) -> str:
    """``real labels``, ``50% random labels``, ``random labels``."""
    return {0.0: "real labels", 1.0: "random labels"}.get(level, f"{level:.0%} random labels")


def positive(record: Record, name: str, first: float = 0, last: float = math.inf) -> list[tuple[int, float]]:
    """Steps and values of a number from step ``first`` to ``last``, where it is finite and above zero."""
    steps, values = record.trajectory(name)
    pairs = zip(steps, values, strict=True)
    return [(step, value) for step, value in pairs if first <= step <= last and math.isfinite(value) and value > 0]


def geometric_mean(values: Sequence[float]) -> float | None:
    """Of positive numbers; none of none."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None


def level_over(record: Record, name: str, first: float, last: float = math.inf) -> float | None:
    """Geometric mean of a number over the snapshots from step ``first`` to ``last``; none where there is none."""
    return geometric_mean([value for _, value in positive(record, name, first, last)])


def peak_from(record: Record, name: str, first: float) -> float | None:
    """The highest geometric mean of three successive snapshots from step ``first`` on; none where there are fewer.

    One snapshot may stand out by the chance of a batch; three in a row rarely do.
    """
    values = [value for _, value in positive(record, name, first)]
    means = [geometric_mean(values[start : start + 3]) for start in range(len(values) - 2)]
    return max((mean for mean in means if mean is not None), default=None)


def at_loss(record: Record, name: str, loss: float) -> float | None:
    """The value of a number when the training loss first fell to ``loss``; none where it never did.

    Between the snapshots before and after, the logarithm of the number is interpolated linearly in that of the loss.
    """
    before: tuple[float, float] | None = None
    for row in record.rows:
        if name not in row or not (row[name] > 0 and row["train_loss"] > 0):
            continue
        now = (math.log(row["train_loss"]), math.log(row[name]))
        if now[0] <= math.log(loss):
            if before is None:
                return math.exp(now[1]) if now[0] == math.log(loss) else None
            share = (before[0] - math.log(loss)) / (before[0] - now[0])
            return math.exp(before[1] + share * (now[1] - before[1]))
        before = now
    return None


def early(record: Record) -> float | None:
    """m-coherence over the steps that count as early."""
    return level_over(record, M, *EARLY)


def end(record: Record) -> float | None:
    """m-coherence at the last snapshot that has one above zero."""
    return next((value for _, value in reversed(positive(record, M))), None)


def at_equal_loss(record: Record) -> float | None:
    """Geometric mean of m-coherence where the training loss passes `LOSSES`; none where it does not pass them all."""
    guessing = math.log(classes([record]) or 2)
    values = [at_loss(record, M, share * guessing) for share in LOSSES]
    return None if None in values else geometric_mean([value for value in values if value])


def convolutional_excess(record: Record) -> float | None:
    """m-coherence of convolutional layers over that of fully connected ones, from the first fall to the end.

    Geometric means over layers and snapshots; none for networks other than `CONVOLUTIONAL`.
    """
    if record.spec.model.name not in CONVOLUTIONAL:
        return None
    groups: tuple[list[float], list[float]] = ([], [])
    for name in record.last:
        value = level_over(record, name, EARLY[0]) if name.startswith(f"{M}/") else None
        if value is not None:
            groups[name.partition("/")[2] in LINEAR].append(value)
    above, below = (geometric_mean(group) for group in groups)
    return above / below if above and below else None


def pristine_excess(record: Record) -> float | None:
    """α of pristine over that of corrupt examples, each among themselves, over the steps that count as early."""
    pristine, corrupt = (level_over(record, f"{group}_alpha", *EARLY) for group in ("pristine", "corrupt"))
    return pristine / corrupt if pristine and corrupt else None


# Estimates


def geometric_of(runs: Sequence[Record], number: Number) -> Estimate | None:
    """Geometric mean over runs of a positive number, with its interval."""
    return ratio_within(runs, number, lambda record: 1.0)


def ratio_within(runs: Sequence[Record], above: Number, below: Number) -> Estimate | None:
    """Geometric mean over runs of the ratio of two positive numbers of a run, with its interval."""
    found = [(record, above(record), below(record)) for record in ended(runs)]
    whole = [(record, over, under) for record, over, under in found if over and under]
    if not whole:
        return None
    interval = ratio_interval([over for _, over, _ in whole], [under for _, _, under in whole])
    return estimated(interval, [record for record, _, _ in whole], runs)


def ratio_between(above: Sequence[Record], below: Sequence[Record], number: Number) -> Estimate | None:
    """Geometric mean of the ratio of a positive number between two groups of runs, paired by seed."""
    over, under, used = [], [], []
    for ours, theirs in pairs(above, below, levels=False):
        first, second = number(ours), number(theirs)
        if first and second:
            over.append(first)
            under.append(second)
            used += [ours, theirs]
    return estimated(ratio_interval(over, under), used, [*above, *below]) if used else None


def log_curve(runs: Sequence[Record], name: str, series: str, panel: str = "", kind: str = "") -> list[Point]:
    """Geometric mean over seeds of a positive number against steps, with its interval.

    Shown are the steps that most runs share: each has a snapshot of its own besides, where it first fits. Step 0 has no
    place on a logarithmic axis and stands at one half.
    """
    at: dict[int, list[float]] = {}
    for record in ended(runs):
        for step, value in positive(record, name):
            at.setdefault(step, []).append(value)
    points = []
    for step, values in sorted(at.items()):
        if 2 * len(values) <= len(ended(runs)):
            continue
        mean, low, high = geometric_interval(values)
        points.append(Point(step or 0.5, mean, series, low, high, kind, panel))
    return points

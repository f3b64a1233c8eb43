"""What is taken from the records of memorisation: which runs, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from shattering.core.curves import Number, counted, ended, estimate, estimate_by_seed, last
from shattering.core.record import Record
from shattering.core.statistics import Interval, mean_interval, rank_correlation, ratio_interval
from shattering.core.study import Estimate, Records, label_level
from shattering.measures.time_to_fit import fit_time

INPUTS = {"true_labels": "real data", "random_labels": "random labels", "gaussian": "noise inputs"}
"""Corruptions compared, as they are called in pictures."""

HIGH = 0.9
"""Training accuracy that counts as high."""

NOISY = 0.6
"""The level of label noise at which the order of events is judged."""

Runs = Callable[[Records], list[Record]]
Found = Callable[[Records], Estimate | None]


def watched(level: float | None = None) -> Runs:
    """Networks under label noise whose critical samples were counted."""

    def runs(records: Records) -> list[Record]:
        found = [record for record in records if "critical_samples" in record.spec.measures.names]
        return found if level is None else [record for record in found if label_level(record.spec) == level]

    return runs


def simulated_on(name: str, corruption: str, **fields: object) -> Runs:
    """Runs of a simulation on one kind of data; ``fields`` not given in a run are false."""

    def runs(records: Records) -> list[Record]:
        return [
            record
            for record in records
            if record.spec.model.name == name
            and record.spec.corruption.name == corruption
            and all(record.spec.model.fields.get(field, False) == value for field, value in fields.items())
        ]

    return runs


def _networks(records: Records) -> list[Record]:
    return [record for record in records if record.spec.model.name == "mlp"]


def fitting(corruption: str) -> Runs:
    """Networks that were trained until they fitted."""

    def runs(records: Records) -> list[Record]:
        return [r for r in _networks(records) if _stops(r) and r.spec.corruption.name == corruption]

    return runs


def dropped(corruption: str, rate: float) -> Runs:
    """Networks of the dropout experiment."""

    def runs(records: Records) -> list[Record]:
        plain = [r for r in _networks(records) if not _stops(r) and r.spec.measures.every_epochs == 0]
        found = [r for r in plain if r.spec.corruption.name == corruption]
        return [record for record in found if float(record.spec.model.fields.get("dropout", 0.0)) == rate]

    return runs


def _stops(record: Record) -> bool:
    return record.spec.training.stop_when_fitted


def _width(record: Record) -> int:
    return int(record.spec.model.fields.get("width", 0))


def best(record: Record) -> dict[str, float | int] | None:
    """The snapshot with the highest test accuracy, the first of several; none without one."""
    rows = [row for row in record.rows if "test_accuracy" in row and row["step"] > 0]
    return max(rows, key=lambda row: row["test_accuracy"]) if rows else None


def order_of_events(record: Record) -> float | None:
    """Updates until the training accuracy is high, over those until the test accuracy is at its best."""
    peak = best(record)
    high = next((row["step"] for row in record.rows if row.get("train_accuracy", 0.0) >= HIGH), None)
    return None if peak is None or not high else high / peak["step"]


def lost(record: Record) -> float | None:
    """The best test accuracy less the last."""
    peak = best(record)
    return None if peak is None else float(peak["test_accuracy"] - record.last["test_accuracy"])


def climb(record: Record) -> float | None:
    """How far the critical sample ratio rises after the test accuracy was at its best."""
    peak = best(record)
    if peak is None or "critical_sample_ratio" not in peak:
        return None
    return float(record.last["critical_sample_ratio"] - peak["critical_sample_ratio"])


def _by_seed(runs: Records, number: Number) -> dict[int, tuple[Record, float]]:
    found = ((record, number(record)) for record in ended(runs))
    return {record.spec.seed: (record, value) for record, value in found if value is not None}


def paired(first: Runs, second: Runs, number: Number, *, ratio: bool = False) -> Found:
    """A number of one kind of run less that of another, or their ratio, in pairs of one seed."""

    def found(records: Records) -> Estimate | None:
        a, b = (_by_seed(runs(records), number) for runs in (first, second))
        seeds = [seed for seed in a if seed in b]
        values = [(a[seed][1], b[seed][1]) for seed in seeds if not ratio or min(a[seed][1], b[seed][1]) > 0]
        if not values:
            return None
        interval = ratio_interval(*zip(*values, strict=True)) if ratio else mean_interval([x - y for x, y in values])
        digests = tuple(side[seed][0].digest for seed in seeds for side in (a, b))
        considered = [*first(records), *second(records)]
        return Estimate(*interval, digests, len(considered), counted(considered, 2 * len(values)))

    return found


def correlation(records: Records) -> Estimate | None:
    """Spearman's correlation over levels of noise with the final critical sample ratio, within each seed."""
    return estimate_by_seed(watched()(records), _correlated)


def _correlated(runs: Sequence[Record]) -> float | None:
    found = [(label_level(run.spec), last("critical_sample_ratio")(run)) for run in runs]
    pairs = [(level, value) for level, value in found if level is not None and value is not None]
    return rank_correlation(*zip(*pairs, strict=True)) if len(pairs) > 2 else None


def slope(runs: Records) -> float | None:
    """Of log updates to fit on log examples, by least squares; none below two sizes."""
    points = [
        (math.log(record.spec.data.train_size or 1), math.log(found.steps))
        for record in ended(runs)
        if (found := fit_time(record)) is not None and not found.censored and found.steps
    ]
    if len({x for x, _ in points}) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    return sum((x - middle) * y for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def steeper(noise: str) -> Found:
    """The slope of the time to fit noise less that to fit real data, within each seed."""

    def more(runs: Sequence[Record]) -> float | None:
        slopes = [slope(fitting(name)(runs)) for name in (noise, "true_labels")]
        return None if slopes[0] is None or slopes[1] is None else slopes[0] - slopes[1]

    return lambda records: estimate_by_seed([*fitting(noise)(records), *fitting("true_labels")(records)], more)


def of_widths(records: Records) -> list[Record]:
    """Networks of every width under 80% label noise and under none."""
    found = [r for r in _networks(records) if not _stops(r) and r.spec.measures.every_epochs > 0]
    return [record for record in found if label_level(record.spec) in (0.8, 0.0)]


def capacity(records: Records) -> Estimate | None:
    """What the widest network gains over the narrowest in best test accuracy, at 80% noise less at none; by seed."""
    return estimate_by_seed(_extreme(of_widths(records)), _more_under_noise)


def _extreme(runs: Sequence[Record]) -> list[Record]:
    widths = {_width(record) for record in runs}
    return [record for record in runs if _width(record) in (min(widths), max(widths))] if len(widths) > 1 else []


def _more_under_noise(runs: Sequence[Record]) -> float | None:
    best_of = {(label_level(r.spec), _width(r)): peak["test_accuracy"] for r in runs if (peak := best(r)) is not None}
    widths = sorted({width for _, width in best_of})
    if len(best_of) < 4:
        return None
    gains = [best_of[level, widths[-1]] - best_of[level, widths[0]] for level in (0.8, 0.0)]
    return float(gains[0] - gains[1])


def average(runs: Runs, number: Number, interval: Callable[[Sequence[float]], Interval] = mean_interval) -> Found:
    """A number over runs with its interval."""
    return lambda records: estimate(runs(records), number, interval=interval)


EASY, GINI = "first_epoch_easiness", partial(simulated_on, "loss_sensitivity", own_class=False)
REAL, RANDOM_INPUTS, RANDOM_LABELS = (
    average(simulated_on(EASY, name), last("excess_variance")) for name in ("true_labels", "gaussian", "random_labels")
)

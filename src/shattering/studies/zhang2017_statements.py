"""What Zhang et al. (2017) state in words, as claims: how fitting noise proceeds, what regularisers are good for."""

from __future__ import annotations

from shattering.core.record import Record, Status
from shattering.core.statistics import mean_interval
from shattering.core.study import Claim, Effect, Estimate, Records, label_level
from shattering.measures.time_to_fit import FitTime, fit_time, time_ratio
from shattering.studies.zhang2017 import Row, above_chance, accuracy_of, chance, fits
from shattering.studies.zhang2017_figure1 import below, pairs_of, runs_of

START = 2
"""Fitting has started where training accuracy is so many times that of guessing."""

LATE = 0.5
"""Fitting goes fast where less than this share of the time to fit passes after its start."""


def start_time(record: Record) -> FitTime | None:
    """Updates until the first snapshot with a training accuracy of `START` times guessing.

    Its resolution is the gap to the snapshot before, so that intervals allow for coarse looking. None where training
    never got that far, or begins there.
    """
    steps, accuracies = record.trajectory("train_accuracy")
    before = 0
    for step, accuracy in zip(steps, accuracies, strict=True):
        if accuracy >= START * chance([record]) > 0:
            return FitTime(step, False, max(1, step - before)) if step else None
        before = step
    return None


def start_claim(model: str, corruption: str) -> Claim:
    """Section 2.1: noise images start to be fitted before random labels."""

    def estimate(records: Records) -> Estimate | None:
        pairs = pairs_of(model, records, corruption, "random_labels")
        timed = [(run, other, start_time(run), start_time(other)) for run, other in pairs]
        known = [(run, other, ours, theirs) for run, other, ours, theirs in timed if ours and theirs]
        if not known:
            return None
        value, low, high = time_ratio([ours for _, _, ours, _ in known], [theirs for _, _, _, theirs in known])
        runs = tuple(digest for run, other, _, _ in known for digest in (run.digest, other.digest))
        return Estimate(value, low, high, runs, 2 * len(pairs), f"{len(known)} pairs of runs")

    name = corruption.replace("_", " ")
    return Claim(
        source=f"Section 2.1: {model}",
        quantity=f"time to start fitting {name} / random labels",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect(f"{name} start to be fitted before random labels (interval below 1)", below(estimate, 1.0)),
    )


def fast_claim(model: str) -> Claim:
    """Section 2.1: once fitting random labels starts, it goes fast."""

    def estimate(records: Records) -> Estimate | None:
        runs = runs_of(model, records, "random_labels")
        shares, widest, digests = [], 0.0, []
        for run in runs:
            start, end = start_time(run), fit_time(run)
            if start and end and not end.censored and start.steps <= end.steps:
                shares.append(1 - start.steps / end.steps)
                widest = max(widest, (start.resolution - 1) / end.steps, (end.resolution - 1) / end.steps)
                digests.append(run.digest)
        if not shares:
            return None
        value, low, high = mean_interval(shares)
        if low is not None and high is not None:
            low, high = max(0.0, low - widest), min(1.0, high + widest)
        return Estimate(value, low, high, tuple(digests), len(runs), f"{len(shares)} of {len(runs)}")

    return Claim(
        source=f"Section 2.1: {model}",
        quantity="share of the time to fit random labels after the start",
        published=None,
        tolerance=0.0,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect(
            "once fitting starts (twice guessing), it takes less time than had passed (interval below one half)",
            below(estimate, LATE),
        ),
    )


def partial_claim(model: str) -> Claim:
    """Section 2.1: partly corrupted labels are fitted perfectly, whatever their share."""

    def runs(records: Records) -> list[Record]:
        return [run for run in runs_of(model, records) if 0 < (label_level(run.spec) or 0) < 1]

    return Claim(
        source=f"Section 2.1: {model}",
        quantity="training accuracy, partly corrupted labels",
        published=1.0,
        tolerance=0.005,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: accuracy_of(runs(records), "train_accuracy"),
        effect=fits(runs),
    )


def _gain(one: Row, other: Row, records: Records) -> Estimate | None:
    """Paired by seed: test accuracy of one row less that of another."""
    without = {run.spec.seed: run for run in _ended(other, records)}
    mine = [run for run in _ended(one, records) if run.spec.seed in without]
    if not mine:
        return None
    pairs = [(run, without[run.spec.seed]) for run in mine]
    value, low, high = mean_interval(
        [float(a.last["test_accuracy"]) - float(b.last["test_accuracy"]) for a, b in pairs]
    )
    runs = tuple(digest for a, b in pairs for digest in (a.digest, b.digest))
    return Estimate(value, low, high, runs, len(runs), f"{len(pairs)} pairs of runs")


def _ended(row: Row, records: Records) -> list[Record]:
    ended = (Status.DONE, Status.NOT_FITTED)
    return [run for run in row.runs(records) if run.status in ended and "test_accuracy" in run.last]


def augmentation_claim(crop: Row, decay: Row, tolerance: float) -> Claim:
    """Section 3: augmenting the data helps more than weight decay does; the number follows from Table 1."""

    def more(records: Records) -> bool | None:
        found = _gain(crop, decay, records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.low > 0 else False if found.high < 0 else None

    return Claim(
        source=f"Section 3: {crop.model}",
        quantity="test accuracy: random crop less weight decay",
        published=_printed(crop) - _printed(decay),
        tolerance=tolerance,
        unit="1",
        provenance="D",
        data="cifar10",
        estimate=lambda records: _gain(crop, decay, records),
        effect=Effect("random crops help more than weight decay (interval above 0)", more),
    )


def needless_claim(both: Row, bare: Row, tolerance: float) -> Claim:
    """Section 3: regularisers help, and networks generalise without them; the number follows from Table 1."""
    return Claim(
        source=f"Section 3: {bare.model}",
        quantity="test accuracy: both regularisers less none",
        published=_printed(both) - _printed(bare),
        tolerance=tolerance,
        unit="1",
        provenance="D",
        data="cifar10",
        estimate=lambda records: _gain(both, bare, records),
        effect=above_chance(bare.runs, "without regularisers"),
    )


def _printed(row: Row) -> float:
    if row.test is None:
        raise ValueError(f"{row.source} has no test accuracy.")
    return round(row.test, 4)

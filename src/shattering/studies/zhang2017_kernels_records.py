"""Which record is what in the study of kernels: variants, pairs, and the numbers they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import mean_interval, proportion_interval
from shattering.core.study import Estimate, Records
from shattering.studies.zhang2017 import accuracy_of, counted

Kind = Literal["pixels", "gabor", "filters", "linear", ""]

NAMES: dict[Kind, str] = {
    "pixels": "Gaussian kernel on pixels",
    "gabor": "Gaussian kernel on Gabor features",
    "filters": "random filters",
    "linear": "linear model on pixels",
}

Pair = tuple[Record, Record]


def kind_of(spec: RunSpec) -> Kind:
    """Which of the study's models a run belongs to; empty for none."""
    fields = spec.model.fields
    match spec.model.name:
        case "kernel_machine":
            return "gabor" if fields.get("features") == "gabor" else "pixels"
        case "random_filters":
            return "filters"
        case "least_squares":
            return "linear"
    return ""


def ridge_of(spec: RunSpec) -> float:
    """λ of a run, 0 where there is none."""
    return float(spec.model.fields.get("ridge", 0.0))


def gamma_of(spec: RunSpec) -> float:
    """γ of a Gaussian kernel; the learner's default where the spec leaves it out."""
    return float(spec.model.fields.get("gamma", 0.02))


def size_of(record: Record) -> int:
    """Training examples of a run."""
    return int(record.summary["train_size"] or 1)


def ended(records: Records) -> list[Record]:
    """The runs that have numbers."""
    return [
        record
        for record in records
        if record.rows and record.status in (Status.DONE, Status.NOT_FITTED) and kind_of(record.spec)
    ]


def sweep_runs(records: Records) -> list[Record]:
    """Runs that were tested on held-out training examples, for the choice of a bandwidth."""
    return [record for record in ended(records) if record.spec.selection is not None]


def tested(records: Records, kind: Kind) -> list[Record]:
    """Runs of a kind that were tested on test examples."""
    return [record for record in ended(records) if record.spec.selection is None and kind_of(record.spec) == kind]


def plain(records: Records, kind: Kind) -> list[Record]:
    """Runs of a kind without ridge, at any number of examples."""
    return [record for record in tested(records, kind) if ridge_of(record.spec) == 0]


def largest(runs: Sequence[Record]) -> list[Record]:
    """Of these runs those on the most examples."""
    most = max((size_of(run) for run in runs), default=0)
    return [run for run in runs if size_of(run) == most]


def planned(records: Records, kind: Kind, *, ridge: bool = False) -> list[Record]:
    """All records of a kind, without or with ridge, tested on test examples, whatever became of them."""
    return [
        record
        for record in records
        if record.spec.selection is None and kind_of(record.spec) == kind and (ridge_of(record.spec) > 0) == ridge
    ]


def subset_of(record: Record) -> tuple[int | None, int]:
    """What two runs on the same training examples have in common."""
    return record.spec.data.train_size, record.spec.seed_of("subset")


def pairs(left: Sequence[Record], right: Sequence[Record]) -> list[Pair]:
    """Runs of both on the same training examples; those on the most examples only."""
    others = {subset_of(run): run for run in right}
    found = [(run, others[subset_of(run)]) for run in left if subset_of(run) in others]
    most = max((size_of(run) for run, _ in found), default=0)
    return [pair for pair in found if size_of(pair[0]) == most]


def error(record: Record) -> float:
    """Test error of a run that ended."""
    return 1 - float(record.last["test_accuracy"])


def fact(record: Record, name: str) -> float:
    """A number of a fit."""
    return float(record.last[name])


def whole(runs: Sequence[Record]) -> bool:
    """Whether there is one answer only: all training and all test examples, and nothing drawn at random."""
    return all(
        run.spec.data.train_size is None and run.spec.data.test_size is None and kind_of(run.spec) != "filters"
        for run in runs
    )


def error_estimate(runs: Sequence[Record], considered: Sequence[Record]) -> Estimate | None:
    """Mean test error with its interval.

    On all training and all test examples of a data set a deterministic solve has one answer, and so had the paper's:
    the interval is then the number itself, and the note has the one that a test set of this size stands for.
    """
    found = accuracy_of(runs, "test_accuracy")
    if found is None:
        return None
    value, note = 1 - found.value, counted(considered)
    if whole(runs):
        examples = int(runs[0].summary["test_size"] or 1)
        _, least, most = proportion_interval(round(value * examples), examples)
        note += f"; all training and test examples, no chance in it; as a sample {least:.2%} to {most:.2%}"
        return Estimate(value, value, value, found.runs, len(considered), note)
    low = None if found.high is None else 1 - found.high
    high = None if found.low is None else 1 - found.low
    return Estimate(value, low, high, found.runs, len(considered), f"{note}; n = {size_of(runs[0]):,}")


def number_estimate(runs: Sequence[Record], name: str) -> Estimate | None:
    """Mean of a number of the fit with its interval; the number itself where chance has no part."""
    values = [fact(run, name) for run in runs if name in run.last]
    if not values:
        return None
    value, low, high = mean_interval(values)
    if whole(runs):
        low, high = min(*values, value), max(*values, value)
    return Estimate(value, low, high, tuple(run.digest for run in runs), len(runs), f"n = {size_of(runs[0]):,}")


def difference_estimate(found: Sequence[Pair], number: Callable[[Record, Record], float]) -> Estimate | None:
    """Mean of a number of pairs of runs on the same training examples, with its interval."""
    if not found:
        return None
    value, low, high = mean_interval([number(left, right) for left, right in found])
    digests = tuple(dict.fromkeys(run.digest for pair in found for run in pair))
    note = f"{len(found)} pairs of runs; n = {size_of(found[0][0]):,}"
    return Estimate(value, low, high, digests, len(digests), note)


def positive(estimate: Estimate | None) -> bool | None:
    """Whether an interval lies above 0, or below; none where it holds 0 or there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return True if estimate.low > 0 else False if estimate.high < 0 else None

"""What the studies of memorisation by Chatterjee and Zielinski share: the data, and estimates from records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec
from shattering.core.statistics import Interval, mean_interval
from shattering.core.study import Estimate, Records, Request, label_level
from shattering.measures.label_noise import adjusted_overfit, proper_accuracy, time_to_accuracy
from shattering.measures.time_to_fit import time_ratio
from shattering.measures.trend import rising_trend
from shattering.studies.zhang2017 import counted

SIGNIFICANT = 0.05
"""Level of the permutation tests behind effects."""

Number = Callable[[Record], float | None]


@dataclass(frozen=True)
class Sizes:
    """What a run is given.

    Args:
        train, test: examples; none: all.
        batch: batch size.
        steps: budget of updates.
        width: units of a hidden layer.
        points: snapshots in each decade of steps.
    """

    train: int | None
    test: int | None
    batch: int
    steps: int
    width: int = 256
    points: int = 8

    def within(self, request: Request) -> Sizes:
        """The same with no more examples than there are, and no batch larger than what is trained on."""
        facts = request.data
        train = min(self.train or facts.train_size, facts.train_size)
        test = min(self.test or facts.test_size, facts.test_size)
        return replace(self, train=train, test=test, batch=min(self.batch, train))


def prepared(request: Request, train: int | None, test: int | None) -> DataSpec:
    """The data: MNIST's pixels from 0 to 1, other images whitened one by one, and those of CIFAR cropped to 28×28."""
    return DataSpec(
        name=request.data.name,
        train_size=train,
        test_size=test,
        crop=28 if request.data.name.startswith("cifar") else None,
        whiten=request.data.name != "mnist",
    )


SCALING = ("scale of the inputs", "MNIST's pixels from 0 to 1; other images each with mean 0 and variance 1")
"""What the papers do not say of the data, for a study's choices."""


def ended(records: Records, **wanted: float) -> list[Record]:
    """Runs that came to their end and have a trajectory; optionally those at one ``level`` of noise."""
    return [
        record
        for record in records
        if record.rows
        and record.status in (Status.DONE, Status.NOT_FITTED)
        and ("level" not in wanted or label_level(record.spec) == wanted["level"])
    ]


def classes(records: Records) -> int:
    """Number of classes of the data; 0 where no run tells."""
    return int(next((record.summary["num_classes"] or 0 for record in records if "num_classes" in record.summary), 0))


def overfit(record: Record) -> float | None:
    """Adjusted overfit at the end of a run: training accuracy beyond that of one who memorises nothing."""
    level, num_classes = label_level(record.spec), classes([record])
    if level is None or not num_classes or "test_accuracy" not in record.last:
        return None
    train, test = float(record.last["train_accuracy"]), float(record.last["test_accuracy"])
    return adjusted_overfit(train, test, level, num_classes)


def own_proper_accuracy(record: Record) -> float | None:
    """The share of a run's training labels that were left alone; its expectation is the proper accuracy 1 - ε + ε/k."""
    level, num_classes = label_level(record.spec), classes([record])
    changed = record.summary.get("changed_fraction")
    if changed is not None:
        return 1 - changed
    return None if level is None or not num_classes else proper_accuracy(level, num_classes)


def beyond_proper(record: Record) -> float | None:
    """Training accuracy at the end less the proper accuracy of the run's own labels."""
    proper = own_proper_accuracy(record)
    return None if proper is None or "train_accuracy" not in record.last else record.last["train_accuracy"] - proper


def at_level(records: Records, level: float | None) -> list[Record]:
    """The records at one level of label noise; none: all."""
    return [record for record in records if level is None or label_level(record.spec) == level]


def last(name: str) -> Number:
    """The number ``name`` at the last snapshot."""
    return lambda record: float(record.last[name]) if name in record.last else None


def steps_to(accuracy: float, name: str = "train_accuracy") -> Number:
    """Updates until an accuracy is reached; of a run that never reaches it those it made, a lower bound."""

    def steps(record: Record) -> float | None:
        found = time_to_accuracy(record, accuracy, name)
        return float(found.steps) if found else None

    return steps


def mean_of(records: Sequence[Record], number: Number) -> Estimate | None:
    """Mean over the runs that have the number, with Student's interval."""
    found = [(record, value) for record in ended(records) if (value := number(record)) is not None]
    if not found:
        return None
    interval = mean_interval([value for _, value in found])
    return estimated(interval, [record for record, _ in found], records)


def difference_of(ours: Sequence[Record], theirs: Sequence[Record], number: Number) -> Estimate | None:
    """Mean of the paired differences of a fraction, ours - theirs, over runs of equal seed and level of noise.

    The ends of the interval lie within [-1, 1], as the difference does.
    """
    values, used = [], []
    for our, their in pairs(ours, theirs):
        first, second = number(our), number(their)
        if first is not None and second is not None:
            values.append(first - second)
            used += [our, their]
    if not values:
        return None
    mean, low, high = mean_interval(values)
    low, high = (None if end is None else max(-1.0, min(1.0, end)) for end in (low, high))
    return estimated((mean, low, high), used, [*ours, *theirs])


def time_ratio_of(
    slow: Sequence[Record], fast: Sequence[Record], accuracy: float, *, names: tuple[str, str]
) -> Estimate | None:
    """How many times the updates one group of examples takes to an accuracy beside another, over runs of equal seed.

    Args:
        slow, fast: the runs; may be the same.
        accuracy: to be reached.
        names: of the accuracies, of ``slow`` and of ``fast``.

    Returns:
        Geometric mean, its interval widened by the distance of snapshots. A ratio is a lower bound, and told to be one,
        where the slow one is not reached; pairs whose fast one is not reached are left out.
    """
    above, below, used = [], [], []
    for ours, theirs in pairs(slow, fast, levels=False):
        first, second = time_to_accuracy(ours, accuracy, names[0]), time_to_accuracy(theirs, accuracy, names[1])
        if first and second and not second.censored and first.steps and second.steps:
            above.append(first)
            below.append(second)
            used += [ours, theirs]
    if not above:
        return None
    found = estimated(time_ratio(above, below), used, [*slow, *fast])
    bounds = sum(time.censored for time in above)
    return replace(found, note=f"{found.note}; {bounds} lower bounds") if bounds else found


def pairs(ours: Sequence[Record], theirs: Sequence[Record], *, levels: bool = True) -> list[tuple[Record, Record]]:
    """Ended runs of equal seed and, with ``levels``, equal noise."""

    def key(record: Record) -> tuple[int, float | None]:
        return record.spec.seed, label_level(record.spec) if levels else None

    partners = {key(record): record for record in ended(theirs)}
    return [(record, partners[key(record)]) for record in ended(ours) if key(record) in partners]


def estimated(interval: Interval, used: Sequence[Record], considered: Sequence[Record]) -> Estimate:
    """An interval as an estimate, traced to the runs ``used``, among those ``considered``."""
    runs = {record.digest: record for record in used}
    every = list({record.digest: record for record in considered}.values())
    return Estimate(*interval, tuple(runs), len(every), counted(every))


def lies_above(estimate: Estimate | None, bound: float) -> bool | None:
    """Whether the whole interval lies above the bound; unknown where it lies across, or there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return True if estimate.low > bound else False if estimate.high <= bound else None


def lies_below(estimate: Estimate | None, bound: float) -> bool | None:
    """Whether the whole interval lies below the bound; unknown where it lies across, or there is none."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return True if estimate.high < bound else False if estimate.low >= bound else None


def all_hold(*parts: bool | None) -> bool | None:
    """No where one part is false, else unknown where one is unknown, else yes."""
    return False if False in parts else None if None in parts else True


def rises(records: Sequence[Record], level: Number, number: Number, *, falling: bool = False) -> bool | None:
    """Whether a number rises (or falls) with a level: Spearman's correlation, permutation p ≤ 0.05.

    No where the correlation is zero or has the other sign; unknown where it is not significant, and with fewer than
    three levels or three runs at each.
    """
    found = [(at, value) for run in ended(records) if None not in (at := level(run), value := number(run))]
    levels, values = [float(at or 0) for at, _ in found], [float(value or 0) for _, value in found]
    if len(set(levels)) < 3 or min(levels.count(at) for at in levels) < 3:
        return None
    if len(set(values)) < 2:
        return False
    correlation, test = rising_trend(levels, [-value for value in values] if falling else values)
    return True if correlation > 0 and test.p <= SIGNIFICANT else False if correlation <= 0 else None

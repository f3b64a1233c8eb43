"""What became of the models that are fitted at once: their names, whether they memorised, and what it cost them."""

from __future__ import annotations

from collections.abc import Sequence

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import mean_interval, ratio_interval
from shattering.core.study import Estimate, Records, label_level
from shattering.studies.zhang2017 import counted

FIT = 0.99
"""Training accuracy that counts as memorised, as for the networks."""

PRICES = {
    "decision_tree": "leaves",
    "random_forest": "leaves",
    "gradient_boosting": "rounds",
    "kernel_machine": "norm",
}
"""What grows with noise, by learner; nearest neighbours store everything whatever the labels."""


def series_of(spec: RunSpec) -> str:
    """The model's name in figures, with what sets its variants apart."""
    name, fields = spec.model.name, spec.model.fields
    if name == "decision_tree":
        least = fields.get("min_leaf", 1)
        return "decision tree" if least == 1 else f"decision tree, {least} examples a leaf"
    if name == "random_forest":
        return "forest, bootstrap" if fields.get("bootstrap", True) else "forest, all examples"
    if name == "gradient_boosting":
        return "boosting"
    if name == "nearest_neighbours":
        asked = fields.get("neighbours", 1)
        return "1 nearest neighbour" if asked == 1 else f"{asked} nearest neighbours"
    if name == "kernel_machine":
        return f"{str(fields.get('kernel', 'gaussian')).capitalize()} kernel"
    return name.replace("_", " ")


def ended(records: Records) -> list[Record]:
    """The runs that have numbers."""
    return [record for record in records if record.rows and record.status in (Status.DONE, Status.NOT_FITTED)]


def runs_of(records: Records, series: str, corruption: str, level: float | None = None) -> list[Record]:
    """The ended runs of a model under a condition."""
    return [
        record
        for record in ended(records)
        if record.spec.corruption.name == corruption
        and series_of(record.spec) == series
        and (level is None or label_level(record.spec) == level)
    ]


def memorises(runs: Sequence[Record]) -> bool:
    """Whether there are runs and each fitted its training set: to `FIT`, by a fit that is exact where it claims so."""
    return bool(runs) and all(record.status is Status.DONE for record in runs)


def fact(record: Record, name: str) -> float | None:
    """A number of the fit; none where the learner does not have it. Rounds are those until the fit, or all."""
    value = record.summary.get(name)
    if name == "rounds":
        value = record.summary.get("rounds_to_fit") or value
    return None if value is None else float(value)


def price(runs: Sequence[Record], name: str) -> Estimate | None:
    """Mean of a number of the fit over runs, with its interval; none where no run has it."""
    known = [(record, value) for record in runs if (value := fact(record, name)) is not None]
    if not known:
        return None
    value, low, high = mean_interval([value for _, value in known])
    low = None if low is None else max(0.0, low)
    return Estimate(value, low, high, tuple(record.digest for record, _ in known), len(runs), counted(list(runs)))


def ratio(above: Sequence[Record], below: Sequence[Record], name: str) -> Estimate | None:
    """Geometric mean of a fit's number over another fit's, paired by seed, with its interval."""
    others = {record.spec.seed: record for record in below}
    pairs = []
    for record in above:
        other = others.get(record.spec.seed)
        ours, theirs = fact(record, name), fact(other, name) if other is not None else None
        if other is not None and ours and theirs:
            pairs.append((record, other, ours, theirs))
    if not pairs:
        return None
    value, low, high = ratio_interval([pair[2] for pair in pairs], [pair[3] for pair in pairs])
    digests = dict.fromkeys(digest for pair in pairs for digest in (pair[0].digest, pair[1].digest))
    return Estimate(value, low, high, tuple(digests), len(above) + len(below), f"{len(pairs)} pairs of runs")


def growth(
    records: Records,
    series: str,
    name: str,
    corruption: str = "random_labels",
    base: str = "true_labels",
    other: str | None = None,
) -> Estimate | None:
    """How much greater a number is with random labels than with true ones, or than another model's.

    Args:
        records: of the study.
        series: the model.
        name: the number.
        corruption: of the numerator.
        base: corruption of the denominator.
        other: the denominator's model; none: the same.
    """
    return ratio(runs_of(records, series, corruption), runs_of(records, other or series, base), name)


def price_text(records: Records, series: str) -> str:
    """``2.9 times the leaves (decision tree)``; nothing where the model has no price or no pair of runs."""
    runs = runs_of(records, series, "random_labels")
    name = PRICES.get(runs[0].spec.model.name) if runs else None
    found = growth(records, series, name) if name else None
    return f"{found.value:.1f} times the {name} ({series})" if found else ""

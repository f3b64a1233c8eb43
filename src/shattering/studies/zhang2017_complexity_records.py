"""What the records of the complexity study say of random signs, of norms, and of replacing one example."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shattering.core.record import Record, Status
from shattering.core.statistics import Interval, accuracy_interval, mean_interval, ratio_interval
from shattering.core.study import Estimate, Records, label_level
from shattering.measures.rademacher import sign_correlation
from shattering.measures.stability import ReplacementEffect, replacement_effect
from shattering.studies.zhang2017 import counted

NORMS = {
    "distance_from_initialisation": "distance from initialisation",
    "frobenius_product": "Frobenius product",
    "spectral_product": "spectral product",
    "path_norm": "path norm",
    "normalised_frobenius_product": "Frobenius product / margin",
    "normalised_spectral_product": "spectral product / margin",
    "normalised_spectral_complexity": "spectral complexity / margin",
    "normalised_path_norm": "path norm / margin",
}
"""Measured names, and how they are called in pictures."""


def ended(records: Records) -> list[Record]:
    """The runs that have final numbers."""
    return [record for record in records if record.rows and record.status in (Status.DONE, Status.NOT_FITTED)]


def models_of(records: Records) -> list[str]:
    """The models, in the order of first appearance."""
    return list(dict.fromkeys(record.spec.model.name for record in records))


def examples_of(record: Record) -> int:
    """Number of training examples."""
    return int(record.summary.get("train_size") or record.spec.data.train_size or 0)


# Random signs


def sign_runs(records: Records, model: str | None = None) -> dict[int, list[Record]]:
    """Runs on random signs, by the number of examples, fewest first."""
    found: dict[int, list[Record]] = {}
    for record in records:
        if record.spec.corruption.name == "random_signs" and model in (None, record.spec.model.name):
            size = record.spec.data.train_size
            found.setdefault(examples_of(record) if size is None else size, []).append(record)
    return dict(sorted(found.items()))


def correlation_interval(runs: Sequence[Record]) -> Interval | None:
    """Mean correlation with the signs over runs, with the interval of their training accuracies."""
    known = [record for record in runs if sign_correlation(record) is not None]
    if not known:
        return None
    accuracies = [float(record.last["train_accuracy"]) for record in known]
    value, low, high = accuracy_interval(accuracies, min(examples_of(record) for record in known))
    return 2 * value - 1, None if low is None else 2 * low - 1, None if high is None else 2 * high - 1


def _within_one(found: Interval) -> Interval:
    value, low, high = found
    return value, None if low is None else max(-1.0, low), None if high is None else min(1.0, high)


def correlation_of(runs: Sequence[Record]) -> Estimate | None:
    """The same as an estimate."""
    found = correlation_interval(runs)
    if found is None:
        return None
    digests = tuple(record.digest for record in runs if sign_correlation(record) is not None)
    return Estimate(*found, digests, len(runs), counted(runs))


def with_most_examples(records: Records, model: str) -> list[Record]:
    """A model's runs on random signs with the most examples."""
    sizes = sign_runs(records, model)
    return sizes[max(sizes)] if sizes else []


def most_followed(records: Records, model: str) -> int | None:
    """The largest number of examples on which every draw of the signs was followed to the last; none where none was."""
    sizes = [
        size
        for size, runs in sign_runs(records, model).items()
        if (values := [sign_correlation(run) for run in runs]) and all(value == 1.0 for value in values)
    ]
    return max(sizes, default=None)


# Norms


def norm_runs(records: Records, model: str | None = None) -> list[Record]:
    """Ended runs under label noise whose norms were measured."""
    return [
        record
        for record in ended(records)
        if "weight_norms" in record.spec.measures.names and model in (None, record.spec.model.name)
    ]


def norm_ratio(records: Records, model: str, name: str, level: float) -> Interval | None:
    """A norm at a level of label noise over that with true labels, paired by seed; none without a pair."""
    at: dict[float, dict[int, float]] = {}
    for record in norm_runs(records, model):
        if float(record.last.get(name, 0.0)) > 0:
            at.setdefault(label_level(record.spec) or 0.0, {})[record.spec.seed] = float(record.last[name])
    noisy, true = at.get(level, {}), at.get(0.0, {})
    seeds = sorted(noisy.keys() & true.keys())
    if not seeds:
        return None
    return ratio_interval([noisy[seed] for seed in seeds], [true[seed] for seed in seeds])


def separates(ratio: Interval) -> bool | None:
    """Whether the interval of a ratio excludes 1; none where there is no interval."""
    _, low, high = ratio
    return None if low is None or high is None else not low <= 1 <= high


def gap_correlation(records: Records, model: str, name: str) -> Interval | None:
    """Kendall's τ of a norm with the generalisation gap over the levels of label noise: the seeds' mean."""
    from scipy.stats import kendalltau

    by_seed: dict[int, list[tuple[float, float]]] = {}
    for record in norm_runs(records, model):
        if name in record.last:
            pair = float(record.last[name]), float(record.last["generalization_gap"])
            by_seed.setdefault(record.spec.seed, []).append(pair)
    values = []
    for pairs in by_seed.values():
        norms, gaps = zip(*pairs, strict=True)
        if len(set(norms)) > 1 and len(set(gaps)) > 1:
            values.append(float(kendalltau(norms, gaps).statistic))
    return _within_one(mean_interval(values)) if values else None


# Replacing one example


def stability_runs(records: Records) -> list[Record]:
    """Ended runs whose losses at single points were kept: on a sample, and with one of its examples replaced."""
    return [record for record in ended(records) if "held_out_losses" in record.spec.measures.names]


def effects(records: Records, model: str, corruption: str) -> dict[int, tuple[Record, ReplacementEffect]]:
    """By seed: the run on the sample, and what replacing one of its examples does."""
    runs = [
        record
        for record in stability_runs(records)
        if (record.spec.model.name, record.spec.corruption.name) == (model, corruption)
    ]
    found = {}
    for base in runs:
        effect = replacement_effect(base, runs) if base.spec.data.replaced is None else None
        if effect is not None:
            found[base.spec.seed] = base, effect
    return found


def gap_on_random_labels(records: Records) -> Estimate | None:
    """Generalisation gap in the 0-1 loss on random labels: what uniform stability cannot be below."""
    runs = [
        record
        for record in stability_runs(records)
        if record.spec.corruption.name == "random_labels" and record.spec.data.replaced is None
    ]
    if not runs:
        return None
    value, low, high = mean_interval([float(record.last["generalization_gap"]) for record in runs])
    return Estimate(value, low, high, tuple(record.digest for record in runs), len(runs), counted(runs))


def gap_is_larger(records: Records) -> bool | None:
    """Whether the gap on random labels is the larger one, by the interval of the differences paired by seed."""
    differences = []
    for model in models_of(stability_runs(records)):
        gaps: dict[str, dict[int, float]] = {}
        for record in stability_runs(records):
            if record.spec.model.name == model and record.spec.data.replaced is None:
                mine = gaps.setdefault(record.spec.corruption.name, {})
                mine[record.spec.seed] = float(record.last["generalization_gap"])
        random, true = gaps.get("random_labels", {}), gaps.get("true_labels", {})
        differences += [random[seed] - true[seed] for seed in sorted(random.keys() & true.keys())]
    if not differences:
        return None
    _, low, high = mean_interval(differences)
    if low is None or high is None:
        return None
    return True if low > 0 else False if high < 0 else None


def effect_ratio(records: Records, model: str) -> Interval | None:
    """Mean effect of a replacement on random labels over that on true ones, paired by seed."""
    random, true = effects(records, model, "random_labels"), effects(records, model, "true_labels")
    seeds = [seed for seed in sorted(random.keys() & true.keys()) if random[seed][1].mean * true[seed][1].mean > 0]
    if not seeds:
        return None
    return ratio_interval([random[seed][1].mean for seed in seeds], [true[seed][1].mean for seed in seeds])


def loss_gap(record: Record) -> float:
    """Test loss less training loss at the end, nats."""
    gap = float(record.last["test_loss"]) - float(record.last["train_loss"])
    return gap if math.isfinite(gap) else 0.0

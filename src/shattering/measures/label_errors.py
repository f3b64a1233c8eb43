"""Which labels look wrong, from trainings on random subsets that are tested on what they left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.record import Record, Status
from shattering.measures.label_channel import Channel, Readings, wrong
from shattering.measures.memorisation import memorisation, subset_outcomes

Floats = NDArray[np.float64]

UNKNOWN_NOISE = 0.5
"""Share of the noise, in the ranking, that need not follow the fitted transition."""

SURE = 4.0
"""Log-odds beyond which the channel's word counts no more, but for the order among equals."""

BINS = 12


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What trainings on random subsets say of the training examples.

    Args:
        index: int64 ``[n]``, places in the training split, ascending; those left out at least once.
        given: int64 ``[n]``, their labels.
        probabilities: float64 ``[n, k]``, mean over trainings that left the example out, and over their snapshots.
        left_out: int64 ``[n]``, by how many trainings.
        evidence: name to float64 ``[n]``, higher where a label looks worse; NaN where not known.
        runs: how many trainings.
    """

    index: NDArray[np.int64]
    given: NDArray[np.int64]
    probabilities: Floats
    left_out: NDArray[np.int64]
    evidence: Mapping[str, Floats] = field(default_factory=dict)
    runs: int = 0


@dataclass(frozen=True, eq=False)
class Scores:
    """How wrong each label looks.

    Args:
        value: float64 ``[n]``, higher for worse; see `label_scores`.
        suggestion: int64 ``[n]``, the class that is believed, other than the given one.
        wrong: float64 ``[n]`` in [0, 1], probability that the label is wrong, after the channel alone.
        parts: name to float64 ``[n]``: log-odds of the channel, and log-likelihood ratio of each piece of evidence.
    """

    value: Floats
    suggestion: NDArray[np.int64]
    wrong: Floats
    parts: Mapping[str, Floats]

    @property
    def order(self) -> NDArray[np.int64]:
        """Places of the examples, the worst first."""
        return np.argsort(-self.value, kind="stable")


def held_out(records: Sequence[Record]) -> HeldOut:
    """Gathers trainings on subsets with the measures `learning_dynamics`, `tested_outputs` and `tested_dynamics`.

    Args:
        records: their records; those that diverged or failed are left out.

    Raises:
        DataError: ``label-errors-no-runs`` where none is left that has the columns, or what `subset_outcomes` raises.
    """
    used = [record for record in records if _usable(record)]
    if not used:
        raise DataError(
            "label-errors-no-runs",
            "No training on a subset has the columns to tell wrong labels by; add learning_dynamics, tested_outputs "
            "and tested_dynamics to measures.names and set data.tested_on=both.",
        )
    outcomes = subset_outcomes(used)
    names = [name for name in used[0].tested if name.startswith("mean_probability_")]
    names.sort(key=lambda name: int(name.rpartition("_")[2]))
    count = len(outcomes.index)
    total, times = np.zeros((count, len(names))), np.zeros(count, dtype=np.int64)
    dynamics = {name: np.zeros(count) for name in ("margin_area", "correctness", "forgetting")}
    inside = np.zeros(count)
    for record in used:
        out = np.asarray(record.tested["left_out"], dtype=np.bool_)
        at = np.searchsorted(outcomes.index, np.asarray(record.tested["index"])[out])
        total[at] += np.column_stack([np.asarray(record.tested[name])[out] for name in names])
        times[at] += 1
        at = np.searchsorted(outcomes.index, np.asarray(record.examples["index"]))
        inside[at] += 1
        for name, column in dynamics.items():
            column[at] += record.examples[name]
    kept = times > 0
    given, total = outcomes.label[kept], total[kept]
    probabilities = total / total.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        means = {name: (column / inside)[kept] for name, column in dynamics.items()}
    evidence = {
        "held-out ratio": -log_ratio(probabilities, given),
        "margin area": -means["margin_area"],
        "correctness": -means["correctness"],
        "forgetting": means["forgetting"],
        "memorisation": memorisation(outcomes).value[kept],
    }
    return HeldOut(outcomes.index[kept], given, probabilities, times[kept], evidence, len(used))


def label_scores(data: HeldOut, channels: Readings) -> Scores:
    """How wrong each label looks: log-odds of a noisy channel, and the mean of what else speaks for an error.

    The rule, fixed before any benchmark was run, is

        value = clip(c, -4, 4) + c/100 + mean over the evidence of log P[evidence | wrong] / P[evidence | right]

    c is log P[wrong] / P[right] by the lenient channel of held-out predictions, where half of the noise follows
    the fitted transition and half is any other class alike: human annotators err in ways that no matrix tells. The
    evidence is the log-ratio of the held-out probabilities of the label and of the best other class; over the trainings
    that had the example, mean area under the margin, share of snapshots at which it was right, and forgetting events;
    and memorisation. Each is turned into a likelihood ratio by itself, without labels of errors: examples are cut into
    12 groups of equal size by it, and the ratio in a group is that of the expected wrong to the expected right labels
    (after the middle channel, one added to each), never falling from group to group. So a piece of evidence
    that tells nothing weighs nothing. Their mean is taken, not their sum, since they all come from the same trainings.

    Args:
        data: from `held_out`.
        channels: the `readings` of its probabilities and labels.
    """
    given, rows = data.given, np.arange(len(data.given))
    classes = data.probabilities.shape[1]
    channel = channels.lenient
    odds = channel_odds(channel, given, min(0.5, max(0.01, channels.middle.rate)))
    doubt = wrong(channels.middle, given)
    parts = {name: likelihood_ratio(found, doubt) for name, found in data.evidence.items()}
    value = np.clip(odds, -SURE, SURE) + odds / 100
    if parts:
        value = value + np.mean(list(parts.values()), axis=0)
    others = channel.believed + 1e-12 * data.probabilities  # where the channel rules all others out, the prediction
    others[rows, given] = -1.0
    suggestion = others.argmax(axis=1) if classes > 1 else given
    return Scores(value, suggestion.astype(np.int64), wrong(channel, given), {"channel": odds, **parts})


def channel_odds(channel: Channel, given: NDArray[np.int64], rate: float) -> Floats:
    """log P[wrong] / P[right] where half of the noise is as fitted and half uniform at ``rate``: float64 ``[n]``."""
    classes, rows = len(channel.transition), np.arange(len(given))
    uniform = np.full((classes, classes), rate / max(1, classes - 1))
    np.fill_diagonal(uniform, 1 - rate)
    mixed = (1 - UNKNOWN_NOISE) * channel.transition + UNKNOWN_NOISE * uniform
    logs = np.log(channel.predicted + 1e-6) + np.log(mixed[:, given].T)
    right = logs[rows, given].copy()
    logs[rows, given] = -np.inf
    odds: Floats = np.logaddexp.reduce(logs, axis=1) - right
    return odds


def log_ratio(probabilities: Floats, given: NDArray[np.int64]) -> Floats:
    """log of the given class's probability over that of the best other class, 0.001 added to both: float64 ``[n]``."""
    rows = np.arange(len(given))
    rest = np.log(probabilities + 1e-3)
    own = rest[rows, given].copy()
    rest[rows, given] = -np.inf
    ratio: Floats = own - rest.max(axis=1)
    return ratio


def likelihood_ratio(evidence: Floats, doubt: Floats) -> Floats:
    """log P[evidence | wrong] / P[evidence | right] by groups of equal size, never falling; 0 where it is not known.

    Args:
        evidence: ``[n]``, higher where a label looks worse; NaN: not known.
        doubt: ``[n]`` in [0, 1], the probability that each label is wrong, as far as known.
    """
    from scipy.stats import rankdata

    ratio = np.zeros(len(evidence))
    known = np.isfinite(evidence)
    if not known.any():
        return ratio
    ranks = (rankdata(evidence[known]) - 0.5) / known.sum()
    group = np.minimum((ranks * BINS).astype(np.int64), BINS - 1)
    bad = np.bincount(group, doubt[known], BINS) + 1
    good = np.bincount(group, 1 - doubt[known], BINS) + 1
    steps = np.maximum.accumulate(np.log(bad / bad.sum()) - np.log(good / good.sum()))
    ratio[known] = steps[group]
    return ratio


def _usable(record: Record) -> bool:
    ended = record.status in (Status.DONE, Status.NOT_FITTED)
    return ended and "mean_probability_0" in record.tested and "margin_area" in record.examples

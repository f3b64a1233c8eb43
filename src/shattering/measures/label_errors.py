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
        parts: name to float64 ``[n]``: log-odds of the channel, both readings pooled ("channel"), and log-likelihood
            ratio of each piece of evidence.
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
    """How wrong each label looks: two readings of a noisy channel, and plainer evidence the more the poorer the nets.

    With w the share of examples that the networks expect to take for a wrong class (`own_mistakes`), the rule is

        value = (1 - w) · c + w · (R(a) + R(s) + 2e)        c = lenient log-odds + (1 - w)²/2 · (strict - lenient)

    c pools log P[wrong] / P[right] of two readings of held-out predictions, where half of the noise follows the fitted
    transition and half is any other class alike: human annotators err in ways that no matrix tells. Which reading is
    right cannot be known: sure networks count both alike, and the poorer they are, the more likely doubt is their own,
    which is the lenient reading. The rest needs no fitted transition and speaks up where networks are poor, since
    there the fit is what goes astray: a is minus the mean area under the margin in the trainings that had the example,
    s minus the held-out probability of the given label, and R, the log-odds of a rank (`rank_odds`), puts them on one
    scale. Where networks are sure they count little, for both are blind to noise that follows the classes and that
    a network therefore learns. e is the mean over all the evidence of log P[evidence | wrong] / P[evidence | right],
    each turned into a likelihood ratio by itself, without labels of errors: examples are cut into 12 groups of equal
    size by it, and the ratio in a group is that of the expected wrong to the expected right labels (after the
    middle channel, one added to each), never falling from group to group. So a piece of evidence that tells nothing
    weighs nothing. It is a mean, not a sum, since all come from the same trainings.

    The rule took the place of an earlier one after a first benchmark, and was chosen among some two hundred on other
    trainings than the benchmark's, with other noise: see ``docs/labels.md``.

    Args:
        data: from `held_out`.
        channels: the `readings` of its probabilities and labels.
    """
    given, rows = data.given, np.arange(len(data.given))
    classes = data.probabilities.shape[1]
    channel = channels.lenient
    rate = min(0.5, max(0.01, channels.middle.rate))
    lenient, strict = (channel_odds(reading, given, rate) for reading in (channel, channels.strict))
    own = own_mistakes(channel)
    odds = lenient + (1 - own) ** 2 / 2 * (strict - lenient)
    doubt = wrong(channels.middle, given)
    parts = {name: likelihood_ratio(found, doubt) for name, found in data.evidence.items()}
    area = data.evidence.get("margin area", np.full(len(given), np.nan))
    plain = rank_odds(area) + rank_odds(-data.probabilities[rows, given])
    if parts:
        plain = plain + 2 * np.mean(list(parts.values()), axis=0)
    value = (1 - own) * odds + own * plain
    others = channel.believed + 1e-12 * data.probabilities  # where the channel rules all others out, the prediction
    others[rows, given] = -1.0
    suggestion = others.argmax(axis=1) if classes > 1 else given
    return Scores(value, suggestion.astype(np.int64), wrong(channel, given), {"channel": odds, **parts})


def own_mistakes(channel: Channel) -> float:
    """1 - mean of the largest P[true | prediction]: from 0, networks sure of every class, to 1 - 1/k, of none."""
    return float(1 - channel.predicted.max(axis=1).mean())


def rank_odds(column: Floats) -> Floats:
    """log-odds of an example's place among those where the column is known: float64 ``[n]``; 0 where it is not.

    With t = (how many are larger, equal ones counted as half) / n, it is log (1 - t)/t: 0 at the median, and
    ± log(2n - 1) at the largest and the smallest.
    """
    from scipy.stats import rankdata

    odds = np.zeros(len(column))
    known = np.isfinite(column)
    if known.any():
        below = (rankdata(column[known]) - 0.5) / known.sum()
        odds[known] = np.log(below / (1 - below))
    return odds


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

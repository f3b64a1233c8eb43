"""Which labels look wrong? A ranking, an estimate of how many are, and which classes they are given instead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shattering.checks.label_exhibits import Labels, chart, gallery, ranking, transition
from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.subset_runs import FRACTION, subset_runs
from shattering.checks.trainings import percent, told_counts, unknown
from shattering.core.finding import Answer, Cost, Finding, Level, bounded_percent
from shattering.core.words import plural
from shattering.measures.label_channel import readings
from shattering.measures.label_errors import held_out, label_scores
from shattering.measures.label_noise_rate import NoiseRate, expected_precision, noise_rate

NAME = "labels"
QUESTION = "Which labels look wrong?"
PAPER = "Northcutt et al. (2021), confident learning; Patrini et al. (2017); Pleiss et al. (2020); Toneva et al. (2019)"

LEAST, USEFUL = 6, 40
"""Six trainings leave out nearly nine examples in ten at least once; after forty an example has a dozen predictions."""

FEWEST_EXAMPLES, MOST_CLASSES = 30, 200
PRECISION = 0.8
"""Labels are counted as looking wrong up to where so many of them are expected to be."""

LITTLE = 0.01
"""A rate of wrong labels that is no reason to do anything."""

RULED_OUT = 0.15
"""Where so many wrong labels are not ruled out, no sign of any is no good news."""

OWN_SHARE = 0.25
"""So much of the networks' own expected mistakes is no sign of wrong labels where there may be none."""

FEW_PREDICTIONS = 10
"""From fewer held-out predictions an example, the expected share of wrong labels tends to be too high."""

COMPARED = 100
"""Labels at the head of the ranking that are compared with cleanlab's where fewer look wrong."""

RANKED_BY = (
    f"Trainings on random subsets of {FRACTION:.0%} of the examples, each tested on what it left out. A noisy channel "
    "between true and given labels is fitted to the held-out predictions (transition as in Patrini et al. 2017); its "
    "log-odds and the mean log-likelihood ratio of held-out ratio, area under the margin (Pleiss et al. 2020), "
    "correctness, forgetting (Toneva et al. 2019) and memorisation (Feldman & Zhang 2020) rank the labels"
)
ESTIMATED_BY = (
    "Maximum likelihood of that channel, which puts doubt down to the networks. Interval: from that estimate less 1.96 "
    "standard errors and less half the odds at which the networks expect to be wrong themselves, to what is found when "
    "every doubtful example is held to have the class that it looks most like, plus 1.96 standard errors"
)


def tells(subject: Subject, effort: int) -> str:
    """What so many trainings can say."""
    predictions = (1 - FRACTION) * effort
    count, missed = len(subject.splits.train), FRACTION**effort
    without = f"{percent(missed)} of the {count:,} labels with none"
    if missed < 0.001:
        without = f"about {missed * count:,.0f} of the {count:,} labels with none"
    if missed * count < 0.5:
        without = f"most likely each of the {count:,} labels with at least one"
    return (
        f"With {plural(effort, 'training')} a label is compared with {predictions:.1f} held-out predictions on "
        f"average, and {without}; the rate of wrong labels can be told as far as the network is right about the "
        "classes."
    )


def why_not(subject: Subject) -> str | None:
    """A reason for which labels cannot be looked at."""
    train = subject.splits.train
    if train.files is not None:
        return "the images stay on the disk, and trainings on subsets need them in memory"
    if len(train) < FEWEST_EXAMPLES:
        return f"there are {len(train)} training examples, and it takes {FEWEST_EXAMPLES}"
    if not 2 <= train.num_classes <= MOST_CLASSES:
        return f"there are {plural(train.num_classes, 'class')}, and it takes 2 to {MOST_CLASSES}"
    return None


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """Rate of wrong labels, how many look wrong, and the evidence."""
    specs = subset_runs(subject, evidence.effort)
    records = evidence.of(specs)
    usable = [record for record in records if "mean_probability_0" in record.tested and record.examples]
    cost = evidence.cost(records)
    if len(usable) < LEAST:
        why = f"Wrong labels cannot be told: {plural(len(usable), 'training')} of {LEAST} needed ended with an outcome."
        return Answer(NAME, QUESTION, (unknown(NAME, "label_noise_rate", why, RANKED_BY, len(usable), cost),))
    data = held_out(usable)
    channels = readings(data.probabilities, data.given)
    scores, rate = label_scores(data, channels), noise_rate(channels, data.given)
    precision = expected_precision(channels.lenient, data.given, scores.order)
    found = Labels(data, scores, rate, precision, subject.classes, len(subject.splits.train))
    counts = f"{told_counts(specs, records, data.runs)}."
    caveats = _caveats(subject, rate, len(data.given))
    findings = [_rate(rate, cost, counts, caveats), _looking_wrong(found, cost, counts)]
    beside = _beside_cleanlab(found, cost)
    findings += [beside] if beside is not None else []
    exhibits = (gallery(found), ranking(found), transition(found), chart(found))
    return Answer(NAME, QUESTION, tuple(findings), exhibits)


def no_sign(rate: NoiseRate) -> bool:
    """Whether there may be no wrong labels, and what is found is little beside the networks' own mistakes."""
    return rate.low == 0 and rate.value <= max(LITTLE, OWN_SHARE * rate.mistakes)


def suspects(precision: NDArray[np.float64], rate: NoiseRate) -> int:
    """How many labels look wrong: as many as keep the expected precision; none where there is no sign of noise."""
    enough = np.flatnonzero(precision >= PRECISION)
    return int(enough[-1]) + 1 if len(enough) and not no_sign(rate) else 0


def _share(value: float) -> str:
    """A share as the channel has it: 0 and 1 are the ends of its range, what is near them is an estimate."""
    return percent(value) if value in (0.0, 1.0) else bounded_percent(value)


def _level(rate: NoiseRate) -> Level:
    if no_sign(rate):
        return "good" if rate.high <= RULED_OUT else "note"
    return "warning" if rate.low > 0 and rate.value >= LITTLE else "note"


def _rate(rate: NoiseRate, cost: Cost, counts: str, caveats: Sequence[str]) -> Finding:
    spread = f"{_share(rate.low)} to {_share(rate.high)}"
    if no_sign(rate) and rate.high <= RULED_OUT:
        statement = (
            f"There is no sign of wrong labels: what contradicts the network is no more than it gets wrong itself (at "
            f"most {_share(rate.high)} of the labels; best estimate {_share(rate.value)})."
        )
    elif no_sign(rate):
        statement = (
            f"There is no sign of wrong labels among examples that the network is sure of, but it is unsure of so many "
            f"that up to {_share(rate.high)} wrong ones are not ruled out (best estimate {_share(rate.value)})."
        )
    elif rate.low == 0:
        statement = (
            f"It cannot be told whether labels are wrong: what contradicts the network may be its own mistakes, "
            f"expected on {_share(rate.mistakes)} of the examples ({spread}; best estimate {_share(rate.value)})."
        )
    else:
        statement = f"About {_share(rate.value)} of the labels are wrong ({spread})."
    return Finding(
        check=NAME,
        name="label_noise_rate",
        statement=statement,
        value=rate.value,
        unit="1",
        low=rate.low,
        high=rate.high,
        n=rate.examples,
        method=f"{RANKED_BY}. {ESTIMATED_BY}. {counts}",
        caveats=tuple(caveats),
        level=_level(rate),
        cost=cost,
    )


def _looking_wrong(found: Labels, cost: Cost, counts: str) -> Finding:
    count = suspects(found.precision, found.rate)
    names, predictions = found.classes, float(np.median(found.data.left_out))
    caveats = [
        "The expected precision is the channel's own word; classes that the network takes for others surely make it "
        "too high.",
        "A label that looks wrong may be right and its example strange: look before you change it.",
    ]
    if count and predictions < FEW_PREDICTIONS:
        told = f"{predictions:g} held-out prediction{'' if predictions == 1 else 's'}"
        caveats.insert(
            0,
            f"The share expected to be wrong is from {told} each (the median); with fewer than ten this share tends to "
            "be too high.",
        )
    if count:
        worst = int(found.scores.order[0])
        expected = bounded_percent(float(found.precision[count - 1]))
        statement = (
            f"{plural(count, 'label')} look wrong, of which {expected} are expected to be; the worst is example "
            f"{int(found.data.index[worst])}, given as {names[found.data.given[worst]]}, which looks like "
            f"{names[found.scores.suggestion[worst]]}."
        )
    else:
        statement = "No label stands out enough to be called wrong; the ranking tells which to look at first."
    return Finding(
        check=NAME,
        name="labels_that_look_wrong",
        statement=statement,
        value=float(count),
        unit="",
        low=None,
        high=None,
        n=len(found.data.given),
        method=f"{RANKED_BY}; counted as far down as {PRECISION:.0%} are expected to be wrong. {counts}",
        caveats=tuple(caveats),
        level="warning" if count else "good",
        cost=cost,
    )


def _caveats(subject: Subject, rate: NoiseRate, examples: int) -> list[str]:
    told = [
        "Whether an example is hard or its label is given at random cannot be told from labels alone: if labels err "
        f"mostly where examples are hard, the rate is nearer {_share(rate.high)}.",
        "A class that the network takes for another one surely counts as wrong labels.",
    ]
    if rate.mistakes > 0.2:
        told.insert(
            0,
            f"The network itself is expected to be wrong on {_share(rate.mistakes)} of held-out examples, so the "
            "interval is wide; a better model narrows it.",
        )
    missing = len(subject.splits.train) - examples
    if missing:
        told.append(f"{plural(missing, 'label')} were in every subset and could not be looked at.")
    return told


def _beside_cleanlab(found: Labels, cost: Cost) -> Finding | None:
    """How far cleanlab's default ranking agrees on the same held-out predictions; none where it is not installed."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return None
    given, probabilities = found.data.given, found.data.probabilities
    count = min(len(given), suspects(found.precision, found.rate) or COMPARED)
    theirs = np.argsort(get_label_quality_scores(given, probabilities), kind="stable")[:count]
    shared = len(set(theirs.tolist()) & set(found.scores.order[:count].tolist())) / count
    return Finding(
        check=NAME,
        name="cleanlab_agreement",
        statement=f"Of the first {count} labels, cleanlab has {percent(shared)} among its own first {count}.",
        value=shared,
        unit="1",
        low=None,
        high=None,
        n=count,
        method="cleanlab's label quality scores (self-confidence) on the same held-out probabilities.",
        caveats=("Agreement is no proof: both rest on the same predictions.",),
        level="note",
        cost=cost,
    )


check = register(
    Check(
        name=NAME,
        question=QUESTION,
        paper=PAPER,
        unit="training on a random subset",
        least=LEAST,
        useful=USEFUL,
        design=subset_runs,
        tells=tells,
        answer=answer,
        rank=25,
        why_not=why_not,
    )
)

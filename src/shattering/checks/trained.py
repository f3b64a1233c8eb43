"""What do the trained weights know of the data they were trained on that they do not know of others?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.core.finding import Answer, Chart, Finding
from shattering.core.spec import RunSpec
from shattering.core.statistics import proportion_interval
from shattering.core.study import Axis, Point

QUESTION = "Do the weights you gave know their training examples better than others?"
PAPER = "the test of membership by loss, common knowledge; DeLong's variance of an area under the curve"
NORMAL = 1.959963984540054
"""The normal distribution's 97.5% quantile."""

CLEARLY = 0.6
"""An area whose interval lies above one half is worth acting on from here."""

SMALLEST_LOSS = 1e-9
"""Smaller losses are drawn there, for want of a place on a logarithmic axis."""


def _nothing(subject: Subject, effort: int) -> list[RunSpec]:
    return []


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """Accuracies on both splits, their gap, and how well the loss of an example tells which split it is from."""
    seen = subject.trained
    if not seen:
        return Answer("trained", QUESTION, ())
    train, test = subject.splits.train, subject.splits.test
    right = {
        "train": np.asarray(seen["train_predictions"]) == train.labels,
        "test": np.asarray(seen["test_predictions"]) == test.labels,
    }
    known, others = (proportion_interval(int(hits.sum()), len(hits)) for hits in right.values())
    low, high = difference_interval(known, others)
    area, below, above = auc_interval(np.asarray(seen["test_losses"]), np.asarray(seen["train_losses"]))
    caveat = ("The weights are taken to have been trained on the training split and on nothing of the test split.",)
    told = below > 0.5
    gap, tested = known[0] - others[0], "held-out" if subject.held_out else "test"
    sorted_out = f"a pair of them is put in order {area:.0%} of the time, where chance is 50%"
    findings = (
        Finding(
            "trained",
            "trained_membership",
            f"A training example {'can' if told else 'cannot'} be told from a test example by its loss: {sorted_out}.",
            area,
            "1",
            below,
            above,
            len(train) + len(test),
            "Area under the curve of telling training from test examples by their loss, with DeLong's interval on the "
            "scale of the log odds; 50% where the weights treat both alike, 100% where every training example has a "
            "smaller loss.",
            caveat,
            "warning" if told and area > CLEARLY else "note" if told else "good",
        ),
        Finding(
            "trained",
            "trained_gap",
            f"The weights in {seen['file']} are right for {known[0]:.1%} of the training and {others[0]:.1%} of the "
            f"{tested} examples, a gap of {100 * gap:.1f} points.",
            gap,
            "1",
            low,
            high,
            len(train) + len(test),
            "Accuracy on the labels as they are; the interval of the difference is made of the exact intervals of both "
            "accuracies, as Newcombe does with Wilson's.",
            caveat,
            "note",
        ),
    )
    return Answer("trained", QUESTION, findings, (_losses(seen["train_losses"], seen["test_losses"]),))


def difference_interval(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float]:
    """Ends of the interval of ``one - other``, proportions of independent examples, each with its own interval."""
    gap = one[0] - other[0]
    low = gap - math.hypot(one[0] - one[1], other[2] - other[0])
    high = gap + math.hypot(one[2] - one[0], other[0] - other[1])
    return max(-1.0, low), min(1.0, high)


def auc_interval(larger: NDArray[np.float64], smaller: NDArray[np.float64]) -> tuple[float, float, float]:
    """The probability that one of ``larger`` exceeds one of ``smaller``, ties half, with DeLong's 95% interval.

    Args:
        larger, smaller: ``[m]`` and ``[n]``, at least two each for an interval.

    Returns:
        area, low, high, in 0 … 1; the interval is drawn on the scale of the log odds, and is all of 0 … 1 where the
        area is 0 or 1, or a sample has one element.
    """
    ordered, risen = np.sort(smaller), np.sort(larger)
    of_larger = (np.searchsorted(ordered, larger, "left") + np.searchsorted(ordered, larger, "right")) / 2
    of_smaller = len(larger) - (np.searchsorted(risen, smaller, "left") + np.searchsorted(risen, smaller, "right")) / 2
    won, lost = of_larger / len(smaller), of_smaller / len(larger)
    area = float(won.mean())
    if min(len(larger), len(smaller)) < 2 or not 0.0 < area < 1.0:
        return area, 0.0, 1.0
    variance = won.var(ddof=1) / len(larger) + lost.var(ddof=1) / len(smaller)
    half = NORMAL * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    return area, 1 / (1 + math.exp(half - odds)), 1 / (1 + math.exp(-half - odds))


def _losses(train: NDArray[np.float64], test: NDArray[np.float64]) -> Chart:
    """Both distributions of losses, as the share of examples with at most so much loss."""
    points = []
    for losses, series in ((train, "training examples"), (test, "test examples")):
        rising = np.maximum(np.sort(np.asarray(losses, dtype=np.float64)), SMALLEST_LOSS)
        for share in np.linspace(0.01, 1.0, 100):
            points.append(Point(float(rising[math.ceil(share * len(rising)) - 1]), float(share), series))
    return Chart(
        "losses",
        "Losses under the weights you gave",
        Axis("loss of an example (nats under cross-entropy)", scale="log"),
        Axis("share of examples with at most this loss", percent=True),
        tuple(points),
        "The farther the two curves lie apart, the more the weights know of their training examples alone.",
    )


check = register(
    Check(
        name="trained",
        question=QUESTION,
        paper=PAPER,
        unit="look at the weights",
        least=0,
        useful=0,
        design=_nothing,
        tells=lambda subject, effort: "How far training and test examples can be told apart by the loss.",
        answer=answer,
        rank=5,
        why_not=lambda subject: None if subject.trained else "no trained weights were given; name them with --weights",
    )
)

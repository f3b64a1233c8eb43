"""The evidence for wrong labels: the examples, the ranking, the transition, and what looking further would find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.core.finding import Chart, Column, Gallery, Shown, Table, bounded_percent
from shattering.core.study import Axis, Point
from shattering.measures.label_errors import HeldOut, Scores
from shattering.measures.label_noise_rate import NORMAL_95, NoiseRate

LISTED, SHOWN, PAIRS, MARKS = 1000, 24, 100, 40
WRONG, FOUND = "of those looked at, wrong", "of all wrong ones, found"


@dataclass(frozen=True, eq=False)
class Labels:
    """What was found about the labels.

    Args:
        data: the held-out predictions.
        scores: how wrong each label looks.
        rate: how many are.
        precision: float64 ``[n]``, expected share of wrong labels among the first 1 … n of the ranking.
        classes: names.
        total: how many training labels there are, those that could not be looked at among them.
    """

    data: HeldOut
    scores: Scores
    rate: NoiseRate
    precision: NDArray[np.float64]
    classes: tuple[str, ...]
    total: int


def gallery(found: Labels) -> Gallery:
    """The labels that look worst, with the class that each example looks like."""
    data, scores = found.data, found.scores
    examples = []
    for place in scores.order[:SHOWN]:
        given, looks = int(data.given[place]), int(scores.suggestion[place])
        shares = [bounded_percent(float(data.probabilities[place, seen])) for seen in (given, looks)]
        caption = (
            f"given as {found.classes[given]} ({shares[0]} of the held-out probability), looks like "
            f"{found.classes[looks]} ({shares[1]})"
        )
        examples.append(Shown("train", int(data.index[place]), caption, given, looks))
    return Gallery(
        name="worst_labels",
        title="The labels that look worst",
        examples=tuple(examples),
        reading="Each was predicted by trainings that had not seen it. Is the given label right, or the suggestion?",
    )


def ranking(found: Labels) -> Table:
    """The head of the ranking in numbers."""
    data, scores = found.data, found.scores
    pieces = [name for name in ("margin area", "forgetting", "memorisation") if name in data.evidence]
    rows = []
    for place in scores.order[:LISTED]:
        given, looks = int(data.given[place]), int(scores.suggestion[place])
        values = [float(data.evidence[name][place]) for name in pieces]
        rows.append(
            (
                int(data.index[place]),
                found.classes[given],
                found.classes[looks],
                float(scores.value[place]),
                float(scores.wrong[place]),
                float(data.probabilities[place, given]),
                float(data.probabilities[place, looks]),
                *(None if not np.isfinite(value) else -value if name == "margin area" else value
                  for name, value in zip(pieces, values, strict=True)),
                int(data.left_out[place]),
            )
        )  # fmt: skip
    title = f"The {len(rows):,} labels that look worst"
    if len(rows) == len(data.given):
        looked_at = " that could be looked at" if len(rows) < found.total else ""
        title = f"All {len(rows):,} labels{looked_at}, worst first"
    return Table(
        name="suspicious_labels",
        title=title,
        columns=(
            Column("example", "example"),
            Column("given"),
            Column("looks like"),
            Column("score", "number"),
            Column("wrong with probability", "probability"),
            Column("held-out probability of the given class", "probability"),
            Column("of the suggested one", "probability"),
            *(Column(name, "number") for name in pieces),
            Column("held-out predictions", "number"),
        ),
        rows=tuple(rows),
        reading=(
            "The score does no more than order the labels, the worst first; the probability of being wrong comes from "
            "the fitted noise channel alone. A low margin area, many forgetting events and high memorisation mean that "
            "the network resisted the label."
        ),
    )


def transition(found: Labels) -> Table:
    """Which classes are given as which others: the largest entries of the transition matrix off its diagonal."""
    rate = found.rate
    count = len(rate.transition)
    of_class = np.array([(found.data.given == row).mean() for row in range(count)])
    # Given shares are π T; the true ones follow from the same fit's beliefs, and are near enough for an ordering.
    expected = rate.transition * of_class[:, None] * len(found.data.given)
    np.fill_diagonal(expected, -1.0)
    order = np.argsort(-expected, axis=None, kind="stable")[: min(PAIRS, count * (count - 1))]
    rows = []
    for true, given in zip(*np.unravel_index(order, expected.shape), strict=True):
        value, error = float(rate.transition[true, given]), float(rate.transition_error[true, given])
        ends = max(0.0, value - NORMAL_95 * error), min(1.0, value + NORMAL_95 * error)
        rows.append((found.classes[true], found.classes[given], value, *ends))
    return Table(
        name="transition",
        title="Which classes are labelled as which others",
        columns=(
            Column("true class"),
            Column("given as"),
            Column("of its labels", "probability"),
            Column("from", "probability"),
            Column("to", "probability"),
        ),
        rows=tuple(rows),
        reading=(
            "Entries of the estimated transition matrix off its diagonal, commonest first, with approximate 95% "
            "intervals; without wrong labels they show which classes the network itself takes for each other."
        ),
    )


def chart(found: Labels) -> Chart:
    """Expected precision and share found against how many labels are looked at."""
    count = len(found.precision)
    last = min(count, max(50, round(2.5 * found.rate.value * count)))
    marks = sorted({max(1, round(last * (step + 1) / MARKS)) for step in range(MARKS)})
    total = max(1e-9, float(found.precision[-1]) * count)
    points = [Point(float(mark), float(found.precision[mark - 1]), WRONG) for mark in marks]
    points += [Point(float(mark), min(1.0, float(found.precision[mark - 1]) * mark / total), FOUND) for mark in marks]
    return Chart(
        name="label_precision",
        title="What looking at the worst labels is expected to find",
        x=Axis("labels looked at, worst first"),
        y=Axis("expected share", percent=True),
        points=tuple(points),
        reading=(
            f"Where the curve “{WRONG}” falls, further looking finds more and more labels that are right. The curves "
            "have no intervals: they are expectations under the fitted noise channel."
        ),
    )

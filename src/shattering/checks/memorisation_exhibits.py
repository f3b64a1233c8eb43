"""The evidence for what is memorised: the examples themselves, whom they help, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shattering.checks.registry import Subject
from shattering.core.finding import Chart, Column, Gallery, Shown, Table
from shattering.core.record import Record
from shattering.core.study import Axis, Point
from shattering.measures.memorisation import Memorisation, SubsetOutcomes, influence, influence_p, predictions_of
from shattering.measures.memorised_share import ROUNDING, THRESHOLD, memorised_shares

SHOWN = 24
"""Memorised examples shown."""

HELPED = 4
"""Test examples shown beside an example."""

FAMILY = 0.05
"""Chance that any of the test examples said to be helped is not, whatever the number of pairs looked at."""

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 21))


@dataclass(frozen=True)
class Help:
    """What an example does for test examples.

    Args:
        index: test examples that it helps, the most helped first.
        value: by how much more often they are right.
    """

    index: tuple[int, ...]
    value: tuple[float, ...]


def helped_by(outcomes: SubsetOutcomes, order: NDArray[np.integer]) -> list[Help]:
    """The test examples that each of these examples helps, beyond chance for as many pairs as were looked at."""
    if not len(outcomes.tested_index) or not len(order):
        return [Help((), ()) for _ in order]
    value, _ = influence(outcomes, order)
    beyond = influence_p(outcomes, order) <= FAMILY / value.size
    found = []
    for row, sure in zip(value, beyond, strict=True):
        places = np.argsort(-row, kind="stable")
        places = places[sure[places]]
        found.append(Help(tuple(map(int, outcomes.tested_index[places])), tuple(map(float, row[places]))))
    return found


def taken_for(records: Sequence[Record], wanted: NDArray[np.int64]) -> list[int | None]:
    """The class that most trainings without an example take it for; none where that is not known."""
    votes: list[dict[int, int]] = [{} for _ in wanted]
    for record in records:
        left_out = np.asarray(record.tested["left_out"], dtype=np.bool_)
        index, said = np.asarray(record.tested["index"])[left_out], predictions_of(record)[left_out]
        order = np.argsort(index, kind="stable")
        at = np.minimum(np.searchsorted(index[order], wanted), max(0, len(index) - 1))
        for place in np.flatnonzero(index[order][at] == wanted) if len(index) else ():
            guess = int(said[order[at[place]]])
            votes[place][guess] = votes[place].get(guess, 0) + 1
    return [max(sorted(vote), key=vote.__getitem__) if vote else None for vote in votes]


def gallery(
    outcomes: SubsetOutcomes,
    found: Memorisation,
    order: NDArray[np.integer],
    helped: list[Help],
    looks: list[int | None],
) -> Gallery:
    """The most memorised examples, each beside test examples that it helps; none where no estimate reaches 0.25.

    Args:
        outcomes: the trainings.
        found: their estimates.
        order: examples as places in ``outcomes.index``, the most memorised first.
        helped: what each of them does for test examples.
        looks: what each of them is taken for by trainings without it.
    """
    examples = []
    memorised = order[found.value[order] >= THRESHOLD - ROUNDING][:SHOWN]
    for rank, place in enumerate(memorised):
        label = int(outcomes.label[place])
        caption = (
            f"memorisation {found.value[place]:.2f} ± {found.standard_error[place]:.2f}: right in "
            f"{found.right_trained[place] / found.trained[place]:.0%} of {found.trained[place]} trainings with it, "
            f"{found.right_left_out[place] / found.left_out[place]:.0%} of {found.left_out[place]} without"
        )
        related = tuple(("test", index) for index in helped[rank].index[:HELPED])
        seen = looks[rank]
        examples.append(
            Shown("train", int(outcomes.index[place]), caption, label, seen if seen != label else None, related)  # type: ignore[arg-type]
        )
    return Gallery(
        name="most_memorised",
        title="The most memorised examples",
        examples=tuple(examples),
        reading=_reading(found, memorised),
    )


def _reading(found: Memorisation, memorised: NDArray[np.integer]) -> str:
    """What is true of every example shown; where none is, that none is memorised."""
    if not len(memorised):
        known = found.value[np.isfinite(found.value)]
        largest = f"; the largest estimate is {known.max():.2f}" if len(known) else ""
        return f"No example reaches a memorisation of {THRESHOLD:g}, from which on it is called memorised{largest}."
    unsure = int((found.low[memorised] <= 0).sum())
    luck = f" The intervals of {unsure} of them include 0: these may stand here by luck." if unsure else ""
    return (
        f"Each is right at least {100 * THRESHOLD:.0f} percentage points more often in trainings with it than in those "
        f"without it, as rare, ambiguous and mislabelled examples are.{luck} Beside it stand the test examples, where "
        "there are any, that are right more often because of it."
    )


def table(
    subject: Subject,
    outcomes: SubsetOutcomes,
    found: Memorisation,
    order: NDArray[np.integer],
    helped: list[Help],
    looks: list[int | None],
) -> Table:
    """Memorisation of the same examples in numbers; the arguments are those of `gallery`."""
    classes = subject.classes
    rows = []
    for rank, place in enumerate(order):
        seen = looks[rank]
        rows.append(
            (
                int(outcomes.index[place]),
                classes[int(outcomes.label[place])],
                float(found.value[place]),
                float(found.low[place]),
                float(found.high[place]),
                int(found.trained[place]),
                int(found.left_out[place]),
                None if seen is None else classes[seen],
                len(helped[rank].index),
            )
        )
    titles: tuple[Column, ...] = (
        Column("example", "example"),
        Column("label"),
        Column("memorisation", "number"),
        Column("from", "number"),
        Column("to", "number"),
        Column("trainings with it", "number"),
        Column("without", "number"),
        Column("taken for, without it"),
        Column("test examples helped", "number"),
    )
    return Table(
        name="memorised",
        title=f"The {len(rows)} most memorised examples",
        columns=titles,
        rows=tuple(rows),
        reading=(
            f"Memorisation with its 95% interval, example by example; from {THRESHOLD:g} on one is called memorised. "
            "The top of a list this long holds some by luck."
        ),
    )


def chart(outcomes: SubsetOutcomes) -> Chart:
    """How many examples are memorised at least so much, with intervals."""
    shares = memorised_shares(outcomes, THRESHOLDS)
    points = tuple(
        Point(threshold, share.value, "examples", share.low, share.high)
        for threshold, share in zip(THRESHOLDS, shares, strict=True)
    )
    return Chart(
        name="memorisation",
        title="Share of examples memorised at least so much",
        x=Axis("memorisation"),
        y=Axis("share of examples", percent=True),
        points=points,
        reading=(
            f"{shares[THRESHOLDS.index(THRESHOLD)].value:.1%} of the estimates reach {THRESHOLD:g}, "
            f"{shares[THRESHOLDS.index(0.5)].value:.1%} reach 0.5. Intervals are over examples and trainings."
        ),
    )

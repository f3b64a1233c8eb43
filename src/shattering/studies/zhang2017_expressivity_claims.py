"""What zhang2017-expressivity is held to: Theorem 1, Lemma 1, Corollary 1, and guessing on the test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from shattering.core.record import Record, Status
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.studies.zhang2017 import CHANCE_BAND, accuracy_of, chance_effect, counted
from shattering.studies.zhang2017_expressivity_pictures import (
    DEPTHS,
    Number,
    connections_share,
    deep,
    ended,
    largest_size,
    size,
    two_layers,
    width_share,
)

WIDTH_FACTOR, WEIGHTS_FACTOR = 3, 5
"""What O(n/k) and O(n+d) are held to."""

EXACT = 1e-9
"""What rounding may take from a number that a theorem fixes."""

Runs = Callable[[Records], list[Record]]


def always(runs: Sequence[Record], number: Number) -> Estimate | None:
    """A number that a theorem fixes for every run: its mean, with all that was found as its interval."""
    found = [(record, value) for record in ended(runs) if (value := number(record)) is not None]
    if not found:
        return None
    values = [value for _, value in found]
    mean = sum(values) / len(values)
    digests = tuple(record.digest for record, _ in found)
    note = f"{counted(runs)}; the interval holds every run"
    return Estimate(mean, min(*values, mean), max(*values, mean), digests, len(runs), note)


def accuracy(record: Record) -> float | None:
    """Training accuracy."""
    return record.last.get("train_accuracy")


def weights_share(record: Record) -> float | None:
    """Weights in multiples of ``2n + d``, n the number of distinct points."""
    if "weights" not in record.last:
        return None
    points = size(record) - record.last["merged"]
    return record.last["weights"] / (2 * points + record.last["features"])


def smallest_eigenvalue(record: Record) -> float | None:
    """Of Lemma 1's matrix."""
    return record.last.get("smallest_eigenvalue")


def _equals(source: str, quantity: str, published: float, runs: Runs, number: Number, unit: str = "1") -> Claim:
    """The number that a theorem fixes, without tolerance but for rounding; a run that diverged speaks against it."""

    def holds(records: Records) -> bool | None:
        estimate = always(runs(records), number)
        if estimate is None or estimate.low is None or estimate.high is None:
            return None
        broken = any(record.status is Status.DIVERGED for record in runs(records))
        return not broken and max(published - estimate.low, estimate.high - published) <= EXACT

    return Claim(
        source=source,
        quantity=quantity,
        published=published,
        tolerance=EXACT,
        unit=unit,
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: always(runs(records), number),
        effect=Effect(f"{published:g} in every run", holds),
    )


def _bounded(
    source: str,
    quantity: str,
    provenance: Provenance,
    runs: Runs,
    number: Number,
    statement: str,
    within: Callable[[float], bool],
) -> Claim:
    """What is stated without a number, and can only be seen to hold in every run."""

    def holds(records: Records) -> bool | None:
        estimate = always(runs(records), number)
        if estimate is None or estimate.low is None or estimate.high is None:
            return None
        return within(estimate.low) and within(estimate.high)

    return Claim(
        source=source,
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit="",
        provenance=provenance,
        data="cifar10",
        estimate=lambda records: always(runs(records), number),
        effect=Effect(statement, holds),
    )


def every_two_layers(records: Records) -> list[Record]:
    """Every network of Theorem 1, on random and on true labels."""
    return [record for labels in ("random_labels", "true_labels") for record in two_layers(records, labels)]


def largest_random(records: Records) -> list[Record]:
    """Those of them on random labels of the most points."""
    runs = two_layers(records, "random_labels")
    return [record for record in runs if size(record) == largest_size(runs)]


def _depth_claims(depth: int) -> list[Claim]:
    def runs(records: Records) -> list[Record]:
        return deep(records, depth)

    source = f"Corollary 1, depth {depth}"
    return [
        _equals(source, "training accuracy, random labels", 1.0, runs, accuracy),
        _bounded(
            source,
            "width in multiples of n/k",
            "Q-text",
            runs,
            width_share,
            f"at most {WIDTH_FACTOR} n/k in every run",
            lambda value: value <= WIDTH_FACTOR,
        ),
        _bounded(
            source,
            "weights of the graph in multiples of n + d",
            "Q-note",
            runs,
            connections_share,
            f"at most {WEIGHTS_FACTOR} (n + d) in every run",
            lambda value: value <= WEIGHTS_FACTOR,
        ),
    ]


def claims() -> tuple[Claim, ...]:
    """What the theorem, its lemma and its corollary say, each as a number."""
    fitted = [
        _equals(f"Theorem 1, {words}", "training accuracy", 1.0, partial(two_layers, labels=labels), accuracy)
        for labels, words in (("random_labels", "random labels"), ("true_labels", "true labels"))
    ]
    guessed = Claim(
        source="Random labels",
        quantity="test accuracy of the largest network",
        published=0.1,
        tolerance=CHANCE_BAND,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: accuracy_of(largest_random(records), "test_accuracy"),
        effect=chance_effect(largest_random),
    )
    return (
        *fitted,
        _equals("Theorem 1", "weights in multiples of 2n + d", 1.0, every_two_layers, weights_share, unit=""),
        _bounded(
            "Lemma 1",
            "smallest eigenvalue, min (z - b)",
            "Q-note",
            every_two_layers,
            smallest_eigenvalue,
            "positive in every run, so the matrix has full rank",
            lambda value: value > 0,
        ),
        *(claim for depth in DEPTHS for claim in _depth_claims(depth)),
        guessed,
    )

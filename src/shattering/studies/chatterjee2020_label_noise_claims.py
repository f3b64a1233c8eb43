"""The findings of Chatterjee (2020) on label noise as claims: who is learned first, who leads, what is known by then.

The paper's numbers are in figures that could not be read; what it states in words is judged.
"""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record, Row
from shattering.core.study import Claim, Effect, Estimate, Records, label_level
from shattering.measures.label_noise import (
    CORRUPT_ACCURACY,
    PRISTINE_ACCURACY,
    peak,
    proper_accuracy,
    time_to_accuracy,
)
from shattering.measures.step_share import with_step_shares
from shattering.studies.chatterjee2020 import (
    all_hold,
    at_level,
    classes,
    lies_above,
    lies_below,
    mean_of,
    own_proper_accuracy,
    rises,
    steps_to,
    time_ratio_of,
)

OfRun = Callable[[Record], float | None]
Number = Callable[[Row], float | None]
"""A number of a run, and of one of its snapshots; none where it is not told."""

SOURCE = "MNIST with label noise"
MIXED = (0.25, 0.5, 0.75)
"""Levels at which there are both pristine and corrupt examples in number."""

HALF = 0.5
NEAR = 0.1
"""Accuracies this close count as near."""


GRADIENTS = {"step_": "gradient of a mini-batch", "": "whole gradient"}
"""Whose shares: what a step is made with, and what all examples together would make it with."""


def early(record: Record, number: Number) -> float | None:
    """Mean of a snapshot's number from the first update until half of the pristine examples are fitted, if ever."""
    half = time_to_accuracy(record, HALF, PRISTINE_ACCURACY)
    if half is None or half.censored:
        return None
    return _mean(record, number, lambda row: 0 < row["step"] <= max(1, half.steps))


def late(record: Record, number: Number) -> float | None:
    """Mean of a snapshot's number since training accuracy first exceeded the proper accuracy; none if it never did.

    What is left to fit then are corrupt examples.
    """
    proper = own_proper_accuracy(record)
    steps, accuracies = record.trajectory("train_accuracy")
    beyond = [step for step, value in zip(steps, accuracies, strict=True) if proper is not None and value > proper]
    return _mean(record, number, lambda row: row["step"] >= beyond[0]) if beyond else None


def _mean(record: Record, number: Number, wanted: Callable[[Row], bool]) -> float | None:
    found = [value for row in with_step_shares(record).rows if wanted(row) and (value := number(row)) is not None]
    return sum(found) / len(found) if found else None


def share(gradient: str, group: str = "pristine") -> Number:
    """f_p or f_c of a snapshot."""
    return lambda row: float(row[name]) if (name := f"{gradient}{group}_share") in row else None


def excess(gradient: str) -> Number:
    """How far f_p of a snapshot lies from its expectation where tags are permuted.

    For the gradient of a mini-batch that is the fraction of pristine examples; for the whole gradient, the middle of
    the permutations that were made.
    """

    def beyond(row: Row) -> float | None:
        names = ("pristine_fraction",) if gradient else ("null_share_low", "null_share_high")
        value = share(gradient)(row)
        return None if value is None or names[0] not in row else value - sum(row[name] for name in names) / len(names)

    return beyond


def _claim(quantity: str, estimate: OfRun | None, level: float | None, effect: Effect, **others: object) -> Claim:
    """A finding that the paper states without a number; ``estimate`` is a number of each run at the level."""

    def mean(records: Records) -> Estimate | None:
        return mean_of(at_level(records, level), estimate) if estimate else None

    return Claim(
        source=SOURCE if level is None else f"{SOURCE}, {level:.0%}",
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit=str(others.get("unit", "1")),
        provenance="Q-note",
        data="mnist",
        estimate=others.get("of", mean),  # type: ignore[arg-type]
        effect=effect,
    )


def pace_claim(accuracy: float) -> Claim:
    """More noise, more steps to any given training accuracy."""

    def ratio(records: Records) -> Estimate | None:
        names = ("train_accuracy", "train_accuracy")
        return time_ratio_of(at_level(records, 1.0), at_level(records, 0.0), accuracy, names=names)

    statement = (
        f"steps to {accuracy:.0%} training accuracy grow with the noise (rank correlation, permutation p ≤ 0.05)"
    )
    effect = Effect(statement, lambda records: rises(records, lambda run: label_level(run.spec), steps_to(accuracy)))
    return _claim(
        f"steps to {accuracy:.0%} training accuracy, all noise / none", None, None, effect, unit="x", of=ratio
    )


def order_claim(level: float) -> Claim:
    """Corrupt examples beside pristine ones of the same run; where all labels are random they must not differ."""

    def ratio(records: Records) -> Estimate | None:
        runs = at_level(records, level)
        return time_ratio_of(runs, runs, HALF, names=(CORRUPT_ACCURACY, PRISTINE_ACCURACY))

    def level_pace(records: Records) -> bool | None:
        found = ratio(records)
        return None if found is None or found.low is None or found.high is None else found.low <= 1 <= found.high

    effect = (
        Effect("the few labels right by chance are fitted neither sooner nor later (interval holds 1)", level_pace)
        if level == 1
        else Effect("corrupt examples take longer (interval above 1)", lambda records: lies_above(ratio(records), 1.0))
    )
    return _claim("steps to fit half: corrupt / pristine", None, level, effect, unit="x", of=ratio)


def neighbour_claim(name: str, other: float) -> Claim:
    """At half noise each group keeps nearly the pace it has alone."""
    group = "pristine" if name == PRISTINE_ACCURACY else "corrupt"

    def ratio(records: Records) -> Estimate | None:
        theirs = name if other else "train_accuracy"
        return time_ratio_of(at_level(records, 0.5), at_level(records, other), HALF, names=(name, theirs))

    effect = (
        Effect("at least half as many (interval above 1/2)", lambda records: lies_above(ratio(records), 0.5))
        if other
        else Effect("at most twice as many (interval below 2)", lambda records: lies_below(ratio(records), 2.0))
    )
    quantity = f"steps to fit half of the {group} examples, at 50% / at {other:.0%} noise"
    return _claim(quantity, None, 0.5, effect, unit="x", of=ratio)


def early_claim(level: float, gradient: str) -> Claim:
    """Pristine examples dominate early, even as a minority."""

    def holds(records: Records) -> bool | None:
        runs = at_level(records, level)
        found, beyond = (mean_of(runs, lambda run, of=of: early(run, of)) for of in (share(gradient), excess(gradient)))  # type: ignore[misc]
        return all_hold(lies_above(found, HALF), lies_above(beyond, 0.0))

    statement = "above one half, and above what permuted tags give (intervals of both means)"
    quantity = f"share of pristine examples in the {GRADIENTS[gradient]}, until half of them are fitted"
    return _claim(quantity, lambda run: early(run, share(gradient)), level, Effect(statement, holds))


def takeover_claim(level: float, gradient: str) -> Claim:
    """Corrupt examples take over late."""

    def number(record: Record) -> float | None:
        return late(record, share(gradient, "corrupt"))

    effect = Effect(
        "above one half (interval)", lambda records: lies_above(mean_of(at_level(records, level), number), HALF)
    )
    quantity = f"share of corrupt examples in the {GRADIENTS[gradient]}, beyond the proper accuracy"
    return _claim(quantity, number, level, effect)


def null_claim(gradient: str) -> Claim:
    """Where all labels are random the tags mean nothing, and the measure must not find otherwise."""

    def number(record: Record) -> float | None:
        return early(record, excess(gradient))

    def holds(records: Records) -> bool | None:
        found = mean_of(at_level(records, 1.0), number)
        return None if found is None or found.low is None or found.high is None else found.low <= 0 <= found.high

    statement = "none: the labels right by chance contribute their number (interval holds 0)"
    quantity = f"share of pristine examples in the {GRADIENTS[gradient]}, less that of permuted tags, early"
    return _claim(quantity, number, 1.0, Effect(statement, holds))


def proper_claim(level: float) -> Claim:
    """Training accuracy passes through the proper accuracy before memorisation."""

    def at_peak(record: Record) -> float | None:
        best = peak(record)
        return best.train_accuracy if best else None

    def memorised(record: Record) -> float | None:
        best = peak(record)
        return best.corrupt_accuracy if best else None

    def holds(records: Records) -> bool | None:
        runs, count = at_level(records, level), classes(records)
        if not count:
            return None
        found, proper = mean_of(runs, at_peak), proper_accuracy(level, count)
        near = all_hold(lies_above(found, proper - NEAR), lies_below(found, proper + NEAR))
        return all_hold(near, lies_below(mean_of(runs, memorised), 1 / count + NEAR))

    statement = "within 10 points of the proper accuracy, with corrupt examples less than 10 points above chance"
    return _claim("training accuracy where test accuracy is best", at_peak, level, Effect(statement, holds))


CLAIMS = (
    *(pace_claim(accuracy) for accuracy in (0.5, 0.9)),
    *(order_claim(level) for level in (*MIXED, 1.0)),
    neighbour_claim(PRISTINE_ACCURACY, 0.0),
    neighbour_claim(CORRUPT_ACCURACY, 1.0),
    *(early_claim(level, gradient) for gradient in GRADIENTS for level in MIXED),
    *(takeover_claim(level, gradient) for gradient in GRADIENTS for level in MIXED),
    *(null_claim(gradient) for gradient in GRADIENTS),
    *(proper_claim(level) for level in MIXED),
)

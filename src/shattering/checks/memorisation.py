"""What does it memorise? Examples that are right only where they were trained on, and the test examples they help."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shattering.checks.memorisation_exhibits import Help, chart, gallery, helped_by, table, taken_for
from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.subset_runs import FRACTION, subset_runs
from shattering.core.finding import Answer, Exhibit, Finding
from shattering.core.record import Record
from shattering.measures.memorisation import (
    SubsetOutcomes,
    memorisation,
    subset_outcomes,
)
from shattering.measures.memorised_share import (
    ERRORS_TO_THRESHOLD,
    THRESHOLD,
    mean_memorisation,
    memorised_share,
)
from shattering.theory.subset_estimates import largest_standard_error

NAME, PAPER = "memorisation", "Feldman & Zhang (2020)"
QUESTION = "What does it memorise?"
LEAST, USEFUL = 12, 400
LISTED = 100
FITTED = 0.99
LITTLE = 0.05
"""A share of memorised examples that is no reason to do anything."""

METHOD = (
    "share of trainings that get an example right with it, less without it, over trainings on random subsets of "
    f"{FRACTION:.0%} of the examples, drawn without regard to class ({PAPER})"
)
SUBSETS = (
    f"The estimate is for a network that learns from {FRACTION:.0%} of the examples; from all of them it memorises "
    "somewhat less."
)


def tells(subject: Subject, effort: int) -> str:
    """What so many trainings can say."""
    error = largest_standard_error(max(1, effort), FRACTION)
    told = "can" if ERRORS_TO_THRESHOLD * error <= THRESHOLD else "cannot"
    return (
        f"With {effort} trainings the memorisation of one example is known to about ±{2 * error:.2f} at worst; whether "
        f"it reaches {THRESHOLD:g} {told} be told, its mean over the {len(subject.splits.train):,} examples can."
    )


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """Share and mean of memorised examples, the most memorised of them, and whom they help."""
    records = [record for record in evidence.of(subset_runs(subject, evidence.effort)) if record.tested]
    if len(records) < LEAST:
        return Answer(NAME, QUESTION, (_too_few(evidence, records),))
    outcomes = subset_outcomes(records)
    found = memorisation(outcomes)
    order = np.argsort(np.where(np.isfinite(found.value), -found.value, np.inf), kind="stable")[:LISTED]
    order = order[found.value[order] > 0]
    caveats = [SUBSETS]
    if outcomes.fitted < FITTED:
        caveats.append(
            f"The trainings get only {outcomes.fitted:.1%} of their own examples right: what they did not fit they "
            "could not memorise, and the estimates are too low."
        )
    helped = helped_by(outcomes, order)
    share = _share(outcomes, evidence, records, tuple(caveats))
    mean = _mean(outcomes, evidence, records, tuple(caveats))
    first = (mean, share) if share.value is None else (share, mean)
    findings = (*first, _pairs(outcomes, order, helped, evidence, records, tuple(caveats)))
    looks = taken_for(records, outcomes.index[order])
    exhibits: list[Exhibit] = [gallery(outcomes, found, order, helped, looks)]
    if len(order):
        exhibits.append(table(subject, outcomes, found, order, helped, looks))
    exhibits.append(chart(outcomes))
    return Answer(NAME, QUESTION, tuple(one for one in findings if one is not None), tuple(exhibits))


def _too_few(evidence: Evidence, records: Sequence[Record]) -> Finding:
    return Finding(
        check=NAME,
        name="memorised_share",
        statement=f"What is memorised cannot be told: {len(records)} trainings have ended, and it takes {LEAST}.",
        value=None,
        unit="1",
        low=None,
        high=None,
        n=len(records),
        method=METHOD,
        level="unknown",
        cost=evidence.cost(records),
    )


def _share(
    outcomes: SubsetOutcomes, evidence: Evidence, records: Sequence[Record], caveats: tuple[str, ...]
) -> Finding:
    share, count = memorised_share(outcomes), len(outcomes.index)
    common = {"check": NAME, "name": "memorised_share", "unit": "1", "n": count, "cost": evidence.cost(records)}
    convention = f"The threshold of {THRESHOLD:g} is a convention."
    if not share.resolved:
        needed = math.ceil(0.25 * (ERRORS_TO_THRESHOLD / THRESHOLD) ** 2 / (1 - FRACTION))
        return Finding(
            **common,  # type: ignore[arg-type]
            statement=(
                f"How many examples are memorised cannot be told from {len(outcomes)} trainings: one estimate is off "
                f"by up to ±{2 * share.noise:.2f}, and the threshold is {THRESHOLD:g}; about {needed} would do."
            ),
            value=None,
            low=None,
            high=None,
            method=METHOD,
            caveats=caveats,
            level="unknown",
        )
    return Finding(
        **common,  # type: ignore[arg-type]
        statement=(
            f"{share.value:.1%} of the examples ({share.low:.1%} to {share.high:.1%}) are memorised: the network gets "
            f"them right at least {THRESHOLD:.0%} more often where it was trained on them."
        ),
        value=share.value,
        low=share.low,
        high=share.high,
        method=f"{METHOD}; interval over examples and over {len(outcomes)} trainings drawn again",
        caveats=(*caveats, convention),
        level="good" if share.high <= LITTLE else "note",
    )


def _mean(outcomes: SubsetOutcomes, evidence: Evidence, records: Sequence[Record], caveats: tuple[str, ...]) -> Finding:
    value, low, high = mean_memorisation(outcomes)
    told = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return Finding(
        check=NAME,
        name="mean_memorisation",
        statement=(
            f"Averaged over examples, memorisation is {value:.3f}{told}: so much more often is an example right that "
            "was trained on than one that was not."
        ),
        value=value,
        unit="",
        low=low,
        high=high,
        n=len(outcomes.index),
        method=f"{METHOD}; interval over examples and {len(outcomes)} trainings (delta method)",
        caveats=caveats,
        level="note",
        cost=evidence.cost(records),
    )


def _pairs(
    outcomes: SubsetOutcomes,
    order: NDArray[np.integer],
    helped: list[Help],
    evidence: Evidence,
    records: Sequence[Record],
    caveats: tuple[str, ...],
) -> Finding | None:
    """How many test examples owe it to a memorised example that they are right; none without test examples."""
    tested = len(outcomes.tested_index)
    if not tested or not len(order):
        return None
    distinct = len({index for one in helped for index in one.index})
    return Finding(
        check=NAME,
        name="helped_test_examples",
        statement=(
            f"{distinct} of {tested:,} test examples are right more often because one of the {len(order)} most "
            "memorised examples was trained on."
        ),
        value=distinct / tested,
        unit="1",
        low=None,
        high=None,
        n=tested,
        method=(
            "influence estimated from the same trainings; pairs that Fisher's exact test finds at 5%, after "
            f"Bonferroni's correction for all {len(order) * tested:,} pairs looked at"
        ),
        caveats=(*caveats, "Weaker influences than these trainings can tell from chance are not counted."),
        level="note",
        cost=evidence.cost(records),
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
        rank=30,
    )
)

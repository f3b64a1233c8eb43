"""Feldman & Zhang (2020): the numbers of a fleet of trainings, and what is claimed of them."""

from __future__ import annotations

import math
from typing import Any

from shattering.core.curves import Number, Runs, at_place, estimate, last
from shattering.core.record import Record
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.theory.subset_estimates import squared_error_bound

NEAREST = 0.3
"""Share removed that is nearest to the paper's 32% of ImageNet."""


def noisy(records: Records) -> list[Record]:
    """Fleets on data with flipped labels."""
    return [record for record in records if record.spec.corruption.name != "true_labels"]


def untouched(records: Records) -> list[Record]:
    """Fleets on data without flipped labels."""
    return [record for record in records if record.spec.corruption.name == "true_labels"]


def _without(kind: str, share: float) -> Number:
    return at_place(f"accuracy_without_{kind}", removed=share)


def cost(record: Record) -> float | None:
    """By how much more the test accuracy falls without the most memorised examples than without random ones."""
    random, memorised = _without("random", NEAREST)(record), _without("memorised", NEAREST)(record)
    return None if random is None or memorised is None else random - memorised


def fall(record: Record) -> float | None:
    """By how much the test accuracy falls without the most memorised examples."""
    whole, memorised = _without("memorised", 0.0)(record), _without("memorised", NEAREST)(record)
    return None if whole is None or memorised is None else whole - memorised


def over_bound(record: Record) -> float | None:
    """Mean squared error of the estimates over its bound."""
    found, fields = last("squared_error")(record), record.spec.model.fields
    bound = squared_error_bound(int(fields.get("models", 200)), float(fields.get("fraction", 0.7)))
    return None if found is None else found / bound


def between(
    source: str,
    quantity: str,
    number: Number,
    statement: str,
    *,
    runs: Runs = noisy,
    low: float = -math.inf,
    high: float = math.inf,
    provenance: Provenance = "D",
    data: str = "mnist",
    unit: str = "1",
    published: float | None = None,
    tolerance: float = 0.0,
) -> Claim:
    """A number of a fleet, its mean over fleets; the effect is that its whole interval lies between two bounds."""

    def found(records: Records) -> Estimate | None:
        return estimate(runs(records), number)

    def holds(records: Records) -> bool | None:
        at = found(records)
        if at is None or at.low is None or at.high is None:
            return None
        if low < at.low and at.high < high:
            return True
        return False if at.high <= low or at.low >= high else None

    return Claim(source, quantity, published, tolerance, unit, provenance, data, found, Effect(statement, holds))


MEMORY, REMOVAL = "Definition of memorisation", "Removal of memorised examples"
CONTROL = f"{MEMORY}: control"
IMAGENET: dict[str, Any] = {"provenance": "Q-note", "data": "imagenet"}

CLAIMS = (
    between(MEMORY, "mean memorisation of flipped labels", last("mean_flipped"), "above 0.8", low=0.8, unit=""),
    between(MEMORY, "flipped labels told from clean ones (AUROC)", last("auroc"), "above 0.95", low=0.95, unit=""),
    between(MEMORY, "correlation between halves of the trainings", last("split_half"), "above 0.8", low=0.8, unit=""),
    between(
        REMOVAL,
        "test accuracy without 30% at random less that without the most memorised 30%",
        cost,
        "above zero",
        low=0.0,
        published=0.008,
        tolerance=0.005,
        **IMAGENET,
    ),
    between(
        REMOVAL,
        "fall of test accuracy without the most memorised 30%",
        fall,
        "above zero",
        low=0.0,
        published=0.034,
        tolerance=0.01,
        **IMAGENET,
    ),
    between(
        "Pairs of high influence",
        "helped test examples that have one memorised helper",
        last("unique_helper"),
        "more than half",
        low=0.5,
        published=0.791,  # 1,298 of 1,641
        tolerance=0.05,
        **IMAGENET,
    ),
    between(
        "Error bound of the estimator",
        "mean squared error of the estimates over the bound",
        over_bound,
        "below 1",
        high=1.0,
        provenance="Q-note",
        unit="x",
    ),
    between(
        "Released demonstration on MNIST: few memorised examples",
        "examples with memorisation of at least 0.25, no label flipped",
        at_place("share_clean", threshold=0.25),
        "fewer than 5%",
        runs=untouched,
        high=0.05,
        provenance="Q-auth",
    ),
    between(
        CONTROL,
        "mean memorisation of flipped labels, subsets shuffled among the trainings",
        last("mean_shuffled"),
        "none: within 0.02 of zero",
        low=-0.02,
        high=0.02,
        unit="",
    ),
    between(
        CONTROL,
        "flipped labels told from clean ones (AUROC), subsets shuffled",
        last("shuffled_auroc"),
        "none: between 0.45 and 0.55",
        low=0.45,
        high=0.55,
        unit="",
    ),
    between(
        CONTROL,
        "memorised examples that help test examples, subsets shuffled",
        last("shuffled_pairs"),
        "none: fewer than one pair in two fleets",
        high=0.5,
        unit="pairs",
    ),
    between(
        CONTROL,
        "mean memorisation where no label is flipped",
        last("mean_clean"),
        "below 0.4, half of what is asked of flipped labels",
        runs=untouched,
        high=0.4,
        unit="",
    ),
)

"""Zhang et al. (2017), whole: every row of its four tables is a claim of some study, with the number it has there."""

from __future__ import annotations

from collections import Counter

import pytest

from shattering.core.study import Claim, studies

TRAIN, TEST = "training accuracy", "test accuracy"

TABLE_1 = {
    "Inception, crop, weight decay": (100.0, 89.05),
    "Inception, crop": (100.0, 89.31),
    "Inception, weight decay": (100.0, 86.03),
    "Inception": (100.0, 85.75),
    "Inception, random labels": (100.0, 9.78),
    "Inception without batch norm, weight decay": (100.0, 83.00),
    "Inception without batch norm": (100.0, 82.00),
    "Inception without batch norm, random labels": (100.0, 10.12),
    "Alexnet, crop, weight decay": (99.90, 81.22),
    "Alexnet, crop": (99.82, 79.66),
    "Alexnet, weight decay": (100.0, 77.36),
    "Alexnet": (100.0, 76.07),
    "Alexnet, random labels": (99.82, 9.86),
    "MLP 3x512, weight decay": (100.0, 53.35),
    "MLP 3x512": (100.0, 52.39),
    "MLP 3x512, random labels": (100.0, 10.48),
    "MLP 1x512, weight decay": (99.80, 50.39),
    "MLP 1x512": (100.0, 50.51),
    "MLP 1x512, random labels": (99.34, 10.61),
}
"""Training and test accuracy in percent."""

TABLE_2 = {
    "augmentation, dropout, weight decay": (92.18, 77.84, 93.92),
    "augmentation": (92.33, 72.95, 90.43),
    "weight decay": (90.60, 67.18, 72.57, 86.44),
    "no regulariser": (99.53, 59.80, 63.16, 80.38),
    "Krizhevsky et al. (2012)": (3.22,),
    "random labels, dropout, weight decay": (90.0,),
    "random labels, weight decay": (),
    "random labels, no regulariser": (95.20,),
}
"""Accuracies in percent, top-1 training, top-1 test (also the best on the way) and top-5 test, as far as they are known
from more than memory; of the earlier network, which has 83.6, its lead over 80.38."""

TABLE_3 = (1.2, 0.6, 46.0, 17.0, 15.0)
"""Test errors of kernel machines in percent: MNIST pixels and wavelets, CIFAR-10 pixels, random filters, with l2."""

TABLE_4 = {
    "Inception, weight decay": 100.0,
    "Alexnet, weight decay": None,
    "MLP 3x512, weight decay": 100.0,
    "MLP 1x512, weight decay": 99.21,
    "Inception, random crop": 99.93,
    "Inception, full augmentation": 99.28,
}
"""Training accuracy on random labels in percent; none where training failed to converge."""


def claims_of(part: str) -> list[Claim]:
    """The claims of every study of the paper whose source begins with ``part``."""
    mine = [study for name, study in studies if name.startswith("zhang2017")]
    assert len({study.paper for study in mine}) == 1
    return [claim for study in mine for claim in study.claims if claim.source.startswith(part)]


def percent(claim: Claim) -> float | None:
    return None if claim.published is None else round(100 * claim.published, 4)


def test_table_1_is_claimed_row_by_row() -> None:
    found = {(claim.source, claim.quantity): percent(claim) for claim in claims_of("Table 1")}

    wanted = {}
    for row, (train, test) in TABLE_1.items():
        wanted[f"Table 1: {row}", TRAIN], wanted[f"Table 1: {row}", TEST] = train, test
    assert len(TABLE_1) == 19
    assert found == wanted


def test_table_2_is_claimed_row_by_row() -> None:
    claims = claims_of("Table 2")

    for row, wanted in TABLE_2.items():
        found = [percent(claim) for claim in claims if claim.source == f"Table 2: {row}"]
        assert found, row
        assert set(wanted) <= set(found), row
    assert {claim.data for claim in claims} == {"imagenet"}


def test_table_3_is_claimed_row_by_row() -> None:
    claims = claims_of("Table 3")

    assert not Counter(TABLE_3) - Counter(percent(claim) for claim in claims)
    assert {claim.data for claim in claims} == {"mnist", "cifar10"}


def test_table_4_is_claimed_row_by_row() -> None:
    found = {(claim.source, claim.quantity): percent(claim) for claim in claims_of("Table 4")}

    assert len(TABLE_4) == 6
    assert found == {(f"Table 4: {row}", TRAIN): train for row, train in TABLE_4.items()}


@pytest.mark.parametrize(
    ("part", "quantities"),
    [
        ("Figure 1a", ("training accuracy, random labels", "time to fit gaussian / random labels")),
        ("Figure 1b", ("slowdown at p = 1", "slowdown at p = 1, within the axis")),
        ("Figure 1c", ("test error at p = 0", "test error at p = 1")),
        (
            "Section 2.1",
            ("time to start fitting gaussian / random labels", "training accuracy, partly corrupted labels"),
        ),
        ("Section 3", ("test accuracy: random crop less weight decay",)),
        ("Section 3, Figure 2b", ("gain of batch norm in test accuracy", "gain of early stopping in test accuracy")),
    ],
)
def test_figures_and_statements_are_claimed(part: str, quantities: tuple[str, ...]) -> None:
    assert set(quantities) <= {claim.quantity for claim in claims_of(part)}


def test_numbers_that_follow_from_the_tables_follow_from_them() -> None:
    printed = {(claim.source, claim.quantity): claim.published for claim in claims_of("Table 1")}
    nets = {"inception": "Inception", "alexnet": "Alexnet", "mlp_1x512": "MLP 1x512"}
    derived = [claim for claim in claims_of("") if claim.provenance == "D" and claim.quantity.startswith("test")]

    seen = set()
    for claim in derived:
        name = nets[claim.source.rpartition(": ")[2]]
        test = {
            row.removeprefix(name): value
            for (source, column), value in printed.items()
            if (row := source.removeprefix("Table 1: ")).startswith(name) and column == TEST
        }
        wanted = {
            "test error at p = 0": 1 - test[""],
            "test accuracy: random crop less weight decay": test.get(", crop", 0) - test[", weight decay"],
            "test accuracy: both regularisers less none": test.get(", crop, weight decay", 0) - test[""],
        }
        assert claim.published == pytest.approx(wanted[claim.quantity]), claim.source
        seen.add((name, claim.quantity))
    assert len(seen) == 3 + 2 + 2

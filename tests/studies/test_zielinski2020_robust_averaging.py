"""Zielinski et al. (2020) on medians of means: what is compared, and verdicts that follow the records."""

from __future__ import annotations

import pytest
from noisy_records import noisy_record, verdicts

from shattering.core.study import studies
from shattering.studies.zielinski2020_pictures import value_at_loss

STUDY = studies.get("zielinski2020-robust-averaging")


def run(spec, corrupt, test):
    """A run whose test accuracy rises, then falls to ``test`` while ``corrupt`` of the wrong labels are fitted."""
    wobble = 0.004 * spec.seed
    ends = ((0.1, 0.1, 0.1), (0.9, 0.05, 0.9), (1.0, corrupt - wobble, test - wobble))
    rows = [
        {"step": 10**place, "unchanged_train_accuracy": a, "changed_train_accuracy": b, "test_accuracy": c}
        for place, (a, b, c) in enumerate(ends)
    ]
    return noisy_record(spec, rows)


@pytest.fixture
def specs(request_for):
    return STUDY.specs(request_for("mnist", "small"))


def test_methods_are_compared_all_else_equal(specs) -> None:
    by_method: dict[str, set[str]] = {}
    for spec in specs:
        plain = spec.model_copy(update={"training": spec.training.model_copy(update={"gradient": "mean"})})
        by_method.setdefault(spec.training.gradient, set()).add(plain.digest)

    assert set(by_method) == {"mean", "median_of_means", "rolling_median"}
    assert len(set(map(frozenset, by_method.values()))) == 1
    assert len(by_method["mean"]) == 4 * 5


def test_less_memorisation_is_seen(specs) -> None:
    records = [run(s, 1.0, 0.5) if s.training.gradient == "mean" else run(s, 0.2, 0.85) for s in specs]

    assert set(verdicts(STUDY, records).values()) == {"effect reproduced"}


def test_no_difference_is_told(specs) -> None:
    found = verdicts(STUDY, [run(spec, 1.0, 0.5) for spec in specs])

    assert set(found.values()) == {"effect not reproduced"}


def test_values_at_a_loss_are_linear_between_snapshots(specs) -> None:
    record = run(specs[0], 1.0, 0.5)
    losses, tests = (record.trajectory(name)[1] for name in ("train_loss", "test_accuracy"))

    assert value_at_loss(record, "test_accuracy", losses[1]) == pytest.approx(tests[1])
    assert value_at_loss(record, "test_accuracy", (losses[0] + losses[1]) / 2) == pytest.approx(
        (tests[0] + tests[1]) / 2
    )
    assert value_at_loss(record, "test_accuracy", losses[0] + 1) == tests[0]
    assert value_at_loss(record, "test_accuracy", -1.0) is None

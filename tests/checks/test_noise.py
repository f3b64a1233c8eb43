"""How easily noise is fitted: ratios, bounds where runs were stopped, and how much noise fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audited import evidence, subject, without_outcome

from shattering.checks.noise import PATIENCE, SEEDS_A_LADDER, conditions, run
from shattering.checks.registry import Subject, checks
from shattering.core.finding import Finding
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.data.dataset import Splits

CHECK = checks.get("noise")
STEPS = {"true_labels": 10, "random_labels": 40}


def made(spec: RunSpec, steps: int | None) -> Record:
    """A run that fitted after so many updates, or never."""
    made = steps or spec.training.max_steps
    rows = tuple({"step": step, "epoch": float(step), "train_accuracy": step / made} for step in (0, made))
    summary = {"steps": made, "steps_to_fit": steps, "epochs_to_fit": steps and float(steps)}
    status = Status.DONE if steps else Status.NOT_FITTED
    return Record(spec, status, rows, summary, provenance={"seconds": 0.1})


def found(who: Subject, records: list[Record], effort: int) -> dict[str, Finding]:
    return {each.name: each for each in CHECK.answer(who, evidence(records, effort)).findings}


def test_images_are_shuffled_and_replaced_and_rows_are_not() -> None:
    assert list(conditions(subject("table"))) == ["random_labels"]
    assert list(conditions(subject("digits"))) == ["random_labels", "shuffled_pixels", "random_pixels", "gaussian"]


def test_the_ratio_and_its_counts() -> None:
    who = subject("table")
    records = [made(spec, STEPS[spec.corruption.name] + spec.seed) for spec in CHECK.design(who, 3)]

    slow = found(who, records, 3)["random_labels_slowdown"]

    assert slow.value == pytest.approx((41 * 42 * 43 / (11 * 12 * 13)) ** (1 / 3))
    assert slow.low is not None and slow.low < slow.value < (slow.high or 0)
    assert "3.5 times as many updates" in slow.statement
    assert "3 of 3 runs fitted" in slow.statement


def test_runs_that_were_stopped_are_bounds_and_are_counted() -> None:
    who = subject("table")
    specs = CHECK.design(who, 3)
    records = [made(spec, 4 if spec.corruption.name == "true_labels" else None) for spec in specs]

    names = found(who, records, 3)

    assert names["random_labels_slowdown"].value == pytest.approx(specs[0].training.max_steps / 4)
    assert names["random_labels_slowdown"].low is None
    assert "0 of 3 runs fitted; 3 not fitted" in names["random_labels_slowdown"].statement
    assert "not fit random labels on even 10 examples" in names["random_labels_capacity"].statement
    assert names["random_labels_capacity"].value is None


def test_some_fitted_some_diverged_some_missing() -> None:
    who = subject("table")
    records = []
    for spec in CHECK.design(who, 5):
        if spec.corruption.name == "random_labels" and spec.seed == 2:
            continue
        record = made(spec, STEPS[spec.corruption.name])
        lost = spec.corruption.name == "random_labels" and spec.seed == 4
        records.append(without_outcome(record, Status.DIVERGED) if lost else record)

    slow = found(who, records, 5)["random_labels_slowdown"]

    assert slow.n == 3
    assert "3 of 5 runs fitted; 1 diverged, 1 failed or not ended" in slow.statement


@pytest.mark.parametrize(("largest", "value"), [(40, 40.0), (20, 20.0), (10, 10.0)])
def test_capacity_is_the_largest_part_that_most_runs_fit(largest: int, value: float) -> None:
    who = subject("table")
    records = []
    for spec in CHECK.design(who, 3):
        fits = spec.corruption.name == "true_labels" or (spec.data.train_size or 40) <= largest
        records.append(made(spec, 5 if fits else None))

    capacity = found(who, records, 3)["random_labels_capacity"]

    assert capacity.value == value
    assert f"{largest} examples" in capacity.statement


def test_budgets_follow_the_pilot() -> None:
    who = subject("table", max_steps=400, fit_accuracy=0.7)
    assert who.pilot is not None
    steps = int(who.pilot.summary["steps"])

    assert run(who, "random_labels", 1).training.max_steps == min(400, PATIENCE * steps)
    small = run(who, "random_labels", 1, 4)
    assert (small.data.train_size, small.training.batch_size <= 10) == (10, True)
    ladders = [spec for spec in CHECK.design(who, 2 * SEEDS_A_LADDER) if spec.data.train_size]
    assert {spec.seed for spec in ladders} == {1, 2}


def test_three_examples_have_no_smaller_parts() -> None:
    whole = subject("table")
    few = replace(whole, splits=Splits(whole.splits.train.take(np.array([0, 1, 4])), whole.splits.test))
    told = found(few, [made(spec, 10) for spec in CHECK.design(few, SEEDS_A_LADDER)], SEEDS_A_LADDER)
    assert told["random_labels_capacity"].value == 3

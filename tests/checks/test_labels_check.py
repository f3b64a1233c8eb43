"""What an audit says of labels: on digits with planted noise, and on digits as they are."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from shattering.checks.labels import LEAST, answer, check, why_not
from shattering.checks.registry import Evidence, Subject
from shattering.checks.subset_runs import subset_runs
from shattering.core.finding import Answer, Gallery, Table
from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Splits
from shattering.execution.run import execute
from tiny_runs import digits, tiny_spec

COUNT, RUNS = 400, 8


@functools.cache
def audited(p: float) -> tuple[Answer, np.ndarray, Subject]:
    """The answer about 400 digits of which so many are labelled wrong, and which."""
    whole = digits()
    splits = Splits(whole.train.take(np.arange(COUNT)), whole.test.take(np.arange(20)))
    noise = CorruptionSpec(name="wrong_labels", fields={"p": p})
    noisy = corrupt(splits, RunSpec(corruption=noise, seed=1)).train
    train = replace(
        splits.train, labels=noisy.labels, original_labels=noisy.labels, source_indices=None, source_size=COUNT
    )
    base = tiny_spec(
        data__train_size=None,
        data__test_size=None,
        data__whiten=False,
        model__fields__width=32,
        training__max_steps=60,
        training__learning_rate=0.1,
        measures__every_epochs=3,
    )
    subject = Subject(base, Splits(train, splits.test))
    records = [execute(spec, subject.splits)[0] for spec in check.design(subject, RUNS)]
    return answer(subject, Evidence({one.digest: one for one in records}, RUNS)), noisy.changed, subject


def test_planted_errors_are_found_and_counted() -> None:
    found, changed, _ = audited(0.25)
    rate, wrong = found.findings[:2]

    assert (rate.name, rate.level) == ("label_noise_rate", "warning")
    assert rate.low is not None and rate.high is not None and rate.value is not None and wrong.value is not None
    assert rate.low <= changed.mean() <= rate.high
    assert abs(rate.value - changed.mean()) < 0.06
    table = next(one for one in found.exhibits if isinstance(one, Table) and one.name == "suspicious_labels")
    listed = np.array([row[0] for row in table.rows], dtype=int)
    assert len(set(listed)) == len(listed)
    assert changed[listed[: int(wrong.value)]].mean() > 0.7
    assert changed[listed[: int(changed.sum())]].mean() > 3 * changed.mean()
    gallery = next(one for one in found.exhibits if isinstance(one, Gallery))
    assert [shown.index for shown in gallery.examples] == listed[:24].tolist()
    assert all(shown.label != shown.suggestion for shown in gallery.examples)


def test_clean_labels_are_called_so() -> None:
    found, _, _ = audited(0.0)
    rate, wrong = found.findings[:2]

    assert rate.low == 0
    assert rate.level == "good"
    assert "no sign" in rate.statement
    assert (wrong.value, wrong.level) == (0, "good")


def test_too_few_trainings_are_said_to_be() -> None:
    _, _, subject = audited(0.0)

    found = answer(subject, Evidence({}, LEAST))

    assert [finding.level for finding in found.findings] == ["unknown"]
    assert not found.exhibits


def test_subset_runs_are_nested_and_leave_out_the_rest() -> None:
    _, _, subject = audited(0.0)
    few, many = subset_runs(subject, 3), subset_runs(subject, 9)

    assert many[:3] == few
    assert [spec.seed for spec in many] == list(range(1, 10))
    assert {spec.data.train_size for spec in many} == {round(0.7 * COUNT)}
    assert {spec.data.tested_on for spec in many} == {"both"}
    assert not subset_runs(subject, 0)


@pytest.mark.parametrize(("examples", "asked"), [(COUNT, True), (20, False)])
def test_small_data_are_declined(examples: int, asked: bool) -> None:
    _, _, subject = audited(0.0)
    splits = Splits(subject.splits.train.take(np.arange(examples)), subject.splits.test)

    assert (why_not(replace(subject, splits=splits)) is None) == asked

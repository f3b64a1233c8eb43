"""What an audit says of labels: on digits with planted noise, and on digits as they are."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from shattering.checks.labels import LEAST, answer, check, tells, why_not
from shattering.checks.registry import Evidence, Subject
from shattering.checks.subset_runs import subset_runs
from shattering.core.finding import Answer, Chart, Gallery, Table
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


def test_few_predictions_are_said_to_make_the_expected_share_too_high(monkeypatch) -> None:
    found, _, subject = audited(0.25)
    wrong, clean = found.findings[1], audited(0.0)[0].findings[1]

    told = "from 2 held-out predictions each (the median); with fewer than ten this share tends to be too high"
    assert told in wrong.caveats[0]
    assert not [caveat for caveat in clean.caveats if "too high" in caveat and "held-out" in caveat]  # no share is told
    monkeypatch.setattr("shattering.checks.labels.FEW_PREDICTIONS", 2)
    records = [execute(spec, subject.splits)[0] for spec in check.design(subject, RUNS)]
    enough = answer(subject, Evidence({one.digest: one for one in records}, RUNS)).findings[1]
    assert enough.caveats == wrong.caveats[1:]


def test_what_stands_over_the_table_and_below_the_chart_is_true_of_them() -> None:
    found, _, _ = audited(0.0)
    table = next(one for one in found.exhibits if isinstance(one, Table) and one.name == "suspicious_labels")
    chart = next(one for one in found.exhibits if isinstance(one, Chart))

    looked_at = "" if len(table.rows) == COUNT else " that could be looked at"
    assert table.title == f"All {len(table.rows)} labels{looked_at}, worst first"
    assert "log-odds" not in table.reading
    assert "the probability of being wrong comes from the fitted noise channel" in table.reading
    kinds = {column.title: column.kind for column in table.columns}
    assert kinds["wrong with probability"] == kinds["of the suggested one"] == "probability"
    assert f"Where the curve “{chart.points[0].series}” falls" in chart.reading
    assert {point.low for point in chart.points} == {None}
    assert "no intervals" in chart.reading


@pytest.mark.parametrize(
    ("runs", "told"),
    [(8, "5.8% of the 400 labels with none"), (200, "most likely each of the 400 labels with at least one")],
)
def test_the_plan_says_how_many_labels_are_not_looked_at(runs: int, told: str) -> None:
    assert told in tells(audited(0.0)[2], runs)


def test_shares_that_are_estimated_are_never_quite_sure() -> None:
    for p in (0.0, 0.25):
        found = audited(p)[0]
        gallery = next(one for one in found.exhibits if isinstance(one, Gallery))
        for text in (*(shown.caption for shown in gallery.examples), found.findings[1].statement):
            assert "0.000%" not in text
            assert " 0.0%" not in text
            assert "(0.0%" not in text


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

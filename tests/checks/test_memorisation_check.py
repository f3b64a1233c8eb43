"""What an audit says of memorisation, from trainings made up around examples that are memorised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shattering.checks.memorisation import LEAST, answer, check, tells
from shattering.checks.registry import Evidence, Subject
from shattering.core.finding import Chart, Gallery, Table
from shattering.core.record import Status
from shattering.data.dataset import Splits
from shattering.measures.memorised_share import THRESHOLD
from subset_records import subset_record
from tiny_runs import digits, tiny_spec

COUNT, TESTED = 100, 40
PLANTED = {3: 5, 50: 6}
"""Examples that are right only where they were trained on, and the test example that each helps."""


@pytest.fixture
def subject():
    whole = digits()
    splits = Splits(whole.train.take(np.arange(COUNT)), whole.test.take(np.arange(TESTED)))
    return Subject(tiny_spec(data__train_size=None, data__test_size=None), splits)


@pytest.fixture
def evidence(subject):
    """So many trainings that get everything right but the planted examples where they were left out."""

    def build(runs: int, *, fitted: float = 1.0, planted=PLANTED, slightly: int | None = None) -> Evidence:
        labels, test_labels = subject.splits.train.labels, subject.splits.test.labels
        by_digest = {}
        for spec in check.design(subject, runs):
            draw = np.random.default_rng(spec.seed)
            subset = np.sort(draw.permutation(COUNT)[: spec.data.train_size])
            said, test_said = labels.copy(), test_labels.copy()
            if slightly is not None and slightly not in subset and spec.seed % 8 == 0:
                said[slightly] = (labels[slightly] + 1) % 10
            for example, tested in planted.items():
                if example not in subset:
                    said[example] = (labels[example] + 1) % 10
                    test_said[tested] = (test_labels[tested] + 1) % 10
            missed = subset[draw.random(len(subset)) > fitted]
            said[missed] = (labels[missed] + 2) % 10
            record = subset_record(spec, subset, labels, said, test_labels, test_said, outputs=10)
            by_digest[spec.digest] = replace(record, provenance={"seconds": 0.5})
        return Evidence(by_digest, runs)

    return build


def test_planted_examples_are_shown_with_whom_they_help(subject, evidence) -> None:
    found = answer(subject, evidence(130))

    share, mean, helped = found.findings
    assert share.name == "memorised_share"
    assert share.value == pytest.approx(0.02)
    assert share.low is not None
    assert share.low <= 0.02 <= (share.high or 0)
    assert mean.value == pytest.approx(0.02, abs=1e-9)
    assert helped.value == pytest.approx(2 / TESTED)
    assert (share.cost.runs, share.cost.seconds) == (130, 65.0)
    gallery, table, chart = found.exhibits
    assert isinstance(gallery, Gallery)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    assert {shown.index: shown.related for shown in gallery.examples} == {
        example: (("test", tested),) for example, tested in PLANTED.items()
    }
    labels = subject.splits.train.labels
    assert {shown.index: shown.suggestion for shown in gallery.examples} == {
        example: (labels[example] + 1) % 10 for example in PLANTED
    }
    assert {row[0] for row in table.rows} == set(PLANTED)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [point.y for point in chart.points] == pytest.approx([0.02] * 20)


def test_what_is_right_without_training_on_it_is_not_shown_as_memorised(subject, evidence) -> None:
    gallery, table, chart = answer(subject, evidence(130, slightly=20)).exhibits

    assert isinstance(gallery, Gallery)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    estimates = {row[0]: row[2] for row in table.rows}
    assert 0 < estimates[20] < THRESHOLD
    assert {shown.index for shown in gallery.examples} == set(PLANTED)
    assert "at least 25 percentage points more often" in gallery.reading
    assert "include 0" not in gallery.reading
    assert "95%" not in chart.reading  # which the report says by itself


def test_where_nothing_is_memorised_a_sentence_says_so(subject, evidence) -> None:
    gallery, *_ = answer(subject, evidence(130, planted={}, slightly=20)).exhibits
    nothing, *rest = answer(subject, evidence(130, planted={})).exhibits

    for found in (gallery, nothing):
        assert isinstance(found, Gallery)
        assert not found.examples
        assert found.reading.startswith("No example reaches a memorisation of 0.25")
    assert not [exhibit for exhibit in rest if isinstance(exhibit, Table)]


def test_examples_shown_that_may_be_there_by_luck_are_counted(subject, evidence) -> None:
    gallery, table, _ = answer(subject, evidence(14, slightly=17, planted={})).exhibits

    assert isinstance(gallery, Gallery)
    assert isinstance(table, Table)
    lows = {row[0]: row[3] for row in table.rows}
    unsure = sum(lows[shown.index] <= 0 for shown in gallery.examples)
    assert unsure > 0
    assert f"The intervals of {unsure} of them include 0" in gallery.reading


def test_few_trainings_tell_the_mean_but_not_the_share(subject, evidence) -> None:
    found = answer(subject, evidence(20))

    mean, share = found.findings[:2]  # what can be told comes first
    assert (share.level, share.value) == ("unknown", None)
    assert "20 trainings" in share.statement
    assert mean.value is not None
    assert mean.low is not None
    assert "cannot be told" in tells(subject, 20)
    assert "can be told" in tells(subject, 200)


@pytest.mark.parametrize("runs", [0, 1, LEAST - 1])
def test_too_few_trainings_say_so(subject, evidence, runs) -> None:
    (finding,) = answer(subject, evidence(runs)).findings

    assert finding.level == "unknown"
    assert f"{runs} trainings have ended" in finding.statement


def test_trainings_that_did_not_fit_are_a_caveat(subject, evidence) -> None:
    whole, partly = (answer(subject, evidence(20, fitted=fitted)).findings[0] for fitted in (1.0, 0.8))

    assert len(partly.caveats) == len(whole.caveats) + 1
    assert "could not memorise" in partly.caveats[-1]


def test_failed_trainings_are_left_out(subject, evidence) -> None:
    given = evidence(20)
    broken = {digest: replace(record, status=Status.FAILED) for digest, record in list(given.by_digest.items())[:4]}

    found = answer(subject, Evidence({**given.by_digest, **broken}, 20))

    assert "16 trainings" in found.findings[1].statement


def test_fewer_trainings_are_the_first_of_more(subject) -> None:
    assert check.design(subject, 5) == check.design(subject, 8)[:5]
    assert {spec.data.tested_on for spec in check.design(subject, 3)} == {"both"}

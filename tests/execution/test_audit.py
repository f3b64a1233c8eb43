"""An audit from request to answers: within its budget, resumable, and never without an answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from audit_demo import audit_of_digits, carried_out_here, made_up_check
from shattering.core.errors import SpecError
from shattering.core.finding import Answer
from shattering.core.record import Status
from shattering.execution.audit import foreseen
from shattering.execution.audit_subject import prepare_audit
from shattering.report.audit import audit_findings


def test_a_second_call_computes_nothing_and_says_the_same(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check())

    first = carried_out_here(prepared, tmp_path / "audit")
    again = carried_out_here(prepared, tmp_path / "audit")

    assert first.computed == 5  # the pilot and four repetitions
    assert first.counts["done"] + first.counts["not_fitted"] == 5
    assert first.subject.pilot is not None
    assert first.subject.base.training.max_steps == first.subject.pilot.spec.training.max_steps
    assert again.computed == 0
    assert again.answers == first.answers
    assert [each.effort for each in again.allotments] == [4]
    told = audit_findings(again)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["findings"][0]["value"] == 4.0
    assert told["complete"] is True


def test_an_audit_without_time_still_answers(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check(least=3000, useful=3000), minutes=0.2)

    done = carried_out_here(prepared, tmp_path / "audit")

    (answer,) = done.answers
    assert answer.findings[0].level == "unknown"
    assert "budget" in answer.findings[0].statement
    assert done.computed == 1
    assert not done.out_of_time


def test_a_budget_that_ends_in_mid_run_leaves_the_rest_for_the_next_call(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check(least=2, useful=2))
    late = replace(prepared, began=prepared.began - 60 * prepared.minutes)

    done = carried_out_here(late, tmp_path / "audit")

    assert done.computed == 0
    assert done.answers[0].findings[0].level == "unknown"
    assert carried_out_here(prepared, tmp_path / "audit").computed == 3


def test_nothing_is_trained_to_say_what_would_be_told(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check(), made_up_check("none", least=0, useful=0, rank=0))

    given = foreseen(prepared)  # times a step in a process of its own

    assert [each.check.name for each in given] == ["none", "made_up"]
    assert given[1].effort == 4
    assert not list((tmp_path / "audit" / "runs").glob("*"))


def test_a_check_sees_runs_that_failed_as_missing(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check())
    seen = []

    def answer(subject, evidence) -> Answer:
        seen.append((subject.pilot, evidence.of(made_up_check().design(subject, 9)), evidence.effort))
        return Answer("made_up", "asked?", ())

    carried_out_here(replace(prepared, checks=(replace(made_up_check(), answer=answer),)), tmp_path / "audit")

    pilot, records, effort = seen[-1]
    assert pilot is not None
    assert "prediction" in pilot.tested
    assert len(records) == effort == 4
    assert all(record.status is not Status.FAILED for record in records)


@pytest.mark.parametrize(
    ("others", "identifier"),
    [
        ({"minutes": 0.0}, "audit-budget"),
        ({"names": ("nonsense",)}, "unknown-check"),
        ({"overrides": {"seed": 1}}, "audit-field"),
        ({"overrides": {"corruption.name": "random_labels"}}, "audit-field"),
        ({"jobs": 0}, "jobs-too-few"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(tmp_path, others, identifier) -> None:
    with pytest.raises(SpecError) as caught:
        prepare_audit("mlp_1x512", data="digits", out=tmp_path / "audit", **others)

    assert caught.value.identifier == identifier
    assert not (tmp_path / "audit").exists()


def test_what_is_fitted_at_once_cannot_be_carried_out_here(tmp_path) -> None:
    with pytest.raises(SpecError) as caught:
        prepare_audit("majority_class", data="digits", out=tmp_path / "audit")

    assert caught.value.identifier == "audit-learner"

"""An audit from request to answers: within its budget, resumable, and never without an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit_demo import audit_of_digits, carried_out_here, made_up_check, seeds_of
from shattering.checks.registry import Subject, checks
from shattering.core.errors import ModelError, SpecError
from shattering.core.finding import Answer
from shattering.core.record import Status
from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.execution.audit import Audit, run_audit
from shattering.execution.audit_course import foreseen, pilot_steps
from shattering.execution.audit_subject import names_of, prepare_audit
from shattering.execution.driver import CarryOut, Listener
from shattering.execution.estimate import Speed
from shattering.execution.messages import Ended, Job, Message
from shattering.execution.worker import carry_out
from shattering.report.audit import audit_findings
from shattering.report.audit_terminal import render_audit
from shattering.store.store import Store


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


def shuffled(subject: Subject, count: int) -> list[RunSpec]:
    """Runs of another kind than the pilot."""
    labels = CorruptionSpec(name="permuted_labels")
    return [spec.model_copy(update={"corruption": labels}) for spec in seeds_of(subject, count)]


def taking(seconds: Callable[[RunSpec], float]) -> CarryOut:
    """Trains here and says that it took so long."""

    def carried_out(job: Job, listener: Listener) -> Message:
        done = carry_out(job)
        assert isinstance(done, Ended)
        took = seconds(done.record.spec)
        return replace(done, record=replace(done.record, provenance={**done.record.provenance, "seconds": took}))

    return carried_out


def test_what_seems_too_long_for_the_time_is_tried_before_it_is_refused(tmp_path) -> None:
    check = made_up_check(least=20, useful=20, design=shuffled)
    prepared = audit_of_digits(tmp_path / "audit", check, minutes=10.0)
    seen: list[RunSpec] = []

    def first_is_slow(spec: RunSpec) -> float:
        seen.append(spec)
        return 100.0 if len(seen) == 1 else 0.1

    done = run_audit(prepared, out=tmp_path / "audit", quiet=True, carry_out=taking(first_is_slow))

    assert [each.effort for each in done.allotments] == [20]
    assert done.computed == 21
    assert not done.out_of_time


def test_what_was_tried_in_vain_is_counted_by_every_later_call(tmp_path) -> None:
    check = made_up_check(least=60, useful=60, design=shuffled)
    prepared = audit_of_digits(tmp_path / "audit", check, minutes=10.0)

    def asked_again() -> Audit:
        return run_audit(prepared, out=tmp_path / "audit", quiet=True, carry_out=taking(lambda spec: 40.0))

    first, again = asked_again(), asked_again()

    (finding,) = first.answers[0].findings
    assert finding.statement.startswith("plain asked? Not asked: it needs 60 runs, about ")
    assert (first.computed, again.computed) == (2, 0)
    assert sum(first.counts.values()) == sum(again.counts.values()) == 2
    assert first.answers == again.answers


def test_all_learning_rates_together_keep_to_the_pilots_share(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check(), minutes=0.5)
    plan = replace(prepared.planned.plan, overrides={})
    speed = Speed(fixed_seconds=0.01, example_seconds=0.0, evaluation_seconds=0.0, peak_bytes=0)
    freely = replace(prepared, planned=replace(prepared.planned, plan=plan), speed=speed)

    one, three = (pilot_steps(replace(freely, rates=rates)) for rates in ((0.01,), (0.01, 0.1, 0.001)))

    assert 0.01 * one <= 0.15 * 30
    assert 3 * 0.01 * three <= 0.15 * 30
    assert three > 0.8 * one / 3


def test_a_budget_that_ends_between_two_pilots_answers_from_the_first(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", checks.get("soundness"), minutes=0.5)
    steps = prepared.base.training.model_copy(update={"max_steps": 5})
    base = prepared.base.model_copy(update={"training": steps})
    planned = replace(prepared.planned, plan=replace(prepared.planned.plan, specs=(base,)))
    several = replace(prepared, planned=planned, rates=(1e-4, 1e-5))
    slow = taking(lambda spec: 1.0)

    def until_the_end(job: Job, listener: Listener) -> Message:
        done = slow(job, listener)
        listener.stop.end = 0.0  # type: ignore[attr-defined]
        return done

    done = run_audit(several, out=tmp_path / "audit", quiet=True, carry_out=until_the_end)

    found = audit_findings(done)
    (accuracy,) = [finding for finding in found["findings"] if finding["name"] == "test_accuracy"]
    assert (done.computed, done.untried_rates) == (1, (1e-5,))
    assert accuracy["value"] is not None
    assert any("The budget of 30 s ended before all was done that could be" in note for note in found["notes"])
    assert any("1e-05 could not be tried in time" in note for note in found["notes"])


def test_a_budget_that_ends_before_the_first_pilot_says_so(tmp_path) -> None:
    prepared = audit_of_digits(tmp_path / "audit", checks.get("soundness"), minutes=1 / 6)
    late = replace(prepared, began=prepared.began - 60)

    found = audit_findings(carried_out_here(late, tmp_path / "audit"))

    assert "the audit ended before its first training on the data as they are had" in found["findings"][0]["statement"]
    assert any(note.startswith("The budget of 10 s ended") and "(0" not in note for note in found["notes"])
    assert "No training was made, in" in render_audit(found)


def test_runs_that_ended_before_are_told_when_an_audit_goes_on(tmp_path, capsys) -> None:
    prepared = audit_of_digits(tmp_path / "audit", made_up_check(least=2, useful=4))
    carried_out_here(prepared, tmp_path / "audit")
    store = Store.open(tmp_path / "audit", write=True)
    (state,) = (tmp_path / "audit").glob("reports/*/progress.json")
    kept = json.loads(state.read_text())
    state.write_text(json.dumps({**kept, "complete": False}))
    capsys.readouterr()

    more = replace(prepared, checks=(made_up_check(least=2, useful=9),))
    run_audit(more, out=store.root, carry_out=lambda job, listener: carry_out(job))

    assert "10 runs, 5 finished before." in capsys.readouterr().err


def test_batch_normalisation_is_known_before_anything_is_trained(tmp_path, monkeypatch) -> None:
    (tmp_path / "normalising.py").write_text(NORMALISED)
    monkeypatch.chdir(tmp_path)

    prepared = prepare_audit("normalising.py:build", data="digits", out=tmp_path / "audit", names=("coherence",))

    (coherence,) = foreseen(prepared)
    assert coherence.refused is not None
    assert "2 layers of batch normalisation" in coherence.refused


NORMALISED = """
from torch import nn

def build(input_shape, num_classes):
    layers = nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.BatchNorm1d(8), nn.Linear(8, num_classes)
    return nn.Sequential(*layers)
"""


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


def test_a_file_without_a_function_is_told_what_is_missing(tmp_path) -> None:
    with pytest.raises(ModelError) as caught:
        prepare_audit("m.py", data="digits", out=tmp_path / "audit")

    assert caught.value.identifier == "model-name-malformed"
    assert "FILE.py:FACTORY" in caught.value.message
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("given", ["soundness,signal", ["soundness", "signal"], ["soundness, signal"]])
def test_checks_are_named_in_a_list_or_with_commas(given: str | list[str]) -> None:
    assert names_of(given) == ("soundness", "signal")

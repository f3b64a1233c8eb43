"""The permutation test of an audit: calibrated where there is no signal, powerful where there is, exact in counts."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from audited import evidence, subject, trained, without_outcome

from shattering.checks.registry import Evidence, checks
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "permutation_test.py"
CHECK = checks.get("signal")


@pytest.fixture
def audits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that audits tiny data, as a module."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SHATTERING_STEPPER", "plain")
    given = importlib.util.spec_from_file_location("permutation_test_script", BENCHMARK)
    assert given is not None and given.loader is not None
    module = importlib.util.module_from_spec(given)
    given.loader.exec_module(module)
    return module


def made(accuracies: list[float], specs: list[RunSpec]) -> list[Record]:
    """Records that are as accurate as told."""
    return [
        Record(spec, Status.DONE, ({"step": 1, "test_accuracy": accuracy},), provenance={"seconds": 0.5})
        for accuracy, spec in zip(accuracies, specs, strict=True)
    ]


def test_null_audits_reject_as_often_as_they_say(audits: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real trainings with three refits each: p is 1/4 in a quarter of the audits, within three standard errors.

    A test that left ties out, or treated the observed training otherwise than the refits, would be off.
    """
    shorter = audits.BASE.training.model_copy(update={"max_steps": 8})
    monkeypatch.setattr(audits, "BASE", audits.BASE.model_copy(update={"training": shorter}))
    found = [audits.audit(number, 0.0, 3).p_value for number in range(24)]

    assert set(found) <= {0.25, 0.5, 0.75, 1.0}
    for level in (0.25, 0.5):
        share = np.mean([p <= level for p in found])
        assert abs(share - level) <= 3 * math.sqrt(level * (1 - level) / len(found))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_null_audits_reject_at_five_percent(audits: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHATTERING_STEPPER", "compiled")
    assert audits.within(audits.repeated(300, 0.0, 19))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_known_effect_is_found(audits: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHATTERING_STEPPER", "compiled")
    assert audits.repeated(40, 2.0, 19, first=10_000)["share"] > 0.8


def test_the_saved_calibration_is_within_three_standard_errors(audits: ModuleType) -> None:
    saved = json.loads(audits.RESULTS.read_text("utf-8"))

    assert saved["null"]["audits"] >= 300
    assert sum(saved["null"]["audits_by_p"].values()) == saved["null"]["audits"]
    assert audits.within(saved["null"])
    assert saved["power"][-1]["share"] > 0.8


def test_observed_and_permuted_trainings_differ_in_labels_alone() -> None:
    who = subject("table")
    first, *rest = (spec.model_dump() for spec in CHECK.design(who, 20))
    assert {spec["corruption"]["name"] for spec in rest} == {"permuted_labels"}
    assert len({spec["stream_seeds"]["label-permutation"] for spec in rest}) == 20
    for spec in rest:
        assert {**spec, "corruption": first["corruption"], "stream_seeds": first["stream_seeds"]} == first


def test_refits_take_no_more_updates_than_the_pilot() -> None:
    who = subject("table", max_steps=40, fit_accuracy=0.7)
    assert who.pilot is not None
    steps = who.pilot.summary["steps"]

    assert 0 < steps < 40
    assert {spec.training.max_steps for spec in CHECK.design(who, 2)} == {steps}


def test_the_observed_training_is_the_pilot_again() -> None:
    who = subject("table", max_steps=40, fit_accuracy=0.7)
    (again,) = trained(CHECK.design(who, 0), who.splits)
    assert who.pilot is not None
    assert again.weights_sha256 == who.pilot.weights_sha256


@pytest.mark.parametrize(
    ("permuted", "p", "level"),
    [([0.5] * 19, 0.05, "good"), ([0.5] * 18 + [0.9], 0.1, "warning"), ([0.5] * 18 + [0.95], 0.1, "warning")],
)
def test_ties_count_against_the_signal(permuted: list[float], p: float, level: str) -> None:
    who = subject("table")
    records = made([0.9, *permuted], CHECK.design(who, 19))

    found = CHECK.answer(who, evidence(records, 19)).findings[0]

    assert (found.p_value, found.level, found.n) == (pytest.approx(p), level, 19)
    assert found.value == 0.9
    assert found.low is not None and found.high is not None and found.low < 0.9 < found.high
    assert f"{p:.3g}" in found.statement
    assert found.cost.runs == 20 and found.cost.seconds == pytest.approx(10.0)


def test_a_refit_that_diverged_counts_against_the_signal_and_one_that_failed_not_at_all() -> None:
    who = subject("table")
    records = made([0.9] + [0.5] * 20, CHECK.design(who, 20))
    records[3] = without_outcome(records[3], Status.DIVERGED)
    records[4] = without_outcome(records[4], Status.FAILED)

    found = CHECK.answer(who, evidence(records, 20)).findings[0]

    assert (found.n, found.p_value) == (19, pytest.approx(2 / 20))
    assert "19 of 21 runs; 1 diverged, 1 failed or not ended" in found.method


def test_too_few_refits_are_not_judged_and_the_smallest_p_is_told() -> None:
    who = subject("table")
    records = made([0.9] + [0.5] * 9, CHECK.design(who, 9))

    found = CHECK.answer(who, evidence(records, 9)).findings[0]

    assert found.level == "unknown"
    assert found.p_value == pytest.approx(0.1)
    assert "below 0.1" in found.statement


def test_without_the_observed_training_nothing_is_said() -> None:
    who = subject("table")
    specs = CHECK.design(who, 19)
    diverged = without_outcome(made([0.9], specs[:1])[0], Status.DIVERGED)

    missing = CHECK.answer(who, evidence(made([0.5] * 19, specs[1:]), 19)).findings
    lost = CHECK.answer(who, evidence([diverged, *made([0.5] * 19, specs[1:])], 19)).findings

    assert [finding.level for finding in missing + lost] == ["unknown", "unknown"]
    assert "diverged" in lost[0].statement
    assert CHECK.answer(who, replace(Evidence(), effort=3)).findings[0].value is None

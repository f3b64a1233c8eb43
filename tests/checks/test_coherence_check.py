"""What an audit says of coherence: made-up trainings, one real pair, and networks that cannot be measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from shattering.checks.coherence import answer, check, design, pairs, tells, why_not
from shattering.checks.coherence_exhibits import level
from shattering.checks.registry import Evidence, Subject
from shattering.core.finding import Chart, Table
from shattering.core.record import Record, Status
from shattering.core.registry import Registry
from shattering.execution.run import execute
from shattering.models.registry import ModelEntry, models
from tiny_runs import digits, tiny_spec

STEPS = 1000
M = 100


@pytest.fixture
def subject():
    return Subject(tiny_spec(training__max_steps=STEPS), digits())


def made(spec, factor: float, floor: float = 1e-9) -> Record:
    """m-coherence of ``factor`` early and 2 late; in the layer "1" twice that."""
    rows = []
    for step in (0, 1, 10, 50, 100, 500, 700, 1000):
        m = factor if step <= 100 else 2.0
        rows.append(
            {
                "step": step,
                "epoch": step / 10,
                "m_coherence": m,
                "alpha": m / M,
                "coherence_floor": floor,
                "m_coherence/1": 2 * m,
            }
        )
    return Record(spec, Status.NOT_FITTED, tuple(rows), provenance={"seconds": 2.0})


def evidence(subject, count: int, real: float, random: float, floor: float = 1e-9) -> Evidence:
    found = {}
    for one, twin in pairs(subject, count):
        chance = 1 + 0.05 * one.seed
        found[one.digest], found[twin.digest] = made(one, real * chance, floor), made(twin, random, floor)
    return Evidence(found, count)


def by_name(found):
    return {finding.name: finding for finding in found.findings}


def test_shared_structure_is_told_with_its_interval_and_layers(subject) -> None:
    found = answer(subject, evidence(subject, 4, 12.0, 3.0))

    ratio = by_name(found)["coherence_ratio_early"]
    assert ratio.level == "good"
    assert ratio.value == pytest.approx(4.0 * 1.125, rel=0.01)
    assert ratio.low is not None
    assert 4.0 < ratio.low < ratio.value < (ratio.high or 0)
    assert by_name(found)["random_alpha_early"].value == pytest.approx(3 / M)
    assert by_name(found)["alpha_late"].value == pytest.approx(2 / M)
    assert f"of {M} examples" in by_name(found)["alpha_early"].statement
    assert ratio.cost.runs == 8
    whole, layers, table = found.exhibits
    assert isinstance(whole, Chart)
    assert isinstance(layers, Chart)
    assert isinstance(table, Table)
    assert {point.series for point in whole.points} == {"your labels", "random labels"}
    assert min(point.x for point in whole.points) == 1
    assert "α is that as a share of them" in whole.reading
    assert {point.panel for point in layers.points} == {"layer 1"}
    assert table.rows[0][0] == "1"
    assert table.rows[0][2] == pytest.approx(6.0)
    assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(("real", "random", "grade"), [(3.0, 12.0, "warning"), (3.0, 3.4, "unknown")])
def test_no_more_than_random_labels_is_not_called_good(subject, real, random, grade) -> None:
    ratio = answer(subject, evidence(subject, 4, real, random)).findings[0]

    assert ratio.level == grade


def test_one_pair_gives_a_value_and_no_interval(subject) -> None:
    ratio = answer(subject, evidence(subject, 1, 12.0, 3.0)).findings[0]

    assert (ratio.level, ratio.low) == ("unknown", None)
    assert ratio.value is not None
    assert "without an interval" in tells(subject, 1)
    assert "with an interval" in tells(subject, 5)


def test_what_rounding_decides_is_left_out(subject) -> None:
    (finding,) = answer(subject, evidence(subject, 3, 12.0, 3.0, floor=5.0)).findings

    assert finding.level == "unknown"


def test_levels_are_geometric_means_over_their_part_of_the_updates(subject) -> None:
    record = made(pairs(subject, 1)[0][0], 8.0)

    assert level(record, "m_coherence", 0.0, 0.1) == pytest.approx(8.0)
    assert level(record, "m_coherence", 0.5, 1.0) == pytest.approx(2.0)
    assert level(record, "absent", 0.0, 1.0) is None


def test_what_failed_says_why(subject) -> None:
    error = {"identifier": "gradients-batch-statistics", "message": "It keeps no running statistics."}
    failed = {spec.digest: Record(spec, Status.FAILED, error=error) for spec in design(subject, 3)}
    diverged = {spec.digest: Record(spec, Status.DIVERGED) for spec in design(subject, 3)}

    told = [answer(subject, Evidence(records, 3)).findings for records in (failed, diverged, {})]

    assert all(len(findings) == 1 and findings[0].level == "unknown" for findings in told)
    assert "running statistics" in told[0][0].statement
    assert "6 of the trainings diverged" in told[1][0].statement
    assert "has ended" in told[2][0].statement


@pytest.fixture
def normalised(monkeypatch):
    """The name of a registered network with one batch normalisation."""

    def build(input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes))

    models.names()
    entry = ModelEntry("normalised", "one batch normalisation", "nowhere", build, ())
    monkeypatch.setitem(models._entries, "normalised", entry)
    assert isinstance(models, Registry)
    return "normalised"


def test_batch_normalisation_is_refused_with_a_remedy(subject, normalised) -> None:
    base = tiny_spec().model_copy(update={"model": type(subject.base.model)(name=normalised)})
    pilot, _ = execute(base, digits())
    audited = Subject(base, digits(), pilot=pilot)

    reason = why_not(audited)

    assert reason is not None
    assert "GroupNorm" in reason
    (finding,) = answer(audited, Evidence({}, 3)).findings
    assert (finding.level, finding.statement) == (
        "unknown",
        f"How coherent the gradients are cannot be told: {reason}.",
    )
    assert why_not(subject) is None
    assert why_not(replace(subject, batch_normalisations=1)) == reason  # known before anything is trained
    assert why_not(replace(audited, pilot=execute(tiny_spec(), digits())[0])) is None


def test_both_are_twice_as_long_as_the_pilot_within_the_budget(subject) -> None:
    def updates(steps: int) -> set[int]:
        piloted = replace(subject, pilot=Record(subject.base, Status.DONE, summary={"steps": steps}))
        return {spec.training.max_steps for spec in design(piloted, 2)}

    assert [updates(steps) for steps in (10, 200, 900)] == [{50}, {400}, {STEPS}]
    assert {spec.training.max_steps for spec in design(subject, 2)} == {STEPS}


def test_a_real_pair_ends_with_numbers(subject) -> None:
    small = replace(subject, base=tiny_spec(training__max_steps=20, training__learning_rate=0.02))
    records = {spec.digest: execute(spec, digits())[0] for spec in check.design(small, 1)}

    found = by_name(answer(small, Evidence(records, 1)))

    assert found["coherence_ratio_early"].value is not None
    assert found["alpha_early"].value > 0
    assert all(record.spec.measures.gradient_examples == 500 for record in records.values())

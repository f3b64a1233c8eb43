"""Memorisation: numbers of records whose values are known."""

from __future__ import annotations

import pytest

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec
from shattering.core.study import studies
from shattering.studies.arpit2017_records import best, climb, lost, order_of_events, slope, steeper

STUDY = studies.get("arpit2017-memorisation")


def run(rows: list[tuple[int, float, float, float]]) -> Record:
    names = ("step", "train_accuracy", "test_accuracy", "critical_sample_ratio")
    return Record(RunSpec(), Status.DONE, tuple(dict(zip(names, row, strict=True)) for row in rows), {"steps": 400})


def fitted(spec: RunSpec, steps: int) -> Record:
    return Record(spec, Status.DONE, (), {"steps": steps, "steps_to_fit": steps, "epochs_to_fit": 4.0})


def test_the_order_of_events_and_what_is_lost() -> None:
    record = run([(0, 0.1, 0.9, 0.0), (10, 0.3, 0.8, 0.1), (50, 0.5, 0.7, 0.3), (200, 0.95, 0.5, 0.6)])

    peak = best(record)
    assert peak is not None and peak["step"] == 10  # what stands before training does not count
    assert order_of_events(record) == 20
    assert lost(record) == pytest.approx(0.3)
    assert climb(record) == pytest.approx(0.5)
    assert order_of_events(run([(10, 0.3, 0.8, 0.1)])) is None


def test_slopes_of_the_time_to_fit() -> None:
    def spec(size: int, name: str) -> RunSpec:
        training = RunSpec().training.model_copy(update={"stop_when_fitted": True})
        data = DataSpec(name="digits", train_size=size)
        base = RunSpec(data=data, corruption=CorruptionSpec(name=name), training=training)
        return base.model_copy(update={"model": base.model.model_copy(update={"name": "mlp"})})

    real = [fitted(spec(size, "true_labels"), size) for size in (100, 400)]
    noise = [fitted(spec(size, "random_labels"), size**2) for size in (100, 400)]

    assert slope(real) == pytest.approx(1)
    assert slope(real[:1]) is None
    found = steeper("random_labels")([*real, *noise])
    assert found is not None and found.value == pytest.approx(1)


def test_models_of_ones_own_are_refused(request_for) -> None:
    with pytest.raises(SpecError) as caught:
        STUDY.specs(request_for("mnist", "small", models=("mlp",)))
    assert caught.value.identifier == "study-own-model"


def test_every_claim_has_runs_at_the_small_scale(request_for, record_of) -> None:
    specs = STUDY.specs(request_for("mnist", "small"))
    records = [record_of(spec) for spec in specs]

    lacking = [claim.quantity for claim in STUDY.claims if claim.estimate(records) is None]

    # Made-up runs are all alike, so nothing in them goes with the level of noise.
    assert lacking == ["rank correlation with the level of noise"]

"""Changes of losses between trainings that differ in one example."""

from __future__ import annotations

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec, RunSpec
from shattering.execution.run import execute
from shattering.measures.stability import replacement_effect, unreplaced
from tiny_runs import digits, tiny_spec


def record(place: int | None, losses: tuple[float, ...], seed: int = 0, status: Status = Status.DONE) -> Record:
    spec = RunSpec(data=DataSpec(train_size=8, replaced=place), seed=seed)
    row = {"step": 1, "train_loss": 9.0} | {f"held_out_loss/{place}": loss for place, loss in enumerate(losses)}
    return Record(spec, status, (row,))


def test_largest_and_mean_change_over_replacements_and_points() -> None:
    base = record(None, (1.0, 2.0))
    others = [record(0, (1.5, 2.0)), record(3, (1.0, 0.0))]

    found = replacement_effect(base, [*others, base])

    assert found is not None
    assert (found.largest, found.mean, found.replacements, found.points) == (2.0, 0.625, 2, 2)
    assert found.runs == (base.digest, *(other.digest for other in others))


def test_only_runs_that_differ_in_nothing_else_are_compared() -> None:
    base = record(None, (1.0, 2.0))

    assert replacement_effect(base, [record(0, (9.0, 9.0), seed=1)]) is None
    assert replacement_effect(base, [record(0, (9.0, 9.0), status=Status.DIVERGED)]) is None
    assert replacement_effect(record(None, (1.0, 2.0), status=Status.FAILED), [record(0, (9.0, 9.0))]) is None
    assert unreplaced(record(4, ()).spec) == base.spec


def test_kept_losses_are_those_of_the_same_test_points() -> None:
    changes = {"measures__names": ("accuracy", "held_out_losses"), "data__test_size": 70, "training__max_steps": 30}
    specs = [tiny_spec(data__replaced=place, **changes) for place in (None, 1, 2)]
    base, *others = [execute(spec, digits())[0] for spec in specs]

    kept = [value for name, value in base.last.items() if name.startswith("held_out_loss/")]
    assert len(kept) == 64
    found = replacement_effect(base, others)
    assert found is not None
    assert (found.replacements, found.points) == (2, 64)
    assert 0 < found.mean < found.largest
    small, _ = execute(tiny_spec(measures__names=("accuracy", "held_out_losses")), digits())
    alike = [value for name, value in small.last.items() if name.startswith("held_out_loss/")]
    assert len(alike) == 32
    assert sum(alike) / 32 == pytest.approx(small.last["test_loss"], rel=1e-12)

"""Runs of a fleet have the records that they would have alone, and what breaks one breaks no other."""

from __future__ import annotations

from typing import Any

import pytest

from shattering.core.errors import ModelError, Stopped
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.execution.control import Control
from shattering.execution.run import execute
from shattering.execution.stacked import execute_stacked
from shattering.execution.training import Training
from shattering.training.loop import Snapshot
from tiny_runs import Memory, digits, stop_at_call, tiny_spec


def specs() -> list[RunSpec]:
    return [
        tiny_spec(
            seed=seed,
            training__max_steps=12 + seed,
            compute__dtype="float64",
            corruption__name="random_labels",
            measures__names=("accuracy", "weights", "learning_step"),
        )
        for seed in range(3)
    ]


def same(one: Any, other: Record) -> None:
    """Rows to 1e-9, columns exactly."""
    assert isinstance(one, Record) and one.digest == other.digest and one.status == other.status
    assert len(one.rows) == len(other.rows)
    for ours, theirs in zip(one.rows, other.rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert one.summary == other.summary and one.units == other.units
    assert {name: column.tolist() for name, column in one.examples.items()} == {
        name: column.tolist() for name, column in other.examples.items()
    }


@pytest.mark.parametrize("way", ["vmapped", "interleaved"])
def test_records_are_those_of_the_runs_alone(way: Any) -> None:
    for one, spec in zip(execute_stacked(specs(), digits(), way=way), specs(), strict=True):
        same(one, execute(spec, digits())[0])
        assert isinstance(one, Record)
        assert one.provenance["stepper"] == "stacked" and "CPU" in one.provenance["captured"]


def test_who_is_stopped_saves_a_checkpoint_and_goes_on_from_it() -> None:
    controls = [Control(), stop_at_call(4), Control(checkpoints=Memory())]
    found = execute_stacked(specs(), digits(), controls)
    assert isinstance(found[1], Stopped) and controls[1].checkpoints is not None
    for number in (0, 2):
        same(found[number], execute(specs()[number], digits())[0])
    again = execute_stacked(specs()[1:2], digits(), [Control(checkpoints=controls[1].checkpoints)])
    same(again[0], execute(specs()[1], digits())[0])


def test_a_measure_that_fails_ends_its_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Training.see

    def see(training: Training, snapshot: Snapshot) -> None:
        if training.spec.seed == 1 and snapshot.step == 3:
            raise ModelError("measure-broke", "It broke.")
        whole(training, snapshot)

    alone = [execute(spec, digits())[0] for spec in specs()]
    monkeypatch.setattr(Training, "see", see)
    found = execute_stacked(specs(), digits())
    assert isinstance(found[1], ModelError)
    same(found[0], alone[0])
    same(found[2], alone[2])

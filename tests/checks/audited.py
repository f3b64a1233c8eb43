"""Small subjects of an audit, and their trainings, made once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from shattering.checks.registry import Evidence, Subject
from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.data.digits import digits
from shattering.execution.run import execute

_made: dict[tuple[int, str], Record] = {}


def base_spec(**training: Any) -> RunSpec:
    """A training of a few updates of a small network."""
    settings = {"optimizer": "adam", "learning_rate": 0.02, "batch_size": 16, "max_steps": 5, **training}
    return RunSpec(
        data=DataSpec(name="audited", whiten=False),
        model=ModelSpec(name="mlp_1x512", fields={"width": 8}),
        training=TrainingSpec(**settings),
        measures=MeasureSpec(names=("accuracy", "tested_predictions"), points_per_decade=0, every_epochs=1),
    )


@functools.cache
def digit_images() -> Splits:
    """48 training and 32 test digits."""
    whole = digits()
    return Splits(whole.train.take(np.arange(48)), whole.test.take(np.arange(32)))


@functools.cache
def table() -> Splits:
    """Rows of numbers with two classes, one of them three times as large."""
    values = np.sin(np.arange(60 * 5, dtype=np.float64)).reshape(60, 5).astype(np.float32)
    labels = (np.arange(60) % 4 == 0).astype(np.int64)
    values[:, 0] += labels
    return from_arrays(values[:40], labels[:40], values[40:], labels[40:], name="audited", num_classes=2)


@functools.cache
def one_class_tested() -> Splits:
    """The table, of whose second class the test split has no example."""
    whole = table()
    kept = np.flatnonzero(whole.test.labels == 0)
    return Splits(whole.train, whole.test.take(kept))


@functools.cache
def ten_rows() -> Splits:
    """Ten training and four test examples."""
    whole = table()
    return Splits(whole.train.take(np.arange(10)), whole.test.take(np.arange(4)))


SUBJECTS = {"digits": digit_images, "table": table, "one class tested": one_class_tested, "ten rows": ten_rows}


@functools.cache
def subject(kind: str, **training: Any) -> Subject:
    """One of the subjects, its pilot trained."""
    splits = SUBJECTS[kind]()
    base = base_spec(**{"batch_size": min(16, max(2, len(splits.train) // 4)), **training})
    return Subject(base, splits, held_out=kind == "table", pilot=execute(base, splits)[0])


def trained(specs: Iterable[RunSpec], splits: Splits) -> list[Record]:
    """The records of these runs, in their order."""
    found = []
    for spec in specs:
        key = id(splits), spec.digest
        if key not in _made:
            _made[key] = execute(spec, splits)[0]
        found.append(_made[key])
    return found


def evidence(records: Iterable[Record], effort: int) -> Evidence:
    """These records as an audit hands them over."""
    return Evidence({record.digest: record for record in records}, effort)


def without_outcome(record: Record, status: Status) -> Record:
    """The record as it would be, had the run ended so."""
    if status is Status.DIVERGED:
        summary = {**record.summary, "steps_to_fit": None, "epochs_to_fit": None, "diverged_step": 1}
        return replace(record, status=status, rows=record.rows[:-1], examples={}, tested={}, summary=summary)
    error = {"identifier": "run-crashed", "message": "It crashed."}
    return replace(record, status=status, rows=(), summary={}, examples={}, tested={}, error=error)

"""A validation set apart from the test set, and what is chosen by it."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError
from shattering.core.record import Record, Status
from shattering.execution.run import execute
from shattering.execution.selection import choose_examples
from shattering.measures.validation import stopping_step, when_stopped
from tiny_runs import digits, tiny_spec

BOTH = {"data__tested_on": "both", "data__left_out_size": 40}


def test_the_parts_together_are_the_whole_test_set() -> None:
    spec = tiny_spec(measures__names=("accuracy", "validation"), **BOTH)
    record, _ = execute(spec, digits())
    last = record.last
    for name in ("loss", "accuracy"):
        whole = (40 * last[f"validation_{name}"] + 32 * last[f"test_split_{name}"]) / 72
        assert whole == pytest.approx(last[f"test_{name}"], rel=1e-6)
    assert record.summary["test_size"] == 72 == spec.sizes(1437, 360)[1]


def test_without_examples_left_out_there_is_no_validation_set() -> None:
    record, _ = execute(tiny_spec(measures__names=("validation",), measures__example_columns=False), digits())
    assert "validation_loss" not in record.last and "test_split_loss" in record.last
    assert record.examples == {}


def test_left_out_examples_are_drawn_and_never_trained_on() -> None:
    chosen = choose_examples(digits(), tiny_spec(data__tested_on="left_out", data__left_out_size=40))
    fewer = choose_examples(digits(), tiny_spec(data__tested_on="left_out", data__left_out_size=10))
    rest = choose_examples(digits(), tiny_spec(data__tested_on="left_out"))
    out = chosen.test.source_indices
    assert len(out) == 40 and np.all(np.diff(out) > 0)
    assert not np.isin(out, chosen.train.source_indices).any()
    assert np.isin(fewer.test.source_indices, out).all() and np.isin(out, rest.test.source_indices).all()
    with pytest.raises((SpecError, DataError), match="only 1373 training examples are left out"):
        choose_examples(digits(), tiny_spec(data__tested_on="left_out", data__left_out_size=1374))


def test_the_stopping_step_is_the_first_of_the_smallest_validation_losses() -> None:
    losses = ((0, 2.0), (10, 0.5), (20, 0.5), (30, 0.9))
    rows = tuple({"step": step, "validation_loss": loss, "test_split_accuracy": step / 100} for step, loss in losses)
    record = Record(tiny_spec(), Status.DONE, rows)
    assert stopping_step(record) == 10 and when_stopped("test_split_accuracy")(record) == 0.1
    assert stopping_step(Record(tiny_spec(), Status.DONE)) is None
    assert when_stopped("test_split_accuracy")(Record(tiny_spec(), Status.DONE)) is None

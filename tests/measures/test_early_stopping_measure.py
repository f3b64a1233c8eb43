"""Early stopping by halves of the test set: by hand, and against the snapshots of a training."""

from __future__ import annotations

import numpy as np

from shattering.execution.run import execute
from shattering.measures.early_stopping import halves, stopped
from tiny_runs import digits, stop_at_step, stopped_and_resumed, tiny_spec


def test_each_half_is_predicted_where_the_other_is_best() -> None:
    first = halves(6)
    assert first.sum() == 3
    labels = np.zeros(6, np.int64)
    snapshots = [np.ones(6, np.int64), np.where(first, 0, 1), np.where(first, 1, 0), np.ones(6, np.int64)]
    columns: dict[str, np.ndarray] = {}
    for step, predictions in enumerate(snapshots):
        columns = stopped(predictions, predictions == labels, step, columns)

    # The first half is right at snapshot 1, so the second is predicted there, where it is wrong; and the other way.
    assert columns["stopped_step"].tolist() == [2 if half else 1 for half in first]
    assert columns["stopped_prediction"].tolist() == [1] * 6
    assert columns["stopped_best"].tolist() == [1.0] * 6


def test_an_early_snapshot_wins_a_tie() -> None:
    columns = stopped(np.zeros(4, np.int64), np.ones(4, bool), 3, {})
    columns = stopped(np.ones(4, np.int64), np.ones(4, bool), 5, columns)
    assert columns["stopped_step"].tolist() == [3] * 4


def test_a_run_keeps_the_columns_and_resumes_to_the_bit() -> None:
    spec = tiny_spec(measures__names=["accuracy", "early_stopping"], measures__every_epochs=1)

    record, _ = execute(spec, digits())
    again = stopped_and_resumed(spec, stop_at_step(8))

    assert set(record.tested) == {"stopped_step", "stopped_prediction", "stopped_best"}
    assert len(record.tested["stopped_step"]) == 32
    assert set(record.tested["stopped_step"].tolist()) <= {row["step"] for row in record.rows}
    best = max(row["test_accuracy"] for row in record.rows)
    assert record.tested["stopped_best"].max() <= min(1.0, 2 * best)
    assert again is not None
    for name, column in record.tested.items():
        assert np.array_equal(again.tested[name], column)

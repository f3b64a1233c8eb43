"""Since when each example has been known, folded over snapshots."""

from __future__ import annotations

import numpy as np
import torch
from no_gradients import NO_GRADIENTS
from torch import nn

from shattering.execution.run import execute
from shattering.measures.learning_step import learning_step
from shattering.measures.registry import Probe, measures
from tiny_runs import digits, facts, stop_at_step, stopped_and_resumed, tiny_spec

LABELS = [0, 1, 2, 1]


def probe(step: int, predictions: list[int]) -> Probe:
    labels = torch.tensor(LABELS)
    return Probe(
        model=nn.Linear(1, 1),
        step=step,
        labels=labels,
        original_labels=torch.zeros(4, dtype=torch.int64),
        changed=labels != 0,
        test_labels=labels[:0],
        initial={},
        evaluate_train=lambda: (torch.zeros(4, dtype=torch.float64), torch.tensor(predictions)),
        evaluate_test=lambda: (torch.zeros(0, dtype=torch.float64), labels[:0]),
        **NO_GRADIENTS,
    )


def folded(*snapshots: tuple[int, list[int]]) -> list[int]:
    columns: dict[str, np.ndarray] = {}
    for step, predictions in snapshots:
        columns = learning_step(probe(step, predictions), columns)
    assert columns["learning_step"].dtype == np.int64
    return columns["learning_step"].tolist()


def test_step_since_which_an_example_is_known_without_interruption() -> None:
    #              always      from 4      forgotten   never: the label it had before does not count
    snapshots = [(0, [0, 0, 2, 0]), (1, [0, 0, 2, 0]), (4, [0, 1, 0, 0]), (9, [0, 1, 2, 0])]

    assert folded(*snapshots[:1]) == [0, -1, 0, -1]
    assert folded(*snapshots[:3]) == [0, 4, -1, -1]
    assert folded(*snapshots) == [0, 4, 9, -1]


def test_fold_equals_a_look_back_over_all_snapshots() -> None:
    generator = np.random.default_rng(2)
    steps = [0, 1, 2, 5, 11, 30]
    seen = generator.integers(0, 3, size=(6, 4))

    expected = []
    for example, label in enumerate(LABELS):
        since = -1
        for step, prediction in reversed(list(zip(steps, seen[:, example].tolist(), strict=True))):
            if prediction != label:
                break
            since = step
        expected.append(since)

    assert folded(*zip(steps, seen.tolist(), strict=True)) == expected


def test_looking_twice_at_a_snapshot_changes_nothing_and_what_was_given_stays() -> None:
    before = learning_step(probe(3, [0, 1, 0, 0]), {})
    kept = before["learning_step"].copy()

    after = learning_step(probe(8, [0, 0, 2, 0]), before)

    assert np.array_equal(before["learning_step"], kept)
    again = learning_step(probe(8, [0, 0, 2, 0]), after)
    assert np.array_equal(again["learning_step"], after["learning_step"])


def test_is_registered_with_a_column_and_no_number() -> None:
    entry = measures.get("learning_step")

    assert entry.fold is not None
    assert entry.function(probe(0, [0, 1, 2, 1])) == {}
    assert entry.units == {"learning_step": "steps"}


def test_run_that_was_stopped_and_resumed_has_the_same_columns_and_gradients() -> None:
    spec = tiny_spec(
        corruption__name="partially_corrupted_labels",
        corruption__fields__p=0.5,
        measures__names=["learning_step", "coherence", "contributions"],
        measures__gradient_examples=20,
        training__max_steps=8,
    )

    whole, _ = execute(spec, digits())
    resumed = stopped_and_resumed(spec, stop_at_step(5))

    assert resumed is not None
    assert facts(resumed) == facts(whole)
    learned = whole.examples["learning_step"]
    assert len(np.unique(learned)) > 2
    right = whole.examples["prediction"] == whole.examples["label"]
    assert np.array_equal(learned >= 0, right)
    assert set(learned.tolist()) <= {-1, *(row["step"] for row in whole.rows)}

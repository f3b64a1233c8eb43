"""The accuracies' definitions on an example small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from no_gradients import NO_GRADIENTS
from torch import nn

from shattering.measures.accuracy import accuracy
from shattering.measures.registry import Probe


def probe(
    *, labels: list[int], original: list[int], predictions: list[int], test: tuple[list[int], list[int]]
) -> Probe:
    given, before = torch.tensor(labels), torch.tensor(original)
    losses = torch.arange(len(labels), dtype=torch.float64)
    return Probe(
        model=nn.Linear(1, 1),
        step=0,
        labels=given,
        original_labels=before,
        changed=given != before,
        test_labels=torch.tensor(test[0]),
        initial={},
        evaluate_train=lambda: (losses, torch.tensor(predictions)),
        evaluate_test=lambda: (torch.tensor([0.25, 0.75], dtype=torch.float64), torch.tensor(test[1])),
        **NO_GRADIENTS,
    )


def test_every_accuracy_on_eight_examples() -> None:
    numbers = accuracy(
        probe(
            #        unchanged    changed
            original=[0, 1, 2, 0, 1, 2, 0, 1],
            labels=[0, 1, 2, 1, 2, 0, 1, 2],
            predictions=[0, 1, 0, 1, 1, 2, 0, 0],
            test=([0, 1], [0, 2]),
        )
    )

    assert numbers == {
        "train_loss": 3.5,
        "train_accuracy": 3 / 8,  # two unchanged and one changed as trained on
        "clean_train_accuracy": 5 / 8,  # two unchanged and three changed as they were
        "unchanged_train_accuracy": pytest.approx(2 / 3),
        "changed_train_accuracy": pytest.approx(1 / 5),
        "restored_train_accuracy": pytest.approx(3 / 5),
        "test_loss": 0.5,
        "test_accuracy": 0.5,
        "generalization_gap": 3 / 8 - 1 / 2,
    }


def test_numbers_without_examples_are_left_out() -> None:
    clean = accuracy(probe(labels=[0, 1], original=[0, 1], predictions=[0, 1], test=([0, 1], [1, 0])))
    wrong = accuracy(probe(labels=[1, 0], original=[0, 1], predictions=[0, 1], test=([0, 1], [1, 0])))

    assert clean["unchanged_train_accuracy"] == clean["clean_train_accuracy"] == 1.0
    assert not {"changed_train_accuracy", "restored_train_accuracy"} & set(clean)
    assert wrong["changed_train_accuracy"] == wrong["train_accuracy"] == 0.0
    assert wrong["restored_train_accuracy"] == wrong["clean_train_accuracy"] == 1.0
    assert "unchanged_train_accuracy" not in wrong
    assert (clean["generalization_gap"], wrong["generalization_gap"]) == (1.0, 0.0)


def test_changed_inputs_restore_no_label() -> None:
    found = probe(labels=[0, 1], original=[0, 1], predictions=[0, 0], test=([0, 1], [1, 0]))
    found.changed[:] = True

    numbers = accuracy(found)

    assert numbers["changed_train_accuracy"] == 0.5
    assert "restored_train_accuracy" not in numbers

"""Loss and accuracy, on labels as trained on, as they were, and on unseen examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shattering.measures.registry import Probe, measure

if TYPE_CHECKING:
    import torch


@measure(
    units={
        "train_loss": "nats",
        "train_accuracy": "1",
        "clean_train_accuracy": "1",
        "changed_train_accuracy": "1",
        "unchanged_train_accuracy": "1",
        "restored_train_accuracy": "1",
        "test_loss": "nats",
        "test_accuracy": "1",
        "generalization_gap": "1",
    },
    paper="Zhang et al. (2017), Section 2",
)
def accuracy(probe: Probe) -> dict[str, float]:
    """Cross-entropy loss and accuracy on training and test set, in evaluation mode.

    ``train_accuracy`` counts against the labels trained on, ``clean_train_accuracy`` against the original ones.
    ``changed_train_accuracy`` and ``unchanged_train_accuracy`` are the training accuracy on the examples that the
    corruption changed and on the others; ``restored_train_accuracy`` is the fraction of the changed examples that are
    predicted with their *original* label, high while a network learns the signal and low once it has memorised. A
    number whose set of examples is empty is left out. The test set always counts against clean labels.
    ``generalization_gap = train_accuracy - test_accuracy``, in [-1, 1].
    """
    losses, predictions = probe.train
    test_losses, test_predictions = probe.test
    hits = predictions == probe.labels
    clean = predictions == probe.original_labels
    train_accuracy, test_accuracy = _mean(hits), _mean(test_predictions == probe.test_labels)
    numbers = {
        "train_loss": _mean(losses),
        "train_accuracy": train_accuracy,
        "clean_train_accuracy": _mean(clean),
        "test_loss": _mean(test_losses),
        "test_accuracy": test_accuracy,
        "generalization_gap": train_accuracy - test_accuracy,
    }
    if bool(probe.changed.any()):
        numbers["changed_train_accuracy"] = _mean(hits[probe.changed])
        if bool((probe.labels != probe.original_labels).any()):
            numbers["restored_train_accuracy"] = _mean(clean[probe.changed])
    if not bool(probe.changed.all()):
        numbers["unchanged_train_accuracy"] = _mean(hits[~probe.changed])
    return numbers


def _mean(values: torch.Tensor) -> float:
    return float(values.double().mean())

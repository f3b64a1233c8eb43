"""A validation set and a test set apart, so that one may choose by the first and judge by the second."""

from __future__ import annotations

import torch

from shattering.core.curves import Number
from shattering.core.record import Record
from shattering.measures.registry import Probe, measure

UNITS = {
    "validation_loss": "nats",
    "validation_accuracy": "1",
    "test_split_loss": "nats",
    "test_split_accuracy": "1",
}


@measure(units=UNITS)
def validation(probe: Probe) -> dict[str, float]:
    """Loss and accuracy on the training examples that were left out, and on the test split, each by itself.

    For runs with ``data.tested_on=both``: what was left out of the training subset is the validation set. A number
    whose set of examples is empty is left out.
    """
    losses, predictions = probe.test
    hits = predictions == probe.test_labels
    parts = {"validation": slice(0, probe.left_out), "test_split": slice(probe.left_out, None)}
    numbers: dict[str, float] = {}
    for name, part in parts.items():
        if len(hits[part]):
            numbers |= {f"{name}_loss": _mean(losses[part]), f"{name}_accuracy": _mean(hits[part])}
    return numbers


def stopping_step(record: Record) -> int | None:
    """The step with the smallest validation loss, the first of several; none where it was not measured."""
    steps, losses = record.trajectory("validation_loss")
    return min(zip(losses, steps, strict=True))[1] if steps else None


def when_stopped(name: str) -> Number:
    """A number of a run at its `stopping_step`, such as ``test_split_accuracy``."""

    def number(record: Record) -> float | None:
        step = stopping_step(record)
        return next((float(row[name]) for row in record.rows if row["step"] == step and name in row), None)

    return number


def _mean(values: torch.Tensor) -> float:
    return float(values.double().mean())

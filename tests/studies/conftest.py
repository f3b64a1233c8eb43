"""Requests for data that need not be there, and records made up to order."""

from __future__ import annotations

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request, Scale

FACTS = {
    "digits": DataFacts("digits", 1437, 360, (8, 8, 1), 10, "0" * 64),
    "mnist": DataFacts("mnist", 60_000, 10_000, (28, 28, 1), 10, "1" * 64),
    "cifar10": DataFacts("cifar10", 50_000, 10_000, (32, 32, 3), 10, "2" * 64),
}


def make_record(spec: RunSpec, status: Status = Status.DONE, *, test_accuracy: float = 0.5) -> Record:
    """A run as it might have ended: fitted (or nearly) at step 40 of 50; without rows where it failed."""
    if status in (Status.FAILED, Status.CANCELLED):
        return Record(spec, status)
    fitted = status is Status.DONE
    rows = []
    for step, loss, accuracy in ((0, 2.4, 0.1), (1, 2.0, 0.3), (10, 1.0, 0.6), (50, 0.01, 1.0 if fitted else 0.7)):
        row = {
            "step": step,
            "epoch": step / 10,
            "learning_rate": 0.1,
            "train_loss": loss,
            "train_accuracy": accuracy,
            "clean_train_accuracy": accuracy,
            "unchanged_train_accuracy": accuracy,
            "test_loss": 2.0,
            "test_accuracy": test_accuracy,
            "generalization_gap": accuracy - test_accuracy,
            "weight_norm": 3.0,
            "distance_from_initialisation": 1.0,
        }
        if spec.corruption.name not in ("true_labels",):
            row["changed_train_accuracy"] = row["restored_train_accuracy"] = accuracy
        rows.append(row)
    summary = {
        "steps": 50,
        "steps_to_fit": 40 if fitted else None,
        "epochs_to_fit": 4.0 if fitted else None,
        "train_size": spec.data.train_size or 1000,
        "test_size": spec.data.test_size or 1000,
        "num_classes": 10,
        "parameters": 1000,
    }
    return Record(spec, status, tuple(rows[:2] if status is Status.DIVERGED else rows), summary)


@pytest.fixture
def request_for():
    """A request for a known data set at a scale."""

    def build(data: str, scale: Scale, **others) -> Request:
        return Request(scale, FACTS[data], **others)

    return build


@pytest.fixture
def record_of():
    return make_record

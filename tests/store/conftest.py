"""Tiny records, without torch."""

from __future__ import annotations

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.store.store import Store


def make_record(seed: int = 0, **fields) -> Record:
    values = {
        "status": Status.DONE,
        "rows": ({"step": 0, "epoch": 0.0, "train_loss": 0.1}, {"step": 7, "epoch": 1.0, "train_loss": 1 / 3}),
        "summary": {"steps_to_fit": 7, "epochs_to_fit": 1.0, "train_size": 3},
        "units": {"train_loss": "1", "steps_to_fit": "steps"},
        "weights_sha256": "a" * 64,
        "provenance": {"host": "here", "seconds": 0.25},
    }
    return Record(RunSpec(seed=seed), **{**values, **fields})


def commit(store: Store, record: Record, weights: bytes | None = None) -> bool:
    lease = store.lease(record.digest)
    assert lease is not None
    with lease:
        return store.put(record, lease, weights)


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def put():
    return commit


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store", write=True)

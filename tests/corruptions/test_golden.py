"""Bits that must never move: SHA-256 of what five seeds draw, on every platform and library version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec, TrainingSpec
from shattering.core.streams import Stream
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Dataset, Splits, moments
from shattering.data.gaussian_features import gaussian_features
from shattering.execution.selection import choose_examples
from shattering.training.augmentation import draws
from shattering.training.examples import Examples
from shattering.training.loop import epoch_batches

TABLE = json.loads((Path(__file__).parent / "golden_hashes.json").read_text("utf-8"))
"""What is drawn → seed → SHA-256. A difference is a change of results: it needs a new NUMERICS_VERSION."""

SEEDS = (0, 1, 2017, 2**32, 2**63 - 1)
EXAMPLES = 1000


def example_splits() -> Splits:
    """A thousand colour images of ten classes by a formula, of which no library has a say."""
    pixels = (np.arange(EXAMPLES * 48, dtype=np.int64) * 2654435761 >> 7) % 256
    inputs = pixels.astype(np.uint8).reshape(EXAMPLES, 4, 4, 3)
    labels = np.arange(EXAMPLES, dtype=np.int64) * 7 % 10
    facts = moments(inputs)
    train = Dataset(inputs, labels, 10, "formula", "train", moments=facts)
    return Splits(train, Dataset(inputs[:100], labels[:100], 10, "formula", "test", moments=facts))


def drawn(what: str, seed: int) -> list[np.ndarray]:
    """The arrays behind an entry of the table."""
    splits = example_splits()
    spec = RunSpec(seed=seed, training=TrainingSpec(batch_size=64, augmentation="full"))

    def after(name: str, **fields: float) -> Splits:
        return corrupt(splits, spec.model_copy(update={"corruption": CorruptionSpec(name=name, fields=fields)}))

    def both(name: str) -> list[np.ndarray]:
        result = after(name)
        return [result.train.inputs, result.test.inputs]

    match what:
        case "random labels":
            return [after("random_labels").train.labels]
        case "partially corrupted labels, p = 0.5":
            return [after("partially_corrupted_labels", p=0.5).train.labels]
        case "pair-flipped labels, p = 0.3":
            return [after("pair_flipped_labels", p=0.3).train.labels]
        case "random signs":
            return [after("random_signs").train.labels]
        case "Gaussian features and their labels":
            # They are the same for all seeds; each entry of the table takes a fifth of them.
            rows = slice(SEEDS.index(seed) * 200, SEEDS.index(seed) * 200 + 200)
            made = gaussian_features().train
            return [np.round(made.inputs[rows] * 4096).astype(np.int64), made.labels[rows]]
        case "permutation of 784":
            return [Stream(seed, "pixels").permutation(784)]
        case "shuffled pixels" | "random pixels" | "gaussian":
            return both(what.replace(" ", "_"))
        case "batch order, three epochs":
            labels = torch.zeros(EXAMPLES, dtype=torch.int64)
            examples = Examples(labels, labels, labels, labels == 1, 10)
            return [batch.numpy() for epoch in range(3) for batch in epoch_batches(spec, examples, epoch)]
        case "subsets of 100 and 50":
            data = DataSpec(train_size=100, test_size=50)
            chosen = choose_examples(splits, spec.model_copy(update={"data": data}))
            return [chosen.train.source_indices, chosen.test.source_indices]
        case "augmentation, step 5":
            return [draws(spec, 5, 64, (4, 4))]
        case "integer":
            return [np.array([Stream(seed, "initialisation").integer()])]
        case "raw words of large indices":
            return [Stream(seed, "labels").words(np.array([2**32 - 1, 2**32, 2**63]), blocks=3)]
    raise AssertionError(what)


def sha256(arrays: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        wide = np.ascontiguousarray(array, dtype="<i8")
        digest.update(f"{wide.shape}".encode() + wide.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("what", TABLE)
def test_draws_have_their_golden_hash(what: str) -> None:
    assert {str(seed): sha256(drawn(what, seed)) for seed in SEEDS} == TABLE[what]


def test_table_is_complete() -> None:
    assert len(TABLE) == 14
    hashes = [digest for seeds in TABLE.values() for digest in seeds.values()]
    assert len(set(hashes)) == 5 * 14

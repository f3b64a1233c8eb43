"""Signs: two classes whatever the data's number, by a fair coin, the same bits as random labels where there are two."""

from __future__ import annotations

import numpy as np

from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Dataset, Splits

EXAMPLES = 20_000


def corrupted(name: str, classes: int, seed: int = 0) -> Dataset:
    labels = np.arange(EXAMPLES) % classes
    train = Dataset(np.zeros((EXAMPLES, 1), np.float32), labels, classes, "none", "train")
    return corrupt(Splits(train, train), RunSpec(corruption=CorruptionSpec(name=name), seed=seed)).train


def test_two_classes_by_a_fair_coin_that_ignores_the_label() -> None:
    signs = corrupted("random_signs", 10)

    assert set(signs.labels.tolist()) == {0, 1}
    assert signs.num_classes == 10
    ones = signs.labels.reshape(-1, 10).mean(axis=0)  # one column per original class
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(EXAMPLES / 10)
    assert abs(signs.changed.mean() - 0.9) < 0.01


def test_seeds_draw_signs_of_their_own() -> None:
    first, second = corrupted("random_signs", 10, seed=1).labels, corrupted("random_signs", 10, seed=2).labels

    correlation = float(np.corrcoef(first, second)[0, 1])
    assert abs(correlation) < 5 / np.sqrt(EXAMPLES)


def test_of_two_classes_they_are_random_labels() -> None:
    assert np.array_equal(corrupted("random_signs", 2).labels, corrupted("random_labels", 2).labels)
    assert not np.array_equal(corrupted("random_signs", 3).labels, corrupted("random_labels", 3).labels)

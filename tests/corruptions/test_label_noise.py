"""Random, partly random and flipped labels: how many change, and which."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Dataset, Splits

EXAMPLES = 20_000


def labelled(classes: int, count: int = EXAMPLES) -> Splits:
    train = Dataset(np.zeros((count, 1), np.float32), np.arange(count) % classes, classes, "none", "train")
    return Splits(train, train)


def relabelled(splits: Splits, name: str, seed: int = 0, p: float | None = None) -> Dataset:
    fields = {} if p is None else {"p": p}
    return corrupt(splits, RunSpec(corruption=CorruptionSpec(name=name, fields=fields), seed=seed)).train


def sigmas(hits: int, trials: int, probability: float) -> float:
    return abs(hits - trials * probability) / np.sqrt(trials * probability * (1 - probability))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(p=st.floats(0.02, 0.98), classes=st.integers(2, 100), seed=st.integers(0, 2**63 - 1))
def test_expected_fraction_of_labels_changes(p: float, classes: int, seed: int) -> None:
    splits = labelled(classes)

    partial = relabelled(splits, "partially_corrupted_labels", seed, p)
    assert sigmas(int(partial.changed.sum()), EXAMPLES, p * (1 - 1 / classes)) < 5
    paired = relabelled(splits, "pair_flipped_labels", seed, p)
    assert sigmas(int(paired.changed.sum()), EXAMPLES, p) < 5
    assert np.array_equal(relabelled(splits, "wrong_labels", seed, p).changed, paired.changed)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_random_labels_are_uniform_and_independent_of_the_true_ones(classes: int) -> None:
    result = relabelled(labelled(classes), "random_labels", 7)

    assert sigmas(int(result.changed.sum()), EXAMPLES, 1 - 1 / classes) < 5
    counts = np.zeros((classes, classes))
    np.add.at(counts, (result.original_labels, result.labels), 1)
    expected = EXAMPLES / classes**2
    freedom = classes * (classes - 1)  # the totals of the true labels are given
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom) + 5


def test_random_labels_are_partial_corruption_of_all() -> None:
    splits = labelled(10)

    whole = relabelled(splits, "partially_corrupted_labels", 5, 1.0)

    assert np.array_equal(relabelled(splits, "random_labels", 5).labels, whole.labels)


@pytest.mark.parametrize("name", ["partially_corrupted_labels", "pair_flipped_labels", "wrong_labels"])
def test_levels_are_nested(name: str) -> None:
    splits = labelled(10)
    levels = [relabelled(splits, name, 1, p) for p in (0.25, 0.5, 0.75, 1.0)]

    for fewer, more in pairwise(levels):
        assert fewer.changed.sum() < more.changed.sum()
        assert not (fewer.changed & ~more.changed).any()
        assert np.array_equal(fewer.labels[fewer.changed], more.labels[fewer.changed])


def test_pair_flip_moves_to_the_next_class_and_wraps() -> None:
    result = relabelled(labelled(10), "pair_flipped_labels", 2, 1.0)

    assert result.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert result.changed.all()


def test_seeds_give_independent_labels() -> None:
    splits = labelled(10)

    first, second = (relabelled(splits, "random_labels", seed).labels for seed in (0, 1))

    assert sigmas(int((first == second).sum()), EXAMPLES, 0.1) < 5


def test_a_seed_of_their_own_moves_the_labels_alone() -> None:
    splits = labelled(10)
    spec = RunSpec(corruption=CorruptionSpec(name="random_labels"), seed=0)

    moved = corrupt(splits, spec.model_copy(update={"stream_seeds": {"labels": 1}})).train

    assert np.array_equal(moved.labels, relabelled(splits, "random_labels", 1).labels)


def test_subset_keeps_the_labels_of_the_whole() -> None:
    splits = labelled(10, 500)
    chosen = np.sort(np.random.default_rng(0).choice(500, 60, replace=False))
    whole = relabelled(splits, "random_labels", 3)

    part = relabelled(Splits(splits.train.take(chosen), splits.test), "random_labels", 3)

    assert np.array_equal(part.labels, whole.labels[chosen])
    assert part.source_size == 500

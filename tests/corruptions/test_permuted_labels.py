"""Permuted labels: every class keeps its size, and the permutation is the documented one."""

from __future__ import annotations

import numpy as np

from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.core.streams import Stream
from shattering.corruptions.registry import corrupt
from shattering.data.digits import digits


def test_labels_are_dealt_out_anew_by_the_documented_permutation() -> None:
    splits = digits()
    labels = splits.train.labels
    spec = RunSpec(corruption=CorruptionSpec(name="permuted_labels"), stream_seeds={"label-permutation": 5})

    permuted = corrupt(splits, spec).train

    assert np.array_equal(permuted.labels, labels[Stream(5, "label-permutation").permutation(len(labels))])
    assert np.array_equal(np.bincount(permuted.labels), np.bincount(labels))
    shares = np.bincount(labels) / len(labels)
    assert abs(permuted.changed.mean() - (1 - (shares**2).sum())) < 0.03


def test_a_subset_keeps_its_own_labels() -> None:
    splits = digits()
    part = type(splits)(splits.train.take(np.arange(0, 90, 3)), splits.test)

    permuted = corrupt(part, RunSpec(corruption=CorruptionSpec(name="permuted_labels"))).train

    assert sorted(permuted.labels) == sorted(part.train.labels)
    assert not np.array_equal(permuted.labels, part.train.labels)

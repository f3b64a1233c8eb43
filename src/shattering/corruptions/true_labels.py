"""The data as they are."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream
from shattering.corruptions.registry import corruption
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2", changes="nothing", test_set="untouched")
def true_labels(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Leaves labels and images as they are: the baseline of every comparison."""
    return dataset

"""Labels that say nothing about the images."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream
from shattering.corruptions.partially_corrupted_labels import partially_corrupted_labels
from shattering.corruptions.registry import corruption
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2.1", changes="labels", test_set="untouched")
def random_labels(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Replaces every training label by a class drawn uniformly from all classes: p = 1 of the partial corruption."""
    return partially_corrupted_labels(dataset, stream, p=1.0)

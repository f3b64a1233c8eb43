"""Asymmetric label noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shattering.core.streams import Stream, events
from shattering.corruptions.registry import corruption, relabel, require_fraction
from shattering.data.dataset import Dataset


@corruption(
    paper="Patrini et al. (2017), asymmetric noise; pair flip of Han et al. (2018)",
    changes="labels",
    test_set="untouched",
)
def pair_flipped_labels(dataset: Dataset, stream: Callable[[str], Stream], *, p: float) -> Dataset:
    """Turns each training label c, with probability p, into its neighbour (c + 1) mod k.

    The fraction of wrong labels is p in expectation. Word 0 of the stream ``labels`` at index i decides for example i.

    Args:
        dataset: a training split.
        stream: gives the stream ``labels``.
        p: probability of a flip, in [0, 1].

    Raises:
        SpecError: p is outside [0, 1].
    """
    require_fraction("p", p)
    flipped = events(stream("labels").words(dataset.source_indices)[:, 0], p)
    neighbours = (dataset.original_labels + 1) % dataset.num_classes
    return relabel(dataset, np.where(flipped, neighbours, dataset.original_labels))

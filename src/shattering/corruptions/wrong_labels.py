"""Symmetric label noise that counts wrong labels only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shattering.core.streams import Stream, events, uniform_classes
from shattering.corruptions.registry import corruption, relabel, require_fraction
from shattering.data.dataset import Dataset


@corruption(paper="Patrini et al. (2017), symmetric noise", changes="labels", test_set="untouched")
def wrong_labels(dataset: Dataset, stream: Callable[[str], Stream], *, p: float) -> Dataset:
    """Turns each training label, with probability p, into one of the other classes, each as likely.

    The fraction of wrong labels is p in expectation, whereas `partially_corrupted_labels` may draw the old class again.
    For example i, word 0 of the stream ``labels`` at index i decides whether, and word 1 which class; with a single
    class nothing changes.

    Args:
        dataset: a training split.
        stream: gives the stream ``labels``.
        p: probability that a label is made wrong, in [0, 1].

    Raises:
        SpecError: p is outside [0, 1].
    """
    require_fraction("p", p)
    if dataset.num_classes < 2:
        return dataset
    words = stream("labels").words(dataset.source_indices)
    steps = 1 + uniform_classes(words[:, 1], dataset.num_classes - 1)
    others = (dataset.original_labels + steps) % dataset.num_classes
    return relabel(dataset, np.where(events(words[:, 0], p), others, dataset.original_labels))

"""Label noise at any level between none and all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shattering.core.streams import Stream, events, uniform_classes
from shattering.corruptions.registry import corruption, relabel, require_fraction
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2.1", changes="labels", test_set="untouched")
def partially_corrupted_labels(dataset: Dataset, stream: Callable[[str], Stream], *, p: float) -> Dataset:
    """Redraws each training label, with probability p, uniformly from all classes.

    The new class may equal the old one, so the expected fraction of wrong labels is p · (1 - 1/k) for k classes. For
    example i of the whole training split, one Philox block of the stream ``labels`` at index i decides: word 0 whether
    the label is redrawn, word 1 the class (see `shattering.core.streams`). Hence the labels redrawn at a smaller p are
    among those at a larger one, and get the same class; and an example has the same label in every subset.

    Args:
        dataset: a training split.
        stream: gives the stream ``labels``.
        p: probability that a label is redrawn, in [0, 1].

    Raises:
        SpecError: p is outside [0, 1].
    """
    require_fraction("p", p)
    words = stream("labels").words(dataset.source_indices)
    drawn = uniform_classes(words[:, 1], dataset.num_classes)
    return relabel(dataset, np.where(events(words[:, 0], p), drawn, dataset.original_labels))

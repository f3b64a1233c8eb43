"""A permutation of the pixels for each image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shattering.core.streams import Stream
from shattering.corruptions.pixels import CHUNK, as_positions, positions
from shattering.corruptions.registry import corruption, replace_inputs
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2.1", changes="inputs", test_set="drawn anew")
def random_pixels(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Moves the pixels of each image by a random permutation of its own.

    Training image i takes the permutation of the stream ``pixels`` at index i, test image i that of ``pixels/test``;
    channels move together, after any centre crop. The paper does not say whether the test images are permuted too;
    here they are, so that both splits come from one distribution.
    """
    source = as_positions(dataset)
    draws = stream("pixels" if dataset.split == "train" else "pixels/test")
    moved = np.empty_like(source)
    for start in range(0, len(source), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(source)))
        orders = draws.permutations(dataset.source_indices[rows], positions(dataset))
        moved[rows] = np.take_along_axis(source[rows], orders[:, :, None], axis=1)
    return replace_inputs(dataset, moved.reshape(dataset.inputs.shape))

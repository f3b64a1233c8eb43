"""One permutation of the pixels for all images."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream
from shattering.corruptions.pixels import as_positions, positions
from shattering.corruptions.registry import corruption, replace_inputs
from shattering.data.dataset import Dataset


@corruption(paper="Zhang et al. (2017), Section 2.1", changes="inputs", test_set="same change")
def shuffled_pixels(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Moves the pixels of every image, training and test alike, by one and the same random permutation.

    The channels of a pixel move together; the permutation is that of the stream ``pixels`` at index 0 over the
    positions of the image (row by row), taken after any centre crop. Position j of the new image holds what stood at
    position ``permutation[j]``.
    """
    order = stream("pixels").permutation(positions(dataset))
    shuffled = as_positions(dataset)[:, order]
    return replace_inputs(dataset, shuffled.reshape(dataset.inputs.shape))

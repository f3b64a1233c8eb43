"""A feature that every example shares is taken away."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.streams import Stream
from shattering.corruptions.pixels import as_positions
from shattering.corruptions.registry import corruption, replace_inputs
from shattering.data.dataset import Dataset


@corruption(paper="Chatterjee & Zielinski (2022), the illustrative example", changes="inputs", test_set="same change")
def without_last_feature(dataset: Dataset, stream: Callable[[str], Stream]) -> Dataset:
    """Sets the last feature of every example to zero: the last pixel of an image, all its channels.

    Of the data set ``six_weights`` it leaves examples that share nothing, as random labels would. Nothing is random.
    """
    inputs = as_positions(dataset).copy()
    inputs[:, -1] = 0
    return replace_inputs(dataset, inputs.reshape(dataset.inputs.shape))

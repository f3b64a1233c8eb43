"""Images seen as rows of positions, each holding its channels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from shattering.data.dataset import Dataset

CHUNK = 2048
"""Images handled at once, to bound memory."""


def positions(dataset: Dataset) -> int:
    """How many positions an example has: pixels of an image, or features."""
    shape = dataset.inputs.shape
    return shape[1] * shape[2] if dataset.is_image else int(dataset.inputs[0].size)


def as_positions(dataset: Dataset) -> NDArray[Any]:
    """The inputs as ``[n, positions, channels]``."""
    return dataset.inputs.reshape(len(dataset), positions(dataset), -1)

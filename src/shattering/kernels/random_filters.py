"""Random convolutional features: one layer of filters that nobody trained, and the linear kernel on their answers.

The pipeline is that of Coates, Lee and Ng (2011), its filters patches of training images as in Coates and Ng (2012).
Every patch x of an image is normalised, ``x̂ = (x - mean) / √(variance + floor)``, and whitened; its answer to filter f
is ``r = fᵀ W (x̂ - μ)``; the two halves ``max(0, r - α)`` and ``max(0, -r - α)`` are averaged over a grid of regions.
Whitening W is the zero-phase one, ``(C + ε)^(-1/2)`` for the mean μ and covariance C of normalised patches.

32,000 filters give 256,000 features; `filter_kernel` sums what is wanted of them without ever holding them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import SpecError
from shattering.core.streams import NORMAL_ONE, Stream

if TYPE_CHECKING:
    import torch

Images = NDArray[np.float32]

FLOOR = 10 / 255**2
"""Added to a patch's variance, for values in [0, 1]: the 10 that Coates and Ng add for bytes."""

WHITENING = 0.1
"""ε, added to the eigenvalues of the covariance of normalised patches."""

SAMPLE = 100_000
"""Whitening is estimated from at most so many patches, evenly spread over the images."""

TRIES = 8
"""A filter takes the first of so many candidate patches that is not of one colour."""

BATCH_BYTES = 128 << 20
"""Answers of a batch of images to a block of filters take about so much memory, a few times over."""


@dataclass(frozen=True, eq=False)
class FilterBank:
    """A bank of filters, with everything needed to apply it to any image of the same shape.

    Args:
        weights: float32 ``[filters, channels, patch, patch]``: whitened filters, each summing to zero over a patch.
        offsets: float32 ``[filters]``: minus the answer to the mean patch.
        threshold: α, at least 0, in units of a unit filter's answer to a whitened patch.
        regions: of the pooling grid, per side.
    """

    weights: NDArray[np.float32]
    offsets: NDArray[np.float32]
    threshold: float
    regions: int

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def per_filter(self) -> int:
        """Features of one filter: two halves in every region."""
        return 2 * self.regions**2

    @property
    def features(self) -> int:
        """Features of an image, D."""
        return len(self) * self.per_filter

    def part(self, start: int, stop: int) -> FilterBank:
        """The filters ``start`` to ``stop``."""
        return FilterBank(self.weights[start:stop], self.offsets[start:stop], self.threshold, self.regions)


def draw_filters(
    images: Images,
    stream: Stream,
    *,
    filters: int,
    patch: int = 6,
    draw: Literal["patches", "gaussian"] = "patches",
    threshold: float = 0.25,
    regions: int = 2,
) -> FilterBank:
    """Draws a bank of filters; only the training images may be shown to it.

    Filter i has index i in the stream. As a patch: candidate t comes from block t, whose words 0, 1 and 2 give the
    image, the row and the column of its corner by multiply and shift; the first candidate with a variance above
    `FLOOR` is taken, else the last of `TRIES`. As noise: standard normal numbers. Either has norm 1 after whitening.

    Args:
        images: float32 ``[n, h, w, c]``, the training images, in [0, 1] or whitened.
        stream: where filters are drawn from.
        filters: number of filters, at least 1.
        patch: side of a filter, pixels.
        draw: whether filters are patches of the images or Gaussian noise.
        threshold: α.
        regions: of the pooling grid, per side.

    Raises:
        SpecError: ``filters-not-images`` where inputs have no height and width; ``filters-too-large`` where a patch
            does not leave the map as many positions as there are regions.
    """
    _check(images, patch, regions)
    mean, whitening = _whitening(images, patch)
    if draw == "patches":
        found = _normalised(_random_patches(images, stream, filters, patch)) @ whitening - mean @ whitening
    else:
        found = stream.normals(np.arange(filters), whitening.shape[0]) / NORMAL_ONE
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    weights = found @ whitening
    offsets = -(weights @ mean)
    weights -= weights.mean(axis=1, keepdims=True)  # a normalised patch sums to zero: it makes no difference to answers
    shaped = weights.reshape(filters, patch, patch, images.shape[3]).transpose(0, 3, 1, 2)
    return FilterBank(np.ascontiguousarray(shaped, dtype=np.float32), offsets.astype(np.float32), threshold, regions)


def filter_features(images: Images, bank: FilterBank, *, device: str = "cpu") -> torch.Tensor:
    """The features of images, all filters of the bank at once.

    Args:
        images: float32 ``[n, h, w, c]``.
        bank: the filters; a part of a bank where all of them would not fit.
        device: where it is computed, and stays.

    Returns:
        float32 ``[n, D]``, none negative; 0 where no answer in a region exceeds the threshold. The order of axes is
        (filter, half, row, column), so a part of the bank gives a part of the columns.
    """
    import torch

    count, height, width, channels = images.shape
    weights, offsets = (torch.from_numpy(array).to(device) for array in (bank.weights, bank.offsets))
    side = weights.shape[-1]
    box = torch.full((1, channels, side, side), 1.0 / (channels * side * side), device=device)
    features = torch.empty((count, bank.features), device=device)
    batch = max(1, BATCH_BYTES // (4 * len(bank) * (height - side + 1) * (width - side + 1)))
    for start in range(0, count, batch):
        chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device).permute(0, 3, 1, 2)
        features[start : start + len(chunk)] = _pooled(chunk, weights, offsets, box, bank)
    return features


def _pooled(
    chunk: torch.Tensor, weights: torch.Tensor, offsets: torch.Tensor, box: torch.Tensor, bank: FilterBank
) -> torch.Tensor:
    """Features of a batch ``[m, c, h, w]``: ``[m, D]``."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, conv2d

    mean = conv2d(chunk, box)
    deviation = (conv2d(chunk * chunk, box) - mean * mean).clamp_(min=0).add_(FLOOR).sqrt_()
    answers = conv2d(chunk, weights).div_(deviation).add_(offsets[:, None, None])
    above = adaptive_avg_pool2d((answers - bank.threshold).relu_(), bank.regions)
    below = adaptive_avg_pool2d(answers.neg_().sub_(bank.threshold).relu_(), bank.regions)
    return torch.stack([above, below], dim=2).flatten(1)


def _check(images: NDArray[Any], patch: int, regions: int) -> None:
    if images.ndim != 4:
        raise SpecError(
            "filters-not-images",
            f"Convolutional filters need images [n, height, width, channels], not inputs of shape "
            f"{list(images.shape)}; use another kernel for features.",
        )
    room = min(images.shape[1:3]) - patch + 1
    if patch < 2 or room < regions:
        raise SpecError(
            "filters-too-large",
            f"Filters of {patch} × {patch} pixels on images of {images.shape[1]} × {images.shape[2]} leave no "
            f"{regions} × {regions} regions; set a patch between 2 and {min(images.shape[1:3]) - regions + 1}.",
        )


def _random_patches(images: Images, stream: Stream, filters: int, patch: int) -> NDArray[np.float64]:
    words = stream.words(np.arange(filters), blocks=TRIES).reshape(filters, TRIES, 4).astype(np.uint64)
    ranges = np.array([len(images), images.shape[1] - patch + 1, images.shape[2] - patch + 1], dtype=np.uint64)
    picks = ((words[:, :, :3] * ranges) >> np.uint64(32)).astype(np.int64)
    found = np.empty((filters, patch * patch * images.shape[3]))
    for index, candidates in enumerate(picks):
        for image, row, column in candidates:
            found[index] = images[image, row : row + patch, column : column + patch].reshape(-1)
            if found[index].var() > FLOOR:
                break
    return found


def _normalised(patches: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = patches - patches.mean(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = centred / np.sqrt(patches.var(axis=1, keepdims=True) + FLOOR)
    return normalised


def _whitening(images: Images, patch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of normalised patches and the symmetric matrix that whitens them, from patches side by side."""
    rows, columns = (range(0, size - patch + 1, patch) for size in images.shape[1:3])
    step = max(1, len(images) * len(rows) * len(columns) // SAMPLE)
    sample = [
        images[::step, row : row + patch, column : column + patch].reshape(-1, patch * patch * images.shape[3])
        for row in rows
        for column in columns
    ]
    patches = _normalised(np.concatenate(sample).astype(np.float64))
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False, bias=True))
    whitening: NDArray[np.float64] = (vectors / np.sqrt(np.maximum(values, 0) + WHITENING)) @ vectors.T
    return patches.mean(axis=0), whitening

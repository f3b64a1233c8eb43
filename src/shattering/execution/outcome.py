"""What a record keeps of a trained network and of the examples it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from shattering.data.dataset import Dataset


def weights_sha256(weights: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, shapes and little-endian bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}{little.dtype.str}{little.shape}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def arrays_of(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Parameters and buffers by name, on the CPU."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in model.state_dict().items()}


def example_facts(train_split: Dataset) -> dict[str, Any]:
    """Columns with one entry per training example: which it is, its label as trained on and before, what changed."""
    return {
        "index": train_split.source_indices,
        "label": train_split.labels,
        "original_label": train_split.original_labels,
        "changed": train_split.changed,
    }

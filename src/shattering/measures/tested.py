"""What a network says of each test example at the end: its prediction, and all its outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import ShatteringError
from shattering.core.record import Record
from shattering.measures.registry import Probe, tested_measure


@tested_measure(units={"index": "1", "left_out": "1", "label": "1", "prediction": "1"})
def tested_predictions(probe: Probe) -> dict[str, NDArray[Any]]:
    """The final prediction for each test example, with which example it is and its label.

    Returns:
        ``index``, int64: its place in the split it comes from; ``left_out``, bool: whether that is the training split;
        ``label`` and ``prediction``, int64 classes.
    """
    return {**_which(probe), "prediction": probe.test[1].cpu().numpy().astype(np.int64)}


@tested_measure(units={"index": "1", "left_out": "1", "label": "1", "output_*": "1"})
def tested_outputs(probe: Probe) -> dict[str, NDArray[Any]]:
    """The final outputs for each test example: logits under cross-entropy, scores under the squared loss.

    Returns:
        ``index``, ``left_out`` and ``label`` as in `tested_predictions`; ``output_0`` …, float32, one for each class.
    """
    found = probe.test_outputs.cpu().numpy()
    return {**_which(probe), **{f"output_{place}": found[:, place].copy() for place in range(found.shape[1])}}


def outputs_of(record: Record) -> NDArray[np.float32]:
    """The outputs that `tested_outputs` kept, ``[n_test, k]``; raises `ShatteringError` where it was not asked for."""
    names = [name for name in record.tested if name.startswith("output_")]
    if not names:
        raise ShatteringError("record-without-outputs", f"The run {record.digest} lacks the measure tested_outputs.")
    names.sort(key=lambda name: int(name.removeprefix("output_")))
    return np.column_stack([record.tested[name] for name in names])


def _which(probe: Probe) -> dict[str, NDArray[Any]]:
    count = len(probe.test_labels)
    places = np.arange(count) if probe.test_indices is None else probe.test_indices.cpu().numpy()
    return {
        "index": places.astype(np.int64),
        "left_out": np.arange(count) < probe.left_out,
        "label": probe.test_labels.cpu().numpy().astype(np.int64),
    }

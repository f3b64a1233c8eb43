"""What a training would have predicted, had it been stopped where examples kept for validation were predicted best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.streams import Stream
from shattering.measures.registry import Columns, Probe, tested_fold

HALVES_SEED = 0
"""The test set is halved once for all runs."""


@tested_fold(
    units={"stopped_step": "steps", "stopped_prediction": "1", "stopped_best": "1"},
    paper="Prechelt (1998), Early stopping - but when?",
)
def early_stopping(probe: Probe, before: Columns) -> dict[str, NDArray[Any]]:
    """Each half of the test set as it is predicted at the snapshot where the other half was predicted best.

    The halves are the even and the odd places of the permutation of ``Stream(0, "validation-halves")``. Each is the
    other's validation set, so no example has a say in when it is itself predicted, and all of them count. Of snapshots
    equally good the first is taken. Accuracy of ``stopped_prediction`` is that of early stopping, free of the optimism
    of choosing by the test set.

    Args:
        probe: the network beside its test set of at least two examples, or one, which is then never stopped for.
        before: the columns at the snapshot before; empty at the first.

    Returns:
        ``stopped_step``, int64: updates made where each test example is predicted; ``stopped_prediction``, int64: the
        class; ``stopped_best``, float64: accuracy of the other half there.
    """
    labels = probe.test_labels.cpu().numpy()
    predictions = probe.test[1].cpu().numpy().astype(np.int64)
    return stopped(predictions, predictions == labels, probe.step, before)


def stopped(
    predictions: NDArray[np.int64], right: NDArray[np.bool_], step: int, before: Columns
) -> dict[str, NDArray[Any]]:
    """The columns of `early_stopping` from predictions, whether they are right, and the columns before."""
    count = len(predictions)
    first = halves(count)
    accuracies = [float(right[half].mean()) if half.any() else 0.0 for half in (first, ~first)]
    validated = np.where(first, accuracies[1], accuracies[0])
    if "stopped_best" not in before:
        return {
            "stopped_step": np.full(count, step, np.int64),
            "stopped_prediction": predictions,
            "stopped_best": validated,
        }
    better = validated > before["stopped_best"]
    return {
        "stopped_step": np.where(better, step, before["stopped_step"]).astype(np.int64),
        "stopped_prediction": np.where(better, predictions, before["stopped_prediction"]).astype(np.int64),
        "stopped_best": np.where(better, validated, before["stopped_best"]),
    }


def halves(count: int) -> NDArray[np.bool_]:
    """Whether each of ``count`` test examples is in the first half."""
    order = Stream(HALVES_SEED, "validation-halves").permutation(count)
    first = np.zeros(count, dtype=np.bool_)
    first[order[::2]] = True
    return first

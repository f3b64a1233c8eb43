"""How the training went for each example: margin, confidence, forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.measures.registry import Probe, example_measure, tested_fold

Columns = Mapping[str, NDArray[Any]]


@example_measure(
    units={
        "looks": "1",
        "margin_area": "1",
        "confidence": "1",
        "variability": "1",
        "correctness": "1",
        "forgetting": "1",
        "right": "1",
    },
    paper="Pleiss et al. (2020); Toneva et al. (2019); Swayamdipta et al. (2020)",
)
def learning_dynamics(probe: Probe, before: Columns) -> dict[str, NDArray[Any]]:
    """Area under the margin, forgetting events, mean confidence and its spread, over the snapshots of a training.

    All are of the label trained on, in evaluation mode, over the snapshots after the first update. With o the outputs
    and y the label of an example: the area under the margin is the mean over snapshots of o_y - max over c ≠ y of o_c
    (Pleiss et al. 2020; outputs, not probabilities), low where the network resists the label. A forgetting event is a
    snapshot at which an example is wrong that was right at the one before (Toneva et al. 2019, who count at
    presentations); one that was never right counts as forgotten at every snapshot. Confidence and variability are mean
    and standard deviation over snapshots of softmax(o)_y, correctness the fraction of snapshots at which it was right
    (Swayamdipta et al. 2020).

    Args:
        probe: the network beside its training data.
        before: the columns at the snapshot before; empty at the first.

    Returns:
        Columns with one number for each training example: ``looks``, int64, the snapshots so far; ``margin_area``,
        float64, above 0 where the label leads on average; ``confidence`` in [0, 1], ``variability`` in [0, 1/2],
        ``correctness`` in [0, 1]; ``forgetting``, int64 in 0 … looks; ``right``, bool, at the last snapshot.
    """
    labels = probe.labels.cpu().numpy()
    if probe.step == 0:
        return folded(None, labels)
    return folded(by_class(probe.train_outputs.cpu().numpy()), labels, before)


def folded(outputs: NDArray[Any] | None, labels: NDArray[np.int64], before: Columns | None = None) -> dict[str, Any]:
    """The columns of `learning_dynamics` with one more snapshot.

    Args:
        outputs: ``[n, k]``; none: no snapshot yet.
        labels: int64 ``[n]``.
        before: the columns so far; none: no snapshot yet.
    """
    count = len(labels)
    if outputs is None or before is None or "looks" not in before:
        blank = {name: np.zeros(count) for name in ("margin_area", "confidence", "variability", "correctness")}
        start = {"looks": np.zeros(count, np.int64), **blank}
        before = {**start, "forgetting": np.zeros(count, np.int64), "right": np.zeros(count, np.bool_)}
        if outputs is None:
            return dict(before)
    looks = before["looks"] + 1
    margin, chance = margins(outputs, labels), probabilities(outputs)[np.arange(count), labels]
    right = margin > 0
    # Welford's update of a mean and a sum of squares
    confidence = before["confidence"] + (chance - before["confidence"]) / looks
    squares = before["variability"] ** 2 * before["looks"] + (chance - before["confidence"]) * (chance - confidence)
    correctness = before["correctness"] + (right - before["correctness"]) / looks
    known = before["correctness"] > 0
    forgetting = np.where(known, before["forgetting"] + (before["right"] & ~right), np.where(right, 0, looks))
    return {
        "looks": looks,
        "margin_area": before["margin_area"] + (margin - before["margin_area"]) / looks,
        "confidence": confidence,
        "variability": np.sqrt(squares / looks),
        "correctness": correctness,
        "forgetting": forgetting.astype(np.int64),
        "right": right,
    }


@tested_fold(units={"test_looks": "1", "mean_probability_*": "1"}, paper="Laine & Aila (2017), temporal ensembling")
def tested_dynamics(probe: Probe, before: Columns) -> dict[str, NDArray[Any]]:
    """Mean over the snapshots of the probabilities that the network gives each test example's classes.

    A network that goes on to fit wrong labels takes their neighbours along; what it said over the whole training is
    nearer the truth than its last word. Snapshots after the first update count, in evaluation mode.

    Returns:
        ``test_looks``, int64, the snapshots so far, and ``mean_probability_0`` …, float64 in [0, 1], one for each
        class; they sum to 1, or are 0 before the first update.
    """
    outputs = by_class(probe.test_outputs.cpu().numpy())
    names = [f"mean_probability_{place}" for place in range(outputs.shape[1])]
    looks = before.get("test_looks", np.zeros(len(outputs), np.int64))
    means = np.column_stack([before[name] for name in names]) if names[0] in before else np.zeros(outputs.shape)
    if probe.step > 0:
        looks = looks + 1
        means = means + (probabilities(outputs) - means) / looks[:, None]
    return {"test_looks": looks, **{name: means[:, place].copy() for place, name in enumerate(names)}}


def by_class(outputs: NDArray[Any]) -> NDArray[Any]:
    """An output for each class; a single one, which is positive for the second of two classes, becomes two."""
    return np.hstack([-outputs, outputs]) if outputs.shape[1] == 1 else outputs


def margins(outputs: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the label's output lies above the largest other one; ``[n]`` from ``[n, k]``."""
    rest = np.array(outputs, dtype=np.float64)
    rows = np.arange(len(labels))
    own = rest[rows, labels]
    rest[rows, labels] = -np.inf
    difference: NDArray[np.float64] = own - rest.max(axis=1)
    return difference


def probabilities(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """softmax over classes, ``[n, k]``."""
    raised = np.exp(np.asarray(outputs, np.float64) - outputs.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return shares

"""Records of trainings on subsets, made up from which examples each had and which it gets right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.measures.memorisation import SubsetOutcomes


def subset_record(
    spec: RunSpec,
    subset: NDArray[np.integer],
    labels: NDArray[np.integer],
    said: NDArray[np.integer],
    test_labels: NDArray[np.integer],
    test_said: NDArray[np.integer],
    *,
    original: NDArray[np.integer] | None = None,
    outputs: int = 0,
) -> Record:
    """A training on ``subset`` of examples with ``labels``, which says ``said`` of them all.

    ``original`` labels are those the data have; ``outputs`` classes are given as scores in place of predictions.
    """
    rest = np.setdiff1d(np.arange(len(labels)), subset)
    given = labels if original is None else original
    predicted = np.concatenate([said[rest], test_said])
    tested = {
        "index": np.concatenate([rest, np.arange(len(test_labels))]),
        "left_out": np.arange(len(predicted)) < len(rest),
        "label": np.concatenate([given[rest], test_labels]),
    }
    if outputs:
        scores = np.eye(outputs, dtype=np.float32)[predicted]
        tested |= {f"output_{place}": scores[:, place] for place in range(outputs)}
    else:
        tested["prediction"] = predicted
    examples = {"index": subset, "label": labels[subset], "prediction": said[subset]}
    return Record(spec, Status.DONE, examples=examples, tested=tested)


def world(
    draw: np.random.Generator, runs: int, rates: NDArray[np.float64], *, fraction: float = 0.7, common: float = 0.0
) -> SubsetOutcomes:
    """Trainings that get right what they had, and example i with probability ``rates[i]`` where it was left out.

    ``common`` is the correlation of what examples have in common in a training.
    """
    from scipy.special import ndtri

    count = len(rates)
    inside = np.zeros((runs, count), dtype=np.bool_)
    for run in range(runs):
        inside[run, draw.permutation(count)[: round(fraction * count)]] = True
    chance = np.sqrt(common) * draw.normal(size=(runs, 1)) + np.sqrt(1 - common) * draw.normal(size=(runs, count))
    right = inside | (chance < ndtri(np.clip(rates, 1e-9, 1 - 1e-9)))
    return SubsetOutcomes(np.arange(count), np.zeros(count, dtype=np.int64), inside, ~inside, right)

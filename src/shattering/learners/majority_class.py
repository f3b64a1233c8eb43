"""The most frequent class, whatever the input: what every other model has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shattering.learners.registry import Fitted, Material, learner


@learner(
    summary="always the most frequent class, the baseline",
    paper="common knowledge",
    units={"majority": "1"},
)
def majority_class(material: Material) -> Fitted:
    """Scores every input by the frequencies of the classes in the training set.

    Returns:
        Scores equal for all inputs; ``majority``, the frequency of the most frequent class, from 1/k to 1.
    """
    frequencies = np.bincount(material.labels, minlength=material.num_classes) / len(material.labels)

    def scores(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.tile(frequencies, (len(inputs), 1))

    return Fitted(scores, {"majority": float(frequencies.max())}, {"frequencies": frequencies})

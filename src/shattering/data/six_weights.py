"""Five examples with six features, of which the last is common: the illustrative example of coherence, exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shattering.data.checks import frozen
from shattering.data.dataset import Dataset, Split, Splits, dataset, moments

SIGNS = (1, -1, -1, 1, -1)
"""The targets of the five examples; the last one is the test example."""


@dataset("six_weights", summary="five examples of six features, 4 + 1, of coherence's illustrative example; embedded")
def six_weights(folder: Path | None = None) -> Splits:
    """Example i has its target sᵢ = ±1 twice, at its own feature i and at feature 6, which all examples share.

    ``x_i = s_i e_i + s_i e_6`` for i = 1 … 5, the first four for training (Chatterjee & Zielinski 2022, the
    illustrative example). Class 1 stands for the target 1 and class 0 for -1; the corruption
    ``without_last_feature`` makes of it the paper's world in which nothing is shared. ``folder`` is not used.
    """
    signs = np.array(SIGNS)
    inputs = np.zeros((len(signs), len(signs) + 1))
    np.fill_diagonal(inputs, signs)
    inputs[:, -1] = signs
    labels = (signs > 0).astype(np.int64)
    # The single test example cannot have both classes, which data from outside must.
    facts = moments(inputs[:-1])

    def part(split: Split, rows: slice) -> Dataset:
        return Dataset(
            frozen(inputs[rows]), labels[rows], 2, "six_weights", split, 1.0, class_names=("-1", "1"), moments=facts
        )

    return Splits(part("train", slice(0, -1)), part("test", slice(-1, None)))

"""What stands for the data where a study draws its own: nothing is read from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shattering.data.checks import frozen
from shattering.data.dataset import Dataset, Split, Splits, dataset, moments


@dataset("drawn", summary="no data set: the study draws its own examples, in every run anew")
def drawn(folder: Path | None = None) -> Splits:
    """Two examples that nobody looks at, so that a simulation is planned like every other run.

    ``folder`` is not used.
    """
    inputs = np.array([[-1.0], [1.0]])
    facts = moments(inputs)

    def part(split: Split) -> Dataset:
        return Dataset(frozen(inputs), np.array([0, 1]), 2, "drawn", split, 1.0, moments=facts)

    return Splits(part("train"), part("test"))

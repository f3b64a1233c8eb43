"""A small network on a table: which of 569 breast tumours are malignant?

    python examples/table.py                                   # writes the table, then audits
    shattering audit examples/table.py:build --data audit-table/table.csv \\
        --set training.learning_rate=1e-2 --budget 1m --out audit-table/audit

The table is scikit-learn's copy of the Wisconsin diagnostic data (Street, Wolberg and Mangasarian, 1993): thirty
measurements of each tumour, each column brought to mean 0 and deviation 1, and a column ``label``.
"""

import csv
import sys
from pathlib import Path

from torch import nn

import shattering

RATE = 1e-2
"""Adam's learning rate, at which the network fits its data in about a second."""


def build(input_shape: tuple[int, ...], num_classes: int, width: int = 64) -> nn.Module:
    """A new network; the shape of an example and the number of classes come from the data."""
    return nn.Sequential(nn.Linear(input_shape[0], width), nn.ReLU(), nn.Linear(width, num_classes))


def write(folder: Path) -> Path:
    """Writes ``table.csv``."""
    from sklearn.datasets import load_breast_cancer

    tumours = load_breast_cancer()
    values = (tumours.data - tumours.data.mean(axis=0)) / tumours.data.std(axis=0)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*tumours.feature_names, "label"])
        for row, label in zip(values, tumours.target, strict=True):
            table.writerow([*(f"{value:.6g}" for value in row), tumours.target_names[label]])
    return path


def main(folder: str = "audit-table", budget: str = "1m") -> None:
    """Writes the data, audits the network on them and prints what was found."""
    data, out = write(Path(folder)), Path(folder) / "audit"
    print(shattering.audit(build, data, budget=budget, overrides={"training.learning_rate": RATE}, out=out))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""CIFAR-10: 60,000 photographs, 32 x 32 colour, ten classes (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

from shattering.data.cifar import Cifar, read_cifar
from shattering.data.dataset import Splits, dataset

CIFAR10 = Cifar(
    name="cifar10",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    folder=("cifar-10-batches-py", "cifar-10-batches-bin"),
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    label_key="labels",
    label_columns=("label",),
    label_bytes=1,
)


@dataset(
    "cifar10",
    summary="photographs, 32 x 32 colour, 10 classes, 50,000 + 10,000",
    files=CIFAR10.files,
    where="Get the Python or binary version from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in "
    "FOLDER/cifar10, or put train.parquet and test.parquet (columns img, label) there.",
)
def cifar10(folder: Path | None) -> Splits:
    """Reads Python batches, binary batches or Parquet in ``folder``."""
    return read_cifar(CIFAR10, folder)

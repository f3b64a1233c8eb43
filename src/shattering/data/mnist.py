"""MNIST: 70,000 handwritten digits, 28 x 28 grey (LeCun, Cortes, Burges)."""

from __future__ import annotations

from pathlib import Path

from shattering.core.errors import DataError
from shattering.data.checks import Part, build_splits
from shattering.data.dataset import Splits, dataset
from shattering.data.files import choose, show
from shattering.data.idx import read_idx

FILES = (
    (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ),
)


@dataset(
    "mnist",
    summary="handwritten digits, 28 x 28 grey, 60,000 + 10,000",
    files=FILES,
    where="Get the four IDX files of MNIST from http://yann.lecun.com/exdb/mnist/ or a mirror and put them, gzipped or "
    "not, in FOLDER/mnist.",
)
def mnist(folder: Path | None) -> Splits:
    """Reads the four IDX files in ``folder``, each gzipped or not."""
    found = choose(folder, FILES) if folder is not None else None
    if found is None:
        raise DataError("data-incomplete", f"{show(folder or '.')} lacks the four IDX files of mnist; put them there.")
    paths = [found[name] for name in FILES[0]]
    parts = []
    for images, labels in (paths[:2], paths[2:]):
        parts.append(Part(read_idx(images, 3)[..., None], read_idx(labels, 1), f"{show(images)}, {show(labels)}"))
    names = tuple(str(digit) for digit in range(10))
    return build_splits(*parts, name="mnist", num_classes=10, class_names=names)

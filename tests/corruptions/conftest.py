"""Small data sets of each kind, and fields for whatever corruption is registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shattering.core.registry import Field
from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec, TrainingSpec
from shattering.data.arrays import from_arrays
from shattering.data.dataset import Splits
from shattering.data.digits import digits

TRAIN, TEST, CLASSES = 120, 30, 10


def ramp(count: int, *shape: int, step: int = 37) -> np.ndarray:
    """Bytes that differ between all pixels, channels and images, without a random generator."""
    size = int(np.prod(shape))
    return (
        ((np.arange(count * size) * step + np.arange(count).repeat(size) * 11) % 251)
        .astype(np.uint8)
        .reshape(count, *shape)
    )


@pytest.fixture(scope="session")
def colour() -> Splits:
    """Colour images, higher than wide."""
    labels = np.arange(TRAIN) % CLASSES
    return from_arrays(ramp(TRAIN, 6, 5, 3), labels, ramp(TEST, 6, 5, 3, step=41), labels[:TEST], name="colour")


@pytest.fixture(scope="session")
def features() -> Splits:
    """Examples that are no images."""
    values = np.sin(np.arange(TRAIN * 7, dtype=np.float64)).reshape(TRAIN, 7).astype(np.float32)
    labels = np.arange(TRAIN) % CLASSES
    return from_arrays(values, labels, values[:TEST] * 2, labels[:TEST], name="features")


@pytest.fixture(scope="session")
def grey() -> Splits:
    return digits()


@pytest.fixture(params=["colour", "features", "grey"])
def splits(request: pytest.FixtureRequest) -> Splits:
    return request.getfixturevalue(request.param)


@pytest.fixture
def make_fields(tmp_path: Path):
    """A valid value for every field that a corruption requires, by the field's type and name."""

    def value(field: Field, splits: Splits) -> object:
        if field.name == "path":
            path = tmp_path / "labels.txt"
            labels = (splits.train.labels + np.arange(len(splits.train)) % 3) % splits.train.num_classes
            path.write_text("\n".join(map(str, labels.tolist())))
            return str(path)
        return {float: 0.4, int: 1, bool: True, str: "a"}[field.annotation]

    return lambda entry, splits: {field.name: value(field, splits) for field in entry.fields if field.required}


@pytest.fixture
def make_spec():
    """A spec with this corruption; batches of two, so that small subsets are allowed."""

    def build(
        name: str, fields: dict | None = None, *, seed: int = 3, train_size: int | None = None, **others
    ) -> RunSpec:
        return RunSpec(
            data=DataSpec(train_size=train_size),
            corruption=CorruptionSpec(name=name, fields=fields or {}),
            training=TrainingSpec(batch_size=2),
            seed=seed,
            **others,
        )

    return build

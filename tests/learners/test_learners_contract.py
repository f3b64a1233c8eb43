"""What holds for every registered learner, whoever adds one."""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from shattering.core.errors import SpecError, Stopped
from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.execution.outcome import weights_sha256
from shattering.learners.desk import Desk
from shattering.learners.registry import Fitted, Material, is_learner, learner_fields, learners
from shattering.models.registry import models

NAMES = learners.names()
SHAPES = ("images", "rows")

IMAGES_ONLY = {"random_filters"}
"""What looks at neighbouring pixels refuses inputs that have none."""

every_learner = pytest.mark.parametrize("name", NAMES)


def digits(examples: int = 120, *, seed: int = 0, shape: str = "images", desk: Desk | None = None) -> Material:
    """A few digits with their true labels; of ten classes, all are there."""
    splits = load_data("digits")
    inputs = (splits.train.inputs[:examples] / splits.train.divisor).astype(np.float32)
    return Material(
        inputs=inputs if shape == "images" else inputs.reshape(examples, -1),
        labels=np.array(splits.train.labels[:examples]),
        num_classes=splits.train.num_classes,
        stream=lambda purpose: Stream(seed, purpose),
        dtype="float64",
        desk=desk or Desk(),
    )


def fitted(name: str, material: Material) -> Fitted:
    return learners.get(name).learn(material)


def told(name: str) -> tuple[str, dict[str, float], bytes]:
    """A fit in few words, to compare across processes."""
    material = digits()
    result = fitted(name, material)
    return weights_sha256(result.weights), dict(result.facts), result.scores(material.inputs).tobytes()


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, tuple[str, dict[str, float], bytes]]:
    """Every learner's fit in one process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return dict(zip(NAMES, pool.map(told, NAMES), strict=True))


@every_learner
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_have_a_column_for_each_class(name, shape) -> None:
    material = digits(shape=shape)
    if shape == "rows" and name in IMAGES_ONLY:
        with pytest.raises(SpecError, match="images"):
            fitted(name, material)
        return
    result = fitted(name, material)

    for part in (material.inputs, material.inputs[:1]):
        scores = result.scores(part)
        assert scores.shape == (len(part), 10)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
    if result.train_scores is not None:
        assert result.train_scores.shape == (120, 10)
        agree = result.train_scores.argmax(axis=1) == result.scores(material.inputs).argmax(axis=1)
        assert agree.mean() > 0.99


@every_learner
def test_images_and_their_rows_are_the_same_to_it(name) -> None:
    if name in IMAGES_ONLY:
        return

    images, rows = (fitted(name, digits(shape=shape)) for shape in SHAPES)

    assert weights_sha256(images.weights) == weights_sha256(rows.weights)


@every_learner
def test_facts_are_finite_numbers_with_units(name) -> None:
    facts = fitted(name, digits()).facts

    units = learners.get(name).units
    for fact, value in facts.items():
        assert fact in units, fact
        assert type(value) in (int, float), fact
        assert math.isfinite(value), fact


@every_learner
def test_equal_streams_make_equal_fits_in_any_process(name, elsewhere) -> None:
    first = told(name)

    assert first == told(name)
    assert first == elsewhere[name]


@every_learner
def test_weights_define_the_fit(name) -> None:
    """Arrays of plain numbers that can be hashed and written to a file, and that change with the labels."""
    material = digits()
    other = Material(material.inputs, (material.labels + 1) % 7, 10, material.stream, dtype="float64")

    weights = fitted(name, material).weights

    assert weights
    for array in weights.values():
        assert isinstance(array, np.ndarray)
        assert array.dtype.kind in "fiu"
    assert weights_sha256(weights) != weights_sha256(fitted(name, other).weights)


@every_learner
def test_leaves_its_material_alone(name) -> None:
    material = digits()
    inputs, labels = material.inputs.copy(), material.labels.copy()

    result = fitted(name, material)
    result.scores(material.inputs)

    np.testing.assert_array_equal(material.inputs, inputs)
    np.testing.assert_array_equal(material.labels, labels)


@every_learner
def test_classes_never_shown_have_a_score(name) -> None:
    material = digits()
    few = Material(material.inputs, 3 + material.labels % 2, 10, material.stream, dtype="float64")

    scores = fitted(name, few).scores(material.inputs)

    assert scores.shape == (120, 10)
    assert np.isfinite(scores).all()


@every_learner
def test_can_be_stopped(name) -> None:
    """By the first question or any later one; a learner that never asks could not be stopped at all."""
    if name == "majority_class":
        return  # one count of labels

    with pytest.raises(Stopped):
        material = digits(desk=Desk(stop=lambda: True))
        fitted(name, material).scores(material.inputs)


@every_learner
def test_fields_are_checked(name) -> None:
    entry = learners.get(name)

    assert learner_fields(entry, {}) == {}
    with pytest.raises(SpecError):
        learner_fields(entry, {"no_such_field": 1})
    for field in entry.fields:
        assert learner_fields(entry, {field.name: field.default}) == {}
        with pytest.raises(SpecError) as caught:
            learner_fields(entry, {field.name: []})
        assert field.name in caught.value.message


@every_learner
def test_costs_are_positive_and_grow(name) -> None:
    entry = learners.get(name)

    assert entry.growth > 0
    if entry.memory is not None:
        small, large = (entry.memory(n, 100, 64, 10, {}) for n in (100, 10_000))
        assert 0 < small <= large


@every_learner
def test_is_documented_and_not_confused_with_a_network(name) -> None:
    entry = learners.get(name)

    assert entry.summary
    assert entry.paper
    assert entry.learn.__doc__
    assert is_learner(name)
    assert name not in models.names()

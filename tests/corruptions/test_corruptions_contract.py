"""What holds for every registered corruption, whoever adds one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.corruptions.registry import TestSet as Treatment
from shattering.corruptions.registry import corrupt, corruptions
from shattering.data.dataset import Dataset

NAMES = corruptions.names()
DOCUMENT = Path(__file__).parents[2] / "docs" / "corruptions.md"


def image(dataset: Dataset) -> tuple[object, ...]:
    """Everything a corruption might touch, as bytes."""
    arrays = (dataset.inputs, dataset.labels, dataset.original_labels, dataset.changed, dataset.source_indices)
    return tuple(array.tobytes() for array in arrays)


@pytest.mark.parametrize("name", NAMES)
def test_is_deterministic_and_leaves_its_input_alone(name, splits, make_fields, make_spec) -> None:
    spec = make_spec(name, make_fields(corruptions.get(name), splits))
    before = image(splits.train), image(splits.test)

    first, second = corrupt(splits, spec), corrupt(splits, spec)

    assert (image(splits.train), image(splits.test)) == before
    assert image(first.train) == image(second.train)
    assert image(first.test) == image(second.test)


@pytest.mark.parametrize("name", NAMES)
def test_result_is_well_formed(name, splits, make_fields, make_spec) -> None:
    result = corrupt(splits, make_spec(name, make_fields(corruptions.get(name), splits)))

    for before, after in ((splits.train, result.train), (splits.test, result.test)):
        assert after.inputs.shape == before.inputs.shape
        assert after.labels.shape == before.labels.shape
        assert after.labels.dtype == np.int64
        assert after.labels.min() >= 0
        assert after.labels.max() < after.num_classes
        assert np.isfinite(after.inputs).all()
        assert (after.divisor, after.num_classes, after.split) == (before.divisor, before.num_classes, before.split)
        assert after.moments == before.moments


@pytest.mark.parametrize("name", NAMES)
def test_remembers_what_it_changed(name, splits, make_fields, make_spec) -> None:
    entry = corruptions.get(name)
    result = corrupt(splits, make_spec(name, make_fields(entry, splits))).train

    assert result.changed.dtype == np.bool_
    assert np.array_equal(result.original_labels, splits.train.labels)
    if entry.changes == "labels":
        assert np.array_equal(result.changed, result.labels != result.original_labels)
        assert result.changed.any()
        assert result.inputs is splits.train.inputs
    else:
        assert np.array_equal(result.labels, splits.train.labels)
        assert result.changed.all() == (entry.changes == "inputs")
        assert np.array_equal(result.inputs, splits.train.inputs) == (entry.changes == "nothing")


@pytest.mark.parametrize("name", NAMES)
def test_treats_the_test_set_as_declared(name, splits, make_fields, make_spec) -> None:
    entry = corruptions.get(name)
    assert entry.test_set in get_args(Treatment)
    result = corrupt(splits, make_spec(name, make_fields(entry, splits))).test

    assert np.array_equal(result.labels, splits.test.labels)
    if entry.test_set == "untouched":
        assert result is splits.test
    else:
        assert not np.array_equal(result.inputs, splits.test.inputs)
        assert result.changed.all()


@pytest.mark.parametrize("name", [name for name in NAMES if not corruptions.get(name).joint])
def test_an_example_is_changed_alike_in_every_subset(name, splits, make_fields, make_spec) -> None:
    spec = make_spec(name, make_fields(corruptions.get(name), splits))
    chosen = np.array([2, 3, 5, 88, 40])
    part = type(splits)(splits.train.take(chosen), splits.test)

    whole, subset = corrupt(splits, spec).train.take(chosen), corrupt(part, spec).train

    assert image(whole) == image(subset)


@pytest.mark.parametrize("name", NAMES)
def test_depends_on_the_seed_only_through_its_own_streams(name, colour, make_fields, make_spec) -> None:
    fields = make_fields(corruptions.get(name), colour)
    result = corrupt(colour, make_spec(name, fields))
    seeds = {purpose: 99 for purpose in ("order", "initialisation", "subset", "augmentation", "dropout")}

    assert image(corrupt(colour, make_spec(name, fields, stream_seeds=seeds)).train) == image(result.train)
    purposes = ("labels", "label-permutation", "pixels", "pixels/test", "gaussian", "gaussian/test")
    everything = {purpose: 3 for purpose in purposes}
    moved = corrupt(colour, make_spec(name, fields, seed=4, stream_seeds=everything))
    assert image(moved.train) == image(result.train)
    assert image(moved.test) == image(result.test)


@pytest.mark.parametrize("name", [name for name in NAMES if any(f.name == "p" for f in corruptions.get(name).fields)])
def test_probability_zero_changes_nothing_and_others_are_refused(name, splits, make_spec) -> None:
    result = corrupt(splits, make_spec(name, {"p": 0.0})).train

    assert np.array_equal(result.labels, splits.train.labels)
    assert not result.changed.any()
    for wrong in (-0.01, 1.01):
        with pytest.raises(SpecError) as caught:
            corrupt(splits, make_spec(name, {"p": wrong}))
        assert caught.value.identifier == "spec-fraction"
        assert str(wrong) in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_unknown_field_is_refused_by_name(name, colour, make_fields, make_spec) -> None:
    fields = {**make_fields(corruptions.get(name), colour), "fraktion": 0.5}

    with pytest.raises(SpecError) as caught:
        corrupt(colour, make_spec(name, fields))

    assert caught.value.identifier == "spec-unknown-key"
    assert "fraktion" in caught.value.message
    assert name in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_missing_field_is_named(name, colour, make_spec) -> None:
    required = [field.name for field in corruptions.get(name).fields if field.required]
    if not required:
        assert corrupt(colour, make_spec(name)).train.num_classes == 10
        return

    with pytest.raises(SpecError) as caught:
        corrupt(colour, make_spec(name))

    assert caught.value.identifier == "spec-missing-key"
    assert f"corruption.fields.{required[0]}" in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name) -> None:
    entry = corruptions.get(name)
    assert re.search(r"\(\d{4}\)", entry.paper)

    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL))

    assert name in sections, f"docs/corruptions.md has no section '### `{name}`'"
    assert f"test set: {entry.test_set}" in " ".join(sections[name].lower().split())
    for field in entry.fields:
        assert f"`{field.name}`" in sections[name]


def test_document_names_no_corruption_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `(\w+)`", DOCUMENT.read_text("utf-8"), re.MULTILINE)) == set(NAMES)


def test_unknown_corruption_is_refused_with_the_nearest(colour, make_spec) -> None:
    with pytest.raises(SpecError) as caught:
        corrupt(colour, make_spec("random_label"))

    assert caught.value.identifier == "unknown-corruption"
    assert "'random_labels'" in caught.value.message

"""Specs: pinned names of runs, and overriding with values as they are typed."""

from __future__ import annotations

import json

import pytest

from shattering.core.errors import SpecError
from shattering.core.spec import SPEC_VERSION, RunSpec, override, parse_spec, spec_fields

GOLDEN = [
    ({}, "ec71873bf2116f3c4b95cbc9efd99904"),
    (
        {
            "data": {"name": "cifar10", "crop": 28},
            "corruption": {"name": "random_labels"},
            "model": {"name": "inception", "fields": {"batch_norm": False}},
            "training": {"learning_rate": 0.01, "weight_decay": 0.0005, "augmentation": "crop"},
            "seed": 3,
        },
        "e5a161d638b3669f988413d7f40d0c01",
    ),
    (
        {
            "corruption": {"name": "partially_corrupted_labels", "fields": {"p": 0.4}},
            "model": {"name": "mlp_3x512"},
            "compute": {"dtype": "float64", "threads": 2},
            "measures": {"names": ("accuracy",), "every_epochs": 0},
            "seed": 2**63 - 1,
            "stream_seeds": {"labels": 1, "order": 2},
        },
        "f37ba4e263eb3b99ad87b296f340255b",
    ),
]
"""Stored runs are found by these names: a change here loses every result there is."""


@pytest.mark.parametrize(("tree", "digest"), GOLDEN)
def test_digests_are_pinned(tree: dict[str, object], digest: str) -> None:
    assert parse_spec(tree).digest == digest


def test_defaults_do_not_enter_the_digest() -> None:
    written = {"training": {"learning_rate": 0.1, "momentum": 0.9}, "seed": 0, "version": SPEC_VERSION}

    assert parse_spec(written).digest == RunSpec().digest
    assert parse_spec(json.loads(RunSpec().to_json())).digest == RunSpec().digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.learning_rate", "0.2"),
        ("seed", "1"),
        ("corruption.name", "random_pixels"),
        ("model.fields.batch_norm", False),
        ("stream_seeds.labels", "4"),
        ("measures.names", ["accuracy"]),
        ("data.crop", "28"),
        ("compute.threads", "2"),
    ],
)
def test_every_part_enters_the_digest(path: str, value: object) -> None:
    assert override(RunSpec(), {path: value}).digest != RunSpec().digest


def test_equal_numbers_have_equal_digests_however_written() -> None:
    texts = ["1e-3", "0.001", 0.001]

    assert len({override(RunSpec(), {"training.learning_rate": text}).digest for text in texts}) == 1


@pytest.mark.parametrize("tree", [tree for tree, _ in GOLDEN])
def test_specs_survive_the_round_trip_through_text(tree: dict[str, object]) -> None:
    spec = parse_spec(tree)

    again = RunSpec.from_json(spec.to_json())

    assert again == spec
    assert again.digest == spec.digest
    assert again.to_json() == spec.to_json()


def test_override_converts_text_and_leaves_the_original() -> None:
    spec = RunSpec()

    changed = override(
        spec,
        {"training.batch_size": "64", "training.stop_when_fitted": "False", "data.crop": "28", "model.fields.x": "1"},
    )

    assert (changed.training.batch_size, changed.training.stop_when_fitted, changed.data.crop) == (64, False, 28)
    assert changed.model.fields == {"x": "1"}
    assert spec == RunSpec()
    assert override(changed, {"data.crop": "none"}).data.crop is None


@pytest.mark.parametrize(
    ("path", "value", "identifier", "told"),
    [
        ("training.learning_rat", "1", "spec-unknown-key", "training.learning_rate"),
        ("trainin.learning_rate", "1", "spec-unknown-key", "training.learning_rate"),
        ("training.learning_rate.x", "1", "spec-unknown-key", "training.learning_rate.x"),
        ("model.fields.a.b", "1", "spec-unknown-key", "model.fields.a.b"),
        ("training.learning_rate", "fast", "spec-wrong-value", "'fast'"),
        ("training.learning_rate", "nan", "spec-wrong-value", "'nan'"),
        ("training.learning_rate", "inf", "spec-wrong-value", "'inf'"),
        ("training.learning_rate", float("nan"), "spec-wrong-value", "'nan'"),
        ("training.learning_rate", "-0.1", "spec-wrong-value", "'-0.1'"),
        ("training.learning_rate", True, "spec-wrong-value", "True"),
        ("training.momentum", "1.0", "spec-wrong-value", "'1.0'"),
        ("training.batch_size", "12:30", "spec-wrong-value", "'12:30'"),
        ("training.batch_size", "2.5", "spec-wrong-value", "'2.5'"),
        ("training.stop_when_fitted", "no", "spec-wrong-value", "'no'"),
        ("training.optimizer", "sgdd", "spec-wrong-value", "'sgdd'"),
        ("training", "fast", "spec-wrong-value", "'fast'"),
        ("seed", "-1", "spec-wrong-value", "'-1'"),
        ("seed", str(2**63), "spec-wrong-value", str(2**63)),
        ("stream_seeds.labels", "x", "spec-wrong-value", "'x'"),
    ],
)
def test_wrong_fields_are_refused_by_name_and_value(path: str, value: object, identifier: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        override(RunSpec(), {path: value})

    assert caught.value.identifier == identifier
    assert told in caught.value.message


def test_a_newer_layout_is_refused() -> None:
    with pytest.raises(SpecError, match="upgrade shattering") as caught:
        parse_spec({"version": SPEC_VERSION + 1, "field_of_the_future": 1})

    assert caught.value.identifier == "spec-newer-version"


def test_unknown_keys_are_refused_at_every_depth() -> None:
    for tree in ({"sede": 1}, {"training": {"momentun": 0.5}}):
        with pytest.raises(SpecError, match="did you mean"):
            parse_spec(tree)


def test_spec_fields_list_every_leaf_once_with_its_default() -> None:
    fields = spec_fields()

    assert fields["training.learning_rate"][1] == 0.1
    assert fields["seed"][1] == 0
    assert "training" not in fields
    for name, (_, default, _) in fields.items():
        if name not in ("corruption.fields", "model.fields", "stream_seeds"):
            assert override(RunSpec(), {name: default}) == RunSpec()


def test_none_is_a_word_where_it_is_a_choice_and_nothing_where_a_field_may_be_empty() -> None:
    changed = override(RunSpec(), {"training.augmentation": "crop", "training.decay_steps": "7"})

    again = override(changed, {"training.augmentation": "none", "training.decay_steps": "none"})

    assert again == RunSpec()


def test_streams_take_the_seed_unless_given_their_own() -> None:
    spec = RunSpec(seed=5, stream_seeds={"labels": 9})

    assert (spec.seed_of("labels"), spec.seed_of("order")) == (9, 5)

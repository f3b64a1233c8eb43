"""Configuration files: what is understood, and that everything else is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shattering.core.config import MAX_BYTES, MAX_DEPTH, Config, Setting, field_value, read_config
from shattering.core.errors import SpecError

OPTIONS = ("data", "data_dir", "seeds", "models")


def read(folder: Path, content: str | bytes) -> Config:
    path = folder / "study.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_config(path, OPTIONS)


def values(settings: dict[str, Setting]) -> dict[str, str | list[str]]:
    return {name: setting.value for name, setting in settings.items()}


def test_nested_and_dotted_fields_and_options(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "run: {data: digits, seeds: 5, models: [a, b], data-dir: x}\n"
        "training:\n  learning_rate: 1e-3\n  schedule: exponential\n"
        "training.batch_size: 64\n"
        "model: {fields: {width: 12:30, deep: no}}\n"
        "measures: {names: [accuracy], every_epochs: 0}\n",
    )

    assert values(config.options) == {"data": "digits", "seeds": "5", "models": ["a", "b"], "data_dir": "x"}
    assert values(config.fields) == {
        "training.learning_rate": "1e-3",
        "training.schedule": "exponential",
        "training.batch_size": "64",
        "model.fields.width": "12:30",
        "model.fields.deep": "no",
        "measures.names": ["accuracy"],
        "measures.every_epochs": "0",
    }
    assert config.fields["training.schedule"].place == f"{tmp_path / 'study.yaml'}:4:3"


@pytest.mark.parametrize("content", ["", "# only a comment\n", "---\n", "{}", "training: {}", "\ufeff", "version: 1"])
def test_nothing_is_asked_for(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == Config()


def test_a_byte_order_mark_and_foreign_line_ends_are_skipped(tmp_path: Path) -> None:
    config = read(tmp_path, b"\xef\xbb\xbfcompute:\r\n  threads: 2\r\n")

    assert values(config.fields) == {"compute.threads": "2"}


def test_a_comma_makes_a_list_of_a_field_that_is_one(tmp_path: Path) -> None:
    assert values(read(tmp_path, "measures.names: accuracy, weights").fields) == {
        "measures.names": ["accuracy", "weights"]
    }


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"

REFUSED = [
    ("training: {momentum: 0, momentum: 0.5}", "config-duplicate-key", "1:25", "momentum"),
    ("training.momentum: 0\ntraining: {momentum: 0.5}", "config-duplicate-key", "2:12", "training.momentum"),
    ("run: {data-dir: a, data_dir: b}", "config-duplicate-key", "1:20", "data_dir"),
    ("training:\n  momentun: 0", "spec-unknown-key", "2:3", "did you mean 'training.momentum'"),
    ("run:\n  seed: 3", "config-unknown-key", "2:3", "did you mean 'seeds'"),
    ("run: 3", "config-not-a-mapping", "1:1", "mapping"),
    ("run: []", "config-not-a-mapping", "1:1", "mapping"),
    ("- a\n- b", "config-not-a-mapping", "1:1", "mapping"),
    ("seeds", "config-not-a-mapping", "1:1", "mapping"),
    (BOMB, "config-alias", "1:4", "'a'"),
    ("a: *nowhere", "config-alias", "1:4", "'nowhere'"),
    ("a: !!python/object/apply:os.system [ls]", "config-tag", "1:4", "python/object/apply:os.system"),
    ("a: !!int 3", "config-tag", "1:4", "int"),
    ("a: ! 3", "config-tag", "1:4", "'!'"),
    ("training:\n\tmomentum: 0", "config-malformed", "2:1", "indent with spaces"),
    ("training: {momentum: 0", "config-malformed", "1:23", "YAML"),
    ("a: b: c", "config-malformed", "1:5", "YAML"),
    ("? [a]\n: 1", "config-malformed", "1:3", "plain word"),
    ("%YAML 3.0\n---\na: 1", "config-malformed", "1:1", "YAML"),
    ("seed\x00: 1", "config-malformed", "character 4", "YAML"),
    ("training: {}\n---\ntraining: {}", "config-several-documents", "3:1", "second document"),
    ("measures: {names: [a, [b]]}", "config-nested-list", "1:23", "plain values"),
    ("{a: " * 1000, "config-too-deep", f"1:{4 * MAX_DEPTH + 1}", str(MAX_DEPTH)),
    ("[" * 60000, "config-nested-list", "1:2", "plain values"),
    ("training.learning_rate: [1, 2]", "spec-wrong-value", "1:1", "['1', '2']"),
    ("training.learning_rate:", "spec-wrong-value", "1:1", "''"),
    ("training.batch_size: 12:30", "spec-wrong-value", "1:1", "'12:30'"),
    ("training.batch_size: 0x10", "spec-wrong-value", "1:1", "'0x10'"),
    ("training.stop_when_fitted: no", "spec-wrong-value", "1:1", "'no'"),
    ("training.learning_rate: .nan", "spec-wrong-value", "1:1", "'.nan'"),
    ("training: 5", "spec-wrong-value", "1:1", "training.optimizer"),
    ("seed: 3", "spec-planned-field", "1:1", "--seeds"),
    ("model:\n  name: resnet18", "spec-planned-field", "2:3", "--models"),
    ("version: 2", "spec-newer-version", "1:1", "upgrade shattering"),
    ("version: one", "spec-wrong-value", "1:1", "'one'"),
]


@pytest.mark.parametrize(("content", "identifier", "place", "told"), REFUSED)
def test_refused_with_the_place(tmp_path: Path, content: str, identifier: str, place: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, content)

    assert caught.value.identifier == identifier
    assert told in caught.value.message
    where = caught.value.message.split(": ")[0]
    assert where in (f"{tmp_path / 'study.yaml'}:{place}", f"{tmp_path / 'study.yaml'}, {place}")


@pytest.mark.parametrize(
    ("content", "identifier", "told"),
    [
        (b"a: caf\xe9", "config-not-utf8", "byte 6 (0xe9)"),
        ("a: 1".encode("utf-16"), "config-not-utf8", "byte 0 (0xff)"),
        (b"#" * (MAX_BYTES + 1), "config-too-large", str(MAX_BYTES)),
    ],
)
def test_other_bytes_are_refused(tmp_path: Path, content: bytes, identifier: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, content)

    assert caught.value.identifier == identifier
    assert told in caught.value.message
    assert str(tmp_path / "study.yaml") in caught.value.message


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, b"#" * MAX_BYTES) == Config()


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, identifier in ((tmp_path / "none.yaml", "config-missing"), (tmp_path, "config-unreadable")):
        with pytest.raises(SpecError) as caught:
            read_config(path, OPTIONS)
        assert caught.value.identifier == identifier
        assert str(path) in caught.value.message


def test_the_place_of_an_option_begins_its_message() -> None:
    with pytest.raises(SpecError, match=r"^--set training\.momentum=2: ") as caught:
        field_value("training.momentum", Setting("2", "--set training.momentum=2"))

    assert caught.value.identifier == "spec-wrong-value"

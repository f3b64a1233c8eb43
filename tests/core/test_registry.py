"""Registries: discovery, plug-ins and the checking of fields."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field as Bound

from shattering.core import registry as module
from shattering.core.errors import ShatteringError, SpecError, StoreError
from shattering.core.registry import Registry, check_fields, keyword_fields


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable, empty package ``fruits`` whose modules register themselves."""
    package = tmp_path / "fruits"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from shattering.core.registry import Registry\nfruits = Registry('fruit', 'fruits')\n"
    )
    (package / "apple.py").write_text("from fruits import fruits\nfruits.add('apple', 1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "fruits"]:
        del sys.modules[name]


def load() -> Registry[int]:
    from fruits import fruits  # type: ignore[import-not-found]

    return fruits  # type: ignore[no-any-return]


def test_a_file_in_the_folder_is_found_on_first_look_up(folder: Path) -> None:
    (folder / "pear.py").write_text("from fruits import fruits\nfruits.add('pear', 2)\n")
    registry = load()

    assert "fruits.pear" not in sys.modules
    assert registry.names() == ["apple", "pear"]
    assert list(registry) == [("apple", 1), ("pear", 2)]
    assert registry.get("pear") == 2


def test_a_second_entry_of_the_same_name_is_refused(folder: Path) -> None:
    (folder / "other.py").write_text("from fruits import fruits\nfruits.add('apple', 2)\n")

    with pytest.raises(ShatteringError, match="two fruits named 'apple'") as caught:
        load().names()

    assert caught.value.identifier == "registry-duplicate"


def test_an_unknown_name_gets_the_nearest_known_one(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"no fruit 'aple'; did you mean 'apple'\?") as caught:
        load().get("aple")

    assert caught.value.identifier == "unknown-fruit"


def test_a_name_like_no_other_gets_the_list_of_all(folder: Path) -> None:
    with pytest.raises(SpecError, match="choose one of: apple"):
        load().get("zzz")


def test_plugins_are_loaded_once_from_their_entry_point(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load()
    loads = []

    class Entry:
        def load(self) -> None:
            loads.append(1)
            registry.add("quince", 3)

    def entry_points(*, group: str) -> list[Entry]:
        assert group == "shattering.plugins"
        return [Entry()]

    monkeypatch.setattr(module, "entry_points", entry_points)
    monkeypatch.setattr(module, "_plugins_loaded", False)

    assert registry.names() == ["apple", "quince"]
    module.load_plugins()
    assert loads == [1]


def test_a_plugin_that_cannot_be_imported_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mine", "fruits.nothere", module.PLUGIN_GROUP)
    monkeypatch.setattr(module, "entry_points", lambda *, group: [entry])
    monkeypatch.setattr(module, "_plugins_loaded", False)

    for _ in range(2):  # a second look-up must not pass over what the first could not load
        with pytest.raises(StoreError, match=r"The plugin mine \(fruits.nothere, .*No module named") as caught:
            module.load_plugins()
        assert caught.value.identifier == "plugin-broken"


def sample(dataset: object, *, p: Annotated[float, Bound(ge=0, le=1)], flip: bool = False, size: int = 3) -> None:
    """Has one field of each common type."""


FIELDS = keyword_fields(sample)


def test_keyword_only_parameters_are_the_fields() -> None:
    assert [(entry.name, entry.required) for entry in FIELDS] == [("p", True), ("flip", False), ("size", False)]


def test_a_parameter_without_annotation_is_refused() -> None:
    def careless(dataset: object, *, p=1) -> None:  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(ShatteringError, match="annotate the parameter 'p'") as caught:
        keyword_fields(careless)

    assert caught.value.identifier == "registry-unannotated"


def test_fields_are_converted_and_defaults_left_out() -> None:
    given = {"p": "0.5", "flip": "true", "size": "3"}

    assert check_fields("corruption", "sample", FIELDS, given) == {"p": 0.5, "flip": True}


@pytest.mark.parametrize(
    ("given", "identifier", "told"),
    [
        ({"p": 0.5, "flop": 1}, "spec-unknown-key", "did you mean 'flip'"),
        ({}, "spec-missing-key", "'p'"),
        ({"p": "1.5"}, "spec-wrong-type", "'1.5'"),
        ({"p": "nan"}, "spec-wrong-type", "'nan'"),
        ({"p": 0.5, "flip": "no"}, "spec-wrong-type", "write true or false"),
        ({"p": 0.5, "flip": 0}, "spec-wrong-type", "write true or false"),
        ({"p": 0.5, "size": True}, "spec-wrong-type", "True"),
        ({"p": 0.5, "size": "2.5"}, "spec-wrong-type", "'2.5'"),
    ],
)
def test_wrong_fields_are_refused(given: dict[str, Any], identifier: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_fields("corruption", "sample", FIELDS, given)

    assert caught.value.identifier == identifier
    assert told in caught.value.message


def test_a_thing_without_fields_says_so() -> None:
    with pytest.raises(SpecError, match="it takes no fields"):
        check_fields("corruption", "plain", (), {"p": 1})

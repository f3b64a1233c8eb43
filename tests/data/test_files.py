from __future__ import annotations

from pathlib import Path

import pytest

from shattering.data.files import absent, choose, locate, odd_name, show


def test_names_are_shown_without_control_characters() -> None:
    assert show("plain/näme.png") == "plain/näme.png"
    assert show("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert show("bad\udcff") == "bad\\udcff"


@pytest.mark.parametrize(("name", "odd"), [("a b.png", False), (" a.png", True), ("a\t.png", True), ("ü.png", False)])
def test_odd_names_are_told(name: str, odd: bool) -> None:
    assert odd_name(name) is odd


def test_only_a_complete_alternative_is_chosen(tmp_path: Path) -> None:
    ways = (("a", "b"), ("c", "d", "e"))
    assert choose(tmp_path, ways) is None and absent(tmp_path, ways) == []
    for name in "ac":
        (tmp_path / name).write_text("x")
    assert choose(tmp_path, ways) is None and absent(tmp_path, ways) == ["b"]
    for name in "de":
        (tmp_path / name).write_text("x")
    assert choose(tmp_path, ways) == {name: tmp_path / name for name in "cde"}


def test_a_folder_does_not_stand_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert locate(tmp_path, "train") is None

"""What docs/streams.md says: its example runs, and it lists every stream there is."""

from __future__ import annotations

import doctest
import hashlib
import re
from pathlib import Path

from shattering.core.streams import normal_table

ROOT = Path(__file__).parents[2]
STREAMS = ROOT / "docs" / "streams.md"


def test_worked_example_gives_the_numbers_shown() -> None:
    failures, attempts = doctest.testfile(str(STREAMS), module_relative=False, encoding="utf-8")

    assert attempts >= 14
    assert failures == 0


def test_worked_example_agrees_with_the_program() -> None:
    from shattering.core.streams import Stream

    text = STREAMS.read_text("utf-8")

    assert str([f"{word:08x}" for word in Stream(2017, "labels").words(7).tolist()]) in text
    assert str(Stream(2017, "order").permutation(6, 3).tolist()) in text
    assert str(Stream(2**32 + 5, "initialisation").integer()) in text


def test_table_of_normal_numbers_hashes_as_documented() -> None:
    digest = hashlib.sha256(normal_table().astype("<i4").tobytes()).hexdigest()

    assert f"`{digest}`" in STREAMS.read_text("utf-8")


def test_every_stream_in_the_source_is_listed() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    code = re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
    calls = re.findall(r"\b(?:[Ss]tream|normals)\(((?:[^()]|\([^()]*\))*)\)", code)
    used = {name for call in calls for name in re.findall(r'(?<!== )"([\w/-]+)"', call)}
    listed = set(re.findall(r"^\| `([\w/-]+)` \| (?:run|0)\b", STREAMS.read_text("utf-8"), re.MULTILINE))

    assert used == listed
    assert {"labels", "pixels/test", "order", "test-subset"} <= used

"""Rules about the source itself: one module writes, and nothing in storage asks for the time of day."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shattering

ROOT = Path(shattering.__file__).parent
WRITING = {
    "write_text", "write_bytes", "mkdir", "unlink", "rmdir", "touch", "rename", "symlink_to", "hardlink_to", "chmod",
    "makedirs", "removedirs", "remove", "fsync", "fdatasync", "truncate", "copyfile", "copytree", "copy2", "rmtree",
    "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkstemp", "mkdtemp", "flock", "lockf",
}  # fmt: skip
MODULES = {"shutil", "tempfile", "fcntl"}
CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "st_mtime", "st_mtime_ns", "st_ctime", "gmtime", "localtime"}

GUARDED = [
    path
    for place in ("store", "execution", "report", "cli", "data/cache.py")
    for path in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py")))
    if path.exists()
]


def direct_writes(source: str) -> list[str]:
    """Calls that write to disk without going through `core.io`, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: import of {name}" for name in named if name.split(".")[0] in MODULES]
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open":
            found.append(f"line {node.lineno}: open")
        if not isinstance(function, ast.Attribute):
            continue
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        modes += [keyword.value.value for keyword in node.keywords if isinstance(keyword.value, ast.Constant)]
        writes = function.attr in WRITING or (owner == "os" and function.attr in {"replace", "open", "write", "link"})
        opens = function.attr == "open" and any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)
        if (writes or opens) and owner not in ("io", "self"):
            found.append(f"line {node.lineno}: {owner}.{function.attr}")
    return found


@pytest.mark.parametrize("path", GUARDED, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_core_io_writes(path):
    assert direct_writes(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "open('x', 'w')",
        "from shutil import rmtree",
        "path.write_text('x')",
        "(root / 'x').mkdir()",
        "os.replace(a, b)",
        "path.open('wb')",
        "os.fsync(3)",
        "import fcntl",
    ],
)
def test_the_rule_finds_what_it_forbids(source):
    assert len(direct_writes(source)) == 1


def test_the_rule_lets_reading_pass():
    assert direct_writes("path.open('rb'); path.read_text(); 'a'.replace('b', 'c'); Store.open(path, write=True)") == []


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "store").glob("*.py")), ROOT / "core" / "io.py"], ids=lambda p: p.name
)
def test_storage_never_asks_for_the_time_of_day(path):
    tree = ast.parse(path.read_text())
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & CLOCKS

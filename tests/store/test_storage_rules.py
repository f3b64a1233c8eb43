"""Rules about the source itself: one module writes, and nothing in storage asks for the time of day."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import shattering

ROOT = Path(shattering.__file__).parent
WRITING = {
    "write_text", "write_bytes", "mkdir", "unlink", "rmdir", "touch", "rename", "symlink_to", "hardlink_to", "chmod",
    "makedirs", "removedirs", "fsync", "fdatasync", "truncate", "copyfile", "copytree", "copy2", "rmtree",
    "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkstemp", "mkdtemp", "flock", "lockf",
}  # fmt: skip
OF_OS = {"replace", "remove", "open", "write", "link"}
MODULES = {"shutil", "tempfile", "fcntl"}
HARMLESS = {"get_terminal_size", "which"}
CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "st_mtime", "st_mtime_ns", "st_ctime", "gmtime", "localtime"}

WRITERS = {ROOT / "core" / "io.py", ROOT / "core" / "disk.py"}
GUARDED = [path for path in sorted(ROOT.rglob("*.py")) if path not in WRITERS]


def direct_writes(source: str) -> list[str]:
    """Calls that write to disk without going through `core.io`, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            # Of `import shutil` alone the calls are looked at, below.
            harmless = {alias.name for alias in node.names} <= HARMLESS | {"shutil"}
            found += [f"line {node.lineno}: {n}" for n in named if n.split(".")[0] in MODULES and not harmless]
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        # The mode is the first argument of a path's method, the second one of the built-in.
        positional = node.args[1:] if isinstance(function, ast.Name) else node.args
        given = [*positional[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
        modes = [value.value for value in given if isinstance(value, ast.Constant)]
        to_write = any(isinstance(mode, str) and re.fullmatch("[rbt]*[wax+][wax+bt]*", mode) for mode in modes)
        if isinstance(function, ast.Name) and function.id == "open" and to_write:
            found.append(f"line {node.lineno}: open")
        if not isinstance(function, ast.Attribute):
            continue
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        writes = function.attr in WRITING or (owner == "shutil" and function.attr not in HARMLESS)
        writes = writes or (owner == "os" and function.attr in OF_OS)
        nowhere = "os.devnull" in [ast.unparse(argument) for argument in node.args]
        if (writes or (function.attr == "open" and to_write)) and owner not in ("io", "self") and not nowhere:
            found.append(f"line {node.lineno}: {owner}.{function.attr}")
    return found


@pytest.mark.parametrize("path", GUARDED, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_core_io_writes(path):
    assert direct_writes(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "open('x', 'w')",
        "open('x', mode='ab')",
        "os.open('x', os.O_WRONLY)",
        "os.remove('x')",
        "from shutil import rmtree",
        "import shutil; shutil.move(a, b)",
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


@pytest.mark.parametrize(
    "source",
    [
        "open('x')",
        "open('wax', encoding='ascii')",
        "path.open('rb')",
        "path.read_text()",
        "from shutil import get_terminal_size",
        "import shutil; shutil.get_terminal_size()",
        "items.remove(3)",
        "'a'.replace('b', 'c')",
        "Store.open(path, write=True)",
        "io.remove(path)",
    ],
)
def test_the_rule_lets_reading_pass(source):
    assert direct_writes(source) == []


STORAGE = [*sorted((ROOT / "store").glob("*.py")), ROOT / "core" / "io.py", ROOT / "core" / "disk.py"]


@pytest.mark.parametrize("path", STORAGE, ids=lambda path: path.name)
def test_storage_never_asks_for_the_time_of_day(path):
    tree = ast.parse(path.read_text())
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & CLOCKS

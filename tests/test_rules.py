"""Rules that every file of the repository keeps."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import shattering

ROOT = Path(__file__).parent.parent
PACKAGE = Path(shattering.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

NEVER_CALLED = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "joblib.load", "marshal.loads",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load",
    "eval", "exec", "os.system", "os.popen", "shutil.unpack_archive",
}  # fmt: skip
UNLESS = {"torch.load": ("weights_only", True)}
NEVER_SO = {("shell", True), ("allow_pickle", True), ("autoescape", False)}

UNWANTED = {
    "a path of somebody's machine": r"(?<![\w.~$}-])/(?:work|home|root|opt|Users|mnt|srv)/\w",
    "the host of a package registry": r"\b(?:pypi|pythonhosted|npmjs|anaconda)\.(?:org|com)\b|--(?:extra-)?index-url",
    "the number of an issue": r"\b(?:[Ii]ssues?|[Tt]ickets?|PRs?|[Pp]ull requests?) ?#?\d",
    "how the work was divided": r"\b(?:this|previous|last|next|earlier|later|another) session\b|\bsub-?agents?\b",
}
"""What a reader elsewhere, or next year, can do nothing with."""


def dangerous(source: str) -> list[str]:
    """Calls that can run what an input says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {(keyword.arg, getattr(keyword.value, "value", None)) for keyword in node.keywords}
        unguarded = name in UNLESS and UNLESS[name] not in given
        if name in NEVER_CALLED or name.endswith(".extractall") or unguarded or given & NEVER_SO:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def undocumented(source: str) -> list[str]:
    """The module, and the public classes and functions it defines, that have no docstring."""
    tree = ast.parse(source)
    defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [node for node in tree.body if isinstance(node, defined) and not node.name.startswith("_")]
    missing = [] if ast.get_docstring(tree) else ["the module"]
    return missing + [node.name for node in public if not ast.get_docstring(node)]


def tracked() -> list[Path]:
    """The files of the repository; where this is no checkout, those that would be."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a checkout, or no git")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "source",
    [
        "pickle.loads(data)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "eval('1')",
        "archive.extractall(folder)",
        "subprocess.run('ls', shell=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_check_for_dangerous_calls_finds_them(source: str) -> None:
    assert len(dangerous(source)) == 1


@pytest.mark.parametrize("source", ["model.eval()", "torch.load(path, weights_only=True)", "yaml.parse(text)"])
def test_the_check_for_dangerous_calls_lets_others_pass(source: str) -> None:
    assert dangerous(source) == []


def test_no_call_runs_what_an_input_says() -> None:
    found = {str(path.relative_to(PACKAGE)): dangerous(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path: calls for path, calls in found.items() if calls} == {}


def test_everything_public_has_a_docstring() -> None:
    assert undocumented("class A: 'a'\ndef f(): 'f'\ndef _g(): pass\ndef h(): pass") == ["the module", "h"]
    found = {str(path.relative_to(PACKAGE)): undocumented(path.read_text(encoding="utf-8")) for path in MODULES}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_patterns_find_what_they_are_for() -> None:
    # Put together here, since this file is searched as well.
    examples = [("cd /", "home/x"), ("pypi", ".org"), ("see issue ", "#7"), ("next ", "session")]
    for (left, right), what in zip(examples, UNWANTED, strict=True):
        assert [name for name, pattern in UNWANTED.items() if re.search(pattern, left + right)] == [what]


def test_no_file_speaks_of_where_or_how_it_was_made() -> None:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {what}: {match[0]}"
                for what, pattern in UNWANTED.items()
                if (match := re.search(pattern, line))
            ]
    assert found == []


def test_every_folder_is_introduced() -> None:
    introduced = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))
    folders = {path.relative_to(ROOT).parts[0] for path in tracked() if path.parent != ROOT}
    visible = {folder for folder in folders if not folder.startswith(".")}
    assert visible >= {"src", "tests", "docs"}
    assert {folder for folder in visible if f"{folder}/" not in introduced} == set()

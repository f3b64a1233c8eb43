"""Exit codes and messages: one sentence for every failure, a traceback only on request."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shattering.cli import main as module
from shattering.cli.output import Interrupted, StdoutClosed
from shattering.core.errors import DataError, ModelError, ShatteringError, SpecError, StoreError

MAIN = "import sys; from shattering.cli import main as module;"

FAILURES = [
    (SpecError("spec-x", "Wrong."), 2, "error [spec-x]: Wrong.\n"),
    (DataError("data-x", "Torn."), 3, "error [data-x]: Torn.\n"),
    (ModelError("model-x", "Odd."), 4, "error [model-x]: Odd.\n"),
    (StoreError("store-x", "Full."), 5, "error [store-x]: Full.\n"),
    (ShatteringError("other-x", "Ours."), 1, "error [other-x]: Ours.\n"),
    (MemoryError(), 5, "error [out-of-memory]: "),
    (
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        5,
        "error [machine-refused]: The machine refused at /x: No",
    ),
    (PermissionError(errno.EACCES, "Permission denied"), 5, "error [machine-refused]: "),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        1,
        "error [bug]: This is a bug in shattering (FileNotFound",
    ),
    (
        ZeroDivisionError("division\nby zero"),
        1,
        "error [bug]: This is a bug in shattering (ZeroDivisionError: division by",
    ),
    (RecursionError("too deep"), 1, "error [bug]: "),
]


@pytest.mark.parametrize(("failure", "code", "told"), FAILURES, ids=lambda value: type(value).__name__)
def test_failures_become_a_sentence_and_a_code(
    failure: Exception, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def app(words: list[str]) -> int:
        raise failure

    monkeypatch.setattr(module, "app", app)
    # Standard output is pointed to nowhere where the machine refused; here it must survive.
    monkeypatch.setattr(module, "discard_stdout", lambda: None)

    assert module.main(["run", "x"]) == code

    captured = capfd.readouterr()
    assert captured.err.startswith(told)
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback_before_the_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(words: list[str]) -> int:
        raise SpecError("spec-x", "Wrong.")

    monkeypatch.setattr(module, "app", app)

    assert module.main(["run", "x", "--debug"]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error [spec-x]: Wrong."


@pytest.mark.parametrize(
    ("stop", "number"),
    [
        (KeyboardInterrupt(), signal.SIGINT),
        (Interrupted(signal.SIGTERM), signal.SIGTERM),
        (StdoutClosed(), signal.SIGPIPE),
        (BrokenPipeError(), signal.SIGPIPE),
    ],
    ids=lambda value: str(value),
)
def test_a_stop_is_passed_on_as_its_signal(
    stop: BaseException, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(words: list[str]) -> int:
        raise stop

    died: list[int] = []
    monkeypatch.setattr(module, "app", app)
    monkeypatch.setattr(module, "die_by", died.append)
    monkeypatch.setattr(module, "discard_stdout", lambda: None)

    assert module.main([]) == 128 + number

    assert died == [number]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_dies_by_the_signal(number: int) -> None:
    program = f"{MAIN} from shattering.cli.output import Interrupted\n"
    program += f"def app(words): raise Interrupted({int(number)})\nmodule.app = app\nsys.exit(module.main())"

    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert died.returncode == -number
    assert died.stderr == ""


def test_a_reader_that_left_ends_the_program_silently() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        died = subprocess.run(
            [sys.executable, "-c", f"{MAIN} sys.exit(module.main())", "list", "corruptions"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)

    assert died.returncode == -signal.SIGPIPE
    assert died.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "identifier"),
    [(["list", "corruptions"], "stdout-unwritable"), (["--help"], "machine-refused")],
    ids=["list", "help"],
)
def test_a_full_disk_behind_standard_output_is_the_machines_refusal(words: list[str], identifier: str) -> None:
    with Path("/dev/full").open("w") as full:
        died = subprocess.run(
            [sys.executable, "-c", f"{MAIN} sys.exit(module.main())", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert died.returncode == 5
    assert died.stderr.startswith(f"error [{identifier}]: ")
    assert "No space left on device" in died.stderr
    assert died.stderr.count("\n") == 1


def test_results_can_be_printed_where_only_ascii_can(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    for words in (["list", "measures"], ["list", "measures", "--json"]):
        told = subprocess.run(
            [sys.executable, "-c", f"{MAIN} sys.exit(module.main())", *words],
            capture_output=True,
            timeout=60,
            env=environment,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert b"accuracy" in told.stdout
    assert "‖" in json.loads(told.stdout)["measures"][1]["summary"]

"""Help and version: complete, and quick because nothing heavy is imported for them."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from shattering import __version__

HEAVY = ("torch", "scipy", "sklearn", "altair", "pyarrow", "PIL", "safetensors", "numpy", "pydantic", "yaml")

PROGRAM = "import sys; from shattering.cli.main import main; code = main(sys.argv[1:]);"


def start(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "--help"], ["--version"], []])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    told = start(f"{PROGRAM} print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)", *words)

    assert told.stderr.strip() == "[]"
    assert told.returncode == 0


def test_help_takes_less_than_a_second_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert start(f"{PROGRAM} sys.exit(code)", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 1.0


def test_help_names_every_command_and_exit_code() -> None:
    told = f" {' '.join(start(f'{PROGRAM} sys.exit(code)', '--help').stdout.split())} "

    for command in ("list", "run", "report", "compare", "show"):
        assert f" {command} " in told
    for code in (*range(7), 130):
        assert f" {code} " in told


def test_help_of_run_names_every_option() -> None:
    told = start(f"{PROGRAM} sys.exit(code)", "run", "--help").stdout

    options = (
        "data data-dir scale seeds models set config engine address slurm out device jobs keep-weights yes dry-run "
        "json quiet debug"
    )
    for option in options.split():
        assert f"--{option} " in told
    assert "STUDY" in told
    assert "--no-" not in told


def test_version_is_printed() -> None:
    assert start(f"{PROGRAM} sys.exit(code)", "--version").stdout == f"{__version__}\n"


def test_a_command_that_is_not_there_is_answered_with_all_that_are() -> None:
    told = start(f"{PROGRAM} sys.exit(code)", "shatterr")

    assert (told.returncode, told.stdout) == (2, "") and told.stderr.count("\n") == 1
    assert told.stderr.startswith("error [unknown-command]: ") and "did you mean 'shatter'?" in told.stderr
    commands = "list run audit sweep shatter report compare show query serve"
    assert told.stderr.endswith(f"the commands are {', '.join(commands.split())}.\n")

"""``report`` and ``compare``: what is told of stores with several studies, none, or no permission to write."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shattering.core.disk import Disk, replace_disk
from shattering.core.plan import Plan
from shattering.core.study import DataFacts, Request, Scale, find_study
from shattering.store.store import Store


class ReadOnly(Disk):
    """Makes nothing."""

    def create(self, path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.fixture
def read_only() -> Iterator[Disk]:
    """A disk to put in place of the real one, which comes back."""
    previous = replace_disk(Disk())
    yield ReadOnly()
    replace_disk(previous)


def save(folder: Path, study: str, *scales: Scale) -> list[Path]:
    """A store with a plan of the study at each scale, and no runs; returns where their reports belong."""
    store = Store.open(folder, write=True)
    facts = DataFacts("digits", 1437, 360, (8, 8, 1), 10, "0" * 64)
    reports = []
    for scale in scales:
        request = Request(scale, facts)
        plan = Plan(study, request, tuple(find_study(study).specs(request)))
        store.save_plan(plan)
        reports.append(store.report_dir(plan) / "index.html")
    return reports


def test_one_study_is_told_as_run_tells_it(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    (report,) = save(tmp_path / "runs", tiny_study, "smoke")

    called = shattering("report", str(tmp_path / "runs"), "--json")

    assert (called.code, called.err) == (0, "")
    told = json.loads(called.out)
    assert (told["study"], told["report"]) == (tiny_study, str(report))
    assert told["runs"]["cancelled"] == sum(told["runs"].values()) == 4
    assert report.is_file()


def test_several_studies_are_told_in_one_object(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    reports = save(tmp_path / "runs", tiny_study, "smoke", "small")

    called = shattering("report", str(tmp_path / "runs"), "--json")
    for_people = shattering("report", str(tmp_path / "runs"))

    told = json.loads(called.out)
    assert told["store"] == str(tmp_path / "runs")
    assert {report["scale"]: report["report"] for report in told["reports"]} == {
        "smoke": str(reports[0]),
        "small": str(reports[1]),
    }
    printed = "".join(for_people.out.split())  # long paths break at the edge of the terminal
    for report in reports:
        assert report.is_file() and str(report) in printed


def test_a_store_that_cannot_be_written_is_told_of_without_writing(
    tiny_study: str, shattering: Any, tmp_path: Path, read_only: Disk
) -> None:
    (report,) = save(tmp_path / "runs", tiny_study, "smoke")
    replace_disk(read_only)

    called = shattering("report", str(tmp_path / "runs"))
    quiet = shattering("report", str(tmp_path / "runs"), "--quiet")

    assert called.code == 0 and "0 of 4 runs" in called.out
    assert called.err.startswith("The reports are left as they are: ") and "read-only file system" in called.err
    assert (quiet.code, quiet.out, quiet.err) == (0, called.out, "")
    assert not report.exists()


@pytest.mark.parametrize(("made", "identifier"), [(False, "store-missing"), (True, "store-empty")])
def test_a_store_without_results_is_refused_with_the_remedy(
    made: bool, identifier: str, shattering: Any, tmp_path: Path
) -> None:
    if made:
        Store.open(tmp_path / "runs", write=True)

    called = shattering("report", str(tmp_path / "runs"))

    assert (called.code, called.out) == (5, "")
    assert called.err.startswith(f"error [{identifier}]: ")
    assert "shattering run" in called.err
    assert (tmp_path / "runs").exists() == made


def test_a_folder_of_stores_is_compared_as_its_stores_are(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    for name in ("first", "second"):
        save(tmp_path / "results" / name, tiny_study, "smoke")
    (tmp_path / "results" / "README.md").write_text("What these are.")

    together = shattering("compare", str(tmp_path / "results"), "--json")
    apart = shattering("compare", *(str(tmp_path / "results" / name) for name in ("first", "second")), "--json")

    assert (together.code, together.err) == (0, "")
    assert together.out == apart.out
    told = json.loads(together.out)
    assert told["stores"] == [str(tmp_path / "results" / name) for name in ("first", "second")]
    assert [summary["scale"] for summary in told["summaries"]] == ["smoke", "smoke"]
    (claim,) = told["claims"]
    assert (claim["source"], claim["provenance"], claim["data"]) == ("Table 1", "Q-text", "digits")
    assert [result["verdict"] for result in claim["results"]] == ["not run", "not run"]


def test_a_paper_or_a_study_may_be_chosen(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    save(tmp_path / "runs", tiny_study, "smoke")

    for words in (["--paper", "tiny2017"], ["--paper", "Author et al."], ["--study", tiny_study]):
        called = shattering("compare", str(tmp_path / "runs"), *words)
        assert (called.code, called.err) == (0, "")
        assert "(1) digits, smoke scale: 0 of 4 runs; 4 not run" in called.out
        assert "of 1 claim: 1 not run" in called.out
        assert "not run: no run here bears on the number" in called.out


@pytest.mark.parametrize(
    ("words", "code", "identifier"),
    [
        ([], 2, "missing-argument"),
        (["nowhere"], 5, "store-missing"),
        (["."], 5, "store-not-a-store"),
        (["notes.txt"], 2, "out-is-file"),
        (["runs", "--paper", "nobody1900"], 2, "unknown-paper"),
        (["runs", "--study", "nobody1900"], 2, "unknown-study"),
    ],
)
def test_a_wrong_comparison_is_refused_in_one_sentence(
    words: list[str],
    code: int,
    identifier: str,
    tiny_study: str,
    shattering: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    Path("notes.txt").write_text("")
    if "runs" in words:
        save(Path("runs"), tiny_study, "smoke")

    called = shattering("compare", *words)

    assert (called.code, called.out) == (code, "")
    assert called.err.startswith(f"error [{identifier}]: ") and called.err.count("\n") == 1


@pytest.mark.parametrize("command", ["show", "report", "query", "serve"])
def test_a_file_in_place_of_a_store_is_told_without_an_option_that_is_not_there(
    command: str, shattering: Any, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    called = shattering(command, str(tmp_path / "notes.txt"))

    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error [out-is-file]: ") and called.err.count("\n") == 1
    assert "--out" not in called.err and called.err.endswith("name the folder of a store.\n")

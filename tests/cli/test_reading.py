"""``report``: what is written and printed of stores with several studies, none, or no permission to write."""

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

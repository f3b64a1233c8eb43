"""``report``: what is written and printed of a store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shattering.core.plan import Plan
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request
from shattering.store.store import Store


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The studies whose report was written; the report itself is another matter."""
    studies: list[str] = []

    def write_report(store: Store, plan: Plan, *, seconds: float) -> Path:
        studies.append(plan.study)
        return store.report_dir(plan) / "index.html"

    def summarise(store: Store, plan: Plan, *, seconds: float) -> dict[str, Any]:
        return {"study": plan.study, "runs": {"done": 0}, "seconds": seconds}

    monkeypatch.setitem(sys.modules, "shattering.report.html", SimpleNamespace(write_report=write_report))
    monkeypatch.setitem(sys.modules, "shattering.report.summary", SimpleNamespace(summarise=summarise))
    terminal = SimpleNamespace(render=lambda summary: f"summary of {summary['study']}")
    monkeypatch.setitem(sys.modules, "shattering.report.terminal", terminal)
    return studies


def save(folder: Path, *studies: str) -> Store:
    store = Store.open(folder, write=True)
    facts = DataFacts("digits", 1437, 360, (8, 8, 1), 10, "0" * 64)
    for study in studies:
        store.save_plan(Plan(study, Request("smoke", facts), (RunSpec(),)))
    return store


def test_one_study_is_told_as_run_tells_it(written: list[str], shattering: Any, tmp_path: Path) -> None:
    save(tmp_path / "runs", "a")

    called = shattering("report", str(tmp_path / "runs"), "--json")

    assert (called.code, called.err) == (0, "")
    assert json.loads(called.out)["study"] == "a"
    assert written == ["a"]


def test_several_studies_are_told_in_one_object(written: list[str], shattering: Any, tmp_path: Path) -> None:
    save(tmp_path / "runs", "a", "b")

    called = shattering("report", str(tmp_path / "runs"), "--json")
    for_people = shattering("report", str(tmp_path / "runs"))

    assert [report["study"] for report in json.loads(called.out)["reports"]] == ["a", "b"]
    assert for_people.out == "summary of a\nsummary of b\n"
    assert written == ["a", "b", "a", "b"]


def test_a_store_that_cannot_be_written_is_told_of_without_writing(
    written: list[str], shattering: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shattering.core.errors import StoreError

    save(tmp_path / "runs", "a")
    opened = Store.open

    def refuse(path: Path, *, write: bool) -> Store:
        if write:
            raise StoreError("store-unwritable", "Read-only file system.")
        return opened(path, write=False)

    monkeypatch.setattr(Store, "open", refuse)

    called = shattering("report", str(tmp_path / "runs"))

    assert (called.code, called.out) == (0, "summary of a\n")
    assert called.err == "The reports are left as they are: Read-only file system.\n"
    assert written == []


@pytest.mark.parametrize(("made", "identifier"), [(False, "store-missing"), (True, "store-empty")])
def test_a_store_without_results_is_refused_with_the_remedy(
    made: bool, identifier: str, written: list[str], shattering: Any, tmp_path: Path
) -> None:
    if made:
        save(tmp_path / "runs")

    called = shattering("report", str(tmp_path / "runs"))

    assert (called.code, called.out) == (5, "")
    assert called.err.startswith(f"error [{identifier}]: ")
    assert "shattering run" in called.err
    assert (tmp_path / "runs").exists() == made

"""``shattering sweep`` from one end to the other, on runs of milliseconds."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tiny_runs import TINY, fork_workers

HOSTILE = '<script>alert(1)</script>"&'


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_workers(monkeypatch)
    # The slowest part of a report.
    monkeypatch.setattr(import_module("shattering.report.html"), "to_png", lambda chart: b"")


@pytest.fixture
def file(tmp_path: Path) -> str:
    base = {**TINY, "measures.names": "accuracy", "measures.points_per_decade": 0, "measures.every_epochs": 0}
    grid = {"training.learning_rate": [0.05, 0.1, 0.2], "corruption.name": ["true_labels", "random_labels"]}
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps({"name": HOSTILE, "base": base, "grid": grid}))
    return str(path)


def test_it_runs_resumes_and_reports(shattering: Any, file: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    done = shattering("sweep", file, "--seeds", "3", "--out", store, "--jobs", "1", "--json", "--quiet")
    assert done.code == 0 and done.err == ""
    found = json.loads(done.out)
    assert sum(found["runs"].values()) == 18 and found["combinations"] == 6
    assert found["fields"] == ["corruption.name", "training.learning_rate"]
    cell = found["cells"][0]
    assert cell["place"] == {"corruption.name": "random_labels", "training.learning_rate": 0.05}
    accuracy = cell["numbers"]["test_accuracy"]
    assert accuracy["runs"] == 3 and accuracy["low"] < accuracy["value"] < accuracy["high"]

    again = shattering("report", store, "--json")
    assert {**json.loads(again.out), "seconds": 0} == {**found, "seconds": 0}
    page = Path(found["report"]).read_text("utf-8")
    assert "alert(1)" in page and HOSTILE not in page and "<script>alert" not in page
    text = shattering("sweep", file, "--seeds", "3", "--out", store, "--jobs", "1", "--quiet").out
    assert "test accuracy" in text and "of 3" in text and "18 runs" in text
    assert shattering("show", store).code == 0 and shattering("compare", store).code == 0


def test_it_refuses_in_one_sentence(shattering: Any, file: str, tmp_path: Path) -> None:
    wrong = shattering("sweep", str(tmp_path / "none.yaml"))
    assert wrong.code == 2 and "[config-missing]" in wrong.err
    twice = shattering("sweep", file, "--set", "training.learning_rate=1", "--out", str(tmp_path / "s"))
    assert twice.code == 2 and "[sweep-field-twice]" in twice.err and twice.err.count("\n") == 1
    many = shattering("sweep", file, "--seeds", "20000", "--out", str(tmp_path / "s"))
    assert many.code == 2 and "[sweep-unconfirmed]" in many.err and "--yes" in many.err
    assert not (tmp_path / "s").exists()


def test_examples_can_be_planned() -> None:
    from shattering.core.sweep_file import read_sweep
    from shattering.execution.sweep import plan_sweep

    files = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    assert len(files) >= 4
    for each in files:
        assert len(plan_sweep(read_sweep(each)).plan.specs) > 5


def test_ways_that_differ_only_in_what_is_not_told_are_one_line_with_a_range() -> None:
    from shattering.cli.sweep_plan import _ways

    def entry(model: str, speed: float) -> dict[str, Any]:
        return {"model": model, "batch_size": 64, "way": "compiled", "updates_per_second": {"compiled": speed}}

    told = _ways([entry("mlp_1x512", 30428.0), entry("mlp_3x512", 9.0), entry("mlp_1x512", 21027.0)])

    assert told == [
        "Updates of mlp_1x512 in batches of 64 are made the way ‘compiled’, 21,027 to 30,428/s a process.",
        "Updates of mlp_3x512 in batches of 64 are made the way ‘compiled’, 9/s a process.",
    ]

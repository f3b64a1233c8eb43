"""The object of --json, and what the terminal makes of it."""

from __future__ import annotations

import json

import pytest
from report_demo import demo_plan, demo_store

from shattering.core.errors import SpecError
from shattering.core.record import Status, results_digest
from shattering.report.settings import settings
from shattering.report.show import describe_run, describe_runs, render_run, render_runs
from shattering.report.summary import summarise
from shattering.report.terminal import render
from shattering.report.words import half_width, interval, number, percent, published, seeds_text

MIXED = [Status.FAILED, Status.DIVERGED, Status.NOT_FITTED, None, *[Status.DONE] * 8]


def test_summary_has_the_promised_keys(tmp_path, registered):
    registered()
    plan = demo_plan()
    store = demo_store(tmp_path / "store", plan)
    summary = summarise(store, plan, seconds=1.5)
    promised = {"study", "scale", "data", "store", "report", "runs", "claims", "seconds", "digest"}
    assert promised <= summary.keys()
    assert summary["seconds"] == 1.5
    assert summary["digest"] == results_digest(store.records(plan.digests))
    first, second, third = summary["claims"]
    assert {"source", "quantity", "published", "ours", "low", "high", "seeds", "verdict"} <= first.keys()
    assert first["seeds"] == 3 and len(first["runs"]) == 6
    assert first["low"] <= first["ours"] <= first["high"]
    assert (first["verdict"], second["verdict"], third["verdict"]) == (
        "effect reproduced",
        "effect inconclusive",
        "not run",
    )
    json.dumps(summary, allow_nan=False)


def test_counts_sum_to_the_plan(tmp_path, registered):
    registered()
    plan = demo_plan()
    summary = summarise(demo_store(tmp_path / "store", plan, MIXED), plan)
    assert summary["runs"] == {"done": 8, "not_fitted": 1, "diverged": 1, "failed": 1, "cancelled": 1}
    assert sum(summary["runs"].values()) == len(plan.specs)
    assert summary["counts"] == "8 of 12 runs; 1 did not fit, 1 diverged, 1 failed, 1 not run"


@pytest.mark.parametrize("statuses", [None, MIXED, [None] * 12])
def test_terminal_fits_eighty_columns(tmp_path, registered, monkeypatch, statuses):
    registered("[bold]x[/bold]")
    monkeypatch.setenv("COLUMNS", "80")
    plan = demo_plan("[bold]x[/bold]")
    text = render(summarise(demo_store(tmp_path / "store", plan, statuses), plan))
    lines = text.splitlines()
    assert "\x1b" not in text
    assert text.rstrip().endswith("index.html")
    assert all(len(line) <= 80 for line in lines if "index.html" not in line and "/" not in line)
    assert ("continue with:" in text) == (statuses is not None)
    if statuses is None:
        assert "[bold]x[/bold]" in text


def test_runs_are_listed_and_shown(tmp_path, registered):
    registered()
    plan = demo_plan()
    store = demo_store(tmp_path / "store", plan, MIXED)
    described = describe_runs(store)
    assert [run["digest"] for run in described["runs"]] == plan.digests
    assert [run["status"] for run in described["runs"]][:4] == ["failed", "diverged", "not_fitted", "cancelled"]
    assert "did not fit" in render_runs(described)
    one = describe_run(store, plan.digests[4][:12])
    assert one["digest"] == plan.digests[4] and one["rows"][-1]["step"] == 100
    assert plan.digests[4] in render_run(one)
    assert "Out of memory." in render_run(describe_run(store, plan.digests[0]))
    assert "not begun" in render_run(describe_run(store, plan.digests[3]))


def test_a_list_of_chosen_runs_says_how_many_match(tmp_path, registered):
    registered()
    store = demo_store(tmp_path / "store", demo_plan(), MIXED)
    planned = describe_runs(store)["matching"]

    def last(**choice):
        return " ".join(render_runs(describe_runs(store, **choice)).split())

    assert f"1 of {planned} runs in " in last(status=Status.DIVERGED) and last(status=Status.DIVERGED).endswith("match")
    assert f"{planned} runs in " in last() and "match" not in last()
    fitted = describe_runs(store, status=Status.DONE)["matching"]
    assert last(status=Status.DONE, limit=1).endswith("match, 1 shown") and fitted > 1
    assert f"0 of {planned} runs in " in last(where="seed = 99")


@pytest.mark.parametrize(("prefix", "identifier"), [("zz", "unknown-run"), ("", "run-ambiguous")])
def test_wrong_names_of_runs_are_told(tmp_path, registered, prefix, identifier):
    registered()
    store = demo_store(tmp_path / "store", demo_plan())
    with pytest.raises(SpecError) as caught:
        describe_run(store, prefix)
    assert caught.value.identifier == identifier


def test_settings_name_every_field_once():
    table = settings(demo_plan())
    assert table.heads == ("model", "corruption", "seeds", "runs")
    assert len(table.rows) == 4
    assert table.rows[0] == ("mlp_1x512", "true_labels", "0–2", "3")
    common = dict(table.common)
    for name in ("optimizer", "learning_rate", "momentum", "weight_decay", "batch_size", "schedule", "augmentation"):
        assert f"training.{name}" in common
    assert common["training.decay"] == "not used"
    assert common["data.train_size"] == "all"
    assert "compute.threads" in common


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(1.0), "100.0%"),
        (percent(0.9997), "99.97%"),
        (percent(0.0), "0.0%"),
        (half_width(0.005, "1"), "0.5 points"),
        (percent(0.0001), "0.01%"),
        (number(2.654, "x"), "2.65×"),
        (number(1234.0, "steps"), "1,234 steps"),
        (number(None, "1"), "–"),
        (published(0.8905, "1"), "89.05%"),
        (published(None, "x"), "stated"),
        (interval(0.961, 0.984, "1"), "[96.1%, 98.4%]"),
        (interval(None, None, "1"), ""),
        (seeds_text([4, 0, 1, 2, 7]), "0–2, 4, 7"),
    ],
)
def test_words(text, expected):
    assert text == expected

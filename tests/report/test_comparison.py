"""Papers beside stores: what is aligned with what, what is counted, and what is told of claims that nobody ran."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from report_demo import demo_plan, demo_store

from shattering.core.errors import SpecError, StoreError
from shattering.core.record import Status
from shattering.core.study import Claim, Estimate, Study, studies
from shattering.report.comparison import MIXED, compare_stores, open_stores, overall
from shattering.report.comparison_text import render_comparison
from shattering.report.summary import summarise
from shattering.store.store import Store

HALF = [Status.FAILED, Status.DIVERGED, Status.NOT_FITTED, None, *[Status.DONE] * 8]
NONE = [None] * 12


@pytest.fixture
def sibling(monkeypatch, registered) -> Study:
    """A second study of the demo's paper, of which no store has a plan."""
    demo = registered()
    claim = Claim("Table 9: a net", "test error", 0.17, 0.01, "1", "Q-text", "cifar10", lambda records: None)
    study = replace(demo, name="demo-sibling", question="Is it told of?", claims=(claim,))
    monkeypatch.setitem(studies._entries, study.name, study)
    return study


@pytest.fixture
def stores(tmp_path, registered) -> list[Store]:
    registered()
    plan = demo_plan()
    return [demo_store(tmp_path / "a", plan), demo_store(tmp_path / "b", plan, HALF)]


def test_stores_are_aligned_claim_by_claim(stores) -> None:
    plan = demo_plan()

    comparison = compare_stores(stores)

    json.dumps(comparison, allow_nan=False)
    assert comparison["stores"] == [str(store.root) for store in stores]
    assert len(comparison["claims"]) == 3
    for place, store in enumerate(stores):
        own = summarise(store, plan)["claims"]
        for entry, claim in zip(comparison["claims"], own, strict=True):
            assert entry["results"][place] == {
                name: claim[name] for name in ("ours", "low", "high", "seeds", "verdict")
            }
            for name in ("source", "quantity", "unit", "published", "tolerance", "provenance", "effect"):
                assert entry[name] == claim[name]
            assert (entry["study"], entry["paper"], entry["data"]) == ("demo-study", "Doe (2020)", "cifar10")


def test_other_studies_of_the_paper_are_told_of_as_not_run(stores, sibling) -> None:
    comparison = compare_stores(stores)

    (paper,) = comparison["papers"]
    assert paper["studies"] == ["demo-study", "demo-sibling"]
    assert (paper["claims"], sum(paper["verdicts"].values())) == (4, 4)
    unrun = [claim for claim in comparison["claims"] if claim["study"] == "demo-sibling"]
    assert [(claim["verdict"], claim["results"], claim["provenance"]) for claim in unrun] == [
        ("not run", [None, None], "Q-text")
    ]
    text = render_comparison(comparison)
    assert "not run; begin with: shattering run demo-sibling" in text
    assert "of 1 claim: 1 not run" in text and "Doe (2020), 2 studies: of 4 claims: " in text


def test_papers_without_any_plan_stay_out_unless_asked_for(stores) -> None:
    assert [paper["paper"] for paper in compare_stores(stores)["papers"]] == ["Doe (2020)"]

    asked = compare_stores(stores, paper="zhang2017")

    assert asked["summaries"] == []
    assert {claim["verdict"] for claim in asked["claims"]} == {"not run"}
    assert {claim["study"].partition("-")[0] for claim in asked["claims"]} == {"zhang2017"}


@pytest.mark.parametrize("paper", ["demo", "Doe", "doe (2020)", "a TITLE"])
def test_a_paper_can_be_asked_for(paper, stores, sibling) -> None:
    assert [each["study"] for each in compare_stores(stores, paper=paper)["studies"]] == ["demo-study", "demo-sibling"]


def test_a_study_can_be_asked_for(stores, sibling) -> None:
    comparison = compare_stores(stores, study="demo-st")

    assert [each["study"] for each in comparison["studies"]] == ["demo-study"]
    assert {claim["study"] for claim in comparison["claims"]} == {"demo-study"}


@pytest.mark.parametrize(
    ("asked", "identifier"),
    [
        ({"paper": "nobody1900"}, "unknown-paper"),
        ({"paper": " "}, "unknown-paper"),
        ({"study": "nobody1900"}, "unknown-study"),
        ({"study": "demo-s"}, "study-ambiguous"),
        ({"paper": "zhang2017", "study": "demo-study"}, "study-elsewhere"),
    ],
)
def test_wrong_names_are_told(asked, identifier, stores, sibling) -> None:
    with pytest.raises(SpecError) as caught:
        compare_stores(stores, **asked)
    assert caught.value.identifier == identifier


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "not run"),
        ([("not run", True), ("not run", False)], "not run"),
        ([("not run", True), ("effect reproduced", False)], "effect reproduced"),
        ([("effect inconclusive", True), ("effect reproduced", False)], "effect inconclusive"),
        ([("inconclusive", True), ("effect reproduced", True)], "inconclusive"),
        ([("not reproduced", True), ("effect reproduced", True)], "not reproduced"),
        ([("effect reproduced", False), ("effect not reproduced", False)], MIXED),
        ([("effect reproduced", False), ("effect reproduced", False)], "effect reproduced"),
    ],
)
def test_a_claim_is_counted_by_the_runs_closest_to_the_paper(verdicts, expected) -> None:
    assert overall(verdicts) == overall(verdicts[::-1]) == expected


def test_what_was_run_at_which_scale_on_which_data_is_told(monkeypatch, stores) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stores[1].save_plan(replace(demo_plan(), overrides={"training.max_steps": 10}))

    text = render_comparison(compare_stores(stores))

    for place, store, more in (
        (1, stores[0], ""),
        (2, stores[1], ""),
        (3, stores[1], ", training.max_steps=10"),
    ):
        head = f"({place}) digits in place of cifar10, small scale{more}:"
        line = next(number for number, line in enumerate(text.splitlines()) if line.strip().startswith(head))
        assert text.splitlines()[line + 1].strip() == f"store {store.root}"


def test_each_run_has_a_line_and_each_verdict_a_meaning(stores) -> None:
    lines = render_comparison(compare_stores(stores)).splitlines()

    start = next(number for number, line in enumerate(lines) if line.startswith("Table 1"))
    assert lines[start + 1].split()[:4] == ["training", "accuracy", "100%", "(1)"]
    assert lines[start + 1].endswith("effect reproduced (a)")
    assert lines[start + 2].split()[0] == "(2)"
    assert "(a) above chance" in " ".join(lines)
    for word in ("effect reproduced", "effect inconclusive", "not run"):
        assert sum(line.startswith(f"{word}: ") for line in lines) == 1


@pytest.mark.parametrize("width", ["80", "100", "120"])
def test_tables_fit_the_terminal(width, monkeypatch, stores) -> None:
    monkeypatch.setenv("COLUMNS", width)

    text = render_comparison(compare_stores(stores, paper="zhang2017")) + render_comparison(compare_stores(stores))

    assert "\x1b" not in text
    assert [line for line in text.splitlines() if len(line) > int(width) and "store /" not in line] == []


def test_numbers_compared_are_shown_with_their_band(monkeypatch, tmp_path, registered) -> None:
    demo = registered()
    exact = Estimate(0.89, 0.885, 0.895, ("0" * 32,), 1)
    claim = replace(demo.claims[1], data="digits", estimate=lambda records: exact if records else None)
    monkeypatch.setitem(studies._entries, "demo-study", replace(demo, claims=(claim,), worked_example=True))

    comparison = compare_stores([demo_store(tmp_path / "a", demo_plan())])

    assert comparison["claims"][0]["verdict"] == "reproduced"
    text = render_comparison(comparison)
    assert "89.05% ±1 " in text and "[88.5%, 89.5%]" in text
    assert "reproduced: our 95% interval lies inside the band" in text


def test_names_cannot_change_the_page(tmp_path, registered) -> None:
    registered("[bold red]x[/bold red]")
    payload = "[bold red]x[/bold red]"
    store = demo_store(tmp_path / "store", demo_plan(payload), payload=payload)

    assert payload in render_comparison(compare_stores([store]))


def test_stores_without_a_plan_and_plans_of_strangers_are_told_of(tmp_path, registered, monkeypatch) -> None:
    registered()
    store = demo_store(tmp_path / "a", demo_plan())
    empty = Store.open(tmp_path / "b", write=True)
    monkeypatch.delitem(studies._entries, "demo-study")

    told = render_comparison(compare_stores([store, empty]))

    assert f"The store {empty.root} holds no plan." in told
    assert "'demo-study', which is not installed" in told and "nothing to compare" in told
    assert "nothing to compare" in render_comparison(compare_stores([]))


def test_stores_are_found_one_level_down(tmp_path, stores) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "deep").mkdir()
    Store.open(tmp_path / "notes" / "deep" / "c", write=True)
    (tmp_path / "README.md").write_text("Not a store.")

    assert [store.root.name for store in open_stores(tmp_path)] == ["a", "b"]
    assert [store.root for store in open_stores(tmp_path / "b")] == [tmp_path / "b"]
    assert not any(store.write for store in open_stores(tmp_path))


@pytest.mark.parametrize(
    ("name", "kind", "identifier"),
    [
        ("absent", StoreError, "store-missing"),
        ("empty", StoreError, "store-missing"),
        ("full", StoreError, "store-not-a-store"),
        ("file", SpecError, "out-is-file"),
        ("damaged", StoreError, "store-marker-damaged"),
    ],
)
def test_folders_without_a_store_are_refused(name, kind, identifier, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "inner").mkdir(parents=True)
    (tmp_path / "damaged" / "inner").mkdir(parents=True)
    (tmp_path / "damaged" / "inner" / "shattering-store.json").write_text("{")
    (tmp_path / "file").write_text("")

    with pytest.raises(kind) as caught:
        open_stores(tmp_path / name)

    assert caught.value.identifier == identifier
    assert str(tmp_path / name) in caught.value.message

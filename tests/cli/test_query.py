"""``query``, and ``show`` with a choice: SQL over a store, and nothing but the store."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shattering as library
from shattering.core.errors import StoreError
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.store.query import Results, quoted
from shattering.store.store import Store

pytest.importorskip("duckdb")


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Twelve runs: two levels of label noise, six seeds; the last one did not fit; one failed."""
    store = Store.open(tmp_path / "odd 'name", write=True)
    for number in range(12):
        level, seed = number % 2, number // 2
        spec = RunSpec(corruption=CorruptionSpec(name="random_labels", fields={"p": level / 2}), seed=seed)
        rows = ({"step": 0, "test_accuracy": 0.1}, {"step": 4, "test_accuracy": 0.9 - level / 2 + seed / 100})
        status = Status.NOT_FITTED if number == 11 else Status.DONE
        examples: dict[str, Any] = {"index": np.arange(3), "label": np.array([1, 0, 1])} if seed == 0 else {}
        record = Record(spec, status, rows, {"steps_to_fit": 4}, examples=examples, provenance={"seconds": 0.5})
        lease = store.lease(spec.digest)
        assert lease is not None
        with lease:
            assert store.put(record, lease)
    error = {"identifier": "x", "message": "=cmd()"}
    store.put_failure(Record(RunSpec(seed=9), Status.FAILED, error=error))
    return store.root


def rows_of(called: Any) -> list[list[Any]]:
    assert (called.code, called.err) == (0, "")
    return [list(row.values()) for row in json.loads(called.out)["rows"]]


def test_without_sql_the_tables_are_told(filled: Path, shattering: Any) -> None:
    called = shattering("query", str(filled))
    told = json.loads(shattering("query", str(filled), "--json").out)
    assert called.code == 0 and called.out.startswith("13 runs in ")
    assert {"training.learning_rate", "corruption.fields.p", "last.test_accuracy", "summary.steps_to_fit"} <= {
        column["name"] for column in told["tables"]["runs"]
    }
    assert [column["name"] for column in told["tables"]["examples"]] == ["digest", "index", "label"]
    assert [column["name"] for column in told["tables"]["rows"]] == ["digest", "step", "test_accuracy"]
    assert len(told["examples"]) == 3
    for question in told["examples"]:
        assert question in called.out
        assert shattering("query", str(filled), question).code == 0


def test_questions_about_every_table(filled: Path, shattering: Any) -> None:
    def ask(sql: str, *words: str) -> list[list[Any]]:
        return rows_of(shattering("query", str(filled), sql, "--json", *words))

    assert ask("SELECT status, count(*) FROM runs GROUP BY 1 ORDER BY 1") == [
        ["done", 11],
        ["failed", 1],
        ["not_fitted", 1],
    ]
    wanted = [[0.0, pytest.approx(0.925)], [0.5, pytest.approx(0.425)]]
    grouped = "GROUP BY 1 ORDER BY 1"
    assert (
        ask(f"SELECT corruption.fields.p, avg(last.test_accuracy) FROM runs WHERE status != 'failed' {grouped}")
        == wanted
    )
    joined = f"FROM rows JOIN runs r USING (digest) WHERE step = 4 {grouped}"
    assert ask(f'SELECT r."corruption.fields.p", avg(test_accuracy) {joined}') == wanted
    assert ask("SELECT digest, count(*), sum(label) FROM examples GROUP BY 1") and ask(
        "SELECT count(*) FROM examples"
    ) == [[6]]
    assert ask("SELECT count(*) FROM plans") == [[0]]
    assert len(ask("FROM runs", "--limit", "5")) == 5
    assert ask("SELECT 'nan'::DOUBLE, 1 AS a, 2 AS a") == [["nan", 1, 2]]


@pytest.mark.parametrize("runs", ["some", "none"])
def test_every_field_of_the_spec_can_be_asked_for(runs: str, filled: Path, tmp_path: Path, shattering: Any) -> None:
    """Also those that no run sets, in a store without runs, and the message of failures where none failed."""
    store = filled if runs == "some" else Store.open(tmp_path / "empty", write=True).root
    names = ["data.left_out_size", "selection.parent", "start.step", "training.decay_steps", "error", "seed"]
    question = f"SELECT {', '.join(names)}, avg(data.left_out_size) OVER () FROM runs WHERE start.step IS NULL"
    told = rows_of(shattering("query", str(store), question, "--json"))
    assert len(told) == (13 if runs == "some" else 0) and all(row[:4] + row[6:] == [None] * 5 for row in told)
    listed = json.loads(shattering("query", str(store), "--json").out)["tables"]["runs"]
    assert set(names) <= {column["name"] for column in listed}
    assert not {"selection", "start", "start.fields"} & {column["name"] for column in listed}


@pytest.mark.parametrize(
    ("sql", "identifier"),
    [
        ("SELEC 1", "query-wrong"),
        ("SELECT learning_rate FROM runs", "query-wrong"),
        ("SELECT * FROM nowhere", "query-wrong"),
        ("SELECT 1; SELECT 2", "query-refused"),
        ("", "query-refused"),
        ("DROP TABLE runs", "query-refused"),
        ("SET enable_external_access = true", "query-refused"),
        ("COPY (SELECT 1) TO 'stolen.csv'", "query-refused"),
        ("COPY (SELECT 1 FROM examples) TO '{runs}/stolen.csv'", "query-refused"),
        ("INSTALL httpfs", "query-refused"),
        ("ATTACH 'other.db'", "query-refused"),
        ("SELECT * FROM read_text('{secret}')", "query-wrong"),
        ("SELECT * FROM '{secret}'", "query-wrong"),
        ("SELECT * FROM glob('/*')", "query-wrong"),
        ("SELECT * FROM read_csv('https://example.org/x.csv')", "query-wrong"),
        ("SELECT * FROM examples, read_text('{secret}')", "query-wrong"),
    ],
)
def test_what_is_wrong_or_reaches_beyond_the_store_is_refused(
    sql: str, identifier: str, filled: Path, shattering: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("canary")
    quoted_root = str(filled / "runs").replace("'", "''")
    called = shattering("query", str(filled), sql.format(secret=tmp_path / "secret.txt", runs=quoted_root))
    assert (called.code, called.out) == (2, "") and "canary" not in called.err
    assert called.err.startswith(f"error [{identifier}]: ") and called.err.count("\n") == 1
    assert not list(tmp_path.rglob("stolen.csv"))


def test_tables_of_python_cannot_be_asked(filled: Path, shattering: Any) -> None:
    assert shattering("query", str(filled), "SELECT * FROM results").code == 2


def test_csv_computes_nothing(filled: Path, shattering: Any) -> None:
    called = shattering("query", str(filled), 'SELECT error, seed, -1 AS "-x" FROM runs WHERE seed = 9', "--csv")
    assert (called.code, called.out) == (0, "error,seed,'-x\n'=cmd(),9,-1\n")
    assert shattering("query", str(filled), "SELECT 1", "--csv", "--json").code == 2
    assert shattering("query", str(filled), "SELECT 1", "--limit", "0").code == 2


def test_a_printed_answer_is_cut_and_says_so(filled: Path, shattering: Any) -> None:
    called = shattering("query", str(filled), "SELECT chr(27) || seed AS x FROM runs ORDER BY seed", "--limit", "2")
    assert called.out == "x\n?0\n?0\n… and more; --limit N shows N rows, --csv all\n"


@pytest.mark.parametrize("package", ["duckdb", "pandas", "polars"])
def test_what_is_not_installed_is_named(package: str, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr("importlib.import_module", lambda name: absent(name))
    results = library.results(filled)
    with pytest.raises(StoreError, match=rf"{package} .* not installed; .*shattering\[query\]"):
        results.sql("SELECT 1") if package == "duckdb" else getattr(results, f"to_{package}")()


def test_results_for_other_libraries(filled: Path) -> None:
    results = library.results(filled)
    assert len(results) == 13 and "13 rows" in repr(results)
    assert results.to_arrow().num_rows == 13
    answer = results.sql("SELECT seed, error FROM runs WHERE status = 'failed'")
    assert answer.to_rows() == [{"seed": 9, "error": "=cmd()"}]
    pytest.importorskip("pandas")
    assert results.to_pandas()["last.test_accuracy"].max() == pytest.approx(0.95)
    pytest.importorskip("polars")
    assert answer.to_polars().to_dicts() == answer.to_rows()


def test_names_are_escaped_in_a_notebook(filled: Path) -> None:
    html = Results(Store.open(filled, write=False)).sql("SELECT '<script>' AS \"<b>\"")._repr_html_()
    assert "&lt;script&gt;" in html and "&lt;b&gt;" in html and "<script>" not in html and "<b>" not in html


def test_dotted_names_are_quoted_where_they_are_columns() -> None:
    columns = ["training.learning_rate", "corruption.fields.p", "seed"]
    cases = {
        "select training.learning_rate": 'select "training.learning_rate"',
        "r.corruption.fields.p>0": 'r."corruption.fields.p">0',
        "'training.learning_rate' -- training.learning_rate": "'training.learning_rate' -- training.learning_rate",
        '"training.learning_rate", a.seed, 1.5': '"training.learning_rate", a.seed, 1.5',
        "Training.Learning_Rate": '"training.learning_rate"',
    }
    assert {text: quoted(text, columns) for text in cases} == cases


def test_show_lists_what_is_chosen(filled: Path, shattering: Any) -> None:
    def shown(*words: str) -> dict[str, Any]:
        called = shattering("show", str(filled), "--json", *words)
        assert (called.code, called.err) == (0, "")
        found: dict[str, Any] = json.loads(called.out)
        return found

    assert len(shown()["runs"]) == shown()["matching"] == 13
    assert shown()["counts"] == {"done": 11, "not_fitted": 1, "diverged": 0, "failed": 1, "cancelled": 0}
    assert [run["seed"] for run in shown("--where", "status = 'not_fitted'")["runs"]] == [5]
    chosen = shown("--where", "corruption.fields.p > 0 OR seed = 9", "--status", "done", "--limit", "2")
    assert (chosen["matching"], len(chosen["runs"])) == (5, 2)
    assert {run["corruption"] for run in chosen["runs"]} == {"random_labels (p=0.5)"}
    text = " ".join(shattering("show", str(filled), "--limit", "3").out.split())
    assert "3 of 13 runs shown" in text and "11 of 13 runs; 1 did not fit, 1 failed" in text


def test_many_runs_are_counted_and_the_first_listed(
    filled: Path, shattering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shattering.cli.reading.MANY", 10)
    monkeypatch.setattr("shattering.cli.reading.FIRST", 4)
    called = shattering("show", str(filled))
    assert called.code == 0 and "4 of 13 runs shown" in called.out


@pytest.mark.parametrize(
    "words",
    [
        ["--where", "seed <"],
        ["--where", "nothing = 1"],
        ["--limit", "0"],
        ["--status", "perfect"],
        ["abc", "--limit", "3"],
    ],
)
def test_a_wrong_choice_is_refused(words: list[str], filled: Path, shattering: Any) -> None:
    called = shattering("show", str(filled), *words)
    assert (called.code, called.out) == (2, "") and called.err.count("\n") == 1


def test_fields_at_their_default_count_as_such(tmp_path: Path, shattering: Any) -> None:
    """Half of the runs have set the field to another value, half have not set it: a question is of both."""
    file = tmp_path / "axes.yaml"
    file.write_text(
        "base: {model: {name: pseudo_fisher, fields: {size: 10, draws: 2}}}\n"
        "grid: {model.fields.axis: [examples, features]}\ndata: drawn\nseeds: 1\n"
    )
    out = str(tmp_path / "runs")
    assert shattering("sweep", str(file), "--out", out, "--quiet").code == 0

    asked = shattering(
        "query", out, "SELECT model.fields.axis, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL", "--csv"
    )
    assert asked.out.splitlines()[1:] == ["examples,1", "features,1"]
    met = shattering("show", out, "--where", "model.fields.axis = 'examples'", "--json")
    assert json.loads(met.out)["matching"] == 1
    # A column and a text of the name of a table that this store has not.
    assert shattering("query", out, "SELECT 'examples', max(examples) FROM rows", "--csv").code == 0
    refused = shattering("query", out, "SELECT * FROM examples")
    assert refused.code == 2 and "keeps a table of examples" in refused.err

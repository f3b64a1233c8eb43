"""Tables of runs in which a field at its default is not empty."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shattering.execution.defaults import filled, results_of
from shattering.store.store import Store


def test_fields_at_their_default_are_filled_in() -> None:
    table = pa.table(
        {
            "model.name": ["mlp_1x512", "mlp_1x512", "linear", "mine:build", "pseudo_fisher", None],
            "model.fields.width": pa.array([256, None, None, None, None, None], pa.int64()),
            "model.fields.axis": pa.array([None] * 6, pa.string()),
            "corruption.name": ["partially_corrupted_labels"] * 6,
            "corruption.fields.p": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        }
    )
    found = filled(table)

    assert found.column("model.fields.width").to_pylist() == [256, 512, None, None, None, None]
    assert found.column("model.fields.axis").to_pylist() == [None, None, None, None, "examples", None]
    assert found.column_names == table.column_names
    assert found.column("corruption.fields.p") == table.column("corruption.fields.p")


def test_a_default_of_another_kind_is_left_out() -> None:
    """A column may hold texts because another model of that field's name takes texts."""
    columns = {"model.name": ["mlp_1x512", "mine:build"], "model.fields.width": [None, "wide"]}
    assert filled(pa.table(columns)).column("model.fields.width").to_pylist() == [None, "wide"]


def test_tables_without_such_columns_stay_as_they_are() -> None:
    table = pa.table({"digest": ["a"], "seed": [0]})
    assert filled(table) is table


@pytest.mark.parametrize(
    ("question", "seen"),
    [
        ("SELECT seed FROM runs", False),
        ("SELECT count( * ) FROM runs", False),
        ("SELECT model.fields.width FROM runs", True),
        ("SELECT * FROM runs", True),
        ("SELECT COLUMNS('model') FROM runs", True),
        ("FROM runs", True),
        (None, True),
    ],
)
def test_a_question_is_spared_what_it_does_not_see(question: str | None, seen: bool, tmp_path: Path) -> None:
    table = pa.table({"digest": ["a"], "model.name": ["mlp_1x512"], "model.fields.width": pa.array([None], pa.int64())})
    store = Store.open(tmp_path / "store", write=True)
    results = results_of(store, question, table)
    assert results.to_arrow().column("model.fields.width").to_pylist() == [512 if seen else None]

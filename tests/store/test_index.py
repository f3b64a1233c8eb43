"""The index: derived, never needed, believed only as far as it can be, and made again whenever it is not there."""

from __future__ import annotations

import json
import os
import random
import shutil

import numpy as np
import pytest

from shattering.core.disk import Disk
from shattering.core.errors import StoreError
from shattering.core.record import Status
from shattering.core.spec import CorruptionSpec, ModelSpec, RunSpec, SelectionSpec
from shattering.store import index as module
from shattering.store.store import Store
from shattering.store.table import plans_table, rows_table, runs_table

COUNT = 40


@pytest.fixture
def records(record):
    found = [record(seed, status=(Status.DONE, Status.NOT_FITTED)[seed % 2]) for seed in range(COUNT)]
    return [*found, record(COUNT, status=Status.FAILED, error={"identifier": "x", "message": "odd \udc80"})]


@pytest.fixture
def full(store, records, put):
    for given in records[:-1]:
        assert put(store, given)
    store.put_failure(records[-1])
    return store


def reader(store: Store) -> Store:
    return Store.open(store.root, write=False)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose files are read from now on."""
    found: list[str] = []
    read = Disk.read

    def noted(disk: Disk, path):
        if path.parent.parent.name == "runs":
            found.append(path.parent.name)
        return read(disk, path)

    monkeypatch.setattr(Disk, "read", noted)
    return found


def test_what_was_committed_is_not_read_again(full, records, monkeypatch):
    found = reads(monkeypatch)
    digests = [record.digest for record in records]
    assert reader(full).missing([*digests, "0" * 32]) == [digests[-1], "0" * 32]
    assert reader(full).counts([*digests, "0" * 32]) == {
        "done": 20, "not_fitted": 20, "diverged": 0, "failed": 1, "cancelled": 1
    }  # fmt: skip
    assert len(runs_table(reader(full))) == COUNT + 1
    assert found == []


@pytest.mark.parametrize("how", ["absent", "emptied", "torn", "flipped", "of another layout"])
@pytest.mark.parametrize("rolled", [False, True], ids=["log", "segments"])
def test_an_index_that_is_damaged_is_made_again(store, records, put, monkeypatch, how, rolled):
    if rolled:
        monkeypatch.setattr(module, "ROLL", 8)
    for given in records[:-1]:
        put(store, given)
    store.put_failure(records[-1])
    wanted = runs_table(reader(store))
    folder, chance = store.root / "index", random.Random(0)
    assert any(path.suffix == ".parquet" for path in folder.iterdir()) == rolled
    for path in folder.iterdir():
        data = path.read_bytes()
        if how == "absent":
            path.unlink()
        elif how == "emptied":
            path.write_bytes(b"")
        elif how == "torn":
            path.write_bytes(data[: len(data) // 2])
        elif how == "flipped":
            place = chance.randrange(len(data))
            path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        else:
            path.write_bytes(data.replace(b'"layout":1', b'"layout":2'))
    found = reads(monkeypatch)
    assert runs_table(reader(store)).equals(wanted)
    assert found != [] or (rolled and how == "of another layout")
    again = Store.open(store.root, write=True)
    assert again.missing([record.digest for record in records]) == [records[-1].digest]
    assert again.catalogue() and again.check() == []
    found.clear()
    assert runs_table(reader(store)).equals(wanted) and found == []


def test_every_flipped_byte_of_a_log_costs_its_line_only(store, record, put, monkeypatch):
    for seed in range(3):
        put(store, record(seed))
    wanted = runs_table(reader(store))
    (path,) = (store.root / "index").iterdir()
    data, found = path.read_bytes(), reads(monkeypatch)
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        found.clear()
        assert runs_table(reader(store)).equals(wanted), f"byte {place}"
        assert 1 <= len(set(found)) <= 2, f"byte {place}"  # a line feed that is gone joins two lines


@pytest.mark.parametrize("name", ["spec.json", "record.json", "metrics.jsonl", "DONE", "examples.parquet"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone", "replaced"])
def test_a_damaged_run_is_missing_though_it_is_in_the_index(store, record, put, name, how):
    digests = [record(seed).digest for seed in range(3)]
    for seed in range(3):
        assert put(store, record(seed, examples={"index": np.arange(3)}))
    path = store.root / "runs" / digests[1] / name
    data = path.read_bytes()
    harmed = data[:-1] if how == "cut" else data[:-2] + b"??"
    if how in ("gone", "replaced"):
        path.unlink()
    if how != "gone":
        path.write_bytes(harmed)
        os.utime(path, ns=(1, 1))
    missing = Store.open(store.root, write=True).missing(digests)
    # What lies in the examples is looked at when it is read, as it always was.
    assert missing == ([] if name == "examples.parquet" and how in ("changed", "replaced") else [digests[1]])


def test_a_run_that_was_copied_is_verified_once(full, records, tmp_path, monkeypatch):
    shutil.copytree(full.root, tmp_path / "copy")
    found, digests = reads(monkeypatch), [record.digest for record in records]
    copy = Store.open(tmp_path / "copy", write=True)
    assert copy.missing(digests) == [digests[-1]] and len(set(found)) == COUNT
    found.clear()
    assert Store.open(tmp_path / "copy", write=True).missing(digests) == [digests[-1]] and found == []


def test_a_quarantined_run_leaves_the_tables(full, records):
    digest = records[3].digest
    (full.root / "runs" / digest / "metrics.jsonl").write_bytes(b"")
    writer = Store.open(full.root, write=True)
    assert writer.get(digest) is None
    assert digest not in runs_table(writer).column("digest").to_pylist()
    assert digest not in runs_table(reader(full)).column("digest").to_pylist()
    assert writer.counts([digest])["cancelled"] == 1


def test_runs_of_other_numerics_are_no_rows(full, records, monkeypatch):
    monkeypatch.setattr("shattering.store.format.NUMERICS_VERSION", 2)
    other = reader(full)
    assert runs_table(other).column("status").to_pylist() == ["failed"]  # a failure holds no numbers
    assert other.missing([records[0].digest]) == [records[0].digest]
    assert "numerics version 1" in other.problems[0]


def test_a_reader_writes_nothing_until_it_is_asked_to(full, monkeypatch):
    monkeypatch.setattr(module, "FEW", 1)
    shutil.rmtree(full.root / "index")
    store = reader(full)
    wanted = runs_table(store)
    assert rows_table(store).num_rows == 2 * COUNT
    assert not (full.root / "index").exists()
    store.index.save()
    found = reads(monkeypatch)
    assert runs_table(reader(full)).equals(wanted) and rows_table(reader(full)).num_rows == 2 * COUNT
    assert found == []


def test_saving_where_nothing_can_be_written_is_no_error(full, monkeypatch):
    monkeypatch.setattr(module, "FEW", 1)
    shutil.rmtree(full.root / "index")
    store = reader(full)
    runs_table(store)

    def refused(*arguments: object) -> None:
        raise StoreError("store-read-only", "no")

    monkeypatch.setattr("shattering.core.io.check_writable", refused)
    store.index.save()
    assert not (full.root / "index").exists()


def test_logs_of_processes_that_have_ended_become_one_segment(store, record, put, monkeypatch):
    monkeypatch.setattr(module, "FILES_KEPT", 3)
    for seed in range(6):
        assert put(Store.open(store.root, write=True), record(seed))
    alive = Store.open(store.root, write=True)
    assert put(alive, record(6))
    wanted = runs_table(reader(store))
    before = {path.name for path in (store.root / "index").iterdir()}
    assert len(before) == 7
    Store.open(store.root, write=True).catalogue()
    after = {path.name for path in (store.root / "index").iterdir()}
    assert len(after) == 2 and len(after & before) == 1  # the segment, and the log of the one that is alive
    assert put(alive, record(7))
    assert runs_table(reader(store), [record(seed).digest for seed in range(7)]).num_rows == 7
    assert runs_table(reader(store)).num_rows == 8 and wanted.num_rows == 7


def test_a_segment_that_is_damaged_is_removed_by_a_writer(store, records, put, monkeypatch):
    monkeypatch.setattr(module, "ROLL", 20)
    for given in records[:COUNT]:
        put(store, given)
    (harmed, *_) = (store.root / "index").glob("runs-*.parquet")
    harmed.write_bytes(harmed.read_bytes()[:-1])
    assert len(Store.open(store.root, write=True).catalogue()) == COUNT
    assert not harmed.exists()
    assert len(runs_table(reader(store))) == COUNT


def test_tables_say_what_the_records_say(store, record, put):
    parent = RunSpec(seed=5)
    specs = [
        RunSpec(corruption=CorruptionSpec(name="random_labels", fields={"p": 0.5, "q": [1, "a"]}), seed=1),
        RunSpec(model=ModelSpec(name="mlp", fields={"width": 8, "deep": {"er": True}}), stream_seeds={"order": 7}),
        RunSpec(model=ModelSpec(name="mlp", fields={"width": "wide"})),
        RunSpec(selection=SelectionSpec(parent=parent, part="highest")),
    ]
    for spec in specs:
        rows = ({"step": 0, "a": 0.1}, {"step": 9, "a": float("nan"), "b": 2})
        given = record(rows=rows, summary={"steps_to_fit": None, "steps": 9})
        assert put(store, type(given)(**{**given.__dict__, "spec": spec}))
    wanted = {
        "status": ["done"] * 4,
        "seconds": [0.25] * 4,
        "snapshots": [2] * 4,
        "seed": [1, 0, 0, 0],
        "training.learning_rate": [0.1] * 4,
        "measures.names": ['["accuracy", "weights"]'] * 4,
        "corruption.fields.p": [0.5, None, None, None],
        "corruption.fields.q": ['[1, "a"]', None, None, None],
        "model.fields.width": [None, "8", "wide", None],
        "model.fields.deep.er": [None, True, None, None],
        "stream_seeds.order": [None, 7, None, None],
        "selection.parent": [None, None, None, parent.digest],
        "selection.part": [None, None, None, "highest"],
        "summary.steps": [9] * 4,
        "last.b": [2] * 4,
        "provenance.host": ["here"] * 4,
    }
    for source in (store, reader(store)):
        table = runs_table(source, [spec.digest for spec in specs])
        assert table.column("digest").to_pylist() == [spec.digest for spec in specs]
        assert {name: table.column(name).to_pylist() for name in wanted} == wanted
        assert np.isnan(table.column("last.a").to_pylist()).all()
        assert "summary.steps_to_fit" not in table.column_names  # nobody has one
        snapshots = rows_table(source, [specs[2].digest]).to_pylist()
        assert [row["step"] for row in snapshots] == [0, 9] and [row["b"] for row in snapshots] == [None, 2]
        assert np.isnan(snapshots[1]["a"]) and snapshots[0]["digest"] == specs[2].digest
        assert rows_table(source, names=["step"]).column_names == ["digest", "step"]


def test_an_empty_store_has_empty_tables(store):
    assert len(runs_table(store)) == len(rows_table(store)) == len(plans_table(store)) == 0
    assert store.counts([]) == {status.value: 0 for status in Status}


def test_segments_hold_the_snapshots_that_were_committed(store, records, put, monkeypatch):
    monkeypatch.setattr(module, "ROLL", 10)
    monkeypatch.setattr(module, "FEW", 1)
    for given in records[:30]:
        put(store, given)
    found = reads(monkeypatch)
    table = rows_table(reader(store))
    assert found == [] and table.num_rows == 60
    values = {row["digest"]: row["train_loss"] for row in table.to_pylist() if row["step"] == 7}
    assert values == {given.digest: 1 / 3 for given in records[:30]}


def test_lines_of_the_log_can_be_read(full):
    (path,) = (full.root / "index").iterdir()
    lines = [json.loads(line.partition(b" ")[2]) for line in path.read_bytes().splitlines()]
    assert len(lines) == COUNT + 1 and lines[0]["row"]["status"] == "done" and "seed" in lines[1]["row"]

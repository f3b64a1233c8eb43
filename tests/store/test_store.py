"""What goes into the store comes out of it, exactly; what is no store is refused."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shattering.core.disk import Disk
from shattering.core.errors import ShatteringError, SpecError, StoreError
from shattering.core.io import names
from shattering.core.plan import Plan
from shattering.core.record import Status, results_digest
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request
from shattering.store.format import jsonable
from shattering.store.marker import MARKER
from shattering.store.store import Store

FACTS = DataFacts("tiny", 4, 4, (8, 8, 1), 2, "f" * 64, ("re-encoded",))


def test_record_round_trip(store, record, put):
    given_ = record(status=Status.NOT_FITTED, summary={"steps_to_fit": None, "steps": 3}, error=None)
    assert put(store, given_)
    assert store.get(given_.digest) == given_
    assert Store.open(store.root, write=False).get(given_.digest) == given_


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.dictionaries(st.text(min_size=1, max_size=5), st.floats() | st.integers()), max_size=3),
    summary=st.dictionaries(st.text(max_size=5), st.none() | st.floats() | st.integers(), max_size=3),
)
def test_numbers_are_exact(rows, summary, record, tmp_path_factory, put):
    store = Store.open(tmp_path_factory.mktemp("exact"), write=True)
    given_ = record(rows=tuple(rows), summary=summary)
    assert put(store, given_)
    read = store.get(given_.digest)
    assert results_digest([read]) == results_digest([given_])
    flat = [value for row in (*rows, summary) for value in row.values()]
    back = [value for row in (*read.rows, read.summary) for value in row.values()]
    assert [type(value) for value in back] == [type(value) for value in flat] or summary  # a mapping is stored sorted
    assert list(map(repr, [v for row in read.rows for v in row.values()])) == [
        repr(v) for row in rows for v in row.values()
    ]


def test_numbers_of_diverged_runs(store, record, put):
    tiny = struct.unpack("<d", b"\x01" + b"\x00" * 7)[0]
    row = {"step": 3, "a": float("nan"), "b": float("inf"), "c": float("-inf"), "d": -0.0, "e": tiny}
    given_ = record(status=Status.DIVERGED, rows=(row,))
    assert put(store, given_)
    read = store.get(given_.digest).rows[0]
    assert math.isnan(read["a"]) and read["b"] == math.inf and read["c"] == -math.inf
    assert math.copysign(1, read["d"]) == -1 and read["e"] == tiny and type(read["step"]) is int
    for line in (store.root / "runs" / given_.digest / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_numpy_numbers(store, record, put):
    given_ = record(rows=({"step": np.int64(3), "x": np.float32(0.1), "y": np.float64(0.1)},))
    assert put(store, given_)
    assert store.get(given_.digest).rows == ({"step": 3, "x": float(np.float32(0.1)), "y": 0.1},)


def test_examples_are_read_on_request(store, record, put):
    examples = {
        "index": np.arange(3),
        "label": np.array([2, 0, 1]),
        "loss": np.array([0.1, np.nan, np.inf], dtype=np.float32),
        "changed": np.array([True, False, True]),
        "name": ["a", "b", "c"],
    }
    given_ = record(examples=examples)
    assert put(store, given_)
    assert store.get(given_.digest).examples == {}
    read = store.get(given_.digest, examples=True).examples
    assert list(read) == list(examples)
    for name, column in examples.items():
        assert np.asarray(column).tobytes() == np.asarray(list(read[name]), np.asarray(column).dtype).tobytes()
        assert name == "name" or read[name].dtype == column.dtype


def test_weights(store, record, put):
    given_ = record()
    assert put(store, given_, b"\x00weights")
    assert store.weights(given_.digest) == b"\x00weights"
    assert put(store, record(1)) and store.weights(record(1).digest) is None
    assert names(store.root / "runs" / record(1).digest) == [
        "DONE",
        "metrics.jsonl",
        "record.json",
        "spec.json",
    ]


def test_first_commit_wins(store, record, put):
    assert put(store, record())
    assert not put(store, record(summary={"steps_to_fit": 8}))
    assert store.get(record().digest) == record()
    assert names(store.root / "tmp") == []


def test_put_needs_the_lease_of_the_run(store, record):
    with store.lease(record(1).digest) as lease:
        with pytest.raises(ValueError, match="cannot be committed with the lease of"):
            store.put(record(0), lease)
        with pytest.raises(ValueError, match=r"failed of .* cannot be committed"):
            store.put(record(1, status=Status.FAILED), lease)
    assert not lease.valid()
    assert store.put(record(1), lease) is False
    assert store.all_digests() == []


def test_lease_is_exclusive_and_its_number_grows(store, record):
    digest = record().digest
    first = store.lease(digest)
    assert first.valid() and store.lease(digest) is None and store.lease(record(1).digest).fence == 1
    first.release()
    first.release()
    second = store.lease(digest)
    assert second.valid() and not first.valid() and second.fence == first.fence + 1


def test_no_locks_are_left_for_committed_runs(store, record, put):
    assert put(store, record())
    assert names(store.root / "locks") == []


def test_failures(store, record, put):
    failed = record(status=Status.FAILED, error={"identifier": "worker-died", "message": "odd name \udc80"})
    store.put_failure(failed)
    assert store.failure(failed.digest) == failed
    assert store.missing([failed.digest]) == [failed.digest]
    assert store.records([failed.digest]) == [failed]
    assert store.all_digests() == [failed.digest]
    assert put(store, record())
    assert store.failure(failed.digest) is None and store.missing([failed.digest]) == []
    assert names(store.root / "failures") == []
    assert store.records([failed.digest]) == [record()]


def test_order_is_the_callers(store, record, put):
    for seed in (2, 0):
        put(store, record(seed))
    digests = [record(seed).digest for seed in (2, 1, 0)]
    assert [found.spec.seed for found in store.records(digests)] == [2, 0]
    assert store.missing(digests) == [digests[1]]
    assert store.all_digests() == sorted([digests[0], digests[2]])


def test_plans_and_galleries(store):
    plain = Plan("zhang", Request("smoke", FACTS), (RunSpec(), RunSpec(seed=1)), command="shattering run zhang")
    asked = Plan("zhang", Request("smoke", FACTS, seeds=3), (RunSpec(),), overrides={"training.learning_rate": 0.5})
    for plan in (plain, asked, plain):
        store.save_plan(plan)
    items = [{"corruption": "gaussian", "summary": "s", "test_set": "t", "examples": [{"before": "aGk="}]}]
    store.save_gallery(plain, items)
    read = Store.open(store.root, write=False)
    assert sorted(read.plans(), key=lambda plan: plan.key) == sorted([plain, asked], key=lambda plan: plan.key)
    assert read.gallery(plain) == items and read.gallery(asked) == []
    assert read.report_dir(plain) == store.root / "reports" / "zhang-tiny-smoke"


def test_odd_data_names_stay_inside_the_store(store):
    for name in ("../../x", "a/b", "..", "a\0b", "ü" * 300, "", "C:\\x"):
        facts = DataFacts(name, 4, 4, (1,), 2, "f" * 64)
        plan = Plan("zhang", Request("smoke", facts), (RunSpec(),))
        assert store.report_dir(plan).resolve().parent == (store.root / "reports").resolve()
        store.save_plan(plan)
    assert len(store.plans()) == 7 and store.check() == []


@pytest.mark.parametrize("digest", ["", "..", "../runs", "x" * 32, "A" * 32, "0" * 31])
def test_odd_digests_find_nothing(store, digest):
    assert store.get(digest) is None and store.weights(digest) is None and store.failure(digest) is None
    with pytest.raises(ValueError, match="not the digest of a run"):
        store.lease(digest)
    assert store.problems == []


def test_checkpoints(store, record):
    checkpoints = store.checkpoints(record().digest)
    assert list(checkpoints.newest()) == []
    for step in (5, 20, 100):
        checkpoints.save(step, f"payload {step}".encode())
    checkpoints.save(100, b"payload 100")
    assert list(checkpoints.newest()) == [(100, b"payload 100"), (20, b"payload 20")]
    checkpoints.clear()
    checkpoints.clear()
    assert list(checkpoints.newest()) == []


def test_damaged_checkpoint_falls_back_one(store, record):
    checkpoints = store.checkpoints(record().digest)
    checkpoints.save(1, b"one")
    checkpoints.save(2, b"two")
    newest = max((store.root / "checkpoints" / record().digest).iterdir())
    for damage in (b"", b"tw", b"twp"):
        newest.write_bytes(damage)
        assert list(Store.open(store.root, write=False).checkpoints(record().digest).newest()) == [(1, b"one")]
        assert list(checkpoints.newest()) == [(1, b"one")]
        checkpoints.save(2, b"two")
        assert list(checkpoints.newest()) == [(2, b"two"), (1, b"one")]
    assert len(store.problems) == 3
    assert sum(name.endswith(".reason.txt") for name in names(store.root / "quarantine")) == 3


def refusal(path, write: bool) -> ShatteringError:
    with pytest.raises(ShatteringError) as caught:
        Store.open(path, write=write)
    return caught.value


@pytest.mark.parametrize("write", [True, False])
def test_refuses_a_file(tmp_path, write):
    (tmp_path / "out").write_text("mine")
    error = refusal(tmp_path / "out", write)
    assert isinstance(error, SpecError) and error.identifier == "out-is-file"
    assert error.message.endswith("with --out." if write else "name the folder of a store.")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("write", [True, False])
def test_refuses_a_folder_of_something_else(tmp_path, write):
    (tmp_path / "thesis.txt").write_text("mine")
    error = refusal(tmp_path, write)
    assert isinstance(error, StoreError) and error.identifier == "store-not-a-store" and str(tmp_path) in error.message
    assert error.message.endswith("with --out." if write else "name the folder of a store.")
    assert names(tmp_path) == ["thesis.txt"]


def test_refuses_an_absent_store_for_reading(tmp_path):
    assert refusal(tmp_path / "none", write=False).identifier == "store-missing"
    assert names(tmp_path) == []


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ('{"format": "shattering-store", "schema": 2}', "store-newer-schema"),
        ('{"format": "shattering-store", "schema": 0}', "store-marker-damaged"),
        ('{"format": "shattering-stone", "schema": 1}', "store-marker-damaged"),
        ('{"format": "shattering-st', "store-marker-damaged"),
        ("[]", "store-marker-damaged"),
        ("", "store-marker-damaged"),
    ],
)
def test_refuses_a_store_it_does_not_know(store, text, identifier, write):
    (store.root / MARKER).write_text(text)
    error = refusal(store.root, write)
    assert error.identifier == identifier and error.exit_code == 5
    assert (store.root / MARKER).read_text() == text


def test_makes_parents_and_takes_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "a" / "b" / "c"):
        assert Store.open(path, write=True).check() == []
        assert Store.open(path, write=True).all_digests() == []


def test_runs_of_other_numerics_are_kept_and_not_replaced(store, record, put, monkeypatch):
    assert put(store, record())
    path = store.root / "runs" / record().digest
    monkeypatch.setattr("shattering.store.format.NUMERICS_VERSION", 2)
    assert store.get(record().digest) is None
    assert "numerics version 1" in store.problems[0] and path.is_dir()
    with pytest.raises(StoreError) as caught:
        store.lease(record().digest)
    assert caught.value.identifier == "store-foreign-run"
    monkeypatch.undo()
    assert store.get(record().digest) == record()


def test_listing_ten_thousand_runs_looks_at_their_names_only(store, monkeypatch):
    digests = sorted(f"{number:032x}" for number in range(10_000))
    listed = []
    monkeypatch.setattr(Disk, "names", lambda self, path: listed.append(path.name) or digests[::-1])
    monkeypatch.setattr(Disk, "read", lambda self, path: pytest.fail(f"{path} was read"))
    assert store.all_digests() == digests
    assert sorted(listed) == ["failures", "runs"]


def test_provenance_becomes_json(tmp_path):
    odd = {"path": tmp_path, "nan": math.nan, "array": np.arange(2), "scalar": np.float32(0.5), 3: (1, None, True)}
    assert json.loads(json.dumps(jsonable(odd), allow_nan=False)) == {
        "path": str(tmp_path),
        "nan": "nan",
        "array": [0, 1],
        "scalar": 0.5,
        "3": [1, None, True],
    }


def test_store_needs_no_heavy_libraries():
    heavy = "{'torch', 'pyarrow', 'pandas', 'sklearn'}"
    code = f"import sys, shattering.store.store; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

"""Truncation at any byte and a flipped bit anywhere are found, set aside with the reason, and cost that run only."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest

from shattering.core.io import names
from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request
from shattering.store.format import Damage, seal, sha256, unseal
from shattering.store.store import Store

PLAN = Plan("zhang", Request("smoke", DataFacts("tiny", 4, 4, (1,), 2, "f" * 64)), (RunSpec(),))


@pytest.fixture
def three(store, record, put):
    for seed in range(3):
        assert put(store, record(seed, examples={"index": np.arange(2)}), b"weights")
    return store


def read_all(store: Store, digest: str) -> bool:
    """Whether a run with its examples and weights is there."""
    return store.get(digest, examples=True) is not None and store.weights(digest) is not None


def flip(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def files_of(store: Store, digest: str):
    return sorted((store.root / "runs" / digest).iterdir())


def test_truncation_at_every_byte(three, record):
    digest, reader = record(1).digest, Store.open(three.root, write=False)
    for path in files_of(three, digest):
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            reader.problems.clear()
            assert not read_all(reader, digest), f"{path.name} cut to {length} bytes"
            assert len(reader.problems) == 1, f"{path.name} cut to {length} bytes"
        path.write_bytes(data)
    assert read_all(three, digest) and three.problems == []


def test_flipped_bit_in_every_byte(three, record):
    digest, reader, chance = record(1).digest, Store.open(three.root, write=False), random.Random(0)
    for path in files_of(three, digest):
        data = path.read_bytes()
        for place in range(len(data)):
            bit = chance.randrange(8)
            path.write_bytes(flip(data, place, bit))
            assert not read_all(reader, digest), f"{path.name}, byte {place}, bit {bit}, seed 0"
        path.write_bytes(data)
    assert read_all(three, digest) and three.problems == []


def test_every_bit_of_a_sealed_file(three, record):
    """The seal has nothing above it to vouch for it: all eight bits of all its bytes, and every cut."""
    data = (three.root / "runs" / record(1).digest / "DONE").read_bytes()
    assert unseal(data, "DONE")["digest"] == record(1).digest
    flipped = [flip(data, place, bit) for place in range(len(data)) for bit in range(8)]
    for number, bad in enumerate(flipped + [data[:length] for length in range(len(data))] + [data + b" ", data * 2]):
        with pytest.raises(Damage):
            pytest.fail(f"damage {number} gives {unseal(bad, 'DONE')}")


def test_appended_bytes_after_a_tear(three, record):
    """Two appends after each tear, as a log that goes on writing would leave them."""
    digest = record(1).digest
    for path in files_of(three, digest):
        data = path.read_bytes()
        for length in (0, 1, len(data) // 2, len(data) - 1, len(data)):
            for tail in (data[:9], data[length:] + b"\n", data[length:] + b" "):
                path.write_bytes(data[:length] + tail + tail)
                assert not read_all(Store.open(three.root, write=False), digest), f"{path.name}, {length}, {tail!r}"
        path.write_bytes(data)


def test_damage_is_quarantined_with_its_reason_and_only_that_run_repeats(three, record, put):
    digests = [record(seed).digest for seed in range(3)]
    names = [path.name for path in files_of(three, digests[1])]
    for number, name in enumerate(names, start=1):
        path = three.root / "runs" / digests[1] / name
        damaged = path.read_bytes()[:-1] + b"?"
        path.write_bytes(damaged)
        store = Store.open(three.root, write=True)
        assert not read_all(store, digests[1]), name
        assert store.missing(digests) == [digests[1]], name
        moved = store.root / "quarantine" / f"{digests[1]}.{number}"
        assert (moved / name).read_bytes() == damaged, name
        assert name in (store.root / "quarantine" / f"{digests[1]}.{number}.reason.txt").read_text()
        assert len(store.problems) == 1 and f"quarantine/{moved.name}" in store.problems[0]
        assert put(store, record(1, examples={"index": np.arange(2)}), b"weights"), name
        assert store.missing(digests) == [] and Store.open(store.root, write=False).check() == []


def test_every_missing_file_is_found(three, record):
    digest = record(1).digest
    for path in files_of(three, digest):
        data = path.read_bytes()
        path.unlink()
        reader = Store.open(three.root, write=False)
        assert not read_all(reader, digest) and f"{path.name} is missing" in reader.problems[0]
        path.write_bytes(data)


@pytest.mark.parametrize("name", ["examples.parquet", "weights.safetensors"])
def test_what_is_not_read_is_still_seen_to_be_cut(three, record, name):
    path = three.root / "runs" / record(1).digest / name
    path.write_bytes(path.read_bytes()[:-1])
    assert three.get(record(1).digest) is None
    assert name in three.problems[0]


def test_run_under_another_name_is_found(three, record):
    stranger = RunSpec(seed=9).digest
    shutil.copytree(three.root / "runs" / record(1).digest, three.root / "runs" / stranger)
    assert three.get(stranger) is None
    assert f"holds the run {record(1).digest}" in three.problems[0]
    assert three.get(record(1).digest) is not None


def test_put_replaces_a_damaged_run_nobody_has_read(three, record):
    digest = record(1).digest
    with three.lease(digest) as lease:
        (three.root / "runs" / digest / "spec.json").write_bytes(b"")
        assert three.put(record(1), lease)
    assert three.get(digest) == record(1)
    assert f"{digest}.1" in names(three.root / "quarantine")


def test_a_file_in_place_of_a_run(three, record, put):
    digest = record(7).digest
    (three.root / "runs" / digest).write_text("not a folder")
    assert three.missing([digest]) == [digest]
    assert put(three, record(7)) and three.get(digest) == record(7)


@pytest.mark.parametrize("what", ["failures", "plan.json", "gallery.json"])
def test_other_files(store, record, what):
    failed = record(1, status=Status.FAILED, error={"identifier": "x", "message": "y"})
    store.put_failure(failed)
    store.save_plan(PLAN)
    store.save_gallery(PLAN, [{"corruption": "true_labels"}])
    folder = store.root / "plans" / PLAN.key
    path = store.root / "failures" / f"{failed.digest}.json" if what == "failures" else folder / what
    data, chance = path.read_bytes(), random.Random(0)
    harmed = [data[:length] for length in range(0, len(data), 3)]
    for place in range(0, len(data), 3):
        harmed.append(flip(data, place, chance.randrange(8)))

    def sound(reader: Store) -> list[bool]:
        return [reader.failure(failed.digest) == failed, reader.plans() == [PLAN], reader.gallery(PLAN) != []]

    wanted = [what != "failures", what != "plan.json", what != "gallery.json"]
    for number, bad in enumerate(harmed):
        path.write_bytes(bad)
        reader = Store.open(store.root, write=False)
        assert sound(reader) == wanted, f"{what}, damage {number}, seed 0"
        assert len(reader.problems) == 1
    assert sound(store) == wanted
    assert not path.exists() and f"{path.name}.1" in names(store.root / "quarantine")


def test_check_tells_everything(three, record):
    (three.root / "runs" / record(0).digest / "weights.safetensors").write_bytes(b"wEights")
    (three.root / "runs" / record(1).digest / "examples.parquet").write_bytes(b"")
    (three.root / "runs" / "notes").mkdir()
    (three.root / "failures" / f"{record(5).digest}.json").write_text("{}")
    three.checkpoints(record(6).digest).save(3, b"x")
    next((three.root / "checkpoints" / record(6).digest).iterdir()).write_bytes(b"y")
    problems = Store.open(three.root, write=False).check()
    assert len(problems) == 5
    assert three.check() != [] and len(three.problems) == 5
    after = Store.open(three.root, write=True).check()
    assert len(after) == 1 and "notes is not the folder of a run" in after[0]


def test_spec_is_hashed_again(three, record):
    """A forger who mends every checksum still cannot pass one run off as another."""
    folder = three.root / "runs" / record(1).digest
    forged = (folder / "spec.json").read_bytes().replace(b'"seed": 1', b'"seed": 4')
    (folder / "spec.json").write_bytes(forged)
    listed = unseal((folder / "DONE").read_bytes(), "DONE")
    listed["files"]["spec.json"] = {"sha256": sha256(forged), "size": len(forged)}
    (folder / "DONE").write_bytes(seal(listed))
    assert json.loads(forged)["seed"] == 4
    assert three.get(record(1).digest) is None
    assert RunSpec(seed=4).digest in three.problems[0]

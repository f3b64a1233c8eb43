"""A disk that is full, failing or read-only: exit code 5, the place and the bytes named, nothing earlier touched."""

from __future__ import annotations

import errno
import os
import re
import resource
import tempfile
from pathlib import Path

import pytest
from faulty_disk import CHANGING, READING, FaultyDisk, fail
from sweep import DIGESTS, in_child, marks, result_of, resume_and_compare, sweep

from shattering.core import io
from shattering.core.disk import Disk, replace_disk
from shattering.core.errors import StoreError
from shattering.core.spec import RunSpec
from shattering.store.store import Store

IDENTIFIERS = {errno.ENOSPC: "store-disk-full", errno.EIO: "store-io", errno.EROFS: "store-read-only"}


def refused(root: Path, tell) -> None:
    """The sweep, which must end with a `StoreError`; tells its identifier and message."""
    try:
        sweep(root)
    except StoreError as error:
        assert error.exit_code == 5
        tell(error.identifier)
        tell(error.message)


@pytest.fixture
def disk():
    """Puts a disk in place for the test's own process."""
    previous = replace_disk(Disk())
    yield replace_disk
    replace_disk(previous)


def test_system_error_at_every_event(tmp_path):
    kinds = (*CHANGING, *READING)
    disk = FaultyDisk(kinds=kinds)
    _, events = in_child(
        lambda tell: (sweep(tmp_path / "undisturbed"), [tell(event) for event in disk.events])[0], disk
    )
    assert len(events) > 150
    for number, event in enumerate(events):
        if event.split()[0] in READING and number % 3:
            continue  # readings come in threes, one for each file of a run
        code = errno.ENOSPC if event.startswith("write") and number % 4 else errno.EIO
        root, replay = tmp_path / f"{number}", f"{errno.errorcode[code]} at event {number}: {event}"
        faulty = FaultyDisk(number, fail(code), torn=number % 2 == 0, kinds=kinds)
        status, told = in_child(lambda tell, root=root: refused(root, tell), faulty)
        assert status == 0 and told, f"the fault was not reported; replay: {replay}"
        assert told[0] == IDENTIFIERS[code], replay
        assert str(root) in told[1] and os.strerror(code).lower() in told[1], replay
        if event.split()[0] in ("write", "sync", "stamp"):
            assert re.search(r"[\d,]+ bytes", told[1]), f"{told[1]}; replay: {replay}"
        if root.exists():
            remains = [path for path in root.rglob("*") if path.name.startswith(io.SCRATCH)]
            assert not remains or event.split()[0] in ("unlink", "remove_folder"), replay
        if number % 5 == 0:
            resume_and_compare(root, replay)


@pytest.mark.parametrize("limit", [0, 20, 60, 200, 500, 700, 900, 2000])
def test_limit_on_file_sizes(tmp_path, limit):
    root = tmp_path / "store"

    def task(tell):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        refused(root, tell)

    status, told = in_child(task)
    assert status == 0
    if limit < 900:
        assert told[0] == "store-file-limit" and "bytes" in told[1] and "ulimit" in told[1]
    else:
        assert told == [] or told[0] == "store-file-limit"
    resume_and_compare(root, f"RLIMIT_FSIZE {limit}")


def test_disk_stays_full(tmp_path, disk):
    """Everything written before it filled up can still be read, and nothing is rewritten later."""
    root = tmp_path / "store"
    store = Store.open(root, write=True)
    record, weights = result_of(RunSpec(seed=0))
    with store.lease(record.digest) as lease:
        assert store.put(record, lease, weights)
    before = marks(root)
    other, _ = result_of(RunSpec(seed=1))
    with store.lease(other.digest) as lease:
        disk(FaultyDisk(0, fail(errno.ENOSPC), kinds=("write",), forever=True))
        with pytest.raises(StoreError, match=r"Writing [\d,]+ bytes to .* no space left on device; free some space"):
            store.put(other, lease)
        assert lease.valid()
        disk(Disk())
        assert store.put(other, lease)
    assert store.get(record.digest).rows == record.rows and store.weights(record.digest) == weights
    assert before.items() <= marks(root).items()
    assert list((root / "tmp").iterdir()) == []


def test_short_writes_are_continued(tmp_path, disk):
    class Sluggish(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:7])

    disk(Sluggish())
    io.write_file(tmp_path / "file", b"0123456789" * 10)
    assert (tmp_path / "file").read_bytes() == b"0123456789" * 10


def test_failed_replacement_keeps_the_old_file(tmp_path, disk):
    io.write_file(tmp_path / "file", b"old")
    for number in range(3):
        disk(FaultyDisk(number, fail(errno.EIO), torn=True))
        with pytest.raises(StoreError, match=rf"Writing 3 bytes to {tmp_path / 'file'} failed: input/output error"):
            io.write_file(tmp_path / "file", b"new")
        disk(Disk())
        assert (tmp_path / "file").read_bytes() == b"old", f"event {number}"
        assert [path.name for path in tmp_path.iterdir()] == ["file"], f"event {number}"


def test_read_only_file_system(tmp_path, disk):
    """Reading works; writing is refused when opened, before anything is computed."""
    root = tmp_path / "store"
    sweep(root)
    disk(FaultyDisk(0, fail(errno.EROFS), forever=True))
    store = Store.open(root, write=False)
    assert store.check() == [] and store.missing(DIGESTS) == [] and len(store.plans()) == 1
    with pytest.raises(StoreError, match="read-only file system") as refusal:
        Store.open(root, write=True)
    assert refusal.value.identifier == "store-read-only"


def test_damage_on_a_read_only_file_system_is_reported(tmp_path, disk):
    root = tmp_path / "store"
    sweep(root)
    (root / "runs" / DIGESTS[2] / "metrics.jsonl").write_text("")
    disk(FaultyDisk(0, fail(errno.EROFS), forever=True))
    store = Store.open(root, write=False)
    assert store.missing(DIGESTS) == [DIGESTS[2]]
    assert len(store.problems) == 1 and "metrics.jsonl has 0 bytes" in store.problems[0]
    assert (root / "runs" / DIGESTS[2]).exists()


def test_opened_for_reading_refuses_to_write(tmp_path):
    sweep(tmp_path / "store")
    store = Store.open(tmp_path / "store", write=False)
    record, _ = result_of(RunSpec(seed=0))
    for action in (lambda: store.lease(record.digest), lambda: store.put_failure(record)):
        with pytest.raises(StoreError) as refusal:
            action()
        assert refusal.value.identifier == "store-read-only"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.parametrize(
    ("mode", "identifiers"), [(0o755, ["read", "store-permission"]), (0o700, ["store-permission"] * 2)]
)
def test_somebody_elses_store(mode, identifiers):
    """A store of another owner: read where its permissions allow it, never written to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        root = Path(name) / "store"
        sweep(root)
        root.chmod(mode)

        def task(tell):
            os.setgid(65534)
            os.setuid(65534)
            for write in (False, True):
                try:
                    store = Store.open(root, write=write)
                    tell("read" if store.missing(DIGESTS) == [] and not write else "written")
                except StoreError as error:
                    tell(error.identifier)

        assert in_child(task) == (0, identifiers)

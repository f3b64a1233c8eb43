"""Whole or absent: a sweep killed, torn or without power at any storage event resumes to the undisturbed result."""

from __future__ import annotations

import signal
from pathlib import Path

from faulty_disk import FaultyDisk, PowerLossDisk
from sweep import DIGESTS, in_child, marks, resume_and_compare, sweep

from shattering.core import io
from shattering.store.marker import MARKER
from shattering.store.store import Store


def count_events(root: Path) -> list[str]:
    disk = FaultyDisk()

    def task(tell):
        sweep(root)
        for event in disk.events:
            tell(event)

    code, events = in_child(task, disk)
    assert code == 0 and len(events) > 100
    return events


def test_kill_at_every_event(tmp_path):
    events = count_events(tmp_path / "undisturbed")
    for number, event in enumerate(events):
        root, replay = tmp_path / f"{number}", f"kill at event {number}: {event}"
        code, committed = in_child(lambda tell, root=root: sweep(root, tell), FaultyDisk(number, torn=number % 2 == 0))
        assert code == -signal.SIGKILL, replay
        if (root / MARKER).exists():
            store = Store.open(root, write=False)
            assert store.check() == [], replay
            assert set(committed) <= set(DIGESTS) - set(store.missing(DIGESTS)), replay
        resume_and_compare(root, replay)


def test_kill_twice(tmp_path):
    """The resuming process dies, too, somewhere in its own first events, such as while it cleans up."""
    events = len(count_events(tmp_path / "undisturbed"))
    for number in range(5, events, 9):
        root, replay = tmp_path / f"{number}", f"kill at event {number}, then at event {number % 23} of the resumption"
        in_child(lambda tell, root=root: sweep(root, tell), FaultyDisk(number, torn=True))
        in_child(lambda tell, root=root: sweep(root, tell), FaultyDisk(number % 23, torn=True))
        resume_and_compare(root, replay)


def test_power_loss_at_every_second_event(tmp_path):
    """What was reported as committed survives; what was not is whole, absent, or found damaged and repeated."""
    events = count_events(tmp_path / "undisturbed")
    for number, event in list(enumerate(events))[::2]:
        world, replay = tmp_path / f"{number}", f"power loss at event {number} (seed {number}): {event}"
        root, vault = world / "store", world / "vault"
        vault.mkdir(parents=True)
        disk = PowerLossDisk(number, number, vault)
        code, committed = in_child(lambda tell, root=root: sweep(root, tell), disk)
        assert code == -signal.SIGKILL, replay
        if committed:
            assert not set(committed) & set(Store.open(root, write=False).missing(DIGESTS)), replay
        resume_and_compare(root, replay)


def test_living_writers_scratch_is_left_alone(tmp_path):
    """Cleaning up removes what a dead writer left, and nothing a living one is at."""
    from shattering.core.io import _create_scratch, _make_scratch_folder

    file_descriptor, file = _create_scratch(tmp_path)
    folder_descriptor, folder = _make_scratch_folder(tmp_path)
    (folder / "half").write_text("half")
    io.clean_scratch(tmp_path)
    assert file.exists() and (folder / "half").exists()
    io.close(file_descriptor)
    io.close(folder_descriptor)
    io.clean_scratch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_undisturbed_sweep_resumes_to_nothing(tmp_path):
    code, computed = in_child(lambda tell: sweep(tmp_path / "store", tell))
    assert code == 0 and computed == DIGESTS
    before = marks(tmp_path / "store")
    resume_and_compare(tmp_path / "store", "none")
    assert marks(tmp_path / "store") == before

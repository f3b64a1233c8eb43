"""What a worker on any machine does with a chunk of jobs, whichever engine sent it there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from shattering.core import io
from shattering.core.errors import StoreError
from shattering.core.spec import NUMERICS_VERSION, RunSpec
from shattering.core.version import VERSION
from shattering.data.dataset import Splits
from shattering.execution.messages import Broke, Job, Message

PASSED_ON = ("SHATTERING_CHECKPOINT_SECONDS", "SHATTERING_DATA", "SHATTERING_DEBUG")
"""Settings of the driver's environment that workers get, wherever they are; no others leave the driver's machine."""

_PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Origin:
    """What a worker must know of its driver.

    Args:
        folder: the driver's working folder, where a user's model is looked for.
        settings: of its environment, those of `PASSED_ON`.
        version: of the program, with that of its numerics.
        mark: a file in the driver's store, and what is in it; who can read it shares the store's file system.
        torch: its version of PyTorch.
    """

    folder: str
    settings: Mapping[str, str]
    version: str
    mark: tuple[str, bytes] | None
    torch: str

    @classmethod
    def here(cls, mark: tuple[str, bytes] | None = None) -> Origin:
        """This process."""
        settings = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return cls(str(Path.cwd()), settings, _version(), mark, _torch())

    def shares_store(self) -> bool:
        """Whether this process reads the driver's store where the driver does."""
        if self.mark is None:
            return False
        path, content = self.mark
        with suppress(StoreError):
            return io.read_bytes(Path(path)) == content
        return False


@contextmanager
def marked(store: Path | None) -> Iterator[tuple[str, bytes] | None]:
    """Keeps a file in the store during the block, by which a worker tells whether it sees the same one."""
    if store is None:
        yield None
        return
    content = os.urandom(16)
    # Locked, and named like all that is under construction: if we are killed, the next writer removes it.
    path = store.resolve() / "tmp" / f"{io.SCRATCH}engine-{content.hex()}"
    descriptor = io.open_lock(path)
    try:
        io.try_lock(descriptor, path)
        io.stamp(descriptor, content, path)
        yield str(path), content
    finally:
        with suppress(StoreError):
            io.remove(path)
        io.close(descriptor)


def settle(origin: Origin, threads: int) -> str | None:
    """Makes this process ready for the driver's jobs, before torch is imported; returns what makes it unfit, if any."""
    if origin.version != _version():
        return (
            f"a worker has shattering {_version()} and the driver {origin.version}; install the same version on every "
            "machine"
        )
    os.environ.update(origin.settings)
    for name in _PINNED:
        os.environ[name] = str(threads)
    with suppress(OSError):
        os.chdir(origin.folder)
    import torch

    torch.set_num_threads(threads)
    return None


def do_jobs(
    jobs: Sequence[Job],
    origin: Origin,
    splits: Splits | None,
    *,
    alive: Callable[[], None],
    stopped: Callable[[], bool],
    tell: Callable[[Message], None],
) -> None:
    """Does jobs one after the other, and tells what becomes of each.

    Args:
        jobs: what to do.
        origin: of the jobs.
        splits: the data; none: load them here.
        alive, stopped: as of `carry_out`.
        tell: hears everything, outcomes included.
    """
    from shattering.execution.worker import carry_out

    shares = origin.shares_store()
    for job in jobs:
        if not shares:
            job = replace(job, store=None)  # checkpoints would lie where nobody looks for them
        unlike = _unlike(job)
        tell(unlike or carry_out(job, splits=splits, alive=alive, stopped=stopped, tell=tell))


def absolute(job: Job) -> Job:
    """The job with paths that mean the same in another working folder."""
    from shattering.data.dataset import datasets

    path = job.data not in datasets.names() and Path(job.data).expanduser().exists()
    data = str(Path(job.data).expanduser().resolve()) if path else job.data
    folder = job.data_dir.resolve() if job.data_dir is not None else None
    return replace(job, store=job.store.resolve() if job.store is not None else None, data=data, data_dir=folder)


def threads_of(jobs: Sequence[Job]) -> tuple[int, bool]:
    """Threads that the widest of the jobs takes, and whether any is for a GPU."""
    computes = [RunSpec.from_json(job.spec).compute for job in jobs]
    return max(compute.threads for compute in computes), any(compute.device == "cuda" for compute in computes)


class Pace:
    """Seconds that each job of a chunk lasted, taken between outcomes."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last outcome."""
        before, self._last = self._last, time.monotonic()
        return self._last - before


def _unlike(job: Job) -> Broke | None:
    if job.kind != "run" or RunSpec.from_json(job.spec).digest == job.key:
        return None
    told = f"A worker reads the run {job.key[:12]} as another one; install the same version on every machine."
    return Broke(job.key, "engine-version-differs", told, StoreError.exit_code)


def _version() -> str:
    return f"{VERSION} (numerics {NUMERICS_VERSION})"


def _torch() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return ""

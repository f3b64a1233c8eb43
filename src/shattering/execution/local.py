"""Local worker processes: one thread each, supervised, replaced when they die or hang."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message
from shattering.execution.unguarded import EXIT_CODE, WORKER, unguarded
from shattering.execution.worker import work

TRIES = 3
"""How often a job is begun whose worker crashes or hangs."""

POLL_SECONDS = 0.25

START_SECONDS = 120.0
"""A worker is given so long, if hang_seconds is shorter, to start and to read the data."""

STOP_SECONDS = 8.0
"""After a request to stop, a worker that has not saved its checkpoint by then is killed; an older one is there."""


def hang_seconds() -> float:
    """Without a sign of life for so long, a worker is taken to hang; ``SHATTERING_HANG_SECONDS`` changes it."""
    return float(os.environ.get("SHATTERING_HANG_SECONDS", "600"))


QUEUED = 8
"""Short jobs that a worker has at most, the one it does among them: few enough that its pipe holds those that wait."""

QUEUED_SECONDS = 0.5
"""A worker is given about so much work ahead, so that it need not wait until the last record is on the disk."""


@dataclass
class _Worker:
    """A process and its jobs: it does the first of them, the others wait in its pipe."""

    process: Any
    connection: Connection
    beat: Any
    jobs: deque[Job] = field(default_factory=deque)
    began: float = 0.0
    job_seconds: float = math.inf
    beats_before: int = 0
    last_beat: int = 0
    looked_at: float = field(default_factory=time.monotonic)
    silent_seconds: float = 0.0
    gone: bool = False

    @property
    def room(self) -> int:
        """How many more jobs it can be given."""
        return max(1, min(QUEUED, int(QUEUED_SECONDS / self.job_seconds))) - len(self.jobs)

    def give(self, job: Job) -> None:
        self.jobs.append(job)
        if len(self.jobs) == 1:
            self._begin()
        self.connection.send(job)

    def ended(self) -> None:
        """The first of its jobs has ended, and it goes on with the next."""
        self.jobs.popleft()
        # The slowest of late: after one long job, no others are made to wait behind the next.
        lasted = max(time.monotonic() - self.began, 1e-3)
        self.job_seconds = lasted if math.isinf(self.job_seconds) else max(lasted, 0.8 * self.job_seconds)
        if self.jobs:
            self._begin()

    def _begin(self) -> None:
        self.began = self.looked_at = time.monotonic()
        self.silent_seconds = 0.0
        self.beats_before = self.last_beat = self.beat.value

    def hangs(self) -> bool:
        now = time.monotonic()
        # A driver that was itself stopped for a while learns nothing from the time that has passed.
        self.silent_seconds += min(now - self.looked_at, 4 * POLL_SECONDS)
        self.looked_at = now
        if self.beat.value != self.last_beat:
            self.last_beat, self.silent_seconds = self.beat.value, 0.0
        started = self.last_beat != self.beats_before
        return self.silent_seconds > (hang_seconds() if started else max(hang_seconds(), START_SECONDS))

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def run_jobs(
    take: Callable[[], Job | None],
    unfinished: Callable[[], bool],
    *,
    workers: int,
    should_stop: Callable[[], bool] = lambda: False,
    tries: int = TRIES,
) -> Generator[Message, None, None]:
    """Runs jobs on local processes and yields what they say, as it comes.

    Args:
        take: gives the next job; none where there is none to give at present.
        unfinished: whether there may be another one later.
        workers: number of processes at most.
        should_stop: whether to stop: workers save checkpoints and report `Interrupted`, no new job is begun.
        tries: how often a job is begun whose worker crashes or hangs before it is given up as `Broke`.

    Yields:
        Messages; each job ends with exactly one of `Ended`, `Answered`, `Interrupted`, `Broke`. Close the iterator
        (`contextlib.closing`) where it may be left early: that ends the workers.

    Raises:
        ModelError: the caller's script begins work whenever it is imported, which workers do.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.RawValue("i", 0)
    crew: list[_Worker] = []
    lost: dict[str, int] = {}
    again: list[Job] = []
    stop_by = math.inf

    def hire() -> _Worker:
        ours, theirs = context.Pipe()
        beat = context.RawValue("Q", 0)
        process = context.Process(target=work, args=(theirs, stop, beat, os.getpid()), name=WORKER, daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, beat)

    try:
        while True:
            if should_stop() and not stop.value:
                stop.value, stop_by = 1, time.monotonic() + STOP_SECONDS
            while not stop.value:
                # Whoever has least to do; a new worker rather than one that has anything.
                least = min(crew, key=lambda worker: len(worker.jobs), default=None)
                if least is None or (least.jobs and len(crew) < workers):
                    least = None
                elif least.room <= 0:
                    break
                job = again.pop() if again else take()
                if job is None:
                    break
                large = job.parent is not None or job.start is not None
                if large and least is not None and least.jobs:
                    again.append(job)  # too large to wait in a pipe, which both ends would then wait for
                    break
                if least is None:  # all at once: each takes seconds to start, whenever its first job comes
                    crew += [hire() for _ in range(workers - len(crew))]
                    least = next(worker for worker in crew if not worker.jobs)
                with suppress(BrokenPipeError, OSError):  # a dead worker is found below, with its jobs
                    least.give(job)
            busy = [worker for worker in crew if worker.jobs]
            if not busy and (stop.value or not (again or unfinished())):
                yield from (Interrupted(job.key) for job in again)
                return
            for ready in wait([worker.connection for worker in busy], timeout=POLL_SECONDS):
                worker = next(worker for worker in busy if worker.connection is ready)
                try:
                    message: Message = worker.connection.recv()
                except (EOFError, OSError):
                    worker.gone = True
                    continue
                if isinstance(message, Ended | Answered | Interrupted | Broke):
                    worker.ended()
                yield message
            for worker in [worker for worker in crew if worker.jobs]:
                hung = worker.hangs()
                if not (worker.gone or hung or time.monotonic() > stop_by):
                    continue
                if worker.gone:
                    worker.process.join(timeout=1)
                (job, *others), code = worker.jobs, worker.process.exitcode
                worker.kill()
                crew.remove(worker)
                if code == EXIT_CODE:
                    raise unguarded()
                again += others  # they had not begun
                lost[job.key] = lost.get(job.key, 0) + 1
                if stop.value:
                    yield Interrupted(job.key)
                elif lost[job.key] < tries:
                    again.append(job)
                else:
                    yield _gave_up(job, code, hung, lost[job.key])
    finally:
        idle_ones = [worker for worker in crew if not worker.jobs]
        for worker in idle_ones:
            with suppress(BrokenPipeError, OSError):
                worker.connection.send(None)
        leave_by = time.monotonic() + 2
        for worker in idle_ones:
            worker.process.join(timeout=max(0.0, leave_by - time.monotonic()))
        for worker in crew:
            worker.kill()


def _gave_up(job: Job, code: int | None, hung: bool, count: int) -> Broke:
    if hung:
        cause = f"gave no sign of life for {hang_seconds():.0f} s"
        advice = "look for an endless loop, or raise SHATTERING_HANG_SECONDS"
        return Broke(job.key, "run-hung", f"The run {cause}, {count} times; {advice}.", 4)
    if code is not None and code < 0:
        cause = f"was killed by signal {-code}"
        advice = "use fewer --jobs if memory ran out" if code == -9 else "a native library crashed; try another version"
    else:
        cause, advice = f"left with code {code}", "run with --jobs 1 and --debug to see why"
    return Broke(job.key, "run-crashed", f"The process of the run {cause}, {count} times; {advice}.", 5)

"""Local worker processes: one thread each, supervised, replaced when they die or hang."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message
from shattering.execution.worker import work

TRIES = 3
"""How often a job is begun whose worker crashes or hangs."""

POLL_SECONDS = 0.25


def hang_seconds() -> float:
    """Without a sign of life for so long, a worker is taken to hang; ``SHATTERING_HANG_SECONDS`` changes it."""
    return float(os.environ.get("SHATTERING_HANG_SECONDS", "600"))


@dataclass
class _Worker:
    process: Any
    connection: Connection
    beat: Any
    job: Job | None = None
    last_beat: int = -1
    alive_at: float = field(default_factory=time.monotonic)
    gone: bool = False

    def give(self, job: Job) -> None:
        self.job, self.last_beat, self.alive_at = job, -1, time.monotonic()
        self.connection.send(job)

    def hangs(self) -> bool:
        if self.beat.value != self.last_beat:
            self.last_beat, self.alive_at = self.beat.value, time.monotonic()
        return time.monotonic() - self.alive_at > hang_seconds()

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
) -> Iterator[Message]:
    """Runs jobs on local processes and yields what they say, as it comes.

    Args:
        take: gives the next job; none where there is none to give at present.
        unfinished: whether there may be another one later.
        workers: number of processes at most.
        should_stop: whether to stop: workers save checkpoints and report `Interrupted`, no new job is begun.
        tries: how often a job is begun whose worker crashes or hangs before it is given up as `Broke`.

    Yields:
        Messages; each job ends with exactly one of `Ended`, `Answered`, `Interrupted`, `Broke`.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.RawValue("i", 0)
    crew: list[_Worker] = []
    begun: dict[str, int] = {}
    again: list[Job] = []

    def hire() -> _Worker:
        ours, theirs = context.Pipe()
        beat = context.RawValue("Q", 0)
        process = context.Process(target=work, args=(theirs, stop, beat, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, beat)

    try:
        while True:
            if should_stop():
                stop.value = 1
            while not stop.value:
                idle = next((worker for worker in crew if worker.job is None), None)
                if idle is None and len(crew) >= workers:
                    break
                job = again.pop() if again else take()
                if job is None:
                    break
                if idle is None:
                    idle = hire()
                    crew.append(idle)
                begun[job.key] = begun.get(job.key, 0) + 1
                with suppress(BrokenPipeError, OSError):  # a dead worker is found below, with its job
                    idle.give(job)
            busy = [worker for worker in crew if worker.job is not None]
            if not busy and (stop.value or not (again or unfinished())):
                return
            for ready in wait([worker.connection for worker in busy], timeout=POLL_SECONDS):
                worker = next(worker for worker in busy if worker.connection is ready)
                try:
                    message: Message = worker.connection.recv()
                except (EOFError, OSError):
                    worker.gone = True
                    continue
                if isinstance(message, Ended | Answered | Interrupted | Broke):
                    worker.job = None
                yield message
            for worker in [worker for worker in crew if worker.job is not None]:
                hung = worker.hangs()
                if not (worker.gone or hung):
                    continue
                if worker.gone:
                    worker.process.join(timeout=1)
                job, code = worker.job, worker.process.exitcode
                worker.kill()
                crew.remove(worker)
                assert job is not None
                if begun[job.key] < tries and not stop.value:
                    again.append(job)
                elif stop.value:
                    yield Interrupted(job.key)
                else:
                    yield _gave_up(job, code, hung, begun[job.key])
    finally:
        for worker in crew:
            if worker.job is None:
                with suppress(BrokenPipeError, OSError):
                    worker.connection.send(None)
                worker.process.join(timeout=5)
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

"""How jobs are put together into chunks for workers elsewhere, and what is done again after a worker is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shattering.execution.local import TRIES, hang_seconds
from shattering.execution.messages import Broke, Job

LONGEST_SECONDS = 20.0
"""A chunk is to last no longer, unless a single run does: little is lost with it, and no worker ends far behind."""

SHORTEST_SECONDS = 0.5
"""A chunk is to last no shorter: below, handing it out would cost as much as the work."""

MOST = 512
"""Jobs of a chunk at most."""

MOVES = 10
"""How often a job is begun again that was lost through no fault of its own: with its node, or beside others."""


def chunk_size(job_seconds: float, elapsed: float) -> int:
    """How many jobs to hand out together.

    Chunks grow with the sweep, so that the last of them, which may leave the other workers idle, is a small part of
    the whole.

    Args:
        job_seconds: how long a job lasted of late; infinite where none has ended.
        elapsed: seconds since the first was handed out.

    Returns:
        Between 1 and `MOST`.
    """
    wanted = min(max(0.1 * elapsed, SHORTEST_SECONDS), LONGEST_SECONDS)
    return int(max(1.0, min(float(MOST), wanted / max(job_seconds, 1e-6))))


@dataclass
class Ledger:
    """Which jobs are to be handed out again, and how often each was lost.

    A job in a chunk of several is not blamed for the loss of the worker: it is begun again alone. One that was alone
    is, and given up after ``tries``, as on local processes.

    Args:
        tries: how often a job is begun whose worker crashes or hangs.
    """

    tries: int = TRIES
    again: deque[Job] = field(default_factory=deque)
    lost: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    job_seconds: float = float("inf")

    def next_chunk(self, take: Callable[[], Job | None], elapsed: float, room: int = MOST) -> list[Job]:
        """The jobs to hand out now: one that was lost before, or as many new ones as make a chunk; at most ``room``."""
        if self.again:
            return [self.again.popleft()]
        jobs: list[Job] = []
        size = min(chunk_size(self.job_seconds, elapsed), room)
        while len(jobs) < size:
            job = take()
            if job is None:
                break
            jobs.append(job)
        return jobs

    def timed(self, seconds: float) -> None:
        """A job lasted so long; the slowest of late decides how many make a chunk."""
        known = self.job_seconds < float("inf")
        self.job_seconds = max(seconds, 0.9 * self.job_seconds) if known else seconds

    def worker_lost(self, jobs: Iterable[Job], cause: str, advice: str, *, alone: bool, identifier: str) -> list[Broke]:
        """A worker is gone with these jobs; returns those that are given up.

        Args:
            jobs: what it had not finished.
            cause, advice: what happened to it, and what the user can do.
            alone: whether the job itself is to blame: there was no other beside it, and its machine is well.
            identifier: of the error.
        """
        given_up = []
        for job in jobs:
            counts, limit = (self.lost, self.tries) if alone else (self.moved, MOVES)
            counts[job.key] = counts.get(job.key, 0) + 1
            if counts[job.key] < limit:
                self.again.append(job)
            else:
                told = f"The process of the run {cause}, {counts[job.key]} times; {advice}."
                given_up.append(Broke(job.key, identifier, told, 4 if identifier == "run-hung" else 5))
        return given_up

    def hung(self, jobs: Iterable[Job], *, alone: bool) -> list[Broke]:
        """A worker gave no sign of life; returns the jobs that are given up."""
        cause = f"gave no sign of life for {hang_seconds():.0f} s"
        advice = "look for an endless loop, or raise SHATTERING_HANG_SECONDS"
        return self.worker_lost(jobs, cause, advice, alone=alone, identifier="run-hung")


def in_flight_limit() -> int:
    """How many jobs may be handed out at once: each run has a lease, and each lease an open file.

    Raises the process's own limit of open files as far as the system lets it.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(64, (65536 if soft == resource.RLIM_INFINITY else soft) // 2 - 200)

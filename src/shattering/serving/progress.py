"""How far a plan is, and how long the rest may take at the pace that was watched."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.report.words import spent
from shattering.store.index import Mark

FEWEST = 5
"""Runs that must end while we watch before a pace is told."""

WINDOW_SECONDS = 600.0


class Pace:
    """How fast runs end, as far as this process has watched.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, ended: int) -> None:
        """So many runs have ended by now."""
        now = self._clock()
        if self._seen and ended < self._seen[-1][1]:  # runs were set aside
            self._seen.clear()
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def remaining(self, left: int) -> float | None:
        """Seconds for ``left`` runs at this pace; none while too few have ended to tell."""
        if len(self._seen) < 2:
            return None
        (first, before), (last, ended) = self._seen[0], self._seen[-1]
        if ended - before < FEWEST or last <= first:
            return None
        return left * (last - first) / (ended - before)


def about(seconds: float) -> str:
    """A duration to two digits."""
    if seconds <= 0:
        return spent(0.0)
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return spent(round(seconds / unit) * unit)


@dataclass(frozen=True, eq=False)
class Standing:
    """A plan at one moment.

    Args:
        key: its identifier on this page.
        plan: the plan.
        digests: its runs, those decided on as it went included, in order.
        counts: by status, summing to the runs.
        alive: runs that a process has taken and not ended.
        remaining: about how long the rest takes; empty where that cannot be told.
    """

    key: str
    plan: Plan
    digests: Sequence[str]
    counts: dict[str, int]
    alive: tuple[str, ...]
    remaining: str

    def to_tree(self) -> dict[str, Any]:
        """JSON-able."""
        facts = self.plan.request
        return {
            "id": self.key,
            "title": f"{self.plan.study} · {facts.data.name} · {facts.scale}",
            "planned": len(self.digests),
            "counts": self.counts,
            "alive": len(self.alive),
            "remaining": self.remaining,
        }


def identifier(plan: Plan) -> str:
    """A name of a plan that is fit for an address, whatever the plan is called."""
    return hashlib.sha256(plan.key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def standing(
    plan: Plan, digests: Sequence[str], known: Mapping[str, Mark], alive: Sequence[str], pace: Pace
) -> Standing:
    """How far a plan is.

    Args:
        plan: the plan.
        digests: its runs.
        known: every run of the store that has ended.
        alive: the runs somebody computes.
        pace: of this plan; it is told how many have ended.
    """
    found = Counter(known[run].status if run in known else Status.CANCELLED.value for run in digests)
    counts = {status.value: found[status.value] for status in Status}
    left = counts[Status.CANCELLED.value]
    pace.see(len(digests) - left)
    own = set(alive).intersection(digests)
    # A failed run that is tried again is alive, and ended before.
    seconds = pace.remaining(left) if own and left else None
    remaining = "" if seconds is None else about(seconds)
    return Standing(identifier(plan), plan, digests, counts, tuple(run for run in alive if run in own), remaining)

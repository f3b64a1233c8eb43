"""What a person sees while runs are under way: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shattering.core.plan import Plan
from shattering.core.record import Row, Status
from shattering.core.spec import RunSpec
from shattering.core.words import plural
from shattering.learners.registry import is_learner

LINE_SECONDS = 15.0
"""Between two lines where standard error is not a terminal."""


class Display:
    """Progress on standard error.

    Args:
        plan: the runs.
        missing: those that have no outcome yet.
        cost: about how costly a run is, beside others; for the estimate of what remains.
        quiet: show nothing.
        before: runs that ended before and are not among those of ``plan``.
    """

    def __init__(
        self, plan: Plan, missing: list[str], cost: Callable[[RunSpec], float], *, quiet: bool, before: int = 0
    ) -> None:
        self.planned, self.quiet = before + len(plan.specs), quiet
        self.already = self.planned - len(missing)
        self.cost = cost
        waiting = set(missing)
        self.ahead = sum(cost(spec) for key, spec in zip(plan.digests, plan.specs, strict=True) if key in waiting)
        self.behind = 0.0
        self.title = f"{plan.study} · {plan.request.data.name} · {plan.request.scale}"
        self.counts: dict[str, int] = {}
        self.running: dict[str, tuple[RunSpec, Row]] = {}
        self.complaints: list[str] = []
        self.elsewhere = 0
        self.began_at = time.monotonic()
        self.told = self.began_at
        self.console = Console(file=sys.stderr)
        self.live: Live | None = None

    def __enter__(self) -> Display:
        if not self.quiet and self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4, transient=True)
            self.live.start()
        elif not self.quiet:
            self._say(f"{self.title}: {plural(self.planned, 'run')}, {self.already} finished before.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()
        if not self.quiet:
            for complaint in self.complaints:
                self._say(complaint)
            self._say(self._line())

    def planned_more(self, specs: list[RunSpec]) -> None:
        """Runs were added to the plan."""
        self.planned += len(specs)
        self.ahead += sum(self.cost(spec) for spec in specs)

    def began(self, spec: RunSpec) -> None:
        """A run has been handed to a worker."""
        self.running[spec.digest] = (spec, {})
        self._refresh()

    def saw(self, spec: RunSpec, row: Row) -> None:
        """A run has sent a snapshot."""
        self.running[spec.digest] = (spec, row)
        self._refresh()

    def ended(self, spec: RunSpec, status: Status, complaint: str = "") -> None:
        """A run has its outcome."""
        self.running.pop(spec.digest, None)
        self._pass(spec)
        self.counts[status.value] = self.counts.get(status.value, 0) + 1
        if complaint:
            self.complaints.append(f"{spec.digest[:10]} failed: {complaint}")
        self._refresh()

    def ended_elsewhere(self, spec: RunSpec) -> None:
        """Another process has committed a run of this plan."""
        self.elsewhere += 1
        self._pass(spec)
        self._refresh()

    def tick(self) -> None:
        """Time passes."""
        self._refresh()

    @property
    def finished(self) -> int:
        """Runs with an outcome, from whenever and whoever."""
        return self.already + self.elsewhere + sum(self.counts.values())

    def remaining_seconds(self) -> float | None:
        """Time still needed if the rest goes at the pace so far, by expected cost.

        None before the first run ended, unless one that is fitted at once says how far it is.
        """
        told = any(_says_how_far(spec, row) for spec, row in self.running.values())
        if not (self.behind or told):
            return None
        under_way = sum(self.cost(spec) * _share(spec, row) for spec, row in self.running.values())
        pace = (time.monotonic() - self.began_at) / (self.behind + under_way)
        return max(0.0, pace * (self.ahead - under_way))

    def _pass(self, spec: RunSpec) -> None:
        self.ahead -= self.cost(spec)
        self.behind += self.cost(spec)

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
        elif not self.quiet and time.monotonic() - self.told > LINE_SECONDS:
            self.told = time.monotonic()
            self._say(self._line())

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(self.counts.items()))
        parts = [f"{self.finished} of {plural(self.planned, 'run')}"]
        if counts:
            parts.append(counts)
        parts.append(f"{clock(time.monotonic() - self.began_at)} elapsed")
        remaining = self.remaining_seconds()
        if remaining is not None and self.finished < self.planned:
            parts.append(f"about {clock(remaining)} left")
        return "; ".join(parts)

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        for name, side in (
            ("run", "left"),
            ("model", "left"),
            ("data seen", "left"),
            ("seed", "right"),
            ("step", "right"),
            ("train", "right"),
            ("test", "right"),
        ):
            table.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
        for spec, row in self.running.values():
            p = spec.corruption.fields.get("p")
            seen = spec.corruption.name.replace("_", " ") + (f" p={p:g}" if isinstance(p, float) else "")
            cells = [spec.digest[:8], spec.model.name, seen, str(spec.seed), str(row.get("step", "…"))]
            cells += [f"{row[name]:.1%}" if name in row else "…" for name in ("train_accuracy", "test_accuracy")]
            table.add_row(*cells)
        bar = ProgressBar(total=max(1, self.planned), completed=self.finished, width=40)
        return Group(Text(self.title, style="bold"), bar, Text(self._line()), table)


def _says_how_far(spec: RunSpec, row: Row) -> bool:
    return "epoch" in row and is_learner(spec.model.name)


def _share(spec: RunSpec, row: Row) -> float:
    """How much of a run is done: what a learner says, else a half, which is so on average."""
    return min(1.0, float(row["epoch"])) if _says_how_far(spec, row) else 0.5


def clock(seconds: float) -> str:
    """``95`` as ``1 min 35 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

"""What the checks that train have in common: how long a training may be, how it varies, and how counts are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shattering.checks.registry import Subject
from shattering.core.finding import Cost, Finding
from shattering.core.record import Record, Status
from shattering.core.spec import MeasureSpec, RunSpec, override
from shattering.core.words import plural


def pilot_steps(subject: Subject) -> int:
    """Updates that the pilot made, up to its fit or to the end of its budget; before there is one, that budget."""
    made = subject.pilot.summary.get("steps") if subject.pilot is not None else None
    return max(1, min(int(made or subject.base.training.max_steps), subject.base.training.max_steps))


def varied(base: RunSpec, measures: MeasureSpec, **changes: Any) -> RunSpec:
    """The base training with other measures; fields are changed by their dotted names with ``__`` for the dot."""
    spec = base.model_copy(update={"measures": measures})
    return override(spec, {name.replace("__", "."): value for name, value in changes.items()})


AT_THE_END = MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0)
"""Accuracies of the trained network, and nothing on the way."""


def told_counts(specs: Sequence[RunSpec], records: Sequence[Record], used: int) -> str:
    """How many of the planned runs are used, such as ``17 of 20 runs; 2 diverged, 1 not ended``."""
    lost = Counter(record.status.value.replace("_", " ") for record in records if record.status in _WITHOUT_NUMBERS)
    without = len(specs) - used - sum(lost.values())
    parts = [f"{count} {name}" for name, count in sorted(lost.items())]
    parts += [f"{without} failed or not ended"] if without > 0 else []
    return f"{used} of {len(specs)} runs" + (f"; {', '.join(parts)}" if parts else "")


_WITHOUT_NUMBERS = (Status.DIVERGED, Status.FAILED, Status.CANCELLED)


def percent(fraction: float) -> str:
    """``93.2%``; two digits more where it would else be 0% or 100% without being so."""
    text = f"{fraction:.1%}"
    return f"{fraction:.3%}" if text in ("0.0%", "100.0%") and fraction not in (0.0, 1.0) else text


def points(difference: float) -> str:
    """A difference of fractions in percentage points, with its sign: ``+1.3``."""
    return f"{100 * difference:+.1f}"


def counted_verb(count: int, noun: str, one: str, many: str) -> str:
    """``1 test example occurs``, ``2 test examples occur``."""
    return f"{plural(count, noun)} {one if count == 1 else many}"


def unknown(check: str, name: str, statement: str, method: str, n: int = 0, cost: Cost | None = None) -> Finding:
    """A finding that could not be told, with the reason."""
    return Finding(check, name, statement, None, "", None, None, n, method, level="unknown", cost=cost or Cost())

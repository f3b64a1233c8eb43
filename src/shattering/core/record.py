"""What is known of a run when it has ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shattering.core.spec import RunSpec


class Status(StrEnum):
    """How a run ended. The counts of the five sum to the number of planned runs."""

    DONE = "done"
    """Trained to its end and reached the fit criterion."""
    NOT_FITTED = "not_fitted"
    """Spent its budget of steps without reaching the fit criterion; the time to fit is censored there."""
    DIVERGED = "diverged"
    """Met a loss, gradient or weight that is not finite; the last finite values are kept."""
    FAILED = "failed"
    """Stopped by an error, a crash or a hang; tried again by the next `run`."""
    CANCELLED = "cancelled"
    """Planned, but interrupted or not begun."""


Row = dict[str, float | int]
"""One snapshot's numbers: ``step``, ``epoch`` and every measured name."""


@dataclass(frozen=True)
class Record:
    """A finished run: its spec, what was measured, how it ended, and where it came from.

    Args:
        spec: the resolved spec.
        status: how it ended.
        rows: one mapping of names to numbers per snapshot, in order of steps.
        summary: numbers of the run as a whole, such as ``steps_to_fit`` (none where it did not fit).
        units: unit of every name in rows and summary (``"1"`` for fractions).
        weights_sha256: hash of the final weights' bytes.
        examples: columns of equal length, one entry per training example (``index``, ``label``, …).
        tested: columns of equal length, one entry per test example; empty where no measure asks for any.
        provenance: versions, host, durations; never part of identity or of the digest.
        error: identifier and message of what went wrong, for `FAILED`.
    """

    spec: RunSpec
    status: Status
    rows: tuple[Row, ...] = ()
    summary: dict[str, float | int | None] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    weights_sha256: str | None = None
    examples: dict[str, Any] = field(default_factory=dict)
    tested: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None

    @property
    def digest(self) -> str:
        """The run's name."""
        return self.spec.digest

    @property
    def last(self) -> Row:
        """The last snapshot's numbers; empty where there is none."""
        return self.rows[-1] if self.rows else {}

    def trajectory(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one measured name, at the snapshots that have it."""
        pairs = [(int(row["step"]), float(row[name])) for row in self.rows if name in row]
        return [step for step, _ in pairs], [value for _, value in pairs]


def results_digest(records: Iterable[Record]) -> str:
    """SHA-256 over (run, status, numbers as hexadecimal floats, weights' hash), sorted: equal results, equal digest.

    Wall-clock times, hosts and versions are provenance and stay out.
    """
    lines = sorted(
        json.dumps(
            [
                record.digest,
                record.status.value,
                [{name: _exact(value) for name, value in sorted(row.items())} for row in record.rows],
                {name: _exact(value) for name, value in sorted(record.summary.items())},
                record.weights_sha256,
            ]
        )
        for record in records
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _exact(value: float | int | None) -> str | int | None:
    return value.hex() if isinstance(value, float) else value

"""How early a training shows that its labels are random."""

from __future__ import annotations

from shattering.core.record import Record


def value_at(record: Record, name: str, step: int) -> float | None:
    """The last value of ``name`` measured at or before ``step``; after the end of a run, its last one."""
    value = None
    for row in record.rows:
        if int(row["step"]) > step:
            break
        value = float(row[name]) if name in row else value
    return value


def separation_step(real: Record, random: Record, *, name: str = "train_loss", factor: float = 2.0) -> int | None:
    """The first snapshot from which on ``name`` is at least ``factor`` times as large on random as on real data.

    The ratio must hold at this and every later snapshot of the real run, so that a passing fluctuation does not count.

    Args:
        real, random: two runs that differ in their corruption only.
        name: a positive number that falls as training succeeds.
        factor: larger than 1.

    Returns:
        A number of updates; none where the trajectories do not separate while the real run lasts.
    """
    first: int | None = None
    for row in real.rows:
        if name not in row:
            continue
        step = int(row["step"])
        other = value_at(random, name, step)
        apart = other is not None and other >= factor * float(row[name])
        if not apart:
            first = None
        elif first is None:
            first = step
    return first

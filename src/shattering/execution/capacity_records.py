"""What the runs of a pre-flight check say: their stage, their times to fit, the curves through them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from shattering.core.capacity import Curve, HeldOut, Seen, checked_curve
from shattering.core.record import Record
from shattering.measures.time_to_fit import fit_time

REAL, RANDOM = "true_labels", "random_labels"

PILOT_SEED, BISECTION_SEED = 10_000, 5_000
"""Seeds of the runs that look for a rate and a first time, and of the first bisection; sizes take those from 0 on.

No two sizes share a seed, so that the runs behind a curve are independent; a bisection keeps its seed, and with it the
order in which examples are added."""

FIRST_BUDGET = 50
"""Updates that the very first runs are given."""

FIRST_RUN_SECONDS = 3.0
"""What a worker's first run takes besides its updates, for loading what it needs; it counts as starting the worker."""

USED_SIZES = 5
"""The largest sizes, which the curve is drawn through: what happens far below says little of what happens far above."""


def step_seconds(records: Sequence[Record]) -> float:
    """Seconds for an update of the largest runs, evaluations included: the median, as a worker's first run is slow."""
    largest = sorted({size_of(record) for record in records})[-2:]
    paces = [
        float(record.provenance.get("seconds", 0.0)) / max(1, int(record.summary.get("steps") or 1))
        for record in records
        if size_of(record) in largest
    ]
    return max(1e-6, statistics.median_low(paces))


def pilot_seconds(records: Sequence[Record], jobs: int) -> float:
    """Seconds for an update of the runs that look for a rate: those that were tried longest.

    As long as there are only the first ones, the quickest of them tells, since others are their worker's first run;
    where all are, what that takes besides is left out, up to nine tenths.
    """
    tried = pilots(records)
    budget = max(record.spec.training.max_steps for record in tried)
    longest = [record for record in tried if record.spec.training.max_steps == budget]
    if budget > FIRST_BUDGET:
        return step_seconds(longest)
    besides = FIRST_RUN_SECONDS if len(longest) <= jobs else 0.0
    paces = []
    for record in longest:
        seconds = float(record.provenance.get("seconds", 0.0))
        paces.append(max(seconds - besides, seconds / 10) / max(1, int(record.summary.get("steps") or 1)))
    return max(1e-6, min(paces))


def pilots(records: Sequence[Record]) -> list[Record]:
    """The runs of the stage ``rate``."""
    return [record for record in records if record.spec.seed == PILOT_SEED]


def of_sizes(records: Sequence[Record], labels: str | None = None) -> list[Record]:
    """The runs of the stage ``sizes``."""
    return [
        record
        for record in records
        if record.spec.seed < BISECTION_SEED and (labels is None or record.spec.corruption.name == labels)
    ]


def bisections(records: Sequence[Record]) -> list[Record]:
    """The runs of the stage ``bisection``."""
    return [record for record in records if BISECTION_SEED <= record.spec.seed < PILOT_SEED]


def size_of(record: Record) -> int:
    """Number of training examples."""
    return int(record.spec.data.train_size or 0)


def seen(record: Record) -> Seen | None:
    """The time to fit of a run, a lower bound where it did not fit; none where it diverged or failed."""
    time = fit_time(record)
    if time is None or time.steps < 1:
        return None
    resolution = min(0.9, time.resolution / time.steps)
    return Seen(size_of(record), time.steps, "lower" if time.censored else "exact", resolution)


def points(records: Sequence[Record], labels: str) -> list[Seen]:
    """Times to fit over the largest `USED_SIZES` sizes; diverged runs have none."""
    chosen = of_sizes(records, labels)
    largest = sorted({size_of(record) for record in chosen})[-USED_SIZES:]
    found = (seen(record) for record in chosen if size_of(record) in largest)
    return [point for point in found if point is not None]


def paired(records: Sequence[Record]) -> tuple[list[Seen | None], list[Seen | None]]:
    """Times of random and of real labels for the same examples and seeds, over the sizes of `points`."""
    largest = sorted({size_of(record) for record in of_sizes(records)})[-USED_SIZES:]
    by_kind = {
        (record.spec.corruption.name, size_of(record), record.spec.seed): seen(record) for record in of_sizes(records)
    }
    keys = sorted({(size, seed) for _, size, seed in by_kind if size in largest})
    return [by_kind.get((RANDOM, *key)) for key in keys], [by_kind.get((REAL, *key)) for key in keys]


def outcomes(records: Sequence[Record], seed: int, budget: int) -> list[tuple[int, bool]]:
    """(examples, fitted within the budget) for each bisection run of a seed that tells."""
    found = []
    for record in bisections(records):
        if record.spec.seed != seed:
            continue
        time = seen(record)
        if time is None:
            found.append((size_of(record), False))
        elif time.bound == "exact" or time.value >= budget:
            found.append((size_of(record), time.bound == "exact" and time.value <= budget))
    return found


def time_curve(records: Sequence[Record], labels: str) -> tuple[Curve | None, list[HeldOut]]:
    """The curve through the times to fit one kind of labels, and its hold-out checks."""
    return checked_curve(points(records, labels), rising=True)

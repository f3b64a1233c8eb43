"""From records to a number or a curve with its interval: what most studies say of their runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from shattering.core.record import Record, Status
from shattering.core.statistics import Interval, mean_interval
from shattering.core.study import Claim, Effect, Estimate, Point, Provenance, Records

Number = Callable[[Record], float | None]
"""A number of one run; none where it has none."""

Runs = Callable[[Records], Sequence[Record]]
"""Which runs a statement is about."""

EffectOf = Callable[[Callable[[Records], Estimate | None]], Effect]
"""What is to hold of an estimate, such as `holds_if` with its bound filled in."""

ENDED = (Status.DONE, Status.NOT_FITTED)


def ended(records: Records) -> list[Record]:
    """The runs that ended with numbers that are finite throughout."""
    return [record for record in records if record.status in ENDED]


def counted(records: Sequence[Record], used: int) -> str:
    """How many of how many, such as ``17 of 20; 3 diverged``; empty where all are used."""
    if used == len(records):
        return ""
    lost = Counter(record.status for record in records if record.status not in ENDED)
    rest = len(records) - used - sum(lost.values())
    told = [f"{count} {status.value.replace('_', ' ')}" for status, count in sorted(lost.items())]
    told += [f"{rest} without this number"] if rest > 0 else []
    return f"{used} of {len(records)}; {', '.join(told)}"


def estimate(
    runs: Sequence[Record],
    number: Number,
    *,
    note: str = "",
    interval: Callable[[Sequence[float]], Interval] = mean_interval,
) -> Estimate | None:
    """A number over runs with its 95% interval: their mean, or what ``interval`` makes of them.

    Args:
        runs: all runs that bear on it, those without an outcome too: the note counts them.
        number: of one run.
        note: how it was obtained.
        interval: `mean_interval`, `median_interval`, or another function of at least one number.

    Returns:
        None where no run has the number; ends are none below three runs.
    """
    found = [(record.digest, value) for record in ended(runs) if (value := number(record)) is not None]
    if not found:
        return None
    middle, low, high = interval([value for _, value in found])
    told = "; ".join(part for part in (note, counted(runs, len(found))) if part)
    return Estimate(middle, low, high, tuple(digest for digest, _ in found), len(runs), told)


def estimate_by_seed(
    runs: Sequence[Record],
    number: Callable[[Sequence[Record]], float | None],
    *,
    note: str = "",
    interval: Callable[[Sequence[float]], Interval] = mean_interval,
) -> Estimate | None:
    """A number of several runs together, such as the height of a peak over their settings, once for each seed.

    Args:
        runs: all runs that bear on it.
        number: of the runs of one seed that have ended.
        note: how it was obtained.
        interval: as in `estimate`; over the seeds.

    Returns:
        None where no seed has the number; ends are none below three seeds.
    """
    groups: dict[int, list[Record]] = {}
    for record in ended(runs):
        groups.setdefault(record.spec.seed, []).append(record)
    found = {seed: value for seed, group in sorted(groups.items()) if (value := number(group)) is not None}
    if not found:
        return None
    middle, low, high = interval(list(found.values()))
    used = tuple(record.digest for seed in found for record in groups[seed])
    told = "; ".join(part for part in (note, counted(runs, len(used))) if part)
    return Estimate(middle, low, high, used, len(runs), told)


def last(name: str) -> Number:
    """A number at the last snapshot."""
    return lambda record: float(record.last[name]) if name in record.last else None


def largest(name: str) -> Number:
    """The largest value over the snapshots or rows."""
    return lambda record: max((float(row[name]) for row in record.rows if name in row), default=None)


def place_of_largest(name: str, axis: str) -> Number:
    """Where along an axis a number is largest; the first place of several."""

    def place(record: Record) -> float | None:
        rows = [row for row in record.rows if name in row]
        return float(max(rows, key=lambda row: row[name])[axis]) if rows else None

    return place


def at_place(name: str, **place: float) -> Number:
    """A number in the first row that has these coordinates, such as ``at_place("risk", n=40)``."""

    def value(record: Record) -> float | None:
        for row in record.rows:
            if name in row and all(row.get(axis) == wanted for axis, wanted in place.items()):
                return float(row[name])
        return None

    return value


def curve(
    runs: Iterable[Record],
    x: str,
    y: str,
    *,
    series: str,
    kind: str = "",
    panel: str = "",
    positive: bool = False,
    interval: Callable[[Sequence[float]], Interval] = mean_interval,
) -> list[Point]:
    """One mark for each place along an axis inside the runs' rows: the mean over runs with its 95% interval.

    Args:
        runs: repetitions of one setting; those without an outcome are left out.
        x, y: names in their rows.
        series, kind, panel: of the marks.
        positive: leave out places and numbers that are not positive, for logarithmic axes.
        interval: `mean_interval`, `median_interval`, or another.
    """
    values: dict[float, list[float]] = {}
    for record in ended(list(runs)):
        for row in record.rows:
            if x in row and y in row and not (positive and min(row[x], row[y]) <= 0):
                values.setdefault(float(row[x]), []).append(float(row[y]))
    return [_point(place, found, series, kind, panel, positive, interval) for place, found in sorted(values.items())]


def swept(
    runs: Iterable[Record],
    place: Number,
    number: Number,
    *,
    series: str,
    kind: str = "",
    panel: str = "",
    positive: bool = False,
    interval: Callable[[Sequence[float]], Interval] = mean_interval,
) -> list[Point]:
    """One mark for each setting, where each run is one setting: ``place`` and ``number`` of a run are its position.

    The arguments are those of `curve`.
    """
    values: dict[float, list[float]] = {}
    for record in ended(list(runs)):
        at, value = place(record), number(record)
        if at is not None and value is not None and not (positive and min(at, value) <= 0):
            values.setdefault(at, []).append(value)
    return [_point(at, found, series, kind, panel, positive, interval) for at, found in sorted(values.items())]


def holds_if(estimate_of: Callable[[Records], Estimate | None], statement: str, *, above: float) -> Effect:
    """The effect that a number lies above a bound: shown where its whole interval does, not where none of it does.

    In between, and where there is no interval, it cannot be told.
    """

    def holds(records: Records) -> bool | None:
        found = estimate_of(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.low > above else False if found.high <= above else None

    return Effect(statement, holds)


def holds_within(
    estimate_of: Callable[[Records], Estimate | None],
    statement: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Effect:
    """The effect that a number lies in a band: shown where its whole interval does, not where none of it does.

    In between, and where there is no interval, it cannot be told. The ends belong to the band.
    """

    def holds(records: Records) -> bool | None:
        found = estimate_of(records)
        if found is None or found.low is None or found.high is None:
            return None
        if low <= found.low and found.high <= high:
            return True
        return False if found.high < low or found.low > high else None

    return Effect(statement, holds)


def number_claim(
    runs: Runs,
    number: Number,
    effect: EffectOf,
    *,
    source: str,
    quantity: str,
    provenance: Provenance,
    data: str,
    unit: str = "",
    published: tuple[float, float] | None = None,
    interval: Callable[[Sequence[float]], Interval] = mean_interval,
) -> Claim:
    """The claim about a number of each run, estimated as `estimate` does, whose effect is judged on that estimate.

    Args:
        runs: that bear on it, among a study's records.
        number: of one run.
        effect: what is to hold of the estimate.
        source, quantity, provenance, data, unit: as `Claim` has them.
        published: the paper's value and its tolerance; none: it has none.
        interval: as in `estimate`.
    """

    def found(records: Records) -> Estimate | None:
        return estimate(runs(records), number, interval=interval)

    value, tolerance = published or (None, 0.0)
    return Claim(source, quantity, value, tolerance, unit, provenance, data, found, effect(found))


def in_figures(found: Estimate | None, digits: str = ".2f") -> str:
    """An estimate's value in figures, by a format; ``not known`` where there is none."""
    return "not known" if found is None else f"{found.value:{digits}}"


def median_of(values: Iterable[float]) -> float | None:
    """The median; none of nothing."""
    found = list(values)
    return float(median(found)) if found else None


def _point(
    place: float,
    values: list[float],
    series: str,
    kind: str,
    panel: str,
    positive: bool,
    interval: Callable[[Sequence[float]], Interval],
) -> Point:
    middle, low, high = interval(values)
    if positive and low is not None and low <= 0:
        low = min(values)  # the symmetric interval leaves the axis; the smallest value seen is the honest end of it
    return Point(place, middle, series, low, high, kind, panel)

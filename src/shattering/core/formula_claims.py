"""What studies of a formula claim: how far a simulation is from it, and in how many runs something is seen."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.curves import Number, Runs, counted, ended, holds_if, holds_within
from shattering.core.record import Record, Row
from shattering.core.statistics import mean_interval, proportion_interval
from shattering.core.study import Claim, Estimate, Provenance, Records


def largest_deviation(
    records: Records,
    runs: Runs,
    simulated: str,
    formula: str,
    axis: str,
    *,
    scale: str | None = None,
    rows: Callable[[Row], bool] = lambda row: True,
) -> Estimate | None:
    """The largest relative deviation of a simulated curve from a formula's, over the places along an axis.

    At each place the deviation (simulated - formula) / formula is averaged over the runs; the place where that mean is
    farthest from zero is the one told, so that what remains there of chance counts against the formula.

    Args:
        records: all there are.
        runs: which of them bear on it; repetitions of one setting.
        simulated, formula: names in the rows.
        axis: name of the place in the rows.
        scale: name of what the difference is divided by; none: the formula itself.
        rows: which rows count.

    Returns:
        The deviation's size, at least 0, with Student's interval over the runs at that place; none without a row.
    """
    chosen = list(runs(records))
    places: dict[float, list[tuple[str, float]]] = {}
    for record in ended(chosen):
        for row in record.rows:
            base = float(row.get(scale or formula, 0.0))
            if simulated in row and formula in row and base and rows(row):
                difference = (float(row[simulated]) - float(row[formula])) / abs(base)
                places.setdefault(float(row[axis]), []).append((record.digest, difference))
    if not places:
        return None

    def mean(found: list[tuple[str, float]]) -> float:
        return sum(value for _, value in found) / len(found)

    place, found = max(places.items(), key=lambda item: abs(mean(item[1])))
    sign = 1.0 if mean(found) >= 0 else -1.0
    middle, low, high = mean_interval([sign * value for _, value in found])
    told = "; ".join(part for part in (f"at {axis} = {place:g}", counted(chosen, len(found))) if part)
    digests = tuple(dict.fromkeys(digest for digest, _ in found))
    return Estimate(middle, low, high, digests, len(chosen), told)


def agreement(
    *,
    source: str,
    quantity: str,
    runs: Runs,
    simulated: str,
    formula: str,
    axis: str,
    tolerance: float,
    provenance: Provenance = "V",
    data: str = "drawn",
    scale: str | None = None,
    rows: Callable[[Row], bool] = lambda row: True,
) -> Claim:
    """The claim that a simulation follows a formula: the whole interval of `largest_deviation` lies within a tolerance.

    The arguments are those of `largest_deviation` and of `Claim`; ``tolerance`` is a relative deviation above 0.
    """

    def estimate(records: Records) -> Estimate | None:
        return largest_deviation(records, runs, simulated, formula, axis, scale=scale, rows=rows)

    return Claim(
        source=source,
        quantity=f"{quantity}: largest relative deviation of the simulation from the formula",
        published=None,
        tolerance=tolerance,
        unit="1",
        provenance=provenance,
        data=data,
        estimate=estimate,
        effect=holds_within(estimate, f"at most {tolerance:.0%} at every place", high=tolerance),
    )


def mostly(
    *,
    source: str,
    quantity: str,
    runs: Runs,
    seen: Callable[[Record], bool | None],
    provenance: Provenance,
    data: str = "drawn",
) -> Claim:
    """The claim that something is seen in most runs: the exact interval of their share lies above one half.

    Args:
        source, quantity, provenance, data: of the `Claim`; the quantity says what is seen.
        runs: which runs are asked.
        seen: whether a run shows it; none where it cannot tell, and then it is left out and counted.
    """

    def estimate(records: Records) -> Estimate | None:
        chosen = list(runs(records))
        told = [(record.digest, found) for record in ended(chosen) if (found := seen(record)) is not None]
        if not told:
            return None
        count = sum(found for _, found in told)
        share, low, high = proportion_interval(count, len(told))
        note = "; ".join(part for part in (f"{count} of {len(told)} runs", counted(chosen, len(told))) if part)
        return Estimate(share, low, high, tuple(digest for digest, _ in told), len(chosen), note)

    return Claim(
        source=source,
        quantity=f"{quantity}: share of runs",
        published=None,
        tolerance=0.0,
        unit="1",
        provenance=provenance,
        data=data,
        estimate=estimate,
        effect=holds_if(estimate, "in more than half of all runs", above=0.5),
    )


def above(
    *,
    source: str,
    quantity: str,
    estimate: Callable[[Records], Estimate | None],
    bound: float,
    provenance: Provenance,
    unit: str = "",
    data: str = "drawn",
) -> Claim:
    """The claim that a number lies above a bound, its whole interval; the arguments are those of `Claim`."""
    statement = f"above {bound:g}"
    effect = holds_if(estimate, statement, above=bound)
    return Claim(source, quantity, None, 0.0, unit, provenance, data, estimate, effect)


def below(
    *,
    source: str,
    quantity: str,
    estimate: Callable[[Records], Estimate | None],
    bound: float,
    provenance: Provenance,
    unit: str = "",
    data: str = "drawn",
) -> Claim:
    """The claim that a number lies below a bound, its whole interval; the arguments are those of `Claim`."""
    effect = holds_within(estimate, f"at most {bound:g}", high=bound)
    return Claim(source, quantity, None, 0.0, unit, provenance, data, estimate, effect)


def compared(
    records: Records, left: Runs, right: Runs, number: Number, combine: Callable[[float, float], float], note: str = ""
) -> Estimate | None:
    """What two settings have to do with each other, seed by seed: the mean of ``combine(left, right)`` over the seeds.

    Args:
        records: all there are.
        left, right: the runs of the two settings, one for each seed.
        number: of one run.
        combine: of the two numbers of a seed, such as their ratio.
        note: how it was obtained.
    """
    sides = [list(left(records)), list(right(records))]
    found = [
        {record.spec.seed: (record.digest, value) for record in ended(side) if (value := number(record)) is not None}
        for side in sides
    ]
    seeds = sorted(set(found[0]) & set(found[1]))
    if not seeds:
        return None
    middle, low, high = mean_interval([combine(found[0][seed][1], found[1][seed][1]) for seed in seeds])
    digests = tuple(dict.fromkeys(side[seed][0] for seed in seeds for side in found))
    considered = len(sides[0]) + len(sides[1])
    return Estimate(middle, low, high, digests, considered, note)

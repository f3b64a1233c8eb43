"""What a sweep has found so far, in columns: one entry per run asked for, combined over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.lattice import Lattice, value_at
from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import censored_median
from shattering.core.sweep import FITTED, Sweep
from shattering.core.sweep_file import parse_sweep
from shattering.execution.adaptive import Bracket, Decider, examples_of, interval_of
from shattering.store.store import Store

FITTING = "steps_to_fit"
FIRST_NUMBERS = ("test_accuracy", "train_accuracy", FITTED, FITTING)
"""Numbers told of every sweep whose runs have them, in this order."""

MOST_NUMBERS = 8

SEED_FIELDS = ("seed", "stream_seeds")

Floats = NDArray[np.float64]
Groups = Sequence[tuple[dict[str, Any], NDArray[np.int64]]]


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a sweep in columns.

    Args:
        digests: their names, in planned order.
        status: how each ended; ``cancelled`` where it has not.
        numbers: measured names to values, not a number where a run has none.
        fields: the varying fields, seeds left out, to the value of each run.
        seeds: of each run.
        seconds: computing time of all runs.
    """

    digests: list[str]
    status: NDArray[np.str_]
    numbers: dict[str, Floats]
    fields: dict[str, list[Any]]
    seeds: list[int]
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Number of runs by status; the sum is all that was asked for."""
        return {status.value: int((self.status == status.value).sum()) for status in Status}


@dataclass(frozen=True, eq=False)
class Results:
    """A sweep and what became of it.

    Args:
        plan: the sweep's.
        sweep: as declared.
        runs: all runs asked for so far.
        names: the numbers that are told of, in order.
        brackets: of a bisection: (fields of the combination, one bracket per seed) pairs.
    """

    plan: Plan
    sweep: Sweep
    runs: Runs
    names: tuple[str, ...]
    brackets: tuple[tuple[dict[str, Any], tuple[Bracket, ...]], ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that vary, seeds left out."""
        return tuple(self.runs.fields)


@dataclass(frozen=True)
class Cell:
    """Some runs taken together.

    Args:
        place: values of the fields that they share.
        runs: how many were asked for.
        ended: by status.
        numbers: name to mean, low, high, and how many runs it is of; a time to fit of which some are only lower bounds
            has its median in place of the mean, none where that was not reached, and no interval.
        bounds: names whose value is a median of censored times, to the longest time seen.
    """

    place: dict[str, Any]
    runs: int
    ended: dict[str, int]
    numbers: dict[str, tuple[float | None, float | None, float | None, int]]
    bounds: dict[str, float]


def gather_sweep(store: Store, plan: Plan) -> Results:
    """Reads what a sweep's plan asks for, the runs that were decided on as it went included; nothing is trained."""
    sweep = parse_sweep(plan.sweep or {})
    brackets: tuple[tuple[dict[str, Any], tuple[Bracket, ...]], ...] = ()
    specs: Sequence[RunSpec] = plan.specs
    digests = plan.digests
    paths = [path for path in varying(plan.specs) if path.partition(".")[0] not in SEED_FIELDS]
    if sweep.decides:
        decider = Decider(plan, sweep)
        decided = decider.decide(store)
        specs, digests = list(decided.runs.values()), list(decided.runs)
        own = [path for path in paths if sweep.threshold is None or path != sweep.threshold.field]
        brackets = tuple(
            ({path: field_value(spec, path) for path in own}, decided.brackets[number])
            for number, spec in enumerate(decider.combinations())
            if number in decided.brackets
        )
    fields = {path: columns_of(specs, path) for path in paths}
    runs = read_runs(store, digests, fields, columns_of(specs, "seed"))
    wanted = [rule.measure for rule in (sweep.more_seeds, sweep.threshold and sweep.threshold.met) if rule]
    names = dict.fromkeys([*wanted, *FIRST_NUMBERS, *(name for name in runs.numbers if _is_told(plan, name))])
    known = [name for name in names if name in runs.numbers and (name in wanted or _tells(name, runs.numbers[name]))]
    return Results(plan, sweep, runs, tuple(known[:MOST_NUMBERS]), brackets)


def read_runs(store: Store, digests: list[str], fields: dict[str, list[Any]], seeds: list[int]) -> Runs:
    """The columns of given runs, from the store's index."""
    from shattering.store.table import runs_table

    table = runs_table(store, digests)
    place = {digest: number for number, digest in enumerate(digests)}
    rows = np.array([place[digest] for digest in table.column("digest").to_pylist()], dtype=np.int64)
    status = np.full(len(digests), Status.CANCELLED.value, dtype="U16")
    if len(rows):
        status[rows] = np.array(table.column("status").to_pylist(), dtype="U16")
    lost = np.isin(status, [Status.FAILED.value, Status.DIVERGED.value, Status.CANCELLED.value])
    numbers: dict[str, Floats] = {}
    for column in table.column_names:
        group, _, name = column.partition(".")
        if group not in ("last", "summary") or name in ("step", "epoch"):
            continue
        values = np.full(len(digests), np.nan)
        values[rows] = np.array(table.column(column).to_pylist(), dtype=np.float64)
        values[lost & (status != Status.DIVERGED.value)] = np.nan
        if name != "steps":
            values[lost] = np.nan
        numbers[name] = values
    fitted = np.where(status == Status.DONE.value, 1.0, 0.0)
    fitted[np.isin(status, [Status.FAILED.value, Status.CANCELLED.value])] = np.nan
    numbers[FITTED] = fitted
    taken = [value for value in table.column("seconds").to_pylist() if value] if "seconds" in table.column_names else []
    return Runs(digests, status, numbers, fields, seeds, math.fsum(taken))


def cells(results: Results, groups: Groups) -> list[Cell]:
    """The numbers of each group of runs.

    Args:
        results: the sweep's.
        groups: (what the runs share, their rows) pairs.
    """
    spec = results.plan.specs[0]
    return [_cell(results, spec, place, rows) for place, rows in groups]


def combinations(runs: Runs, paths: Sequence[str]) -> list[tuple[dict[str, Any], NDArray[np.int64]]]:
    """The runs grouped by the values of some fields, sorted by them: (values, rows) pairs."""
    if not paths:
        return [({}, np.arange(len(runs.digests)))]
    codes, values = [], []
    for path in paths:
        distinct = sorted(dict.fromkeys(map(_hashable, runs.fields[path])), key=order_of)
        code = {value: number for number, value in enumerate(distinct)}
        codes.append(np.array([code[_hashable(value)] for value in runs.fields[path]], dtype=np.int64))
        values.append(distinct)
    keys = np.ravel_multi_index(codes, [len(distinct) for distinct in values])
    order = np.argsort(keys, kind="stable")
    distinct_keys, starts = np.unique(keys[order], return_index=True)
    parts = np.split(order, starts[1:])
    places = np.unravel_index(distinct_keys, [len(distinct) for distinct in values])
    return [
        ({path: values[axis][int(places[axis][number])] for axis, path in enumerate(paths)}, rows)
        for number, rows in enumerate(parts)
    ]


def group_means(values: Floats, groups: Groups) -> Floats:
    """The mean of a number over each group of runs, those without it left out; not a number where all are."""
    rows = np.concatenate([rows for _, rows in groups])
    starts = np.cumsum([0, *(len(rows) for _, rows in groups)])[:-1]
    known = np.isfinite(values[rows])
    sums = np.add.reduceat(np.where(known, values[rows], 0.0), starts)
    with np.errstate(invalid="ignore"):
        return sums / np.add.reduceat(known, starts, dtype=np.int64)


def by_height(results: Results, name: str, groups: Groups) -> list[int]:
    """The places of the groups that have a number, the highest mean first."""
    means = group_means(results.runs.numbers[name], groups)
    order = np.argsort(-means, kind="stable")
    return [int(place) for place in order if np.isfinite(means[place])]


def varying(specs: Sequence[RunSpec]) -> tuple[str, ...]:
    """The dotted fields that differ between specs."""
    if isinstance(specs, Lattice):
        return specs.varying
    found: dict[str, set[str]] = {}
    for spec in specs:
        for path, value in _leaves(spec.model_dump(mode="json"), ""):
            found.setdefault(path, set()).add(str(value))
    missing = {path for path, _ in found.items() if any(value_of(spec, path) is None for spec in specs[:1])}
    return tuple(path for path, values in found.items() if len(values) > 1 or (path in missing and values != {"None"}))


def columns_of(specs: Sequence[RunSpec], path: str) -> list[Any]:
    """The value of a dotted field in every spec; a registered default where a free field was left out."""
    if isinstance(specs, Lattice):
        values = specs.column(path)
        if ".fields." not in path or None not in values:
            return values
        names = specs.column(f"{path.partition('.')[0]}.name")
        return [_default(name, path) if value is None else value for name, value in zip(names, values, strict=True)]
    return [field_value(spec, path) for spec in specs]


def field_value(spec: RunSpec, path: str) -> Any:
    """As `columns_of`, of one spec."""
    value = value_of(spec, path)
    if value is None and ".fields." in path:
        group = path.partition(".")[0]
        return _default(getattr(spec, group).name, path)
    return value


def value_of(spec: RunSpec, path: str) -> Any:
    """The value of a dotted field; none where it is absent."""
    name, _, inner = path.partition(".")
    return value_at(getattr(spec, name), inner)


def is_number(value: Any) -> bool:
    """Whether a field's value has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def order_of(value: Any) -> tuple[int, float, str]:
    """Numbers before words, none first."""
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if is_number(value) else (2, 0.0, str(value))


def _cell(results: Results, spec: RunSpec, place: dict[str, Any], rows: NDArray[np.int64]) -> Cell:
    runs = results.runs
    status = runs.status[rows]
    ended = {kind.value: int((status == kind.value).sum()) for kind in Status}
    numbers: dict[str, tuple[float | None, float | None, float | None, int]] = {}
    bounds: dict[str, float] = {}
    for name in results.names:
        values = runs.numbers[name][rows]
        kept = values[np.isfinite(values)]
        late = (status == Status.NOT_FITTED.value) & np.isfinite(runs.numbers.get("steps", runs.numbers[FITTED])[rows])
        if name == FITTING and late.any():
            times = [*kept.tolist(), *runs.numbers["steps"][rows][late].tolist()]
            median = censored_median(times, [False] * len(kept) + [True] * int(late.sum()))
            numbers[name] = (median.value, None, None, len(times))
            bounds[name] = median.bound
            continue
        examples = _examples(results, place, name, spec)
        value, low, high = interval_of(name, kept.tolist(), examples)
        numbers[name] = (value, low, high, len(kept))
    return Cell(place, len(rows), ended, numbers, bounds)


def _examples(results: Results, place: dict[str, Any], name: str, spec: RunSpec) -> int | None:
    """Examples behind an accuracy, where all runs of a cell have as many."""
    sized = {path: place.get(path) for path in ("data.train_size", "data.test_size")}
    if any(path in results.axes and value is None for path, value in sized.items()) or spec.selection is not None:
        return None
    data = spec.data.model_copy(
        update={path.partition(".")[2]: value for path, value in sized.items() if path in results.axes}
    )
    return examples_of(results.plan, spec.model_copy(update={"data": data}), name)


def _is_told(plan: Plan, name: str) -> bool:
    """Whether a measured name is of a measure that was asked for beside accuracy and the weights' norms."""
    from shattering.measures.registry import measures

    asked = [measure for measure in plan.specs[0].measures.names if measure not in ("accuracy", "weights")]
    return any(name in measures.get(measure).units for measure in asked if measure in measures.names())


def _tells(name: str, values: Floats) -> bool:
    """Whether a number says more than the counts do: the share that fitted does where only some did."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and (name != FITTED or bool((known != known[0]).any()))


def _default(name: str, path: str) -> Any:
    """The registered default of a free field, ``model.fields.width``; none for a user's own model."""
    from shattering.corruptions.registry import corruptions
    from shattering.learners.registry import learners
    from shattering.models.registry import models

    group, _, key = path.partition(".fields.")
    for registry in (models, learners) if group == "model" else (corruptions,):
        if name in registry.names():
            entry: Any = registry.get(name)
            return next((field.default for field in entry.fields if field.name == key and not field.required), None)
    return None


def _leaves(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _hashable(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value

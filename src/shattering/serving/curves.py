"""Mean accuracy against steps, taken up run by run as runs end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.report.charts import MOST_POINTS
from shattering.report.sweep import SEED_FIELDS, columns_of, varying
from shattering.report.sweep_words import label, value_text
from shattering.store.index import Mark
from shattering.store.store import Store
from shattering.store.table import rows_table

MOST_LINES = 8
SHOWN = ("train_accuracy", "test_accuracy")
DRAWN = (Status.DONE.value, Status.NOT_FITTED.value)
"""Runs that diverged or failed have no place in a mean; they are counted beside it."""

_STEPS = 1 << 40

CORRUPTION = "corruption.name"

FIRST = {"corruption": 0, "model": 1}
"""Groups of fields that tell most, in order."""

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Choice:
    """A way of telling lines apart.

    Args:
        title: what differs between them.
        names: of the lines.
        line: for each planned run, in order, the number of its line.
        together: what differs, besides seeds, among the runs of one line, the most telling first.
    """

    title: str
    names: tuple[str, ...]
    line: Sequence[int]
    together: tuple[str, ...] = ()


def choices(specs: Sequence[RunSpec]) -> list[Choice]:
    """Ways of telling at most eight lines apart, the most telling first, and at last all runs as one line.

    Where all combinations of the varying fields are no more than eight, they come first; then each field, what is done
    to the data before the model, and the model before the rest. A corruption is told with its own fields, such as its
    level, unless that makes too many lines.
    """
    columns: dict[str, list[Any]] = {}
    for path in varying(specs):
        if path.partition(".")[0] not in (*SEED_FIELDS, "selection"):
            columns[path] = columns_of(specs, path)
    ordered = sorted(columns, key=lambda path: (FIRST.get(path.partition(".")[0], len(FIRST)), path.count(".")))
    columns = {path: columns[path] for path in ordered}
    found = [(label(path), list(map(value_text, column))) for path, column in columns.items()]
    if len(ordered) > 1:
        found.insert(0, (" and ".join(map(label, ordered)), _joint(ordered, columns)))
    whole = [path for path in ordered if path.partition(".")[0] == "corruption"]
    if CORRUPTION in whole and 1 < len(whole) < len(ordered):
        joint = _joint(whole, columns)
        if len(set(joint)) <= MOST_LINES:
            found = [(title, joint if title == label(CORRUPTION) else values) for title, values in found]
    ways = [_choice(title, values, columns) for title, values in found]
    told = [way for way in ways if 2 <= len(way.names) <= MOST_LINES]
    return [*told, _choice("nothing: all runs together", ["all runs"] * len(specs), columns)]


def _joint(paths: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """The values of several fields in one text; a field of a model or a corruption with its name, where it is set."""

    def text(values: tuple[Any, ...]) -> str:
        parts = [
            value_text(value) if ".fields." not in path else f"{path.rpartition('.')[2]}={value_text(value)}"
            for path, value in zip(paths, values, strict=True)
            if ".fields." not in path or value is not None
        ]
        return ", ".join(parts) or "defaults"

    return [text(values) for values in zip(*(columns[path] for path in paths), strict=True)]


def _choice(title: str, values: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> Choice:
    names, line = tuple(dict.fromkeys(values)), _numbered(values)
    pairs = {path: len(set(zip(line, map(value_text, column), strict=True))) for path, column in columns.items()}
    return Choice(title, names, line, tuple(label(path) for path, many in pairs.items() if many > len(names)))


def _numbered(values: Sequence[str]) -> list[int]:
    number = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return [number[value] for value in values]


class Curves:
    """The curves of one plan for one choice of lines: at each step, the mean of what each run showed last.

    A run that was looked at earlier, or has ended earlier, counts with its newest value up to that step. A mean over
    the runs that happen to have a snapshot there would, where runs end when they fit, be one of those that do not fit.

    Args:
        digests: the plan's runs, in order.
        choice: which line each belongs to.
    """

    def __init__(self, digests: Sequence[str], choice: Choice) -> None:
        self.digests = digests
        self.choice = choice
        self._line = dict(zip(digests, choice.line, strict=True))
        self._taken: set[str] = set()
        self._changes: list[dict[tuple[int, int], list[float]]] = [{} for _ in SHOWN]

    def take_up(self, store: Store, known: Mapping[str, Mark]) -> None:
        """Adds the runs that have ended since; reads only those. Raises `StoreError`."""
        new = [run for run, mark in known.items() if run in self._line and run not in self._taken]
        new = [run for run in new if known[run].status in DRAWN]
        if not new:
            return
        table = rows_table(store, new, ("step", *SHOWN))
        self._taken.update(new)
        if "step" not in table.column_names or not len(table):
            return
        column = table.column("digest").combine_chunks()
        runs = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        lines = np.array([self._line[run] for run in column.dictionary.to_pylist()], dtype=np.int64)
        keys = lines[runs] * _STEPS + table.column("step").to_numpy().astype(np.int64)
        for place, name in enumerate(SHOWN):
            if name in table.column_names:
                values = table.column(name).to_numpy().astype(np.float64)
                sound = np.isfinite(values)
                self._add(place, keys[sound], runs[sound], values[sound])

    def _add(self, place: int, keys: Numbers, runs: Numbers, values: Floats) -> None:
        """Adds by how much each snapshot changes its line's sum; the snapshots of a run are neighbours, in order."""
        again = np.zeros(len(runs), dtype=bool)
        again[1:] = runs[1:] == runs[:-1]
        change = values.copy()
        change[1:] -= np.where(again[1:], values[:-1], 0.0)
        distinct, inverse = np.unique(keys, return_inverse=True)
        begun = np.bincount(inverse, ~again, minlength=len(distinct))
        changed = np.bincount(inverse, change, minlength=len(distinct))
        for key, more, by in zip(distinct.tolist(), begun.tolist(), changed.tolist(), strict=True):
            at = self._changes[place].setdefault((key // _STEPS, key % _STEPS), [0.0, 0.0])
            at[0] += more
            at[1] += by

    def to_tree(self, known: Mapping[str, Mark]) -> dict[str, Any]:
        """JSON-able: how lines are told apart, what is taken ``together`` in each, and lines: ``name``, counts of its
        runs, and for each shown number ``[step, mean, runs]`` points."""
        counts = [{status.value: 0 for status in Status} for _ in self.choice.names]
        for run, line in self._line.items():
            mark = known.get(run)
            counts[line][mark.status if mark else Status.CANCELLED.value] += 1
        points = [self._points(place) for place in range(len(SHOWN))]
        return {
            "by": self.choice.title,
            "together": list(self.choice.together),
            "lines": [
                {
                    "name": name,
                    "counts": counts[line],
                    **{shown: thinned(points[place][line]) for place, shown in enumerate(SHOWN)},
                }
                for line, name in enumerate(self.choice.names)
            ],
        }

    def _points(self, place: int) -> list[list[list[float]]]:
        points: list[list[list[float]]] = [[] for _ in self.choice.names]
        now, runs, total = -1, 0.0, 0.0
        for (line, step), (more, by) in sorted(self._changes[place].items()):
            if line != now:
                now, runs, total = line, 0.0, 0.0
            runs, total = runs + more, total + by
            points[line].append([step, round(total / runs, 6), int(runs)])
        return points


def thinned(items: Sequence[Any], most: int = MOST_POINTS) -> list[Any]:
    """At most ``most`` of the items, evenly spread, first and last among them."""
    if len(items) <= most:
        return list(items)
    last = len(items) - 1
    return [items[round(place * last / (most - 1))] for place in range(most)]

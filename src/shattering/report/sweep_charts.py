"""Pictures of a sweep: each number over the first field that takes numbers, one line per value of the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.study import Axis, Figure, Point
from shattering.core.sweep import FITTED
from shattering.execution.adaptive import threshold_interval
from shattering.report.charts import Chart, draw
from shattering.report.sweep import FITTING, Cell, Results, cells, combinations, is_number, order_of
from shattering.report.sweep_words import (
    axis_numbers,
    cell_text,
    is_fraction,
    label,
    number_label,
    place_text,
    value_text,
)

MOST_VALUES = 40
"""Of an axis; more are put into classes of about equal size."""

CLASSES, MOST_LINES, MOST_PANELS = 12, 7, 4
LOGARITHMIC = 8.0
"""Values above 0 that span more than this factor, unevenly, are drawn in the logarithm."""

Groups = list[tuple[dict[str, Any], NDArray[np.int64]]]


def sweep_charts(results: Results) -> list[Chart]:
    """The pictures that there is something to draw for; of a number that is the same everywhere there is none."""
    drawn = [threshold_chart(results)] if results.brackets else []
    axis = chart_axis(results)
    # Where a bisection looked depends on what it saw, so pictures of other numbers would mislead.
    names = results.names if not results.brackets else ()
    if axis is not None:
        drawn += [_chart(results, name, axis) for name in names]
    return [chart for chart in drawn if chart is not None]


def chart_axis(results: Results) -> str | None:
    """The field along the bottom: one that is drawn or spaced in the logarithm first, else the first with numbers."""
    candidates = axis_numbers(results)
    threshold = results.sweep.threshold
    if threshold is not None and threshold.field in candidates:
        return threshold.field
    many = [path for path in candidates if len(set(results.runs.fields[path])) > 2]
    return next(iter([*many, *candidates]), None)


def threshold_chart(results: Results) -> Chart | None:
    """Thresholds with their intervals over the first field of the combinations that takes numbers."""
    threshold = results.sweep.threshold
    assert threshold is not None
    places = [place for place, _ in results.brackets]
    axis = next((path for path in places[0] if all(is_number(place[path]) for place in places)), None)
    if axis is None:
        return None
    points = []
    for place, brackets in results.brackets:
        estimate = threshold_interval(brackets, threshold)
        if estimate is not None:
            rest = {path: value for path, value in place.items() if path != axis}
            value, low, high = estimate
            points.append(Point(float(place[axis]), value, place_text(rest), low, high))
    figure = Figure(
        name="threshold",
        title=f"Where ‘{threshold.met.text}’ changes",
        x=_axis(axis, [place[axis] for place in places]),
        y=Axis(label(threshold.field), "log" if threshold.low > 0 else "linear"),
        points=lambda records: sorted(points, key=lambda point: (point.series, point.x)),
        reading=lambda records: (
            f"Each point is the mean over {threshold.seeds} seeds of the {label(threshold.field)} at which "
            f"‘{threshold.met.text}’ begins or ceases to hold."
        ),
    )
    return draw(figure, [])


def _chart(results: Results, name: str, axis: str) -> Chart | None:
    others = [path for path in results.axes if path != axis]
    line = _fewest(results, others, MOST_LINES)
    panel = _fewest(results, [path for path in others if path != line], MOST_PANELS)
    shown = [path for path in (axis, line, panel) if path is not None]
    left = [path for path in others if path not in shown]
    classed, groups = _grouped(results, axis, [path for path in shown if path != axis])
    found = sorted(cells(results, groups), key=lambda cell: [order_of(cell.place[path]) for path in (*shown[1:], axis)])
    points = [point for cell in found if (point := _point(results, cell, name, axis, line, panel)) is not None]
    if len({point.x for point in points}) < 2 or len({point.y for point in points}) < 2:
        return None
    percent = is_fraction(name)
    figure = Figure(
        name=name,
        title=f"{number_label(name).capitalize()} over {label(axis)}",
        x=_axis(axis, results.runs.fields[axis]),
        y=Axis(_unit(name), "log" if name == FITTING else "linear", percent=percent),
        points=lambda records: points,
        reading=lambda records: _reading(points, found, name, axis, left, classed),
    )
    return draw(figure, [])


def _point(results: Results, cell: Cell, name: str, axis: str, line: str | None, panel: str | None) -> Point | None:
    value, low, high, count = cell.numbers[name]
    censored = name in cell.bounds and value is None
    shown = cell.bounds[name] if censored else value
    if shown is None or not count or not math.isfinite(shown):
        return None
    series = f"{label(line)} {value_text(cell.place[line])}" if line else ""
    title = f"{label(panel)} {value_text(cell.place[panel])}" if panel else ""
    return Point(float(cell.place[axis]), shown, series, low, high, panel=title, censored=censored)


def _fewest(results: Results, paths: Sequence[str], most: int) -> str | None:
    """The first of some fields with at most so many values."""
    return next((path for path in paths if len(set(map(str, results.runs.fields[path]))) <= most), None)


def _grouped(results: Results, axis: str, rest: Sequence[str]) -> tuple[bool, Groups]:
    """Runs by value of the axis and of some other fields; a field with very many values is put into classes."""
    values = np.array(results.runs.fields[axis], dtype=np.float64)
    distinct = np.unique(values)
    if len(distinct) <= MOST_VALUES:
        return False, combinations(results.runs, [axis, *rest])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, CLASSES + 1)))
    kinds = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    logarithmic = _is_logarithmic(distinct.tolist())
    groups: Groups = []
    for place, rows in combinations(results.runs, rest):
        for kind in np.unique(kinds[rows]):
            inside = rows[kinds[rows] == kind]
            middle = np.exp(np.log(values[inside]).mean()) if logarithmic else values[inside].mean()
            groups.append(({axis: float(middle), **place}, inside))
    return True, groups


def _axis(path: str, values: Sequence[Any]) -> Axis:
    return Axis(label(path), "log" if _is_logarithmic(values) else "linear")


def _is_logarithmic(values: Sequence[Any]) -> bool:
    """Whether values lie better in the logarithm: above 0, over a wide range, and closer together where small."""
    distinct = sorted({float(value) for value in values})
    if len(distinct) < 3 or distinct[0] <= 0 or distinct[-1] / distinct[0] < LOGARITHMIC:
        return False
    middle = float(np.median(distinct))
    return middle < distinct[0] + 0.4 * (distinct[-1] - distinct[0])


def _unit(name: str) -> str:
    from shattering.measures.registry import measures

    if name in (FITTING, "steps"):
        return f"{number_label(name)}, updates" if name != FITTING else number_label(name)
    if name == FITTED or is_fraction(name):
        return number_label(name)
    units = {number: unit for _, entry in measures for number, unit in entry.units.items()}
    unit = units.get(name, "")
    return f"{number_label(name)}, {unit}" if unit and unit != "1" else number_label(name)


def _reading(
    points: Sequence[Point], found: Sequence[Cell], name: str, axis: str, left: Sequence[str], classed: bool
) -> str:
    """One sentence on what the picture shows, and what has been put together in it."""
    by_height = sorted(
        (cell for cell in found if cell.numbers[name][0] is not None), key=lambda c: c.numbers[name][0] or 0
    )
    told = ""
    if by_height:
        low, high = by_height[0], by_height[-1]
        ends = [f"{cell_text(cell, name)[0]} ({_at(cell)})" for cell in (low, high)]
        told = f"{number_label(name).capitalize()} lies between {' and '.join(ends)}."
    if classed:
        told += f" The {label(axis)} has very many values, so runs are put into classes of about equal size."
    if left:
        fields = " and ".join(map(label, left))
        told += f" Each point is over all values of {fields}, and its interval holds their differences too."
    return told.strip() or "No run has this number yet."


def _at(cell: Cell) -> str:
    return place_text(
        {path: float(f"{value:.4g}") if isinstance(value, float) else value for path, value in cell.place.items()}
    )
